//! Whether this core's log keeps up with the logs of the cores that share its groups.
//!
//! A disk that gets a hundred times slower does not fail, and Raft alone never notices: heartbeats do not wait for it, and
//! the followers' syncs commit what the leader proposes. But what waits for a log is bounded, and once that much waits for the
//! leader's its clients wait for its disk. Nothing absolute tells a slow disk from a busy one. What is compared
//! is how long a write to the own log takes, and how long the same groups take to commit meanwhile: where other replicas are
//! several times quicker, they should lead.

use std::collections::VecDeque;
use std::time::Duration;

use types::Instant;

/// A write to the log is late when it takes this many times as long as a commit ...
const LATE_RATIO: u32 = 8;
/// ... and longer than this: differences that no client would notice are none.
const LATE_MIN: Duration = Duration::from_millis(2);
/// A late write adds this to the score, one in time takes 1 away: a disk of which every second write is late is slow.
const LATE_POINTS: u32 = 2;
/// The log is slow when the score is this high: more than the writes add that are under way when a process stands
/// still ...
const SLOW_SCORE: u32 = 16;
/// ... and has been above 0 for this long, or when one write takes longer than that.
const LATE_FOR: Duration = Duration::from_secs(1);
/// It has recovered when the score has been below half of that for this long.
const IN_TIME_FOR: Duration = Duration::from_secs(10);
/// Writes that wait to be compared with the next commit. Of those that came before, without a commit in between, only
/// the ones in time count.
const UNJUDGED_COUNT_MAX: usize = 16;
/// The score does not rise above this.
const SCORE_MAX: u32 = 2 * SLOW_SCORE;
/// One over the weight of the newest sample in the means.
const SMOOTHING: u32 = 8;

/// How fast a core's log is, against how fast its groups commit.
#[derive(Debug, Default)]
pub(super) struct DiskHealth {
    /// Mean time from handing a write to the log until it is durable.
    write: Duration,
    /// Mean time from proposing a batch until it is committed and applied.
    commit: Duration,
    /// Writes since the last commit.
    unjudged: VecDeque<Duration>,
    /// How many writes were late of late.
    score: u32,
    /// Since when the score is above 0.
    late_since: Instant,
    /// When the score was last at least half of what makes a log slow.
    bad_at: Instant,
    is_slow: bool,
}

fn smooth(mean: &mut Duration, sample: Duration) {
    *mean = if mean.is_zero() { sample } else { (*mean * (SMOOTHING - 1) + sample) / SMOOTHING };
}

/// Whether a write is late, where commits take that long.
fn is_late(write: Duration, commit: Duration) -> bool {
    write > LATE_MIN && !commit.is_zero() && write > commit * LATE_RATIO
}

impl DiskHealth {
    /// A write to the log has become durable, this long after it was handed over.
    pub(super) fn wrote(&mut self, took: Duration, now: Instant) {
        smooth(&mut self.write, took);
        self.unjudged.push_back(took);
        if self.unjudged.len() > UNJUDGED_COUNT_MAX
            && let Some(oldest) = self.unjudged.pop_front()
            && !is_late(oldest, self.commit)
        {
            self.set_score(self.score.saturating_sub(1), now);
        }
    }

    /// A batch was committed, this long after it was proposed here.
    pub(super) fn committed(&mut self, took: Duration, now: Instant) {
        smooth(&mut self.commit, took);
        // If all disks have got slower the mean does not tell yet.
        let commit = self.commit.max(took);
        while let Some(write) = self.unjudged.pop_front() {
            let score = if is_late(write, commit) { self.score + LATE_POINTS } else { self.score.saturating_sub(1) };
            self.set_score(score, now);
        }
    }

    fn set_score(&mut self, score: u32, now: Instant) {
        if self.score == 0 {
            self.late_since = now;
        }
        self.score = score.min(SCORE_MAX);
        if self.score >= SLOW_SCORE / 2 {
            self.bad_at = now;
        }
    }

    /// Looks at what was measured, and at the write that has been under way for longest.
    pub(super) fn tick(&mut self, under_way: Option<Duration>, now: Instant) {
        let hangs = under_way.is_some_and(|age| age > LATE_FOR && is_late(age, self.commit));
        if hangs {
            self.set_score(SCORE_MAX, now);
        }
        let lags = self.score >= SLOW_SCORE && now.since(self.late_since) >= LATE_FOR;
        let has_recovered = self.score < SLOW_SCORE / 2 && now.since(self.bad_at) >= IN_TIME_FOR;
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
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Mean time of a write to the log.
    pub(super) fn write_mean(&self) -> Duration {
        self.write
    }

    /// Mean time of a commit.
    pub(super) fn commit_mean(&self) -> Duration {
        self.commit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// The health after commits of 1 ms and then writes of `took_ms`, one after the other, for `for_ms`.
    fn after(health: &mut DiskHealth, now: &mut Instant, took_ms: u64, for_ms: u64) {
        let end = *now + MS(for_ms);
        while *now < end {
            health.committed(MS(1), *now);
            *now += MS(took_ms);
            health.wrote(MS(took_ms), *now);
            health.tick(None, *now);
        }
    }

    #[test]
    fn a_log_that_lags_for_long_is_slow_until_it_has_been_quick_for_long() {
        let (mut health, mut now) = (DiskHealth::default(), Instant::ZERO);
        after(&mut health, &mut now, 1, 1_000);
        after(&mut health, &mut now, 100, 900);
        assert!(!health.is_slow(), "it may be over soon");
        after(&mut health, &mut now, 100, 300);
        assert!(health.is_slow());
        after(&mut health, &mut now, 1, 9_000);
        assert!(health.is_slow(), "it may be back soon");
        after(&mut health, &mut now, 1, 2_000);
        assert!(!health.is_slow());
    }

    #[test]
    fn a_log_that_lags_with_every_second_write_is_slow() {
        let (mut health, mut now) = (DiskHealth::default(), Instant::ZERO);
        after(&mut health, &mut now, 1, 1_000);
        for _ in 0..20 {
            after(&mut health, &mut now, 1, 1);
            after(&mut health, &mut now, 100, 100);
        }
        assert!(health.is_slow());
    }

    #[test]
    fn a_write_that_does_not_end_is_slow() {
        let (mut health, now) = (DiskHealth::default(), Instant::ZERO + MS(5_000));
        health.committed(MS(1), now);
        health.tick(Some(MS(1_000)), now);
        assert!(!health.is_slow());
        health.tick(Some(MS(1_001)), now);
        assert!(health.is_slow());
    }

    #[test]
    fn where_all_are_slow_none_is() {
        let (mut health, mut now) = (DiskHealth::default(), Instant::ZERO);
        for _ in 0..100 {
            health.committed(MS(150), now);
            now += MS(100);
            health.wrote(MS(100), now);
            health.tick(Some(MS(1_100)), now);
        }
        assert!(!health.is_slow(), "the commits are as slow");
    }

    /// Found when proposals began to join the log's next block: the test of all disks slow depended on when they got so.
    #[test]
    fn commits_of_before_tell_nothing_of_writes_without_commits() {
        let (mut health, mut now) = (DiskHealth::default(), Instant::ZERO);
        after(&mut health, &mut now, 1, 1_000);
        for _ in 0..100 {
            now += MS(50);
            health.wrote(MS(50), now);
            health.tick(Some(MS(50)), now);
        }
        assert!(!health.is_slow(), "nobody knows how long others take now");
        for _ in 0..100 {
            now += MS(50);
            health.committed(MS(40), now);
            health.wrote(MS(50), now);
            health.tick(Some(MS(50)), now);
        }
        assert!(!health.is_slow(), "others are as slow");
    }

    #[test]
    fn a_pause_is_not_a_slow_disk() {
        let (mut health, mut now) = (DiskHealth::default(), Instant::ZERO);
        after(&mut health, &mut now, 1, 1_000);
        for _ in 0..7 {
            health.wrote(MS(5_000), now);
        }
        now += MS(5_000);
        after(&mut health, &mut now, 1, 100);
        assert!(!health.is_slow(), "what was under way when the process stood still says nothing");
    }
}
