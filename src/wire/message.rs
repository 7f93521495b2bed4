//! What the replicas of a group say to each other.
//!
//! Names follow the Raft paper and the thesis (Ongaro, "Consensus: Bridging Theory and Practice").

use alloc::vec::Vec;

use types::{GroupId, Index, ReplicaId, Term};

use crate::entry::Entry;

/// A message from one replica to another of the same group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The group both belong to.
    pub group: GroupId,
    /// Who says it.
    pub from: ReplicaId,
    /// Who is meant.
    pub to: ReplicaId,
    /// The sender's term; in a pre-vote request the term it would campaign for, and in a granted pre-vote
    /// reply that same term.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// What a [`Message`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Asks for a vote (thesis §3.4), or with `pre` whether one would be given (thesis §9.6).
    Vote {
        /// Only a question; no state changes.
        pre: bool,
        /// The campaign was ordered by the leader ([`Body::TimeoutNow`]): leader stickiness does not apply.
        transfer: bool,
        /// Index of the candidate's last entry.
        last_index: Index,
        /// Term of the candidate's last entry.
        last_term: Term,
    },
    /// Answers [`Body::Vote`].
    VoteReply {
        /// Repeats the question's `pre`.
        pre: bool,
        /// Whether the vote is given.
        granted: bool,
    },
    /// Entries to append behind `prev_index` (AppendEntries, thesis §3.5). May be empty, as a probe.
    Append {
        /// Index of the entry before the first of `entries`.
        prev_index: Index,
        /// Its term.
        prev_term: Term,
        /// The leader's commit index.
        commit: Index,
        /// The entries, in order, without gaps.
        entries: Vec<Entry>,
    },
    /// The follower's log matches the leader's up to `match_index`, durably.
    AppendAccepted {
        /// Last index known to match and durable at the follower.
        match_index: Index,
    },
    /// The follower has no entry (`prev_index`, `prev_term`).
    AppendRejected {
        /// The `prev_index` that was refused.
        prev_index: Index,
        /// Where the leader may go on: the follower's log cannot match beyond this index.
        hint_index: Index,
        /// Term of the follower's entry at `hint_index`.
        hint_term: Term,
    },
    /// The leader's log no longer reaches back to where the follower's ends: receive the state up to here, or a later
    /// one, from whoever leads. Repeated until an Append is accepted again.
    Snapshot {
        /// Index of the last entry in the leader's snapshot.
        last_index: Index,
        /// Its term.
        last_term: Term,
    },
    /// The leader is alive. Sent together for all groups of a pair of cores.
    Heartbeat {
        /// What the receiver may commit: at most what it is known to hold.
        commit: Index,
        /// Number of the heartbeat round, growing within a term. A majority that answers round `n` has
        /// confirmed the leader at a time after round `n` was sent: leases and ReadIndex rest on it.
        round: u64,
        /// There is nothing to do, and this is the last heartbeat for now: whoever has everything stops waiting for
        /// more.
        quiesce: bool,
        /// How long, in microseconds, a majority takes to answer a heartbeat; 0 if the leader does not know.
        round_trip_us: u32,
    },
    /// Answers [`Body::Heartbeat`].
    HeartbeatReply {
        /// Repeats the round.
        round: u64,
        /// The sender's priority: who should rather lead.
        priority: u8,
    },
    /// Leadership transfer: campaign at once (thesis §3.10).
    TimeoutNow,
}
