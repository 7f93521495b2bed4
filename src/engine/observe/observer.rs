//! A window on what the replicas of a core do, for those who check it.

use std::fmt;

use raft::{Persist, Role};
use types::{CoreAddr, GroupId, Index, ReplicaId, Term};
use wire::{Entry, HardState};

/// Sees what happens to the replicas of a core, and takes no part in it. The simulator's checkers watch through it;
/// a node has none.
pub trait Observer {
    /// Something has happened to the replica `replica` of `group` that lives at `place`.
    fn observe(&self, place: CoreAddr, group: GroupId, replica: ReplicaId, observation: Event<'_>);

    /// What a replica of the core has counted since it started. Told at every tick.
    fn raft_counted(&self, _place: CoreAddr, _group: GroupId, _counters: &raft::Counters) {}

    /// What a core has counted since it started, its log and itself, the latter as (name, count). Told at every tick.
    fn core_counted(&self, _place: CoreAddr, _wal: &wal::Stats, _counts: &[(&'static str, u64)]) {}

    /// Whether to tell the digest of a replica's state now that it has applied everything up to this entry. Asked behind
    /// each entry and at every tick. Told without being asked for are the digests of what a replica starts on, of what it
    /// takes over, and of what is flushed.
    fn wants_digest(&self, _place: CoreAddr, _group: GroupId, _applied: Index) -> bool {
        false
    }

    /// What the tables of a replica hold has changed, durably: they hold the state as of some entry whose digest was told.
    fn tables_changed(&self, _place: CoreAddr, _group: GroupId, _replica: ReplicaId) {}

    /// A core begins to check what it has at rest.
    fn scrub_begun(&self, _place: CoreAddr) {}

    /// It has come to the end, and says that all that the tables of these groups consisted of when it began is sound.
    fn scrub_ended(&self, _place: CoreAddr, _sound: &[GroupId]) {}

    /// Whether the replica is to change a row in a way that nothing in its log explains, behind this entry: so that one can see that
    /// comparisons find it. The only thing by which an observer takes part.
    fn alters_row(&self, _place: CoreAddr, _group: GroupId, _applied: Index) -> bool {
        false
    }

    /// How full the queues of a core are. Told once per turn, before what the turn has produced is sent.
    fn queues(&self, _place: CoreAddr, _queues: &[QueueLen]) {}

    /// What the permits of a core count, and what it holds. Told once per turn, behind what the turn has sent.
    fn budgets(&self, _place: CoreAddr, _budgets: &[BudgetUse]) {}
}

/// What the permits for one kind of memory count, and what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetUse {
    /// What the memory is for.
    pub name: &'static str,
    /// Bytes for which permits are out.
    pub counted: u64,
    /// Bytes that are held: added up anew, from what is there.
    pub held: u64,
    /// How many bytes there may be at most.
    pub max: u64,
}

/// How full a queue is; of several of one kind the fullest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLen {
    /// What is in it.
    pub name: &'static str,
    /// How much is in it: bytes or elements, as `max` counts them.
    pub len: u64,
    /// How much there may be at most.
    pub max: u64,
}

/// The greatest of each of the lengths that many have.
pub(crate) fn fullest<T, const N: usize>(all: impl Iterator<Item = T>, lens: impl Fn(T) -> [usize; N]) -> [usize; N] {
    all.fold([0; N], |fullest, one| {
        let lens = lens(one);
        std::array::from_fn(|at| fullest[at].max(lens[at]))
    })
}

impl fmt::Display for QueueLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of at most {}", self.name, self.len, self.max)
    }
}

/// What a [`Observer`] sees.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The replica has started on what its disk held. Whatever it had logged and not made durable before is gone.
    Started {
        /// The hard state found.
        hard_state: HardState,
        /// Index and term of the entry before the first of its log.
        base: (Index, Term),
        /// Its log's last index.
        last_index: Index,
        /// The term of the entry there. Index and term together identify all of the log (Raft paper, §5.3).
        last_term: Term,
        /// Everything up to here is in its state already.
        applied: Index,
    },
    /// The replica does not take part: what its disk holds cannot be trusted.
    Quarantined,
    /// The replica belongs to its group no more, and its log says so: it never takes part again.
    Destroyed,
    /// Entries or a hard state are handed to the log. Entries replace what the log held from the first one on. They
    /// are durable later, if at all.
    Logged(&'a Persist),
    /// An entry is applied.
    Applied(&'a Entry),
    /// A state was taken over from a snapshot: it holds everything up to this index, and the log goes on behind it.
    Restored {
        /// Index and term of the last entry the state holds.
        last: (Index, Term),
    },
    /// The tables turned out to be damaged, and memory does not hold all rows: the replica applies nothing until a snapshot has taken the
    /// place of its state.
    StateLost,
    /// The log's beginning was dropped: its first entry is the one behind this index.
    Compacted(Index),
    /// The digest of the replica's state: of its keys and values, its time, its members and `applied`. Equal for all
    /// replicas of a group that have applied the same entries.
    Digest {
        /// The last entry applied.
        applied: Index,
        /// The digest.
        digest: u128,
    },
    /// The leader, which this replica is, has found that replicas hold different rows behind this entry.
    RowsDiffer {
        /// The compare entry.
        index: Index,
    },
    /// A message of another replica cannot be true if this one is right: of a second leader of a term, or with other
    /// entries than are committed. It was dropped.
    Contradicted,
    /// The role, the term or the known leader has changed.
    Role {
        /// The role now.
        role: Role,
        /// The term.
        term: Term,
        /// The leader of that term, if it is known.
        leader: Option<ReplicaId>,
    },
}
