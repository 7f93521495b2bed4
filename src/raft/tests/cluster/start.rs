//! How replicas and groups start.

use std::time::Duration;

use raft::{Config, ConfigError, Raft, Recovered, Role, StartError, TermRun};
use types::limits::REPLICAS_COUNT_MAX;
use types::{CoreAddr, Instant, ReplicaId};
use wire::{HardState, Member, Membership, SnapshotMeta};

use crate::sim::{Sim, config};
use crate::solo::{Solo, recovered};

#[test]
fn a_single_voter_leads_from_its_first_tick() {
    for restarts in 0..3 {
        let mut sim = Sim::new(1);
        for _ in 0..restarts {
            sim.run(5);
            sim.crash(0);
            sim.restart(0);
        }
        sim.run(3);
        assert!(sim.raft(0).is_leader(), "after {restarts} restarts");
    }
}

#[test]
fn the_first_campaigner_of_a_fresh_group_leads_within_a_few_round_trips() {
    for first in 1..=3 {
        let mut sim = Sim::with(3, 5, |config| config.first_campaigner = config.id == ReplicaId(first));
        sim.run(8);
        assert_eq!(sim.leader(), Some(first as usize - 1));
    }
}

#[test]
fn the_first_campaigner_keeps_asking_until_the_others_are_there() {
    let mut sim = Sim::new(3);
    sim.isolate(0);
    sim.run(35);
    sim.heal();
    sim.run(20);
    assert_eq!(sim.leader(), Some(0));
    assert_eq!(sim.raft(0).term(), 1);
}

#[test]
fn a_fresh_group_without_a_hint_elects_a_leader_soon() {
    for seed in 0..50 {
        let mut sim = Sim::with(3, seed, |_| {});
        sim.run(300);
        assert!(sim.leader().is_some(), "seed {seed}");
    }
}

#[test]
fn the_hint_means_nothing_to_a_group_that_has_lived() {
    let mut solo = Solo::with(recovered(1, &[1]), |config| config.first_campaigner = true);
    solo.tick();
    assert_eq!(solo.raft.role(), Role::Follower);
}

#[test]
fn applying_starts_behind_the_store_and_reads_the_log_back() {
    let mut start = recovered(2, &[1, 1, 1, 2]);
    start.hard_state.commit = 3;
    start.applied = 1;
    let mut solo = Solo::with(start, |_| {});
    solo.drain();
    let read = solo.log_reads.pop().unwrap();
    assert_eq!((read.first, read.last), (2, 3));
    assert!(!solo.raft.has_ready(), "one read at a time");
    solo.raft.log_read_failed(read.purpose);
    assert!(!solo.raft.has_ready(), "not again at once");
    let retry_at = solo.now + solo.raft.config().heartbeat_interval;
    assert_eq!(solo.raft.next_wake(), Some(retry_at));
    solo.wait_ms(9);
    solo.tick();
    assert_eq!(solo.log_reads, [], "nor before a heartbeat interval has passed");
    solo.wait_ms(1);
    solo.tick();
    assert_eq!(solo.log_reads.pop(), Some(read));
    solo.raft.log_read(read.purpose, crate::solo::entries(2, &[1]), solo.now);
    solo.drain();
    assert_eq!(solo.committed, crate::solo::entries(2, &[1]), "a short answer is fine");
    let read = solo.log_reads.pop().unwrap();
    assert_eq!((read.first, read.last), (3, 3));
    solo.raft.log_read(read.purpose, crate::solo::entries(3, &[2]), solo.now);
    solo.drain();
    assert_eq!(solo.raft.counters().log_reads_stale, 1, "entry 3 is of term 1");
    solo.raft.log_read(read.purpose, crate::solo::entries(3, &[1]), solo.now);
    solo.drain();
    assert_eq!(solo.raft.applied_index(), 3);
}

#[test]
fn a_damaged_recovery_is_refused() {
    let good = recovered(2, &[1, 1, 2]);
    let refused = |change: &dyn Fn(&mut Recovered)| {
        let mut start = good.clone();
        change(&mut start);
        let result = Raft::new(config(1, 3), start, Instant::ZERO);
        matches!(result, Err(StartError::Recovered(_)))
    };
    assert!(!refused(&|_| {}));
    assert!(refused(&|start| start.hard_state.commit = 4), "commits what it does not hold");
    assert!(refused(&|start| start.applied = 4));
    assert!(refused(&|start| start.hard_state = HardState { term: 1, vote: None, commit: 0 }));
    assert!(refused(&|start| start.runs.clear()));
    assert!(refused(&|start| start.runs[1].first = 1));
    assert!(refused(&|start| start.runs.swap(0, 1)));
    assert!(refused(&|start| start.runs[0].first = 2));
    assert!(refused(&|start| start.base_index = 3), "nothing of the log is left, and yet there are terms");
    assert!(refused(&|start| start.last_index = 2));
    assert!(refused(&|start| start.runs.push(TermRun { first: 9, term: 2 })));
    let with = |start: &mut Recovered, indexes: &[u64]| {
        let membership = three_voters();
        start.memberships = indexes.iter().map(|index| (*index, membership.clone())).collect();
    };
    assert!(!refused(&|start| with(start, &[2, 3])));
    assert!(refused(&|start| with(start, &[3, 2])), "configurations come in the order of the log");
    assert!(refused(&|start| with(start, &[2, 2])));
    assert!(refused(&|start| with(start, &[2, 4])), "one lies behind the log");
    let snapshot = |last_index| SnapshotMeta { last_index, last_term: 1, membership: three_voters() };
    assert!(!refused(&|start| (start.applied, start.snapshot) = (2, Some(snapshot(2)))));
    assert!(
        refused(&|start| (start.applied, start.snapshot) = (2, Some(snapshot(3)))),
        "it holds what is not applied"
    );
}

fn three_voters() -> Membership {
    Membership::of_voters([1, 2, 3].map(|id| Member { id: ReplicaId(id), place: CoreAddr::default() }))
}

#[test]
fn settings_are_checked() {
    let broken = |change: &dyn Fn(&mut Config)| {
        let mut config = config(1, 3);
        change(&mut config);
        config.validate().unwrap_err()
    };
    assert_eq!(config(1, 3).validate(), Ok(()));
    assert_eq!(broken(&|config| config.id = ReplicaId(9)), ConfigError::NotAVoter(ReplicaId(9)));
    assert_eq!(broken(&|config| config.voters.push(ReplicaId(2))), ConfigError::RepeatedVoter(ReplicaId(2)));
    assert_eq!(broken(&|config| config.voters = (1..=10).map(ReplicaId).collect()), ConfigError::TooManyVoters(10));
    let rule = |rule: &str, change: &dyn Fn(&mut Config)| match broken(change) {
        ConfigError::Rule(text) => assert!(text.starts_with(rule), "{text}"),
        error => panic!("{error}"),
    };
    let ms = Duration::from_millis;
    rule("heartbeat_interval must", &|config| config.heartbeat_interval = ms(0));
    rule("heartbeat_interval_min", &|config| config.heartbeat_interval_min = ms(0));
    rule("priority", &|config| config.priority = raft::PRIORITY_MAX + 1);
    rule("quiesce_intervals_count", &|config| config.quiesce_intervals_count = 2);
    rule("election_timeout_min", &|config| config.election_timeout_min = config.heartbeat_interval * 2 - ms(1));
    rule("election_timeout_max", &|config| config.election_timeout_max = ms(24 * 3_600_000 + 1));
    rule("clock_drift_ppm_max", &|config| config.clock_drift_ppm_max = 1_000_000);
    rule("inflight_count_max", &|config| config.inflight_count_max = 0);
    rule("inflight_bytes_max", &|config| config.inflight_bytes_max = 0);
    rule("append_bytes_max", &|config| config.append_bytes_max = 0);
    // What is just within the rules.
    let within = Config {
        heartbeat_interval: ms(25),
        election_timeout_min: ms(50),
        election_timeout_max: ms(24 * 3_600_000),
        quiesce_intervals_count: 3,
        clock_drift_ppm_max: 999_999,
        inflight_count_max: 1,
        inflight_bytes_max: 1,
        append_bytes_max: 1,
        ..config(1, 3)
    };
    assert_eq!(within.validate(), Ok(()));
    assert_eq!(config(1, REPLICAS_COUNT_MAX as u64).validate(), Ok(()), "as many voters as there may be");
    assert!(matches!(
        broken(&|config| config.election_timeout_max = config.election_timeout_min),
        ConfigError::Rule(_)
    ));
}
