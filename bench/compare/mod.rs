//! Servers side by side: the disk itself, Redis, etcd and Coracle, measured in turn in one run.
//!
//! Machines differ and are noisy, so only ratios of figures from one run mean much; besides them stand CPU time
//! per operation and operations per sync, which carry over. Each round measures every system once, alone, with
//! a fresh server; the median over the rounds is reported.
//!
//! Read in this order: [`process`] and [`measure`] (what is counted), [`disk`], [`redis`], [`etcd`] with
//! [`etcd_client`], [`coracle`], then [`table`] and [`goals`] (what is printed).

pub mod coracle;
pub mod disk;
pub mod etcd;
pub mod etcd_client;
pub mod goals;
pub mod measure;
pub mod process;
pub mod redis;
pub mod table;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::Error;
use measure::Sample;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Synchronous direct overwrites of a file, one at a time
    Disk,
    /// Redis that syncs before every reply
    Redis,
    /// Three etcd servers
    Etcd,
    /// Coracle with one node and with three
    Coracle,
}

impl Part {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Part; 4] = [Part::Disk, Part::Redis, Part::Etcd, Part::Coracle];
}

impl Part {
    fn require_program(self, options: &Options) -> Result<(), Error> {
        match self {
            Part::Disk => Ok(()),
            Part::Redis => {
                process::require(Path::new("redis-server"), "install Debian's redis-server, or leave out `redis`")
            }
            Part::Etcd => process::require(Path::new("etcd"), "install Debian's etcd-server, or leave out `etcd`"),
            Part::Coracle => process::require(
                &options.coracle,
                "build it with `cargo build --release`, or give its path with --coracle",
            ),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Disk => "disk",
            Part::Redis => "redis",
            Part::Etcd => "etcd",
            Part::Coracle => "coracle",
        })
    }
}

/// What to compare, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary of Coracle.
    pub coracle: PathBuf,
    /// Where the data goes.
    pub dir: PathBuf,
    /// How often everything is measured.
    pub rounds: usize,
    /// How long each measurement takes.
    pub measure_for: Duration,
    /// What is measured.
    pub parts: Vec<Part>,
    /// The length of the values.
    pub value_bytes: usize,
    /// How many keys there are.
    pub keys_count: u32,
    /// The number of connections of the large runs.
    pub connections_many: usize,
}

/// What a measurement needs to know.
pub struct Context<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// A directory for the data of this run only.
    pub dir: &'a Path,
    /// Set by a signal.
    pub stop: &'a AtomicBool,
    /// What the reader sees meanwhile.
    pub progress: &'a ProgressBar,
}

impl Context<'_> {
    /// Says what is going on.
    pub fn say(&self, text: &str) {
        self.progress.set_message(text.to_owned());
        if self.progress.is_hidden() {
            eprintln!("{text}");
        }
    }

    /// # Errors
    /// [`Error::Interrupted`] if a signal has arrived.
    pub fn check_stop(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// All that was measured, for machines.
#[derive(Serialize)]
struct Document<'a> {
    rounds: &'a [Vec<Sample>],
    medians: &'a [Sample],
    goals: &'a [goals::Goal],
}

/// Measures, prints, and writes everything to `json` if that is given: how many commands failed.
///
/// # Errors
/// If a server cannot be started or a measurement cannot be finished. All servers are stopped then too.
pub fn run(options: &Options, json: Option<&Path>, stop: &AtomicBool) -> Result<u64, Error> {
    for part in &options.parts {
        part.require_program(options)?;
    }
    let prefix = "coracle-bench-";
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(&options.dir);
    let dir = dir.map_err(Error::os(format!("making a directory in {}", options.dir.display())))?;
    let path = dir.path().canonicalize().map_err(Error::os("finding the directory of the data"))?;
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {prefix} {msg}") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(200));
    let context = Context { options, dir: &path, stop, progress: &progress };
    let mut rounds = Vec::with_capacity(options.rounds);
    for round in 1..=options.rounds {
        progress.set_prefix(format!("round {round}/{}:", options.rounds));
        rounds.push(measure_round(&context)?);
    }
    progress.finish_and_clear();
    let medians = table::medians(&rounds);
    let goals = goals::weigh(&medians, options.connections_many);
    print!("{}", table::render(&medians));
    print!("\n{}", goals::render(&goals));
    if let Some(file) = json {
        let document = Document { rounds: &rounds, medians: &medians, goals: &goals };
        let text = serde_json::to_string_pretty(&document).expect("numbers and texts are JSON");
        std::fs::write(file, text + "\n").map_err(Error::os(format!("writing {}", file.display())))?;
    }
    Ok(rounds.iter().flatten().map(|sample| sample.errors_count).sum())
}

fn measure_round(context: &Context<'_>) -> Result<Vec<Sample>, Error> {
    let mut samples = Vec::new();
    for part in Part::ALL.into_iter().filter(|part| context.options.parts.contains(part)) {
        context.check_stop()?;
        match part {
            Part::Disk => samples.extend(disk::measure(context)?),
            Part::Redis => samples.extend(redis::measure(context)?),
            Part::Etcd => samples.extend(etcd::measure(context)?),
            Part::Coracle => {
                samples.extend(coracle::measure(context, 1)?);
                samples.extend(coracle::measure(context, 3)?);
            }
        }
    }
    Ok(samples)
}
