//! RocksDB.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteOptions};

use crate::error::Error;
use crate::stores::engine::Engine;
use crate::stores::plan::Plan;

/// Memtables take a quarter of the memory, all together: one that is written and those that wait to be flushed.
const MEMTABLES_SHARE: usize = 4;
const MEMTABLES_COUNT: usize = 4;
const BLOOM_BITS_PER_KEY: f64 = 10.0;

thread_local! {
    // RocksDB counts what a thread does for that thread.
    static PERF: RefCell<Option<PerfContext>> = const { RefCell::new(None) };
}

/// An open database.
pub struct Rocksdb {
    db: DB,
    durable: WriteOptions,
    reads_from_disk: AtomicU64,
}

impl Rocksdb {
    /// Opens a new database in a directory.
    ///
    /// # Errors
    /// Those of RocksDB.
    pub fn open(plan: &Plan, dir: &Path) -> Result<Rocksdb, Error> {
        let memory_bytes = plan.memory_bytes as usize;
        let memtables_bytes = memory_bytes / MEMTABLES_SHARE;
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&Cache::new_lru_cache(memory_bytes - memtables_bytes));
        tables.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        // Within the budget, as those of the others are.
        tables.set_cache_index_and_filter_blocks(true);
        tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&tables);
        options.set_write_buffer_size(memtables_bytes / MEMTABLES_COUNT);
        options.set_max_write_buffer_number(MEMTABLES_COUNT as i32);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_use_direct_reads(true);
        options.set_use_direct_io_for_flush_and_compaction(true);
        options.set_compression_type(DBCompressionType::None);
        let db = DB::open(&options, dir).map_err(failed)?;
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        Ok(Rocksdb { db, durable, reads_from_disk: AtomicU64::new(0) })
    }

    /// The version that wrote the log of a directory: the library may be the system's.
    pub fn version(dir: &Path) -> String {
        let log = std::fs::read(dir.join("LOG")).unwrap_or_default();
        version_in(&String::from_utf8_lossy(&log)).unwrap_or("unknown").to_owned()
    }

    /// How it was set up, and what to know of it.
    pub fn notes(plan: &Plan) -> Vec<String> {
        let mib = plan.memory_bytes as usize >> 20;
        let memtables = mib / MEMTABLES_SHARE;
        vec![
            format!(
                "block cache {} MiB with indexes and filters, memtables {memtables} MiB in all, direct reads, flushes and \
                 compactions",
                mib - memtables
            ),
            "every write with sync; its write threads commit those that have come together in groups".to_owned(),
            "no compression, bloom filters of 10 bits per key, dynamic levels; all else by default".to_owned(),
        ]
    }
}

impl Engine for Rocksdb {
    fn write(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.db.put_opt(key, value, &self.durable).map_err(failed)
    }

    fn read<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
        let before = blocks_read();
        let found = self.db.get_pinned(key).map_err(failed)?;
        let looked = found.as_deref().map(look);
        self.reads_from_disk.fetch_add(u64::from(blocks_read() > before), Ordering::Relaxed);
        Ok(looked)
    }

    fn reads_from_disk(&self) -> Option<u64> {
        Some(self.reads_from_disk.load(Ordering::Relaxed))
    }
}

/// How many blocks this thread has read from the disk.
fn blocks_read() -> u64 {
    PERF.with_borrow_mut(|perf| {
        let perf = perf.get_or_insert_with(|| {
            set_perf_stats(PerfStatsLevel::EnableCount);
            PerfContext::default()
        });
        perf.metric(PerfMetric::BlockReadCount)
    })
}

fn version_in(log: &str) -> Option<&str> {
    let (_, behind) = log.split_once("RocksDB version: ")?;
    behind.split_ascii_whitespace().next()
}

fn failed(error: rocksdb::Error) -> Error {
    Error::Store { name: "rocksdb", what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_log() {
        assert_eq!(version_in("2026/11/30-12:00:00.1 7f RocksDB version: 7.8.3\n2026 Git sha 0"), Some("7.8.3"));
        assert_eq!(version_in("nothing"), None);
    }
}
