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
const DISK_BYTES: u64 = 192 << 20;
/// Room for a log of some segments and some data.
const DATA_DISK_BYTES: u64 = 512 << 20;
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
    vec!["segment_bytes=33554432".to_owned(), "disk_reserve_bytes=8388608".to_owned()]
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
    let mut core = cluster.core(1, 0);
    assert_eq!((core.info("disk_is_full"), core.info("disk_reserve_in_hand")), (1, 0));
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

/// Values of this length lie in tables.
const ROW_BYTES: usize = 8 << 10;
/// Keys of one slot, set with one command.
const RUN_KEYS_COUNT: usize = 32;
const RUNS_COUNT_MAX: usize = 2_000;
/// Refusals that last so long are not over in a moment.
const FULL_FOR: Duration = Duration::from_secs(4);

fn row_key(run: usize, key: usize) -> Vec<u8> {
    format!("{{run-{run}}}:{key}").into_bytes()
}

/// A value that cannot be compressed, and that no other key has.
fn row_value(run: usize, key: usize) -> Vec<u8> {
    let mut state = (run * RUN_KEYS_COUNT + key) as u64;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB)
    };
    (0..ROW_BYTES / 8).flat_map(|_| next().to_le_bytes()).collect()
}

fn set_run(client: &mut Client, run: usize) -> Reply {
    let rows: Vec<Vec<u8>> = (0..RUN_KEYS_COUNT).flat_map(|key| [row_key(run, key), row_value(run, key)]).collect();
    let args: Vec<&[u8]> = [&b"MSET"[..]].into_iter().chain(rows.iter().map(Vec::as_slice)).collect();
    client.ask(&args).unwrap()
}

fn delete_run(client: &mut Client, run: usize) -> Reply {
    let keys: Vec<Vec<u8>> = (0..RUN_KEYS_COUNT).map(|key| row_key(run, key)).collect();
    let args: Vec<&[u8]> = [&b"DEL"[..]].into_iter().chain(keys.iter().map(Vec::as_slice)).collect();
    client.ask(&args).unwrap()
}

/// Sets runs of keys from this one on, until the disk is full for good. Returns the first that was not set, and what was said.
fn fill_with_runs(client: &mut Client, from: usize) -> (usize, String) {
    let mut run = from;
    let mut refused_at: Option<Instant> = None;
    while run < from + RUNS_COUNT_MAX {
        match set_run(client, run) {
            Reply::Error(error) if error.starts_with("DISKFULL") => {
                let since = *refused_at.get_or_insert_with(Instant::now);
                if since.elapsed() > FULL_FOR {
                    return (run, error);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            reply => {
                assert_eq!(reply, ok());
                refused_at = None;
                run += 1;
            }
        }
    }
    panic!("the disk does not fill up");
}

fn assert_runs(client: &mut Client, runs: impl Iterator<Item = usize>, are_there: bool) {
    for run in runs {
        for key in [0, RUN_KEYS_COUNT - 1] {
            let reply = client.ask(&[b"GET", &row_key(run, key)]).unwrap();
            let expected = if are_there { bulk(row_value(run, key)) } else { Reply::Nil };
            assert!(reply == expected, "run {run}, key {key}, which is to be there: {are_there}");
        }
    }
}

/// Sets a run until that is accepted. Returns how long that took.
fn resume(client: &mut Client, run: usize) -> Duration {
    let begin = Instant::now();
    wait_until("writes resume by themselves", WITHIN, || set_run(client, run) == ok());
    begin.elapsed()
}

/// What is deleted on a full disk makes room on it, without anybody's help.
#[test]
fn deletes_on_a_full_disk_make_room_and_writes_resume() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let _disk = match SmallDisk::mount(&dir.path().join("node-1"), DATA_DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    // Sizes that go together on a disk like this: a segment of the log and the outcome of the largest merge fit the reserve together.
    // What a group holds is merged as a whole, so there are more than a few.
    let sizes = [
        "segment_bytes=33554432",
        "log_bytes_max=100663296",
        "group_log_bytes_max=8388608",
        "log_tail_bytes_max=0",
        "disk_reserve_bytes=67108864",
    ];
    let options = Options {
        nodes: 1,
        groups: 8,
        set: sizes.map(str::to_owned).to_vec(),
        data_dir: Some(dir.path().to_owned()),
        restart: true,
        ..Options::default()
    };
    let cluster = Cluster::start(options.clone());
    let mut client = cluster.gateway(1);
    let mut core = cluster.core(1, 0);
    let (end, error) = fill_with_runs(&mut client, 0);
    println!("full after {end} runs of {RUN_KEYS_COUNT} keys: {error}");
    assert!(error.contains("DEL") && error.contains("reads go on"), "{error}");
    assert_runs(&mut client, 0..end, true);
    assert_eq!((core.info("disk_is_full"), core.info("disk_reserve_in_hand")), (1, 0));
    // Three runs in four, which leaves something of each table.
    let is_deleted = |run: &usize| !run.is_multiple_of(4);
    let begin = Instant::now();
    for run in (0..end).filter(is_deleted) {
        let whole = Reply::Int(RUN_KEYS_COUNT as i64);
        wait_until("the log has room for a deletion", WITHIN, || delete_run(&mut client, run) == whole);
    }
    println!("deleted in {:?}; writes resumed {:?} later", begin.elapsed(), resume(&mut client, end));
    assert_eq!((core.info("disk_is_full"), core.info("disk_reserve_in_hand")), (0, 1));
    assert!(core.info("commands_admitted_full") > 0 && core.info("disk_reserves_made") > 0);
    let check = |client: &mut Client| {
        assert_runs(client, (0..end).filter(is_deleted), false);
        assert_runs(client, (0..end).filter(|run| !is_deleted(run)), true);
        assert_runs(client, end..end + 1, true);
    };
    check(&mut client);
    let port = cluster.port();
    assert!(cluster.stop(Signal::TERM).success());
    let cluster = Cluster::start_at(options, port);
    let mut client = cluster.gateway(1);
    check(&mut client);
    // Once more, and all at once; with a crash instead of a stop.
    let (end, error) = fill_with_runs(&mut client, end + 1);
    println!("full again at run {end}: {error}");
    assert_eq!(client.command("FLUSHALL"), ok());
    println!("all is deleted; writes resumed {:?} later", resume(&mut client, end));
    assert_runs(&mut client, 0..end, false);
    let pid = cluster.node(1).pid;
    process::signal(pid, Signal::KILL);
    cluster.wait_restarted(1, pid);
    let mut client = cluster.gateway(1);
    assert_runs(&mut client, 0..end, false);
    assert_runs(&mut client, end..end + 1, true);
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
    while full.info("disk_is_full") == 0 || full.info("groups_led") > 0 {
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
