//! Messages between the cores of one node.

use types::CoreId;

/// Bounded queues from each core of a node to each other one. Order is kept per pair of cores.
pub trait Mesh {
    /// What cores send each other. Owned data only: no core sees another's memory.
    type Message: Send + 'static;

    /// Queues a message for another core of this node. Hands it back if that core's queue is full or the
    /// core is gone; the caller then keeps it or fails what it belongs to.
    fn mesh_send(&self, to: CoreId, message: Self::Message) -> Result<(), Self::Message>;

    /// The next message that has arrived, with the core it came from.
    fn mesh_receive(&self) -> Option<(CoreId, Self::Message)>;
}
