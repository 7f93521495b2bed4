//! Tables against a map: what was written is read back, in any direction, and nothing else is.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::rc::Rc;

use lsm::table::{StoredRow, TableAnswer, TableBuilder, TableCursor, TableInfo, TableSettings};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::*;

fn small() -> TableSettings {
    TableSettings { block_bytes: 200, leaf_blocks_count_max: 3, filter_bits_per_row: 10, chunk_bytes: 4_096 }
}

fn rows(count: u16) -> Model {
    let key = |i: u16| [&[0, (i / 50) as u8, b'h'][..], format!("key:{i:05}").as_bytes()].concat();
    (0..count).map(|i| (key(i), if i % 9 == 4 { None } else { put(format!("value {i}").as_bytes()) })).collect()
}

/// Ranges that ascend.
fn ranges() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    vec((key(), key()), 0..4).prop_map(|mut ranges| {
        ranges.sort();
        ranges
    })
}

fn found(cursor: &TableCursor) -> Option<Vec<u8>> {
    cursor.row().map(|row| row.key.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cursors_find_what_a_map_does(
        rows in btree_map(key(), row(), 1..150),
        settings in settings(),
        sought in vec((key(), any::<bool>(), vec(any::<bool>(), 0..6)), 1..20),
    ) {
        let table = MemoryTable::build(settings, &rows, &[]);
        prop_assert_eq!(&table.rows().unwrap(), &rows);
        let mut cursor = TableCursor::new(Rc::clone(&table.info));
        cursor.last();
        table.settle(&mut cursor).unwrap();
        for (key, row) in rows.iter().rev() {
            prop_assert_eq!(cursor.row(), Some(StoredRow { key, content: content(row) }));
            cursor.prev();
            table.settle(&mut cursor).unwrap();
        }
        prop_assert_eq!(found(&cursor), None);
        // Then to and fro, from wherever it stands.
        for (key, before, steps) in sought {
            if before { cursor.seek_before(&key) } else { cursor.seek(&key) }
            table.settle(&mut cursor).unwrap();
            let mut expected = if before { rows.range(..key).next_back() } else { rows.range(key..).next() };
            prop_assert_eq!(found(&cursor), expected.map(|(key, _)| key.clone()));
            for back in steps {
                let Some((at, _)) = expected else { break };
                let mut behind = rows.range(at.clone()..);
                behind.next();
                expected = if back { rows.range(..at.clone()).next_back() } else { behind.next() };
                if back { cursor.prev() } else { cursor.next() }
                table.settle(&mut cursor).unwrap();
                prop_assert_eq!(found(&cursor), expected.map(|(key, _)| key.clone()));
            }
        }
    }

    #[test]
    fn lookups_find_what_a_map_does(
        rows in btree_map(key(), row(), 0..100),
        ranges in ranges(),
        settings in settings(),
        sought in vec(key(), 0..30),
    ) {
        let is_empty = |(from, to): &(Vec<u8>, Vec<u8>)| from >= to;
        prop_assume!(!rows.is_empty() || !ranges.iter().all(is_empty));
        let table = MemoryTable::build(settings, &rows, &ranges);
        for key in sought.iter().chain(rows.keys()) {
            let is_deleted = ranges.iter().any(|(from, to)| from <= key && key < to);
            let answer = table.lookup(key).unwrap();
            match (rows.get(key), answer) {
                (Some(row), answer) => prop_assert_eq!(answer.row(), Some(StoredRow { key, content: content(row) })),
                (None, TableAnswer::Deleted) => prop_assert!(is_deleted),
                (None, answer) => prop_assert!(!is_deleted && matches!(answer, TableAnswer::Nothing)),
            }
        }
    }

    #[test]
    fn a_table_says_of_itself_what_its_writer_said(
        rows in btree_map(key(), row(), 1..60),
        ranges in ranges(),
        settings in settings(),
    ) {
        let table = MemoryTable::build(settings, &rows, &ranges);
        let opened = MemoryTable::open(table.bytes).unwrap();
        prop_assert_eq!(&opened.info, &table.info);
        let mut bytes = Vec::new();
        table.info.encode(&mut bytes);
        prop_assert_eq!(&TableInfo::decode(&bytes).unwrap(), &*table.info);
        let properties = &table.info.properties;
        prop_assert_eq!(properties.rows, rows.len() as u64);
        prop_assert_eq!(properties.tombstones, rows.values().filter(|row| row.is_none()).count() as u64);
        let expiries = || rows.values().flatten().filter_map(|put| put.expiry_ms);
        prop_assert_eq!(properties.expiring, expiries().count() as u64);
        prop_assert_eq!(properties.expiry_ms_min, expiries().min().unwrap_or(u64::MAX));
        prop_assert_eq!(properties.expiry_ms_max, expiries().max().unwrap_or(0));
        prop_assert!(rows.keys().all(|key| (&properties.smallest..=&properties.largest).contains(&key)));
    }

    /// Also where the checksums are right, since whoever wrote them was wrong or hostile.
    #[test]
    fn any_properties_are_read_or_refused(bytes in vec(any::<u8>(), 0..300), cut in 0..100_usize) {
        let _ = TableInfo::decode(&bytes);
        let mut sound = Vec::new();
        MemoryTable::build(small(), &rows(60), &[]).info.encode(&mut sound);
        let at = cut * sound.len() / 100;
        let len = bytes.len().min(sound.len() - at);
        sound[at..at + len].copy_from_slice(&bytes[..len]);
        let _ = TableInfo::decode(&sound);
    }
}

/// All rows, both ways, by way of what the manifest says and of what the file does.
fn read_all(table: &MemoryTable) -> Vec<Result<Model, lsm::FormatError>> {
    let by_lookup = || {
        rows(60).into_keys().filter_map(|key| match table.lookup(&key) {
            Ok(answer) => answer.row().map(|row| Ok((key.clone(), model_row(row.content)))),
            Err(error) => Some(Err(error)),
        })
    };
    let opened = MemoryTable::open(table.bytes.clone()).and_then(|opened| opened.rows());
    vec![table.rows(), by_lookup().collect(), opened]
}

#[test]
fn every_flipped_byte_gives_an_error_or_the_same_rows() {
    let table = MemoryTable::build(small(), &rows(60), &[(b"\0\x09".to_vec(), b"\0\x0a".to_vec())]);
    let mut errors = 0;
    for at in 0..table.bytes.len() {
        for flip in [1, 0xFF] {
            let mut damaged = table.clone();
            damaged.bytes[at] ^= flip;
            for result in read_all(&damaged) {
                match result {
                    Ok(found) => assert_eq!(found, rows(60), "byte {at}"),
                    Err(_) => errors += 1,
                }
            }
        }
    }
    assert!(errors > 2 * 3 * 1_000, "most bytes are read, each by one way at least: {errors}");
}

#[test]
fn every_shorter_table_gives_an_error_or_the_same_rows() {
    let table = MemoryTable::build(small(), &rows(60), &[]);
    for len in 0..table.bytes.len() {
        let shorter = MemoryTable { bytes: table.bytes[..len].to_vec(), ..table.clone() };
        for found in read_all(&shorter).into_iter().flatten() {
            assert_eq!(found, rows(60), "{len} bytes");
        }
        assert!(MemoryTable::open(shorter.bytes).is_err(), "{len} bytes");
    }
}

#[test]
fn units_of_other_tables_and_places_are_refused() {
    let table = MemoryTable::build(small(), &rows(600), &[]);
    let mut elsewhere = table.clone();
    let info = TableInfo { id: lsm::TableId { offset: 4_096, ..table.info.id }, ..(*table.info).clone() };
    elsewhere.info = Rc::new(info);
    assert!(elsewhere.rows().is_err(), "its units are of the table at another offset");
    // A sector stands where another was to be.
    let sectors = table.info.top.offset as usize / 512;
    assert!(sectors > 3);
    for other in 1..sectors {
        let mut misdirected = table.clone();
        misdirected.bytes.copy_within(..512, other * 512);
        assert!(misdirected.rows().is_err(), "sector {other}");
    }
}

#[test]
fn a_lookup_reads_a_top_a_leaf_and_a_data_unit_at_most() {
    let table = MemoryTable::build(small(), &rows(2_000), &[]);
    let mut misses_read = 0;
    for i in 0..2_000 {
        for (suffix, is_there) in [("", true), ("x", false)] {
            let key = [&[0, (i / 50) as u8, b'h'][..], format!("key:{i:05}{suffix}").as_bytes()].concat();
            let mut lookup = lsm::table::TableLookup::new(Rc::clone(&table.info), &key);
            let mut read = 0;
            let answer = loop {
                match lookup.poll() {
                    Ok(answer) => break answer,
                    Err(unit) => lookup.supply(table.unit(unit).unwrap()),
                }
                read += 1;
            };
            assert_eq!(answer.row().is_some(), is_there);
            assert!(read <= 3);
            misses_read += usize::from(!is_there && read == 3);
        }
    }
    assert!(misses_read < 60, "the filter let {misses_read} of 2,000 pass");
}

#[test]
fn a_push_finishes_a_block_and_a_leaf_at_most() {
    let settings = TableSettings::default();
    let mut builder = TableBuilder::new(table_id(), settings);
    let mut len = 0;
    for i in 0..200_000_u32 {
        let key = [&[0, 0, b'h'][..], &i.to_be_bytes()].concat();
        builder.push(StoredRow { key: &key, content: content(&put(&i.to_le_bytes())) });
        let grown = builder.len() - len;
        len = builder.len();
        assert!(grown <= 40 << 10, "{grown} bytes in one push");
        while let Some(chunk) = builder.take_chunk() {
            assert_eq!(chunk.buf.len(), settings.chunk_bytes);
        }
    }
    assert!(len > 1 << 20);
}

#[test]
#[should_panic(expected = "ascending")]
fn rows_out_of_order_are_a_mistake_of_ours() {
    let mut builder = TableBuilder::new(table_id(), small());
    let row = |key| StoredRow { key, content: lsm::table::Content::Tombstone };
    builder.push(row(b"\0\0hb"));
    builder.push(row(b"\0\0ha"));
}
