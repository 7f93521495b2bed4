//! What a core has under way of comparisons: states to be sealed behind a compare entry, and digests being made of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use lsm::version::Version;
use types::{GroupId, Instant};

use crate::comparison::{ComparePoint, DigestAnswer};

/// A replica that applies nothing more until its state is sealed behind an entry.
pub(super) struct Unsealed {
    pub(super) group: usize,
    pub(super) point: ComparePoint,
    pub(super) since: Instant,
}

/// A state that is being flushed to be digested.
pub(super) struct Flushed {
    pub(super) point: ComparePoint,
    /// Number of the flush.
    pub(super) flush: u64,
}

/// A state whose tables hold it as of its entry. They stay as long as it is here.
pub(super) struct Undigested {
    pub(super) point: ComparePoint,
    pub(super) version: Rc<Version>,
    /// Replicated time as of the entry, in milliseconds since 1970 UTC.
    pub(super) time_ms: u64,
}

/// What has become of a digest.
pub(super) struct Done {
    pub(super) point: ComparePoint,
    pub(super) answer: Result<wire::RowsDigest, lsm::Error>,
}

/// The comparisons of a core.
#[derive(Default)]
pub(super) struct Comparing {
    pub(super) unsealed: VecDeque<Unsealed>,
    pub(super) flushed: Option<Flushed>,
    /// Invariant: none while no digest is being made.
    pub(super) undigested: VecDeque<Undigested>,
    /// The group whose tables are being digested.
    pub(super) digesting: Option<GroupId>,
    pub(super) done: Rc<RefCell<Option<Done>>>,
    /// What is to be told at the next turn.
    pub(super) answers: Vec<(ComparePoint, DigestAnswer)>,
}

impl Comparing {
    /// Whether something waits for ticks.
    pub(super) fn wants_ticks(&self) -> bool {
        !self.unsealed.is_empty() || self.flushed.is_some()
    }
}
