//! Random faults for groups that fall silent between storms, whose members differ in priority and whose timing adapts.
//! The checkers of the other storms look on.

use std::collections::BTreeSet;
use std::time::Duration;

use raft::{Counters, PRIORITY_MAX};

use crate::random::{DRIFT_PPM_MAX, STORM, Seen, clients, misfortune};
use crate::sim::{CALM, Sim};

/// Pairs of nodes between which there is no connection: one is down, or a direction is cut.
fn lost_links(sim: &Sim) -> BTreeSet<(usize, usize)> {
    let down = |idx: usize| sim.nodes[idx].raft.is_none();
    let pairs = (0..sim.nodes.len()).flat_map(|a| (0..sim.nodes.len()).map(move |b| (a, b)));
    let lost = |(a, b): &(usize, usize)| {
        a != b && (down(*a) || down(*b) || sim.cuts.contains(&(*a, *b)) || sim.cuts.contains(&(*b, *a)))
    };
    pairs.filter(lost).collect()
}

/// Does what drivers do when a link is lost, once per loss: wakes those who follow somebody at its other end.
pub(crate) fn watch_links(sim: &mut Sim, lost: &mut BTreeSet<(usize, usize)>) {
    let now_lost = lost_links(sim);
    for (idx, other) in now_lost.difference(lost) {
        let (clock, leader) = (sim.clock(*idx), sim.nodes[*other].config.id);
        let Some(raft) = &mut sim.nodes[*idx].raft else { continue };
        if raft.leader() == Some(leader) {
            raft.wake(clock);
            sim.drain(*idx);
        }
    }
    *lost = now_lost;
}

#[derive(Default)]
struct Rare {
    quiesced: u64,
    woken: u64,
    declined: u64,
    by_priority: u64,
    intervals: u64,
    spreads: u64,
}

impl Rare {
    fn add(&mut self, counters: &Counters) {
        self.quiesced += counters.quiesced;
        self.woken += counters.woken;
        self.declined += counters.quiesce_declined;
        self.by_priority += counters.transfers_by_priority;
        self.intervals += counters.heartbeat_interval_changes;
        self.spreads += counters.campaign_spread_changes;
    }
}

pub(crate) fn world(seed: u64) -> Sim {
    Sim::with(3, seed, |config| {
        config.clock_drift_ppm_max = DRIFT_PPM_MAX;
        config.inflight_count_max = 4;
        config.cache_bytes_max = 1_000;
        config.first_campaigner = config.id.0 == seed % 3 + 1;
        config.quiesce_intervals_count = 3;
        config.priority = PRIORITY_MAX - ((config.id.0 + seed) % 3) as u8;
        config.campaign_spread_min = Duration::from_millis(5);
        config.heartbeat_interval_min = Duration::from_millis(2);
    })
}

/// Everything works again. Within a second somebody leads and serves, and a second later the group is silent under
/// the one who should rather lead.
fn settles(sim: &mut Sim, lost: &mut BTreeSet<(usize, usize)>, seed: u64) {
    sim.heal();
    sim.weather = CALM;
    for idx in 0..3 {
        sim.nodes[idx].disk_stopped = false;
        sim.nodes[idx].paused_until = 0;
        if sim.nodes[idx].raft.is_none() {
            sim.restart(idx);
        }
    }
    let turns = |sim: &mut Sim, lost: &mut BTreeSet<_>, ms: u64| {
        for _ in 0..ms {
            sim.turn();
            watch_links(sim, lost);
        }
    };
    // Somebody asks each of them for something, as clients do that look for the leader.
    for idx in 0..3 {
        let _ = sim.propose(idx, b"hello");
    }
    turns(sim, lost, 1_000);
    let leader = sim.leader().unwrap_or_else(|| panic!("seed {seed}: no leader: {:?}", sim.roles()));
    let clock = sim.clock(leader);
    sim.raft(leader).wake(clock);
    let answered = sim.check.index_reads;
    sim.read_index(leader).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    turns(sim, lost, 10);
    assert_eq!(sim.check.index_reads, answered + 1, "seed {seed}");
    turns(sim, lost, 1_000);
    let commit = sim.check.commit_max();
    for idx in 0..3 {
        assert_eq!(sim.nodes[idx].applied, commit, "seed {seed}: {idx} has not caught up");
    }
}

#[test]
fn groups_that_fall_silent_survive_random_faults() {
    let (mut rare, mut seen) = (Rare::default(), Seen::default());
    let (mut silent, mut commits) = (0, 0);
    for seed in 0..450 {
        let (mut sim, mut lost) = (world(seed), BTreeSet::new());
        for at in 0..2_000 {
            // Three hundred milliseconds of clients, then three hundred of peace.
            if at % 600 == 0 {
                sim.weather = if sim.dice.chance(500) { CALM } else { STORM };
            }
            if at % 600 == 300 {
                sim.weather = CALM;
            }
            let living: Vec<_> =
                (0..3).map(|idx| sim.nodes[idx].raft.as_ref().map(|raft| *raft.counters())).collect();
            misfortune(&mut sim, &mut seen);
            for (idx, counters) in living.iter().enumerate() {
                if let (Some(counters), None) = (counters, &sim.nodes[idx].raft) {
                    rare.add(counters);
                }
            }
            watch_links(&mut sim, &mut lost);
            if sim.dice.chance(2) {
                let (idx, priority) = (sim.dice.below(3) as usize, sim.dice.below(u64::from(PRIORITY_MAX) + 1) as u8);
                if sim.nodes[idx].raft.is_some() {
                    sim.set_priority(idx, priority);
                }
            }
            if at % 600 < 300 {
                clients(&mut sim);
            }
            sim.turn();
        }
        settles(&mut sim, &mut lost, seed);
        silent += (0..3).filter(|idx| sim.raft(*idx).is_quiescent()).count();
        (0..3).for_each(|idx| rare.add(&sim.raft(idx).counters().clone()));
        commits += sim.check.commit_max();
        sim.check.logs(&sim.nodes);
    }
    let Rare { quiesced, woken, declined, by_priority, intervals, spreads } = rare;
    println!("commits {commits} quiesced {quiesced} woken {woken} declined {declined} handed over {by_priority}");
    println!("interval changes {intervals} spread changes {spreads} silent at the end {silent}");
    assert!(commits > 20 * 450 && quiesced > 3 * 450 && woken > 450 && declined > 0 && by_priority > 100);
    assert!(intervals > 50 && spreads > 300);
    assert!(silent > 1_200, "of 1,350 replicas");
}
