//! The cluster as a round sees it: moves under way are counted as if they had happened.

use std::collections::BTreeMap;

use types::{GroupId, Instant, NodeId, ReplicaId};

use crate::detector::Health;
use crate::map::{ClusterMap, Group, Node, Replica};
use crate::placement::rack_numbers;
use crate::planner::knobs::Knobs;
use crate::planner::memory::Memory;
use crate::planner::rule::Bin;
use crate::planner::step::Purpose;
use crate::reports::{Disk, Duty, GroupReport, Reports};

/// What a replica costs beside its bytes, so that empty ones are spread, too.
const REPLICA_BYTES: u64 = 1 << 20;
/// What leading a group costs beside its commands per second, so that idle ones are spread, too, and no leader moves for less.
const IDLE_OPS: u64 = 100;
/// What a group is taken to have at most, in bytes or in commands per second: reports may say anything.
const GROUP_LOAD_MAX: u64 = 1 << 50;
/// How long a log's write may take on a node that is to lead.
const FIT_STALL_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// All that a round looks at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is wanted. Invariant: valid, but for the number of groups, which may be larger, and for slots, which are not looked at.
    pub map: &'a ClusterMap,
    /// What was reported.
    pub reports: &'a Reports,
    /// How the nodes are; those that are not named are up.
    pub healths: &'a BTreeMap<NodeId, Health>,
    /// What was done before.
    pub memory: &'a Memory,
    /// Now, by the clock of the reports.
    pub now: Instant,
    /// What may be told otherwise.
    pub knobs: &'a Knobs,
}

/// The cluster in a round.
pub(super) struct Layout<'a> {
    pub(super) input: Input<'a>,
    /// As in the map.
    pub(super) nodes: Vec<NodeState<'a>>,
    /// As in the map.
    pub(super) groups: Vec<GroupState<'a>>,
    /// The nodes of all replicas, group by group, by index.
    sites: Vec<u32>,
}

/// A node in a round.
pub(super) struct NodeState<'a> {
    pub(super) spec: &'a Node,
    /// Nodes with equal numbers share a rack.
    pub(super) rack: usize,
    pub(super) health: Health,
    pub(super) duty: Duty,
    /// None if it has never reported.
    pub(super) disk: Option<Disk>,
    /// Whether its disk serves leaders.
    is_fit: bool,
    /// The replicas that it is to have, each as a group's index and the number of the replica in it.
    pub(super) replicas: Vec<(usize, usize)>,
    /// Their bytes.
    pub(super) bytes: u128,
    /// The load of the groups that it leads.
    pub(super) leading: u128,
    /// The load of the replicas of each core.
    pub(super) cores: Vec<u128>,
    /// Bytes on their way to its disk.
    pub(super) arriving: u64,
    /// Bytes that will leave its disk.
    pub(super) leaving: u64,
    pub(super) snapshots_in: u32,
    pub(super) snapshots_out: u32,
}

/// A group in a round.
pub(super) struct GroupState<'a> {
    pub(super) spec: &'a Group,
    /// The latest, however old.
    report: Option<&'a GroupReport>,
    is_fresh: bool,
    /// Whether its members are those that are wanted, all of them voters.
    pub(super) is_settled: bool,
    /// Who leads it, or was asked to just now, and on which node.
    pub(super) leader: Option<(ReplicaId, usize)>,
    /// How many snapshots its leader sends, or is to send.
    pub(super) sends: u32,
    /// Whether it was moved a short while ago.
    pub(super) rests: bool,
    /// Whether this round has a step for it already.
    pub(super) is_taken: bool,
    /// Where its sites begin.
    first_site: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn new(input: Input<'a>) -> Layout<'a> {
        let racks = rack_numbers(&input.map.nodes);
        let nodes =
            input.map.nodes.iter().zip(racks).map(|(spec, rack)| NodeState::new(&input, spec, rack)).collect();
        let mut layout =
            Layout { input, nodes, groups: Vec::with_capacity(input.map.groups.len()), sites: Vec::new() };
        let mut reports = input.reports.groups.iter().peekable();
        for (idx, spec) in input.map.groups.iter().enumerate() {
            // Both are sorted by group.
            while reports.next_if(|(id, _)| **id < spec.id).is_some() {}
            let report = reports.next_if(|(id, _)| **id == spec.id).map(|(_, report)| report);
            layout.add_group(idx, spec, report);
        }
        for node in &mut layout.nodes {
            if let Some(report) = input.reports.nodes.get(&node.spec.id) {
                // What is reported may be what was planned, or the catching up of others: the greater of both is under way.
                node.snapshots_in = node.snapshots_in.max(report.snapshots_in);
                node.snapshots_out = node.snapshots_out.max(report.snapshots_out);
            }
        }
        layout
    }

    fn add_group(&mut self, idx: usize, spec: &'a Group, report: Option<&'a GroupReport>) {
        let Input { memory, now, knobs, .. } = self.input;
        let first_site = self.sites.len();
        for (nth, replica) in spec.replicas.iter().enumerate() {
            let site = self.node_idx(replica.place.node).expect("a valid map has the nodes of its replicas");
            self.sites.push(u32::try_from(site).expect("at most NODES_COUNT_MAX nodes"));
            self.nodes[site].replicas.push((idx, nth));
        }
        let latest = memory.latest(spec.id);
        let age = latest.map(|taken| now.since(taken.at));
        // Who was asked to lead counts as the leader until it is known who does in a later term.
        let heir = latest.filter(|taken| now.since(taken.at) < knobs.transfer_timeout).and_then(|taken| taken.heir);
        let heir = heir.filter(|(_, term)| report.is_some_and(|report| report.term <= *term)).map(|(heir, _)| heir);
        let mut group = GroupState {
            spec,
            report,
            is_fresh: report.is_some_and(|report| now.since(report.heard_at) <= knobs.report_age_max),
            is_settled: report.is_some_and(|report| is_settled(spec, report)),
            leader: report.and_then(|report| self.leader_of(report, heir)),
            sends: 0,
            rests: age.is_some_and(|age| age < knobs.rest),
            is_taken: false,
            first_site,
        };
        self.count_group(&mut group);
        self.groups.push(group);
    }

    fn count_group(&mut self, group: &mut GroupState<'a>) {
        let (weight, load) = (group.weight(), group.load());
        let bytes = group.bytes();
        for (nth, replica) in group.spec.replicas.iter().enumerate() {
            let site = self.sites[group.first_site + nth] as usize;
            let node = &mut self.nodes[site];
            node.bytes += weight;
            node.cores[usize::from(replica.place.core.0)] += load;
            // To a node that is not there none is being sent.
            if group.report.is_some_and(|report| awaits_snapshot(report, replica.id)) && node.is_up() {
                node.arriving += bytes;
                node.snapshots_in += 1;
                group.sends += 1;
            }
        }
        if let Some((_, leader)) = group.leader {
            self.nodes[leader].leading += load;
            self.nodes[leader].snapshots_out += group.sends;
        }
        let members = group.report.into_iter().flat_map(|report| report.membership.members());
        for member in members.filter(|member| !group.wants(member.id)) {
            if let Some(site) = self.node_idx(member.place.node) {
                self.nodes[site].leaving += bytes;
            }
        }
    }

    fn leader_of(&self, report: &GroupReport, heir: Option<ReplicaId>) -> Option<(ReplicaId, usize)> {
        let leader = heir.filter(|heir| report.membership.is_voter(*heir)).unwrap_or(report.leader);
        let member = report.membership.members().find(|member| member.id == leader)?;
        Some((leader, self.node_idx(member.place.node)?))
    }

    /// The index of a node.
    pub(super) fn node_idx(&self, id: NodeId) -> Option<usize> {
        self.input.map.nodes.binary_search_by_key(&id, |node| node.id).ok()
    }

    /// The nodes of a group's replicas, by index and in the order of the map.
    pub(super) fn sites(&self, group: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        let GroupState { first_site, spec, .. } = self.groups[group];
        self.sites[first_site..first_site + spec.replicas.len()].iter().map(|site| *site as usize)
    }

    /// The node of one of them.
    pub(super) fn site(&self, group: usize, nth: usize) -> usize {
        self.sites[self.groups[group].first_site + nth] as usize
    }

    /// Whether a group was moved off a node so lately that it does not come back there for the sake of balance.
    pub(super) fn has_left(&self, group: usize, node: usize) -> bool {
        let Input { memory, now, knobs, .. } = self.input;
        let at = memory.left_at(self.groups[group].spec.id, self.nodes[node].spec.id);
        at.is_some_and(|at| now.since(at) < knobs.no_return)
    }

    /// The groups that have never been reported.
    pub(super) fn unreported(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.iter().filter(|group| group.report.is_none()).map(|group| group.spec.id)
    }

    /// Counts a replica of a group as replaced by one on another node, or on the same one, and takes the group for this round. Returns on
    /// which core that is to be.
    pub(super) fn count_replaced(&mut self, group: usize, nth: usize, target: usize) -> u16 {
        let from = self.site(group, nth);
        let state = &mut self.groups[group];
        state.is_taken = true;
        let (weight, load, bytes, leader) = (state.weight(), state.load(), state.bytes(), state.leader);
        let core = usize::from(state.spec.replicas[nth].place.core.0);
        let is_map_group = state.spec.id == GroupId(0);
        let source = &mut self.nodes[from];
        source.bytes -= weight;
        source.cores[core] -= load;
        source.leaving += bytes;
        let receiver = &mut self.nodes[target];
        let cores = receiver.cores.iter().enumerate();
        // Group 0 lives on first cores.
        let (least, _) = cores.min_by_key(|(idx, load)| (**load, *idx)).expect("a node has at least one core");
        let core = if is_map_group { 0 } else { least };
        receiver.bytes += weight;
        receiver.cores[core] += load;
        receiver.arriving += bytes;
        receiver.snapshots_in += 1;
        if let Some((_, leader)) = leader {
            self.nodes[leader].snapshots_out += 1;
        }
        u16::try_from(core).expect("at most CORES_COUNT_MAX cores")
    }

    /// Counts a group as led by another replica, and takes it for this round.
    pub(super) fn count_transferred(&mut self, group: usize, heir: ReplicaId, target: usize) {
        let state = &mut self.groups[group];
        let load = state.load();
        let sends = state.sends;
        state.is_taken = true;
        if let Some((_, leader)) = state.leader.replace((heir, target)) {
            self.nodes[leader].leading -= load;
            self.nodes[leader].snapshots_out = self.nodes[leader].snapshots_out.saturating_sub(sends);
        }
        self.nodes[target].leading += load;
        self.nodes[target].snapshots_out += sends;
    }
}

fn is_settled(spec: &Group, report: &GroupReport) -> bool {
    let members = &report.membership;
    let has = |replica: &Replica| members.voters.iter().any(|member| member.id == replica.id);
    !members.is_joint()
        && members.learners.is_empty()
        && members.voters.len() == spec.replicas.len()
        && spec.replicas.iter().all(has)
}

/// Whether a replica that is wanted is to be sent a snapshot, or is being sent one.
fn awaits_snapshot(report: &GroupReport, replica: ReplicaId) -> bool {
    let has_all = report.membership.contains(replica) && !report.behind.contains(&replica);
    !report.membership.is_voter(replica) && !has_all
}

impl<'a> NodeState<'a> {
    fn new(input: &Input<'a>, spec: &'a Node, rack: usize) -> NodeState<'a> {
        let report = input.reports.nodes.get(&spec.id);
        NodeState {
            spec,
            rack,
            health: input.healths.get(&spec.id).copied().unwrap_or(Health::Up),
            duty: input.reports.duty(spec.id),
            disk: report.map(|report| report.disk),
            is_fit: report.is_some_and(|report| !report.disk.is_full && report.write_stalled_for <= FIT_STALL_MAX),
            replicas: Vec::new(),
            bytes: 0,
            leading: 0,
            cores: vec![0; usize::from(spec.cores)],
            arriving: 0,
            leaving: 0,
            snapshots_in: 0,
            snapshots_out: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.health == Health::Up
    }

    /// Whether its replicas are lost: it is down, or not heard and somebody has said that it is to leave.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.health, Health::Down { .. }) || (self.duty == Duty::Leaves && !self.is_up())
    }

    /// Whether it may lead.
    pub(super) fn may_lead(&self) -> bool {
        self.is_up() && self.duty == Duty::Serves && self.is_fit
    }

    /// Why others are to lead what it leads, if that is so.
    pub(super) fn unfit_for(&self) -> Option<Purpose> {
        let id = self.spec.id;
        match self.duty {
            Duty::Drains | Duty::Leaves => Some(Purpose::Drain(id)),
            Duty::Serves if self.is_up() && !self.is_fit => Some(Purpose::Fitness(id)),
            Duty::Serves => None,
        }
    }

    /// Whether its disk would hold more than it may, with so many bytes more.
    pub(super) fn is_crowded_with(&self, bytes: u64, percent: u32) -> bool {
        self.disk.is_none_or(|disk| {
            let used = u128::from(disk.used_bytes) + u128::from(self.arriving) + u128::from(bytes);
            disk.is_full || used * 100 > u128::from(disk.capacity_bytes) * u128::from(percent)
        })
    }

    /// By how many bytes its disk will hold more than it may once those have left that are to leave.
    pub(super) fn excess(&self, percent: u32) -> u64 {
        let Some(disk) = self.disk else { return 0 };
        let allowed = u128::from(disk.capacity_bytes) * u128::from(percent) / 100;
        let used = disk.used_bytes.saturating_add(self.arriving).saturating_sub(self.leaving);
        u64::try_from(u128::from(used).saturating_sub(allowed)).unwrap_or(u64::MAX)
    }

    /// How full it is of bytes; a node with twice the cores is to have twice of them, as when groups are first placed.
    pub(super) fn bytes_bin(&self) -> Bin {
        Bin { load: self.bytes, size: u128::from(self.spec.cores) }
    }

    /// How much it leads.
    pub(super) fn leading_bin(&self) -> Bin {
        Bin { load: self.leading, size: u128::from(self.spec.cores) }
    }
}

impl<'a> GroupState<'a> {
    /// What its leader says, if that was of late.
    pub(super) fn fresh(&self) -> Option<&'a GroupReport> {
        self.report.filter(|_| self.is_fresh)
    }

    pub(super) fn wants(&self, replica: ReplicaId) -> bool {
        self.spec.replicas.iter().any(|wanted| wanted.id == replica)
    }

    /// Bytes of a replica.
    pub(super) fn bytes(&self) -> u64 {
        self.report.map_or(0, |report| report.bytes.min(GROUP_LOAD_MAX))
    }

    /// What a replica weighs where bytes are balanced.
    pub(super) fn weight(&self) -> u128 {
        u128::from(self.bytes() + REPLICA_BYTES)
    }

    /// What its leader weighs where leaders are balanced, and each replica where cores are.
    pub(super) fn load(&self) -> u128 {
        u128::from(self.report.map_or(0, |report| report.ops_per_s.min(GROUP_LOAD_MAX)) + IDLE_OPS)
    }
}
