//! Messages from other replicas: which of them count, and where each one goes.

use types::Instant;
use wire::{Body, Message};

use crate::raft::Raft;

impl Raft {
    /// Takes in a message. `now` must have been read after the message was received: how long a follower is
    /// sticky, and with it every lease, is counted from it.
    ///
    /// Returns whether it counts, or is answered at least: it is for this replica, and from one that may speak to it, in a term
    /// that can be.
    pub fn step(&mut self, message: Message, now: Instant) -> bool {
        self.advance(now);
        if message.group != self.config.group || message.to != self.config.id {
            self.counters.not_addressed_here += 1;
            return false;
        }
        // Our configuration may be older than the sender's: it may campaign among us, or lead us.
        let sender = self.peer_idx(message.from);
        let asks = matches!(
            message.body,
            Body::Vote { .. }
                | Body::Append { .. }
                | Body::Heartbeat { .. }
                | Body::Snapshot { .. }
                | Body::TimeoutNow
        );
        if sender.is_none() && (!asks || message.from == self.config.id) {
            self.counters.unknown_sender += 1;
            return false;
        }
        if !self.far_terms.believes(self.term, message.term, message.from, self.now) {
            self.counters.terms_refused += 1;
            return false;
        }
        self.wake_by(message.from, &message.body);
        if message.term > self.term && !self.meet_higher_term(&message) {
            return false;
        }
        // Only a pre-vote comes from a higher term that is not ours by now.
        if message.term < self.term {
            self.counters.stale_term += 1;
            self.answer_stale(message);
            return true;
        }
        if self.is_leader()
            && message.term == self.term
            && let Some(idx) = sender
        {
            self.peers[idx].heard(self.now);
        }
        self.dispatch(message, sender);
        true
    }

    /// Hands a message that counts to whatever handles its kind. `sender` is the index of the replica that sent it, if our
    /// configuration has it. Invariant: it has whoever sends an answer.
    fn dispatch(&mut self, message: Message, sender: Option<usize>) {
        let Message { from, term, body, .. } = message;
        match (body, sender) {
            (Body::Vote { pre: true, transfer: _, last_index, last_term }, _) => {
                self.handle_pre_vote(from, term, last_index, last_term);
            }
            (Body::Vote { pre: false, transfer, last_index, last_term }, _) => {
                self.handle_vote(from, transfer, last_index, last_term);
            }
            (Body::Append { prev_index, prev_term, commit, entries }, _) => {
                if self.hear_leader(from) {
                    self.handle_append(from, prev_index, prev_term, commit, entries);
                }
            }
            (Body::Heartbeat { commit, round, quiesce, round_trip_us }, _) => {
                if self.hear_leader(from) {
                    self.timing.told(round_trip_us);
                    self.retune();
                    self.handle_heartbeat(from, commit, round, quiesce);
                }
            }
            (Body::Snapshot { last_index, last_term }, _) => {
                if self.hear_leader(from) {
                    self.handle_snapshot(from, last_index, last_term);
                }
            }
            (Body::TimeoutNow, _) => self.handle_timeout_now(from),
            (Body::VoteReply { pre, granted }, Some(idx)) => self.handle_vote_reply(idx, term, pre, granted),
            (Body::AppendAccepted { match_index }, Some(idx)) => self.handle_accepted(idx, match_index),
            (Body::AppendRejected { prev_index, hint_index, hint_term }, Some(idx)) => {
                self.handle_rejected(idx, prev_index, hint_index, hint_term);
            }
            (Body::HeartbeatReply { round, priority }, Some(idx)) => {
                self.handle_heartbeat_reply(idx, round, priority)
            }
            (
                Body::VoteReply { .. }
                | Body::AppendAccepted { .. }
                | Body::AppendRejected { .. }
                | Body::HeartbeatReply { .. },
                None,
            ) => unreachable!("answers of unknown senders were dropped above"),
        }
    }

    /// A message of a higher term: takes over that term if the message proves that it has begun. False if the
    /// message is to be dropped.
    fn meet_higher_term(&mut self, message: &Message) -> bool {
        match &message.body {
            // A question whether to campaign raises no term, and neither does the answer that one should.
            Body::Vote { pre: true, .. } | Body::VoteReply { pre: true, granted: true } => true,
            // While it is sticky, a voter does not even take over the term: a candidate that nobody can use must not
            // bring the leader down.
            Body::Vote { pre: false, transfer: false, .. } if self.is_sticky() => {
                self.counters.votes_denied += 1;
                false
            }
            Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. } | Body::TimeoutNow => {
                self.become_follower(message.term, Some(message.from));
                true
            }
            _ => {
                self.become_follower(message.term, None);
                true
            }
        }
    }

    /// A message of an earlier term. Its sender learns our term, so that a leader left behind steps down, and
    /// a replica that came back with a higher term is not shut out for ever. The answer to a heartbeat names
    /// round 0: it confirms nobody.
    fn answer_stale(&mut self, message: Message) {
        match message.body {
            Body::Vote { pre, .. } => self.send(message.from, Body::VoteReply { pre, granted: false }),
            Body::Heartbeat { .. } => {
                self.send(message.from, Body::HeartbeatReply { round: 0, priority: self.config.priority });
            }
            Body::Append { prev_index, .. } => {
                self.send(message.from, Body::AppendRejected { prev_index, hint_index: 0, hint_term: 0 });
            }
            _ => {}
        }
    }
}
