//! What the replica wants done: messages to send, writes to make durable, entries to apply.

use alloc::vec::Vec;

use types::{Index, ReplicaId, Term};
use wire::{Entry, HardState, Membership, Message};

use crate::reads::ReadState;

/// What part a replica plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks to be elected.
    Candidate,
    /// Leads.
    Leader,
}

/// What others may want to know and nobody must remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftState {
    /// The replica's role.
    pub role: Role,
    /// The leader as far as it is known; it may be gone already.
    pub leader: Option<ReplicaId>,
    /// The current term.
    pub term: Term,
}

/// A write to make durable.
///
/// Writes must become durable in the order of `seq`, each as a whole or not at all as far as a report goes:
/// [`Raft::persisted`](crate::Raft::persisted) is called once everything up to a `seq` is on stable storage.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Persist {
    /// Number of the write, growing by one from 1 at each start.
    pub seq: u64,
    /// Index and term of the last entry of a snapshot that was taken over: the log is emptied and goes on behind it,
    /// before anything else of this write.
    pub reset: Option<(Index, Term)>,
    /// The new hard state, if it must be written.
    pub hard_state: Option<HardState>,
    /// Entries to append, in order and without gaps. If the first one's index is at or before the last one
    /// logged so far, the log is first cut back to just before it.
    pub entries: Vec<Entry>,
}

/// Whom a log read is for. At most one read per purpose is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// To apply the entries here.
    Apply,
    /// To send them to this peer.
    Peer(ReplicaId),
}

/// Entries that are durable, but no longer in memory, and needed.
///
/// Each one is answered exactly once, by [`Raft::log_read`](crate::Raft::log_read) or
/// [`Raft::log_read_failed`](crate::Raft::log_read_failed), whatever else happened in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRead {
    /// Whom they are for.
    pub purpose: Purpose,
    /// First index.
    pub first: Index,
    /// Last index. The answer may end earlier, but must not be empty.
    pub last: Index,
    /// The answer should end before its payloads exceed this many bytes, but hold at least one entry.
    pub bytes_max: usize,
}

/// A state to receive from the leader, since its log no longer reaches back to where ours ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// The leader that offered it.
    pub from: ReplicaId,
    /// Index of the last entry it holds; a later state will do as well.
    pub last_index: Index,
    /// Term of that entry.
    pub last_term: Term,
}

/// Everything there is to do since the last one. Keep it and hand it in again: its buffers are reused.
#[derive(Debug, Default)]
pub struct Ready {
    /// Messages that may leave at once; none of them waits for `persist` of this very `Ready`.
    pub messages: Vec<Message>,
    /// What to write.
    pub persist: Option<Persist>,
    /// Committed entries to apply, in order. They may not be durable here yet, but they are on a majority: the
    /// store must not make their effects durable before the log holds them durably.
    pub committed: Vec<Entry>,
    /// Entries to read back from the log.
    pub log_reads: Vec<LogRead>,
    /// Reads by ReadIndex that are confirmed: serve each once its index is applied.
    pub reads: Vec<ReadState>,
    /// Reads by ReadIndex that will never be confirmed here.
    pub reads_failed: Vec<u64>,
    /// Role, leader or term, if one of them changed.
    pub soft_state: Option<SoftState>,
    /// A state to receive and hand to [`Raft::restore`](crate::Raft::restore). Comes again while it is wanted: one that is
    /// being received already, or a later one, will do.
    pub snapshot_request: Option<SnapshotRequest>,
    /// The configuration now in effect, if it has changed: committed or not.
    pub membership: Option<Membership>,
    /// The entries buffer of the last `persist`.
    spare: Vec<Entry>,
}

impl Ready {
    /// An empty one.
    pub fn new() -> Ready {
        Ready::default()
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        if let Some(persist) = self.persist.take() {
            self.spare = persist.entries;
            self.spare.clear();
        }
        self.committed.clear();
        self.log_reads.clear();
        self.reads.clear();
        self.reads_failed.clear();
        self.soft_state = None;
        self.snapshot_request = None;
        self.membership = None;
    }

    pub(crate) fn take_spare(&mut self) -> Vec<Entry> {
        core::mem::take(&mut self.spare)
    }
}
