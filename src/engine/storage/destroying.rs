//! Replicas of this core that are being destroyed.

use types::{GroupId, Instant, ReplicaId};

/// How far the end of a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// What was begun for it ends: reads and writes of its log, edits of the manifest, tasks that read its tables.
    Ending,
    /// The log is told. That is durable with this block.
    Logged { seq: u64 },
    /// The log holds that it is destroyed, or has never held that it began: the manifest is to be told.
    Logless,
    /// The manifest is told.
    Dropping,
}

/// A replica that is being destroyed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destroying {
    pub(super) group: GroupId,
    pub(super) replica: ReplicaId,
    pub(super) stage: Stage,
}

/// All of them.
#[derive(Default)]
pub(super) struct DestroyingReplicas {
    /// Invariant: each group once.
    pub(super) list: Vec<Destroying>,
    /// When the manifest is told again at the earliest, if it could not be.
    pub(super) not_before: Instant,
}

impl DestroyingReplicas {
    /// Whether a replica of a group is being destroyed.
    pub(super) fn has(&self, group: GroupId) -> bool {
        self.list.iter().any(|one| one.group == group)
    }
}
