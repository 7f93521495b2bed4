//! The rows of all slots, and the memory that they lie in.

use types::{SLOTS_COUNT, Slot};

use crate::rows::row::{Content, Handle, Hash48, Row};
use crate::rows::segment::Segment;
use crate::rows::slab::Slab;
use crate::rows::trie::{Found, SlotRows};

/// Slots of one page: those of slots that a group does not own cost nothing.
pub(crate) const PAGE_SLOTS_COUNT: usize = 128;
const PAGES_COUNT: usize = SLOTS_COUNT / PAGE_SLOTS_COUNT;

type Page = [SlotRows; PAGE_SLOTS_COUNT];

/// The rows of all slots.
pub(crate) struct Tables {
    /// Invariant: what a page leads to lies in `slab`.
    pages: Box<[Option<Box<Page>>; PAGES_COUNT]>,
    pub(crate) slab: Slab,
    count: usize,
    expiring_count: usize,
}

impl Default for Tables {
    fn default() -> Tables {
        Tables { pages: Box::new([const { None }; PAGES_COUNT]), slab: Slab::default(), count: 0, expiring_count: 0 }
    }
}

impl Tables {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn expiring_count(&self) -> usize {
        self.expiring_count
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
        size_of_val(&*self.pages) + self.pages.iter().flatten().count() * size_of::<Page>()
    }

    #[inline]
    pub(crate) fn slot(&self, slot: Slot) -> Option<&SlotRows> {
        let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref()?;
        Some(&page[slot.idx() % PAGE_SLOTS_COUNT])
    }

    /// The first slot from this one on that has rows.
    pub(crate) fn next_slot(&self, from: usize) -> Option<Slot> {
        self.find_slot(from, |rows| rows.count() > 0)
    }

    /// The first slot from this one on in which rows expire.
    pub(crate) fn next_expiring_slot(&self, from: usize) -> Option<Slot> {
        self.find_slot(from, |rows| rows.expiring_count > 0)
    }

    fn find_slot(&self, from: usize, is_meant: impl Fn(&SlotRows) -> bool) -> Option<Slot> {
        let mut slot = from;
        while slot < SLOTS_COUNT {
            match &self.pages[slot / PAGE_SLOTS_COUNT] {
                None => slot = (slot / PAGE_SLOTS_COUNT + 1) * PAGE_SLOTS_COUNT,
                Some(page) if is_meant(&page[slot % PAGE_SLOTS_COUNT]) => return Slot::new(slot as u16),
                Some(_) => slot += 1,
            }
        }
        None
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

    /// Adds a row, of whose key there is none.
    pub(crate) fn insert(&mut self, slot: Slot, hash: Hash48, key: &[u8], content: &Content<'_>, mark: bool) {
        let Tables { pages, slab, .. } = self;
        let page = pages[slot.idx() / PAGE_SLOTS_COUNT].get_or_insert_with(new_page);
        let rows = &mut page[slot.idx() % PAGE_SLOTS_COUNT];
        let handle = Handle::new(slab, hash, key, content, mark);
        rows.insert(slab, hash, handle);
        self.count += 1;
        self.count_expiring(slot, false, content.expiry_ms.is_some());
    }

    /// Gives a row other content. Returns the row that it was if its content has moved; whoever called gives that back.
    #[inline]
    pub(crate) fn set(&mut self, slot: Slot, found: Found, content: &Content<'_>) -> Option<Handle> {
        let handle = found.handle();
        // SAFETY: nobody looks at rows while `self` is borrowed mutably.
        if unsafe { handle.overwrite(content) } { None } else { Some(self.replace(slot, found, content)) }
    }

    /// Puts a row with other content in the place of one, which is returned; whoever called gives it back.
    pub(crate) fn replace(&mut self, slot: Slot, found: Found, content: &Content<'_>) -> Handle {
        let old = found.handle();
        // SAFETY: the row is there and nobody changes it until the end of this function.
        let row = unsafe { old.row() };
        let new = Handle::new(&mut self.slab, row.hash(), row.key(), content, row.mark());
        // SAFETY: `self` is borrowed mutably.
        unsafe { found.replace(new) };
        self.count_expiring(slot, row.expires(), content.expiry_ms.is_some());
        old
    }

    /// Takes a row out; whoever called gives it back.
    pub(crate) fn remove(&mut self, slot: Slot, hash: Hash48, key: &[u8]) -> Option<Handle> {
        let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref_mut()?;
        let handle = page[slot.idx() % PAGE_SLOTS_COUNT].remove(&mut self.slab, hash, key)?;
        self.count -= 1;
        // SAFETY: the row is there as long as nobody gives it back.
        self.count_expiring(slot, unsafe { handle.row() }.expires(), false);
        Some(handle)
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

    #[inline]
    fn count_expiring(&mut self, slot: Slot, before: bool, after: bool) {
        if before == after {
            return;
        }
        let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref_mut().expect("the page of a row");
        let rows = &mut page[slot.idx() % PAGE_SLOTS_COUNT];
        if after {
            (self.expiring_count, rows.expiring_count) = (self.expiring_count + 1, rows.expiring_count + 1);
        } else {
            (self.expiring_count, rows.expiring_count) = (self.expiring_count - 1, rows.expiring_count - 1);
        }
    }
}

fn new_page() -> Box<Page> {
    Box::new(std::array::from_fn(|_| SlotRows::default()))
}
