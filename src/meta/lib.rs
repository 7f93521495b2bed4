//! The cluster map and the placement of groups, pure.
//!
//! The map says which nodes there are, which group owns which slots, and on which core of which node each
//! replica of a group is to live. At first it is built from the bootstrap configuration, which is the same on
//! every node: so is the map, since placement is a pure function of it. Later it changes by entries of group 0.
//!
//! Invariants of a valid map ([`ClusterMap::validate`]):
//! - every one of the 16,384 slots belongs to exactly one group, and none to group 0;
//! - replicas of a group live on different nodes, and every replica id is unique in the cluster;
//! - no two endpoints of the cluster share an address and port;
//! - ids of nodes and replicas are handed out once, also if their node is removed or their replica replaced.
//!
//! Deliberately absent: I/O, clocks, chance, and knowledge of who leads. A first replica is where a group's
//! leader *should* be at first boot, no more.
//!
//! Reading order: [`map`], [`bootstrap`], [`placement`], [`validate`], [`change`], [`duty`], [`token`]; [`reports`], [`detector`] and [`planner`], which say what
//! is to change and do nothing themselves; [`slots`] finds a slot's group; [`archive`] turns a map into
//! bytes and back, with [`archived_ids`], [`id`] holds the cluster's identity and the 40-digit ids that Redis clients see; [`error`].

pub mod archive;
pub mod archived_ids;
pub mod bootstrap;
pub mod change;
pub mod detector;
pub mod duty;
pub mod error;
pub mod id;
pub mod map;
pub mod placement;
pub mod planner;
pub mod reports;
pub mod slots;
pub mod token;
pub mod validate;

pub use bootstrap::Bootstrap;
pub use change::{Admit, Assign, Await, Dismiss, Invite, Join, Keep, MapChange, Remove, Replace, Vacate};
pub use detector::{Detector, Health, Patience};
pub use duty::DutyRefusal;
pub use error::Error;
pub use id::{ClusterId, Id40};
pub use map::{
    AdmittedNode, ClusterMap, Group, INVITATIONS_COUNT_MAX, Invitation, LeavingGroup, LeavingNode, Node, NodeDuty,
    ReadMode, RemovedNode, Replica, Settings, SlotRange,
};
pub use slots::SlotTable;
pub use token::{Fingerprint, JoinToken};
