//! What reads tell about writes of unknown outcome, so that a search has less to try.
//!
//! A value that only one write has given to a key, and that was read, shows that this write took effect before the read
//! ended. And if all answers about an object are values, a write none of whose values was ever read may as well not
//! have happened: in an order that explains everything it can be left out.

use std::collections::HashMap;

use types::Instant;

use super::objects::{Object, Op};
use super::value::{Answer, KeyIdx, Step, Value};

/// Bounds writes of unknown outcome by what was read, and leaves out those that nobody saw.
pub(super) fn settle(object: &mut Object) {
    let changes_values = |op: &Op| matches!(op.step, Step::Append(..) | Step::Incr(..));
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
        let is_setter = matches!(op.step, Step::Set(..) | Step::MSet(_) | Step::GetSet(..));
        if op.end != Instant::NEVER || !is_setter {
            return true;
        }
        let mut is_seen = false;
        for_each_value_given(&op.step, |key, value| {
            let Some(end) = seen.get(&(key, value)) else { return };
            is_seen = true;
            if writers[&(key, value)] == 1 {
                op.end = op.end.min(*end);
            }
        });
        is_seen || !all_see_values
    });
}

fn for_each_value_given(step: &Step, mut visit: impl FnMut(KeyIdx, Value)) {
    match step {
        Step::Set(key, value) | Step::SetNx(key, value) | Step::GetSet(key, value) => visit(*key, *value),
        Step::MSet(pairs) | Step::MSetNx(pairs) => pairs.iter().for_each(|(key, value)| visit(*key, *value)),
        _ => {}
    }
}

fn for_each_value_seen(op: &Op, mut visit: impl FnMut(KeyIdx, Value)) {
    match (&op.step, &op.answer) {
        (Step::Get(key) | Step::GetSet(key, _) | Step::GetDel(key), Some(Answer::Value(value))) => {
            visit(*key, *value)
        }
        (Step::MGet(keys), Some(Answer::Values(values))) => {
            keys.iter().zip(values).for_each(|(key, value)| visit(*key, *value));
        }
        _ => {}
    }
}
