//! The merge that a core has under way, and the groups that may need one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
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

/// Groups that may need a merge. That of the most runs comes first: were it the first by its number, groups that are written all the
/// time would keep others from ever being merged.
#[derive(Default)]
pub(super) struct Candidates {
    runs_counts: BTreeMap<GroupId, usize>,
    by_runs_count: BTreeSet<(usize, GroupId)>,
}

impl Candidates {
    /// A group has so many runs now.
    pub(super) fn insert(&mut self, group: GroupId, runs_count: usize) {
        if let Some(before) = self.runs_counts.insert(group, runs_count) {
            self.by_runs_count.remove(&(before, group));
        }
        self.by_runs_count.insert((runs_count, group));
    }

    /// Takes out the group of the most runs.
    pub(super) fn pop(&mut self) -> Option<GroupId> {
        let (_, group) = self.by_runs_count.pop_last()?;
        self.runs_counts.remove(&group);
        Some(group)
    }

    /// A group has no tables any more.
    pub(super) fn remove(&mut self, group: GroupId) {
        if let Some(before) = self.runs_counts.remove(&group) {
            self.by_runs_count.remove(&(before, group));
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_runs_count.is_empty()
    }
}

/// The merges of a core.
#[derive(Default)]
pub(super) struct Merging {
    pub(super) running: Option<Merge>,
    pub(super) done: Rc<RefCell<Option<Done>>>,
    /// Groups whose tables have changed since they were last looked at.
    pub(super) candidates: Candidates,
    pub(super) next_number: u64,
    /// Not before this is another one begun.
    pub(super) not_before: Instant,
    /// Not before this is another group looked at in which rows may have expired.
    pub(super) look_at: Instant,
    /// The group that was looked at last for that; `None` before the first.
    pub(super) looked_at: Option<GroupId>,
}

impl Merging {
    /// What a group consists of has been replaced: what is being merged of it is of no use.
    pub(super) fn give_up(&mut self, group: GroupId) {
        if self.running.as_ref().is_some_and(|merge| merge.group == group && merge.committing.is_none()) {
            self.running = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_the_most_runs_comes_first() {
        let mut candidates = Candidates::default();
        for (group, runs_count) in [(1, 3), (2, 9), (3, 4), (2, 2)] {
            candidates.insert(GroupId(group), runs_count);
        }
        let popped = std::iter::from_fn(|| candidates.pop()).collect::<Vec<_>>();
        assert_eq!(popped, [GroupId(3), GroupId(1), GroupId(2)], "what was told last counts");
        assert!(candidates.is_empty() && candidates.runs_counts.is_empty());
    }
}
