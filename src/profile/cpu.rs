//! Where threads spend CPU time.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::error::Error;
use crate::modules;
use crate::pprof::{Head, Profile};
use crate::samples::{Collector, Sample};
use crate::symbols;
use crate::timers::ThreadTimers;
use crate::unwind::Unwinder;

/// A thread is sampled whenever it has used so much CPU time: 99 times in a second of it. Not a hundred times, which may keep step
/// with what the program does every ten milliseconds.
pub const SAMPLE_PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 99);
/// How often slots are emptied. Cores that are busy all the time fill two or three of them each meanwhile.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// How often it is looked which threads there are.
const REFRESH_EVERY: Duration = Duration::from_millis(200);
/// Most different stacks. Samples beyond are counted as lost.
const STACKS_COUNT_MAX: usize = 65_536;

/// Takes a CPU profile of all threads for so long, and returns it as pprof reads it: compressed, with names of functions. It waits
/// meanwhile, and ends early once `is_wanted` says no.
///
/// Samples have two values, their number and their CPU time in nanoseconds, and the label `thread`.
///
/// # Errors
/// [`Error::Busy`] if another one is being taken; that the operating system does not let it be.
pub fn cpu(time: Duration, is_wanted: impl Fn() -> bool) -> Result<Vec<u8>, Error> {
    let mut collector = Collector::begin()?;
    let mut stacks = Stacks::new(Unwinder::new(modules::loaded()));
    let (begun, begin) = (SystemTime::now(), Instant::now());
    let mut timers = ThreadTimers::start(SAMPLE_PERIOD)?;
    let mut refreshed = begin;
    while let Some(left) = time.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        if !is_wanted() {
            return Err(Error::Unwanted);
        }
        thread::sleep(left.min(DRAIN_EVERY));
        if refreshed.elapsed() >= REFRESH_EVERY {
            timers.refresh();
            refreshed = Instant::now();
        }
        collector.drain(|sample| stacks.add(sample, &timers));
    }
    let duration = begin.elapsed();
    timers.stop();
    collector.drain(|sample| stacks.add(sample, &timers));
    let lost_count = collector.lost_count() + stacks.lost_count;
    // From here on others can take one.
    drop(collector);
    let head = Head {
        values: vec![("samples", "count"), ("cpu", "nanoseconds")],
        default_value: None,
        drop_frames: None,
        period_type: ("cpu", "nanoseconds"),
        period: SAMPLE_PERIOD.as_nanos() as u64,
        begun,
        duration,
    };
    Ok(stacks.write(&head, lost_count))
}

/// How often each thread was found in each stack.
struct Stacks {
    unwinder: Unwinder,
    counts: HashMap<(String, Vec<u64>), u64>,
    lost_count: u64,
}

impl Stacks {
    fn new(unwinder: Unwinder) -> Stacks {
        Stacks { unwinder, counts: HashMap::new(), lost_count: 0 }
    }

    fn add(&mut self, sample: Sample<'_>, timers: &ThreadTimers) {
        let addresses = self.unwinder.unwind(sample.registers, sample.stack);
        let key = (timers.name(sample.thread).to_owned(), addresses);
        let is_full = self.counts.len() >= STACKS_COUNT_MAX;
        match self.counts.get_mut(&key) {
            Some(count) => *count += sample.count,
            None if is_full => self.lost_count += sample.count,
            None => drop(self.counts.insert(key, sample.count)),
        }
    }

    fn write(self, head: &Head, lost_count: u64) -> Vec<u8> {
        let mut profile = Profile::new(head, modules::loaded(), symbols::resolve);
        for ((thread, addresses), count) in &self.counts {
            profile.sample(addresses, &[*count, count * head.period], &[("thread", thread)]);
        }
        if lost_count > 0 {
            profile.comment(&format!("{lost_count} samples were lost: there was no room for them"));
        }
        let bytes = profile.into_gzip();
        symbols::release();
        bytes
    }
}
