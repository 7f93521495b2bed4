//! The rows of all slots, and the memory that they lie in.

use types::{SLOTS_COUNT, Slot};

use crate::rows::flags::{Flags, State};
use crate::rows::row::{Content, Handle, Hash48, Row};
use crate::rows::segment::Segment;
use crate::rows::slab::Slab;
use crate::rows::slot_set::SlotSet;
use crate::rows::trie::{Found, SlotRows};

/// Slots of one page: those of slots that a group does not own cost nothing.
pub(crate) const PAGE_SLOTS_COUNT: usize = 128;
const PAGES_COUNT: usize = SLOTS_COUNT / PAGE_SLOTS_COUNT;

type Page = [SlotRows; PAGE_SLOTS_COUNT];

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
        let sets = [&self.filled_slots, &self.absent_slots, &self.expiring_slots, &self.dirty_slots];
        let sets_bytes: usize = sets.into_iter().map(SlotSet::held_bytes).sum();
        size_of_val(&*self.pages) + self.pages_count * size_of::<Page>() + sets_bytes
    }

    #[inline]
    pub(crate) fn slot(&self, slot: Slot) -> Option<&SlotRows> {
        let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref()?;
        Some(&page[slot.idx() % PAGE_SLOTS_COUNT])
    }

    #[inline]
    fn slot_mut(&mut self, slot: Slot) -> &mut SlotRows {
        let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref_mut().expect("the page of a row");
        &mut page[slot.idx() % PAGE_SLOTS_COUNT]
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
        self.find_slot(from, |rows| rows.all_count() > rows.dirty_count() as usize)
    }

    /// The first slot from this one on whose rows are so, of those that have any.
    fn find_slot(&self, from: usize, is_meant: impl Fn(&SlotRows) -> bool) -> Option<Slot> {
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
        self.slot(slot)?.find(hash, key)
    }

    /// What a row that was found holds.
    #[inline]
    pub(crate) fn row(&self, found: Found) -> Row<'_> {
        // SAFETY: the row is there and stays as it is while `self` is borrowed.
        unsafe { found.handle().row() }
    }

    /// Adds a row with these flags, of whose key there is none.
    pub(crate) fn insert(&mut self, slot: Slot, hash: Hash48, key: &[u8], content: &Content<'_>, flags: Flags) {
        let Tables { pages, pages_count, slab, filled_slots, .. } = self;
        let page = pages[slot.idx() / PAGE_SLOTS_COUNT].get_or_insert_with(|| {
            *pages_count += 1;
            new_page()
        });
        let rows = &mut page[slot.idx() % PAGE_SLOTS_COUNT];
        let handle = Handle::new(slab, hash, key, content, flags);
        rows.insert(slab, hash, handle, flags.state().is_dirty());
        filled_slots.note_count(slot, rows.all_count() as u32);
        // SAFETY: the row is there, and nobody changes it meanwhile.
        self.count_row(slot, unsafe { handle.row() }, 1);
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
        self.count_row(slot, row, -1);
        // SAFETY: as for the old one.
        self.count_row(slot, unsafe { new.row() }, 1);
        old
    }

    /// Takes a row out that was found and has this hash; whoever called gives it back.
    pub(crate) fn remove(&mut self, slot: Slot, hash: Hash48, found: Found) -> Handle {
        let Tables { pages, slab, filled_slots, .. } = self;
        let page = pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref_mut().expect("the page of a row");
        let rows = &mut page[slot.idx() % PAGE_SLOTS_COUNT];
        let handle = rows.remove(slab, hash, found);
        filled_slots.note_count(slot, rows.all_count() as u32);
        // SAFETY: the row is there as long as nobody gives it back.
        self.count_row(slot, unsafe { handle.row() }, -1);
        handle
    }

    /// Gives a row other flags that do not say otherwise whether it expires or is a tombstone. Whoever makes one dirty notes that in
    /// its line.
    pub(crate) fn set_flags(&mut self, slot: Slot, row: Row<'_>, flags: Flags) {
        debug_assert!(flags.is_absent() == row.is_absent());
        let (before, bytes) = (row.flags().state(), row.block_bytes());
        row.set_flags(flags);
        self.count_state(slot, before, bytes, -1);
        self.count_state(slot, flags.state(), bytes, 1);
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
        self.slot(slot)?.segment_at(hash)
    }

    /// Checks that the sets of slots are what the counts of the slots say.
    #[cfg(test)]
    pub(crate) fn check_sets(&self) {
        type Count = fn(&SlotRows) -> usize;
        let sets: [(&SlotSet, Count); 4] = [
            (&self.filled_slots, |rows| rows.all_count()),
            (&self.absent_slots, |rows| rows.absent_count() as usize),
            (&self.expiring_slots, |rows| rows.expiring_count() as usize),
            (&self.dirty_slots, |rows| rows.dirty_count() as usize),
        ];
        for (set, count) in sets {
            let slots = std::iter::successors(set.next(0), |slot| set.next(slot.idx() + 1));
            let pages = self.pages.iter().enumerate().filter_map(|(number, page)| Some((number, page.as_deref()?)));
            let all = pages.flat_map(|(number, page)| (number * PAGE_SLOTS_COUNT..).zip(page));
            let expected = all.filter(|(_, rows)| count(rows) > 0).map(|(slot, _)| slot);
            assert!(slots.map(|slot| slot.idx()).eq(expected), "a slot is in a set if it has such rows");
        }
        assert_eq!(self.pages_count, self.pages.iter().flatten().count());
    }

    /// Counts a row in (1) or out (-1).
    #[inline]
    fn count_row(&mut self, slot: Slot, row: Row<'_>, by: isize) {
        let flags = row.flags();
        if flags.is_absent() {
            self.absent_count = changed(self.absent_count, by);
            let rows = self.slot_mut(slot);
            rows.change_absent(by);
            let count = rows.absent_count();
            self.absent_slots.note_count(slot, count);
        } else {
            self.count = changed(self.count, by);
            if flags.expires() {
                self.expiring_count = changed(self.expiring_count, by);
                let rows = self.slot_mut(slot);
                rows.change_expiring(by);
                let count = rows.expiring_count();
                self.expiring_slots.note_count(slot, count);
            }
        }
        self.count_state(slot, flags.state(), row.block_bytes(), by);
    }

    #[inline]
    fn count_state(&mut self, slot: Slot, state: State, bytes: usize, by: isize) {
        if state.is_dirty() {
            self.dirty.change(by, bytes);
            let rows = self.slot_mut(slot);
            rows.change_dirty(by);
            let count = rows.dirty_count();
            self.dirty_slots.note_count(slot, count);
        } else if state.is_flushing() {
            self.flushing[usize::from(state.is_odd())].change(by, bytes);
        }
    }
}

fn new_page() -> Box<Page> {
    Box::new(std::array::from_fn(|_| SlotRows::default()))
}
