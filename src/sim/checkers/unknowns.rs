//! What reads tell about writes of unknown outcome, so that a search has less to try.
//!
//! A value that only one write has given to a key, and that was read, shows that this write took effect before the read
//! ended. And if all answers about an object are values, a write none of whose values was ever read may as well not
//! have happened: in an order that explains everything it can be left out. If some answers tell only whether there is a
//! value, or how long it is, such writes may matter, but not by what they wrote.
//!
//! That holds for writes of known outcome as well: values that nobody read are made equal to each other, and a search tries
//! only one of several equal writes.
//!
//! What is left of unknown outcome may vanish in a search, or stay for ever. If there is much of it the search would drown
//! in which of them were used up, so then each may take effect any number of times. That can only excuse a wrong answer,
//! never condemn a right one; what was read of a value is not touched by it.

use std::collections::{HashMap, HashSet};

use types::Instant;

use super::hashing::FixedHashes;
use super::objects::{Object, Op};
use super::value::{Answer, KeyIdx, Step, Value};
use crate::history::SetOptions;

/// Most writes of unknown outcome of one object that take effect once at most.
const EXACT_COUNT_MAX: usize = 10;

/// Bounds writes of unknown outcome by what was read, and leaves out those that nobody saw.
pub(super) fn settle(object: &mut Object) {
    if object.ops.iter().all(|op| op.end != Instant::NEVER) || object.ops.iter().any(changes_values) {
        return;
    }
    let mut writers = HashMap::<(KeyIdx, Value), usize>::new();
    let mut seen = HashMap::<(KeyIdx, Value), Instant>::new();
    for op in &object.ops {
        for_each_value_given(&op.step, |key, value| *writers.entry((key, value)).or_default() += 1);
        for_each_value_seen(op, |key, value| {
            let end = seen.entry((key, value)).or_insert(op.end);
            *end = (*end).min(op.end);
        });
    }
    let all_see_values = object.ops.iter().all(|op| {
        matches!(
            op.step,
            Step::Get(_) | Step::MGet(_) | Step::Set(..) | Step::MSet(_) | Step::GetSet(..) | Step::GetDel(_)
        )
    });
    object.ops.retain_mut(|op| {
        if op.end != Instant::NEVER {
            return true;
        }
        let is_setter = matches!(op.step, Step::Set(..) | Step::MSet(_) | Step::GetSet(..));
        let mut is_seen = false;
        for_each_value_given(&op.step, |key, value| {
            let Some(end) = seen.get(&(key, value)) else { return };
            is_seen = true;
            if writers[&(key, value)] == 1 {
                op.end = op.end.min(*end);
            }
        });
        is_seen || !is_setter || !all_see_values
    });
    let unknown_count = object.ops.iter().filter(|op| op.end == Instant::NEVER).count();
    for op in &mut object.ops {
        op.repeats = op.end == Instant::NEVER && unknown_count > EXACT_COUNT_MAX;
    }
}

/// Makes values equal that nobody read: of what they are only their lengths can be told. A part that was read does not
/// tell which value it is of, so then nothing is forgotten.
pub(super) fn forget_unseen(object: &mut Object) {
    if object.ops.iter().any(|op| changes_values(op) || matches!(op.step, Step::GetRange(..))) {
        return;
    }
    let mut seen = HashSet::<(KeyIdx, Value)>::new();
    for op in &object.ops {
        for_each_value_seen(op, |key, value| {
            seen.insert((key, value));
        });
    }
    let tells_lengths = object.ops.iter().any(|op| matches!(op.step, Step::StrLen(_)));
    let any = Value::of(b"?").forgotten();
    let forget = |key: KeyIdx, value: &mut Value| {
        if !seen.contains(&(key, *value)) {
            *value = if tells_lengths { value.forgotten() } else { any };
        }
    };
    for op in &mut object.ops {
        match &mut op.step {
            Step::Set(key, value)
            | Step::SetWith(key, value, _)
            | Step::SetNx(key, value)
            | Step::GetSet(key, value) => forget(*key, value),
            Step::MSet(pairs) | Step::MSetNx(pairs) => {
                pairs.iter_mut().for_each(|(key, value)| forget(*key, value));
            }
            _ => {}
        }
    }
}

/// Operations by the value that they have read.
pub(super) type Readers = HashMap<(KeyIdx, Value), Vec<usize>, FixedHashes>;

/// The operations that have read each value that only one operation can have written: once it is overwritten, nobody
/// reads it any more.
pub(super) fn readers(object: &Object) -> Readers {
    let mut readers = Readers::default();
    if object.ops.iter().any(changes_values) {
        return readers;
    }
    let mut writers = HashMap::<(KeyIdx, Value), usize>::new();
    for (idx, op) in object.ops.iter().enumerate() {
        for_each_value_given(&op.step, |key, value| *writers.entry((key, value)).or_default() += 1);
        for_each_value_seen(op, |key, value| readers.entry((key, value)).or_default().push(idx));
    }
    readers.retain(|given, _| writers.get(given) == Some(&1));
    readers
}

/// Whether the value that an operation leaves depends on the one before.
fn changes_values(op: &Op) -> bool {
    matches!(op.step, Step::Append(..) | Step::Incr(..) | Step::SetRange(..) | Step::IncrByHalves(..))
}

fn for_each_value_given(step: &Step, mut visit: impl FnMut(KeyIdx, Value)) {
    match step {
        Step::Set(key, value) | Step::SetWith(key, value, _) | Step::SetNx(key, value) | Step::GetSet(key, value) => {
            visit(*key, *value)
        }
        Step::MSet(pairs) | Step::MSetNx(pairs) => pairs.iter().for_each(|(key, value)| visit(*key, *value)),
        _ => {}
    }
}

fn for_each_value_seen(op: &Op, mut visit: impl FnMut(KeyIdx, Value)) {
    match (&op.step, &op.answer) {
        (Step::Get(key) | Step::GetSet(key, _) | Step::GetDel(key), Some(Answer::Value(value)))
        | (Step::SetWith(key, _, SetOptions { get: true, .. }), Some(Answer::Value(value))) => visit(*key, *value),
        (Step::MGet(keys), Some(Answer::Values(values))) => {
            keys.iter().zip(values).for_each(|(key, value)| visit(*key, *value));
        }
        _ => {}
    }
}
