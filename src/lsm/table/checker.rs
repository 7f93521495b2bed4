//! Checking a table from its first byte to its last. Does no I/O.

use std::rc::Rc;

use host::ALIGNMENT;

use crate::codec::Input;
use crate::error::FormatError;

use super::block::{Block, BlockCursor};
use super::builder::LEAF_ROWS_COUNT_LIMIT;
use super::filter;
use super::footer::{FOOTER_BYTES, Footer};
use super::index::{Index, bound_between};
use super::info::TableInfo;
use super::leaf::Leaf;
use super::properties::{BLOB_USES_COUNT_MAX, Properties};
use super::top::Top;
use super::unit::{UNIT_HEADER_BYTES, UnitKind, UnitRef, decode_unit};

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Data units and leaves, or the top unit.
    Leaves,
    Properties,
    /// Zeros and the footer.
    End,
}

/// A table whose bytes are checked one after another: that they are what was written, and that all they say of one
/// another is so. It works out again what a builder does, and compares.
pub struct TableChecker {
    info: Rc<TableInfo>,
    stage: Stage,
    /// Bytes of a unit that is not complete, or of the end.
    pending: Vec<u8>,
    /// Where `pending` begins in the table.
    offset: u64,
    /// The data units since the last leaf, as its index is to have them.
    data: Index,
    /// Invariant: the bound of the next leaf, if there are data units for it.
    leaf_bound: Vec<u8>,
    /// Invariant: those of all rows in `data`, and no more than a leaf has.
    hashes: Vec<u64>,
    /// The leaves, as the top is to have them.
    leaves: Index,
    /// Invariant: the key of the last row, if there is one.
    last_key: Vec<u8>,
    counted: Properties,
    footer: Option<Footer>,
}

impl TableChecker {
    /// A table of which nothing has come.
    pub fn new(info: Rc<TableInfo>) -> TableChecker {
        TableChecker {
            counted: Properties { merged_ms: info.properties.merged_ms, ..Properties::default() },
            info,
            stage: Stage::Leaves,
            pending: Vec::new(),
            offset: 0,
            data: Index::default(),
            leaf_bound: Vec::new(),
            hashes: Vec::new(),
            leaves: Index::default(),
            last_key: Vec::new(),
            footer: None,
        }
    }

    /// Where in the table that begins which is being checked: after an error, what is damaged.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next bytes. Takes time in proportion to them, and to a top unit when it ends.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.pending.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(unit) = self.next_unit(taken)? {
            let end = taken + unit.len as usize;
            let body = decode_unit(self.pending.get(taken..end).unwrap_or_default(), self.info.id, unit)?;
            self.check_unit(unit, body)?;
            self.offset += u64::from(unit.len);
            taken = end;
        }
        self.pending.drain(..taken);
        match self.offset + self.pending.len() as u64 > self.info.len {
            true => Err(FormatError::Malformed("there is more of a table than was to be")),
            false => Ok(()),
        }
    }

    /// Checks that all of the table has come, and its end.
    pub fn finish(self) -> Result<(), FormatError> {
        let end = self.offset + self.pending.len() as u64;
        let (Some(expected), true) = (self.footer, end == self.info.len) else { return Err(FormatError::Truncated) };
        let (zeros, footer) = self.pending.split_last_chunk::<FOOTER_BYTES>().ok_or(FormatError::Truncated)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(FormatError::Malformed("there are bytes between the units of a table and its footer"));
        }
        match Footer::decode(footer)? == expected {
            true => Ok(()),
            false => Err(FormatError::Malformed("a footer is that of another table")),
        }
    }

    /// The unit that begins at a place in `pending`, if all of it has come.
    fn next_unit(&self, at: usize) -> Result<Option<UnitRef>, FormatError> {
        let Some(bytes) = self.pending.get(at..).filter(|bytes| bytes.len() >= UNIT_HEADER_BYTES) else {
            return Ok(None);
        };
        if self.stage == Stage::End {
            return Ok(None);
        }
        let mut header = Input::new(bytes);
        let (_crc, stored, _len, kind) = (header.u32()?, header.u32()? as usize, header.u32()?, header.u8()?);
        let kinds = match self.stage {
            Stage::Leaves => &[UnitKind::Data, UnitKind::Leaf, UnitKind::Top][..],
            Stage::Properties | Stage::End => &[UnitKind::Properties],
        };
        let kind = kinds.iter().find(|expected| **expected as u8 == kind);
        let kind = *kind.ok_or(FormatError::Malformed("a unit stands where none of its kind does"))?;
        let bytes_max = kind.body_bytes_max();
        if stored > bytes_max {
            return Err(FormatError::TooLong { bytes: stored as u64, bytes_max: bytes_max as u64 });
        }
        let len = UNIT_HEADER_BYTES + stored;
        // The longest body of all is far below 4 GiB.
        let unit = UnitRef { kind, offset: self.offset, len: len as u32 };
        Ok((bytes.len() >= len).then_some(unit))
    }

    fn check_unit(&mut self, unit: UnitRef, body: Vec<u8>) -> Result<(), FormatError> {
        match unit.kind {
            UnitKind::Data => self.check_data(unit, Rc::new(Block::decode(body)?)),
            UnitKind::Leaf => self.check_leaf(unit, &Leaf::decode(&body)?),
            UnitKind::Top => self.check_top(unit, &Top::decode(&body)?),
            UnitKind::Properties => self.check_properties(unit, &Properties::decode(&body)?),
        }
    }

    fn check_data(&mut self, unit: UnitRef, block: Rc<Block>) -> Result<(), FormatError> {
        let mut rows = BlockCursor::new(block);
        rows.first();
        let first = rows.row().ok_or(FormatError::Malformed("a data unit without rows"))?;
        let is_first = self.counted.rows == 0;
        if !is_first && first.key <= self.last_key.as_slice() {
            return Err(FormatError::Malformed("the rows of a table do not ascend"));
        }
        let bound = if is_first { &[] } else { bound_between(&self.last_key, first.key) };
        if self.hashes.is_empty() {
            bound.clone_into(&mut self.leaf_bound);
        }
        self.data.push(bound, unit);
        while let Some(row) = rows.row() {
            self.hashes.push(filter::hash(row.key));
            self.counted.add(&row);
            if self.counted.blobs.len() > BLOB_USES_COUNT_MAX {
                return Err(FormatError::Malformed("the rows of a table lead to too many blob files"));
            }
            row.key.clone_into(&mut self.last_key);
            rows.next();
        }
        let is_short = self.data.bytes() <= UnitKind::Leaf.body_bytes_max();
        match is_short && self.hashes.len() <= LEAF_ROWS_COUNT_LIMIT {
            true => Ok(()),
            false => Err(FormatError::Malformed("there are more rows than a leaf may have")),
        }
    }

    fn check_leaf(&mut self, unit: UnitRef, leaf: &Leaf) -> Result<(), FormatError> {
        if leaf.index != self.data {
            return Err(FormatError::Malformed("the index of a leaf is not that of the units before it"));
        }
        if !self.hashes.iter().all(|hash| leaf.may_contain(*hash)) {
            return Err(FormatError::Malformed("a filter hides rows that are there"));
        }
        self.leaves.push(&self.leaf_bound, unit);
        if self.leaves.bytes() > UnitKind::Top.body_bytes_max() {
            return Err(FormatError::Malformed("there are more leaves than a table may have"));
        }
        self.hashes.clear();
        self.data = Index::default();
        Ok(())
    }

    fn check_top(&mut self, unit: UnitRef, top: &Top) -> Result<(), FormatError> {
        if unit != self.info.top || self.data.count() > 0 || top.index != self.leaves {
            return Err(FormatError::Malformed("the top of a table is not that of the units before it"));
        }
        self.counted.complete(std::mem::take(&mut self.last_key), &top.ranges);
        self.counted.stored_bytes = unit.offset + u64::from(unit.len);
        self.stage = Stage::Properties;
        Ok(())
    }

    fn check_properties(&mut self, unit: UnitRef, properties: &Properties) -> Result<(), FormatError> {
        if *properties != self.counted || self.info.properties != self.counted {
            return Err(FormatError::Malformed("the properties of a table are not those of its rows"));
        }
        let TableInfo { id, len, top, .. } = *self.info;
        let end = unit.offset + u64::from(unit.len);
        if len != (end + FOOTER_BYTES as u64).next_multiple_of(ALIGNMENT as u64) {
            return Err(FormatError::Malformed("a table is not as long as was said"));
        }
        self.footer = Some(Footer { table: id, len, top, properties: unit });
        self.stage = Stage::End;
        Ok(())
    }
}
