//! The world of a run: nodes with their cores, clocks and disks, the network, the clients, and what happens next.
//!
//! A world decides nothing about processes: it notes who has ended, who is to be killed or started and which files have got
//! another name, and whoever owns it (the [`cluster`](crate::cluster)) acts on that between two events.
//!
//! `impl World` stands in this folder and nowhere else.
//!
//! Read the parts first: `node`, `stopped_turn`, `conn_table`, `core_state`, `tasks`, `operations`, `clients`; this page; then
//! what is done to them: `scheduler` (which task runs), `turns`, `mesh`, `storage` (disks), `connections` (what cores begin),
//! `frames` (what is done to what they send), `arrivals` (what the network brings), `processes`, `events`.

mod arrivals;
mod clients;
mod conn_table;
mod connections;
mod core_state;
mod events;
mod frames;
mod mesh;
mod node;
mod operations;
mod processes;
mod scheduler;
mod stopped_turn;
mod storage;
mod tasks;
mod turns;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use types::{GroupId, Instant, ReplicaId};

use crate::net::Net;
use crate::observation::Observation;
use crate::prng::Prng;
use crate::queue::Queue;
use crate::trace::Trace;

pub use clients::{ClientConn, ClientEvent};
pub use core_state::CoreState;
pub use node::{Death, Node, NodeState};
pub(crate) use operations::{Answer, Request};
pub(crate) use scheduler::run_one;
pub(crate) use stopped_turn::StopOrder;

use clients::Clients;
use operations::Operations;
use tasks::Tasks;

/// Connections over which a `FLUSHALL` is forwarded are reset. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushResets {
    /// Until when.
    pub(crate) until: u64,
    /// How soon at the latest.
    pub(crate) within: u64,
}

/// A scrub that has come to its end.
pub(crate) struct ScrubEnded {
    /// Of this core.
    pub(crate) core: usize,
    /// When it had begun, in nanoseconds.
    pub(crate) begun_at: u64,
    /// The numbers of the files that there were then.
    pub(crate) numbers: BTreeSet<u64>,
    /// The groups that it calls sound.
    pub(crate) sound: Vec<GroupId>,
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
    /// Replicas whose tables have changed: their core, and the group.
    pub(crate) tables_changed: Vec<(usize, GroupId, ReplicaId)>,
    /// Scrubs that have come to their end.
    pub(crate) scrubs_ended: Vec<ScrubEnded>,
    /// Nodes that have begun to write to a manifest since it was last taken.
    pub(crate) manifest_writes: Vec<usize>,
    /// Whether connections are reset behind a `FLUSHALL`.
    pub(crate) flush_resets: Option<FlushResets>,
    /// What replicas have told others of their disks since it was last taken.
    pub(crate) promises: Vec<Observation>,
    /// Whether it breaks what the engine relies on: then nothing that a node says of its disk is an objection.
    pub(crate) is_broken: bool,
    /// What a broken world forgets: the votes of a process.
    pub(crate) forgets_votes: bool,
    /// The core on which rows are altered, in a world that is broken so.
    pub alters_row_on: Option<usize>,
}

impl World {
    /// A world with these machines and this network, in which nothing has happened.
    pub(crate) fn new(seed: u64, nodes: Vec<Node>, cores: Vec<CoreState>, net: Net, is_told: bool) -> World {
        World {
            queue: Queue::default(),
            trace: Trace::new(is_told),
            net,
            nodes,
            cores,
            tasks: Tasks::default(),
            operations: Operations::default(),
            clients: Clients::default(),
            prng: Prng::stream(seed, "scheduler"),
            disk_prng: Prng::stream(seed, "disk"),
            counts: BTreeMap::new(),
            ended: Vec::new(),
            faults_due: Vec::new(),
            boots_due: Vec::new(),
            kills_due: Vec::new(),
            tables_changed: Vec::new(),
            scrubs_ended: Vec::new(),
            manifest_writes: Vec::new(),
            flush_resets: None,
            promises: Vec::new(),
            is_broken: false,
            forgets_votes: false,
            alters_row_on: None,
        }
    }

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
        node.state == NodeState::Up && self.cores[node.cores()].iter().any(|core| !core.conns.has_listened())
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
}

/// A world that many hands hold, one at a time.
pub type Shared = Rc<RefCell<World>>;
