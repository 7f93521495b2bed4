//! Campaigns: many seeds on several workers, with a summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::checkers::Coverage;
use crate::faults::FaultKind;
use crate::report::{self, Report};
use crate::spec::{Broken, Spec};
use crate::worker::{RunLimits, Worker};
use crate::{describe, shrink};

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
/// A campaign in which the linearizability checker left more than this share of the operations undecided, in millionths,
/// has not shown what it should have.
pub const UNDECIDED_PPM_MAX: u64 = 150_000;
/// Below this number of operations the share says nothing.
const JUDGED_COUNT_MIN: u64 = 100_000;
/// How many failing seeds are shrunken.
const SHRUNKEN_MAX: usize = 3;
/// How many runs shrinking one schedule may take, and how long.
const SHRINK_TRIES_MAX: usize = 150;
const SHRINK_LIMIT: Duration = Duration::from_secs(60);
/// How often progress is told where there is no terminal.
const TOLD_EVERY: Duration = Duration::from_secs(15);

/// What came out.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// The reports of those that failed, by seed.
    pub failed: Vec<Report>,
    /// Simulated time in all, in milliseconds.
    pub simulated_ms: u64,
    /// Operations of clients: answered, refused, unknown.
    pub operations: [u64; 3],
    /// What the checkers had to look at in the runs that did not fail.
    pub coverage: Coverage,
    /// The fullest that queues have been, by kind: how much was in one, of how much at most.
    pub queues: BTreeMap<String, (u64, u64)>,
    /// Faults by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Rare paths by name.
    pub counters: BTreeMap<String, u64>,
    /// How many seeds have reached each of them.
    pub reached_by: BTreeMap<String, u64>,
    /// Real time it took.
    pub took: Duration,
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.simulated_ms += report.simulated_ms;
        for (all, one) in self.operations.iter_mut().zip(report.operations) {
            *all += one;
        }
        self.coverage.add(&report.coverage);
        for (name, queue) in &report.queues {
            let fullest = self.queues.entry(name.clone()).or_insert(*queue);
            if is_fuller(*queue, *fullest) {
                *fullest = *queue;
            }
        }
        for (name, _) in report.counters.iter().filter(|(_, count)| **count > 0) {
            *self.reached_by.entry(name.clone()).or_default() += 1;
        }
        report::add(&mut self.faults, &report.faults);
        report::add(&mut self.counters, &report.counters);
        if report.failure.is_some() {
            self.failed.push(report);
        }
    }
}

impl Summary {
    /// Whether so little was left undecided that the rest means something.
    pub fn is_decided(&self) -> bool {
        let judged = &self.coverage.linearizability;
        judged.operations + judged.undecided_operations < JUDGED_COUNT_MIN
            || judged.undecided_ppm() <= UNDECIDED_PPM_MAX
    }
}

/// Whether more of its bound is used.
fn is_fuller((len, max): (u64, u64), (other_len, other_max): (u64, u64)) -> bool {
    u128::from(len) * u128::from(other_max) > u128::from(other_len) * u128::from(max)
}

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

    /// What a reader wants to know, with one command for each failing seed that replays it. Shrinks the schedules of
    /// the first few.
    ///
    /// # Errors
    /// If workers cannot be started or schedules cannot be written.
    pub fn describe(&self, summary: &Summary) -> io::Result<String> {
        let mut text = describe::describe(self, summary);
        for (number, report) in summary.failed.iter().enumerate() {
            let Some(failure) = &report.failure else { continue };
            let busy = self.busy.as_secs();
            let broken = self.broken.map_or_else(String::new, |broken| format!(" --broken {}", broken.name()));
            let command = format!("coracle-sim --seed {} --busy {busy}{broken}", report.seed);
            let _ = writeln!(
                text,
                "\nseed {}: {}: {}\n  replay: {command}",
                report.seed, failure.checker, failure.message
            );
            if number < SHRUNKEN_MAX && self.broken.is_none() {
                let (path, count, of) = self.shrink(report.seed)?;
                let _ = writeln!(text, "  with {count} of {of} faults: {command} --schedule {}", path.display());
            }
        }
        Ok(text)
    }

    fn shrink(&self, seed: u64) -> io::Result<(PathBuf, usize, usize)> {
        let spec = Spec::of_seed(seed, self.busy, self.broken);
        let begin = Instant::now();
        let mut worker = Worker::new(RUN_LIMITS);
        let mut broken = None;
        let shrunken = shrink::shrink(&spec.schedule, SHRINK_TRIES_MAX, |schedule| {
            if begin.elapsed() > SHRINK_LIMIT || broken.is_some() {
                return false;
            }
            match worker.run(&Spec { schedule: schedule.clone(), ..spec.clone() }) {
                Ok(report) => report.failure.is_some(),
                Err(error) => {
                    broken = Some(error);
                    false
                }
            }
        });
        if let Some(error) = broken {
            return Err(error);
        }
        std::fs::create_dir_all(&self.out)?;
        let path = Path::new(&self.out).join(format!("seed-{seed}.faults"));
        std::fs::write(&path, shrunken.to_lines())?;
        Ok((path, shrunken.faults.len(), spec.schedule.faults.len()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_left_undecided_is_judged_over_many_operations() {
        let mut summary = Summary::default();
        let judged = |operations, undecided_operations| {
            let mut report = Report::default();
            report.coverage.linearizability.operations = operations;
            report.coverage.linearizability.undecided_operations = undecided_operations;
            report
        };
        summary.add(judged(100, 900));
        assert!(summary.is_decided(), "few operations say nothing");
        let most = UNDECIDED_PPM_MAX;
        summary.add(judged(1_000_000 - most - 100, most - 900));
        assert!(summary.is_decided(), "as much as is allowed");
        summary.add(judged(0, 2));
        assert!(!summary.is_decided(), "more");
    }

    #[test]
    fn the_fullest_queue_of_all_runs_is_kept() {
        let mut summary = Summary::default();
        let report = |len, max| Report { queues: [("waiting".to_owned(), (len, max))].into(), ..Report::default() };
        for (len, max) in [(10, 1_000), (3, 4), (500, 1_000)] {
            summary.add(report(len, max));
        }
        assert_eq!(summary.queues["waiting"], (3, 4), "it was closest to its bound");
    }
}
