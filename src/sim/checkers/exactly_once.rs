//! A write takes effect once: its token stands once in the log it was appended to, its increment counts once.

use std::collections::HashMap;

use types::Instant;

use super::Violation;
use super::linearizability::{line, shown};
use crate::history::{Call, History, Operation, Outcome, TOKEN_END, Text};

const NAME: &str = "exactly-once";

#[derive(Default)]
struct Key<'a> {
    appends: Vec<&'a Operation>,
    increments: Vec<(&'a Operation, i64)>,
    reads: Vec<(&'a Operation, Option<&'a Text>)>,
    is_other: bool,
}

/// Judges logs and counters. Returns how many tokens were found, each once.
///
/// # Errors
/// A token is missing, stands twice, was refused and stands there, or stands before one that was acknowledged before it
/// began; a counter is outside of what its increments allow.
pub fn check(history: &History) -> Result<u64, Violation> {
    let mut keys = HashMap::<&Text, Key<'_>>::new();
    let mut order = Vec::new();
    let mut is_flushed = false;
    for operation in history.operations() {
        is_flushed |= operation.call == Call::FlushAll;
        operation.call.for_each_key(|name| {
            let key = keys.entry(name).or_insert_with(|| {
                order.push(name);
                Key::default()
            });
            match (&operation.call, &operation.outcome) {
                (Call::Append(..), _) => key.appends.push(operation),
                (Call::Incr(_, by), _) => key.increments.push((operation, *by)),
                (Call::Get(_), Outcome::Value(value)) => key.reads.push((operation, value.as_ref())),
                (call, _) => key.is_other |= call.is_write(),
            }
        });
    }
    if is_flushed {
        return Ok(0);
    }
    let mut tokens_count = 0;
    for name in order {
        let key = &keys[name];
        if key.is_other {
            continue;
        }
        match (key.appends.is_empty(), key.increments.is_empty()) {
            (false, true) => tokens_count += check_log(name, key)?,
            (true, false) => check_counter(name, key)?,
            _ => {}
        }
    }
    Ok(tokens_count)
}

fn token(operation: &Operation) -> Option<&[u8]> {
    let Call::Append(_, text) = &operation.call else { return None };
    let (last, rest) = text.split_last()?;
    (*last == TOKEN_END && !rest.contains(&TOKEN_END)).then_some(rest)
}

fn check_log(name: &Text, key: &Key<'_>) -> Result<u64, Violation> {
    let mut appends = HashMap::new();
    for operation in &key.appends {
        let Some(token) = token(operation) else { return Ok(0) };
        if appends.insert(token, *operation).is_some() {
            return Ok(0);
        }
    }
    let Some((last, text)) = key.reads.iter().max_by_key(|(read, _)| read.end) else { return Ok(0) };
    let text = text.map_or(&[][..], |text| &text[..]);
    let object = |what: String| Err(Violation::new(NAME, format!("the log {}: {what}", shown(name))));
    let mut places = HashMap::new();
    // The latest begin among the tokens so far: nothing behind them may have ended before it.
    let mut latest: Option<&Operation> = None;
    let body = text.strip_suffix(&[TOKEN_END]).unwrap_or(text);
    for (place, token) in body.split(|byte| *byte == TOKEN_END).enumerate().filter(|(_, token)| !token.is_empty()) {
        let Some(operation) = appends.get(token) else {
            return object(format!("holds {} at place {place}, which nobody appended", shown(token)));
        };
        if let Some(first) = places.insert(token, place) {
            return object(format!(
                "holds {} twice, at places {first} and {place}: {}",
                shown(token),
                line(operation)
            ));
        }
        if operation.outcome == Outcome::NotApplied {
            return object(format!("holds {} although it was refused: {}", shown(token), line(operation)));
        }
        if let Some(latest) = latest.filter(|latest| operation.effect_end() < latest.begin) {
            let what =
                format!("holds a token behind one that began later: {} behind {}", line(operation), line(latest));
            return object(what);
        }
        if latest.is_none_or(|latest| latest.begin < operation.begin) {
            latest = Some(operation);
        }
    }
    for operation in &key.appends {
        let is_there = token(operation).is_some_and(|token| places.contains_key(token));
        if operation.is_known() && operation.end <= last.begin && !is_there {
            let what = format!("lacks {}, acknowledged before {}", line(operation), line(last));
            return object(what);
        }
    }
    for (read, value) in &key.reads {
        if !text.starts_with(value.map_or(&[][..], |value| &value[..])) {
            return object(format!("was read as what is no beginning of its last state: {}", line(read)));
        }
    }
    Ok(places.len() as u64)
}

fn check_counter(name: &Text, key: &Key<'_>) -> Result<(), Violation> {
    for (read, value) in &key.reads {
        let text = value.map_or("0", |value| std::str::from_utf8(value).unwrap_or("?"));
        let sum_of = |counts: &dyn Fn(&Operation) -> bool| -> (i64, i64) {
            let counted = key.increments.iter().filter(|(operation, _)| counts(operation));
            counted.fold((0, 0), |(down, up), (_, by)| (down + by.min(&0), up + by.max(&0)))
        };
        let surely = |operation: &Operation| operation.is_known() && operation.end <= read.begin;
        let maybe = |operation: &Operation| {
            let is_possible = operation.outcome != Outcome::NotApplied && operation.begin <= read.end;
            is_possible && !surely(operation)
        };
        let (sure, possible) = (sum_of(&surely), sum_of(&maybe));
        let (least, most) = (sure.0 + sure.1 + possible.0, sure.0 + sure.1 + possible.1);
        let is_within = text.parse::<i64>().is_ok_and(|number| (least..=most).contains(&number));
        if read.end != Instant::NEVER && !is_within {
            let name = shown(name);
            let what = format!("the counter {name} must lie between {least} and {most}: {}", line(read));
            return Err(Violation::new(NAME, what));
        }
    }
    Ok(())
}
