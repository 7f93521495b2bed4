//! What costs nothing: groups in which nothing happens, also where one of their replicas is dead.
//!
//! What is measured is CPU time, which a busy machine hardly changes.

use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Options, alone, process};

const LIMIT: Duration = Duration::from_secs(300);
/// Ten thousand groups take their time to elect their leaders on a machine of few cores.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long a cluster is left alone before it is watched: groups fall quiet after 40 heartbeats, a dead node's once others
/// lead them.
const SETTLING: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(20);

/// The share of one core that each of these processes uses while nothing is asked of the cluster; prints it.
fn idle_shares(name: &str, pids: &[u32]) -> Vec<f64> {
    std::thread::sleep(SETTLING);
    let before: Vec<Duration> = pids.iter().map(|pid| process::cpu_time(*pid)).collect();
    let begin = Instant::now();
    std::thread::sleep(WATCHED);
    let took = begin.elapsed();
    let used = pids.iter().zip(before).map(|(pid, before)| process::cpu_time(*pid).saturating_sub(before));
    let shares: Vec<f64> = used.map(|used| used.as_secs_f64() / took.as_secs_f64()).collect();
    let shown: Vec<String> = shares.iter().map(|share| format!("{:.2} %", 100.0 * share)).collect();
    println!("{name}: {} of a core", shown.join(", "));
    shares
}

/// Starts a cluster and checks that none of its nodes uses more than this share of a core while it is idle.
fn idles(nodes: u8, groups: u32, share_max: f64) -> Cluster {
    let cluster = Cluster::start(Options { nodes, groups, ready_within: READY_WITHIN, ..Options::default() });
    let pids: Vec<u32> = cluster.nodes().iter().map(|node| node.pid).collect();
    let shares = idle_shares(&format!("{nodes} nodes, {groups} groups"), &pids);
    assert!(shares.iter().all(|share| *share <= share_max), "{shares:?}");
    cluster
}

#[test]
fn a_thousand_groups_of_one_node() {
    let _alone = alone(LIMIT);
    idles(1, 1_000, 0.01);
}

#[test]
fn ten_thousand_groups_of_one_node() {
    let _alone = alone(LIMIT);
    idles(1, 10_000, 0.03);
}

#[test]
fn a_thousand_groups_of_three_nodes_also_without_one_of_them() {
    let _alone = alone(LIMIT);
    let cluster = idles(3, 1_000, 0.01);
    cluster.kill(3);
    let alive: Vec<u32> = [1, 2].map(|id| cluster.node(id).pid).to_vec();
    let shares = idle_shares("the same, one node dead", &alive);
    assert!(shares.iter().all(|share| *share <= 0.01), "{shares:?}");
}
