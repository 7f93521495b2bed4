//! A walk over all rows as they were when it began, while they go on changing.
//!
//! Every row carries the mark of the walk that saw it last. A walk begins by changing the mark that counts, so that
//! all rows are *due* at once. It sees them slot by slot in the order of their hashes, a little in each turn; a row that is about to
//! be changed or removed while it is due is seen first. Rows made meanwhile carry the new mark and are not seen. So
//! what the walk has seen in the end is exactly the state at its beginning, each turn does a bounded part of it, and
//! nothing is copied but what it writes. Segments that are split or joined during the walk keep their rows' order, so it goes over
//! each slot once.

use types::Slot;

use crate::rows::former::Former;
use crate::rows::row::{Handle, Hash48, Row};
use crate::rows::slab::Slab;
use crate::rows::tables::Tables;

/// What looking at a row or for a segment costs, in bytes of the budget.
const LOOK_COST_BYTES: usize = 8;
/// What seeing a row costs beside its bytes.
const ROW_COST_BYTES: usize = 64;

/// A walk under way.
pub(crate) struct Walk {
    /// Where rows are copied to; `None` if the walk was given up and only marks what is left.
    former: Option<Former>,
    /// Rows that were not seen yet.
    due_count: usize,
    /// The tables as they were when all rows were removed at once: all that is due is in there.
    aside: Option<Tables>,
    /// The next slot to look at, and the hash from which on.
    slot: usize,
    hash: Hash48,
}

impl Walk {
    pub(crate) fn new(rows_count: usize) -> Walk {
        Walk { former: Some(Former::default()), due_count: rows_count, aside: None, slot: 0, hash: Hash48::MIN }
    }

    /// Sees a row that is due.
    #[cold]
    pub(crate) fn see(&mut self, slot: Slot, row: Row<'_>) {
        self.due_count = self.due_count.checked_sub(1).expect("each row is due once");
        if let Some(former) = &mut self.former {
            former.put(slot, row);
        }
    }

    /// All rows were removed at once. Keeps the tables if there is something due in them, else hands them back.
    pub(crate) fn set_aside(&mut self, tables: Tables) -> Option<Tables> {
        if self.due_count == 0 || self.aside.is_some() {
            return Some(tables);
        }
        self.aside = Some(tables);
        None
    }

    /// Goes on for about `budget_bytes`. Returns whether everything was seen.
    pub(crate) fn go_on(&mut self, tables: &mut Tables, mark: bool, budget_bytes: usize) -> bool {
        let mut aside = self.aside.take();
        let mut left = budget_bytes;
        while self.due_count > 0 && left > 0 {
            let tables = aside.as_mut().unwrap_or(tables);
            let slot = tables.next_slot(self.slot).expect("a row that is due has not been passed");
            if slot.idx() != self.slot {
                (self.slot, self.hash) = (slot.idx(), Hash48::MIN);
            }
            left = self.go_on_in(tables, slot, mark, left);
        }
        self.aside = aside;
        let is_done = self.due_count == 0;
        if is_done && let Some(former) = &mut self.former {
            former.close();
        }
        is_done
    }

    /// Goes on in the present segment. Returns what is left of the budget.
    fn go_on_in(&mut self, tables: &mut Tables, slot: Slot, mark: bool, budget_bytes: usize) -> usize {
        let mut left = budget_bytes.saturating_sub(LOOK_COST_BYTES);
        let (segment, next) = tables.segment_at(slot, self.hash).expect("a slot with rows has segments");
        for handle in segment.handles() {
            if left == 0 {
                return 0;
            }
            left = left.saturating_sub(LOOK_COST_BYTES);
            left = left.saturating_sub(self.see_handle(slot, handle, mark));
        }
        match next {
            Some(next) => self.hash = next,
            None => (self.slot, self.hash) = (self.slot + 1, Hash48::MIN),
        }
        left
    }

    /// Sees a row if it is due. Returns what that costs.
    fn see_handle(&mut self, slot: Slot, handle: Handle, mark: bool) -> usize {
        // SAFETY: the tables that have it are borrowed mutably by `go_on`, and nobody changes it until the mark is set.
        let row = unsafe { handle.row() };
        // Tombstones are nothing that there was.
        if row.mark() == mark || row.is_absent() {
            return 0;
        }
        let bytes = row.key_and_value().len();
        self.see(slot, row);
        row.set_flags(row.flags().with_mark(mark));
        bytes + ROW_COST_BYTES
    }

    /// Whatever is left need not be copied any more.
    pub(crate) fn give_up(&mut self) {
        self.former = None;
    }

    pub(crate) fn former(&mut self) -> Option<&mut Former> {
        self.former.as_mut()
    }

    pub(crate) fn copied_bytes(&self) -> usize {
        self.former.as_ref().map_or(0, Former::bytes)
    }

    /// Bytes of the tables that it keeps.
    pub(crate) fn aside_bytes(&self) -> usize {
        self.aside.as_ref().map_or(0, Tables::held_bytes)
    }

    /// It has ended: what it has kept is needed no more.
    pub(crate) fn into_slab(self) -> Option<Slab> {
        self.aside.map(|tables| tables.slab)
    }
}
