//! The scenarios.

use std::{env, eprintln};

use types::ReplicaId;
use wire::Body;

use super::scenario::{Bounds, Budget, Clocks, Disks, PreVotes, Scenario, member};
use super::search::{explore, replay};
use crate::Change;

fn no_message(_: &Body) -> bool {
    false
}

fn heartbeats(body: &Body) -> bool {
    matches!(body, Body::Heartbeat { .. } | Body::HeartbeatReply { .. })
}

const NO_BOUNDS: Bounds = Bounds::new(6, 100);

/// Three replicas, of which nobody has led yet.
const BASE: Scenario = Scenario {
    name: "base",
    disks: Disks::Prompt,
    pre_votes: PreVotes::Granted,
    clocks: Clocks::Free,
    is_lost: heartbeats,
    changes: &[],
    successors: &[],
    genesis_len: 0,
    prepared: &[],
    bounds: NO_BOUNDS,
    states_min: 0,
    deep: NO_BOUNDS,
};

/// Explores a scenario as far as the test does, or as `EXPLORE` says.
fn run(scenario: Scenario) {
    let deep = env::var_os("EXPLORE").is_some();
    let bounds = if deep { scenario.deep } else { scenario.bounds };
    match explore(scenario, bounds) {
        Ok(report) => {
            eprintln!("{}: {report}", scenario.name);
            assert!(report.states >= scenario.states_min, "{}: only {report}", scenario.name);
        }
        Err(broken) => panic!("{broken}"),
    }
}

#[test]
fn elections() {
    run(Scenario {
        name: "elections",
        bounds: Bounds::new(4, 100).with(Budget::Elections, 2).with(Budget::Crashes, 1),
        ..BASE
    });
}

#[test]
fn figure_8() {
    run(Scenario {
        name: "replication",
        prepared: &["1 misses a leader"],
        bounds: Bounds::new(4, 20).with(Budget::Elections, 2).with(Budget::Proposals, 1).with(Budget::Crashes, 1),
        ..BASE
    });
}
