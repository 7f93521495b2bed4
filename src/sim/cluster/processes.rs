//! The processes of a cluster: how they are started, all the ways in which they end, and what is done about that.

use std::cell::RefCell;
use std::rc::Rc;

use engine::{Core, MeshMessage, Observer};
use meta::ClusterMap;
use types::{Instant, NodeId, ReplicaId};

use super::observer::{CoreObserver, NO_GROUP};
use super::{Cluster, config, tables};
use crate::host::SimHost;
use crate::observation::{Observation, ObservationKind};
use crate::queue::Event;
use crate::world::{Death, NodeState, ScrubEnded};

/// After this number of failures in a row a node is left alone, as an operator's tools would.
const FAILURES_MAX: u32 = 5;
/// How long a node that has ended by itself stays down, in nanoseconds.
const RESTART_AFTER: u64 = 500_000_000;

impl Cluster {
    /// A machine becomes a node, with this id and the map of which the cluster has told it, and starts.
    pub fn admit(&self, machine: usize, id: NodeId, latest: ClusterMap) {
        {
            let world = &mut *self.world.borrow_mut();
            world.count("a node joined");
            world.nodes[machine].id = id;
            world.nodes[machine].latest_map = Some(latest);
            world.nodes[machine].failures = 0;
            for core in world.nodes[machine].cores() {
                world.cores[core].place.node = id;
            }
        }
        self.boot(machine);
    }

    /// Starts a node on what its disk holds. Nothing happens if it runs, or is no part of the cluster.
    pub fn boot(&self, node: usize) {
        if self.world.borrow().nodes[node].latest_map.is_none() {
            return;
        }
        let is_damaged = self.world.borrow().nodes[node].is_damaged;
        if is_damaged && self.world.borrow().nodes[node].state != NodeState::Up {
            // Told only now: what it acknowledged before it died may still be on its way.
            self.observe_all(node, &ObservationKind::Damaged);
        }
        let Some(epoch) = self.world.borrow_mut().begin_process(node) else { return };
        let cores = self.world.borrow().nodes[node].cores();
        for core in cores {
            self.spawn_core(node, core, epoch);
        }
    }

    /// Starts the turn loop of a core of a process.
    fn spawn_core(&self, node: usize, core: usize, epoch: u32) {
        let host = SimHost::new(self.world.clone(), core, epoch);
        let config = {
            let world = self.world.borrow();
            let (place, data) = (world.cores[core].place, &world.nodes[node]);
            let config = config::core_config(self.seed, &self.cluster_spec, &self.map, place, data.incarnation);
            let latest_map = data.latest_map.clone().expect("only nodes of the cluster start");
            engine::Config { has_come_back: data.has_come_back, latest_map, ..config }
        };
        let observer: Rc<dyn Observer> = Rc::new(CoreObserver {
            world: self.world.clone(),
            core,
            epoch,
            observations: self.observations.clone(),
            views: self.views.clone(),
            digests: RefCell::default(),
            scrub_begun: RefCell::default(),
        });
        let world = self.world.clone();
        let turn_loop = async move {
            let result = async {
                let mut core = Core::start_observed(host, config, Some(observer)).await?;
                core.listen()?;
                core.run().await
            }
            .await;
            let world = &mut *world.borrow_mut();
            let said = match result {
                // As it should: it is not started again.
                Err(engine::Error::Removed { .. }) if world.nodes[node].is_leaving => {
                    world.nodes[node].is_told_removed = true;
                    None
                }
                result => result.err().map(|error: engine::Error| error.to_string()),
            };
            world.ended.push((node, epoch, said));
        };
        let task = self.world.borrow_mut().spawn(core, Box::pin(turn_loop));
        self.world.borrow_mut().cores[core].turn_task = Some(task);
    }

    /// Ends a node's process at once.
    pub fn kill(&self, node: usize, death: Death) {
        let Some(tasks) = self.world.borrow_mut().end_process(node, death) else { return };
        // They may touch the world once more.
        drop(tasks);
        self.observe_all(node, &ObservationKind::Stopped);
    }

    /// Asks a node to stop in an orderly way. It is started again this long after it has ended, in nanoseconds.
    pub fn stop(&self, node: usize, restart_after: u64) {
        let world = &mut *self.world.borrow_mut();
        if world.nodes[node].state != NodeState::Up {
            return;
        }
        world.nodes[node].restart_after = Some(restart_after);
        for core in world.nodes[node].cores() {
            let own = world.cores[core].place.core;
            if world.cores[core].mesh.push(own, MeshMessage::Stop).is_ok() {
                world.cores[core].mesh.arrive(own);
                world.wake_core(core);
            }
        }
    }

    /// Starts a node at a later time, unless it has been started by then.
    pub fn boot_at(&self, node: usize, at: u64) {
        let world = &mut *self.world.borrow_mut();
        let epoch = world.nodes[node].epoch;
        world.queue.push(at, Event::Boot { node: node as u32, epoch });
    }

    /// Sees to processes that have ended by themselves, and to those that are to be started.
    pub(super) fn attend(&self) {
        {
            let world = self.world.borrow();
            let has_nothing = world.ended.is_empty() && world.boots_due.is_empty() && world.kills_due.is_empty();
            if has_nothing && world.tables_changed.is_empty() && world.scrubs_ended.is_empty() {
                return;
            }
        }
        self.read_tables_back();
        self.check_scrubs();
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

    /// Tells the checkers what is in tables that have just changed.
    fn read_tables_back(&self) {
        let changed = std::mem::take(&mut self.world.borrow_mut().tables_changed);
        for (core, group, replica) in changed {
            let (node, place) = {
                let world = self.world.borrow();
                (world.cores[core].node, world.cores[core].place)
            };
            let kind = match tables::read_back(&self.world, node, place.core, group) {
                Ok((index, digest)) => ObservationKind::Tables { index, digest },
                Err(error) => {
                    let is_provoked = self.world.borrow().is_provoked(node);
                    ObservationKind::BadTables { error, is_provoked }
                }
            };
            let at = Instant::from_nanos(self.world.borrow().now());
            self.world.borrow_mut().count("tables were read back");
            self.observations.borrow_mut().push(Observation { at, place, group, replica, kind });
        }
    }

    /// Looks for itself whether what a scrub calls sound is.
    fn check_scrubs(&self) {
        let ended = std::mem::take(&mut self.world.borrow_mut().scrubs_ended);
        for ScrubEnded { core, begun_at, numbers, sound } in ended {
            let (node, place, damaged_at) = {
                let world = self.world.borrow();
                let node = world.cores[core].node;
                (node, world.cores[core].place, world.nodes[node].damaged_at)
            };
            // What has rotted since may have been read before.
            if damaged_at >= begun_at {
                continue;
            }
            for group in sound {
                let Err(error) = tables::verify(&self.world, node, place.core, group, &numbers) else { continue };
                let at = Instant::from_nanos(self.world.borrow().now());
                let kind = ObservationKind::OverlookedRot { error };
                self.observations.borrow_mut().push(Observation {
                    at,
                    place,
                    group,
                    replica: ReplicaId::default(),
                    kind,
                });
            }
        }
    }

    /// A core of a process has come to its end by itself, with an error or without.
    fn on_ended(&self, node: usize, epoch: u32, said: Option<String>) {
        {
            let world = self.world.borrow();
            if world.nodes[node].epoch != epoch || world.nodes[node].state != NodeState::Up {
                return;
            }
        }
        let has_failed = said.is_some();
        match said {
            Some(error) => self.on_failed(node, error),
            None if self.world.borrow().nodes[node].is_told_removed => {}
            None if !self.world.borrow_mut().core_ended(node) => return,
            None => {}
        }
        self.kill(node, Death::Process);
        let world = &mut *self.world.borrow_mut();
        let is_wanted = has_failed || world.nodes[node].restart_after.is_some();
        let is_wanted = is_wanted && !world.nodes[node].is_told_removed;
        if is_wanted && world.nodes[node].failures <= FAILURES_MAX {
            let at = world.now() + world.nodes[node].restart_after.take().unwrap_or(RESTART_AFTER);
            world.queue.push(at, Event::Boot { node: node as u32, epoch });
        }
    }

    /// Notes the error with which a process has ended.
    fn on_failed(&self, node: usize, error: String) {
        let world = &mut *self.world.borrow_mut();
        let now = world.now();
        world.nodes[node].failures += 1;
        world.trace.tell(now, format_args!("node {} fails: {error}", node + 1));
        world.count("a node ended by itself");
        let is_provoked = world.is_provoked(node);
        let place = world.cores[world.nodes[node].first_core].place;
        let kind = ObservationKind::Ended { error, is_provoked };
        let at = Instant::from_nanos(now);
        let seen = Observation { at, place, group: NO_GROUP, replica: ReplicaId::default(), kind };
        self.observations.borrow_mut().push(seen);
    }
}
