//! Carries out a schedule of faults, and in the end undoes what can be undone.
//!
//! Read `moments` and `trap` (what a crash waits for), this page (when), `traps`, `carry_out` (how).

mod carry_out;
mod moments;
mod trap;
mod traps;

use std::collections::BTreeMap;

use raft::Role;
use types::{GroupId, Term};

use crate::cluster::Cluster;
use crate::cluster_spec::ClusterSpec;
use crate::faults::{Fault, FaultKind, LeaderFault, Moment, Schedule};
use crate::observation::ObservationKind;
use crate::operator::Errand;
use crate::prng::{Ppm, Prng};
use crate::queue::Event;
use crate::trace::Kind;
use crate::world::Death;

use moments::Moments;
use trap::Traps;

const MS: u64 = 1_000_000;
/// How likely a new leader meets with a fault while new leaders are targeted.
const TARGET_PPM: Ppm = 700_000;

/// The end of a fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lasting {
    Pause(usize),
    Cut { from: usize, to: usize },
    Delay { from: usize, to: usize },
    Corrupt { from: usize, to: usize },
    SlowDisk(usize),
    ReadErrors(usize),
    StalledReads(usize),
    DiskFull(usize),
}

/// What is to happen at some time.
#[derive(Clone, Debug)]
enum Planned {
    Begin(Fault),
    LeaderFault(usize, LeaderFault),
    /// A node dies at once, and is started again so many milliseconds later.
    Crash(usize, u64),
    /// A node dies in the middle of its next log write.
    DieWriting(usize, u64),
    End(Lasting),
}

/// New leaders meet with a fault for a while.
struct NewLeaderTarget {
    fault: LeaderFault,
    within_ms: u64,
    until: u64,
}

/// Carries out the faults of a run.
pub struct Injector {
    seed: u64,
    /// Whom leader faults may concern besides.
    cluster_spec: ClusterSpec,
    /// By the number of its event.
    planned: Vec<Planned>,
    /// Who leads what on which node, and in which term, as far as replicas have said.
    leaders: BTreeMap<(GroupId, usize), Term>,
    new_leader_targets: Vec<NewLeaderTarget>,
    moments: Moments,
    traps: Traps,
    /// Until when what lasts is to last; a later fault of the same kind prolongs it.
    until: BTreeMap<Lasting, u64>,
    usual_delay_mean: u64,
    is_over: bool,
    /// What the operator is to do.
    pub(crate) errands: Vec<Errand>,
    /// How often each kind took effect.
    pub counts: BTreeMap<FaultKind, u64>,
}

impl Injector {
    /// Plans the faults of a schedule.
    pub fn new(seed: u64, schedule: &Schedule, cluster: &Cluster) -> Injector {
        let usual_delay_mean = cluster.world.borrow_mut().net.way(0, 0).delay_mean;
        let mut injector = Injector {
            seed,
            cluster_spec: ClusterSpec::of_seed(seed),
            planned: Vec::new(),
            leaders: BTreeMap::new(),
            new_leader_targets: Vec::new(),
            moments: Moments::default(),
            traps: Traps::default(),
            until: BTreeMap::new(),
            usual_delay_mean,
            is_over: false,
            errands: Vec::new(),
            counts: BTreeMap::new(),
        };
        for timed in &schedule.faults {
            injector.plan(cluster, timed.at_ms * MS, Planned::Begin(timed.fault.clone()));
        }
        injector
    }

    fn plan(&mut self, cluster: &Cluster, at: u64, planned: Planned) {
        let idx = self.planned.len() as u32;
        self.planned.push(planned);
        cluster.world.borrow_mut().queue.push(at, Event::Fault { idx });
    }

    /// Carries out what is due. To be called before anybody takes what replicas have done.
    pub fn attend(&mut self, cluster: &Cluster) {
        self.observe(cluster);
        loop {
            let Some(idx) = cluster.world.borrow_mut().faults_due.pop() else { return };
            let idx = idx as usize;
            if self.is_over {
                continue;
            }
            match self.planned[idx].clone() {
                Planned::Begin(fault) => self.begin(cluster, idx, &fault),
                Planned::LeaderFault(node, leader_fault) => self.apply_leader_fault(cluster, node, &leader_fault),
                Planned::Crash(node, down_ms) => self.crash_now(cluster, node, down_ms),
                Planned::DieWriting(node, down_ms) => self.die_writing(cluster, node, down_ms, 0),
                Planned::End(what) => self.end(cluster, what),
            }
        }
    }

    /// Remembers who leads, and targets new leaders.
    fn observe(&mut self, cluster: &Cluster) {
        let mut elected = Vec::new();
        let mut moments = Vec::new();
        for seen in cluster.observations.borrow().iter() {
            let Some(node) = cluster.node_idx(seen.place.node.0) else { continue };
            moments.extend(self.moments.of(node, seen).map(|moment| (moment, node)));
            match seen.kind {
                ObservationKind::Role { role: Role::Leader, term, .. } => {
                    let is_new = self.leaders.insert((seen.group, node), term) != Some(term);
                    elected.extend(is_new.then_some(node));
                }
                ObservationKind::Role { .. }
                | ObservationKind::Started { .. }
                | ObservationKind::Stopped
                | ObservationKind::Destroyed
                | ObservationKind::Quarantined { .. } => {
                    self.leaders.remove(&(seen.group, node));
                }
                _ => {}
            }
        }
        let manifest_writes = std::mem::take(&mut cluster.world.borrow_mut().manifest_writes);
        moments.extend(manifest_writes.into_iter().map(|node| (Moment::Manifest, node)));
        if self.is_over {
            return;
        }
        let now = cluster.world.borrow().now();
        self.spring_traps(cluster, now, &moments);
        if elected.is_empty() {
            return;
        }
        self.new_leader_targets.retain(|target| target.until > now);
        // A node that is elected by many groups at once is targeted once.
        elected.dedup();
        let mut prng = Prng::stream(self.seed ^ now, "target");
        let mut targeted = Vec::new();
        for (node, target) in
            elected.iter().flat_map(|node| self.new_leader_targets.iter().map(move |target| (*node, target)))
        {
            if prng.bernoulli(TARGET_PPM) {
                let at = now + prng.range(1, target.within_ms * MS);
                targeted.push((at, Planned::LeaderFault(node, target.fault.clone())));
            }
        }
        for (at, planned) in targeted {
            self.plan(cluster, at, planned);
        }
    }

    /// Which node leads a group, by the number of the group; in the latest term, if several claim to.
    fn leader(&self, cluster: &Cluster, group: u32) -> Option<usize> {
        let groups = &cluster.map.groups;
        let group = groups.get(group as usize % groups.len())?.id;
        let leaders = self.leaders.iter().filter(|((led, _), _)| *led == group);
        leaders.max_by_key(|(_, term)| **term).map(|((_, node), _)| *node)
    }

    /// Begins a leader fault.
    fn apply_leader_fault(&mut self, cluster: &Cluster, node: usize, leader_fault: &LeaderFault) {
        let now = cluster.world.borrow().now();
        let mut prng = Prng::stream(self.seed ^ now, "leader fault");
        let number = cluster.world.borrow().nodes[node].id.0;
        for (after_ms, fault) in leader_fault.steps(number, &self.cluster_spec, &mut prng) {
            self.plan(cluster, now + after_ms * MS, Planned::Begin(fault));
        }
    }

    fn begin(&mut self, cluster: &Cluster, idx: usize, fault: &Fault) {
        let now = {
            let world = &mut *cluster.world.borrow_mut();
            let now = world.now();
            world.trace.add(now, Kind::Fault, [idx as u64, 0]);
            world.trace.tell(now, format_args!("fault: {fault:?}"));
            now
        };
        // Independent of what came before, so that a schedule that is made shorter stays comparable.
        let mut prng = Prng::stream(self.seed ^ now, "fault");
        if self.carry_out(cluster, fault, now, &mut prng).is_some() {
            *self.counts.entry(fault.kind()).or_default() += 1;
        }
    }

    fn lasts(&mut self, cluster: &Cluster, what: Lasting, until: u64) {
        let until_before = self.until.get(&what).copied().unwrap_or(0);
        self.until.insert(what, until.max(until_before));
        self.plan(cluster, until, Planned::End(what));
    }

    fn end(&mut self, cluster: &Cluster, what: Lasting) {
        let now = cluster.world.borrow().now();
        if self.until.get(&what).is_some_and(|until| *until <= now) {
            self.undo(cluster, what);
        }
    }

    fn undo(&mut self, cluster: &Cluster, what: Lasting) {
        let world = &mut *cluster.world.borrow_mut();
        world.trace.tell(world.now(), format_args!("over: {what:?}"));
        match what {
            Lasting::Pause(node) => world.resume(node),
            Lasting::Cut { from, to } => world.net.way(from, to).cuts = 0,
            Lasting::Delay { from, to } => world.net.way(from, to).delay_mean = self.usual_delay_mean,
            Lasting::Corrupt { from, to } => {
                let way = world.net.way(from, to);
                (way.drop, way.repeat, way.reorder) = (0, 0, 0);
            }
            Lasting::SlowDisk(node) => world.nodes[node].disk.slowness = 1,
            Lasting::ReadErrors(node) => world.nodes[node].read_errors = 0,
            Lasting::StalledReads(node) => world.nodes[node].stalled_reads = 0,
            Lasting::DiskFull(node) => world.nodes[node].disk.capacity = None,
        }
    }

    /// Ends every fault: from now on the world keeps its promises, and every node runs.
    pub fn heal(&mut self, cluster: &Cluster) {
        self.is_over = true;
        for what in std::mem::take(&mut self.until).into_keys() {
            self.undo(cluster, what);
        }
        cluster.world.borrow_mut().flush_resets = None;
        // With a node that stays away, a group of two would lose its leader with every packet that is sent again late.
        cluster.world.borrow_mut().net.for_all_ways(|way| way.loss = 0);
        for node in 0..cluster.machines_count() {
            cluster.world.borrow_mut().nodes[node].disk.write_faults.clear();
            cluster.world.borrow_mut().nodes[node].failures = 0;
            cluster.world.borrow_mut().nodes[node].dies_writing = None;
            cluster.world.borrow_mut().nodes[node].stop_order = None;
            cluster.resume(node);
            // What it could not read, or cannot while it starts, may be readable now.
            let is_unwell = {
                let world = cluster.world.borrow();
                world.nodes[node].has_quarantined || world.is_starting(node)
            };
            if is_unwell {
                cluster.kill(node, Death::Process);
            }
            cluster.boot(node);
        }
    }
}
