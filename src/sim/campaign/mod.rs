//! Campaigns: many seeds on several workers, with a summary.
//!
//! Read [`worker`] (runs in processes of their own), `summary` (what came out), [`coverage`] (what must have been reached),
//! [`shrink`], `describe` (the summary in words), `failures` (the seeds that failed, in words).

pub mod coverage;
mod describe;
mod failures;
pub mod shrink;
mod summary;
pub mod worker;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::broken::Broken;
use crate::spec::Spec;

pub use summary::{Summary, UNDECIDED_PPM_MAX};

use worker::{RunLimits, Worker};

/// What to do.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub count: u64,
    /// How many workers run them.
    pub jobs: usize,
    /// For how long each run is busy, in simulated time.
    pub busy: Duration,
    /// A promise the world breaks; a failure is then what is wanted.
    pub broken: Option<Broken>,
    /// No new seed is begun after this much real time.
    pub limit: Duration,
    /// Where shrunken schedules of failing seeds are written.
    pub out: PathBuf,
}

/// How long one run may take.
const RUN_LIMITS: RunLimits = RunLimits { cpu: Duration::from_secs(120), waited: Duration::from_secs(15 * 60) };
/// How often progress is told where there is no terminal.
const TOLD_EVERY: Duration = Duration::from_secs(15);

impl Campaign {
    /// Runs the seeds.
    ///
    /// # Errors
    /// If workers cannot be started.
    pub fn run(&self) -> io::Result<Summary> {
        let begin = Instant::now();
        let bar = progress_bar(self.count);
        let next = AtomicU64::new(0);
        let summary = Mutex::new(Summary::default());
        let work = || -> io::Result<()> {
            let mut worker = Worker::new(RUN_LIMITS);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.count || begin.elapsed() >= self.limit {
                    return Ok(());
                }
                let report = worker.run(&Spec::of_seed(self.first + number, self.busy, self.broken))?;
                if let Some(failure) = &report.failure
                    && self.broken.is_none()
                {
                    bar.suspend(|| eprintln!("seed {} failed: {}", report.seed, first_line(&failure.message)));
                }
                let mut summary = summary.lock().expect("no worker panics while it holds the summary");
                summary.add(report);
                bar.set_message(format!(
                    "{} failed, {:.1} h simulated",
                    summary.failed.len(),
                    hours(summary.simulated_ms)
                ));
                bar.inc(1);
            }
        };
        std::thread::scope(|scope| {
            let telling = scope.spawn(|| tell_progress(&bar, self.count));
            let workers: Vec<_> = (0..self.jobs).map(|_| scope.spawn(work)).collect();
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            bar.finish_and_clear();
            telling.thread().unpark();
            results.into_iter().try_for_each(|result| result.expect("workers do not panic"))
        })?;
        let mut summary = summary.into_inner().expect("no worker panics while it holds the summary");
        summary.failed.sort_by_key(|report| report.seed);
        summary.took = begin.elapsed();
        Ok(summary)
    }
}

fn hours(ms: u64) -> f64 {
    ms as f64 / 3.6e6
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn progress_bar(count: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds  {msg}  {elapsed} (about {eta} to go)");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Where nobody sees the bar move, says now and then how far things are.
fn tell_progress(bar: &ProgressBar, count: u64) {
    while !bar.is_finished() {
        std::thread::park_timeout(TOLD_EVERY);
        if !bar.is_finished() && !io::stderr().is_terminal() {
            eprintln!("{} of {count} seeds, {}", bar.position(), bar.message());
        }
    }
}
