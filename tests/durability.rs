//! Nothing acknowledged is lost and nothing happens twice, whatever is killed meanwhile.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::{Duration, Instant};

use coracle_tests::cluster::READY_WITHIN;
use coracle_tests::load::{check, under_load};
use coracle_tests::{Cluster, Options, Reply, alone, process, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(240);
fn wait_all_restarted(cluster: &Cluster, old: &[u32]) {
    wait_until("all nodes run again", READY_WITHIN, || {
        cluster.nodes().iter().zip(old).all(|(node, old)| node.pid != *old)
    });
    (1..=old.len()).for_each(|id| cluster.wait_healthy(id, READY_WITHIN));
}

#[test]
fn one_node_after_another_is_killed() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { restart: true, data_dir: Some(dir.path().to_owned()), ..Options::default() };
    let cluster = Cluster::start(options.clone());
    let known = under_load(&cluster, || {
        for id in [1, 2, 3, 2] {
            std::thread::sleep(Duration::from_millis(700));
            let pid = cluster.node(id).pid;
            cluster.kill(id);
            cluster.wait_restarted(id, pid);
        }
        std::thread::sleep(Duration::from_millis(700));
    });
    check(&cluster, &known, "after single crashes");
    let port = cluster.port();
    assert!(cluster.stop(Signal::TERM).success());
    let cluster = Cluster::start_at(options, port);
    check(&cluster, &known, "and after a start anew");
}

#[test]
fn all_nodes_are_killed_at_once() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { restart: true, ..Options::default() });
    let known = under_load(&cluster, || {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(1_500));
            let pids: Vec<u32> = cluster.nodes().iter().map(|node| node.pid).collect();
            pids.iter().for_each(|pid| process::signal(*pid, Signal::KILL));
            wait_all_restarted(&cluster, &pids);
        }
        std::thread::sleep(Duration::from_millis(500));
    });
    check(&cluster, &known, "after crashes of all nodes");
}

#[test]
fn a_frozen_node_serves_nothing_old() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let pid = cluster.node(1).pid;
    let mut frozen = cluster.gateway(1);
    frozen.set_wait(Duration::from_secs(20));
    let mut other = cluster.gateway(2);
    for key in 0..50 {
        other.command(&format!("SET f:{key} old"));
    }
    process::freeze(pid);
    // What the frozen node will find when it wakes: reads that arrived while it slept.
    let reads: String = (0..50).map(|key| format!("GET f:{key}\r\n")).collect();
    frozen.send(reads.as_bytes()).unwrap();
    let begin = Instant::now();
    for key in 0..50 {
        while other.command(&format!("SET f:{key} new")) != Reply::Simple("OK".to_owned()) {
            assert!(begin.elapsed() < Duration::from_secs(20), "no write while one node is frozen");
        }
    }
    let socket = frozen.socket().try_clone().unwrap();
    socket.set_nonblocking(true).unwrap();
    assert!(socket.peek(&mut [0]).is_err(), "a frozen node has answered");
    socket.set_nonblocking(false).unwrap();
    process::signal(pid, Signal::CONT);
    for key in 0..50 {
        let reply = frozen.reply().unwrap();
        assert!(reply.text() == "new" || reply.error().is_some(), "key {key}: {reply:?}");
    }
}
