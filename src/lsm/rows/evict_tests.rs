//! No order of eviction, answers of tables, writes and flushes changes what a key has.

use proptest::prelude::*;

use super::world::{Step, World, slot_of, step};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn eviction_and_late_answers_of_tables_change_no_read(
        steps in proptest::collection::vec(step(), 0..350),
    ) {
        let mut world = World::new();
        for (at, step) in steps.iter().enumerate() {
            world.take_step(step);
            if at % 8 == 0 || matches!(step, Step::Evict(..) | Step::Commit | Step::GiveUp) {
                world.check();
            }
        }
        world.check_looks();
        world.commit();
        while world.rows.tidy_some(50) {}
        world.begin();
        world.commit();
        // Nothing differs from the tables now, and nothing but what is pinned needs to stay.
        world.take_step(&Step::Unpin);
        go_round(&mut world);
        world.check();
        prop_assert_eq!(rows_count(&world), 0);
        prop_assert_eq!(world.rows.tables.slab.used_bytes(), 0);
        world.check_looks();
    }
}

/// A world whose rows are all in its tables, and clean.
fn flushed_world(keys_count: u32) -> World {
    let mut world = World::new();
    (0..keys_count).for_each(|number| world.put(slot_of(4), &key(number), 20, None));
    world.begin();
    world.commit();
    world
}

fn key(number: u32) -> Vec<u8> {
    format!("number{number}").into_bytes()
}

fn rows_count(world: &World) -> usize {
    world.rows.tables.count() + world.rows.tables.absent_count()
}

/// Evicts all that may be: in the first round what was looked for is spared.
fn go_round(world: &mut World) {
    world.evict(usize::MAX, 3 * (rows_count(world) + 1_000));
}

#[test]
fn big_slot_is_evicted_and_read_back() {
    let mut world = flushed_world(5_000);
    world.put(slot_of(4), &key(7), 20, None);
    go_round(&mut world);
    assert_eq!((world.rows.count(), world.rows.is_resident()), (1, false), "what is dirty stays");
    for number in 0..5_000 {
        world.know(slot_of(4), &key(number));
    }
    assert_eq!((world.rows.count(), world.filled_count), (5_000, 4_999));
    world.check();
    world.check_looks();
}

#[test]
fn answer_that_is_older_than_a_committed_flush_is_refused() {
    let mut world = flushed_world(10);
    go_round(&mut world);
    world.ask(slot_of(4), &key(3));
    world.put(slot_of(4), &key(3), 50, None);
    world.begin();
    world.commit();
    go_round(&mut world);
    assert!(!world.rows.is_known(slot_of(4), &key(3)));
    world.take_step(&Step::Answer(0));
    assert_eq!(world.filled_count, 0);
    world.check();
}

#[test]
fn what_a_flush_has_copied_stays_until_that_is_committed() {
    let mut world = flushed_world(100);
    (0..50).for_each(|number| world.put(slot_of(4), &key(number), 30, None));
    world.begin();
    while !world.rows.go_on_flushing(1_000) {}
    go_round(&mut world);
    assert_eq!(world.rows.count(), 50, "the others were clean");
    world.rows.give_up_flush();
    go_round(&mut world);
    assert_eq!(world.rows.count(), 50);
    while world.rows.tidy_some(10) {}
    world.begin();
    world.commit();
    go_round(&mut world);
    assert_eq!(world.rows.count(), 0);
    world.check();
}

#[test]
fn what_was_looked_for_lately_is_spared_once() {
    let mut world = flushed_world(200);
    world.evict(usize::MAX, 200);
    assert_eq!(world.evicted_bytes, 0, "all were just put");
    for number in 0..20 {
        assert!(world.rows.get(slot_of(4), &key(number)).is_some());
    }
    // Less than once around, from where the hand stands.
    world.evict(usize::MAX, 140);
    assert!(world.rows.count() < 150);
    for number in 0..20 {
        assert!(world.rows.is_known(slot_of(4), &key(number)), "{number} was looked for");
    }
}

#[test]
fn key_that_tables_do_not_have_is_known_not_to_be_there() {
    let mut world = flushed_world(10);
    go_round(&mut world);
    let absent = b"absent";
    assert!(!world.rows.is_known(slot_of(4), absent));
    world.know(slot_of(4), absent);
    assert!(matches!(world.rows.look(slot_of(4), absent), Known::NoKey));
    assert_eq!((world.rows.count(), world.rows.dirty_count()), (0, 0));
    world.put(slot_of(4), absent, 10, None);
    world.take(slot_of(4), absent);
    assert_eq!((world.rows.count(), world.rows.dirty_count()), (0, 0), "tables need not hear of it");
    // Written blindly, it may be in tables.
    world.put(slot_of(4), &key(3), 10, None);
    world.take(slot_of(4), &key(3));
    assert_eq!((world.rows.count(), world.rows.dirty_count()), (0, 1));
    world.check();
}

#[test]
fn answer_of_before_all_rows_were_removed_or_replaced_is_refused() {
    let old = Content::plain(b"old");
    let fills = |rows: &mut Rows, epoch| {
        // Tables may hold keys without rows again, as after a load or an eviction.
        rows.end_residency();
        rows.fill(slot_of(4), &key(3), Some(&old), epoch)
    };
    let mut world = flushed_world(10);
    go_round(&mut world);
    let mut rows = world.rows;
    let asked = rows.epoch();
    rows.clear();
    assert!(!fills(&mut rows, asked), "cleared");
    let asked = rows.epoch();
    let mut successor = Rows::new(8);
    successor.succeed(rows);
    assert!(!fills(&mut successor, asked), "replaced");
    let now = successor.epoch();
    assert!(fills(&mut successor, now), "what is asked now counts");
}

#[test]
fn pinned_tombstone_stays_behind_a_flush() {
    let mut world = flushed_world(10);
    go_round(&mut world);
    world.take(slot_of(4), &key(3));
    world.rows.pin(slot_of(4), &key(3));
    world.begin();
    world.commit();
    while world.rows.tidy_some(50) {}
    go_round(&mut world);
    assert!(matches!(world.rows.look(slot_of(4), &key(3)), Known::NoKey));
    world.rows.unpin_all();
    go_round(&mut world);
    assert!(!world.rows.is_known(slot_of(4), &key(3)), "the tables know");
    world.check();
}
