//! Random faults. Each seed is a world of its own; the checkers look at every step, and once the faults stop the
//! group must serve again.

use std::collections::BTreeSet;

use raft::{Change, Role};
use types::{CoreAddr, ReplicaId};
use wire::{Member, Membership};

use crate::node::Node;
use crate::sim::{CALM, Dice, Drive, MS, Sim, Weather};

pub(crate) const STORM: Weather = Weather {
    drop: 60,
    repeat: 60,
    latency_min: MS / 10,
    latency_max: 12 * MS,
    disk_min: MS / 10,
    disk_max: 8 * MS,
    log_read_fails: 100,
    late: 10,
    late_max: 300 * MS,
};

/// Drift of each clock against true time, in millionths; the drift between two is at most twice that and a bit.
const DRIFT_PPM: i64 = 20_000;
pub(crate) const DRIFT_PPM_MAX: u32 = 41_000;

#[derive(Default)]
pub(crate) struct Seen {
    commits: u64,
    leaders: usize,
    lease_reads: u64,
    index_reads: u64,
    crashes: u64,
    restored: u64,
    changes: u64,
    undone: u64,
    joint_left: u64,
}

fn world(seed: u64, count: usize) -> Sim {
    let mut sim = Sim::with(count, seed, |config| {
        config.clock_drift_ppm_max = DRIFT_PPM_MAX;
        config.inflight_count_max = 4;
        config.inflight_bytes_max = 600;
        config.append_bytes_max = 300;
        config.uncommitted_bytes_max = 4_000;
        config.cache_bytes_max = 300 + (seed as usize % 3) * 1_000;
        config.first_campaigner = config.id.0 == seed % 3;
    });
    for idx in 0..count {
        sim.nodes[idx].drift_ppm = sim.dice.below(2 * DRIFT_PPM as u64 + 1) as i64 - DRIFT_PPM;
    }
    sim
}

pub(crate) fn count_rare(sim: &Sim, idx: usize, seen: &mut Seen) {
    let Some(raft) = &sim.nodes[idx].raft else { return };
    let counters = raft.counters();
    seen.restored += counters.snapshots_restored;
    seen.undone += counters.memberships_undone;
    seen.joint_left += counters.joint_left;
}

/// One millisecond of clients and misfortune.
pub(crate) fn misfortune(sim: &mut Sim, seen: &mut Seen) {
    let count = sim.nodes.len();
    let idx = sim.dice.below(count as u64) as usize;
    if sim.dice.chance(4) {
        match sim.dice.below(6) {
            0 => sim.isolate(idx),
            1 => {
                let other = sim.dice.below(count as u64) as usize;
                sim.cuts.insert((idx, other));
            }
            2 if sim.nodes[idx].raft.is_some() => {
                let survivors = sim.dice.below(3) as usize;
                seen.crashes += 1;
                count_rare(sim, idx, seen);
                sim.crash_with(idx, survivors);
            }
            3 => sim.nodes[idx].paused_until = sim.now + sim.dice.below(150) * MS,
            4 => sim.nodes[idx].disk_stopped = true,
            _ => {
                let calm = sim.dice.chance(500);
                sim.weather = if calm { CALM } else { STORM };
            }
        }
    }
    if sim.dice.chance(15) {
        sim.heal();
        sim.nodes[idx].disk_stopped = false;
    }
    if sim.dice.chance(20) && sim.nodes[idx].raft.is_none() {
        sim.restart(idx);
    }
}

/// Clients talk to any node that is awake.
pub(crate) fn clients(sim: &mut Sim) {
    for idx in 0..sim.nodes.len() {
        if sim.nodes[idx].raft.is_none() || sim.nodes[idx].paused_until > sim.now {
            continue;
        }
        if sim.dice.chance(200) {
            let payload = vec![idx as u8; 1 + sim.dice.below(120) as usize];
            let _ = sim.propose(idx, &payload);
        }
        let _ = sim.lease_read(idx);
        if sim.dice.chance(30) {
            let _ = sim.read_index(idx);
        }
        if sim.dice.chance(2) {
            let clock = sim.clock(idx);
            let _ = sim.raft(idx).transfer_leader(None, clock);
        }
        if sim.dice.chance(5) {
            sim.nodes[idx].write_snapshot();
        }
        if sim.dice.chance(5) {
            let kept = sim.dice.below(40);
            sim.nodes[idx].compact(kept);
        }
    }
}

fn recovers(sim: &mut Sim, seed: u64) {
    sim.heal();
    sim.weather = CALM;
    for idx in 0..sim.nodes.len() {
        sim.nodes[idx].disk_stopped = false;
        sim.nodes[idx].paused_until = 0;
        if sim.nodes[idx].raft.is_none() {
            sim.restart(idx);
        }
    }
    sim.run(700);
    let leader = sim.leader().unwrap_or_else(|| panic!("seed {seed}: no leader: {:?}", sim.roles()));
    sim.propose(leader, b"last").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    sim.run(100);
    let commit = sim.check.commit_max();
    assert_eq!(sim.raft(leader).commit_index(), sim.raft(leader).last_index(), "seed {seed}");
    for node in &sim.nodes {
        assert_eq!(node.applied, commit, "seed {seed}: {} has not caught up", node.config.id);
    }
    if let Err(error) = sim.lease_read(leader) {
        let given_up = sim.raft(leader).counters().transfers_timed_out;
        assert!(given_up > 0, "seed {seed}: only a transfer that was given up ends leases: {error}");
    }
    let answered = sim.check.index_reads;
    sim.read_index(leader).unwrap();
    sim.run(10);
    assert_eq!(sim.check.index_reads, answered + 1, "seed {seed}: reads by ReadIndex need no lease");
}

fn storm(seeds: std::ops::Range<u64>, count: usize, ms: u64) -> Seen {
    let mut seen = Seen::default();
    for seed in seeds {
        let mut sim = world(seed, count);
        sim.weather = STORM;
        sim.drive = if seed % 2 == 0 { Drive::Ticks(1) } else { Drive::Timers };
        for _ in 0..ms {
            misfortune(&mut sim, &mut seen);
            clients(&mut sim);
            sim.turn();
        }
        recovers(&mut sim, seed);
        (0..count).for_each(|idx| count_rare(&sim, idx, &mut seen));
        sim.check.logs(&sim.nodes);
        seen.commits += sim.check.commit_max();
        seen.leaders += sim.check.leaders_count();
        seen.lease_reads += sim.check.lease_reads;
        seen.index_reads += sim.check.index_reads;
    }
    seen
}

/// The faults must not be so many that nothing happens, nor so few that nothing is tested.
fn assert_busy(seen: &Seen, seeds: u64) {
    println!(
        "commits {} leaders {} lease reads {} index reads {} crashes {} snapshots restored {}",
        seen.commits, seen.leaders, seen.lease_reads, seen.index_reads, seen.crashes, seen.restored
    );
    assert!(seen.commits > 20 * seeds && seen.leaders as u64 > 3 * seeds);
    assert!(seen.restored > seeds / 4, "snapshots are part of the storm");
    assert!(seen.lease_reads > 50 * seeds && seen.index_reads > seeds && seen.crashes > seeds / 2);
}

/// A fast network with messages that come very late: here leases are put to the test.
const SQUALL: Weather = Weather {
    drop: 20,
    repeat: 50,
    latency_min: 0,
    latency_max: MS,
    disk_min: 0,
    disk_max: MS,
    log_read_fails: 0,
    late: 30,
    late_max: 150 * MS,
};

/// One millisecond of what is worst for leases: followers that stop hearing the leader, voters that forget whom
/// they heard, and transfers that go wrong.
fn malice(sim: &mut Sim) {
    let count = sim.nodes.len();
    let (one, other) = (sim.dice.below(count as u64) as usize, sim.dice.below(count as u64) as usize);
    match sim.dice.below(200) {
        0..3 => sim.cuts.extend([(one, other)]),
        3 => sim.isolate(one),
        4 => sim.heal(),
        5 => {
            sim.crash(one);
            sim.restart(one);
        }
        6 => {
            let (Some(leader), id) = (sim.leader(), sim.nodes[other].config.id) else { return };
            let clock = sim.clock(leader);
            let _ = sim.raft(leader).transfer_leader(Some(id), clock);
        }
        7 => sim.nodes[one].paused_until = sim.now + sim.dice.below(60) * MS,
        _ => {}
    }
}

#[test]
fn leases_hold_against_drift_restarts_and_late_orders() {
    let mut lease_reads = 0;
    for seed in 0..600 {
        let mut sim = Sim::with(3, seed, |config| {
            config.clock_drift_ppm_max = 270_000;
            config.election_timeout_max = config.election_timeout_min + config.heartbeat_interval / 2;
        });
        for idx in 0..3 {
            sim.nodes[idx].drift_ppm = if sim.dice.chance(500) { 150_000 } else { -150_000 };
        }
        sim.weather = SQUALL;
        for _ in 0..1_000 {
            malice(&mut sim);
            for idx in 0..3 {
                if sim.nodes[idx].paused_until <= sim.now {
                    let _ = sim.propose(idx, b"x");
                    let _ = sim.lease_read(idx);
                }
            }
            sim.turn();
        }
        lease_reads += sim.check.lease_reads;
    }
    println!("lease reads {lease_reads}");
    assert!(lease_reads > 100_000);
}

#[test]
fn three_replicas_survive_random_faults() {
    let seen = storm(0..600, 3, 1_500);
    assert_busy(&seen, 600);
}

#[test]
fn five_replicas_survive_random_faults() {
    let seen = storm(0..250, 5, 1_500);
    assert_busy(&seen, 250);
}

/// A leader is asked for some change of membership, sensible or not.
fn change(sim: &mut Sim, seen: &mut Seen) {
    let Some(leader) = sim.leader() else { return };
    if sim.nodes[leader].paused_until > sim.now {
        return;
    }
    let member = |dice: &mut Dice| Member { id: ReplicaId(1 + dice.below(5)), place: CoreAddr::default() };
    let mut changes = Vec::new();
    for _ in 0..1 + sim.dice.below(3) {
        let member = member(&mut sim.dice);
        changes.push(match sim.dice.below(5) {
            0 | 1 => Change::AddLearner(member),
            2 | 3 => Change::Promote(member.id),
            _ => Change::Remove(member.id),
        });
    }
    let clock = sim.clock(leader);
    seen.changes += u64::from(sim.raft(leader).change_membership(&changes, clock).is_ok());
    sim.drain(leader);
}

/// What each replica believes, for messages.
fn members(sim: &Sim) -> String {
    let ids = |list: &[Member]| list.iter().map(|member| member.id.0).collect::<Vec<_>>();
    let one = |node: &Node| {
        let Some(raft) = &node.raft else { return format!("\n  {} is down", node.config.id) };
        let Membership { voters, outgoing, learners, .. } = raft.membership();
        let (term, last, commit) = (raft.term(), raft.last_index(), raft.commit_index());
        let last_term = raft.term_at(last).unwrap_or(0);
        let sets = (ids(voters), ids(outgoing), ids(learners));
        format!("\n  {} {:?} term {term} last {last}@{last_term} commit {commit} {sets:?}", raft.id(), raft.role())
    };
    sim.nodes.iter().map(one).collect()
}

#[test]
fn groups_whose_members_change_survive_random_faults() {
    let mut seen = Seen::default();
    for seed in 0..150 {
        let mut sim = Sim::with(5, seed, |config| {
            config.clock_drift_ppm_max = DRIFT_PPM_MAX;
            config.cache_bytes_max = 300 + (seed as usize % 3) * 1_000;
            config.first_campaigner = config.id.0 == 1;
            config.voters = if config.id.0 <= 3 { (1..=3).map(ReplicaId).collect() } else { Vec::new() };
        });
        sim.check.members_change = true;
        for ms in 0..2_000 {
            if ms % 200 == 100 {
                sim.weather = if sim.dice.chance(500) { CALM } else { STORM };
            }
            misfortune(&mut sim, &mut seen);
            clients(&mut sim);
            if sim.dice.chance(30) {
                change(&mut sim, &mut seen);
            }
            sim.turn();
        }
        sim.heal();
        sim.weather = CALM;
        for idx in 0..5 {
            sim.nodes[idx].disk_stopped = false;
            sim.nodes[idx].paused_until = 0;
            if sim.nodes[idx].raft.is_none() {
                sim.restart(idx);
            }
        }
        sim.run(900);
        let leader = sim.leader().unwrap_or_else(|| panic!("seed {seed}: no leader: {}", members(&sim)));
        let (_, last) = sim.propose(leader, b"last").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        sim.run(100);
        let members: Vec<_> = sim.raft(leader).membership().members().map(|member| member.id).collect();
        assert!(!sim.raft(leader).membership().is_joint(), "seed {seed}: the joint state ends by itself");
        for node in sim.nodes.iter().filter(|node| members.contains(&node.config.id)) {
            assert!(node.applied >= last, "seed {seed}: member {} has not caught up", node.config.id);
        }
        (0..5).for_each(|idx| count_rare(&sim, idx, &mut seen));
        sim.check.logs(&sim.nodes);
        seen.commits += sim.check.commit_max();
    }
    println!(
        "commits {} changes {} joint states left {} configurations undone {} snapshots restored {}",
        seen.commits, seen.changes, seen.joint_left, seen.undone, seen.restored
    );
    assert!(seen.changes > 1_000 && seen.joint_left > 500 && seen.undone > 0 && seen.restored > 100);
}

#[test]
fn two_replicas_survive_random_faults() {
    storm(0..150, 2, 1_000);
}

#[test]
fn a_single_replica_survives_crashes() {
    storm(0..150, 1, 1_000);
}

/// What a run of `world` has led to, as far as it can be compared.
fn trace(mut sim: Sim, drive: Drive, mut each: impl FnMut(&mut Sim)) -> impl PartialEq + std::fmt::Debug {
    sim.drive = drive;
    let mut seen = Seen::default();
    sim.weather = STORM;
    for _ in 0..1_500 {
        misfortune(&mut sim, &mut seen);
        // Reads that fail are dated with the latest time known, which depends on who ticks.
        sim.weather.log_read_fails = 0;
        each(&mut sim);
        clients(&mut sim);
        sim.turn();
    }
    let of_node = |node: &Node| {
        let raft = node.raft.as_ref().map(|raft| (raft.soft_state(), *raft.counters(), raft.next_wake()));
        (node.disk.hard_state, node.disk.entries.len(), node.appends_sent, raft)
    };
    let nodes: Vec<_> = sim.nodes.iter().map(of_node).collect();
    (nodes, sim.check.commit_max(), sim.check.lease_reads, sim.check.index_reads, sim.dice.roll())
}

#[test]
fn ticks_before_next_wake_change_nothing() {
    for seed in 0..50 {
        let run = |drive| trace(world(seed, 3), drive, |_| {});
        assert_eq!(run(Drive::Timers), run(Drive::Ticks(1)), "seed {seed}");
        let run = |drive| {
            let mut lost = BTreeSet::new();
            trace(crate::quiet::world(seed), drive, move |sim| crate::quiet::watch_links(sim, &mut lost))
        };
        assert_eq!(run(Drive::Timers), run(Drive::Ticks(1)), "seed {seed}, quiescent groups");
    }
}

#[test]
fn a_replica_has_a_timer_unless_it_waits_for_others() {
    let mut sim = Sim::new(1);
    assert_eq!(sim.raft(0).next_wake(), Some(sim.clock(0)), "the only voter campaigns at once");
    sim.nodes[0].disk_stopped = true;
    sim.run(500);
    assert_eq!((sim.raft(0).role(), sim.raft(0).next_wake()), (Role::Candidate, None), "it waits for its disk");
    sim.nodes[0].disk_stopped = false;
    sim.run(20);
    assert!(sim.raft(0).is_leader());
    for drive in [Drive::Ticks(1), Drive::Timers] {
        let mut sim = Sim::new(3);
        sim.drive = drive;
        let mut wakes = 0;
        sim.elect();
        sim.run(100);
        for _ in 0..1_000 {
            let clock = sim.clock(0);
            wakes += u64::from(sim.raft(0).next_wake().is_some_and(|at| at <= clock));
            sim.turn();
        }
        assert!(wakes <= 101, "a leader wakes once in a heartbeat interval, {wakes}, {drive:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = || {
        let mut sim = world(99, 3);
        sim.weather = STORM;
        let mut seen = Seen::default();
        for _ in 0..1_000 {
            misfortune(&mut sim, &mut seen);
            clients(&mut sim);
            sim.turn();
        }
        let terms: Vec<_> = sim.nodes.iter().map(|node| node.disk.hard_state).collect();
        (terms, sim.check.commit_max(), sim.check.lease_reads, sim.dice.roll())
    };
    assert_eq!(run(), run());
}
