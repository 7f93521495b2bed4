//! How often each command was called, refused and failed, and how long it took: what INFO commandstats and latencystats
//! show.
//!
//! All of it is counted by the core that the client has connected to. There are two times of a command:
//!
//! - *Work*, `usec` and `usec_per_call`: how long this core is busy with the command alone, as in Redis. Parsing, waiting and
//!   replication are not in it, and of a write only that it is taken in, as whole batches are committed and applied together. Commands
//!   that are forwarded count as taking as long. It is measured for one call in [`SAMPLE_EVERY`] of each command, the first one
//!   included, since reading the clock twice per command costs more than many commands do: `usec` is the mean of the measured calls
//!   times all calls.
//! - *Latency*, INFO latencystats and LATENCY HISTOGRAM: from the command's bytes being taken in to its reply being written, whatever
//!   it waited for in between: other commands, the disk, other nodes. Every command that is answered counts, and those that came
//!   together and were answered together count at once. Percentiles are right within 6 %.

use std::time::Duration;

use resp::CommandId;

use crate::observe::distribution::Distribution;

/// One call in this many is timed. A prime, so that clients who send the same pipeline again and again do not have the
/// same place of it timed each time.
pub(crate) const SAMPLE_EVERY: u64 = 61;

/// How many commands and subcommands there are.
const COUNT: usize = CommandId::ALL.len();
/// The greatest number of a command.
const NUMBER_MAX: usize = {
    let (mut max, mut idx) = (0, 0);
    while idx < COUNT {
        let number = CommandId::ALL[idx].as_u16() as usize;
        if number > max {
            max = number;
        }
        idx += 1;
    }
    max
};

/// Where each command stands in [`CommandId::ALL`], by its number.
static PLACES: [u16; NUMBER_MAX + 1] = {
    let mut places = [0; NUMBER_MAX + 1];
    let mut idx = 0;
    while idx < COUNT {
        places[CommandId::ALL[idx].as_u16() as usize] = idx as u16;
        idx += 1;
    }
    places
};

/// The longest time that is told apart from longer ones, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What one command has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandStat {
    /// Times a client's call was taken in, to be carried out here or by the core that leads.
    pub(crate) calls: u64,
    /// Times a client's call was not taken in: as it is ill-formed, by MOVED, or as nobody is known who could carry it out.
    pub(crate) rejected: u64,
    /// Times it was carried out and answered with an error.
    pub(crate) failed: u64,
    /// Calls that were carried out here, of which one in [`SAMPLE_EVERY`] is timed.
    timeable: u64,
    sampled: u64,
    sampled_ns: u64,
    /// The latencies, in nanoseconds. Made when the first one comes.
    latency: Option<Box<Distribution>>,
}

impl CommandStat {
    /// Microseconds of work for all calls, as far as the measured ones speak for the others.
    pub(crate) fn usec(&self) -> u64 {
        (self.usec_per_call() * self.calls as f64) as u64
    }

    /// Mean microseconds of work of the calls that were measured.
    pub(crate) fn usec_per_call(&self) -> f64 {
        if self.sampled == 0 { 0.0 } else { self.sampled_ns as f64 / self.sampled as f64 / 1_000.0 }
    }

    /// Microseconds within which that share of the calls was answered, in percent; `None` if none was.
    pub(crate) fn usec_percentile(&self, percent: f64) -> Option<f64> {
        Some(self.latency()?.percentile(percent) as f64 / 1_000.0)
    }

    /// How long answers took, in nanoseconds; `None` before the first one.
    pub(crate) fn latency(&self) -> Option<&Distribution> {
        self.latency.as_deref()
    }

    fn is_empty(&self) -> bool {
        self.calls == 0 && self.rejected == 0 && self.failed == 0
    }

    fn worked(&mut self, took: Duration) {
        self.sampled += 1;
        self.sampled_ns += took.as_nanos().min(u128::from(LATENCY_NS_MAX)) as u64;
    }

    fn merge(&mut self, other: &CommandStat) {
        self.calls += other.calls;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.sampled += other.sampled;
        self.sampled_ns += other.sampled_ns;
        if let Some(latency) = &other.latency {
            self.latency.get_or_insert_with(latencies).merge(latency);
        }
    }
}

fn latencies() -> Box<Distribution> {
    Box::new(Distribution::new(LATENCY_NS_MAX))
}

/// A call that is to be timed.
#[derive(Debug)]
#[must_use]
pub(crate) struct Sample {
    place: usize,
}

/// What all commands have done.
#[derive(Clone, Debug)]
pub(crate) struct CommandStats {
    /// In the order of [`CommandId::ALL`].
    stats: Box<[CommandStat]>,
}

impl Default for CommandStats {
    fn default() -> CommandStats {
        CommandStats { stats: vec![CommandStat::default(); COUNT].into_boxed_slice() }
    }
}

impl CommandStats {
    /// Counts a call. If it is to be timed, whoever carries it out reads the clock before and behind, and tells
    /// [`CommandStats::end_sample`].
    #[inline]
    pub(crate) fn begin_sample(&mut self, id: CommandId) -> Option<Sample> {
        let place = usize::from(PLACES[usize::from(id.as_u16())]);
        let stat = &mut self.stats[place];
        let is_timed = stat.timeable.is_multiple_of(SAMPLE_EVERY);
        stat.calls += 1;
        stat.timeable = stat.timeable.wrapping_add(1);
        is_timed.then_some(Sample { place })
    }

    /// Counts a call that others carry out, so that there is nothing to time.
    #[inline]
    pub(crate) fn count(&mut self, id: CommandId) {
        self.get_mut(id).calls += 1;
    }

    /// A call whose work is timed has taken this long.
    pub(crate) fn end_sample(&mut self, sample: Sample, took: Duration) {
        self.stats[sample.place].worked(took);
    }

    /// So many calls were answered, each this long after it was taken in.
    #[inline]
    pub(crate) fn answered(&mut self, id: CommandId, took: Duration, count: u64) {
        self.get_mut(id).latency.get_or_insert_with(latencies).record(took.as_nanos() as u64, count);
    }

    /// Counts a command that was refused and never carried out.
    #[inline]
    pub(crate) fn reject(&mut self, id: CommandId) {
        self.get_mut(id).rejected += 1;
    }

    /// Counts a command that was carried out and is answered with an error.
    #[inline]
    pub(crate) fn fail(&mut self, id: CommandId) {
        self.get_mut(id).failed += 1;
    }

    /// Every command that was called or refused, with its full name as in `client|list`.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&'static str, &CommandStat)> {
        let stats = CommandId::ALL.iter().zip(&self.stats);
        stats.filter(|(_, stat)| !stat.is_empty()).map(|(id, stat)| (resp::table::by_id(*id).full_name, stat))
    }

    /// Every command that was answered, with its full name and how long that took, in nanoseconds.
    pub(crate) fn latencies(&self) -> impl Iterator<Item = (CommandId, &'static str, &Distribution)> {
        let all = CommandId::ALL.iter().zip(&self.stats);
        all.filter_map(|(id, stat)| Some((*id, resp::table::by_id(*id).full_name, stat.latency()?)))
    }

    /// Adds what another core of the node has counted.
    pub(crate) fn merge(&mut self, other: &CommandStats) {
        for (mine, theirs) in self.stats.iter_mut().zip(&other.stats) {
            mine.merge(theirs);
        }
    }

    fn get_mut(&mut self, id: CommandId) -> &mut CommandStat {
        &mut self.stats[usize::from(PLACES[usize::from(id.as_u16())])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat<'a>(stats: &'a CommandStats, name: &str) -> &'a CommandStat {
        stats.list().find(|(known, _)| *known == name).expect("it was counted").1
    }

    #[test]
    fn every_command_is_counted_under_its_own_name() {
        let mut stats = CommandStats::default();
        for (idx, id) in CommandId::ALL.iter().enumerate() {
            for _ in 0..=idx {
                let _ = stats.begin_sample(*id);
            }
        }
        let listed: Vec<(&str, u64)> = stats.list().map(|(name, stat)| (name, stat.calls)).collect();
        let expected: Vec<(&str, u64)> = CommandId::ALL
            .iter()
            .enumerate()
            .map(|(idx, id)| (resp::table::by_id(*id).full_name, idx as u64 + 1))
            .collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn the_first_call_and_then_one_in_many_is_timed_and_stands_for_the_others() {
        let mut stats = CommandStats::default();
        let mut timed = 0;
        for _ in 0..SAMPLE_EVERY * 3 {
            if let Some(sample) = stats.begin_sample(CommandId::Get) {
                timed += 1;
                stats.end_sample(sample, Duration::from_nanos(1_500));
            }
        }
        assert_eq!(timed, 3);
        let get = stat(&stats, "get");
        assert_eq!((get.calls, get.usec(), get.usec_per_call()), (183, 274, 1.5));
    }

    #[test]
    fn forwarded_calls_count_and_change_nothing_about_which_ones_are_timed() {
        let mut stats = CommandStats::default();
        stats.count(CommandId::Get);
        let sample = stats.begin_sample(CommandId::Get).expect("the first that is carried out here");
        stats.end_sample(sample, Duration::from_micros(3));
        stats.count(CommandId::Get);
        let get = stat(&stats, "get");
        assert_eq!((get.calls, get.usec(), get.usec_per_call()), (3, 9, 3.0));
    }

    #[test]
    fn latencies_are_those_of_all_answers_and_no_part_of_the_work() {
        let mut stats = CommandStats::default();
        stats.count(CommandId::Get);
        stats.answered(CommandId::Get, Duration::from_micros(100), 16);
        stats.answered(CommandId::Get, Duration::from_secs(3_600), 1);
        let get = stat(&stats, "get");
        let latency = get.latency().expect("there were answers");
        assert_eq!((latency.count(), get.usec(), get.calls), (17, 0, 1));
        let p50 = get.usec_percentile(50.0).expect("there were answers");
        assert!((94.0..=106.0).contains(&p50), "{p50}");
        assert!(get.usec_percentile(100.0).is_some_and(|max| max > 60e6 && max < 64e6), "beyond all bounds");
    }

    #[test]
    fn refusals_and_failures_are_told_apart_from_calls() {
        let mut stats = CommandStats::default();
        stats.reject(CommandId::Set);
        stats.reject(CommandId::Set);
        stats.fail(CommandId::Incr);
        let set = stat(&stats, "set");
        assert_eq!((set.calls, set.rejected, set.failed, set.usec()), (0, 2, 0, 0));
        assert_eq!(stat(&stats, "incr").failed, 1);
        assert_eq!(stats.list().count(), 2, "what nobody called is not shown");
        assert_eq!(set.usec_percentile(50.0), None);
    }

    #[test]
    fn a_node_adds_up_what_its_cores_have_measured() {
        let (mut one, mut other) = (CommandStats::default(), CommandStats::default());
        for (stats, micros) in [(&mut one, 10), (&mut other, 30)] {
            let sample = stats.begin_sample(CommandId::Del).expect("the first call is timed");
            stats.end_sample(sample, Duration::from_micros(micros));
            stats.answered(CommandId::Del, Duration::from_micros(10 * micros), 1);
        }
        let _ = other.begin_sample(CommandId::Get);
        one.merge(&other);
        let del = stat(&one, "del");
        assert_eq!((del.calls, del.usec(), del.usec_per_call()), (2, 40, 20.0));
        assert!(del.usec_percentile(99.0).is_some_and(|micros| micros > 280.0));
        assert_eq!(del.latency().map(Distribution::count), Some(2));
        assert_eq!(stat(&one, "get").calls, 1);
    }

    #[test]
    fn a_time_beyond_all_bounds_counts_as_the_longest() {
        let mut stats = CommandStats::default();
        let sample = stats.begin_sample(CommandId::Get).expect("the first call is timed");
        stats.end_sample(sample, Duration::from_secs(1_000_000));
        assert_eq!(stat(&stats, "get").usec(), LATENCY_NS_MAX / 1_000);
    }
}
