//! The part that a replica plays, and what it knows in that part alone: a field of another role cannot be touched.

use alloc::vec::Vec;

use types::{Index, Instant, ReplicaId};

use crate::reads::{Reads, Rounds};
use crate::ready::Role;

/// What a replica knows in its role.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) enum RoleState {
    Follower(Follower),
    PreCandidate(PreCandidate),
    Candidate(Candidate),
    Leader(Leader),
}

/// What a follower knows of the leader of its term.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Follower {
    /// Everything up to here equals the log of this term's leader.
    pub(crate) matched: Index,
    /// The leader waits to hear that this replica holds `matched` durably.
    pub(crate) ack_due: bool,
    /// The last heartbeat round heard in this term.
    pub(crate) round_heard: u64,
}

/// One that asks whether it would be elected. Its term goes on, and it may hear the leader again.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) struct PreCandidate {
    /// What it knows as a follower in the same term.
    pub(crate) follower: Follower,
    /// When it asked.
    pub(crate) asked_at: Instant,
    pub(crate) votes: Votes,
}

/// One that asks to be elected.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct Candidate {
    /// Its vote for itself is durable, and counts.
    pub(crate) own_vote: bool,
    pub(crate) votes: Votes,
}

/// The others' answers to a campaign.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct Votes(Vec<(ReplicaId, bool)>);

impl Votes {
    /// The last answer of a voter.
    pub(crate) fn of(&self, voter: ReplicaId) -> Option<bool> {
        self.0.iter().find(|(id, _)| *id == voter).map(|(_, granted)| *granted)
    }

    pub(crate) fn record(&mut self, voter: ReplicaId, granted: bool) {
        match self.0.iter_mut().find(|(id, _)| *id == voter) {
            Some((_, known)) => *known = granted,
            None => self.0.push((voter, granted)),
        }
    }

    /// Forgets in which order they came.
    #[cfg(test)]
    pub(crate) fn sort(&mut self) {
        self.0.sort_unstable();
    }
}

/// What a leader keeps in its term. What it knows of each member is in `Progress`.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) struct Leader {
    /// Index of the entry that began its term.
    pub(crate) term_start: Index,
    /// Bytes of entries of its term that are not committed, headers included.
    pub(crate) uncommitted_bytes: usize,
    pub(crate) rounds: Rounds,
    pub(crate) reads: Reads,
    pub(crate) transfer: Option<Transfer>,
    /// In this term somebody was told to campaign against it: there is no lease any more.
    pub(crate) lease_disabled: bool,
    /// No hand-over to a voter of higher priority before.
    pub(crate) hand_over_from: Instant,
    /// Which multiple of the heartbeat interval the last heartbeat belonged to.
    pub(crate) heartbeat_slot: u64,
    /// Heartbeat intervals since something happened.
    pub(crate) idle_intervals_count: u32,
    /// Something changed that may allow Appends to be sent.
    pub(crate) send_due: bool,
}

/// A leadership transfer under way.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) to: ReplicaId,
    /// When it is given up.
    pub(crate) deadline: Instant,
    /// The other was told to campaign.
    pub(crate) ordered: bool,
    /// Nobody but this leader wanted it: the other has the higher priority.
    pub(crate) by_priority: bool,
}

impl RoleState {
    pub(crate) fn role(&self) -> Role {
        match self {
            RoleState::Follower(_) => Role::Follower,
            RoleState::PreCandidate(_) => Role::PreCandidate,
            RoleState::Candidate(_) => Role::Candidate,
            RoleState::Leader(_) => Role::Leader,
        }
    }

    pub(crate) fn is_leader(&self) -> bool {
        matches!(self, RoleState::Leader(_))
    }

    pub(crate) fn leader(&self) -> Option<&Leader> {
        if let RoleState::Leader(leader) = self { Some(leader) } else { None }
    }

    pub(crate) fn leader_mut(&mut self) -> Option<&mut Leader> {
        if let RoleState::Leader(leader) = self { Some(leader) } else { None }
    }

    /// What is known of the term's leader: as a follower, or as one that only asks whether it would be elected.
    pub(crate) fn follower_mut(&mut self) -> Option<&mut Follower> {
        match self {
            RoleState::Follower(follower) => Some(follower),
            RoleState::PreCandidate(candidate) => Some(&mut candidate.follower),
            RoleState::Candidate(_) | RoleState::Leader(_) => None,
        }
    }

    /// What is left once this role ends, and the term does not.
    pub(crate) fn into_follower(self) -> Follower {
        match self {
            RoleState::Follower(follower) => follower,
            RoleState::PreCandidate(candidate) => candidate.follower,
            RoleState::Candidate(_) | RoleState::Leader(_) => Follower::default(),
        }
    }

    /// Takes the state out, to be replaced.
    pub(crate) fn take(&mut self) -> RoleState {
        core::mem::replace(self, RoleState::Follower(Follower::default()))
    }
}
