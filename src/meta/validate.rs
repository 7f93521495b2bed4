//! The rules of a map.

use std::collections::HashSet;
use std::net::IpAddr;

use types::limits::{CORES_COUNT_MAX, GROUPS_COUNT_MAX, NODES_COUNT_MAX, REPLICAS_COUNT_MAX};
use types::{GroupId, NodeId, ReplicaId};

use crate::error::Error;
use crate::map::{ClusterMap, Group, INVITATIONS_COUNT_MAX, Node, NodeDuty, Settings};
use crate::reports::Duty;
use crate::slots::SlotTable;

/// A million millionths.
const PPM: u32 = 1_000_000;

impl ClusterMap {
    /// Checks every rule that holds for a map; see the crate's documentation. The first one broken is
    /// the error.
    pub fn validate(&self) -> Result<(), Error> {
        validate_nodes(&self.nodes)?;
        self.settings.validate()?;
        let groups_count = self.groups.len().saturating_sub(1);
        if groups_count == 0 || groups_count > GROUPS_COUNT_MAX - 1 {
            return Err(Error::GroupsCount(groups_count));
        }
        if self.groups.first().is_none_or(|group| group.id != GroupId(0)) {
            return Err(Error::NoGroupZero);
        }
        if let Some(pair) = self.groups.windows(2).find(|pair| pair[0].id >= pair[1].id) {
            return Err(Error::RepeatedGroup(pair[1].id));
        }
        self.validate_comings_and_goings()?;
        let mut replicas = HashSet::new();
        for group in &self.groups {
            self.validate_replicas(group, &mut replicas)?;
        }
        SlotTable::new(self).map(|_| ())
    }

    /// Checks what the map says of nodes that come and go.
    fn validate_comings_and_goings(&self) -> Result<(), Error> {
        if let Some(unknown) = self.nodes.iter().find(|node| node.id >= self.next_node) {
            return Err(Error::NodeUnknown(unknown.id));
        }
        let is_sorted = self.admitted.is_sorted_by(|left, right| left.id < right.id);
        if let Some(wrong) = self.admitted.iter().find(|node| !is_sorted || self.node(node.id).is_none()) {
            return Err(Error::AdmittedNode(wrong.id));
        }
        if self.invitations.len() > INVITATIONS_COUNT_MAX {
            return Err(Error::Invitations(self.invitations.len()));
        }
        let is_sorted = self.leaving.is_sorted_by(|left, right| left.id < right.id);
        for node in &self.leaving {
            let waits = !node.groups.is_empty() && node.groups.is_sorted_by(|left, right| left < right);
            if !is_sorted || !waits || self.node(node.id).is_none() {
                return Err(Error::LeavingNode(node.id));
            }
            if let Some(group) = self.groups_on(node.id).next() {
                return Err(Error::ReplicaLeaves { group: group.id, node: node.id });
            }
        }
        let is_sorted = self.removed.is_sorted_by(|left, right| left < right);
        let is_wrong = |id: NodeId| !is_sorted || id >= self.next_node || self.node(id).is_some();
        if let Some(wrong) = self.removed.iter().find(|node| is_wrong(node.0)) {
            return Err(Error::RemovedNode(wrong.0));
        }
        let is_sorted = self.duties.is_sorted_by(|left, right| left.id < right.id);
        let is_wrong = |asked: &&NodeDuty| !is_sorted || asked.duty == Duty::Serves || self.node(asked.id).is_none();
        self.duties.iter().find(is_wrong).map_or(Ok(()), |wrong| Err(Error::NodeDuty(wrong.id)))
    }

    fn validate_replicas(&self, group: &Group, seen: &mut HashSet<ReplicaId>) -> Result<(), Error> {
        let count = group.replicas.len();
        if count == 0 || count > REPLICAS_COUNT_MAX {
            return Err(Error::ReplicasCount { group: group.id, count });
        }
        for (idx, replica) in group.replicas.iter().enumerate() {
            let place = replica.place;
            if self.node(place.node).is_none_or(|node| place.core.0 >= node.cores) {
                return Err(Error::NoSuchPlace { group: group.id, place });
            }
            if group.replicas.iter().take(idx).any(|other| other.place.node == place.node) {
                return Err(Error::ReplicasTogether { group: group.id, node: place.node });
            }
            if replica.id == ReplicaId(0) || replica.id >= self.next_replica {
                return Err(Error::ReplicaUnknown { group: group.id, replica: replica.id });
            }
            if !seen.insert(replica.id) {
                return Err(Error::RepeatedReplica(replica.id));
            }
        }
        Ok(())
    }
}

impl Settings {
    /// Checks the rules between the settings.
    pub fn validate(&self) -> Result<(), Error> {
        let factor = usize::from(self.replication_factor);
        if factor == 0 || factor > REPLICAS_COUNT_MAX {
            return Err(Error::ReplicationFactor(factor));
        }
        if self.heartbeat_interval_ms == 0 {
            return Err(Error::Settings("heartbeat_interval_ms must not be 0"));
        }
        // A leader that misses one heartbeat must not lose its followers.
        if self.heartbeat_interval_ms > self.election_timeout_min_ms / 2 {
            return Err(Error::Settings("election_timeout_min_ms must be at least twice heartbeat_interval_ms"));
        }
        if self.election_timeout_min_ms >= self.election_timeout_max_ms {
            return Err(Error::Settings("election_timeout_max_ms must be greater than election_timeout_min_ms"));
        }
        if self.clock_drift_ppm_max >= PPM {
            return Err(Error::Settings("clock_drift_ppm_max must be less than 1000000"));
        }
        Ok(())
    }
}

/// Checks the nodes by themselves. They must be sorted by id.
pub(crate) fn validate_nodes(nodes: &[Node]) -> Result<(), Error> {
    if nodes.is_empty() || nodes.len() > NODES_COUNT_MAX {
        return Err(Error::NodesCount(nodes.len()));
    }
    if let Some(pair) = nodes.windows(2).find(|pair| pair[0].id >= pair[1].id) {
        return Err(Error::RepeatedNode(pair[1].id));
    }
    let mut endpoints = Vec::with_capacity(nodes.len() * 4);
    for node in nodes {
        if node.id == NodeId(0) {
            return Err(Error::NodeZero);
        }
        let count = usize::from(node.cores);
        if count == 0 || count > CORES_COUNT_MAX {
            return Err(Error::CoresCount { node: node.id, count });
        }
        for (what, first, count) in [
            ("gateway_port", node.gateway_port, 1),
            ("core_port", node.core_port, count),
            ("peer_port", node.peer_port, count),
            ("admin_port", node.admin_port, 1),
        ] {
            if what == "admin_port" && first == 0 {
                continue;
            }
            let end = usize::from(first) + count;
            if first == 0 || end > 1 << 16 {
                return Err(Error::PortRange { node: node.id, what, first, count });
            }
            endpoints.push(Endpoints { host: node.host, first, end, what, node: node.id });
        }
    }
    validate_endpoints(endpoints)
}

/// A run of ports of one address with one use.
struct Endpoints {
    host: IpAddr,
    first: u16,
    /// One past the last port.
    end: usize,
    what: &'static str,
    node: NodeId,
}

fn validate_endpoints(mut endpoints: Vec<Endpoints>) -> Result<(), Error> {
    endpoints.sort_by_key(|range| (range.host, range.first));
    // Sorted by first port, two ranges that overlap somewhere mean two neighbours that overlap.
    for pair in endpoints.windows(2) {
        let (left, right) = (&pair[0], &pair[1]);
        if left.host == right.host && usize::from(right.first) < left.end {
            return Err(Error::RepeatedEndpoint {
                host: left.host,
                port: right.first,
                first: left.what,
                first_node: left.node,
                second: right.what,
                second_node: right.node,
            });
        }
    }
    Ok(())
}
