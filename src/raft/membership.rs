//! Who takes part: configurations, and how they change (thesis chapter 4).
//!
//! A configuration takes effect when its entry is appended and is undone when that entry is cut off. Every change of
//! voters goes through the joint state (§4.3), which the leader leaves by itself once it has applied the entry that
//! began it. One change is under way at a time.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use types::limits::REPLICAS_COUNT_MAX;
use types::{CoreAddr, Index, Instant, ReplicaId, Term};
use wire::{Entry, EntryKind, Member, Membership};

use crate::progress::{LogReadState, Progress};
use crate::quorum::{majority, reached_by_majority};
use crate::raft::Raft;
use crate::ready::Role;

/// A learner has caught up, and may become a voter, once it lacks no more entries than this.
pub const PROMOTION_LAG_MAX: u64 = 64;

/// One part of a change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a replica that receives the log and does not vote. A voter becomes a learner.
    AddLearner(Member),
    /// Makes a voter of a learner that has caught up.
    Promote(ReplicaId),
    /// Removes a voter or a learner.
    Remove(ReplicaId),
}

/// Why a change of membership is refused. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader {
        /// Who does, if known.
        leader: Option<ReplicaId>,
    },
    /// No entry of the leader's own term is committed yet: an earlier leader's change may still be undone (the bug of
    /// the thesis's single-server changes, raft-dev 2015).
    #[error("the leader is too new")]
    NotReady,
    /// The last change is not applied here yet, or the group is in the joint state.
    #[error("another change of membership is under way")]
    Pending,
    /// Leadership is being handed over.
    #[error("leadership is being transferred")]
    Transferring,
    /// A voter must have been a learner first, so that a majority never waits for one that has nothing yet.
    #[error("replica {0} is no learner")]
    NotALearner(ReplicaId),
    /// The learner lacks too much of the log.
    #[error("replica {0} has not caught up yet")]
    NotCaughtUp(ReplicaId),
    /// There is no such replica.
    #[error("replica {0} is not a member")]
    NotAMember(ReplicaId),
    /// Nobody would vote, or too many would.
    #[error("a group needs 1 to {REPLICAS_COUNT_MAX} voters, and at most as many learners")]
    Count,
    /// Nothing would change.
    #[error("nothing would change")]
    Nothing,
}

/// The configurations that are in effect or may be again: the last one that is committed, and those behind it.
#[derive(Debug)]
pub(crate) struct Memberships {
    /// With the index of its entry; 0 for the one the group began with. Invariants: indexes grow; never empty.
    list: VecDeque<(Index, Membership)>,
}

impl Memberships {
    /// `first` was in effect as of `index`, and `later` ones follow in the log.
    pub(crate) fn new(index: Index, first: Membership, later: impl IntoIterator<Item = (Index, Membership)>) -> Self {
        let later = later.into_iter().filter(|(at, _)| *at > index);
        Memberships { list: [(index, first)].into_iter().chain(later).collect() }
    }

    /// The one in effect, and the index of its entry.
    pub(crate) fn last(&self) -> &(Index, Membership) {
        self.list.back().expect("there is always one in effect")
    }

    fn push(&mut self, index: Index, membership: Membership) {
        assert!(index > self.last().0, "configurations come in the order of the log");
        self.list.push_back((index, membership));
    }

    /// The log was cut back to `last_index`. True if that undid a configuration.
    fn truncated(&mut self, last_index: Index) -> bool {
        let before = self.list.len();
        while self.list.len() > 1 && self.last().0 > last_index {
            self.list.pop_back();
        }
        self.list.len() < before
    }

    /// A state was taken over that knows only this one.
    pub(crate) fn replace(&mut self, index: Index, membership: Membership) {
        self.list.clear();
        self.list.push_back((index, membership));
    }

    /// Everything up to `index` is committed: what came before the last one up to there cannot come back.
    pub(crate) fn committed(&mut self, index: Index) {
        while self.list.get(1).is_some_and(|(at, _)| *at <= index) {
            self.list.pop_front();
        }
    }
}

/// Voters whose places the caller knows.
pub(crate) fn of_ids(voters: &[ReplicaId]) -> Membership {
    Membership::of_voters(voters.iter().map(|id| Member { id: *id, place: CoreAddr::default() }))
}

impl Raft {
    /// The configuration in effect.
    pub fn membership(&self) -> &Membership {
        &self.memberships.last().1
    }

    /// Whether this replica has a vote in the configuration it knows.
    pub fn is_voter(&self) -> bool {
        self.membership().is_voter(self.config.id)
    }

    /// Whether this replica may campaign: it votes in the configuration in effect, or in one that is in effect again if
    /// what came later is cut off. A replica that is about to be removed may be the only one whose log is long enough
    /// to be elected, until the entry that removes it is committed (thesis §4.2.2).
    pub(crate) fn may_campaign(&self) -> bool {
        self.memberships.list.iter().any(|(_, membership)| membership.is_voter(self.config.id))
    }

    /// Whether this replica is the only one that votes.
    pub(crate) fn is_sole_voter(&self) -> bool {
        let Membership { voters, outgoing, .. } = self.membership();
        let only_us = |set: &[Member]| set.iter().all(|member| member.id == self.config.id);
        self.is_voter() && only_us(voters) && only_us(outgoing)
    }

    /// The largest value that a majority of each set of voters has reached. `own` is ours, if we vote at all.
    pub(crate) fn reached<T: Copy + Ord>(&self, of_peer: impl Fn(&Progress) -> T, own: T, lowest: T) -> T {
        let reached_in = |set: &[Member]| {
            let value = |member: &Member| match self.peer_idx(member.id) {
                Some(idx) => of_peer(&self.peers[idx]),
                None => own,
            };
            reached_by_majority(set.iter().map(value), lowest)
        };
        let Membership { voters, outgoing, .. } = self.membership();
        if voters.is_empty() {
            return lowest;
        }
        let reached = reached_in(voters);
        if outgoing.is_empty() { reached } else { reached.min(reached_in(outgoing)) }
    }

    /// How the votes stand: `Some(true)` if a majority of each set of voters has granted, `Some(false)` if in one of
    /// them none can any more.
    pub(crate) fn votes(&self) -> Option<bool> {
        let Membership { voters, outgoing, .. } = self.membership();
        let mut all_granted = true;
        for set in [voters, outgoing].into_iter().filter(|set| !set.is_empty()) {
            let vote = |member: &Member| match self.peer_idx(member.id) {
                Some(idx) => self.peers[idx].vote,
                None => self.own_vote.then_some(true),
            };
            let count = |wanted| set.iter().filter(|member| vote(member) == Some(wanted)).count();
            if count(false) > set.len() - majority(set.len()) {
                return Some(false);
            }
            all_granted &= count(true) >= majority(set.len());
        }
        (all_granted && !voters.is_empty()).then_some(true)
    }

    /// Changes who takes part. Returns term and index of the entry; the change is done once an entry behind it says
    /// so: [`Ready::membership`](crate::Ready::membership) tells every step.
    ///
    /// # Errors
    /// See [`ChangeError`]. Ask again later after `NotReady`, `Pending` and `NotCaughtUp`.
    pub fn change_membership(&mut self, changes: &[Change], now: Instant) -> Result<(Term, Index), ChangeError> {
        self.advance(now);
        self.note_activity();
        if self.role != Role::Leader {
            return Err(ChangeError::NotLeader { leader: self.leader() });
        }
        if self.commit < self.term_start {
            return Err(ChangeError::NotReady);
        }
        if self.transfer.is_some() {
            return Err(ChangeError::Transferring);
        }
        let (index, current) = self.memberships.last();
        if *index > self.applied || current.is_joint() {
            return Err(ChangeError::Pending);
        }
        let next = self.changed(current.clone(), changes)?;
        self.counters.joint_entered += u64::from(next.is_joint());
        Ok((self.term, self.append_membership(&next)))
    }

    fn changed(&self, current: Membership, changes: &[Change]) -> Result<Membership, ChangeError> {
        let mut next = current.clone();
        let take = |list: &mut Vec<Member>, id| {
            let at = list.iter().position(|member| member.id == id)?;
            Some(list.remove(at))
        };
        for change in changes {
            match *change {
                Change::AddLearner(member) => {
                    take(&mut next.voters, member.id);
                    take(&mut next.learners, member.id);
                    next.learners.push(member);
                }
                Change::Promote(id) => {
                    let member = take(&mut next.learners, id).ok_or(ChangeError::NotALearner(id))?;
                    let reached = self.peer_idx(id).map_or(0, |idx| self.peers[idx].match_index);
                    if reached + PROMOTION_LAG_MAX < self.log.last_index() {
                        return Err(ChangeError::NotCaughtUp(id));
                    }
                    next.voters.push(member);
                }
                Change::Remove(id) => {
                    let removed = take(&mut next.voters, id).or_else(|| take(&mut next.learners, id));
                    removed.ok_or(ChangeError::NotAMember(id))?;
                }
            }
        }
        next.voters.sort_unstable();
        next.learners.sort_unstable();
        let limits = 1..=REPLICAS_COUNT_MAX;
        if !limits.contains(&next.voters.len()) || next.learners.len() > REPLICAS_COUNT_MAX {
            return Err(ChangeError::Count);
        }
        if next == current {
            return Err(ChangeError::Nothing);
        }
        let ids = |set: &[Member]| set.iter().map(|member| member.id).collect::<Vec<_>>();
        if ids(&next.voters) != ids(&current.voters) {
            // A voter that will be a learner goes on voting until the joint state ends.
            let votes = |member: &Member| current.voters.iter().any(|voter| voter.id == member.id);
            next.learners_next = next.learners.iter().copied().filter(votes).collect();
            next.learners.retain(|member| !votes(member));
            next.outgoing = current.voters;
        }
        // The joint state may name more replicas than either side of the change.
        if next.validate().is_err() {
            return Err(ChangeError::Count);
        }
        Ok(next)
    }

    fn append_membership(&mut self, membership: &Membership) -> Index {
        self.append_own(EntryKind::Membership, membership.encode())
    }

    /// Leaves the joint state once the entry that began it is applied here.
    pub(crate) fn leave_joint_if_due(&mut self) {
        let (index, current) = self.memberships.last();
        if self.role != Role::Leader || !current.is_joint() || *index > self.applied {
            return;
        }
        let mut next = current.clone();
        next.outgoing.clear();
        next.learners.append(&mut next.learners_next);
        next.learners.sort_unstable();
        self.counters.joint_left += 1;
        self.append_membership(&next);
    }

    /// An entry was appended to the log: if it is a configuration, that is in effect now. Its payload was checked.
    pub(crate) fn note_appended(&mut self, index: Index, kind: EntryKind, payload: &Bytes) {
        if kind == EntryKind::Membership {
            let membership = Membership::decode(payload).expect("a configuration was checked before it was appended");
            self.memberships.push(index, membership);
            self.membership_changed();
        }
    }

    /// The log was cut back: configurations behind its end are undone.
    pub(crate) fn note_truncated(&mut self) {
        if self.memberships.truncated(self.log.last_index()) {
            self.counters.memberships_undone += 1;
            self.membership_changed();
        }
    }

    /// Whether all configurations among `entries` make sense.
    pub(crate) fn memberships_are_sound(entries: &[Entry]) -> bool {
        entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Membership)
            .all(|entry| Membership::decode(&entry.payload).is_ok())
    }

    /// Another configuration is in effect: follow those it names, and no others.
    pub(crate) fn membership_changed(&mut self) {
        let (own, now, last_index) = (self.config.id, self.now, self.log.last_index());
        let mut ids: Vec<ReplicaId> = self.membership().members().map(|member| member.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let window = self.window();
        let mut known = core::mem::take(&mut self.peers);
        for id in ids.into_iter().filter(|id| *id != own) {
            let peer = match known.iter().position(|peer| peer.id == id) {
                Some(at) => known.swap_remove(at),
                None => {
                    let mut peer = Progress::new(id, window.clone());
                    peer.reset(last_index, now);
                    if let Some(at) = self.reads_of_strangers.iter().position(|stranger| *stranger == id) {
                        self.reads_of_strangers.swap_remove(at);
                        peer.log_read = LogReadState::Pending;
                    }
                    peer
                }
            };
            self.peers.push(peer);
        }
        // Should one of them come back, no second read may be asked for on its behalf before the first is answered.
        let reading = known.iter().filter(|peer| peer.log_read == LogReadState::Pending);
        self.reads_of_strangers.extend(reading.map(|peer| peer.id));
        self.membership_news = true;
        self.send_due = true;
        if self.role == Role::Leader {
            // With fewer voters less may be enough.
            self.commit_by_counting();
        }
    }

    /// A leader that does not vote any more steps down once that is committed, and names a successor.
    pub(crate) fn step_down_if_removed(&mut self) {
        let (index, current) = self.memberships.last();
        if self.role != Role::Leader || *index > self.commit || current.is_voter(self.config.id) {
            return;
        }
        self.counters.leaders_removed += 1;
        let voters = self.peers.iter().filter(|peer| current.is_voter(peer.id));
        if let Some(successor) =
            voters.max_by_key(|peer| (peer.match_index, self.inclination(peer.id))).map(|peer| peer.id)
        {
            self.send(successor, wire::Body::TimeoutNow);
        }
        self.become_follower(self.term, None);
    }
}
