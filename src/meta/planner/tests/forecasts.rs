//! What a forecast says, and that it comes true.

use types::NodeId;

use super::audit::run_until_still;
use super::support::{cluster, down, foresee, group_of, join, node};
use crate::planner::layout::Input;
use crate::planner::model::Model;
use crate::planner::{Knobs, forecast};
use crate::reports::Duty;

fn leaving() -> Model {
    let mut model = cluster(6, &["a", "b", "c"], 60);
    model.reports.duties.insert(NodeId(6), Duty::Leaves);
    model
}

#[test]
fn what_is_foretold_is_what_is_done() {
    let mut model = leaving();
    let forecast = foresee(&model);
    assert!(forecast.is_whole && forecast.duties[0].is_done() && forecast.refused().next().is_none());
    let steps = run_until_still(&mut model);
    let foretold: Vec<_> = forecast.steps.iter().map(|(_, step)| step.clone()).collect();
    assert_eq!(foretold.len(), steps.len());
    assert_eq!(foretold[..10], steps[..10]);
    assert_eq!(forecast.bytes, steps.iter().map(|step| step.bytes).sum::<u64>());
    assert_eq!(forecast.replaced_count + forecast.transfers_count, steps.len());
}

#[test]
fn a_digest_tells_whether_the_moves_are_the_same() {
    let digest = foresee(&leaving()).digest();
    assert_eq!(foresee(&leaving()).digest(), digest);
    assert_eq!(digest.to_string().len(), 16);
    let mut larger = leaving();
    group_of(&mut larger, 3).bytes += 1;
    assert_eq!(foresee(&larger).digest(), digest, "a byte makes no difference");
    let mut other = leaving();
    join(&mut other, node(7, 2, Some("c")));
    assert_ne!(foresee(&other).digest(), digest);
    let mut alone = leaving();
    alone.set_health(NodeId(3), down(&alone));
    assert_ne!(foresee(&alone).digest(), digest);
}

#[test]
fn reports_may_say_anything() {
    let mut model = leaving();
    for report in model.reports.groups.values_mut() {
        (report.bytes, report.ops_per_s) = (u64::MAX, u64::MAX);
    }
    for report in model.reports.nodes.values_mut() {
        (report.disk.used_bytes, report.disk.capacity_bytes) = (u64::MAX, u64::MAX);
        (report.snapshots_in, report.snapshots_out) = (u32::MAX, u32::MAX);
    }
    assert_eq!(foresee(&model).replaced_count, 0, "no disk has room");
    let strange = types::ReplicaId(u64::MAX);
    for report in model.reports.groups.values_mut() {
        report.leader = strange;
        report.membership.voters[0].place.node = NodeId(u32::MAX);
    }
    assert_eq!(foresee(&model).steps, Vec::new());
}

#[test]
fn a_forecast_ends_where_it_is_told_to() {
    let Model { map, reports, healths, memory, now, .. } = &leaving();
    let input = Input { map, reports, healths, memory, now: *now, knobs: &Knobs::default() };
    let forecast = forecast(&input, 3);
    assert!(!forecast.is_whole && forecast.steps.len() > 3);
}

#[test]
fn what_is_under_way_is_foretold_too() {
    let mut model = leaving();
    for _ in 0..2 {
        let plan = model.plan();
        plan.steps.iter().for_each(|step| assert!(model.take(step)));
    }
    assert!(model.is_busy());
    let forecast = foresee(&model);
    assert!(forecast.is_whole && forecast.duties[0].is_done());
}
