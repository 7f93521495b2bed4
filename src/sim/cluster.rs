//! A cluster of real cores in the world: starting nodes, and all the ways in which they end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use engine::{Core, MeshMessage, Observer, QueueLen};
use meta::{Bootstrap, ClusterId, ClusterMap, Settings};
use raft::Role;
use types::{GroupId, Instant, NodeId, ReplicaId};

use crate::client::{ClientNet, Workload};
use crate::clock::NodeClock;
use crate::disk::{NodeDisk, SECTOR_BYTES};
use crate::executor;
use crate::host::SimHost;
use crate::limits;
use crate::net::{Net, Way};
use crate::observation::{Observation, ObservationKind};
use crate::observer::{CoreObserver, NO_GROUP, Observations, Views};
use crate::prng::Prng;
use crate::queue::{Event, Queue};
use crate::snapshots;
use crate::spec::{Broken, ClusterSpec};
use crate::trace::{Kind, Trace};
use crate::world::{CoreState, Node, NodeState, Shared, World};

/// Where a node keeps its data on its disk.
pub(crate) const DATA_DIR: &str = "/data";
const GATEWAY_PORT: u16 = 7_000;
const CORE_PORT: u16 = 7_001;
const PEER_PORT: u16 = 8_000;
const ADMIN_PORT: u16 = 9_000;
/// After this number of failures in a row a node is left alone, as an operator's tools would.
const FAILURES_MAX: u32 = 5;
/// How long a node that has ended by itself stays down, in nanoseconds.
const RESTART_AFTER: u64 = 500_000_000;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process alone: its machine answers for it.
    Process,
    /// The machine: it falls silent.
    Machine,
}

/// A cluster and its world.
pub struct Cluster {
    /// The world.
    pub world: Shared,
    /// What clients and cores know of the cluster.
    pub map: ClusterMap,
    /// What the replicas have done since it was last taken.
    pub observations: Observations,
    cluster_spec: ClusterSpec,
    seed: u64,
    views: Rc<Views>,
}

impl Drop for Cluster {
    /// Tasks hold the world that holds them: they end here.
    fn drop(&mut self) {
        let tasks = {
            let world = &mut *self.world.borrow_mut();
            world.tasks.remove_of(0..world.cores.len())
        };
        drop(tasks);
    }
}

impl Cluster {
    /// A cluster whose nodes are all down.
    pub fn new(seed: u64, cluster_spec: &ClusterSpec, broken: Option<Broken>, is_told: bool) -> Cluster {
        let map = map(seed, cluster_spec);
        let mut prng = Prng::stream(seed, "machines");
        let (mut nodes, mut cores) = (Vec::new(), Vec::new());
        for (idx, spec) in map.nodes.iter().enumerate() {
            let bound = i64::from(cluster_spec.drift_ppm_max) / 2;
            let drift = prng.range(0, 2 * bound as u64) as i64 - bound;
            let mut disk = NodeDisk::new(prng.pick(&SECTOR_BYTES));
            disk.forgets = broken == Some(Broken::ForgetfulDisk);
            let first_core = cores.len();
            for place in spec.places() {
                let stream = Prng::stream(seed, &format!("core {place}"));
                let mesh_count_max = cluster_spec.mesh_count_max;
                cores.push(CoreState::new(place, idx, usize::from(spec.cores), mesh_count_max, stream));
            }
            nodes.push(Node {
                state: NodeState::Down,
                is_paused: false,
                epoch: 0,
                host: spec.host,
                clock: NodeClock::new(prng.below(1 << 50), drift),
                disk,
                disk_latency: (prng.range(20_000, 200_000), prng.range(10_000, 300_000)),
                read_errors: 0,
                owed_tasks: Vec::new(),
                first_core,
                cores_count: usize::from(spec.cores),
                cores_ended: 0,
                incarnation: prng.next_u64(),
                failures: 0,
                restart_after: None,
                stop_order: None,
                dies_writing: None,
                is_damaged: false,
                has_disk_failed: false,
                has_quarantined: false,
            });
        }
        let way = Way {
            cuts: 0,
            delay_min: prng.range(10_000, 300_000),
            delay_mean: prng.range(10_000, 400_000),
            loss: prng.pick(&[0, 0, 100, 2_000]),
            pieces: prng.pick(&[0, 20_000, 300_000]),
            drop: 0,
            repeat: 0,
            reorder: 0,
            alter: if broken == Some(Broken::ForgedFrames) { 2_000 } else { 0 },
        };
        let give_up_after = prng.range(2, 15) * 1_000_000_000;
        let net = Net::new(nodes.len() + 1, way, give_up_after, Prng::stream(seed, "net"));
        let world = World {
            queue: Queue::default(),
            trace: Trace::new(is_told),
            net,
            nodes,
            cores,
            tasks: Default::default(),
            operations: Default::default(),
            clients: Default::default(),
            prng: Prng::stream(seed, "scheduler"),
            disk_prng: Prng::stream(seed, "disk"),
            counts: BTreeMap::new(),
            ended: Vec::new(),
            faults_due: Vec::new(),
            boots_due: Vec::new(),
            kills_due: Vec::new(),
            snapshots_due: Vec::new(),
            flush_resets: None,
            promises: Vec::new(),
            is_broken: broken.is_some(),
            forgets_votes: broken == Some(Broken::ForgottenVote),
        };
        Cluster {
            world: Rc::new(RefCell::new(world)),
            map,
            observations: Observations::default(),
            cluster_spec: cluster_spec.clone(),
            seed,
            views: Rc::default(),
        }
    }

    /// Starts a node on what its disk holds. Nothing happens if it runs.
    pub fn boot(&self, node: usize) {
        let is_damaged = self.world.borrow().nodes[node].is_damaged;
        if is_damaged && self.world.borrow().nodes[node].state != NodeState::Up {
            // Told only now: what it acknowledged before it died may still be on its way.
            self.observe_all(node, &ObservationKind::Damaged);
        }
        let (epoch, first_core, cores_count, incarnation) = {
            let world = &mut *self.world.borrow_mut();
            let now = world.now();
            let state = &mut world.nodes[node];
            if state.state == NodeState::Up {
                return;
            }
            state.state = NodeState::Up;
            state.epoch += 1;
            state.cores_ended = 0;
            state.has_quarantined = false;
            state.has_disk_failed = false;
            let (epoch, first_core, cores_count) = (state.epoch, state.first_core, state.cores_count);
            for core in first_core..first_core + cores_count {
                world.cores[core].reset(epoch, cores_count);
            }
            world.trace.add(now, Kind::Process, [node as u64, u64::from(epoch)]);
            world.trace.tell(now, format_args!("node {} starts", node + 1));
            (epoch, first_core, cores_count, world.nodes[node].incarnation)
        };
        for core in first_core..first_core + cores_count {
            let host = SimHost::new(self.world.clone(), core, epoch);
            let config = self.core_config(core, incarnation);
            let observer: Rc<dyn Observer> = Rc::new(CoreObserver {
                world: self.world.clone(),
                core,
                epoch,
                observations: self.observations.clone(),
                views: self.views.clone(),
                digests: RefCell::default(),
            });
            let world = self.world.clone();
            let task = self.world.borrow_mut().spawn(
                core,
                Box::pin(async move {
                    let result = async {
                        let mut core = Core::start_observed(host, config, Some(observer)).await?;
                        core.listen()?;
                        core.run().await
                    }
                    .await;
                    let said = result.err().map(|error: engine::Error| error.to_string());
                    world.borrow_mut().ended.push((node, epoch, said));
                }),
            );
            self.world.borrow_mut().cores[core].turn_task = Some(task);
        }
    }

    fn core_config(&self, core: usize, incarnation: u64) -> engine::Config {
        let place = self.world.borrow().cores[core].place;
        let data_dir = PathBuf::from(DATA_DIR);
        let mut config = engine::Config {
            segment_bytes: self.cluster_spec.segment_bytes,
            block_bytes_max: self.cluster_spec.block_bytes_max,
            batch_bytes_max: self.cluster_spec.batch_bytes_max,
            group_log_bytes_max: self.cluster_spec.group_log_bytes_max,
            log_bytes_max: self.cluster_spec.log_bytes_max,
            log_tail_bytes_max: self.cluster_spec.log_tail_bytes_max,
            cache_bytes_max: self.cluster_spec.cache_bytes_max,
            memory_bytes_max: self.cluster_spec.memory_bytes_max,
            leader_wait: Duration::from_millis(u64::from(self.cluster_spec.timing_ms.2) * 4),
            ..engine::Config::new(place, self.map.clone(), incarnation, data_dir)
        };
        limits::limit(self.seed, &self.cluster_spec, &mut config);
        config
    }

    /// Resets all connections that a node, or the clients if there is none, has made to another.
    pub fn reset_streams(&self, from: Option<usize>, to: usize) {
        let world = &mut *self.world.borrow_mut();
        let from = from.unwrap_or(world.nodes.len());
        for id in world.net.ids() {
            let Some(stream) = world.net.stream(id) else { continue };
            if stream.sides[0].host == from && stream.sides[1].host == to {
                world.reset_stream(id);
            }
        }
    }

    /// Ends a node's process at once.
    pub fn kill(&self, node: usize, death: Death) {
        let futures = {
            let world = &mut *self.world.borrow_mut();
            if world.nodes[node].state != NodeState::Up {
                if death == Death::Machine {
                    world.nodes[node].state = NodeState::Dark;
                    world.lose_power(node);
                }
                return;
            }
            let now = world.now();
            world.trace.add(now, Kind::Process, [node as u64, 0]);
            world.trace.tell(now, format_args!("node {} dies: {death:?}", node + 1));
            if world.is_starting(node) {
                world.count("a process died while it was starting");
            }
            let state = &mut world.nodes[node];
            state.state = if death == Death::Machine { NodeState::Dark } else { NodeState::Down };
            state.is_paused = false;
            state.owed_tasks.clear();
            let cores = state.first_core..state.first_core + state.cores_count;
            let futures = world.tasks.remove_of(cores.clone());
            world.tear_operations(cores.clone(), death);
            if death == Death::Machine {
                world.lose_power(node);
            }
            let World { nodes, disk_prng, .. } = world;
            nodes[node].disk.crash(disk_prng);
            for listeners in world.net.listeners.values_mut() {
                listeners.retain(|(core, _)| !cores.contains(core));
            }
            for core in cores {
                for (stream, side) in world.cores[core].conns.streams() {
                    world.net.die(stream, side, death == Death::Machine, &mut world.queue);
                    world.drop_if_deserted(stream);
                }
                let (epoch, cores_count) = (world.nodes[node].epoch, world.nodes[node].cores_count);
                world.cores[core].reset(epoch, cores_count);
            }
            futures
        };
        // They may touch the world once more.
        drop(futures);
        self.observe_all(node, &ObservationKind::Stopped);
    }

    /// Notes something about every replica of a node.
    pub fn observe_all(&self, node: usize, kind: &ObservationKind) {
        let at = Instant::from_nanos(self.world.borrow().now());
        let mut observations = self.observations.borrow_mut();
        for place in self.map.nodes[node].places() {
            for (group, replica) in self.map.replicas_at(place) {
                observations.push(Observation {
                    at,
                    place,
                    group: group.id,
                    replica: replica.id,
                    kind: kind.clone(),
                });
            }
        }
    }

    /// Asks a node to stop in an orderly way. It is started again this long after it has ended, in nanoseconds.
    pub fn stop(&self, node: usize, restart_after: u64) {
        let world = &mut *self.world.borrow_mut();
        if world.nodes[node].state != NodeState::Up {
            return;
        }
        world.nodes[node].restart_after = Some(restart_after);
        let first = world.nodes[node].first_core;
        for core in first..first + world.nodes[node].cores_count {
            let own = world.cores[core].place.core;
            if world.cores[core].mesh.push(own, MeshMessage::Stop).is_ok() {
                world.cores[core].mesh.arrive(own);
                world.wake_core(core);
            }
        }
    }

    /// Lets a node's process stand still. Its machine goes on: what arrives waits.
    pub fn pause(&self, node: usize) {
        self.world.borrow_mut().pause(node);
    }

    /// Lets a process that stands still go on.
    pub fn resume(&self, node: usize) {
        self.world.borrow_mut().resume(node);
    }

    /// Lets clients begin.
    pub fn start(&self, workload: &mut dyn Workload) {
        workload.start(&ClientNet::new(self.world.clone()));
    }

    /// Lets everything happen up to a true time, with these clients.
    pub fn run_with(&self, end: u64, workload: &mut dyn Workload) {
        let net = ClientNet::new(self.world.clone());
        self.run_until(end, |cluster| {
            loop {
                let Some(event) = cluster.world.borrow_mut().clients.events.pop_front() else { return true };
                workload.event(&net, event);
            }
        });
    }

    /// Lets everything happen up to a true time; `after` is called after every step and says whether to go on.
    pub fn run_until(&self, end: u64, mut after: impl FnMut(&Cluster) -> bool) {
        loop {
            while executor::run_one(&self.world) {}
            self.observations.borrow_mut().append(&mut self.world.borrow_mut().promises);
            self.attend();
            if !after(self) {
                return;
            }
            let world = &mut *self.world.borrow_mut();
            let Some(event) = world.queue.pop(end) else {
                world.queue.pass(end);
                return;
            };
            world.trace.show_time(world.queue.now());
            world.handle(event);
        }
    }

    /// Sees to processes that have ended by themselves, and to those that are to be started.
    fn attend(&self) {
        {
            let world = self.world.borrow();
            let has_nothing = world.ended.is_empty() && world.boots_due.is_empty() && world.kills_due.is_empty();
            if has_nothing && world.snapshots_due.is_empty() {
                return;
            }
        }
        self.read_snapshots_back();
        let kills = std::mem::take(&mut self.world.borrow_mut().kills_due);
        for (node, epoch) in kills {
            if self.world.borrow().nodes[node].epoch == epoch {
                self.kill(node, Death::Process);
                let restart_after = self.world.borrow_mut().nodes[node].restart_after.take();
                let now = self.world.borrow().now();
                self.boot_at(node, now + restart_after.unwrap_or(1_000_000));
            }
        }
        let ended = std::mem::take(&mut self.world.borrow_mut().ended);
        for (node, epoch, said) in ended {
            self.on_ended(node, epoch, said);
        }
        let boots = std::mem::take(&mut self.world.borrow_mut().boots_due);
        for (node, epoch) in boots {
            let is_due = {
                let world = self.world.borrow();
                world.nodes[node].epoch == epoch && world.nodes[node].state != NodeState::Up
            };
            if is_due {
                self.boot(node);
            }
        }
    }

    /// Tells the checkers what is in snapshots that have just got their names.
    fn read_snapshots_back(&self) {
        let due = std::mem::take(&mut self.world.borrow_mut().snapshots_due);
        for (core, group) in due {
            let (node, place) = {
                let world = self.world.borrow();
                (world.cores[core].node, world.cores[core].place)
            };
            let kind = match snapshots::read_back(&self.world, node, group) {
                Ok((index, digest)) => ObservationKind::Snapshot { index, digest },
                Err(error) => {
                    let is_provoked = self.world.borrow().is_provoked(node);
                    ObservationKind::BadSnapshot { error, is_provoked }
                }
            };
            let at = Instant::from_nanos(self.world.borrow().now());
            let replica = self.map.replicas_at(place).find(|(other, _)| other.id == group);
            let replica = replica.map_or(ReplicaId::default(), |(_, replica)| replica.id);
            self.world.borrow_mut().count("a snapshot was read back");
            self.observations.borrow_mut().push(Observation { at, place, group, replica, kind });
        }
    }

    fn on_ended(&self, node: usize, epoch: u32, said: Option<String>) {
        let failed = {
            let world = &mut *self.world.borrow_mut();
            let now = world.now();
            let state = &mut world.nodes[node];
            if state.epoch != epoch || state.state != NodeState::Up {
                return;
            }
            match said {
                None => {
                    state.cores_ended += 1;
                    if state.cores_ended < state.cores_count {
                        return;
                    }
                    world.trace.tell(now, format_args!("node {} has stopped", node + 1));
                    world.count("a node stopped in order");
                    false
                }
                Some(error) => {
                    state.failures += 1;
                    let is_provoked = world.is_provoked(node);
                    let place = world.cores[world.nodes[node].first_core].place;
                    let kind = ObservationKind::Ended { error: error.clone(), is_provoked };
                    let at = Instant::from_nanos(now);
                    let seen = Observation { at, place, group: NO_GROUP, replica: ReplicaId::default(), kind };
                    self.observations.borrow_mut().push(seen);
                    world.trace.tell(now, format_args!("node {} fails: {error}", node + 1));
                    world.count("a node ended by itself");
                    true
                }
            }
        };
        self.kill(node, Death::Process);
        let world = &mut *self.world.borrow_mut();
        let is_wanted = failed || world.nodes[node].restart_after.is_some();
        if is_wanted && world.nodes[node].failures <= FAILURES_MAX {
            let at = world.now() + world.nodes[node].restart_after.take().unwrap_or(RESTART_AFTER);
            world.queue.push(at, Event::Boot { node: node as u32, epoch });
        }
    }

    /// Starts a node at a later time, unless it has been started by then.
    pub fn boot_at(&self, node: usize, at: u64) {
        let world = &mut *self.world.borrow_mut();
        let epoch = world.nodes[node].epoch;
        world.queue.push(at, Event::Boot { node: node as u32, epoch });
    }

    /// Index of a node by its number.
    pub fn node_idx(&self, number: u32) -> Option<usize> {
        self.map.nodes.iter().position(|node| node.id == NodeId(number))
    }

    /// Index of the node that was last elected to lead a group, and when, as far as observations have not been taken out.
    pub fn elected(&self, group: GroupId) -> Option<(usize, Instant)> {
        self.observations.borrow().iter().rev().find_map(|seen| match seen.kind {
            ObservationKind::Role { role: Role::Leader, .. } if seen.group == group => {
                self.node_idx(seen.place.node.0).map(|node| (node, seen.at))
            }
            _ => None,
        })
    }

    /// Lets every replica tell the digest of its state at its next tick, if it has not told it since the last entry.
    pub fn ask_for_digests(&self) {
        self.views.asks_for_digests.set(true);
    }

    /// The fullest that each kind of queue has been.
    pub fn queues(&self) -> Vec<QueueLen> {
        self.views.queues.borrow().clone()
    }

    /// What all cores of all processes have counted, added up by name.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        let mut add = |counts: &[(&'static str, u64)]| {
            for (name, count) in counts {
                *sums.entry((*name).to_owned()).or_default() += count;
            }
        };
        self.views.counts.borrow().values().for_each(|counts| add(counts));
        self.views.replicas.borrow().values().for_each(|counters| add(&crate::counters::of_raft(counters)));
        sums
    }
}

/// The first map of a seed's cluster.
fn map(seed: u64, cluster_spec: &ClusterSpec) -> ClusterMap {
    let nodes = (1..=cluster_spec.nodes).map(|number| meta::Node {
        id: NodeId(number),
        host: IpAddr::from([127, 0, 0, number as u8]),
        gateway_port: GATEWAY_PORT,
        core_port: CORE_PORT,
        peer_port: PEER_PORT,
        admin_port: ADMIN_PORT,
        cores: cluster_spec.cores,
        rack: None,
    });
    let (heartbeat, shortest, longest) = cluster_spec.timing_ms;
    let settings = Settings {
        replication_factor: cluster_spec.nodes.min(5) as u8,
        read_mode: cluster_spec.read_mode,
        heartbeat_interval_ms: heartbeat,
        election_timeout_min_ms: shortest,
        election_timeout_max_ms: longest,
        clock_drift_ppm_max: cluster_spec.drift_ppm_max,
    };
    let bootstrap = Bootstrap {
        cluster_id: ClusterId(u128::from(seed)),
        nodes: nodes.collect(),
        groups_count: cluster_spec.groups,
        settings,
    };
    ClusterMap::bootstrap(&bootstrap).expect("the shapes of seeds make valid maps")
}
