//! Storms: while one leader stays, everything else goes wrong. What is committed in the end is forced.

use crate::cluster::{Cluster, Cuts, Dice, Record, Replica};
use crate::ours::Ours;
use crate::theirs::Theirs;

/// Schedules run by default; more with `COMPARE_SCHEDULES`.
const SCHEDULES: u64 = 1_000;
const STEPS: u64 = 40;

/// Runs a storm over a cluster of one kind. Returns what is committed everywhere at its end.
fn weather<R: Replica>(seed: u64) -> Vec<Record> {
    let mut dice = Dice(seed);
    let count = dice.pick(&[2, 3, 5]);
    let mut cluster: Cluster<R> = Cluster::new(count, dice.chance(50));
    let leader = 1 + dice.below(count);
    cluster.replica(leader).campaign();
    cluster.settle(&Cuts::default(), seed);
    assert!(cluster.views()[leader as usize - 1].leads, "seed {seed}");

    // What is on its way differs between the clusters, so its luck has dice of its own.
    let mut luck = Dice(!seed);
    let mut payload = 0;
    for _ in 0..STEPS {
        if dice.chance(60) {
            payload += 1;
            cluster.replica(leader).propose(payload);
        }
        if dice.chance(20) {
            cluster.replica(leader).ping();
        }
        if dice.chance(10) {
            cluster.replica(1 + dice.below(count)).compact();
        }
        let other = 1 + dice.below(count);
        if other != leader && dice.chance(10) {
            cluster.replica(other).restart();
        }
        cluster.storm(&mut luck);
    }
    cluster.come_to_rest(&Cuts::default(), seed);
    let expected: Vec<Record> = (0..=payload).map(|payload| (1, payload)).collect();
    for view in cluster.views() {
        assert_eq!(view.log, expected, "seed {seed}");
        assert_eq!(view.commit, expected.len(), "seed {seed}");
    }
    expected
}

#[test]
fn storms_lose_nothing() {
    let count = std::env::var("COMPARE_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES);
    for seed in 1..=count {
        assert_eq!(weather::<Ours>(seed), weather::<Theirs>(seed), "seed {seed}");
    }
}
