//! The flush that a core has under way, and how far that has come.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use lsm::manifest::Seal;
use lsm::write::{RunWriter, WrittenRun};
use types::{GroupId, Index, Instant, ReplicaId};
use wire::Membership;

use super::StorageHost;
use super::pace::BackgroundPace;
use crate::budget::{Budget, Permit, Pool};

/// The end of something a task did for a flush, left for the next turn.
pub(super) struct Done<H: StorageHost> {
    /// Which flush of this core it was for.
    pub(super) number: u64,
    pub(super) result: Result<Step<H>, lsm::Error>,
}

/// A run that is being written.
pub(super) type Writer<H> = Box<RunWriter<H, BackgroundPace<H>>>;

pub(super) enum Step<H: StorageHost> {
    /// Rows are in the run.
    Written { writer: Writer<H> },
    /// The run is complete and on stable storage.
    Ended { written: WrittenRun },
}

/// The flush under way.
pub(super) struct Flush<H: StorageHost> {
    pub(super) number: u64,
    pub(super) group: usize,
    pub(super) id: GroupId,
    pub(super) replica: ReplicaId,
    /// Of what state the rows are.
    pub(super) seal: Seal,
    pub(super) membership: Membership,
    /// What the tables are to hold when it has ended.
    pub(super) kind: FlushKind,
    pub(super) stage: Stage<H>,
    /// How often all rows had been removed at once when it began: if that has happened again it is given up.
    pub(super) clears_count: u64,
    /// Bytes of the group's log that it covers.
    pub(super) covers_bytes: u64,
    pub(super) begun_at: Instant,
}

/// What becomes of the tables that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlushKind {
    /// They stay: what has changed since is added.
    Changes,
    /// All rows were removed since the last flush: they go.
    NewGeneration,
    /// All rows are written anew and take their place: what they hold is damaged, or mostly rows that newer ones hide.
    Everything,
}

pub(super) enum Stage<H: StorageHost> {
    /// Rows are copied and written. The writer is away while a task writes.
    Rows { writer: Option<Writer<H>>, is_copied: bool },
    /// The run is being completed.
    Ending,
    /// It is on stable storage; the log must be durable as far, and no other edit of the group be on its way.
    Waiting { written: WrittenRun },
    /// The manifest is told. The files are kept until it has been.
    Committing { written: WrittenRun },
}

/// The flushes of a core.
pub(super) struct Flushing<H: StorageHost> {
    pub(super) running: Option<Flush<H>>,
    pub(super) done: Rc<RefCell<Vec<Done<H>>>>,
    pub(super) next_number: u64,
    /// Replicas of which others need a newer state than was flushed, and as of which entry.
    pub(super) wanted: BTreeMap<usize, Index>,
    /// Not before this is another one begun.
    pub(super) not_before: Instant,
    /// For copies of rows that no task has taken yet.
    pub(super) permit: Permit,
    pub(super) budget: Budget,
}

impl<H: StorageHost> Flushing<H> {
    pub(super) fn new(budget: &Budget) -> Flushing<H> {
        Flushing {
            running: None,
            done: Rc::default(),
            next_number: 1,
            wanted: BTreeMap::new(),
            not_before: Instant::ZERO,
            permit: budget.permit(Pool::Snapshots),
            budget: budget.clone(),
        }
    }

    /// Gives up the flush under way, unless the manifest is told of it. Returns whether it does.
    pub(super) fn give_up(&mut self) -> bool {
        let may_end = |flush: &mut Flush<H>| !matches!(flush.stage, Stage::Committing { .. });
        let is_given_up = self.running.take_if(may_end).is_some();
        if is_given_up {
            self.permit.set(0);
        }
        is_given_up
    }

    /// The replica that is being flushed.
    pub(super) fn group(&self) -> Option<usize> {
        self.running.as_ref().map(|flush| flush.group)
    }
}
