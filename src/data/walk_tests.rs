//! A walk copies exactly the state at its beginning, whatever commands change meanwhile.

use std::collections::BTreeMap;

use proptest::prelude::*;
use resp::{ArgRange, Args, CommandId};
use types::Slot;

use crate::{Keyspace, PAYLOAD_HEADROOM_BYTES, RECORD_HEADER_BYTES};

/// Keys with their slots and values.
type State = BTreeMap<(u16, Vec<u8>), Vec<u8>>;

/// What happens while a walk is under way.
#[derive(Clone, Debug)]
enum Step {
    Apply(CommandId, u8, Vec<u8>),
    /// Many keys in one slot, so that its table grows.
    Crowd(u8),
    Walk(u16),
}

/// Keys in a few slots, two of which share a page of tables.
fn slot_of(number: u8) -> Slot {
    let slots = [0, 1, 127, 128, 9_999, 16_383];
    Slot::new(slots[usize::from(number) % slots.len()]).expect("a slot")
}

fn apply(keyspace: &mut Keyspace, id: CommandId, number: u8, words: &[&[u8]]) {
    let (mut buf, mut ranges) = (Vec::new(), vec![ArgRange { start: 0, end: 0 }]);
    for word in words {
        let start = buf.len() as u32;
        buf.extend_from_slice(word);
        ranges.push(ArgRange { start, end: buf.len() as u32 });
    }
    drop(keyspace.apply(id, slot_of(number), Args::new(&buf, &ranges), 0));
}

fn take_step(keyspace: &mut Keyspace, step: &Step) {
    match step {
        Step::Apply(id, number, value) => {
            let key = format!("key{number}");
            let words: &[&[u8]] = match id {
                CommandId::FlushAll => &[],
                CommandId::Del | CommandId::Incr => &[key.as_bytes()],
                _ => &[key.as_bytes(), value],
            };
            apply(keyspace, *id, *number, words);
        }
        Step::Crowd(number) => {
            for idx in 0..200 {
                apply(keyspace, CommandId::Set, *number, &[format!("crowd{idx}").as_bytes(), b"1"]);
            }
        }
        Step::Walk(budget_bytes) => {
            keyspace.go_on_walking(usize::from(*budget_bytes));
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let ids = [CommandId::Set, CommandId::Append, CommandId::Incr, CommandId::Del, CommandId::GetSet];
    let value = (any::<u8>(), 0usize..2_000).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        12 => (proptest::sample::select(ids.to_vec()), 0u8..30, value)
            .prop_map(|(id, number, value)| Step::Apply(id, number, value)),
        1 => Just(Step::Apply(CommandId::FlushAll, 0, Vec::new())),
        1 => any::<u8>().prop_map(Step::Crowd),
        6 => (0u16..4_000).prop_map(Step::Walk),
    ]
}

fn state(keyspace: &Keyspace) -> State {
    let slots = (0..16_384).map(|number| Slot::new(number).expect("a slot"));
    slots
        .flat_map(|slot| {
            keyspace.entries_in_slot(slot).map(move |(key, value)| ((slot.number(), key.to_vec()), value.to_vec()))
        })
        .collect()
}

/// Ends a walk and reads what it has copied.
fn copied(keyspace: &mut Keyspace) -> Result<State, TestCaseError> {
    while !keyspace.go_on_walking(1 << 10) {}
    let (mut state, mut bytes) = (State::new(), 0);
    let held_bytes = keyspace.walked_bytes();
    let former = keyspace.walked().expect("a walk that was not given up");
    let keys_count = former.keys_count();
    while let Some(payload) = former.take_closed() {
        let mut rest = &payload[PAYLOAD_HEADROOM_BYTES..];
        bytes += rest.len();
        while let Some((head, behind)) = rest.split_at_checked(RECORD_HEADER_BYTES) {
            let number = |range: std::ops::Range<usize>| {
                head[range].iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
            };
            let (key_len, value_len) = (number(4..8), number(8..12));
            let (key, behind) = behind.split_at(key_len);
            let (value, behind) = behind.split_at(value_len);
            prop_assert_eq!(number(2..4), 0, "the type of a string");
            let earlier = state.insert((number(0..2) as u16, key.to_vec()), value.to_vec());
            prop_assert!(earlier.is_none(), "no key is copied twice");
            rest = behind;
        }
        prop_assert!(rest.is_empty());
    }
    prop_assert_eq!((keys_count as usize, held_bytes), (state.len(), bytes));
    keyspace.end_walk();
    prop_assert_eq!(keyspace.walked_bytes(), 0);
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
        let mut keyspace = Keyspace::with_hash_seed(5);
        before.iter().for_each(|step| take_step(&mut keyspace, step));
        // The second walk shows that the first one has left nothing behind.
        for steps in [&during, &after] {
            prop_assert!(keyspace.begin_walk());
            prop_assert!(!keyspace.begin_walk(), "there is one walk at a time");
            let expected = state(&keyspace);
            steps.iter().for_each(|step| take_step(&mut keyspace, step));
            prop_assert!(copied(&mut keyspace)? == expected);
        }
    }

    #[test]
    fn a_walk_that_was_given_up_copies_no_more_and_ends(
        before in proptest::collection::vec(step(), 0..60),
        during in proptest::collection::vec(step(), 0..30),
    ) {
        let mut keyspace = Keyspace::with_hash_seed(5);
        before.iter().for_each(|step| take_step(&mut keyspace, step));
        prop_assert!(keyspace.begin_walk());
        keyspace.give_up_walk();
        during.iter().for_each(|step| take_step(&mut keyspace, step));
        while !keyspace.go_on_walking(1 << 10) {}
        prop_assert!(keyspace.walked().is_none() && keyspace.walked_bytes() == 0);
        keyspace.end_walk();
        prop_assert!(keyspace.begin_walk());
        let expected = state(&keyspace);
        prop_assert!(copied(&mut keyspace)? == expected);
    }
}
