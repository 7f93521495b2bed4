//! Worlds that break what the engine relies on. See [`Broken`].

use std::time::Duration;

use clap::ValueEnum;
use meta::ReadMode;
use serde::{Deserialize, Serialize};

use crate::cluster_spec::{ClusterSpec, Hostility};
use crate::faults::{Fault, Schedule, Timed};
use crate::prng::Prng;

/// How much slower and faster than the truth clocks run that keep to no bound, in millionths.
const WILD_PPM: [i64; 2] = [-600_000, 1_500_000];

/// How often replicas are compared where a row is altered.
const ALTERED_ROW_COMPARE_INTERVAL: Duration = Duration::from_secs(3);
/// How often all is scrubbed, and how soon rows are flushed to tables, where disks flatter.
const FLATTERED_SCRUB_INTERVAL: Duration = Duration::from_millis(500);
const FLATTERED_GROUP_LOG_BYTES_MAX: u64 = 16 << 10;

/// Ways in which the world breaks what the engine relies on. A checker must object to each within a few seeds: that is
/// how we know that the checkers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Broken {
    /// Disks acknowledge writes that a crash then undoes.
    ForgetfulDisk,
    /// A voter's term and vote are not there after a restart.
    ForgottenVote,
    /// Clocks drift far beyond the bound, and reads are answered by lease.
    WildClocks,
    /// A majority of the nodes come back with empty disks.
    LostMajority,
    /// Entries are changed on their way between nodes, under checksums that fit.
    ForgedFrames,
    /// A replica changes a row in a way that nothing in its log explains. The only checker then is the engine's own comparison.
    AlteredRow,
    /// Disks answer the scrub as if nothing had rotted on them, so that it passes over damage.
    FlatteringDisk,
}

impl Broken {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Gives the cluster a shape in which the broken promise matters.
pub fn change_cluster(broken: Option<Broken>, cluster_spec: &mut ClusterSpec) {
    let Some(broken) = broken else { return };
    cluster_spec.nodes = cluster_spec.nodes.max(3);
    cluster_spec.spares = 0;
    cluster_spec.faulty_nodes.clear();
    cluster_spec.hostility = Hostility::None;
    if broken == Broken::AlteredRow {
        cluster_spec.compare_interval = Some(ALTERED_ROW_COMPARE_INTERVAL);
    }
    if broken == Broken::FlatteringDisk {
        cluster_spec.scrub_interval = Some(FLATTERED_SCRUB_INTERVAL);
        cluster_spec.scrub_bytes_per_s = 64 << 20;
        cluster_spec.group_log_bytes_max = FLATTERED_GROUP_LOG_BYTES_MAX;
    }
    if broken == Broken::WildClocks {
        cluster_spec.read_mode = ReadMode::Lease;
    }
}

/// Puts what brings a broken promise to light in the place of other faults: crashes, or cuts.
pub fn change_schedule(broken: Option<Broken>, seed: u64, busy_ms: u64, nodes: u32, schedule: &mut Schedule) {
    let Some(broken) = broken else { return };
    let mut prng = Prng::stream(seed, "broken");
    schedule.faults.clear();
    let mut at_ms = 1_000;
    while at_ms < busy_ms {
        let node = prng.range(1, u64::from(nodes)) as u32;
        let faults = match broken {
            Broken::ForgetfulDisk => vec![Fault::CrashAll { down_ms: 100 }],
            Broken::ForgottenVote => vec![Fault::Crash { node, down_ms: 2_000 }],
            Broken::WildClocks => {
                // Whoever leads there thinks its lease long, and the others think it short.
                let drift = |number| Fault::Drift { node: number, ppm: WILD_PPM[usize::from(number != node)] };
                let cut = Fault::Partition { side: vec![node], for_ms: prng.range(500, 2_500) };
                (1..=nodes).map(drift).chain([cut]).collect()
            }
            // Always of the same one, so that the others have it sound.
            Broken::FlatteringDisk => vec![Fault::RotAtRest { node: 1, flips: 3 }],
            Broken::LostMajority | Broken::ForgedFrames | Broken::AlteredRow => Vec::new(),
        };
        schedule.faults.extend(faults.into_iter().map(|fault| Timed { at_ms, fault }));
        at_ms += prng.range(1_500, 4_500);
    }
}
