//! A node joins and is removed, and every node crashes at some step of that in turn, the new one included. Restarted nodes begin on the
//! first map, or on the one with which they have joined, and must hear of later ones.

#![allow(missing_docs, reason = "a test")]

use sim::cluster_spec::{ClusterSpec, Hostility, Load};
use sim::faults::{Fault, Schedule, Timed};
use sim::run::run;
use sim::spec::Spec;

/// How long behind the order of an operator a node crashes, in milliseconds: while a token is made, shown, agreed on, while links are made, and
/// behind all that.
const STEPS_MS: [u64; 6] = [1, 8, 30, 120, 300, 700];
const JOIN_AT_MS: u64 = 1_500;
const REMOVE_AT_MS: u64 = 3_500;
const JOIN_AGAIN_AT_MS: u64 = 5_000;
const BUSY_MS: u64 = 6_000;

/// Runs a seed with these faults, and returns how often a node has joined, and has heard that it was removed.
fn joined_and_removed(seed: u64, faults: Vec<Timed>) -> (u64, u64) {
    let mut schedule = Schedule { faults };
    schedule.faults.sort_by_key(|timed| timed.at_ms);
    let spec = Spec { seed, busy_ms: BUSY_MS, schedule, broken: None, all_attacks: false };
    let report = run(&spec, std::env::var_os("TOLD").is_some());
    assert!(report.failure.is_none(), "seed {seed}: {:?}\n{}", report.failure, spec.schedule.to_lines());
    let count = |name: &str| report.counters.get(name).copied().unwrap_or(0);
    (count("world: a node joined"), count("world: a removed node has heard so"))
}

/// Seeds with a machine to spare and few other things that take time.
fn seeds() -> impl Iterator<Item = (u64, ClusterSpec)> {
    let specs = (0..).map(|seed| (seed, ClusterSpec::of_seed(seed)));
    specs.filter(|(_, spec)| {
        spec.spares > 0 && spec.nodes <= 3 && spec.load == Load::Usual && spec.hostility == Hostility::None
    })
}

#[test]
fn a_node_joins_and_is_removed_more_than_once() {
    for (seed, _) in seeds().take(3) {
        let faults =
            [(JOIN_AT_MS, Fault::Join {}), (REMOVE_AT_MS, Fault::Remove {}), (JOIN_AGAIN_AT_MS, Fault::Join {})];
        let faults = faults.map(|(at_ms, fault)| Timed { at_ms, fault }).into();
        assert_eq!(joined_and_removed(seed, faults), (2, 1), "seed {seed}");
    }
}

#[test]
fn any_node_may_crash_at_any_step_of_a_join_and_a_removal() {
    let mut seeds = seeds();
    for (idx, behind_ms) in STEPS_MS.into_iter().enumerate() {
        let (seed, spec) = seeds.next().expect("there is no end of seeds");
        // Each node at each step, in one seed or another, the new one twice as often.
        let crashed_nodes = [idx as u32 % spec.nodes + 1, spec.nodes + 1];
        let mut faults = vec![
            Timed { at_ms: JOIN_AT_MS, fault: Fault::Join {} },
            Timed { at_ms: REMOVE_AT_MS, fault: Fault::Remove {} },
        ];
        for node in crashed_nodes {
            for at_ms in [JOIN_AT_MS + behind_ms, REMOVE_AT_MS + behind_ms] {
                faults.push(Timed { at_ms, fault: Fault::Crash { node, down_ms: 40 * (1 + idx as u64) } });
            }
        }
        assert_eq!(joined_and_removed(seed, faults), (1, 1), "seed {seed}");
    }
}

#[test]
fn a_node_joins_while_others_are_cut_off() {
    for (seed, spec) in seeds().filter(|(_, spec)| spec.nodes == 3).take(3) {
        let newcomer = spec.nodes + 1;
        let cut = |at_ms, side: &[u32]| Timed { at_ms, fault: Fault::Partition { side: side.to_vec(), for_ms: 900 } };
        let faults = vec![
            cut(JOIN_AT_MS, &[1]),
            Timed { at_ms: JOIN_AT_MS, fault: Fault::Join {} },
            cut(JOIN_AT_MS + 950, &[newcomer]),
            // The others do not hear of the removal, or the one that is removed does not.
            cut(REMOVE_AT_MS, &[2, newcomer]),
            Timed { at_ms: REMOVE_AT_MS, fault: Fault::Remove {} },
            cut(REMOVE_AT_MS + 950, &[newcomer]),
        ];
        assert_eq!(joined_and_removed(seed, faults), (1, 1), "seed {seed}");
    }
}
