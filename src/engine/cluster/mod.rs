//! The cluster as this core knows it: the map that all nodes have agreed on, and what CLUSTER tells clients.
//!
//! Pure: who leads and who is connected comes in through [`topology_view`](crate::topology_view), what is to be proposed
//! goes out as bytes.
//!
//! Read [`map`], then [`topology`] and [`replies`].

mod map;
mod replies;
mod topology;

use std::rc::Rc;

use bytes::Bytes;
use resp::{Args, Command, CommandId, Reply};
use types::{CoreAddr, Slot, Term};

use crate::config::Config;
use crate::error::Error;
use crate::observe::Counters;
use crate::origin::Origin;
use crate::replies::ReplySink;
use crate::topology_view::{LeaderTable, LinkTable};
pub(crate) use map::MAP_GROUP;
use map::MapAgreement;
use replies::ReplyCache;
use topology::Topology;

/// What a core knows of its cluster.
pub(crate) struct Cluster {
    config: Rc<Config>,
    agreement: MapAgreement,
    topology: Topology,
    cache: ReplyCache,
}

impl Cluster {
    /// A core that knows its configuration and nothing else yet.
    pub(crate) fn new(config: Rc<Config>) -> Cluster {
        let topology = Topology::new(&config.map);
        Cluster { config, agreement: MapAgreement::default(), topology, cache: ReplyCache::default() }
    }

    /// Takes in the map that the cluster has agreed on: an entry of group 0, or what a snapshot of it holds. An empty one
    /// comes from a snapshot that was written before there was any.
    pub(crate) fn on_map(&mut self, map: &[u8]) -> Result<(), Error> {
        if map.is_empty() { Ok(()) } else { self.agreement.agree_on(map, &self.config.map) }
    }

    /// The map to propose to group 0, if this core leads it and nothing is agreed on yet. `is_settled_leader` means that
    /// the leader has applied an entry of its own `term`: then everything committed earlier is applied. If the proposal
    /// is taken, tell [`Cluster::map_proposed`]; if not, the next leader or the next tick tries again.
    pub(crate) fn wants_to_propose(&self, is_settled_leader: bool, term: Term) -> Option<Bytes> {
        let wants = self.agreement.wants_to_propose(is_settled_leader, term);
        wants.then(|| self.config.map.to_bytes().into())
    }

    /// The map was proposed in `term`.
    pub(crate) fn map_proposed(&mut self, term: Term) {
        self.agreement.proposed(term);
    }

    /// Whether the cluster has agreed on its map.
    pub(crate) fn is_agreed(&self) -> bool {
        self.agreement.is_agreed()
    }

    /// The agreed map as it stands in snapshots of group 0; `None` until there is one.
    pub(crate) fn agreed_map(&self) -> Option<Vec<u8>> {
        self.agreement.is_agreed().then(|| self.config.map.to_bytes())
    }

    /// Tells a client which core leads the group of a slot.
    pub(crate) fn write_moved(&self, slot: Slot, to: CoreAddr, origin: Origin, out: &mut impl ReplySink) {
        let node = self.config.map.node(to.node).expect("routes lead to cores of the map");
        let addr = node.core_addr(to.core);
        let message = resp::errors::moved(slot.number(), &addr.ip().to_string(), addr.port());
        out.fail(origin, &message);
    }

    /// What CLUSTER INFO tells.
    pub(crate) fn info(&mut self, leaders: &impl LeaderTable, counters: &Counters) -> String {
        self.update_topology(leaders);
        replies::info(&self.config.map, &self.topology, counters)
    }

    fn update_topology(&mut self, leaders: &impl LeaderTable) {
        if self.topology.update(&self.config.map, leaders) {
            self.cache.clear();
        }
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
        let (map, me) = (&self.config.map, self.config.place);
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
