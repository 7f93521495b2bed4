//! Elections: campaigns, votes, and changes of role (thesis chapter 3, and §9.6 for the pre-vote).

use core::mem;
use core::time::Duration;

use bytes::Bytes;
use types::{Index, ReplicaId, Term};
use wire::{Body, Entry, EntryKind};

use crate::log::entry_bytes;
use crate::membership;
use crate::raft::Raft;
use crate::reads::{Reads, Rounds};
use crate::ready::Role;
use crate::role::{Candidate, Follower, Leader, PreCandidate, RoleState, Votes};

/// A campaign is not given up before this many times what the pre-vote took.
const ROUNDS_PER_CAMPAIGN: u32 = 4;

impl Raft {
    /// Whether this replica denies votes because a leader may be alive: it is the leader, or heard it lately, or may have
    /// heard it just before a restart (leader stickiness, thesis §4.2.3).
    pub(crate) fn is_sticky(&self) -> bool {
        self.is_leader() || self.now < self.leader_sticky_until
    }

    /// Follows in `term`, which may be the current one.
    pub(crate) fn become_follower(&mut self, term: Term, leader: Option<ReplicaId>) {
        assert!(term >= self.term, "terms never fall");
        let is_new_term = term > self.term;
        if is_new_term {
            self.set_term(term, None);
        }
        let follower = match self.state.take() {
            RoleState::Leader(leader) => {
                self.resign(leader);
                Follower::default()
            }
            _ if is_new_term => Follower::default(),
            state => state.into_follower(),
        };
        self.state = RoleState::Follower(follower);
        self.leader = leader;
    }

    /// Ends what belonged to the leadership of this replica.
    fn resign(&mut self, leader: Leader) {
        self.quiescent = false;
        self.counters.reads_failed += leader.reads.fail_all(&mut self.read_results) as u64;
        if leader.transfer.is_some_and(|transfer| transfer.by_priority) {
            // The successor has begun a term. Unless it is heard as its leader, it has failed.
            self.count_failed_hand_over();
        }
        self.draw_election_deadline();
    }

    /// Ends a campaign, in the same term.
    fn end_campaign(&mut self) {
        let follower = self.state.take().into_follower();
        self.state = RoleState::Follower(follower);
    }

    /// Begins a term. What was held back for the last one is of no use any more.
    fn set_term(&mut self, term: Term, vote: Option<ReplicaId>) {
        self.term = term;
        self.vote = vote;
        self.leader = None;
        self.quiescent = false;
        self.durability.dirty();
        self.held.clear();
    }

    pub(crate) fn draw_election_deadline(&mut self) {
        self.draw_election_timeout();
        self.election_deadline = self.now + self.election_timeout;
    }

    /// Draws when a campaign is given up. The first one since a leader was heard has several times as long as an election
    /// takes here, and as the others took to grant the pre-vote, `asked`: if the votes were split, nobody should wait much
    /// longer than that. If it is not won, what was measured may be wrong, and the next ones have a whole timeout out of
    /// the whole range.
    fn draw_campaign_deadline(&mut self, asked: Duration) {
        let is_first = !mem::replace(&mut self.has_campaigned, true);
        self.draw_election_deadline();
        if is_first {
            let patience = self.timing.spread().max(asked * ROUNDS_PER_CAMPAIGN);
            let soon = self.now + self.rng.duration(patience, patience * 2);
            self.election_deadline = self.election_deadline.min(soon.max(self.leader_sticky_until));
        }
    }

    /// Draws how long this replica waits for a leader. Never less than what leases rest on.
    pub(crate) fn draw_election_timeout(&mut self) {
        let (min, max) = (self.config.election_timeout_min, self.config.election_timeout_max);
        let end = if self.has_campaigned { max } else { min + self.timing.spread() };
        self.election_timeout = self.rng.duration(min, end);
    }

    /// There is a leader, or somebody else is about to be one: gives it an election timeout.
    pub(crate) fn await_leader(&mut self) {
        self.election_deadline = self.now + self.election_timeout + self.priority_wait();
    }

    /// The leader of our term speaks. False if the message is to be dropped.
    pub(crate) fn hear_leader(&mut self, from: ReplicaId) -> bool {
        if self.is_leader() {
            // We have the votes of a majority for this term. To drop it is as safe as to lose it.
            self.counters.rival_leaders += 1;
            return false;
        }
        if self.leader.is_some_and(|leader| leader != from) {
            self.counters.malformed += 1;
            return false;
        }
        self.become_follower(self.term, Some(from));
        self.forget_failed_hand_overs();
        self.has_campaigned = false;
        self.leader_sticky_until = self.now + self.config.election_timeout_min;
        self.await_leader();
        true
    }

    /// The election timeout has passed.
    pub(crate) fn election_due(&mut self) {
        if !self.may_campaign() {
            return self.draw_election_deadline();
        }
        if self.is_sole_voter() {
            // There is nobody to ask. A campaign under way waits for its own disk, however slow.
            if !matches!(self.state, RoleState::Candidate(_)) {
                self.campaign(false);
            }
            return;
        }
        self.counters.pre_campaigns += 1;
        let follower = self.state.take().into_follower();
        self.state = RoleState::PreCandidate(PreCandidate { follower, asked_at: self.now, votes: Votes::default() });
        self.draw_election_deadline();
        if self.term == 0 && self.config.first_campaigner {
            // The others may not have started yet: ask again soon.
            self.election_deadline = self.now + self.config.heartbeat_interval;
        }
        self.ask_for_votes(self.term + 1, true, false);
    }

    /// Campaigns in a new term. The requests leave, and our own vote counts, once term and vote are durable:
    /// a crash before then leaves nobody with a vote for a candidate that has forgotten it.
    pub(crate) fn campaign(&mut self, transfer: bool) {
        assert!(
            transfer || self.now >= self.leader_sticky_until,
            "no campaign against a leader that may hold a lease"
        );
        self.counters.campaigns += 1;
        let asked = match &self.state {
            RoleState::PreCandidate(candidate) => self.now.since(candidate.asked_at),
            _ => Duration::ZERO,
        };
        self.set_term(self.term + 1, Some(self.config.id));
        self.draw_campaign_deadline(asked);
        self.state = RoleState::Candidate(Candidate::default());
        self.ask_for_votes(self.term, false, transfer);
    }

    fn ask_for_votes(&mut self, term: Term, pre: bool, transfer: bool) {
        let (last_index, last_term) = (self.log.last_index(), self.log.last_term());
        for idx in 0..self.peers.len() {
            if !self.membership().is_voter(self.peers[idx].id) {
                continue;
            }
            self.send_in_term(self.peers[idx].id, term, Body::Vote { pre, transfer, last_index, last_term });
        }
    }

    /// Whether a candidate's log holds at least what ours does (Raft paper §5.4.1).
    fn is_up_to_date(&self, last_index: Index, last_term: Term) -> bool {
        (last_term, last_index) >= (self.log.last_term(), self.log.last_index())
    }

    /// Would we vote? Nothing changes here, and the answer binds nobody.
    pub(crate) fn handle_pre_vote(&mut self, from: ReplicaId, term: Term, last_index: Index, last_term: Term) {
        let is_sticky = self.is_sticky();
        self.counters.votes_denied += u64::from(is_sticky);
        let granted = term > self.term && !is_sticky && self.is_up_to_date(last_index, last_term);
        let reply_term = if granted { term } else { self.term };
        self.send_in_term(from, reply_term, Body::VoteReply { pre: true, granted });
    }

    pub(crate) fn handle_vote(&mut self, from: ReplicaId, transfer: bool, last_index: Index, last_term: Term) {
        let repeated = self.vote == Some(from);
        let free = self.vote.is_none() && self.leader.is_none();
        let is_sticky = self.is_sticky() && !transfer && !repeated;
        self.counters.votes_denied += u64::from(is_sticky);
        let granted = (repeated || free) && !is_sticky && self.is_up_to_date(last_index, last_term);
        if granted {
            if !repeated {
                self.vote = Some(from);
                self.durability.dirty();
            }
            self.await_leader();
            if matches!(self.state, RoleState::PreCandidate(_)) {
                self.end_campaign();
            }
        }
        self.send(from, Body::VoteReply { pre: false, granted });
    }

    pub(crate) fn handle_vote_reply(&mut self, sender_idx: usize, term: Term, pre: bool, granted: bool) {
        let voter = self.peers[sender_idx].id;
        match &mut self.state {
            RoleState::PreCandidate(candidate) if pre && (!granted || term == self.term + 1) => {
                candidate.votes.record(voter, granted);
            }
            RoleState::Candidate(candidate) if !pre => candidate.votes.record(voter, granted),
            _ => return,
        }
        self.count_votes();
    }

    pub(crate) fn count_votes(&mut self) {
        let (votes, own_vote) = match &self.state {
            // A question needs no vote on disk.
            RoleState::PreCandidate(candidate) => (&candidate.votes, true),
            // Without our own vote on disk the same term could see us twice.
            RoleState::Candidate(candidate) => (&candidate.votes, candidate.own_vote),
            RoleState::Follower(_) | RoleState::Leader(_) => return,
        };
        let own_id = self.config.id;
        let vote = |id| if id == own_id { own_vote.then_some(true) } else { votes.of(id) };
        match (membership::votes(self.membership(), vote), self.state.role()) {
            (Some(true), Role::PreCandidate) => self.campaign(false),
            (Some(true), _) if own_vote => self.become_leader(),
            // Lost. The deadline drawn for this campaign decides when to try again.
            (Some(false), _) => self.end_campaign(),
            _ => {}
        }
    }

    fn become_leader(&mut self) {
        assert!(self.durability.hard_state_is_durable(), "a leader's term and own vote are durable");
        self.counters.elections_won += 1;
        self.leader = Some(self.config.id);
        self.has_campaigned = false;
        let last_index = self.log.last_index();
        for peer in &mut self.peers {
            peer.reset(last_index, self.now);
        }
        self.timing.leading();
        self.state = RoleState::Leader(Leader {
            term_start: last_index + 1,
            uncommitted_bytes: 0,
            rounds: Rounds::default(),
            reads: Reads::default(),
            transfer: None,
            lease_disabled: false,
            hand_over_from: self.stable_from(),
            heartbeat_slot: self.slot_of_now(),
            idle_intervals_count: 0,
            send_due: true,
        });
        // Entries of earlier terms become committed through one of our own.
        self.append_own(EntryKind::Empty, Bytes::new());
        self.start_round(false);
    }

    /// Appends an entry of our own term as its leader. Returns its index.
    pub(crate) fn append_own(&mut self, kind: EntryKind, payload: Bytes) -> Index {
        let entry = Entry { term: self.term, index: self.log.last_index() + 1, kind, payload: payload.into() };
        let index = entry.index;
        if let Some(leader) = self.state.leader_mut() {
            leader.uncommitted_bytes += entry_bytes(&entry);
            leader.send_due = true;
        }
        let payload = entry.payload.clone();
        self.log.push(entry);
        self.note_appended(index, kind, &payload);
        index
    }

    /// What waited for the current term and vote to be durable may go.
    pub(crate) fn hard_state_became_durable(&mut self) {
        self.messages.append(&mut self.held);
        if let RoleState::Candidate(candidate) = &mut self.state
            && !candidate.own_vote
        {
            candidate.own_vote = true;
            self.count_votes();
        }
    }

    /// The leader asks us to take over (thesis §3.10).
    pub(crate) fn handle_timeout_now(&mut self, from: ReplicaId) {
        if self.is_leader() || !self.may_campaign() || self.leader.is_some_and(|leader| leader != from) {
            self.counters.malformed += 1;
            return;
        }
        self.campaign(true);
    }
}
