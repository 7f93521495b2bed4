//! Which group a slot belongs to, and which core leads the group.

use std::collections::BTreeMap;

use meta::{ClusterMap, SlotTable};
use types::{CoreAddr, GroupId, Slot, Term};
use wire::LeaderNote;

/// Where the commands of one group go.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) id: GroupId,
    /// Index among the core's own groups, if a replica lives here.
    pub(crate) local: Option<usize>,
    /// The leader last heard of; before the first election the one the map prefers.
    pub(crate) leader: CoreAddr,
    /// The term in which it was elected; notes with older terms are ignored.
    pub(crate) term: Term,
    /// Whether it is believed to lead now. `false` during an election.
    pub(crate) is_known: bool,
    /// Whether keys can be in it: group 0 holds the cluster map and owns no slots.
    pub(crate) owns_slots: bool,
}

/// The map as this core uses it, and what it knows of leaders.
pub(crate) struct Routes {
    slots: SlotTable,
    /// All groups of the cluster, by id.
    groups: Vec<Route>,
    by_id: BTreeMap<GroupId, usize>,
    /// Grows with every change, so that replies that show the topology can be cached.
    version: u64,
}

impl Routes {
    /// Routes by a validated map. `local` are the groups with a replica here, in the order of the core's groups.
    pub(crate) fn new(map: &ClusterMap, local: &[GroupId]) -> Result<Routes, meta::Error> {
        let groups: Vec<Route> = map
            .groups
            .iter()
            .map(|group| Route {
                id: group.id,
                local: local.iter().position(|id| *id == group.id),
                leader: group.preferred_leader().map(|replica| replica.place).unwrap_or_default(),
                term: 0,
                is_known: false,
                owns_slots: !group.slots.is_empty(),
            })
            .collect();
        let by_id = groups.iter().enumerate().map(|(idx, route)| (route.id, idx)).collect();
        Ok(Routes { slots: SlotTable::new(map)?, groups, by_id, version: 0 })
    }

    /// The index of the route of a slot.
    pub(crate) fn of_slot(&self, slot: Slot) -> usize {
        // The table was built from the same map, so the group is there.
        self.by_id.get(&self.slots.group_of(slot)).copied().expect("a validated map knows the group of every slot")
    }

    /// The index of a group among the core's own, if a replica of it lives here.
    pub(crate) fn local_of(&self, group: GroupId) -> Option<usize> {
        self.groups[self.of_group(group)?].local
    }

    /// A replica of the group lives here after all, as the core's group of this index. Returns the route's index.
    pub(crate) fn set_local(&mut self, group: GroupId, local: usize) -> Option<usize> {
        let idx = self.of_group(group)?;
        self.groups[idx].local = Some(local);
        Some(idx)
    }

    /// The index of a group's route.
    pub(crate) fn of_group(&self, group: GroupId) -> Option<usize> {
        self.by_id.get(&group).copied()
    }

    pub(crate) fn get(&self, idx: usize) -> &Route {
        &self.groups[idx]
    }

    /// All routes, in the order of group ids.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.groups.iter()
    }

    /// Changes with every change of a leader.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Takes in who leads a group. Returns the route's index if that was news.
    pub(crate) fn note(&mut self, note: LeaderNote) -> Option<usize> {
        let idx = self.of_group(note.group)?;
        let route = &mut self.groups[idx];
        let is_news = note.term > route.term || (note.term == route.term && !route.is_known);
        if !is_news {
            return None;
        }
        (route.leader, route.term, route.is_known) = (note.place, note.term, true);
        self.version += 1;
        Some(idx)
    }

    /// A replica here has noticed that nobody leads the group in `term`.
    pub(crate) fn forget(&mut self, group: GroupId, term: Term) {
        let Some(idx) = self.of_group(group) else { return };
        let route = &mut self.groups[idx];
        if term >= route.term && route.is_known {
            route.is_known = false;
            self.version += 1;
        }
    }

    /// How many groups that own slots have no known leader.
    pub(crate) fn leaderless_count(&self) -> usize {
        self.groups.iter().filter(|route| !route.is_known).count()
    }
}
