//! What no plan may do, whatever the cluster is like: found out anew from the model, without the planner's own view of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use types::{GroupId, NodeId};

use super::support::replacements;
use crate::change::MapChange;
use crate::detector::Health;
use crate::map::Group;
use crate::planner::Knobs;
use crate::planner::model::Model;
use crate::planner::step::{Action, Plan, Purpose, Step};
use crate::reports::{Duty, GroupReport};

/// Takes all steps and lets all snapshots come, round after round, until nothing is to be done. Returns the steps.
pub(super) fn run_until_still(model: &mut Model) -> Vec<Step> {
    let (mut steps, mut quiet_rounds) = (Vec::new(), 0);
    while quiet_rounds < 2 {
        let plan = model.plan();
        check_plan(model, &plan);
        quiet_rounds = if plan.steps.is_empty() && !model.is_busy() { quiet_rounds + 1 } else { 0 };
        for step in plan.steps {
            assert!(model.take(&step), "{step} finds nothing to do");
            steps.push(step);
        }
        let pause = if quiet_rounds == 0 { Duration::from_secs(1) } else { Knobs::default().no_return };
        check_advance(model, pause);
        assert!(steps.len() < 100_000, "it goes on and on");
    }
    steps
}

/// Panics if a plan does what none may do.
pub(super) fn check_plan(model: &Model, plan: &Plan) {
    let groups: Vec<GroupId> = plan.steps.iter().filter_map(|step| step.action.group()).collect();
    assert_eq!(groups.len(), plan.steps.len(), "a step without a group");
    assert_eq!(groups.iter().collect::<BTreeSet<_>>().len(), groups.len(), "two steps for a group in {plan:?}");
    for (purpose, replace) in replacements(plan) {
        check_replacement(model, purpose, replace);
    }
    for step in &plan.steps {
        match &step.action {
            Action::Change(MapChange::Replace(_)) => {}
            Action::Change(MapChange::Keep(keep)) => {
                let report = &model.reports.groups[&keep.group];
                assert!(report.membership.is_voter(keep.replica) && report.hears(keep.replica), "{step}");
                assert!(!report.membership.is_voter(keep.successor), "{step}");
            }
            Action::Change(other) => panic!("no planner asks for {other:?}"),
            Action::Transfer { group, from, to, .. } => {
                let report = &model.reports.groups[group];
                let heir = report.membership.voters.iter().find(|voter| voter.id == *to).expect("an heir that votes");
                assert!(report.is_current(*to) && is_up(model, heir.place.node) && from != to, "{step}");
                assert_eq!(model.reports.duty(heir.place.node), Duty::Serves, "{step}");
                assert!(!model.reports.nodes[&heir.place.node].disk.is_full, "{step}");
            }
            Action::MoveCore { from, to, .. } => assert!(from.node == to.node && from != to, "{step}"),
        }
    }
    check_alarm(model, plan);
    check_limits(model, plan);
}

fn is_up(model: &Model, node: NodeId) -> bool {
    model.healths.get(&node).is_none_or(|health| *health == Health::Up)
}

fn is_lost(model: &Model, node: NodeId) -> bool {
    let is_down = matches!(model.healths.get(&node), Some(Health::Down { .. }));
    is_down || (!is_up(model, node) && model.reports.duty(node) == Duty::Leaves)
}

fn rack(model: &Model, node: NodeId) -> String {
    let rack = model.map.node(node).expect("a node of the map").rack.clone();
    rack.unwrap_or_else(|| format!("of {node} alone"))
}

fn check_replacement(model: &Model, purpose: Purpose, replace: crate::change::Replace) {
    let (spec, report) = (model.map.group(replace.group).expect("a group"), &model.reports.groups[&replace.group]);
    let old = spec.replicas.iter().find(|one| one.id == replace.replica).expect("a replica of the group");
    let (from, to) = (old.place.node, replace.place.node);
    let is_in_place = matches!(purpose, Purpose::Silent(_));
    let what = format!("{replace:?} for {purpose:?}, members {:?}", report.membership);
    // One replica per node, but for a predecessor that takes no part any more.
    assert_eq!(from == to, is_in_place, "{what}");
    assert!(spec.replicas.iter().all(|one| one.id == old.id || one.place.node != to), "{what}");
    assert!(report.membership.members().all(|one| one.id == old.id || one.place.node != to), "{what}");
    // Who is given something is there.
    assert!(is_up(model, to) && (is_in_place || model.reports.duty(to) == Duty::Serves), "{what}");
    // A majority is heard, and nothing is begun while something else is under way or not heard.
    let voters = &report.membership.voters;
    let live = voters.iter().filter(|voter| report.hears(voter.id)).count();
    assert!(live * 2 > voters.len() && !report.membership.is_joint(), "{what}");
    let is_voter = report.membership.is_voter(old.id);
    assert!(!is_voter || report.membership.learners.is_empty(), "{what}");
    let others_live = voters.iter().all(|voter| voter.id == old.id || report.hears(voter.id));
    let is_lost = is_lost(model, from) || is_in_place;
    assert!(is_lost || others_live, "{what}");
    if !is_in_place {
        check_racks(model, spec, report, replace, is_lost);
    }
}

/// What is sound is never spread over fewer racks than before. What is lost comes to a rack with as few others as any node has that could
/// have it.
fn check_racks(model: &Model, spec: &Group, report: &GroupReport, replace: crate::change::Replace, is_lost: bool) {
    let others: Vec<NodeId> =
        spec.replicas.iter().filter(|one| one.id != replace.replica).map(|one| one.place.node).collect();
    let old = spec.replicas.iter().find(|one| one.id == replace.replica).expect("a replica of the group");
    let neighbours = |node: NodeId| others.iter().filter(|one| rack(model, **one) == rack(model, node)).count();
    let chosen = neighbours(replace.place.node);
    if !is_lost {
        assert!(chosen <= neighbours(old.place.node), "{replace:?} leaves a rack for one with more replicas");
        return;
    }
    for node in model.map.nodes.iter().map(|node| node.id) {
        let members = report.membership.members();
        let is_taken = members.map(|one| one.place.node).chain(others.iter().copied()).any(|one| one == node);
        let Some(disk) = model.reports.nodes.get(&node).map(|report| report.disk) else { continue };
        // What is on its way to the disk is at most what two snapshots hold.
        let has_room = (disk.used_bytes + 3 * most_bytes(model)) * 100 <= disk.capacity_bytes * 80;
        let is_possible = !is_taken && has_room && !disk.is_full && !self::is_lost(model, node);
        if is_possible && model.reports.duty(node) == Duty::Serves {
            assert!(chosen <= neighbours(node), "{replace:?}, and node {node} would be in a better rack");
        }
    }
}

fn most_bytes(model: &Model) -> u64 {
    model.reports.groups.values().map(|report| report.bytes).max().unwrap_or(0)
}

/// If too many nodes are missing, none is replaced.
fn check_alarm(model: &Model, plan: &Plan) {
    let counted: Vec<NodeId> =
        model.map.nodes.iter().map(|node| node.id).filter(|node| model.reports.duty(*node) != Duty::Leaves).collect();
    let missing = counted.iter().filter(|node| !is_up(model, **node)).count();
    let named = |node: &NodeId| model.map.node(*node).and_then(|node| node.rack.clone());
    let racks: BTreeSet<String> = counted.iter().filter_map(named).collect();
    let is_gone = |rack: &&String| {
        counted.iter().filter(|node| named(node).as_ref() == Some(*rack)).all(|node| !is_up(model, *node))
    };
    let is_too_many = missing > (counted.len() / 5).max(1) || racks.iter().filter(is_gone).count() > 1;
    assert_eq!(plan.alarm.is_some(), is_too_many, "{:?}", plan.alarm);
    let replaces = plan.steps.iter().any(|step| matches!(step.purpose, Purpose::Dead(_)));
    assert!(!is_too_many || !replaces, "nodes are replaced in spite of {:?}", plan.alarm);
}

/// Snapshots per node, and room on disks, once the plan's steps are begun.
fn check_limits(model: &Model, plan: &Plan) {
    let mut after = model.clone();
    let under_way = |model: &Model| {
        let (mut ins, mut outs, mut bytes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for report in model.reports.groups.values() {
            let place =
                |id| report.membership.members().find(|member| member.id == id).map(|member| member.place.node);
            let learners = report.membership.learners.iter().filter(|one| report.behind.contains(&one.id));
            for member in learners.filter(|one| is_up(model, one.place.node)) {
                *ins.entry(member.place.node).or_insert(0) += 1;
                *bytes.entry(member.place.node).or_insert(0) += report.bytes;
                *outs.entry(place(report.leader).expect("a leader that is a member")).or_insert(0) += 1;
            }
        }
        (ins, outs, bytes)
    };
    let before = under_way(&after);
    for step in &plan.steps {
        after.take(step);
    }
    let (ins, outs, bytes) = under_way(&after);
    for (kind, counts, before) in [("receives", &ins, &before.0), ("sends", &outs, &before.1)] {
        for (node, count) in counts {
            let was = before.get(node).copied().unwrap_or(0);
            let allowed = Knobs::default().snapshots_count_max.max(was);
            assert!(*count <= allowed, "node {node} {kind} {count} snapshots, was {was}: {plan:#?}");
        }
    }
    for (node, bytes) in bytes {
        let is_more = before.2.get(&node).is_none_or(|before| bytes > *before);
        let disk = model.reports.nodes[&node].disk;
        let is_filled = (disk.used_bytes + bytes) * 100 > disk.capacity_bytes * 80;
        let is_in_place = plan.steps.iter().any(|step| step.purpose == Purpose::Silent(node));
        assert!(!is_more || !is_filled || is_in_place, "node {node} is filled too far: {disk:?} and {bytes} more");
    }
}

/// Lets time pass, and panics if members change where no majority could commit that, or if a group has fewer replicas, or two on one node.
pub(super) fn check_advance(model: &mut Model, pause: Duration) {
    let before = model.reports.groups.clone();
    let counts: Vec<usize> = model.map.groups.iter().map(|group| group.replicas.len()).collect();
    model.advance(pause);
    assert_eq!(counts, model.map.groups.iter().map(|group| group.replicas.len()).collect::<Vec<_>>());
    for (group, after) in &model.reports.groups {
        let before = &before[group];
        if before.membership.voters == after.membership.voters {
            continue;
        }
        // Learners count for nothing, and whoever has just come in is there.
        for voters in [&before.membership.voters, &after.membership.voters] {
            let live = voters.iter().filter(|voter| before.hears(voter.id)).count();
            assert!(live * 2 > voters.len(), "group {group}: {live} of {voters:?} commit a change");
        }
        let nodes: BTreeSet<NodeId> = after.membership.voters.iter().map(|voter| voter.place.node).collect();
        assert_eq!(nodes.len(), after.membership.voters.len(), "group {group} has two voters on a node");
    }
}
