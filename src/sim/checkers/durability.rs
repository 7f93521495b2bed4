//! An acknowledged write survives: what is read once faults are over is what some last write has left.

use std::collections::HashMap;

use types::Instant;

use super::Violation;
use super::linearizability::{line, shown};
use crate::history::{Call, History, Operation, Outcome, Text};

/// A write that gives a key a value of its own, whatever it held before.
struct Write<'a> {
    operation: &'a Operation,
    /// `None`: the key goes.
    value: Option<&'a Text>,
}

#[derive(Default)]
struct Key<'a> {
    writes: Vec<Write<'a>>,
    /// Something else changes it: its values cannot be told from the writes alone.
    is_other: bool,
    last_read: Option<(&'a Operation, Option<&'a Text>)>,
}

/// Compares the last read of every key that began after all faults and all its writes with the writes. Keys that are
/// appended to, counted up or conditionally written are left to other checkers. Returns how many keys were judged.
///
/// # Errors
/// A read returns what no write can have left there, so an acknowledged write is lost or another one came back.
pub fn check(history: &History) -> Result<u64, Violation> {
    let Some(healed) = history.healed_at() else { return Ok(0) };
    let mut keys = HashMap::<&Text, Key<'_>>::new();
    let mut order = Vec::new();
    let mut flushes = Vec::new();
    for operation in history.operations() {
        if operation.call == Call::FlushAll && operation.outcome != Outcome::NotApplied {
            flushes.push(operation);
        }
        operation.call.for_each_key(|key| {
            keys.entry(key).or_insert_with(|| {
                order.push(key);
                Key::default()
            });
        });
        note(operation, healed, &mut keys);
    }
    let mut judged_count = 0;
    for key in order {
        if judge(key, &keys[key], &flushes)? {
            judged_count += 1;
        }
    }
    Ok(judged_count)
}

fn note<'a>(operation: &'a Operation, healed: Instant, keys: &mut HashMap<&'a Text, Key<'a>>) {
    if operation.outcome == Outcome::NotApplied {
        return;
    }
    let is_last = operation.begin >= healed && operation.is_known();
    let mut of = |key: &'a Text, change: &mut dyn FnMut(&mut Key<'a>)| {
        if let Some(key) = keys.get_mut(key) {
            change(key);
        }
    };
    match (&operation.call, &operation.outcome) {
        (Call::Set(key, value) | Call::GetSet(key, value), _) => {
            of(key, &mut |key| key.writes.push(Write { operation, value: Some(value) }));
        }
        (Call::MSet(pairs), _) => {
            for (key, value) in pairs {
                of(key, &mut |key| key.writes.push(Write { operation, value: Some(value) }));
            }
        }
        (Call::GetDel(key), _) => of(key, &mut |key| key.writes.push(Write { operation, value: None })),
        (Call::Del(list), _) => {
            for key in list {
                of(key, &mut |key| key.writes.push(Write { operation, value: None }));
            }
        }
        (Call::Get(key), Outcome::Value(value)) if is_last => {
            of(key, &mut |key| key.last_read = Some((operation, value.as_ref())));
        }
        (Call::MGet(list), Outcome::Values(values)) if is_last => {
            for (key, value) in list.iter().zip(values) {
                of(key, &mut |key| key.last_read = Some((operation, value.as_ref())));
            }
        }
        // What it leaves depends on what was there.
        (call, _) if call.is_write() => {
            operation.call.for_each_key(|key| of(key, &mut |key| key.is_other = true));
        }
        _ => {}
    }
}

fn judge(name: &Text, key: &Key<'_>, flushes: &[&Operation]) -> Result<bool, Violation> {
    let Some((read, value)) = key.last_read.filter(|_| !key.is_other) else { return Ok(false) };
    let flushed = flushes.iter().map(|flush| Write { operation: flush, value: None });
    let writes: Vec<_> = key
        .writes
        .iter()
        .map(|write| Write { ..*write })
        .chain(flushed)
        .filter(|write| write.operation.begin <= read.end)
        .collect();
    let is_settled = writes.iter().all(|write| !write.operation.is_known() || write.operation.end <= read.begin);
    if !is_settled {
        return Ok(false);
    }
    // A write whose end lies before the latest begin of an acknowledged one cannot be the last.
    let acknowledged = writes.iter().filter(|write| write.operation.is_known());
    let latest = acknowledged.map(|write| write.operation.begin).max();
    let may_be_last = |write: &&Write<'_>| latest.is_none_or(|latest| write.operation.effect_end() >= latest);
    let mut candidates = writes.iter().filter(may_be_last);
    let was_never_set = latest.is_none() && value.is_none();
    if was_never_set || candidates.clone().any(|write| write.value == value) {
        return Ok(true);
    }
    let expected = candidates.next().map_or_else(|| "nothing".to_owned(), |write| line(write.operation));
    let lost = match writes.iter().find(|write| write.value == value && value.is_some()) {
        Some(older) => format!("an older write came back: {}", line(older.operation)),
        None => "no write has left that there".to_owned(),
    };
    let name = shown(name);
    Err(Violation::new(
        "durability",
        format_args!("of {name} the last read is {}; {lost}. A write that may be the last: {expected}", line(read)),
    ))
}
