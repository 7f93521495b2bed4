//! Nodes that join the cluster or are removed from it while this core runs.

use std::collections::BTreeSet;

use host::Net;
use meta::ClusterMap;
use types::{CoreAddr, NodeId};

use crate::budget::Pool;
use crate::context::Context;
use crate::origin::LinkId;
use crate::peers::link::{Link, LinkState};
use crate::peers::{PeerEvent, Peers};

impl Peers {
    /// Makes the links those of a later map, of which all cores are to hear. Returns the new ones; what becomes of those that are gone is
    /// told by events.
    pub(crate) fn follow_map<N: Net>(&mut self, ctx: &Context, net: &N, map: &ClusterMap) -> Vec<LinkId> {
        let added = self.fit_links(ctx, net, map);
        self.map_changed(map.epoch);
        added
    }

    /// One link to each core of the other nodes, and none to nodes that were removed.
    pub(super) fn fit_links<N: Net>(&mut self, ctx: &Context, net: &N, map: &ClusterMap) -> Vec<LinkId> {
        self.removed = map.removed.iter().map(|node| node.0).collect();
        // A core that reads of its own removal ends with its node.
        let is_gone = |node: &NodeId| map.node(*node).is_none() && *node != ctx.addr().node;
        let gone: BTreeSet<NodeId> = self.by_addr.iter().map(|(addr, _)| addr.node).filter(is_gone).collect();
        gone.into_iter().for_each(|node| self.remove_node(net, node));
        let mut added = Vec::new();
        for node in &map.nodes {
            for addr in node.places().filter(|addr| *addr != ctx.addr()) {
                if self.link_to(addr).is_none() {
                    added.push(self.add_link(ctx, addr, node.peer_addr(addr.core)));
                }
            }
        }
        for node in map.admitted.iter().filter(|node| node.incarnation != 0) {
            self.replace_node(node.id, node.incarnation);
        }
        added
    }

    /// Whether another core has said that this node was removed.
    pub(crate) fn is_told_removed(&self) -> bool {
        self.is_told_removed
    }

    fn add_link(&mut self, ctx: &Context, to: CoreAddr, at: std::net::SocketAddr) -> LinkId {
        let id = LinkId(self.links.len() as u32);
        self.links.push(Link::new(to, at, to.node == ctx.addr().node, ctx.budget.permit(Pool::Links)));
        let place = self.by_addr.partition_point(|(known, _)| *known < to);
        self.by_addr.insert(place, (to, id));
        // To be connected with the next tick.
        self.next_due = ctx.now;
        id
    }

    /// A node is no part of the cluster any more: nothing is sent there, and nothing that comes from there is taken in.
    fn remove_node<N: Net>(&mut self, net: &N, node: NodeId) {
        let gone = self.by_addr.extract_if(.., |(addr, _)| addr.node == node);
        for (_, id) in gone.collect::<Vec<_>>() {
            let link = &mut self.links[id.idx()];
            let was_up = link.is_up();
            let outgoing = match link.state {
                LinkState::Connecting { conn, .. } | LinkState::Up { conn } => Some(conn),
                LinkState::Mesh | LinkState::Down { .. } | LinkState::Removed => None,
            };
            let inbound = link.inbound.take();
            link.remove();
            outgoing.into_iter().chain(inbound).for_each(|conn| net.close(conn));
            self.events.push(PeerEvent::Down { link: id, was_up });
        }
        tracing::info!(%node, "this node was removed from the cluster: its links are closed");
    }
}
