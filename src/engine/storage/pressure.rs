//! How long the log is, and who keeps it so long.

use super::log_length::{LogLength, LogLevel};
use crate::config::Config;

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

    pub(super) fn report(&self, stats: &wal::Stats, info: &mut impl FnMut(&'static str, String)) {
        info("log_bytes", self.length.bytes(stats).to_string());
        info("log_bytes_max", self.length.bytes_max().to_string());
        info("log_is_full", u8::from(self.level == LogLevel::Full).to_string());
    }

    /// Replicas that keep the oldest segment of a log that is long, and need a snapshot to let it go.
    pub(super) fn pinning(&self) -> &[usize] {
        &self.pinning
    }
}
