//! Disks that are full, slow or failing, for real: file systems on loop devices.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::{Duration, Instant};

use coracle_tests::client::{bulk, ok};
use coracle_tests::load::{check, under_load};
use coracle_tests::mounts::SmallDisk;
use coracle_tests::throttle::Throttle;
use coracle_tests::{Client, Cluster, Options, Reply, alone, process, replicas, skipped, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);
/// Room for three segments, the least a node has, and some more.
const DISK_BYTES: u64 = 160 << 20;
/// Room for whatever a node may write in a test.
const ROOMY_DISK_BYTES: u64 = 2 << 30;
/// Too little for another segment.
const LEFT_BYTES: u64 = 8 << 20;
const VALUE_BYTES: usize = 64 << 10;
const KEYS_COUNT: usize = 64;
/// Twice `election_timeout_max_ms`, and some more.
const STABLE_AFTER: Duration = Duration::from_millis(2_500);
/// A disk that takes 50 ms for a write.
const SLOW_WRITES_PER_SECOND: u32 = 20;

fn set() -> Vec<String> {
    vec!["segment_bytes=33554432".to_owned()]
}

/// A value of a length that fills disks, told from others by its beginning.
fn value(number: usize) -> Vec<u8> {
    let mut value = format!("value-{number}-").into_bytes();
    value.resize(VALUE_BYTES, b'x');
    value
}

fn set_value(client: &mut Client, number: usize) -> Reply {
    client.ask(&[b"SET", format!("key:{}", number % KEYS_COUNT).as_bytes(), &value(number)]).unwrap()
}

/// Sets every key to a short value; returns the first error.
fn set_all(client: &mut Client, value: &str) -> Result<(), String> {
    for key in 0..KEYS_COUNT {
        let reply = client.command(&format!("SET key:{key} {value}"));
        if reply != ok() {
            return Err(format!("key {key}: {}", reply.text()));
        }
    }
    Ok(())
}

/// Waits until a node has prepared the segments it wants to have ahead: what it does not have yet cannot be filled up.
fn wait_prepared(disk: &SmallDisk) {
    wait_until("the segments are prepared", WITHIN, || {
        let names = std::fs::read_dir(disk.path().join("wal/core-00")).unwrap();
        names.filter(|name| name.as_ref().unwrap().path().extension().is_some_and(|end| end == "seg")).count() == 3
    });
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(&dir.path().join("node-1"), DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let options =
        Options { nodes: 1, groups: 2, set: set(), data_dir: Some(dir.path().to_owned()), ..Options::default() };
    let cluster = Cluster::start(options.clone());
    let mut client = cluster.gateway(1);
    wait_prepared(&disk);
    disk.fill(LEFT_BYTES);
    let mut last = [0; KEYS_COUNT];
    let mut number = 0;
    let refusal = loop {
        match set_value(&mut client, number) {
            Reply::Error(error) => break error,
            reply => assert_eq!(reply, ok()),
        }
        last[number % KEYS_COUNT] = number;
        number += 1;
        assert!(number < 4_000, "the disk does not fill up");
    };
    println!("full after {number} values of {VALUE_BYTES} bytes: {refusal}");
    assert!(refusal.starts_with("DISKFULL") && refusal.contains("No space left"), "{refusal}");
    let is_all_there = |client: &mut Client| {
        (0..KEYS_COUNT).all(|key| client.command(&format!("GET key:{key}")) == bulk(value(last[key])))
    };
    assert!(is_all_there(&mut client), "reads go on");
    assert!(set_value(&mut client, 0).error().is_some_and(|error| error.starts_with("DISKFULL")));
    assert_eq!(cluster.core(1, 0).info("log_has_room"), 0);
    disk.make_room();
    let begin = Instant::now();
    wait_until("writes resume by themselves", WITHIN, || client.command("SET resumed yes") == ok());
    println!("there is room again: writes resumed after {:?}", begin.elapsed());
    for number in number..number + 300 {
        assert_eq!(set_value(&mut client, number), ok());
        last[number % KEYS_COUNT] = number;
    }
    let port = cluster.port();
    assert!(cluster.stop(Signal::TERM).success());
    let cluster = Cluster::start_at(options, port);
    let mut client = cluster.gateway(1);
    assert_eq!(client.command("GET resumed"), bulk("yes"));
    let is_all_there = |client: &mut Client| {
        (0..KEYS_COUNT).all(|key| client.command(&format!("GET key:{key}")) == bulk(value(last[key])))
    };
    assert!(is_all_there(&mut client), "the log has no hole");
}

#[test]
fn one_full_disk_of_three_costs_no_writes() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(&dir.path().join("node-1"), DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let cluster = Cluster::start(Options { set: set(), data_dir: Some(dir.path().to_owned()), ..Options::default() });
    let mut client = cluster.gateway(2);
    set_all(&mut client, "first").unwrap();
    let mut full = cluster.core(1, 0);
    assert!(full.info("groups_led") > 0, "node 1 leads nothing");
    wait_prepared(&disk);
    // Leaders hand over once they are stable. What is written before that must fit the disk as well.
    std::thread::sleep(STABLE_AFTER);
    disk.fill(LEFT_BYTES);
    let (mut number, mut errors, mut last_error) = (0, 0, String::new());
    while full.info("log_has_room") == 1 || full.info("groups_led") > 0 {
        if let Some(error) = set_value(&mut client, number).error() {
            (errors, last_error) = (errors + 1, error.to_owned());
        }
        number += 1;
        assert!(number < 6_000, "the disk does not fill up, or node 1 leads on");
    }
    println!("node 1 is full and leads nothing: {number} values set, {errors} errors, the last: {last_error}");
    for id in 1..=3 {
        set_all(&mut cluster.gateway(id), &format!("through-{id}")).unwrap();
    }
    // It still votes: with node 3 frozen, the groups that node 3 led need node 1 for another leader.
    assert!(cluster.core(3, 0).info("groups_led") > 0, "node 3 leads nothing");
    let third = cluster.node(3).pid;
    process::freeze(third);
    let mut second = cluster.core(2, 0);
    let begin = Instant::now();
    wait_until("all groups are led with the vote of node 1", WITHIN, || {
        full.info("groups_led") + second.info("groups_led") == 9
    });
    println!("node 3 frozen: all groups have leaders after {:?}", begin.elapsed());
    disk.make_room();
    let begin = Instant::now();
    wait_until("writes go on with the log of node 1", WITHIN, || set_all(&mut client, "with-node-1").is_ok());
    println!("there is room again: all writable after {:?}", begin.elapsed());
    process::signal(third, Signal::CONT);
    replicas::wait_equal(&cluster, &[1, 2, 3], 9, WITHIN);
    assert!((0..KEYS_COUNT).all(|key| client.command(&format!("GET key:{key}")) == bulk("with-node-1")));
}

/// Sets keys, one after the other, until something is so; returns the times that took and the errors.
fn set_until(client: &mut Client, what: &str, mut is_so: impl FnMut() -> bool) -> (Vec<Duration>, Vec<String>) {
    let (begin, mut took, mut errors) = (Instant::now(), Vec::new(), Vec::new());
    while !is_so() {
        assert!(begin.elapsed() < WITHIN, "not {what} within {WITHIN:?}");
        for key in 0..KEYS_COUNT {
            let asked_at = Instant::now();
            let reply = client.command(&format!("SET key:{key} value-{}", took.len()));
            took.push(asked_at.elapsed());
            errors.extend(reply.error().map(str::to_owned));
        }
    }
    took.sort();
    (took, errors)
}

#[test]
fn a_node_whose_disk_gets_slow_leads_no_more() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(&dir.path().join("node-1"), ROOMY_DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let cluster = Cluster::start(Options { set: set(), data_dir: Some(dir.path().to_owned()), ..Options::default() });
    let throttle = match Throttle::new(disk.device(), cluster.node(1).pid) {
        Ok(throttle) => throttle,
        Err(why) => return skipped(&why),
    };
    let (mut client, mut slow) = (cluster.gateway(2), cluster.core(1, 0));
    assert!(slow.info("groups_led") > 0, "node 1 leads nothing");
    let begin = Instant::now();
    let (before, _) = set_until(&mut client, "a second", || begin.elapsed() > Duration::from_secs(1));
    throttle.limit(Some(SLOW_WRITES_PER_SECOND)).unwrap();
    let begin = Instant::now();
    let (moving, errors) = set_until(&mut client, "leaderless", || slow.info("groups_led") == 0);
    println!("node 1 leads nothing {:?} after its disk got slow; errors: {errors:?}", begin.elapsed());
    let begin = Instant::now();
    let (after, _) = set_until(&mut client, "three seconds", || begin.elapsed() > Duration::from_secs(3));
    let middle = |took: &[Duration]| took[took.len() / 2];
    println!(
        "SET p50: {:?} before, {:?} while leaders moved (worst {:?}), {:?} after",
        middle(&before),
        middle(&moving),
        moving.last().unwrap(),
        middle(&after)
    );
    assert_eq!(slow.info("groups_led"), 0);
    assert_eq!(slow.info("log_is_slow"), 1);
    assert!(middle(&after) < Duration::from_secs(1) / SLOW_WRITES_PER_SECOND, "clients still wait for that disk");
    assert_eq!(errors, Vec::<String>::new(), "leaders moved in order");
    throttle.limit(None).unwrap();
    let begin = Instant::now();
    let (_, errors) = set_until(&mut client, "as quick as the others", || slow.info("log_is_slow") == 0);
    println!("the disk counts as well again after {:?}", begin.elapsed());
    assert_eq!(errors, Vec::<String>::new(), "leaders came back in order");
    replicas::wait_equal(&cluster, &[1, 2, 3], 9, WITHIN);
}

#[test]
fn a_node_whose_disk_fails_stops_and_says_why() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let mut disk = match SmallDisk::mount(&dir.path().join("node-2"), DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let options = Options { set: set(), data_dir: Some(dir.path().to_owned()), ..Options::default() };
    let cluster = Cluster::start(options.clone());
    let pid = cluster.node(2).pid;
    let known = under_load(&cluster, || {
        std::thread::sleep(Duration::from_millis(800));
        disk.fail();
        wait_until("the node stops", WITHIN, || cluster.output().contains("node 2 (process"));
        std::thread::sleep(Duration::from_millis(800));
    });
    assert!(!process::exists(pid), "node 2 runs on");
    let log = std::fs::read_to_string(dir.path().join("node-2.log")).unwrap();
    let last = log.lines().last().unwrap_or_default();
    println!("{last}");
    for part in ["error:", "Input/output error", "node-2/wal/core-00/0000000000"] {
        assert!(last.contains(part), "`{part}` is missing in the last line of the log: {last}");
    }
    assert!(!log.contains("panicked"), "{log}");
    cluster.wait_healthy(1, WITHIN);
    check(&cluster, &known, "after a disk has failed");
    let port = cluster.port();
    // One of its nodes has ended by itself: whether that counts as a clean stop is not this test's question.
    cluster.stop(Signal::TERM);
    disk.repair();
    let cluster = Cluster::start_at(options, port);
    check(&cluster, &known, "and after it was repaired");
    replicas::wait_equal(&cluster, &[1, 2, 3], 9, WITHIN);
}
