//! A walk copies exactly the state at its beginning, whatever happens to the rows meanwhile.

use std::collections::BTreeMap;

use proptest::prelude::*;
use types::Slot;

use super::*;

/// Rows by slot and key, with their kind, expiry and value.
type State = BTreeMap<(u16, Vec<u8>), (u8, Option<u64>, Vec<u8>)>;

/// What happens while a walk is under way.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, Vec<u8>, Option<u64>),
    Append(u8),
    Expire(u8, Option<u64>),
    Replace(u8),
    Take(u8),
    Clear,
    /// Many rows in one slot, so that its segments are split.
    Crowd(u8),
    /// And joined again.
    Disperse(u8),
    Walk(u16),
}

/// A few slots, two of which share a page of tables.
fn slot_of(number: u8) -> Slot {
    let slots = [0, 1, 127, 128, 9_999, 16_383];
    Slot::new(slots[usize::from(number) % slots.len()]).expect("a slot")
}

fn take_step(rows: &mut Rows, step: &Step) {
    let place = |number: u8| (slot_of(number), format!("key{number}").into_bytes());
    match step {
        Step::Put(number, value, expiry_ms) => {
            let (slot, key) = place(*number);
            rows.put(slot, &key, &Content { kind: number % 3, expiry_ms: *expiry_ms, value: [value, b""] });
        }
        Step::Append(number) => {
            let (slot, key) = place(*number);
            if let Some(mut row) = rows.get_mut(slot, &key) {
                let end = row.row().value().len();
                row.write_at(end, b"tail");
            }
        }
        Step::Expire(number, expiry_ms) => {
            let (slot, key) = place(*number);
            rows.get_mut(slot, &key).into_iter().for_each(|mut row| row.set_expiry(*expiry_ms));
        }
        Step::Replace(number) => {
            let (slot, key) = place(*number);
            rows.get_mut(slot, &key).map(|row| row.replace(&Content::plain(b"new")));
        }
        Step::Take(number) => {
            let (slot, key) = place(*number);
            rows.take(slot, &key);
        }
        Step::Clear => rows.clear(),
        Step::Crowd(number) => {
            (0..200)
                .for_each(|idx| rows.put(slot_of(*number), format!("crowd{idx}").as_bytes(), &Content::plain(b"1")));
        }
        Step::Disperse(number) => (0..190).for_each(|idx| {
            rows.take(slot_of(*number), format!("crowd{idx}").as_bytes());
        }),
        Step::Walk(budget_bytes) => {
            rows.go_on_walking(usize::from(*budget_bytes));
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let value = (any::<u8>(), 0usize..2_000).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        6 => (0u8..30, value, any::<Option<u64>>()).prop_map(|(number, value, expiry)| Step::Put(number, value, expiry)),
        2 => (0u8..30).prop_map(Step::Append),
        2 => (0u8..30, any::<Option<u64>>()).prop_map(|(number, expiry)| Step::Expire(number, expiry)),
        2 => (0u8..30).prop_map(Step::Replace),
        2 => (0u8..30).prop_map(Step::Take),
        1 => Just(Step::Clear),
        1 => any::<u8>().prop_map(Step::Crowd),
        1 => any::<u8>().prop_map(Step::Disperse),
        6 => (0u16..4_000).prop_map(Step::Walk),
    ]
}

fn state(rows: &Rows) -> State {
    rows.iter()
        .map(|(slot, row)| ((slot.number(), row.key().to_vec()), (row.kind(), row.expiry_ms(), row.value().to_vec())))
        .collect()
}

/// Ends a walk and reads what it has copied.
fn copied(rows: &mut Rows) -> Result<State, TestCaseError> {
    while !rows.go_on_walking(1 << 10) {}
    let (mut state, mut bytes) = (State::new(), 0);
    let held_bytes = rows.walked_bytes();
    let former = rows.walked().expect("a walk that was not given up");
    let keys_count = former.keys_count();
    while let Some(payload) = former.take_closed() {
        let mut rest = &payload[PAYLOAD_HEADROOM_BYTES..];
        bytes += rest.len();
        while let Some((head, mut behind)) = rest.split_at_checked(RECORD_HEADER_BYTES) {
            let number = |range: std::ops::Range<usize>| {
                head[range].iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
            };
            let mut take = |len: usize| {
                let (taken, rest) = behind.split_at(len);
                behind = rest;
                taken
            };
            let expiry = take(RECORD_EXPIRY_BYTES * usize::from(head[3]));
            let expiry_ms = expiry.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            let (key, value) = (take(number(4..8)).to_vec(), take(number(8..12)).to_vec());
            let earlier = state.insert((number(0..2) as u16, key), (head[2], expiry_ms, value));
            prop_assert!(earlier.is_none(), "no key is copied twice");
            rest = behind;
        }
        prop_assert!(rest.is_empty());
    }
    prop_assert_eq!((keys_count as usize, held_bytes), (state.len(), bytes));
    rows.end_walk();
    prop_assert_eq!(rows.walked_bytes(), 0);
    Ok(state)
}

proptest! {
    // A failing case is printed; it is not to leave a file in the tree.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_copies_the_state_at_its_beginning(
        before in proptest::collection::vec(step(), 0..60),
        during in proptest::collection::vec(step(), 0..60),
        after in proptest::collection::vec(step(), 0..20),
    ) {
        let mut rows = Rows::new(5);
        before.iter().for_each(|step| take_step(&mut rows, step));
        // The second walk shows that the first one has left nothing behind.
        for steps in [&during, &after] {
            prop_assert!(rows.begin_walk());
            prop_assert!(!rows.begin_walk(), "there is one walk at a time");
            let expected = state(&rows);
            steps.iter().for_each(|step| take_step(&mut rows, step));
            prop_assert!(copied(&mut rows)? == expected);
        }
    }

    #[test]
    fn a_walk_that_was_given_up_copies_no_more_and_ends(
        before in proptest::collection::vec(step(), 0..60),
        during in proptest::collection::vec(step(), 0..30),
    ) {
        let mut rows = Rows::new(5);
        before.iter().for_each(|step| take_step(&mut rows, step));
        prop_assert!(rows.begin_walk());
        rows.give_up_walk();
        during.iter().for_each(|step| take_step(&mut rows, step));
        while !rows.go_on_walking(1 << 10) {}
        prop_assert!(rows.walked().is_none() && rows.walked_bytes() == 0);
        rows.end_walk();
        prop_assert!(rows.begin_walk());
        let expected = state(&rows);
        prop_assert!(copied(&mut rows)? == expected);
    }
}
