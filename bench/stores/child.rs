//! Stores within a process: each runs in one that is started for it and ends with it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::load::cpus::pin_thread;
use crate::stores::drive::{InProcess, cost_of_load};
use crate::stores::engine::Engine;
use crate::stores::fjall_engine::Fjall;
use crate::stores::measure::{self, StoreReport, resident_max};
use crate::stores::memory_group::{self, MemoryGroup};
use crate::stores::plan::{Plan, Store};
use crate::stores::rocksdb_engine::Rocksdb;

/// What a store without direct I/O may have beyond its budget and a quarter of that, page cache included: its code, indexes that it
/// pins, what its allocator keeps for so many threads.
const BEYOND_BUDGET_BYTES: u64 = 128 << 20;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What a child is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    plan: Plan,
    store: Store,
    dir: PathBuf,
    // The group that bounds its memory.
    join: Option<PathBuf>,
    notes: Vec<String>,
}

/// Measures a store in a process of its own.
///
/// # Errors
/// If that process fails, or a signal arrives.
pub fn measure(plan: &Plan, store: Store, dir: &Path, stop: &AtomicBool) -> Result<StoreReport, Error> {
    let mut notes = Vec::new();
    let limit_bytes = plan.memory_bytes + plan.memory_bytes / 4 + BEYOND_BUDGET_BYTES;
    let group = (store == Store::Fjall).then(|| MemoryGroup::create(limit_bytes)).and_then(|group| match group {
        Ok(group) => {
            notes.push(format!("all its memory, page cache included, is bounded by {} MiB", limit_bytes >> 20));
            Some(group)
        }
        Err(why) => {
            notes.push(format!("its page cache is NOT bounded, so it may hold all data ({why})"));
            None
        }
    });
    let join = group.as_ref().map(MemoryGroup::join_file);
    let task = Task { plan: plan.clone(), store, dir: dir.to_owned(), join, notes };
    let program = std::env::current_exe().map_err(Error::os("finding this program"))?;
    let mut child = Command::new(program)
        .args(["stores", "--task", &serde_json::to_string(&task).expect("numbers and texts are JSON")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::os(format!("starting a process for {store}")))?;
    let failed = |what: String| Error::Store { name: if store == Store::Fjall { "fjall" } else { "rocksdb" }, what };
    let text = await_end(&mut child, stop, failed)?;
    serde_json::from_str(&text).map_err(|error| failed(format!("what its process printed is no report: {error}")))
}

/// Waits for a child and hands out what it has printed. One that is not to go on is ended.
fn await_end(child: &mut Child, stop: &AtomicBool, failed: impl Fn(String) -> Error) -> Result<String, Error> {
    let status = loop {
        match child.try_wait().map_err(Error::os("waiting for a child"))? {
            Some(status) => break status,
            None if stop.load(Ordering::Relaxed) => {
                // Fails only if it has ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::Interrupted);
            }
            None => std::thread::sleep(POLL_INTERVAL),
        }
    };
    // A report is far shorter than a pipe holds, so nobody waited for us to read it.
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text).map_err(Error::os("reading a report"))?;
    }
    if status.success() { Ok(text) } else { Err(failed(format!("its process ended with {status} (out of memory?)"))) }
}

/// What a child does: measures, and prints its report as JSON.
///
/// # Errors
/// Those of the store and of the load.
pub fn serve(task: &str, stop: &AtomicBool) -> Result<(), Error> {
    let task: Task = serde_json::from_str(task).map_err(|error| Error::Usage(format!("--task: {error}")))?;
    let Task { plan, store, dir, join, notes } = &task;
    if let Some(cpu) = plan.cpu {
        // The threads of the store and of the load are started by this one and stay with it.
        pin_thread(cpu)?;
    }
    if let Some(file) = join {
        memory_group::join(file)?;
    }
    let cost_us = cost_of_load(plan)?;
    let mut report = match store {
        Store::Fjall => {
            let version = concat!("fjall ", env!("CORACLE_BENCH_FJALL")).to_owned();
            report(&task, Fjall::open(plan, dir)?, || version, Fjall::notes(plan), stop)?
        }
        Store::Rocksdb => {
            let version = || format!("RocksDB {}", Rocksdb::version(dir));
            report(&task, Rocksdb::open(plan, dir)?, version, Rocksdb::notes(plan), stop)?
        }
        Store::Coracle => return Err(Error::Usage("coracle runs in a process of its own anyway".to_owned())),
    };
    report.notes.extend(notes.iter().cloned());
    report.notes.push(format!("CPU per operation includes {cost_us:.1} µs of the load itself"));
    println!("{}", serde_json::to_string(&report).expect("numbers and texts are JSON"));
    Ok(())
}

fn report<E: Engine>(
    task: &Task,
    engine: E,
    version: impl FnOnce() -> String,
    notes: Vec<String>,
    stop: &AtomicBool,
) -> Result<StoreReport, Error> {
    let mut subject = InProcess::new(&task.plan, engine, stop);
    let phases = measure::measure(&task.plan, task.store, &mut subject, &task.dir, stop)?;
    let resident_bytes_max = resident_max(&subject);
    Ok(StoreReport { store: task.store, version: version(), notes, resident_bytes_max, phases })
}
