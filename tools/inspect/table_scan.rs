//! Reading a table from front to back, over places that are damaged.

use std::ops::ControlFlow;
use std::rc::Rc;

use lsm::table::block::BlockCursor;
use lsm::table::leaf::Leaf;
use lsm::table::{Index, StoredRow, Top, Unit, UnitKind, UnitRef, filter};
use lsm::version::PlacedTable;
use lsm::{Error, FormatError};
use serde::Serialize;

use crate::progress::Progress;
use crate::store::Store;

/// What a table is made of, as far as it could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TableShape {
    pub(crate) leaves_count: u64,
    pub(crate) data_units_count: u64,
    pub(crate) data_bytes: u64,
    pub(crate) filter_bytes: u64,
    pub(crate) range_tombstones_count: u64,
}

/// A table being read.
pub(crate) struct TableScan<'a> {
    store: &'a Store,
    table: &'a Rc<PlacedTable>,
    progress: &'a Progress,
    /// What could not be read, or contradicts the rest.
    pub(crate) errors: Vec<Error>,
}

impl<'a> TableScan<'a> {
    pub(crate) fn new(store: &'a Store, table: &'a Rc<PlacedTable>, progress: &'a Progress) -> TableScan<'a> {
        TableScan { store, table, progress, errors: Vec::new() }
    }

    fn unit(&mut self, unit: UnitRef) -> Option<Unit> {
        self.progress.advance(u64::from(unit.len));
        match self.store.unit(self.table, unit) {
            Ok(unit) => Some(unit),
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    /// Notes that something contradicts the rest of the table.
    pub(crate) fn contradiction(&mut self, unit: UnitRef, what: &'static str) {
        let number = self.table.file.number();
        let offset = self.table.base.saturating_add(unit.offset);
        self.errors.push(self.store.files().damaged(number, offset, FormatError::Malformed(what)));
    }

    /// What enters the table.
    pub(crate) fn top(&mut self) -> Option<Rc<Top>> {
        match self.unit(self.table.info.top)? {
            Unit::Top(top) => Some(top),
            _ => None,
        }
    }

    fn leaf(&mut self, unit: UnitRef) -> Option<Rc<Leaf>> {
        match self.unit(unit)? {
            Unit::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    /// What the table is made of. Reads its leaves and no rows.
    pub(crate) fn shape(&mut self) -> TableShape {
        let mut shape = TableShape::default();
        let Some(top) = self.top() else { return shape };
        shape.range_tombstones_count = top.ranges.count() as u64;
        for unit in units(&top.index, UnitKind::Leaf, 0) {
            shape.leaves_count += 1;
            let Some(leaf) = self.leaf(unit) else { continue };
            shape.filter_bytes += leaf.filter_bytes() as u64;
            for data in units(&leaf.index, UnitKind::Data, 0) {
                shape.data_units_count += 1;
                shape.data_bytes += u64::from(data.len);
            }
        }
        shape
    }

    /// Shows the rows from a key on, until `visit` breaks. Units that cannot be read are noted and passed over; so is what
    /// contradicts the indexes or the filters.
    pub(crate) fn rows(&mut self, from: &[u8], mut visit: impl FnMut(UnitRef, StoredRow<'_>) -> ControlFlow<()>) {
        let Some(top) = self.top() else { return };
        let mut last_key: Option<Vec<u8>> = None;
        let first_leaf = top.index.find(from).unwrap_or(0);
        for (idx, unit) in units(&top.index, UnitKind::Leaf, first_leaf).enumerate() {
            let Some(leaf) = self.leaf(unit) else { continue };
            let first_data = if idx == 0 { leaf.index.find(from).unwrap_or(0) } else { 0 };
            for (behind_first, data) in units(&leaf.index, UnitKind::Data, first_data).enumerate() {
                let bound = leaf.index.bound(first_data + behind_first);
                if self.data(data, &leaf, (from, bound), &mut last_key, &mut visit).is_break() {
                    return;
                }
            }
        }
    }

    fn data(
        &mut self,
        unit: UnitRef,
        leaf: &Leaf,
        (from, bound): (&[u8], &[u8]),
        last_key: &mut Option<Vec<u8>>,
        visit: &mut impl FnMut(UnitRef, StoredRow<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(Unit::Data(block)) = self.unit(unit) else { return ControlFlow::Continue(()) };
        let mut cursor = BlockCursor::new(block);
        cursor.first();
        while let Some(row) = cursor.row() {
            if row.key < bound || last_key.as_ref().is_some_and(|last| last.as_slice() >= row.key) {
                self.contradiction(unit, "a row is not where the index says");
                return ControlFlow::Continue(());
            }
            if !leaf.may_contain(filter::hash(row.key)) {
                self.contradiction(unit, "the filter does not know a row");
                return ControlFlow::Continue(());
            }
            if row.key >= from {
                visit(unit, row)?;
            }
            let key = last_key.get_or_insert_default();
            key.clear();
            key.extend_from_slice(row.key);
            cursor.next();
        }
        ControlFlow::Continue(())
    }
}

/// The units of an index from one on.
fn units(index: &Index, kind: UnitKind, from: usize) -> impl Iterator<Item = UnitRef> {
    (from..index.count()).filter_map(move |idx| index.unit(idx, kind))
}
