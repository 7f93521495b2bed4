//! The cluster map itself.

use std::net::{IpAddr, SocketAddr};

use types::{CoreAddr, CoreId, GroupId, NodeId, ReplicaId};

use crate::archived_ids::{GroupIdDef, NodeIdDef, PlaceDef, ReplicaIdDef};
use crate::id::{ClusterId, Id40};
use crate::reports::Duty;
use crate::token::Fingerprint;

/// Who is in the cluster, and what lives where.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct ClusterMap {
    /// Grows with every change; the bootstrap map is epoch 1.
    pub epoch: u64,
    /// The cluster's identity.
    pub cluster_id: ClusterId,
    /// All nodes. Invariant: sorted by id.
    pub nodes: Vec<Node>,
    /// All groups, group 0 first. Invariant: sorted by id.
    pub groups: Vec<Group>,
    /// The id the next replica will get. Invariant: greater than every id ever handed out.
    #[rkyv(with = ReplicaIdDef)]
    #[serde(with = "ReplicaIdDef")]
    pub next_replica: ReplicaId,
    /// What all nodes must agree on.
    pub settings: Settings,
    /// The nodes that come or came with a token: those that have joined the cluster, and those that have lost their data. Invariant: sorted
    /// by node.
    pub admitted: Vec<AdmittedNode>,
    /// The id the next node will get. Invariant: greater than every id ever handed out.
    #[rkyv(with = NodeIdDef)]
    #[serde(with = "NodeIdDef")]
    pub next_node: NodeId,
    /// The tokens with which new nodes may join. Invariant: at most [`INVITATIONS_COUNT_MAX`].
    pub invitations: Vec<Invitation>,
    /// The nodes that are being removed. Invariant: sorted by node.
    pub leaving: Vec<LeavingNode>,
    /// The nodes that were removed. Invariant: ascending.
    pub removed: Vec<RemovedNode>,
    /// What people ask of nodes. Invariant: sorted by node.
    pub duties: Vec<NodeDuty>,
}

/// Most tokens for new nodes that are good at the same time.
pub const INVITATIONS_COUNT_MAX: usize = 64;

/// A token with which one new node may join.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Invitation {
    /// That of the token.
    pub token: Fingerprint,
    /// Until when it is good, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A node that is to be removed, and what is waited for. No replica is wanted there, but a group may still have a member there, until it
/// has changed its members. Whoever leads it says when that is so.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct LeavingNode {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    #[serde(with = "NodeIdDef")]
    pub id: NodeId,
    /// The groups of which nobody has said yet that they have no member there. Invariant: ascending, and not empty.
    pub groups: Vec<LeavingGroup>,
}

/// A group that may have a member on a node that leaves.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct LeavingGroup(
    /// The group.
    #[rkyv(with = GroupIdDef)]
    #[serde(with = "GroupIdDef")]
    pub GroupId,
);

/// A node that was removed: its id is never used again.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct RemovedNode(
    /// The node.
    #[rkyv(with = NodeIdDef)]
    #[serde(with = "NodeIdDef")]
    pub NodeId,
);

/// A node of which something was asked.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct NodeDuty {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    #[serde(with = "NodeIdDef")]
    pub id: NodeId,
    /// What was asked. Invariant: not that it serves, which every node does of which nothing was asked.
    pub duty: Duty,
}

/// A node that comes or came with a token. One that has lost its data has lost all its replicas with that: it comes back with others.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct AdmittedNode {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    #[serde(with = "NodeIdDef")]
    pub id: NodeId,
    /// The data directory that it must have: its incarnation, or 0 while that is the one it first had.
    pub incarnation: u64,
    /// Whoever shows the token of which this is the fingerprint may come back as this node, once.
    pub awaited: Option<Fingerprint>,
    /// That of the token which the present data directory has shown.
    pub joined_with: Option<Fingerprint>,
}

/// A node: where it listens, and how many cores it has.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Node {
    /// Its id, from 1.
    #[rkyv(with = NodeIdDef)]
    #[serde(with = "NodeIdDef")]
    pub id: NodeId,
    /// The address it listens on, connects from, and tells clients.
    pub host: IpAddr,
    /// Clients may ask this port for any key.
    pub gateway_port: u16,
    /// Core `c` listens for cluster clients on `core_port + c`.
    pub core_port: u16,
    /// Core `c` listens for cores of other nodes on `peer_port + c`.
    pub peer_port: u16,
    /// Where metrics and health are served over HTTP; 0 if they are not.
    pub admin_port: u16,
    /// How many cores it has.
    pub cores: u16,
    /// What it shares a fate with: replicas of a group are spread over racks first. A node without one counts
    /// as a rack of its own.
    pub rack: Option<String>,
}

/// A group: the slots it owns and where its replicas live.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Group {
    /// Its id. Group 0 holds the cluster map.
    #[rkyv(with = GroupIdDef)]
    #[serde(with = "GroupIdDef")]
    pub id: GroupId,
    /// The slots it owns, ascending; empty for group 0.
    pub slots: Vec<SlotRange>,
    /// Its replicas as they are to be. Who takes part in fact stands in the group's own log. The first one should lead at first boot.
    pub replicas: Vec<Replica>,
}

/// A member of a group.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Replica {
    /// Its id, unique in the cluster for ever.
    #[rkyv(with = ReplicaIdDef)]
    #[serde(with = "ReplicaIdDef")]
    pub id: ReplicaId,
    /// The core it lives on.
    #[rkyv(with = PlaceDef)]
    #[serde(with = "PlaceDef")]
    pub place: CoreAddr,
}

/// A run of slots, both ends included.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct SlotRange {
    /// First slot.
    pub first: u16,
    /// Last slot. Invariant: `first <= last < SLOTS_COUNT`.
    pub last: u16,
}

/// How a leader knows that it may still answer reads.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ReadMode {
    /// By a lease: from memory at once, relying on a bound on the drift between clocks.
    #[default]
    Lease,
    /// By asking a majority for every batch of reads, relying on no clock.
    ReadIndex,
}

/// Settings that all nodes must agree on: the lease of one rests on the patience of the others.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Settings {
    /// How many replicas a group should have; fewer if there are fewer nodes.
    pub replication_factor: u8,
    /// How reads are answered.
    pub read_mode: ReadMode,
    /// How often a leader is heard of.
    pub heartbeat_interval_ms: u32,
    /// Voters stick for this long to a leader that they heard.
    pub election_timeout_min_ms: u32,
    /// Nobody waits longer than this before campaigning.
    pub election_timeout_max_ms: u32,
    /// How much faster one clock may run than another, in millionths.
    pub clock_drift_ppm_max: u32,
}

impl Settings {
    /// What nobody has set otherwise; the table of the configuration refers to it.
    pub const DEFAULT: Settings = Settings {
        replication_factor: 3,
        read_mode: ReadMode::Lease,
        heartbeat_interval_ms: 50,
        election_timeout_min_ms: 500,
        election_timeout_max_ms: 1_000,
        clock_drift_ppm_max: 10_000,
    };
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::DEFAULT
    }
}

impl ClusterMap {
    /// The node with this id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        let idx = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
        self.nodes.get(idx)
    }

    /// What there is to know of a node that comes or came with a token.
    pub fn admitted(&self, id: NodeId) -> Option<&AdmittedNode> {
        let idx = self.admitted.binary_search_by_key(&id, |node| node.id).ok()?;
        self.admitted.get(idx)
    }

    /// What is waited for until a node is removed that is to be.
    pub fn leaving(&self, id: NodeId) -> Option<&LeavingNode> {
        let idx = self.leaving.binary_search_by_key(&id, |node| node.id).ok()?;
        self.leaving.get(idx)
    }

    /// Whether a node was removed.
    pub fn is_removed(&self, id: NodeId) -> bool {
        self.removed.binary_search_by_key(&id, |node| node.0).is_ok()
    }

    /// The groups of which a replica is wanted on a node.
    pub fn groups_on(&self, id: NodeId) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.replicas.iter().any(|replica| replica.place.node == id))
    }

    /// The group with this id.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        let idx = self.groups.binary_search_by_key(&id, |group| group.id).ok()?;
        self.groups.get(idx)
    }

    /// The groups that have a replica on this core, each with that replica, by group id.
    pub fn replicas_at(&self, place: CoreAddr) -> impl Iterator<Item = (&Group, Replica)> {
        self.groups.iter().filter_map(move |group| {
            let replica = group.replicas.iter().find(|replica| replica.place == place)?;
            Some((group, *replica))
        })
    }

    /// Every core of every node, by node and core.
    pub fn places(&self) -> impl Iterator<Item = CoreAddr> {
        self.nodes.iter().flat_map(Node::places)
    }

    /// How many cores the other nodes have.
    pub fn other_cores_count(&self, node: NodeId) -> usize {
        self.nodes.iter().filter(|other| other.id != node).map(|other| usize::from(other.cores)).sum()
    }

    /// The 40 digits by which Redis clients know a core.
    pub fn id40(&self, place: CoreAddr) -> Id40 {
        Id40::of_core(self.cluster_id, place)
    }
}

impl Node {
    /// Whether another description is of the same node, but for the id that a cluster gives it.
    pub fn is_described_by(&self, other: &Node) -> bool {
        Node { id: self.id, ..other.clone() } == *self
    }

    /// Its cores.
    pub fn places(&self) -> impl Iterator<Item = CoreAddr> + use<> {
        let node = self.id;
        (0..self.cores).map(move |core| CoreAddr { node, core: CoreId(core) })
    }

    /// Where clients may ask for any key.
    pub fn gateway_addr(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.gateway_port)
    }

    /// Where cluster clients reach a core. The core must be one of this node's, in a valid map.
    pub fn core_addr(&self, core: CoreId) -> SocketAddr {
        SocketAddr::new(self.host, self.port_of(self.core_port, core))
    }

    /// Where cores of other nodes reach a core. The core must be one of this node's, in a valid map.
    pub fn peer_addr(&self, core: CoreId) -> SocketAddr {
        SocketAddr::new(self.host, self.port_of(self.peer_port, core))
    }

    fn port_of(&self, base: u16, core: CoreId) -> u16 {
        assert!(core.0 < self.cores, "core {core} of node {}, which has {}", self.id, self.cores);
        base.checked_add(core.0).expect("a valid map keeps all ports of a node below 65,536")
    }
}

impl Group {
    /// The replica that should lead at first boot, so that leaders start out evenly over all cores.
    pub fn preferred_leader(&self) -> Option<Replica> {
        self.replicas.first().copied()
    }
}

impl SlotRange {
    /// How many slots it holds.
    pub fn count(self) -> usize {
        usize::from(self.last) + 1 - usize::from(self.first)
    }
}
