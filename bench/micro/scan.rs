//! What it costs to read all rows of a version from its tables, with a disk that never lets anybody wait.

use std::hint::black_box;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use host::IoClass;
use lsm::Pace;
use lsm::files::Files;
use lsm::manifest::{Manifest, ManifestSettings};
use lsm::read::{CacheLimits, Reader, Scan, ScanSettings};
use lsm::table::stored_row::head_key;
use lsm::table::{Content, Put, StoredRow, Value};
use lsm::version::{Change, NewRun, Version};
use lsm::write::{Output, RunWriter, WriteSettings};
use serde::{Deserialize, Serialize};
use types::Slot;

use super::memory_disk::MemoryDisk;
use super::report::{Figure, Quantity};
use super::{Options, key_of};
use crate::error::Error;
use crate::load::rng::{Rng, mix};

/// The name of what is measured here, beside those of the tables.
pub const NAME: &str = "scan";

/// Runs that are newer than the oldest one, where there are several.
const UPPER_RUNS_COUNT: u32 = 4;
/// One key in so many has a row in each of them too.
const UPPER_RUN_SHARE: u64 = 8;
/// Each version is scanned so often, since that takes less time than to write it. The fastest scan counts: others can only slow
/// one down.
const SCANS_COUNT: usize = 5;
/// The word that values repeat which compress.
const WORD: &[u8] = b"{\"name\": \"";

/// What is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scanned {
    /// One run, whose values do not compress.
    OneRun,
    /// One run, whose values take about half of the room when compressed.
    OneRunCompressed,
    /// An oldest run and some that hide a part of it, whose values do not compress.
    SeveralRuns,
}

impl Scanned {
    const ALL: [Scanned; 3] = [Scanned::OneRun, Scanned::OneRunCompressed, Scanned::SeveralRuns];

    fn runs_count(self) -> u32 {
        if self == Scanned::SeveralRuns { 1 + UPPER_RUNS_COUNT } else { 1 }
    }

    /// Whether a key has a row in a run, of which 0 is the oldest.
    fn has(self, number: u32, run: u32) -> bool {
        run == 0 || mix(u64::from(number) << 8 | u64::from(run)).is_multiple_of(UPPER_RUN_SHARE)
    }

    fn fill(self, rng: &mut Rng, value: &mut [u8]) {
        for piece in value.chunks_mut(2 * WORD.len()) {
            let of_chance = if self == Scanned::OneRunCompressed { piece.len() / 2 } else { 0 };
            let (words, rest) = piece.split_at_mut(of_chance);
            words.iter_mut().zip(WORD).for_each(|(byte, of_word)| *byte = *of_word);
            rest.iter_mut().for_each(|byte| *byte = rng.bits() as u8);
        }
    }
}

/// Lets nobody go first: there is nobody.
pub(crate) struct NoPause;

impl Pace for NoPause {
    async fn pause(&self, _bytes: usize) {}
}

/// One round of scans.
pub fn measure(options: &Options, stop: &AtomicBool) -> Result<Vec<Figure>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Error::os("making a runtime"))?;
    let mut figures = Vec::new();
    for scanned in Scanned::ALL {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let measured = runtime.block_on(async {
            let (reader, version) = write(options, scanned).await?;
            let mut took = Duration::MAX;
            for _ in 0..SCANS_COUNT {
                took = took.min(scan(&reader, &version, options.keys_count).await?);
            }
            Ok::<_, lsm::Error>(version.table_bytes() as f64 / took.as_secs_f64() / 1e6)
        });
        let value = measured.expect("a disk in memory does not fail");
        figures.push(Figure { table: NAME.to_owned(), quantity: Quantity::Scan(scanned), value });
    }
    Ok(figures)
}

/// Writes a version with all keys.
async fn write(options: &Options, scanned: Scanned) -> Result<(Reader<MemoryDisk>, Rc<Version>), lsm::Error> {
    let files = Rc::new(Files::open(MemoryDisk::default(), PathBuf::from("store")).await?);
    let manifest = Manifest::open(Rc::clone(&files), ManifestSettings::default(), 1).await?;
    let settings = WriteSettings::default();
    let output = Rc::new(Output::new(Rc::clone(&files), manifest.files().clone(), manifest.store(), settings));
    let mut rows: Vec<(Vec<u8>, u32)> = (0..options.keys_count).map(|number| (row_key(number), number)).collect();
    rows.sort_unstable();
    let mut rng = Rng::new(u64::from(options.keys_count));
    let mut value = vec![0; options.value_bytes];
    let (mut change, mut named) = (Change::default(), Vec::new());
    for run in 0..scanned.runs_count() {
        let mut writer = RunWriter::new(Rc::clone(&output), NoPause, IoClass::Flush, None);
        for (key, _) in rows.iter().filter(|(_, number)| scanned.has(*number, run)) {
            scanned.fill(&mut rng, &mut value);
            let put = Put { value_type: 0, expiry_ms: None, value: Value::Inline(&value) };
            writer.push(StoredRow { key, content: Content::Put(put) }).await?;
        }
        let (written, file) = writer.finish().await?;
        if let Some(file) = file {
            file.finish().await?;
        }
        change.added.push(NewRun { age: u64::from(run) + 1, level: 0, tables: written.tables.clone() });
        change.blobs.extend_from_slice(&written.blobs);
        named.push(written);
    }
    change.added.retain(|run| !run.tables.is_empty());
    let version = Version::default().apply(&change, manifest.files()).expect("what was just written fits together");
    Ok((Reader::new(files, CacheLimits::NONE), Rc::new(version)))
}

/// Reads all rows. Returns how long that took.
async fn scan(reader: &Reader<MemoryDisk>, version: &Rc<Version>, keys_count: u32) -> Result<Duration, lsm::Error> {
    let settings = ScanSettings { class: IoClass::Flush, time_ms: 0, is_single_row: |_| true };
    let before = Instant::now();
    let mut scan = Scan::new(reader, Rc::clone(version), settings);
    let mut rows_count = 0;
    while let Some(row) = scan.next(&NoPause).await? {
        black_box(row);
        rows_count += 1;
    }
    let took = before.elapsed();
    assert_eq!(rows_count, keys_count, "a scan shows each key once");
    Ok(took)
}

/// The row key of a key with a number.
fn row_key(number: u32) -> Vec<u8> {
    let key = key_of("key:", number);
    let mut row_key = Vec::new();
    head_key(Slot::of_key(&key), mix(u64::from(number)) >> 16, &key, &mut row_key);
    row_key
}
