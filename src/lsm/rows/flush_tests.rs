//! A flush copies what was dirty at its beginning, and rows and tables together say what was put last.

use proptest::prelude::*;

use super::world::{Step, World, resident_step, slot_of};
use super::*;

proptest! {
    // A failing case is printed; it is not to leave a file in the tree.
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_tables_together_hold_what_was_put_last(
        steps in proptest::collection::vec(resident_step(), 0..250),
    ) {
        let mut world = World::new();
        for (at, step) in steps.iter().enumerate() {
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
            world.begin();
            prop_assert!(world.rows.flushed().is_some());
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
        world.begin();
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

#[test]
fn what_a_row_that_expires_had_replaced_does_not_return() {
    for expire in [Step::Touch(3), Step::Sweep(100)] {
        for begins_a_flush in [false, true] {
            let mut world = World::new();
            world.take_step(&Step::Put(3, 20, None));
            world.begin();
            world.commit();
            world.take_step(&Step::Put(3, 20, Some(5)));
            if begins_a_flush {
                world.begin();
            }
            world.take_step(&Step::Advance(10));
            world.take_step(&expire);
            world.check();
            assert_eq!(world.rows.count(), 0);
            world.commit();
            world.check();
        }
    }
}

#[test]
fn keys_of_one_hash_are_kept_apart_and_flushed_in_their_order() {
    let keys = [b"key1602986".as_slice(), b"key49940969"];
    for (changed, other) in [(keys[0], keys[1]), (keys[1], keys[0])] {
        let mut world = World::new();
        let slot = slot_of(4);
        keys.iter().for_each(|key| world.put(slot, key, 20, None));
        let hashes = [changed, other].map(|key| world.rows.hash(key));
        assert_eq!(hashes[0], hashes[1], "they were searched for");
        world.begin();
        // One is copied aside, the other one is still to come.
        world.put(slot, changed, 30, None);
        world.commit();
        world.check();
        world.take(slot, other);
        world.check();
        world.begin();
        world.commit();
        assert!(world.rows.get(slot, changed).is_some() && world.rows.get(slot, other).is_none());
        world.check();
    }
}
