//! What disturbs: each scene with a cluster of its own.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use types::Slot;

use crate::client;
use crate::dev::{Dev, Settings};
use crate::disturb::background::{self, LongestTurn};
use crate::disturb::report::SceneReport;
use crate::disturb::steady::{self, Window};
use crate::disturb::{Context, bulk};
use crate::error::Error;
use crate::reply::Reply;

/// No table is made of a log that is shorter.
const NEVER_FLUSH: [&str; 2] = ["group_log_bytes_max=1099511627776", "log_bytes_max=1099511627776"];
/// Tables are made all the while.
const OFTEN_FLUSH: [&str; 1] = ["group_log_bytes_max=1048576"];
/// What is written before the window, in bytes, so that there is something to merge.
const WRITTEN_BEFORE_BYTES: u64 = 64 << 20;
/// A follower that was away for a while needs a snapshot, since the log is gone.
const SHORT_LOG: [&str; 4] =
    ["group_log_bytes_max=4194304", "log_bytes_max=67108864", "segment_bytes=33554432", "log_tail_bytes_max=0"];
/// How long the others take to notice that a node is away, and to lead in its stead.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);
/// The part of a window that is over when FLUSHALL or the return of a node begins.
const BEGINS_AT: f64 = 0.25;
/// How often and how long a node that was away is looked at before it has caught up.
const CAUGHT_UP_INTERVAL: Duration = Duration::from_millis(500);
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);
/// The length of the values that FLUSHALL removes, in bytes.
const FLUSHED_VALUE_BYTES: usize = 8;
/// How much longer the window of a growing tag is than the growth should take.
const TAG_SECONDS_MORE: f64 = 2.0;

/// What can disturb a steady load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scene {
    /// Flushes and merges, which the load's own writes bring about
    Merges,
    /// A snapshot for a node that was away
    Snapshot,
    /// FLUSHALL of many keys
    Flushall,
    /// One tag that grows to many keys
    Tag,
}

impl Scene {
    /// All of them.
    pub const ALL: [Scene; 4] = [Scene::Merges, Scene::Snapshot, Scene::Flushall, Scene::Tag];
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scene::Merges => "merges",
            Scene::Snapshot => "snapshot",
            Scene::Flushall => "flushall",
            Scene::Tag => "tag",
        })
    }
}

/// Measures one scene, with its data below `dir`.
///
/// # Errors
/// If its cluster does not start, a load fails, or the disturbance has not come about.
pub fn measure(context: &Context<'_>, scene: Scene, dir: &Path) -> Result<SceneReport, Error> {
    match scene {
        Scene::Merges => merges(context, dir),
        Scene::Snapshot => snapshot(context, dir),
        Scene::Flushall => flushall(context, dir),
        Scene::Tag => tag(context, dir),
    }
}

/// A cluster with the keys of the steady load, and the rate of that.
struct Stage {
    dev: Dev,
    cores: Vec<SocketAddr>,
}

impl Stage {
    fn start(context: &Context<'_>, dir: &Path, nodes_count: usize, set: &[&str]) -> Result<Stage, Error> {
        let mut settings = Settings::new(&context.options.coracle, nodes_count);
        settings.set = set.iter().map(|setting| (*setting).to_owned()).collect();
        let dev = Dev::start(&settings, dir, context.stop)?;
        let cores = dev.cores();
        Ok(Stage { dev, cores })
    }

    fn fill(&self, context: &Context<'_>) -> Result<(), Error> {
        steady::fill(context, &self.cores, context.options.keys_count, context.options.value_bytes)
    }

    /// A window of the steady load alone, with the longest turn in it.
    fn calm(&self, context: &Context<'_>, scene: Scene, rate: f64) -> Result<(Window, LongestTurn), Error> {
        context.say(&format!("{scene}: without"));
        background::reset(&self.cores)?;
        let window = steady::window(context, &self.cores, rate, context.options.seconds)?;
        Ok((window, background::ask(&self.cores)?.1))
    }
}

/// The windows of a scene.
struct Windows {
    without: Vec<Window>,
    turn_without: LongestTurn,
}

impl Windows {
    fn new((window, turn): (Window, LongestTurn)) -> Windows {
        Windows { without: vec![window], turn_without: turn }
    }

    fn add(&mut self, (window, turn): (Window, LongestTurn)) {
        self.without.push(window);
        if turn.us > self.turn_without.us {
            self.turn_without = turn;
        }
    }

    fn report(
        self,
        scene: Scene,
        nodes_count: usize,
        with: Window,
        (work, turn): (background::Work, LongestTurn),
        what: String,
    ) -> SceneReport {
        let Windows { without, turn_without } = self;
        SceneReport { scene, nodes_count, what, without, with, work, turn, turn_without }
    }
}

fn merges(context: &Context<'_>, dir: &Path) -> Result<SceneReport, Error> {
    let scene = Scene::Merges;
    context.say(&format!("{scene}: two clusters, of which one makes tables"));
    let sub = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir(&path).map_err(Error::os(format!("creating {}", path.display()))).map(|()| path)
    };
    let quiet = Stage::start(context, &sub("quiet")?, 1, &NEVER_FLUSH)?;
    let busy = Stage::start(context, &sub("busy")?, 1, &OFTEN_FLUSH)?;
    quiet.fill(context)?;
    busy.fill(context)?;
    let rate = steady::rate(context, &quiet.cores)?;
    let mut windows = Windows::new(quiet.calm(context, scene, rate)?);
    context.say(&format!("{scene}: with"));
    steady::overwrite(context, &busy.cores, WRITTEN_BEFORE_BYTES, context.options.value_bytes)?;
    background::reset(&busy.cores)?;
    let with = steady::window(context, &busy.cores, rate, context.options.seconds)?;
    let seen = background::ask(&busy.cores)?;
    windows.add(quiet.calm(context, scene, rate)?);
    if seen.0.merges == 0 {
        return Err(nothing(
            scene,
            "no merge has ended in the window: give it more --seconds or longer --value-bytes",
        ));
    }
    Ok(windows.report(scene, 1, with, seen, "tables are made of every 1 MiB of a group's log".to_owned()))
}

fn flushall(context: &Context<'_>, dir: &Path) -> Result<SceneReport, Error> {
    let scene = Scene::Flushall;
    let keys_count = context.options.flushed_keys_count;
    let stage = Stage::start(context, dir, 1, &[])?;
    context.say(&format!("{scene}: writing {keys_count} keys"));
    steady::fill(context, &stage.cores, keys_count, FLUSHED_VALUE_BYTES)?;
    stage.fill(context)?;
    let rate = steady::rate(context, &stage.cores)?;
    let mut windows = Windows::new(stage.calm(context, scene, rate)?);
    let Some(core) = stage.cores.first().copied() else { return Err(nothing(scene, "there is no core")) };
    let keys_before = dbsize(core)?;
    background::reset(&stage.cores)?;
    let flush = |_: &AtomicBool| {
        std::thread::sleep(Duration::from_secs_f64(context.options.seconds * BEGINS_AT));
        client::ask(core, &["FLUSHALL"], |reply| match reply {
            Reply::Simple(b"OK") => Ok(()),
            other => Err(Error::MalformedReply { addr: core.to_string(), what: format!("FLUSHALL: {other:?}") }),
        })
    };
    let with = disturbed(context, scene, &stage.cores, rate, context.options.seconds, flush)?;
    let seen = background::ask(&stage.cores)?;
    let left = dbsize(core)?;
    // Writes go on, so some keys are there again.
    if left > u64::from(context.options.keys_count) {
        return Err(nothing(scene, &format!("{left} keys are left")));
    }
    // What was removed is gone for the windows before, too: reads of keys that are not there cost less.
    stage.fill(context)?;
    windows.add(stage.calm(context, scene, rate)?);
    Ok(windows.report(scene, 1, with, seen, format!("{keys_before} keys removed")))
}

fn tag(context: &Context<'_>, dir: &Path) -> Result<SceneReport, Error> {
    let scene = Scene::Tag;
    let (keys_count, keys_per_s) = (context.options.tag_keys_count, context.options.tag_keys_per_s);
    let stage = Stage::start(context, dir, 1, &[])?;
    stage.fill(context)?;
    let rate = steady::rate(context, &stage.cores)?;
    let mut windows = Windows::new(stage.calm(context, scene, rate)?);
    let topology = stage.cores.first().map(|core| client::cluster_slots(*core)).transpose()?;
    let owner = topology.as_ref().and_then(|topology| {
        let owner = topology.owner_of(Slot::of_key(bulk::tag_key().as_bytes()))?;
        topology.owners().get(owner).copied()
    });
    let owner = owner.ok_or_else(|| nothing(scene, "nobody owns the tag's slot"))?;
    let written = AtomicU32::new(0);
    background::reset(&stage.cores)?;
    let seconds = f64::from(keys_count) / f64::from(keys_per_s.max(1)) + TAG_SECONDS_MORE;
    let grow = |stop: &AtomicBool| bulk::grow_tag(owner, keys_count, keys_per_s, &written, stop);
    let with = disturbed(context, scene, &stage.cores, rate, seconds, grow)?;
    let seen = background::ask(&stage.cores)?;
    windows.add(stage.calm(context, scene, rate)?);
    let written = written.load(Ordering::Relaxed);
    if written < keys_count / 2 {
        return Err(nothing(scene, &format!("{written} keys were written: --tag-rate is beyond the server")));
    }
    Ok(windows.report(scene, 1, with, seen, format!("{written} keys of one tag, {keys_per_s}/s by MSET")))
}

fn snapshot(context: &Context<'_>, dir: &Path) -> Result<SceneReport, Error> {
    let scene = Scene::Snapshot;
    let stage = Stage::start(context, dir, 3, &SHORT_LOG)?;
    stage.fill(context)?;
    let rate = steady::rate(context, &stage.cores)?;
    let mut windows = Windows::new(stage.calm(context, scene, rate)?);
    let away = stage.dev.nodes().last().ok_or_else(|| nothing(scene, "there is no third node"))?;
    let away_cores: Vec<SocketAddr> = away.cores().collect();
    let others: Vec<SocketAddr> = stage.cores.iter().filter(|core| !away_cores.contains(core)).copied().collect();
    let mib = context.options.away_bytes >> 20;
    context.say(&format!("{scene}: node 3 is away while {mib} MiB are written"));
    background::reset(&stage.cores)?;
    let frozen = Frozen::new(away.pid)?;
    std::thread::sleep(NOTICED_WITHIN);
    steady::overwrite(context, &others, context.options.away_bytes, context.options.value_bytes)?;
    background::reset(&others)?;
    let thaw = move |_: &AtomicBool| {
        std::thread::sleep(Duration::from_secs_f64(context.options.seconds * BEGINS_AT));
        drop(frozen);
        Ok(())
    };
    let with = disturbed(context, scene, &others, rate, context.options.seconds, thaw)?;
    // The node that was away has stood still for longer than any turn of its own takes.
    let turn = background::ask(&others)?.1;
    await_caught_up(context, &stage.cores)?;
    let work = background::ask(&stage.cores)?.0;
    if work.snapshots == 0 {
        return Err(nothing(scene, "the node that was away needed no snapshot: give it more --away-bytes"));
    }
    windows.add(stage.calm(context, scene, rate)?);
    Ok(windows.report(scene, 3, with, (work, turn), format!("node 3 was away while {mib} MiB were written")))
}

/// Waits until no more is sent of snapshots.
fn await_caught_up(context: &Context<'_>, cores: &[SocketAddr]) -> Result<(), Error> {
    let started = Instant::now();
    let mut before = background::ask(cores)?.0;
    while started.elapsed() < CAUGHT_UP_WITHIN {
        context.check_stop()?;
        std::thread::sleep(CAUGHT_UP_INTERVAL);
        let work = background::ask(cores)?.0;
        if work.snapshots > 0 && (work.snapshots, work.snapshot_bytes) == (before.snapshots, before.snapshot_bytes) {
            return Ok(());
        }
        before = work;
    }
    Ok(())
}

/// A window of the steady load with a disturbance beside it, which is told to end with the window.
fn disturbed(
    context: &Context<'_>,
    scene: Scene,
    cores: &[SocketAddr],
    rate: f64,
    seconds: f64,
    disturb: impl FnOnce(&AtomicBool) -> Result<(), Error> + Send,
) -> Result<Window, Error> {
    context.say(&format!("{scene}: with"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let disturbance = scope.spawn(|| disturb(&is_over));
        let window = steady::window(context, cores, rate, seconds);
        is_over.store(true, Ordering::Relaxed);
        let result = disturbance.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let window = window?;
        result.map(|()| window)
    })
}

/// A node that stands still until this is dropped.
struct Frozen(Pid);

impl Frozen {
    fn new(pid: u32) -> Result<Frozen, Error> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Usage("a node without a process".to_owned()))?;
        kill_process(pid, Signal::STOP).map_err(|errno| Error::os("stopping a node")(errno.into()))?;
        Ok(Frozen(pid))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Fails only if it has ended, and then the load fails too.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn dbsize(core: SocketAddr) -> Result<u64, Error> {
    client::ask(core, &["DBSIZE"], |reply| match reply {
        Reply::Integer(count) => Ok(u64::try_from(*count).unwrap_or(0)),
        other => Err(Error::MalformedReply { addr: core.to_string(), what: format!("DBSIZE: {other:?}") }),
    })
}

fn nothing(scene: Scene, why: &str) -> Error {
    Error::Usage(format!("{scene}: nothing was measured, since {why}"))
}
