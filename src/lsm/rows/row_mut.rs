//! A row that is about to be changed.

use types::Slot;

use crate::rows::Rows;
use crate::rows::row::{Content, Row};
use crate::rows::trie::Found;

/// A row that may be changed where it stands. Its key stays.
pub struct RowMut<'a> {
    rows: &'a mut Rows,
    slot: Slot,
    found: Found,
}

impl<'a> RowMut<'a> {
    pub(crate) fn new(rows: &'a mut Rows, slot: Slot, found: Found) -> RowMut<'a> {
        RowMut { rows, slot, found }
    }

    /// What it holds.
    #[inline]
    pub fn row(&self) -> Row<'_> {
        self.rows.tables.row(self.found)
    }

    /// Gives it other content.
    #[inline]
    pub fn set(&mut self, content: &Content<'_>) {
        self.rows.make_dirty(self.slot, self.found);
        if let Some(old) = self.rows.tables.set(self.slot, self.found, content) {
            // SAFETY: it is not in its segment any more, and nobody looks at rows while they are borrowed mutably.
            unsafe { self.rows.tables.free(old) };
        }
    }

    /// Gives it other content, and shows what it was.
    pub fn replace(self, content: &Content<'_>) -> Row<'a> {
        let RowMut { rows, slot, found } = self;
        rows.make_dirty(slot, found);
        let old = rows.tables.replace(slot, found, content, rows.tables.row(found).flags());
        rows.taken = Some(old);
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
        self.rows.make_dirty(self.slot, self.found);
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
        self.rows.make_dirty(self.slot, self.found);
        let flags = self.row().flags();
        let old = self.rows.tables.replace(self.slot, self.found, content, flags);
        // SAFETY: it is not in its segment any more, and nobody looks at rows while they are borrowed mutably.
        unsafe { self.rows.tables.free(old) };
    }
}
