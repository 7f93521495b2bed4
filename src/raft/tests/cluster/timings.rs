//! Timing that follows what is measured.

use std::time::Duration;

use crate::sim::{MS, Sim};
use crate::solo::ONE;

fn group(tweak: impl Fn(&mut raft::Config)) -> Sim {
    Sim::with(3, 1, |config| {
        config.first_campaigner = config.id == ONE;
        config.campaign_spread_min = Duration::from_millis(10);
        config.heartbeat_interval_min = Duration::from_millis(2);
        tweak(config);
    })
}

/// Lets the group work for `ms`.
fn work(sim: &mut Sim, ms: u64) {
    for at in 0..ms {
        if at % 5 == 0 {
            let leader = sim.leader().unwrap();
            sim.propose(leader, b"x").unwrap();
        }
        sim.turn();
    }
}

#[test]
fn followers_of_a_fast_group_miss_their_leader_sooner() {
    let mut sim = group(|config| config.election_timeout_max = Duration::from_millis(500));
    (sim.weather.latency_min, sim.weather.latency_max) = (0, 0);
    (sim.weather.disk_min, sim.weather.disk_max) = (MS, MS);
    let leader = sim.elect();
    work(&mut sim, 500);
    for idx in (0..3).filter(|idx| *idx != leader) {
        let latest = sim.raft(idx).campaign_timeout_max();
        assert!(latest < Duration::from_millis(120), "{latest:?} instead of 500 ms");
        assert!(sim.raft(idx).counters().campaign_spread_changes > 0);
    }
    sim.crash(leader);
    sim.run(130);
    assert!(sim.leader().is_some());
}

#[test]
fn a_slow_disk_keeps_candidates_further_apart() {
    let mut sim = group(|config| config.election_timeout_max = Duration::from_millis(500));
    let leader = sim.elect();
    work(&mut sim, 500);
    let other = (leader + 1) % 3;
    let fast = sim.raft(other).campaign_timeout_max();
    (sim.weather.disk_min, sim.weather.disk_max) = (15 * MS, 15 * MS);
    work(&mut sim, 1_000);
    let slow = sim.raft(other).campaign_timeout_max();
    assert!(slow > fast + Duration::from_millis(100), "{fast:?}, then {slow:?}");
    assert!(slow <= Duration::from_millis(500));
}

#[test]
fn long_round_trips_make_heartbeats_more_frequent_so_that_leases_last() {
    let mut sim = group(|config| {
        config.election_timeout_min = Duration::from_millis(100);
        config.election_timeout_max = Duration::from_millis(200);
    });
    let leader = sim.elect();
    work(&mut sim, 200);
    assert_eq!(sim.raft(leader).heartbeat_interval(), Duration::from_millis(10));
    (sim.weather.latency_min, sim.weather.latency_max) = (33 * MS, 33 * MS);
    work(&mut sim, 500);
    assert_eq!(sim.raft(leader).heartbeat_interval(), Duration::from_millis(5));
    assert!(sim.raft(leader).counters().heartbeat_interval_changes > 0);
    for _ in 0..200 {
        assert!(sim.lease_read(leader).is_ok());
        sim.turn();
    }
    (sim.weather.latency_min, sim.weather.latency_max) = (MS, MS);
    work(&mut sim, 500);
    assert_eq!(sim.raft(leader).heartbeat_interval(), Duration::from_millis(10));
}

#[test]
fn what_leases_rest_on_never_changes() {
    let mut sim = group(|config| config.campaign_spread_min = Duration::ZERO);
    (sim.weather.latency_min, sim.weather.latency_max) = (0, 0);
    (sim.weather.disk_min, sim.weather.disk_max) = (0, 0);
    sim.elect();
    work(&mut sim, 500);
    let leader = sim.leader().unwrap();
    for idx in (0..3).filter(|idx| *idx != leader) {
        let (clock, deadline) = (sim.clock(idx), sim.raft(idx).next_wake().unwrap());
        assert!(deadline.since(clock) >= Duration::from_millis(40), "the last heartbeat is at most 10 ms old");
    }
    assert_eq!(sim.raft(leader).config().lease_duration(), Duration::from_micros(49_500));
}
