//! How long turns take, and what the longest one was busy with.

use std::time::Duration;

use hdrhistogram::Histogram;
use types::Instant;

use crate::observe::counters::Counters;

/// What a part of a turn is busy with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Taking in what clients and other cores have sent: commands are parsed and dispatched, reads answered.
    #[default]
    Input,
    /// The log: what became durable, what was read back, snapshots.
    Log,
    /// A tick: timers.
    Tick,
    /// The groups: batches are proposed, Raft is driven, entries are applied.
    Groups,
    /// Frames and replies are sent.
    Send,
}

impl Phase {
    const COUNT: usize = 5;

    /// Its name in INFO.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Input => "input",
            Phase::Log => "log",
            Phase::Tick => "tick",
            Phase::Groups => "groups",
            Phase::Send => "send",
        }
    }
}

/// What a turn did, by the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) commands: u64,
    pub(crate) applied: u64,
    pub(crate) forwarded: u64,
    pub(crate) requeued: u64,
    pub(crate) frames: u64,
}

impl Work {
    fn of(counters: &Counters) -> Work {
        Work {
            commands: counters.commands_processed,
            applied: counters.commands_applied,
            forwarded: counters.commands_forwarded,
            requeued: counters.commands_requeued,
            frames: counters.frames_received,
        }
    }

    /// What was done since `earlier`. CONFIG RESETSTAT may have come in between; then it is what was done since that.
    fn since(self, earlier: Work) -> Work {
        let since = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Work {
            commands: since(self.commands, earlier.commands),
            applied: since(self.applied, earlier.applied),
            forwarded: since(self.forwarded, earlier.forwarded),
            requeued: since(self.requeued, earlier.requeued),
            frames: since(self.frames, earlier.frames),
        }
    }
}

/// The longest turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LongestTurn {
    /// How long it took.
    pub(crate) took: Duration,
    /// The phase that took most of it.
    pub(crate) phase: Phase,
    /// How long that phase took.
    pub(crate) phase_took: Duration,
    /// What was done in it.
    pub(crate) work: Work,
}

/// Turns longer than this are not told apart, in microseconds.
const TURN_US_MAX: u64 = 60_000_000;

/// What is known of the turns of a core, or of all cores of a node.
#[derive(Clone, Debug)]
pub(crate) struct TurnStats {
    histogram: Histogram<u64>,
    longest: LongestTurn,
}

impl Default for TurnStats {
    fn default() -> TurnStats {
        let histogram = Histogram::new_with_bounds(1, TURN_US_MAX, 2);
        TurnStats {
            histogram: histogram.expect("the bounds are constant, and valid"),
            longest: LongestTurn::default(),
        }
    }
}

impl TurnStats {
    /// Microseconds within which that share of the turns was over, in percent; 0 before the first one.
    pub(crate) fn us_percentile(&self, percent: f64) -> u64 {
        if self.histogram.is_empty() { 0 } else { self.histogram.value_at_quantile(percent / 100.0) }
    }

    /// How many turns there were, and how long they took together, within 1 %.
    pub(crate) fn total(&self) -> (u64, Duration) {
        let us = self.histogram.mean() * self.histogram.len() as f64;
        (self.histogram.len(), Duration::from_micros(us as u64))
    }

    /// How many of them took at most so many microseconds.
    pub(crate) fn count_up_to(&self, us: u64) -> u64 {
        if self.histogram.is_empty() { 0 } else { self.histogram.count_between(0, us) }
    }

    /// The longest.
    pub(crate) fn longest(&self) -> LongestTurn {
        self.longest
    }

    /// Adds the turns of another core of the node.
    pub(crate) fn merge(&mut self, other: &TurnStats) {
        self.histogram.add(&other.histogram).expect("all histograms of turns have the same bounds");
        if other.longest.took > self.longest.took {
            self.longest = other.longest;
        }
    }
}

/// Watches the turns of a core. It reads no clock: whoever runs the turn does, at its beginning, at its end and where
/// it has to in between.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    stats: TurnStats,
    begun_at: Instant,
    marked_at: Instant,
    begun_work: Work,
    took: [Duration; Phase::COUNT],
}

impl Turns {
    /// A turn begins.
    #[inline]
    pub(crate) fn begin(&mut self, now: Instant, counters: &Counters) {
        (self.begun_at, self.marked_at) = (now, now);
        self.begun_work = Work::of(counters);
        self.took = [Duration::ZERO; Phase::COUNT];
    }

    /// The time since the last mark was spent on `phase`, or mostly.
    #[inline]
    pub(crate) fn mark(&mut self, phase: Phase, now: Instant) {
        self.took[phase as usize] += now.since(self.marked_at);
        self.marked_at = now;
    }

    /// The turn is over; what came behind the last mark was `phase`. Returns how long it took.
    #[inline]
    pub(crate) fn end(&mut self, phase: Phase, now: Instant, counters: &Counters) -> Duration {
        self.mark(phase, now);
        let took = now.since(self.begun_at);
        self.stats.histogram.saturating_record((took.as_micros() as u64).max(1));
        if took > self.stats.longest.took {
            self.longest(took, counters);
        }
        took
    }

    #[cold]
    fn longest(&mut self, took: Duration, counters: &Counters) {
        let phases = [Phase::Input, Phase::Log, Phase::Tick, Phase::Groups, Phase::Send];
        let longest = phases.into_iter().max_by_key(|phase| self.took[*phase as usize]).unwrap_or_default();
        self.stats.longest = LongestTurn {
            took,
            phase: longest,
            phase_took: self.took[longest as usize],
            work: Work::of(counters).since(self.begun_work),
        };
    }

    /// When the clock was last read in this turn for its sake.
    pub(crate) fn marked_at(&self) -> Instant {
        self.marked_at
    }

    /// Commands of clients that this turn has taken in so far.
    pub(crate) fn commands_count(&self, counters: &Counters) -> u64 {
        Work::of(counters).since(self.begun_work).commands
    }

    /// What is known of the turns.
    pub(crate) fn stats(&self) -> &TurnStats {
        &self.stats
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&mut self) {
        self.stats.histogram.reset();
        self.stats.longest = LongestTurn::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    fn turn(turns: &mut Turns, begin: u64, input: u64, groups: u64, counters: &mut Counters, commands: u64) {
        turns.begin(at(begin), counters);
        counters.commands_processed += commands;
        turns.mark(Phase::Input, at(begin + input));
        turns.end(Phase::Groups, at(begin + input + groups), counters);
    }

    #[test]
    fn the_longest_turn_says_what_it_was_busy_with() {
        let (mut turns, mut counters) = (Turns::default(), Counters::default());
        turn(&mut turns, 0, 10, 5, &mut counters, 3);
        turn(&mut turns, 100, 20, 700, &mut counters, 12);
        turn(&mut turns, 1_000, 30, 20, &mut counters, 50);
        let longest = turns.stats().longest();
        assert_eq!((longest.took, longest.phase), (Duration::from_micros(720), Phase::Groups));
        assert_eq!((longest.phase_took, longest.work.commands), (Duration::from_micros(700), 12));
    }

    #[test]
    fn percentiles_are_those_of_all_turns() {
        let (mut turns, mut counters) = (Turns::default(), Counters::default());
        assert_eq!(turns.stats().us_percentile(50.0), 0);
        for _ in 0..99 {
            turn(&mut turns, 0, 10, 10, &mut counters, 0);
        }
        turn(&mut turns, 0, 5_000, 5_000, &mut counters, 0);
        assert_eq!(turns.stats().us_percentile(50.0), 20);
        let p999 = turns.stats().us_percentile(99.9);
        assert!((9_900..=10_100).contains(&p999), "{p999}");
        assert_eq!([0, 10, 50, 50_000].map(|us| turns.stats().count_up_to(us)), [0, 0, 99, 100]);
        let (count, took) = turns.stats().total();
        assert!(count == 100 && took.as_micros().abs_diff(11_980) < 120, "{took:?}");
    }

    #[test]
    fn reset_forgets_turns_and_a_reset_within_a_turn_does_no_harm() {
        let (mut turns, mut counters) = (Turns::default(), Counters::default());
        turn(&mut turns, 0, 10, 10, &mut counters, 9);
        turns.begin(at(50), &counters);
        counters.reset();
        turns.reset();
        counters.commands_processed += 2;
        turns.end(Phase::Input, at(60), &counters);
        assert_eq!(turns.stats().longest().work.commands, 2);
        assert_eq!(turns.stats().longest().took, Duration::from_micros(10));
    }

    #[test]
    fn a_node_shows_the_longest_turn_of_its_cores() {
        let mut counters = Counters::default();
        let (mut one, mut other) = (Turns::default(), Turns::default());
        turn(&mut one, 0, 10, 10, &mut counters, 1);
        turn(&mut other, 0, 40, 10, &mut counters, 1);
        let mut node = one.stats().clone();
        node.merge(other.stats());
        assert_eq!((node.longest().took, node.longest().phase), (Duration::from_micros(50), Phase::Input));
        assert_eq!((node.us_percentile(50.0), node.us_percentile(100.0)), (20, 50));
    }
}
