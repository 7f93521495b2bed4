//! What people have asked for, and what racks and disks demand: leaders leave nodes that are not to lead, replicas leave nodes that are
//! not to have them.

use types::{GroupId, ReplicaId};

use crate::planner::layout::Layout;
use crate::planner::reason::Reason;
use crate::planner::step::{Action, DutyLeft, Plan, Purpose, Step};
use crate::planner::target::Need;
use crate::reports::Duty;

impl Layout<'_> {
    /// Has others lead what nodes lead that are not to. Group 0 is the last: whoever plans stops planning then.
    pub(super) fn move_leaders_away(&mut self, plan: &mut Plan) {
        let last = (0..self.groups.len()).filter(|group| self.groups[*group].spec.id == GroupId(0));
        let order: Vec<usize> =
            (0..self.groups.len()).filter(|group| self.groups[*group].spec.id != GroupId(0)).chain(last).collect();
        for group in order {
            let state = &self.groups[group];
            let Some((_, leader)) = state.leader.filter(|_| !state.is_taken) else { continue };
            let Some(purpose) = self.nodes[leader].unfit_for() else { continue };
            let id = state.spec.id;
            match self.best_heir(group) {
                Ok((heir, site)) if transfers_count(plan) < self.input.knobs.transfers_count_max => {
                    self.transfer(plan, purpose, group, heir, site);
                }
                Ok(_) => plan.wait(purpose, Reason::ManyTransfers, id),
                Err(reason) => plan.wait(purpose, reason, id),
            }
        }
    }

    /// Plans that another replica leads a group.
    pub(super) fn transfer(&mut self, plan: &mut Plan, purpose: Purpose, group: usize, heir: ReplicaId, site: usize) {
        let state = &self.groups[group];
        let (from, _) = state.leader.expect("whoever hands over a group has found its leader");
        let term = state.fresh().expect("whoever hands over a group has heard of it").term;
        let action = Action::Transfer { group: state.spec.id, term, from, to: heir };
        self.count_transferred(group, heir, site);
        plan.steps.push(Step { action, purpose, bytes: 0 });
    }

    /// Who may lead a group instead of its leader, each with its node: voters that stay, and have caught up.
    pub(super) fn heirs(&self, group: usize) -> impl Iterator<Item = (ReplicaId, usize)> + '_ {
        let state = &self.groups[group];
        let report = state.fresh().filter(|report| !report.membership.is_joint());
        let leader = state.leader.map(|(leader, _)| leader);
        let voters = report.into_iter().flat_map(move |report| {
            let voters = report.membership.voters.iter();
            voters.filter(move |voter| Some(voter.id) != leader && report.is_current(voter.id))
        });
        voters.filter(|voter| state.wants(voter.id)).filter_map(|voter| {
            let site = self.node_idx(voter.place.node)?;
            self.nodes[site].may_lead().then_some((voter.id, site))
        })
    }

    fn best_heir(&self, group: usize) -> Result<(ReplicaId, usize), Reason> {
        self.groups[group].fresh().ok_or(Reason::NotReported)?;
        let sends = self.groups[group].sends;
        // Whoever leads goes on with the snapshots that are being sent.
        let may_send = |site: usize| {
            sends == 0 || self.nodes[site].snapshots_out + sends <= self.input.knobs.snapshots_count_max
        };
        let key = |(id, site): &(ReplicaId, usize)| (!may_send(*site), self.nodes[*site].leading_bin().level(), *id);
        let (heir, site) = self.heirs(group).min_by_key(key).ok_or(Reason::NoHeir)?;
        let node = &self.nodes[site];
        may_send(site).then_some((heir, site)).ok_or(Reason::Sends(node.spec.id, node.snapshots_out))
    }

    /// Spreads the replicas of groups over more racks, where there are any.
    pub(super) fn spread_over_racks(&mut self, plan: &mut Plan) {
        let mut racks: Vec<usize> = self.open_nodes().map(|node| self.nodes[node].rack).collect();
        racks.sort_unstable();
        racks.dedup();
        if self.nodes.iter().all(|node| node.spec.rack.is_none()) {
            return;
        }
        for group in 0..self.groups.len() {
            if !self.groups[group].is_settled || self.groups[group].is_taken {
                continue;
            }
            if let Some(nth) = self.crowding(group, &racks) {
                let purpose = Purpose::Racks(self.nodes[self.site(group, nth)].spec.id);
                self.replace(plan, purpose, group, nth, Need::Apart);
            }
        }
    }

    /// A replica of a group in the rack that has most of them, if one of these racks could have it and would have fewer: rather a follower
    /// than the leader, and rather on a full node.
    fn crowding(&self, group: usize, racks: &[usize]) -> Option<usize> {
        let count = |rack: usize| self.sites(group).filter(|site| self.nodes[*site].rack == rack).count();
        let sites = || self.sites(group).enumerate();
        let most = sites().map(|(_, site)| count(self.nodes[site].rack)).max()?;
        if most < 2 || racks.iter().all(|rack| count(*rack) + 1 >= most) {
            return None;
        }
        let leader = self.groups[group].leader.map(|(_, leader)| leader);
        let crowded = sites().filter(|(_, site)| count(self.nodes[*site].rack) == most);
        let best = crowded.max_by_key(|(nth, site)| {
            (Some(*site) != leader, self.nodes[*site].bytes_bin().level(), std::cmp::Reverse(*nth))
        });
        best.map(|(nth, _)| nth)
    }

    /// Moves replicas off disks that are fuller than they may be, the largest first.
    pub(super) fn make_room(&mut self, plan: &mut Plan) {
        let percent = self.input.knobs.disk_percent_max;
        for node in 0..self.nodes.len() {
            if self.nodes[node].excess(percent) == 0 || !self.nodes[node].is_up() {
                continue;
            }
            let purpose = Purpose::Room(self.nodes[node].spec.id);
            let leads = |group: usize| self.groups[group].leader.is_some_and(|(_, leader)| leader == node);
            let mut replicas = self.nodes[node].replicas.clone();
            replicas.retain(|(group, _)| !self.groups[*group].is_taken && self.groups[*group].bytes() > 0);
            replicas
                .sort_by_key(|(group, _)| (leads(*group), std::cmp::Reverse(self.groups[*group].bytes()), *group));
            for (group, nth) in replicas {
                if self.nodes[node].excess(percent) == 0 {
                    break;
                }
                self.replace(plan, purpose, group, nth, Need::Sound);
            }
        }
    }

    /// Moves replicas off nodes that leave, unless so many others are missing that nothing sound is moved.
    pub(super) fn move_replicas_away(&mut self, plan: &mut Plan) {
        for node in 0..self.nodes.len() {
            // Those of nodes that are not heard are replaced as lost ones.
            if self.nodes[node].duty != Duty::Leaves || self.nodes[node].is_lost() {
                continue;
            }
            let purpose = Purpose::Leave(self.nodes[node].spec.id);
            for (group, nth) in self.nodes[node].replicas.clone() {
                if plan.alarm.is_some() {
                    plan.wait(purpose, Reason::TooManyMissing, self.groups[group].spec.id);
                } else {
                    self.replace(plan, purpose, group, nth, Need::Sound);
                }
            }
        }
    }

    /// What is left to do for nodes that drain or leave, as things are and not as they are planned.
    pub(super) fn duties_left(&self) -> Vec<DutyLeft> {
        let asked = self.nodes.iter().filter(|node| node.duty != Duty::Serves);
        let empty = |node| DutyLeft { node, duty: self.input.reports.duty(node), leaders: 0, replicas: 0, bytes: 0 };
        let mut left: Vec<DutyLeft> = asked.map(|node| empty(node.spec.id)).collect();
        if left.is_empty() {
            return left;
        }
        for group in &self.input.map.groups {
            let report = self.input.reports.groups.get(&group.id);
            let members = report.into_iter().flat_map(|report| report.membership.members());
            let mut there: Vec<_> = members.map(|member| (member.id, member.place.node)).collect();
            there.extend(group.replicas.iter().map(|replica| (replica.id, replica.place.node)));
            there.sort_unstable();
            there.dedup();
            for (replica, node) in there {
                let Ok(idx) = left.binary_search_by_key(&node, |left| left.node) else { continue };
                left[idx].replicas += 1;
                left[idx].bytes = left[idx].bytes.saturating_add(report.map_or(0, |report| report.bytes));
                left[idx].leaders += usize::from(report.is_some_and(|report| report.leader == replica));
            }
        }
        left
    }

    /// The nodes that may be given something.
    pub(super) fn open_nodes(&self) -> impl Iterator<Item = usize> + '_ {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| node.is_up() && node.duty == Duty::Serves && node.disk.is_some()).map(|(idx, _)| idx)
    }
}

/// How many transfers of leadership a plan asks for.
pub(super) fn transfers_count(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| matches!(step.action, Action::Transfer { .. })).count()
}
