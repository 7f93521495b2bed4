//! Messages that pass one way and not the other: a stable leader emerges for each group, and nobody disturbs it.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::{Duration, Instant};

use coracle_tests::client::ok;
use coracle_tests::firewall::{Cut, Firewall};
use coracle_tests::{Cluster, Node, Options, alone, replicas, skipped};

const LIMIT: Duration = Duration::from_secs(120);
const KEYS_COUNT: usize = 64;
const GROUPS_COUNT: usize = 9;
/// How long each cut lasts: several times the longest election timeout.
const CUT_FOR: Duration = Duration::from_secs(3);
/// How long the cluster may take to settle after a cut.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Sets all keys once; `true` if all were set.
fn set_all(cluster: &Cluster, id: usize, value: &str) -> bool {
    let mut client = cluster.gateway(id);
    (0..KEYS_COUNT).all(|key| client.command(&format!("SET key:{key} {value}")) == ok())
}

/// Cuts while node 3, which nothing concerns or only half, takes writes; then heals, and all must agree again.
/// Leaderships may change hands where a leader is not heard or does not hear, once; the bound allows for elections that
/// must be repeated.
fn cut_for_a_while(cluster: &Cluster, firewall: &Firewall, name: &str, cuts: &[Cut<'_>]) {
    let all = [1, 2, 3];
    let before = replicas::leaderships(cluster, &all);
    let begin = Instant::now();
    firewall.set(cuts);
    let (mut rounds_count, mut failed_count) = (0, 0);
    let mut last_failed = begin;
    while begin.elapsed() < CUT_FOR {
        rounds_count += 1;
        if !set_all(cluster, 3, &format!("{name}-{rounds_count}")) {
            failed_count += 1;
            last_failed = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let changes = replicas::leaderships(cluster, &all) - before;
    let settled = last_failed - begin;
    println!(
        "{name}: {changes} leaderships of {GROUPS_COUNT} groups changed hands; {failed_count} of {rounds_count} rounds \
         failed, the last after {settled:?}"
    );
    assert!(changes <= 2 * GROUPS_COUNT as u64, "{name}: an election storm, {changes} new leaders");
    firewall.heal();
    coracle_tests::wait_until("all is well again", SETTLED_WITHIN, || {
        all.iter().all(|id| set_all(cluster, *id, name))
    });
    replicas::wait_equal(cluster, &all, GROUPS_COUNT, SETTLED_WITHIN);
}

#[test]
fn a_stable_leader_emerges() {
    let _alone = alone(LIMIT);
    let firewall = match Firewall::open() {
        Ok(firewall) => firewall,
        Err(why) => return skipped(&why),
    };
    let cluster = Cluster::start(Options { set: vec!["segment_bytes=33554432".to_owned()], ..Options::default() });
    let nodes = cluster.nodes();
    let [one, two, three]: &[Node; 3] = nodes.as_slice().try_into().unwrap();
    let cut = |name: &str, cuts: &[Cut<'_>]| cut_for_a_while(&cluster, &firewall, name, cuts);
    cut("1-cannot-reach-2", &[Cut::OneWay(one, two)]);
    cut("2-cannot-reach-1", &[Cut::OneWay(two, one)]);
    cut("1-is-not-heard", &[Cut::OneWay(one, two), Cut::OneWay(one, three)]);
    // Node 2, since node 1 leads nothing any more.
    let led = cluster.core(2, 0).info("groups_led");
    assert!(led > 0, "node 2 leads nothing");
    cut("2-hears-nothing", &[Cut::OneWay(one, two), Cut::OneWay(three, two)]);
    cut("no-packet-from-1-to-3", &[Cut::Packets(one, three)]);
}
