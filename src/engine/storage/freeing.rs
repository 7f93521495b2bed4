//! The groups in which commands have freed something while the disk was full.

use std::collections::BTreeSet;

use types::Instant;

/// The groups in which room can be freed.
pub(super) struct Freeing {
    /// Replicas that have applied something while the disk was full, and were not flushed since.
    pub(super) groups: BTreeSet<usize>,
    /// Whether that has happened since the last tick.
    pub(super) is_new: bool,
    /// Whether what has failed may be tried again sooner for that: once, until a flush succeeds.
    pub(super) may_hurry: bool,
    /// Not before this is another one of them flushed.
    pub(super) not_before: Instant,
}

impl Default for Freeing {
    fn default() -> Freeing {
        Freeing { groups: BTreeSet::new(), is_new: false, may_hurry: true, not_before: Instant::ZERO }
    }
}

impl Freeing {
    /// A flush has succeeded.
    pub(super) fn flushed(&mut self) {
        self.may_hurry = true;
    }

    /// A replica has applied something while the disk is full.
    pub(super) fn applied(&mut self, group: usize) {
        self.groups.insert(group);
        self.is_new = true;
    }
}
