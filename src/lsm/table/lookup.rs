//! Looking up one row in a table. Does no I/O: it says which unit it needs, and is handed it.

use std::rc::Rc;

use super::block::BlockCursor;
use super::decoded::Unit;
use super::filter;
use super::info::TableInfo;
use super::leaf::Leaf;
use super::stored_row::StoredRow;
use super::top::Top;
use super::unit::{UnitKind, UnitRef};

/// What a table says of a key.
pub enum TableAnswer {
    /// It has this row.
    Row(BlockCursor),
    /// It has no row, and deletes whatever older tables have.
    Deleted,
    /// It says nothing.
    Nothing,
}

impl TableAnswer {
    /// The row, if there is one.
    pub fn row(&self) -> Option<StoredRow<'_>> {
        match self {
            TableAnswer::Row(at) => at.row(),
            TableAnswer::Deleted | TableAnswer::Nothing => None,
        }
    }
}

/// The lookup of one row in a table.
pub struct TableLookup {
    table: Rc<TableInfo>,
    key: Vec<u8>,
    top: Option<Rc<Top>>,
    leaf: Option<Rc<Leaf>>,
    data: Option<BlockCursor>,
}

impl TableLookup {
    /// Looks a row key up.
    pub fn new(table: Rc<TableInfo>, key: &[u8]) -> TableLookup {
        TableLookup { table, key: key.to_vec(), top: None, leaf: None, data: None }
    }

    /// Goes on: the answer, or the unit without which there is none.
    pub fn poll(&mut self) -> Result<TableAnswer, UnitRef> {
        let properties = &self.table.properties;
        if self.key < properties.smallest || self.key > properties.largest {
            return Ok(TableAnswer::Nothing);
        }
        let Some(top) = &self.top else { return Err(self.table.top) };
        // What the table says where it has no row.
        let covered = top.ranges.covering(&self.key).is_some();
        let without = if covered { TableAnswer::Deleted } else { TableAnswer::Nothing };
        let Some(leaf) = &self.leaf else {
            let unit = top.index.find(&self.key).and_then(|idx| top.index.unit(idx, UnitKind::Leaf));
            return unit.map_or(Ok(without), Err);
        };
        if self.data.is_none() {
            let may_be_there = leaf.may_contain(filter::hash(&self.key));
            let idx = leaf.index.find(&self.key).filter(|_| may_be_there);
            let unit = idx.and_then(|idx| leaf.index.unit(idx, UnitKind::Data));
            return unit.map_or(Ok(without), Err);
        }
        let found = self.data.take().filter(|data| data.key() == Some(self.key.as_slice()));
        Ok(found.map_or(without, TableAnswer::Row))
    }

    /// Hands over what [`TableLookup::poll`] asked for.
    ///
    /// # Panics
    /// If it asked for something else.
    pub fn supply(&mut self, unit: Unit) {
        match unit {
            Unit::Top(top) => self.top = Some(top),
            Unit::Leaf(leaf) => self.leaf = Some(leaf),
            Unit::Data(block) => {
                let mut data = BlockCursor::new(block);
                data.seek(&self.key);
                self.data = Some(data);
            }
            Unit::Properties(_) => panic!("no lookup asks for properties"),
        }
    }
}
