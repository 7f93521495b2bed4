//! Counters that all sessions share: within one connection their values do not go back, whoever else counts them up.
//!
//! Commands of one pipeline are under way together, so an order in which a later one takes effect first is as good as any to the
//! checker of linearizability. What a connection is answered for one key tells: the commands of a connection for one group never
//! overtake each other.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::history::{Call, Outcome, Text};
use crate::prng::{Ppm, Prng};

/// How their names begin; no other key's does.
const NAME: &str = "shared";
/// How likely a run has such counters.
const HAS_COUNTERS_PPM: Ppm = 500_000;
/// Most commands in a row on one counter.
const ROW_COUNT_MAX: u64 = 8;

/// What sessions ask of shared counters.
#[derive(Clone, Debug)]
pub(super) struct SharedCounters {
    prng: Prng,
    /// How many there are; none in some runs.
    keys_count: u64,
    /// One command in this number begins a row of commands on one of them.
    rows_of: u64,
    /// One command of a row in this number counts up; the others read.
    counts_of: u64,
    /// The counter of the row that has begun, and how many commands of it are left.
    row: (u64, u64),
}

impl SharedCounters {
    /// Those of a seed's run.
    pub(super) fn of_seed(seed: u64) -> SharedCounters {
        let mut prng = Prng::stream(seed, "shared counters");
        let keys_count = if prng.bernoulli(HAS_COUNTERS_PPM) { prng.pick(&[1, 1, 3]) } else { 0 };
        let (rows_of, counts_of) = (prng.pick(&[4, 10, 30]), prng.pick(&[2, 4, 10]));
        SharedCounters { prng, keys_count, rows_of, counts_of, row: (0, 0) }
    }

    /// None.
    pub(super) fn none() -> SharedCounters {
        SharedCounters { prng: Prng::stream(0, ""), keys_count: 0, rows_of: 1, counts_of: 1, row: (0, 0) }
    }

    /// The next command, if it is one on a shared counter.
    pub(super) fn call(&mut self, may_write: bool) -> Option<Call> {
        if self.keys_count == 0 {
            return None;
        }
        if self.row.1 == 0 {
            if self.prng.below(self.rows_of) > 0 {
                return None;
            }
            self.row = (self.prng.below(self.keys_count), self.prng.range(1, ROW_COUNT_MAX));
        }
        self.row.1 -= 1;
        let key = Bytes::from(format!("{NAME}{}", self.row.0));
        let counts = may_write && self.prng.below(self.counts_of) == 0;
        Some(if counts { Call::Incr(key, 1) } else { Call::Get(key) })
    }
}

/// The highest value of each shared counter that was answered over one connection.
#[derive(Debug, Default)]
pub(super) struct SeenCounts(BTreeMap<Text, i64>);

impl SeenCounts {
    /// Looks at an answer. They come in the order in which the commands were sent.
    ///
    /// # Errors
    /// An earlier command of the connection was answered with a later value.
    pub(super) fn answered(&mut self, call: &Call, outcome: &Outcome) -> Result<(), String> {
        let (key, value, is_new) = match (call, outcome) {
            (Call::Get(key), Outcome::Value(value)) if key.starts_with(NAME.as_bytes()) => {
                (key, value.as_deref().map_or(Some(0), resp::number::parse_i64), false)
            }
            (Call::Incr(key, _), Outcome::Integer(value)) if key.starts_with(NAME.as_bytes()) => {
                (key, Some(*value), true)
            }
            _ => return Ok(()),
        };
        let seen = self.0.entry(key.clone()).or_insert(0);
        match value {
            Some(value) if value > *seen || value == *seen && !is_new => {
                *seen = value;
                Ok(())
            }
            _ => Err(format!(
                "{call:?} was answered with {outcome:?}, but {seen} was answered to a command before it on the same connection"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Text {
        Bytes::from("shared0")
    }

    fn read(value: Option<&'static str>) -> (Call, Outcome) {
        (Call::Get(key()), Outcome::Value(value.map(Bytes::from)))
    }

    fn counted(value: i64) -> (Call, Outcome) {
        (Call::Incr(key(), 1), Outcome::Integer(value))
    }

    /// How many of the answers pass, in their order, before one does not.
    fn passed_count(answers: &[(Call, Outcome)]) -> usize {
        let mut seen = SeenCounts::default();
        let passes = |(call, outcome): &&(Call, Outcome)| seen.answered(call, outcome).is_ok();
        answers.iter().take_while(passes).count()
    }

    #[test]
    fn a_counter_that_does_not_go_back_passes() {
        let answers =
            [read(None), counted(1), read(Some("1")), read(Some("4")), (Call::Get(key()), Outcome::Unknown)];
        assert_eq!(passed_count(&answers), answers.len());
        assert_eq!(passed_count(&[counted(7), counted(8), read(Some("8"))]), 3);
    }

    #[test]
    fn a_value_from_before_is_noticed_whichever_command_it_answers() {
        assert_eq!(passed_count(&[read(Some("1")), read(None)]), 1, "a read behind a read");
        assert_eq!(passed_count(&[counted(5), read(Some("4"))]), 1, "a read behind a write");
        assert_eq!(passed_count(&[read(Some("5")), counted(5)]), 1, "a write behind a read");
        assert_eq!(passed_count(&[counted(5), counted(4)]), 1, "a write behind a write");
        assert_eq!(passed_count(&[read(Some("x"))]), 0, "no number");
    }

    #[test]
    fn rows_concern_one_counter_and_readers_never_count() {
        let counters = (0..20).map(SharedCounters::of_seed).find(|counters| counters.keys_count > 1);
        let mut counters = counters.expect("some seed has several counters");
        let calls: Vec<Option<Call>> = (0..2_000).map(|_| counters.call(true)).collect();
        let in_row = calls.windows(2).filter(|pair| pair[0].is_some() && pair[1].is_some()).count();
        assert!(in_row > 100, "{in_row}");
        assert!(calls.iter().flatten().any(Call::is_write));
        assert!((0..2_000).filter_map(|_| counters.call(false)).all(|call| !call.is_write()));
        assert!((0..2_000).all(|_| SharedCounters::none().call(true).is_none()));
    }
}
