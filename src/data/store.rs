//! Where the bytes lie: a small hash table for every slot, and one allocation for every key with its value.
//!
//! Tables by slot make counting and listing a slot's keys cheap, and no growth ever moves more than one slot's
//! entries. Within the group's address space of 16,384 slots the tables lie in pages of 128, which appear with
//! their first key, so that a group pays only for slots it owns.

use core::hash::{BuildHasher, Hasher};
use core::mem::size_of;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use resp::number::write_i64;
use types::limits::KEY_BYTES_MAX;
use types::{SLOTS_COUNT, Slot};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::walk::Walk;

/// Tables of one page. A group of 2,048 neighbouring slots has 16 pages of 4 KiB.
pub(crate) const PAGE_TABLES_COUNT: usize = 128;
const PAGES_COUNT: usize = SLOTS_COUNT / PAGE_TABLES_COUNT;
const _: () = assert!(SLOTS_COUNT.is_multiple_of(PAGE_TABLES_COUNT));

/// What one key costs beside its own bytes: the entry and its control byte in a table that is two thirds
/// full, and the allocator's header.
const ENTRY_OVERHEAD_BYTES: usize = (size_of::<Entry>() + 1) * 3 / 2 + 16;

/// A table with fewer entries than this is not worth shrinking.
const SHRINK_CAPACITY_MIN: usize = 64;

/// Capacity that a value may leave unused after it has been overwritten, beyond twice its length.
const SLACK_BYTES_MAX: usize = 64;

/// Set in [`Entry::key_len_and_mark`] for entries with the one mark, not set for those with the other.
const MARK_BIT: u32 = 1 << 31;
const _: () = assert!(KEY_BYTES_MAX < MARK_BIT as usize);

pub(crate) type Table = HashTable<Entry>;
type Page = [Table; PAGE_TABLES_COUNT];
pub(crate) type Pages = Box<[Option<Box<Page>>; PAGES_COUNT]>;

/// Tables without any key.
pub(crate) fn no_pages() -> Pages {
    Box::new([const { None }; PAGES_COUNT])
}

/// A value, borrowed from the keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string of bytes.
    String(&'a [u8]),
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
    fn new(hash: u32, mark: bool, key: &[u8], value_parts: [&[u8]; 2]) -> Entry {
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
    fn key(&self) -> &[u8] {
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
    fn replace_value(&mut self, value: &[u8]) -> Entry {
        let new = Entry::new(self.hash, self.mark(), self.key(), [value, b""]);
        core::mem::replace(self, new)
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
    fn digest(&self) -> u128 {
        xxh3_128_with_seed(&self.record, self.key_len() as u64)
    }
}

/// The tables of all slots.
pub(crate) struct Store {
    hasher: FixedState,
    pages: Pages,
    /// The mark of new entries. Invariant: without a walk all entries have it.
    mark: bool,
    walk: Option<Box<Walk>>,
    /// Invariant: the number of entries in all tables.
    keys_count: usize,
    /// Invariant: the sum of the capacities of all records.
    records_bytes: usize,
}

impl Store {
    pub(crate) fn new(hash_seed: u64) -> Store {
        Store {
            hasher: FixedState::with_seed(hash_seed),
            pages: no_pages(),
            mark: false,
            walk: None,
            keys_count: 0,
            records_bytes: 0,
        }
    }

    pub(crate) fn keys_count(&self) -> usize {
        self.keys_count
    }

    pub(crate) fn keys_count_in_slot(&self, slot: Slot) -> usize {
        self.table(slot).map_or(0, HashTable::len)
    }

    pub(crate) fn bytes(&self) -> usize {
        let pages_count = self.pages.iter().flatten().count();
        pages_count * size_of::<Page>() + self.records_bytes + self.keys_count * ENTRY_OVERHEAD_BYTES
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot, key: &[u8]) -> Option<&[u8]> {
        let hash = self.hash(key);
        self.table(slot)?.find(spread(hash), is_key(hash, key)).map(Entry::value)
    }

    #[inline]
    pub(crate) fn contains(&self, slot: Slot, key: &[u8]) -> bool {
        self.get(slot, key).is_some()
    }

    /// Lets `change` work on the entry of `key`, or does nothing if there is none.
    #[inline]
    pub(crate) fn edit<R>(&mut self, slot: Slot, key: &[u8], change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let hash = self.hash(key);
        self.edit_hashed(slot, hash, key, change)
    }

    /// Gives `key` the value, whether it exists or not.
    #[inline]
    pub(crate) fn set(&mut self, slot: Slot, key: &[u8], value: &[u8]) {
        let hash = self.hash(key);
        if self.edit_hashed(slot, hash, key, |entry| entry.set_value(value)).is_none() {
            self.insert(slot, Entry::new(hash, self.mark, key, [value, b""]));
        }
    }

    /// Gives `key` the value and hands out the old one, if there was one.
    pub(crate) fn replace(&mut self, slot: Slot, key: &[u8], value: &[u8]) -> Option<Entry> {
        let hash = self.hash(key);
        let old = self.edit_hashed(slot, hash, key, |entry| entry.replace_value(value));
        if old.is_none() {
            self.insert(slot, Entry::new(hash, self.mark, key, [value, b""]));
        }
        old
    }

    /// Adds `key` with `zeros_count` zero bytes and then `tail` as its value. The key must not exist.
    pub(crate) fn insert_new(&mut self, slot: Slot, key: &[u8], zeros_count: usize, tail: &[u8]) {
        let hash = self.hash(key);
        let zeros = vec![0; zeros_count];
        self.insert(slot, Entry::new(hash, self.mark, key, [&zeros, tail]));
    }

    /// Removes `key` and hands out what it held.
    pub(crate) fn remove(&mut self, slot: Slot, key: &[u8]) -> Option<Entry> {
        let hash = self.hash(key);
        let Store { pages, walk, mark, .. } = self;
        let table = table_mut(pages, slot)?;
        let (entry, _) = table.find_entry(spread(hash), is_key(hash, key)).ok()?.remove();
        if entry.mark() != *mark
            && let Some(walk) = walk
        {
            walk.see(slot, &entry);
        }
        if table.is_empty() {
            *table = HashTable::new();
        } else if table.capacity() >= SHRINK_CAPACITY_MIN && table.len() < table.capacity() / 8 {
            table.shrink_to(table.len() * 2, |entry| spread(entry.hash));
        }
        self.keys_count -= 1;
        self.records_bytes -= entry.record.capacity();
        Some(entry)
    }

    pub(crate) fn flush(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.set_aside(&mut self.pages);
        }
        self.pages.fill_with(|| None);
        self.keys_count = 0;
        self.records_bytes = 0;
    }

    pub(crate) fn entries_in_slot(&self, slot: Slot) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let entries = self.table(slot).map(HashTable::iter).unwrap_or_default();
        entries.map(|entry| (entry.key(), entry.value()))
    }

    pub(crate) fn slot_digest(&self, slot: Slot) -> u128 {
        self.table(slot).map_or(0, table_digest)
    }

    pub(crate) fn digest(&self) -> u128 {
        let tables = self.pages.iter().flatten().flat_map(|page| page.iter());
        tables.fold(0, |sum, table| sum.wrapping_add(table_digest(table)))
    }

    #[inline]
    fn edit_hashed<R>(
        &mut self,
        slot: Slot,
        hash: u32,
        key: &[u8],
        change: impl FnOnce(&mut Entry) -> R,
    ) -> Option<R> {
        let Store { pages, walk, mark, .. } = self;
        let entry = table_mut(pages, slot)?.find_mut(spread(hash), is_key(hash, key))?;
        if entry.mark() != *mark {
            entry.set_mark(*mark);
            if let Some(walk) = walk {
                walk.see(slot, entry);
            }
        }
        let capacity_before = entry.record.capacity();
        let result = change(entry);
        let capacity_after = entry.record.capacity();
        self.records_bytes = self.records_bytes + capacity_after - capacity_before;
        Some(result)
    }

    /// Adds a key as it stands in a checkpoint; `false` if it is there already.
    pub(crate) fn restore(&mut self, slot: Slot, key: &[u8], value: &[u8]) -> bool {
        let is_new = !self.contains(slot, key);
        if is_new {
            self.insert(slot, Entry::new(self.hash(key), self.mark, key, [value, b""]));
        }
        is_new
    }

    /// Begins a walk over what there is now; `false` if another one has not ended.
    pub(crate) fn begin_walk(&mut self) -> bool {
        if self.walk.is_some() {
            return false;
        }
        self.mark = !self.mark;
        self.walk = Some(Box::new(Walk::new(self.keys_count)));
        true
    }

    /// Goes on with the walk. Returns whether it has seen everything; then it ends with [`Store::end_walk`].
    pub(crate) fn go_on_walking(&mut self, budget_bytes: usize) -> bool {
        let Store { pages, walk, mark, .. } = self;
        walk.as_mut().is_none_or(|walk| walk.go_on(pages, *mark, budget_bytes))
    }

    pub(crate) fn walk(&mut self) -> Option<&mut Walk> {
        self.walk.as_deref_mut()
    }

    /// Bytes that the walk has copied and nobody has taken yet.
    pub(crate) fn walk_bytes(&self) -> usize {
        self.walk.as_ref().map_or(0, |walk| walk.bytes())
    }

    /// Ends a walk that has seen everything.
    pub(crate) fn end_walk(&mut self) {
        self.walk = None;
    }

    fn insert(&mut self, slot: Slot, entry: Entry) {
        self.keys_count += 1;
        self.records_bytes += entry.record.capacity();
        let page = self.pages[slot.idx() / PAGE_TABLES_COUNT]
            .get_or_insert_with(|| Box::new([const { HashTable::new() }; PAGE_TABLES_COUNT]));
        let table = &mut page[slot.idx() % PAGE_TABLES_COUNT];
        table.insert_unique(spread(entry.hash), entry, |entry| spread(entry.hash));
    }

    #[inline]
    fn table(&self, slot: Slot) -> Option<&Table> {
        let page = self.pages[slot.idx() / PAGE_TABLES_COUNT].as_deref()?;
        Some(&page[slot.idx() % PAGE_TABLES_COUNT])
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
        (hash ^ (hash >> 32)) as u32
    }
}

#[inline]
fn table_mut(pages: &mut Pages, slot: Slot) -> Option<&mut Table> {
    let page = pages[slot.idx() / PAGE_TABLES_COUNT].as_deref_mut()?;
    Some(&mut page[slot.idx() % PAGE_TABLES_COUNT])
}

#[inline]
fn mark_bit(mark: bool) -> u32 {
    if mark { MARK_BIT } else { 0 }
}

/// The table takes its buckets from the low bits and its tags from the high ones: 32 bits serve both.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[inline]
fn is_key(hash: u32, key: &[u8]) -> impl Fn(&Entry) -> bool {
    move |entry| entry.hash == hash && entry.key() == key
}

/// A sum, so that it does not depend on the order of the entries.
fn table_digest(table: &Table) -> u128 {
    table.iter().fold(0, |sum, entry| sum.wrapping_add(entry.digest()))
}
