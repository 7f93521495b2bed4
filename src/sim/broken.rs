//! Worlds that break what the engine relies on. See [`Broken`].

use meta::ReadMode;

use crate::chance::Chance;
use crate::faults::{Fault, Schedule, Timed};
use crate::spec::{Broken, Shape};

/// How much faster or slower than the truth clocks run that keep to no bound, in millionths.
const WILD_PPM: [i64; 3] = [-600_000, 0, 1_500_000];

/// Gives the cluster a shape in which the broken promise matters.
pub fn change_shape(broken: Option<Broken>, shape: &mut Shape) {
    let Some(broken) = broken else { return };
    shape.nodes = shape.nodes.max(3);
    shape.victims.clear();
    if broken == Broken::WildClocks {
        shape.read_mode = ReadMode::Lease;
    }
}

/// Adds what brings a broken promise to light: crashes, or cuts.
pub fn change_schedule(broken: Option<Broken>, seed: u64, busy_ms: u64, schedule: &mut Schedule) {
    let Some(broken) = broken else { return };
    let mut chance = Chance::stream(seed, "broken");
    let mut faults = Vec::new();
    let mut at_ms = 1_000;
    while at_ms < busy_ms {
        let node = chance.range(1, 3) as u32;
        match broken {
            Broken::ForgetfulDisk => faults.push(Fault::CrashAll { down_ms: 100 }),
            Broken::ForgottenVote => {
                faults.push(Fault::Crash { node, down_ms: 1 });
                faults.push(Fault::Crash { node: node % 3 + 1, down_ms: 1 });
            }
            Broken::WildClocks => {
                faults.push(Fault::Partition { side: vec![node], for_ms: chance.range(300, 3_000) })
            }
            Broken::LostMajority | Broken::ForgedFrames => {}
        }
        for fault in faults.drain(..) {
            schedule.faults.push(Timed { at_ms, fault });
            at_ms += chance.range(1, 400);
        }
        at_ms += chance.range(100, 3_000);
    }
    schedule.faults.sort_by_key(|timed| timed.at_ms);
}

/// The pace of a clock that keeps to no bound.
pub fn wild_drift(chance: &mut Chance) -> i64 {
    chance.pick(&WILD_PPM)
}
