//! Which unit holds a key: part of a leaf and of the top.

use crate::codec::{Input, common_prefix, len_u32};
use crate::error::FormatError;

use super::unit::{UNIT_HEADER_BYTES, UnitKind, UnitRef};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    offset: u64,
    len: u32,
    bound_end: u32,
}

/// Units by ascending bounds: the keys of each are at least its bound, and less than the bound of the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    entries: Vec<Entry>,
    bounds: Vec<u8>,
}

impl Index {
    /// Appends a unit whose keys are at least `bound`.
    ///
    /// # Panics
    /// If the bound is not greater than the last one.
    pub fn push(&mut self, bound: &[u8], unit: UnitRef) {
        let last = self.entries.len().checked_sub(1);
        assert!(last.is_none_or(|last| self.bound(last) < bound), "bounds ascend");
        self.bounds.extend_from_slice(bound);
        self.entries.push(Entry { offset: unit.offset, len: unit.len, bound_end: len_u32(self.bounds.len()) });
    }

    /// How many units there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory that it takes, and about as many on disk.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.bounds.capacity()
    }

    /// The number of the unit that holds a key if any does; `None` if there are no units.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        // A binary search for the first unit, but the very first, with a bound above the key.
        let (mut low, mut high) = (1, self.count());
        while low < high {
            let middle = low.midpoint(high);
            if self.bound(middle) <= key { low = middle + 1 } else { high = middle }
        }
        (self.count() > 0).then(|| low - 1)
    }

    /// The bound of a unit.
    pub fn bound(&self, idx: usize) -> &[u8] {
        let begin = idx.checked_sub(1).map_or(0, |before| self.entries[before].bound_end as usize);
        &self.bounds[begin..self.entries[idx].bound_end as usize]
    }

    /// Where a unit lies.
    pub fn unit(&self, idx: usize, kind: UnitKind) -> Option<UnitRef> {
        self.entries.get(idx).map(|entry| UnitRef { kind, offset: entry.offset, len: entry.len })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&len_u32(self.entries.len()).to_le_bytes());
        for entry in &self.entries {
            out.extend_from_slice(&entry.offset.to_le_bytes());
            out.extend_from_slice(&entry.len.to_le_bytes());
            out.extend_from_slice(&entry.bound_end.to_le_bytes());
        }
        out.extend_from_slice(&self.bounds);
    }

    /// Reads an index of units of a kind that takes all of the rest of a body.
    pub(super) fn decode(input: &mut Input<'_>, kind: UnitKind) -> Result<Index, FormatError> {
        const ENTRY_BYTES: usize = 16;
        let count = input.u32()? as usize;
        let entries = input.bytes(count.checked_mul(ENTRY_BYTES).ok_or(FormatError::Truncated)?)?;
        let bounds = input.bytes(input.len())?.to_vec();
        let mut index = Index { entries: Vec::with_capacity(count), bounds };
        let (mut bound_end, mut unit_end) = (0, 0);
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let mut fields = Input::new(entry);
            let entry = Entry { offset: fields.u64()?, len: fields.u32()?, bound_end: fields.u32()? };
            let len_max = UNIT_HEADER_BYTES + kind.body_bytes_max();
            let is_sound = entry.offset >= unit_end
                && (UNIT_HEADER_BYTES..=len_max).contains(&(entry.len as usize))
                && entry.bound_end >= bound_end
                && entry.bound_end as usize <= index.bounds.len();
            if !is_sound {
                return Err(FormatError::Malformed("an index leads nowhere"));
            }
            bound_end = entry.bound_end;
            let end = entry.offset.checked_add(u64::from(entry.len));
            unit_end = end.ok_or(FormatError::Malformed("an index leads nowhere"))?;
            index.entries.push(entry);
        }
        if bound_end as usize != index.bounds.len() || (1..count).any(|idx| index.bound(idx - 1) >= index.bound(idx))
        {
            return Err(FormatError::Malformed("the bounds of an index do not ascend"));
        }
        Ok(index)
    }
}

/// The shortest bound that is greater than `last` and at most `first`.
///
/// # Panics
/// If `last` is not less than `first`.
pub(super) fn bound_between<'a>(last: &[u8], first: &'a [u8]) -> &'a [u8] {
    assert!(last < first, "keys ascend");
    &first[..common_prefix(last, first) + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(offset: u64) -> UnitRef {
        UnitRef { kind: UnitKind::Data, offset, len: 100 }
    }

    fn index() -> Index {
        let mut index = Index::default();
        for (at, bound) in ["", "b", "bc", "d"].iter().enumerate() {
            index.push(bound.as_bytes(), unit(at as u64 * 100));
        }
        index
    }

    #[test]
    fn a_key_is_in_the_last_unit_with_a_bound_not_above_it() {
        for (key, idx) in [("", 0), ("a", 0), ("b", 1), ("bb", 1), ("bc", 2), ("c", 2), ("d", 3), ("z", 3)] {
            assert_eq!(index().find(key.as_bytes()), Some(idx), "{key}");
        }
        assert_eq!(Index::default().find(b"x"), None);
    }

    #[test]
    fn it_reads_back() {
        for index in [index(), Index::default()] {
            let mut bytes = Vec::new();
            index.encode(&mut bytes);
            assert_eq!(Index::decode(&mut Input::new(&bytes), UnitKind::Data), Ok(index));
        }
    }

    #[test]
    fn what_does_not_ascend_or_overlaps_is_refused() {
        let mut bytes = Vec::new();
        index().encode(&mut bytes);
        // The number of units, an offset, a length, the end of a bound, a bound.
        for (at, value) in [(0, 3), (4 + 16, 50), (4 + 8, 5), (4 + 12 + 32, 0), (bytes.len() - 1, b'a')] {
            let mut forged = bytes.clone();
            forged[at] = value;
            assert!(Index::decode(&mut Input::new(&forged), UnitKind::Data).is_err(), "byte {at}");
        }
    }

    #[test]
    fn bounds_are_short() {
        for (last, first, bound) in [("abc", "abd", "abd"), ("a", "b", "b"), ("a", "axyz", "ax"), ("", "q", "q")] {
            assert_eq!(bound_between(last.as_bytes(), first.as_bytes()), bound.as_bytes());
        }
    }
}
