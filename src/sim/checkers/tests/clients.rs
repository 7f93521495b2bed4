//! Histories of clients.

use bytes::Bytes;
use types::Instant;

use crate::checkers::{check_durability, check_exactly_once, check_linearizability};
use crate::history::{Call, History, Outcome, Text};

fn text(text: &str) -> Text {
    Bytes::copy_from_slice(text.as_bytes())
}

fn get(key: &str) -> Call {
    Call::Get(text(key))
}

fn set(key: &str, value: &str) -> Call {
    Call::Set(text(key), text(value))
}

fn append(key: &str, value: &str) -> Call {
    Call::Append(text(key), text(value))
}

fn incr(key: &str) -> Call {
    Call::Incr(text(key), 1)
}

fn value(value: &str) -> Outcome {
    Outcome::Value(Some(text(value)))
}

const NONE: Outcome = Outcome::Value(None);

/// A history from (begin, end, call, outcome), and whether faults are over from a time on.
fn history(operations: &[(u64, u64, Call, Outcome)], healed: Option<u64>) -> History {
    let mut history = History::new();
    let mut sorted = operations.to_vec();
    sorted.sort_by_key(|(begin, ..)| *begin);
    for (client, (begin, end, call, outcome)) in sorted.into_iter().enumerate() {
        let id = history.begin(client as u32, Instant::from_nanos(begin), call);
        history.end(id, Instant::from_nanos(end), outcome, None);
    }
    if let Some(healed) = healed {
        history.heal(Instant::from_nanos(healed));
    }
    history
}

#[track_caller]
fn assert_linearizable(operations: &[(u64, u64, Call, Outcome)]) {
    let judged = check_linearizability(&history(operations, None)).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(judged.undecided, 0);
}

#[track_caller]
fn assert_not_linearizable(operations: &[(u64, u64, Call, Outcome)]) {
    let violation = check_linearizability(&history(operations, None)).expect_err("no order explains this");
    assert!(violation.message.contains("no order"), "{violation}");
}

#[test]
fn a_read_sees_the_write_before_it() {
    assert_linearizable(&[(0, 1, set("k", "a"), Outcome::Ok), (2, 3, get("k"), value("a"))]);
    assert_not_linearizable(&[(0, 1, set("k", "a"), Outcome::Ok), (2, 3, get("k"), NONE)]);
    assert_not_linearizable(&[
        (0, 1, set("k", "a"), Outcome::Ok),
        (2, 3, set("k", "b"), Outcome::Ok),
        (4, 5, get("k"), value("a")),
    ]);
}

#[test]
fn concurrent_writes_may_take_either_order_but_only_one() {
    let writes = [(0, 10, set("k", "a"), Outcome::Ok), (0, 10, set("k", "b"), Outcome::Ok)];
    let with = |reads: &[(u64, u64, Call, Outcome)]| [&writes[..], reads].concat();
    assert_linearizable(&with(&[(11, 12, get("k"), value("a")), (13, 14, get("k"), value("a"))]));
    assert_linearizable(&with(&[(1, 2, get("k"), value("b")), (13, 14, get("k"), value("a"))]));
    assert_not_linearizable(&with(&[(11, 12, get("k"), value("a")), (13, 14, get("k"), value("b"))]));
    assert_not_linearizable(&with(&[
        (1, 2, get("k"), value("a")),
        (3, 4, get("k"), value("b")),
        (11, 12, get("k"), value("a")),
    ]));
}

#[test]
fn a_write_of_unknown_outcome_may_come_late_or_never_but_once() {
    let unknown = (0, 1, set("k", "u"), Outcome::Unknown);
    let known = (2, 3, set("k", "a"), Outcome::Ok);
    assert_linearizable(&[unknown.clone(), known.clone(), (4, 5, get("k"), value("a"))]);
    assert_linearizable(&[
        unknown.clone(),
        known.clone(),
        (4, 5, get("k"), value("a")),
        (90, 91, get("k"), value("u")),
    ]);
    assert_not_linearizable(&[
        unknown,
        known.clone(),
        (4, 5, get("k"), value("u")),
        (6, 7, set("k", "a"), Outcome::Ok),
        (8, 9, get("k"), value("u")),
    ]);
    // What was refused never happened.
    assert_not_linearizable(&[(0, 1, set("k", "u"), Outcome::NotApplied), known, (4, 5, get("k"), value("u"))]);
}

#[test]
fn an_increment_that_counted_twice_or_not_at_all_is_seen() {
    let sums =
        |first, second| [(0, 5, incr("n"), Outcome::Integer(first)), (1, 6, incr("n"), Outcome::Integer(second))];
    assert_linearizable(&sums(2, 1));
    assert_not_linearizable(&sums(1, 1));
    assert_not_linearizable(&sums(1, 3));
    let unknown = (0, 1, incr("n"), Outcome::Unknown);
    assert_linearizable(&[unknown.clone(), (2, 3, incr("n"), Outcome::Integer(2))]);
    assert_linearizable(&[unknown.clone(), (2, 3, incr("n"), Outcome::Integer(1))]);
    assert_not_linearizable(&[unknown, (2, 3, incr("n"), Outcome::Integer(3))]);
}

#[test]
fn appended_tokens_are_seen_out_of_order_missing_or_doubled() {
    let appended = [(0, 1, append("l", "a;"), Outcome::Integer(2)), (2, 3, append("l", "b;"), Outcome::Integer(4))];
    let with = |seen: &str| [&appended[..], &[(4, 5, get("l"), value(seen))]].concat();
    assert_linearizable(&with("a;b;"));
    assert_not_linearizable(&with("b;a;"));
    assert_not_linearizable(&with("a;"));
    assert_not_linearizable(&with("a;b;b;"));
    let long = "x".repeat(30) + ";";
    let read = |seen: &str| {
        [
            (0, 1, append("l", &long), Outcome::Integer(31)),
            (0, 9, append("l", "y;"), Outcome::Unknown),
            (2, 3, append("l", "z;"), Outcome::Integer(33)),
            (4, 5, get("l"), value(seen)),
        ]
    };
    assert_linearizable(&read(&format!("{long}z;")));
    assert_not_linearizable(&read(&format!("{long}y;")));
    assert_not_linearizable(&read(&format!("{long}y;z;")));
}

#[test]
fn keys_that_commands_touch_together_are_one_object() {
    let pairs = |one: &str, two: &str| Call::MSet(vec![(text("{t}1"), text(one)), (text("{t}2"), text(two))]);
    let both = Call::MGet(vec![text("{t}1"), text("{t}2")]);
    let seen = |one: &str, two: &str| Outcome::Values(vec![Some(text(one)), Some(text(two))]);
    let writes = [(0, 10, pairs("a", "a"), Outcome::Ok), (0, 10, pairs("b", "b"), Outcome::Ok)];
    let with = |outcome| [&writes[..], &[(11, 12, both.clone(), outcome)]].concat();
    assert_linearizable(&with(seen("a", "a")));
    assert_not_linearizable(&with(seen("a", "b")));
    let set_new = Call::MSetNx(vec![(text("{t}1"), text("c")), (text("{t}3"), text("c"))]);
    assert_not_linearizable(&[(0, 1, pairs("a", "a"), Outcome::Ok), (2, 3, set_new, Outcome::Integer(1))]);
}

#[test]
fn the_other_commands_are_modelled() {
    assert_linearizable(&[
        (0, 1, Call::SetNx(text("k"), text("a")), Outcome::Integer(1)),
        (2, 3, Call::SetNx(text("k"), text("b")), Outcome::Integer(0)),
        (4, 5, Call::GetSet(text("k"), text("c")), value("a")),
        (6, 7, Call::StrLen(text("k")), Outcome::Integer(1)),
        (8, 9, Call::Exists(vec![text("k"), text("k")]), Outcome::Integer(2)),
        (10, 11, Call::GetDel(text("k")), value("c")),
        (12, 13, Call::Del(vec![text("k")]), Outcome::Integer(0)),
        (14, 15, set("k", "d"), Outcome::Ok),
        (16, 17, Call::FlushAll, Outcome::Ok),
        (18, 19, get("k"), NONE),
    ]);
    assert_not_linearizable(&[
        (0, 1, set("k", "d"), Outcome::Ok),
        (2, 3, Call::FlushAll, Outcome::Ok),
        (4, 5, get("k"), value("d")),
    ]);
}

#[test]
fn a_value_of_which_only_parts_were_read_is_known() {
    let range = |start, end| Call::GetRange(text("k"), start, end);
    let with = |part: &str| {
        [
            (0, 1, set("k", "abc"), Outcome::Ok),
            (2, 3, set("k", "xyz"), Outcome::Ok),
            (4, 5, range(-9, 1), value(part)),
        ]
    };
    assert_linearizable(&with("xy"));
    assert_not_linearizable(&with("ab"));
}

#[test]
fn durability_sees_lost_and_risen_writes() {
    let judge = |last: Outcome| {
        let operations = [
            (0, 1, set("k", "a"), Outcome::Ok),
            (2, 3, set("k", "b"), Outcome::Ok),
            (2, 4, set("k", "u"), Outcome::Unknown),
            (20, 21, get("k"), last),
        ];
        check_durability(&history(&operations, Some(10)))
    };
    assert_eq!(judge(value("b")), Ok(1));
    assert_eq!(judge(value("u")), Ok(1));
    assert!(judge(value("a")).expect_err("an old value").message.contains("an older write came back"));
    assert!(judge(NONE).expect_err("nothing").message.contains("no write has left that"));
}

#[test]
fn durability_knows_deletions_and_keys_written_together() {
    let pairs = Call::MSet(vec![(text("{t}1"), text("a")), (text("{t}2"), text("b"))]);
    let operations = |last: Outcome| {
        [
            (0, 1, pairs.clone(), Outcome::Ok),
            (2, 3, Call::Del(vec![text("{t}1")]), Outcome::Integer(1)),
            (20, 21, Call::MGet(vec![text("{t}1"), text("{t}2")]), last),
        ]
    };
    let judge = |one: Option<&str>, two: Option<&str>| {
        let last = Outcome::Values(vec![one.map(text), two.map(text)]);
        check_durability(&history(&operations(last), Some(10)))
    };
    assert_eq!(judge(None, Some("b")), Ok(2));
    assert!(judge(Some("a"), Some("b")).is_err());
    assert!(judge(None, None).is_err());
}

#[test]
fn exactly_once_sees_what_happened_twice_or_never_or_early() {
    let judge = |last: &str| {
        let operations = [
            (0, 1, append("l", "a;"), Outcome::Integer(2)),
            (2, 3, append("l", "b;"), Outcome::Integer(4)),
            (2, 3, append("l", "u;"), Outcome::Unknown),
            (4, 5, append("l", "r;"), Outcome::NotApplied),
            (20, 21, get("l"), value(last)),
        ];
        check_exactly_once(&history(&operations, Some(10)))
    };
    assert_eq!(judge("a;b;"), Ok(2));
    assert_eq!(judge("a;b;u;"), Ok(3));
    let object = |last: &str, words: &str| {
        let violation = judge(last).expect_err("it is broken");
        assert!(violation.message.contains(words), "{violation}");
    };
    object("a;b;b;", "`b` twice");
    object("a;", "lacks");
    object("b;a;", "began later");
    object("a;b;r;", "although it was refused");
    object("a;b;x;", "nobody appended");
}

#[test]
fn exactly_once_sees_a_value_that_shrank() {
    let operations = [
        (0, 9, append("l", "a;"), Outcome::Integer(2)),
        (0, 9, append("l", "b;"), Outcome::Integer(4)),
        (3, 4, get("l"), value("b;")),
        (20, 21, get("l"), value("a;b;")),
    ];
    let violation = check_exactly_once(&history(&operations, None)).expect_err("b came first");
    assert!(violation.message.contains("no beginning"), "{violation}");
}

#[test]
fn exactly_once_bounds_counters() {
    let judge = |last: &str| {
        let operations = [
            (0, 1, incr("n"), Outcome::Integer(1)),
            (2, 3, incr("n"), Outcome::Integer(2)),
            (2, 3, incr("n"), Outcome::Unknown),
            (4, 5, incr("n"), Outcome::NotApplied),
            (20, 21, get("n"), value(last)),
        ];
        check_exactly_once(&history(&operations, None))
    };
    assert!(judge("2").is_ok() && judge("3").is_ok());
    assert!(judge("1").is_err() && judge("4").is_err() && judge("x").is_err());
}
