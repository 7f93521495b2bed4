//! Why and for how long the writers of a group were held up.

use std::time::Duration;

use types::Instant;

/// Why writes of a group wait, or are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StallReason {
    /// Keys have all the memory that they may, and rows must leave it first.
    Memory,
    /// The log is as long as it may be because of this group, which is to be flushed.
    LogLong,
    /// So much waits to become durable in the log that nothing is added to it.
    LogBehind,
    /// Copies of the group's rows pile up, as the disk does not take the flush.
    FlushBehind,
    /// The disk is full.
    DiskFull,
    /// The group has so many tables to be merged that writers are slowed down.
    MergesBehind,
    /// A replica catches up, and the log that is kept for it gets long: writers are slowed down.
    ReplicaBehind,
}

impl StallReason {
    const ALL: [StallReason; 7] = [
        StallReason::Memory,
        StallReason::LogLong,
        StallReason::LogBehind,
        StallReason::FlushBehind,
        StallReason::DiskFull,
        StallReason::MergesBehind,
        StallReason::ReplicaBehind,
    ];

    /// The name in INFO.
    fn name(self) -> &'static str {
        match self {
            StallReason::Memory => "memory",
            StallReason::LogLong => "log_long",
            StallReason::LogBehind => "log_behind",
            StallReason::FlushBehind => "flush_behind",
            StallReason::DiskFull => "disk_full",
            StallReason::MergesBehind => "merges_behind",
            StallReason::ReplicaBehind => "replica_behind",
        }
    }
}

/// How often and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    count: u64,
    took: Duration,
}

/// What has held up the writers of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalls {
    /// What does now, and since when.
    now: Option<(StallReason, Instant)>,
    counts: [Count; StallReason::ALL.len()],
}

impl Stalls {
    /// Something holds them up. Returns whether nothing has until now; what has begun first is what counts.
    pub(crate) fn begin(&mut self, reason: StallReason, now: Instant) -> bool {
        let is_new = self.now.is_none();
        if is_new {
            self.now = Some((reason, now));
            self.counts[reason as usize].count += 1;
        }
        is_new
    }

    /// What holds them up now.
    pub(crate) fn reason(&self) -> Option<StallReason> {
        self.now.map(|(reason, _)| reason)
    }

    /// Nothing holds them up any more. Returns for how long something has.
    pub(crate) fn end(&mut self, now: Instant) -> Duration {
        let Some((reason, since)) = self.now.take() else { return Duration::ZERO };
        let took = now.since(since);
        self.counts[reason as usize].took += took;
        took
    }

    /// What is told at a time.
    pub(crate) fn report(&self, now: Instant) -> StallReport {
        let lasts = |reason: StallReason| {
            let since = self.now.filter(|(of, _)| *of == reason).map(|(_, since)| since);
            since.map_or(Duration::ZERO, |since| now.since(since))
        };
        let reasons = StallReason::ALL.map(|reason| {
            let Count { count, took } = self.counts[reason as usize];
            (count, (took + lasts(reason)).as_micros() as u64)
        });
        let now = self.now.map(|(reason, since)| (reason, now.since(since).as_micros() as u64));
        StallReport { now, reasons }
    }
}

/// What is told of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StallReport {
    /// What holds its writers up, and for how long, in microseconds.
    now: Option<(StallReason, u64)>,
    /// How often each reason has, and for how long in all, in microseconds.
    reasons: [(u64, u64); StallReason::ALL.len()],
}

impl StallReport {
    /// How often the writers of the group were held up.
    pub(crate) fn count(&self) -> u64 {
        self.reasons.iter().map(|(count, _)| count).sum()
    }

    /// For how long in all, in microseconds.
    pub(crate) fn us(&self) -> u64 {
        self.reasons.iter().map(|(_, us)| us).sum()
    }

    /// As a part of a line of INFO: what holds writers up now, and each reason that ever has with how often and for how long.
    pub(crate) fn text(&self) -> String {
        let (by, for_us) = self.now.map_or(("none", 0), |(reason, us)| (reason.name(), us));
        let mut text =
            format!("stalls={},stall_us={},stalled_by={by},stalled_for_us={for_us}", self.count(), self.us());
        for (reason, (count, us)) in StallReason::ALL.iter().zip(self.reasons).filter(|(_, (count, _))| *count > 0) {
            text.push_str(&format!(",stalls_{0}={count},stall_us_{0}={us}", reason.name()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_that_came_first_counts_until_nothing_holds_writers_up() {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut stalls = Stalls::default();
        assert_eq!(stalls.report(at(1)).text(), "stalls=0,stall_us=0,stalled_by=none,stalled_for_us=0");
        assert!(stalls.begin(StallReason::Memory, at(1)) && !stalls.begin(StallReason::DiskFull, at(2)));
        let text = stalls.report(at(4)).text();
        assert_eq!(
            text,
            "stalls=1,stall_us=3000,stalled_by=memory,stalled_for_us=3000,stalls_memory=1,stall_us_memory=3000"
        );
        assert_eq!((stalls.end(at(5)), stalls.end(at(9))), (Duration::from_millis(4), Duration::ZERO));
        assert!(stalls.begin(StallReason::LogLong, at(10)));
        stalls.end(at(11));
        let report = stalls.report(at(20));
        assert_eq!((report.count(), report.us(), stalls.reason()), (2, 5_000, None));
        assert!(
            report.text().ends_with("stalls_memory=1,stall_us_memory=4000,stalls_log_long=1,stall_us_log_long=1000")
        );
    }
}
