//! Clusters to plan for.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{CoreAddr, CoreId, GroupId, Instant, NodeId, ReplicaId, SLOTS_COUNT};
use wire::{Member, Membership};

use crate::bootstrap::Bootstrap;
use crate::change::{MapChange, Replace};
use crate::detector::Health;
use crate::id::ClusterId;
use crate::map::{ClusterMap, Group, Node, Replica, Settings, SlotRange};
use crate::planner::layout::Input;
use crate::planner::memory::Memory;
use crate::planner::model::Model;
use crate::planner::step::{Action, Plan, Purpose};
use crate::planner::{Forecast, Knobs, forecast};
use crate::reports::{Disk, GroupReport, NodeReport, Reports};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// Node `id`, with so many cores.
pub(super) fn node(id: u32, cores: u16, rack: Option<&str>) -> Node {
    let [_, b, c, d] = id.to_be_bytes();
    Node {
        id: NodeId(id),
        host: [10, b, c, d].into(),
        gateway_port: 7000,
        core_port: 7001,
        peer_port: 8001,
        admin_port: 9000,
        cores,
        rack: rack.map(str::to_owned),
    }
}

/// A cluster as it begins: so many nodes of two cores each, in these racks in turn, and so many groups of three replicas, of
/// 256 MiB and 1,000 commands per second each. Disks have a tebibyte.
pub(super) fn cluster(nodes_count: u32, racks: &[&str], groups_count: usize) -> Model {
    let rack_of = |id: u32| racks.get((id as usize - 1) % racks.len().max(1)).copied();
    let nodes = (1..=nodes_count).map(|id| node(id, 2, rack_of(id))).collect();
    let bootstrap = Bootstrap { cluster_id: ClusterId(7), nodes, groups_count, settings: Settings::default() };
    model_of(ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap"), |_| (256 * MIB, 1_000))
}

/// A map of these groups, each a list of nodes of which the first leads.
pub(super) fn map_of(nodes: Vec<Node>, groups: &[Vec<u32>]) -> ClusterMap {
    let mut next = 1;
    let mut group = |(idx, nodes): (usize, &Vec<u32>)| {
        let mut replica = |id: &u32| {
            next += 1;
            Replica { id: ReplicaId(next - 1), place: CoreAddr { node: NodeId(*id), core: CoreId(0) } }
        };
        let replicas = nodes.iter().map(&mut replica).collect();
        Group { id: GroupId(idx as u32), slots: slots(idx, groups.len()), replicas }
    };
    let placed: Vec<Group> = groups.iter().enumerate().map(&mut group).collect();
    let next_node = NodeId(nodes.last().map_or(1, |node| node.id.0 + 1));
    let map = ClusterMap {
        epoch: 1,
        cluster_id: ClusterId(7),
        nodes,
        groups: placed,
        next_replica: ReplicaId(next),
        settings: Settings::default(),
        admitted: Vec::new(),
        next_node,
        invitations: Vec::new(),
        leaving: Vec::new(),
        removed: Vec::new(),
        duties: Vec::new(),
    };
    map.validate().expect("a sound map");
    map
}

/// Equal shares of the slots for all groups but group 0.
fn slots(group: usize, groups_count: usize) -> Vec<SlotRange> {
    let Some(share) = group.checked_sub(1) else { return Vec::new() };
    let begin = |share: usize| (share * SLOTS_COUNT / (groups_count - 1)) as u16;
    vec![SlotRange { first: begin(share), last: begin(share + 1) - 1 }]
}

/// What a cluster of this map looks like when all is well. Groups have these bytes and commands per second.
pub(super) fn model_of(map: ClusterMap, load: impl Fn(u32) -> (u64, u64)) -> Model {
    let now = Instant::ZERO + Duration::from_secs(1_000_000);
    let mut reports = Reports::default();
    for group in &map.groups {
        let (bytes, ops_per_s) = load(group.id.0);
        let voters = group.replicas.iter().map(|replica| Member { id: replica.id, place: replica.place });
        let report = GroupReport {
            heard_at: now,
            term: 1,
            leader: group.replicas[0].id,
            membership: Membership::of_voters(voters),
            membership_index: 1,
            silent: Vec::new(),
            behind: Vec::new(),
            bytes,
            ops_per_s,
        };
        reports.groups.insert(group.id, report);
    }
    for node in &map.nodes {
        let there = map.groups.iter().flat_map(|group| group.replicas.iter().map(move |one| (group.id, one)));
        let there = there.filter(|(_, replica)| replica.place.node == node.id);
        let used_bytes = there.map(|(group, _)| reports.groups[&group].bytes).sum();
        reports.nodes.insert(node.id, node_report(now, used_bytes, 1 << 40));
    }
    let (healths, memory, knobs) = (BTreeMap::new(), Memory::default(), Knobs::default());
    Model::new(&Input { map: &map, reports: &reports, healths: &healths, memory: &memory, now, knobs: &knobs })
}

pub(super) fn node_report(heard_at: Instant, used_bytes: u64, capacity_bytes: u64) -> NodeReport {
    let disk = Disk { used_bytes, capacity_bytes, is_full: false };
    NodeReport { heard_at, write_stalled_for: Duration::ZERO, disk, snapshots_in: 0, snapshots_out: 0 }
}

pub(super) fn down(model: &Model) -> Health {
    Health::Down { since: model.now }
}

pub(super) fn suspect(model: &Model) -> Health {
    Health::Suspect { since: model.now, down_at: model.now + Duration::from_secs(600) }
}

/// A node joins, with nothing on it.
pub(super) fn join(model: &mut Model, node: Node) {
    model.reports.nodes.insert(node.id, node_report(model.now, 0, 1 << 40));
    model.map.nodes.push(node);
}

pub(super) fn disk_of(model: &mut Model, node: u32) -> &mut Disk {
    &mut model.reports.nodes.get_mut(&NodeId(node)).expect("a node that reports").disk
}

pub(super) fn group_of(model: &mut Model, group: u32) -> &mut GroupReport {
    model.reports.groups.get_mut(&GroupId(group)).expect("a group that is reported")
}

/// What a forecast says of the cluster as it is.
pub(super) fn foresee(model: &Model) -> Forecast {
    let Model { map, reports, healths, memory, now, .. } = model;
    forecast(&Input { map, reports, healths, memory, now: *now, knobs: &Knobs::default() }, 100_000)
}

/// The replacements of a plan, with what they are for.
pub(super) fn replacements(plan: &Plan) -> Vec<(Purpose, Replace)> {
    let replace = |step: &crate::planner::Step| match step.action {
        Action::Change(MapChange::Replace(replace)) => Some((step.purpose, replace)),
        _ => None,
    };
    plan.steps.iter().filter_map(replace).collect()
}

/// How many replicas each node is to have.
pub(super) fn replicas_per_node(model: &Model) -> BTreeMap<u32, usize> {
    let mut counts: BTreeMap<u32, usize> = model.map.nodes.iter().map(|node| (node.id.0, 0)).collect();
    for replica in model.map.groups.iter().flat_map(|group| &group.replicas) {
        *counts.get_mut(&replica.place.node.0).expect("a node of the map") += 1;
    }
    counts
}

/// The sum of a figure of the groups that each node leads.
pub(super) fn led_per_node(model: &Model, figure: impl Fn(&GroupReport) -> u64) -> BTreeMap<u32, u64> {
    let mut sums: BTreeMap<u32, u64> = model.map.nodes.iter().map(|node| (node.id.0, 0)).collect();
    for report in model.reports.groups.values() {
        let leader = report.membership.voters.iter().find(|voter| voter.id == report.leader);
        let node = leader.expect("a leader that is a voter").place.node;
        *sums.get_mut(&node.0).expect("a node of the map") += figure(report);
    }
    sums
}

/// Bytes of the replicas of each node.
pub(super) fn bytes_per_node(model: &Model) -> BTreeMap<u32, u64> {
    let mut sums: BTreeMap<u32, u64> = model.map.nodes.iter().map(|node| (node.id.0, 0)).collect();
    for group in &model.map.groups {
        for replica in &group.replicas {
            *sums.get_mut(&replica.place.node.0).expect("a node of the map") += model.reports.groups[&group.id].bytes;
        }
    }
    sums
}
