//! Where a key stands among all.

use types::Slot;

use crate::rows::row::{HASH_BITS, Hash48};

/// The slot of a key above the 48 bits of its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowPosition(u64);

impl RowPosition {
    pub(crate) fn of(slot: Slot, hash: Hash48) -> RowPosition {
        RowPosition(u64::from(slot.number()) << HASH_BITS | hash.number())
    }

    /// The end of what shares a segment of a slot, of which the next one begins at `behind`.
    pub(crate) fn end(slot: Slot, behind: Option<Hash48>) -> RowPosition {
        behind.map_or(RowPosition((u64::from(slot.number()) + 1) << HASH_BITS), |hash| RowPosition::of(slot, hash))
    }

    pub(crate) fn slot(self) -> Slot {
        Slot::new((self.0 >> HASH_BITS) as u16).expect("it was made of one")
    }
}
