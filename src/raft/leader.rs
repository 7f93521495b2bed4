//! The leader's heartbeats, and the reads and proposals it takes.

use bytes::Bytes;
use types::{Index, Instant, ReplicaId, Term};
use wire::{Body, EntryKind};

use crate::config::PRIORITY_MAX;
use crate::log::ENTRY_OVERHEAD_BYTES;
use crate::progress::LogReadState;
use crate::raft::Raft;
use crate::role::RoleState;

/// Why a proposal is refused. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader {
        /// Who does, if known.
        leader: Option<ReplicaId>,
    },
    /// `uncommitted_bytes_max` is reached: wait until something is committed.
    #[error("too much is proposed and not committed")]
    Overloaded,
    /// Leadership is being handed over.
    #[error("leadership is being transferred")]
    Transferring,
}

/// Why a read cannot be served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader {
        /// Who does, if known.
        leader: Option<ReplicaId>,
    },
    /// No entry of the leader's own term is committed yet: what is committed is not known.
    #[error("the leader is too new")]
    NotReady,
    /// There is no lease now; a read by ReadIndex may do.
    #[error("no lease")]
    LeaseExpired,
    /// [`READS_COUNT_MAX`](crate::READS_COUNT_MAX) reads are waiting.
    #[error("too many reads are waiting")]
    Overloaded,
}

impl Raft {
    /// Proposes a batch of commands. Returns the term and index of its entry: it is committed once an entry
    /// of that term and index is handed out to be applied, and lost if another one is.
    pub fn propose(&mut self, payload: Bytes, now: Instant) -> Result<(Term, Index), ProposeError> {
        self.propose_kind(EntryKind::Batch, payload, now)
    }

    /// As [`propose`](Self::propose), for an entry of any kind but [`EntryKind::Empty`], which leaders make
    /// themselves.
    pub fn propose_kind(
        &mut self,
        kind: EntryKind,
        payload: Bytes,
        now: Instant,
    ) -> Result<(Term, Index), ProposeError> {
        self.advance(now);
        self.note_activity();
        let Some(leader) = self.state.leader() else {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        };
        if leader.transfer.is_some() {
            self.counters.proposals_during_transfer += 1;
            return Err(ProposeError::Transferring);
        }
        // A log with nothing uncommitted takes one entry of any size.
        let bytes = leader.uncommitted_bytes + payload.len() + ENTRY_OVERHEAD_BYTES;
        if leader.uncommitted_bytes > 0 && bytes > self.config.uncommitted_bytes_max {
            self.counters.proposals_refused += 1;
            return Err(ProposeError::Overloaded);
        }
        Ok((self.term, self.append_own(kind, payload)))
    }

    /// A read by lease: once the index returned is applied, the state answers the read, linearizably. `now` must
    /// have been read after the read was received.
    pub fn lease_read(&mut self, now: Instant) -> Result<Index, ReadError> {
        self.advance(now);
        let was_quiescent = self.quiescent && !self.is_sole_voter();
        self.note_activity();
        let Some(leader) = self.state.leader() else {
            return Err(ReadError::NotLeader { leader: self.leader() });
        };
        if self.commit < leader.term_start {
            return Err(ReadError::NotReady);
        }
        let is_off = was_quiescent || leader.transfer.is_some() || leader.lease_disabled;
        let is_confirmed = || leader.rounds.confirmed_at().is_some_and(|at| self.now < at + self.lease_duration);
        // Nobody can be elected without a group's only voter.
        if is_off || !self.is_sole_voter() && !is_confirmed() {
            self.counters.leases_missing += 1;
            return Err(ReadError::LeaseExpired);
        }
        Ok(self.commit)
    }

    /// A read by ReadIndex. `ctx` comes back in [`Ready::reads`](crate::Ready::reads) with the index to wait
    /// for, or in [`Ready::reads_failed`](crate::Ready::reads_failed). Reads asked before the next `ready` share
    /// one heartbeat round; reads asked before the term's first commit wait for it.
    pub fn read_index(&mut self, ctx: u64, now: Instant) -> Result<(), ReadError> {
        self.advance(now);
        self.note_activity();
        let known = self.leader();
        let Some(leader) = self.state.leader_mut() else {
            return Err(ReadError::NotLeader { leader: known });
        };
        if !leader.reads.has_room() {
            self.counters.reads_refused += 1;
            return Err(ReadError::Overloaded);
        }
        leader.reads.ask(ctx);
        Ok(())
    }

    /// Time has passed. Call it once [`next_wake`](Self::next_wake) has come, after the messages of that turn: what was
    /// received may show that nothing is late. Before that time it changes nothing, so a fixed interval will do as well.
    pub fn tick(&mut self, now: Instant) {
        self.advance(now);
        if self.apply_log_read == LogReadState::Failed && self.now >= self.apply_retry_at {
            self.apply_log_read = LogReadState::Idle;
        }
        if self.quiescent {
            return;
        }
        let slot = self.slot_of_now();
        let Some(leader) = self.state.leader_mut() else {
            if self.now >= self.election_deadline {
                self.election_due();
            }
            return;
        };
        let is_heartbeat_due = slot > leader.heartbeat_slot;
        leader.heartbeat_slot = slot;
        self.give_up_late_transfer();
        if is_heartbeat_due {
            self.heartbeat_due();
        }
    }

    /// A heartbeat interval has passed.
    fn heartbeat_due(&mut self) {
        if !self.hears_majority() {
            self.counters.quorum_lost += 1;
            self.become_follower(self.term, None);
            return;
        }
        self.hand_over_if_due();
        let last = self.idle_long_enough();
        self.start_round(last);
        if last {
            self.quiesce_as_leader();
        }
    }

    /// The earliest time at which [`tick`](Self::tick) has something to do; `None` while only a message, a completion or
    /// a call can change anything. Every other call may change it: ask again after each turn that touched this replica.
    pub fn next_wake(&self) -> Option<Instant> {
        let retry = (self.apply_log_read == LogReadState::Failed).then_some(self.apply_retry_at);
        let timer = self.next_timer();
        retry.into_iter().chain(timer).min()
    }

    /// When the timer of the role ends.
    fn next_timer(&self) -> Option<Instant> {
        match &self.state {
            _ if self.quiescent => None,
            // It waits for its own disk, and for nobody else.
            RoleState::Candidate(_) if self.is_sole_voter() => None,
            RoleState::Leader(leader) => {
                let interval = self.timing.heartbeat_interval().as_nanos() as u64;
                let heartbeat = Instant::from_nanos((leader.heartbeat_slot + 1).saturating_mul(interval));
                Some(leader.transfer.as_ref().map_or(heartbeat, |transfer| heartbeat.min(transfer.deadline)))
            }
            _ => Some(self.election_deadline),
        }
    }

    /// Whether a majority has answered within `election_timeout_max`. Leaders look at each heartbeat; by the time that it
    /// has not, every lease is long over.
    fn hears_majority(&self) -> bool {
        let since = self.quorum_value(|peer| peer.heard_at, self.now, Instant::ZERO);
        self.now.since(since) <= self.config.election_timeout_max
    }

    pub(crate) fn slot_of_now(&self) -> u64 {
        self.now.as_nanos() / self.timing.heartbeat_interval().as_nanos() as u64
    }

    /// Starts a heartbeat round, dated with the latest time known: the messages leave at that time or later. With
    /// `quiesce` they are the last for now.
    pub(crate) fn start_round(&mut self, quiesce: bool) {
        let round_trip_us = self.timing.round_trip_us();
        let Some(leader) = self.state.leader_mut() else { return };
        let round = leader.rounds.start(self.now);
        for idx in 0..self.peers.len() {
            let peer = &self.peers[idx];
            let (to, commit) = (peer.id, peer.match_index.min(self.commit));
            self.send(to, Body::Heartbeat { commit, round, quiesce, round_trip_us });
        }
        self.confirm_rounds();
    }

    /// The reads that wait for a round get one, if there is something for them to read.
    pub(crate) fn start_read_round(&mut self) {
        let Some(leader) = self.state.leader_mut() else { return };
        if leader.reads.has_waiting() && self.commit >= leader.term_start {
            leader.reads.join_round(leader.rounds.current() + 1, self.commit);
            self.start_round(false);
        }
    }

    pub(crate) fn handle_heartbeat_reply(&mut self, sender_idx: usize, round: u64, priority: u8) {
        let Some(leader) = self.state.leader() else { return };
        if round > leader.rounds.current() {
            self.counters.malformed += 1;
            return;
        }
        let peer = &mut self.peers[sender_idx];
        peer.round = peer.round.max(round);
        let priority = priority.min(PRIORITY_MAX);
        let changed = core::mem::replace(&mut peer.priority, priority) != priority;
        if changed {
            self.forget_failed_hand_overs();
        }
        if let Some(sent) = self.confirm_rounds() {
            self.timing.round_answered(self.now.since(sent));
            self.retune();
        }
        self.resume_peer(sender_idx);
    }

    /// Lets the timing follow what was measured.
    pub(crate) fn retune(&mut self) {
        let retuned = self.timing.retune();
        if retuned.heartbeat_interval {
            self.counters.heartbeat_interval_changes += 1;
            let slot = self.slot_of_now();
            if let Some(leader) = self.state.leader_mut() {
                leader.heartbeat_slot = slot;
            }
        }
        if retuned.spread {
            self.counters.campaign_spread_changes += 1;
            self.draw_election_timeout();
        }
    }

    /// When the last confirmed round was sent, if a majority has answered a later one than before.
    fn confirm_rounds(&mut self) -> Option<Instant> {
        let current = self.state.leader()?.rounds.current();
        let round = self.quorum_value(|peer| peer.round, current, 0);
        let leader = self.state.leader_mut()?;
        if !leader.rounds.confirm(round) {
            return None;
        }
        leader.reads.confirmed(round, &mut self.read_results);
        leader.rounds.confirmed_at()
    }
}
