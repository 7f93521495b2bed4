//! Which commands a run consists of, and how often each comes.

use std::fmt;
use std::str::FromStr;

use crate::load::keys::KeyOrder;
use crate::load::rng::Rng;

const WEIGHT_MAX: u32 = 1_000_000;

/// What is done and counted: one command, or a few that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SET` of a key that is there
    Set,
    /// `GET`
    Get,
    /// `DEL`
    Del,
    /// `PING`
    Ping,
    /// `SET` of a key that is not there yet
    Insert,
    /// `GET`, and on its answer `SET` of the same key; counted as one, from the first to the second answer
    Rmw,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 6] = [Kind::Set, Kind::Get, Kind::Del, Kind::Ping, Kind::Insert, Kind::Rmw];

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Set => "set",
            Kind::Get => "get",
            Kind::Del => "del",
            Kind::Ping => "ping",
            Kind::Insert => "insert",
            Kind::Rmw => "rmw",
        }
    }
}

/// Kinds of commands and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    // What it was read from.
    text: String,
    // Invariant: not empty, no weight is 0, and `total` is their sum.
    weights: Vec<(Kind, u32)>,
    total: u32,
    // In which order keys are chosen unless the user says otherwise.
    key_order: KeyOrder,
}

impl Mix {
    /// Commands of one kind only.
    pub fn only(kind: Kind) -> Mix {
        Mix { text: kind.name().to_owned(), weights: vec![(kind, 1)], total: 1, key_order: KeyOrder::Uniform }
    }

    /// Chooses a kind.
    pub fn choose(&self, rng: &mut Rng) -> Kind {
        if let [(kind, _)] = self.weights.as_slice() {
            return *kind;
        }
        let mut ticket = rng.below(self.total);
        for (kind, weight) in &self.weights {
            match ticket.checked_sub(*weight) {
                Some(left) => ticket = left,
                None => return *kind,
            }
        }
        unreachable!("a ticket is below the sum of the weights")
    }

    /// Whether commands of this kind come at all.
    pub fn has(&self, kind: Kind) -> bool {
        self.weights.iter().any(|(other, _)| *other == kind)
    }

    /// The order of the keys that belongs to these commands.
    pub fn key_order(&self) -> KeyOrder {
        self.key_order
    }

    /// A workload of YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC 2010, table 2), with values
    /// instead of records.
    fn ycsb(letter: &str) -> Result<Mix, String> {
        let zipf = KeyOrder::Zipf(0.99);
        let (weights, key_order) = match letter {
            "a" => (vec![(Kind::Get, 50), (Kind::Set, 50)], zipf),
            "b" => (vec![(Kind::Get, 95), (Kind::Set, 5)], zipf),
            "c" => (vec![(Kind::Get, 100)], zipf),
            "d" => (vec![(Kind::Get, 95), (Kind::Insert, 5)], KeyOrder::Latest(0.99)),
            "e" => {
                return Err(
                    "YCSB E reads ranges of keys in their order, and a Redis server keeps strings in no order \
                            (SCAN starts at no key): there is no ycsb-e. A, B, C, D and F are there"
                        .to_owned(),
                );
            }
            "f" => (vec![(Kind::Get, 50), (Kind::Rmw, 50)], zipf),
            _ => return Err(format!("YCSB has no workload `{letter}`; there are ycsb-a, -b, -c, -d and -f")),
        };
        Ok(Mix { text: format!("ycsb-{letter}"), weights, total: 100, key_order })
    }

    /// Reads `set=1,get=9`, or one name.
    fn weighted(text: &str) -> Result<Mix, String> {
        let mut mix = Mix { text: text.to_owned(), weights: Vec::new(), total: 0, key_order: KeyOrder::Uniform };
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
                format!(
                    "`{name}` is no workload; there are set, get, del, ping, insert, rmw, weights of them such as \
                     set=1,get=9, mixed:RATIO (the share of reads) and ycsb-a, -b, -c, -d, -f"
                )
            })?;
            let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            let weight: u32 =
                weight.ok_or_else(|| format!("the weight in `{part}` is not within 0 and {WEIGHT_MAX}"))?;
            if mix.has(kind) {
                return Err(format!("`{name}` is there twice"));
            }
            if weight > 0 {
                mix.weights.push((kind, weight));
                mix.total += weight;
            }
        }
        if mix.weights.is_empty() { Err("every weight is 0".to_owned()) } else { Ok(mix) }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Mix {
    type Err = String;

    /// Reads the name of a kind, `mixed:RATIO` (the share of reads, 0 to 1), `set=1,get=9` or `ycsb-a`.
    fn from_str(text: &str) -> Result<Mix, String> {
        if let Some(letter) = text.strip_prefix("ycsb-") {
            return Mix::ycsb(letter);
        }
        let Some(ratio) = text.strip_prefix("mixed:") else { return Mix::weighted(text) };
        let share: f64 = ratio.parse().map_err(|_| format!("`{ratio}` is not a ratio; write mixed:0.9"))?;
        if !(0.0..=1.0).contains(&share) {
            return Err(format!("the share of reads is {share}, not within 0 and 1"));
        }
        let gets = (share * 10_000.0).round() as u32;
        Ok(Mix { text: text.to_owned(), ..Mix::weighted(&format!("set={},get={gets}", 10_000 - gets))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 10,000 are of this kind.
    fn share(text: &str, kind: Kind) -> usize {
        let (mix, mut rng): (Mix, _) = (text.parse().unwrap(), Rng::new(5));
        (0..10_000).filter(|_| mix.choose(&mut rng) == kind).count()
    }

    #[test]
    fn mixes_are_read_and_kept() {
        assert!((7_300..7_700).contains(&share("mixed:0.75", Kind::Get)));
        assert_eq!((share("set=1,get=0", Kind::Set), share("get", Kind::Get)), (10_000, 10_000));
        for bad in ["", "set=x", "set=0", "mixed:2", "set,set", "hset"] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_workloads_of_ycsb_have_its_shares_and_distributions() {
        for (text, kind, percent) in [
            ("ycsb-a", Kind::Set, 50),
            ("ycsb-b", Kind::Set, 5),
            ("ycsb-c", Kind::Get, 100),
            ("ycsb-d", Kind::Insert, 5),
            ("ycsb-f", Kind::Rmw, 50),
        ] {
            let seen = share(text, kind);
            assert!(seen.abs_diff(percent * 100) < 150, "{text}: {seen}");
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
        }
        assert_eq!("ycsb-a".parse::<Mix>().unwrap().key_order(), KeyOrder::Zipf(0.99));
        assert_eq!("ycsb-d".parse::<Mix>().unwrap().key_order(), KeyOrder::Latest(0.99));
        assert!("ycsb-e".parse::<Mix>().unwrap_err().contains("SCAN"), "it is left out, and says why");
    }
}
