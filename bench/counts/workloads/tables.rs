//! Rows in tables, on a disk that never lets anybody wait.

use std::hint::black_box;
use std::path::PathBuf;
use std::rc::Rc;

use host::IoClass;
use lsm::files::Files;
use lsm::manifest::{Manifest, ManifestSettings};
use lsm::merge::{MergeSettings, MergeTask, RowPolicy, execute};
use lsm::read::{CacheLimits, Reader, Scan, ScanSettings};
use lsm::table::stored_row::head_key;
use lsm::table::{Content, Put, StoredRow, Value};
use lsm::version::{Change, NewRun, Version};
use lsm::write::{Output, RunWriter, WriteSettings, WrittenRun};
use types::Slot;

use super::{KEYS_COUNT, OPERATIONS, VALUE_BYTES, Workload, at_once, key, spread};
use crate::load::rng::{Rng, mix};
use crate::micro::memory_disk::MemoryDisk;
use crate::micro::scan::NoPause;

/// Room for all units of the tables.
const CACHE_BYTES: usize = 64 << 20;

/// Rows in the order of a table, and where tables of them are written to.
struct Store {
    files: Rc<Files<MemoryDisk>>,
    manifest: Manifest<MemoryDisk>,
    output: Rc<Output<MemoryDisk>>,
    /// Row keys with their values, half of which compresses.
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Store {
    fn new() -> Store {
        let opened = at_once(async {
            let files = Rc::new(Files::open(MemoryDisk::default(), PathBuf::from("store")).await?);
            let manifest = Manifest::open(Rc::clone(&files), ManifestSettings::default(), 1).await?;
            Ok::<_, lsm::Error>((files, manifest))
        });
        let (files, manifest) = opened.expect("a disk in memory does not fail");
        let settings = WriteSettings::default();
        let output = Output::new(Rc::clone(&files), manifest.files().clone(), manifest.store(), settings);
        let mut rng = Rng::new(u64::from(KEYS_COUNT));
        let value = |rng: &mut Rng| {
            let noise = (0..VALUE_BYTES / 2).map(|_| rng.bits() as u8);
            noise.chain(std::iter::repeat_n(b'v', VALUE_BYTES / 2)).collect()
        };
        let mut rows: Vec<_> = (0..KEYS_COUNT).map(|number| (row_key(number), value(&mut rng))).collect();
        rows.sort_unstable();
        Store { files, manifest, output: Rc::new(output), rows }
    }

    /// Writes every `step`-th row.
    fn write(&self, step: usize) -> WrittenRun {
        let written = at_once(async {
            let mut writer = RunWriter::new(Rc::clone(&self.output), NoPause, IoClass::Flush, None);
            for (key, value) in self.rows.iter().step_by(step) {
                let put = Put { value_type: 0, expiry_ms: None, value: Value::Inline(value) };
                writer.push(StoredRow { key, content: Content::Put(put) }).await?;
            }
            let (written, file) = writer.finish().await?;
            if let Some(file) = file {
                file.finish().await?;
            }
            Ok::<_, lsm::Error>(written)
        });
        written.expect("a disk in memory does not fail")
    }

    /// A version with an oldest run of all rows, and newer ones of every so many.
    fn version(&self, upper_steps: &[usize]) -> Rc<Version> {
        let (mut change, mut named) = (Change::default(), Vec::new());
        for (age, step) in (1..).zip([1].iter().chain(upper_steps)) {
            let written = self.write(*step);
            change.added.push(NewRun { age, level: 0, tables: written.tables.clone() });
            named.push(written);
        }
        let version = Version::default().apply(&change, self.manifest.files());
        Rc::new(version.expect("what was just written fits together"))
    }
}

/// The row key of a key with a number.
fn row_key(number: u32) -> Vec<u8> {
    let (key, mut row_key) = (key(number), Vec::new());
    head_key(Slot::of_key(&key), mix(u64::from(number)) >> 16, &key, &mut row_key);
    row_key
}

/// A table written, with all its checksums, filters and indexes.
pub(super) struct TableWrite(Store);

impl TableWrite {
    pub(super) fn make() -> Box<dyn Workload> {
        Box::new(TableWrite(Store::new()))
    }
}

impl Workload for TableWrite {
    fn operations_count(&self) -> u32 {
        KEYS_COUNT
    }

    fn run(&mut self) {
        black_box(self.0.write(1).tables.len());
    }
}

/// Rows looked up in the oldest run, past the filter of a newer one.
pub(super) struct TableGet {
    reader: Reader<MemoryDisk>,
    version: Rc<Version>,
    keys: Vec<Vec<u8>>,
    /// Keeps the files.
    _store: Store,
}

impl TableGet {
    /// With all units in memory.
    pub(super) fn cached() -> Box<dyn Workload> {
        TableGet::of(CACHE_BYTES)
    }

    /// With a unit read and checked for each.
    pub(super) fn read() -> Box<dyn Workload> {
        TableGet::of(0)
    }

    fn of(cache_bytes: usize) -> Box<dyn Workload> {
        let store = Store::new();
        let version = store.version(&[16]);
        let keys = (0..OPERATIONS).map(|at| row_key(spread(at))).collect();
        let reader = Reader::new(Rc::clone(&store.files), CacheLimits::of_each(cache_bytes));
        Box::new(TableGet { reader, version, keys, _store: store })
    }
}

impl Workload for TableGet {
    fn operations_count(&self) -> u32 {
        OPERATIONS
    }

    fn run(&mut self) {
        for key in &self.keys {
            let found = at_once(self.reader.get(&self.version, key)).expect("a disk in memory does not fail");
            assert!(found.is_some(), "every key is there");
            black_box(found);
        }
    }
}

/// All rows of two runs read in their order.
pub(super) struct TableScan {
    reader: Reader<MemoryDisk>,
    version: Rc<Version>,
    /// Keeps the files.
    _store: Store,
}

impl TableScan {
    pub(super) fn make() -> Box<dyn Workload> {
        let store = Store::new();
        let (reader, version) = (Reader::new(Rc::clone(&store.files), CacheLimits::NONE), store.version(&[8]));
        Box::new(TableScan { reader, version, _store: store })
    }
}

impl Workload for TableScan {
    fn operations_count(&self) -> u32 {
        KEYS_COUNT
    }

    fn run(&mut self) {
        let settings = ScanSettings { class: IoClass::Flush, time_ms: 0, is_single_row: |_| true };
        let mut scan = Scan::new(&self.reader, Rc::clone(&self.version), settings);
        let mut rows_count = 0;
        while let Some(row) = at_once(scan.next(&NoPause)).expect("a disk in memory does not fail") {
            black_box(row);
            rows_count += 1;
        }
        assert_eq!(rows_count, KEYS_COUNT, "a scan shows each key once");
    }
}

/// Runs merged into one: all rows and two newer runs with a part of them.
pub(super) struct Merge {
    reader: Reader<MemoryDisk>,
    version: Rc<Version>,
    task: MergeTask,
    store: Store,
}

impl Merge {
    pub(super) fn make() -> Box<dyn Workload> {
        let store = Store::new();
        let (reader, version) = (Reader::new(Rc::clone(&store.files), CacheLimits::NONE), store.version(&[4, 8]));
        let task = MergeTask::all(&version, &MergeSettings::default()).expect("there are runs");
        Box::new(Merge { reader, version, task, store })
    }
}

impl Workload for Merge {
    fn operations_count(&self) -> u32 {
        KEYS_COUNT
    }

    fn run(&mut self) {
        let policy = RowPolicy { time_ms: 0, is_oldest: self.task.is_oldest, is_single_row: |_| true };
        let (output, version) = (&self.store.output, &self.version);
        let merged = at_once(execute(&self.reader, output, version, &self.task, policy, &NoPause));
        let merged = merged.expect("a disk in memory does not fail");
        assert_eq!(merged.rows.1, u64::from(KEYS_COUNT), "a merge keeps each key once");
        black_box(merged.bytes());
    }
}
