//! The rows of one group.

use types::{SLOTS_COUNT, Slot};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::row::{Handle, Hash48};
use crate::slab::Slab;
use crate::trie::SlotRows;

/// Slots of one page: those of slots that a group does not own cost nothing.
const PAGE_SLOTS_COUNT: usize = 128;
const PAGES_COUNT: usize = SLOTS_COUNT / PAGE_SLOTS_COUNT;

type Page = [SlotRows; PAGE_SLOTS_COUNT];

/// The rows of one group, in memory.
pub struct Rows {
    /// Invariant: what a page leads to lies in `slab`.
    pages: Box<[Option<Box<Page>>; PAGES_COUNT]>,
    slab: Slab,
    hash_seed: u64,
    count: usize,
}

impl Rows {
    /// No rows yet. The seed decides in which order they come; all replicas of a group have the same.
    pub fn new(hash_seed: u64) -> Rows {
        Rows { pages: Box::new([const { None }; PAGES_COUNT]), slab: Slab::default(), hash_seed, count: 0 }
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many rows a slot has.
    pub fn count_in_slot(&self, slot: Slot) -> usize {
        self.slot(slot).map_or(0, SlotRows::count)
    }

    /// Bytes of rows and of what leads to them.
    pub fn bytes(&self) -> usize {
        self.pages.iter().flatten().count() * size_of::<Page>() + self.slab.used_bytes()
    }

    /// Bytes that are taken from the system: [`Rows::bytes`] and the rest of pages that are not full.
    pub fn held_bytes(&self) -> usize {
        self.pages.iter().flatten().count() * size_of::<Page>() + self.slab.held_bytes()
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, slot: Slot, key: &[u8]) -> Option<&[u8]> {
        let handle = self.slot(slot)?.find(self.hash(key), key)?;
        // SAFETY: the row is there and stays as it is while `self` is borrowed.
        Some(unsafe { handle.row() }.value())
    }

    /// Gives a key a value, whether it has one or not.
    #[inline]
    pub fn put(&mut self, slot: Slot, key: &[u8], value: &[u8]) {
        let hash = self.hash(key);
        let Rows { pages, slab, count, .. } = self;
        let page = pages[slot.idx() / PAGE_SLOTS_COUNT].get_or_insert_with(new_page);
        let rows = &mut page[slot.idx() % PAGE_SLOTS_COUNT];
        let Some(handle) = rows.find(hash, key) else {
            *count += 1;
            let handle = Handle::new(slab, hash, key, value);
            return rows.insert(slab, hash, handle);
        };
        // SAFETY: nobody else looks at rows while `self` is borrowed mutably.
        if unsafe { handle.overwrite(value) } {
            return;
        }
        let new = Handle::new(slab, hash, key, value);
        let old = rows.replace(hash, key, new);
        assert!(old == Some(handle), "a row is where it was found");
        // SAFETY: it is not in its segment any more.
        unsafe { handle.free(slab) };
    }

    /// Removes a key. False if it was not there.
    pub fn remove(&mut self, slot: Slot, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let Some(page) = &mut self.pages[slot.idx() / PAGE_SLOTS_COUNT] else { return false };
        let Some(handle) = page[slot.idx() % PAGE_SLOTS_COUNT].remove(&mut self.slab, hash, key) else {
            return false;
        };
        // SAFETY: it is not in its segment any more.
        unsafe { handle.free(&mut self.slab) };
        self.count -= 1;
        true
    }

    /// Shows every row of a slot: by the hashes of their keys, a segment at a time, and in no order within one.
    pub fn for_each_in_slot(&self, slot: Slot, mut seen: impl FnMut(&[u8], &[u8])) {
        let Some(rows) = self.slot(slot) else { return };
        rows.for_each_segment(&mut |segment| {
            for handle in segment.handles() {
                // SAFETY: the row is there and stays as it is while `self` is borrowed.
                let row = unsafe { handle.row() };
                seen(row.key(), row.value());
            }
        });
    }

    #[inline]
    fn slot(&self, slot: Slot) -> Option<&SlotRows> {
        let page = self.pages[slot.idx() / PAGE_SLOTS_COUNT].as_deref()?;
        Some(&page[slot.idx() % PAGE_SLOTS_COUNT])
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> Hash48 {
        Hash48::of_bits(xxh3_64_with_seed(key, self.hash_seed))
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        for rows in self.pages.iter_mut().flatten().flat_map(|page| page.iter_mut()) {
            // Long rows do not lie in the slab's pages.
            rows.clear(&mut self.slab);
        }
    }
}

fn new_page() -> Box<Page> {
    Box::new(std::array::from_fn(|_| SlotRows::default()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    fn check(rows: &Rows, model: &BTreeMap<(u16, Vec<u8>), Vec<u8>>) {
        assert_eq!(rows.count(), model.len());
        for number in [0, 1, 127, 128, 16_383] {
            let mut seen = BTreeMap::new();
            let mut last = None;
            rows.slot(slot(number)).into_iter().for_each(|rows| {
                rows.for_each_segment(&mut |segment| {
                    let hashes: Vec<_> =
                        // SAFETY: the segment has these rows.
                        segment.handles().map(|handle| unsafe { handle.row() }.hash()).collect();
                    assert!(hashes.iter().min() > last.as_ref() || hashes.is_empty(), "segments are out of order");
                    last = hashes.into_iter().max().or(last);
                });
            });
            rows.for_each_in_slot(slot(number), |key, value| {
                assert!(seen.insert(key.to_vec(), value.to_vec()).is_none(), "a row comes twice");
            });
            let expected: BTreeMap<_, _> = model
                .iter()
                .filter(|((of, _), _)| *of == number)
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(rows.count_in_slot(slot(number)), expected.len());
            assert_eq!(seen, expected);
        }
        for ((number, key), value) in model {
            assert_eq!(rows.get(slot(*number), key), Some(&value[..]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn rows_are_those_of_a_map(
            steps in proptest::collection::vec((0u8..4, 0usize..5, 0u32..300, 0usize..400), 1..1_500),
            seed in any::<u64>(),
        ) {
            let (mut rows, mut model) = (Rows::new(seed), BTreeMap::new());
            for (step, slot_at, number, len) in steps {
                let of = [0, 1, 127, 128, 16_383][slot_at];
                let key = format!("key{number}").into_bytes();
                if step == 0 {
                    prop_assert_eq!(rows.remove(slot(of), &key), model.remove(&(of, key)).is_some());
                } else {
                    let value = vec![number as u8; if len % 50 == 0 { len * 40 } else { len }];
                    rows.put(slot(of), &key, &value);
                    model.insert((of, key), value);
                }
            }
            check(&rows, &model);
            let keys: Vec<_> = model.keys().cloned().collect();
            for (of, key) in keys {
                prop_assert!(rows.remove(slot(of), &key));
            }
            check(&rows, &BTreeMap::new());
            prop_assert_eq!(rows.slab.used_bytes(), 0);
        }
    }

    #[test]
    fn a_slot_with_very_many_rows_grows_and_shrinks_a_segment_at_a_time() {
        let mut rows = Rows::new(7);
        let mut longest = 0;
        for number in 0..200_000u32 {
            let before = rows.slab.used_bytes();
            rows.put(slot(5), &number.to_be_bytes(), b"v");
            longest = longest.max(rows.slab.used_bytes().saturating_sub(before));
        }
        assert!(longest < 1_200, "a write took {longest} bytes at once");
        let per_row = rows.bytes() as f64 / 200_000.0;
        assert!(per_row < 50.0, "{per_row} bytes per row of 5");
        for number in 0..200_000u32 {
            assert_eq!(rows.get(slot(5), &number.to_be_bytes()), Some(&b"v"[..]));
        }
        for number in 0..200_000u32 {
            assert!(rows.remove(slot(5), &number.to_be_bytes()));
        }
        assert_eq!((rows.count(), rows.slab.used_bytes()), (0, 0));
    }
}
