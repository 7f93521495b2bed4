//! A unit as readers hold it.

use std::rc::Rc;

use crate::error::FormatError;
use crate::ids::TableId;

use super::block::Block;
use super::leaf::Leaf;
use super::properties::Properties;
use super::top::Top;
use super::unit::{UnitKind, UnitRef, decode_unit};

/// A unit that was read and checked. Cheap to clone.
#[derive(Clone)]
pub enum Unit {
    /// Rows.
    Data(Rc<Block>),
    /// The index and the filter of some data units.
    Leaf(Rc<Leaf>),
    /// The index of the leaves, and the range tombstones.
    Top(Rc<Top>),
    /// What is known of the table as a whole.
    Properties(Rc<Properties>),
}

impl Unit {
    /// Reads the unit that `bytes` are.
    pub fn decode(bytes: &[u8], table: TableId, unit: UnitRef) -> Result<Unit, FormatError> {
        let body = decode_unit(bytes, table, unit)?;
        Ok(match unit.kind {
            UnitKind::Data => Unit::Data(Rc::new(Block::decode(body)?)),
            UnitKind::Leaf => Unit::Leaf(Rc::new(Leaf::decode(&body)?)),
            UnitKind::Top => Unit::Top(Rc::new(Top::decode(&body)?)),
            UnitKind::Properties => Unit::Properties(Rc::new(Properties::decode(&body)?)),
        })
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Unit::Data(block) => block.bytes(),
            Unit::Leaf(leaf) => leaf.bytes(),
            Unit::Top(top) => top.bytes(),
            Unit::Properties(_) => size_of::<Properties>(),
        }
    }
}
