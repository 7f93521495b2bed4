//! How long the log is, and who keeps it so long.

use super::log_length::{LogLength, LogLevel};
use crate::config::Config;
use crate::observe::Field;

/// How long the log is, and who keeps it so long.
pub(super) struct Pressure {
    pub(super) length: LogLength,
    pub(super) level: LogLevel,
    /// Replicas that keep the oldest segment and need a snapshot to let it go, as of the last look.
    pub(super) pinning: Vec<usize>,
    /// Blocks written as of the last look.
    pub(super) blocks_at_look: u64,
    pub(super) ticks_since_look: u32,
}

impl Pressure {
    pub(super) fn new(config: &Config) -> Pressure {
        Pressure {
            length: LogLength::new(config),
            level: LogLevel::Fine,
            pinning: Vec::new(),
            blocks_at_look: 0,
            ticks_since_look: 0,
        }
    }

    pub(super) fn report(&self, stats: &wal::Stats, tell: &mut impl FnMut(Field)) {
        tell(Field::sum("log_bytes", "Bytes of the log.", self.length.bytes(stats)));
        tell(Field::greatest("log_bytes_max", "Bytes that the log of a core may have.", self.length.bytes_max()));
        let is_full = self.level == LogLevel::Full;
        tell(Field::greatest("log_is_full", "Whether the log has all the bytes that it may.", is_full.into()));
    }

    /// Replicas that keep the oldest segment of a log that is long, and need a snapshot to let it go.
    pub(super) fn pinning(&self) -> &[usize] {
        &self.pinning
    }
}
