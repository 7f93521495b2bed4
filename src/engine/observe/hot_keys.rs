//! Which keys and slots are asked for most: what CORACLE HOTKEYS shows.
//!
//! One command in [`SAMPLE_EVERY`] is looked at, where it is carried out. What is seen is counted by the Space-Saving algorithm
//! (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, 2005): a fixed number of
//! counters, of which the least goes to whatever has none, with its count as the greatest error that the new one may have. Whatever
//! makes up more than one in [`COUNTERS_COUNT`] of the samples has a counter. Counts are halved every few seconds, so old ones fade.

use std::time::Duration;

use types::{Instant, Slot};
use xxhash_rust::xxh3::xxh3_64;

/// One command in this many is looked at. A prime, so that it does not keep step with pipelines.
pub(crate) const SAMPLE_EVERY: u32 = 101;
/// Keys, and slots, that are counted at a time.
const COUNTERS_COUNT: usize = 64;
/// Bytes that are kept of a key.
const KEY_BYTES_MAX: usize = 256;
/// How often counts are halved.
const HALVE_EVERY: Duration = Duration::from_secs(10);

/// How often something came, of which nobody knew before what there would be.
#[derive(Clone, Debug)]
struct SpaceSaving {
    /// Invariant of all lists: one element per counter that is in use, and no more than [`COUNTERS_COUNT`].
    hashes: Vec<u64>,
    counts: Vec<u32>,
    /// By how much each count may be too high.
    errors: Vec<u32>,
    items: Vec<Vec<u8>>,
}

impl SpaceSaving {
    fn new() -> SpaceSaving {
        let (hashes, counts) = (Vec::with_capacity(COUNTERS_COUNT), Vec::with_capacity(COUNTERS_COUNT));
        SpaceSaving { hashes, counts, errors: Vec::with_capacity(COUNTERS_COUNT), items: Vec::new() }
    }

    fn note(&mut self, item: &[u8]) {
        let hash = xxh3_64(item);
        if let Some(idx) = self.hashes.iter().position(|known| *known == hash) {
            self.counts[idx] = self.counts[idx].saturating_add(1);
        } else if self.hashes.len() < COUNTERS_COUNT {
            self.hashes.push(hash);
            self.counts.push(1);
            self.errors.push(0);
            self.items.push(kept(item).to_vec());
        } else {
            let least = self.counts.iter().enumerate().min_by_key(|(_, count)| **count).map_or(0, |(idx, _)| idx);
            self.hashes[least] = hash;
            self.errors[least] = self.counts[least];
            self.counts[least] = self.counts[least].saturating_add(1);
            self.items[least].clear();
            self.items[least].extend_from_slice(kept(item));
        }
    }

    fn halve(&mut self) {
        self.counts.iter_mut().chain(&mut self.errors).for_each(|count| *count /= 2);
    }

    fn top(&self) -> Vec<Hot> {
        let all = self.items.iter().zip(self.counts.iter().zip(&self.errors));
        let hot = |(item, (count, error)): (&Vec<u8>, (&u32, &u32))| Hot {
            item: item.clone(),
            count: u64::from(*count),
            error: u64::from(*error),
        };
        let mut top: Vec<Hot> = all.map(hot).filter(|hot| hot.count > 0).collect();
        top.sort_unstable_by(|one, other| other.count.cmp(&one.count).then_with(|| one.item.cmp(&other.item)));
        top
    }
}

fn kept(item: &[u8]) -> &[u8] {
    item.get(..KEY_BYTES_MAX).unwrap_or(item)
}

/// Something that is asked for often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hot {
    /// The key, or its beginning; of a slot its number, in digits.
    pub(crate) item: Vec<u8>,
    /// Samples of it, of late.
    pub(crate) count: u64,
    /// By how much that may be too high.
    pub(crate) error: u64,
}

/// What is asked for often, by keys and by slots; the most first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HotReport {
    /// Samples of late.
    pub(crate) sampled: u64,
    pub(crate) keys: Vec<Hot>,
    pub(crate) slots: Vec<Hot>,
}

impl HotReport {
    /// Adds what another core of the node has seen.
    pub(crate) fn merge(&mut self, other: &HotReport) {
        self.sampled += other.sampled;
        for (mine, theirs) in [(&mut self.keys, &other.keys), (&mut self.slots, &other.slots)] {
            for hot in theirs {
                match mine.iter_mut().find(|known| known.item == hot.item) {
                    Some(known) => (known.count, known.error) = (known.count + hot.count, known.error + hot.error),
                    None => mine.push(hot.clone()),
                }
            }
            mine.sort_unstable_by(|one, other| other.count.cmp(&one.count).then_with(|| one.item.cmp(&other.item)));
            mine.truncate(COUNTERS_COUNT);
        }
    }
}

/// Looks at some of the commands that a core carries out.
#[derive(Debug)]
pub(crate) struct HotKeys {
    /// Commands until the next one is looked at.
    countdown: u32,
    sampled: u64,
    keys: SpaceSaving,
    slots: SpaceSaving,
    halved_at: Instant,
}

impl Default for HotKeys {
    fn default() -> HotKeys {
        HotKeys {
            countdown: SAMPLE_EVERY,
            sampled: 0,
            keys: SpaceSaving::new(),
            slots: SpaceSaving::new(),
            halved_at: Instant::ZERO,
        }
    }
}

impl HotKeys {
    /// Counts a command. Whether it is to be looked at.
    #[inline]
    pub(crate) fn is_due(&mut self) -> bool {
        self.countdown -= 1;
        if self.countdown == 0 {
            self.countdown = SAMPLE_EVERY;
        }
        self.countdown == SAMPLE_EVERY
    }

    /// Notes a key that a command is about.
    #[cold]
    pub(crate) fn note(&mut self, slot: Slot, key: &[u8]) {
        self.sampled += 1;
        self.keys.note(key);
        self.slots.note(slot.number().to_string().as_bytes());
    }

    /// Lets old counts fade. At every tick.
    pub(crate) fn tick(&mut self, now: Instant) {
        if now.since(self.halved_at) >= HALVE_EVERY {
            self.halved_at = now;
            self.sampled /= 2;
            self.keys.halve();
            self.slots.halve();
        }
    }

    /// What was asked for most of late.
    pub(crate) fn report(&self) -> HotReport {
        HotReport { sampled: self.sampled, keys: self.keys.top(), slots: self.slots.top() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    #[test]
    fn hot_keys_are_found_among_very_many_cold_ones() {
        let mut hot = HotKeys::default();
        for number in 0..40_000_u32 {
            match number % 10 {
                0 | 1 => hot.note(slot(7), b"hottest"),
                2 => hot.note(slot(9), b"hot"),
                _ => hot.note(slot((number % 16_000) as u16), format!("cold:{number}").as_bytes()),
            }
        }
        let report = hot.report();
        assert_eq!((report.sampled, report.keys.len(), report.slots.len()), (40_000, COUNTERS_COUNT, COUNTERS_COUNT));
        let top: Vec<_> = report.keys.iter().take(2).map(|hot| String::from_utf8_lossy(&hot.item)).collect();
        assert_eq!(top, ["hottest", "hot"]);
        for (hot, exact) in report.keys.iter().zip([8_000, 4_000]) {
            assert!(hot.count >= exact && hot.count - hot.error <= exact, "{hot:?}");
        }
        assert_eq!(report.slots[0].item, b"7");
    }

    #[test]
    fn one_in_so_many_commands_is_looked_at() {
        let mut hot = HotKeys::default();
        assert_eq!((0..10 * SAMPLE_EVERY).filter(|_| hot.is_due()).count(), 10);
    }

    #[test]
    fn what_was_hot_fades() {
        let mut hot = HotKeys::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        hot.tick(at(100));
        (0..1_000).for_each(|_| hot.note(slot(1), b"old"));
        (1..=5).for_each(|turn| hot.tick(at(100 + 10 * turn)));
        (0..100).for_each(|_| hot.note(slot(2), b"new"));
        let report = hot.report();
        assert_eq!(
            (report.keys[0].item.as_slice(), report.keys[0].count, report.keys[1].count),
            (&b"new"[..], 100, 31)
        );
        (6..=20).for_each(|turn| hot.tick(at(100 + 10 * turn)));
        assert!(hot.report().keys.is_empty(), "what did not come for long is not shown");
    }

    #[test]
    fn long_keys_take_little_and_are_told_apart() {
        let mut hot = HotKeys::default();
        let long = |last: u8| [vec![b'k'; 60_000], vec![last]].concat();
        (0..3).for_each(|_| hot.note(slot(1), &long(b'a')));
        hot.note(slot(1), &long(b'b'));
        let counts: Vec<_> = hot.report().keys.iter().map(|hot| (hot.item.len(), hot.count)).collect();
        assert_eq!(counts, [(KEY_BYTES_MAX, 3), (KEY_BYTES_MAX, 1)]);
    }

    #[test]
    fn a_node_adds_up_what_its_cores_have_seen() {
        let (mut one, mut other) = (HotKeys::default(), HotKeys::default());
        (0..3).for_each(|_| one.note(slot(1), b"a"));
        (0..2).for_each(|_| other.note(slot(1), b"a"));
        (0..4).for_each(|_| other.note(slot(2), b"b"));
        let mut node = one.report();
        node.merge(&other.report());
        let keys: Vec<_> = node.keys.iter().map(|hot| (hot.item.as_slice(), hot.count)).collect();
        assert_eq!((keys, node.sampled), (vec![(&b"a"[..], 5), (&b"b"[..], 4)], 9));
    }
}
