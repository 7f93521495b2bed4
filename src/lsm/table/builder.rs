//! Writing a table: rows in, aligned chunks to write out. Does no I/O.

use host::ALIGNMENT;

use crate::ids::TableId;
use crate::pending::{Chunk, Pending};

use super::block::BlockBuilder;
use super::filter;
use super::footer::{FOOTER_BYTES, Footer};
use super::index::{Index, bound_between};
use super::info::TableInfo;
use super::leaf::Leaf;
use super::properties::{BLOB_USES_COUNT_MAX, Properties};
use super::stored_row::{BlobRef, Content, ROW_KEY_BYTES_MAX, StoredRow, Value};
use super::top::Top;
use super::unit::{UnitKind, UnitRef, encode_unit};

/// Largest size that may be set for data blocks.
const BLOCK_BYTES_MAX: usize = 64 << 10;
/// Rows behind which a leaf ends with its data block: to build their filter takes some tens of microseconds.
const LEAF_ROWS_COUNT_MAX: usize = 16_384;
/// Most rows of a leaf: on top of those behind which it ends, a block of the shortest ones.
pub(super) const LEAF_ROWS_COUNT_LIMIT: usize = LEAF_ROWS_COUNT_MAX + BLOCK_BYTES_MAX / 4;
/// Most bits of filter for each row.
const FILTER_BITS_PER_ROW_MAX: usize = 16;
/// Bytes of an index behind which its leaf ends.
const LEAF_INDEX_BYTES_MAX: usize = 64 << 10;
/// Bytes of the index of leaves, and of range tombstones, behind which a table is full.
const TOP_PART_BYTES_MAX: usize = 1 << 20;

/// How tables are made.
#[derive(Clone, Copy, Debug)]
pub struct TableSettings {
    /// Bytes of rows in a data block, before compression. A row that is longer has a block of its own.
    pub block_bytes: usize,
    /// Most data blocks of a leaf.
    pub leaf_blocks_count_max: usize,
    /// Bits of filter for each row; 0 for none, and no more than 16.
    pub filter_bits_per_row: usize,
    /// Bytes of a chunk, a multiple of [`ALIGNMENT`].
    pub chunk_bytes: usize,
}

impl Default for TableSettings {
    fn default() -> TableSettings {
        TableSettings {
            block_bytes: 8 << 10,
            leaf_blocks_count_max: 128,
            filter_bits_per_row: 10,
            chunk_bytes: 256 << 10,
        }
    }
}

/// A table being written.
///
/// Whoever pushes takes the chunks that are full in between, so that no more than one and a leaf lie in memory.
pub struct TableBuilder {
    id: TableId,
    settings: TableSettings,
    pending: Pending,
    block: BlockBuilder,
    /// Invariant: the bound of `block`, if that has rows.
    block_bound: Vec<u8>,
    body: Vec<u8>,
    leaf_index: Index,
    leaf_hashes: Vec<u64>,
    /// Invariant: the bound of the leaf, if that has rows.
    leaf_bound: Vec<u8>,
    top: Top,
    properties: Properties,
    /// Invariant: the key of the last row, if there is one.
    last_key: Vec<u8>,
}

impl TableBuilder {
    /// A table that begins at `id.offset` of its file.
    ///
    /// # Panics
    /// If the settings contradict each other.
    pub fn new(id: TableId, settings: TableSettings) -> TableBuilder {
        assert!((1..=BLOCK_BYTES_MAX).contains(&settings.block_bytes), "blocks of {} bytes", settings.block_bytes);
        assert!(settings.filter_bits_per_row <= FILTER_BITS_PER_ROW_MAX, "more bits than leaves have room for");
        assert!(settings.leaf_blocks_count_max > 0, "a leaf of no blocks");
        assert!(settings.chunk_bytes > 0 && settings.chunk_bytes.is_multiple_of(ALIGNMENT), "chunks are aligned");
        assert!(id.offset.is_multiple_of(ALIGNMENT as u64), "tables begin at a boundary");
        TableBuilder {
            id,
            settings,
            pending: Pending::default(),
            block: BlockBuilder::default(),
            block_bound: Vec::new(),
            body: Vec::new(),
            leaf_index: Index::default(),
            leaf_hashes: Vec::new(),
            leaf_bound: Vec::new(),
            top: Top::default(),
            properties: Properties::default(),
            last_key: Vec::new(),
        }
    }

    /// Appends a row. Takes no more time than to finish a block and a leaf.
    ///
    /// # Panics
    /// If its key is not greater than the last one.
    pub fn push(&mut self, row: StoredRow<'_>) {
        let is_first = self.properties.rows == 0;
        assert!(is_first || row.key > self.last_key.as_slice(), "rows come by ascending keys");
        if self.block.count() > 0 && self.block.body_bytes() + row_bytes(&row) > self.settings.block_bytes {
            self.finish_block();
            if self.is_leaf_full() {
                self.finish_leaf();
            }
        }
        if self.block.count() == 0 {
            let bound = if is_first { &[] } else { bound_between(&self.last_key, row.key) };
            bound.clone_into(&mut self.block_bound);
            if self.leaf_hashes.is_empty() {
                bound.clone_into(&mut self.leaf_bound);
            }
        }
        self.block.push(row);
        self.leaf_hashes.push(filter::hash(row.key));
        self.properties.add(&row);
        row.key.clone_into(&mut self.last_key);
    }

    /// Says that a merge writes the table, and by which time it drops what has expired.
    pub fn set_merged_ms(&mut self, time_ms: u64) {
        self.properties.merged_ms = time_ms;
    }

    /// Deletes the keys from `from` up to but not `to` in older tables. Ranges come by ascending beginnings.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.top.ranges.push(from, to);
    }

    /// Whether there are neither rows nor range tombstones.
    pub fn is_empty(&self) -> bool {
        self.properties.rows == 0 && self.top.ranges.is_empty()
    }

    /// Bytes of what is finished of it. What is not is less than a leaf.
    pub fn len(&self) -> u64 {
        self.pending.end()
    }

    /// Whether one of the parts that are read as a whole has grown so long that another table is to be begun.
    pub fn is_full(&self) -> bool {
        self.top.index.bytes() >= TOP_PART_BYTES_MAX
            || self.top.ranges.bytes() >= TOP_PART_BYTES_MAX
            || self.properties.blobs.len() >= BLOB_USES_COUNT_MAX
    }

    /// The next chunk that is full.
    pub fn take_chunk(&mut self) -> Option<Chunk> {
        let len = self.settings.chunk_bytes;
        (self.pending.bytes.len() >= len).then(|| self.pending.take(len))
    }

    /// Ends the table: what is left to be written, none longer than a chunk, and what the manifest is to hold of it.
    ///
    /// # Panics
    /// If it is empty.
    pub fn finish(mut self) -> (Vec<Chunk>, TableInfo) {
        assert!(!self.is_empty(), "an empty table");
        if self.block.count() > 0 {
            self.finish_block();
        }
        if self.leaf_index.count() > 0 {
            self.finish_leaf();
        }
        self.properties.complete(std::mem::take(&mut self.last_key), &self.top.ranges);
        let top = self.put_unit(UnitKind::Top, |builder, body| builder.top.encode(body));
        self.properties.stored_bytes = self.pending.end();
        let properties = self.put_unit(UnitKind::Properties, |builder, body| builder.properties.encode(body));
        let len = (self.pending.end() + FOOTER_BYTES as u64).next_multiple_of(ALIGNMENT as u64);
        let footer = Footer { table: self.id, len, top, properties };
        let begin = usize::try_from(len - self.pending.offset).expect("it lies in memory") - FOOTER_BYTES;
        self.pending.bytes.resize(begin, 0);
        self.pending.bytes.extend_from_slice(&footer.encode());
        let chunks = self.pending.finish(self.settings.chunk_bytes);
        (chunks, TableInfo::of(&footer, self.properties))
    }

    fn is_leaf_full(&self) -> bool {
        self.leaf_index.count() >= self.settings.leaf_blocks_count_max
            || self.leaf_hashes.len() >= LEAF_ROWS_COUNT_MAX
            || self.leaf_index.bytes() >= LEAF_INDEX_BYTES_MAX
    }

    fn finish_block(&mut self) {
        self.block.finish(&mut self.body);
        let offset = self.pending.end();
        let unit = encode_unit(&mut self.pending.bytes, self.id, UnitKind::Data, offset, &self.body);
        self.leaf_index.push(&self.block_bound, unit);
    }

    fn finish_leaf(&mut self) {
        let filter = filter::build(&self.leaf_hashes, self.settings.filter_bits_per_row);
        let leaf = Leaf::new(filter, std::mem::take(&mut self.leaf_index));
        let unit = self.put_unit(UnitKind::Leaf, |_, body| leaf.encode(body));
        self.top.index.push(&self.leaf_bound, unit);
        self.leaf_hashes.clear();
    }

    fn put_unit(&mut self, kind: UnitKind, encode: impl FnOnce(&TableBuilder, &mut Vec<u8>)) -> UnitRef {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        encode(self, &mut body);
        let offset = self.pending.end();
        let unit = encode_unit(&mut self.pending.bytes, self.id, kind, offset, &body);
        self.body = body;
        unit
    }
}

/// About how long a row is in a block.
fn row_bytes(row: &StoredRow<'_>) -> usize {
    const OVERHEAD_BYTES: usize = 16;
    let value = match row.content {
        Content::Put(put) => match put.value {
            Value::Inline(value) => value.len(),
            Value::Blob(_) => size_of::<BlobRef>(),
        },
        Content::Tombstone => 0,
    };
    OVERHEAD_BYTES + row.key.len() + value
}

const _: () = {
    assert!(BLOCK_BYTES_MAX <= UnitKind::Data.body_bytes_max() / 3);
    let index_bytes_max = 2 * LEAF_INDEX_BYTES_MAX + ROW_KEY_BYTES_MAX;
    assert!(LEAF_ROWS_COUNT_LIMIT * FILTER_BITS_PER_ROW_MAX / 8 + index_bytes_max <= UnitKind::Leaf.body_bytes_max());
};
