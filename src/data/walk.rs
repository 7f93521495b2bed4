//! A walk over all keys as they were when it began, while they go on changing.
//!
//! Every entry carries the mark of the walk that saw it last. A walk begins by changing the mark that counts, so that
//! all entries are *due* at once. It sees them slot by slot, a little in each turn; an entry that is about to be
//! changed or removed while it is due is seen first. Entries made meanwhile carry the new mark and are not seen. So
//! what the walk has seen in the end is exactly the state at its beginning, each turn does a bounded part of it, and
//! nothing is copied but what it writes.
//!
//! A table that grows during its own walk moves its entries about. The walk notices that from the number of entries
//! that are still due, and goes over the tables again; what was seen is passed over quickly.

use types::{SLOTS_COUNT, Slot};

use crate::entry::{Entry, PAGE_TABLES_COUNT, Pages, Table, no_pages};
use crate::former::Former;

/// What looking at a bucket or a table costs, in bytes of the budget.
const LOOK_COST_BYTES: usize = 8;
/// What seeing an entry costs beside its bytes.
const ENTRY_COST_BYTES: usize = 64;

/// A walk under way.
pub(crate) struct Walk {
    /// Where entries are copied to; `None` if the walk was given up and only marks what is left.
    former: Option<Former>,
    /// Entries that were not seen yet.
    due_count: usize,
    /// The tables as they were when all keys were removed at once: all that is due is in there.
    aside: Option<Pages>,
    position: Position,
}

/// The next bucket to look at.
#[derive(Clone, Copy, Default)]
struct Position {
    slot: usize,
    bucket: usize,
    /// Buckets of the table when it was last looked at; another number means that it was built anew.
    buckets_count: usize,
}

impl Walk {
    pub(crate) fn new(keys_count: usize) -> Walk {
        Walk { former: Some(Former::default()), due_count: keys_count, aside: None, position: Position::default() }
    }

    /// Sees an entry that is due.
    #[cold]
    pub(crate) fn see(&mut self, slot: Slot, entry: &Entry) {
        self.due_count = self.due_count.checked_sub(1).expect("each entry is due once");
        if let Some(former) = &mut self.former {
            former.put(slot, entry.key_len(), entry.record());
        }
    }

    /// All keys are about to be removed at once. Takes the tables if there is something due in them.
    pub(crate) fn set_aside(&mut self, pages: &mut Pages) {
        if self.due_count > 0 && self.aside.is_none() {
            self.aside = Some(std::mem::replace(pages, no_pages()));
            self.position = Position::default();
        }
    }

    /// Goes on for about `budget_bytes`. Returns whether everything was seen.
    pub(crate) fn go_on(&mut self, pages: &mut Pages, mark: bool, budget_bytes: usize) -> bool {
        let mut aside = self.aside.take();
        let mut left = budget_bytes;
        while self.due_count > 0 && left > 0 {
            let slot = self.position.slot;
            if slot == SLOTS_COUNT {
                self.position = Position::default();
                continue;
            }
            let pages = aside.as_mut().unwrap_or(pages);
            left = left.saturating_sub(LOOK_COST_BYTES);
            match pages[slot / PAGE_TABLES_COUNT].as_deref_mut() {
                None => {
                    self.position =
                        Position { slot: (slot / PAGE_TABLES_COUNT + 1) * PAGE_TABLES_COUNT, ..Position::default() }
                }
                Some(page) => left = self.go_on_in(&mut page[slot % PAGE_TABLES_COUNT], mark, left),
            }
        }
        let is_done = self.due_count == 0;
        if is_done {
            if let Some(former) = &mut self.former {
                former.close();
            }
        } else {
            self.aside = aside;
        }
        is_done
    }

    /// Goes on in the table of the present slot. Returns what is left of the budget.
    fn go_on_in(&mut self, table: &mut Table, mark: bool, budget_bytes: usize) -> usize {
        let slot = Slot::new(self.position.slot as u16).expect("a position lies within the slots");
        let mut left = budget_bytes;
        if table.num_buckets() != self.position.buckets_count {
            self.position.bucket = 0;
            self.position.buckets_count = table.num_buckets();
        }
        while self.position.bucket < self.position.buckets_count {
            if left == 0 {
                return 0;
            }
            left = left.saturating_sub(LOOK_COST_BYTES);
            if let Some(entry) = table.get_bucket_mut(self.position.bucket).filter(|entry| entry.mark() != mark) {
                left = left.saturating_sub(ENTRY_COST_BYTES + entry.record().len());
                entry.set_mark(mark);
                self.see(slot, entry);
            }
            self.position.bucket += 1;
        }
        self.position = Position { slot: self.position.slot + 1, ..Position::default() };
        left
    }

    /// Whatever is left need not be copied any more.
    pub(crate) fn give_up(&mut self) {
        self.former = None;
    }

    pub(crate) fn former(&mut self) -> Option<&mut Former> {
        self.former.as_mut()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.former.as_ref().map_or(0, Former::bytes)
    }
}
