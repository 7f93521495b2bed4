//! The rows of one group.

mod aside;
mod cache;
mod cursor;
mod evict;
#[cfg(test)]
mod evict_tests;
mod flags;
mod flush;
#[cfg(test)]
mod flush_tests;
mod flushing;
mod link;
mod look;
mod prefetch;
mod records;
mod row;
mod row_mut;
mod row_position;
mod segment;
mod slab;
mod slot_set;
mod sweep;
mod tables;
#[cfg(test)]
mod tests;
mod tidy;
mod tidying;
mod trie;
mod warming;
#[cfg(test)]
mod warming_tests;
#[cfg(test)]
mod world;

use std::collections::BTreeSet;

use types::Slot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::rows::cursor::{Cursor, Few};
use crate::rows::flags::{Flags, State};
use crate::rows::flush::Flush;
use crate::rows::row::{Handle, Hash48};
use crate::rows::row_position::RowPosition;
use crate::rows::slab::Slab;
use crate::rows::tables::Tables;
use crate::rows::tidy::Tidying;
use crate::rows::trie::Found;
use crate::table::stored_row::head_key;

pub use look::Known;
pub use prefetch::{PREFETCH_KEYS_COUNT, Prefetch};
pub use records::{Payloads, Records};
pub use row::{Content, Row};
pub use row_mut::RowMut;
pub use sweep::Swept;
pub use warming::Warmed;

/// The rows of one group, in memory: what of them differs from the group's tables, and what of the rest there is room for.
///
/// A row is *clean* if the tables say the same of its key, else *dirty*, until a flush that has copied it was committed. A
/// key that was removed has a *tombstone* as long as the tables may say that it is there; but for counts of bytes and for flushes there
/// is no difference between that and no row.
pub struct Rows {
    tables: Tables,
    hash_seed: u64,
    /// Whether the present round of flushes is odd. Invariant: without a flush or one to be set back all dirty rows are of it.
    is_odd: bool,
    /// Invariant: of this round.
    flush: Option<Box<Flush>>,
    /// What is to be done behind flushes.
    tidying: Tidying,
    /// Whether all keys that the tables hold have rows.
    is_resident: bool,
    /// Whether all rows of tables are being taken in. Invariant: then not all are there, and no row or tombstone has left memory
    /// since that began but by another in its place, unless the tables never had its key.
    is_warming: bool,
    /// Raised when a flush is committed, and when rows are removed or replaced all at once.
    epoch: u64,
    /// How often all rows were removed at once.
    clears_count: u64,
    /// Whether no row is to be evicted.
    is_held: bool,
    /// Where eviction goes on.
    clock: Cursor,
    /// What is not to be evicted. Few, and each for a moment.
    pins: BTreeSet<RowPosition>,
    /// The row that was taken out last, of the memory of `tables`; there until rows are next changed.
    taken: Option<Handle>,
    /// Memory of rows that were removed all at once, to be given back a little at a time.
    dropped: Vec<Slab>,
    sweep: Cursor,
}

impl Rows {
    /// No rows yet, and none in tables. The seed decides in which order they come; all replicas of a group have the same.
    pub fn new(hash_seed: u64) -> Rows {
        Rows {
            tables: Tables::default(),
            hash_seed,
            is_odd: false,
            flush: None,
            tidying: Tidying::default(),
            is_resident: true,
            is_warming: false,
            epoch: 0,
            clears_count: 0,
            is_held: false,
            clock: Cursor::default(),
            pins: BTreeSet::new(),
            taken: None,
            dropped: Vec::new(),
            sweep: Cursor::default(),
        }
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.tables.count()
    }

    /// How many of them expire.
    pub fn expiring_count(&self) -> usize {
        self.tables.expiring_count()
    }

    /// How many rows a slot has.
    pub fn count_in_slot(&self, slot: Slot) -> usize {
        self.tables.slot(slot).map_or(0, |rows| rows.count())
    }

    /// Bytes of rows and of what leads to them.
    pub fn used_bytes(&self) -> usize {
        self.tables.used_bytes()
    }

    /// Bytes that are taken from the system: [`Rows::used_bytes`], the rest of pages that are not full, and what is still to be
    /// given back.
    pub fn held_bytes(&self) -> usize {
        let dropped: usize = self.dropped.iter().map(Slab::held_bytes).sum();
        self.tables.held_bytes() + dropped
    }

    /// Whether all keys that the tables hold have rows: nothing else exists.
    pub fn is_resident(&self) -> bool {
        self.is_resident
    }

    /// A number that changes when what tables said before may not hold any more of keys without rows: when a flush was committed, or
    /// rows were removed or replaced all at once.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How often all rows were removed at once.
    pub fn clears_count(&self) -> u64 {
        self.clears_count
    }

    /// Seeds the hashes of keys.
    pub fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// Where the row of a key stands in tables.
    pub fn row_key(&self, slot: Slot, key: &[u8]) -> Vec<u8> {
        let mut row_key = Vec::new();
        head_key(slot, self.hash(key).number(), key, &mut row_key);
        row_key
    }

    /// The row of a key, if it is in memory.
    #[inline]
    pub fn get(&self, slot: Slot, key: &[u8]) -> Option<Row<'_>> {
        let found = self.tables.find(slot, self.hash(key), key)?;
        let row = self.tables.row(found);
        row.note_reference();
        (!row.is_absent()).then_some(row)
    }

    /// The row of a key, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot, key: &[u8]) -> Option<RowMut<'_>> {
        self.free_taken();
        let found = self.tables.find(slot, self.hash(key), key)?;
        let row = self.tables.row(found);
        row.note_reference();
        if row.is_absent() {
            return None;
        }
        Some(RowMut::new(self, slot, found))
    }

    /// Gives a key this content, whether it has a row or not.
    #[inline]
    pub fn put(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) {
        self.free_taken();
        let hash = self.hash(key);
        match self.tables.find(slot, hash, key) {
            Some(found) if self.tables.row(found).is_absent() => self.revive(slot, found, content),
            Some(found) => {
                self.tables.row(found).note_reference();
                RowMut::new(self, slot, found).set(content);
            }
            None => {
                let flags = Flags::new(State::dirty(self.is_odd)).with_fresh(self.is_resident).with_referenced(true);
                self.tables.insert(slot, hash, key, content, flags);
            }
        }
    }

    /// Puts a row in the place of a tombstone.
    fn revive(&mut self, slot: Slot, found: Found, content: &Content<'_>) {
        self.make_dirty(slot, found);
        let flags = self.tables.row(found).flags().with_absent(false).with_referenced(true);
        let old = self.tables.replace(slot, found, content, flags);
        // SAFETY: it was just taken out of its segment, and nobody looks at it.
        unsafe { self.tables.free(old) };
    }

    /// Adds the row of a key as tables hold it. False if there is one or a tombstone.
    pub fn load(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) -> bool {
        let hash = self.hash(key);
        let is_new = self.tables.find(slot, hash, key).is_none();
        if is_new {
            self.free_taken();
            self.tables.insert(slot, hash, key, content, Flags::new(State::CLEAN));
        }
        is_new
    }

    /// Removes the row of a key and shows what it was.
    pub fn take(&mut self, slot: Slot, key: &[u8]) -> Option<Row<'_>> {
        let handle = self.remove(slot, key, false)?;
        self.taken = Some(handle);
        // SAFETY: the row is given back when rows are next changed, which are borrowed as long as the result lives.
        Some(unsafe { handle.row() })
    }

    /// Removes the row of a key whose time has come by replicated time: what tables say of it is gone by that, too.
    pub fn expire(&mut self, slot: Slot, key: &[u8]) {
        if let Some(handle) = self.remove(slot, key, true) {
            // SAFETY: it was just taken out, and nobody looks at it.
            unsafe { self.tables.free(handle) };
        }
    }

    /// Takes the row of a key out, which leaves a tombstone if the tables may say otherwise.
    fn remove(&mut self, slot: Slot, key: &[u8], has_expired: bool) -> Option<Handle> {
        self.free_taken();
        let hash = self.hash(key);
        let found = self.tables.find(slot, hash, key)?;
        if self.tables.row(found).is_absent() {
            return None;
        }
        let (flags, is_due) = (self.tables.row(found).flags(), self.is_due(found));
        if is_due && let Some(flush) = &mut self.flush {
            flush.set_aside(slot, self.tables.row(found));
        }
        // Older tables, of which rows are being taken in, may say something else of it.
        let is_gone_from_tables = flags.is_fresh() || self.is_settled(flags.state()) && !self.is_warming;
        let is_gone = flags.is_fresh() && !is_due || has_expired && is_gone_from_tables;
        if is_gone {
            return Some(self.tables.remove(slot, hash, found));
        }
        let tombstone = Flags::new(State::dirty(self.is_odd)).with_absent(true);
        Some(self.tables.replace(slot, found, &Content::NOTHING, tombstone))
    }

    /// Removes all rows, and forgets what tables say. Their memory is given back by [`Rows::release_some`]. A flush under way is given
    /// up.
    pub fn clear(&mut self) {
        self.free_taken();
        self.flush = None;
        self.tidying = Tidying::default();
        (self.is_resident, self.is_warming) = (true, false);
        self.epoch += 1;
        self.clears_count += 1;
        self.dropped.push(std::mem::take(&mut self.tables).slab);
    }

    /// Takes over the memory of rows that these take the place of, to give it back a little at a time.
    pub fn succeed(&mut self, mut others: Rows) {
        others.free_taken();
        self.epoch = self.epoch.max(others.epoch) + 1;
        self.dropped.append(&mut others.dropped);
        self.dropped.push(others.tables.slab);
    }

    /// Whether there is memory to give back of rows that were removed all at once.
    pub fn has_to_release(&self) -> bool {
        !self.dropped.is_empty()
    }

    /// Gives a part of the memory back of rows that were removed all at once: 4 MiB, or one long row. Returns whether there is
    /// more.
    pub fn release_some(&mut self) -> bool {
        if self.dropped.last_mut().is_some_and(Slab::release_some) {
            self.dropped.pop();
        }
        !self.dropped.is_empty()
    }

    /// Looks at about so many rows, from where the last call has ended to the last row at most, and removes those whose time has come by `time_ms`. Those that
    /// are only due by `clock_ms` it counts. Both are in milliseconds since 1970 UTC.
    pub fn sweep(&mut self, rows_count: usize, time_ms: u64, clock_ms: u64) -> Swept {
        self.free_taken();
        let mut swept = Swept::default();
        while swept.looked_count < rows_count && self.tables.expiring_count() > 0 {
            let Some((slot, segment, _)) = self.sweep.next(&self.tables, Tables::next_expiring_slot) else { break };
            // A look at a segment costs something, too.
            swept.looked_count += 1;
            for handle in Few::of(segment.handles()).iter() {
                // SAFETY: the row is there until it is removed below, and nobody changes it.
                let row = unsafe { handle.row() };
                swept.looked_count += usize::from(!row.is_absent());
                match row.expiry_ms() {
                    None => {}
                    Some(expiry_ms) if expiry_ms <= time_ms => {
                        let removed = self.remove(slot, row.key(), true);
                        assert!(removed == Some(handle), "a row is where it was found");
                        // SAFETY: it was just taken out, and `row` is not used any more.
                        unsafe { self.tables.free(handle) };
                        swept.removed_count += 1;
                    }
                    Some(expiry_ms) if expiry_ms <= clock_ms => swept.due_count += 1,
                    Some(expiry_ms) => {
                        swept.living_count += 1;
                        swept.living_ms = swept.living_ms.saturating_add(expiry_ms - clock_ms);
                    }
                }
            }
        }
        swept
    }

    /// All rows of a slot, by the hashes of their keys, those of a segment in no order.
    pub fn in_slot(&self, slot: Slot) -> impl Iterator<Item = Row<'_>> {
        let mut next = Some(Hash48::MIN);
        let segments = std::iter::from_fn(move || {
            let (segment, behind) = self.tables.segment_at(slot, next?)?;
            next = behind;
            Some(segment)
        });
        // SAFETY: rows are there and stay as they are while `self` is borrowed.
        let rows = segments.flat_map(|segment| segment.handles().map(|handle| unsafe { handle.row() }));
        rows.filter(|row| !row.is_absent())
    }

    /// Some rows of a slot, those that stand in one segment: of them those whose keys' hashes are not below `from`, a number of 48
    /// bits. Also tells from where the next ones are had, if there are any. `None` if the slot has no rows.
    ///
    /// A row that is there all the while is seen once by whoever goes on where it was told to, however many come and go meanwhile.
    pub fn some_in_slot(&self, slot: Slot, from: u64) -> Option<(impl Iterator<Item = Row<'_>>, Option<u64>)> {
        if self.count_in_slot(slot) == 0 {
            return None;
        }
        let from = Hash48::of_number(from);
        let (segment, behind) = self.tables.segment_at(slot, from)?;
        // SAFETY: rows are there and stay as they are while `self` is borrowed.
        let rows = segment.handles().map(|handle| unsafe { handle.row() });
        Some((rows.filter(move |row| row.hash() >= from && !row.is_absent()), behind.map(Hash48::number)))
    }

    /// As [`Rows::some_in_slot`], with the tombstones.
    pub fn some_known_in_slot(&self, slot: Slot, from: u64) -> Option<(impl Iterator<Item = Row<'_>>, Option<u64>)> {
        let from = Hash48::of_number(from);
        let (segment, behind) = self.tables.segment_at(slot, from)?;
        // SAFETY: rows are there and stay as they are while `self` is borrowed.
        let rows = segment.handles().map(|handle| unsafe { handle.row() });
        Some((rows.filter(move |row| row.hash() >= from), behind.map(Hash48::number)))
    }

    /// The first slot from this one on that has rows or tombstones.
    pub fn next_known_slot(&self, from: usize) -> Option<Slot> {
        self.tables.next_filled_slot(from)
    }

    /// Where the row of a key stands among those of a slot: 48 bits of its hash.
    pub fn hash_of(&self, key: &[u8]) -> u64 {
        self.hash(key).number()
    }

    /// The first slot from this one on that has rows.
    pub fn next_slot(&self, from: usize) -> Option<Slot> {
        self.tables.next_slot(from)
    }

    /// All rows, slot by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, Row<'_>)> {
        let mut from = 0;
        let slots = std::iter::from_fn(move || {
            let slot = self.tables.next_slot(from)?;
            from = slot.idx() + 1;
            Some(slot)
        });
        slots.flat_map(|slot| self.in_slot(slot).map(move |row| (slot, row)))
    }

    #[inline]
    fn free_taken(&mut self) {
        if let Some(taken) = self.taken.take() {
            // SAFETY: it was taken out of these tables, and who looked at it had `self` borrowed.
            unsafe { self.tables.free(taken) };
        }
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> Hash48 {
        Hash48::of_bits(xxh3_64_with_seed(key, self.hash_seed))
    }
}
