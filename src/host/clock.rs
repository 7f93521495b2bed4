//! Time.

use types::Instant;

/// The clocks of a node.
pub trait Clock {
    /// The monotonic clock of this node, which also counts suspension (CLOCK_BOOTTIME). Never goes back.
    fn now(&self) -> Instant;

    /// Wall-clock time in milliseconds since 1970-01-01 UTC. May step in either direction.
    fn unix_time_ms(&self) -> u64;
}
