//! The rows of one group.

mod cache;
mod former;
mod link;
mod prefetch;
mod row;
mod row_mut;
mod segment;
mod slab;
mod sweep;
mod tables;
#[cfg(test)]
mod tests;
mod trie;
mod walk;
#[cfg(test)]
mod walk_tests;

use types::Slot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::rows::row::{Handle, Hash48};
use crate::rows::slab::Slab;
use crate::rows::sweep::Sweep;
use crate::rows::tables::Tables;
use crate::rows::trie::Found;
use crate::rows::walk::Walk;

pub use former::{
    Former, PAYLOAD_BYTES, PAYLOAD_HEADROOM_BYTES, RECORD_EXPIRES, RECORD_EXPIRY_BYTES, RECORD_HEADER_BYTES,
};
pub use prefetch::PREFETCH_KEYS_COUNT;
pub use row::{Content, Row};
pub use row_mut::RowMut;
pub use sweep::Swept;

/// The rows of one group, in memory.
pub struct Rows {
    tables: Tables,
    hash_seed: u64,
    /// The mark of new rows. Invariant: without a walk all rows have it.
    mark: bool,
    walk: Option<Box<Walk>>,
    /// The row that was taken out last, of the memory of `tables`; there until rows are next changed.
    taken: Option<Handle>,
    /// Memory of rows that were removed all at once, to be given back a little at a time.
    dropped: Vec<Slab>,
    sweep: Sweep,
}

impl Rows {
    /// No rows yet. The seed decides in which order they come; all replicas of a group have the same.
    pub fn new(hash_seed: u64) -> Rows {
        Rows {
            tables: Tables::default(),
            hash_seed,
            mark: false,
            walk: None,
            taken: None,
            dropped: Vec::new(),
            sweep: Sweep::default(),
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
        self.tables.held_bytes() + dropped + self.walk.as_ref().map_or(0, |walk| walk.aside_bytes())
    }

    /// Has the rows of these keys, at most [`PREFETCH_KEYS_COUNT`], loaded into the CPU's caches, where they are not likely to be there
    /// anyway.
    #[inline]
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = (Slot, &'k [u8])>) {
        if prefetch::is_worth_it(&self.tables) {
            prefetch::load_rows(&self.tables, keys.map(|(slot, key)| (slot, self.hash(key))));
        }
    }

    /// The row of a key.
    #[inline]
    pub fn get(&self, slot: Slot, key: &[u8]) -> Option<Row<'_>> {
        self.tables.find(slot, self.hash(key), key).map(|found| self.tables.row(found))
    }

    /// The row of a key, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot, key: &[u8]) -> Option<RowMut<'_>> {
        self.free_taken();
        let found = self.tables.find(slot, self.hash(key), key)?;
        self.see(slot, found);
        Some(RowMut::new(&mut self.tables, &mut self.taken, slot, found))
    }

    /// Gives a key this content, whether it has a row or not.
    #[inline]
    pub fn put(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) {
        self.free_taken();
        let hash = self.hash(key);
        match self.tables.find(slot, hash, key) {
            Some(found) => {
                self.see(slot, found);
                RowMut::new(&mut self.tables, &mut self.taken, slot, found).set(content);
            }
            None => self.tables.insert(slot, hash, key, content, self.mark),
        }
    }

    /// Adds the row of a key of which there is none.
    pub fn insert(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) {
        self.free_taken();
        self.tables.insert(slot, self.hash(key), key, content, self.mark);
    }

    /// Removes the row of a key and shows what it was.
    pub fn take(&mut self, slot: Slot, key: &[u8]) -> Option<Row<'_>> {
        self.free_taken();
        let handle = self.tables.remove(slot, self.hash(key), key)?;
        self.taken = Some(handle);
        // SAFETY: the row is given back when rows are next changed, which are borrowed as long as the result lives.
        let row = unsafe { handle.row() };
        if let Some(walk) = &mut self.walk
            && row.mark() != self.mark
        {
            walk.see(slot, row);
        }
        Some(row)
    }

    /// Removes all rows. Their memory is given back by [`Rows::release_some`].
    pub fn clear(&mut self) {
        self.free_taken();
        let tables = std::mem::take(&mut self.tables);
        let tables = match &mut self.walk {
            Some(walk) => walk.set_aside(tables),
            None => Some(tables),
        };
        self.dropped.extend(tables.map(|tables| tables.slab));
    }

    /// Takes over the memory of rows that these take the place of, to give it back a little at a time.
    pub fn succeed(&mut self, mut others: Rows) {
        others.free_taken();
        self.dropped.append(&mut others.dropped);
        self.dropped.extend(others.walk.and_then(|walk| walk.into_slab()));
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
            let Some((slot, few)) = self.sweep.next(&self.tables) else { break };
            // A look at a segment costs something, too.
            swept.looked_count += 1;
            for handle in few.iter() {
                swept.looked_count += 1;
                // SAFETY: the row is there until it is removed below, and nobody changes it.
                let row = unsafe { handle.row() };
                match row.expiry_ms() {
                    None => {}
                    Some(expiry_ms) if expiry_ms <= time_ms => {
                        if let Some(walk) = &mut self.walk
                            && row.mark() != self.mark
                        {
                            walk.see(slot, row);
                        }
                        let removed = self.tables.remove(slot, row.hash(), row.key());
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
        segments.flat_map(|segment| segment.handles().map(|handle| unsafe { handle.row() }))
    }

    /// Some rows of a slot, those that stand in one segment: of them those whose keys' hashes are not below `from`, a number of 48
    /// bits. Also tells from where the next ones are had, if there are any. `None` if the slot has no rows.
    ///
    /// A row that is there all the while is seen once by whoever goes on where it was told to, however many come and go meanwhile.
    pub fn some_in_slot(&self, slot: Slot, from: u64) -> Option<(impl Iterator<Item = Row<'_>>, Option<u64>)> {
        let from = Hash48::of_number(from);
        let (segment, behind) = self.tables.segment_at(slot, from)?;
        // SAFETY: rows are there and stay as they are while `self` is borrowed.
        let rows = segment.handles().map(|handle| unsafe { handle.row() });
        Some((rows.filter(move |row| row.hash() >= from), behind.map(Hash48::number)))
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

    /// Begins a walk over what there is now; `false` if another one has not ended.
    pub fn begin_walk(&mut self) -> bool {
        if self.walk.is_some() {
            return false;
        }
        self.free_taken();
        self.mark = !self.mark;
        self.walk = Some(Box::new(Walk::new(self.tables.count())));
        true
    }

    /// Goes on with the walk and copies about `budget_bytes`. Returns whether it has seen everything; then it ends with
    /// [`Rows::end_walk`].
    pub fn go_on_walking(&mut self, budget_bytes: usize) -> bool {
        let Rows { tables, walk, mark, .. } = self;
        walk.as_mut().is_none_or(|walk| walk.go_on(tables, *mark, budget_bytes))
    }

    /// What the walk has copied so far; `None` if there is no walk, or it was given up.
    pub fn walked(&mut self) -> Option<&mut Former> {
        self.walk.as_mut()?.former()
    }

    /// Bytes that the walk has copied and nobody has taken yet.
    pub fn walked_bytes(&self) -> usize {
        self.walk.as_ref().map_or(0, |walk| walk.copied_bytes())
    }

    /// Copies no more. The walk must still be gone on with to its end.
    pub fn give_up_walk(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.give_up();
        }
    }

    /// Ends a walk that has seen everything.
    pub fn end_walk(&mut self) {
        self.dropped.extend(self.walk.take().and_then(|walk| walk.into_slab()));
    }

    /// A row is about to be changed: a walk that has not seen it sees it first.
    #[inline]
    fn see(&mut self, slot: Slot, found: Found) {
        let row = self.tables.row(found);
        if row.mark() == self.mark {
            return;
        }
        if let Some(walk) = &mut self.walk {
            walk.see(slot, row);
        }
        // SAFETY: `self` is borrowed mutably, and `row` is not used any more.
        unsafe { found.handle().set_mark(self.mark) };
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
