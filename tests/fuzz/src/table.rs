//! Tables and blob records: any bytes give rows in order or an error, whatever the checksums say.

use std::collections::BTreeMap;
use std::rc::Rc;

use lsm::blob::{BlobChecker, BlobHeader, BlobInfo, BlobRecord};
use lsm::table::block::Block;
use lsm::table::footer::{FOOTER_BYTES, Footer};
use lsm::table::leaf::Leaf;
use lsm::table::properties::Properties;
use lsm::table::{
    BlobRef, Content, Put, StoredRow, TableAnswer, TableBuilder, TableChecker, TableCursor, TableInfo, TableLookup,
    TableSettings, Top, Unit, UnitKind, UnitRef, Value, decode_unit, encode_unit,
};
use lsm::{FileId, FormatError, TableId};

use crate::input::{Input, place};

const TABLE: TableId = TableId { file: FileId { store: 3, number: 4 }, offset: 4_096 };
/// Edits of the bodies of a table.
const EDITS_COUNT_MAX: usize = 6;

/// The first byte says what the rest is.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 8 {
        0 => properties(rest),
        1 => footer(rest),
        2 => blob(rest),
        3 => unit(rest),
        _ => edited(Input::new(rest)),
    }
}

/// What is read and written again reads the same.
fn properties(data: &[u8]) {
    if let Ok(found) = Properties::decode(data) {
        let mut bytes = Vec::new();
        found.encode(&mut bytes);
        assert_eq!(bytes, data, "properties have one form");
    }
    if let Ok(found) = TableInfo::decode(data) {
        let mut bytes = Vec::new();
        found.encode(&mut bytes);
        assert_eq!(bytes, data, "what the manifest says of a table has one form");
    }
    if let Ok(found) = BlobInfo::decode(data) {
        let mut bytes = Vec::new();
        found.encode(&mut bytes);
        assert_eq!(bytes, data, "what the manifest says of a blob file has one form");
    }
}

fn footer(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<FOOTER_BYTES>() else { return };
    let _ = Footer::decode(bytes);
    // The same with magic and checksum made to fit.
    let mut bytes = *bytes;
    bytes[88..].copy_from_slice(b"CORATAB2");
    let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("it is long enough"));
    let at = number(72).wrapping_add(number(32).wrapping_sub(FOOTER_BYTES as u64));
    let parts = [number(56), number(64), at].map(u64::to_le_bytes).concat();
    let crc = crc32fast::hash(&[&parts, &bytes[4..]].concat());
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    if let Ok(footer) = Footer::decode(&bytes) {
        let again = Footer::decode(&footer.encode()).expect("it was read");
        assert_eq!(again, footer);
        assert!(footer.properties.offset + u64::from(footer.properties.len) <= footer.len);
    }
}

fn blob(data: &[u8]) {
    let _ = BlobHeader::decode(data);
    let key = b"key";
    for len in [1_u32, data.len() as u32] {
        let blob = BlobRef { file: TABLE.file, offset: 64, len };
        if let Ok(record) = BlobRecord::open(data, blob, key) {
            assert!(record.value().is_err() || record.value().is_ok_and(|value| value.len() == len as usize));
        }
    }
    let file = [&BlobHeader { file: TABLE.file }.encode()[..], data].concat();
    let info = BlobInfo { id: TABLE.file, len: file.len() as u64, values: 0, value_bytes: 0 };
    let checked = |piece_bytes| {
        let mut checker = BlobChecker::new(info);
        file.chunks(piece_bytes).try_for_each(|piece| checker.push(piece))?;
        checker.finish()
    };
    assert_eq!(checked(file.len()), checked(5), "it is the same however it comes");
}

fn unit(data: &[u8]) {
    for kind in [UnitKind::Data, UnitKind::Leaf, UnitKind::Top, UnitKind::Properties] {
        let unit = UnitRef { kind, offset: 0, len: data.len() as u32 };
        let _ = Unit::decode(data, TABLE, unit);
        if data.len() < 16 {
            continue;
        }
        // Kind, length and checksum made to fit, so that the codec is reached.
        let mut sealed = data.to_vec();
        sealed[4..8].copy_from_slice(&(data.len() as u32 - 16).to_le_bytes());
        sealed[12] = kind as u8;
        sealed[14..16].fill(0);
        let parts = [TABLE.file.store, TABLE.file.number, TABLE.offset].map(u64::to_le_bytes).concat();
        let crc = crc32fast::hash(&[&parts, &sealed[4..]].concat());
        sealed[..4].copy_from_slice(&crc.to_le_bytes());
        if let Ok(body) = decode_unit(&sealed, TABLE, unit) {
            assert!(body.len() <= kind.body_bytes_max());
        }
    }
}

/// The kinds and bodies of units, by their offsets.
type Bodies = BTreeMap<u64, (UnitKind, Vec<u8>)>;

/// The units of a sound table of some leaves and blocks, but for its properties, and where its top is.
fn bodies(rows_count: u16) -> (TableInfo, Bodies) {
    let settings =
        TableSettings { block_bytes: 120, leaf_blocks_count_max: 2, filter_bits_per_row: 10, chunk_bytes: 4_096 };
    let mut builder = TableBuilder::new(TABLE, settings);
    builder.delete_range(b"\0\0ha", b"\0\0hb");
    builder.delete_range(b"\0\x01h", b"\0\x02h");
    for i in 0..rows_count {
        let key = [&[0, (i / 30) as u8, b'h'][..], format!("{i:04}").as_bytes()].concat();
        let blob = BlobRef { file: TABLE.file, offset: 64, len: 20_000 };
        let value = if i % 11 == 3 { Value::Blob(blob) } else { Value::Inline(&key) };
        let put = Put { value_type: (i % 3) as u8, expiry_ms: (i % 4 == 0).then_some(u64::from(i)), value };
        let content = if i % 7 == 2 { Content::Tombstone } else { Content::Put(put) };
        builder.push(StoredRow { key: &key, content });
    }
    let (chunks, info) = builder.finish();
    let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.buf.to_vec()).collect();
    let mut bodies = BTreeMap::new();
    let mut read = |unit: UnitRef| {
        let begin = unit.offset as usize;
        let body = decode_unit(&bytes[begin..begin + unit.len as usize], TABLE, unit).expect("it was just written");
        bodies.insert(unit.offset, (unit.kind, body.clone()));
        body
    };
    let top = Top::decode(&read(info.top)).expect("it was just written");
    for leaf_idx in 0..top.index.count() {
        let unit = top.index.unit(leaf_idx, UnitKind::Leaf).expect("it is there");
        let leaf = Leaf::decode(&read(unit)).expect("it was just written");
        for idx in 0..leaf.index.count() {
            read(leaf.index.unit(idx, UnitKind::Data).expect("it is there"));
        }
    }
    (info, bodies)
}

/// A table whose writer was wrong or hostile: the bodies of its units are edited, and their checksums fit.
fn edited(mut input: Input<'_>) {
    let (info, mut bodies) = bodies(u16::from(input.byte() % 100) + 1);
    let offsets: Vec<u64> = bodies.keys().copied().collect();
    let edits_count = usize::from(input.byte()) % EDITS_COUNT_MAX;
    for _ in 0..edits_count {
        let offset = offsets[place(input.byte(), offsets.len())];
        let (_, body) = bodies.get_mut(&offset).expect("it is one of them");
        if body.is_empty() {
            continue;
        }
        let at = place(input.pair(), body.len());
        match input.byte() % 4 {
            0 => body[at] = input.byte(),
            1 => body[at] ^= 1 << (input.byte() % 8),
            2 => body.truncate(at),
            _ => {
                let len = usize::from(input.byte() % 16);
                let bytes = input.bytes(len).to_vec();
                body.splice(at..at, bytes);
            }
        }
    }
    let info = Rc::new(info);
    walk(&info, &bodies, input.rest());
    let sound = check_whole(&info, &bodies);
    assert!(edits_count > 0 || sound.is_ok(), "nothing was edited");
    if let Ok(placed) = sound {
        assert!(walk_rows(&info, &placed, false, &[]).is_ok(), "what was checked can be read");
    }
}

/// Checks a table of these units, one behind another. Where they stand then, if it is sound.
fn check_whole(info: &Rc<TableInfo>, bodies: &Bodies) -> Result<Bodies, FormatError> {
    let (mut bytes, mut placed) = (Vec::new(), Bodies::new());
    let mut put = |bytes: &mut Vec<u8>, kind, body: &[u8]| {
        let offset = bytes.len() as u64;
        placed.insert(offset, (kind, body.to_vec()));
        encode_unit(bytes, TABLE, kind, offset, body)
    };
    for (kind, body) in bodies.values() {
        put(&mut bytes, *kind, body);
    }
    let mut body = Vec::new();
    info.properties.encode(&mut body);
    let properties = put(&mut bytes, UnitKind::Properties, &body);
    let footer = Footer { table: TABLE, len: info.len, top: info.top, properties };
    bytes.resize((bytes.len() + FOOTER_BYTES).next_multiple_of(4_096) - FOOTER_BYTES, 0);
    bytes.extend_from_slice(&footer.encode());
    let mut checker = TableChecker::new(Rc::clone(info));
    bytes.chunks(100).try_for_each(|piece| checker.push(piece))?;
    checker.finish()?;
    Ok(placed)
}

fn read(bodies: &Bodies, unit: UnitRef) -> Result<Unit, FormatError> {
    let (_, body) = bodies.get(&unit.offset).ok_or(FormatError::Truncated)?;
    Ok(match unit.kind {
        UnitKind::Data => Unit::Data(Rc::new(Block::decode(body.clone())?)),
        UnitKind::Leaf => Unit::Leaf(Rc::new(Leaf::decode(body)?)),
        UnitKind::Top => Unit::Top(Rc::new(Top::decode(body)?)),
        UnitKind::Properties => Unit::Properties(Rc::new(Properties::decode(body)?)),
    })
}

/// Walks over all rows both ways, and looks a key up: that ends, with rows or with an error.
fn walk(info: &Rc<TableInfo>, bodies: &Bodies, key: &[u8]) {
    for back in [false, true] {
        let _ = walk_rows(info, bodies, back, key);
    }
    let mut lookup = TableLookup::new(Rc::clone(info), key);
    for _ in 0..4 {
        match lookup.poll() {
            Ok(answer) => {
                if let TableAnswer::Row(_) = answer {
                    assert_eq!(answer.row().map(|row| row.key), Some(key), "it is the row that was looked for");
                }
                return;
            }
            Err(unit) => match read(bodies, unit) {
                Ok(unit) => lookup.supply(unit),
                Err(_) => return,
            },
        }
    }
    panic!("a lookup reads more than a top, a leaf and data");
}

/// Walks over all rows from a key on, or back from it; from the end without a key.
fn walk_rows(info: &Rc<TableInfo>, bodies: &Bodies, back: bool, key: &[u8]) -> Result<(), FormatError> {
    let rows_count_max = bodies.len() * bodies.len() * bodies.values().map(|(_, body)| body.len()).max().unwrap_or(0);
    let mut cursor = TableCursor::new(Rc::clone(info));
    match (back, key.is_empty()) {
        (false, true) => cursor.first(),
        (true, true) => cursor.last(),
        (false, false) => cursor.seek(key),
        (true, false) => cursor.seek_before(key),
    }
    settle(&mut cursor, bodies)?;
    let mut rows_count = 0;
    while cursor.row().is_some() {
        rows_count += 1;
        assert!(rows_count <= rows_count_max, "it goes round in a circle");
        if back { cursor.prev() } else { cursor.next() }
        settle(&mut cursor, bodies)?;
    }
    Ok(())
}

fn settle(cursor: &mut TableCursor, bodies: &Bodies) -> Result<(), FormatError> {
    while let Some(unit) = cursor.poll() {
        cursor.supply(read(bodies, unit)?);
    }
    Ok(())
}
