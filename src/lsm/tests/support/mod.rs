//! Tables in memory, and rows as a map holds them.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "test support")]

pub mod disk;
pub mod store;

use std::collections::BTreeMap;
use std::rc::Rc;

use host::ALIGNMENT;
use lsm::table::footer::{FOOTER_BYTES, Footer};
use lsm::table::{
    BlobRef, Content, Put, StoredRow, TableAnswer, TableBuilder, TableCursor, TableInfo, TableLookup, TableSettings,
    Unit, UnitRef, Value,
};
use lsm::{FileId, FormatError, TableId};
use proptest::collection::vec;
use proptest::prelude::*;

/// What a row of a model says; `None` is a tombstone.
pub type ModelRow = Option<ModelPut>;
pub type Model = BTreeMap<Vec<u8>, ModelRow>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPut {
    pub value_type: u8,
    pub expiry_ms: Option<u64>,
    pub value: ModelValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelValue {
    Inline(Vec<u8>),
    Blob { offset: u64 },
}

pub const BLOB_FILE: FileId = FileId { store: 77, number: 1 };

pub fn content(row: &ModelRow) -> Content<'_> {
    let Some(put) = row else { return Content::Tombstone };
    let value = match &put.value {
        ModelValue::Inline(value) => Value::Inline(value),
        ModelValue::Blob { offset } => Value::Blob(BlobRef { file: BLOB_FILE, offset: *offset, len: 20_000 }),
    };
    Content::Put(Put { value_type: put.value_type, expiry_ms: put.expiry_ms, value })
}

pub fn model_row(content: Content<'_>) -> ModelRow {
    let Content::Put(put) = content else { return None };
    let value = match put.value {
        Value::Inline(value) => ModelValue::Inline(value.to_vec()),
        Value::Blob(blob) => ModelValue::Blob { offset: blob.offset },
    };
    Some(ModelPut { value_type: put.value_type, expiry_ms: put.expiry_ms, value })
}

pub fn put(value: &[u8]) -> ModelRow {
    Some(ModelPut { value_type: 0, expiry_ms: None, value: ModelValue::Inline(value.to_vec()) })
}

/// Row keys that share beginnings, some of them heads.
pub fn key() -> impl Strategy<Value = Vec<u8>> {
    (0..3_u8, prop_oneof![Just(b'h'), Just(b'e')], vec(0..4_u8, 0..5))
        .prop_map(|(slot, kind, rest)| [&[0, slot, kind][..], &rest].concat())
}

pub fn row() -> impl Strategy<Value = ModelRow> {
    let value = prop_oneof![
        8 => vec(any::<u8>(), 0..60).prop_map(ModelValue::Inline),
        1 => (0..5_000_usize, any::<u8>()).prop_map(|(len, byte)| ModelValue::Inline(vec![byte; len])),
        1 => any::<u64>().prop_map(|offset| ModelValue::Blob { offset }),
    ];
    let put = (0..4_u8, proptest::option::of(0..100_u64), value);
    let put = put.prop_map(|(value_type, expiry_ms, value)| ModelPut { value_type, expiry_ms, value });
    proptest::option::weighted(0.8, put)
}

/// Small blocks and leaves, so that few rows fill many.
pub fn settings() -> impl Strategy<Value = TableSettings> {
    (1..400_usize, 1..5_usize, 0..12_usize).prop_map(|(block_bytes, leaf_blocks_count_max, filter_bits_per_row)| {
        TableSettings { block_bytes, leaf_blocks_count_max, filter_bits_per_row, chunk_bytes: ALIGNMENT }
    })
}

/// A file with one table in it.
#[derive(Clone, Debug)]
pub struct MemoryTable {
    pub bytes: Vec<u8>,
    pub info: Rc<TableInfo>,
}

pub fn table_id() -> TableId {
    TableId { file: FileId { store: 5, number: 9 }, offset: 8_192 }
}

impl MemoryTable {
    pub fn build(settings: TableSettings, rows: &Model, ranges: &[(Vec<u8>, Vec<u8>)]) -> MemoryTable {
        let mut builder = TableBuilder::new(table_id(), settings);
        let mut bytes = Vec::new();
        let mut add = |chunk: lsm::Chunk| {
            assert_eq!(chunk.offset, bytes.len() as u64);
            assert!(chunk.buf.len().is_multiple_of(ALIGNMENT) && chunk.buf.len() <= settings.chunk_bytes);
            bytes.extend_from_slice(&chunk.buf);
        };
        for (from, to) in ranges {
            builder.delete_range(from, to);
        }
        for (key, row) in rows {
            builder.push(StoredRow { key, content: content(row) });
            while let Some(chunk) = builder.take_chunk() {
                add(chunk);
            }
        }
        let (chunks, info) = builder.finish();
        chunks.into_iter().for_each(add);
        assert_eq!(info.len, bytes.len() as u64);
        MemoryTable { bytes, info: Rc::new(info) }
    }

    /// What the table says of itself, as whoever has no manifest reads it.
    pub fn open(bytes: Vec<u8>) -> Result<MemoryTable, FormatError> {
        let footer: &[u8; FOOTER_BYTES] = bytes.last_chunk().ok_or(FormatError::Truncated)?;
        let footer = Footer::decode(footer)?;
        let Unit::Properties(properties) = read(&bytes, footer.table, footer.properties)? else {
            panic!("no properties")
        };
        let info = TableInfo::of(&footer, (*properties).clone());
        Ok(MemoryTable { bytes, info: Rc::new(info) })
    }

    pub fn unit(&self, unit: UnitRef) -> Result<Unit, FormatError> {
        read(&self.bytes, self.info.id, unit)
    }

    /// Lets a cursor arrive. Returns how many units it asked for.
    pub fn settle(&self, cursor: &mut TableCursor) -> Result<usize, FormatError> {
        let mut count = 0;
        while let Some(unit) = cursor.poll() {
            cursor.supply(self.unit(unit)?);
            count += 1;
        }
        Ok(count)
    }

    pub fn lookup(&self, key: &[u8]) -> Result<TableAnswer, FormatError> {
        let mut lookup = TableLookup::new(Rc::clone(&self.info), key);
        loop {
            match lookup.poll() {
                Ok(answer) => return Ok(answer),
                Err(unit) => lookup.supply(self.unit(unit)?),
            }
        }
    }

    /// All rows, from front to back.
    pub fn rows(&self) -> Result<Model, FormatError> {
        let mut cursor = TableCursor::new(Rc::clone(&self.info));
        let mut rows = Model::new();
        cursor.first();
        self.settle(&mut cursor)?;
        while let Some(row) = cursor.row() {
            assert!(rows.last_key_value().is_none_or(|(last, _)| last.as_slice() < row.key), "rows ascend");
            rows.insert(row.key.to_vec(), model_row(row.content));
            cursor.next();
            self.settle(&mut cursor)?;
        }
        Ok(rows)
    }
}

fn read(bytes: &[u8], table: TableId, unit: UnitRef) -> Result<Unit, FormatError> {
    let begin = usize::try_from(unit.offset).map_err(|_| FormatError::Truncated)?;
    let bytes = bytes.get(begin..).and_then(|bytes| bytes.get(..unit.len as usize)).ok_or(FormatError::Truncated)?;
    Unit::decode(bytes, table, unit)
}
