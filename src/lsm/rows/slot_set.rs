//! Sets of slots, in which the next one is found without a look at those that are not in the set.

use types::{SLOTS_COUNT, Slot};

const BITS_COUNT: usize = u128::BITS as usize;
const WORDS_COUNT: usize = SLOTS_COUNT / BITS_COUNT;

const _: () = assert!(SLOTS_COUNT.is_multiple_of(BITS_COUNT));
const _: () = assert!(WORDS_COUNT <= BITS_COUNT, "a bit of `filled` for every word");

/// Some of all slots, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct SlotSet {
    /// Invariant: a bit is set if and only if the word with its number is not 0.
    filled: u128,
    /// A bit for every slot, the lowest of a word for the first of its slots. `None` before the first slot came.
    words: Option<Box<[u128; WORDS_COUNT]>>,
}

impl SlotSet {
    /// The bytes that it has allocated.
    pub(crate) fn held_bytes(&self) -> usize {
        self.words.as_deref().map_or(0, size_of_val)
    }

    /// The first slot of the set from this one on.
    pub(crate) fn next(&self, from: usize) -> Option<Slot> {
        let words = self.words.as_deref()?;
        let (word, bit) = (from / BITS_COUNT, from % BITS_COUNT);
        let rest = words.get(word)? >> bit;
        if rest != 0 {
            return Slot::new((from + rest.trailing_zeros() as usize) as u16);
        }
        let later = self.filled & (u128::MAX << word << 1);
        let word = words.get(later.trailing_zeros() as usize)?;
        Slot::new((later.trailing_zeros() * u128::BITS + word.trailing_zeros()) as u16)
    }

    /// The number of a slot's rows that make it one of the set has become one more or one less, and is this now.
    #[inline]
    pub(crate) fn note_count(&mut self, slot: Slot, count: u32) {
        if count <= 1 {
            self.set(slot, count == 1);
        }
    }

    fn set(&mut self, slot: Slot, is_in: bool) {
        let words = self.words.get_or_insert_with(|| Box::new([0; WORDS_COUNT]));
        let number = slot.idx() / BITS_COUNT;
        set_bit(&mut words[number], slot.idx() % BITS_COUNT, is_in);
        set_bit(&mut self.filled, number, words[number] != 0);
    }
}

fn set_bit(bits: &mut u128, at: usize, is_set: bool) {
    if is_set {
        *bits |= 1 << at;
    } else {
        *bits &= !(1 << at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: usize) -> Slot {
        Slot::new(number as u16).unwrap()
    }

    fn content(set: &SlotSet) -> Vec<usize> {
        let next = |from: usize| set.next(from).map(|slot| slot.idx());
        std::iter::successors(next(0), |slot| next(slot + 1)).collect()
    }

    #[test]
    fn the_next_slot_is_the_first_of_the_set_from_a_slot_on() {
        let slots = [0, 1, 127, 128, 255, 5_000, SLOTS_COUNT - 129, SLOTS_COUNT - 1];
        let mut set = SlotSet::default();
        assert_eq!(content(&set), []);
        for number in slots {
            set.note_count(slot(number), 1);
        }
        assert_eq!(content(&set), slots);
        for from in 0..=SLOTS_COUNT {
            let expected = slots.into_iter().find(|number| *number >= from);
            assert_eq!(set.next(from).map(|slot| slot.idx()), expected, "from {from}");
        }
    }

    #[test]
    fn a_slot_leaves_the_set_with_the_last_of_its_rows() {
        let mut set = SlotSet::default();
        for (number, count) in [(128, 1), (130, 1), (130, 2), (SLOTS_COUNT - 1, 1), (130, 1), (128, 0)] {
            set.note_count(slot(number), count);
        }
        assert_eq!(content(&set), [130, SLOTS_COUNT - 1]);
        set.note_count(slot(130), 0);
        assert_eq!(content(&set), [SLOTS_COUNT - 1]);
        set.note_count(slot(SLOTS_COUNT - 1), 0);
        assert_eq!(content(&set), []);
    }
}
