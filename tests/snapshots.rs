//! The log shrinks behind what is flushed, and who was away for longer than it reaches back takes a snapshot over.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coracle_tests::client::ok;
use coracle_tests::{Client, Cluster, Options, Server, alone, process, replicas, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(60);
const SEGMENT_BYTES: u64 = 32 << 20;
const VALUE_BYTES: usize = 1_000;
/// Writes under way at a time.
const DEPTH: usize = 500;
/// The groups of the keys and the one of the cluster map.
const GROUPS_COUNT: usize = 3;

/// A cluster whose log is short.
fn options(dir: &Path) -> Options {
    let set = ["segment_bytes=33554432", "group_log_bytes_max=4194304", "log_bytes_max=67108864"];
    let set = set.iter().chain(&["log_tail_bytes_max=1048576"]).map(|setting| (*setting).to_owned());
    Options { groups: 2, set: set.collect(), data_dir: Some(dir.to_owned()), ..Options::default() }
}

/// The value of a key in a round.
fn value(key: usize, round: usize) -> String {
    let head = format!("{key}:{round}:");
    format!("{head}{}", "x".repeat(VALUE_BYTES - head.len()))
}

/// Sets every key. What is refused or left open because a leader is lost on a busy machine is set again.
fn write_with_retries(client: &mut Client, keys_count: usize, round: usize) {
    let mut keys: Vec<usize> = (0..keys_count).collect();
    let begin = Instant::now();
    client.set_wait(WITHIN);
    while !keys.is_empty() {
        assert!(begin.elapsed() < WITHIN, "round {round}: {} keys could not be set", keys.len());
        let mut open = Vec::new();
        for keys in keys.chunks(DEPTH) {
            let requests: String =
                keys.iter().map(|key| format!("SET key:{key} {}\r\n", value(*key, round))).collect();
            client.send(requests.as_bytes()).unwrap();
            open.extend(keys.iter().filter(|_| client.reply().unwrap() != ok()));
        }
        keys = open;
    }
}

/// Every key has the value of this round.
fn verify(client: &mut Client, keys_count: usize, round: usize) {
    let keys: Vec<usize> = (0..keys_count).collect();
    for keys in keys.chunks(DEPTH) {
        let requests: String = keys.iter().map(|key| format!("GET key:{key}\r\n")).collect();
        client.send(requests.as_bytes()).unwrap();
        for key in keys {
            let found = client.reply().unwrap().text();
            assert!(found == value(*key, round), "key {key}: {:.40} instead of round {round}", found);
        }
    }
}

/// Bytes of the log files of a node.
fn log_bytes(dir: &Path, node: usize) -> u64 {
    let log = std::fs::read_dir(dir.join(format!("node-{node}/wal/core-00"))).unwrap();
    // A file may be renamed or removed between its listing and this.
    log.filter_map(|file| Some(file.unwrap().metadata().ok()?.len())).sum()
}

/// The files of tables and blobs of a node.
fn data_files(dir: &Path, node: usize) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join(format!("node-{node}/store/core-00"))).unwrap();
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "data")).collect()
}

/// Their bytes.
fn table_bytes(dir: &Path, node: usize) -> u64 {
    // A file may be removed between its listing and this.
    data_files(dir, node).iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum()
}

/// A counter of a node; 0 if it does not answer.
fn counter(cluster: &Cluster, node: usize, name: &str) -> u64 {
    let node = cluster.node(node);
    let info = Client::connect(&node.host, node.cores[0]).and_then(|mut client| client.ask(&[b"INFO"]));
    let Ok(info) = info else { return 0 };
    let text = info.text();
    let shown = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    shown.map_or(0, |number| number.trim().parse().unwrap())
}

#[test]
fn the_log_stays_short_and_a_restart_is_complete() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { restart: true, ..options(dir.path()) };
    let cluster = Cluster::start(options);
    let keys_count = 2_000;
    let rounds_count = 100;
    let mut most = 0;
    for round in 0..rounds_count {
        write_with_retries(&mut cluster.gateway(1), keys_count, round);
        most = (1..=3).map(|node| log_bytes(dir.path(), node)).max().unwrap().max(most);
    }
    let written = (keys_count * rounds_count * VALUE_BYTES) as u64;
    let sum = |name| (1..=3).map(|node| counter(&cluster, node, name)).sum::<u64>();
    let (flushes, merges) = (sum("flushes"), sum("merges"));
    println!("{} MiB written, {} MiB of log at most, {flushes} flushes, {merges} merges", written >> 20, most >> 20);
    assert!(flushes >= 20 && merges >= 3);
    wait_until("what was merged is deleted", WITHIN, || (1..=3).all(|node| table_bytes(dir.path(), node) < 64 << 20));
    // Two segments in use, one being filled, two prepared, two kept to be used again.
    assert!(most <= 7 * SEGMENT_BYTES, "the log grew to {most} bytes");
    let pids: Vec<u32> = cluster.nodes().iter().map(|node| node.pid).collect();
    pids.iter().for_each(|pid| process::signal(*pid, Signal::KILL));
    let begin = Instant::now();
    wait_until("all nodes run again", WITHIN, || {
        cluster.nodes().iter().zip(&pids).all(|(node, old)| node.pid != *old)
    });
    (1..=3).for_each(|node| cluster.wait_healthy(node, WITHIN));
    println!("back after {:?}", begin.elapsed());
    (1..=3).for_each(|node| verify(&mut cluster.gateway(node), keys_count, rounds_count - 1));
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
}

/// Has node 3 miss so much that the log of the others does not reach back any more. Returns the last round.
fn leave_behind(cluster: &Cluster, keys_count: usize) -> usize {
    write_with_retries(&mut cluster.gateway(1), keys_count, 0);
    cluster.kill(3);
    let mut client = cluster.gateway(1);
    let before = counter(cluster, 1, "flushes");
    let mut round = 0;
    while round < 3 || counter(cluster, 1, "flushes") < before + 6 {
        round += 1;
        write_with_retries(&mut client, keys_count, round);
    }
    round
}

#[test]
fn a_node_that_was_away_takes_a_snapshot_over() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options(dir.path()));
    let keys_count = 5_000;
    let round = leave_behind(&cluster, keys_count);
    let _third = Server::start_again(dir.path(), 3);
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
    assert!(counter(&cluster, 3, "snapshots_received") >= 1);
    let sent: u64 = [1, 2].iter().map(|node| counter(&cluster, *node, "snapshots_sent")).sum();
    assert!(sent >= 1);
    // What it holds now shows when the others are gone by turns.
    cluster.kill(1);
    cluster.wait_healthy(3, WITHIN);
    verify(&mut cluster.gateway(3), keys_count, round);
    let _first = Server::start_again(dir.path(), 1);
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
    cluster.kill(2);
    cluster.wait_healthy(3, WITHIN);
    verify(&mut cluster.gateway(3), keys_count, round);
    write_with_retries(&mut cluster.gateway(3), keys_count, round + 1);
    verify(&mut cluster.gateway(1), keys_count, round + 1);
}

#[test]
fn either_side_may_die_while_a_snapshot_is_handed_over() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options(dir.path()));
    let keys_count = 60_000;
    let round = leave_behind(&cluster, keys_count);
    for _ in 0..2 {
        let _third = Server::start_again(dir.path(), 3);
        wait_until("something is taken over", WITHIN, || counter(&cluster, 3, "snapshot_bytes_received") > 1 << 20);
    }
    let mut third = Server::start_again(dir.path(), 3);
    let begun = || counter(&cluster, 3, "snapshot_bytes_received") > 1 << 20;
    wait_until("something is taken over again", WITHIN, begun);
    let sender =
        if counter(&cluster, 1, "snapshot_bytes_sent") > counter(&cluster, 2, "snapshot_bytes_sent") { 1 } else { 2 };
    cluster.kill(sender);
    cluster.wait_healthy(3, WITHIN);
    let _sender = Server::start_again(dir.path(), sender);
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
    assert!(!third.has_ended(), "the third node has ended");
    assert!(counter(&cluster, 3, "snapshots_received") >= 1);
    (1..=3).for_each(|node| verify(&mut cluster.gateway(node), keys_count, round));
    wait_until("what was received in part is deleted", WITHIN, || table_bytes(dir.path(), 3) < 300 << 20);
}

#[test]
fn tables_that_are_damaged_are_taken_over_anew() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options(dir.path()));
    let keys_count = 2_000;
    for round in 0..30 {
        write_with_retries(&mut cluster.gateway(1), keys_count, round);
    }
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
    cluster.kill(2);
    for path in data_files(dir.path(), 2) {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let _second = Server::start_again(dir.path(), 2);
    // The others' logs do not stand still meanwhile.
    for round in 30..40 {
        write_with_retries(&mut cluster.gateway(1), keys_count, round);
    }
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
    let log = std::fs::read_to_string(dir.path().join("node-2.log")).unwrap();
    assert!(log.contains("taken over from another replica") && log.contains("a snapshot was installed"), "{log}");
    assert!(counter(&cluster, 2, "states_lost") >= 1);
    cluster.kill(1);
    cluster.wait_healthy(2, WITHIN);
    verify(&mut cluster.gateway(2), keys_count, 39);
}
