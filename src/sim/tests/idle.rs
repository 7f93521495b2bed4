//! A cluster of which nobody wants anything: its cores sleep but for telling each other that they are there, and yet they notice
//! one that is not there any more as soon as ever.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use sim::cluster::{Cluster, Death};
use sim::cluster_spec::ClusterSpec;
use types::{GroupId, Instant};

const SECOND: u64 = 1_000_000_000;
const GROUPS_COUNT: usize = 50;
/// When all groups have their leaders and have fallen quiet.
const SETTLED_S: u64 = 6;

/// A cluster whose groups are quiet.
fn quiet(seed: u64, nodes: u32, cores: u16) -> Cluster {
    let mut cluster_spec = ClusterSpec::of_seed(seed);
    (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (nodes, cores, GROUPS_COUNT);
    (cluster_spec.timing_ms, cluster_spec.faulty_nodes) = ((50, 500, 1_000), Vec::new());
    // What is done once a day by an idle cluster, and all the time by some seeds.
    cluster_spec.compare_interval = None;
    cluster_spec.scrub_interval = None;
    let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
    (0..nodes as usize).for_each(|node| cluster.boot(node));
    run_to(&cluster, SETTLED_S * SECOND);
    cluster
}

fn run_to(cluster: &Cluster, end: u64) {
    cluster.run_until(end, |_| true);
}

/// How often something of this name happens in a second, per core.
fn per_second(cluster: &Cluster, cores_count: u32, counter: &str) -> f64 {
    const WATCHED_S: u32 = 20;
    let before = cluster.counters()[counter];
    let now = cluster.world.borrow().now();
    run_to(cluster, now + u64::from(WATCHED_S) * SECOND);
    (cluster.counters()[counter] - before) as f64 / f64::from(WATCHED_S * cores_count)
}

#[test]
fn a_core_without_others_wakes_ten_times_a_second_and_once_to_plan() {
    for seed in 1..=3 {
        let rate = per_second(&quiet(seed, 1, 1), 1, "turns");
        assert!((10.0..=11.5).contains(&rate), "seed {seed}: {rate} turns per second");
    }
}

#[test]
fn idle_cores_tell_each_other_ten_times_a_second() {
    for seed in 1..=3 {
        let rate = per_second(&quiet(seed, 3, 2), 6, "frames_sent");
        assert!((39.0..=42.0).contains(&rate), "seed {seed}: {rate} frames per second to four cores");
    }
}

#[test]
fn idle_cores_wake_together() {
    // Forty frames come to each core in a second, here hardly two of them at the same moment. If all cores ticked on their own these
    // would wake on average 53 times a second.
    let rates = (1..=3).map(|seed| per_second(&quiet(seed, 3, 2), 6, "turns")).collect::<Vec<_>>();
    assert!(rates.iter().sum::<f64>() <= 3.0 * 49.0, "{rates:?} turns per second");
}

#[test]
fn a_silent_death_is_noticed_as_soon_as_ever_by_idle_cores() {
    for seed in 1..=5 {
        let cluster = quiet(seed, 3, 1);
        let led = |node: usize| {
            let groups = (1..=GROUPS_COUNT as u32).map(GroupId);
            groups.filter(|group| cluster.elected(*group).unwrap().0 == node).collect::<Vec<_>>()
        };
        let (victim, orphans) = (0..3).map(|node| (node, led(node))).max_by_key(|(_, led)| led.len()).unwrap();
        assert!(!orphans.is_empty());
        let died_at = cluster.world.borrow().now();
        cluster.kill(victim, Death::Machine);
        run_to(&cluster, died_at + 4 * SECOND);
        for group in orphans {
            let (leader, at) = cluster.elected(group).unwrap();
            assert_ne!(leader, victim, "seed {seed}: {group} has no leader");
            let took = at.since(Instant::from_nanos(died_at));
            // The shortest election timeout until the silence is noticed, one more until somebody campaigns, and the elections.
            assert!(took < Duration::from_millis(1_200), "seed {seed}: {group} took {took:?}");
        }
    }
}
