//! Idle groups quiesce: a leader that has had nothing to do for a while says so in a last heartbeat, and then
//! neither side's timers run until something happens. A member that was not heard for a long time does not keep the
//! others awake; the leader wakes when it is heard again.
//!
//! No safety rests on this. A quiescent leader has no lease, since nobody confirms it; a read by ReadIndex wakes the
//! group. A quiescent follower would not miss a leader that died, so its driver watches the link to the leader's node
//! and calls [`Raft::wake`] when that is lost.

use types::{Index, Instant, ReplicaId};
use wire::Body;

use crate::progress::{Progress, ProgressState, ROUNDS_UNANSWERED_MAX};
use crate::raft::Raft;

/// A member that was not heard for this many times `election_timeout_max` is absent: the others do not stay awake for it.
/// A leader that hears no majority has long stepped down by then.
const ABSENT_TIMEOUTS_COUNT: u32 = 8;

impl Raft {
    /// Whether this replica is quiescent: its timers stand still.
    pub fn is_quiescent(&self) -> bool {
        self.quiescent
    }

    /// Ends quiescence, if there is any: the link to a node was lost, or the driver has another reason for doubt. A
    /// follower gives its leader an election timeout to speak up.
    pub fn wake(&mut self, now: Instant) {
        self.advance(now);
        self.wake_up();
    }

    /// Somebody wants something of this replica.
    pub(crate) fn note_activity(&mut self) {
        if let Some(leader) = self.state.leader_mut() {
            leader.idle_intervals_count = 0;
        }
        self.wake_up();
    }

    pub(crate) fn wake_up(&mut self) {
        if !self.quiescent {
            return;
        }
        self.quiescent = false;
        self.counters.woken += 1;
        let slot = self.slot_of_now();
        let Some(leader) = self.state.leader_mut() else {
            self.await_leader();
            return;
        };
        leader.idle_intervals_count = 0;
        leader.heartbeat_slot = slot;
        // That they said nothing was agreed upon, except for those that were absent before.
        for peer in self.peers.iter_mut().filter(|peer| !peer.is_absent) {
            peer.heard_at = self.now;
        }
        self.start_round(false);
    }

    /// Wakes if this message is more than an answer to the last heartbeats.
    pub(crate) fn wake_by(&mut self, from: ReplicaId, body: &Body) {
        if !self.quiescent {
            return;
        }
        let leads = self.is_leader();
        // A member that was absent is there again, and may need something.
        let returns = leads && self.peer_idx(from).is_some_and(|idx| self.peers[idx].is_absent);
        match body {
            _ if returns => self.wake_up(),
            Body::HeartbeatReply { .. } | Body::AppendAccepted { .. } | Body::VoteReply { .. } if leads => {}
            Body::Heartbeat { quiesce: true, .. } if self.leader == Some(from) => {}
            // One that was removed and does not know asks for ever. One that we only do not know yet gets its answer,
            // and we wake with the term it begins.
            Body::Vote { .. } if self.peer_idx(from).is_none() => {}
            Body::Vote { .. } => {
                self.wake_up();
                // We have not missed the leader yet: it was to be silent. Whoever asks has an election timeout to hear
                // from it, now that it is asked too.
                self.leader_sticky_until = self.leader_sticky_until.max(self.now + self.config.election_timeout_min);
            }
            _ => self.wake_up(),
        }
    }

    /// A heartbeat interval has passed. True if the heartbeats now due are to be the last.
    pub(crate) fn idle_long_enough(&mut self) -> bool {
        let is_idle = self.config.quiesce_intervals_count > 0 && self.is_idle();
        let Some(leader) = self.state.leader_mut() else { return false };
        leader.idle_intervals_count = if is_idle { leader.idle_intervals_count + 1 } else { 0 };
        is_idle && leader.idle_intervals_count >= self.config.quiesce_intervals_count
    }

    /// Whether everybody has everything, but for those that were not heard for a long time.
    fn is_idle(&self) -> bool {
        let last_index = self.log.last_index();
        let settled = |index: Index| index == last_index;
        let Some(leader) = self.state.leader() else { return false };
        let round = leader.rounds.current();
        settled(self.commit)
            && settled(self.applied)
            && settled(self.log.durable())
            && leader.transfer.is_none()
            && leader.reads.is_idle()
            && !self.membership().is_joint()
            && self.successor_by_priority().is_none()
            && self.peers.iter().all(|peer| {
                let has_all = peer.state == ProgressState::Replicate
                    && settled(peer.match_index)
                    && peer.round + ROUNDS_UNANSWERED_MAX >= round;
                has_all || self.seems_absent(peer)
            })
    }

    /// Whether a member was not heard for so long that the others need not wait for it.
    fn seems_absent(&self, peer: &Progress) -> bool {
        self.now.since(peer.heard_at) >= self.config.election_timeout_max * ABSENT_TIMEOUTS_COUNT
    }

    /// The leader's heartbeats were the last for now.
    pub(crate) fn quiesce_as_leader(&mut self) {
        let mut absent_count = 0;
        for idx in 0..self.peers.len() {
            let is_absent = self.seems_absent(&self.peers[idx]);
            self.peers[idx].is_absent = is_absent;
            absent_count += u64::from(is_absent);
        }
        self.counters.quiesced_with_absent += u64::from(absent_count > 0);
        self.quiesce();
    }

    /// The driver can reach a member again, or for the first time: a quiescent leader wakes if that member was absent.
    /// A member that starts again says so itself; one that was cut off may be quiescent and not know what it lacks.
    pub fn peer_reachable(&mut self, id: ReplicaId, now: Instant) {
        self.advance(now);
        let is_absent = self.peer_idx(id).is_some_and(|idx| self.peers[idx].is_absent);
        if self.quiescent && self.is_leader() && is_absent {
            self.wake_up();
        }
    }

    /// No heartbeats are sent or missed until something happens.
    fn quiesce(&mut self) {
        self.quiescent = true;
        self.counters.quiesced += 1;
    }

    /// The leader quiesces. A follower that lacks something, or that hears of it late, does not: its election timeout will
    /// wake the leader.
    pub(crate) fn quiesce_as_follower(&mut self, newest: bool, commit: Index) {
        let last_index = self.log.last_index();
        let settled = commit == last_index && self.commit == last_index && self.log.durable() == last_index;
        if !newest || !settled || self.config.quiesce_intervals_count == 0 {
            self.counters.quiesce_declined += 1;
        } else if !self.quiescent {
            self.quiesce();
        }
    }
}
