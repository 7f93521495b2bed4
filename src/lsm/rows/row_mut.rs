//! A row that is about to be changed.

use types::Slot;

use crate::rows::row::{Content, Handle, Row};
use crate::rows::tables::Tables;
use crate::rows::trie::Found;

/// A row that may be changed where it stands. Its key stays.
pub struct RowMut<'a> {
    tables: &'a mut Tables,
    /// Where what was taken out lies until rows are next changed.
    taken: &'a mut Option<Handle>,
    slot: Slot,
    found: Found,
}

impl<'a> RowMut<'a> {
    pub(crate) fn new(tables: &'a mut Tables, taken: &'a mut Option<Handle>, slot: Slot, found: Found) -> RowMut<'a> {
        RowMut { tables, taken, slot, found }
    }

    /// What it holds.
    #[inline]
    pub fn row(&self) -> Row<'_> {
        self.tables.row(self.found)
    }

    /// Gives it other content.
    #[inline]
    pub fn set(&mut self, content: &Content<'_>) {
        let old = self.tables.set(self.slot, self.found, content);
        self.free(old);
    }

    /// Gives it other content, and shows what it was.
    pub fn replace(self, content: &Content<'_>) -> Row<'a> {
        let RowMut { tables, taken, slot, found } = self;
        let old = tables.replace(slot, found, content);
        *taken = Some(old);
        // SAFETY: the row is given back when rows are next changed, which are borrowed as long as the result lives.
        unsafe { old.row() }
    }

    /// Gives it another value.
    #[inline]
    pub fn set_value(&mut self, value: &[u8]) {
        let row = self.row();
        let content = Content { kind: row.kind(), expiry_ms: row.expiry_ms(), value: [value, b""] };
        self.set(&content);
    }

    /// Lets it expire at another time, in milliseconds since 1970 UTC, or not at all.
    pub fn set_expiry(&mut self, expiry_ms: Option<u64>) {
        // SAFETY: the row stays as it is until it is given back by `move_to`.
        let row = unsafe { self.found.handle().row() };
        if row.expiry_ms() != expiry_ms {
            self.move_to(&Content { kind: row.kind(), expiry_ms, value: [row.value(), b""] });
        }
    }

    /// Writes a part of the value; what lies between its end and `offset` becomes zero.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        // SAFETY: nobody looks at rows while they are borrowed mutably.
        if unsafe { self.found.handle().write_at(offset, bytes) } {
            return;
        }
        // SAFETY: the row stays as it is until it is given back by `move_to`.
        let row = unsafe { self.found.handle().row() };
        let (kind, expiry_ms, value) = (row.kind(), row.expiry_ms(), row.value());
        // It did not fit, so it reaches beyond the end of the value.
        if let Some(head) = value.get(..offset) {
            return self.move_to(&Content { kind, expiry_ms, value: [head, bytes] });
        }
        let mut head = Vec::with_capacity(offset);
        head.extend_from_slice(value);
        head.resize(offset, 0);
        self.move_to(&Content { kind, expiry_ms, value: [&head, bytes] });
    }

    /// Puts a new row in the place of this one. The content may lie in the old one.
    fn move_to(&mut self, content: &Content<'_>) {
        let old = self.tables.replace(self.slot, self.found, content);
        self.free(Some(old));
    }

    fn free(&mut self, old: Option<Handle>) {
        if let Some(old) = old {
            // SAFETY: it is not in its segment any more, and nobody looks at rows while they are borrowed mutably.
            unsafe { self.tables.free(old) };
        }
    }
}
