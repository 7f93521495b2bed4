//! Nodes that drain, leave and are lost, while clients write: groups keep their strength, and nothing that was acknowledged is lost.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::{Duration, Instant};

use coracle_tests::ctl::{code, json, run, shown, told};
use coracle_tests::load::{check, under_load};
use coracle_tests::{Cluster, Options, alone, process, replicas, wait_until};

const LIMIT: Duration = Duration::from_secs(180);
/// Each wait of the operator's tool.
const WAIT_MAX_S: &str = "30";
const WITHIN: Duration = Duration::from_secs(30);
const GROUPS_COUNT: usize = 6;
/// The node that drains, leaves, or is lost first: one of those that have formed the cluster, and have a replica of every group.
const LEAVER: usize = 3;

/// Groups that a node leads, group 0 among them.
fn led_by(cluster: &Cluster, node: usize) -> usize {
    replicas::of_core(&mut cluster.core(node, 0)).values().filter(|replica| replica.leads).count()
}

/// What a field of a node is, as node 1 tells it; `None` if it does not know the node.
fn field_of(cluster: &Cluster, node: usize, field: &str) -> Option<String> {
    let nodes = json(cluster, &[1], &["nodes"]);
    let node = nodes["nodes"].as_array().unwrap().iter().find(|told| told["id"] == node)?;
    Some(node[field].as_str().unwrap_or_else(|| panic!("{field} is missing in {node}")).to_owned())
}

/// Waits until all groups are at full strength, with replicas on just these nodes.
fn wait_until_full_on(cluster: &Cluster, asked: &[usize], nodes: &[i64], within: Duration) {
    let mut last = String::new();
    let begin = Instant::now();
    while begin.elapsed() < within {
        let groups = json(cluster, asked, &["groups"]);
        let is_full = |group: &serde_json::Value| {
            let replicas = group["replicas"].as_array().unwrap().iter().map(|replica| replica.as_str().unwrap());
            let places = replicas.map(|replica| replica.split(['@', '/']).nth(1).unwrap().parse::<i64>().unwrap());
            let places: Vec<i64> = places.collect();
            group["standing"] == "full" && places.len() == 3 && places.iter().all(|place| nodes.contains(place))
        };
        let groups = groups["groups"].as_array().unwrap();
        if groups.len() == GROUPS_COUNT + 1 && groups.iter().all(is_full) {
            return;
        }
        last = groups.iter().filter(|group| !is_full(group)).map(|group| format!("\n{group}")).collect();
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("after {within:?} groups are not at full strength on {nodes:?}:{last}");
}

/// Three nodes with all replicas, and a fourth one that has joined.
fn start(down_after_s: u32) -> Cluster {
    let set = vec![
        format!("node_down_after_s={down_after_s}"),
        "group_log_bytes_max=1048576".to_owned(),
        "balance=on".to_owned(),
    ];
    let cluster = Cluster::start(Options { nodes: 3, groups: GROUPS_COUNT as u32, set, ..Options::default() });
    let (is_added, said) = cluster.change(&["add"]);
    assert!(is_added, "{said}");
    cluster
}

#[test]
fn a_node_drains_serves_again_and_leaves_for_good() {
    let _alone = alone(LIMIT);
    let cluster = start(600);
    let leaver = LEAVER.to_string();
    let waited = |command: &str| shown(&cluster, &[1], &[command, &leaver, "--wait", "--wait-max", WAIT_MAX_S]);
    let pid = cluster.node(LEAVER).pid;
    let known = under_load(&cluster, || {
        std::thread::sleep(Duration::from_millis(500));
        let told_first = waited("drain");
        assert!(told_first.contains("leads nothing"), "{told_first}");
        assert_eq!(field_of(&cluster, LEAVER, "duty").as_deref(), Some("drains"));
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            assert_eq!(led_by(&cluster, LEAVER), 0, "a node that has drained leads nothing");
            std::thread::sleep(Duration::from_millis(100));
        }
        // It keeps its replicas, and asking again is no error.
        assert!(!replicas::of_core(&mut cluster.core(LEAVER, 0)).is_empty());
        shown(&cluster, &[1], &["drain", &leaver]);
        shown(&cluster, &[2], &["undrain", &leaver]);
        wait_until("it serves", WITHIN, || field_of(&cluster, LEAVER, "duty").as_deref() == Some("serves"));

        let plan = json(&cluster, &[1], &["decommission", &leaver, "--plan"]);
        let count = |name: &str| plan[name].as_array().unwrap().len();
        assert!(count("moves") > 0 && count("refusals") == 0, "{plan}");
        assert_eq!(field_of(&cluster, LEAVER, "duty").as_deref(), Some("serves"), "a plan changes nothing");
        let other = run(&cluster, &[1], &["decommission", &leaver, "--if-plan", "0000000000000000"]);
        assert_eq!(code(&other), 1, "{}", told(&other));
        assert!(told(&other).contains("by now, not 0000000000000000: nothing was changed"), "{}", told(&other));
        assert_eq!(field_of(&cluster, LEAVER, "duty").as_deref(), Some("serves"));
        let done = waited("decommission");
        assert!(done.contains("Node 3 is removed"), "{done}");
        std::thread::sleep(Duration::from_millis(500));
    });
    assert_eq!(field_of(&cluster, LEAVER, "duty"), None);
    wait_until_full_on(&cluster, &[1], &[1, 2, 4], WITHIN);
    check(&cluster, &known, "without the node that left");
    wait_until("its process ends", WITHIN, || !process::exists(pid));
    wait_until("its number is crossed out", WITHIN, || cluster.nodes().len() == 3);
    let gone = run(&cluster, &[1], &["decommission", &leaver]);
    assert_eq!(code(&gone), 1, "{}", told(&gone));
    assert!(told(&gone).contains("node 3 was removed"), "{}", told(&gone));
    let tasks = json(&cluster, &[1], &["tasks"]);
    assert!(tasks["tasks"].as_array().unwrap().iter().all(|task| task["kind"] == "balance"), "{tasks}");
}

#[test]
fn a_node_that_is_lost_is_replaced_by_those_that_are_left() {
    let _alone = alone(LIMIT);
    let cluster = start(3);
    let known = under_load(&cluster, || {
        std::thread::sleep(Duration::from_millis(500));
        cluster.kill(LEAVER);
        wait_until_full_on(&cluster, &[1], &[1, 2, 4], WITHIN);
        assert_eq!(field_of(&cluster, LEAVER, "health").as_deref(), Some("down"));
        // All is there three times again: another node may be lost.
        cluster.kill(2);
        cluster.wait_healthy(1, WITHIN);
        std::thread::sleep(Duration::from_millis(500));
    });
    check(&cluster, &known, "with two nodes of four lost");
}
