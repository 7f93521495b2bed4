//! The body of a leaf unit: where a row is among some data units, if it is there at all.

use crate::codec::{Input, len_u32};
use crate::error::FormatError;

use super::filter::{FILTER_BLOCK_BYTES, may_contain};
use super::index::Index;
use super::unit::UnitKind;

/// The index of some data units, and a filter of their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    filter: Vec<u8>,
    /// Where the data units are.
    pub index: Index,
}

impl Leaf {
    /// Joins a filter and an index.
    pub fn new(filter: Vec<u8>, index: Index) -> Leaf {
        Leaf { filter, index }
    }

    /// Whether a row with this hash may be here.
    pub fn may_contain(&self, hash: u64) -> bool {
        may_contain(&self.filter, hash)
    }

    /// Bytes of the filter; 0 if there is none.
    pub fn filter_bytes(&self) -> usize {
        self.filter.len()
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.filter.capacity() + self.index.bytes() + size_of::<Leaf>()
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&len_u32(self.filter.len()).to_le_bytes());
        out.extend_from_slice(&self.filter);
        self.index.encode(out);
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Leaf, FormatError> {
        let mut input = Input::new(body);
        let filter = input.string()?;
        if !filter.len().is_multiple_of(FILTER_BLOCK_BYTES) {
            return Err(FormatError::Malformed("a filter ends within a block"));
        }
        let index = Index::decode(&mut input, UnitKind::Data)?;
        if index.count() == 0 {
            return Err(FormatError::Malformed("a leaf without data"));
        }
        Ok(Leaf { filter: filter.to_vec(), index })
    }
}
