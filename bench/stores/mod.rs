//! Data larger than memory: Coracle beside RocksDB and fjall, with the same operations, memory, core and durability.
//!
//! RocksDB and fjall run within a process, and so do the threads that use them: no network, no replication, no protocol. Coracle is
//! a server of one node and one core that the same number of clients use over loopback sockets; it pays for all of that. A
//! write is on stable storage before it is acknowledged, everywhere; how each store gets there is told beside its figures.
//!
//! Every store gets a process of its own, so that what the kernel counts for it is its own: bytes read and written, CPU time,
//! memory. Of stores within a process that includes making keys and values and checking answers, which is measured and told.
//!
//! Invariants: all stores are given the same keys in the same order and the same values, which no compression makes shorter. Every
//! answer is checked: a value must be whole and belong to its key.
//!
//! Reading order: [`plan`] (what is asked for), [`usage`] (what the kernel counts), [`measure`] (a phase and its figures), [`engine`] (a
//! store within a process), [`drive`] (threads that use it), [`group_commit`], [`fjall_engine`], [`rocksdb_engine`], [`coracle`] (the
//! server), [`child`] and [`memory_group`] (processes), [`table`] (what is printed).

pub mod child;
pub mod coracle;
pub mod drive;
pub mod engine;
pub mod fjall_engine;
pub mod group_commit;
pub mod measure;
pub mod memory_group;
pub mod plan;
pub mod rocksdb_engine;
pub mod table;
pub mod usage;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::error::Error;
use measure::StoreReport;
use plan::{Plan, Store};

/// All that was measured, for machines.
#[derive(Serialize)]
struct Document<'a> {
    plan: &'a Plan,
    stores: &'a [StoreReport],
}

/// Measures one store after the other, prints a table, and writes everything to `json` if that is given: how many commands
/// failed.
///
/// # Errors
/// If a store fails or a measurement cannot be finished. Its process is ended and its data removed then too.
pub fn run(plan: &Plan, json: Option<&Path>, stop: &AtomicBool) -> Result<u64, Error> {
    if plan.stores.contains(&Store::Coracle) {
        let remedy = "build it with `cargo build --release`, or give its path with --coracle";
        crate::compare::process::require(&plan.coracle, remedy)?;
    }
    let dir = tempfile::Builder::new().prefix("coracle-bench-").tempdir_in(&plan.dir);
    let dir = dir.map_err(Error::os(format!("making a directory in {}", plan.dir.display())))?;
    let path = dir.path().canonicalize().map_err(Error::os("finding the directory of the data"))?;
    let mut reports = Vec::new();
    for store in &plan.stores {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let of_store = path.join(store.to_string());
        std::fs::create_dir(&of_store).map_err(Error::os(format!("creating {}", of_store.display())))?;
        let report = match store {
            Store::Coracle => coracle::measure(plan, &of_store, stop)?,
            Store::Rocksdb | Store::Fjall => match child::measure(plan, *store, &of_store, stop) {
                // What the others have shown is not lost for that.
                Err(error @ Error::Store { .. }) => StoreReport::failed(*store, &error),
                report => report?,
            },
        };
        // The next one needs the room, and is not to share the disk with the trimming of so many blocks.
        std::fs::remove_dir_all(&of_store).map_err(Error::os(format!("removing {}", of_store.display())))?;
        usage::sync_file_system(&path)?;
        reports.push(report);
    }
    print!("{}", table::render(plan, &reports));
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&Document { plan, stores: &reports });
        let text = text.expect("numbers and texts are JSON");
        std::fs::write(file, text + "\n").map_err(Error::os(format!("writing {}", file.display())))?;
    }
    Ok(reports.iter().map(StoreReport::errors_count).sum())
}
