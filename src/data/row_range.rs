//! Runs of rows, by their positions.
//!
//! Rows have *positions*: the slot in the upper 16 bits of a number, 48 bits of the key's hash in the lower ones. Tables and memory have the
//! same order of them.

use types::{SLOTS_COUNT, Slot};

use crate::scan_cursor::ScanCursor;

const HASH_BITS: u32 = 48;
const HASH_MASK: u64 = (1 << HASH_BITS) - 1;

/// The position of a row.
pub fn position(slot: usize, hash: u64) -> u64 {
    (slot as u64) << HASH_BITS | hash
}

/// The slot and the hash of a position. Behind the last slot it has none.
pub(crate) fn slot_and_hash(position: u64) -> (usize, u64) {
    ((position >> HASH_BITS) as usize, position & HASH_MASK)
}

/// The last place at a row or before it at which a look at rows may stop: a `SCAN` can go on there.
pub fn stop_before(position: u64) -> u64 {
    position - (position & ScanCursor::DROPPED_MASK)
}

/// A run of rows, by their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// Of the first row, or before it.
    pub from: u64,
    /// Behind the last row.
    pub to: u64,
    /// So many rows are enough.
    pub rows_max: usize,
}

impl RowRange {
    /// From a place in a slot to the end of another slot.
    pub(crate) fn of_slots(from: (usize, u64), last: Slot, rows_max: usize) -> RowRange {
        RowRange { from: position(from.0, from.1), to: position(last.idx() + 1, 0), rows_max }
    }

    /// All rows.
    pub(crate) fn of_all(from: u64, rows_max: usize) -> RowRange {
        RowRange { from, to: position(SLOTS_COUNT, 0), rows_max }
    }
}
