//! The first map of a cluster, from its bootstrap configuration.

use types::{CoreAddr, CoreId, GroupId, NodeId, ReplicaId, SLOTS_COUNT};

use types::limits::GROUPS_COUNT_MAX;

use crate::error::Error;
use crate::id::ClusterId;
use crate::map::{ClusterMap, Group, Node, Replica, Settings, SlotRange};
use crate::placement::{self, Load};
use crate::validate::validate_nodes;

/// Most replicas of group 0: enough to survive two failed nodes.
pub const MAP_REPLICAS_COUNT_MAX: usize = 5;

/// What the first map is made from. It must be the same on every node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The cluster's identity.
    pub cluster_id: ClusterId,
    /// All nodes, in any order.
    pub nodes: Vec<Node>,
    /// How many groups share the slots, group 0 not counted.
    pub groups_count: usize,
    /// What all nodes must agree on.
    pub settings: Settings,
}

impl ClusterMap {
    /// The first map, epoch 1: a pure function of `bootstrap`, whatever the order of its nodes.
    ///
    /// Groups `1..=groups_count` own equal, contiguous shares of the slots, and each has
    /// `min(replication_factor, nodes)` replicas. Group 0 owns none and has up to
    /// [`MAP_REPLICAS_COUNT_MAX`] replicas, each on core 0 of its node.
    pub fn bootstrap(bootstrap: &Bootstrap) -> Result<ClusterMap, Error> {
        let mut nodes = bootstrap.nodes.clone();
        nodes.sort_by_key(|node| node.id);
        validate_nodes(&nodes)?;
        bootstrap.settings.validate()?;
        let groups_count = bootstrap.groups_count;
        if groups_count == 0 || groups_count > GROUPS_COUNT_MAX - 1 {
            return Err(Error::GroupsCount(groups_count));
        }

        let mut ids = ReplicaIds(1);
        let zero = placement::spread_nodes(&nodes, MAP_REPLICAS_COUNT_MAX);
        let zero = zero.into_iter().map(|node| CoreAddr { node, core: CoreId(0) });
        let mut groups = vec![Group { id: GroupId(0), slots: Vec::new(), replicas: ids.number(zero) }];
        let replicas_count = usize::from(bootstrap.settings.replication_factor).min(nodes.len());
        let mut load = Load::new(&nodes);
        for number in 1..=groups_count {
            let places = load.place_group(replicas_count);
            let slots = vec![share_of_slots(number - 1, groups_count)];
            let id = GroupId(u32::try_from(number).expect("at most GROUPS_COUNT_MAX groups"));
            groups.push(Group { id, slots, replicas: ids.number(places) });
        }
        let settings = bootstrap.settings.clone();
        let next_replica = ReplicaId(ids.0);
        let last = nodes.last().expect("a valid list of nodes is not empty").id;
        let next_node = NodeId(last.0.checked_add(1).ok_or(Error::NodesSpent)?);
        let map = ClusterMap {
            epoch: 1,
            cluster_id: bootstrap.cluster_id,
            nodes,
            groups,
            next_replica,
            settings,
            admitted: Vec::new(),
            next_node,
            invitations: Vec::new(),
            leaving: Vec::new(),
            removed: Vec::new(),
            duties: Vec::new(),
        };
        map.validate()?;
        Ok(map)
    }
}

/// Hands out replica ids; holds the next one.
struct ReplicaIds(u64);

impl ReplicaIds {
    fn number(&mut self, places: impl IntoIterator<Item = CoreAddr>) -> Vec<Replica> {
        let mut next = |place| {
            let id = ReplicaId(self.0);
            self.0 += 1;
            Replica { id, place }
        };
        places.into_iter().map(&mut next).collect()
    }
}

/// Share `idx` of the slots cut into `count` contiguous shares, whose sizes differ by one at most.
fn share_of_slots(idx: usize, count: usize) -> SlotRange {
    let first = idx * SLOTS_COUNT / count;
    let end = (idx + 1) * SLOTS_COUNT / count;
    SlotRange { first: first as u16, last: (end - 1) as u16 }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
