//! The rows of all slots, and the memory that they lie in.

use types::{SLOTS_COUNT, Slot};

use crate::rows::flags::{Flags, State};
use crate::rows::link::Link;
use crate::rows::row::{Content, Handle, Hash48, Row};
use crate::rows::segment::Segment;
use crate::rows::slab::Slab;
use crate::rows::slot_set::SlotSet;
use crate::rows::trie::{Found, SlotRows};

/// Slots of one page: those of slots that a group does not own cost nothing.
pub(crate) const PAGE_SLOTS_COUNT: usize = 128;
const PAGES_COUNT: usize = SLOTS_COUNT / PAGE_SLOTS_COUNT;

/// What there is of some slots. What nearly every write changes of one lies together, and the rest apart.
struct Page {
    rows: [SlotRows; PAGE_SLOTS_COUNT],
    counts: [SlotCounts; PAGE_SLOTS_COUNT],
}

impl Page {
    fn new() -> Page {
        Page { rows: std::array::from_fn(|_| SlotRows::default()), counts: [SlotCounts::default(); PAGE_SLOTS_COUNT] }
    }
}

/// What changes less often of a slot.
#[derive(Clone, Copy, Debug, Default)]
struct SlotCounts {
    /// Rows that are tombstones.
    absent: u32,
    /// Rows that expire.
    expiring: u32,
}

/// A slot of a page.
#[derive(Clone, Copy)]
pub(crate) struct SlotRef<'a> {
    page: &'a Page,
    at: usize,
}

impl<'a> SlotRef<'a> {
    /// What leads to its rows.
    #[inline]
    pub(crate) fn rows(self) -> &'a SlotRows {
        &self.page.rows[self.at]
    }

    /// What leads to all of them.
    #[inline]
    pub(crate) fn root(self) -> Link {
        self.rows().root()
    }

    /// How many keys are there: rows without tombstones.
    pub(crate) fn count(self) -> usize {
        (self.all_count() - self.absent_count()) as usize
    }

    /// How many rows there are, tombstones among them.
    fn all_count(self) -> u32 {
        self.rows().count()
    }

    /// How many of them are dirty.
    #[cfg(test)]
    pub(crate) fn dirty_count(self) -> u32 {
        self.rows().dirty_count()
    }

    /// How many are tombstones.
    pub(crate) fn absent_count(self) -> u32 {
        self.page.counts[self.at].absent
    }

    /// How many expire.
    #[cfg(test)]
    fn expiring_count(self) -> u32 {
        self.page.counts[self.at].expiring
    }
}

/// Some rows in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) count: usize,
    /// Bytes of their blocks.
    pub(crate) bytes: usize,
}

impl Sum {
    #[inline]
    fn change(&mut self, by: isize, bytes: usize) {
        self.count = changed(self.count, by);
        self.bytes = changed(self.bytes, by * bytes as isize);
    }
}

#[inline]
fn changed(count: usize, by: isize) -> usize {
    count.checked_add_signed(by).expect("what goes was counted when it came")
}

/// The rows of all slots.
pub(crate) struct Tables {
    /// Invariant: what a page leads to lies in `slab`.
    pages: Box<[Option<Box<Page>>; PAGES_COUNT]>,
    /// How many of them there are.
    pages_count: usize,
    pub(crate) slab: Slab,
    /// Keys that are there: rows without tombstones.
    count: usize,
    absent_count: usize,
    expiring_count: usize,
    /// Rows and tombstones that are dirty.
    dirty: Sum,
    /// Those that are flushing, in even and in odd rounds.
    flushing: [Sum; 2],
    // Invariant: a slot is in the set if and only if its count of such rows is not 0. Whoever goes through them looks at no
    // others, of which there may be thousands.
    filled_slots: SlotSet,
    absent_slots: SlotSet,
    expiring_slots: SlotSet,
    dirty_slots: SlotSet,
    not_dirty_slots: SlotSet,
}

impl Default for Tables {
    fn default() -> Tables {
        Tables {
            pages: Box::new([const { None }; PAGES_COUNT]),
            pages_count: 0,
            slab: Slab::default(),
            count: 0,
            absent_count: 0,
            expiring_count: 0,
            dirty: Sum::default(),
            flushing: [Sum::default(); 2],
            filled_slots: SlotSet::default(),
            absent_slots: SlotSet::default(),
            expiring_slots: SlotSet::default(),
            dirty_slots: SlotSet::default(),
            not_dirty_slots: SlotSet::default(),
        }
    }
}

impl Tables {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn absent_count(&self) -> usize {
        self.absent_count
    }

    pub(crate) fn expiring_count(&self) -> usize {
        self.expiring_count
    }

    pub(crate) fn dirty(&self) -> Sum {
        self.dirty
    }

    /// What is flushing of one of the rounds.
    pub(crate) fn flushing(&self, is_odd: bool) -> Sum {
        self.flushing[usize::from(is_odd)]
    }

    /// Bytes of rows and of what leads to them.
    pub(crate) fn used_bytes(&self) -> usize {
        self.pages_bytes() + self.slab.used_bytes()
    }

    /// Bytes taken from the system.
    pub(crate) fn held_bytes(&self) -> usize {
        self.pages_bytes() + self.slab.held_bytes()
    }

    fn pages_bytes(&self) -> usize {
        let sets =
            [&self.filled_slots, &self.absent_slots, &self.expiring_slots, &self.dirty_slots, &self.not_dirty_slots];
        let sets_bytes: usize = sets.into_iter().map(SlotSet::held_bytes).sum();
        size_of_val(&*self.pages) + self.pages_count * size_of::<Page>() + sets_bytes
    }

    #[inline]
    pub(crate) fn slot(&self, slot: Slot) -> Option<SlotRef<'_>> {
        let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref()?;
        Some(SlotRef { page, at: slot.idx() % PAGE_SLOTS_COUNT })
    }

    /// The first slot from this one on that has keys.
    pub(crate) fn next_slot(&self, from: usize) -> Option<Slot> {
        self.find_slot(from, |rows| rows.count() > 0)
    }

    /// The first slot from this one on in which rows expire.
    pub(crate) fn next_expiring_slot(&self, from: usize) -> Option<Slot> {
        self.expiring_slots.next(from)
    }

    /// The first slot from this one on that has rows, be they tombstones.
    pub(crate) fn next_filled_slot(&self, from: usize) -> Option<Slot> {
        self.filled_slots.next(from)
    }

    /// The first slot from this one on with tombstones.
    pub(crate) fn next_absent_slot(&self, from: usize) -> Option<Slot> {
        self.absent_slots.next(from)
    }

    /// The first slot from this one on with dirty rows.
    pub(crate) fn next_dirty_slot(&self, from: usize) -> Option<Slot> {
        self.dirty_slots.next(from)
    }

    /// The first slot from this one on with rows that are not dirty.
    pub(crate) fn next_not_dirty_slot(&self, from: usize) -> Option<Slot> {
        self.not_dirty_slots.next(from)
    }

    /// The first slot from this one on whose rows are so, of those that have any.
    fn find_slot(&self, from: usize, is_meant: impl Fn(SlotRef<'_>) -> bool) -> Option<Slot> {
        let mut next = self.filled_slots.next(from);
        while let Some(slot) = next
            && !self.slot(slot).is_some_and(&is_meant)
        {
            next = self.filled_slots.next(slot.idx() + 1);
        }
        next
    }

    #[inline]
    pub(crate) fn find(&self, slot: Slot, hash: Hash48, key: &[u8]) -> Option<Found> {
        self.slot(slot)?.rows().find(hash, key)
    }

    /// What a row that was found holds.
    #[inline]
    pub(crate) fn row(&self, found: Found) -> Row<'_> {
        // SAFETY: the row is there and stays as it is while `self` is borrowed.
        unsafe { found.handle().row() }
    }

    /// Adds a row with these flags, of whose key there is none.
    pub(crate) fn insert(&mut self, slot: Slot, hash: Hash48, key: &[u8], content: &Content<'_>, flags: Flags) {
        let Tables { pages, pages_count, slab, filled_slots, dirty_slots, not_dirty_slots, .. } = self;
        let page = pages[slot.idx() / PAGE_SLOTS_COUNT].get_or_insert_with(|| {
            *pages_count += 1;
            Box::new(Page::new())
        });
        let rows = &mut page.rows[slot.idx() % PAGE_SLOTS_COUNT];
        let used_bytes = slab.used_bytes();
        let handle = Handle::new(slab, hash, key, content, flags);
        let bytes = slab.used_bytes() - used_bytes;
        let state = flags.state();
        rows.insert(slab, hash, handle, state.is_dirty());
        filled_slots.note_count(slot, rows.count());
        if state.is_dirty() {
            dirty_slots.note_count(slot, rows.dirty_count());
        } else {
            not_dirty_slots.note_count(slot, rows.count() - rows.dirty_count());
        }
        self.count_state(state, bytes, 1);
        self.count_key(slot, flags.with_expiry(content.expiry_ms.is_some()), 1);
    }

    /// Gives a row other content. Returns the row that it was if its content has moved; whoever called gives that back.
    #[inline]
    pub(crate) fn set(&mut self, slot: Slot, found: Found, content: &Content<'_>) -> Option<Handle> {
        let handle = found.handle();
        // SAFETY: nobody looks at rows while `self` is borrowed mutably.
        if unsafe { handle.overwrite(content) } {
            return None;
        }
        let flags = self.row(found).flags();
        Some(self.replace(slot, found, content, flags))
    }

    /// Puts a row with other content and flags in the place of one, which is returned; whoever called gives it back.
    pub(crate) fn replace(&mut self, slot: Slot, found: Found, content: &Content<'_>, flags: Flags) -> Handle {
        let old = found.handle();
        // SAFETY: the row is there and nobody changes it until the end of this function.
        let row = unsafe { old.row() };
        let new = Handle::new(&mut self.slab, row.hash(), row.key(), content, flags);
        // SAFETY: `self` is borrowed mutably.
        unsafe { found.replace(new) };
        if flags.state().is_dirty() {
            // SAFETY: as above, and the trie has not changed since the row was found.
            unsafe { found.note_dirty() };
        }
        // SAFETY: as for the old one.
        let new = unsafe { new.row() };
        self.count_key(slot, row.flags(), -1);
        self.count_key(slot, new.flags(), 1);
        self.change_state(slot, (row.flags().state(), row.block_bytes()), (flags.state(), new.block_bytes()));
        old
    }

    /// Takes a row out that was found and has this hash; whoever called gives it back.
    pub(crate) fn remove(&mut self, slot: Slot, hash: Hash48, found: Found) -> Handle {
        // SAFETY: the row is there as long as nobody gives it back.
        let row = unsafe { found.handle().row() };
        let (flags, state, bytes) = (row.flags(), row.flags().state(), row.block_bytes());
        let Tables { pages, slab, filled_slots, dirty_slots, not_dirty_slots, .. } = self;
        let page = pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref_mut().expect("the page of a row");
        let rows = &mut page.rows[slot.idx() % PAGE_SLOTS_COUNT];
        let handle = rows.remove(slab, hash, found, state.is_dirty());
        filled_slots.note_count(slot, rows.count());
        if state.is_dirty() {
            dirty_slots.note_count(slot, rows.dirty_count());
        } else {
            not_dirty_slots.note_count(slot, rows.count() - rows.dirty_count());
        }
        self.count_state(state, bytes, -1);
        self.count_key(slot, flags, -1);
        handle
    }

    /// Gives a row other flags that do not say otherwise whether it expires or is a tombstone. Whoever makes one dirty notes that in
    /// its line.
    pub(crate) fn set_flags(&mut self, slot: Slot, row: Row<'_>, flags: Flags) {
        debug_assert!(flags.is_absent() == row.is_absent());
        let (before, bytes) = (row.flags().state(), row.block_bytes());
        row.set_flags(flags);
        self.change_state(slot, (before, bytes), (flags.state(), bytes));
    }

    /// Gives the memory of a row back.
    ///
    /// # Safety
    /// It was taken out of here, and nobody uses it any more.
    pub(crate) unsafe fn free(&mut self, handle: Handle) {
        // SAFETY: as the caller says.
        unsafe { handle.free(&mut self.slab) };
    }

    /// The rows of a slot whose hashes begin as this one does, as far as they stand in one segment, and where the next one
    /// begins.
    pub(crate) fn segment_at(&self, slot: Slot, hash: Hash48) -> Option<(Segment, Option<Hash48>)> {
        self.slot(slot)?.rows().segment_at(hash)
    }

    /// Checks that the sets of slots are what the counts of the slots say.
    #[cfg(test)]
    pub(crate) fn check_sets(&self) {
        type Count = fn(SlotRef<'_>) -> u32;
        let counts: [(&SlotSet, Count); 5] = [
            (&self.filled_slots, |rows| rows.all_count()),
            (&self.absent_slots, |rows| rows.absent_count()),
            (&self.expiring_slots, |rows| rows.expiring_count()),
            (&self.dirty_slots, |rows| rows.dirty_count()),
            (&self.not_dirty_slots, |rows| rows.all_count() - rows.dirty_count()),
        ];
        for (set, count) in counts {
            let slots = std::iter::successors(set.next(0), |slot| set.next(slot.idx() + 1));
            let all = (0..SLOTS_COUNT as u16).filter_map(Slot::new);
            let expected = all.filter(|slot| self.slot(*slot).is_some_and(|rows| count(rows) > 0));
            assert!(slots.eq(expected), "a slot is in a set if it has such rows");
        }
        assert_eq!(self.pages_count, self.pages.iter().flatten().count());
    }

    /// Counts a key or tombstone in (1) or out (-1), whatever its state is.
    #[inline]
    fn count_key(&mut self, slot: Slot, flags: Flags, by: isize) {
        if flags.is_absent() || flags.expires() {
            self.count_in_its_slot(slot, flags, by);
        }
        if !flags.is_absent() {
            self.count = changed(self.count, by);
        }
    }

    fn count_in_its_slot(&mut self, slot: Slot, flags: Flags, by: isize) {
        let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref_mut().expect("the page of a row");
        let counts = &mut page.counts[slot.idx() % PAGE_SLOTS_COUNT];
        let (of_slot, of_all, slots) = if flags.is_absent() {
            (&mut counts.absent, &mut self.absent_count, &mut self.absent_slots)
        } else {
            (&mut counts.expiring, &mut self.expiring_count, &mut self.expiring_slots)
        };
        *of_slot = of_slot.checked_add_signed(by as i32).expect("what goes was counted when it came");
        *of_all = changed(*of_all, by);
        slots.note_count(slot, *of_slot);
    }

    /// Counts a row in (1) or out (-1) by its state, but for its slot.
    #[inline]
    fn count_state(&mut self, state: State, bytes: usize, by: isize) {
        if state.is_dirty() {
            self.dirty.change(by, bytes);
        } else if state.is_flushing() {
            self.flushing[usize::from(state.is_odd())].change(by, bytes);
        }
    }

    /// Counts a row whose state or length has changed.
    fn change_state(
        &mut self,
        slot: Slot,
        (before, before_bytes): (State, usize),
        (after, after_bytes): (State, usize),
    ) {
        self.count_state(before, before_bytes, -1);
        self.count_state(after, after_bytes, 1);
        if before.is_dirty() != after.is_dirty() {
            let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref_mut().expect("the page of a row");
            let rows = &mut page.rows[slot.idx() % PAGE_SLOTS_COUNT];
            rows.change_dirty(if after.is_dirty() { 1 } else { -1 });
            self.dirty_slots.note_count(slot, rows.dirty_count());
            self.not_dirty_slots.note_count(slot, rows.count() - rows.dirty_count());
        }
    }
}
