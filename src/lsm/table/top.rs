//! The body of the top unit: where the leaves are, and what is deleted in older tables.

use crate::codec::Input;
use crate::error::FormatError;

use super::index::Index;
use super::ranges::RangeTombstones;
use super::unit::UnitKind;

/// What a table is entered by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Ranges that are deleted in older tables.
    pub ranges: RangeTombstones,
    /// Where the leaves are.
    pub index: Index,
}

impl Top {
    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.ranges.bytes() + self.index.bytes() + size_of::<Top>()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.ranges.encode(out);
        self.index.encode(out);
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Top, FormatError> {
        let mut input = Input::new(body);
        let ranges = RangeTombstones::decode(&mut input)?;
        Ok(Top { ranges, index: Index::decode(&mut input, UnitKind::Leaf)? })
    }
}
