//! Reading versions whole: a scan gives what cursors give, and a check finds whatever is wrong.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;

use futures_lite::future::block_on;
use host::IoClass;
use lsm::blob::{BlobBuilder, BlobChecker, BlobInfo, PIECE_BYTES};
use lsm::files::{Files, data_name};
use lsm::read::{CacheLimits, Reader, Target, verify};
use lsm::table::{TableChecker, TableInfo, TableSettings};
use lsm::write::WriteSettings;
use lsm::{Error, FileId, FormatError, Pace, TableId};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::disk::TestDisk;
use support::store::*;
use support::*;
use types::GroupId;

const GROUP: GroupId = GroupId(1);

fn row_key(i: u32) -> Vec<u8> {
    [&[0, (i / 1_000) as u8, b'h'][..], format!("{i:06}").as_bytes()].concat()
}

fn flush(store: &mut Store, keys: impl Iterator<Item = u32>, row: impl Fn(u32) -> ModelRow, range: (u32, u32)) {
    let rows = keys.map(|i| (row_key(i), row(i))).collect();
    let ranges = vec![(row_key(range.0), row_key(range.1))];
    let ranges = if range.0 < range.1 { ranges } else { Vec::new() };
    store.flush(&[(GROUP, Batch { rows, ranges })], 10).unwrap();
}

/// A store of some runs, with values in blob files, tombstones, a range tombstone, and tables merged in part.
fn some_store(rows_count: u32) -> Store {
    let mut store = Store::open(&TestDisk::new()).unwrap();
    let value = |i: u32| put(&vec![i as u8; if i.is_multiple_of(9) { 400 } else { 30 }]);
    flush(&mut store, 0..rows_count, value, (0, 0));
    flush(&mut store, (0..rows_count).filter(|i| i % 3 == 0), |i| if i % 2 == 0 { None } else { value(i) }, (3, 6));
    let task = store.task(GROUP, true).unwrap();
    store.merge(GROUP, &task).unwrap();
    flush(&mut store, 2..rows_count / 2, value, (10, 14));
    store
}

/// Rows of a table in memory, and its bytes pushed into a checker in pieces.
fn check_table(info: &Rc<TableInfo>, bytes: &[u8], piece_bytes: usize) -> Result<(), FormatError> {
    let mut checker = TableChecker::new(Rc::clone(info));
    for piece in bytes.chunks(piece_bytes) {
        checker.push(piece)?;
    }
    checker.finish()
}

fn check_blob(info: BlobInfo, bytes: &[u8], piece_bytes: usize) -> Result<(), FormatError> {
    let mut checker = BlobChecker::new(info);
    for piece in bytes.chunks(piece_bytes) {
        checker.push(piece)?;
    }
    checker.finish()
}

fn small() -> TableSettings {
    TableSettings { block_bytes: 200, leaf_blocks_count_max: 3, filter_bits_per_row: 10, chunk_bytes: 4_096 }
}

fn small_table() -> MemoryTable {
    let rows = (0..60).map(|i| (row_key(i), if i % 9 == 4 { None } else { put(&i.to_le_bytes()) })).collect();
    MemoryTable::build(small(), &rows, &[(row_key(20), row_key(22))])
}

const BLOB: FileId = FileId { store: 3, number: 4 };

fn blob_file(values: &[(Vec<u8>, Vec<u8>)]) -> (BlobInfo, Vec<u8>) {
    let mut builder = BlobBuilder::new(BLOB, 4_096);
    for (key, value) in values {
        builder.push(key, value);
    }
    let (chunks, info) = builder.finish();
    (info, chunks.iter().flat_map(|chunk| chunk.buf.to_vec()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_sound_however_it_comes(
        rows in btree_map(key(), row(), 0..150),
        range in proptest::option::of((key(), key()).prop_filter("it is not empty", |(from, to)| from < to)),
        settings in settings(),
        piece_bytes in 1..9_000_usize,
    ) {
        prop_assume!(!rows.is_empty() || range.is_some());
        let table = MemoryTable::build(settings, &rows, &Vec::from_iter(range));
        prop_assert_eq!(check_table(&table.info, &table.bytes, piece_bytes), Ok(()));
    }

    #[test]
    fn blob_files_are_sound_however_they_come(
        values in vec((vec(any::<u8>(), 0..20), prop_oneof![1..300_usize, Just(PIECE_BYTES), PIECE_BYTES..3 * PIECE_BYTES]), 0..6),
        piece_bytes in 1..90_000_usize,
    ) {
        let values: Vec<_> = values.into_iter().map(|(key, len)| (key, (0..len).map(|i| (i / 7) as u8).collect())).collect();
        let (info, bytes) = blob_file(&values);
        prop_assert_eq!(check_blob(info, &bytes, piece_bytes), Ok(()));
    }
}

#[test]
fn every_flipped_byte_of_a_table_is_found() {
    let MemoryTable { mut bytes, info } = small_table();
    for at in 0..bytes.len() {
        for flip in [1, 0xFF] {
            bytes[at] ^= flip;
            assert!(check_table(&info, &bytes, 4_096).is_err(), "byte {at}");
            bytes[at] ^= flip;
        }
    }
    assert_eq!(check_table(&info, &bytes, 4_096), Ok(()));
}

#[test]
fn every_flipped_byte_of_a_blob_file_is_found() {
    let value = |len: usize| (0..len).map(|i| (i / 3) as u8).collect();
    let (info, mut bytes) = blob_file(&[(b"one".to_vec(), value(PIECE_BYTES + 70)), (b"two".to_vec(), value(500))]);
    for at in 0..bytes.len() {
        // In the first piece of the long value one byte is as good as another.
        if (100..PIECE_BYTES).contains(&at) && !at.is_multiple_of(101) {
            continue;
        }
        bytes[at] ^= 1 << (at % 8);
        assert!(check_blob(info, &bytes, 30_000).is_err(), "byte {at}");
        bytes[at] ^= 1 << (at % 8);
    }
    assert_eq!(check_blob(info, &bytes, 30_000), Ok(()));
}

#[test]
fn other_lengths_places_and_counts_are_found() {
    let table = small_table();
    for len in 0..table.bytes.len() {
        assert!(check_table(&table.info, &table.bytes[..len], 4_096).is_err(), "{len} bytes");
    }
    let longer = [&table.bytes[..], &[0; 4_096]].concat();
    assert!(check_table(&table.info, &longer, 4_096).is_err());
    let with = |change: fn(&mut TableInfo)| {
        let mut info = (*table.info).clone();
        change(&mut info);
        check_table(&Rc::new(info), &table.bytes, 4_096)
    };
    let wrong: [fn(&mut TableInfo); 8] = [
        |info| info.id = TableId { offset: 4_096, ..info.id },
        |info| info.len += 4_096,
        |info| info.top.offset += 16,
        |info| info.properties.rows += 1,
        |info| info.properties.heads -= 1,
        |info| info.properties.tombstones -= 1,
        |info| info.properties.stored_bytes += 1,
        |info| info.properties.smallest.push(0),
    ];
    for (idx, change) in wrong.into_iter().enumerate() {
        assert!(with(change).is_err(), "{idx}");
    }
    let (info, bytes) = blob_file(&[(b"key".to_vec(), vec![1; 3_000]), (b"other".to_vec(), vec![2; 3_000])]);
    for len in 0..bytes.len() {
        assert!(check_blob(info, &bytes[..len], 4_096).is_err(), "{len} bytes");
    }
    for wrong in [
        BlobInfo { id: FileId { number: 5, ..BLOB }, ..info },
        BlobInfo { len: info.len + 4_096, ..info },
        BlobInfo { values: 1, ..info },
        BlobInfo { value_bytes: 5_999, ..info },
    ] {
        assert!(check_blob(wrong, &bytes, 4_096).is_err(), "{wrong:?}");
    }
}

/// The tables and blob files of a store: number of the file, base in it, length.
fn parts(store: &Store) -> Vec<(u64, u64, u64)> {
    let version = store.version(GROUP);
    let tables = version.tables().map(|table| (table.file.number(), table.base, table.info.len));
    let blobs = version.blobs().map(|live| (live.blob.file.number(), live.blob.base, live.blob.info.len));
    tables.chain(blobs).collect()
}

#[test]
fn every_flipped_byte_of_a_store_is_found_and_named() {
    let store = some_store(30);
    let (version, expected) = (store.version(GROUP), store.scan(GROUP, Target::First).unwrap());
    let sound = store.verify(GROUP).unwrap();
    let parts = parts(&store);
    assert_eq!(sound.bytes, parts.iter().map(|(.., len)| len).sum::<u64>());
    assert!(sound.tables >= 3 && sound.blob_files >= 1, "{sound:?}");
    for (number, base, len) in parts {
        let path = PathBuf::from(DIR).join(data_name(number));
        let content = store.disk.content(&path).unwrap();
        for at in base..base + len {
            let mut damaged = content.clone();
            damaged[at as usize] ^= 1 << (at % 8);
            store.disk.put(&path, damaged);
            // Files that are open are those of before.
            let reopened = block_on(Files::open(store.disk.clone(), PathBuf::from(DIR))).unwrap();
            let reader = Reader::new(Rc::new(reopened), CacheLimits::NONE);
            match block_on(verify(&reader, &version, IoClass::Scrub, &NoPace)) {
                Err(Error::Damaged { path: found, offset, .. }) => {
                    assert_eq!(found, path, "byte {at}");
                    assert!((base..=at).contains(&offset), "byte {at} lies in what begins at {offset}");
                }
                other => panic!("byte {at} of {}: {other:?}", path.display()),
            }
        }
        store.disk.put(&path, content);
    }
    let store = Store::open(&store.disk.restart()).unwrap();
    assert_eq!(store.verify(GROUP).unwrap(), sound);
    assert_eq!(store.scan(GROUP, Target::First).unwrap(), expected);
}

#[test]
fn a_scan_of_damaged_tables_gives_an_error_or_the_same_rows() {
    let store = some_store(60);
    let expected = store.scan(GROUP, Target::First).unwrap();
    let mut errors = 0;
    for (number, base, len) in parts(&store) {
        let path = PathBuf::from(DIR).join(data_name(number));
        let content = store.disk.content(&path).unwrap();
        for at in (base..base + len).step_by(29) {
            let mut damaged = content.clone();
            damaged[at as usize] ^= 0x40;
            store.disk.put(&path, damaged);
            let reopened = Store::open(&store.disk.restart()).unwrap();
            match reopened.scan_live(GROUP, 0) {
                Ok(rows) => assert_eq!(rows, expected, "byte {at}"),
                Err(Error::Damaged { .. }) => errors += 1,
                Err(error) => panic!("{error}"),
            }
        }
        store.disk.put(&path, content);
    }
    assert!(errors > 50, "{errors} errors");
}

#[test]
fn a_scan_passes_over_what_has_expired() {
    let mut store = Store::open(&TestDisk::new()).unwrap();
    let row = |i: u32| {
        let value_type = if i.is_multiple_of(4) { COLLECTION } else { 0 };
        Some(ModelPut { value_type, expiry_ms: Some(u64::from(i)), value: ModelValue::Inline(vec![1]) })
    };
    flush(&mut store, 0..100, row, (0, 0));
    for time_ms in [0, 1, 50, 99, 1_000] {
        let expected = (0..100_u32).filter(|i| i.is_multiple_of(4) || u64::from(*i) > time_ms).map(row_key);
        let found = store.scan_live(GROUP, time_ms).unwrap();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "at {time_ms}");
    }
}

/// Counts what was worked on.
struct CountingPace(Cell<u64>);

impl Pace for CountingPace {
    async fn pause(&self, bytes: usize) {
        assert!(bytes <= 32 << 10, "{bytes} bytes in one go");
        self.0.set(self.0.get() + bytes as u64);
    }
}

#[test]
fn a_check_pauses_between_slices_of_all_that_it_reads() {
    let mut store = Store::open(&TestDisk::new()).unwrap();
    flush(&mut store, 0..20, |i| put(&vec![i as u8; 90_000]), (0, 0));
    let pace = CountingPace(Cell::new(0));
    let version = store.version(GROUP);
    let verified = block_on(verify(&store.reader, &version, IoClass::Scrub, &pace)).unwrap();
    assert_eq!(verified.bytes, pace.0.get());
    assert_eq!((verified.rows, verified.bytes > 20 * 90_000), (20, true));
}

/// Bytes that do not compress.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed) * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn a_scan_reads_long_tables_once_and_passes_over_what_is_deleted() {
    let mut store = Store::open(&TestDisk::new()).unwrap();
    store.set_output(WriteSettings { blob_value_bytes_min: BLOB_BYTES, ..WriteSettings::default() });
    flush(&mut store, 0..20_000, |i| put(&noise(i, 200)), (0, 0));
    let version = store.version(GROUP);
    assert_eq!((version.tables().count(), version.table_bytes() > 4 << 20), (1, true));
    let windows = version.table_bytes() / (256 << 10);
    let leaves = version.table_bytes() / (1 << 20) + 1;
    let scan = |store: &Store| {
        let before = store.disk.reads();
        let rows = store.scan_live(GROUP, 0).unwrap();
        assert_eq!(rows, store.scan(GROUP, Target::First).unwrap());
        (rows.len(), store.disk.reads() - before)
    };
    let before = store.disk.reads();
    assert_eq!(store.scan_live(GROUP, 0).unwrap().len(), 20_000);
    let reads = store.disk.reads() - before;
    assert!((windows..=windows + 3 * leaves + 2).contains(&reads), "{reads} reads of {windows} windows");
    // Also if what was asked for first comes last.
    store.disk.set_slow(true);
    assert_eq!(scan(&store).0, 20_000);
    store.disk.set_slow(false);
    flush(&mut store, 0..0, |_| None, (1_000, 19_000));
    let before = store.disk.reads();
    assert_eq!(store.scan_live(GROUP, 0).unwrap().len(), 2_000);
    let fewer = store.disk.reads() - before;
    assert!(fewer < reads, "{fewer} reads");
    assert_eq!(scan(&store).0, 2_000);
}
