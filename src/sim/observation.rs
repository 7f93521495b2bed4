//! What checkers see of replicas: the events of [`engine::Observer`], owned and with the time at which they happened.

use std::fmt;

use bytes::Bytes;
use engine::Event;
use raft::Role;
use types::{CoreAddr, GroupId, Index, Instant, ReplicaId, Term};
use wire::{Entry, HardState};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::clock::NodeClock;

/// An entry as checkers know it: its term, and a hash over its kind and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryHash {
    /// The entry's term.
    pub term: Term,
    /// Hash over kind and payload.
    pub hash: u64,
}

impl EntryHash {
    /// What is remembered of an entry.
    pub fn of(entry: &Entry) -> EntryHash {
        EntryHash { term: entry.term, hash: xxh3_64_with_seed(&entry.payload, entry.kind as u64) }
    }
}

/// The voters of a group, in the joint state those of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electorate {
    /// Those that vote, or will once the joint state ends.
    pub voters: Vec<ReplicaId>,
    /// Those of before, in the joint state.
    pub outgoing: Vec<ReplicaId>,
}

impl Electorate {
    /// Whether those for whom `holds` are a majority, of both sides in the joint state.
    pub fn is_majority(&self, holds: impl Fn(ReplicaId) -> bool) -> bool {
        let of = |side: &[ReplicaId]| side.iter().filter(|id| holds(**id)).count() > side.len() / 2;
        of(&self.voters) && (self.outgoing.is_empty() || of(&self.outgoing))
    }

    /// All of them, each once.
    pub fn all(&self) -> Vec<ReplicaId> {
        let mut all = [&self.voters[..], &self.outgoing].concat();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl fmt::Display for Electorate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outgoing.is_empty() {
            true => write!(f, "{:?}", self.voters),
            false => write!(f, "{:?} and {:?}", self.voters, self.outgoing),
        }
    }
}

/// Something that happened to a replica.
#[derive(Clone, Debug)]
pub struct Observation {
    /// True time, the same for all nodes.
    pub at: Instant,
    /// Where the replica lives.
    pub place: CoreAddr,
    /// Its group.
    pub group: GroupId,
    /// The replica.
    pub replica: ReplicaId,
    /// What happened.
    pub kind: ObservationKind,
}

/// What an [`Observation`] tells.
#[derive(Clone, Debug)]
pub enum ObservationKind {
    /// The replica has started on what its disk held.
    Started {
        /// The hard state found.
        hard_state: HardState,
        /// Index and term of the entry before the first of its log.
        base: (Index, Term),
        /// Index and term of its log's last entry; those of `base` if there is none.
        last: (Index, Term),
        /// Everything up to here is in its state already.
        applied: Index,
    },
    /// Its process has ended, by a crash or otherwise.
    Stopped,
    /// Its process has ended by itself, with an error. It concerns the node, whatever group and replica are given.
    Ended {
        /// What it said.
        error: String,
        /// Whether its disk has failed it since it was started, or has lost or changed what it had called durable.
        is_provoked: bool,
    },
    /// The disk has lost or changed what it had called durable: a fault, not the replica's own doing. Seen before the
    /// replica starts again. Nothing is demanded of its log any more.
    Damaged,
    /// It does not take part: its disk cannot be trusted.
    Quarantined {
        /// Whether its disk has failed it since it was started, or has lost or changed what it had called durable.
        is_provoked: bool,
    },
    /// Its tables have changed, and were read back.
    Tables {
        /// The last entry that it holds.
        index: Index,
        /// Digest of the state in it, as of [`ObservationKind::Digest`].
        digest: u128,
    },
    /// Its tables have changed, and cannot be read back.
    BadTables {
        /// Why.
        error: String,
        /// Whether its disk has lost or changed what it had called durable.
        is_provoked: bool,
    },
    /// It belongs to its group no more, and its disk says so for ever.
    Destroyed,
    /// A write was handed to the log; durable later, if at all.
    Logged {
        /// The hard state, if it is part of the write.
        hard_state: Option<HardState>,
        /// Index of the first of `entries`.
        first: Index,
        /// Entries, which replace what the log held from `first` on. Without any the log stays as it is.
        entries: Vec<EntryHash>,
    },
    /// A configuration was handed to the log.
    Membership {
        /// The entry's term.
        term: Term,
        /// Its index.
        index: Index,
        /// Who votes from there on.
        electorate: Electorate,
    },
    /// An entry was applied.
    Applied {
        /// Its index.
        index: Index,
        /// The entry.
        entry: EntryHash,
    },
    /// The entry that was applied just now is a batch of commands.
    Batch {
        /// The entry's term.
        term: Term,
        /// Its index.
        index: Index,
        /// The batch, as [`wire::Batch`] reads it.
        payload: Bytes,
    },
    /// The entry that was applied just now is one at which replicas are compared: a leader may propose it at any time.
    Compare {
        /// Its index.
        index: Index,
    },
    /// How many batches without commands a core has proposed for keys that are due, since it was started. It concerns the core,
    /// whatever group and replica are given.
    TimeBatches(u64),
    /// How the clocks of all nodes run from now on. It concerns the cluster, whatever group and replica are given.
    Clocks(Vec<NodeClock>),
    /// A state was taken over that holds everything up to this index and term; the log goes on behind it.
    Restored {
        /// Index and term of the last entry the state holds.
        last: (Index, Term),
    },
    /// Its tables are damaged and memory does not hold all rows.
    StateLost {
        /// Whether a fault of the disk explains it.
        is_provoked: bool,
    },
    /// The scrub of its core says that its tables are sound, and they are not.
    OverlookedRot {
        /// What is damaged in them.
        error: String,
    },
    /// The log's beginning was dropped, up to and with this index.
    Compacted(Index),
    /// It was told what cannot be true if it is right, and has dropped it.
    Contradicted,
    /// The leader, which this replica is, has found that replicas hold different rows behind a compare entry.
    RowsDiffer {
        /// The entry.
        index: Index,
    },
    /// Role, term or known leader have changed.
    Role {
        /// The role now.
        role: Role,
        /// The term.
        term: Term,
        /// The leader of that term, if it is known.
        leader: Option<ReplicaId>,
    },
    /// The digest of the state after an entry.
    Digest {
        /// The last entry applied.
        index: Index,
        /// Digest of all keys and values, the time, and the members.
        digest: u128,
    },
    /// It has told the leader of a term that its log is on its disk up to an index.
    Accepted {
        /// The term.
        term: Term,
        /// The index.
        index: Index,
    },
    /// It has told a candidate that it has its vote.
    Voted {
        /// The term.
        term: Term,
        /// The candidate.
        candidate: ReplicaId,
    },
    /// What a budget counts, and what is really held for it. It concerns the core, whatever group and replica are given.
    Budget {
        /// Its name.
        name: &'static str,
        /// Bytes for which permits are out.
        counted: u64,
        /// Bytes that are held, found by looking.
        held: u64,
        /// How many it allows.
        max: u64,
    },
    /// How full a queue is. It concerns the core, whatever group and replica are given.
    Queue {
        /// Its name.
        name: &'static str,
        /// How much is in it: bytes or elements, as `max` counts them.
        len: u64,
        /// How much may be in it.
        max: u64,
    },
}

impl Observation {
    /// The same of another kind.
    pub fn with(&self, kind: ObservationKind) -> Observation {
        Observation { kind, ..self.clone() }
    }

    /// What a core's observer was told at true time `at`.
    pub fn of_event(
        at: Instant,
        place: CoreAddr,
        group: GroupId,
        replica: ReplicaId,
        event: &Event<'_>,
    ) -> Observation {
        let kind = match *event {
            Event::Started { hard_state, base, last_index, last_term, applied } => {
                ObservationKind::Started { hard_state, base, last: (last_index, last_term), applied }
            }
            Event::Quarantined => ObservationKind::Quarantined { is_provoked: false },
            Event::Destroyed => ObservationKind::Destroyed,
            Event::Logged(persist) => ObservationKind::Logged {
                hard_state: persist.hard_state,
                first: persist.entries.first().map_or(0, |entry| entry.index),
                entries: persist.entries.iter().map(EntryHash::of).collect(),
            },
            Event::Applied(entry) => ObservationKind::Applied { index: entry.index, entry: EntryHash::of(entry) },
            Event::Restored { last } => ObservationKind::Restored { last },
            Event::StateLost => ObservationKind::StateLost { is_provoked: false },
            Event::Contradicted => ObservationKind::Contradicted,
            Event::RowsDiffer { index } => ObservationKind::RowsDiffer { index },
            Event::Compacted(index) => ObservationKind::Compacted(index),
            Event::Digest { applied, digest } => ObservationKind::Digest { index: applied, digest },
            Event::Role { role, term, leader } => ObservationKind::Role { role, term, leader },
        };
        Observation { at, place, group, replica, kind }
    }
}
