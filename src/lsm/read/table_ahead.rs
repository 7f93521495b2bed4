//! Reading a table ahead of a cursor that walks over it from front to back.

use std::rc::Rc;

use host::{Disk, IoClass};

use crate::error::Error;
use crate::files::Files;
use crate::ids::TableId;
use crate::table::{Top, Unit, UnitKind, UnitRef};
use crate::version::PlacedTable;

use super::read_ahead::ReadAhead;

/// The units of a table in the order in which a cursor asks for them: each leaf, then the data before it.
pub(super) struct TableAhead<D: Disk> {
    table: Rc<PlacedTable>,
    reads: ReadAhead<D>,
    /// Bytes that lie together, some of which may be asked for next.
    bytes: Vec<u8>,
    /// Where they begin in the file.
    offset: u64,
}

impl<D: Disk> TableAhead<D> {
    /// Reads nothing until it is asked for a unit. `None` if the table lies beyond all files.
    pub(super) fn new(
        files: &Rc<Files<D>>,
        table: &Rc<PlacedTable>,
        top: &Top,
        class: IoClass,
        reads_count: usize,
    ) -> Option<TableAhead<D>> {
        let base = table.base;
        base.checked_add(table.info.len)?;
        let leaves = (0..top.index.count()).filter_map(|idx| top.index.unit(idx, UnitKind::Leaf));
        let mut begin = 0;
        let ranges = leaves.flat_map(|leaf| {
            let end = leaf.offset + u64::from(leaf.len);
            let data = std::mem::replace(&mut begin, end)..leaf.offset;
            [leaf.offset..end, data]
        });
        // Of a top that leads beyond its table, nothing is read ahead.
        let ranges = ranges.filter(|range| range.end <= table.info.len);
        let ranges = ranges.map(|range| base + range.start..base + range.end);
        let reads = ReadAhead::new(Rc::clone(files), table.file.number(), (class, reads_count), ranges);
        Some(TableAhead { table: Rc::clone(table), reads, bytes: Vec::new(), offset: 0 })
    }

    /// The table.
    pub(super) fn id(&self) -> TableId {
        self.table.info.id
    }

    /// A leaf or a data unit. `None` if it is not among those that are still to come.
    pub(super) async fn unit(&mut self, files: &Files<D>, unit: UnitRef) -> Result<Option<Unit>, Error> {
        let Some(begin) = self.table.base.checked_add(unit.offset) else { return Ok(None) };
        let end = begin.saturating_add(u64::from(unit.len));
        if !(self.offset..self.offset + self.bytes.len() as u64).contains(&begin) {
            if !self.reads.skip_to(begin) {
                return Ok(None);
            }
            self.bytes.clear();
        }
        while self.bytes.is_empty() || self.offset + (self.bytes.len() as u64) < end {
            let Some(read) = self.reads.next().await else { return Ok(None) };
            let (offset, read) = read?;
            if self.bytes.is_empty() {
                self.offset = offset;
            } else if offset != self.offset + self.bytes.len() as u64 {
                // A unit that ends beyond its leaf. Whoever reads it alone will see what is wrong with it.
                return Ok(None);
            }
            self.forget_before(begin);
            self.bytes.extend_from_slice(read.bytes());
        }
        let skipped = usize::try_from(begin - self.offset).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(skipped..).and_then(|bytes| bytes.get(..unit.len as usize));
        let decoded = bytes.map(|bytes| Unit::decode(bytes, self.table.info.id, unit)).transpose();
        decoded.map_err(|source| files.damaged(self.table.file.number(), begin, source))
    }

    fn forget_before(&mut self, offset: u64) {
        let count = usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..count);
        self.offset += count as u64;
    }
}
