//! A phase of a store, and its figures: measured alike for all of them.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::load::report::Latency;
use crate::load::stats::histogram;
use crate::stores::plan::{Phase, Plan, Store};
use crate::stores::usage::{Usage, allocated_bytes, resident_bytes_max};
use crate::text;

/// How often whoever waits for background work looks at what it has written.
const SETTLE_INTERVAL: Duration = Duration::from_millis(500);
/// A store that writes less than that between two looks has nothing to do in the background.
const SETTLED_BYTES_MAX: u64 = 256 << 10;
/// How many such looks in a row it takes.
const SETTLED_LOOKS: u32 = 4;
/// How often a line tells how far a phase is where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// What a phase has shown to whoever drove it.
#[derive(Debug)]
pub struct Counted {
    /// How long reads took, in ns.
    pub reads: Histogram<u64>,
    /// How long writes took, in ns.
    pub writes: Histogram<u64>,
    /// Operations that failed, and reads that found nothing or something wrong.
    pub errors_count: u64,
    /// The text of one of them.
    pub error_text: Option<String>,
    /// How long the phase took.
    pub took: Duration,
}

impl Counted {
    /// Nothing yet.
    pub fn new() -> Counted {
        let (reads, writes) = (histogram(), histogram());
        Counted { reads, writes, errors_count: 0, error_text: None, took: Duration::ZERO }
    }

    /// Adds what another thread has counted meanwhile.
    pub fn merge(&mut self, other: Counted) {
        self.reads.add(&other.reads).expect("all have the same bounds");
        self.writes.add(&other.writes).expect("all have the same bounds");
        self.errors_count += other.errors_count;
        self.error_text = self.error_text.take().or(other.error_text);
        self.took = self.took.max(other.took);
    }

    /// Takes notice of an operation that failed.
    pub fn fail(&mut self, text: &str) {
        self.errors_count += 1;
        self.error_text.get_or_insert_with(|| text.to_owned());
    }
}

impl Default for Counted {
    fn default() -> Self {
        Counted::new()
    }
}

/// A store that is being measured.
pub trait Subject {
    /// Carries a phase out. `on_progress` hears how many operations are done, now and then.
    ///
    /// # Errors
    /// If the phase cannot be finished.
    fn run(&mut self, phase: Phase, on_progress: &mut dyn FnMut(u64)) -> Result<Counted, Error>;

    /// Its processes.
    fn pids(&self) -> Vec<u32>;

    /// How many reads had to read from the disk since it was started, if it tells.
    fn reads_from_disk(&self) -> Option<u64>;
}

/// The figures of one phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Its name.
    pub phase: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Operations a second.
    pub ops_per_s: f64,
    /// How long reads took.
    pub reads: Option<Latency>,
    /// How long writes took.
    pub writes: Option<Latency>,
    /// The share of reads that were answered from memory, as the store counts them.
    pub hit_rate: Option<f64>,
    /// Bytes written to the disk per byte of keys and values written. That of the load includes what it left to do.
    pub write_amplification: Option<f64>,
    /// Bytes read from the disk, by merges too, per byte of keys and values read.
    pub read_amplification: Option<f64>,
    /// Disk space at the end per byte of keys and values that are there.
    pub space_amplification: f64,
    /// CPU time per operation, background work included, in µs.
    pub cpu_us_per_op: f64,
    /// Of the load: how long background work went on behind it, in seconds.
    pub settled_after_s: Option<f64>,
    /// Operations that failed, and reads that found nothing or something wrong.
    pub errors_count: u64,
    /// The text of one of them.
    pub error_text: Option<String>,
}

/// All figures of one store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreReport {
    /// Which store.
    pub store: Store,
    /// Its version.
    pub version: String,
    /// How it was set up, and what to know before believing its figures.
    pub notes: Vec<String>,
    /// The most memory that it had resident at once, in bytes.
    pub resident_bytes_max: u64,
    /// Its phases, in their order.
    pub phases: Vec<PhaseReport>,
}

impl StoreReport {
    /// Of a store that could not be measured.
    pub fn failed(store: Store, error: &Error) -> StoreReport {
        let notes = vec![error.to_string()];
        StoreReport { store, version: "not measured".to_owned(), notes, resident_bytes_max: 0, phases: Vec::new() }
    }

    /// How many operations failed; that it could not be measured counts as one.
    pub fn errors_count(&self) -> u64 {
        let failed = u64::from(self.phases.is_empty());
        failed + self.phases.iter().map(|phase| phase.errors_count).sum::<u64>()
    }
}

/// Carries all phases of the plan out, with the data of `subject` in `data_dir`.
///
/// # Errors
/// If a phase cannot be finished, or a signal arrives.
pub fn measure(
    plan: &Plan,
    store: Store,
    subject: &mut dyn Subject,
    data_dir: &Path,
    stop: &AtomicBool,
) -> Result<Vec<PhaseReport>, Error> {
    let mut reports = Vec::new();
    for phase in plan.phases() {
        let pids = subject.pids();
        let (before, disk_before) = (Usage::of(&pids), subject.reads_from_disk());
        let mut ticker = Ticker::new(plan, store, phase);
        let counted = subject.run(phase, &mut |done| ticker.tick(done))?;
        let used = Usage::of(&pids).since(&before);
        let from_disk =
            subject.reads_from_disk().zip(disk_before).map(|(after, before)| after.saturating_sub(before));
        let settled_after_s = match phase {
            Phase::Load => Some(settle(plan, &pids, &mut ticker, stop)?),
            Phase::Mix(..) => None,
        };
        let settled = Usage { written_bytes: Usage::of(&pids).since(&before).written_bytes, ..used };
        drop(ticker);
        reports.push(PhaseReport {
            settled_after_s,
            ..figures(plan, phase, counted, &settled, from_disk, allocated_bytes(data_dir)?)
        });
    }
    Ok(reports)
}

/// The most memory that a store has had resident so far, in bytes.
pub fn resident_max(subject: &dyn Subject) -> u64 {
    resident_bytes_max(&subject.pids())
}

fn figures(
    plan: &Plan,
    phase: Phase,
    counted: Counted,
    used: &Usage,
    reads_from_disk: Option<u64>,
    allocated_bytes: u64,
) -> PhaseReport {
    let (reads_count, writes_count) = (counted.reads.len(), counted.writes.len());
    let (ops, seconds) = (reads_count + writes_count, counted.took.as_secs_f64());
    let per = |amount: u64, count: u64, unit: u64| {
        (count > 0).then(|| amount as f64 / (count.saturating_mul(unit).max(1)) as f64)
    };
    let latency = |histogram: &Histogram<u64>| (!histogram.is_empty()).then(|| Latency::of(histogram));
    // What a store counts may include reads of its own.
    let hit_rate = |from_disk: u64| per(from_disk, reads_count, 1).map(|missed| (1.0 - missed).max(0.0));
    PhaseReport {
        phase: phase.to_string(),
        seconds,
        ops_per_s: if seconds > 0.0 { ops as f64 / seconds } else { 0.0 },
        reads: latency(&counted.reads),
        writes: latency(&counted.writes),
        hit_rate: reads_from_disk.and_then(hit_rate),
        write_amplification: per(used.written_bytes, writes_count, plan.pair_bytes()),
        read_amplification: per(used.read_bytes, reads_count, plan.pair_bytes()),
        space_amplification: allocated_bytes as f64 / plan.live_bytes().max(1) as f64,
        cpu_us_per_op: if ops > 0 { used.cpu_us / ops as f64 } else { 0.0 },
        settled_after_s: None,
        errors_count: counted.errors_count,
        error_text: counted.error_text,
    }
}

/// Waits until nothing is written in the background any more, at most as long as planned: how long that took, in seconds.
fn settle(plan: &Plan, pids: &[u32], ticker: &mut Ticker, stop: &AtomicBool) -> Result<f64, Error> {
    let started = Instant::now();
    let (mut before, mut quiet_looks, mut last_busy) = (Usage::of(pids), 0, started);
    while quiet_looks < SETTLED_LOOKS && started.elapsed().as_secs_f64() < plan.settle_seconds {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        std::thread::sleep(SETTLE_INTERVAL);
        let now = Usage::of(pids);
        if now.since(&before).written_bytes <= SETTLED_BYTES_MAX {
            quiet_looks += 1;
        } else {
            (quiet_looks, last_busy) = (0, Instant::now());
        }
        before = now;
        ticker.say("background work");
    }
    Ok(last_busy.duration_since(started).as_secs_f64())
}

/// Shows how far a phase is, on stderr.
struct Ticker {
    // `None` where there is no terminal.
    bar: Option<ProgressBar>,
    label: String,
    // Of the load.
    total: Option<u64>,
    started: Instant,
    line_at: Instant,
}

impl Ticker {
    fn new(plan: &Plan, store: Store, phase: Phase) -> Ticker {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        let total = (phase == Phase::Load).then(|| u64::from(plan.keys_count));
        let now = Instant::now();
        Ticker { bar, label: format!("{store}: {phase}"), total, started: now, line_at: now }
    }

    fn tick(&mut self, done: u64) {
        let rate = text::whole(done as f64 / self.started.elapsed().as_secs_f64().max(0.001));
        match self.total {
            Some(total) => self.say(&format!("{} %, {rate} operations/s", 100 * done / total.max(1))),
            None => self.say(&format!("{rate} operations/s")),
        }
    }

    fn say(&mut self, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{}: {what}", self.label));
                bar.tick();
            }
            None if self.line_at.elapsed() >= LINE_INTERVAL => {
                self.line_at = Instant::now();
                eprintln!("{}: {what}", self.label);
            }
            None => {}
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::plan::tests::plan;
    use crate::stores::plan::{Distribution, Shares};

    #[test]
    fn figures_are_per_byte_that_was_asked_for() {
        let mut counted = Counted::new();
        (0..300).for_each(|_| counted.reads.record(2_000).unwrap());
        (0..100).for_each(|_| counted.writes.record(5_000).unwrap());
        counted.took = Duration::from_secs(2);
        let used = Usage { cpu_us: 4_000.0, read_bytes: 60_000, written_bytes: 30_000 };
        let phase = Phase::Mix(Shares { reads: 75 }, Distribution::Uniform);
        let report = figures(&plan(), phase, counted, &used, Some(30), 250_000);
        assert_eq!((report.ops_per_s, report.cpu_us_per_op), (200.0, 10.0));
        assert_eq!((report.read_amplification, report.write_amplification), (Some(2.0), Some(3.0)));
        assert_eq!((report.hit_rate, report.space_amplification), (Some(0.9), 2.5));
        assert!((report.writes.unwrap().p99_us - 5.0).abs() < 0.01);
    }

    #[test]
    fn what_did_not_happen_has_no_figure() {
        let mut counted = Counted::new();
        counted.writes.record(1).unwrap();
        let report = figures(&plan(), Phase::Load, counted, &Usage::default(), Some(0), 0);
        assert_eq!((report.hit_rate, report.read_amplification, report.reads), (None, None, None));
    }

    #[test]
    fn threads_add_up_and_one_error_is_told() {
        let (mut all, mut other) = (Counted::new(), Counted::new());
        other.fail("first");
        other.fail("second");
        other.took = Duration::from_secs(3);
        all.merge(other);
        assert_eq!((all.errors_count, all.error_text.as_deref(), all.took.as_secs()), (2, Some("first"), 3));
    }
}
