//! What is left to do behind flushes, a little at a time: what a flush has copied that was given up becomes dirty again, and
//! tombstones go that a committed one has copied.

use crate::rows::Rows;
use crate::rows::cursor::Few;
use crate::rows::flags::State;
use crate::rows::tables::Tables;

impl Rows {
    /// Does a part of what is left to do behind flushes, looking at about so many rows. Returns whether there is more.
    pub fn tidy_some(&mut self, budget_rows: usize) -> bool {
        self.free_taken();
        self.set_back_some(budget_rows) || self.drop_some(budget_rows)
    }

    /// The tables are of no use any more: all rows are to be copied by the next flush, which begins once they are dirty. To be called
    /// while none is under way, and all keys that the tables held have rows.
    pub fn write_anew(&mut self) {
        assert!(
            self.flush.is_none() && self.is_resident,
            "rows are written anew by a flush of their own, from memory"
        );
        self.is_held = true;
        self.tidying.begin_to_set_all_back();
    }

    /// Makes rows dirty of the present round that a flush has copied which was given up, or was to. Returns whether there is more.
    pub(crate) fn set_back_some(&mut self, budget_rows: usize) -> bool {
        let Some(mut cursor) = self.tidying.setting_back else { return false };
        let mut looked_count = 0;
        while looked_count < budget_rows {
            let Some((slot, segment, _)) = cursor.next(&self.tables, Tables::next_filled_slot) else {
                (self.tidying.setting_back, self.tidying.is_of_all) = (None, false);
                return false;
            };
            for (position, handle) in segment.positions() {
                looked_count += 1;
                // SAFETY: the segment has the row, and its flags alone are changed.
                let row = unsafe { handle.row() };
                let state = row.flags().state();
                if self.tidying.is_of_all || state.is_dirty() || state == State::flushing(self.is_odd) {
                    self.tables.set_flags(slot, row, row.flags().with_state(State::dirty(self.is_odd)));
                    segment.note_dirty(position);
                } else if state.is_flushing() {
                    self.tables.set_flags(slot, row, row.flags().with_state(State::CLEAN));
                }
            }
        }
        self.tidying.setting_back = Some(cursor);
        true
    }

    /// Drops tombstones that the tables need no more: while all keys that tables hold have rows, having none says the same. Returns
    /// whether there is more.
    fn drop_some(&mut self, budget_rows: usize) -> bool {
        let Some(mut cursor) = self.tidying.dropping.filter(|_| self.is_resident) else { return false };
        let mut looked_count = 0;
        while looked_count < budget_rows {
            let Some((slot, segment, _)) = cursor.next(&self.tables, Tables::next_absent_slot) else {
                self.tidying.dropping = None;
                return false;
            };
            for handle in Few::of(segment.handles()).iter() {
                looked_count += 1;
                // SAFETY: the row is there until it is removed below, and nobody changes it.
                let row = unsafe { handle.row() };
                if row.is_absent() && self.is_settled(row.flags().state()) {
                    let found = self.tables.find(slot, row.hash(), row.key()).expect("a row is where it was found");
                    let removed = self.tables.remove(slot, row.hash(), found);
                    // SAFETY: it was just taken out, and `row` is not used any more.
                    unsafe { self.tables.free(removed) };
                }
            }
        }
        self.tidying.dropping = Some(cursor);
        true
    }
}
