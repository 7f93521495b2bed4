//! Messages from other replicas: which of them count, and where each one goes.

use types::{Instant, ReplicaId, Term};
use wire::{Body, Message};

use crate::raft::Raft;
use crate::ready::Role;

/// A message may be ahead of our term by this much. So many elections take days in which we heard of none.
const TERM_JUMP_MAX: Term = 1 << 16;

/// A term further ahead is believed only up to here, so that there is room to count on from it.
const TERM_FAR_MAX: Term = Term::MAX / 2;

/// The last term that counts at all: counting on from it does not overflow.
pub(crate) const TERM_LAST: Term = Term::MAX - TERM_JUMP_MAX;

/// A term that is too far ahead is believed once the same replica has told of such terms this often, over at least
/// `election_timeout_min`: it is not one wrong byte then.
const FAR_TERMS_COUNT_MIN: u32 = 8;

/// What a replica has told of terms that are too far ahead counts for this many times `election_timeout_max`.
const FAR_TERMS_TIMEOUTS_COUNT: u32 = 64;

/// A replica that tells of terms too far ahead to be believed at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FarTerms {
    from: ReplicaId,
    since: Instant,
    count: u32,
}

impl Raft {
    /// Takes in a message. `now` must have been read after the message was received: a follower's loyalty, and
    /// with it every lease, is counted from it.
    pub fn step(&mut self, message: Message, now: Instant) {
        self.advance(now);
        if message.group != self.config.group || message.to != self.config.id {
            self.counters.not_addressed_here += 1;
            return;
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
            return;
        }
        if !self.believes_term(&message) {
            self.counters.terms_refused += 1;
            return;
        }
        self.wake_by(message.from, &message.body);
        if message.term > self.term && !self.meet_higher_term(&message) {
            return;
        }
        // Only a pre-vote comes from a higher term that is not ours by now.
        if message.term < self.term {
            self.counters.stale_term += 1;
            self.answer_stale(message);
            return;
        }
        if self.role == Role::Leader
            && message.term == self.term
            && let Some(idx) = sender
        {
            self.peers[idx].heard(self.now);
        }
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
            ) => unreachable!("answers of strangers were dropped above"),
        }
    }

    /// Whether a message's term can be true. One that is far ahead of ours, from a damaged or hostile message, would leave
    /// no room for elections: it is believed only if its sender insists on it, as the others do when this replica was
    /// away for very long.
    fn believes_term(&mut self, message: &Message) -> bool {
        let term = message.term;
        if term <= self.term.saturating_add(TERM_JUMP_MAX) {
            return term <= TERM_LAST;
        }
        if term > TERM_FAR_MAX {
            return false;
        }
        let (now, lasts) = (self.now, self.config.election_timeout_max * FAR_TERMS_TIMEOUTS_COUNT);
        let known = self.far_terms.filter(|far| far.from == message.from && now.since(far.since) < lasts);
        let mut far = known.unwrap_or(FarTerms { from: message.from, since: now, count: 0 });
        far.count = far.count.saturating_add(1);
        self.far_terms = Some(far);
        far.count >= FAR_TERMS_COUNT_MIN && now.since(far.since) >= self.config.election_timeout_min
    }

    /// A message of a higher term: takes over that term if the message proves that it has begun. False if the
    /// message is to be dropped.
    fn meet_higher_term(&mut self, message: &Message) -> bool {
        match &message.body {
            // A question whether to campaign raises no term, and neither does the answer that one should.
            Body::Vote { pre: true, .. } | Body::VoteReply { pre: true, granted: true } => true,
            // Out of loyalty not even the term is taken over: a candidate that nobody can use must not
            // bring the leader down.
            Body::Vote { pre: false, transfer: false, .. } if self.is_loyal() => {
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
