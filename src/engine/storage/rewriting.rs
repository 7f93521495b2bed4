//! A group's entries that are not committed, on their way to the end of the log.

use std::cell::RefCell;
use std::rc::Rc;

use types::{GroupId, Instant};
use wire::Entry;

use crate::budget::{Budget, Permit};

/// What was read back of a group, left by its task for the next tick.
pub(super) struct TailRead {
    pub(super) group: GroupId,
    pub(super) result: Result<Vec<Entry>, wal::Error>,
    /// For what was read.
    pub(super) permit: Permit,
}

/// The tail that is being written again: one at a time per core.
pub(super) struct Rewriting {
    /// Whether one is being read back.
    pub(super) is_reading: bool,
    pub(super) done: Rc<RefCell<Option<TailRead>>>,
    /// Not before this is another one begun.
    pub(super) not_before: Instant,
    pub(super) budget: Budget,
}

impl Rewriting {
    pub(super) fn new(budget: &Budget) -> Rewriting {
        Rewriting { is_reading: false, done: Rc::default(), not_before: Instant::ZERO, budget: budget.clone() }
    }
}
