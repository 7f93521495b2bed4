//! What the replies about the cluster show of who leads and who is connected, for whoever renders them.
//!
//! `router` knows leaders and `peers` knows links; `cluster` shows both and may import neither.

use types::{CoreAddr, GroupId, Instant, NodeId};

/// Who leads a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    /// The leader last heard of; before the first election the one that the map prefers.
    pub(crate) addr: CoreAddr,
    /// Whether it is believed to lead now. `false` during an election.
    pub(crate) is_known: bool,
}

/// Who leads what.
pub(crate) trait LeaderTable {
    /// Changes whenever an answer of [`LeaderTable::leader_of`] does, so that what was made from the answers can be
    /// kept.
    fn version(&self) -> u64;

    /// Who leads the group; `None` if the map has no such group.
    fn leader_of(&self, group: GroupId) -> Option<Leader>;
}

/// A link to a core of another node, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkView {
    /// The core on the other side.
    pub(crate) addr: CoreAddr,
    /// Since when this core's own connection to it is up, in milliseconds since 1970; `None` while it is not. Over it
    /// this core sends.
    pub(crate) to_since_ms: Option<u64>,
    /// The same for the connection that the other core has made, over which it sends.
    pub(crate) from_since_ms: Option<u64>,
    /// Bytes that wait to be sent to it.
    pub(crate) send_bytes: usize,
}

/// Who is connected.
pub(crate) trait LinkTable {
    /// Whether frames can be sent to this core. It is true of all cores of the own node.
    fn is_connected(&self, addr: CoreAddr) -> bool;

    /// When something last came from this core; `None` if nothing ever did, and for cores of the own node.
    fn heard_at(&self, addr: CoreAddr) -> Option<Instant>;

    /// The data directory of another node, if one of its cores was let in.
    fn incarnation(&self, node: NodeId) -> Option<u64>;

    /// Every link to a core of another node.
    fn each_link(&self, visit: &mut dyn FnMut(LinkView));
}
