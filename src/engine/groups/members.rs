//! Making the members of a group those that the cluster map wants.
//!
//! The map says what is to be; who takes part in fact stands in the group's own log. The leader compares the two and takes
//! one step after another: a replica that is missing becomes a learner, a learner that has caught up becomes a voter, and in the same
//! joint change one leaves that is not wanted any more. Each step begins with what is there, so that it does not matter
//! who took the one before, and a leader that dies in the middle is followed by one that goes on.
//!
//! Ids of replicas grow with the map. A leader that knows an older map than the one that brought a member in sees an id that its map has
//! never handed out, and waits for a later one.

use std::time::Duration;

use meta::{ClusterMap, Replica};
use raft::Change;
use types::{Index, Instant, NodeId, ReplicaId};
use wire::{Member, Membership};

use crate::context::Context;
use crate::groups::Groups;

/// How often a step that was refused, or has to wait, is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a leader knows of a member, itself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// Whether it was heard of late.
    is_live: bool,
    /// The last entry that it is known to hold.
    reached: Index,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The members are those that are wanted.
    Done,
    /// Nothing can be done for now.
    Wait,
    /// Who leads is not wanted, and this one is to lead instead.
    HandOver(ReplicaId),
    /// This, in one change.
    Change(Vec<Change>),
}

/// The next step from `membership` to the replicas that are `wanted`. `own` leads, and has entries up to `last`. Ids from
/// `next_id` on are not known to the map.
fn next_step(
    wanted: &[Replica],
    next_id: ReplicaId,
    membership: &Membership,
    own: ReplicaId,
    last: Index,
    standing: impl Fn(ReplicaId) -> Standing,
) -> Step {
    let has = |set: &[Member], id: ReplicaId| set.iter().any(|member| member.id == id);
    let is_wanted = |id: ReplicaId| wanted.iter().any(|replica| replica.id == id);
    if membership.is_joint() || membership.members().any(|member| member.id >= next_id) {
        return Step::Wait;
    }
    let is_member = |id| has(&membership.voters, id) || has(&membership.learners, id);
    let missing = wanted.iter().filter(|replica| !is_member(replica.id));
    let added: Vec<_> =
        missing.map(|replica| Change::AddLearner(Member { id: replica.id, place: replica.place })).collect();
    if !added.is_empty() {
        return Step::Change(added);
    }
    let unwanted_learners = membership.learners.iter().map(|member| member.id).filter(|id| !is_wanted(*id));
    let dropped: Vec<_> = unwanted_learners.map(Change::Remove).collect();
    if !dropped.is_empty() {
        return Step::Change(dropped);
    }
    let may_vote = |id: ReplicaId| {
        let Standing { is_live, reached } = standing(id);
        // A leader that wakes its group takes everybody for heard. One that has never acknowledged anything may not have begun.
        is_live && reached > 0 && reached + raft::PROMOTION_LAG_MAX >= last
    };
    let promoted: Vec<_> = membership.learners.iter().map(|member| member.id).filter(|id| may_vote(*id)).collect();
    // Those that are not heard leave first, and who leads last.
    let mut leaving: Vec<_> = membership.voters.iter().map(|member| member.id).filter(|id| !is_wanted(*id)).collect();
    leaving.sort_by_key(|id| (*id == own, standing(*id).is_live, *id));
    if leaving.is_empty() && membership.learners.is_empty() {
        return Step::Done;
    }
    let is_last_step = promoted.len() == membership.learners.len();
    leaving.truncate(if is_last_step { leaving.len() } else { promoted.len() });
    if leaving.contains(&own) {
        if promoted.is_empty() && leaving.len() == 1 {
            let heirs = membership.voters.iter().map(|member| member.id).filter(|id| is_wanted(*id) && may_vote(*id));
            return heirs.max_by_key(|id| standing(*id).reached).map_or(Step::Wait, Step::HandOver);
        }
        leaving.retain(|id| *id != own);
    }
    if promoted.is_empty() && leaving.is_empty() {
        return Step::Wait;
    }
    let before: Vec<_> = membership.voters.iter().map(|member| member.id).collect();
    let stays = before.iter().copied().filter(|id| !leaving.contains(id));
    let after: Vec<_> = stays.chain(promoted.iter().copied()).collect();
    // Whoever commits the change needs both majorities.
    let is_served =
        |voters: &[ReplicaId]| voters.iter().filter(|id| standing(**id).is_live).count() > voters.len() / 2;
    if !is_served(&before) || !is_served(&after) {
        return Step::Wait;
    }
    Step::Change(promoted.into_iter().map(Change::Promote).chain(leaving.into_iter().map(Change::Remove)).collect())
}

impl Groups {
    /// The members of a group are compared with those that the map wants, if it is led here.
    pub(super) fn fit_members_later(&mut self, group: usize) {
        if !std::mem::replace(&mut self.list[group].is_unfit, true) {
            self.unfit.push(group);
        }
    }

    /// The map has changed.
    pub(crate) fn fit_all_members_later(&mut self) {
        (0..self.list.len()).for_each(|group| self.fit_members_later(group));
        self.fit_at = Instant::ZERO;
    }

    /// Whether this core leads a group of which no member lives on a node, nor is about to: all that was agreed on is applied here.
    pub(crate) fn leads_without_member_on(&self, group: usize, node: NodeId) -> bool {
        let replica = &self.list[group];
        let ids = |membership: &Membership| membership.members().map(|member| member.id).collect::<Vec<_>>();
        let is_settled = self.settled_leader_term(group).is_some();
        let elsewhere = |id: &ReplicaId| replica.addrs.get(*id).is_some_and(|addr| addr.node != node);
        let agreed = ids(&replica.membership);
        is_settled && agreed == ids(replica.raft.membership()) && agreed.iter().all(elsewhere)
    }

    /// Takes the steps that can be taken. Called at every tick.
    pub(crate) fn fit_members(&mut self, ctx: &mut Context, map: &ClusterMap) {
        if self.unfit.is_empty() || ctx.now < self.fit_at {
            return;
        }
        self.fit_at = ctx.now + LOOK_EVERY;
        for group in std::mem::take(&mut self.unfit) {
            self.list[group].is_unfit = false;
            if self.fit_one(ctx, map, group) {
                self.fit_members_later(group);
            }
        }
    }

    /// Takes a step for a group, if there is one. Returns whether to look again.
    fn fit_one(&mut self, ctx: &mut Context, map: &ClusterMap, group: usize) -> bool {
        let replica = &mut self.list[group];
        let (Some(spec), true) = (map.group(replica.id), replica.raft.is_leader()) else { return false };
        let (raft, own) = (&replica.raft, replica.raft.id());
        let silent_since = ctx.now - ctx.config.election_timeout_max();
        let standing = |id: ReplicaId| match raft.peers().find(|peer| peer.id == id) {
            Some(peer) => Standing { is_live: peer.heard_at >= silent_since, reached: peer.match_index },
            None => Standing { is_live: id == own, reached: raft.last_index() },
        };
        let step = next_step(&spec.replicas, map.next_replica, raft.membership(), own, raft.last_index(), standing);
        let taken = match step {
            Step::Done => return false,
            Step::Wait => Ok(()),
            Step::HandOver(heir) => {
                replica.raft.transfer_leader(Some(heir), ctx.now).map(drop).map_err(|error| error.to_string())
            }
            Step::Change(changes) => {
                let changed = replica.raft.change_membership(&changes, ctx.now).map_err(|error| error.to_string());
                changed.map(|(_, index)| {
                    ctx.counters.membership_changes += 1;
                    tracing::info!(group = %replica.id, index, ?changes, "the members of the group change");
                })
            }
        };
        if let Err(reason) = taken {
            tracing::debug!(group = %replica.id, reason, "the members of the group cannot change yet");
        }
        // A quiescent leader does not hear who is there.
        replica.raft.wake(ctx.now);
        self.mark(group);
        true
    }
}

#[cfg(test)]
mod tests {
    use types::{CoreAddr, CoreId};

    use super::*;

    const OWN: ReplicaId = ReplicaId(1);
    const LAST: Index = 1_000;

    fn place(id: u64) -> CoreAddr {
        CoreAddr { node: NodeId(id as u32 % 10), core: CoreId(0) }
    }

    fn members(ids: &[u64]) -> Vec<Member> {
        ids.iter().map(|id| Member { id: ReplicaId(*id), place: place(*id) }).collect()
    }

    fn replicas(ids: &[u64]) -> Vec<Replica> {
        ids.iter().map(|id| Replica { id: ReplicaId(*id), place: place(*id) }).collect()
    }

    fn of(voters: &[u64], learners: &[u64]) -> Membership {
        Membership { voters: members(voters), learners: members(learners), ..Membership::default() }
    }

    /// The step from these members to those, where `dead` are not heard and `behind` have not caught up.
    fn step(wanted: &[u64], membership: &Membership, dead: &[u64], behind: &[u64]) -> Step {
        let standing = |id: ReplicaId| Standing {
            is_live: !dead.contains(&id.0),
            reached: if dead.contains(&id.0) || behind.contains(&id.0) { 5 } else { LAST - 1 },
        };
        next_step(&replicas(wanted), ReplicaId(90), membership, OWN, LAST, standing)
    }

    fn change(promoted: &[u64], removed: &[u64]) -> Step {
        let promoted = promoted.iter().map(|id| Change::Promote(ReplicaId(*id)));
        Step::Change(promoted.chain(removed.iter().map(|id| Change::Remove(ReplicaId(*id)))).collect())
    }

    #[test]
    fn a_dead_voter_is_replaced_step_by_step() {
        assert_eq!(step(&[1, 2, 3], &of(&[1, 2, 3], &[]), &[3], &[]), Step::Done);
        let added = vec![Change::AddLearner(members(&[13])[0])];
        assert_eq!(step(&[1, 2, 13], &of(&[1, 2, 3], &[]), &[3], &[]), Step::Change(added));
        assert_eq!(step(&[1, 2, 13], &of(&[1, 2, 3], &[13]), &[3], &[13]), Step::Wait, "it has not caught up");
        assert_eq!(step(&[1, 2, 13], &of(&[1, 2, 3], &[13]), &[3, 13], &[]), Step::Wait, "it is not heard");
        assert_eq!(step(&[1, 2, 13], &of(&[1, 2, 3], &[13]), &[3], &[]), change(&[13], &[3]));
        assert_eq!(step(&[1, 2, 13], &of(&[1, 2, 13], &[]), &[], &[]), Step::Done);
    }

    #[test]
    fn nothing_is_done_within_a_change_or_with_a_map_that_is_behind() {
        let joint = Membership { outgoing: members(&[1, 2, 3]), ..of(&[1, 2, 13], &[]) };
        assert_eq!(step(&[1, 2, 13], &joint, &[], &[]), Step::Wait);
        assert_eq!(step(&[1, 2, 3], &of(&[1, 2, 90], &[]), &[], &[]), Step::Wait, "a later map has brought 90 in");
        assert_eq!(step(&[1, 2, 3], &of(&[1, 2, 3], &[91]), &[], &[]), Step::Wait);
    }

    #[test]
    fn who_leads_leaves_last_and_hands_over_first() {
        let added = vec![Change::AddLearner(members(&[11])[0])];
        assert_eq!(step(&[11, 2, 3], &of(&[1, 2, 3], &[]), &[], &[]), Step::Change(added));
        assert_eq!(step(&[11, 2, 3], &of(&[1, 2, 3], &[11]), &[], &[]), change(&[11], &[]));
        assert_eq!(step(&[11, 2, 3], &of(&[1, 2, 3, 11], &[]), &[], &[2, 3]), Step::HandOver(ReplicaId(11)));
        assert_eq!(step(&[11, 2, 3], &of(&[1, 2, 3, 11], &[]), &[2, 3, 11], &[]), Step::Wait, "nobody could lead");
    }

    #[test]
    fn whoever_has_caught_up_need_not_wait_for_others() {
        let step = |dead: &[u64], behind: &[u64]| step(&[1, 12, 13], &of(&[1, 2, 3], &[12, 13]), dead, behind);
        assert_eq!(step(&[3], &[12]), change(&[13], &[3]), "the dead one leaves first");
        assert_eq!(step(&[], &[]), change(&[12, 13], &[2, 3]));
        assert_eq!(step(&[], &[12, 13]), Step::Wait);
    }

    #[test]
    fn no_change_is_begun_that_could_not_be_committed() {
        assert_eq!(step(&[1, 2, 13], &of(&[1, 2, 3], &[13]), &[2, 3], &[]), Step::Wait, "no majority lives");
        // Of four voters three must live, of three two.
        assert_eq!(step(&[1, 2, 3, 14], &of(&[1, 2, 3], &[14]), &[2], &[]), change(&[14], &[]));
    }

    /// Found by the simulator (seed 970000082): a group with a short log had quiesced, and the only voter of it waited for good for a learner
    /// that had never begun.
    #[test]
    fn a_learner_that_has_never_acknowledged_anything_does_not_vote() {
        let reached = |id: ReplicaId, of_learner| if id == ReplicaId(12) { of_learner } else { 20 };
        let step = |of_learner| {
            let standing = |id| Standing { is_live: true, reached: reached(id, of_learner) };
            next_step(&replicas(&[12]), ReplicaId(90), &of(&[1], &[12]), OWN, 20, standing)
        };
        assert_eq!(step(0), Step::Wait);
        assert_eq!(step(1), change(&[12], &[]));
    }

    #[test]
    fn learners_that_nobody_wants_any_more_leave() {
        let dropped = vec![Change::Remove(ReplicaId(13))];
        assert_eq!(step(&[1, 2, 14], &of(&[1, 2, 3], &[13, 14]), &[3, 13], &[]), Step::Change(dropped));
        assert_eq!(step(&[1, 2], &of(&[1, 2, 3], &[]), &[], &[]), change(&[], &[3]), "fewer are wanted");
    }
}
