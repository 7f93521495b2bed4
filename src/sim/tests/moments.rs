//! Crashes at chosen moments: they happen, and a sound engine bears them.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use sim::faults::{Fault, Moment, Schedule, Timed};
use sim::run::run;
use sim::spec::Spec;

/// The run of a seed of three nodes, with these faults and no others.
fn spec(seed: u64, faults: Vec<(u64, Fault)>) -> Spec {
    let schedule = Schedule { faults: faults.into_iter().map(|(at_ms, fault)| Timed { at_ms, fault }).collect() };
    Spec { schedule, ..Spec::of_seed(seed, Duration::from_secs(5), None) }
}

fn crashes(seed: u64, faults: Vec<(u64, Fault)>, counter: &str) -> u64 {
    let report = run(&spec(seed, faults), false);
    assert_eq!(report.failure, None, "seed {seed}");
    report.counters.get(counter).copied().unwrap_or(0)
}

/// Crashes of one node after the other, so that there are elections.
fn elections() -> impl Iterator<Item = (u64, Fault)> {
    (1..=3).map(|node| (1_000 + u64::from(node) * 700, Fault::Crash { node, down_ms: 300 }))
}

#[test]
fn a_node_dies_behind_the_moment_that_was_chosen() {
    for moment in [Moment::Append, Moment::Vote, Moment::Election, Moment::Manifest] {
        let trap = Fault::CrashBehind { moment, within_us: 50, down_ms: 1, for_ms: 4_000 };
        let faults: Vec<_> = [(600, trap)].into_iter().chain(elections()).collect();
        let counter = "world: a crash met a chosen moment";
        let counts = [2, 3, 4].map(|seed| crashes(seed, faults.clone(), counter));
        assert!(counts.iter().all(|count| *count <= 3), "{moment:?}: {counts:?}");
        assert!(counts.iter().sum::<u64>() > 0, "{moment:?}");
    }
}

#[test]
fn a_node_dies_in_the_middle_of_a_write_behind_an_election_elsewhere() {
    let trap = Fault::CrashHalfWay { factor: 100, within_us: 50, down_ms: 1, for_ms: 4_000 };
    let faults = [(600, trap)].into_iter().chain(elections()).collect::<Vec<_>>();
    let torn = |seed| {
        let report = run(&spec(seed, faults.clone()), false);
        assert_eq!(report.failure, None, "seed {seed}");
        let torn = |(name, count): (&String, &u64)| if name.starts_with("world: a crash tore") { *count } else { 0 };
        report.counters.iter().map(torn).sum::<u64>()
    };
    assert!((1..=4).map(torn).sum::<u64>() > 0);
}

#[test]
fn a_turn_is_stopped_behind_its_clock() {
    let stop = Fault::StopBehindClock { node: 1, reading: 1, for_ms: 700 };
    let faults = vec![(1_000, stop.clone()), (3_000, stop)];
    assert_eq!(crashes(2, faults, "world: a turn was stopped behind its clock"), 2);
}
