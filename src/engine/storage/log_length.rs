//! How long the log of a core is, against how long it may be.
//!
//! Segments are preallocated, so their number is what the disk must hold; how much of the last one is written says how
//! soon there will be one more.

use super::slowing::share;
use crate::config::Config;

/// What the length of the log calls for. Ordered: each includes what those before it ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LogLevel {
    /// Nothing.
    Fine,
    /// The groups that keep the oldest segment write snapshots and let their log go, whatever else they would wait for.
    Long,
    /// Log that is kept for replicas that receive a snapshot goes too: they must take the next one.
    TooLong,
    /// Writers to the groups that keep the oldest segment wait.
    Full,
}

/// The length of the log.
pub(super) struct LogLength {
    segment_bytes: u64,
    bytes_max: u64,
    /// Segments begun since the start, as of the last look.
    rolls: u64,
    /// Bytes written since the start, when the last segment was begun.
    bytes_at_roll: u64,
}

impl LogLength {
    pub(super) fn new(config: &Config) -> LogLength {
        let segment_bytes = config.segment_bytes;
        // With fewer than two there would never be a segment to let go.
        let segments_max = (config.log_bytes_max / segment_bytes).max(2);
        LogLength { segment_bytes, bytes_max: segments_max * segment_bytes, rolls: 0, bytes_at_roll: 0 }
    }

    /// Takes in what the log has done. Between two looks less than a segment should be written, or the length is
    /// underestimated by as much.
    pub(super) fn look(&mut self, stats: &wal::Stats) {
        if stats.rolls != self.rolls {
            self.rolls = stats.rolls;
            self.bytes_at_roll = stats.bytes;
        }
    }

    /// Bytes of the log: of whole segments, and of what is written of the last one. How much of that was written
    /// before the start is not known; it counts as full until the next one is begun.
    pub(super) fn bytes(&self, stats: &wal::Stats) -> u64 {
        let last = match self.rolls {
            0 => self.segment_bytes,
            _ => (stats.bytes - self.bytes_at_roll + stats.pending_bytes).min(self.segment_bytes),
        };
        stats.segments_used.saturating_sub(1) * self.segment_bytes + last
    }

    /// The most there may be.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// In what share of the ticks writers are to wait while a replica needs log that is kept for it: in none up to half of what there
    /// may be, and in nearly all where it would be let go.
    pub(super) fn share_for_receivers(&self, stats: &wal::Stats) -> u64 {
        share(self.bytes(stats), self.bytes_max / 2, self.bytes_max - self.segment_bytes)
    }

    /// What the length calls for. Between the levels lies half a segment, so that what is under way has room.
    pub(super) fn level(&self, stats: &wal::Stats) -> LogLevel {
        let (bytes, half) = (self.bytes(stats), self.segment_bytes / 2);
        if stats.segments_used < 2 {
            // There is no older segment to let go.
            LogLevel::Fine
        } else if bytes >= self.bytes_max - half {
            LogLevel::Full
        } else if bytes >= self.bytes_max - 2 * half {
            LogLevel::TooLong
        } else if bytes >= self.bytes_max - (3 * half).max(self.bytes_max / 4) {
            LogLevel::Long
        } else {
            LogLevel::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use wal::Stats;

    use super::*;
    use crate::testing::map;

    fn length(segments_max: u64) -> LogLength {
        let mut config = Config::new(types::CoreAddr::default(), map(1), 1, PathBuf::new());
        (config.segment_bytes, config.log_bytes_max) = (1_000, segments_max * 1_000);
        LogLength::new(&config)
    }

    fn stats(segments_used: u64, rolls: u64, bytes: u64) -> Stats {
        Stats { segments_used, rolls, bytes, ..Stats::default() }
    }

    #[test]
    fn writers_wait_before_one_segment_more_is_begun_than_there_may_be() {
        let mut length = length(8);
        length.look(&stats(8, 7, 7_000));
        let level = |written: u64| length.level(&stats(8, 7, 7_000 + written));
        assert_eq!(level(0), LogLevel::TooLong);
        assert_eq!(level(499), LogLevel::TooLong);
        assert_eq!(level(500), LogLevel::Full);
        assert_eq!(length.level(&stats(9, 8, 8_000)), LogLevel::Full);
        assert_eq!(length.level(&stats(7, 7, 7_100)), LogLevel::Long);
        assert_eq!(length.level(&stats(6, 7, 7_900)), LogLevel::Fine);
    }

    #[test]
    fn two_segments_are_enough_to_go_on_with() {
        let mut length = length(0);
        assert_eq!(length.bytes_max(), 2_000);
        assert_eq!(length.level(&stats(1, 0, 900)), LogLevel::Fine);
        length.look(&stats(2, 1, 1_000));
        assert_eq!(length.level(&stats(2, 1, 1_001)), LogLevel::TooLong);
        assert_eq!(length.level(&stats(2, 1, 1_600)), LogLevel::Full);
    }

    #[test]
    fn a_segment_that_was_begun_before_the_start_counts_as_full() {
        let length = length(2);
        assert_eq!(length.bytes(&stats(2, 0, 10)), 2_000);
        assert_eq!(length.level(&stats(2, 0, 10)), LogLevel::Full);
    }
}
