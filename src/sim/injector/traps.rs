//! Traps: crashes that wait for a moment, see [`Moment`].

use super::trap::{Set, Trap};
use super::{Injector, Lasting, MS, Planned};
use crate::cluster::Cluster;
use crate::faults::Moment;
use crate::prng::{Ppm, Prng};

const US: u64 = 1_000;
/// How likely a trap springs at a moment of its kind: else it would always be the first one.
const SPRINGS_PPM: Ppm = 400_000;
/// How often a trap springs at most.
const SPRINGS_COUNT_MAX: u32 = 3;
/// For how long a disk is slow, so that a write can be met half way, in milliseconds.
const SLOW_MS_MAX: u64 = 400;

impl Injector {
    /// Sets a trap until some time.
    pub(super) fn set_trap(&mut self, trap: Trap, within_us: u64, down_ms: u64, until: u64) {
        self.traps.0.push(Set { trap, within_us, down_ms, until, left_count: SPRINGS_COUNT_MAX });
    }

    /// Lets traps spring at these moments of nodes.
    pub(super) fn spring_traps(&mut self, cluster: &Cluster, now: u64, moments: &[(Moment, usize)]) {
        if self.traps.0.is_empty() || moments.is_empty() {
            return;
        }
        let mut traps = std::mem::take(&mut self.traps.0);
        traps.retain(|set| set.until > now && set.left_count > 0);
        let mut prng = Prng::stream(self.seed ^ now, "trap");
        for (moment, node) in moments {
            for set in &mut traps {
                let waits_for = match set.trap {
                    Trap::Crash { moment } => moment,
                    Trap::HalfWay { .. } => Moment::Election,
                };
                if waits_for == *moment && set.left_count > 0 && prng.bernoulli(SPRINGS_PPM) {
                    set.left_count -= 1;
                    self.spring(cluster, now, *set, *node, &mut prng);
                }
            }
        }
        self.traps.0 = traps;
    }

    fn spring(&mut self, cluster: &Cluster, now: u64, set: Set, node: usize, prng: &mut Prng) {
        let at = now + prng.range(1, set.within_us * US);
        match set.trap {
            Trap::Crash { moment: Moment::LongAppend } => {
                // The first block may be on its way already, or wait for the one before it.
                cluster.world.borrow_mut().count("a crash met a chosen moment");
                self.die_writing(cluster, node, set.down_ms, prng.below(2) as u32);
            }
            Trap::Crash { .. } => {
                cluster.world.borrow_mut().count("a crash met a chosen moment");
                self.plan(cluster, at, Planned::Crash(node, set.down_ms));
            }
            Trap::HalfWay { factor } => {
                let nodes_count = cluster.map.nodes.len();
                let other = (node + prng.range(1, nodes_count as u64 - 1) as usize) % nodes_count;
                cluster.world.borrow_mut().nodes[other].disk.slowness = factor;
                self.lasts(cluster, Lasting::SlowDisk(other), now + prng.range(1, SLOW_MS_MAX) * MS);
                self.plan(cluster, at, Planned::DieWriting(other, set.down_ms));
            }
        }
    }
}
