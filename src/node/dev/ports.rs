//! How many nodes and cores there may be, so that all their ports fit.

/// Most nodes of a development cluster.
pub const NODES_COUNT_MAX: u32 = 64;
/// Most cores of a node: their ports are PORT+1 to PORT+8.
pub const CORES_COUNT_MAX: u16 = 8;
/// Highest first port.
pub const PORT_MAX: u16 = u16::MAX - ADMIN_DISTANCE;

/// A core port lies so far behind the first port, and one more per core.
pub const CORE_DISTANCE: u16 = 1;
/// The same of peer ports.
pub const PEER_DISTANCE: u16 = 1_000;
/// The same of the admin port.
pub const ADMIN_DISTANCE: u16 = 2_000;

const _: () = {
    assert!(CORE_DISTANCE + CORES_COUNT_MAX <= PEER_DISTANCE);
    assert!(PEER_DISTANCE + CORES_COUNT_MAX <= ADMIN_DISTANCE);
    assert!(NODES_COUNT_MAX < 255);
};
