//! What steps do, without a cluster: groups do what the map wants, one snapshot takes as long as its bytes, and nothing fails.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{GroupId, Instant, NodeId, ReplicaId};
use wire::Member;

use crate::detector::Health;
use crate::map::ClusterMap;
use crate::planner::knobs::Knobs;
use crate::planner::layout::Input;
use crate::planner::memory::Memory;
use crate::planner::round;
use crate::planner::step::{Action, Plan, Step};
use crate::reports::{GroupReport, Reports, Silence};

/// A cluster that carries out steps at once, but for snapshots, which take their time.
#[derive(Clone, Debug)]
pub struct Model {
    /// The map as it has become.
    pub map: ClusterMap,
    /// What everybody would report of that.
    pub reports: Reports,
    /// How the nodes are. See [`Model::set_health`].
    pub healths: BTreeMap<NodeId, Health>,
    /// The steps that were taken.
    pub memory: Memory,
    /// The time.
    pub now: Instant,
    knobs: Knobs,
    /// The groups to which replicas are to come, with the time at which the snapshot will have been sent.
    arrivals: BTreeMap<GroupId, Instant>,
}

impl Model {
    /// One that begins as things are. What is under way begins to be sent now.
    pub fn new(input: &Input<'_>) -> Model {
        let mut model = Model {
            map: input.map.clone(),
            reports: input.reports.clone(),
            healths: input.healths.clone(),
            memory: input.memory.clone(),
            now: input.now,
            knobs: *input.knobs,
            arrivals: BTreeMap::new(),
        };
        for report in model.reports.nodes.values_mut() {
            (report.snapshots_in, report.snapshots_out) = (0, 0);
        }
        for idx in 0..model.map.groups.len() {
            model.begin_arrivals(model.map.groups[idx].id);
        }
        model
    }

    /// What is to be done next.
    pub fn plan(&self) -> Plan {
        let Model { map, reports, healths, memory, now, knobs, .. } = self;
        round::plan(&Input { map, reports, healths, memory, now: *now, knobs })
    }

    /// Takes a step. Returns whether it did anything.
    pub fn take(&mut self, step: &Step) -> bool {
        self.memory.note(step, self.now);
        match step.action {
            Action::Change(ref change) => {
                if !self.map.make(change) {
                    return false;
                }
                if let Some(group) = step.action.group() {
                    self.begin_arrivals(group);
                }
                true
            }
            Action::Transfer { group, term, from, to } => {
                let report = self.reports.groups.get_mut(&group);
                let report = report.filter(|report| report.leader == from && report.term == term);
                report.is_some_and(|report| {
                    report.leader = to;
                    report.term += 1;
                    true
                })
            }
            Action::MoveCore { group, replica, from, to } => {
                let spec = self.map.groups.iter_mut().find(|spec| spec.id == group);
                let replicas = spec.into_iter().flat_map(|spec| &mut spec.replicas);
                let found = replicas.filter(|one| one.id == replica && one.place == from).map(|one| one.place = to);
                found.count() > 0
            }
        }
    }

    /// Lets time pass: this long, and if that brings nothing and something is under way, until that has come.
    pub fn advance(&mut self, at_least: Duration) {
        self.now += at_least;
        if let Some(next) = self.arrivals.values().min() {
            self.now = self.now.max(*next);
        }
        let arrived: Vec<GroupId> =
            self.arrivals.iter().filter(|(_, at)| **at <= self.now).map(|(group, _)| *group).collect();
        for group in arrived {
            self.arrivals.remove(&group);
            self.swap(group);
        }
        let (healths, now) = (&self.healths, self.now);
        let is_up = |node: NodeId| healths.get(&node).is_none_or(|health| *health == Health::Up);
        for (_, report) in self.reports.nodes.iter_mut().filter(|(node, _)| is_up(**node)) {
            report.heard_at = now;
        }
        for report in self.reports.groups.values_mut() {
            let leader = report.membership.members().find(|member| member.id == report.leader);
            if leader.is_some_and(|leader| is_up(leader.place.node)) {
                report.heard_at = now;
            }
        }
    }

    /// Whether snapshots are being sent.
    pub fn is_busy(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Makes a node another one: what is on one that is not up is silent, and leads nothing where others can.
    pub fn set_health(&mut self, node: NodeId, health: Health) {
        self.healths.insert(node, health);
        let mut concerned = Vec::new();
        for (group, report) in &mut self.reports.groups {
            let there: Vec<ReplicaId> = report
                .membership
                .members()
                .filter(|member| member.place.node == node)
                .map(|member| member.id)
                .collect();
            if there.is_empty() {
                continue;
            }
            report.silent.retain(|silence| !there.contains(&silence.replica));
            if health != Health::Up {
                report.silent.extend(there.iter().map(|replica| Silence { replica: *replica, since: self.now }));
            }
            elect(report);
            concerned.push(*group);
        }
        for group in concerned {
            self.begin_arrivals(group);
        }
    }

    /// The group's leader brings in, as learners, whom the map wants, and drops learners that it does not want.
    fn begin_arrivals(&mut self, group: GroupId) {
        let (Some(spec), Some(report)) = (self.map.group(group), self.reports.groups.get_mut(&group)) else { return };
        let wants = |id: ReplicaId| spec.replicas.iter().any(|replica| replica.id == id);
        report.membership.learners.retain(|learner| wants(learner.id));
        let missing = spec.replicas.iter().filter(|replica| !report.membership.contains(replica.id));
        let added: Vec<Member> = missing.map(|replica| Member { id: replica.id, place: replica.place }).collect();
        if !added.is_empty() {
            report.membership.learners.extend(&added);
            report.membership_index += 1;
            report.behind.extend(added.iter().map(|learner| learner.id));
            self.arrivals.remove(&group);
        }
        let GroupReport { membership, behind, silent, .. } = report;
        behind.retain(|replica| membership.contains(*replica));
        silent.retain(|silence| membership.contains(silence.replica));
        let is_up = |node| self.healths.get(&node).is_none_or(|health| *health == Health::Up);
        let learners = &report.membership.learners;
        if learners.is_empty() || !learners.iter().all(|learner| is_up(learner.place.node)) || !is_served(report) {
            self.arrivals.remove(&group);
            return;
        }
        let is_here = learners.iter().all(|learner| !report.behind.contains(&learner.id));
        let bytes = if is_here { 0 } else { report.bytes.min(u64::MAX / 1_000) };
        let takes = Duration::from_millis(bytes * 1_000 / self.knobs.snapshot_bytes_per_s);
        self.arrivals.entry(group).or_insert(self.now + takes);
    }

    /// One joint change: the learners become voters, and those leave that are not wanted.
    fn swap(&mut self, group: GroupId) {
        let (Some(spec), Some(report)) = (self.map.group(group), self.reports.groups.get_mut(&group)) else { return };
        let wants = |id: ReplicaId| spec.replicas.iter().any(|replica| replica.id == id);
        let membership = &mut report.membership;
        let arrived = std::mem::take(&mut membership.learners);
        let (stay, gone): (Vec<Member>, Vec<Member>) = membership.voters.iter().partition(|voter| wants(voter.id));
        let bytes = report.bytes;
        membership.voters = stay.into_iter().chain(arrived.iter().copied()).collect();
        membership.voters.sort_unstable();
        report.membership_index += 1;
        report.behind.clear();
        report.silent.retain(|silence| wants(silence.replica));
        elect(report);
        for (members, is_added) in [(&arrived, true), (&gone, false)] {
            for member in members {
                let Some(node) = self.reports.nodes.get_mut(&member.place.node) else { continue };
                let used = node.disk.used_bytes;
                node.disk.used_bytes = if is_added { used.saturating_add(bytes) } else { used.saturating_sub(bytes) };
            }
        }
    }
}

/// Has another voter lead if the leader is none, or is not heard.
fn elect(report: &mut GroupReport) {
    let may_lead = |id: ReplicaId| report.membership.is_voter(id) && report.hears(id);
    if may_lead(report.leader) || !is_served(report) {
        return;
    }
    let mut voters = report.membership.voters.iter().map(|voter| voter.id);
    if let Some(leader) = voters.find(|id| may_lead(*id)) {
        report.leader = leader;
        report.term += 1;
    }
}

fn is_served(report: &GroupReport) -> bool {
    let voters = &report.membership.voters;
    voters.iter().filter(|voter| report.hears(voter.id)).count() > voters.len() / 2
}
