//! Nodes that die and come back, and what holds a replacement up.

use std::time::Duration;

use types::{GroupId, NodeId};

use super::audit::{check_plan, run_until_still};
use super::support::{
    GIB, cluster, disk_of, down, foresee, group_of, map_of, model_of, node, replacements, replicas_per_node, suspect,
};
use crate::change::MapChange;
use crate::detector::Health;
use crate::planner::Knobs;
use crate::planner::model::Model;
use crate::planner::reason::{Obstacles, Reason};
use crate::planner::step::{Action, Alarm, Plan, Purpose};
use crate::reports::{Duty, Silence};

/// The groups that wait for a reason.
fn waiting(plan: &Plan, purpose: Purpose, reason: Reason) -> Option<&[GroupId]> {
    plan.waiting.get(&(purpose, reason)).map(Vec::as_slice)
}

fn take_all(model: &mut Model) -> Plan {
    let plan = model.plan();
    check_plan(model, &plan);
    plan.steps.iter().for_each(|step| assert!(model.take(step), "{step}"));
    plan
}

#[test]
fn a_cluster_in_which_all_is_well_is_left_alone() {
    for racks in [&[][..], &["a", "b", "c"]] {
        let plan = cluster(6, racks, 60).plan();
        assert_eq!((plan.steps, plan.alarm), (Vec::new(), None));
        assert!(plan.waiting.is_empty() && plan.duties.is_empty());
    }
}

#[test]
fn a_dead_nodes_replicas_are_replaced_and_then_it_is_still() {
    let mut model = cluster(6, &["a", "b", "c"], 60);
    let dead = NodeId(4);
    model.set_health(dead, down(&model));
    let steps = run_until_still(&mut model);
    assert!(replicas_per_node(&model)[&4] == 0, "{:?}", replicas_per_node(&model));
    assert!(steps.iter().any(|step| step.purpose == Purpose::Dead(dead)));
    // Its rack has one other node, which has all of them.
    for group in model.map.groups.iter().filter(|group| group.replicas.len() == 3) {
        let rack = |node: NodeId| model.map.node(node).and_then(|node| node.rack.clone());
        let mut racks: Vec<_> = group.replicas.iter().map(|replica| rack(replica.place.node)).collect();
        racks.sort();
        racks.dedup();
        assert_eq!(racks.len(), 3, "{group:?}");
    }
}

#[test]
fn a_suspect_node_is_not_replaced_and_gets_nothing() {
    let mut model = cluster(6, &[], 60);
    model.set_health(NodeId(4), suspect(&model));
    assert_eq!(replacements(&model.plan()), Vec::new());
    model.reports.duties.insert(NodeId(1), Duty::Leaves);
    let plan = take_all(&mut model);
    assert!(replacements(&plan).iter().all(|(_, replace)| replace.place.node != NodeId(4)));
    let silent = waiting(&plan, Purpose::Leave(NodeId(1)), Reason::MemberSilent(NodeId(4)));
    assert!(silent.is_some_and(|groups| !groups.is_empty()), "{:?}", plan.waiting);
}

#[test]
fn a_node_receives_and_sends_two_snapshots_at_a_time() {
    let mut model = cluster(4, &[], 40);
    model.set_health(NodeId(4), down(&model));
    let plan = take_all(&mut model);
    let received = |node: u32| replacements(&plan).iter().filter(|(_, one)| one.place.node == NodeId(node)).count();
    assert_eq!([1, 2, 3].map(received), [2, 2, 2]);
    let busy =
        plan.waiting.keys().filter(|(_, reason)| matches!(reason, Reason::Sends(_, 2) | Reason::Receives(_, 2)));
    assert!(busy.count() > 0, "{:?}", plan.waiting);
    // What nodes report counts as well: somebody else's snapshots take the same disks and links.
    let mut model = cluster(4, &[], 40);
    model.set_health(NodeId(4), down(&model));
    for report in model.reports.nodes.values_mut() {
        report.snapshots_out = 2;
    }
    assert_eq!(replacements(&model.plan()), Vec::new());
}

#[test]
fn the_groups_that_can_lose_the_fewest_more_come_first() {
    let nodes = (1..=8).map(|id| node(id, 1, None)).collect();
    let groups = [vec![1, 2, 3], vec![1, 2, 3, 4, 5], vec![1, 4, 5], vec![1, 5, 2]];
    let mut model = model_of(map_of(nodes, &groups), |_| (GIB, 1_000));
    model.set_health(NodeId(5), down(&model));
    let plan = take_all(&mut model);
    let order: Vec<u32> = replacements(&plan).iter().map(|(_, replace)| replace.group.0).collect();
    assert_eq!(order, [2, 3], "and node 1, which leads all of them, sends two");
    assert_eq!(waiting(&plan, Purpose::Dead(NodeId(5)), Reason::Sends(NodeId(1), 2)), Some(&[GroupId(1)][..]));
}

#[test]
fn too_many_missing_nodes_are_an_alarm_and_not_replaced() {
    let mut model = cluster(11, &[], 60);
    model.set_health(NodeId(3), down(&model));
    model.set_health(NodeId(5), suspect(&model));
    assert_eq!(model.plan().alarm, None, "a fifth may be missing");
    model.set_health(NodeId(7), suspect(&model));
    let plan = take_all(&mut model);
    let missing = [3, 5, 7].map(NodeId).to_vec();
    assert_eq!(plan.alarm, Some(Alarm::NodesMissing { missing, nodes: 11, missing_max: 2 }));
    assert_eq!(replacements(&plan), Vec::new());
    assert!(waiting(&plan, Purpose::Dead(NodeId(3)), Reason::TooManyMissing).is_some());
    // A person who says that nodes will not come back is believed.
    model.reports.duties.insert(NodeId(7), Duty::Leaves);
    let plan = take_all(&mut model);
    assert_eq!(plan.alarm, None);
    assert!(!replacements(&plan).is_empty());
}

#[test]
fn a_lost_rack_is_not_replaced() {
    let mut model = cluster(6, &["a", "b", "c"], 60);
    for id in [3, 6] {
        model.set_health(NodeId(id), down(&model));
    }
    let plan = take_all(&mut model);
    assert!(matches!(plan.alarm, Some(Alarm::NodesMissing { .. })), "{:?}", plan.alarm);
    assert_eq!(replacements(&plan), Vec::new());
    // Two small racks of many nodes.
    let racks = ["a", "b", "c", "c", "d", "d", "e", "e", "f", "f"];
    let mut model = cluster(10, &racks, 60);
    for id in [1, 2] {
        model.set_health(NodeId(id), down(&model));
    }
    let alarm = Alarm::RacksMissing(["a", "b"].map(str::to_owned).to_vec());
    assert_eq!((take_all(&mut model).alarm, model.is_busy()), (Some(alarm), false));
}

#[test]
fn a_group_without_a_majority_is_left_to_a_person() {
    let nodes = (1..=10).map(|id| node(id, 1, None)).collect();
    let mut model = model_of(map_of(nodes, &[vec![3, 4, 5], vec![1, 2, 3]]), |_| (GIB, 1_000));
    model.set_health(NodeId(1), down(&model));
    model.set_health(NodeId(2), down(&model));
    let plan = take_all(&mut model);
    assert_eq!(plan.steps, Vec::new());
    let reason = Reason::NoQuorum { live: 1, voters: 3 };
    assert!(reason.is_refusal());
    assert_eq!(waiting(&plan, Purpose::Dead(NodeId(1)), reason), Some(&[GroupId(1)][..]));
}

#[test]
fn a_group_of_which_nothing_was_heard_of_late_is_left_alone() {
    let mut model = cluster(5, &[], 20);
    model.set_health(NodeId(4), down(&model));
    model.now += Knobs::default().report_age_max + Duration::from_secs(1);
    let plan = take_all(&mut model);
    assert_eq!(plan.steps, Vec::new());
    assert!(waiting(&plan, Purpose::Dead(NodeId(4)), Reason::NotReported).is_some());
}

#[test]
fn disks_are_filled_to_four_fifths_by_what_is_there_and_what_is_on_its_way() {
    let nodes = (1..=5).map(|id| node(id, 1, None)).collect();
    let groups = [vec![1, 2, 3], vec![1, 2, 3], vec![2, 3, 1], vec![3, 1, 2]];
    let mut model = model_of(map_of(nodes, &groups), |_| (10 * GIB, 1_000));
    // There is room for one more replica on node 4, and for none on node 5.
    (disk_of(&mut model, 4).capacity_bytes, disk_of(&mut model, 5).capacity_bytes) = (24 * GIB, 12 * GIB);
    model.set_health(NodeId(1), down(&model));
    let steps = run_until_still(&mut model);
    assert_eq!(steps.iter().filter(|step| step.bytes > 0).count(), 1);
    let plan = model.plan();
    let obstacles = Obstacles { hold_one: 2, missing: 1, withdrawn: 0, crowded: 2 };
    let refused = waiting(&plan, Purpose::Dead(NodeId(1)), Reason::NoNode(obstacles));
    assert_eq!(refused.map(<[GroupId]>::len), Some(3), "{:?}", plan.waiting);
}

#[test]
fn who_is_back_in_time_stays() {
    let mut model = cluster(4, &[], 40);
    let before = model.map.groups.clone();
    model.set_health(NodeId(4), down(&model));
    assert!(!replacements(&take_all(&mut model)).is_empty());
    model.set_health(NodeId(4), Health::Up);
    let plan = take_all(&mut model);
    let kept = plan.steps.iter().filter(|step| matches!(step.action, Action::Change(MapChange::Keep(_))));
    assert_eq!(kept.count(), 6);
    assert!(plan.steps.iter().all(|step| step.purpose == Purpose::Return(NodeId(4)) || step.bytes == 0));
    assert_eq!(model.map.groups, before, "all is as it was");
    assert!(!model.is_busy());
}

#[test]
fn a_replica_that_has_caught_up_comes_in_although_its_predecessor_is_back() {
    let mut model = cluster(4, &[], 1);
    model.set_health(NodeId(2), down(&model));
    let (_, replace) = replacements(&take_all(&mut model)).pop().expect("one to replace");
    let group = replace.group;
    group_of(&mut model, group.0).behind.clear();
    model.set_health(NodeId(2), Health::Up);
    let plan = model.plan();
    assert!(plan.steps.iter().all(|step| step.action.group() != Some(group)), "{:?}", plan.steps);
}

#[test]
fn a_move_that_nobody_died_for_is_not_cancelled() {
    let mut model = cluster(4, &[], 40);
    model.reports.duties.insert(NodeId(4), Duty::Leaves);
    take_all(&mut model);
    take_all(&mut model);
    assert!(model.is_busy());
    let plan = model.plan();
    assert!(plan.steps.iter().all(|step| !matches!(step.action, Action::Change(MapChange::Keep(_)))));
}

#[test]
fn a_successor_that_dies_is_replaced_itself() {
    let nodes = (1..=10).map(|id| node(id, 1, None)).collect();
    let mut model = model_of(map_of(nodes, &[vec![1, 2, 3], vec![1, 2, 3]]), |_| (GIB, 1_000));
    model.set_health(NodeId(3), down(&model));
    let first = replacements(&take_all(&mut model))[0].1;
    let second = first.place.node;
    model.set_health(second, down(&model));
    let again = replacements(&take_all(&mut model));
    let again = again.iter().find(|(_, replace)| replace.group == first.group).expect("another one");
    assert_eq!(again.0, Purpose::Dead(second));
    run_until_still(&mut model);
    for group in &model.map.groups {
        assert!(group.replicas.iter().all(|one| ![NodeId(3), second].contains(&one.place.node)), "{group:?}");
    }
}

#[test]
fn a_replica_that_is_silent_on_a_node_that_is_there_begins_anew_in_its_place() {
    let mut model = cluster(3, &[], 4);
    let voter = group_of(&mut model, 2).membership.voters[1];
    let leader = group_of(&mut model, 2).leader;
    assert_ne!(voter.id, leader);
    let since = model.now;
    group_of(&mut model, 2).silent.push(Silence { replica: voter.id, since });
    assert_eq!(replacements(&model.plan()), Vec::new());
    model.advance(Knobs::default().silence_max);
    let plan = take_all(&mut model);
    let (purpose, replace) = replacements(&plan)[0];
    assert_eq!((purpose, replace.place.node), (Purpose::Silent(voter.place.node), voter.place.node));
    assert_eq!(replace.replica, voter.id);
    run_until_still(&mut model);
    assert!(group_of(&mut model, 2).silent.is_empty());
}

#[test]
fn a_rack_is_shared_only_while_there_is_no_other() {
    let mut model = cluster(7, &["a", "b", "c", "a", "b", "a", "b"], 12);
    model.set_health(NodeId(3), down(&model));
    run_until_still(&mut model);
    assert_eq!(replicas_per_node(&model)[&3], 0, "what is lost shares a rack if need be");
    model.set_health(NodeId(3), Health::Up);
    let steps = run_until_still(&mut model);
    assert!(steps.iter().any(|step| matches!(step.purpose, Purpose::Racks(_))));
    for group in model.map.groups.iter().filter(|group| group.replicas.len() == 3) {
        assert!(group.replicas.iter().any(|replica| replica.place.node == NodeId(3)), "{group:?}");
    }
}

#[test]
fn a_forecast_of_a_dead_node_tells_what_its_replacement_takes() {
    let mut model = cluster(6, &[], 50);
    model.set_health(NodeId(5), down(&model));
    let lost = replicas_per_node(&model)[&5];
    let forecast = foresee(&model);
    assert!(forecast.is_whole && forecast.refused().next().is_none(), "{:?}", forecast.left);
    assert!(forecast.replaced_count >= lost, "{} of {lost}", forecast.replaced_count);
    assert!(forecast.bytes > 0 && forecast.takes > Duration::from_secs(4));
}
