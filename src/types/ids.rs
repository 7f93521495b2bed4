//! Identifiers. Each is a newtype, so that a group cannot be passed where a node is meant.

use core::fmt;

/// Position of an entry in a group's log. The first entry has index 1; 0 means "none".
pub type Index = u64;

/// A Raft term. The first election is for term 1; 0 means "none".
pub type Term = u64;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A node: one process with its own data directory. Numbered from 1 by the operator.
    NodeId(u32)
}
id! {
    /// A core of a node: one executor thread, numbered from 0 within its node.
    CoreId(u16)
}
id! {
    /// A Raft group. Group 0 holds the cluster map and owns no slots.
    GroupId(u32)
}
id! {
    /// A member of one group, never reused: a replica that lost its data comes back under a new one.
    ReplicaId(u64)
}

/// Where a replica lives: one core of one node. Cores of different nodes talk to each other directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreAddr {
    /// The node.
    pub node: NodeId,
    /// The core within that node.
    pub core: CoreId,
}

impl fmt::Display for CoreAddr {
    /// `node/core`, for example `2/0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.core)
    }
}
