//! Nodes that stand still for longer than their leases last: each in turn under load, and leaders that wake up with
//! reads and writes waiting.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::{Duration, Instant};

use coracle_tests::client::ok;
use coracle_tests::load::{check, under_load};
use coracle_tests::{Cluster, Options, Reply, alone, process, replicas, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);
const GROUPS_COUNT: usize = 9;
const KEYS_COUNT: usize = 64;
/// Longer than any lease, any election and the time for which voters stick to a leader.
const FROZEN_FOR: Duration = Duration::from_millis(2_500);
/// By when writes must go on without a node that stands still. Nothing promises less than for one that is cut off, but
/// whoever is frozen still acknowledges packets, and the machine may be busy.
const WRITABLE_WITHIN: Duration = Duration::from_secs(5);

fn options() -> Options {
    Options { set: vec!["segment_bytes=33554432".to_owned()], ..Options::default() }
}

/// A process that goes on when this is dropped, whatever becomes of the test.
struct Frozen(u32);

impl Frozen {
    fn freeze(pid: u32) -> Frozen {
        process::freeze(pid);
        Frozen(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if process::exists(self.0) {
            process::signal(self.0, Signal::CONT);
        }
    }
}

#[test]
fn each_node_in_turn_stands_still_under_load() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(options());
    let known = under_load(&cluster, || {
        for id in 1..=3 {
            std::thread::sleep(Duration::from_millis(500));
            let frozen = Frozen::freeze(cluster.node(id).pid);
            std::thread::sleep(FROZEN_FOR);
            drop(frozen);
        }
        std::thread::sleep(Duration::from_millis(500));
    });
    (1..=3).for_each(|id| cluster.wait_healthy(id, WITHIN));
    check(&cluster, &known, "after each node stood still");
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
}

#[test]
fn a_leader_that_wakes_up_serves_nothing_old_and_applies_nothing_twice() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(options());
    for id in 1..=3_usize {
        let other = id % 3 + 1;
        // Later rounds begin where earlier ones have left the leaders.
        wait_until("the node leads something", WITHIN, || {
            if cluster.core(id, 0).info("groups_led") > 0 {
                return true;
            }
            // Whoever stands still loses what it leads.
            let _frozen = Frozen::freeze(cluster.node(other).pid);
            std::thread::sleep(FROZEN_FOR);
            false
        });
        (1..=3).for_each(|id| cluster.wait_healthy(id, WITHIN));
        let mut client = cluster.gateway(other);
        for key in 0..KEYS_COUNT {
            assert_eq!(client.command(&format!("SET key:{key} old-{id}")), ok());
            assert_eq!(client.command(&format!("SET count:{id}:{key} 0")), ok());
        }
        let led = replicas::keys_led_by(&cluster, id, KEYS_COUNT, WITHIN);
        let mut sleeper = cluster.gateway(id);
        sleeper.set_wait(WITHIN);
        let frozen = Frozen::freeze(cluster.node(id).pid);
        // What it finds when it wakes: reads, and writes that it may only carry out as a leader.
        let requests: String =
            led.iter().map(|key| format!("GET key:{key}\r\nINCR count:{id}:{key}\r\nGET key:{key}\r\n")).collect();
        sleeper.send(requests.as_bytes()).unwrap();
        let begin = Instant::now();
        for key in led.iter().copied().chain(0..KEYS_COUNT) {
            while client.command(&format!("SET key:{key} new-{id}")) != ok() {
                assert!(begin.elapsed() < WITHIN, "key {key} is not writable");
            }
        }
        let took = begin.elapsed();
        println!("node {id} stands still, leader of {} of {KEYS_COUNT} keys: all writable after {took:?}", led.len());
        assert!(took < WRITABLE_WITHIN, "{took:?}");
        std::thread::sleep(FROZEN_FOR.saturating_sub(took));
        drop(frozen);
        for key in &led {
            let mut increments = (0, 0);
            for what in ["first read", "increment", "second read"] {
                let reply = sleeper.reply().unwrap();
                match (what, &reply) {
                    ("increment", Reply::Int(1)) => increments.0 = 1,
                    ("increment", Reply::Error(error)) if error.starts_with("UNKNOWNOUTCOME") => increments.1 = 1,
                    (_, Reply::Error(error)) => println!("node {id}, key {key}, {what}: {error}"),
                    ("first read" | "second read", _) => {
                        assert_eq!(reply.text(), format!("new-{id}"), "node {id}, key {key}, {what}: out of date");
                    }
                    _ => panic!("node {id}, key {key}, {what}: {reply:?}"),
                }
            }
            let count: i64 = client.command(&format!("GET count:{id}:{key}")).text().parse().unwrap();
            assert!((increments.0..=increments.0 + increments.1).contains(&count), "key {key}: {count}");
        }
    }
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
}
