//! Whether this core's log keeps up with the logs of the cores that share its groups.
//!
//! A disk that gets a hundred times slower does not fail, and Raft alone never notices: heartbeats do not wait for it, and
//! the followers' syncs commit what the leader proposes. But a leader proposes its next batch when its own log has taken
//! the last one, so its clients wait for its disk. Nothing absolute tells a slow disk from a busy one. What is compared
//! is how long a write to the own log takes, and how long the same groups take to commit: where other replicas are
//! several times quicker, they should lead.

use std::time::Duration;

use types::Instant;

/// A write to the log is late when it takes this many times as long as a commit ...
const LATE_RATIO: u32 = 8;
/// ... and longer than this: differences that no client would notice are none.
const LATE_MIN: Duration = Duration::from_millis(2);
/// The log is slow when this many writes in a row were late ...
const LATE_COUNT: u32 = 8;
/// ... over at least this time, or when one write takes longer than that.
const LATE_FOR: Duration = Duration::from_secs(1);
/// It has recovered when as many writes in a row were in time, and none was late for this long.
const IN_TIME_FOR: Duration = Duration::from_secs(10);
/// One over the weight of the newest sample in the means.
const SMOOTHING: u32 = 8;

/// How fast a core's log is.
#[derive(Debug, Default)]
pub(crate) struct LogPace {
    /// Mean time from handing a write to the log until it is durable.
    write: Duration,
    /// Mean time from proposing a batch until it is committed and applied.
    commit: Duration,
    /// Writes in a row that were late; 0 after one in time.
    late_count: u32,
    /// When the first of these ended.
    late_since: Instant,
    /// When the last late write ended.
    late_at: Instant,
    /// Writes in a row that were in time.
    in_time_count: u32,
    is_slow: bool,
}

fn smooth(mean: &mut Duration, sample: Duration) {
    *mean = if mean.is_zero() { sample } else { (*mean * (SMOOTHING - 1) + sample) / SMOOTHING };
}

impl LogPace {
    /// A write to the log has become durable, this long after it was handed over.
    pub(crate) fn wrote(&mut self, took: Duration, now: Instant) {
        smooth(&mut self.write, took);
        if !self.is_late(took) {
            self.late_count = 0;
            self.in_time_count = self.in_time_count.saturating_add(1);
            return;
        }
        if self.late_count == 0 {
            self.late_since = now;
        }
        self.late_count = self.late_count.saturating_add(1);
        self.late_at = now;
        self.in_time_count = 0;
    }

    /// A batch was committed, this long after it was proposed here.
    pub(crate) fn committed(&mut self, took: Duration) {
        smooth(&mut self.commit, took);
    }

    fn is_late(&self, took: Duration) -> bool {
        took > LATE_MIN && !self.commit.is_zero() && took > self.commit * LATE_RATIO
    }

    /// Looks at what was measured, and at the write that has been under way for longest.
    pub(crate) fn tick(&mut self, under_way: Option<Duration>, now: Instant) {
        let hangs = under_way.is_some_and(|age| age > LATE_FOR && self.is_late(age));
        if hangs {
            self.late_at = now;
            self.in_time_count = 0;
        }
        let lags = self.late_count >= LATE_COUNT && self.late_at.since(self.late_since) >= LATE_FOR;
        let has_recovered = self.in_time_count >= LATE_COUNT && now.since(self.late_at) >= IN_TIME_FOR;
        if !self.is_slow && (hangs || lags) {
            self.is_slow = true;
            tracing::warn!(
                write = ?under_way.unwrap_or_default().max(self.write), commit = ?self.commit,
                "writes to the log take much longer here than on other nodes: others should lead. Is the disk well?"
            );
        } else if self.is_slow && has_recovered {
            self.is_slow = false;
            tracing::info!(write = ?self.write, "writes to the log are as fast as on other nodes again");
        }
    }

    /// Whether others should lead.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Mean time of a write to the log.
    pub(crate) fn write_mean(&self) -> Duration {
        self.write
    }

    /// Mean time of a commit.
    pub(crate) fn commit_mean(&self) -> Duration {
        self.commit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// A pace after commits of 1 ms and then writes of `took_ms`, one after the other, for `for_ms`.
    fn after(pace: &mut LogPace, now: &mut Instant, took_ms: u64, for_ms: u64) {
        let end = *now + MS(for_ms);
        while *now < end {
            pace.committed(MS(1));
            *now += MS(took_ms);
            pace.wrote(MS(took_ms), *now);
            pace.tick(None, *now);
        }
    }

    #[test]
    fn a_log_that_lags_for_long_is_slow_until_it_has_been_quick_for_long() {
        let (mut pace, mut now) = (LogPace::default(), Instant::ZERO);
        after(&mut pace, &mut now, 1, 1_000);
        after(&mut pace, &mut now, 100, 900);
        assert!(!pace.is_slow(), "it may be over soon");
        after(&mut pace, &mut now, 100, 300);
        assert!(pace.is_slow());
        after(&mut pace, &mut now, 1, 9_000);
        assert!(pace.is_slow(), "it may be back soon");
        after(&mut pace, &mut now, 1, 2_000);
        assert!(!pace.is_slow());
    }

    #[test]
    fn a_write_that_does_not_end_is_slow() {
        let (mut pace, now) = (LogPace::default(), Instant::ZERO + MS(5_000));
        pace.committed(MS(1));
        pace.tick(Some(MS(1_000)), now);
        assert!(!pace.is_slow());
        pace.tick(Some(MS(1_001)), now);
        assert!(pace.is_slow());
    }

    #[test]
    fn where_all_are_slow_none_is() {
        let (mut pace, mut now) = (LogPace::default(), Instant::ZERO);
        for _ in 0..100 {
            pace.committed(MS(150));
            now += MS(100);
            pace.wrote(MS(100), now);
            pace.tick(Some(MS(1_100)), now);
        }
        assert!(!pace.is_slow(), "the commits are as slow");
    }

    #[test]
    fn a_pause_is_not_a_slow_disk() {
        let (mut pace, mut now) = (LogPace::default(), Instant::ZERO);
        after(&mut pace, &mut now, 1, 1_000);
        for _ in 0..7 {
            pace.wrote(MS(5_000), now);
        }
        now += MS(5_000);
        after(&mut pace, &mut now, 1, 100);
        assert!(!pace.is_slow(), "what was under way when the process stood still says nothing");
    }
}
