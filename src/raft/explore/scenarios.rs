//! The scenarios.

use std::string::String;
use std::vec::Vec;
use std::{env, eprintln};

use types::ReplicaId;
use wire::Body;

use super::scenario::{Bounds, Budget, Clocks, Disks, PreVotes, Scenario, Then, member};
use super::search::{explore, replay};
use crate::Change;

const TWO: ReplicaId = ReplicaId(2);
const THREE: ReplicaId = ReplicaId(3);
const FOUR: ReplicaId = ReplicaId(4);

fn none(_: &Body) -> bool {
    false
}

fn heartbeats(body: &Body) -> bool {
    matches!(body, Body::Heartbeat { .. } | Body::HeartbeatReply { .. })
}

/// Three replicas, of which nobody has led yet.
const BASE: Scenario = Scenario {
    name: "",
    disks: Disks::Prompt,
    pre_votes: PreVotes::Granted,
    clocks: Clocks::Free,
    is_lost: heartbeats,
    drops_old_answers: true,
    changes: &[],
    successors: &[],
    genesis_len: 0,
    prepared: &[],
    bounds: Bounds::new(0, 99),
    states_min: 0,
    deep: Bounds::new(0, 99),
};

/// The states of a scenario that the test looks at, at most.
const STATES_MAX: usize = 400_000;
/// The same of a long run, unless `EXPLORE_STATES` says otherwise: about two GiB.
const DEEP_STATES_MAX: usize = 20_000_000;

/// The bounds of a scenario: those of the test, or with `EXPLORE=deep` those of a long run.
fn bounds_of(scenario: &Scenario) -> Bounds {
    let is_deep = env::var("EXPLORE").is_ok_and(|how| how == "deep");
    let (bounds, states) = if is_deep { (scenario.deep, DEEP_STATES_MAX) } else { (scenario.bounds, STATES_MAX) };
    let told = env::var("EXPLORE_STATES").ok().and_then(|count| count.parse().ok());
    Bounds { states: told.unwrap_or(states), ..bounds }
}

/// Explores a scenario, and finds nothing broken in as many states as it is known to have.
fn run(scenario: Scenario) {
    match explore(scenario, bounds_of(&scenario)) {
        Ok(report) => {
            eprintln!("{}: {report}", scenario.name);
            assert!(report.states >= scenario.states_min, "{}: only {report}", scenario.name);
        }
        Err(broken) => panic!("{broken}"),
    }
}

/// Explores a scenario in which something must break that no replica can make good, and takes the way there again.
fn finds(scenario: Scenario, what: &str) {
    let bounds = bounds_of(&scenario);
    let broken = explore(scenario, bounds).expect_err("what must break is found");
    assert!(broken.what.contains(what), "{broken}");
    let steps: Vec<&str> = broken.steps.iter().map(String::as_str).collect();
    let again = replay(scenario, bounds, &steps).expect_err("the same steps break the same");
    assert!(broken.what.ends_with(&again), "{again} instead of {broken}");
    let (_, before) = steps.split_last().expect("nothing is broken in the beginning");
    assert_eq!(replay(scenario, bounds, before), Ok(()), "the last step breaks it");
}

/// Disks that call durable what they may lose: one replica gives two votes.
#[test]
fn lying_disks_are_found_out() {
    let bounds = Bounds::new(4, 99).with(Budget::Elections, 2).with(Budget::Crashes, 1);
    finds(Scenario { name: "lying disks", disks: Disks::Lying, bounds, deep: bounds, ..BASE }, "votes for");
}

/// Clocks that drift apart by more than is configured: a leader whose lease goes on does not know of the next one.
#[test]
fn clocks_that_drift_too_far_are_found_out() {
    let bounds = Bounds::new(4, 99).with(Budget::Elections, 1).with(Budget::Ticks, 3);
    let clocks = Clocks::Bounded([1, 3, 3, 3]);
    finds(Scenario { name: "drifting clocks", clocks, bounds, deep: bounds, ..LEASES }, "has a lease and misses");
}

/// Three brand-new replicas that want to lead, and one of which may forget what is not durable.
#[test]
fn elections() {
    run(Scenario {
        name: "elections",
        states_min: STATES_MAX,
        bounds: Bounds::new(3, 99).with(Budget::Elections, 2).with(Budget::Crashes, 1),
        deep: Bounds::new(4, 99).with(Budget::Elections, 3).with(Budget::Crashes, 1),
        ..BASE
    });
}

/// The same with disks that take their time.
#[test]
fn late_disks() {
    run(Scenario {
        name: "late disks",
        states_min: STATES_MAX,
        disks: Disks::Late,
        bounds: Bounds::new(3, 99).with(Budget::Elections, 2).with(Budget::Crashes, 1),
        deep: Bounds::new(4, 99).with(Budget::Elections, 2).with(Budget::Crashes, 1).with(Budget::Proposals, 1),
        ..BASE
    });
}

/// Candidates that ask before they campaign.
#[test]
fn pre_votes() {
    run(Scenario {
        name: "pre-votes",
        states_min: 228_000,
        pre_votes: PreVotes::Asked,
        bounds: Bounds::new(3, 99).with(Budget::Elections, 2),
        deep: Bounds::new(4, 99).with(Budget::Elections, 3).with(Budget::Copies, 1),
        ..BASE
    });
}

/// Two candidates of one term, and a third replica that may learn of the term before it is asked for its vote.
#[test]
fn split_votes() {
    run(Scenario {
        name: "split votes",
        states_min: STATES_MAX,
        pre_votes: PreVotes::Asked,
        prepared: &[
            ("1 misses a leader", Then::Next),
            ("3 misses a leader", Then::Next),
            ("2 receives Pre-Vote(0 of term 0) of 1 in term 1", Then::Next),
            ("2 receives Pre-Vote(0 of term 0) of 3 in term 1", Then::Next),
            ("1 receives Pre-VoteReply(yes) of 2 in term 1", Then::Next),
            ("3 receives Pre-VoteReply(yes) of 2 in term 1", Then::Next),
        ],
        bounds: Bounds::new(6, 99).with(Budget::Elections, 1).with(Budget::Crashes, 1),
        deep: Bounds::new(8, 99).with(Budget::Elections, 2).with(Budget::Crashes, 2),
        ..BASE
    });
}

/// A leader, its entries, and others that would lead.
#[test]
fn replication() {
    run(Scenario {
        name: "replication",
        states_min: STATES_MAX,
        prepared: &[("1 misses a leader", Then::AllArrives)],
        bounds: Bounds::new(3, 99).with(Budget::Elections, 2).with(Budget::Proposals, 2).with(Budget::Copies, 1),
        deep: Bounds::new(4, 99).with(Budget::Elections, 3).with(Budget::Proposals, 2).with(Budget::Crashes, 1),
        ..BASE
    });
}

/// The middle of figure 8 of the Raft paper: replica 1 has an entry of term 1 that nobody else has, replica 3 one of term 2.
#[test]
fn figure_8() {
    run(Scenario {
        name: "figure 8",
        states_min: STATES_MAX,
        prepared: &[
            ("1 misses a leader", Then::AllArrives),
            ("1 proposes batch 0", Then::AllIsLost),
            ("3 misses a leader", Then::Next),
            ("2 receives Vote(1 of term 1) of 3 in term 2", Then::Next),
            ("3 receives VoteReply(yes) of 2 in term 2", Then::AllIsLost),
            ("1 has heard no majority for long", Then::Next),
            ("1 misses a leader", Then::AllIsLost),
        ],
        bounds: Bounds::new(3, 99).with(Budget::Elections, 2).with(Budget::QuorumsLost, 1),
        deep: Bounds::new(4, 99)
            .with(Budget::Elections, 3)
            .with(Budget::QuorumsLost, 1)
            .with(Budget::Crashes, 1)
            .with(Budget::Proposals, 1),
        ..BASE
    });
}

/// Answers that come when their receiver is in a later term.
#[test]
fn old_answers() {
    run(Scenario {
        name: "old answers",
        states_min: STATES_MAX,
        drops_old_answers: false,
        bounds: Bounds::new(4, 99).with(Budget::Elections, 3),
        deep: Bounds::new(5, 99).with(Budget::Elections, 3).with(Budget::Proposals, 1),
        ..BASE
    });
}

/// A leader whose log begins behind where that of replica 1 contradicts it.
#[test]
fn offers() {
    run(Scenario {
        name: "offers",
        states_min: STATES_MAX,
        is_lost: none,
        prepared: &[
            ("1 misses a leader", Then::AllArrives),
            ("1 proposes batch 0", Then::AllIsLost),
            ("3 misses a leader", Then::Next),
            ("2 receives Vote(1 of term 1) of 3 in term 2", Then::Next),
            ("3 receives VoteReply(yes) of 2 in term 2", Then::Next),
            ("2 receives Append(behind 1 of term 1, commit 0, [2:Empty]) of 3 in term 2", Then::Next),
            ("3 receives Accepted(2) of 2 in term 2", Then::AllIsLost),
            ("3 makes its state durable and drops its log", Then::AllIsLost),
        ],
        bounds: Bounds::new(3, 99)
            .with(Budget::Heartbeats, 1)
            .with(Budget::Elections, 1)
            .with(Budget::Crashes, 1)
            .with(Budget::Compactions, 1),
        deep: Bounds::new(4, 99)
            .with(Budget::Heartbeats, 2)
            .with(Budget::Elections, 1)
            .with(Budget::Crashes, 1)
            .with(Budget::Proposals, 1)
            .with(Budget::Compactions, 1),
        ..BASE
    });
}

/// Logs whose beginning is dropped, and states that are taken over.
#[test]
fn snapshots() {
    run(Scenario {
        name: "snapshots",
        states_min: STATES_MAX,
        prepared: &[("1 misses a leader", Then::AllArrives), ("1 proposes batch 0", Then::AllIsLost)],
        bounds: Bounds::new(3, 99)
            .with(Budget::Elections, 1)
            .with(Budget::Compactions, 2)
            .with(Budget::Proposals, 1)
            .with(Budget::Crashes, 1),
        deep: Bounds::new(4, 99)
            .with(Budget::Elections, 2)
            .with(Budget::Compactions, 2)
            .with(Budget::Proposals, 1)
            .with(Budget::Crashes, 1),
        ..BASE
    });
}

const REPLACE_TWO: &[Change] = &[Change::Promote(FOUR), Change::Remove(THREE), Change::Remove(TWO)];
const DEMOTE: &[Change] = &[Change::AddLearner(member(2))];
const LEARN: &[Change] = &[Change::AddLearner(member(4))];

const A_LEARNER_IN_STEP: &[(&str, Then)] =
    &[("1 misses a leader", Then::AllArrives), ("1 is asked that 4 learns", Then::AllArrives)];

/// A learner that becomes a voter, alone or in the place of the leader or of a follower.
#[test]
fn joint_consensus() {
    run(Scenario {
        name: "joint consensus",
        states_min: STATES_MAX,
        changes: &[
            LEARN,
            &[Change::Promote(FOUR)],
            &[Change::Promote(FOUR), Change::Remove(ReplicaId(1))],
            REPLACE_TWO,
        ],
        prepared: A_LEARNER_IN_STEP,
        bounds: Bounds::new(3, 99).with(Budget::Elections, 1).with(Budget::Changes, 1),
        deep: Bounds::new(4, 99).with(Budget::Elections, 2).with(Budget::Changes, 2),
        ..BASE
    });
}

/// Elections while a leader that nobody hears has begun to replace replicas 2 and 3 by replica 4, which knows of it.
#[test]
fn joint_elections() {
    run(Scenario {
        name: "joint elections",
        states_min: STATES_MAX,
        changes: &[LEARN, REPLACE_TWO],
        prepared: &[
            ("1 misses a leader", Then::AllArrives),
            ("1 is asked that 4 learns", Then::AllArrives),
            ("1 is asked that 4 votes, 3 leaves, 2 leaves", Then::Next),
            ("4 receives Append(behind 2 of term 1, commit 2, [1:Membership]) of 1 in term 1", Then::AllIsLost),
            ("1 has heard no majority for long", Then::AllIsLost),
        ],
        bounds: Bounds::new(4, 99).with(Budget::Elections, 2),
        deep: Bounds::new(5, 99).with(Budget::Elections, 3).with(Budget::Crashes, 1).with(Budget::Proposals, 1),
        ..BASE
    });
}

/// Voters that leave or become learners, and changes that are cut off.
#[test]
fn shrinking() {
    run(Scenario {
        name: "shrinking",
        states_min: STATES_MAX,
        changes: &[
            &[Change::Remove(ReplicaId(1))],
            &[Change::Remove(THREE)],
            DEMOTE,
            &[Change::Remove(TWO), Change::Remove(THREE)],
        ],
        prepared: &[("1 misses a leader", Then::AllArrives)],
        bounds: Bounds::new(3, 99).with(Budget::Elections, 1).with(Budget::Changes, 2),
        deep: Bounds::new(4, 99).with(Budget::Elections, 2).with(Budget::Changes, 2).with(Budget::Crashes, 1),
        ..BASE
    });
}

/// A learner that begins with nothing, where the others hold 70 entries in a state.
#[test]
fn learners() {
    run(Scenario {
        name: "learners",
        states_min: STATES_MAX,
        changes: &[LEARN, &[Change::Promote(FOUR)], &[Change::Remove(FOUR)]],
        genesis_len: 70,
        prepared: &[("1 misses a leader", Then::AllArrives)],
        bounds: Bounds::new(3, 99).with(Budget::Changes, 3).with(Budget::Elections, 1),
        deep: Bounds::new(4, 99).with(Budget::Changes, 3).with(Budget::Elections, 1).with(Budget::Crashes, 1),
        ..BASE
    });
}

/// Leadership that is handed over.
#[test]
fn transfers() {
    run(Scenario {
        name: "transfers",
        states_min: STATES_MAX,
        successors: &[TWO, THREE],
        prepared: &[("1 misses a leader", Then::AllArrives)],
        bounds: Bounds::new(3, 99)
            .with(Budget::Transfers, 2)
            .with(Budget::Proposals, 1)
            .with(Budget::Elections, 1)
            .with(Budget::Copies, 1),
        deep: Bounds::new(4, 99)
            .with(Budget::Transfers, 2)
            .with(Budget::Proposals, 1)
            .with(Budget::Elections, 1)
            .with(Budget::Copies, 1)
            .with(Budget::Crashes, 1),
        ..BASE
    });
}

/// Reads by ReadIndex.
#[test]
fn read_index() {
    run(Scenario {
        name: "ReadIndex",
        states_min: STATES_MAX,
        is_lost: none,
        prepared: &[("1 misses a leader", Then::AllArrives)],
        bounds: Bounds::new(4, 99)
            .with(Budget::Reads, 1)
            .with(Budget::Elections, 1)
            .with(Budget::Proposals, 1)
            .with(Budget::Heartbeats, 1),
        deep: Bounds::new(5, 99)
            .with(Budget::Reads, 1)
            .with(Budget::Elections, 2)
            .with(Budget::Proposals, 1)
            .with(Budget::Copies, 1)
            .with(Budget::Heartbeats, 1),
        ..BASE
    });
}

/// Leases on clocks that drift apart as far as they may: replica 1 has the slowest, and leads.
const LEASES: Scenario = Scenario {
    name: "leases",
    states_min: 72_000,
    is_lost: none,
    clocks: Clocks::Bounded([2, 3, 3, 3]),
    successors: &[THREE],
    prepared: &[("1 misses a leader", Then::AllArrives)],
    bounds: Bounds::new(3, 99).with(Budget::Heartbeats, 1).with(Budget::Elections, 1).with(Budget::Ticks, 2),
    deep: Bounds::new(4, 99).with(Budget::Heartbeats, 2).with(Budget::Elections, 2).with(Budget::Ticks, 6),
    ..BASE
};

#[test]
fn leases() {
    run(LEASES);
}

/// Voters that forget whom they heard.
#[test]
fn leases_and_crashes() {
    run(Scenario {
        name: "leases and crashes",
        states_min: STATES_MAX,
        bounds: LEASES.bounds.with(Budget::Crashes, 2),
        deep: LEASES.deep.with(Budget::Crashes, 2),
        ..LEASES
    });
}

/// A leader that has told another one to campaign.
#[test]
fn leases_and_transfers() {
    run(Scenario {
        name: "leases and transfers",
        states_min: STATES_MAX,
        bounds: LEASES.bounds.with(Budget::Transfers, 1),
        deep: LEASES.deep.with(Budget::Transfers, 1).with(Budget::Crashes, 1),
        ..LEASES
    });
}
