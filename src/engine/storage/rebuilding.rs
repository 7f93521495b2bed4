//! Replicas that stay away because their tables are lost.

use types::{CoreAddr, GroupId, Instant, ReplicaId};
use wal::RecoveredGroup;

/// A replica of this core that has not started.
pub(super) struct Rebuilding {
    pub(super) group: GroupId,
    pub(super) replica: ReplicaId,
    /// What its log holds.
    pub(super) log: Box<RecoveredGroup>,
    /// Where the other replicas live.
    pub(super) others: Vec<CoreAddr>,
    pub(super) next_idx: usize,
    pub(super) ask_at: Instant,
}

impl Rebuilding {
    pub(super) fn new(spec: &meta::Group, replica: ReplicaId, log: Box<RecoveredGroup>) -> Rebuilding {
        let others = spec.replicas.iter().filter(|other| other.id != replica).map(|other| other.place);
        Rebuilding { group: spec.id, replica, log, others: others.collect(), next_idx: 0, ask_at: Instant::ZERO }
    }
}
