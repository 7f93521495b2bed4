//! A trap, and those that are set.

use crate::faults::Moment;

/// What a trap waits for, and does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trap {
    /// A moment of this kind: the node dies.
    Crash { moment: Moment },
    /// An election: another node's disk gets several times slower, and the node dies in the middle of a log write.
    HalfWay { factor: u64 },
}

/// A trap that is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    pub(super) trap: Trap,
    pub(super) within_us: u64,
    pub(super) down_ms: u64,
    pub(super) until: u64,
    pub(super) left_count: u32,
}

/// The traps that are set.
#[derive(Debug, Default)]
pub(super) struct Traps(pub(super) Vec<Set>);
