//! How many heads each of some ranges of slots has.

use types::{SLOTS_COUNT, Slot};

use crate::codec::{Input, len_u32};
use crate::error::FormatError;

/// Most ranges that a table tells apart.
pub const SLOT_RANGES_COUNT_MAX: usize = 32;

/// Heads of a range of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCount {
    /// The first slot. Invariant: not greater than `last`.
    pub first: Slot,
    /// The last one.
    pub last: Slot,
    /// Heads with a value.
    pub heads: u64,
    /// Tombstones of heads.
    pub tombstones: u64,
}

/// Counts of heads by slots, as fine as [`SLOT_RANGES_COUNT_MAX`] ranges allow.
///
/// Invariant: the ranges ascend and do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    ranges: Vec<SlotCount>,
    /// Slots whose numbers agree when divided by it are counted together. 0 and 1 are the same.
    width: u16,
}

impl SlotCounts {
    /// Counts a head. Slots come in ascending order.
    pub fn add(&mut self, slot: Slot, is_tombstone: bool) {
        if self.ranges.len() == SLOT_RANGES_COUNT_MAX && !self.is_in_last(slot) {
            self.coarsen();
        }
        if !self.is_in_last(slot) {
            self.ranges.push(SlotCount { first: slot, last: slot, heads: 0, tombstones: 0 });
        }
        let range = self.ranges.last_mut().expect("one was just added if there was none");
        range.last = slot;
        if is_tombstone { range.tombstones += 1 } else { range.heads += 1 }
    }

    fn is_in_last(&self, slot: Slot) -> bool {
        let width = self.width.max(1);
        self.ranges.last().is_some_and(|range| range.first.number() / width == slot.number() / width)
    }

    /// Joins neighbours until half of the room is free.
    fn coarsen(&mut self) {
        while self.ranges.len() > SLOT_RANGES_COUNT_MAX / 2 {
            self.width = self.width.max(1) * 2;
            let width = self.width;
            self.ranges.dedup_by(|later, earlier| {
                let joins = later.first.number() / width == earlier.first.number() / width;
                if joins {
                    earlier.last = later.last;
                    earlier.heads += later.heads;
                    earlier.tombstones += later.tombstones;
                }
                joins
            });
        }
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &SlotCount> {
        self.ranges.iter()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.width.to_le_bytes());
        out.extend_from_slice(&len_u32(self.ranges.len()).to_le_bytes());
        for range in &self.ranges {
            out.extend_from_slice(&range.first.number().to_le_bytes());
            out.extend_from_slice(&range.last.number().to_le_bytes());
            out.extend_from_slice(&range.heads.to_le_bytes());
            out.extend_from_slice(&range.tombstones.to_le_bytes());
        }
    }

    pub(super) fn decode(input: &mut Input<'_>) -> Result<SlotCounts, FormatError> {
        const WRONG: FormatError = FormatError::Malformed("the ranges of slots do not ascend");
        let width = input.u16()?;
        let mut ranges: Vec<SlotCount> = Vec::new();
        for _ in 0..input.u32()? {
            let (first, last) = (Slot::new(input.u16()?).ok_or(WRONG)?, Slot::new(input.u16()?).ok_or(WRONG)?);
            let ascends = first <= last && ranges.last().is_none_or(|range| range.last < first);
            if !ascends || ranges.len() == SLOT_RANGES_COUNT_MAX {
                return Err(WRONG);
            }
            ranges.push(SlotCount { first, last, heads: input.u64()?, tombstones: input.u64()? });
        }
        Ok(SlotCounts { ranges, width })
    }
}

const _: () = assert!(SLOT_RANGES_COUNT_MAX >= 2 && SLOTS_COUNT < u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(slots: impl Iterator<Item = u16>) -> SlotCounts {
        let mut counts = SlotCounts::default();
        for slot in slots {
            counts.add(Slot::new(slot).expect("a slot"), slot % 4 == 0);
        }
        counts
    }

    #[test]
    fn few_slots_are_counted_one_by_one() {
        let counts = counted([3, 3, 4, 900].into_iter());
        let found: Vec<_> = counts
            .iter()
            .map(|range| (range.first.number(), range.last.number(), range.heads, range.tombstones))
            .collect();
        assert_eq!(found, [(3, 3, 2, 0), (4, 4, 0, 1), (900, 900, 0, 1)]);
    }

    #[test]
    fn many_slots_are_counted_in_ranges_and_none_is_lost() {
        for step in [1, 3, 17] {
            let slots = || (0..SLOTS_COUNT as u16).step_by(step);
            let counts = counted(slots());
            let ranges = counts.iter().count();
            assert!((SLOT_RANGES_COUNT_MAX / 4..=SLOT_RANGES_COUNT_MAX).contains(&ranges), "{ranges}");
            for range in counts.iter() {
                let inside = |slot: &u16| (range.first.number()..=range.last.number()).contains(slot);
                let expected = slots().filter(inside).count() as u64;
                assert_eq!(range.heads + range.tombstones, expected);
            }
            assert_eq!(
                counts.iter().map(|range| range.heads + range.tombstones).sum::<u64>(),
                slots().count() as u64
            );
        }
    }
}
