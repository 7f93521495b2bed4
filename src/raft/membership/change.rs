//! Changes of membership: every change of voters goes through the joint state (thesis §4.3).

use alloc::vec::Vec;

use types::ReplicaId;
use types::limits::REPLICAS_COUNT_MAX;
use wire::{Member, Membership};

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

/// The configuration that `changes` make of `current`, which is not joint. `has_caught_up` says whether a learner may
/// become a voter.
pub(crate) fn changed(
    current: &Membership,
    changes: &[Change],
    has_caught_up: impl Fn(ReplicaId) -> bool,
) -> Result<Membership, ChangeError> {
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
                if !has_caught_up(id) {
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
    if next == *current {
        return Err(ChangeError::Nothing);
    }
    let ids = |set: &[Member]| set.iter().map(|member| member.id).collect::<Vec<_>>();
    if ids(&next.voters) != ids(&current.voters) {
        // A voter that will be a learner goes on voting until the joint state ends.
        let votes = |member: &Member| current.voters.iter().any(|voter| voter.id == member.id);
        next.learners_next = next.learners.iter().copied().filter(votes).collect();
        next.learners.retain(|member| !votes(member));
        next.outgoing.clone_from(&current.voters);
    }
    // The joint state may name more replicas than either side of the change.
    if next.validate().is_err() {
        return Err(ChangeError::Count);
    }
    Ok(next)
}

/// The configuration behind the joint state `current`.
pub(crate) fn left_joint(current: &Membership) -> Membership {
    let mut next = current.clone();
    next.outgoing.clear();
    next.learners.append(&mut next.learners_next);
    next.learners.sort_unstable();
    next
}
