//! What each fault does to a cluster.

use super::NodeNumber;
use super::inject::{Injector, Lasting, MS, NewLeaderTarget};
use super::kinds::Fault;
use super::trap::Trap;
use crate::cluster::{Cluster, Death};
use crate::disk::WriteFault;
use crate::prng::Prng;
use crate::stopped_turn::StopOrder;
use crate::world::{FlushResets, NodeState};

/// A microsecond, in nanoseconds.
const US: u64 = 1_000;

impl Injector {
    /// `None` if there was nothing to do it to.
    pub(super) fn carry_out(&mut self, cluster: &Cluster, fault: &Fault, now: u64, prng: &mut Prng) -> Option<()> {
        let idx = |number: NodeNumber| cluster.node_idx(number);
        match fault {
            Fault::Crash { node, down_ms } => self.crash(cluster, idx(*node)?, *down_ms, prng, true)?,
            Fault::CrashAll { down_ms } => {
                for node in 0..cluster.map.nodes.len() {
                    // Their machines do not come back at the very same moment.
                    self.crash(cluster, node, down_ms + prng.below(200), prng, false);
                }
            }
            Fault::Stop { node, down_ms } => {
                self.is_up(cluster, idx(*node)?).then_some(())?;
                cluster.stop(idx(*node)?, down_ms * MS);
            }
            Fault::Pause { node, for_ms } => {
                let node = idx(*node)?;
                self.is_up(cluster, node).then_some(())?;
                cluster.pause(node);
                self.lasts(cluster, Lasting::Pause(node), now + for_ms * MS);
            }
            Fault::StopBehindClock { node, reading, for_ms } => {
                let node = idx(*node)?;
                self.is_up(cluster, node).then_some(())?;
                let order = StopOrder { reading: *reading, length: for_ms * MS };
                cluster.world.borrow_mut().nodes[node].stop_order = Some(order);
            }
            Fault::CrashBehind { moment, within_us, down_ms, for_ms } => {
                let trap = Trap::Crash { moment: *moment };
                self.set_trap(trap, *within_us, *down_ms, now + for_ms * MS);
            }
            Fault::CrashHalfWay { factor, within_us, down_ms, for_ms } => {
                self.set_trap(Trap::HalfWay { factor: *factor }, *within_us, *down_ms, now + for_ms * MS);
            }
            Fault::ClockJump { node, by_ms } => {
                cluster.world.borrow_mut().nodes[idx(*node)?].clock.jump_unix(*by_ms);
            }
            Fault::Drift { node, ppm } => {
                cluster.world.borrow_mut().nodes[idx(*node)?].clock.set_drift(*ppm, now);
            }
            Fault::CutOneWay { from, to, for_ms } => {
                self.cut(cluster, idx(*from)?, idx(*to)?, now + for_ms * MS);
            }
            Fault::Partition { side, for_ms } => {
                let side: Vec<usize> = side.iter().filter_map(|number| idx(*number)).collect();
                for from in 0..cluster.map.nodes.len() {
                    for to in (0..cluster.map.nodes.len()).filter(|to| side.contains(to) != side.contains(&from)) {
                        self.cut(cluster, from, to, now + for_ms * MS);
                    }
                }
            }
            Fault::Delay { from, to, mean_ms, for_ms } => {
                let (from, to) = (idx(*from)?, idx(*to)?);
                cluster.world.borrow_mut().net.way(from, to).delay_mean = mean_ms * MS;
                self.lasts(cluster, Lasting::Delay { from, to }, now + for_ms * MS);
            }
            Fault::TargetLeader { group, fault } => {
                let node = self.leader(cluster, *group)?;
                self.apply_leader_fault(cluster, node, fault);
            }
            Fault::TargetNewLeaders { fault, within_ms, for_ms } => {
                let until = now + for_ms * MS;
                self.new_leader_targets.push(NewLeaderTarget {
                    fault: (**fault).clone(),
                    within_ms: *within_ms,
                    until,
                });
            }
            Fault::Reset { a, b } => {
                cluster.reset_streams(Some(idx(*a)?), idx(*b)?);
                cluster.reset_streams(Some(idx(*b)?), idx(*a)?);
            }
            Fault::ResetBehindFlush { within_us, for_ms } => {
                let resets = FlushResets { until: now + for_ms * MS, within: within_us * US };
                cluster.world.borrow_mut().flush_resets = Some(resets);
            }
            Fault::ResetClients { node } => cluster.reset_streams(None, idx(*node)?),
            Fault::Corrupt { from, to, lose, repeat, reorder, for_ms } => {
                let (from, to) = (idx(*from)?, idx(*to)?);
                {
                    let world = &mut *cluster.world.borrow_mut();
                    let way = world.net.way(from, to);
                    (way.drop, way.repeat, way.reorder) = (*lose, *repeat, *reorder);
                }
                self.lasts(cluster, Lasting::Corrupt { from, to }, now + for_ms * MS);
            }
            _ => self.harm_disk(cluster, fault, now, prng)?,
        }
        Some(())
    }

    fn harm_disk(&mut self, cluster: &Cluster, fault: &Fault, now: u64, prng: &mut Prng) -> Option<()> {
        let idx = |number: NodeNumber| cluster.node_idx(number);
        match fault {
            Fault::SlowDisk { node, factor, for_ms } => {
                let node = idx(*node)?;
                cluster.world.borrow_mut().nodes[node].disk.slowness = *factor;
                self.lasts(cluster, Lasting::SlowDisk(node), now + for_ms * MS);
            }
            Fault::WriteError { node, restart_ms } => {
                let node = idx(*node)?;
                self.is_up(cluster, node).then_some(())?;
                let world = &mut *cluster.world.borrow_mut();
                world.nodes[node].restart_after = Some(restart_ms * MS);
                world.nodes[node].disk.write_faults.push_back(WriteFault::Fail);
            }
            Fault::ReadErrors { node, likely, for_ms } => {
                let node = idx(*node)?;
                cluster.world.borrow_mut().nodes[node].read_errors = *likely;
                self.lasts(cluster, Lasting::ReadErrors(node), now + for_ms * MS);
            }
            Fault::DiskFull { node, for_ms } => {
                let node = idx(*node)?;
                {
                    let world = &mut *cluster.world.borrow_mut();
                    let used = world.nodes[node].disk.used();
                    world.nodes[node].disk.capacity = Some(used);
                }
                self.lasts(cluster, Lasting::DiskFull(node), now + for_ms * MS);
            }
            Fault::BitRot { node, flips, down_ms } => {
                let node = idx(*node)?;
                self.crash(cluster, node, *down_ms, prng, false)?;
                self.damage(cluster, node);
                let world = &mut *cluster.world.borrow_mut();
                for _ in 0..*flips {
                    world.nodes[node].disk.rot(prng);
                }
            }
            Fault::LostFile { node, down_ms } => {
                let node = idx(*node)?;
                self.crash(cluster, node, *down_ms, prng, false)?;
                cluster.world.borrow_mut().nodes[node].disk.lose_file(prng).then_some(())?;
                self.damage(cluster, node);
            }
            Fault::LostWrite { node } | Fault::MisdirectedWrite { node } => {
                let node = idx(*node)?;
                self.is_up(cluster, node).then_some(())?;
                let is_lost = matches!(fault, Fault::LostWrite { .. });
                let fault = if is_lost { WriteFault::Lose } else { WriteFault::Misdirect };
                cluster.world.borrow_mut().nodes[node].disk.write_faults.push_back(fault);
            }
            other => unreachable!("a fault without a way to carry it out: {other:?}"),
        }
        Some(())
    }

    fn is_up(&self, cluster: &Cluster, node: usize) -> bool {
        cluster.world.borrow().nodes[node].state == NodeState::Up
    }

    /// Lets a node die, now or, if that `may_wait`, in the middle of its next log write.
    pub(super) fn crash(
        &mut self,
        cluster: &Cluster,
        node: usize,
        down_ms: u64,
        prng: &mut Prng,
        may_wait: bool,
    ) -> Option<()> {
        self.is_up(cluster, node).then_some(())?;
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

    fn damage(&self, cluster: &Cluster, node: usize) {
        cluster.world.borrow_mut().nodes[node].is_damaged = true;
    }
}
