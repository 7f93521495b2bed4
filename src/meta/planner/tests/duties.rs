//! Nodes that drain and leave, full disks, crowded racks.

use types::{GroupId, NodeId};

use super::audit::run_until_still;
use super::support::{
    GIB, bytes_per_node, cluster, disk_of, group_of, led_per_node, map_of, model_of, node, replacements,
    replicas_per_node,
};
use crate::planner::reason::Reason;
use crate::planner::step::{Action, Purpose};
use crate::planner::tests::support::foresee;
use crate::reports::Duty;

#[test]
fn a_node_that_drains_leads_nothing_and_keeps_its_replicas() {
    let mut model = cluster(5, &[], 50);
    model.reports.duties.insert(NodeId(2), Duty::Drains);
    let left = model.plan().duties[0];
    assert_eq!((left.node, left.duty, left.is_done()), (NodeId(2), Duty::Drains, false));
    assert!(left.leaders >= 10 && left.bytes > 0, "{left:?}");
    let before = replicas_per_node(&model);
    run_until_still(&mut model);
    let left = model.plan().duties[0];
    assert!(left.is_done() && left.leaders == 0 && left.replicas == before[&2], "{left:?}");
    assert_eq!(replicas_per_node(&model), before);
    // It gets them back once it serves again.
    model.reports.duties.clear();
    run_until_still(&mut model);
    assert!(led_per_node(&model, |_| 1)[&2] >= 8, "{:?}", led_per_node(&model, |_| 1));
}

#[test]
fn a_node_that_leads_group_0_hands_that_over_last() {
    let mut model = cluster(5, &[], 50);
    let leader = group_of(&mut model, 0).membership.voters[0].place.node;
    model.reports.duties.insert(leader, Duty::Drains);
    let plan = model.plan();
    let steps = plan.steps.iter().filter(|step| step.purpose == Purpose::Drain(leader));
    let transfers: Vec<_> = steps.filter_map(|step| step.action.group()).collect();
    assert_eq!(transfers.iter().position(|group| *group == GroupId(0)), Some(transfers.len() - 1));
}

#[test]
fn a_node_that_leaves_has_nothing_in_the_end() {
    let mut model = cluster(6, &["a", "b", "c"], 60);
    model.reports.duties.insert(NodeId(6), Duty::Leaves);
    let steps = run_until_still(&mut model);
    let left = model.plan().duties[0];
    assert!(left.is_done() && left.replicas == 0 && left.leaders == 0, "{left:?}");
    assert_eq!(replicas_per_node(&model)[&6], 0);
    let moved = steps.iter().filter(|step| step.purpose == Purpose::Leave(NodeId(6))).count();
    assert_eq!(moved, steps.iter().filter(|step| step.bytes > 0).count(), "nothing moves that need not");
}

#[test]
fn the_last_node_of_a_rack_is_not_let_go() {
    let mut model = cluster(5, &["a", "b", "c", "a", "b"], 20);
    model.reports.duties.insert(NodeId(3), Duty::Leaves);
    let forecast = foresee(&model);
    assert_eq!(forecast.replaced_count, 0);
    let reason = Reason::NoNodeInRack("c".to_owned());
    let (purpose, _, groups) = forecast.refused().find(|(_, other, _)| **other == reason).expect("a refusal");
    // Group 0 has a replica on each of the five nodes.
    assert_eq!((purpose, groups.len()), (Purpose::Leave(NodeId(3)), replicas_per_node(&model)[&3] - 1));
    assert!(!forecast.duties[0].is_done());
}

#[test]
fn a_group_with_one_replica_moves_too() {
    let nodes = (1..=3).map(|id| node(id, 1, None)).collect();
    let mut model = model_of(map_of(nodes, &[vec![1], vec![2], vec![2]]), |_| (GIB, 1_000));
    model.reports.duties.insert(NodeId(2), Duty::Leaves);
    run_until_still(&mut model);
    assert_eq!(replicas_per_node(&model)[&2], 0);
    assert!(model.plan().duties[0].is_done());
}

#[test]
fn nobody_hands_over_to_who_is_behind_or_cannot_write() {
    let nodes = (1..=3).map(|id| node(id, 1, None)).collect();
    let mut model = model_of(map_of(nodes, &[vec![3, 2, 1], vec![1, 2, 3]]), |_| (GIB, 1_000));
    model.reports.duties.insert(NodeId(1), Duty::Drains);
    disk_of(&mut model, 2).is_full = true;
    let third = group_of(&mut model, 1).membership.voters[2].id;
    group_of(&mut model, 1).behind.push(third);
    let plan = model.plan();
    assert_eq!(plan.steps, Vec::new());
    assert_eq!(plan.waiting[&(Purpose::Drain(NodeId(1)), Reason::NoHeir)], [GroupId(1)]);
    group_of(&mut model, 1).behind.clear();
    let plan = model.plan();
    assert!(
        matches!(plan.steps[..], [ref step] if matches!(step.action, Action::Transfer { to, .. } if to == third))
    );
}

#[test]
fn leaders_leave_a_full_disk_and_a_slow_one() {
    let mut model = cluster(5, &[], 50);
    disk_of(&mut model, 2).is_full = true;
    model.reports.nodes.get_mut(&NodeId(3)).expect("node 3").write_stalled_for = std::time::Duration::from_secs(4);
    run_until_still(&mut model);
    let led = led_per_node(&model, |_| 1);
    assert_eq!((led[&2], led[&3]), (0, 0));
}

#[test]
fn replicas_leave_a_disk_that_is_too_full() {
    let mut model = cluster(5, &[], 50);
    let before = bytes_per_node(&model);
    let capacity = before[&2] * 100 / 85;
    disk_of(&mut model, 2).capacity_bytes = capacity;
    let steps = run_until_still(&mut model);
    assert!(steps.iter().any(|step| step.purpose == Purpose::Room(NodeId(2))));
    let after = bytes_per_node(&model);
    assert!(after[&2] * 100 <= capacity * 80 && after[&2] * 100 >= capacity * 70, "{before:?} {after:?}");
}

#[test]
fn replicas_of_a_group_leave_a_rack_that_they_share() {
    let racks = ["a", "a", "b", "b", "c", "c"];
    let nodes = (1..=6).map(|id| node(id, 1, Some(racks[id as usize - 1]))).collect();
    let groups = [vec![1, 3, 5], vec![1, 2, 3], vec![4, 3, 5], vec![6, 2, 4]];
    let mut model = model_of(map_of(nodes, &groups), |_| (GIB, 1_000));
    let plan = model.plan();
    let moved: Vec<_> = replacements(&plan).iter().map(|(purpose, replace)| (*purpose, replace.group.0)).collect();
    assert_eq!(moved.iter().map(|(_, group)| *group).collect::<Vec<_>>(), [1, 2]);
    assert!(moved.iter().all(|(purpose, _)| matches!(purpose, Purpose::Racks(_))), "{moved:?}");
    run_until_still(&mut model);
    for group in &model.map.groups {
        let mut racks: Vec<_> =
            group.replicas.iter().map(|replica| racks[replica.place.node.0 as usize - 1]).collect();
        racks.sort_unstable();
        assert_eq!(racks, ["a", "b", "c"]);
    }
}
