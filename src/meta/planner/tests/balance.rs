//! Bytes, leaders and cores.

use std::collections::BTreeMap;

use types::{GroupId, NodeId};

use super::audit::run_until_still;
use super::support::{
    MIB, bytes_per_node, cluster, foresee, group_of, join, led_per_node, map_of, model_of, node, replicas_per_node,
};
use crate::planner::Knobs;
use crate::planner::model::Model;
use crate::planner::reason::Reason;
use crate::planner::step::{Action, Purpose, Step};

fn most(sums: &BTreeMap<u32, u64>) -> u64 {
    sums.values().copied().max().unwrap_or(0)
}

fn mean(sums: &BTreeMap<u32, u64>) -> u64 {
    sums.values().sum::<u64>() / sums.len() as u64
}

#[test]
fn a_node_that_joins_gets_its_share_and_then_it_is_still() {
    let mut model = cluster(5, &[], 200);
    join(&mut model, node(6, 2, None));
    let steps = run_until_still(&mut model);
    let (bytes, led) = (bytes_per_node(&model), led_per_node(&model, |report| report.ops_per_s));
    assert!(most(&bytes) * 100 <= mean(&bytes) * 110, "{bytes:?}");
    assert!(most(&led) * 100 <= mean(&led) * 110, "{led:?}");
    let moved = steps.iter().filter(|step| step.bytes > 0).count();
    assert!(moved <= replicas_per_node(&model)[&6], "{moved} moves for {:?}", replicas_per_node(&model));
}

#[test]
fn empty_groups_are_spread_too() {
    let mut model = cluster(3, &[], 30);
    for report in model.reports.groups.values_mut() {
        (report.bytes, report.ops_per_s) = (0, 0);
    }
    join(&mut model, node(4, 2, None));
    run_until_still(&mut model);
    let (replicas, led) = (replicas_per_node(&model), led_per_node(&model, |_| 1));
    assert!(replicas[&4] >= 18 && led[&4] >= 6, "{replicas:?} {led:?}");
}

#[test]
fn a_node_with_twice_the_cores_gets_twice_the_bytes() {
    let mut model = cluster(4, &[], 200);
    join(&mut model, node(5, 4, None));
    run_until_still(&mut model);
    let bytes = bytes_per_node(&model);
    let others = (bytes[&1] + bytes[&2] + bytes[&3] + bytes[&4]) / 4;
    assert!(bytes[&5] * 100 >= others * 180 && bytes[&5] * 100 <= others * 220, "{bytes:?}");
}

/// One group has half of all the load: its node is to lead nothing else, or little.
#[test]
fn a_group_with_half_of_the_load_is_led_by_a_node_of_its_own() {
    for nodes_count in [3, 5, 9] {
        let mut model = cluster(nodes_count, &[], 96);
        let others: u64 = model.reports.groups.values().map(|report| report.ops_per_s).sum();
        group_of(&mut model, 40).ops_per_s = others;
        let steps = run_until_still(&mut model);
        let led = led_per_node(&model, |report| report.ops_per_s);
        let best = others.max(mean(&led));
        assert!(most(&led) * 100 <= best * 110, "{led:?}, and {best} is possible");
        let transfers = steps.iter().filter(|step| matches!(step.purpose, Purpose::Leaders(_))).count();
        let led_at_first = 96 / nodes_count as usize + 1;
        assert!(transfers <= led_at_first + led_at_first / 2, "{nodes_count} nodes: {transfers} transfers");
        assert!(steps.iter().all(|step| step.bytes == 0), "no bytes move for that");
    }
}

#[test]
fn a_group_with_half_of_the_bytes_has_other_groups_leave() {
    let mut model = cluster(6, &[], 60);
    let others: u64 = model.reports.groups.values().map(|report| report.bytes).sum();
    group_of(&mut model, 7).bytes = others;
    let steps = run_until_still(&mut model);
    let bytes = bytes_per_node(&model);
    assert!(most(&bytes) * 100 <= others.max(mean(&bytes)) * 110, "{bytes:?}");
    assert!(steps.iter().all(|step| step.bytes < others), "the large one itself stays");
}

#[test]
fn a_group_that_was_moved_rests() {
    let mut model = cluster(3, &[], 30);
    // Node 1 leads all, and all of them have just been handed over.
    for group in 0..=30 {
        let report = group_of(&mut model, group);
        let first = report.membership.voters.iter().find(|voter| voter.place.node == NodeId(1));
        report.leader = first.expect("three nodes for three replicas").id;
    }
    let plan = model.plan();
    assert!(plan.steps.len() >= 15, "{:?}", plan.steps);
    plan.steps.iter().for_each(|step| model.memory.note(step, model.now));
    // They were asked to lead and count as leading; after a while it is looked at who leads.
    assert_eq!(model.plan().steps, Vec::new());
    model.advance(std::time::Duration::from_secs(60));
    let steps = model.plan().steps;
    assert!(steps.iter().all(|step| plan.steps.iter().all(|one| one.action.group() != step.action.group())));
    model.advance(std::time::Duration::from_secs(240));
    assert!(!model.plan().steps.is_empty());
}

#[test]
fn a_group_does_not_come_back_at_once_to_where_it_left() {
    let mut model = cluster(3, &[], 30);
    join(&mut model, node(4, 2, None));
    for group in &model.map.groups {
        let replica = group.replicas[0];
        let action =
            Action::MoveCore { group: group.id, replica: replica.id, from: replica.place, to: replica.place };
        model.memory.note(&Step { action, purpose: Purpose::Bytes(NodeId(4)), bytes: 0 }, model.now);
    }
    let moves = |model: &Model| model.plan().steps.iter().filter(|step| step.bytes > 0).count();
    model.advance(Knobs::default().rest);
    assert_eq!(moves(&model), 0, "all have left node 4 a while ago");
    model.advance(Knobs::default().no_return);
    assert_eq!(moves(&model), 2);
}

#[test]
fn bytes_wait_for_nodes_that_are_busy_and_say_so() {
    let mut model = cluster(3, &[], 30);
    join(&mut model, node(4, 2, None));
    let plan = model.plan();
    assert_eq!(plan.steps.iter().filter(|step| step.bytes > 0).count(), 2);
    let mut waiting = plan.waiting.keys();
    let full = Reason::Receives(NodeId(4), 2);
    assert!(
        waiting.any(|(purpose, reason)| matches!(purpose, Purpose::Bytes(_)) && *reason == full),
        "{:?}",
        plan.waiting
    );
}

#[test]
fn nothing_is_balanced_before_loads_are_known() {
    let mut model = cluster(3, &[], 30);
    join(&mut model, node(4, 2, None));
    for group in 1..=3 {
        model.reports.groups.remove(&GroupId(group));
    }
    let plan = model.plan();
    assert_eq!(plan.steps, Vec::new());
    assert_eq!(plan.unreported, [1, 2, 3].map(GroupId));
}

#[test]
fn the_cores_of_a_node_get_alike_loads() {
    let nodes = (1..=3).map(|id| node(id, 4, None)).collect();
    // All replicas are on the first core of their nodes.
    let mut model = model_of(map_of(nodes, &vec![vec![1, 2, 3]; 41]), |_| (MIB, 1_000));
    run_until_still(&mut model);
    let mut loads = [0; 4];
    let on_first =
        model.map.groups.iter().flat_map(|group| &group.replicas).filter(|one| one.place.node == NodeId(1));
    on_first.for_each(|replica| loads[usize::from(replica.place.core.0)] += 1);
    assert!(loads.iter().all(|load| (9..=12).contains(load)), "{loads:?}");
    let zero = &model.map.groups[0];
    assert!(zero.replicas.iter().all(|replica| replica.place.core.0 == 0), "group 0 stays on first cores");
}

#[test]
fn groups_of_unlike_sizes_come_to_rest_near_the_mean() {
    let mut model = cluster(8, &["a", "b", "c", "d"], 300);
    for (nth, report) in model.reports.groups.values_mut().enumerate() {
        report.bytes = (nth as u64 * 7_919 % 97 + 1) * 16 * MIB;
        report.ops_per_s = nth as u64 * 104_729 % 1_009 * 10;
    }
    join(&mut model, node(9, 2, Some("a")));
    run_until_still(&mut model);
    let (bytes, led) = (bytes_per_node(&model), led_per_node(&model, |report| report.ops_per_s));
    assert!(most(&bytes) * 100 <= mean(&bytes) * 110, "{bytes:?}");
    assert!(most(&led) * 100 <= mean(&led) * 110, "{led:?}");
}

#[test]
fn a_forecast_of_what_is_balanced_is_empty() {
    let mut model = cluster(4, &[], 40);
    join(&mut model, node(5, 2, None));
    run_until_still(&mut model);
    let forecast = foresee(&model);
    assert_eq!((forecast.steps.len(), forecast.bytes), (0, 0));
}
