//! The commands. Each makes a report of its own.
//!
//! Reading order: `target` (what a path means), `fit` (whether log and tables fit together); then `overview`, `log`, `manifest`, `table`, `blob`, `space`, `check`.

pub(crate) mod blob;
pub(crate) mod check;
mod fit;
pub(crate) mod log;
pub(crate) mod manifest;
pub(crate) mod overview;
pub(crate) mod space;
pub(crate) mod table;
pub(crate) mod target;

use crate::data_dir::{CoreDir, DataDir};
use crate::error::InspectError;
use crate::finding::Finding;
use crate::log::{GONE, Log};
use crate::store::Store;

/// All logs, and what is wrong with them.
fn open_logs(data: &DataDir, findings: &mut Vec<Finding>) -> Result<Vec<(CoreDir, Log)>, InspectError> {
    let mut logs = Vec::new();
    if data.logs.is_empty() && data.has_begun() {
        findings.push(Finding::damage("wal", "there is no log", GONE));
    }
    for dir in &data.logs {
        let mut log = Log::open(data, dir, |_, _| {})?;
        findings.append(&mut log.findings);
        logs.push((dir.clone(), log));
    }
    Ok(logs)
}

/// All stores, and what is wrong with their manifests.
fn open_stores(data: &DataDir, findings: &mut Vec<Finding>) -> Result<Vec<Store>, InspectError> {
    let mut stores = Vec::new();
    for dir in &data.stores {
        let store = Store::open(data, dir)?;
        findings.append(&mut store.check_manifest()?);
        stores.push(store);
    }
    Ok(stores)
}
