//! Whatever the cluster and whatever happens to it: [`check_plan`] and [`check_advance`] hold in each round, and once nothing happens any
//! more, it ends, and nothing goes where it came from.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use types::{GroupId, Instant, NodeId};

use super::audit::{check_advance, check_plan};
use super::support::{GIB, MIB, down, map_of, model_of, node, suspect};
use crate::change::MapChange;
use crate::detector::Health;
use crate::map::Node;
use crate::planner::Knobs;
use crate::planner::model::Model;
use crate::planner::step::{Action, Purpose, Step};
use crate::reports::Duty;

/// A cluster: of each node its cores, rack and room; of each group how many replicas it has, where, and its loads.
#[derive(Clone, Debug)]
struct ClusterSpec {
    nodes: Vec<(u16, Option<u8>, u64)>,
    groups: Vec<(usize, u64, u64, u64)>,
}

/// What may happen between rounds.
#[derive(Clone, Debug)]
enum Event {
    Lose(usize),
    Doubt(usize),
    Find(usize),
    Ask(usize, Duty),
    Load(usize, u64, u64),
    Rounds(u8),
}

fn specs() -> impl Strategy<Value = ClusterSpec> {
    let racks = prop_oneof![Just(None), (0u8..4).prop_map(Some)];
    let node = (1u16..4, racks, prop_oneof![4 => Just(1_000 * GIB), 1 => 20 * GIB..60 * GIB]);
    let factor = prop_oneof![1 => Just(1usize), 6 => Just(3), 2 => Just(5)];
    let group = (factor, any::<u64>(), loads(8 * GIB), loads(10_000));
    (prop::collection::vec(node, 3..10), prop::collection::vec(group, 2..25))
        .prop_map(|(nodes, groups)| ClusterSpec { nodes, groups })
}

/// Mostly middling, now and then nothing or very much.
fn loads(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..most / 8, 1 => Just(0), 1 => Just(most)]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let duty = prop_oneof![Just(Duty::Serves), Just(Duty::Drains), Just(Duty::Leaves)];
    let event = prop_oneof![
        3 => (0usize..10).prop_map(Event::Lose),
        1 => (0usize..10).prop_map(Event::Doubt),
        3 => (0usize..10).prop_map(Event::Find),
        2 => (0usize..10, duty).prop_map(|(node, duty)| Event::Ask(node, duty)),
        2 => (0usize..25, loads(8 * GIB), loads(10_000)).prop_map(|(group, bytes, ops)| Event::Load(group, bytes, ops)),
        6 => (1u8..6).prop_map(Event::Rounds),
    ];
    prop::collection::vec(event, 0..24)
}

fn build(cluster: &ClusterSpec) -> Model {
    let names = ["a", "b", "c", "d"];
    let nodes: Vec<Node> = (1..)
        .zip(&cluster.nodes)
        .map(|(id, (cores, rack, _))| node(id, *cores, rack.map(|rack| names[usize::from(rack)])))
        .collect();
    // The nodes of a group are those that its number draws.
    let place = |(count, seed, _, _): &(usize, u64, u64, u64)| {
        let mut ids: Vec<u32> = nodes.iter().map(|node| node.id.0).collect();
        ids.sort_by_key(|id| seed.rotate_left(*id * 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
        ids.truncate((*count).min(nodes.len()));
        ids
    };
    let groups: Vec<Vec<u32>> = cluster.groups.iter().map(place).collect();
    let mut model = model_of(map_of(nodes.clone(), &groups), |group| {
        let (_, _, bytes, ops) = cluster.groups[group as usize];
        (bytes, ops)
    });
    for (node, (_, _, capacity)) in nodes.iter().zip(&cluster.nodes) {
        model.reports.nodes.get_mut(&node.id).expect("every node reports").disk.capacity_bytes = *capacity;
    }
    model
}

fn happen(model: &mut Model, event: &Event) {
    let id = |nth: usize| NodeId((nth % model.map.nodes.len()) as u32 + 1);
    match event {
        Event::Lose(node) => model.set_health(id(*node), down(model)),
        Event::Doubt(node) => model.set_health(id(*node), suspect(model)),
        Event::Find(node) => model.set_health(id(*node), Health::Up),
        Event::Ask(node, duty) => drop(model.reports.duties.insert(id(*node), *duty)),
        Event::Load(group, bytes, ops) => {
            let group = GroupId((*group % model.map.groups.len()) as u32);
            let report = model.reports.groups.get_mut(&group).expect("every group reports");
            // Bytes of what is under way stay as they were, as the model's disks count them.
            if report.membership.learners.is_empty() {
                set_bytes(model, group, *bytes);
            }
            model.reports.groups.get_mut(&group).expect("every group reports").ops_per_s = *ops;
        }
        Event::Rounds(count) => (0..*count).for_each(|_| drop(round(model))),
    }
}

fn set_bytes(model: &mut Model, group: GroupId, bytes: u64) {
    let report = model.reports.groups.get_mut(&group).expect("every group reports");
    for voter in &report.membership.voters {
        let disk = &mut model.reports.nodes.get_mut(&voter.place.node).expect("every node reports").disk;
        disk.used_bytes = disk.used_bytes - report.bytes + bytes;
    }
    report.bytes = bytes;
}

/// One round, with all that is checked of it.
fn round(model: &mut Model) -> Vec<Step> {
    let plan = model.plan();
    check_plan(model, &plan);
    let mut again = model.clone();
    for step in &plan.steps {
        assert!(model.take(step), "{step} finds nothing to do");
        again.take(step);
    }
    // A step that is taken twice, or late, does what it does once.
    for step in &plan.steps {
        again.take(step);
    }
    assert!(again.map.groups == model.map.groups && again.reports == model.reports, "{:?}", plan.steps);
    check_advance(model, Duration::from_secs(1));
    plan.steps
}

/// Runs until nothing is done any more, even by groups that have rested and may go anywhere again. For the sake of balance nothing may come back, within the time for
/// which that is promised, to where it left.
fn settle(model: &mut Model) {
    let replicas: usize = model.map.groups.iter().map(|group| group.replicas.len()).sum();
    let (mut left, mut steps_count, mut quiet_rounds) = (BTreeMap::new(), 0, 0);
    while quiet_rounds < 2 {
        let before = model.clone();
        let steps = round(model);
        steps_count += steps.len();
        assert!(steps_count <= 8 * replicas + 50, "{steps_count} steps for {replicas} replicas, and no end");
        quiet_rounds = if steps.is_empty() && !model.is_busy() { quiet_rounds + 1 } else { 0 };
        for step in &steps {
            check_no_way_back(&before, step, &mut left);
        }
        if quiet_rounds > 0 {
            check_advance(model, Knobs::default().no_return);
        }
    }
}

fn check_no_way_back(model: &Model, step: &Step, left: &mut BTreeMap<(GroupId, NodeId), Instant>) {
    let (Purpose::Bytes(from) | Purpose::Leaders(from) | Purpose::Racks(from) | Purpose::Room(from)) = step.purpose
    else {
        return;
    };
    let group = step.action.group().expect("a step of a group");
    let report = &model.reports.groups[&group];
    let to = match step.action {
        Action::Change(MapChange::Replace(replace)) => replace.place.node,
        Action::Transfer { to, .. } => {
            report.membership.voters.iter().find(|voter| voter.id == to).expect("a voter").place.node
        }
        _ => panic!("{step} is neither a replacement nor a transfer"),
    };
    left.insert((group, from), model.now);
    let is_for_balance = matches!(step.purpose, Purpose::Bytes(_) | Purpose::Leaders(_));
    let back_after = left.get(&(group, to)).map(|at| model.now.since(*at));
    let is_back = back_after.is_some_and(|after| after < Knobs::default().no_return);
    assert!(!is_for_balance || !is_back, "{step} goes back to where it left");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_does_harm_whatever_happens(cluster in specs(), events in events()) {
        let mut model = build(&cluster);
        for event in &events {
            happen(&mut model, event);
            round(&mut model);
        }
        // Then all nodes are there again, and whoever leaves goes on leaving.
        for node in model.map.nodes.clone() {
            model.set_health(node.id, Health::Up);
        }
        settle(&mut model);
        for group in &model.map.groups {
            let report = &model.reports.groups[&group.id];
            prop_assert!(report.membership.learners.is_empty() && report.silent.is_empty());
            let is_there = |id| report.membership.voters.iter().any(|voter| voter.id == id);
            prop_assert!(group.replicas.iter().all(|replica| is_there(replica.id)));
        }
        prop_assert!(model.plan().waiting.keys().all(|(_, reason)| is_final(reason)), "{:?}", model.plan().waiting);
    }

    #[test]
    fn a_cluster_whose_nodes_stay_away_comes_to_rest(cluster in specs(), lost in prop::collection::vec(0usize..10, 0..3)) {
        let mut model = build(&cluster);
        for node in lost {
            happen(&mut model, &Event::Lose(node));
        }
        settle(&mut model);
    }

    #[test]
    fn many_small_groups_end_near_the_mean(
        weights in prop::collection::vec((1u64..4, 1u64..4), 120..200),
        nodes_count in 3u32..7,
        seed in any::<u64>(),
    ) {
        let groups = weights.iter().map(|(bytes, ops)| (3, seed ^ (bytes * ops), bytes * 64 * MIB, ops * 1_000));
        let cluster = ClusterSpec { nodes: vec![(2, None, 1_000 * GIB); nodes_count as usize], groups: groups.collect() };
        let mut model = build(&cluster);
        settle(&mut model);
        let bytes = super::support::bytes_per_node(&model);
        let mean = bytes.values().sum::<u64>() / u64::from(nodes_count);
        prop_assert!(bytes.values().all(|sum| sum * 100 <= mean * 115), "{bytes:?}");
        let led = super::support::led_per_node(&model, |report| report.ops_per_s);
        let mean = led.values().sum::<u64>() / u64::from(nodes_count);
        prop_assert!(led.values().all(|sum| sum * 100 <= mean * 115), "{led:?}");
    }
}

/// Whether something may wait for ever for this.
fn is_final(reason: &crate::planner::Reason) -> bool {
    reason.is_refusal() || *reason == crate::planner::Reason::NoHeir
}
