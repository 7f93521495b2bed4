//! One key with its value, and the tables that hold such entries.

use core::mem;

use hashbrown::HashTable;
use resp::number::write_i64;
use types::SLOTS_COUNT;
use types::limits::KEY_BYTES_MAX;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Tables of one page. A group of 2,048 neighbouring slots has 16 pages of 4 KiB.
pub(crate) const PAGE_TABLES_COUNT: usize = 128;
const PAGES_COUNT: usize = SLOTS_COUNT / PAGE_TABLES_COUNT;
const _: () = assert!(SLOTS_COUNT.is_multiple_of(PAGE_TABLES_COUNT));

/// Capacity that a value may leave unused after it has been overwritten, beyond twice its length.
const SLACK_BYTES_MAX: usize = 64;

/// Set in [`Entry::key_len_and_mark`] for entries with the one mark, not set for those with the other.
const MARK_BIT: u32 = 1 << 31;
const _: () = assert!(KEY_BYTES_MAX < MARK_BIT as usize);

pub(crate) type Table = HashTable<Entry>;
pub(crate) type Page = [Table; PAGE_TABLES_COUNT];
pub(crate) type Pages = Box<[Option<Box<Page>>; PAGES_COUNT]>;

/// Tables without any key.
pub(crate) fn no_pages() -> Pages {
    Box::new([const { None }; PAGES_COUNT])
}

/// A key and its value in one allocation: a lookup that finds the key has the value in its cache line.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Hash of the key. It spares reading the keys of other entries, and of all of them when the table grows.
    hash: u32,
    /// Length of the key, at most that of `record`; and in the highest bit the mark of the last walk that saw the
    /// entry.
    key_len_and_mark: u32,
    /// The key's bytes, then the value's.
    record: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(hash: u32, mark: bool, key: &[u8], value_parts: [&[u8]; 2]) -> Entry {
        assert!(key.len() <= KEY_BYTES_MAX, "longer keys were refused before");
        let key_len_and_mark = key.len() as u32 | mark_bit(mark);
        let [head, tail] = value_parts;
        let mut record = Vec::with_capacity(key.len() + head.len() + tail.len());
        record.extend_from_slice(key);
        record.extend_from_slice(head);
        record.extend_from_slice(tail);
        Entry { hash, key_len_and_mark, record }
    }

    #[inline]
    pub(crate) fn hash(&self) -> u32 {
        self.hash
    }

    /// Bytes that key and value may take before their allocation grows.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.record.capacity()
    }

    #[inline]
    pub(crate) fn key_len(&self) -> usize {
        (self.key_len_and_mark & !MARK_BIT) as usize
    }

    #[inline]
    pub(crate) fn mark(&self) -> bool {
        self.key_len_and_mark & MARK_BIT != 0
    }

    pub(crate) fn set_mark(&mut self, mark: bool) {
        self.key_len_and_mark = self.key_len_and_mark & !MARK_BIT | mark_bit(mark);
    }

    /// The key's bytes, then the value's.
    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.record[..self.key_len()]
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        &self.record[self.key_len()..]
    }

    /// Replaces the value, in place where that neither grows the allocation nor leaves most of it unused.
    #[inline]
    pub(crate) fn set_value(&mut self, value: &[u8]) {
        let key_len = self.key_len();
        let len = key_len + value.len();
        let capacity = self.record.capacity();
        if len <= capacity && capacity <= 2 * len + SLACK_BYTES_MAX {
            self.record.truncate(key_len);
            self.record.extend_from_slice(value);
        } else {
            *self = Entry::new(self.hash, self.mark(), self.key(), [value, b""]);
        }
    }

    /// Replaces the value, which was a number too and so is about as long, by `number`.
    #[inline]
    pub(crate) fn set_integer(&mut self, number: i64) {
        self.record.truncate(self.key_len());
        write_i64(&mut self.record, number);
    }

    /// Replaces the value and hands out the old one.
    pub(crate) fn replace_value(&mut self, value: &[u8]) -> Entry {
        let new = Entry::new(self.hash, self.mark(), self.key(), [value, b""]);
        mem::replace(self, new)
    }

    /// Appends to the value.
    pub(crate) fn append(&mut self, tail: &[u8]) {
        self.record.extend_from_slice(tail);
    }

    /// Overwrites the value from `offset` on, zero-filling a gap.
    pub(crate) fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let start = self.key_len() + offset;
        let end = start + bytes.len();
        if self.record.len() < end {
            self.record.resize(end, 0);
        }
        self.record[start..end].copy_from_slice(bytes);
    }

    /// A digest of the key and the value, the same on every machine. The seed says where the key ends.
    pub(crate) fn digest(&self) -> u128 {
        xxh3_128_with_seed(&self.record, self.key_len() as u64)
    }
}

#[inline]
fn mark_bit(mark: bool) -> u32 {
    if mark { MARK_BIT } else { 0 }
}
