//! The sequential model: what commands do to values, and what they answer.

use std::hash::Hash;

use crate::history::{SetOptions, SetWhen, halves_text};

/// Longest value that is kept as it is; of longer ones length and hash are kept.
const SHORT_BYTES_MAX: usize = 22;
/// The hashes are polynomials over this prime, 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;
const BASE: u64 = 0x0b5e_55ed_c0de_1dea % PRIME;

/// A key's value, or that it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Absent,
    Short { len: u8, bytes: [u8; SHORT_BYTES_MAX] },
    // Invariant: len > SHORT_BYTES_MAX.
    Long { len: u64, hash: u64 },
}

impl Value {
    pub(super) fn of(text: &[u8]) -> Value {
        if text.len() > SHORT_BYTES_MAX {
            return Value::Long { len: text.len() as u64, hash: hash_behind(0, text) };
        }
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Value::Short { len: text.len() as u8, bytes }
    }

    pub(super) fn of_option(text: Option<&[u8]>) -> Value {
        text.map_or(Value::Absent, Value::of)
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Value::Absent => 0,
            Value::Short { len, .. } => u64::from(*len),
            Value::Long { len, .. } => *len,
        }
    }

    /// A value of the same length that nobody reads.
    pub(super) fn forgotten(&self) -> Value {
        match self {
            Value::Absent => Value::Absent,
            Value::Short { len, .. } => Value::Short { len: *len, bytes: [0xFF; SHORT_BYTES_MAX] },
            Value::Long { len, .. } => Value::Long { len: *len, hash: PRIME },
        }
    }

    pub(super) fn hash(&self) -> u64 {
        match self {
            Value::Long { hash, .. } => *hash,
            _ => hash_behind(0, self.short()),
        }
    }

    fn short(&self) -> &[u8] {
        match self {
            Value::Short { len, bytes } => &bytes[..usize::from(*len)],
            _ => &[],
        }
    }

    fn append(&self, tail: &Value) -> Value {
        let len = self.len() + tail.len();
        if len > SHORT_BYTES_MAX as u64 {
            let shifted = multiply(self.hash(), power(tail.len()));
            return Value::Long { len, hash: (shifted + tail.hash()) % PRIME };
        }
        Value::of(&[self.short(), tail.short()].concat())
    }

    /// With a text written at an offset, and zeros between the end and that if need be. Only for what is short and stays so.
    fn write_at(&self, offset: u64, text: &Value) -> Value {
        let (offset, mut bytes) = (offset as usize, self.short().to_vec());
        if text.short().is_empty() {
            return *self;
        }
        bytes.resize(bytes.len().max(offset + text.short().len()), 0);
        bytes[offset..offset + text.short().len()].copy_from_slice(text.short());
        Value::of(&bytes)
    }

    /// The bytes from `start` to `end`, both included, counted from the end if negative. Only for what is short.
    fn range(&self, start: i64, end: i64) -> Value {
        let bytes = self.short();
        let len = bytes.len() as i64;
        if start < 0 && end < 0 && start > end {
            // Otherwise both might be taken for the first byte.
            return Value::of(b"");
        }
        let from_begin = |place: i64| if place < 0 { (len + place).max(0) } else { place };
        let (start, end) = (from_begin(start), from_begin(end).min(len - 1));
        if start > end || len == 0 { Value::of(b"") } else { Value::of(&bytes[start as usize..=end as usize]) }
    }

    /// How many halves it is the number of, as `INCRBYFLOAT` writes it.
    fn halves(&self) -> Option<i64> {
        if *self == Value::Absent {
            return Some(0);
        }
        let text = std::str::from_utf8(self.short()).ok()?;
        match text.strip_suffix(".5") {
            None => text.parse::<i64>().ok()?.checked_mul(2),
            Some(whole) => {
                let halves = whole.parse::<i64>().ok()?.checked_mul(2)?;
                Some(if whole.starts_with('-') { halves - 1 } else { halves + 1 })
            }
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Value::Absent => Some(0),
            Value::Short { .. } => std::str::from_utf8(self.short()).ok()?.parse().ok(),
            Value::Long { .. } => None,
        }
    }
}

/// The remainder of a number below 2^124.
const fn reduce(number: u128) -> u64 {
    // Modulo 2^61 - 1 the bits from the 61st on count as if they stood at the beginning.
    let folded = (number & PRIME as u128) as u64 + (number >> 61) as u64;
    folded % PRIME
}

const fn multiply(left: u64, right: u64) -> u64 {
    reduce(left as u128 * right as u128)
}

fn power(mut exponent: u64) -> u64 {
    let (mut base, mut product) = (BASE, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = multiply(product, base);
        }
        base = multiply(base, base);
        exponent >>= 1;
    }
    product
}

/// Bytes that are hashed at once: a run has many megabytes of values.
const RUN_BYTES: usize = 16;

/// What the bytes of a run are multiplied with, the first byte with the highest power of the base.
const RUN_POWERS: [u64; RUN_BYTES] = {
    let mut powers = [1; RUN_BYTES];
    let mut at = RUN_BYTES - 1;
    while at > 0 {
        powers[at - 1] = multiply(powers[at], BASE);
        at -= 1;
    }
    powers
};

/// The hash of a text whose beginning has hash `hash` and whose rest is `tail`.
pub(super) fn hash_behind(hash: u64, tail: &[u8]) -> u64 {
    let (runs, rest) = tail.as_chunks::<RUN_BYTES>();
    let whole = multiply(RUN_POWERS[0], BASE);
    let hash = runs.iter().fold(hash, |hash, run| {
        // Below 2^122 and 16 times 2^70.
        let products = run.iter().zip(RUN_POWERS).map(|(byte, power)| u128::from(power) * (u128::from(*byte) + 1));
        reduce(u128::from(hash) * u128::from(whole) + products.sum::<u128>())
    });
    rest.iter().fold(hash, |hash, byte| (multiply(hash, BASE) + u64::from(*byte) + 1) % PRIME)
}

/// Number of a key within its object.
pub(super) type KeyIdx = u16;

/// A command on the keys of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Get(KeyIdx),
    StrLen(KeyIdx),
    Set(KeyIdx, Value),
    SetWith(KeyIdx, Value, SetOptions),
    SetRange(KeyIdx, u64, Value),
    GetRange(KeyIdx, i64, i64),
    IncrByHalves(KeyIdx, i64),
    SetNx(KeyIdx, Value),
    GetSet(KeyIdx, Value),
    GetDel(KeyIdx),
    Append(KeyIdx, Value),
    Incr(KeyIdx, i64),
    Del(Vec<KeyIdx>),
    Exists(Vec<KeyIdx>),
    MGet(Vec<KeyIdx>),
    MSet(Vec<(KeyIdx, Value)>),
    MSetNx(Vec<(KeyIdx, Value)>),
    Clear,
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Ok,
    Integer(i64),
    Value(Value),
    Values(Vec<Value>),
    /// An error, nothing changed.
    Refused,
}

/// The values of an object's keys.
pub(super) type State = Vec<Value>;

impl Step {
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Step::Get(_) | Step::StrLen(_) | Step::GetRange(..) | Step::Exists(_) | Step::MGet(_))
    }

    /// Runs the command.
    pub(super) fn run(&self, state: &mut State) -> Answer {
        match self {
            Step::Get(key) => Answer::Value(state[usize::from(*key)]),
            Step::StrLen(key) => Answer::Integer(state[usize::from(*key)].len() as i64),
            Step::Exists(keys) => Answer::Integer(count_existing(keys.iter(), state)),
            Step::MGet(keys) => Answer::Values(keys.iter().map(|key| state[usize::from(*key)]).collect()),
            Step::Set(key, value) => {
                state[usize::from(*key)] = *value;
                Answer::Ok
            }
            Step::SetWith(key, value, options) => set_with(&mut state[usize::from(*key)], value, *options),
            Step::SetRange(key, offset, text) => {
                let held = &mut state[usize::from(*key)];
                *held = held.write_at(*offset, text);
                Answer::Integer(held.len() as i64)
            }
            Step::GetRange(key, start, end) => Answer::Value(state[usize::from(*key)].range(*start, *end)),
            Step::IncrByHalves(key, by) => add_halves(&mut state[usize::from(*key)], *by),
            Step::SetNx(key, value) => {
                let held = &mut state[usize::from(*key)];
                let sets = *held == Value::Absent;
                if sets {
                    *held = *value;
                }
                Answer::Integer(i64::from(sets))
            }
            Step::GetSet(key, value) => Answer::Value(std::mem::replace(&mut state[usize::from(*key)], *value)),
            Step::GetDel(key) => Answer::Value(std::mem::replace(&mut state[usize::from(*key)], Value::Absent)),
            Step::Append(key, tail) => {
                let held = &mut state[usize::from(*key)];
                *held = held.append(tail);
                Answer::Integer(held.len() as i64)
            }
            Step::Incr(key, by) => add(&mut state[usize::from(*key)], *by),
            Step::Del(keys) => Answer::Integer(remove_all(keys, state)),
            Step::MSet(pairs) => {
                set_all(pairs, state);
                Answer::Ok
            }
            Step::MSetNx(pairs) => {
                let sets = count_existing(pairs.iter().map(|(key, _)| key), state) == 0;
                if sets {
                    set_all(pairs, state);
                }
                Answer::Integer(i64::from(sets))
            }
            Step::Clear => {
                state.fill(Value::Absent);
                Answer::Ok
            }
        }
    }
}

fn set_with(held: &mut Value, value: &Value, options: SetOptions) -> Answer {
    let before = *held;
    let sets = match options.when {
        SetWhen::Always => true,
        SetWhen::Missing => before == Value::Absent,
        SetWhen::Present => before != Value::Absent,
    };
    if sets {
        *held = *value;
    }
    match (options.get, sets) {
        (true, _) => Answer::Value(before),
        (false, true) => Answer::Ok,
        (false, false) => Answer::Value(Value::Absent),
    }
}

fn add(held: &mut Value, by: i64) -> Answer {
    let Some(sum) = held.integer().and_then(|number| number.checked_add(by)) else { return Answer::Refused };
    *held = Value::of(sum.to_string().as_bytes());
    Answer::Integer(sum)
}

fn add_halves(held: &mut Value, by: i64) -> Answer {
    let Some(sum) = held.halves().and_then(|halves| halves.checked_add(by)) else { return Answer::Refused };
    *held = Value::of(halves_text(sum).as_bytes());
    Answer::Value(*held)
}

/// Removes keys. Returns how many were there.
fn remove_all(keys: &[KeyIdx], state: &mut State) -> i64 {
    let removed = keys.iter().map(|key| std::mem::replace(&mut state[usize::from(*key)], Value::Absent));
    removed.filter(|held| *held != Value::Absent).count() as i64
}

fn count_existing<'a>(keys: impl Iterator<Item = &'a KeyIdx>, state: &State) -> i64 {
    keys.filter(|key| state[usize::from(**key)] != Value::Absent).count() as i64
}

fn set_all(pairs: &[(KeyIdx, Value)], state: &mut State) {
    for (key, value) in pairs {
        state[usize::from(*key)] = *value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_into_and_cut_as_redis_does() {
        let mut state = vec![Value::Absent];
        let mut run = |step: Step| step.run(&mut state);
        let text = |text: &[u8]| Answer::Value(Value::of(text));
        assert_eq!(run(Step::SetRange(0, 4, Value::of(b""))), Answer::Integer(0));
        assert_eq!(run(Step::Get(0)), Answer::Value(Value::Absent));
        assert_eq!(run(Step::SetRange(0, 2, Value::of(b"abc"))), Answer::Integer(5));
        assert_eq!(run(Step::Get(0)), text(b"\0\0abc"));
        assert_eq!(run(Step::GetRange(0, 2, -2)), text(b"ab"));
        assert_eq!(run(Step::GetRange(0, -9, 9)), text(b"\0\0abc"));
        assert_eq!(run(Step::GetRange(0, -7, -9)), text(b""), "not the first byte, at which both would end up");
        assert_eq!(run(Step::GetRange(0, 0, -9)), text(b"\0"));
        assert_eq!(run(Step::GetRange(0, 7, 9)), text(b""));
    }

    #[test]
    fn the_hash_of_a_text_does_not_depend_on_how_it_is_cut() {
        let text: Vec<u8> = (0..200u32).map(|number| ((number * 151) >> 2) as u8).collect();
        let by_byte = text.iter().fold(0, |hash, byte| hash_behind(hash, &[*byte]));
        for cut in 0..text.len() {
            let (head, tail) = text.split_at(cut);
            assert_eq!(hash_behind(hash_behind(0, head), tail), by_byte);
            if cut > 0 {
                assert_eq!(Value::of(head).append(&Value::of(tail)), Value::of(&text));
            }
        }
        let highest = [0xFF; 64].iter().fold(PRIME - 1, |hash, byte| hash_behind(hash, &[*byte]));
        assert_eq!(hash_behind(PRIME - 1, &[0xFF; 64]), highest);
    }

    #[test]
    fn halves_sum_up() {
        let mut state = vec![Value::Absent];
        let mut sums = |by| match Step::IncrByHalves(0, by).run(&mut state) {
            Answer::Value(value) => value,
            other => panic!("{other:?}"),
        };
        for (by, sum) in [(1, "0.5"), (-2, "-0.5"), (-1, "-1"), (-1, "-1.5"), (3, "0"), (20, "10")] {
            assert_eq!(sums(by), Value::of(sum.as_bytes()));
        }
    }

    #[test]
    fn a_set_with_options_sets_on_its_condition_and_answers_what_it_is_asked() {
        let run = |before: Value, when, get| {
            let mut state = vec![before];
            let answer =
                Step::SetWith(0, Value::of(b"new"), SetOptions { when, get, keep_ttl: true }).run(&mut state);
            (answer, state[0] == Value::of(b"new"))
        };
        let (old, absent) = (Value::of(b"old"), Value::Absent);
        assert_eq!(run(absent, SetWhen::Missing, false), (Answer::Ok, true));
        assert_eq!(run(old, SetWhen::Missing, false), (Answer::Value(absent), false));
        assert_eq!(run(old, SetWhen::Missing, true), (Answer::Value(old), false));
        assert_eq!(run(absent, SetWhen::Missing, true), (Answer::Value(absent), true));
        assert_eq!(run(old, SetWhen::Present, true), (Answer::Value(old), true));
        assert_eq!(run(absent, SetWhen::Present, false), (Answer::Value(absent), false));
        assert_eq!(run(old, SetWhen::Always, true), (Answer::Value(old), true));
    }
}
