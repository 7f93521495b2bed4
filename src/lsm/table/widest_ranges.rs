//! About where the range tombstones of a table lie, as is known without its top unit.

use std::cmp::Reverse;

use crate::codec::{Input, len_u32};
use crate::error::FormatError;

use super::ranges::{KeyRange, RangeTombstones};

/// Most ranges that are known of a table. Narrower ones delete little beside them.
pub const WIDEST_RANGES_COUNT_MAX: usize = 16;
/// Bytes of a key that tell its place: slot, kind, hash or id, and a little of what follows.
const PLACE_BYTES: usize = size_of::<u128>();

/// The place of a key among all: its first 16 bytes as a big-endian number. Keys that agree in so many have one place.
pub fn place_of(key: &[u8]) -> u128 {
    let mut bytes = [0; PLACE_BYTES];
    let len = key.len().min(PLACE_BYTES);
    bytes[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(bytes)
}

/// Places from one up to, but not, another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceRange {
    /// The first place.
    pub from: u128,
    /// The first place behind. Invariant: greater than `from`.
    pub to: u128,
}

impl PlaceRange {
    fn of(range: &KeyRange) -> Option<PlaceRange> {
        let (from, to) = (place_of(&range.from), place_of(&range.to));
        (from < to).then_some(PlaceRange { from, to })
    }
}

/// The widest range tombstones of a table, by places of keys.
///
/// Invariant: they ascend and do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WidestRanges {
    ranges: Vec<PlaceRange>,
}

impl WidestRanges {
    /// The widest of some ranges. One within a place is not among them.
    pub fn of(ranges: &RangeTombstones) -> WidestRanges {
        let mut ranges: Vec<PlaceRange> = ranges.iter().filter_map(PlaceRange::of).collect();
        if ranges.len() > WIDEST_RANGES_COUNT_MAX {
            ranges.select_nth_unstable_by_key(WIDEST_RANGES_COUNT_MAX, |range| Reverse(range.to - range.from));
            ranges.truncate(WIDEST_RANGES_COUNT_MAX);
            ranges.sort_unstable();
        }
        WidestRanges { ranges }
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &PlaceRange> {
        self.ranges.iter()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&len_u32(self.ranges.len()).to_le_bytes());
        for range in &self.ranges {
            out.extend_from_slice(&range.from.to_be_bytes());
            out.extend_from_slice(&range.to.to_be_bytes());
        }
    }

    pub(super) fn decode(input: &mut Input<'_>) -> Result<WidestRanges, FormatError> {
        let mut ranges: Vec<PlaceRange> = Vec::new();
        for _ in 0..input.u32()? {
            let range = PlaceRange { from: read_place(input)?, to: read_place(input)? };
            let ascends = range.from < range.to && ranges.last().is_none_or(|last| last.to <= range.from);
            if !ascends || ranges.len() == WIDEST_RANGES_COUNT_MAX {
                return Err(FormatError::Malformed("the widest range tombstones do not ascend"));
            }
            ranges.push(range);
        }
        Ok(WidestRanges { ranges })
    }
}

fn read_place(input: &mut Input<'_>) -> Result<u128, FormatError> {
    Ok(place_of(input.bytes(PLACE_BYTES)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widest(ranges: &[(&[u8], &[u8])]) -> WidestRanges {
        let mut tombstones = RangeTombstones::default();
        ranges.iter().for_each(|(from, to)| tombstones.push(from, to));
        WidestRanges::of(&tombstones)
    }

    #[test]
    fn places_are_ordered_as_keys_are() {
        let keys: [&[u8]; 6] =
            [b"", b"\0\x01h", b"\0\x01h0123456789abcx", b"\0\x01h0123456789abd", b"\0\x02", b"\xFF"];
        assert!(keys.map(place_of).is_sorted());
        assert_eq!(place_of(b"0123456789abcdef"), place_of(b"0123456789abcdefg"), "16 bytes count");
    }

    #[test]
    fn the_widest_stay_and_ascend() {
        let ends: Vec<[u8; 4]> = (1..=100_u8).map(|i| [i, 0, 0, if i % 10 == 0 { 200 } else { i % 10 }]).collect();
        let ranges: Vec<(&[u8], &[u8])> = ends.iter().map(|end| (&end[..1], &end[..])).collect();
        let found = widest(&ranges);
        assert_eq!(found.iter().count(), WIDEST_RANGES_COUNT_MAX);
        assert!(found.iter().collect::<Vec<_>>().is_sorted());
        let firsts: Vec<u8> = found.iter().map(|range| range.from.to_be_bytes()[0]).collect();
        assert!((10..=100).step_by(10).all(|first| firsts.contains(&first)), "{firsts:?}");
        assert_eq!(widest(&[(b"0123456789abcdefa", b"0123456789abcdefb")]), WidestRanges::default(), "one place");
    }

    #[test]
    fn they_read_back_and_disorder_is_refused() {
        let mut bytes = Vec::new();
        let ranges = widest(&[(b"a", b"b"), (b"c", b"e")]);
        ranges.encode(&mut bytes);
        assert_eq!(WidestRanges::decode(&mut Input::new(&bytes)), Ok(ranges));
        for len in 0..bytes.len() {
            assert!(WidestRanges::decode(&mut Input::new(&bytes[..len])).is_err(), "{len}");
        }
        // The end of the first range, the beginning of the second, how many there are.
        for (at, value) in [(4 + 16, b'a'), (4 + 32, b'a'), (0, 1 + WIDEST_RANGES_COUNT_MAX as u8)] {
            let mut forged = bytes.clone();
            forged[at] = value;
            forged.resize(4 + (1 + WIDEST_RANGES_COUNT_MAX) * 32, 0);
            assert!(WidestRanges::decode(&mut Input::new(&forged)).is_err(), "byte {at}");
        }
    }
}
