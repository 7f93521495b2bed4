//! Which group a slot belongs to, and which core leads the group.

use std::collections::HashMap;

use meta::{ClusterMap, SlotTable};
use types::{CoreAddr, GroupId, SLOTS_COUNT, Slot, Term};
use wire::LeaderNote;

use crate::origin::LinkId;

/// A leader's term may be this much above the last one heard of. No cluster comes near it; a note beyond it is damage or
/// malice, and would keep every later leader's notes from being believed.
pub(super) const TERM_JUMP_MAX: Term = 1 << 32;

/// Where the commands of one group go.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) id: GroupId,
    /// Index among the core's own groups, if a replica lives here.
    pub(crate) local: Option<usize>,
    /// The leader last heard of; before the first election the one the map prefers.
    pub(crate) leader: CoreAddr,
    /// The link to it; `None` if it is this core itself.
    pub(super) link: Option<LinkId>,
    /// The term in which it was elected; notes with older terms are ignored.
    pub(super) term: Term,
    /// Whether it is believed to lead now. `false` during an election.
    pub(crate) is_known: bool,
    /// Whether keys can be in it: group 0 holds the cluster map and owns no slots.
    pub(crate) owns_slots: bool,
}

/// Why a note about a leader is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disbelief {
    UnknownGroup,
    UnknownCore,
    TermTooFar,
}

/// The map as this core uses it, and what it knows of leaders.
pub(super) struct RouteTable {
    /// The route of each slot.
    slots: Box<[u16]>,
    /// All groups of the cluster, by id.
    routes: Vec<Route>,
    /// The links to the other cores of the cluster.
    links: HashMap<CoreAddr, LinkId>,
    me: CoreAddr,
    /// Grows with every change, so that replies that show the topology can be cached.
    version: u64,
}

impl RouteTable {
    /// Routes by a validated map.
    pub(super) fn new(
        map: &ClusterMap,
        me: CoreAddr,
        links: HashMap<CoreAddr, LinkId>,
    ) -> Result<RouteTable, meta::Error> {
        let mut routes: Vec<Route> = map
            .groups
            .iter()
            .map(|group| {
                let leader = group.preferred_leader().map(|replica| replica.place).unwrap_or_default();
                Route {
                    id: group.id,
                    local: None,
                    leader,
                    link: links.get(&leader).copied(),
                    term: 0,
                    is_known: false,
                    owns_slots: !group.slots.is_empty(),
                }
            })
            .collect();
        routes.sort_by_key(|route| route.id);
        let table = SlotTable::new(map)?;
        let by_id = |id: GroupId| routes.binary_search_by_key(&id, |route| route.id).ok();
        let route_of = |number: usize| {
            let slot = Slot::new(number as u16).expect("numbers below SLOTS_COUNT are slots");
            // The table was built from the same map, so the group is there.
            by_id(table.group_of(slot)).expect("a validated map knows the group of every slot") as u16
        };
        let slots = (0..SLOTS_COUNT).map(route_of).collect();
        Ok(RouteTable { slots, routes, links, me, version: 0 })
    }

    /// The index of the route of a slot.
    pub(super) fn of_slot(&self, slot: Slot) -> usize {
        usize::from(self.slots[usize::from(slot.number())])
    }

    /// The index of a group's route.
    pub(super) fn of_group(&self, group: GroupId) -> Option<usize> {
        // Ids are dense as a rule: each stands at its own place.
        let place = group.0 as usize;
        if self.routes.get(place).is_some_and(|route| route.id == group) {
            return Some(place);
        }
        self.routes.binary_search_by_key(&group, |route| route.id).ok()
    }

    /// There is a link to another core.
    pub(super) fn add_link(&mut self, addr: CoreAddr, link: LinkId) {
        self.links.insert(addr, link);
        for route in self.routes.iter_mut().filter(|route| route.leader == addr) {
            route.link = Some(link);
        }
    }

    /// A core is gone for ever. What it was last known to lead may be led where the map prefers it.
    pub(super) fn remove_link(&mut self, addr: CoreAddr, map: &ClusterMap) {
        self.links.remove(&addr);
        for route in self.routes.iter_mut().filter(|route| route.leader == addr) {
            let preferred = map.group(route.id).and_then(|group| group.preferred_leader());
            route.leader = preferred.map(|replica| replica.place).unwrap_or_default();
            (route.link, route.is_known) = (self.links.get(&route.leader).copied(), false);
            self.version += 1;
        }
    }

    /// A replica of the group lives here after all, as the core's group of this index.
    pub(super) fn set_local(&mut self, group: GroupId, local: usize) {
        if let Some(idx) = self.of_group(group) {
            self.routes[idx].local = Some(local);
        }
    }

    /// No replica of the group lives here any more.
    pub(super) fn clear_local(&mut self, group: GroupId) {
        if let Some(idx) = self.of_group(group) {
            self.routes[idx].local = None;
        }
    }

    pub(super) fn get(&self, idx: usize) -> &Route {
        &self.routes[idx]
    }

    /// How many routes there are.
    pub(super) fn count(&self) -> usize {
        self.routes.len()
    }

    /// Changes with every change of a leader.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Takes in who leads a group. Returns the route's index if that was news.
    pub(super) fn learn(&mut self, note: LeaderNote) -> Result<Option<usize>, Disbelief> {
        let idx = self.of_group(note.group).ok_or(Disbelief::UnknownGroup)?;
        let link = self.links.get(&note.place).copied();
        if link.is_none() && note.place != self.me {
            return Err(Disbelief::UnknownCore);
        }
        let route = &mut self.routes[idx];
        if note.term.saturating_sub(route.term) > TERM_JUMP_MAX {
            return Err(Disbelief::TermTooFar);
        }
        let is_news = note.term > route.term || (note.term == route.term && !route.is_known);
        if !is_news {
            return Ok(None);
        }
        (route.leader, route.link, route.term, route.is_known) = (note.place, link, note.term, true);
        self.version += 1;
        Ok(Some(idx))
    }

    /// A replica here has noticed that nobody leads the group in `term`.
    pub(super) fn forget(&mut self, group: GroupId, term: Term) {
        let Some(idx) = self.of_group(group) else { return };
        let route = &mut self.routes[idx];
        if term >= route.term && route.is_known {
            route.is_known = false;
            self.version += 1;
        }
    }

    /// How many groups have no known leader.
    pub(super) fn leaderless_count(&self) -> usize {
        self.routes.iter().filter(|route| !route.is_known).count()
    }
}
