//! Timing that follows what is measured.

use std::time::Duration;

use raft::{Config, Role};
use wire::Body;

use crate::sim::{Drive, MS, Sim};
use crate::solo::{ONE, Solo, THREE, TWO, recovered};

fn group(tweak: impl Fn(&mut Config)) -> Sim {
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

/// Heartbeats and timeouts as a cluster has them by default.
fn default_times(config: &mut Config) {
    config.heartbeat_interval = Duration::from_millis(50);
    config.election_timeout_min = Duration::from_millis(500);
    config.election_timeout_max = Duration::from_millis(1_000);
    config.first_campaigner = config.id == ONE;
}

/// Runs until a leader has committed in its term. Returns how long that took, in milliseconds.
fn until_led(sim: &mut Sim) -> u64 {
    let start = sim.now;
    let leads = |sim: &mut Sim| {
        let Some(raft) = sim.leader().map(|leader| sim.raft(leader)) else { return false };
        raft.term_at(raft.commit_index()) == Some(raft.term())
    };
    while !leads(sim) {
        sim.turn();
        assert!(sim.now - start < 20_000 * MS, "no leader within twenty seconds: {:?}", sim.roles());
    }
    (sim.now - start) / MS
}

/// How long a group of three with default settings takes to replace a leader that dies, in many worlds.
fn election_times(spread_min: Option<Duration>) -> Vec<u64> {
    let mut times = Vec::new();
    for seed in 0..80 {
        let mut sim = Sim::with(3, seed, |config| {
            default_times(config);
            config.campaign_spread_min = spread_min.unwrap_or(config.campaign_spread_min);
        });
        sim.drive = Drive::Timers;
        (sim.weather.latency_min, sim.weather.disk_max) = (MS / 5, 3 * MS);
        let leader = sim.elect();
        work(&mut sim, 600 + seed % 50);
        assert_eq!(sim.leader(), Some(leader), "seed {seed}");
        sim.crash(leader);
        times.push(until_led(&mut sim));
    }
    times.sort_unstable();
    times
}

#[test]
fn a_fast_group_replaces_a_dead_leader_sooner_with_the_default_settings() {
    let mean = |times: &[u64]| times.iter().sum::<u64>() / times.len() as u64;
    let (fixed, adapted) = (election_times(Some(Duration::from_secs(1))), election_times(None));
    println!("mean {} and {} ms, longest {:?} and {:?}", mean(&fixed), mean(&adapted), fixed.last(), adapted.last());
    assert!(mean(&adapted) + 100 < mean(&fixed), "the spread follows the measurements");
    assert!(mean(&adapted) < 570, "hardly longer than the least timeout");
    assert!(adapted[78] < 900, "a split vote does not cost another timeout: {:?}", &adapted[70..]);
}

#[test]
fn a_campaign_that_splits_the_votes_is_repeated_soon_and_the_next_one_after_a_whole_timeout() {
    let mut solo = Solo::with(recovered(1, &[1]), default_times);
    solo.wait_ms(2_000);
    for (campaign, earliest_ms, latest_ms) in [(1, 500, 1_000), (2, 500, 1_000), (3, 500, 1_000)] {
        solo.tick();
        assert_eq!(solo.raft.role(), Role::PreCandidate, "campaign {campaign}");
        solo.step(TWO, solo.raft.term() + 1, Body::VoteReply { pre: true, granted: true });
        solo.persist();
        assert_eq!(solo.raft.role(), Role::Candidate);
        let wait = solo.raft.next_wake().unwrap().since(solo.now).as_millis() as u64;
        assert!((earliest_ms..=latest_ms).contains(&wait), "campaign {campaign} has {wait} ms");
        solo.wait_ms(wait + 1);
    }
    // What was measured says that an election takes no time here: 100 ms keep candidates apart.
    let mut solo = Solo::with(recovered(1, &[1]), default_times);
    for round in 1..=10 {
        let heartbeat = Body::Heartbeat { commit: 0, round, quiesce: false, round_trip_us: 200 };
        solo.step(TWO, 1, heartbeat);
        solo.append(TWO, 1, (round, 1), &[1], 0);
        solo.persist();
        solo.wait_ms(50);
    }
    solo.wait_ms(700);
    for (campaign, earliest_ms, latest_ms) in [(1, 100, 200), (2, 500, 1_000)] {
        solo.tick();
        assert_eq!(solo.raft.role(), Role::PreCandidate, "campaign {campaign}");
        solo.step(TWO, solo.raft.term() + 1, Body::VoteReply { pre: true, granted: true });
        solo.persist();
        let wait = solo.raft.next_wake().unwrap().since(solo.now).as_millis() as u64;
        assert!((earliest_ms..=latest_ms).contains(&wait), "campaign {campaign} has {wait} ms");
        solo.wait_ms(wait + 1);
    }
    let term = solo.raft.term() + 1;
    solo.step(THREE, term, Body::Heartbeat { commit: 0, round: 1, quiesce: false, round_trip_us: 200 });
    solo.wait_ms(700);
    solo.tick();
    solo.step(TWO, term + 1, Body::VoteReply { pre: true, granted: true });
    solo.persist();
    let wait = solo.raft.next_wake().unwrap().since(solo.now).as_millis();
    assert!((100..=200).contains(&wait), "soon again since a leader was heard: {wait} ms");
}

#[test]
fn a_campaign_that_was_ordered_waits_for_the_leader_it_deposes_before_it_is_repeated() {
    let mut solo = Solo::with(recovered(1, &[1]), default_times);
    for round in 1..=10 {
        solo.step(TWO, 1, Body::Heartbeat { commit: 0, round, quiesce: false, round_trip_us: 200 });
        solo.append(TWO, 1, (round, 1), &[1], 0);
        solo.persist();
    }
    solo.step(TWO, 1, Body::TimeoutNow);
    solo.persist();
    assert_eq!(solo.raft.role(), Role::Candidate);
    let wait = solo.raft.next_wake().unwrap().since(solo.now).as_millis();
    assert!(wait >= 500, "the deposed leader's other follower may stick to it: {wait} ms");
}

#[test]
fn a_group_whose_network_became_slow_elects_all_the_same() {
    let mean = |spread_min: Duration| {
        let took = |seed| {
            let mut sim = Sim::with(3, seed, |config| {
                default_times(config);
                config.campaign_spread_min = spread_min;
            });
            (sim.weather.latency_min, sim.weather.latency_max) = (0, 0);
            let leader = sim.elect();
            work(&mut sim, 500);
            (sim.weather.latency_min, sim.weather.latency_max) = (100 * MS, 150 * MS);
            sim.crash(leader);
            until_led(&mut sim)
        };
        (0..40).map(took).sum::<u64>() / 40
    };
    let (fixed, adapted) = (mean(Duration::from_secs(1)), mean(Duration::from_millis(100)));
    println!("mean {fixed} ms with a fixed spread, {adapted} ms with one that was measured before");
    assert!(adapted < fixed + 1_100, "{adapted} and {fixed} ms: one campaign is lost before the whole range is used");
}
