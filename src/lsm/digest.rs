//! Digests of versions: what makes the rows of a group comparable with those of another replica.
//!
//! Replicas differ in files and agree in rows. So a digest is taken of the live rows of a version, whatever tables they lie in: of each
//! row one hash over all that there is of it, and of each range of keys, a *leaf*, the sum of the hashes. Rows whose time has come by the
//! replicated time of the version are left out, since one replica may have removed them and another not yet.
//!
//! The leaves divide the keys that a group owns in the order of their row keys, by slots and within a slot by the first ten bits of the
//! keys' hashes: so each has about as many keys, and a range of row keys.

use std::fmt;
use std::rc::Rc;

use host::{Disk, IoClass};
use types::Slot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Error;
use crate::pace::Pace;
use crate::read::{Reader, Scan, ScanSettings, ScannedRow};
use crate::table::stored_row::{HASH_BITS, head_parts, slot_of};
use crate::version::Version;

/// How many parts a slot has: its keys by the first bits of their hashes.
const PARTS_COUNT: u64 = 1 << PART_BITS;
const PART_BITS: u32 = 10;
/// Bytes of a value that are hashed in one go.
const SLICE_BYTES: usize = 64 << 10;
/// What a scan takes of memory for each run, in bytes.
const RUN_BYTES: usize = 3 << 19;

/// The keys of a group, divided into leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaves {
    /// Runs of slots, ascending, and how many slots are in those before.
    runs: Vec<(Slot, Slot, u64)>,
    slots_count: u64,
    count: u64,
}

/// The keys of a leaf: from a part of a slot to a part of the same or a later one, of those that the group owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafRange {
    /// The first slot, and the first ten bits of the least hash in it.
    pub first: (Slot, u16),
    /// The last slot, and those of the greatest hash in it.
    pub last: (Slot, u16),
}

impl Leaves {
    /// So many leaves of the keys in these runs of slots, which ascend and do not overlap.
    pub fn of(slots: &[(Slot, Slot)], count: usize) -> Leaves {
        let mut slots_count = 0;
        let mut run = |(first, last): &(Slot, Slot)| {
            let before = slots_count;
            slots_count += u64::from(last.number() - first.number()) + 1;
            (*first, *last, before)
        };
        Leaves { runs: slots.iter().map(&mut run).collect(), slots_count, count: count as u64 }
    }

    /// How many leaves there are.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The leaf of a row key. What is in no slot of the group, and should not be there at all, counts to the first.
    fn leaf_of(&self, row_key: &[u8]) -> usize {
        let hash = head_parts(row_key).map_or(0, |(_, hash, _)| hash);
        let ordinal = slot_of(row_key).and_then(|slot| {
            let run = self.runs.iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
            Some(run.2 + u64::from(slot.number() - run.0.number()))
        });
        let Some(ordinal) = ordinal else { return 0 };
        let part = ordinal * PARTS_COUNT + (hash >> (HASH_BITS - PART_BITS));
        // Rounded down, as a range's first part is rounded up.
        (part * self.count / (self.slots_count * PARTS_COUNT)) as usize
    }

    /// The keys of a leaf; `None` if it has none, since there are fewer parts than leaves, or there is no such leaf.
    pub fn range(&self, leaf: usize) -> Option<LeafRange> {
        let parts_count = self.slots_count * PARTS_COUNT;
        let first = (leaf as u64 * parts_count).div_ceil(self.count);
        let end = ((leaf as u64 + 1) * parts_count).div_ceil(self.count);
        (first < end && end <= parts_count).then_some(())?;
        Some(LeafRange { first: self.place(first)?, last: self.place(end - 1)? })
    }

    /// Slot and part of the part with this number.
    fn place(&self, part: u64) -> Option<(Slot, u16)> {
        let ordinal = part / PARTS_COUNT;
        let run = self.runs.iter().rev().find(|(_, _, before)| *before <= ordinal)?;
        let slot = Slot::new(run.0.number() + u16::try_from(ordinal - run.2).ok()?)?;
        Some((slot, (part % PARTS_COUNT) as u16))
    }
}

impl LeafRange {
    /// The range from the beginning of this one to the end of a later one.
    pub fn up_to(self, later: LeafRange) -> LeafRange {
        LeafRange { first: self.first, last: later.last }
    }
}

impl fmt::Display for LeafRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.first.0.number(), self.last.0.number());
        if first == last {
            write!(f, "slot {first}")?
        } else {
            write!(f, "slots {first}-{last}")?
        }
        let is_whole = self.first.1 == 0 && u64::from(self.last.1) == PARTS_COUNT - 1;
        if is_whole {
            return Ok(());
        }
        write!(f, " from part {} to part {} of {PARTS_COUNT}", self.first.1, self.last.1)
    }
}

/// What was digested: a sum per leaf, and how many rows there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Invariant: as many as [`Leaves::count`].
    pub leaves: Vec<u64>,
    /// Live rows.
    pub rows: u64,
}

/// Digests the rows of a version that are live at a replicated time, in milliseconds since 1970 UTC. It takes
/// [`digest_memory_bytes`] and the longest value.
///
/// # Errors
/// The tables cannot be read, or are damaged.
pub async fn digest<D: Disk, P: Pace>(
    reader: &Reader<D>,
    version: &Rc<Version>,
    leaves: &Leaves,
    (time_ms, is_single_row): (u64, fn(u8) -> bool),
    (class, pace): (IoClass, &P),
) -> Result<Digest, Error> {
    let mut digest = Digest { leaves: vec![0; leaves.count()], rows: 0 };
    let mut scan = Scan::new(reader, Rc::clone(version), ScanSettings { class, time_ms, is_single_row });
    while let Some(row) = scan.next(pace).await? {
        let leaf = leaves.leaf_of(row.key);
        let hash = row_hash(&row, pace).await;
        let sum = digest.leaves.get_mut(leaf).expect("the leaf of a key is one of the leaves");
        *sum = sum.wrapping_add(hash);
        digest.rows += 1;
    }
    Ok(digest)
}

/// What digesting a version takes of memory beside its longest value, in bytes.
pub fn digest_memory_bytes(version: &Version) -> usize {
    version.runs().len() * RUN_BYTES
}

/// A hash of all that there is of a row. Each part seeds the hash of the next one, so that no two rows are made of the same bytes.
async fn row_hash<P: Pace>(row: &ScannedRow<'_>, pace: &P) -> u64 {
    let head = u64::from(row.value_type) | u64::from(row.expiry_ms.is_some()) << 8;
    let expiry = row.expiry_ms.unwrap_or(0).to_le_bytes();
    let head = xxh3_64_with_seed(&expiry, head);
    let mut hash = xxh3_64_with_seed(row.key, head);
    for (number, slice) in row.value.chunks(SLICE_BYTES).enumerate() {
        if number > 0 {
            pace.pause(0).await;
        }
        hash = xxh3_64_with_seed(slice, hash);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::stored_row::head_key;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    fn row_key(number: u16, hash: u64) -> Vec<u8> {
        let mut key = Vec::new();
        head_key(slot(number), hash, b"key", &mut key);
        key
    }

    fn leaves(slots: &[(u16, u16)]) -> Leaves {
        let runs: Vec<_> = slots.iter().map(|(first, last)| (slot(*first), slot(*last))).collect();
        Leaves::of(&runs, 1_024)
    }

    /// Where a range begins and ends, every key is in its leaf, and the ranges of all leaves have no gap.
    #[test]
    fn each_key_is_in_the_range_of_its_leaf() {
        for slots in [&[(0, 16_383)][..], &[(5, 5)], &[(3, 900), (1_000, 3_000)], &[(0, 1), (7, 7)], &[(0, 2_047)]] {
            let leaves = leaves(slots);
            let mut next = 0;
            for leaf in 0..leaves.count() {
                let range = leaves.range(leaf).expect("there are as many parts as leaves");
                for (slot, part) in [range.first, range.last] {
                    let shift = HASH_BITS - PART_BITS;
                    for hash in [u64::from(part) << shift, ((u64::from(part) + 1) << shift) - 1] {
                        assert_eq!(leaves.leaf_of(&row_key(slot.number(), hash)), leaf, "{range} {slots:?}");
                    }
                }
                let ordinal = |(slot, part): (Slot, u16)| {
                    let run = leaves.runs.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
                    let (first, _, before) = run.expect("a slot of the group");
                    (before + u64::from(slot.number() - first.number())) * PARTS_COUNT + u64::from(part)
                };
                assert_eq!(ordinal(range.first), next, "{slots:?}");
                next = ordinal(range.last) + 1;
            }
            assert_eq!(next, leaves.slots_count * PARTS_COUNT);
            assert_eq!(leaves.range(1_024), None);
        }
    }

    #[test]
    fn ranges_are_told_by_slots_and_parts_of_them() {
        let whole = leaves(&[(0, 16_383)]);
        assert_eq!(whole.range(1).map(|range| range.to_string()).as_deref(), Some("slots 16-31"));
        let single = leaves(&[(7, 7)]);
        assert_eq!(
            single.range(1_023).map(|range| range.to_string()).as_deref(),
            Some("slot 7 from part 1023 to part 1023 of 1024")
        );
        let joined = whole.range(1).zip(whole.range(3)).map(|(one, other)| one.up_to(other).to_string());
        assert_eq!(joined.as_deref(), Some("slots 16-63"));
        assert_eq!(whole.leaf_of(b""), 0, "what should not be there counts all the same");
        assert_eq!(single.leaf_of(&row_key(8, 1 << 47)), 0);
    }
}
