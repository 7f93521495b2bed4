//! Ranges of keys that are deleted in older tables.

use crate::codec::{Input, len_u32, put_string};
use crate::error::FormatError;

use super::stored_row::ROW_KEY_BYTES_MAX;

/// Keys from one up to, but not, another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub from: Vec<u8>,
    /// The first key behind. A range that ends before it begins holds none.
    pub to: Vec<u8>,
}

impl KeyRange {
    /// What of it lies at a key or behind.
    pub fn behind(&self, key: &[u8]) -> KeyRange {
        KeyRange { from: self.from.as_slice().max(key).to_vec(), to: self.to.clone() }
    }

    /// Whether a key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key && key < self.to.as_slice()
    }
}

/// Ranges of keys.
///
/// Invariant: no range is empty, and each begins behind the end of the one before, so that none could be joined to
/// another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeTombstones {
    ranges: Vec<KeyRange>,
}

impl RangeTombstones {
    /// Adds a range. An empty one adds nothing; one that overlaps or touches the last is joined to it.
    ///
    /// # Panics
    /// If it begins before the last one.
    pub fn push(&mut self, from: &[u8], to: &[u8]) {
        if from >= to {
            return;
        }
        if let Some(last) = self.ranges.last_mut() {
            assert!(from >= last.from.as_slice(), "ranges come by ascending keys");
            if from <= last.to.as_slice() {
                if to > last.to.as_slice() {
                    to.clone_into(&mut last.to);
                }
                return;
            }
        }
        self.ranges.push(KeyRange { from: from.to_vec(), to: to.to_vec() });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Bytes on disk, and about as many in memory.
    pub fn bytes(&self) -> usize {
        self.ranges.iter().map(|range| 8 + range.from.len() + range.to.len()).sum()
    }

    /// The ranges by ascending keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &KeyRange> {
        self.ranges.iter()
    }

    /// The range with a number.
    pub fn get(&self, idx: usize) -> Option<&KeyRange> {
        self.ranges.get(idx)
    }

    /// The range that a key is in.
    pub fn covering(&self, key: &[u8]) -> Option<&KeyRange> {
        let idx = self.ranges.partition_point(|range| range.from.as_slice() <= key).checked_sub(1)?;
        self.ranges.get(idx).filter(|range| range.contains(key))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&len_u32(self.ranges.len()).to_le_bytes());
        for range in &self.ranges {
            put_string(out, &range.from);
            put_string(out, &range.to);
        }
    }

    pub(super) fn decode(input: &mut Input<'_>) -> Result<RangeTombstones, FormatError> {
        let mut ranges: Vec<KeyRange> = Vec::new();
        for _ in 0..input.u32()? {
            let (from, to) = (input.string()?, input.string()?);
            let ascends = ranges.last().is_none_or(|last| last.to.as_slice() < from);
            if from >= to || !ascends || to.len() > ROW_KEY_BYTES_MAX || from.len() > ROW_KEY_BYTES_MAX {
                return Err(FormatError::Malformed("range tombstones do not ascend"));
            }
            ranges.push(KeyRange { from: from.to_vec(), to: to.to_vec() });
        }
        Ok(RangeTombstones { ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges() -> RangeTombstones {
        let mut ranges = RangeTombstones::default();
        for (from, to) in [("b", "d"), ("c", "d"), ("d", "e"), ("f", "f"), ("g", "k"), ("h", "i")] {
            ranges.push(from.as_bytes(), to.as_bytes());
        }
        ranges
    }

    #[test]
    fn ranges_that_touch_are_joined_and_empty_ones_vanish() {
        let ranges = ranges();
        let found: Vec<_> = ranges.iter().map(|range| (range.from.as_slice(), range.to.as_slice())).collect();
        assert_eq!(found, [(&b"b"[..], &b"e"[..]), (b"g", b"k")]);
    }

    #[test]
    fn a_range_covers_its_beginning_and_not_its_end() {
        for (key, is_covered) in [("a", false), ("b", true), ("dz", true), ("e", false), ("g", true), ("k", false)] {
            assert_eq!(ranges().covering(key.as_bytes()).is_some(), is_covered, "{key}");
        }
    }

    #[test]
    fn they_read_back_and_disorder_is_refused() {
        let mut bytes = Vec::new();
        ranges().encode(&mut bytes);
        assert_eq!(RangeTombstones::decode(&mut Input::new(&bytes)), Ok(ranges()));
        let mut disordered = bytes.clone();
        disordered[8] = b'z';
        assert!(RangeTombstones::decode(&mut Input::new(&disordered)).is_err());
        for len in 0..bytes.len() {
            assert!(RangeTombstones::decode(&mut Input::new(&bytes[..len])).is_err(), "{len}");
        }
    }
}
