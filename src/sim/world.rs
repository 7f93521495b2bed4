//! The world of a run: nodes with their cores, clocks and disks, the network, the clients, and what happens next.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use host::{NetEvent, WriteDone};
use types::{CoreAddr, GroupId, Instant};

use crate::client::Clients;
use crate::clock::NodeClock;
use crate::conns::Conns;
use crate::disk::NodeDisk;
use crate::executor::Tasks;
use crate::mesh::MeshInbox;
use crate::net::Net;
use crate::observation::Observation;
use crate::operations::Operations;
use crate::prng::{Ppm, Prng};
use crate::queue::{Event, Queue};
use crate::stopped_turn::{StopOrder, StoppedTurn};
use crate::trace::{Kind, Trace};

/// How long a turn takes at least, and what is added on average, in nanoseconds.
const TURN_MIN: u64 = 10_000;
const TURN_MEAN: u64 = 30_000;
/// How long a message takes to another core of the same node.
const MESH_MIN: u64 = 2_000;
const MESH_MEAN: u64 = 8_000;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Its process runs.
    Up,
    /// Its process has ended; the machine still answers that nobody is there.
    Down,
    /// The whole machine is dark.
    Dark,
}

/// A node: a machine with its clocks and its disk, and a process while there is one.
pub struct Node {
    /// How it stands.
    pub state: NodeState,
    /// Whether the process stands still.
    pub is_paused: bool,
    /// Number of its process, growing.
    pub epoch: u32,
    /// Its address.
    pub host: IpAddr,
    /// Its clocks.
    pub clock: NodeClock,
    /// Its disk.
    pub disk: NodeDisk,
    /// How long a disk operation takes at least, and what is added on average, in nanoseconds.
    pub disk_latency: (u64, u64),
    /// How likely a read fails.
    pub read_errors: Ppm,
    /// Tasks that would run if it did not stand still.
    pub(crate) owed_tasks: Vec<u32>,
    /// Index of its first core.
    pub first_core: usize,
    /// How many cores it has.
    pub cores_count: usize,
    /// Cores of its process that have ended well.
    pub(crate) cores_ended: usize,
    /// Drawn when its data directory was made.
    pub incarnation: u64,
    /// How often its process has ended by itself with an error since the last deliberate start.
    pub failures: u32,
    /// When it ends by itself: how long it stays down, in nanoseconds.
    pub(crate) restart_after: Option<u64>,
    /// Its next turn is to be stopped.
    pub(crate) stop_order: Option<StopOrder>,
    /// Whether its process dies in the middle of a log write, and how many more come before that one.
    pub(crate) dies_writing: Option<u32>,
    /// Whether its disk has lost or changed something that it had called durable.
    pub is_damaged: bool,
    /// Whether its disk has failed a request of its process.
    pub has_disk_failed: bool,
    /// Whether a replica of its process stays away because of what its disk holds.
    pub has_quarantined: bool,
}

/// What a core has of the world.
pub struct CoreState {
    /// Where it is.
    pub place: CoreAddr,
    /// Index of its node.
    pub node: usize,
    /// The process it belongs to.
    pub(crate) epoch: u32,
    /// Its turn loop, as long as there is one.
    pub(crate) turn_task: Option<u32>,
    pub(crate) inbox: VecDeque<NetEvent<Bytes>>,
    /// How many at the end of the inbox end no wait: sends begun in the turn that has just ended.
    pub(crate) quiet_count: usize,
    /// What the current turn has brought about, and whether it ends a wait. Seen by the next turn.
    pub(crate) staged: Vec<(NetEvent<Bytes>, bool)>,
    pub(crate) writes_done: VecDeque<WriteDone>,
    pub(crate) mesh: MeshInbox,
    /// Whether its turn is stopped, or goes on and has not come to where it was.
    pub(crate) stopped: Option<StoppedTurn>,
    pub(crate) is_notified: bool,
    pub(crate) is_parked: bool,
    pub(crate) is_scheduled: bool,
    pub(crate) deadline: Instant,
    park_timer_at: Option<u64>,
    busy_until: u64,
    pub(crate) conns: Conns,
    pub(crate) prng: Prng,
    /// When the last turn began, to tell how long the core has been busy.
    pub(crate) turns_count: u64,
}

/// Connections over which a `FLUSHALL` is forwarded are reset. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushResets {
    /// Until when.
    pub(crate) until: u64,
    /// How soon at the latest.
    pub(crate) within: u64,
}

/// Everything.
pub struct World {
    /// What happens next, and the time.
    pub queue: Queue,
    /// What has happened.
    pub trace: Trace,
    /// The network. Host `nodes.len()` is where the clients are.
    pub net: Net,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The cores of all nodes.
    pub cores: Vec<CoreState>,
    /// Tasks.
    pub(crate) tasks: Tasks,
    /// Disk operations under way.
    pub(crate) operations: Operations,
    /// The clients' ends of their connections.
    pub(crate) clients: Clients,
    /// Prng of the schedulers of all cores.
    pub(crate) prng: Prng,
    /// Prng of the disks.
    pub(crate) disk_prng: Prng,
    /// How often something happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Processes that have ended by themselves: node, epoch, what they said.
    pub(crate) ended: Vec<(usize, u32, Option<String>)>,
    /// Faults whose time has come.
    pub(crate) faults_due: Vec<u32>,
    /// Nodes to be started.
    pub(crate) boots_due: Vec<(usize, u32)>,
    /// Processes that a broken world ends.
    pub(crate) kills_due: Vec<(usize, u32)>,
    /// Snapshots that have got their names and are to be read back: core and group.
    pub(crate) snapshots_due: Vec<(usize, GroupId)>,
    /// Whether connections are reset behind a `FLUSHALL`.
    pub(crate) flush_resets: Option<FlushResets>,
    /// What replicas have told others of their disks since it was last taken.
    pub(crate) promises: Vec<Observation>,
    /// Whether it breaks what the engine relies on: then nothing that a node says of its disk is an objection.
    pub(crate) is_broken: bool,
    /// What a broken world forgets: the votes of a process.
    pub(crate) forgets_votes: bool,
}

impl CoreState {
    /// A core before its process starts.
    /// `mesh_count_max` is how many messages of another core of the node may wait for it.
    pub fn new(place: CoreAddr, node: usize, cores_count: usize, mesh_count_max: usize, prng: Prng) -> CoreState {
        CoreState {
            place,
            node,
            epoch: 0,
            turn_task: None,
            inbox: VecDeque::new(),
            quiet_count: 0,
            staged: Vec::new(),
            writes_done: VecDeque::new(),
            mesh: MeshInbox::new(cores_count, mesh_count_max),
            stopped: None,
            is_notified: false,
            is_parked: false,
            is_scheduled: false,
            deadline: Instant::ZERO,
            park_timer_at: None,
            busy_until: 0,
            conns: Conns::default(),
            prng,
            turns_count: 0,
        }
    }

    /// Forgets everything of a process that has ended, and begins another.
    pub(crate) fn reset(&mut self, epoch: u32, cores_count: usize) {
        let prng = self.prng.clone();
        let fresh = CoreState::new(self.place, self.node, cores_count, self.mesh.count_max(), prng);
        *self = CoreState { epoch, conns: std::mem::take(&mut self.conns), turns_count: self.turns_count, ..fresh };
        self.conns.clear();
    }

    fn is_due(&self) -> bool {
        self.is_notified
            || self.inbox.len() > self.quiet_count
            || !self.writes_done.is_empty()
            || self.mesh.has_messages()
    }
}

impl World {
    /// The true time, in nanoseconds since the beginning of the run.
    pub fn now(&self) -> u64 {
        self.queue.now()
    }

    /// Counts something.
    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Whether a node's disk has failed its process, or has ever lost or changed what it had called durable.
    pub(crate) fn is_provoked(&self, node: usize) -> bool {
        self.is_broken || self.nodes[node].has_disk_failed || self.nodes[node].is_damaged
    }

    /// Whether a node runs and some core of it has not come far enough yet to listen.
    pub(crate) fn is_starting(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        let mut cores = self.cores[node.first_core..node.first_core + node.cores_count].iter();
        node.state == NodeState::Up && cores.any(|core| core.conns.listeners_count == 0)
    }

    /// What a core's monotonic clock shows.
    pub(crate) fn local_time(&self, core: usize) -> Instant {
        self.nodes[self.cores[core].node].clock.now(self.now())
    }

    /// Whether a core handle belongs to the process that runs now.
    pub(crate) fn is_current(&self, core: usize, epoch: u32) -> bool {
        let core = &self.cores[core];
        core.epoch == epoch && self.nodes[core.node].state == NodeState::Up
    }

    // The turn loop.

    /// The turn loop waits. `can_wait` is false for a mere pause between two turns.
    pub(crate) fn park(&mut self, core: usize, deadline: Instant, can_wait: bool) {
        let state = &mut self.cores[core];
        for (event, is_quiet) in state.staged.drain(..) {
            state.quiet_count += usize::from(is_quiet);
            state.inbox.push_back(event);
        }
        state.stopped = None;
        state.is_parked = true;
        state.deadline = deadline;
        if !can_wait || state.is_due() {
            return self.wake_core(core);
        }
        self.set_park_timer(core);
    }

    fn set_park_timer(&mut self, core: usize) {
        let state = &self.cores[core];
        let at = self.nodes[state.node].clock.true_time(state.deadline, self.now());
        if at == u64::MAX || state.park_timer_at.is_some_and(|timer| timer <= at) {
            return;
        }
        let epoch = state.epoch;
        self.cores[core].park_timer_at = Some(at);
        self.queue.push(at, Event::ParkTimer { core: core as u32, epoch });
    }

    /// The turn loop goes on.
    pub(crate) fn unpark(&mut self, core: usize) {
        let state = &mut self.cores[core];
        state.is_parked = false;
        state.is_scheduled = false;
        state.is_notified = false;
        state.quiet_count = 0;
    }

    /// Ends a wait of the turn loop, once the turn before has taken its time.
    pub(crate) fn wake_core(&mut self, core: usize) {
        let now = self.now();
        let state = &mut self.cores[core];
        if !state.is_parked || state.is_scheduled {
            return;
        }
        state.is_scheduled = true;
        let (at, epoch) = (state.busy_until.max(now), state.epoch);
        self.queue.push(at, Event::Turn { core: core as u32, epoch });
    }

    fn on_turn(&mut self, core: usize) {
        let cost = self.prng.latency(TURN_MIN, TURN_MEAN);
        let now = self.now();
        let state = &mut self.cores[core];
        state.busy_until = now + cost;
        state.turns_count += 1;
        if let Some(task) = state.turn_task {
            self.trace.add(now, Kind::Turn, [core as u64, cost]);
            self.stop_turn_if_ordered(core);
            self.make_ready(task);
        }
    }

    fn on_park_timer(&mut self, core: usize) {
        let now = self.now();
        let state = &mut self.cores[core];
        if state.park_timer_at == Some(now) {
            state.park_timer_at = None;
        }
        if !state.is_parked || state.is_scheduled {
            return;
        }
        if self.local_time(core) >= self.cores[core].deadline {
            self.wake_core(core);
        } else {
            self.set_park_timer(core);
        }
    }

    // The mesh.

    /// Sends a message to another core of the same node.
    pub(crate) fn mesh_send(
        &mut self,
        core: usize,
        to: types::CoreId,
        message: engine::MeshMessage,
    ) -> Result<(), engine::MeshMessage> {
        let state = &self.cores[core];
        let (node, from) = (&self.nodes[state.node], state.place.core);
        if usize::from(to.0) >= node.cores_count {
            return Err(message);
        }
        let target = node.first_core + usize::from(to.0);
        if self.cores[target].turn_task.is_none() {
            return Err(message);
        }
        if let Err(message) = self.cores[target].mesh.push(from, message) {
            self.count("a mesh was full");
            return Err(message);
        }
        let at = self.now() + self.prng.latency(MESH_MIN, MESH_MEAN);
        let epoch = self.cores[target].epoch;
        self.queue.push(at, Event::Mesh { core: target as u32, epoch, from: from.0 });
        Ok(())
    }

    fn on_mesh(&mut self, core: usize, from: u16) {
        self.trace.add(self.queue.now(), Kind::Mesh, [core as u64, u64::from(from)]);
        self.cores[core].mesh.arrive(types::CoreId(from));
        self.wake_core(core);
    }

    // What happens.

    /// Lets one event happen.
    pub(crate) fn handle(&mut self, event: Event) {
        match event {
            Event::Turn { core, epoch } => {
                if self.is_current(core as usize, epoch) {
                    self.on_turn(core as usize);
                }
            }
            Event::ParkTimer { core, epoch } => {
                if self.is_current(core as usize, epoch) {
                    self.on_park_timer(core as usize);
                }
            }
            Event::Wake { task, generation } => {
                if self.tasks.is_there(task, generation) {
                    self.make_ready(task);
                }
            }
            Event::DiskEnd { op, generation } => self.on_disk_end(op, generation),
            Event::Deliver { .. } | Event::Syn { .. } | Event::SynAck { .. } | Event::Reset { .. } => {
                self.on_net(event);
            }
            Event::Mesh { core, epoch, from } => {
                if self.is_current(core as usize, epoch) {
                    self.on_mesh(core as usize, from);
                }
            }
            Event::ClientTimer { token } => self.clients.timer(token),
            Event::Fault { idx } => self.faults_due.push(idx),
            Event::Resume { node, epoch } => {
                if self.nodes[node as usize].epoch == epoch {
                    self.resume(node as usize);
                }
            }
            Event::Kill { node, epoch } => self.kills_due.push((node as usize, epoch)),
            Event::Boot { node, epoch } => self.boots_due.push((node as usize, epoch)),
        }
    }
}

/// A world that many hands hold, one at a time.
pub type Shared = Rc<std::cell::RefCell<World>>;
