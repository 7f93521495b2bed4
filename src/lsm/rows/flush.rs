//! Copying all rows that the tables do not say the same of, as they were when the flush began, while they go on changing.
//!
//! Every dirty row is of the round of the last flush that began before it was changed. A flush begins with a new round, so
//! that all that is dirty is *due* at once. It copies what is due slot by slot, by the row keys that it has in tables, a little in each
//! turn; a row that is about to be changed or removed while it is due is copied aside first, and that copy is put among the others
//! where it belongs. Rows that become dirty meanwhile are of the new round and wait for the next flush. So what is copied is exactly
//! what was dirty at the beginning. Segments that are split or joined during the flush keep their rows' order, so it goes over each
//! slot once, and looks at no line of a segment without dirty rows.

use types::Slot;

use crate::rows::aside::Aside;
use crate::rows::cursor::Few;
use crate::rows::flags::State;
use crate::rows::records::Payloads;
use crate::rows::row::{Handle, Hash48, Row};
use crate::rows::row_position::RowPosition;
use crate::rows::segment::Segment;
use crate::rows::tables::Tables;

/// What looking at a row or for a segment costs, in bytes of the budget.
const LOOK_COST_BYTES: usize = 8;
/// What copying a row costs beside its bytes.
const ROW_COST_BYTES: usize = 64;

/// A flush under way.
pub(crate) struct Flush {
    payloads: Payloads,
    /// Whether it is of an odd round. Invariant: a dirty row of the other one is due.
    is_odd: bool,
    /// Rows that are due and were not copied. Invariant: they stand at `slot` and `hash` or behind.
    due_count: usize,
    /// Rows that were due and are not any more, in their order. Invariant: as for `due_count`.
    aside: Aside,
    /// Where it goes on.
    slot: usize,
    hash: Hash48,
}

impl Flush {
    pub(crate) fn new(is_odd: bool, due_count: usize) -> Flush {
        Flush {
            payloads: Payloads::default(),
            is_odd,
            due_count,
            aside: Aside::default(),
            slot: 0,
            hash: Hash48::MIN,
        }
    }

    /// Whether all that was due is copied.
    pub(crate) fn is_done(&self) -> bool {
        self.due_count == 0 && self.aside.is_empty()
    }

    pub(crate) fn payloads(&mut self) -> &mut Payloads {
        &mut self.payloads
    }

    pub(crate) fn copied_bytes(&self) -> usize {
        self.payloads.bytes() + self.aside.bytes()
    }

    pub(crate) fn is_due(&self, state: State) -> bool {
        state == State::dirty(!self.is_odd)
    }

    /// Copies a row that is due and about to be changed. Whoever calls makes it one of the new round, or removes it.
    pub(crate) fn set_aside(&mut self, slot: Slot, row: Row<'_>) {
        self.due_count = self.due_count.checked_sub(1).expect("each row is due once");
        self.aside.put(slot, row);
    }

    /// Goes on for about `budget_bytes`. Returns whether everything is copied.
    pub(crate) fn go_on(&mut self, tables: &mut Tables, budget_bytes: usize) -> bool {
        let mut left = budget_bytes;
        while !self.is_done() && left > 0 {
            let slot = self.next_slot(tables);
            if slot.idx() != self.slot {
                (self.slot, self.hash) = (slot.idx(), Hash48::MIN);
            }
            left = self.go_on_in(tables, slot, left);
        }
        let is_done = self.is_done();
        if is_done {
            self.payloads.close();
        }
        is_done
    }

    /// The next slot that something may be due in.
    fn next_slot(&self, tables: &Tables) -> Slot {
        let dirty = if self.due_count > 0 { tables.next_dirty_slot(self.slot) } else { None };
        let aside = self.aside.first().map(|(place, _)| place.slot());
        dirty.into_iter().chain(aside).min().expect("what is due has not been passed")
    }

    /// Goes on in the present segment. Returns what is left of the budget.
    fn go_on_in(&mut self, tables: &mut Tables, slot: Slot, budget_bytes: usize) -> usize {
        let mut left = budget_bytes.saturating_sub(LOOK_COST_BYTES);
        let (segment, behind) = tables.segment_at(slot, self.hash).unzip();
        let (behind, end) = (behind.flatten(), RowPosition::end(slot, behind.flatten()));
        let due = segment.map_or_else(Few::none, |segment| self.due_of(segment));
        left = left.saturating_sub(LOOK_COST_BYTES * due.count());
        let mut due = due.iter().peekable();
        loop {
            let is_row_next = match (due.peek(), self.aside.first().filter(|(place, _)| *place < end)) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(handle), Some(aside)) => order(slot, *handle) < aside,
            };
            let before = self.payloads.bytes();
            if is_row_next && let Some(handle) = due.next() {
                self.copy(tables, slot, handle);
            } else {
                let record = self.aside.take_first().expect("it was just looked at");
                self.payloads.put_record(&record);
            }
            left = left.saturating_sub(self.payloads.bytes() - before + ROW_COST_BYTES);
            if left == 0 {
                // However small the budget is, each call copies a row.
                return 0;
            }
        }
        if let Some(segment) = segment {
            segment.note_clean_lines();
        }
        match behind {
            Some(behind) => self.hash = behind,
            None => (self.slot, self.hash) = (self.slot + 1, Hash48::MIN),
        }
        left
    }

    /// The rows of a segment that are due, in their order.
    fn due_of(&self, segment: Segment) -> Few {
        // SAFETY: the segment has these rows, and nobody changes them meanwhile.
        let is_due = |handle: &Handle| self.is_due(unsafe { handle.row() }.flags().state());
        let mut few = Few::of(segment.dirty_handles().filter(is_due));
        // SAFETY: as above.
        let order = |handle: Handle| unsafe { handle.row() };
        few.sort_by(|one, other| {
            let (one, other) = (order(one), order(other));
            one.hash().cmp(&other.hash()).then_with(|| one.key().cmp(other.key()))
        });
        few
    }

    fn copy(&mut self, tables: &mut Tables, slot: Slot, handle: Handle) {
        // SAFETY: `tables` is borrowed mutably and has the row; its flags alone are changed, at the end.
        let row = unsafe { handle.row() };
        self.payloads.put(slot, row);
        self.due_count = self.due_count.checked_sub(1).expect("each row is due once");
        let flags = row.flags().with_fresh(false).with_state(State::flushing(self.is_odd));
        tables.set_flags(slot, row, flags);
    }
}

/// Where a row stands among all.
fn order<'a>(slot: Slot, handle: Handle) -> (RowPosition, &'a [u8]) {
    // SAFETY: callers have a row of tables that nobody changes meanwhile.
    let row = unsafe { handle.row() };
    (RowPosition::of(slot, row.hash()), row.key())
}
