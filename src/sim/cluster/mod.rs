//! A cluster of real cores in the world, and what is done with it from outside.
//!
//! Read `config` (what a core is told) with `limits`, `machines`, `observer` with `counters` (what is seen of replicas),
//! `snapshots` (read back); this page; `processes` (nodes that start and end).

mod config;
mod counters;
#[cfg(test)]
mod disk_tests;
mod limits;
mod machines;
mod observer;
mod processes;
mod tables;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine::QueueLen;
use meta::ClusterMap;
use raft::Role;
use types::{GroupId, Instant, NodeId, ReplicaId};

use crate::broken::Broken;
use crate::client::{ClientNet, Workload};
use crate::cluster_spec::ClusterSpec;
use crate::observation::{Observation, ObservationKind};
use crate::world::{Shared, run_one};

pub use crate::world::Death;
pub use observer::Observations;

use observer::Views;

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

/// The node that a machine is, or may become.
pub(crate) fn node(cluster_spec: &ClusterSpec, number: crate::cluster_spec::NodeNumber) -> meta::Node {
    config::node(cluster_spec, number)
}

impl Cluster {
    /// Whether all rows stay in memory.
    pub(crate) fn keeps_all_rows(&self) -> bool {
        config::keeps_all_rows(self.seed, &self.cluster_spec)
    }

    /// A cluster whose nodes are all down.
    pub fn new(seed: u64, cluster_spec: &ClusterSpec, broken: Option<Broken>, is_told: bool) -> Cluster {
        let map = config::map(seed, cluster_spec);
        let world = machines::world(seed, cluster_spec, &map, broken, is_told);
        let cluster = Cluster {
            world: Rc::new(RefCell::new(world)),
            map,
            observations: Observations::default(),
            cluster_spec: cluster_spec.clone(),
            seed,
            views: Rc::default(),
        };
        cluster.observe_clocks();
        cluster
    }

    /// Notes how the clocks run. To be called whenever one of them was changed.
    pub fn observe_clocks(&self) {
        let world = self.world.borrow();
        let kind = ObservationKind::Clocks(world.nodes.iter().map(|node| node.clock.clone()).collect());
        let (at, place) = (Instant::from_nanos(world.now()), self.map.nodes[0].places().next());
        let place = place.expect("a node has cores");
        let seen = Observation { at, place, group: observer::NO_GROUP, replica: ReplicaId::default(), kind };
        self.observations.borrow_mut().push(seen);
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
            while run_one(&self.world) {}
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

    /// Lets a node's process stand still. Its machine goes on: what arrives waits.
    pub fn pause(&self, node: usize) {
        self.world.borrow_mut().pause(node);
    }

    /// Lets a process that stands still go on.
    pub fn resume(&self, node: usize) {
        self.world.borrow_mut().resume(node);
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

    /// Notes something about every replica of a node.
    pub fn observe_all(&self, node: usize, kind: &ObservationKind) {
        let at = Instant::from_nanos(self.world.borrow().now());
        let mut observations = self.observations.borrow_mut();
        let places: Vec<_> = {
            let world = self.world.borrow();
            world.cores[world.nodes[node].cores()].iter().map(|core| core.place).collect()
        };
        for place in places {
            let mut residents: BTreeMap<_, _> =
                self.map.replicas_at(place).map(|(group, replica)| (group.id, replica.id)).collect();
            let views = self.views.residents.borrow();
            residents.extend(views.iter().filter(|((at, _), _)| *at == place).map(|((_, group), id)| (*group, *id)));
            for (group, replica) in residents {
                observations.push(Observation { at, place, group, replica, kind: kind.clone() });
            }
        }
    }

    /// Index of a node, or of a machine to spare, by its number.
    pub fn node_idx(&self, number: u32) -> Option<usize> {
        self.world.borrow().nodes.iter().position(|node| node.id == NodeId(number))
    }

    /// How many machines there are, those to spare included.
    pub fn machines_count(&self) -> usize {
        self.world.borrow().nodes.len()
    }

    /// Index of a machine on which a new node may join.
    pub fn spare(&self) -> Option<usize> {
        let first = self.map.nodes.len();
        (self.machines_count() > first).then_some(first)
    }

    /// Where the node of a machine listens.
    pub(crate) fn machine(&self, idx: usize) -> meta::Node {
        config::node(&self.cluster_spec, idx as u32 + 1)
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
        self.views.replicas.borrow().values().for_each(|counters| add(&counters::of_raft(counters)));
        sums
    }
}
