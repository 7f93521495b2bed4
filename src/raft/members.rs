//! Who takes part in this replica's group, and how that changes (thesis chapter 4).
//!
//! A configuration takes effect when its entry is appended and is undone when that entry is cut off. Every change of
//! voters goes through the joint state (§4.3), which the leader leaves by itself once it has applied the entry that
//! began it. One change is under way at a time.

use bytes::Bytes;
use types::{Index, Instant, Term};
use wire::{EntryKind, Membership};

use crate::membership::{self, Change, ChangeError, PROMOTION_LAG_MAX};
use crate::progress::{LogReadState, Progress};
use crate::raft::Raft;

impl Raft {
    /// The configuration in effect.
    pub fn membership(&self) -> &Membership {
        &self.memberships.last().1
    }

    /// The entry that made it so; 0 for the one that the group began with.
    pub fn membership_index(&self) -> Index {
        self.memberships.last().0
    }

    /// Whether this replica has a vote in the configuration it knows.
    pub fn is_voter(&self) -> bool {
        self.membership().is_voter(self.config.id)
    }

    /// Whether this replica may campaign: it votes in the configuration in effect, or in one that is in effect again if
    /// what came later is cut off. A replica that is about to be removed may be the only one whose log is long enough
    /// to be elected, until the entry that removes it is committed (thesis §4.2.2).
    pub(crate) fn may_campaign(&self) -> bool {
        self.memberships.any_has_voter(self.config.id)
    }

    /// Whether this replica is the only one that votes.
    pub(crate) fn is_sole_voter(&self) -> bool {
        membership::is_sole_voter(self.membership(), self.config.id)
    }

    /// The largest value that a majority of each set of voters has reached. `own` is ours, if we vote at all.
    pub(crate) fn quorum_value<T: Copy + Ord>(&self, of_peer: impl Fn(&Progress) -> T, own: T, lowest: T) -> T {
        let of = |id| self.peer_idx(id).map_or(own, |idx| of_peer(&self.peers[idx]));
        membership::quorum_value(self.membership(), of, lowest)
    }

    /// Changes who takes part. Returns term and index of the entry; the change is done once an entry behind it says
    /// so: [`Ready::membership`](crate::Ready::membership) tells every step.
    ///
    /// # Errors
    /// See [`ChangeError`]. Ask again later after `NotReady`, `Pending` and `NotCaughtUp`.
    pub fn change_membership(&mut self, changes: &[Change], now: Instant) -> Result<(Term, Index), ChangeError> {
        self.advance(now);
        self.note_activity();
        let Some(leader) = self.state.leader() else {
            return Err(ChangeError::NotLeader { leader: self.leader() });
        };
        if self.commit < leader.term_start {
            return Err(ChangeError::NotReady);
        }
        if leader.transfer.is_some() {
            return Err(ChangeError::Transferring);
        }
        let (index, current) = self.memberships.last();
        if *index > self.applied || current.is_joint() {
            return Err(ChangeError::Pending);
        }
        let reached = |id| self.peer_idx(id).map_or(0, |idx| self.peers[idx].match_index);
        let has_caught_up = |id| reached(id) + PROMOTION_LAG_MAX >= self.log.last_index();
        let next = membership::changed(current, changes, has_caught_up)?;
        self.counters.joint_entered += u64::from(next.is_joint());
        Ok((self.term, self.append_membership(&next)))
    }

    fn append_membership(&mut self, membership: &Membership) -> Index {
        self.append_own(EntryKind::Membership, membership.encode())
    }

    /// Leaves the joint state once the entry that began it is applied here.
    pub(crate) fn leave_joint_if_due(&mut self) {
        let (index, current) = self.memberships.last();
        if !self.is_leader() || !current.is_joint() || *index > self.applied {
            return;
        }
        let next = membership::left_joint(current);
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

    /// Another configuration is in effect: follow those it names, and no others.
    pub(crate) fn membership_changed(&mut self) {
        let (own, now, last_index) = (self.config.id, self.now, self.log.last_index());
        let ids = membership::ids(self.membership());
        let window = self.window();
        let mut known = core::mem::take(&mut self.peers);
        for id in ids.into_iter().filter(|id| *id != own) {
            let peer = match known.iter().position(|peer| peer.id == id) {
                Some(at) => known.swap_remove(at),
                None => {
                    let mut peer = Progress::new(id, window.clone());
                    peer.reset(last_index, now);
                    if let Some(at) = self.orphaned_log_reads.iter().position(|former| *former == id) {
                        self.orphaned_log_reads.swap_remove(at);
                        peer.log_read = LogReadState::Pending;
                    }
                    peer
                }
            };
            self.peers.push(peer);
        }
        // Should one of them come back, no second read may be asked for on its behalf before the first is answered.
        let reading = known.iter().filter(|peer| peer.log_read == LogReadState::Pending);
        self.orphaned_log_reads.extend(reading.map(|peer| peer.id));
        self.membership_news = true;
        self.request_sending();
        if self.is_leader() {
            // With fewer voters less may be enough.
            self.commit_by_counting();
        }
    }

    /// A leader that does not vote any more steps down once that is committed, and names a successor.
    pub(crate) fn step_down_if_removed(&mut self) {
        let (index, current) = self.memberships.last();
        if !self.is_leader() || *index > self.commit || current.is_voter(self.config.id) {
            return;
        }
        self.counters.leaders_removed += 1;
        let voters = self.peers.iter().filter(|peer| current.is_voter(peer.id));
        if let Some(successor) =
            voters.max_by_key(|peer| (peer.match_index, self.transfer_tiebreak(peer.id))).map(|peer| peer.id)
        {
            self.send(successor, wire::Body::TimeoutNow);
        }
        self.become_follower(self.term, None);
    }
}
