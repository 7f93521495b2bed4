//! The cluster as this core knows it: its map, and what CLUSTER tells clients.
//!
//! Pure: who leads and who is connected comes in through [`topology_view`](crate::topology_view), what is to be proposed
//! goes out as bytes.
//!
//! Read [`map`], then [`topology`], [`replies`], [`listings`] and [`status`]; [`steward`], which drives the planner, and [`tasks`], which tell what it is about.

mod listings;
mod map;
mod replies;
mod status;
mod steward;
mod tasks;
mod topology;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meta::ClusterMap;
use resp::{Args, Command, CommandId, Reply};
use types::{CoreAddr, Instant, NodeId, Slot, Term};

use crate::config::Config;
use crate::context::Context;
use crate::error::Error;
use crate::observe::{CoreReport, Counters};
use crate::origin::Origin;
use crate::replies::ReplySink;
use crate::topology_view::{LeaderTable, LinkTable};
use map::KnownMap;
pub(crate) use map::MAP_GROUP;
use replies::ReplyCache;
pub(crate) use steward::{PlannedStep, PlannerSettings, Prospect, RoundResult, Steward};
pub(crate) use tasks::{Foretold, write_foretold, write_tasks};
use topology::Topology;
use wire::{Healths, NodeHealth};

/// How long to wait for an answer before another core is asked for its map.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What was told of the nodes counts for so long.
const HEALTHS_AGE_MAX: Duration = Duration::from_secs(10);

/// What a core knows of its cluster.
pub(crate) struct Cluster {
    config: Rc<Config>,
    known: KnownMap,
    topology: Topology,
    cache: ReplyCache,
    /// When another core was last asked for its map.
    asked_at: Instant,
    /// How whoever leads group 0 finds the nodes, as of when it was told.
    healths: Option<(Instant, Healths)>,
}

impl Cluster {
    /// A core that knows its configuration and nothing else yet.
    pub(crate) fn new(config: Rc<Config>) -> Cluster {
        let known = KnownMap::new(config.map.clone(), config.latest_map.clone());
        Cluster {
            config,
            known,
            topology: Topology::default(),
            cache: ReplyCache::default(),
            asked_at: Instant::ZERO,
            healths: None,
        }
    }

    /// The latest map known.
    pub(crate) fn map(&self) -> &Arc<ClusterMap> {
        self.known.latest()
    }

    /// The map as the cluster was formed.
    pub(crate) fn first_map(&self) -> &ClusterMap {
        self.known.first()
    }

    /// Takes in an entry of group 0 that holds the first map.
    ///
    /// # Errors
    /// It is of another cluster than the one that this node is of, or not to be understood.
    pub(crate) fn on_entry(&mut self, map: &[u8]) -> Result<(), Error> {
        self.known.on_entry(map)
    }

    /// Takes in an entry of group 0 that holds a change of the map.
    ///
    /// # Errors
    /// It is not to be understood.
    pub(crate) fn on_change(&mut self, change: &[u8]) -> Result<(), Error> {
        self.known.on_change(change).map(|_| ())
    }

    /// Takes in the map of a state that the replica of group 0 here begins or goes on with; empty if there was none yet.
    ///
    /// # Errors
    /// As [`Cluster::on_entry`].
    pub(crate) fn on_state(&mut self, map: &[u8]) -> Result<(), Error> {
        self.known.on_state(map)
    }

    /// Takes in what another core knows. Returns whether that is news.
    ///
    /// # Errors
    /// As [`Cluster::on_entry`].
    pub(crate) fn on_told(&mut self, map: &[u8]) -> Result<bool, Error> {
        self.known.on_told(map)
    }

    /// Whether to ask a core for its map that knows the one of this epoch: not while the answer to another question may still come.
    pub(crate) fn wants_map(&mut self, epoch: u64, now: Instant) -> bool {
        let wants = epoch > self.map().epoch && now >= self.asked_at + ASK_EVERY;
        if wants {
            self.asked_at = now;
        }
        wants
    }

    /// The map to propose to group 0, if this core leads it and it holds none yet. `is_settled_leader` means that
    /// the leader has applied an entry of its own `term`: then everything committed earlier is applied. If the proposal
    /// is taken, tell [`Cluster::map_proposed`]; if not, the next leader or the next tick tries again.
    pub(crate) fn wants_to_propose(&self, is_settled_leader: bool, term: Term) -> Option<Bytes> {
        let wants = self.known.wants_to_propose(is_settled_leader, term);
        wants.then(|| self.config.map.to_bytes().into())
    }

    /// The map was proposed in `term`.
    pub(crate) fn map_proposed(&mut self, term: Term) {
        self.known.proposed(term);
    }

    /// Whether the replica of group 0 here knows the map.
    pub(crate) fn is_agreed(&self) -> bool {
        self.known.applied().is_some()
    }

    /// The map as it stands in snapshots of group 0; `None` until there is one.
    pub(crate) fn agreed_map(&self) -> Option<Vec<u8>> {
        self.known.applied().map(|map| map.to_bytes())
    }

    /// Tells a client which core leads the group of a slot.
    pub(crate) fn write_moved(&self, slot: Slot, to: CoreAddr, origin: Origin, out: &mut impl ReplySink) {
        let node = self.map().node(to.node).expect("routes lead to cores of the map");
        let addr = node.core_addr(to.core);
        let message = resp::errors::moved(slot.number(), &addr.ip().to_string(), addr.port());
        out.fail(origin, &message);
    }

    /// What CLUSTER INFO tells.
    pub(crate) fn info(&mut self, leaders: &impl LeaderTable, counters: &Counters) -> String {
        self.update_topology(leaders);
        replies::info(self.known.latest(), &self.topology, counters)
    }

    fn update_topology(&mut self, leaders: &impl LeaderTable) {
        if self.topology.update(self.known.latest(), leaders) {
            self.cache.clear();
        }
    }

    /// Takes in how whoever leads group 0 finds the nodes, unless somebody was heard who led it later. Returns whether it was.
    pub(crate) fn note_healths(&mut self, healths: Healths, now: Instant) -> bool {
        let is_later = self.healths.as_ref().is_none_or(|(_, known)| known.term <= healths.term);
        if is_later {
            self.healths = Some((now, healths));
        }
        is_later
    }

    /// How whoever leads group 0 has found a node of late; `None` if it has not said.
    fn health(&self, node: NodeId, now: Instant) -> Option<NodeHealth> {
        let (told_at, healths) = self.healths.as_ref()?;
        let is_fresh = now.since(*told_at) <= HEALTHS_AGE_MAX;
        let found = healths.nodes.iter().find(|(id, _)| is_fresh && *id == node);
        found.map(|(_, health)| *health)
    }

    /// Answers CORACLE NODES.
    pub(crate) fn tell_nodes(
        &self,
        ctx: &Context,
        leaders: &impl LeaderTable,
        links: &impl LinkTable,
        reply: &mut Reply<'_>,
    ) {
        let health = |node| self.health(node, ctx.now).map_or("unknown", NodeHealth::name);
        listings::nodes(ctx, self.map(), leaders, links, health, reply);
    }

    /// Answers CORACLE GROUPS. `report` is that of the node, or of a core of it.
    pub(crate) fn tell_groups(&self, report: &CoreReport, leaders: &impl LeaderTable, reply: &mut Reply<'_>) {
        listings::groups(self.map(), report, leaders, reply);
    }

    /// Answers CORACLE STATUS. `report` is that of the node, or of a core of it.
    pub(crate) fn tell_status(
        &self,
        ctx: &Context,
        report: &CoreReport,
        leaders: &impl LeaderTable,
        links: &impl LinkTable,
        reply: &mut Reply<'_>,
    ) {
        status::status(ctx, self.map(), report, leaders, links, reply);
    }

    /// Answers a subcommand of CLUSTER that needs no keys.
    pub(crate) fn answer(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        leaders: &impl LeaderTable,
        links: &impl LinkTable,
        counters: &Counters,
        reply: &mut Reply<'_>,
    ) {
        self.update_topology(leaders);
        let (map, me) = (&**self.known.latest(), self.config.place);
        match command.id {
            CommandId::ClusterSlots => self.cache.write(command.id, reply, |reply| {
                replies::slots(map, &self.topology, reply);
            }),
            CommandId::ClusterShards => self.cache.write(command.id, reply, |reply| {
                replies::shards(map, &self.topology, reply);
            }),
            CommandId::ClusterNodes => reply.verbatim(&replies::nodes(map, &self.topology, me, links)),
            CommandId::ClusterInfo => reply.verbatim(&replies::info(map, &self.topology, counters)),
            CommandId::ClusterMyId | CommandId::ClusterMyShardId => reply.bulk(map.id40(me).as_bytes()),
            CommandId::ClusterReplicas => replies::replicas(map, args, reply),
            CommandId::ClusterLinks => replies::links(map, links, reply),
            _ => panic!("the command table serves '{}', and nothing here answers it", command.full_name),
        }
    }
}

#[cfg(test)]
mod tests;
