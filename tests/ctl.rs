//! `coracle-ctl` against real clusters: what it shows and changes, whom it waits for, and its exit codes.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::Duration;

use coracle_tests::ctl::{code, json, run, shown, told};
use coracle_tests::load::{check, under_load};
use coracle_tests::server::Server;
use coracle_tests::{Cluster, Options, Reply, alone, wait_until};

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_cluster_is_shown_as_it_is_whichever_node_is_asked() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, groups: 6, ..Options::default() });
    // The cores of a node tell each other of the groups that they lead once a second.
    shown(&cluster, &[1], &["status", "--wait", "--wait-max", "30"]);
    for node in 1..=3 {
        let status = json(&cluster, &[node], &["status"]);
        assert_eq!((&status["is_whole"], &status["groups_full"]), (&true.into(), &7.into()), "{status}");
        assert_eq!(status["status"]["node"], node, "{status}");
        let led: i64 = (0..3).map(|at| status["answers"][at]["status"]["groups_led"].as_i64().unwrap()).sum();
        assert_eq!(led, 7, "each group is led once: {status}");
    }
    let status = shown(&cluster, &[2], &["status"]);
    assert!(status.contains("nodes   3, all up") && status.contains("groups  7, all at full strength"), "{status}");
    assert!(status.lines().all(|line| line.chars().count() <= 80), "{status}");
    let nodes = shown(&cluster, &[1], &["nodes"]);
    assert_eq!((nodes.lines().count(), nodes.matches(" up ").count()), (4, 3), "{nodes}");
    let groups = shown(&cluster, &[1], &["groups"]);
    assert_eq!((groups.lines().count(), groups.matches(" full").count()), (8, 7), "{groups}");
    let none = shown(&cluster, &[1], &["groups", "--unhealthy"]);
    assert!(none.contains("at full strength"), "{none}");
    let on = json(&cluster, &[1], &["groups", "--node", "3"]);
    assert_eq!(on["groups"].as_array().unwrap().len(), 7, "three nodes, three replicas: {on}");
    let refused = run(&cluster, &[1], &["groups", "--node", "9"]);
    assert_eq!(code(&refused), 2, "{}", told(&refused));
}

#[test]
fn settings_change_on_all_nodes_are_kept_if_wanted_and_refused_with_a_reason() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { cores: 2, groups: 4, data_dir: Some(dir.path().to_owned()), ..Options::default() };
    let cluster = Cluster::start(options);
    let get = |name: &str| json(&cluster, &[1], &["get", name])["settings"].clone();
    assert_eq!(get("slowlog_len_max")["2"]["slowlog_len_max"], "128");
    shown(&cluster, &[1], &["set", "slowlog_len_max=77", "slowlog_log_slower_than=0", "log_level=debug"]);
    for node in ["1", "2", "3"] {
        assert_eq!(get("slowlog*")[node]["slowlog_len_max"], "77");
        assert_eq!(get("slowlog*")[node]["slowlog-max-len"], "77", "under Redis's name, too");
    }
    // Each core has it, and does so.
    for core in 0..2 {
        let mut client = cluster.core(2, core);
        let shown = client.command("CONFIG GET slowlog_len_max");
        assert!(matches!(&shown, Reply::Array(pair) if pair[1].text() == "77"), "{shown:?}");
        client.command("PING");
        let slow = client.command("SLOWLOG LEN");
        assert!(matches!(slow, Reply::Int(count) if count > 0), "every command is slow: {slow:?}");
    }
    cluster.gateway(3).command("CORACLE SCRUB");
    wait_until("the level of the log has changed", WITHIN, || {
        std::fs::read_to_string(dir.path().join("node-3.log")).unwrap().contains("a pass of the scrub begins")
    });
    // One node is set otherwise, and its file says so.
    let file = dir.path().join("node-2.toml");
    let commented = format!("# Ours.\n{}", std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, &commented).unwrap();
    shown(&cluster, &[1], &["set", "scrub_interval_s=60", "--node", "2", "--keep"]);
    let differing = shown(&cluster, &[1], &["get", "scrub_interval_s"]);
    assert!(
        differing.contains("scrub_interval_s  1,3    604800") && differing.contains("scrub_interval_s  2      60")
    );
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.starts_with("# Ours.\n") && kept.contains("\nscrub_interval_s = 60\n"), "{kept}");
    assert!(kept.contains("\nslowlog_len_max = 77\n"), "what was set before is kept, too: {kept}");
    assert!(!std::fs::read_to_string(dir.path().join("node-1.toml")).unwrap().contains("scrub_interval_s"));
    // What cannot be is refused by every node, and nothing of it is done.
    for (wrong, reason) in [
        (&["slowlog_len_max=5000"][..], "must be a whole number from 0 to 4096"),
        (&["slowlog_len_max=5", "cores=2"], "set it in"),
        (&["groups=9"], "concerns the whole cluster"),
        (&["maxmemory=1gb"], "cannot be set"),
        (&["slow_log=1"], "did you mean"),
    ] {
        let output = run(&cluster, &[1], &[&["set"], wrong].concat());
        assert_eq!(code(&output), 1, "{}", told(&output));
        assert!(told(&output).contains(reason), "{}", told(&output));
    }
    assert_eq!(get("slowlog_len_max")["1"]["slowlog_len_max"], "77");
    // A node that is down is named; the others have done it.
    cluster.kill(3);
    let output = run(&cluster, &[1], &["set", "stop_timeout_ms=2000"]);
    assert_eq!(code(&output), 4, "{}", told(&output));
    assert!(told(&output).contains("Done on nodes 1, 2") && told(&output).contains("node 3 could not be asked"));
    // What is kept holds when the node starts again.
    cluster.kill(2);
    let _second = Server::start_again(dir.path(), 2);
    wait_until("node 2 has its settings", WITHIN, || {
        let output = run(&cluster, &[2], &["--json", "get", "scrub_interval_s", "--node", "2"]);
        code(&output) == 0 && String::from_utf8_lossy(&output.stdout).contains("\"scrub_interval_s\":\"60\"")
    });
}

#[test]
fn a_node_that_has_lost_its_data_is_replaced_and_waited_for() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { groups: 4, data_dir: Some(dir.path().to_owned()), ..Options::default() };
    let cluster = Cluster::start(options);
    let known = under_load(&cluster, || std::thread::sleep(Duration::from_millis(500)));
    let refused = run(&cluster, &[1], &["replace", "3"]);
    assert_eq!(code(&refused), 1);
    assert!(told(&refused).contains("node 3 is there: stop it first"), "{}", told(&refused));
    cluster.kill(3);
    std::fs::remove_dir_all(dir.path().join("node-3")).unwrap();
    wait_until("node 3 is seen to be down", WITHIN, || {
        shown(&cluster, &[3, 1], &["status"]).contains("2 of 3 up; down: 3")
    });
    let late = run(&cluster, &[1], &["status", "--wait", "--wait-max", "1"]);
    assert_eq!(code(&late), 3, "{}", told(&late));
    assert!(told(&late).contains("node 3 is down, 0 of 5 groups at full strength"), "{}", told(&late));
    let lacking = json(&cluster, &[1], &["groups", "--unhealthy"]);
    assert_eq!(lacking.to_string().matches("on 3/0 is not heard").count(), 5, "{lacking}");

    let asked = shown(&cluster, &[1], &["replace", "3"]);
    let token = asked.lines().find_map(|line| line.strip_prefix("token   ")).unwrap().to_owned();
    assert!(asked.contains(&format!("--join {token}")), "{asked}");
    wait_until("the map awaits it", WITHIN, || shown(&cluster, &[2], &["nodes"]).contains("awaited"));
    let node = Server::start_again_with(dir.path(), 3, &["--join", &token]);
    let done = shown(&cluster, &[1], &["status", "--wait", "--wait-max", "60"]);
    assert!(done.contains("All is well, after"), "{done}");
    assert!(node.told().contains("this node was let in"));
    check(&cluster, &known, "with the node back");
    // It counts: without another one there is still a majority, and the groups say whom they lack.
    cluster.kill(2);
    wait_until("what is lacking is seen", WITHIN, || {
        let status = json(&cluster, &[2, 1], &["status"]);
        status["groups_lacking"] == 5 && status["groups_full"] == 0
    });
    check(&cluster, &known, "with another node down");
}

#[test]
fn no_node_at_all_is_exit_code_4() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 1, ..Options::default() });
    assert_eq!(shown(&cluster, &[1], &["get", "node_id"]).lines().last(), Some("node_id  all    1"));
    cluster.kill(1);
    for command in [&["status"][..], &["nodes"], &["groups"], &["replace", "1"], &["get"], &["set", "log_level=info"]]
    {
        let output = run(&cluster, &[1], command);
        assert_eq!(code(&output), 4, "{}", told(&output));
        assert!(told(&output).contains("nobody listens there"), "{}", told(&output));
    }
}
