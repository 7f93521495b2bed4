//! Taking in all rows of the tables, one after another, while rows go on changing.
//!
//! Whoever warms takes the group's version and calls [`Rows::begin_warming`] in the same turn, then hands over every live row of that
//! version, and at the end says that those were all. Meanwhile flushes and merges make newer versions; the rows that come are those of the
//! old one. Two claims must hold:
//!
//! - *A row that is taken in is what the tables of now say.* It is taken in only if nothing is known of its key. Whatever was written to a
//!   key since the beginning has left a row or a tombstone, and those stay: while rows are warmed, the first one that is evicted ends
//!   the warming ([`Rows::end_residency`]); a row whose time comes leaves a tombstone, where it would else leave nothing; tombstones
//!   that were flushed are dropped only of resident rows. A row is removed without a trace only if tables are known to say nothing of
//!   its key. So of a key of which nothing is known nothing has changed, and the old version is right. Who removes or replaces all rows at
//!   once ends the warming, too: [`Rows::clear`], and rows that take the place of these begin without one.
//! - *Behind the last row all keys that exist have rows*, so that a key without one does not exist: each key that the tables held
//!   at the beginning was handed over or has become known before, or its time had come; each key since then was written here; and
//!   nothing that was known has left. Only that makes rows resident again ([`Rows::end_warming`]).
//!
//! A row whose time has come by replicated time need not be handed over: it never comes back. One that was read for somebody who is
//! detached ([`Rows::fill`] with an epoch that is over) is not taken in; its key is unknown then, as it was before, and comes with the others.

use types::Slot;

use crate::rows::Rows;
use crate::rows::flags::{Flags, State};
use crate::rows::row::Content;

/// What has become of a row that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warmed {
    /// It is in memory now.
    Added,
    /// Its key is known already, by what counts.
    Known,
    /// The warming has ended: rows have left memory, or all of them were removed or replaced.
    Over,
}

impl Rows {
    /// All rows of the group's tables of now will be handed over with [`Rows::warm`]. Nothing happens if all are in memory.
    pub fn begin_warming(&mut self) {
        self.is_warming = !self.is_resident;
    }

    /// Takes in a row of the tables of the beginning, if nothing is known of its key.
    pub fn warm(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) -> Warmed {
        if !self.is_warming {
            return Warmed::Over;
        }
        let hash = self.hash(key);
        if self.tables.find(slot, hash, key).is_some() {
            return Warmed::Known;
        }
        self.free_taken();
        // Nobody has looked for it: if memory gets short, it goes first.
        self.tables.insert(slot, hash, key, content, Flags::new(State::CLEAN));
        Warmed::Added
    }

    /// All rows were handed over: they are resident again, unless the warming has ended before. Returns whether they are.
    pub fn end_warming(&mut self) -> bool {
        let is_complete = std::mem::take(&mut self.is_warming);
        self.is_resident |= is_complete;
        is_complete
    }

    /// Not all rows will be handed over.
    pub fn give_up_warming(&mut self) {
        self.is_warming = false;
    }
}
