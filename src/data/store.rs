//! Where the bytes lie: a small hash table for every slot, and one allocation for every key with its value.
//!
//! Tables by slot make counting and listing a slot's keys cheap, and no growth ever moves more than one slot's
//! entries. Within the group's address space of 16,384 slots the tables lie in pages of 128, which appear with
//! their first key, so that a group pays only for slots it owns.

use core::cell::Cell;
use core::hash::{BuildHasher, Hasher};
use core::mem::size_of;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use types::Slot;

use crate::entry::{Entry, PAGE_TABLES_COUNT, Page, Pages, Table, no_pages};
use crate::walk::Walk;

/// What one key costs beside its own bytes: the entry and its control byte in a table that is two thirds
/// full, and the allocator's header.
const ENTRY_OVERHEAD_BYTES: usize = (size_of::<Entry>() + 1) * 3 / 2 + 16;

/// A table with fewer entries than this is not worth shrinking.
const SHRINK_CAPACITY_MIN: usize = 64;

/// How many keys reads have looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Keys that were there.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
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
    /// What reads have looked for since somebody took the count.
    lookups: Cell<Lookups>,
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
            lookups: Cell::default(),
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

    /// The value of a key that a read looks for; it counts as found or not.
    #[inline]
    pub(crate) fn look_up(&self, slot: Slot, key: &[u8]) -> Option<&[u8]> {
        let value = self.get(slot, key);
        let mut lookups = self.lookups.get();
        lookups.hits += u64::from(value.is_some());
        lookups.misses += u64::from(value.is_none());
        self.lookups.set(lookups);
        value
    }

    /// What reads have looked for since this was last called.
    #[inline]
    pub(crate) fn take_lookups(&self) -> Lookups {
        self.lookups.take()
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
            table.shrink_to(table.len() * 2, |entry| spread(entry.hash()));
        }
        self.keys_count -= 1;
        self.records_bytes -= entry.capacity();
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
        let capacity_before = entry.capacity();
        let result = change(entry);
        let capacity_after = entry.capacity();
        self.records_bytes = self.records_bytes + capacity_after - capacity_before;
        Some(result)
    }

    /// Adds a key as it stands in a snapshot; `false` if it is there already.
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
        self.records_bytes += entry.capacity();
        let page = self.pages[slot.idx() / PAGE_TABLES_COUNT]
            .get_or_insert_with(|| Box::new([const { HashTable::new() }; PAGE_TABLES_COUNT]));
        let table = &mut page[slot.idx() % PAGE_TABLES_COUNT];
        table.insert_unique(spread(entry.hash()), entry, |entry| spread(entry.hash()));
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

/// The table takes its buckets from the low bits and its tags from the high ones: 32 bits serve both.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[inline]
fn is_key(hash: u32, key: &[u8]) -> impl Fn(&Entry) -> bool {
    move |entry| entry.hash() == hash && entry.key() == key
}

/// A sum, so that it does not depend on the order of the entries.
fn table_digest(table: &Table) -> u128 {
    table.iter().fold(0, |sum, entry| sum.wrapping_add(entry.digest()))
}
