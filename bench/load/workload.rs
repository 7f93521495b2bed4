//! The commands of a run: which, their bytes, and what a sound answer looks like.
//!
//! A key is `key:` and its number in 12 digits. A value is the hash of that number in 16 hex digits and
//! behind it a filler that is the same for all keys, cut to the length asked for. So a value that was torn,
//! mixed up or put under another key shows.

use std::str::FromStr;

use crate::load::rng::{Rng, mix};
use crate::reply::Reply;

/// The length of a key.
pub const KEY_BYTES: usize = 16;
/// The most keys: their numbers are dealt to owners in memory.
pub const KEYS_COUNT_MAX: u32 = 16_000_000;
/// The longest value, that of Coracle.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;
const HASH_DIGITS: usize = 16;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SET key value`
    Set,
    /// `GET key`
    Get,
    /// `DEL key`
    Del,
    /// `PING`
    Ping,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 4] = [Kind::Set, Kind::Get, Kind::Del, Kind::Ping];

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Set => "set",
            Kind::Get => "get",
            Kind::Del => "del",
            Kind::Ping => "ping",
        }
    }
}

/// Commands and their weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    // Invariant: not empty, no weight is 0, and `total` is their sum.
    weights: Vec<(Kind, u32)>,
    total: u32,
}

impl Mix {
    /// Commands of one kind only.
    pub fn only(kind: Kind) -> Mix {
        Mix { weights: vec![(kind, 1)], total: 1 }
    }

    /// Chooses a command.
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
}

impl FromStr for Mix {
    type Err = String;

    /// Reads `set`, `get`, `ping`, `del`, `mixed:RATIO` (the share of reads, 0 to 1) or `set=1,get=9`.
    fn from_str(text: &str) -> Result<Mix, String> {
        const WEIGHT_MAX: u32 = 1_000_000;
        if let Some(ratio) = text.strip_prefix("mixed:") {
            let ratio: f64 = ratio.parse().map_err(|_| format!("`{ratio}` is not a ratio"))?;
            if !(0.0..=1.0).contains(&ratio) {
                return Err(format!("the share of reads is {ratio}, not within 0 and 1"));
            }
            let gets = (ratio * 10_000.0).round() as u32;
            return Mix::from_str(&format!("set={},get={gets}", 10_000 - gets));
        }
        let mut mix = Mix { weights: Vec::new(), total: 0 };
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            let kind = kind.ok_or_else(|| format!("`{name}` is none of set, get, del, ping and mixed:RATIO"))?;
            let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            let weight: u32 =
                weight.ok_or_else(|| format!("the weight in `{part}` is not within 0 and {WEIGHT_MAX}"))?;
            if mix.weights.iter().any(|(other, _)| *other == kind) {
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

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// As it should be.
    Sound,
    /// A `GET` found nothing.
    Missing,
    /// An error reply, or an answer of a wrong form: its text.
    Wrong(&'a str),
    /// An error reply: its bytes.
    Error(&'a [u8]),
}

/// Prepared bytes of every command.
#[derive(Clone, Debug)]
pub struct Workload {
    mix: Mix,
    check: bool,
    value: Vec<u8>,
    // Each ends where the key comes.
    heads: [Vec<u8>; Kind::ALL.len()],
    // What stands between key and value: CRLF and the length of the value.
    set_middle: Vec<u8>,
}

impl Workload {
    /// Prepares a workload with values of `value_bytes`, which is at least 1. With `check`, the values read are compared byte by byte.
    pub fn new(mix: Mix, value_bytes: usize, check: bool) -> Workload {
        let filler = b"The quick brown fox jumps over the lazy dog 0123456789 -- ";
        let value = (0..value_bytes).map(|idx| filler.get(idx % filler.len()).copied().unwrap_or(b'x')).collect();
        let head = |kind: Kind| {
            let name = kind.name().to_ascii_uppercase();
            let args_count = match kind {
                Kind::Set => 3,
                Kind::Get | Kind::Del => 2,
                Kind::Ping => 1,
            };
            let mut head = format!("*{args_count}\r\n${}\r\n{name}\r\n", name.len());
            if kind != Kind::Ping {
                head.push_str(&format!("${KEY_BYTES}\r\n"));
            }
            head.into_bytes()
        };
        let set_middle = format!("\r\n${value_bytes}\r\n").into_bytes();
        Workload { mix, check, value, heads: Kind::ALL.map(head), set_middle }
    }

    /// Chooses a command.
    pub fn choose(&self, rng: &mut Rng) -> Kind {
        self.mix.choose(rng)
    }

    /// Appends a command.
    pub fn encode(&self, kind: Kind, key: u32, out: &mut Vec<u8>) {
        let [set, get, del, ping] = &self.heads;
        let head = match kind {
            Kind::Set => set,
            Kind::Get => get,
            Kind::Del => del,
            Kind::Ping => return out.extend_from_slice(ping),
        };
        out.extend_from_slice(head);
        out.extend_from_slice(&key_name(key));
        if kind == Kind::Set {
            out.extend_from_slice(&self.set_middle);
            let digits = hash_digits(key);
            let (prefix, filler) = self.split_value(&digits);
            out.extend_from_slice(prefix);
            out.extend_from_slice(filler);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Judges the answer to a command.
    pub fn judge<'a>(&self, kind: Kind, key: u32, reply: &Reply<'a>) -> Verdict<'a> {
        match (kind, reply) {
            (_, Reply::Error(text)) => Verdict::Error(text),
            (Kind::Set, Reply::Simple(b"OK")) | (Kind::Ping, Reply::Simple(b"PONG")) => Verdict::Sound,
            (Kind::Del, Reply::Integer(0 | 1)) => Verdict::Sound,
            (Kind::Get, Reply::Nil) => Verdict::Missing,
            (Kind::Get, Reply::Bulk(value)) if !self.check || self.is_sound(key, value) => Verdict::Sound,
            (Kind::Get, Reply::Bulk(_)) => Verdict::Wrong("a value was read that was never written under its key"),
            _ => Verdict::Wrong("a reply of a wrong form for its command"),
        }
    }

    fn is_sound(&self, key: u32, value: &[u8]) -> bool {
        let digits = hash_digits(key);
        let (prefix, filler) = self.split_value(&digits);
        value.strip_prefix(prefix) == Some(filler)
    }

    /// The value of the key with this hash, in two parts.
    fn split_value<'a>(&'a self, digits: &'a [u8; HASH_DIGITS]) -> (&'a [u8], &'a [u8]) {
        let prefix_len = self.value.len().min(HASH_DIGITS);
        (&digits[..prefix_len], &self.value[prefix_len..])
    }
}

/// The name of a key.
pub fn key_name(key: u32) -> [u8; KEY_BYTES] {
    let mut name = *b"key:000000000000";
    let mut rest = key;
    for digit in name.iter_mut().rev().take(10) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

fn hash_digits(key: u32) -> [u8; HASH_DIGITS] {
    let mut hash = mix(u64::from(key) + 1);
    [0u8; HASH_DIGITS].map(|_| {
        hash = hash.rotate_left(4);
        b"0123456789abcdef"[(hash & 15) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::decode;

    #[test]
    fn a_set_is_what_a_client_would_send() {
        let workload = Workload::new(Mix::only(Kind::Set), 20, true);
        let mut out = Vec::new();
        workload.encode(Kind::Set, 1_234, &mut out);
        let (Reply::Array(args), used) = decode(&out).unwrap().unwrap() else { panic!("not an array") };
        assert_eq!(used, out.len());
        let [Reply::Bulk(b"SET"), Reply::Bulk(b"key:000000001234"), Reply::Bulk(value)] = args.as_slice() else {
            panic!("{args:?}")
        };
        assert_eq!(value.len(), 20);
        assert_eq!(workload.judge(Kind::Get, 1_234, &Reply::Bulk(value)), Verdict::Sound);
        assert!(matches!(workload.judge(Kind::Get, 1_235, &Reply::Bulk(value)), Verdict::Wrong(_)), "another key's");
        assert!(matches!(workload.judge(Kind::Get, 1_234, &Reply::Bulk(&value[..19])), Verdict::Wrong(_)), "torn");
    }

    #[test]
    fn short_values_are_checked_too() {
        for len in 1..20 {
            let workload = Workload::new(Mix::only(Kind::Set), len, true);
            let mut out = Vec::new();
            workload.encode(Kind::Set, 9, &mut out);
            let (Reply::Array(args), _) = decode(&out).unwrap().unwrap() else { panic!("not an array") };
            assert!(matches!(&args[2], Reply::Bulk(value) if value.len() == len));
            assert_eq!(workload.judge(Kind::Get, 9, &args[2]), Verdict::Sound);
        }
    }

    #[test]
    fn answers_are_judged_by_their_command() {
        let workload = Workload::new(Mix::only(Kind::Get), 8, false);
        assert_eq!(workload.judge(Kind::Get, 0, &Reply::Nil), Verdict::Missing);
        assert_eq!(workload.judge(Kind::Get, 0, &Reply::Error(b"x")), Verdict::Error(b"x"));
        assert!(matches!(workload.judge(Kind::Set, 0, &Reply::Nil), Verdict::Wrong(_)));
        assert!(matches!(workload.judge(Kind::Set, 0, &Reply::Simple(b"QUEUED")), Verdict::Wrong(_)));
    }

    #[test]
    fn mixes_are_read_and_kept() {
        let mix: Mix = "mixed:0.75".parse().unwrap();
        let mut rng = Rng::new(5);
        let gets = (0..10_000).filter(|_| mix.choose(&mut rng) == Kind::Get).count();
        assert!((7_300..7_700).contains(&gets), "{gets}");
        assert_eq!("set=1,get=0".parse(), Ok(Mix::only(Kind::Set)));
        assert_eq!("get".parse(), Ok(Mix::only(Kind::Get)));
        for bad in ["", "set=x", "set=0", "mixed:2", "set,set", "hset"] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
    }
}
