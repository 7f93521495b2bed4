//! What cannot wait: replicas that are lost, and that are back.

use types::{NodeId, ReplicaId};

use crate::change::{Keep, MapChange};
use crate::detector::Health;
use crate::map::Replica;
use crate::planner::layout::Layout;
use crate::planner::reason::Reason;
use crate::planner::step::{Action, Alarm, Plan, Purpose, Step};
use crate::planner::target::Need;
use crate::reports::{Duty, GroupReport};

impl Layout<'_> {
    /// Why no node that is down is replaced, if that is so. Nodes that leave do not count: somebody has said that they will not be there.
    pub(super) fn alarm(&self) -> Option<Alarm> {
        let counted: Vec<_> = self.nodes.iter().filter(|node| node.duty != Duty::Leaves).collect();
        let missing: Vec<NodeId> = counted.iter().filter(|node| !node.is_up()).map(|node| node.spec.id).collect();
        let percent = usize::try_from(self.input.knobs.missing_percent_max).expect("a percentage");
        let missing_max = (counted.len() * percent / 100).max(1);
        if missing.len() > missing_max {
            return Some(Alarm::NodesMissing { missing, nodes: counted.len(), missing_max });
        }
        let is_gone = |rack: &str| {
            let mut of_rack = counted.iter().filter(|node| node.spec.rack.as_deref() == Some(rack));
            of_rack.all(|node| !node.is_up())
        };
        let mut racks: Vec<&str> = counted.iter().filter_map(|node| node.spec.rack.as_deref()).collect();
        racks.sort_unstable();
        racks.dedup();
        let gone: Vec<String> = racks.into_iter().filter(|rack| is_gone(rack)).map(str::to_owned).collect();
        (gone.len() > 1).then_some(Alarm::RacksMissing(gone))
    }

    /// Cancels what was begun because a node was down that is back, unless the replica that was to come in has caught up: then it is
    /// about to come in, and to have it come in is the shorter way.
    pub(super) fn keep_returned(&mut self, plan: &mut Plan) {
        for group in 0..self.groups.len() {
            let Some((keep, purpose)) = self.returned(group) else { continue };
            self.groups[group].is_taken = true;
            plan.steps.push(Step { action: Action::Change(MapChange::Keep(keep)), purpose, bytes: 0 });
        }
    }

    fn returned(&self, group: usize) -> Option<(Keep, Purpose)> {
        let state = &self.groups[group];
        if state.is_settled || state.is_taken {
            return None;
        }
        let report = state.fresh()?;
        let purpose = self.input.memory.latest(state.spec.id)?.purpose;
        if report.membership.is_joint() || !matches!(purpose, Purpose::Dead(_) | Purpose::Silent(_)) {
            return None;
        }
        let is_back = |node: NodeId| {
            self.node_idx(node).is_some_and(|node| self.nodes[node].is_up() && self.nodes[node].duty != Duty::Leaves)
        };
        let voters = report.membership.voters.iter();
        let old = voters
            .filter(|voter| !state.wants(voter.id))
            .find(|voter| report.hears(voter.id) && is_back(voter.place.node))?;
        let is_coming = |replica: &&Replica| !report.membership.is_voter(replica.id) && replica.id > old.id;
        let new = state.spec.replicas.iter().find(is_coming)?;
        let is_about_to_come = report.membership.contains(new.id) && report.is_current(new.id);
        let keep = Keep { group: state.spec.id, replica: old.id, place: old.place, successor: new.id };
        (!is_about_to_come).then_some((keep, Purpose::Return(old.place.node)))
    }

    /// Has other replicas come in the place of those that are lost, first of the groups that can lose the fewest more.
    pub(super) fn replace_lost(&mut self, plan: &mut Plan) {
        let is_barred = plan.alarm.is_some();
        let mut lost: Vec<(usize, usize, usize, Purpose)> = Vec::new();
        for group in 0..self.groups.len() {
            for (nth, replica) in self.groups[group].spec.replicas.iter().enumerate() {
                if let Some(purpose) = self.loss(group, *replica, self.site(group, nth)) {
                    lost.push((self.spare_count(group), group, nth, purpose));
                }
            }
        }
        lost.sort_unstable();
        for (_, group, nth, purpose) in lost {
            let id = self.groups[group].spec.id;
            match purpose {
                Purpose::Dead(_) if is_barred => plan.wait(purpose, Reason::TooManyMissing, id),
                _ if self.groups[group].is_taken => {}
                Purpose::Silent(_) => self.replace_in_place(plan, purpose, group, nth),
                _ => self.replace(plan, purpose, group, nth, Need::Lost),
            }
        }
    }

    /// Whether a replica is lost, and why.
    fn loss(&self, group: usize, replica: Replica, site: usize) -> Option<Purpose> {
        let (node, id) = (&self.nodes[site], replica.place.node);
        match node.health {
            Health::Down { .. } if node.duty != Duty::Leaves => Some(Purpose::Dead(id)),
            _ if node.is_lost() => Some(Purpose::Leave(id)),
            Health::Up => self.groups[group].fresh().and_then(|report| self.silence(report, replica.id, id)),
            Health::Suspect { .. } | Health::Down { .. } => None,
        }
    }

    fn silence(&self, report: &GroupReport, replica: ReplicaId, node: NodeId) -> Option<Purpose> {
        let silence = report.silent.iter().find(|silence| silence.replica == replica)?;
        let is_long = self.input.now.since(silence.since) >= self.input.knobs.silence_max;
        is_long.then_some(Purpose::Silent(node))
    }

    /// A replica that is not heard on a node that is: it was damaged, or was told that it is none. Another one begins where it is.
    fn replace_in_place(&mut self, plan: &mut Plan, purpose: Purpose, group: usize, nth: usize) {
        let site = self.site(group, nth);
        match self.may_change(group, nth, Need::Lost).and_then(|()| self.may_receive(site)) {
            Ok(()) => self.replace_at(plan, purpose, group, nth, site),
            Err(reason) => plan.wait(purpose, reason, self.groups[group].spec.id),
        }
    }

    /// How many more voters a group may lose and still commit.
    fn spare_count(&self, group: usize) -> usize {
        let Some(report) = self.groups[group].fresh() else { return usize::MAX };
        let voters = &report.membership.voters;
        let live = voters.iter().filter(|voter| report.hears(voter.id)).count();
        live.saturating_sub(voters.len() / 2 + 1)
    }
}
