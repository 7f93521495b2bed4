//! What is known of a key, and what tables tell of one of which nothing is.

use types::Slot;

use crate::rows::Rows;
use crate::rows::flags::{Flags, State};
use crate::rows::row::{Content, Row};

/// What is known of a key without asking the tables.
#[derive(Clone, Copy)]
pub enum Known<'a> {
    /// The key has this row.
    Row(Row<'a>),
    /// There is no such key.
    NoKey,
    /// The tables know.
    Unknown,
}

impl Rows {
    /// What is known of a key.
    #[inline]
    pub fn look(&self, slot: Slot, key: &[u8]) -> Known<'_> {
        match self.tables.find(slot, self.hash(key), key) {
            Some(found) => {
                let row = self.tables.row(found);
                row.note_reference();
                if row.is_absent() { Known::NoKey } else { Known::Row(row) }
            }
            None if self.is_resident => Known::NoKey,
            None => Known::Unknown,
        }
    }

    /// Whether the tables need not be asked for a key.
    #[inline]
    pub fn is_known(&self, slot: Slot, key: &[u8]) -> bool {
        self.is_resident || !matches!(self.look(slot, key), Known::Unknown)
    }

    /// Takes in what tables have told of a key: a row, or that there is none. `epoch` is what [`Rows::epoch`] was when whoever asked them
    /// began to. False, and nothing happens, if that is over: the answer may be older than what was written, flushed and evicted since.
    /// So it is if anything is known of the key by now, which is newer.
    pub fn fill(&mut self, slot: Slot, key: &[u8], content: Option<&Content<'_>>, epoch: u64) -> bool {
        let hash = self.hash(key);
        if epoch != self.epoch || self.is_resident || self.tables.find(slot, hash, key).is_some() {
            return false;
        }
        self.free_taken();
        let flags = Flags::new(State::CLEAN).with_referenced(true);
        match content {
            Some(content) => self.tables.insert(slot, hash, key, content, flags),
            // The tables say nothing of it that holds, so a key that is put in its place need not leave a tombstone.
            None => {
                let flags = flags.with_absent(true).with_fresh(true);
                self.tables.insert(slot, hash, key, &Content::NOTHING, flags);
            }
        }
        true
    }
}
