//! The merge that a core has under way, and the groups that may need one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use lsm::merge::MergeOutput;
use types::{GroupId, Instant};

/// The merge under way.
pub(super) struct Merge {
    pub(super) number: u64,
    pub(super) group: GroupId,
    /// What was written, while the manifest is told. Its files are kept until it has been.
    pub(super) committing: Option<MergeOutput>,
    pub(super) begun_at: Instant,
}

/// The end of a merge's task.
pub(super) struct Done {
    pub(super) number: u64,
    pub(super) result: Result<MergeOutput, lsm::Error>,
}

/// The merges of a core.
#[derive(Default)]
pub(super) struct Merging {
    pub(super) running: Option<Merge>,
    pub(super) done: Rc<RefCell<Option<Done>>>,
    /// Groups whose tables have changed since they were last looked at.
    pub(super) candidates: BTreeSet<GroupId>,
    pub(super) next_number: u64,
    /// Not before this is another one begun.
    pub(super) not_before: Instant,
    /// Not before this is another group looked at in which rows may have expired.
    pub(super) look_at: Instant,
    /// The group that was looked at last for that; `None` before the first.
    pub(super) looked_at: Option<GroupId>,
}

impl Merging {
    /// The tables of a group have changed.
    pub(super) fn look_at(&mut self, group: GroupId) {
        self.candidates.insert(group);
    }

    /// What a group consists of has been replaced: what is being merged of it is of no use.
    pub(super) fn give_up(&mut self, group: GroupId) {
        if self.running.as_ref().is_some_and(|merge| merge.group == group && merge.committing.is_none()) {
            self.running = None;
        }
    }
}
