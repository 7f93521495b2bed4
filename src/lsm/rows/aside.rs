//! Copies of rows that were changed before a flush came to them, in the order in which it comes.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use types::Slot;

use crate::rows::records::{key_of_record, put_record, record_bytes};
use crate::rows::row::Row;
use crate::rows::row_position::RowPosition;

/// The record of a row, ordered by its row key.
#[derive(Debug)]
struct Copied {
    place: RowPosition,
    record: Box<[u8]>,
}

impl Copied {
    fn order(&self) -> (RowPosition, &[u8]) {
        (self.place, key_of_record(&self.record))
    }
}

impl PartialEq for Copied {
    fn eq(&self, other: &Copied) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Copied {}

impl PartialOrd for Copied {
    fn partial_cmp(&self, other: &Copied) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Copied {
    fn cmp(&self, other: &Copied) -> Ordering {
        self.place.cmp(&other.place).then_with(|| self.order().1.cmp(other.order().1))
    }
}

/// Copies that a flush has not come to yet.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    copies: BTreeSet<Copied>,
    bytes: usize,
}

impl Aside {
    /// Copies a row, of which there is no copy.
    pub(crate) fn put(&mut self, slot: Slot, row: Row<'_>) {
        let mut record = Vec::with_capacity(record_bytes(row));
        put_record(slot, row, &mut record);
        let copied = Copied { place: RowPosition::of(slot, row.hash()), record: record.into_boxed_slice() };
        self.bytes += size_of::<Copied>() + copied.record.len();
        assert!(self.copies.insert(copied), "a row is changed once before a flush comes to it");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Bytes of the copies and of what leads to them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the first one stands, and its key.
    pub(crate) fn first(&self) -> Option<(RowPosition, &[u8])> {
        self.copies.first().map(Copied::order)
    }

    /// Takes the record of the first one.
    pub(crate) fn take_first(&mut self) -> Option<Box<[u8]>> {
        let Copied { record, .. } = self.copies.pop_first()?;
        self.bytes -= size_of::<Copied>() + record.len();
        Some(record)
    }
}
