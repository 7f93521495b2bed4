//! Who should rather lead: replicas of lower priority wait longer before they campaign, and hand leadership to one of
//! higher priority that is there and has caught up.
//!
//! Priority never decides whether somebody leads, only who: it is a delay before the first campaign after a leader was
//! heard, and an orderly transfer while everything is well.

use core::time::Duration;

use types::{Instant, ReplicaId};

use crate::config::PRIORITY_MAX;
use crate::progress::{ProgressState, ROUNDS_UNANSWERED_MAX};
use crate::raft::Raft;

/// A successor may lack this many entries when leadership begins to be handed over; proposals wait until it has them.
const SUCCESSOR_LAG_MAX: u64 = 64;

/// A leader is stable, and may hand over to one of higher priority, after this many times `election_timeout_max`. Twice
/// that after every hand-over that failed.
const STABLE_TIMEOUTS_COUNT: u32 = 2;

/// The wait for stability is not doubled more often than this: a leader tries again at least every
/// `STABLE_TIMEOUTS_COUNT << FAILURES_COUNT_MAX` times `election_timeout_max`.
const FAILURES_COUNT_MAX: u32 = 4;

impl Raft {
    /// Changes this replica's priority, `0 ..= PRIORITY_MAX`. The others hear of it with the next heartbeat; a leader
    /// that is quiescent and should rather not lead speaks up again, to hand over.
    ///
    /// # Panics
    /// If it is above [`PRIORITY_MAX`].
    pub fn set_priority(&mut self, priority: u8, now: Instant) {
        assert!(priority <= PRIORITY_MAX, "priority must be at most {PRIORITY_MAX}");
        if priority == self.config.priority {
            return;
        }
        self.advance(now);
        let is_lowered = priority < self.config.priority;
        self.config.priority = priority;
        self.forget_failed_hand_overs();
        if is_lowered && self.is_leader() {
            self.note_activity();
        }
    }

    /// Another replica leads, or a priority has changed: earlier failures say nothing about the next hand-over.
    pub(crate) fn forget_failed_hand_overs(&mut self) {
        if self.hand_overs_failed > 0 {
            self.hand_overs_failed = 0;
            let stable_from = self.stable_from();
            if let Some(leader) = self.state.leader_mut() {
                leader.hand_over_from = leader.hand_over_from.min(stable_from);
            }
        }
    }

    /// A hand-over by priority did not give the group another leader: the next one waits twice as long.
    pub(crate) fn count_failed_hand_over(&mut self) {
        self.hand_overs_failed = (self.hand_overs_failed + 1).min(FAILURES_COUNT_MAX);
        let stable_from = self.stable_from();
        if let Some(leader) = self.state.leader_mut() {
            leader.hand_over_from = stable_from;
        }
    }

    /// How much longer than one of the highest priority this replica waits before it misses a leader it has heard.
    pub(crate) fn priority_wait(&self) -> Duration {
        self.timing.spread() * u32::from(PRIORITY_MAX - self.config.priority)
    }

    /// When a leader just elected, or one whose hand-over failed, may hand over.
    pub(crate) fn stable_from(&self) -> Instant {
        self.now + self.config.election_timeout_max * (STABLE_TIMEOUTS_COUNT << self.hand_overs_failed)
    }

    /// The voter of the highest priority above ours that is there and could take over now.
    pub(crate) fn successor_by_priority(&self) -> Option<ReplicaId> {
        let (own, last_index) = (self.config.priority, self.log.last_index());
        if own == PRIORITY_MAX {
            return None;
        }
        let round = self.state.leader()?.rounds.current();
        let membership = self.membership();
        let fit = self.peers.iter().filter(|peer| {
            peer.priority > own
                && peer.state == ProgressState::Replicate
                && peer.match_index + SUCCESSOR_LAG_MAX >= last_index
                && peer.round + ROUNDS_UNANSWERED_MAX >= round
                && membership.voters.iter().any(|voter| voter.id == peer.id)
        });
        fit.max_by_key(|peer| (peer.priority, self.transfer_tiebreak(peer.id))).map(|peer| peer.id)
    }

    /// A heartbeat interval has passed: hands over if that is due.
    pub(crate) fn hand_over_if_due(&mut self) {
        let Some(leader) = self.state.leader() else { return };
        let is_busy = leader.transfer.is_some() || self.commit < leader.term_start || self.membership().is_joint();
        if is_busy || self.now < leader.hand_over_from {
            return;
        }
        if let Some(successor) = self.successor_by_priority() {
            self.counters.transfers_by_priority += 1;
            self.begin_transfer(successor, true);
        }
    }
}
