//! Keys: their names, who owns which, and which one comes next.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use types::Slot;

use crate::load::rng::Rng;
use crate::load::zipf::{Shuffle, THETA_MAX, THETA_MIN, Zipf};
use crate::topology::Topology;

/// The length of a key.
pub const KEY_BYTES: usize = 16;
/// The most keys at the start of a run: their numbers are dealt to owners in memory.
pub const KEYS_COUNT_MAX: u32 = 16_000_000;
/// The most keys that one thread inserts for one owner; their numbers are kept.
const INSERTS_MAX: usize = 64_000_000;

/// The name of a key: `key:` and its number in 12 digits.
pub fn key_name(key: u32) -> [u8; KEY_BYTES] {
    let mut name = *b"key:000000000000";
    let mut rest = key;
    for digit in name.iter_mut().rev().take(10) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

/// The order in which keys are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum KeyOrder {
    /// Each key as likely as any other.
    #[default]
    Uniform,
    /// Few keys often, many seldom, by Zipf's law with this skew; which ones are popular has no pattern.
    Zipf(f64),
    /// By Zipf's law with this skew, the keys inserted last most often.
    Latest(f64),
    /// A share of the keys gets a share of the commands: `Hotspot(0.2, 0.8)`.
    Hotspot(f64, f64),
    /// Each key once, in order; the run ends behind the last one.
    Sequential,
    /// Each key once, in an order without a pattern; the run ends behind the last one.
    Shuffled,
}

/// The skew of YCSB.
const THETA_DEFAULT: f64 = 0.99;

impl FromStr for KeyOrder {
    type Err = String;

    /// Reads `uniform`, `zipf[:THETA]`, `latest[:THETA]`, `hotspot[:KEYS:COMMANDS]`, `sequential` or `shuffled`.
    fn from_str(text: &str) -> Result<KeyOrder, String> {
        let (name, more) = text.split_once(':').map_or((text, None), |(name, more)| (name, Some(more)));
        let theta = || -> Result<f64, String> {
            let Some(text) = more else { return Ok(THETA_DEFAULT) };
            let theta: f64 =
                text.parse().map_err(|_| format!("the skew `{text}` is no number; write {name}:0.99"))?;
            let is_sound = (THETA_MIN..=THETA_MAX).contains(&theta);
            is_sound
                .then_some(theta)
                .ok_or_else(|| format!("the skew {theta} is not within {THETA_MIN} and {THETA_MAX}"))
        };
        let share = |text: &str| {
            let share: Option<f64> = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            share.ok_or_else(|| format!("`{text}` is no share within 0 and 1; write hotspot:0.2:0.8"))
        };
        match (name, more) {
            ("uniform", None) => Ok(KeyOrder::Uniform),
            ("sequential", None) => Ok(KeyOrder::Sequential),
            ("shuffled", None) => Ok(KeyOrder::Shuffled),
            ("zipf", _) => theta().map(KeyOrder::Zipf),
            ("latest", _) => theta().map(KeyOrder::Latest),
            ("hotspot", None) => Ok(KeyOrder::Hotspot(0.2, 0.8)),
            ("hotspot", Some(more)) => match more.split_once(':') {
                Some((keys, commands)) => Ok(KeyOrder::Hotspot(share(keys)?, share(commands)?)),
                None => Err(format!("`{text}` lacks a share; write hotspot:0.2:0.8 (of the keys, of the commands)")),
            },
            _ => Err(format!(
                "`{text}` is none of uniform, zipf[:THETA], latest[:THETA], hotspot[:KEYS:COMMANDS], sequential and \
                 shuffled"
            )),
        }
    }
}

impl fmt::Display for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyOrder::Uniform => f.write_str("uniform"),
            KeyOrder::Zipf(theta) => write!(f, "zipf:{theta}"),
            KeyOrder::Latest(theta) => write!(f, "latest:{theta}"),
            KeyOrder::Hotspot(keys, commands) => write!(f, "hotspot:{keys}:{commands}"),
            KeyOrder::Sequential => f.write_str("sequential"),
            KeyOrder::Shuffled => f.write_str("shuffled"),
        }
    }
}

/// The keys of one owner, as numbers of keys.
#[derive(Clone, Debug)]
pub struct OwnedKeys {
    // How many keys there are in all at the start; inserts go on from there.
    keys_count: u32,
    // `None`: all of them.
    list: Option<Arc<Vec<u32>>>,
    // Whose they are. `None`: all keys are this owner's.
    owner: Option<(Arc<Topology>, usize)>,
}

impl OwnedKeys {
    /// All keys, `keys_count` of them at the start.
    pub fn all(keys_count: u32) -> OwnedKeys {
        OwnedKeys { keys_count, list: None, owner: None }
    }

    /// Deals the keys below `keys_count` to the owners of their slots, in the order of the owners.
    pub fn by_owner(topology: &Arc<Topology>, keys_count: u32) -> Vec<OwnedKeys> {
        if topology.owners().len() == 1 && topology.slots_counts() == [types::SLOTS_COUNT] {
            return vec![OwnedKeys::all(keys_count)];
        }
        let mut lists = vec![Vec::new(); topology.owners().len()];
        for key in 0..keys_count {
            let owner = topology.owner_of(Slot::of_key(&key_name(key)));
            if let Some(list) = owner.and_then(|owner| lists.get_mut(owner)) {
                list.push(key);
            }
        }
        let owned = |(owner, list)| OwnedKeys {
            keys_count,
            list: Some(Arc::new(list)),
            owner: Some((Arc::clone(topology), owner)),
        };
        lists.into_iter().enumerate().map(owned).collect()
    }

    fn len(&self) -> u32 {
        self.list.as_ref().map_or(self.keys_count, |list| list.len() as u32)
    }

    fn at(&self, rank: u32) -> Option<u32> {
        match &self.list {
            None => Some(rank).filter(|rank| *rank < self.keys_count),
            Some(list) => list.get(rank as usize).copied(),
        }
    }

    fn owns(&self, key: u32) -> bool {
        let is_theirs = |(topology, owner): &(Arc<Topology>, usize)| {
            topology.owner_of(Slot::of_key(&key_name(key))) == Some(*owner)
        };
        self.owner.as_ref().is_none_or(is_theirs)
    }
}

/// How a chooser finds the next key.
#[derive(Debug)]
enum Law {
    Uniform,
    Zipf(Zipf, Shuffle),
    Latest(Zipf),
    Hotspot { hot_count: u32, commands: f64, shuffle: Shuffle },
    EachOnce { rank_next: u32, shuffle: Option<Shuffle> },
}

/// Chooses keys of one owner for one thread, and numbers for keys to insert.
#[derive(Debug)]
pub struct KeyChooser {
    keys: OwnedKeys,
    law: Law,
    // Keys that this thread has inserted and that the owner has acknowledged, the last one at the end.
    inserted: Vec<u32>,
    // The next number that may be inserted. Threads take turns, so that no number is inserted twice.
    insert_next: Option<u32>,
    step: u32,
}

impl KeyChooser {
    /// A chooser for thread `thread_idx` of `threads_count`.
    pub fn new(keys: OwnedKeys, order: KeyOrder, thread_idx: u32, threads_count: u32) -> KeyChooser {
        let (len, shuffle) = (keys.len(), Shuffle::new(keys.len()));
        let law = match order {
            KeyOrder::Uniform => Law::Uniform,
            KeyOrder::Zipf(theta) => Law::Zipf(Zipf::new(len, theta), shuffle),
            KeyOrder::Latest(theta) => Law::Latest(Zipf::new(len, theta)),
            KeyOrder::Hotspot(share, commands) => {
                // Neither part is empty, unless there is one key only.
                let hot_count = ((f64::from(len) * share) as u32).clamp(1, len.saturating_sub(1).max(1));
                Law::Hotspot { hot_count, commands, shuffle }
            }
            KeyOrder::Sequential => Law::EachOnce { rank_next: thread_idx, shuffle: None },
            KeyOrder::Shuffled => Law::EachOnce { rank_next: thread_idx, shuffle: Some(shuffle) },
        };
        let insert_next = keys.keys_count.checked_add(thread_idx);
        KeyChooser { keys, law, inserted: Vec::new(), insert_next, step: threads_count }
    }

    /// How many keys there are to choose from.
    pub fn count(&self) -> u32 {
        self.keys.len() + self.inserted.len() as u32
    }

    /// The next key, or `None` if there is none (any more).
    pub fn next(&mut self, rng: &mut Rng) -> Option<u32> {
        let (len, count) = (self.keys.len(), self.count());
        if count == 0 {
            return None;
        }
        let rank = match &mut self.law {
            Law::Uniform => rng.below(count),
            Law::Zipf(zipf, shuffle) => shuffle.at(zipf.draw(rng)),
            Law::Latest(zipf) => {
                if zipf.count() != count {
                    zipf.set_count(count);
                }
                count - 1 - zipf.draw(rng)
            }
            Law::Hotspot { hot_count, commands, shuffle } => {
                let is_hot = rng.unit() < *commands || *hot_count >= len;
                shuffle.at(if is_hot { rng.below(*hot_count) } else { *hot_count + rng.below(len - *hot_count) })
            }
            Law::EachOnce { rank_next, shuffle } => {
                let rank = *rank_next;
                *rank_next = rank.saturating_add(self.step);
                return self.keys.at(shuffle.map_or(rank, |shuffle| shuffle.at(rank)));
            }
        };
        self.keys.at(rank).or_else(|| self.inserted.get((rank - len) as usize).copied())
    }

    /// A number for a key to insert, or `None` if none is left.
    pub fn next_insert(&mut self) -> Option<u32> {
        if self.inserted.len() >= INSERTS_MAX {
            return None;
        }
        loop {
            let key = self.insert_next?;
            self.insert_next = key.checked_add(self.step);
            if self.keys.owns(key) {
                return Some(key);
            }
        }
    }

    /// Takes notice that a key was inserted: it is chosen from now on, if it is still this owner's.
    pub fn acknowledge_insert(&mut self, key: u32) {
        if self.keys.owns(key) {
            self.inserted.push(key);
        }
    }

    /// Takes over from choosers of a topology that is gone: the inserted keys that are now this owner's, and where their
    /// numbers go on.
    pub fn inherit(&mut self, old: &[KeyChooser]) {
        for chooser in old {
            self.inserted.extend(chooser.inserted.iter().filter(|key| self.keys.owns(**key)));
            self.insert_next = self.insert_next.zip(chooser.insert_next).map(|(ours, theirs)| ours.max(theirs));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chooser(count: u32, order: &str) -> KeyChooser {
        KeyChooser::new(OwnedKeys::all(count), order.parse().unwrap(), 0, 1)
    }

    /// How often each of `count` keys comes in 200,000 draws, the most frequent one first.
    fn counts(count: u32, order: &str) -> Vec<u32> {
        let (mut chooser, mut rng) = (chooser(count, order), Rng::new(7));
        let mut counts = vec![0u32; count as usize];
        for _ in 0..200_000 {
            counts[chooser.next(&mut rng).unwrap() as usize] += 1;
        }
        counts
    }

    fn sorted(mut counts: Vec<u32>) -> Vec<u32> {
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    fn two_owners() -> Arc<Topology> {
        let reply = b"*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.2\r\n:1\r\n";
        let reply = crate::reply::decode(reply).unwrap().unwrap().0;
        Arc::new(Topology::parse(&reply, "127.0.0.1:1".parse().unwrap()).unwrap())
    }

    #[test]
    fn threads_visit_each_key_once() {
        for order in [KeyOrder::Sequential, KeyOrder::Shuffled] {
            let mut rng = Rng::new(1);
            let mut seen = Vec::new();
            for thread in 0..3 {
                let mut chooser = KeyChooser::new(OwnedKeys::all(100), order, thread, 3);
                seen.extend(std::iter::from_fn(|| chooser.next(&mut rng)));
            }
            let steps = seen.windows(2).filter(|pair| pair[1] == pair[0] + 3).count();
            assert_eq!(order == KeyOrder::Sequential, steps == 97, "{order}: {steps} times the next key of a thread");
            seen.sort_unstable();
            assert_eq!(seen, (0..100).collect::<Vec<u32>>(), "{order}");
        }
    }

    #[test]
    fn zipf_keys_follow_the_law_and_the_popular_ones_are_no_neighbours() {
        let counts = counts(1_000, "zipf");
        let total: f64 = (1..=1_000).map(|rank| f64::from(rank).powf(-0.99)).sum();
        let popular = counts.iter().position(|count| count == counts.iter().max().unwrap()).unwrap();
        assert_ne!(popular, 0, "the first key is not the popular one");
        for (rank, count) in sorted(counts).into_iter().take(10).enumerate() {
            let expected = 200_000.0 * f64::from(rank as u32 + 1).powf(-0.99) / total;
            assert!((f64::from(count) / expected - 1.0).abs() < 0.06, "rank {rank}: {count}, not {expected}");
        }
    }

    #[test]
    fn a_hotspot_takes_its_share() {
        let counts = sorted(counts(1_000, "hotspot:0.1:0.9"));
        let hot: u32 = counts[..100].iter().sum();
        assert!((179_000..181_000).contains(&hot), "{hot}");
        assert!(counts[100] < counts[99] / 10, "{} {}", counts[99], counts[100]);
    }

    #[test]
    fn the_keys_inserted_last_are_the_latest() {
        let (mut chooser, mut rng) = (chooser(100, "latest"), Rng::new(3));
        let count_of = |chooser: &mut KeyChooser, rng: &mut Rng, key: u32| {
            (0..10_000).filter(|_| chooser.next(rng) == Some(key)).count()
        };
        let before = count_of(&mut chooser, &mut rng, 99);
        assert!((1_800..2_100).contains(&before), "the last of 100 keys: {before}");
        assert_eq!((chooser.next_insert(), chooser.next_insert()), (Some(100), Some(101)));
        assert_eq!(count_of(&mut chooser, &mut rng, 101), 0, "nobody has acknowledged it yet");
        chooser.acknowledge_insert(101);
        chooser.acknowledge_insert(100);
        let latest = count_of(&mut chooser, &mut rng, 100);
        assert!((1_800..2_100).contains(&latest), "the one acknowledged last: {latest}");
        assert!(count_of(&mut chooser, &mut rng, 99) < before / 2);
    }

    #[test]
    fn inserts_go_to_the_owner_of_their_slot_and_outlive_a_topology() {
        let topology = two_owners();
        let mut choosers: Vec<KeyChooser> = (0..2)
            .flat_map(|thread| {
                let keys = OwnedKeys::by_owner(&topology, 50);
                keys.into_iter().map(move |keys| KeyChooser::new(keys, KeyOrder::Uniform, thread, 2))
            })
            .collect();
        let mut numbers: Vec<u32> = choosers
            .iter_mut()
            .flat_map(|chooser| {
                let numbers: Vec<u32> = (0..20).filter_map(|_| chooser.next_insert()).collect();
                numbers.iter().for_each(|key| chooser.acknowledge_insert(*key));
                assert!(numbers.iter().all(|key| *key >= 50 && chooser.keys.owns(*key)));
                numbers
            })
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 80, "no number twice");
        let mut heir = KeyChooser::new(OwnedKeys::all(50), KeyOrder::Uniform, 0, 2);
        heir.inherit(&choosers);
        assert_eq!(heir.inserted.len(), 80);
        assert!(heir.next_insert().unwrap() > *numbers.last().unwrap() - 2);
    }

    #[test]
    fn tiny_key_spaces_are_served() {
        for order in ["uniform", "zipf:0.5", "latest", "hotspot"] {
            for count in 1..4 {
                let (mut chooser, mut rng) = (chooser(count, order), Rng::new(3));
                assert!((0..1_000).all(|_| chooser.next(&mut rng).unwrap() < count), "{order}, {count}");
            }
            assert_eq!(chooser(0, order).next(&mut Rng::new(1)), None);
        }
    }

    #[test]
    fn orders_are_read_and_written_alike() {
        for text in ["uniform", "zipf:1.2", "latest:0.5", "hotspot:0.2:0.8", "sequential", "shuffled"] {
            assert_eq!(text.parse::<KeyOrder>().unwrap().to_string(), text);
        }
        for bad in ["", "zipf:0", "zipf:x", "hotspot:2:1", "hotspot:0.2", "uniform:1", "ziff"] {
            assert!(bad.parse::<KeyOrder>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_key_has_the_owner_of_its_slot() {
        let topology = two_owners();
        let owned = OwnedKeys::by_owner(&topology, 1_000);
        assert_eq!(owned.iter().map(OwnedKeys::len).sum::<u32>(), 1_000);
        for (owner, keys) in owned.iter().enumerate() {
            let mut numbers = (0..keys.len()).map(|rank| keys.at(rank).unwrap());
            assert!(numbers.all(|key| topology.owner_of(Slot::of_key(&key_name(key))) == Some(owner)));
        }
    }
}
