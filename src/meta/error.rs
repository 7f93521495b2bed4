//! What can be wrong with a cluster map or with what it is to be made from.

use std::net::IpAddr;

use types::limits::{CORES_COUNT_MAX, GROUPS_COUNT_MAX, NODES_COUNT_MAX, REPLICAS_COUNT_MAX};
use types::{CoreAddr, GroupId, NodeId, ReplicaId};

use crate::map::INVITATIONS_COUNT_MAX;

/// Why a map, or the bootstrap of one, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No nodes, or too many.
    #[error("{0} nodes; a cluster has 1 to {NODES_COUNT_MAX}")]
    NodesCount(usize),
    /// Node ids start at 1.
    #[error("a node has the id 0; ids start at 1")]
    NodeZero,
    /// Two nodes have one id.
    #[error("two nodes have the id {0}")]
    RepeatedNode(NodeId),
    /// There is no id above this one.
    #[error("the greatest id of a node leaves none for a node that joins")]
    NodesSpent,
    /// A node that came with a token is none of the cluster, or stands out of order.
    #[error("node {0} is said to have come with a token, and stands out of order or is none of the cluster")]
    AdmittedNode(NodeId),
    /// A node id that was never handed out: not below `next_node`.
    #[error("the id of node {0} was never handed out")]
    NodeUnknown(NodeId),
    /// More tokens for new nodes than there may be.
    #[error("{0} tokens for new nodes; at most {INVITATIONS_COUNT_MAX} are good at the same time")]
    Invitations(usize),
    /// A node that leaves is none of the cluster, stands out of order, or waits for nothing.
    #[error("node {0} is said to leave, and stands out of order, waits for no group or is none of the cluster")]
    LeavingNode(NodeId),
    /// A node that was removed is there, or stands out of order.
    #[error("node {0} is said to have been removed, and stands out of order or is there")]
    RemovedNode(NodeId),
    /// What is asked of a node stands out of order, is nothing, or the node is none of the cluster.
    #[error("what is asked of node {0} stands out of order, is nothing, or it is none of the cluster")]
    NodeDuty(NodeId),
    /// A replica is wanted on a node that leaves.
    #[error("a replica of group {group} is wanted on node {node}, which leaves")]
    ReplicaLeaves {
        /// The group.
        group: GroupId,
        /// The node.
        node: NodeId,
    },
    /// A node without cores, or with too many.
    #[error("node {node} has {count} cores; 1 to {CORES_COUNT_MAX} are possible")]
    CoresCount {
        /// The node.
        node: NodeId,
        /// How many cores it claims.
        count: usize,
    },
    /// Port 0, or a range of ports that passes 65,535.
    #[error("node {node}: {what} {first} and {count} ports from there leave the range 1 to 65535")]
    PortRange {
        /// The node.
        node: NodeId,
        /// Which of its ports, as in the configuration.
        what: &'static str,
        /// The first port.
        first: u16,
        /// How many ports in a row are needed.
        count: usize,
    },
    /// Two endpoints on one address and port.
    #[error("{host}:{port} is used twice: as {first} of node {first_node} and as {second} of node {second_node}")]
    RepeatedEndpoint {
        /// The address.
        host: IpAddr,
        /// The first port that both claim.
        port: u16,
        /// What it is for the one node.
        first: &'static str,
        /// The one node.
        first_node: NodeId,
        /// What it is for the other node (or the same one).
        second: &'static str,
        /// The other node.
        second_node: NodeId,
    },
    /// No groups, or too many. Group 0 is not counted.
    #[error("{0} groups; 1 to {max} are possible", max = GROUPS_COUNT_MAX - 1)]
    GroupsCount(usize),
    /// Two groups have one id.
    #[error("two groups have the id {0}")]
    RepeatedGroup(GroupId),
    /// Group 0 is missing.
    #[error("group 0, which holds the cluster map, is missing")]
    NoGroupZero,
    /// Group 0 owns slots.
    #[error("group 0 owns slots; it holds the cluster map only")]
    GroupZeroOwnsSlots,
    /// A group without replicas, or with too many.
    #[error("group {group} has {count} replicas; 1 to {REPLICAS_COUNT_MAX} are possible")]
    ReplicasCount {
        /// The group.
        group: GroupId,
        /// How many replicas it claims.
        count: usize,
    },
    /// The replication factor is 0 or too high.
    #[error("replication factor {0}; 1 to {REPLICAS_COUNT_MAX} are possible")]
    ReplicationFactor(usize),
    /// A replica lives where no core is.
    #[error("a replica of group {group} lives on {place}, and there is no such core")]
    NoSuchPlace {
        /// The group.
        group: GroupId,
        /// Node and core.
        place: CoreAddr,
    },
    /// Two replicas of a group on one node.
    #[error("two replicas of group {group} live on node {node}")]
    ReplicasTogether {
        /// The group.
        group: GroupId,
        /// The node.
        node: NodeId,
    },
    /// A replica id that was never handed out: 0, or not below `next_replica`.
    #[error("replica {replica} of group {group} was never handed out")]
    ReplicaUnknown {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// Two replicas have one id.
    #[error("two replicas have the id {0}")]
    RepeatedReplica(ReplicaId),
    /// A range of slots that is empty or passes 16,383.
    #[error("group {group} owns slots {first} to {last}, which is not a range within 0 to 16383")]
    SlotRange {
        /// The group.
        group: GroupId,
        /// First slot claimed.
        first: u16,
        /// Last slot claimed.
        last: u16,
    },
    /// A slot owned by two groups.
    #[error("slot {slot} belongs to group {first} and to group {second}")]
    SlotTwice {
        /// The slot.
        slot: u16,
        /// One owner.
        first: GroupId,
        /// The other.
        second: GroupId,
    },
    /// A slot without owner.
    #[error("slot {0} belongs to no group")]
    SlotUnowned(u16),
    /// Settings that contradict each other.
    #[error("{0}")]
    Settings(&'static str),
    /// Bytes that are no archived map.
    #[error("not an archived cluster map: {0}")]
    Archive(String),
}
