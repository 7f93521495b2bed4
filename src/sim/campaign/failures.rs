//! What a campaign has to say of the seeds that failed: how to replay each, with as few faults as it takes.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::summary::Summary;
use super::worker::Worker;
use super::{Campaign, RUN_LIMITS, describe, shrink};
use crate::spec::Spec;

/// How many failing seeds are shrunken.
const SHRUNKEN_MAX: usize = 3;
/// How many runs shrinking one schedule may take, and how long.
const SHRINK_TRIES_MAX: usize = 150;
const SHRINK_LIMIT: Duration = Duration::from_secs(60);

impl Campaign {
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
