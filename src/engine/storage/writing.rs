//! The snapshot that a core is writing, and how far that has come.

use std::cell::RefCell;
use std::rc::Rc;

use types::{Instant, Term};
use wire::Membership;

use super::snapshot::{FileId, Paths, Sealer};
use crate::budget::{Budget, Permit, Pool};

/// The end of something a task did for a snapshot, left for the next turn.
pub(super) struct Done<F> {
    /// Which snapshot of this core it was for.
    pub(super) number: u64,
    pub(super) result: std::io::Result<Step<F>>,
}

pub(super) enum Step<F> {
    /// The file is there and begins as it should.
    Begun { file: F, sealer: Sealer },
    /// A block of keys is written.
    Written { sealer: Sealer },
    /// The footer is written; the file is so long.
    Ended { bytes: u64 },
    /// The file has its name.
    Named,
}

/// The snapshot that is being written.
pub(super) struct Writing<F> {
    pub(super) number: u64,
    pub(super) group: usize,
    pub(super) paths: Paths,
    pub(super) file_id: FileId,
    pub(super) last_term: Term,
    pub(super) membership: Membership,
    pub(super) stage: Stage<F>,
    /// Bytes of the group's log that it covers.
    pub(super) covers_bytes: u64,
    pub(super) begun_at: Instant,
    pub(super) bytes: u64,
}

pub(super) enum Stage<F> {
    /// The file is being made.
    Begun,
    /// Keys are copied and written. `sealer` is away while a task writes.
    Keys { file: F, sealer: Option<Sealer>, is_walked: bool },
    /// The footer is being written.
    Ending,
    /// All is written; the log must be durable as far.
    Waiting,
    /// It is being renamed.
    Naming,
    /// Something failed: what is left to be seen of the state is only marked.
    GivenUp,
}

/// The snapshots that a core writes.
pub(super) struct Creation<F> {
    pub(super) writing: Option<Writing<F>>,
    pub(super) done: Rc<RefCell<Vec<Done<F>>>>,
    pub(super) next_number: u64,
    /// Not before this is another one begun.
    pub(super) not_before: Instant,
    /// For copies of keys that no task has taken yet.
    pub(super) permit: Permit,
    pub(super) budget: Budget,
}

impl<F> Creation<F> {
    pub(super) fn new(budget: &Budget) -> Creation<F> {
        Creation {
            writing: None,
            done: Rc::default(),
            next_number: 1,
            not_before: Instant::ZERO,
            permit: budget.permit(Pool::Snapshots),
            budget: budget.clone(),
        }
    }

    /// The replica of which a snapshot is being written.
    pub(super) fn writing_group(&self) -> Option<usize> {
        self.writing.as_ref().map(|writing| writing.group)
    }
}
