//! Refused commands, counted by reason, and the lines of the log that tell of them: few lines, whatever the rate.
//!
//! A refusal is counted where it happens. Once per tick, [`RefusalLog::due`] gives the lines that are to be logged: for a
//! reason the first at once, and while refusals go on the next after a second, after two more, and so on up to every
//! [`INTERVAL_MAX`]. A line tells how many there were since the one before.

use std::fmt;
use std::time::Duration;

use types::{GroupId, Instant};

use crate::refusal::Refusal;

/// A reason is logged again after this long at least.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A reason is logged again after this long at most. If it did not come up for as long, the next line comes at once.
const INTERVAL_MAX: Duration = Duration::from_secs(10);

/// How many commands were refused, by reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusalCounts([u64; Refusal::COUNT]);

impl Default for RefusalCounts {
    fn default() -> RefusalCounts {
        RefusalCounts([0; Refusal::COUNT])
    }
}

impl RefusalCounts {
    /// How many were refused for this reason.
    pub(crate) fn get(&self, refusal: Refusal) -> u64 {
        self.0[refusal.idx()]
    }

    /// Every counter: its name, what it counts, and its value.
    pub(crate) fn list(&self) -> [(&'static str, &'static str, u64); Refusal::COUNT] {
        Refusal::ALL.map(|refusal| (refusal.counter(), refusal.help(), self.get(refusal)))
    }

    /// Writes that were answered UNKNOWNOUTCOME, whatever the reason.
    pub(crate) fn outcomes_unknown(&self) -> u64 {
        let unknown = Refusal::ALL.iter().filter(|refusal| refusal.is_outcome_unknown());
        unknown.map(|refusal| self.get(*refusal)).sum()
    }

    /// Adds what another core of the node has counted.
    pub(crate) fn merge(&mut self, other: &RefusalCounts) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// What is to be logged of one reason.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    /// Refused since the last line.
    count: u64,
    /// One of the groups concerned.
    group: Option<GroupId>,
    /// Whether there were others.
    has_other_groups: bool,
    /// When the last line was logged.
    logged_at: Option<Instant>,
    /// How long after the last line the next one may come.
    interval: Duration,
}

/// The refusals of a core.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    counts: RefusalCounts,
    pending: [Pending; Refusal::COUNT],
    /// Whether there is anything to log, so that most ticks cost nothing.
    has_pending: bool,
}

impl RefusalLog {
    /// Counts a refused command, and the group that it was for if that has to do with it.
    #[cold]
    pub(crate) fn count(&mut self, refusal: Refusal, group: Option<GroupId>) {
        self.counts.0[refusal.idx()] += 1;
        if !refusal.is_logged() {
            return;
        }
        self.has_pending = true;
        let pending = &mut self.pending[refusal.idx()];
        if pending.count == 0 {
            (pending.group, pending.has_other_groups) = (group, false);
        }
        pending.count += 1;
        pending.has_other_groups |= pending.group != group;
    }

    /// How many were refused, by reason.
    pub(crate) fn counts(&self) -> &RefusalCounts {
        &self.counts
    }

    /// CONFIG RESETSTAT. What is still to be logged is logged.
    pub(crate) fn reset(&mut self) {
        self.counts = RefusalCounts::default();
    }

    /// The next line to log; whoever ticks takes them until there is none.
    pub(crate) fn due(&mut self, now: Instant) -> Option<RefusalLine> {
        if !self.has_pending {
            return None;
        }
        for (refusal, pending) in Refusal::ALL.into_iter().zip(&mut self.pending) {
            if pending.count == 0 {
                continue;
            }
            let since = pending.logged_at.map(|at| now.since(at));
            if since.is_some_and(|since| since < pending.interval) {
                continue;
            }
            let goes_on = since.is_some_and(|since| since < INTERVAL_MAX + INTERVAL_MIN);
            pending.interval = if goes_on { (pending.interval * 2).min(INTERVAL_MAX) } else { INTERVAL_MIN };
            pending.logged_at = Some(now);
            let count = std::mem::take(&mut pending.count);
            let within = since.filter(|_| goes_on);
            let (group, has_other_groups) = (pending.group, pending.has_other_groups);
            return Some(RefusalLine { refusal, count, within, group, has_other_groups });
        }
        self.has_pending = self.pending.iter().any(|pending| pending.count > 0);
        None
    }
}

/// A line of the log: how many commands were refused, how, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalLine {
    refusal: Refusal,
    count: u64,
    /// The time since the last line, unless that is long ago.
    within: Option<Duration>,
    group: Option<GroupId>,
    has_other_groups: bool,
}

impl fmt::Display for RefusalLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = if self.count == 1 { "command was" } else { "commands were" };
        write!(f, "{} {commands} answered {}", self.count, self.refusal.code())?;
        if let Some(within) = self.within {
            write!(f, " in the last {} s", within.as_secs().max(1))?;
        }
        write!(f, ", because {}", self.refusal.reason())?;
        match self.group {
            Some(group) if self.has_other_groups => write!(f, " (group {group} and others)"),
            Some(group) => write!(f, " (group {group})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn lines(log: &mut RefusalLog, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| log.due(now)).map(|line| line.to_string()).collect()
    }

    #[test]
    fn a_line_says_how_many_how_and_why() {
        let mut log = RefusalLog::default();
        log.count(Refusal::NoLeader, Some(GroupId(7)));
        assert_eq!(
            lines(&mut log, at(25)),
            ["1 command was answered CLUSTERDOWN, because no leader of their group is known (group 7)"]
        );
        for group in [7, 7, 8] {
            log.count(Refusal::NoLeader, Some(GroupId(group)));
        }
        assert_eq!(
            lines(&mut log, at(1_100)),
            ["3 commands were answered CLUSTERDOWN in the last 1 s, because no leader of their group is known \
              (group 7 and others)"]
        );
        log.count(Refusal::RequestsFull, None);
        assert_eq!(
            lines(&mut log, at(1_100)),
            ["1 command was answered TRYAGAIN, because requests hold all the memory that they may"]
        );
    }

    #[test]
    fn refusals_that_go_on_are_logged_more_and_more_rarely_and_none_is_forgotten() {
        let mut log = RefusalLog::default();
        let mut logged = Vec::new();
        for tick in 0..2_400 {
            let now = at(tick * 25);
            log.count(Refusal::DiskFull, None);
            while let Some(line) = log.due(now) {
                logged.push((tick * 25, line.count));
            }
        }
        let times: Vec<u64> = logged.iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [0, 1_000, 3_000, 7_000, 15_000, 25_000, 35_000, 45_000, 55_000]);
        assert_eq!(logged.iter().map(|(_, count)| count).sum::<u64>(), 55_000 / 25 + 1);
        assert_eq!(log.counts().get(Refusal::DiskFull), 2_400);
    }

    #[test]
    fn after_a_quiet_time_the_first_refusal_is_logged_at_once() {
        let mut log = RefusalLog::default();
        for now in [0, 1_000, 3_000] {
            log.count(Refusal::DiskFull, None);
            assert_eq!(lines(&mut log, at(now)).len(), 1);
        }
        assert!(lines(&mut log, at(60_000)).is_empty());
        log.count(Refusal::DiskFull, None);
        let line = lines(&mut log, at(60_025)).remove(0);
        assert!(!line.contains("in the last"), "{line}");
        log.count(Refusal::DiskFull, None);
        assert!(lines(&mut log, at(60_500)).is_empty(), "at most one line a second");
        assert_eq!(lines(&mut log, at(61_025)).len(), 1);
    }

    #[test]
    fn a_clients_own_mistakes_are_counted_and_not_logged() {
        let mut log = RefusalLog::default();
        log.count(Refusal::CrossSlot, None);
        assert!(lines(&mut log, at(0)).is_empty());
        assert_eq!(log.counts().get(Refusal::CrossSlot), 1);
    }

    #[test]
    fn reset_clears_the_counts_and_not_what_is_to_be_logged() {
        let mut log = RefusalLog::default();
        log.count(Refusal::OutcomeUnknownLink, None);
        log.count(Refusal::OutcomeUnknownTimeout, None);
        assert_eq!(log.counts().outcomes_unknown(), 2);
        log.reset();
        assert_eq!(log.counts(), &RefusalCounts::default());
        assert_eq!(lines(&mut log, at(0)).len(), 2);
    }

    #[test]
    fn a_node_adds_up_what_its_cores_have_refused() {
        let (mut one, mut other) = (RefusalLog::default(), RefusalLog::default());
        one.count(Refusal::NoLeader, None);
        other.count(Refusal::NoLeader, None);
        other.count(Refusal::NotApplied, None);
        let mut node = one.counts().clone();
        node.merge(other.counts());
        assert_eq!((node.get(Refusal::NoLeader), node.get(Refusal::NotApplied)), (2, 1));
        assert_eq!(node.list().iter().map(|(.., value)| value).sum::<u64>(), 3);
    }
}
