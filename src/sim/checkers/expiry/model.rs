//! What commands do to a key that may expire, and what they answer, at a time.

use resp::CommandId;

use super::timeline::LoggedCommand;
use crate::history::{ExpiringCall, Life, Outcome, Text};

/// What a key holds, whether its time has come or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) value: Text,
    /// In milliseconds since 1970 UTC.
    pub(super) expiry_ms: Option<u64>,
}

impl Held {
    /// Whether it is there at a time.
    pub(super) fn lives(&self, time_ms: u64) -> bool {
        self.expiry_ms.is_none_or(|expiry_ms| expiry_ms > time_ms)
    }
}

/// Whether a command of the log is what a client has sent.
pub(super) fn is_same(call: &ExpiringCall, logged: &LoggedCommand) -> bool {
    let (name, rest) = call.words();
    id_of(name) == Some(logged.id) && rest == logged.rest
}

/// The number of a command that changes something.
fn id_of(name: &str) -> Option<CommandId> {
    Some(match name {
        "SET" => CommandId::Set,
        "GETEX" => CommandId::GetEx,
        "EXPIRE" => CommandId::Expire,
        "PEXPIRE" => CommandId::PExpire,
        "PEXPIREAT" => CommandId::PExpireAt,
        "PERSIST" => CommandId::Persist,
        "DEL" => CommandId::Del,
        "GETDEL" => CommandId::GetDel,
        _ => return None,
    })
}

fn expiry_ms(life: Life, former_ms: Option<u64>, time_ms: u64) -> Option<u64> {
    match life {
        Life::Forever => None,
        Life::Millis(ms) => Some(time_ms + ms),
        Life::Until(at_ms) => Some(at_ms),
        Life::Kept => former_ms,
    }
}

/// Carries out a command that changes something on what a key holds, and says what it answers.
pub(super) fn change(key: &mut Option<Held>, call: &ExpiringCall, time_ms: u64) -> Outcome {
    let mut held = key.take().filter(|held| held.lives(time_ms));
    let former_ms = held.as_ref().and_then(|held| held.expiry_ms);
    let value = || held.as_ref().map(|held| held.value.clone());
    let is_there = held.is_some();
    let outcome = match call {
        ExpiringCall::Set(value, life) => {
            held = Some(Held { value: value.clone(), expiry_ms: expiry_ms(*life, former_ms, time_ms) });
            Outcome::Ok
        }
        ExpiringCall::GetEx(life) => {
            let outcome = Outcome::Value(value());
            held.iter_mut().for_each(|held| held.expiry_ms = expiry_ms(*life, former_ms, time_ms));
            outcome
        }
        ExpiringCall::Expire(ms) => {
            held.iter_mut().for_each(|held| held.expiry_ms = Some(time_ms + ms));
            Outcome::Integer(is_there.into())
        }
        ExpiringCall::ExpireAt(at_ms) => {
            held.iter_mut().for_each(|held| held.expiry_ms = Some(*at_ms));
            Outcome::Integer(is_there.into())
        }
        ExpiringCall::Persist => {
            held.iter_mut().for_each(|held| held.expiry_ms = None);
            Outcome::Integer(former_ms.is_some().into())
        }
        ExpiringCall::Del => {
            held = None;
            Outcome::Integer(is_there.into())
        }
        ExpiringCall::GetDel => {
            let outcome = Outcome::Value(value());
            held = None;
            outcome
        }
        ExpiringCall::Get
        | ExpiringCall::Exists
        | ExpiringCall::Ttl
        | ExpiringCall::PTtl
        | ExpiringCall::PExpireTime => unreachable!("reads stand in no log"),
    };
    // What is to expire in the past is gone.
    *key = held.filter(|held| held.lives(time_ms));
    outcome
}

/// Whether a read may answer so of a key that holds nothing.
pub(super) fn is_answer_of_nothing(call: &ExpiringCall, outcome: &Outcome) -> bool {
    match call {
        ExpiringCall::Get => *outcome == Outcome::Value(None),
        ExpiringCall::Exists => *outcome == Outcome::Integer(0),
        _ => *outcome == Outcome::Integer(-2),
    }
}

/// Whether a read may answer so of what is there, by a clock that shows a time between these two.
pub(super) fn is_answer_of(held: &Held, call: &ExpiringCall, outcome: &Outcome, clock_ms: (u64, u64)) -> bool {
    let left_ms = |clock_ms: u64| held.expiry_ms.map_or(-1, |at| at.saturating_sub(clock_ms) as i64);
    let (least, most) = (left_ms(clock_ms.1), left_ms(clock_ms.0));
    let seconds = |ms: i64| if ms < 0 { ms } else { (ms + 500) / 1_000 };
    match (call, outcome) {
        (ExpiringCall::Get, Outcome::Value(Some(value))) => *value == held.value,
        (ExpiringCall::Exists, outcome) => *outcome == Outcome::Integer(1),
        (ExpiringCall::PExpireTime, Outcome::Integer(at)) => *at == held.expiry_ms.map_or(-1, |at| at as i64),
        (ExpiringCall::PTtl, Outcome::Integer(left)) => (least..=most).contains(left),
        (ExpiringCall::Ttl, Outcome::Integer(left)) => (seconds(least)..=seconds(most)).contains(left),
        _ => false,
    }
}
