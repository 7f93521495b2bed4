//! How many instructions small pieces of the engine's work take, against figures that were accepted: a check of speed that means the
//! same on a noisy machine as on a quiet one.
//!
//! Each workload runs in a process of its own under callgrind, which counts the instructions within [`counted`] and
//! nothing else. The counts of one build repeat to the instruction, whatever else the machine does. They depend on the code, on the
//! compiler, on the C library (how it copies memory) and on the features of the CPU that valgrind offers to the program: those
//! it knows and the machine has. All of that is kept with the accepted figures as their [`Environment`]; where it differs, differences
//! are told and fail nothing.
//!
//! Instructions are not time: a cache miss costs what hundreds of them do. `coracle-bench micro` measures time.
//!
//! Reading order: [`workloads`] (what is counted), [`callgrind`] (how), [`accepted`] (the file of figures), [`table`] (what is
//! printed).

pub mod accepted;
pub mod callgrind;
pub mod table;
pub mod workloads;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::Error;
use accepted::{Accepted, Environment};
use table::Comparison;
use workloads::{ALL, Listed, Workload};

/// Runs before the counting begins: buffers have grown by then, and caches are filled.
const WARM_UPS_COUNT: usize = 2;
/// Runs that are counted.
const RUNS_COUNT: u32 = 4;
/// By how many percent a figure may exceed the accepted one, unless somebody says otherwise. Runs of one program do not differ at all, but
/// what the compiler inlines where shifts with code elsewhere and with the folder that is built in: by -6.3 to +3.4 % from one build to
/// another of sources that had the same workloads.
pub const TOLERANCE_PERCENT: f64 = 10.0;

/// What to count, and what to do with it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file of accepted figures.
    pub accepted: PathBuf,
    /// Only workloads whose names contain this.
    pub only: Option<String>,
    /// By how many percent a figure may exceed the accepted one.
    pub tolerance_percent: f64,
    /// Write what was counted to the file of accepted figures.
    pub accept: bool,
    /// Print JSON.
    pub as_json: bool,
}

/// Counts all workloads and compares them with the accepted figures. Returns how many are worse than they may be.
///
/// # Errors
/// If valgrind is not there or fails, or the file of accepted figures cannot be read or written.
pub fn run(options: &Options, stop: &AtomicBool) -> Result<u64, Error> {
    if cfg!(debug_assertions) {
        let text =
            "a debug build counts nothing of interest: build with `cargo build --release`, or use tools/counts";
        return Err(Error::Usage(text.to_owned()));
    }
    let chosen: Vec<&Listed> =
        ALL.iter().filter(|listed| options.only.as_ref().is_none_or(|part| listed.name.contains(part))).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = ALL.iter().map(|listed| listed.name).collect();
        return Err(Error::Usage(format!("no workload has such a name; there are:\n  {}", names.join("\n  "))));
    }
    let mut accepted = Accepted::read(&options.accepted)?;
    let environment = Environment::detect(&callgrind::features(stop)?, &callgrind::version()?);
    let counted = count_all(&chosen, options.as_json, stop)?;
    let comparison = Comparison::new(&chosen, &counted, &accepted, &environment, options.tolerance_percent);
    if options.as_json {
        println!("{}", serde_json::to_string_pretty(&comparison).expect("numbers and texts are JSON"));
    } else {
        print!("{}", comparison.render());
    }
    if options.accept {
        accepted.take(&counted, environment, options.only.is_some(), ALL)?;
        accepted.write(&options.accepted)?;
        eprintln!("accepted: {}", options.accepted.display());
        return Ok(0);
    }
    Ok(comparison.failures_count())
}

/// Instructions per operation of each workload, by name.
fn count_all(chosen: &[&Listed], is_quiet: bool, stop: &AtomicBool) -> Result<BTreeMap<String, f64>, Error> {
    let bar = if is_quiet { ProgressBar::hidden() } else { ProgressBar::new(chosen.len() as u64) };
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}").expect("a sound template");
    bar.set_style(style);
    let workers_count = thread::available_parallelism().map_or(1, usize::from).min(chosen.len());
    let next = AtomicUsize::new(0);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers_count {
            let (done, next, bar) = (done.clone(), &next, &bar);
            scope.spawn(move || {
                while let Some(listed) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    bar.set_message(listed.name);
                    let counted = callgrind::count(listed.name, stop);
                    bar.inc(1);
                    let failed = counted.is_err();
                    // Whoever takes the results is there until all workers have ended.
                    let _ = done.send(counted.map(|figure| (listed.name.to_owned(), figure)));
                    if failed {
                        next.store(chosen.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    drop(done);
    bar.finish_and_clear();
    results.iter().collect()
}

/// Runs one workload as callgrind is to see it, and returns how many operations were counted.
///
/// # Errors
/// If there is none of this name.
pub fn run_workload(name: &str) -> Result<u64, Error> {
    let listed = ALL.iter().find(|listed| listed.name == name);
    let listed = listed.ok_or_else(|| Error::Usage(format!("no workload is called {name}")))?;
    let mut workload = (listed.make)();
    for _ in 0..WARM_UPS_COUNT {
        workload.prepare();
        workload.run();
    }
    for _ in 0..RUNS_COUNT {
        workload.prepare();
        counted(workload.as_mut());
    }
    Ok(u64::from(workload.operations_count()) * u64::from(RUNS_COUNT))
}

/// What callgrind looks at: it knows this function by its name.
#[inline(never)]
fn counted(workload: &mut dyn Workload) {
    workload.run();
    // The call above must not be the last thing done here: a jump in its stead would end the counting.
    black_box(workload as *const dyn Workload);
}
