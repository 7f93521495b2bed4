//! Handing leadership to another voter (thesis §3.10).

use types::{Instant, ReplicaId};
use wire::Body;

use crate::raft::Raft;
use crate::rng::Rng;
use crate::role::Transfer;

/// Why leadership is not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader,
    /// A transfer is under way.
    #[error("leadership is being transferred already")]
    Transferring,
    /// There is no such other voter, or none at all.
    #[error("no such other voter")]
    NoSuchVoter,
}

impl Raft {
    /// Hands leadership to `to`, or to the voter that has caught up furthest. Returns whom it chose.
    ///
    /// The lease ends at once and proposals are refused until the transfer succeeds (the role changes) or is
    /// given up after `election_timeout_min`. If it is given up, leases stay off for the rest of the term:
    /// the order to campaign may still arrive, however late.
    pub fn transfer_leader(&mut self, to: Option<ReplicaId>, now: Instant) -> Result<ReplicaId, TransferError> {
        self.advance(now);
        self.note_activity();
        let Some(leader) = self.state.leader() else {
            return Err(TransferError::NotLeader);
        };
        if leader.transfer.is_some() {
            return Err(TransferError::Transferring);
        }
        let patience = self.config.election_timeout_min;
        let (_, membership) = self.memberships.last();
        let mut voters = self.peers.iter().filter(|peer| membership.voters.iter().any(|member| member.id == peer.id));
        let chosen = match to {
            Some(id) => voters.find(|peer| peer.id == id),
            // One that answers comes before one that does not, and one that should lead before one that should not,
            // however much they hold.
            None => voters.max_by_key(|peer| {
                let is_there = self.now.since(peer.heard_at) < patience;
                (is_there, peer.priority, peer.match_index, self.transfer_tiebreak(peer.id))
            }),
        };
        let to = chosen.ok_or(TransferError::NoSuchVoter)?.id;
        self.begin_transfer(to, false);
        Ok(to)
    }

    /// Which of voters that are equally fit a group prefers: the highest. Each group has an order of its own, so that the
    /// groups that a node hands over spread over the others.
    pub(crate) fn transfer_tiebreak(&self, voter: ReplicaId) -> u64 {
        Rng::new((u64::from(self.config.group.0) << 32) ^ voter.0).next()
    }

    pub(crate) fn begin_transfer(&mut self, to: ReplicaId, by_priority: bool) {
        let deadline = self.now + self.config.election_timeout_min;
        let Some(leader) = self.state.leader_mut() else { return };
        self.counters.transfers += 1;
        leader.transfer = Some(Transfer { to, deadline, ordered: false, by_priority });
        self.order_transfer_if_caught_up();
    }

    /// Orders the chosen voter to campaign once it holds our whole log.
    pub(crate) fn order_transfer_if_caught_up(&mut self) {
        let Some(leader) = self.state.leader_mut() else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let to = transfer.to;
        let caught_up = |id| self.peers.iter().any(|peer| peer.id == id && peer.match_index == self.log.last_index());
        if !transfer.ordered && caught_up(to) {
            transfer.ordered = true;
            leader.lease_disabled = true;
            self.send(to, Body::TimeoutNow);
        }
    }

    pub(crate) fn give_up_late_transfer(&mut self) {
        let Some(leader) = self.state.leader_mut() else { return };
        if let Some(late) = leader.transfer.take_if(|transfer| self.now >= transfer.deadline) {
            self.counters.transfers_timed_out += 1;
            if late.by_priority {
                self.count_failed_hand_over();
            }
        }
    }
}
