//! Replicas that lack their state: those that stay away, and those that have lost it while they ran.

use types::{GroupId, Index, Instant, ReplicaId};
use wal::RecoveredGroup;

/// A replica of this core that needs a state of another one.
pub(super) struct Rebuilding {
    pub(super) group: GroupId,
    pub(super) replica: ReplicaId,
    /// What its log holds, if it has not started.
    pub(super) log: Option<Box<RecoveredGroup>>,
    /// Where its log begins, at least: older states are of no use.
    pub(super) base: Index,
    /// Which of the others is asked next.
    pub(super) next_idx: usize,
    pub(super) ask_at: Instant,
}

impl Rebuilding {
    /// One that has not started.
    pub(super) fn of_replica(group: GroupId, replica: ReplicaId, log: Box<RecoveredGroup>) -> Rebuilding {
        let base = log.start_index;
        Rebuilding { log: Some(log), ..Rebuilding::of_state(group, replica, base) }
    }

    /// One that goes on with its log, which begins behind `base`.
    pub(super) fn of_state(group: GroupId, replica: ReplicaId, base: Index) -> Rebuilding {
        Rebuilding { group, replica, log: None, base, next_idx: 0, ask_at: Instant::ZERO }
    }
}
