//! What is measured: how much data, in how much memory, and which phases.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::load::keys::{KEY_BYTES, KeyOrder};
use crate::load::mix::Mix;
use crate::load::values::Values;

/// The period of the filler of values, in bytes: what a store compresses or merges at once holds hardly any byte twice.
const VALUES_PERIOD_BYTES: usize = 4 << 20;
/// The skew of Zipf's law, as in YCSB.
const THETA: f64 = 0.99;

/// A store that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// A server of one node and one core, used over loopback sockets
    Coracle,
    /// RocksDB within a process
    Rocksdb,
    /// fjall within a process
    Fjall,
}

impl Store {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Store; 3] = [Store::Coracle, Store::Rocksdb, Store::Fjall];
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Store::Coracle => "coracle",
            Store::Rocksdb => "rocksdb",
            Store::Fjall => "fjall",
        })
    }
}

/// How keys are chosen in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Few keys often, many seldom, with a skew of 0.99; popular keys are no neighbours
    Zipfian,
    /// Each key as likely as any other
    Uniform,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Distribution::Zipfian => "zipfian",
            Distribution::Uniform => "uniform",
        })
    }
}

/// Shares of reads and writes, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Of a hundred operations.
    pub reads: u8,
}

impl FromStr for Shares {
    type Err = String;

    /// Reads `95/5`: reads, then writes.
    fn from_str(text: &str) -> Result<Shares, String> {
        let hint = || format!("`{text}` is no mix; write 95/5 for 95 % of reads and 5 % of writes");
        let (reads, writes) = text.split_once('/').ok_or_else(hint)?;
        let (reads, writes): (u8, u8) = reads.parse().ok().zip(writes.parse().ok()).ok_or_else(hint)?;
        (reads.checked_add(writes) == Some(100)).then_some(Shares { reads }).ok_or_else(hint)
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.reads, 100 - self.reads)
    }
}

/// One part of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Every key is written once, in an order without a pattern.
    Load,
    /// Reads and overwrites of keys that are there.
    Mix(Shares, Distribution),
}

impl Phase {
    /// The order in which keys are chosen.
    pub fn key_order(self) -> KeyOrder {
        match self {
            Phase::Load => KeyOrder::Shuffled,
            Phase::Mix(_, Distribution::Zipfian) => KeyOrder::Zipf(THETA),
            Phase::Mix(_, Distribution::Uniform) => KeyOrder::Uniform,
        }
    }

    /// The commands.
    pub fn mix(self) -> Mix {
        let text = match self {
            Phase::Load => "set".to_owned(),
            Phase::Mix(Shares { reads }, _) => format!("get={reads},set={}", 100 - reads),
        };
        text.parse().expect("a mix written as they are read, whose weights are not both 0")
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Load => f.write_str("load"),
            Phase::Mix(shares, distribution) => write!(f, "{shares} {distribution}"),
        }
    }
}

/// What to measure, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The stores, in this order.
    pub stores: Vec<Store>,
    /// The binary of Coracle.
    pub coracle: PathBuf,
    /// Where the data goes.
    pub dir: PathBuf,
    /// How many keys are loaded.
    pub keys_count: u32,
    /// The length of a value, in bytes.
    pub value_bytes: usize,
    /// The memory that a store may use for data, in bytes.
    pub memory_bytes: u64,
    /// How many operations are under way at a time: threads within a process, connections to a server.
    pub clients: usize,
    /// The mixes that follow the load.
    pub mixes: Vec<Shares>,
    /// Each mix is measured with each of these.
    pub distributions: Vec<Distribution>,
    /// How long a mix is measured, in seconds.
    pub seconds: f64,
    /// How long is waited at most for what the load has left to do in the background, in seconds.
    pub settle_seconds: f64,
    /// The CPU that a store is kept on.
    pub cpu: Option<usize>,
    /// The CPU that the generator of the server's load is kept on.
    pub client_cpu: Option<usize>,
}

impl Plan {
    /// The phases, in their order.
    pub fn phases(&self) -> impl Iterator<Item = Phase> {
        let with = |shares: &Shares| {
            let shares = *shares;
            self.distributions.iter().map(move |distribution| Phase::Mix(shares, *distribution))
        };
        std::iter::once(Phase::Load).chain(self.mixes.iter().flat_map(with))
    }

    /// Bytes of one key with its value.
    pub fn pair_bytes(&self) -> u64 {
        (KEY_BYTES + self.value_bytes) as u64
    }

    /// Bytes of all keys with their values.
    pub fn live_bytes(&self) -> u64 {
        u64::from(self.keys_count) * self.pair_bytes()
    }

    /// What values are made of.
    pub fn values(&self) -> Values {
        Values::with_period(VALUES_PERIOD_BYTES.max(self.value_bytes))
    }
}

/// A number of bytes: `4096`, `4k`, `256m`, `20g`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        _ => (lower.as_str(), 0),
    };
    let number: Option<u64> = digits.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("`{text}` is no number of bytes; write 4096, 4k, 256m or 20g"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plan() -> Plan {
        Plan {
            stores: Store::ALL.to_vec(),
            coracle: PathBuf::from("coracle"),
            dir: PathBuf::from("."),
            keys_count: 1_000,
            value_bytes: 84,
            memory_bytes: 64 << 20,
            clients: 4,
            mixes: vec![Shares { reads: 95 }, Shares { reads: 50 }],
            distributions: vec![Distribution::Zipfian, Distribution::Uniform],
            seconds: 1.0,
            settle_seconds: 1.0,
            cpu: None,
            client_cpu: None,
        }
    }

    #[test]
    fn every_mix_is_measured_with_every_distribution_behind_the_load() {
        let names: Vec<String> = plan().phases().map(|phase| phase.to_string()).collect();
        assert_eq!(names, ["load", "95/5 zipfian", "95/5 uniform", "50/50 zipfian", "50/50 uniform"]);
        assert_eq!(plan().live_bytes(), 100_000);
    }

    #[test]
    fn shares_are_read_and_written_alike() {
        for text in ["95/5", "100/0", "0/100"] {
            assert_eq!(text.parse::<Shares>().unwrap().to_string(), text);
            let mix = Phase::Mix(text.parse().unwrap(), Distribution::Uniform).mix();
            assert_eq!(mix.has(crate::load::mix::Kind::Set), !text.ends_with("/0"), "{text}");
        }
        for bad in ["", "95", "95/4", "200/56", "a/b"] {
            assert!(bad.parse::<Shares>().unwrap_err().contains("95/5"), "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            ["4096", "4k", "256M", "20g"].map(|text| bytes(text).unwrap()),
            [4_096, 4_096, 256 << 20, 20 << 30]
        );
        for bad in ["", "0", "g", "1t", "-1", "99999999999g"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_hold_hardly_any_byte_twice_over_many_of_them() {
        let (values, mut block) = (plan().values(), Vec::new());
        (0..8).for_each(|key| values.append(key, 1, 4_096, &mut block));
        let mut windows: Vec<&[u8]> = block.windows(8).collect();
        windows.sort_unstable();
        windows.dedup();
        assert!(windows.len() > block.len() * 99 / 100, "{} of {}", windows.len(), block.len());
    }
}
