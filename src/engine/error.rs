//! Why a core stops.

use thiserror::Error;
use types::{CoreAddr, GroupId, Index};

/// What ends a core. All of these concern the whole node; none is caused by what a client sends.
#[derive(Debug, Error)]
pub enum Error {
    /// The log failed: what it holds is decided at the next start.
    #[error("the log of core {place} failed: {source}")]
    Wal {
        /// The core.
        place: CoreAddr,
        /// What happened.
        source: wal::Error,
    },
    /// Committed entries that are not in memory any more cannot be read back from the log: the group cannot go on here,
    /// and if it is led here nowhere.
    #[error(
        "group {group}: committed entries up to {last} cannot be read back from the log to be applied ({source}). This node \
         stops, so that others lead the group; at the next start its log is checked whole"
    )]
    Unappliable {
        /// The group.
        group: GroupId,
        /// The last of the entries.
        last: Index,
        /// What the last attempt ended with.
        source: wal::Error,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {addr}: {source}. Stop what is using it, or choose another port")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The map and this core do not fit together.
    #[error("the cluster map: {0}")]
    Map(#[from] meta::Error),
    /// The map does not know this core.
    #[error("the cluster map has no core {0}")]
    UnknownPlace(CoreAddr),
    /// What the log holds of a group cannot be where this replica starts.
    #[error("group {group} cannot start: {source}")]
    Start {
        /// The group.
        group: GroupId,
        /// Why.
        source: raft::StartError,
    },
    /// A group that has no other replica lost part of its log, or its tables.
    #[error(
        "the data of group {group} is damaged ({reason}), and no other replica holds it. Nothing was changed. Restore \
         the data directory from a backup, or accept the loss by moving it away and starting this node empty"
    )]
    LostAlone {
        /// The group.
        group: GroupId,
        /// What is wrong.
        reason: String,
    },
    /// The tables of a core cannot be opened.
    #[error("core {place}: {source}")]
    Store {
        /// The core.
        place: CoreAddr,
        /// Why.
        source: lsm::Error,
    },
    /// The node was started with another first map than the one the cluster lives by.
    #[error(
        "the cluster was formed with another map than this node (epoch {agreed}): restore the data directory from a copy, or the \
         peers with their addresses and ports, `cores`, `groups` and the other settings of the cluster as they were"
    )]
    OtherMap {
        /// Epoch of the map in group 0.
        agreed: u64,
    },
    /// The cluster goes on with another data directory of this node.
    #[error(
        "node {node} has been replaced: it came back with another data directory while this one was away. Remove this one, and \
         do not start it again"
    )]
    Replaced {
        /// The node.
        node: types::NodeId,
    },
    /// The node is no part of the cluster any more.
    #[error(
        "node {node} was removed from the cluster (CORACLE REMOVE), and its id is never used again. To use this machine for it, empty \
         the data directory and start the node with a token (CORACLE TOKEN)"
    )]
    Removed {
        /// The node.
        node: types::NodeId,
    },
    /// The map in group 0 cannot be read.
    #[error("the cluster map in the log of group 0 cannot be read: {0}")]
    MapEntry(meta::Error),
    /// A committed change of membership cannot be read: a defect of this software or of memory, not of the disk.
    #[error("group {group}: the committed membership {index} cannot be read: {source}")]
    Membership {
        /// The group.
        group: GroupId,
        /// The entry.
        index: Index,
        /// What is wrong with it.
        source: wire::MembershipError,
    },
    /// A committed compare entry asks for what this release does not know, though all nodes are of one protocol version: a defect of
    /// this software or of memory, not of the disk.
    #[error("group {group}: the committed entry {index} cannot be read: {source}")]
    Compare {
        /// The group.
        group: GroupId,
        /// The entry.
        index: Index,
        /// What is wrong with it.
        source: wire::ComparisonError,
    },
    /// A committed entry is not a batch: a defect of this software or of memory, not of the disk.
    #[error("group {group}: the committed entry {index} cannot be read: {source}")]
    Batch {
        /// The group.
        group: GroupId,
        /// The entry.
        index: Index,
        /// What is wrong with it.
        source: wire::BatchError,
    },
}
