//! Making room: rows go of which the tables say the same, those first that nobody has looked for.
//!
//! A hand goes round and round over the segments (CLOCK; Corbató, "A Paging Experiment with the Multics System", 1968). What was looked for
//! since it last came by is spared once. Nothing that differs from the tables ever goes, nor what a flush has copied that is not
//! committed.

use types::Slot;

use crate::rows::Rows;
use crate::rows::cursor::Few;
use crate::rows::flags::State;
use crate::rows::row::Handle;
use crate::rows::row_position::RowPosition;
use crate::rows::tables::Tables;

/// How often the hand may come by the last segment in one go: what it spares in the first round, it may take in the second, and what is
/// still there behind that cannot go now.
const ENDS_COUNT_MAX: u32 = 3;

impl Rows {
    /// Tables may hold keys from now on of which there are no rows. Whoever warms rows warms them in vain.
    pub fn end_residency(&mut self) {
        (self.is_resident, self.is_warming) = (false, false);
    }

    /// Removes clean rows and tombstones of about `want_bytes` from memory, and looks at about `looks_max` of all for that. Returns the
    /// bytes of their blocks: fewer than wanted if most were looked for lately, are dirty or pinned. With the first one rows are not
    /// resident any more.
    pub fn evict_some(&mut self, want_bytes: usize, looks_max: usize) -> usize {
        self.free_taken();
        // Rows whose tables are damaged are to be written anew.
        let looks_max = if self.is_held { 0 } else { looks_max };
        let (mut evicted_bytes, mut looks_count, mut ends_count) = (0, 0, 0);
        while evicted_bytes < want_bytes && looks_count < looks_max {
            looks_count += 1;
            let Some((slot, segment, from)) = self.clock.next(&self.tables, Tables::next_not_dirty_slot) else {
                ends_count += 1;
                if ends_count == ENDS_COUNT_MAX {
                    break;
                }
                continue;
            };
            // What was spared is not to be come across again at once.
            // SAFETY: the segment has these rows, and nobody changes them meanwhile.
            let is_next = |handle: &Handle| unsafe { handle.row() }.hash() >= from;
            for handle in Few::of(segment.handles().filter(is_next)).iter() {
                looks_count += 1;
                evicted_bytes += self.evict(slot, handle);
                if evicted_bytes >= want_bytes {
                    break;
                }
            }
        }
        evicted_bytes
    }

    /// Removes a row if that may be. Returns the bytes of its block.
    fn evict(&mut self, slot: Slot, handle: Handle) -> usize {
        // SAFETY: the row is there until it is removed below, and its flags alone are changed.
        let row = unsafe { handle.row() };
        let flags = row.flags();
        if !self.is_settled(flags.state()) || self.pins.contains(&RowPosition::of(slot, row.hash())) {
            return 0;
        }
        if flags.is_referenced() {
            // A flush that is committed is forgotten by the way, so that the one after the next is not taken for it.
            self.tables.set_flags(slot, row, flags.with_referenced(false).with_state(State::CLEAN));
            return 0;
        }
        let bytes = row.block_bytes();
        let found = self.tables.find(slot, row.hash(), row.key()).expect("a row is where it was found");
        let removed = self.tables.remove(slot, row.hash(), found);
        // SAFETY: it was just taken out, and `row` is not used any more.
        unsafe { self.tables.free(removed) };
        self.end_residency();
        bytes
    }

    /// Keeps all rows that are there in memory until a flush has ended: what the tables hold is damaged.
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    /// Keeps the row or tombstone of a key in memory, or one to come, until [`Rows::unpin_all`].
    pub fn pin(&mut self, slot: Slot, key: &[u8]) {
        self.pins.insert(RowPosition::of(slot, self.hash(key)));
    }

    /// No key is pinned any more.
    pub fn unpin_all(&mut self) {
        self.pins.clear();
    }
}
