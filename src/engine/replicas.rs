//! What storage needs to know of the replicas of a core, and nothing else of them.

use data::Keyspace;
use types::{GroupId, Index, ReplicaId, Term};
use wire::Membership;

/// The replicas of a core, by their index: that of the first one of each group, and of all that come behind it. `groups` implements it.
pub(crate) trait Replicas {
    /// How far a replica has come.
    fn view(&self, group: usize) -> ReplicaView;

    /// The keys of a replica.
    fn keyspace(&self, group: usize) -> &Keyspace;

    /// The keys of a replica, for a flush.
    fn keyspace_mut(&mut self, group: usize) -> &mut Keyspace;

    /// What was flushed is in the tables, durably.
    fn end_flush(&mut self, group: usize);

    /// Keys of a replica have come into memory: what it holds is counted anew, and those that expire are looked at from now on.
    fn settle(&mut self, group: usize);

    /// What belongs to the state as it is now besides its keys.
    fn sealed_state(&self, group: usize) -> SealedState;
}

/// How far a replica has come. Invariant: `base <= durable`, `base <= applied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaView {
    /// The group.
    pub(crate) id: GroupId,
    /// The replica.
    pub(crate) replica: ReplicaId,
    /// The last entry that the state holds.
    pub(crate) applied: Index,
    /// Its term, if the log still knows it.
    pub(crate) applied_term: Option<Term>,
    /// The last entry that is durable in the log here.
    pub(crate) durable: Index,
    /// The entry before the first of Raft's log.
    pub(crate) base: Index,
    /// Whether the state holds a part of the entry behind that one: then it is none that could be sealed.
    pub(crate) is_within_entry: bool,
    /// Whether clients may wait for what it applies: it leads, or has to tell what became of what it proposed.
    pub(crate) leads: bool,
    /// The last entry of the snapshot that Raft offers to followers; 0 if it has none.
    pub(crate) offered: Index,
}

/// What belongs to a state besides its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedState {
    /// Replicated time of the group, in milliseconds since 1970 UTC.
    pub(crate) time_ms: u64,
    /// The members as of the last entry applied.
    pub(crate) membership: Membership,
}
