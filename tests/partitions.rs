//! Nodes that cannot reach each other: a majority goes on, nobody answers with what is out of date, and afterwards
//! all agree again.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coracle_tests::client::ok;
use coracle_tests::firewall::{Cut, Firewall};
use coracle_tests::{Client, Cluster, Node, Options, Reply, alone, replicas, skipped};

const LIMIT: Duration = Duration::from_secs(120);
const KEYS_COUNT: usize = 64;
/// The groups of the keys and the one of the cluster map.
const GROUPS_COUNT: usize = 9;
/// By when the majority must take writes to all groups: 2 s are promised at the default settings, on a machine that is not
/// kept from running the nodes, as that of a test may be. What it took is printed.
const WRITABLE_WITHIN: Duration = Duration::from_secs(4);
/// By when everything must be as before once the network is whole.
const HEALED_WITHIN: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options { set: vec!["segment_bytes=33554432".to_owned()], ..Options::default() }
}

/// Sets all keys until that works; returns how long it took, and how many attempts failed.
fn set_all(client: &mut Client, value: &str, begin: Instant) -> (Duration, usize) {
    let mut errors = 0;
    for key in 0..KEYS_COUNT {
        loop {
            let reply = client.command(&format!("SET key:{key} {value}"));
            if reply == ok() {
                break;
            }
            errors += 1;
            let waited = begin.elapsed();
            assert!(waited < Duration::from_secs(45), "key {key} is not writable after {waited:?}: {}", reply.text());
        }
    }
    (begin.elapsed(), errors)
}

/// Tells readers to stop, whatever becomes of the test.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads a key through one node again and again; returns each reply with the time it was asked for and, `true`, if
/// it was the old value.
fn read_until(node: &Node, key: usize, stop: &AtomicBool) -> Vec<(Instant, Reply)> {
    let mut seen = Vec::new();
    let mut client = Client::connect(&node.host, node.gateway).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        seen.push((asked, client.command(&format!("GET key:{key}"))));
        // Often enough to meet every moment of the change, and little beside the writes that are looked at.
        std::thread::sleep(Duration::from_millis(20));
    }
    seen
}

#[test]
fn a_majority_goes_on_and_the_leader_that_is_cut_off_serves_nothing_old() {
    let _alone = alone(LIMIT);
    let firewall = match Firewall::open() {
        Ok(firewall) => firewall,
        Err(why) => return skipped(&why),
    };
    let cluster = Cluster::start(options());
    let nodes = cluster.nodes();
    let victim = 1;
    let [cut_off, second, third] = &nodes[..] else { panic!("three nodes") };
    let mut client = cluster.gateway(2);
    set_all(&mut client, "old", Instant::now());
    let led = replicas::keys_led_by(&cluster, victim, KEYS_COUNT, Duration::from_secs(10));
    let stop = AtomicBool::new(false);
    // When each key was acknowledged with its new value.
    let changed: Mutex<Vec<Option<Instant>>> = Mutex::new(vec![None; KEYS_COUNT]);
    let reads = std::thread::scope(|scope| {
        let readers: Vec<_> =
            led.iter().map(|key| (*key, scope.spawn(|| read_until(cut_off, *key, &stop)))).collect();
        let stop_at_end = StopAtEnd(&stop);
        std::thread::sleep(Duration::from_millis(200));
        let begin = Instant::now();
        firewall.set(&[Cut::Both(cut_off, second), Cut::Both(cut_off, third)]);
        let mut errors = 0;
        // Those of the leader that is gone first: the others never stopped.
        let order = led.iter().copied().chain((0..KEYS_COUNT).filter(|key| !led.contains(key)));
        for key in order {
            while client.command(&format!("SET key:{key} new")) != ok() {
                errors += 1;
                assert!(begin.elapsed() < Duration::from_secs(45), "key {key} is not writable");
            }
            changed.lock().unwrap()[key] = Some(Instant::now());
        }
        let took = begin.elapsed();
        println!(
            "cut off: a leader of {} of {KEYS_COUNT} keys; all writable after {took:?}, {errors} errors",
            led.len()
        );
        assert!(took < WRITABLE_WITHIN, "{took:?}");
        // Reads that wait for a leader there end meanwhile.
        std::thread::sleep(Duration::from_secs(2));
        let healed = Instant::now();
        firewall.heal();
        let mut through = cluster.gateway(victim);
        let (took, errors) = set_all(&mut through, "newer", healed);
        println!("healed: all writable through the node that was cut off after {took:?}, {errors} errors");
        drop(stop_at_end);
        readers.into_iter().map(|(key, reader)| (key, reader.join().unwrap())).collect::<Vec<_>>()
    });
    let changed = changed.into_inner().unwrap();
    let (mut old_count, mut refused_count) = (0, 0);
    for (key, seen) in reads {
        let changed_at = changed[key].unwrap();
        for (asked, reply) in seen {
            let is_old = reply.text() == "old";
            assert!(!is_old || asked < changed_at, "key {key}: read {:?} after it was changed", asked - changed_at);
            assert!(reply.error().is_some() || ["old", "new", "newer"].contains(&&*reply.text()), "{reply:?}");
            old_count += usize::from(is_old);
            refused_count += usize::from(reply.error().is_some());
        }
    }
    println!("reads at the leader that was cut off: {old_count} before the change, {refused_count} refused");
    assert!(old_count > 0, "nothing was read before");
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, HEALED_WITHIN);
    assert!((0..KEYS_COUNT).all(|key| client.command(&format!("GET key:{key}")).text() == "newer"));
}

#[test]
fn two_nodes_that_only_a_third_can_reach() {
    let _alone = alone(LIMIT);
    let firewall = match Firewall::open() {
        Ok(firewall) => firewall,
        Err(why) => return skipped(&why),
    };
    let cluster = Cluster::start(options());
    let nodes = cluster.nodes();
    let mut client = cluster.gateway(3);
    set_all(&mut client, "old", Instant::now());
    let before = replicas::leaderships(&cluster, &[1, 2, 3]);
    firewall.set(&[Cut::Both(&nodes[0], &nodes[1])]);
    let begin = Instant::now();
    let (mut rounds, mut errors, mut slowest) = (0, 0, Duration::ZERO);
    while begin.elapsed() < Duration::from_secs(4) {
        let (took, failed) = set_all(&mut client, &format!("value-{rounds}"), Instant::now());
        (rounds, errors, slowest) = (rounds + 1, errors + failed, slowest.max(took));
    }
    let changes = replicas::leaderships(&cluster, &[1, 2, 3]) - before;
    println!(
        "two of three cut: {rounds} rounds at the third, slowest {slowest:?}, {errors} errors, {changes} new leaders"
    );
    assert!(changes <= GROUPS_COUNT as u64, "{changes} leaderships changed hands");
    firewall.heal();
    let (took, errors) = set_all(&mut cluster.gateway(1), "healed", Instant::now());
    println!("healed: all writable through one of the two after {took:?}, {errors} errors");
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, HEALED_WITHIN);
}
