//! Histories as long as those of campaigns, made by a sequential server with made-up delays.

use std::collections::HashMap;
use std::time::Instant as Stopwatch;

use bytes::Bytes;
use types::Instant;

use crate::checkers::{check_durability, check_exactly_once, check_linearizability};
use crate::history::{Call, History, Operation, Outcome, Text};
use crate::prng::Prng;

const OPERATIONS_COUNT: u64 = 100_000;
const SHORT_OPERATIONS_COUNT: u64 = 10_000;
const SESSIONS_COUNT: u64 = 40;

fn run(call: &Call, values: &mut HashMap<Text, Text>) -> Outcome {
    match call {
        Call::Get(key) => Outcome::Value(values.get(key).cloned()),
        Call::Set(key, value) => {
            values.insert(key.clone(), value.clone());
            Outcome::Ok
        }
        Call::Append(key, tail) => {
            let value = [values.get(key).map_or(&[][..], |value| &value[..]), tail].concat();
            let len = value.len() as i64;
            values.insert(key.clone(), value.into());
            Outcome::Integer(len)
        }
        Call::Incr(key, by) => {
            let number = values.get(key).map_or(0, |value| String::from_utf8_lossy(value).parse().unwrap_or(0)) + by;
            values.insert(key.clone(), number.to_string().into());
            Outcome::Integer(number)
        }
        Call::MSet(pairs) => {
            values.extend(pairs.iter().cloned());
            Outcome::Ok
        }
        Call::MGet(keys) => Outcome::Values(keys.iter().map(|key| values.get(key).cloned()).collect()),
        _ => unreachable!("the test makes no others"),
    }
}

fn call(prng: &mut Prng, number: u64) -> Call {
    let name = |kind: &str, key: u64| Bytes::from(format!("{kind}{key}"));
    let pair = |one: u64| (name(&format!("{{m{one}}}"), number % 3), name("v", number));
    // One in five goes to a hot key.
    let key = if prng.below(5) == 0 { 0 } else { prng.below(500) };
    match prng.below(10) {
        0..=2 => Call::Get(name("r", key)),
        3 | 4 => Call::Set(name("r", key), name("v", number)),
        5 => Call::Append(name("l", prng.below(500)), format!("{number};").into()),
        6 => Call::Get(name(["l", "n"][number as usize % 2], prng.below(500))),
        7 => Call::Incr(name("n", key), 1),
        8 => Call::MSet(vec![pair(key), pair(key)]),
        _ => Call::MGet((0..3).map(|part| name(&format!("{{m{key}}}"), part)).collect()),
    }
}

/// One in 50 operations gets no answer; half of those never run.
fn long_history(seed: u64, operations_count: u64) -> History {
    let mut prng = Prng::stream(seed, "history");
    let mut values = HashMap::new();
    let mut operations = Vec::new();
    for number in 0..operations_count {
        // Sessions overlap: each operation takes effect at its number, and takes a while around it.
        let effect = number * 100;
        let begin = effect.saturating_sub(prng.below(100 * SESSIONS_COUNT / 2));
        let end = effect + 1 + prng.below(100 * SESSIONS_COUNT / 2);
        let call = call(&mut prng, number);
        let is_unknown = prng.below(50) == 0;
        let mut outcome = Outcome::Unknown;
        if !is_unknown || prng.below(2) == 0 {
            let ran = run(&call, &mut values);
            outcome = if is_unknown { Outcome::Unknown } else { ran };
        }
        let (begin, end) = (Instant::from_nanos(begin), Instant::from_nanos(end));
        let client = (number % SESSIONS_COUNT) as u32;
        operations.push(Operation { client, begin, end, call, outcome, reason: None });
    }
    operations.sort_by_key(|operation| operation.begin);
    let mut history = History::new();
    for operation in operations {
        let id = history.begin(operation.client, operation.begin, operation.call);
        history.end(id, operation.end, operation.outcome, None);
    }
    history
}

#[test]
fn a_long_history_is_judged_in_seconds() {
    let history = long_history(1, OPERATIONS_COUNT);
    let begun = Stopwatch::now();
    let judged = check_linearizability(&history).unwrap_or_else(|violation| panic!("{violation}"));
    let linearizability = begun.elapsed();
    check_exactly_once(&history).unwrap_or_else(|violation| panic!("{violation}"));
    check_durability(&history).unwrap_or_else(|violation| panic!("{violation}"));
    let all = begun.elapsed();
    println!("{OPERATIONS_COUNT} operations: linearizability {linearizability:?}, with the others {all:?}");
    // The hottest key, with hundreds of unknown outcomes, may be too entangled to decide.
    assert!(judged.undecided <= 1 && judged.operations > OPERATIONS_COUNT * 9 / 10, "{judged:?}");
    assert!(all.as_secs() < 30, "{all:?}");
}

#[test]
fn one_wrong_answer_among_many_is_found() {
    for seed in 2..5 {
        let history = long_history(seed, SHORT_OPERATIONS_COUNT);
        let mut broken = History::new();
        let wrong = SHORT_OPERATIONS_COUNT as usize / 2;
        let mut is_broken = false;
        for (idx, operation) in history.operations().iter().enumerate() {
            let mut outcome = operation.outcome.clone();
            if idx >= wrong && !is_broken && matches!(outcome, Outcome::Value(Some(_))) {
                outcome = Outcome::Value(None);
                is_broken = true;
            }
            let id = broken.begin(operation.client, operation.begin, operation.call.clone());
            broken.end(id, operation.end, outcome, None);
        }
        assert!(is_broken);
        check_linearizability(&broken).expect_err("one answer is wrong");
    }
}
