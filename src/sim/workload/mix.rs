//! What sessions ask for: families of keys, each used in its own way, so that each checker has something to look at.

use std::time::Duration;

use bytes::Bytes;
use types::Instant;
use types::limits::VALUE_BYTES_MAX;

use crate::cluster_spec::Load;
use crate::history::{Call, SetOptions, SetWhen, TOKEN_END, Text};
use crate::prng::Prng;

/// How often one key of a family of logs is appended to before the next key takes its place: reads return all of it.
const LOG_APPENDS_COUNT: u64 = 150;
/// Longest large value of most runs, in bytes.
const LARGE_BYTES_MAX: u64 = 96 << 10;

/// How many keys with values of some KiB there are where memory is little, and the longest such value, in bytes: all of them find no
/// room.
const BULKY_KEYS_COUNT: u64 = 300;
const BULKY_BYTES_MAX: u64 = 4 << 10;
/// Longest text of a family of ranges, in bytes: as long as checkers keep texts as they are.
const RANGE_BYTES_MAX: u64 = 22;

/// A way to use keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Values of their own are set, swapped, deleted and read.
    Registers,
    /// Only set and read: what durability judges.
    Plain,
    /// Counted up.
    Counters,
    /// Appended to, each time a token of its own.
    Logs,
    /// Short texts that are written into and of which parts are read.
    Ranges,
    /// Counted up and down by halves.
    Halves,
    /// Three keys of one slot, written and read together.
    Tagged,
    /// As plain ones, with long values.
    Large,
    /// As plain ones, with values of some KiB, and deleted.
    Bulky,
}

/// What the sessions of a run do.
#[derive(Clone, Debug)]
pub(super) struct Mix {
    prng: Prng,
    families: Vec<Family>,
    keys_count: u64,
    /// One operation in this number goes to the first key of its family.
    hot_of: u64,
    /// One operation in this number reads.
    reads_of: u64,
    /// One command in this number is a `FLUSHALL`, if any is.
    flushes_of: Option<u64>,
    /// For how long sessions write, and for how long they do not, in turns.
    tides: Option<(Duration, Duration)>,
    /// Longest value of the family of large ones, in bytes.
    large_bytes_max: u64,
    number: u64,
    appends_count: u64,
}

impl Mix {
    pub(super) fn of_seed(seed: u64, load: Load) -> Mix {
        let mut prng = Prng::stream(seed, "mix");
        if load == Load::LargeValues {
            return Mix {
                families: vec![Family::Large],
                large_bytes_max: VALUE_BYTES_MAX as u64,
                ..Mix::plain(prng)
            };
        }
        let flushes_of = prng.pick(&[None, None, None, None, Some(40), Some(400)]);
        // Logs and counters could not be judged as a whole if everything may vanish.
        let choices: &[Family] = if flushes_of.is_some() {
            &[Family::Registers, Family::Plain, Family::Tagged]
        } else {
            &[
                Family::Registers,
                Family::Plain,
                Family::Counters,
                Family::Logs,
                Family::Logs,
                Family::Tagged,
                Family::Ranges,
                Family::Halves,
                Family::Large,
            ]
        };
        let mut families: Vec<_> = (0..prng.range(2, 4)).map(|_| prng.pick(choices)).collect();
        if flushes_of.is_none() {
            families.push(Family::Logs);
        }
        if load == Load::SmallMemory {
            families.retain(|family| *family != Family::Large);
            families.push(Family::Bulky);
        }
        Mix {
            families,
            keys_count: prng.pick(&[2, 5, 20, 100, 1_000]),
            hot_of: prng.pick(&[2, 5, 1_000_000]),
            reads_of: prng.pick(&[2, 3, 10]),
            flushes_of,
            tides: tides(&mut prng),
            ..Mix::plain(prng)
        }
    }

    /// One of plain keys, without anything special.
    fn plain(prng: Prng) -> Mix {
        Mix {
            prng,
            families: vec![Family::Plain],
            keys_count: 20,
            hot_of: 1_000_000,
            reads_of: 2,
            large_bytes_max: LARGE_BYTES_MAX,
            flushes_of: None,
            tides: None,
            number: 0,
            appends_count: 0,
        }
    }

    /// The next command.
    pub(super) fn call(&mut self) -> Call {
        self.number += 1;
        if self.flushes_of.is_some_and(|flushes_of| self.prng.below(flushes_of) == 0) {
            return Call::FlushAll;
        }
        let is_hot = self.prng.below(self.hot_of) == 0;
        let key = if is_hot { 0 } else { self.prng.below(self.keys_count) };
        let reads = self.prng.below(self.reads_of) == 0;
        match self.prng.pick(&self.families) {
            Family::Registers => self.register(name("register", key), reads),
            Family::Plain => {
                let key = name("plain", key);
                if reads { Call::Get(key) } else { Call::Set(key, self.value()) }
            }
            Family::Counters => {
                // One in four is also counted down.
                if !reads && key % 4 == 3 && self.prng.below(3) == 0 {
                    return Call::Incr(name("counter", key), self.prng.pick(&[-1, -3]));
                }
                let key = name("counter", key);
                if reads { Call::Get(key) } else { Call::Incr(key, self.prng.pick(&[1, 1, 1, 5])) }
            }
            Family::Ranges => self.range(name("range", key % 20), reads),
            Family::Halves => {
                let key = name("halves", key % 20);
                if reads { Call::Get(key) } else { Call::IncrByHalves(key, self.prng.pick(&[1, 1, 2, 3, -1])) }
            }
            Family::Logs => self.log(key % 8, reads),
            Family::Tagged => self.tagged(key % 50, reads),
            Family::Large => {
                let key = name("large", key % 5);
                if reads { Call::Get(key) } else { Call::Set(key, self.large_value()) }
            }
            Family::Bulky => self.bulky(reads),
        }
    }

    /// Whether nobody writes now. Who is cut off from the leader of a group meanwhile misses nothing of its log, and so may
    /// be elected in its place: where writes never cease that is a matter of moments.
    pub(super) fn is_lull(&self, now: Instant) -> bool {
        self.tides.is_some_and(|(flood, ebb)| now.as_nanos() as u128 % (flood + ebb).as_nanos() >= flood.as_nanos())
    }

    /// Whether everything may be removed at any time.
    pub(super) fn flushes(&self) -> bool {
        self.flushes_of.is_some()
    }

    /// A value that no other operation writes, for what is asked beside the mix.
    pub(super) fn fresh_value(&mut self) -> Text {
        self.number += 1;
        self.value()
    }

    /// A value that no other operation writes.
    fn value(&mut self) -> Text {
        Bytes::from(format!("v{}", self.number))
    }

    fn large_value(&mut self) -> Text {
        let most = self.large_bytes_max;
        let len = self.prng.latency(1_024, most / 16).min(most) as usize;
        // Where values are really long, now and then exactly the longest.
        let is_longest = most > LARGE_BYTES_MAX && self.prng.below(8) == 0;
        let len = if is_longest { most as usize } else { len };
        let mut value = format!("v{}.", self.number).into_bytes();
        value.resize(len, b'a' + (self.number % 26) as u8);
        value.into()
    }

    fn bulky(&mut self, reads: bool) -> Call {
        let key = name("bulky", self.prng.below(BULKY_KEYS_COUNT));
        if reads {
            return Call::Get(key);
        }
        if self.prng.below(4) == 0 {
            return Call::Del(vec![key]);
        }
        let mut value = format!("v{}.", self.number).into_bytes();
        let len = self.prng.range(value.len() as u64, BULKY_BYTES_MAX) as usize;
        value.resize(len, b'b');
        Call::Set(key, value.into())
    }

    fn register(&mut self, key: Text, reads: bool) -> Call {
        if reads {
            return match self.prng.below(8) {
                0 => Call::StrLen(key),
                1 => Call::Exists(vec![key]),
                _ => Call::Get(key),
            };
        }
        match self.prng.below(12) {
            10 | 11 => {
                let options = self.set_options();
                Call::SetWith(key, self.value(), options)
            }
            0 => Call::SetNx(key, self.value()),
            1 => Call::GetSet(key, self.value()),
            2 => Call::GetDel(key),
            3 => Call::Del(vec![key]),
            _ => Call::Set(key, self.value()),
        }
    }

    fn set_options(&mut self) -> SetOptions {
        let when = self.prng.pick(&[SetWhen::Always, SetWhen::Missing, SetWhen::Present]);
        SetOptions { when, get: self.prng.bernoulli(500_000), keep_ttl: self.prng.bernoulli(200_000) }
    }

    /// A command on a text that never gets long.
    fn range(&mut self, key: Text, reads: bool) -> Call {
        if reads {
            let mut place = || self.prng.range(0, 2 * RANGE_BYTES_MAX) as i64 - RANGE_BYTES_MAX as i64;
            let (start, end) = (place(), place());
            return match self.prng.below(4) {
                0 => Call::Get(key),
                1 => Call::StrLen(key),
                _ => Call::GetRange(key, start, end),
            };
        }
        match self.prng.below(8) {
            0 => Call::Del(vec![key]),
            1 => Call::Set(key, self.value()),
            _ => {
                let text = Bytes::from(vec![b'a' + (self.number % 26) as u8; self.prng.range(0, 3) as usize]);
                Call::SetRange(key, self.prng.below(RANGE_BYTES_MAX - 3), text)
            }
        }
    }

    fn log(&mut self, key: u64, reads: bool) -> Call {
        self.appends_count += u64::from(!reads);
        let key = name("log", key + 8 * (self.appends_count / LOG_APPENDS_COUNT / 8));
        if !reads {
            let mut token = self.value().to_vec();
            token.push(TOKEN_END);
            return Call::Append(key, token.into());
        }
        if self.prng.below(4) == 0 { Call::Get(key) } else { Call::StrLen(key) }
    }

    fn tagged(&mut self, tag: u64, reads: bool) -> Call {
        let part = |part: u64| Bytes::from(format!("{{tag{tag}}}{part}"));
        let some = [self.prng.below(3), self.prng.below(3)];
        let keys = if some[0] == some[1] { vec![part(some[0])] } else { some.map(part).to_vec() };
        if reads {
            return match self.prng.below(4) {
                0 => Call::Get(part(some[0])),
                1 => Call::Exists(keys),
                _ => Call::MGet((0..3).map(part).collect()),
            };
        }
        let value = self.value();
        let pairs = |keys: Vec<Text>| keys.into_iter().map(|key| (key, value.clone())).collect();
        match self.prng.below(10) {
            0 => Call::MSetNx(pairs(keys)),
            1 => Call::Del(keys),
            2 => Call::Set(part(some[0]), value),
            _ => Call::MSet(pairs((0..3).map(part).collect())),
        }
    }
}

fn tides(prng: &mut Prng) -> Option<(Duration, Duration)> {
    let mut between = |least, most| Duration::from_millis(prng.range(least, most));
    let tides = (between(50, 500), between(500, 2_000));
    prng.bernoulli(300_000).then_some(tides)
}

fn name(family: &str, key: u64) -> Text {
    Bytes::from(format!("{family}{key}"))
}
