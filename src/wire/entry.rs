//! What a Raft log holds.

use types::{Index, ReplicaId, Term};

use crate::payload::Payload;

/// What an entry's payload means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// No payload: the entry with which a new leader begins its term.
    Empty = 0,
    /// An archived batch of commands.
    Batch = 1,
    /// An archived cluster map. Only in group 0.
    ClusterMap = 2,
    /// Who takes part in the group from here on ([`Membership`](crate::Membership)).
    Membership = 3,
    /// The state behind this entry is compared with that of the other replicas ([`comparison`](crate::comparison)).
    Compare = 4,
    /// An archived change of the cluster map. Only in group 0, behind the map.
    MapChange = 5,
}

impl EntryKind {
    /// The kind with this number, as it stands in logs and frames.
    pub fn from_u8(number: u8) -> Option<EntryKind> {
        match number {
            0 => Some(EntryKind::Empty),
            1 => Some(EntryKind::Batch),
            2 => Some(EntryKind::ClusterMap),
            3 => Some(EntryKind::Membership),
            4 => Some(EntryKind::Compare),
            5 => Some(EntryKind::MapChange),
            _ => None,
        }
    }
}

/// One entry of a group's log. Cloning shares the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Term of the leader that made it.
    pub term: Term,
    /// Position in the log.
    pub index: Index,
    /// What the payload means.
    pub kind: EntryKind,
    /// The bytes that are proposed, sent, logged and applied: archived once, never changed.
    pub payload: Payload,
}

/// What a replica must not forget (Raft paper, figure 2, "persistent state"), the log itself aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Latest term seen.
    pub term: Term,
    /// Candidate voted for in that term; `None` if there was none.
    pub vote: Option<ReplicaId>,
    /// An index known to be committed. Only a hint for a faster restart: it may lag behind, and it alone does
    /// not make a write of the state necessary.
    pub commit: Index,
}
