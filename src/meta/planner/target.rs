//! Whether a replica may move, and where to.

use types::{CoreAddr, CoreId, ReplicaId};

use crate::change::{MapChange, Replace};
use crate::detector::Health;
use crate::planner::layout::Layout;
use crate::planner::reason::{Obstacles, Reason};
use crate::planner::step::{Action, Plan, Purpose, Step};
use crate::reports::{Duty, GroupReport};

/// Whether a replica has to go, or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It is lost: another one is wanted wherever there is room, on any rack if need be.
    Lost,
    /// It is sound. Its group is not to be worse off, not even for a while.
    Sound,
    /// It is sound, and is to share its rack with fewer others of its group.
    Apart,
}

impl Layout<'_> {
    /// Plans another replica of a group instead of one of its own, where it is best, or notes why it has to wait. A group that has a step
    /// in this round has its turn in a later one.
    pub(super) fn replace(&mut self, plan: &mut Plan, purpose: Purpose, group: usize, nth: usize, need: Need) {
        if self.groups[group].is_taken {
            return;
        }
        let target = self.may_change(group, nth, need).and_then(|()| self.best_target(group, nth, need));
        match target {
            Ok(target) => self.replace_at(plan, purpose, group, nth, target),
            Err(reason) => plan.wait(purpose, reason, self.groups[group].spec.id),
        }
    }

    /// Plans another replica of a group on this node instead of one of its own.
    pub(super) fn replace_at(&mut self, plan: &mut Plan, purpose: Purpose, group: usize, nth: usize, target: usize) {
        let core = self.count_replaced(group, nth, target);
        let (state, node) = (&self.groups[group], self.nodes[target].spec);
        let place = CoreAddr { node: node.id, core: CoreId(core) };
        let change = Replace { group: state.spec.id, replica: state.spec.replicas[nth].id, place };
        let (action, bytes) = (Action::Change(MapChange::Replace(change)), state.bytes());
        plan.steps.push(Step { action, purpose, bytes });
    }

    /// Whether the members of a group may change so that another one comes in the place of this one.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_change(&self, group: usize, nth: usize, need: Need) -> Result<(), Reason> {
        let state = &self.groups[group];
        let replica = state.spec.replicas[nth].id;
        let report = state.fresh().ok_or(Reason::NotReported)?;
        // One that never became a voter is replaced by another like it, and that changes no majority.
        let is_voter = report.membership.is_voter(replica);
        if report.membership.is_joint() || (is_voter && !state.is_settled) {
            return Err(Reason::Moving);
        }
        let voters = &report.membership.voters;
        let live = voters.iter().filter(|voter| report.hears(voter.id)).count();
        if live <= voters.len() / 2 {
            return Err(Reason::NoQuorum { live, voters: voters.len() });
        }
        let silent = voters.iter().find(|voter| voter.id != replica && !report.hears(voter.id));
        if let Some(silent) = silent.filter(|_| need != Need::Lost) {
            return Err(Reason::MemberSilent(silent.place.node));
        }
        self.may_send(group)
    }

    /// Whether the leader of a group may send another snapshot.
    pub(super) fn may_send(&self, group: usize) -> Result<(), Reason> {
        let (_, leader) = self.groups[group].leader.ok_or(Reason::NotReported)?;
        let leader = &self.nodes[leader];
        if leader.snapshots_out >= self.input.knobs.snapshots_count_max {
            return Err(Reason::Sends(leader.spec.id, leader.snapshots_out));
        }
        Ok(())
    }

    /// Which node is to have a replica of a group in the place of this one: one of a rack that has the fewest other replicas of the group,
    /// of those one that the group was not moved off of late, and of those the emptiest. If all of these are busy, it waits for one.
    ///
    /// # Errors
    /// Why there is none now.
    fn best_target(&self, group: usize, nth: usize, need: Need) -> Result<usize, Reason> {
        let from = self.site(group, nth);
        let (state, mut obstacles) = (&self.groups[group], Obstacles::default());
        let report = state.fresh().ok_or(Reason::NotReported)?;
        let replica = state.spec.replicas[nth].id;
        let mut best = None;
        for (idx, node) in self.nodes.iter().enumerate() {
            if let Err(count) = self.is_possible(idx, state.bytes()) {
                *count(&mut obstacles) += 1;
                continue;
            }
            if idx == from || self.holds_other(group, report, replica, idx) {
                obstacles.hold_one += 1;
                continue;
            }
            let busy = self.may_receive(idx).err();
            let has_left = self.has_left(group, idx);
            let key = (self.neighbours(group, nth, idx), has_left, busy.is_some(), node.bytes_bin().level(), idx);
            if best.as_ref().is_none_or(|(least, _)| key < *least) {
                best = Some((key, busy));
            }
        }
        let ((neighbours, .., idx), busy) = best.ok_or(Reason::NoNode(obstacles))?;
        let now = self.neighbours(group, nth, from);
        match need {
            Need::Sound if neighbours > now => {
                let rack = self.nodes[from].spec.rack.clone();
                Err(Reason::NoNodeInRack(rack.unwrap_or_else(|| "of its own".to_owned())))
            }
            Need::Apart if neighbours >= now => Err(Reason::NoNode(obstacles)),
            Need::Lost | Need::Sound | Need::Apart => busy.map_or(Ok(idx), Err),
        }
    }

    /// Whether a node has, or is to have, a replica of a group other than this one.
    fn holds_other(&self, group: usize, report: &GroupReport, replica: ReplicaId, node: usize) -> bool {
        let id = self.nodes[node].spec.id;
        let wanted = self.groups[group].spec.replicas.iter().any(|one| one.id != replica && one.place.node == id);
        wanted || report.membership.members().any(|member| member.id != replica && member.place.node == id)
    }

    /// Whether a node could have another replica of so many bytes, now or soon. If not, which obstacle that is.
    fn is_possible(&self, node: usize, bytes: u64) -> Result<(), fn(&mut Obstacles) -> &mut u32> {
        let node = &self.nodes[node];
        if node.is_lost() || node.disk.is_none() {
            return Err(|obstacles| &mut obstacles.missing);
        }
        if node.duty != Duty::Serves {
            return Err(|obstacles| &mut obstacles.withdrawn);
        }
        if node.is_crowded_with(bytes, self.input.knobs.disk_percent_max) {
            return Err(|obstacles| &mut obstacles.crowded);
        }
        Ok(())
    }

    /// Whether a node that could have another replica may receive one just now.
    pub(super) fn may_receive(&self, node: usize) -> Result<(), Reason> {
        let node = &self.nodes[node];
        if matches!(node.health, Health::Suspect { .. }) {
            return Err(Reason::Suspect(node.spec.id));
        }
        if node.snapshots_in >= self.input.knobs.snapshots_count_max {
            return Err(Reason::Receives(node.spec.id, node.snapshots_in));
        }
        Ok(())
    }

    /// How many other replicas of a group would be in the rack of this one if it were on that node.
    pub(super) fn neighbours(&self, group: usize, nth: usize, node: usize) -> usize {
        let rack = self.nodes[node].rack;
        let others = self.sites(group).enumerate().filter(|(other, _)| *other != nth);
        others.filter(|(_, site)| self.nodes[*site].rack == rack).count()
    }

    /// Whether a replica may go to this node for the sake of balance, now or as soon as that is not busy, without its group being worse off.
    pub(super) fn may_go(&self, group: usize, nth: usize, node: usize) -> bool {
        let state = &self.groups[group];
        let Some(report) = state.fresh() else { return false };
        let is_worse = || self.neighbours(group, nth, node) > self.neighbours(group, nth, self.site(group, nth));
        !self.holds_other(group, report, state.spec.replicas[nth].id, node)
            && !self.has_left(group, node)
            && self.is_possible(node, state.bytes()).is_ok()
            && !is_worse()
    }
}
