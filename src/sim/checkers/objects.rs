//! Taking a history apart: keys that commands touch together are one object, and objects are judged one by one.
//! A history is linearizable if that of every object is (Herlihy and Wing, "Linearizability", theorem 1).

use std::collections::HashMap;

pub(super) use super::object::{Object, Op};
use super::unknowns::{forget_unseen, settle};
use super::value::{Answer, KeyIdx, Step, Value};
use crate::history::{Call, History, Operation, Outcome, Text};

struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, mut idx: usize) -> usize {
        while self.0[idx] != idx {
            self.0[idx] = self.0[self.0[idx]];
            idx = self.0[idx];
        }
        idx
    }

    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        // The older key stands for both, so that objects come in the order of their first use.
        self.0[left.max(right)] = left.min(right);
    }
}

/// Takes a history apart. Operations that were not applied, and reads without an answer, say nothing and are left out.
pub(super) fn split(history: &History) -> Vec<Object> {
    let operations = history.operations();
    let mut numbers = HashMap::<&Text, usize>::new();
    let mut keys = Vec::new();
    let mut sets = Sets(Vec::new());
    for operation in operations {
        let mut first = None;
        operation.call.for_each_key(|key| {
            let number = *numbers.entry(key).or_insert_with(|| {
                keys.push(key.clone());
                sets.0.push(keys.len() - 1);
                keys.len() - 1
            });
            sets.join(number, *first.get_or_insert(number));
        });
    }
    let mut objects = vec![Object::default(); keys.len()];
    let mut places = Vec::with_capacity(keys.len());
    for (number, key) in keys.iter().enumerate() {
        let object = sets.root(number);
        places.push((object, objects[object].keys.len() as KeyIdx));
        objects[object].keys.push(key.clone());
    }
    for (idx, operation) in operations.iter().enumerate().filter(|(_, operation)| says_something(operation)) {
        let place = |key: &Text| places[numbers[key]];
        let mut object = None;
        operation.call.for_each_key(|key| object = Some(place(key).0));
        match object {
            Some(object) => {
                let step = step(&operation.call, |key| place(key).1);
                objects[object].ops.push(op(idx, operation, step));
            }
            // FLUSHALL: for each object a step of its own, since groups are not flushed together.
            None => {
                for object in objects.iter_mut().filter(|object| !object.keys.is_empty()) {
                    object.ops.push(op(idx, operation, Step::Clear));
                }
            }
        }
    }
    objects.retain(|object| !object.ops.is_empty());
    for object in &mut objects {
        settle(object);
        forget_unseen(object);
        object.longest = longest(object, operations);
        let mut classes = HashMap::new();
        for op in &mut object.ops {
            let next = classes.len() as u32;
            op.class = *classes.entry((op.step.clone(), op.answer.clone())).or_insert(next);
        }
        object.only_counts = object.ops.iter().all(|op| op.step.is_read() || matches!(op.step, Step::Incr(_, 0..)));
    }
    objects
}

fn says_something(operation: &Operation) -> bool {
    operation.outcome != Outcome::NotApplied && (operation.is_known() || operation.call.is_write())
}

fn op(idx: usize, operation: &Operation, step: Step) -> Op {
    let value = |text: &Option<Text>| Value::of_option(text.as_deref());
    let answer = match &operation.outcome {
        Outcome::Ok => Some(Answer::Ok),
        Outcome::Integer(number) => Some(Answer::Integer(*number)),
        Outcome::Value(text) => Some(Answer::Value(value(text))),
        Outcome::Values(texts) => Some(Answer::Values(texts.iter().map(value).collect())),
        Outcome::NotApplied | Outcome::Unknown => None,
    };
    Op { idx, begin: operation.begin, end: operation.effect_end(), step, repeats: false, class: 0, answer }
}

fn step(call: &Call, place: impl Fn(&Text) -> KeyIdx) -> Step {
    let all = |keys: &[Text]| keys.iter().map(&place).collect();
    let pairs = |pairs: &[(Text, Text)]| pairs.iter().map(|(key, text)| (place(key), Value::of(text))).collect();
    match call {
        Call::Get(key) => Step::Get(place(key)),
        Call::StrLen(key) => Step::StrLen(place(key)),
        Call::Set(key, text) => Step::Set(place(key), Value::of(text)),
        Call::SetWith(key, text, options) => Step::SetWith(place(key), Value::of(text), *options),
        Call::SetRange(key, offset, text) => Step::SetRange(place(key), *offset, Value::of(text)),
        Call::GetRange(key, start, end) => Step::GetRange(place(key), *start, *end),
        Call::IncrByHalves(key, by) => Step::IncrByHalves(place(key), *by),
        Call::SetNx(key, text) => Step::SetNx(place(key), Value::of(text)),
        Call::GetSet(key, text) => Step::GetSet(place(key), Value::of(text)),
        Call::GetDel(key) => Step::GetDel(place(key)),
        Call::Append(key, text) => Step::Append(place(key), Value::of(text)),
        Call::Incr(key, by) => Step::Incr(place(key), *by),
        Call::Del(keys) => Step::Del(all(keys)),
        Call::Exists(keys) => Step::Exists(all(keys)),
        Call::MGet(keys) => Step::MGet(all(keys)),
        Call::MSet(list) => Step::MSet(pairs(list)),
        Call::MSetNx(list) => Step::MSetNx(pairs(list)),
        Call::FlushAll => Step::Clear,
    }
}

fn longest(object: &Object, operations: &[Operation]) -> Option<(usize, Text)> {
    let only_grows = |op: &Op| op.step.is_read() || matches!(op.step, Step::Append(..));
    if object.keys.len() != 1 || !object.ops.iter().all(only_grows) {
        return None;
    }
    let read = |(idx, op): (usize, &Op)| match &operations[op.idx].outcome {
        Outcome::Value(Some(text)) => Some((idx, text.clone())),
        _ => None,
    };
    // Of equally long ones the first.
    object.ops.iter().enumerate().filter_map(read).rev().max_by_key(|(_, text)| text.len())
}
