//! The body of a data unit: some tens of rows, by ascending keys.

use std::rc::Rc;

use crate::codec::{Input, common_prefix, len_u32, put_varint};
use crate::error::FormatError;
use crate::ids::FileId;

use super::stored_row::{BlobRef, Content, INLINE_VALUE_BYTES_MAX, Put, ROW_KEY_BYTES_MAX, StoredRow, Value};

/// So many entries share bytes with the one before, then one shares nothing.
const RESTART_INTERVAL: usize = 16;

const KIND_INLINE: u8 = 0;
const KIND_TOMBSTONE: u8 = 1;
const KIND_BLOB: u8 = 2;
const HAS_EXPIRY: u8 = 4;
/// Bytes of where a value in a blob file lies.
const BLOB_REF_BYTES: usize = 28;

/// Rows on their way into a block.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    entries: Vec<u8>,
    restarts: Vec<u32>,
    count: usize,
    /// Invariant: the key of the last row pushed, if there is one.
    last_key: Vec<u8>,
}

impl BlockBuilder {
    /// Appends a row.
    ///
    /// # Panics
    /// If its key is not greater than the last one, or key or value are longer than a table takes.
    pub fn push(&mut self, row: StoredRow<'_>) {
        assert!(row.key.len() <= ROW_KEY_BYTES_MAX, "a row key of {} bytes", row.key.len());
        assert!(self.count == 0 || row.key > self.last_key.as_slice(), "rows come by ascending keys");
        let shared = if self.count.is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(len_u32(self.entries.len()));
            0
        } else {
            common_prefix(&self.last_key, row.key)
        };
        put_entry(&mut self.entries, shared, row);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&row.key[shared..]);
        self.count += 1;
    }

    /// How many bytes the body has as it is.
    pub fn body_bytes(&self) -> usize {
        self.entries.len() + (self.restarts.len() + 1) * size_of::<u32>()
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The body, to be read before the next row is pushed. Begins anew.
    pub fn finish(&mut self, body: &mut Vec<u8>) {
        body.clear();
        body.extend_from_slice(&self.entries);
        body.extend(self.restarts.iter().flat_map(|offset| offset.to_le_bytes()));
        body.extend_from_slice(&len_u32(self.restarts.len()).to_le_bytes());
        self.entries.clear();
        self.restarts.clear();
        self.count = 0;
    }
}

fn put_entry(out: &mut Vec<u8>, shared: usize, row: StoredRow<'_>) {
    let tail = &row.key[shared..];
    let put = match row.content {
        Content::Tombstone => {
            out.push(KIND_TOMBSTONE);
            put_varint(out, len_u32(shared));
            put_varint(out, len_u32(tail.len()));
            return out.extend_from_slice(tail);
        }
        Content::Put(put) => put,
    };
    let kind = if matches!(put.value, Value::Blob(_)) { KIND_BLOB } else { KIND_INLINE };
    out.push(kind | if put.expiry_ms.is_some() { HAS_EXPIRY } else { 0 });
    put_varint(out, len_u32(shared));
    put_varint(out, len_u32(tail.len()));
    if let Value::Inline(value) = put.value {
        assert!(value.len() <= INLINE_VALUE_BYTES_MAX, "a value of {} bytes", value.len());
        put_varint(out, len_u32(value.len()));
    }
    out.extend_from_slice(tail);
    out.push(put.value_type);
    out.extend(put.expiry_ms.into_iter().flat_map(u64::to_le_bytes));
    match put.value {
        Value::Inline(value) => out.extend_from_slice(value),
        Value::Blob(blob) => {
            let numbers = [blob.file.store, blob.file.number, blob.offset];
            out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
            out.extend_from_slice(&blob.len.to_le_bytes());
        }
    }
}

/// An entry, but for the bytes that its key shares with the one before.
struct Entry<'a> {
    shared: usize,
    tail: &'a [u8],
    head: Head,
    /// The value, or where it lies; empty of a tombstone.
    value: &'a [u8],
}

/// What an entry says besides key and value, as plain numbers: entries are decoded much more often than what they say is asked for.
#[derive(Clone, Copy)]
struct Head {
    /// Invariant: those of a kind that is known.
    flags: u8,
    value_type: u8,
    /// 0 if there is none: the flags tell.
    expiry_ms: u64,
}

impl<'a> Entry<'a> {
    // Always, since what is returned by way of memory waits there: it is written in pieces and read in others.
    #[inline(always)]
    fn decode(input: &mut Input<'a>) -> Result<Entry<'a>, FormatError> {
        let flags = input.u8()?;
        let (shared, tail_len) = (input.varint()? as usize, input.varint()? as usize);
        if shared > ROW_KEY_BYTES_MAX || tail_len > ROW_KEY_BYTES_MAX - shared {
            return Err(FormatError::Malformed("a row key is too long"));
        }
        let value_len = match flags & !HAS_EXPIRY {
            KIND_INLINE => input.varint()? as usize,
            KIND_BLOB => BLOB_REF_BYTES,
            _ => 0,
        };
        if value_len > INLINE_VALUE_BYTES_MAX {
            return Err(FormatError::Malformed("a value in a table is too long"));
        }
        let tail = input.bytes(tail_len)?;
        if flags == KIND_TOMBSTONE {
            return Ok(Entry { shared, tail, head: Head { flags, value_type: 0, expiry_ms: 0 }, value: &[] });
        }
        let value_type = input.u8()?;
        let expiry_ms = if flags & HAS_EXPIRY != 0 { input.u64()? } else { 0 };
        if !matches!(flags & !HAS_EXPIRY, KIND_INLINE | KIND_BLOB) {
            return Err(FormatError::Malformed("the flags of a row are not known"));
        }
        Ok(Entry { shared, tail, head: Head { flags, value_type, expiry_ms }, value: input.bytes(value_len)? })
    }
}

impl Head {
    /// What the entry says, whose value, or where it lies, these bytes are.
    #[inline]
    fn content(self, value: &[u8]) -> Content<'_> {
        if self.flags == KIND_TOMBSTONE {
            return Content::Tombstone;
        }
        let expiry_ms = (self.flags & HAS_EXPIRY != 0).then_some(self.expiry_ms);
        let value = if self.flags & !HAS_EXPIRY == KIND_BLOB { blob_ref(value) } else { Value::Inline(value) };
        Content::Put(Put { value_type: self.value_type, expiry_ms, value })
    }
}

fn blob_ref(bytes: &[u8]) -> Value<'_> {
    let mut input = Input::new(bytes);
    let mut number = || input.u64().expect("an entry has all bytes of it");
    let (file, offset) = (FileId { store: number(), number: number() }, number());
    Value::Blob(BlobRef { file, offset, len: input.u32().expect("an entry has all bytes of it") })
}

/// The decoded body of a data unit.
pub struct Block {
    /// Invariant: entries up to `entries_end` and restarts behind are as documented, which was checked when they were
    /// read.
    body: Vec<u8>,
    entries_end: usize,
    restarts: Vec<u32>,
}

impl Block {
    /// Takes a body and checks all of it, so that whoever walks it later meets no error.
    pub fn decode(body: Vec<u8>) -> Result<Block, FormatError> {
        let (front, count) = body.split_last_chunk().ok_or(FormatError::Truncated)?;
        let count = u32::from_le_bytes(*count) as usize;
        let restarts_len = count.checked_mul(size_of::<u32>()).ok_or(FormatError::Truncated)?;
        let entries_end = front.len().checked_sub(restarts_len).ok_or(FormatError::Truncated)?;
        let (entries, restarts) = front.split_at(entries_end);
        let restarts: Vec<u32> = restarts.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        check_entries(entries, &restarts)?;
        Ok(Block { entries_end, restarts, body })
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.body.capacity() + self.restarts.capacity() * size_of::<u32>() + size_of::<Block>()
    }

    fn entry(&self, offset: usize) -> (Entry<'_>, usize) {
        let mut input = Input::new(&self.body[offset..self.entries_end]);
        let entry = Entry::decode(&mut input).expect("it was checked when the block was read");
        (entry, self.entries_end - input.len())
    }
}

/// Checks that entries can be walked, ascend, and that restarts are entries that share nothing, the first of all among
/// them.
fn check_entries(entries: &[u8], restarts: &[u32]) -> Result<(), FormatError> {
    let mut expected = restarts.iter().peekable();
    let mut last: Option<Vec<u8>> = None;
    let mut input = Input::new(entries);
    while input.len() > 0 {
        let offset = entries.len() - input.len();
        let is_restart = expected.next_if(|restart| **restart as usize == offset).is_some();
        let entry = Entry::decode(&mut input)?;
        if is_restart && entry.shared != 0 || !is_restart && offset == 0 {
            return Err(FormatError::Malformed("a restart of a block is none"));
        }
        match &mut last {
            None => last = Some(entry.tail.to_vec()),
            Some(key) => {
                let rest =
                    key.get(entry.shared..).ok_or(FormatError::Malformed("a key shares more than there is"))?;
                if entry.tail <= rest {
                    return Err(FormatError::Malformed("the rows of a block do not ascend"));
                }
                key.truncate(entry.shared);
                key.extend_from_slice(entry.tail);
                if key.len() > ROW_KEY_BYTES_MAX {
                    return Err(FormatError::Malformed("a row key is too long"));
                }
            }
        }
    }
    if expected.next().is_some() {
        return Err(FormatError::Malformed("a restart of a block is no entry"));
    }
    Ok(())
}

/// A place in a block: on a row, or beside the rows. A row is decoded once, when the cursor comes to it.
pub struct BlockCursor {
    block: Rc<Block>,
    /// The entry of the row; `None` beside the rows.
    at: Option<At>,
    /// Invariant: the key of the row, if there is one.
    key: Vec<u8>,
}

/// An entry, and where it lies in the body.
struct At {
    begin: usize,
    /// Where it ends, and its value.
    end: usize,
    value_len: usize,
    head: Head,
}

impl BlockCursor {
    /// On no row yet.
    pub fn new(block: Rc<Block>) -> BlockCursor {
        BlockCursor { block, at: None, key: Vec::new() }
    }

    /// The row it is on.
    #[inline]
    pub fn row(&self) -> Option<StoredRow<'_>> {
        let at = self.at.as_ref()?;
        let value = &self.block.body[at.end - at.value_len..at.end];
        Some(StoredRow { key: &self.key, content: at.head.content(value) })
    }

    /// The key of the row it is on.
    pub fn key(&self) -> Option<&[u8]> {
        self.at.as_ref().map(|_| self.key.as_slice())
    }

    /// Goes to the first row.
    pub fn first(&mut self) {
        self.restart(0);
    }

    /// Goes to the last row.
    pub fn last(&mut self) {
        self.restart(self.block.restarts.len().saturating_sub(1));
        self.forward_before(self.block.entries_end);
    }

    /// Goes to the first row whose key is at least `key`; beside the rows if there is none.
    pub fn seek(&mut self, key: &[u8]) {
        let block = Rc::clone(&self.block);
        // Behind the last restart below the key it is looked for one by one.
        let below = block.restarts.partition_point(|restart| block.entry(*restart as usize).0.tail < key);
        self.restart(below.saturating_sub(1));
        while self.at.is_some() && self.key.as_slice() < key {
            self.next();
        }
    }

    /// Goes to the last row whose key is less than `key`; beside the rows if there is none.
    pub fn seek_before(&mut self, key: &[u8]) {
        self.seek(key);
        if self.at.is_some() { self.prev() } else { self.last() }
    }

    /// Goes to the next row. From beside the rows it stays there.
    pub fn next(&mut self) {
        let Some(at) = self.at.take() else { return };
        self.enter(at.end);
    }

    /// Goes to the row before. From beside the rows it stays there.
    pub fn prev(&mut self) {
        let Some(at) = self.at.take() else { return };
        let idx = self.block.restarts.partition_point(|restart| (*restart as usize) < at.begin);
        let Some(idx) = idx.checked_sub(1) else { return };
        self.restart(idx);
        self.forward_before(at.begin);
    }

    /// Goes to the last entry that begins before `end`.
    fn forward_before(&mut self, end: usize) {
        while let Some(next) = self.at.as_ref().map(|at| at.end).filter(|next| *next < end) {
            self.enter(next);
        }
    }

    fn restart(&mut self, idx: usize) {
        self.at = None;
        if let Some(offset) = self.block.restarts.get(idx) {
            self.enter(*offset as usize);
        }
    }

    /// Makes the entry at an offset the current one. `key` is that of the one before, unless it shares nothing.
    fn enter(&mut self, offset: usize) {
        if offset == self.block.entries_end {
            return;
        }
        let (entry, end) = self.block.entry(offset);
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(entry.tail);
        self.at = Some(At { begin: offset, end, value_len: entry.value.len(), head: entry.head });
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    /// What a row of a model says: a tombstone, or type, expiry and value.
    type Model = Option<(u8, Option<u64>, Result<Vec<u8>, u64>)>;

    fn content(model: &Model) -> Content<'_> {
        let Some((value_type, expiry_ms, value)) = model else { return Content::Tombstone };
        let value = match value {
            Ok(value) => Value::Inline(value),
            Err(offset) => {
                Value::Blob(BlobRef { file: FileId { store: 1, number: *offset }, offset: *offset, len: 70_000 })
            }
        };
        Content::Put(Put { value_type: *value_type, expiry_ms: *expiry_ms, value })
    }

    fn model() -> impl Strategy<Value = Model> {
        let value = prop_oneof![4 => vec(any::<u8>(), 0..40).prop_map(Ok), 1 => any::<u64>().prop_map(Err)];
        proptest::option::weighted(0.8, (any::<u8>(), any::<Option<u64>>(), value))
    }

    fn body_of<'a>(rows: impl Iterator<Item = (&'a Vec<u8>, &'a Model)>) -> Vec<u8> {
        let (mut builder, mut body) = (BlockBuilder::default(), Vec::new());
        for (key, row) in rows {
            builder.push(StoredRow { key, content: content(row) });
        }
        let bytes = builder.body_bytes();
        builder.finish(&mut body);
        assert_eq!(body.len(), bytes);
        body
    }

    fn some_body(count: u8) -> Vec<u8> {
        let rows: Vec<(Vec<u8>, Model)> = (0..count)
            .map(|i| (vec![b'k', i / 7, i], Some((i, (i % 3 == 0).then_some(5), Ok(vec![i; 3])))))
            .collect();
        body_of(rows.iter().map(|(key, row)| (key, row)))
    }

    proptest! {
        #[test]
        fn a_cursor_walks_and_finds_what_a_map_does(
            rows in btree_map(vec(0..4_u8, 0..6), model(), 0..120),
            sought in vec(vec(0..4_u8, 0..6), 1..20),
        ) {
            let block = Rc::new(Block::decode(body_of(rows.iter())).expect("a sound body"));
            let mut cursor = BlockCursor::new(block);
            let found = |cursor: &BlockCursor| cursor.row().map(|row| row.key.to_vec());
            cursor.first();
            for (key, row) in &rows {
                prop_assert_eq!(cursor.row(), Some(StoredRow { key, content: content(row) }));
                cursor.next();
            }
            prop_assert_eq!(cursor.row(), None);
            cursor.last();
            for (key, row) in rows.iter().rev() {
                prop_assert_eq!(cursor.row(), Some(StoredRow { key, content: content(row) }));
                cursor.prev();
            }
            prop_assert_eq!(cursor.row(), None);
            for key in sought {
                cursor.seek(&key);
                prop_assert_eq!(found(&cursor), rows.range(key.clone()..).next().map(|(key, _)| key.clone()));
                cursor.seek_before(&key);
                prop_assert_eq!(found(&cursor), rows.range(..key).next_back().map(|(key, _)| key.clone()));
            }
        }

        #[test]
        fn any_bytes_are_a_block_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
            walk(bytes);
        }

        #[test]
        fn changed_bytes_are_a_block_or_an_error(changes in vec((any::<usize>(), any::<u8>()), 1..4)) {
            let mut body = some_body(60);
            for (at, value) in changes {
                let at = at % body.len();
                body[at] = value;
            }
            walk(body);
        }
    }

    /// Walks both ways over what decodes; it ascends and is the same in both directions.
    fn walk(body: Vec<u8>) {
        let Ok(block) = Block::decode(body) else { return };
        let mut cursor = BlockCursor::new(Rc::new(block));
        let mut keys = Vec::new();
        cursor.first();
        while let Some(row) = cursor.row() {
            keys.push(row.key.to_vec());
            cursor.next();
        }
        assert!(keys.is_sorted_by(|one, other| one < other));
        cursor.last();
        for key in keys.iter().rev() {
            assert_eq!(cursor.row().map(|row| row.key.to_vec()).as_ref(), Some(key));
            cursor.prev();
        }
        assert!(cursor.row().is_none());
    }

    #[test]
    fn no_shorter_body_is_a_block_with_other_rows() {
        let body = some_body(40);
        for len in 0..body.len() {
            assert!(Block::decode(body[..len].to_vec()).is_err(), "{len}");
        }
    }

    #[test]
    fn an_entry_stands_as_documented() {
        let mut builder = BlockBuilder::default();
        let put = Put { value_type: 3, expiry_ms: Some(258), value: Value::Inline(b"vv") };
        builder.push(StoredRow { key: b"key1", content: Content::Put(put) });
        builder.push(StoredRow { key: b"key2", content: Content::Tombstone });
        let mut body = Vec::new();
        builder.finish(&mut body);
        let first = [&[4, 0, 4, 2][..], b"key1", &[3, 2, 1, 0, 0, 0, 0, 0, 0], b"vv"].concat();
        assert_eq!(body, [&first[..], &[1, 3, 1], b"2", &[0, 0, 0, 0, 1, 0, 0, 0]].concat());
    }

    #[test]
    #[should_panic(expected = "ascending")]
    fn rows_out_of_order_are_a_mistake_of_ours() {
        let mut builder = BlockBuilder::default();
        builder.push(StoredRow { key: b"b", content: Content::Tombstone });
        builder.push(StoredRow { key: b"b", content: Content::Tombstone });
    }
}
