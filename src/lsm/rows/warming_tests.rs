//! Rows of tables that are taken in while rows change, leave memory, expire and are removed.

use super::world::{Step, World, slot_of};
use super::*;

fn key(number: usize) -> Vec<u8> {
    format!("crowd{number}").into_bytes()
}

/// Keys that the tables hold, none of which is in memory.
fn cold_world(count: usize) -> World {
    let mut world = World::new();
    (0..count).for_each(|number| world.put(slot_of(4), &key(number), 20, None));
    world.begin();
    world.commit();
    while world.rows.tidy_some(1_000) {}
    evict_all(&mut world);
    assert_eq!((world.rows.count(), world.rows.is_resident()), (0, count == 0));
    world
}

fn evict_all(world: &mut World) {
    (0..3).for_each(|_| world.evict(usize::MAX, usize::MAX));
}

#[test]
fn all_rows_of_tables_make_a_group_resident() {
    let mut world = cold_world(1_000);
    world.begin_warming();
    world.warm(999);
    assert!(!world.rows.is_resident(), "one is still to come");
    world.warm(1);
    assert!(world.rows.is_resident());
    assert_eq!((world.rows.count(), world.warmed_count, world.rows.dirty_count()), (1_000, 1_000, 0));
    world.check();
    world.check_looks();
}

#[test]
fn what_was_written_meanwhile_stays_also_when_it_was_flushed() {
    let mut world = cold_world(100);
    world.begin_warming();
    (0..50).for_each(|number| world.put(slot_of(4), &key(number), 30, None));
    for number in 50..70 {
        world.know(slot_of(4), &key(number));
        world.take(slot_of(4), &key(number));
    }
    world.begin();
    world.commit();
    while world.rows.tidy_some(1_000) {}
    world.warm(200);
    assert!(world.rows.is_resident());
    assert_eq!((world.rows.count(), world.warmed_count), (80, 30));
    world.check();
    world.check_looks();
}

#[test]
fn row_that_was_flushed_and_expired_since_does_not_give_way_to_an_older_one() {
    let mut world = cold_world(10);
    world.begin_warming();
    world.put(slot_of(4), &key(3), 30, Some(5));
    world.begin();
    world.commit();
    world.take_step(&Step::Advance(100));
    world.take_step(&Step::Sweep(255));
    world.warm(20);
    assert!(world.rows.is_resident());
    assert!(world.rows.get(slot_of(4), &key(3)).is_none(), "what came before it is gone, too");
    world.check();
    world.check_looks();
}

#[test]
fn row_that_leaves_memory_ends_the_warming() {
    let mut world = cold_world(100);
    world.begin_warming();
    world.put(slot_of(4), &key(3), 30, None);
    world.begin();
    world.commit();
    evict_all(&mut world);
    world.warm(200);
    assert_eq!((world.rows.is_resident(), world.warmed_count), (false, 0));
    world.check();
    world.check_looks();
}

#[test]
fn rows_that_are_removed_or_replaced_all_at_once_end_the_warming() {
    let old = Content::plain(b"old");
    let mut world = cold_world(10);
    world.begin_warming();
    world.rows.clear();
    assert_eq!(world.rows.warm(slot_of(4), &key(3), &old), Warmed::Over);
    assert!(world.rows.is_resident() && !world.rows.end_warming(), "nothing is there");
    let mut world = cold_world(10);
    world.begin_warming();
    let mut successor = Rows::new(5);
    successor.end_residency();
    successor.succeed(world.rows);
    assert_eq!(successor.warm(slot_of(4), &key(3), &old), Warmed::Over);
    assert!(!successor.end_warming() && !successor.is_resident());
}

#[test]
fn warming_that_was_given_up_makes_nothing_resident() {
    let mut world = cold_world(10);
    world.begin_warming();
    world.rows.give_up_warming();
    world.warm(20);
    assert!(!world.rows.is_resident());
    world.begin_warming();
    world.warm(20);
    assert!(world.rows.is_resident(), "another one may");
    world.check();
}
