//! What flushes do to rows, and what rows that change do to flushes.

use types::Slot;

use crate::rows::Rows;
use crate::rows::flags::State;
use crate::rows::flush::Flush;
use crate::rows::records::Payloads;
use crate::rows::trie::Found;

/// Rows of a flush that was given up which a new one sets back at most before it begins.
const SET_BACK_ROWS_COUNT: usize = 4_096;

impl Rows {
    /// Bytes of the blocks of all dirty rows and tombstones.
    pub fn dirty_bytes(&self) -> usize {
        self.tables.dirty().bytes + if self.tidying.sets_back() { self.tables.flushing(self.is_odd).bytes } else { 0 }
    }

    /// How many rows and tombstones are dirty.
    pub fn dirty_count(&self) -> usize {
        self.tables.dirty().count + if self.tidying.sets_back() { self.tables.flushing(self.is_odd).count } else { 0 }
    }

    /// Begins to copy all that is dirty now, however it changes meanwhile. False if a flush is under way, or if what one has copied that
    /// was given up is still being set back, of which each call does a part, as [`Rows::tidy_some`] does.
    pub fn begin_flush(&mut self) -> bool {
        if self.flush.is_some() || self.set_back_some(SET_BACK_ROWS_COUNT) {
            return false;
        }
        self.free_taken();
        self.is_odd = !self.is_odd;
        self.flush = Some(Box::new(Flush::new(self.is_odd, self.tables.dirty().count)));
        true
    }

    /// Goes on with the flush and copies about `budget_bytes`. Returns whether all that was dirty at its beginning is copied; then it
    /// ends with [`Rows::end_flush`] once that is committed.
    pub fn go_on_flushing(&mut self, budget_bytes: usize) -> bool {
        let Rows { tables, flush, .. } = self;
        flush.as_mut().is_none_or(|flush| flush.go_on(tables, budget_bytes))
    }

    /// What the flush has copied and nobody has taken yet; `None` if there is no flush.
    pub fn flushed(&mut self) -> Option<&mut Payloads> {
        self.flush.as_mut().map(|flush| flush.payloads())
    }

    /// Bytes that the flush has copied and nobody has taken yet, those among them that are set aside until it comes to them.
    pub fn copied_bytes(&self) -> usize {
        self.flush.as_ref().map_or(0, |flush| flush.copied_bytes())
    }

    /// Ends the flush, if there is one, without effect: what it has copied is dirty again.
    pub fn give_up_flush(&mut self) {
        if self.flush.take().is_some() {
            self.tidying.begin_to_set_back();
        }
    }

    /// Ends a flush that has copied everything, all of which the tables now hold: what was not changed since is clean. Whoever asks tables
    /// from now on must ask those.
    ///
    /// # Panics
    /// If there is none, or it has not copied everything.
    pub fn end_flush(&mut self) {
        let flush = self.flush.take().expect("a flush that is committed is under way");
        self.is_held = false;
        assert!(flush.is_done(), "a flush is committed with all that was dirty");
        self.epoch += 1;
        if self.tables.absent_count() > 0 {
            self.tidying.begin_to_drop();
        }
    }

    /// Whether a row in this state is as a committed flush has left it, or clean from the beginning.
    pub(crate) fn is_settled(&self, state: State) -> bool {
        let is_uncommitted =
            state == State::flushing(self.is_odd) && (self.flush.is_some() || self.tidying.sets_back());
        !state.is_dirty() && !is_uncommitted
    }

    /// Whether the flush under way is to copy a row, and has not.
    pub(crate) fn is_due(&self, found: Found) -> bool {
        self.flush.as_ref().is_some_and(|flush| flush.is_due(self.tables.row(found).flags().state()))
    }

    /// A row is about to be changed: it is dirty then, and a flush that has yet to copy it does so first.
    #[inline]
    pub(crate) fn make_dirty(&mut self, slot: Slot, found: Found) {
        if self.tables.row(found).flags().state() != State::dirty(self.is_odd) {
            self.make_dirty_anew(slot, found);
        }
    }

    #[inline(never)]
    fn make_dirty_anew(&mut self, slot: Slot, found: Found) {
        let is_due = self.is_due(found);
        // SAFETY: `self` is borrowed mutably, and nobody changes or frees the row in this function.
        let row = unsafe { found.handle().row() };
        if is_due && let Some(flush) = &mut self.flush {
            flush.set_aside(slot, row);
        }
        // What a flush copies may come to be in tables.
        let is_fresh = row.flags().is_fresh() && !is_due;
        self.tables.set_flags(slot, row, row.flags().with_fresh(is_fresh).with_state(State::dirty(self.is_odd)));
        // SAFETY: as above, and no row has moved since this one was found.
        unsafe { found.note_dirty() };
    }
}
