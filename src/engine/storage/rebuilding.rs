//! Replicas that lack their state: those that stay away, and those that have lost it while they ran.

use types::{CoreAddr, GroupId, Index, Instant, ReplicaId};
use wal::RecoveredGroup;

/// A replica of this core that needs a state of another one.
pub(super) struct Rebuilding {
    pub(super) group: GroupId,
    pub(super) replica: ReplicaId,
    /// What its log holds, if it has not started.
    pub(super) log: Option<Box<RecoveredGroup>>,
    /// Where its log begins, at least: older states are of no use.
    pub(super) base: Index,
    /// Where the other replicas live.
    pub(super) others: Vec<CoreAddr>,
    pub(super) next_idx: usize,
    pub(super) ask_at: Instant,
}

impl Rebuilding {
    /// One that has not started.
    pub(super) fn of_replica(spec: &meta::Group, replica: ReplicaId, log: Box<RecoveredGroup>) -> Rebuilding {
        let base = log.start_index;
        Rebuilding { log: Some(log), ..Rebuilding::of_state(spec, replica, base) }
    }

    /// One that goes on with its log, which begins behind `base`.
    pub(super) fn of_state(spec: &meta::Group, replica: ReplicaId, base: Index) -> Rebuilding {
        let others = spec.replicas.iter().filter(|other| other.id != replica).map(|other| other.place);
        let others = others.collect();
        Rebuilding { group: spec.id, replica, log: None, base, others, next_idx: 0, ask_at: Instant::ZERO }
    }
}
