//! fjall.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};

use crate::error::Error;
use crate::stores::engine::Engine;
use crate::stores::group_commit::GroupCommit;
use crate::stores::plan::Plan;

/// The share of the memory that one memtable may take. Up to four that wait to be flushed stand beside it before writes stop.
const MEMTABLE_SHARE: u64 = 16;
/// The share of the memory that is the cache's, as fjall advises for data that does not fit; the page cache has the rest.
const CACHE_SHARE: f64 = 0.25;

/// An open database.
pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    commits: GroupCommit<(Slice, Slice)>,
}

impl Fjall {
    /// Opens a new database in a directory.
    ///
    /// # Errors
    /// Those of fjall.
    pub fn open(plan: &Plan, dir: &Path) -> Result<Fjall, Error> {
        let cache_bytes = (plan.memory_bytes as f64 * CACHE_SHARE) as u64;
        let database = Database::builder(dir).cache_size(cache_bytes).open().map_err(failed)?;
        let memtable_bytes = plan.memory_bytes / MEMTABLE_SHARE;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes);
        let keyspace = database.keyspace("bench", options).map_err(failed)?;
        Ok(Fjall { database, keyspace, commits: GroupCommit::default() })
    }

    /// How it was set up, and what to know of it.
    pub fn notes(plan: &Plan) -> Vec<String> {
        let mib = plan.memory_bytes >> 20;
        vec![
            format!(
                "block cache {} MiB, memtables of {} MiB, tables through the page cache: it has no direct I/O",
                (mib as f64 * CACHE_SHARE) as u64,
                mib / MEMTABLE_SHARE
            ),
            "writes that have come while a commit was under way are one batch, persisted by SyncData".to_owned(),
            "hits: reads for which it asked the system for no block; those may still come from the page cache"
                .to_owned(),
        ]
    }
}

impl Engine for Fjall {
    fn write(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.commits.submit((Slice::from(key), Slice::from(value)), |writes| {
            let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
            for (key, value) in writes {
                batch.insert(&self.keyspace, key, value);
            }
            batch.commit().map_err(failed)
        })
    }

    fn read<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
        Ok(self.keyspace.get(key).map_err(failed)?.map(|value| look(&value)))
    }

    fn reads_from_disk(&self) -> Option<u64> {
        let metrics = self.keyspace.metrics();
        Some((metrics.data_block_load_count() - metrics.data_block_load_cached_count()) as u64)
    }
}

fn failed(error: fjall::Error) -> Error {
    Error::Store { name: "fjall", what: error.to_string() }
}
