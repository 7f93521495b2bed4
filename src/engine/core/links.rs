//! Links follow the cluster map: nodes join, and are removed.

use std::sync::Arc;

use meta::{LeavingGroup, MapChange, Vacate};

use super::{Core, CoreHost, ListenerKind};
use crate::limits::peer_conns_count_max;

impl<H: CoreHost> Core<H> {
    /// Makes the links of all parts those of the latest map.
    pub(super) fn follow_map(&mut self) {
        let map = Arc::clone(self.cluster.map());
        let before: Vec<_> = self.peers.by_addr().map(|(addr, _)| addr).collect();
        for link in self.peers.follow_map(&self.ctx, &self.host, &map) {
            let addr = self.peers.addr_of(link);
            self.router.add_link(addr, link, self.host.random_u64());
            self.storage.link_state(link, addr, false);
            tracing::info!(to = %addr, "another core of the cluster is known");
        }
        for addr in before.into_iter().filter(|addr| self.peers.link_to(*addr).is_none()) {
            self.router.remove_link(addr, &map);
        }
        self.carry_peer_events();
        self.fit_peers_limit();
    }

    /// As many connections of other cores are let in as there are cores.
    fn fit_peers_limit(&self) {
        let conns_count_max = self.peer_conns_count_max();
        for (listener, _) in self.listeners.iter().filter(|(_, kind)| *kind == ListenerKind::Peers) {
            self.host.limit_conns(*listener, conns_count_max);
        }
    }

    /// Most connections that other cores may have made here.
    pub(super) fn peer_conns_count_max(&self) -> usize {
        peer_conns_count_max(self.cluster.map().other_cores_count(self.ctx.addr().node))
    }

    /// Which groups that are led here have no member on nodes that leave, for whoever leads group 0.
    pub(super) fn vacated(&self) -> Vec<MapChange> {
        let vacated = |leaving: &meta::LeavingNode| {
            let is_vacated = |group: &&LeavingGroup| {
                let local = self.router.local_of(group.0);
                local.is_some_and(|local| self.groups.leads_without_member_on(local, leaving.id))
            };
            let groups: Vec<LeavingGroup> = leaving.groups.iter().filter(is_vacated).copied().collect();
            (!groups.is_empty()).then_some(MapChange::Vacate(Vacate { node: leaving.id, groups }))
        };
        self.cluster.map().leaving.iter().filter_map(vacated).collect()
    }
}
