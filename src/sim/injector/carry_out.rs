//! What each fault does to a cluster.

use super::trap::Trap;
use super::{Injector, Lasting, MS, NewLeaderTarget};
use crate::clock::NodeClock;
use crate::cluster::Cluster;
use crate::cluster_spec::NodeNumber;
use crate::disk::WriteFault;
use crate::faults::Fault;
use crate::operator::Errand;
use crate::prng::{Ppm, Prng};
use crate::world::{Death, FlushResets, NodeState, StopOrder};

/// A microsecond, in nanoseconds.
const US: u64 = 1_000;

impl Injector {
    /// `None` if there was nothing to do it to.
    pub(super) fn carry_out(&mut self, cluster: &Cluster, fault: &Fault, now: u64, prng: &mut Prng) -> Option<()> {
        let idx = |number: &NodeNumber| cluster.node_idx(*number);
        let until = |for_ms: &u64| now + for_ms * MS;
        match fault {
            Fault::Crash { node, down_ms } => self.crash(cluster, idx(node)?, *down_ms, prng, true)?,
            Fault::CrashAll { down_ms } => self.crash_all(cluster, *down_ms, prng),
            Fault::Stop { node, down_ms } => cluster.stop(running(cluster, *node)?, down_ms * MS),
            Fault::Pause { node, for_ms } => self.pause(cluster, running(cluster, *node)?, until(for_ms)),
            Fault::StopBehindClock { node, reading, for_ms } => {
                let node = running(cluster, *node)?;
                let order = StopOrder { reading: *reading, length: for_ms * MS };
                cluster.world.borrow_mut().nodes[node].stop_order = Some(order);
            }
            Fault::CrashBehind { moment, within_us, down_ms, for_ms } => {
                self.set_trap(Trap::Crash { moment: *moment }, *within_us, *down_ms, until(for_ms));
            }
            Fault::CrashHalfWay { factor, within_us, down_ms, for_ms } => {
                self.set_trap(Trap::HalfWay { factor: *factor }, *within_us, *down_ms, until(for_ms));
            }
            Fault::ClockJump { node, by_ms } => change_clock(cluster, idx(node)?, |clock| clock.jump_unix(*by_ms)),
            Fault::Drift { node, ppm } => change_clock(cluster, idx(node)?, |clock| clock.set_drift(*ppm, now)),
            Fault::CutOneWay { from, to, for_ms } => self.cut(cluster, idx(from)?, idx(to)?, until(for_ms)),
            Fault::Partition { side, for_ms } => {
                self.part(cluster, &side.iter().filter_map(idx).collect::<Vec<_>>(), until(for_ms));
            }
            Fault::Delay { from, to, mean_ms, for_ms } => {
                self.delay(cluster, idx(from)?, idx(to)?, mean_ms * MS, until(for_ms));
            }
            Fault::Reset { a, b } => {
                cluster.reset_streams(Some(idx(a)?), idx(b)?);
                cluster.reset_streams(Some(idx(b)?), idx(a)?);
            }
            Fault::ResetBehindFlush { within_us, for_ms } => {
                let resets = FlushResets { until: until(for_ms), within: within_us * US };
                cluster.world.borrow_mut().flush_resets = Some(resets);
            }
            Fault::Corrupt { from, to, lose, repeat, reorder, for_ms } => {
                self.corrupt(cluster, idx(from)?, idx(to)?, [*lose, *repeat, *reorder], until(for_ms));
            }
            Fault::ResetClients { node } => cluster.reset_streams(None, idx(node)?),
            Fault::SlowDisk { node, factor, for_ms } => self.slow_disk(cluster, idx(node)?, *factor, until(for_ms)),
            Fault::WriteError { node, restart_ms } => fail_write(cluster, running(cluster, *node)?, restart_ms * MS),
            Fault::ReadErrors { node, likely, for_ms } => {
                self.fail_reads(cluster, idx(node)?, *likely, until(for_ms));
            }
            Fault::StalledReads { node, likely, for_ms } => self.stall(cluster, idx(node)?, *likely, until(for_ms)),
            Fault::DiskFull { node, for_ms } => self.fill_disk(cluster, idx(node)?, until(for_ms)),
            Fault::BitRot { node, flips, down_ms } => self.rot(cluster, idx(node)?, *flips, *down_ms, prng)?,
            Fault::RotAtRest { node, flips } => rot_at_rest(cluster, running(cluster, *node)?, *flips, prng),
            Fault::LostWrite { node } => spoil_write(cluster, running(cluster, *node)?, WriteFault::Lose),
            Fault::MisdirectedWrite { node } => spoil_write(cluster, running(cluster, *node)?, WriteFault::Misdirect),
            Fault::LostFile { node, down_ms } => self.lose_file(cluster, idx(node)?, *down_ms, prng)?,
            Fault::Join {} => self.errands.push(Errand::Join),
            Fault::Remove {} => self.errands.push(Errand::Remove),
            Fault::TargetLeader { group, fault } => {
                self.apply_leader_fault(cluster, self.leader(cluster, *group)?, fault);
            }
            Fault::TargetNewLeaders { fault, within_ms, for_ms } => {
                let target =
                    NewLeaderTarget { fault: (**fault).clone(), within_ms: *within_ms, until: until(for_ms) };
                self.new_leader_targets.push(target);
            }
        }
        Some(())
    }

    // Processes.

    fn crash_all(&mut self, cluster: &Cluster, down_ms: u64, prng: &mut Prng) {
        for node in 0..cluster.machines_count() {
            // Their machines do not come back at the very same moment.
            self.crash(cluster, node, down_ms + prng.below(200), prng, false);
        }
    }

    fn pause(&mut self, cluster: &Cluster, node: usize, until: u64) {
        cluster.pause(node);
        self.lasts(cluster, Lasting::Pause(node), until);
    }

    /// Lets a node die, now or, if that `may_wait`, in the middle of its next log write.
    fn crash(&mut self, cluster: &Cluster, node: usize, down_ms: u64, prng: &mut Prng, may_wait: bool) -> Option<()> {
        is_up(cluster, node).then_some(())?;
        if may_wait && prng.bernoulli(500_000) {
            self.die_writing(cluster, node, down_ms, 0);
            return Some(());
        }
        cluster.kill(node, if prng.bernoulli(500_000) { Death::Process } else { Death::Machine });
        self.leaders.retain(|(_, leader), _| *leader != node);
        let now = cluster.world.borrow().now();
        cluster.boot_at(node, now + down_ms * MS);
        Some(())
    }

    /// Lets a node die at once, if it runs.
    pub(super) fn crash_now(&mut self, cluster: &Cluster, node: usize, down_ms: u64) {
        let now = cluster.world.borrow().now();
        let mut prng = Prng::stream(self.seed ^ now, "crash");
        self.crash(cluster, node, down_ms, &mut prng, false);
    }

    /// Lets a node die in the middle of the log write behind this number of others.
    pub(super) fn die_writing(&self, cluster: &Cluster, node: usize, down_ms: u64, behind_count: u32) {
        let world = &mut *cluster.world.borrow_mut();
        world.nodes[node].dies_writing = Some(behind_count);
        world.nodes[node].restart_after = Some(down_ms * MS);
    }

    // The network.

    fn cut(&mut self, cluster: &Cluster, from: usize, to: usize, until: u64) {
        cluster.world.borrow_mut().net.way(from, to).cuts = 1;
        self.lasts(cluster, Lasting::Cut { from, to }, until);
    }

    /// Cuts every way between a side and the rest.
    fn part(&mut self, cluster: &Cluster, side: &[usize], until: u64) {
        for from in 0..cluster.machines_count() {
            for to in (0..cluster.machines_count()).filter(|to| side.contains(to) != side.contains(&from)) {
                self.cut(cluster, from, to, until);
            }
        }
    }

    fn delay(&mut self, cluster: &Cluster, from: usize, to: usize, mean: u64, until: u64) {
        cluster.world.borrow_mut().net.way(from, to).delay_mean = mean;
        self.lasts(cluster, Lasting::Delay { from, to }, until);
    }

    fn corrupt(&mut self, cluster: &Cluster, from: usize, to: usize, likely: [Ppm; 3], until: u64) {
        {
            let world = &mut *cluster.world.borrow_mut();
            let way = world.net.way(from, to);
            [way.drop, way.repeat, way.reorder] = likely;
        }
        self.lasts(cluster, Lasting::Corrupt { from, to }, until);
    }

    // Disks.

    fn slow_disk(&mut self, cluster: &Cluster, node: usize, factor: u64, until: u64) {
        cluster.world.borrow_mut().nodes[node].disk.slowness = factor;
        self.lasts(cluster, Lasting::SlowDisk(node), until);
    }

    fn fail_reads(&mut self, cluster: &Cluster, node: usize, likely: Ppm, until: u64) {
        cluster.world.borrow_mut().nodes[node].read_errors = likely;
        self.lasts(cluster, Lasting::ReadErrors(node), until);
    }

    fn stall(&mut self, cluster: &Cluster, node: usize, likely: Ppm, until: u64) {
        cluster.world.borrow_mut().nodes[node].stalled_reads = likely;
        self.lasts(cluster, Lasting::StalledReads(node), until);
    }

    fn fill_disk(&mut self, cluster: &Cluster, node: usize, until: u64) {
        {
            let world = &mut *cluster.world.borrow_mut();
            let used = world.nodes[node].disk.used();
            world.nodes[node].disk.capacity = Some(used);
        }
        self.lasts(cluster, Lasting::DiskFull(node), until);
    }

    fn rot(&mut self, cluster: &Cluster, node: usize, flips: u32, down_ms: u64, prng: &mut Prng) -> Option<()> {
        self.crash(cluster, node, down_ms, prng, false)?;
        let world = &mut *cluster.world.borrow_mut();
        world.nodes[node].is_damaged = true;
        for _ in 0..flips {
            world.nodes[node].disk.rot(prng);
        }
        Some(())
    }

    fn lose_file(&mut self, cluster: &Cluster, node: usize, down_ms: u64, prng: &mut Prng) -> Option<()> {
        self.crash(cluster, node, down_ms, prng, false)?;
        let world = &mut *cluster.world.borrow_mut();
        world.nodes[node].disk.lose_file(prng).then_some(())?;
        world.nodes[node].is_damaged = true;
        Some(())
    }
}

fn change_clock(cluster: &Cluster, node: usize, change: impl FnOnce(&mut NodeClock)) {
    change(&mut cluster.world.borrow_mut().nodes[node].clock);
    cluster.observe_clocks();
}

fn is_up(cluster: &Cluster, node: usize) -> bool {
    cluster.world.borrow().nodes[node].state == NodeState::Up
}

/// Index of a node, if it runs.
fn running(cluster: &Cluster, number: NodeNumber) -> Option<usize> {
    cluster.node_idx(number).filter(|node| is_up(cluster, *node))
}

/// Bits of what a node has written flip while it runs: in tables more often than elsewhere, as all of their bytes count.
fn rot_at_rest(cluster: &Cluster, node: usize, flips: u32, prng: &mut Prng) {
    let world = &mut *cluster.world.borrow_mut();
    let now = world.now();
    world.nodes[node].is_damaged = true;
    world.nodes[node].damaged_at = now;
    for _ in 0..flips {
        let disk = &mut world.nodes[node].disk;
        let is_flipped = if prng.bernoulli(500_000) { disk.rot_tables(prng) } else { disk.rot(prng) };
        if is_flipped {
            world.count("a bit flipped under a running process");
        }
    }
}

/// The next log write of a node fails; its process is started again so much later, in nanoseconds.
fn fail_write(cluster: &Cluster, node: usize, restart_after: u64) {
    let world = &mut *cluster.world.borrow_mut();
    world.nodes[node].restart_after = Some(restart_after);
    world.nodes[node].disk.write_faults.push_back(WriteFault::Fail);
}

/// The next log write of a node is acknowledged and goes wrong.
fn spoil_write(cluster: &Cluster, node: usize, fault: WriteFault) {
    cluster.world.borrow_mut().nodes[node].disk.write_faults.push_back(fault);
}
