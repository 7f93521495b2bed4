//! Rows over tables: a flush copies what was dirty at its beginning, and rows and tables together say what was put last.

use std::collections::BTreeMap;

use proptest::prelude::*;
use types::Slot;

use super::*;
use crate::rows::flags::State;
use crate::table;
use crate::table::stored_row::head_parts;
use crate::table::{Put, Value};

/// What a key holds: kind, expiry, value.
type Held = (u8, Option<u64>, Vec<u8>);
type Truth = BTreeMap<(u16, Vec<u8>), Held>;

#[derive(Clone, Debug)]
enum Step {
    Put(u16, usize, Option<u8>),
    Append(u16),
    Expire(u16, Option<u8>),
    Replace(u16),
    Take(u16),
    /// Replicated time goes on, and what is come across is expired.
    Advance(u8),
    Touch(u16),
    Sweep(u8),
    Clear,
    /// Many rows in one slot, so that its segments are split.
    Crowd(u8, u16),
    /// And joined again.
    Disperse(u8, u16),
    Begin,
    GoOn(u16),
    /// All that the flush has left is copied and committed.
    Commit,
    GiveUp,
    Tidy(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let expiry = || proptest::option::weighted(0.3, any::<u8>());
    let len = prop_oneof![9 => 0usize..300, 1 => 0usize..6_000];
    prop_oneof![
        8 => (0u16..60, len, expiry()).prop_map(|(number, len, expiry)| Step::Put(number, len, expiry)),
        3 => (0u16..60).prop_map(Step::Append),
        2 => (0u16..60, expiry()).prop_map(|(number, expiry)| Step::Expire(number, expiry)),
        2 => (0u16..60).prop_map(Step::Replace),
        5 => (0u16..60).prop_map(Step::Take),
        2 => (0u8..10).prop_map(Step::Advance),
        4 => (0u16..60).prop_map(Step::Touch),
        1 => any::<u8>().prop_map(Step::Sweep),
        1 => Just(Step::Clear),
        1 => (any::<u8>(), 0u16..400).prop_map(|(slot, count)| Step::Crowd(slot, count)),
        2 => (any::<u8>(), 0u16..400).prop_map(|(slot, count)| Step::Disperse(slot, count)),
        5 => Just(Step::Begin),
        12 => (0u16..4_000).prop_map(Step::GoOn),
        3 => Just(Step::Commit),
        2 => Just(Step::GiveUp),
        4 => any::<u8>().prop_map(Step::Tidy),
    ]
}

fn slot_of(number: u16) -> Slot {
    let slots = [0, 1, 127, 128, 9_999, 16_383];
    Slot::new(slots[usize::from(number) % slots.len()]).expect("a slot")
}

/// Rows, what they are to hold, and what the tables hold.
struct World {
    rows: Rows,
    truth: Truth,
    tables: Truth,
    /// The truth at the beginning of the flush.
    at_beginning: Truth,
    time_ms: u64,
    /// Whether keys may have expired that still have rows.
    puts_count: u64,
}

impl World {
    fn new() -> World {
        World {
            rows: Rows::new(5),
            truth: Truth::new(),
            tables: Truth::new(),
            at_beginning: Truth::new(),
            time_ms: 100,
            puts_count: 0,
        }
    }

    fn place(number: u16) -> (Slot, Vec<u8>) {
        (slot_of(number), format!("key{number}").into_bytes())
    }

    fn put(&mut self, slot: Slot, key: &[u8], len: usize, expiry: Option<u8>) {
        self.puts_count += 1;
        let mut value = vec![b'v'; len];
        value.extend_from_slice(&self.puts_count.to_le_bytes());
        let expiry_ms = expiry.map(|ms| self.time_ms + 1 + u64::from(ms));
        let kind = self.puts_count as u8 % 3;
        self.expire(slot, key);
        self.rows.put(slot, key, &Content { kind, expiry_ms, value: [&value, b""] });
        self.truth.insert((slot.number(), key.to_vec()), (kind, expiry_ms, value));
    }

    /// As whoever looks at a key does.
    fn expire(&mut self, slot: Slot, key: &[u8]) {
        let expiry_ms = self.rows.get(slot, key).and_then(|row| row.expiry_ms());
        if expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.time_ms) {
            self.rows.expire(slot, key);
        }
    }

    fn take(&mut self, slot: Slot, key: &[u8]) {
        self.expire(slot, key);
        let taken = self.rows.take(slot, key).map(|row| row.value().to_vec());
        let expected = self.truth.remove(&(slot.number(), key.to_vec()));
        assert_eq!(taken, expected.filter(|held| is_there(held, self.time_ms)).map(|(_, _, value)| value));
    }

    fn change(&mut self, number: u16, change: impl FnOnce(RowMut<'_>, &mut Held)) {
        let (slot, key) = World::place(number);
        self.expire(slot, &key);
        let held = self.truth.get_mut(&(slot.number(), key.clone())).filter(|held| is_there(held, self.time_ms));
        let row = self.rows.get_mut(slot, &key);
        assert_eq!(row.is_some(), held.is_some());
        if let (Some(row), Some(held)) = (row, held) {
            change(row, held);
        }
    }

    fn take_step(&mut self, step: &Step) {
        match *step {
            Step::Put(number, len, expiry) => {
                let (slot, key) = World::place(number);
                self.put(slot, &key, len, expiry);
            }
            Step::Append(number) => self.change(number, |mut row, held| {
                row.write_at(held.2.len(), b"tail");
                held.2.extend_from_slice(b"tail");
            }),
            Step::Expire(number, expiry) => {
                let expiry_ms = expiry.map(|ms| self.time_ms + 1 + u64::from(ms));
                self.change(number, |mut row, held| {
                    row.set_expiry(expiry_ms);
                    held.1 = expiry_ms;
                });
            }
            Step::Replace(number) => self.change(number, |row, held| {
                let new = (1, held.1.map(|expiry_ms| expiry_ms + 7), b"replaced".to_vec());
                let old = row.replace(&Content { kind: new.0, expiry_ms: new.1, value: [b"repl", b"aced"] });
                assert_eq!(old.value(), held.2);
                *held = new;
            }),
            Step::Take(number) => {
                let (slot, key) = World::place(number);
                self.take(slot, &key);
            }
            Step::Advance(ms) => self.time_ms += u64::from(ms),
            Step::Touch(number) => {
                let (slot, key) = World::place(number);
                self.expire(slot, &key);
            }
            Step::Sweep(count) => {
                self.rows.sweep(usize::from(count), self.time_ms, self.time_ms);
            }
            Step::Clear => {
                self.rows.clear();
                (self.truth, self.tables) = (Truth::new(), Truth::new());
                assert!(self.rows.is_resident());
            }
            Step::Crowd(number, count) => {
                let slot = slot_of(u16::from(number));
                (0..count).for_each(|idx| self.put(slot, format!("crowd{idx}").as_bytes(), 3, None));
            }
            Step::Disperse(number, count) => {
                let slot = slot_of(u16::from(number));
                (0..count).for_each(|idx| self.take(slot, format!("crowd{idx}").as_bytes()));
            }
            Step::Begin => self.begin(),
            Step::GoOn(budget_bytes) => {
                self.rows.go_on_flushing(usize::from(budget_bytes));
            }
            Step::Commit => self.commit(),
            Step::GiveUp => self.rows.give_up_flush(),
            Step::Tidy(count) => {
                self.rows.tidy_some(usize::from(count));
            }
        }
    }

    fn begin(&mut self) {
        let is_under_way = self.rows.flushed().is_some();
        let begins = self.rows.begin_flush();
        assert!(!(begins && is_under_way), "there is one flush at a time");
        if begins {
            self.at_beginning = self.truth.clone();
        }
    }

    /// Ends the flush, if there is one, and applies what it has copied.
    fn commit(&mut self) {
        if self.rows.flushed().is_none() {
            return;
        }
        while !self.rows.go_on_flushing(700) {}
        let mut bytes = 0;
        let held_bytes = self.rows.copied_bytes();
        let payloads = self.rows.flushed().expect("a flush under way");
        let mut last = Vec::new();
        while let Some(payload) = payloads.take_closed() {
            bytes += payload.len();
            for row in Records::new(&payload) {
                assert!(*row.key > *last || last.is_empty(), "row keys ascend");
                last = row.key.to_vec();
                apply(&mut self.tables, row);
            }
        }
        assert_eq!((bytes, self.rows.copied_bytes()), (held_bytes, 0));
        self.rows.end_flush();
        let living = |truth: &Truth| -> Truth {
            let living = truth.iter().filter(|(_, held)| is_there(held, self.time_ms));
            living.map(|(place, held)| (place.clone(), held.clone())).collect()
        };
        assert!(living(&self.tables) == living(&self.at_beginning), "tables hold the state at the beginning");
    }

    /// Rows over tables hold the truth, and all figures are right.
    fn check(&self) {
        let (mut seen, mut count, mut expiring_count) = (self.tables.clone(), 0, 0);
        let (mut dirty, mut per_slot) = ((0, 0), BTreeMap::<u16, (u32, u32)>::new());
        let mut all = Vec::new();
        for slot in (0..6).map(slot_of) {
            let mut next = Some(Hash48::MIN);
            while let Some((segment, behind)) = next.and_then(|hash| self.rows.tables.segment_at(slot, hash)) {
                // SAFETY: the segment has these rows.
                let rows: Vec<_> = segment.handles().map(|handle| unsafe { handle.row() }).collect();
                let dirty_count = rows.iter().filter(|row| row.flags().state().is_dirty()).count();
                assert_eq!(segment.dirty_handles().count(), dirty_count, "a line with a dirty row has its bit");
                all.extend(rows.into_iter().map(|row| (slot.number(), row)));
                next = behind;
            }
        }
        for (slot, row) in all {
            let (place, state) = ((slot, row.key().to_vec()), row.flags().state());
            if row.is_absent() {
                seen.remove(&place);
            } else {
                (count, expiring_count) = (count + 1, expiring_count + usize::from(row.expires()));
                seen.insert(place, (row.kind(), row.expiry_ms(), row.value().to_vec()));
            }
            let of_slot = per_slot.entry(slot).or_default();
            *of_slot = (of_slot.0 + u32::from(state.is_dirty()), of_slot.1 + u32::from(row.is_absent()));
            let is_odd = self.rows.is_odd;
            if state.is_dirty() || self.rows.tidying.sets_back() && state == State::flushing(is_odd) {
                dirty = (dirty.0 + 1, dirty.1 + row.block_bytes());
            }
            assert!(self.rows.flush.is_some() || self.rows.tidying.sets_back() || state != State::dirty(!is_odd));
        }
        assert_eq!((self.rows.count(), self.rows.expiring_count()), (count, expiring_count));
        assert_eq!((self.rows.dirty_count(), self.rows.dirty_bytes()), dirty);
        for (slot, figures) in per_slot {
            let slot = self.rows.tables.slot(Slot::new(slot).expect("a slot")).expect("it has rows");
            assert_eq!((slot.dirty_count(), slot.absent_count()), figures);
        }
        let living =
            |truth: Truth| -> Truth { truth.into_iter().filter(|(_, held)| is_there(held, self.time_ms)).collect() };
        assert!(living(seen) == living(self.truth.clone()), "rows over tables are the truth");
        let listed = self.rows.iter().count();
        assert_eq!(listed, count);
    }
}

fn is_there(held: &Held, time_ms: u64) -> bool {
    held.1.is_none_or(|expiry_ms| expiry_ms > time_ms)
}

/// What a record says goes into tables.
fn apply(tables: &mut Truth, row: table::StoredRow<'_>) {
    let (slot, hash, key) = head_parts(row.key).expect("the row key of a head");
    assert_eq!(Rows::new(5).hash(key).number(), hash);
    let place = (slot.number(), key.to_vec());
    match row.content {
        table::Content::Tombstone => tables.remove(&place),
        table::Content::Put(Put { value_type, expiry_ms, value: Value::Inline(value) }) => {
            tables.insert(place, (value_type, expiry_ms, value.to_vec()))
        }
        table::Content::Put(_) => unreachable!("values of rows are inline"),
    };
}

proptest! {
    // A failing case is printed; it is not to leave a file in the tree.
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_tables_together_hold_what_was_put_last(
        steps in proptest::collection::vec(step(), 0..250),
        walks in any::<bool>(),
    ) {
        let mut world = World::new();
        for (at, step) in steps.iter().enumerate() {
            // A walk may be under way beside the flush.
            if walks && at == steps.len() / 3 {
                world.rows.begin_walk();
            }
            world.take_step(step);
            if at % 8 == 0 || matches!(step, Step::Commit | Step::GiveUp | Step::Begin) {
                world.check();
            }
        }
        world.check();
        // What is left is flushed, and a second time there is nothing left to flush.
        world.commit();
        while world.rows.tidy_some(50) {}
        for _ in 0..2 {
            prop_assert!(world.rows.begin_flush());
            world.at_beginning = world.truth.clone();
            world.commit();
            world.check();
            prop_assert_eq!((world.rows.dirty_count(), world.rows.dirty_bytes()), (0, 0));
        }
        while world.rows.tidy_some(50) {}
        prop_assert_eq!(world.rows.tables.absent_count(), 0, "tombstones are needed no more");
    }
}

#[test]
fn flush_of_a_big_slot_copies_its_beginning_while_segments_split_and_join() {
    let slot = slot_of(4);
    let key = |number: u32| format!("number{number}").into_bytes();
    let mut world = World::new();
    (0..8_000).for_each(|number| world.put(slot, &key(number), 20, None));
    for round in 0..4 {
        assert!(world.rows.begin_flush());
        world.at_beginning = world.truth.clone();
        let mut number = 0;
        while !world.rows.go_on_flushing(4_096) {
            // From the front and from the back, so that rows change on both sides of where the flush is.
            for at in [number, 7_999 - number, 8_000 + number] {
                match (at + round) % 3 {
                    0 => world.take(slot, &key(at)),
                    _ => world.put(slot, &key(at), 30, None),
                }
            }
            number = (number + 7) % 4_000;
        }
        world.check();
        if round == 2 {
            world.rows.give_up_flush();
            world.check();
            while world.rows.tidy_some(100) {}
        } else {
            world.commit();
        }
        world.check();
    }
}

#[test]
fn flush_looks_at_no_slot_and_no_line_without_dirty_rows() {
    let mut world = World::new();
    (0..3_000).for_each(|number| world.put(slot_of(number), format!("{number}").as_bytes(), 10, None));
    world.begin();
    world.commit();
    world.put(slot_of(3), b"17", 10, None);
    world.begin();
    // A row of 50 bytes, one line of seven rows at most, and some segments of the slot.
    let mut calls_count = 0;
    while !world.rows.go_on_flushing(1) {
        calls_count += 1;
    }
    assert!(calls_count < 3_000 / 6 / 20, "{calls_count} segments");
    world.commit();
}

#[test]
fn key_that_tables_know_nothing_of_leaves_no_tombstone() {
    let mut world = World::new();
    world.put(slot_of(0), b"new", 10, None);
    world.take(slot_of(0), b"new");
    world.rows.free_taken();
    assert_eq!((world.rows.dirty_count(), world.rows.tables.slab.used_bytes()), (0, 0));
    world.put(slot_of(0), b"flushed", 10, None);
    world.begin();
    world.commit();
    assert_eq!(world.rows.dirty_count(), 0);
    world.take(slot_of(0), b"flushed");
    assert_eq!((world.rows.count(), world.rows.dirty_count()), (0, 1));
    world.put(slot_of(0), b"flushed", 10, None);
    world.take(slot_of(0), b"flushed");
    assert_eq!((world.rows.count(), world.rows.dirty_count()), (0, 1), "the tables still know it");
    world.begin();
    world.commit();
    assert!(world.tables.is_empty());
    assert!(!world.rows.tidy_some(1_000));
    assert_eq!(world.rows.tables.slab.used_bytes(), 0);
}

#[test]
fn longest_values_have_payloads_of_their_own() {
    let value = vec![b'v'; types::limits::VALUE_BYTES_MAX];
    let mut rows = Rows::new(5);
    rows.put(slot_of(0), b"short", &Content::plain(b"1"));
    rows.put(slot_of(1), b"long", &Content::plain(&value));
    rows.put(slot_of(2), b"short", &Content::plain(b"2"));
    assert!(rows.begin_flush());
    while !rows.go_on_flushing(1_000) {}
    let payloads = rows.flushed().expect("a flush under way");
    assert_eq!(payloads.closed_count(), 3);
    let lens: Vec<usize> = std::iter::from_fn(|| payloads.take_closed()).map(|payload| payload.len()).collect();
    assert!(lens[0] < 100 && lens[1] > value.len() && lens[1] < value.len() + 100 && lens[2] < 100);
}

#[test]
fn rows_that_were_loaded_are_clean_and_hide_nothing() {
    let mut rows = Rows::new(5);
    assert!(rows.load(slot_of(0), b"key", &Content::plain(b"stored")));
    assert!(!rows.load(slot_of(0), b"key", &Content::plain(b"older")));
    assert_eq!((rows.dirty_count(), rows.get(slot_of(0), b"key").map(|row| row.value())), (0, Some(&b"stored"[..])));
    rows.take(slot_of(0), b"key");
    assert!(!rows.load(slot_of(0), b"key", &Content::plain(b"stored")), "its tombstone is newer");
    assert_eq!((rows.count(), rows.dirty_count()), (0, 1));
}
