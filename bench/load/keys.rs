//! Which key comes next.

use std::sync::Arc;

use clap::ValueEnum;
use types::Slot;

use crate::load::rng::Rng;
use crate::load::workload::key_name;
use crate::topology::Topology;

/// The order in which keys are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KeyOrder {
    /// Each key as likely as any other.
    #[default]
    Uniform,
    /// Few keys often, many seldom; key 0 most often.
    Zipf,
    /// Each key once, in order; the run ends behind the last one.
    Sequential,
}

/// The keys of one owner, as numbers of keys.
#[derive(Clone, Debug)]
pub struct OwnedKeys {
    /// `None`: all numbers below `len`.
    list: Option<Arc<Vec<u32>>>,
    len: u32,
}

impl OwnedKeys {
    /// All keys below `keys_count`.
    pub fn all(keys_count: u32) -> OwnedKeys {
        OwnedKeys { list: None, len: keys_count }
    }

    /// Deals the keys below `keys_count` to the owners of their slots, in the order of the owners.
    pub fn by_owner(topology: &Topology, keys_count: u32) -> Vec<OwnedKeys> {
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
        let owned = |list: Vec<u32>| OwnedKeys { len: list.len() as u32, list: Some(Arc::new(list)) };
        lists.into_iter().map(owned).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn at(&self, rank: u32) -> Option<u32> {
        match &self.list {
            None => Some(rank).filter(|rank| *rank < self.len),
            Some(list) => list.get(rank as usize).copied(),
        }
    }
}

/// Chooses keys of one owner for one thread.
pub struct KeyChooser {
    keys: OwnedKeys,
    zipf: Option<Zipf>,
    // The next rank in sequential order; the threads take turns.
    cursor: u32,
    step: u32,
    order: KeyOrder,
}

impl KeyChooser {
    /// A chooser for thread `thread_idx` of `threads_count`. `theta` is the skew of [`KeyOrder::Zipf`], between
    /// 0 and 1.
    pub fn new(keys: OwnedKeys, order: KeyOrder, theta: f64, thread_idx: u32, threads_count: u32) -> KeyChooser {
        let zipf = (order == KeyOrder::Zipf && !keys.is_empty()).then(|| Zipf::new(keys.len, theta));
        KeyChooser { keys, zipf, cursor: thread_idx, step: threads_count, order }
    }

    /// The next key, or `None` if there is none (any more).
    pub fn next(&mut self, rng: &mut Rng) -> Option<u32> {
        if self.keys.is_empty() {
            return None;
        }
        let rank = match (self.order, &self.zipf) {
            (KeyOrder::Zipf, Some(zipf)) => zipf.rank(rng.unit()),
            (KeyOrder::Sequential, _) => {
                let rank = self.cursor;
                self.cursor = self.cursor.saturating_add(self.step);
                rank
            }
            _ => rng.below(self.keys.len),
        };
        self.keys.at(rank)
    }
}

/// Zipf-distributed ranks in constant time per draw, after Gray et al., "Quickly Generating Billion-Record
/// Synthetic Databases", SIGMOD 1994, section 4.2.
struct Zipf {
    count: f64,
    theta: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    fn new(count: u32, theta: f64) -> Zipf {
        let zeta_of = |n: u32| (1..=n).map(|rank| f64::from(rank).powf(-theta)).sum::<f64>();
        let zeta = zeta_of(count);
        let eta = (1.0 - (2.0 / f64::from(count)).powf(1.0 - theta)) / (1.0 - zeta_of(2) / zeta);
        Zipf { count: f64::from(count), theta, alpha: 1.0 / (1.0 - theta), zeta, eta }
    }

    /// The rank for a uniform `unit` in 0..1.
    fn rank(&self, unit: f64) -> u32 {
        let scaled = unit * self.zeta;
        if scaled < 1.0 || self.count < 2.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(self.theta) || self.count < 3.0 {
            return 1;
        }
        let rank = self.count * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        rank.min(self.count - 1.0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequential_threads_visit_each_key_once() {
        let mut rng = Rng::new(1);
        let mut seen = Vec::new();
        for thread in 0..3 {
            let mut chooser = KeyChooser::new(OwnedKeys::all(10), KeyOrder::Sequential, 0.99, thread, 3);
            seen.extend(std::iter::from_fn(|| chooser.next(&mut rng)));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<u32>>());
    }

    #[test]
    fn zipf_ranks_fall_as_the_law_says() {
        let mut chooser = KeyChooser::new(OwnedKeys::all(1_000), KeyOrder::Zipf, 0.99, 0, 1);
        let (mut rng, mut counts) = (Rng::new(7), vec![0u32; 1_000]);
        for _ in 0..200_000 {
            counts[chooser.next(&mut rng).unwrap() as usize] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.7..2.3).contains(&ratio), "the second rank is half as likely as the first, not 1/{ratio}");
        let head: u32 = counts[..10].iter().sum();
        assert!((70_000..95_000).contains(&head), "ten ranks take {head} of 200000");
    }

    #[test]
    fn tiny_key_spaces_are_served() {
        for count in 1..4 {
            let mut chooser = KeyChooser::new(OwnedKeys::all(count), KeyOrder::Zipf, 0.5, 0, 1);
            let mut rng = Rng::new(3);
            assert!((0..1_000).all(|_| chooser.next(&mut rng).unwrap() < count));
        }
    }

    #[test]
    fn every_key_has_the_owner_of_its_slot() {
        let reply = b"*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.2\r\n:1\r\n";
        let reply = crate::reply::decode(reply).unwrap().unwrap().0;
        let topology = Topology::parse(&reply, "127.0.0.1:1".parse().unwrap()).unwrap();
        let owned = OwnedKeys::by_owner(&topology, 1_000);
        assert_eq!(owned.iter().map(|keys| keys.len).sum::<u32>(), 1_000);
        for (owner, keys) in owned.iter().enumerate() {
            let mut numbers = (0..keys.len).map(|rank| keys.at(rank).unwrap());
            assert!(numbers.all(|key| topology.owner_of(Slot::of_key(&key_name(key))) == Some(owner)));
        }
    }
}
