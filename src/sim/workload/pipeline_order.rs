//! A key that one session uses alone, over one connection: its commands must take effect in the order in which they were
//! sent, though no answer is waited for. Other checkers cannot tell, since commands of one pipeline are under way together.

use bytes::Bytes;

use crate::history::{Call, Outcome, Text};
use crate::prng::Prng;

/// What a command on the key must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Number of the key.
    number: u64,
    /// The value it must see, if its answer tells.
    expected: Option<Option<Text>>,
    /// The value it leaves, if it writes.
    left: Option<Text>,
}

/// A session's key. It is given up for the next one when a command on it was not answered well: then nobody knows what it
/// holds.
#[derive(Debug)]
pub(super) struct PipelineOrder {
    session: u64,
    number: u64,
    /// What it holds behind all that was sent.
    value: Option<Text>,
    /// What was seen before it was due, and what is to be said of it if its writer is answered well. A read whose answer was
    /// lost on the way to a gateway is asked again, behind writes whose fate is unknown then.
    early: Vec<(Text, String)>,
}

impl PipelineOrder {
    pub(super) fn new(session: u64) -> PipelineOrder {
        PipelineOrder { session, number: 0, value: None, early: Vec::new() }
    }

    /// The next command. `value` is one that no other command writes.
    pub(super) fn call(&mut self, prng: &mut Prng, value: Text) -> (Call, Mark) {
        let key = Bytes::from(format!("own{}.{}", self.session, self.number));
        let held = || Some(self.value.clone());
        let (call, expected, left) = match prng.below(4) {
            0 => (Call::Set(key, value.clone()), None, Some(value)),
            1 => (Call::GetSet(key, value.clone()), held(), Some(value)),
            _ => (Call::Get(key), held(), None),
        };
        if left.is_some() {
            self.value.clone_from(&left);
        }
        (call, Mark { number: self.number, expected, left })
    }

    /// A command has failed, or nobody knows.
    pub(super) fn failed(&mut self, mark: &Mark) {
        if mark.number == self.number {
            self.number += 1;
            self.value = None;
            self.early.clear();
        }
    }

    /// Looks at an answer.
    ///
    /// # Errors
    /// It is that of another order.
    pub(super) fn answered(&mut self, mark: &Mark, call: &Call, outcome: &Outcome) -> Result<(), String> {
        if mark.number != self.number {
            return Ok(());
        }
        if let (Some(expected), Outcome::Value(seen)) = (&mark.expected, outcome)
            && expected != seen
        {
            let what = format!(
                "{call:?} was answered with {seen:?}, but behind what was sent before it on the same connection, and all of \
                 which was answered well, the key holds {expected:?}"
            );
            match seen {
                // Values are numbered in the order of sending.
                Some(value) if expected.as_ref().is_none_or(|expected| number(expected) < number(value)) => {
                    self.early.push((value.clone(), what));
                }
                _ => return Err(what),
            }
        }
        let is_early = |(value, _): &&(Text, String)| mark.left.as_ref() == Some(value);
        self.early.iter().find(is_early).map_or(Ok(()), |(_, what)| Err(what.clone()))
    }
}

/// The number in a value.
fn number(value: &Text) -> u64 {
    value.iter().filter(|byte| byte.is_ascii_digit()).fold(0, |sum, byte| sum * 10 + u64::from(byte - b'0'))
}
