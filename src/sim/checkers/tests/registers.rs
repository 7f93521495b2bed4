//! Two ways to judge a register agree.

use types::Instant;

use crate::checkers::objects::split;
use crate::checkers::registers::{Registers, judge};
use crate::checkers::search::{Verdict, search};
use crate::history::{Call, History, Outcome};
use crate::prng::Prng;

/// A history of a register whose operations overlap, and, if it `is_broken`, one wrong answer.
fn history(seed: u64, is_broken: bool) -> History {
    let mut prng = Prng::stream(seed, "registers");
    let count = prng.range(2, 24);
    // Each takes effect at its moment; begin and end lie around it.
    let mut operations = Vec::new();
    let (mut value, mut values) = (None, vec![None]);
    for moment in 1..=count {
        let begin = (100 * moment).saturating_sub(prng.below(400));
        let end = 100 * moment + prng.below(400);
        let given = format!("v{moment}");
        let (call, outcome) = match prng.below(4) {
            0 => (Call::GetSet("k".into(), given.clone().into()), Outcome::Value(value.clone())),
            1 => (Call::Set("k".into(), given.clone().into()), Outcome::Ok),
            _ => (Call::Get("k".into()), Outcome::Value(value.clone())),
        };
        if call.is_write() {
            value = Some(given.into());
            values.push(value.clone());
        }
        let is_lost = call.is_write() && prng.below(8) == 0;
        operations.push((begin, end, call, if is_lost { Outcome::Unknown } else { outcome }));
    }
    if is_broken {
        let faulty = prng.below(count) as usize;
        if matches!(operations[faulty].3, Outcome::Value(_)) {
            operations[faulty].3 = Outcome::Value(values[prng.below(values.len() as u64) as usize].clone());
        }
    }
    operations.sort_by_key(|(begin, ..)| *begin);
    let mut history = History::new();
    for (begin, end, call, outcome) in operations {
        let id = history.begin(1, Instant::from_nanos(begin), call);
        history.end(id, Instant::from_nanos(end), outcome, None);
    }
    history
}

#[test]
fn a_search_and_an_exact_judgement_agree() {
    let mut contradictions_count = 0;
    for seed in 0..4_000 {
        let is_broken = seed % 2 == 0;
        for object in split(&history(seed, is_broken)) {
            let exact = judge(&object);
            let found = match search(&object) {
                Verdict::Explained => Registers::Explained,
                Verdict::Contradiction { op, .. } => Registers::Contradiction { op },
                Verdict::Undecided => continue,
            };
            let is_equal = std::mem::discriminant(&exact) == std::mem::discriminant(&found);
            assert!(is_equal, "seed {seed}: {exact:?}, but a search finds {found:?}: {:#?}", object.ops);
            assert!(is_broken || exact == Registers::Explained, "seed {seed}");
            contradictions_count += u32::from(exact != Registers::Explained);
        }
    }
    assert!(contradictions_count > 200, "{contradictions_count}");
}
