//! What background work costs clients: the latencies of a steady load beside it, against those of the same load without.
//!
//! The load is an open loop at half of what the cluster can do in a closed one, so that a core has time to spare and a pause costs all
//! that falls due in it. Each scene has a cluster of its own: keys are written, the load is measured without the scene's disturbance, with
//! it, and without it again. Merges cannot be left out of a cluster that makes tables, so their comparison is a
//! second cluster that makes none meanwhile.
//!
//! Invariants: a scene says how much of its disturbance fell into the window (flushes, merges, bytes of snapshots, keys); one of which
//! nothing did is an error and no result. Every answer is checked.
//!
//! Reading order: [`steady`] (the load), [`background`] (what nodes tell of their background work), [`bulk`] (keys of one tag), [`scenes`], [`report`].

pub mod background;
pub mod bulk;
pub mod report;
pub mod scenes;
pub mod steady;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::compare::process::require;
use crate::error::Error;
use report::SceneReport;
use scenes::Scene;

/// What to measure, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// The binary of Coracle.
    pub coracle: PathBuf,
    /// Where the data goes.
    pub dir: PathBuf,
    /// What is measured, in this order.
    pub scenes: Vec<Scene>,
    /// How long each window is, in seconds; that of a disturbance may end when that does, or take longer.
    pub seconds: f64,
    /// The share of what a closed loop reaches at which the steady load runs.
    pub load_share: f64,
    /// Connections of the steady load.
    pub connections: usize,
    /// Keys of the steady load.
    pub keys_count: u32,
    /// The length of its values, in bytes.
    pub value_bytes: usize,
    /// What FLUSHALL removes.
    pub flushed_keys_count: u32,
    /// How many keys one tag grows to.
    pub tag_keys_count: u32,
    /// How many of them a second are written.
    pub tag_keys_per_s: u32,
    /// What is written while a follower is away, in bytes.
    pub away_bytes: u64,
    /// The CPU that the load is kept on.
    pub client_cpu: Option<usize>,
}

/// What a scene needs to know.
pub struct Context<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// Set by a signal.
    pub stop: &'a AtomicBool,
}

impl Context<'_> {
    /// Says what is going on.
    pub fn say(&self, text: &str) {
        eprintln!("{text}");
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
    options: &'a Options,
    scenes: &'a [SceneReport],
}

/// Measures, prints, and writes everything to `json` if that is given: how many commands failed.
///
/// # Errors
/// If a cluster cannot be started or a measurement cannot be finished. All processes are ended and all data is removed then too. That a
/// disturbance has not come about is told at the end, behind what the others have shown.
pub fn run(options: &Options, json: Option<&Path>, stop: &AtomicBool) -> Result<u64, Error> {
    require(&options.coracle, "build it with `cargo build --release`, or give its path with --coracle")?;
    let dir = tempfile::Builder::new().prefix("coracle-bench-").tempdir_in(&options.dir);
    let dir = dir.map_err(Error::os(format!("making a directory in {}", options.dir.display())))?;
    let path = dir.path().canonicalize().map_err(Error::os("finding the directory of the data"))?;
    let context = Context { options, stop };
    let (mut reports, mut missed) = (Vec::new(), Ok(()));
    for scene in &options.scenes {
        context.check_stop()?;
        let of_scene = path.join(scene.to_string());
        std::fs::create_dir(&of_scene).map_err(Error::os(format!("creating {}", of_scene.display())))?;
        match scenes::measure(&context, *scene, &of_scene) {
            Ok(report) => reports.push(report),
            // What the others show is not lost for that.
            Err(error @ Error::Usage(_)) => {
                context.say(&error.to_string());
                missed = Err(error);
            }
            Err(error) => return Err(error),
        }
        std::fs::remove_dir_all(&of_scene).map_err(Error::os(format!("removing {}", of_scene.display())))?;
    }
    print!("{}", report::render(options, &reports));
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&Document { options, scenes: &reports });
        let text = text.expect("numbers and texts are JSON");
        std::fs::write(file, text + "\n").map_err(Error::os(format!("writing {}", file.display())))?;
    }
    missed.map(|()| reports.iter().map(SceneReport::errors_count).sum())
}
