//! Keys that expire: by replicated time on all replicas, and without a write of anybody's.

use data::Keyspace;

use super::*;

/// A world in which a key was written that expires 500 ms later.
fn with_expiring_key() -> (World, usize) {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), "SET k v PX 500");
    world.settle();
    world.run(Duration::from_millis(50));
    (world, leader)
}

fn keys_counts(world: &World) -> Vec<usize> {
    world.sides.iter().map(|side| side.groups.list[GROUP].keyspace.keys_count()).collect()
}

#[test]
fn a_read_of_a_key_that_is_due_waits_until_time_has_gone_on() {
    let (mut world, leader) = with_expiring_key();
    world.execute(leader, client(2), "GET k");
    assert_eq!(world.replies(leader).last(), Some(&(2, "$1\r\nv\r\n")), "by lease, at once");
    world.sides[leader].ctx.unix_ms += 500;
    world.execute(leader, client(3), "GET k");
    let by_lease = world.sides[leader].ctx.counters.reads_by_lease;
    world.execute(leader, forwarded(4), "GET other");
    assert_eq!(
        world.sides[leader].ctx.counters.reads_by_lease,
        by_lease + 1,
        "who looks for other keys does not wait"
    );
    let waiting = world.sides[leader].groups.list[GROUP].waiting_bytes();
    assert!(waiting > 0 && waiting == world.sides[leader].groups.requests_held_bytes());
    world.settle();
    assert_eq!(world.replies(leader).last(), Some(&(3, "$-1\r\n")));
    let counters = &world.sides[leader].ctx.counters;
    assert_eq!((counters.reads_for_expiry, counters.reads_in_batch, counters.batches_for_expiry), (1, 1, 0));
    world.execute(leader, client(5), "GET k");
    assert_eq!(world.replies(leader).last(), Some(&(5, "$-1\r\n")), "at once again");
}

#[test]
fn reads_of_one_connection_keep_their_order_behind_one_that_waits_for_time() {
    let (mut world, leader) = with_expiring_key();
    world.sides[leader].ctx.unix_ms += 500;
    for (seq, line) in [(2, "GET k"), (3, "GET other"), (4, "SET k w"), (5, "GET k")] {
        world.execute(leader, client(seq), line);
    }
    world.settle();
    let replies = world.replies(leader);
    assert_eq!(replies[1..], [(2, "$-1\r\n"), (3, "$-1\r\n"), (4, "+OK\r\n"), (5, "$1\r\nw\r\n")]);
}

#[test]
fn a_row_that_is_due_goes_on_all_replicas_though_nobody_asks() {
    let (mut world, leader) = with_expiring_key();
    assert_eq!(keys_counts(&world), [1, 1, 1]);
    world.run(Duration::from_millis(400));
    assert_eq!(keys_counts(&world), [1, 1, 1]);
    world.run(Duration::from_millis(300));
    assert_eq!(keys_counts(&world), [0, 0, 0]);
    let counters: Vec<_> = world
        .sides
        .iter()
        .map(|side| (side.ctx.counters.batches_for_expiry, side.ctx.counters.expired_keys))
        .collect();
    let expected: Vec<_> = (0..3).map(|side| if side == leader { (1, 1) } else { (0, 0) }).collect();
    assert_eq!(counters, expected);
    assert!(world.sides.iter().all(|side| side.groups.expiring.is_empty()));
}

#[test]
fn many_rows_that_are_due_cost_a_few_entries_a_second() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for number in 0..3_000 {
        world.execute(leader, client(number), &format!("SET k{number} v PX {}", number % 1_000 + 1));
    }
    world.settle();
    world.run(Duration::from_secs(2));
    assert_eq!(keys_counts(&world), [0, 0, 0]);
    let counters = &world.sides[leader].ctx.counters;
    assert!((5..=20).contains(&counters.batches_for_expiry), "{}", counters.batches_for_expiry);
    assert_eq!(counters.expired_keys, 3_000);
}

#[test]
fn nothing_is_proposed_for_expiry_while_the_disk_is_full_and_reads_are_answered() {
    let (mut world, leader) = with_expiring_key();
    let proposed = world.sides[leader].ctx.counters.batches_proposed;
    world.sides[leader].ctx.disk_full = Some("/data".into());
    world.run(Duration::from_secs(1));
    world.execute(leader, client(2), "GET k");
    assert_eq!(world.replies(leader).last(), Some(&(2, "$1\r\nv\r\n")), "it is there by replicated time");
    assert_eq!(world.sides[leader].ctx.counters.batches_proposed, proposed);
    world.sides[leader].ctx.disk_full = None;
    world.run(Duration::from_secs(1));
    assert_eq!(keys_counts(&world), [0, 0, 0]);
}

#[test]
fn time_that_was_ahead_of_the_clock_goes_half_as_fast_until_they_meet() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let write = |world: &mut World, seq: u64| {
        world.execute(leader, client(seq), "SET a 1");
        world.settle();
        world.sides[leader].groups.list[GROUP].keyspace.time_ms()
    };
    let clock = |world: &World| world.sides[leader].ctx.unix_ms;
    let start = clock(&world);
    world.sides[leader].ctx.unix_ms += 1_000;
    assert_eq!(write(&mut world, 1), start + 1_000);
    world.sides[leader].ctx.unix_ms -= 1_000;
    assert_eq!(write(&mut world, 2), start + 1_000);
    for seq in 3..=10 {
        world.run(Duration::from_millis(100));
        let reached = write(&mut world, seq);
        assert!(reached > clock(&world) && reached.abs_diff(start + 1_000 + (seq - 2) * 50) <= 8, "{seq}: {reached}");
    }
    world.run(Duration::from_millis(1_500));
    let reached = write(&mut world, 11);
    assert_eq!(reached, clock(&world), "they have met");
}

#[test]
fn a_new_leader_whose_clock_is_behind_goes_on_from_where_time_was() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    // Long after the others were started.
    world.run(Duration::from_secs(20));
    world.sides[leader].ctx.unix_ms += 60_000;
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.run(Duration::from_millis(100));
    let reached = world.sides[leader].groups.list[GROUP].keyspace.time_ms();
    world.cut = vec![leader];
    world.run(Duration::from_secs(4));
    let next = world.leader();
    assert_eq!(world.sides[next].groups.list[GROUP].keyspace.time_ms(), reached);
    world.execute(next, client(2), "SET a 2");
    world.settle();
    let time_ms = world.sides[next].groups.list[GROUP].keyspace.time_ms();
    assert!((reached + 1_900..=reached + 2_050).contains(&time_ms), "{}", time_ms - reached);
}

#[test]
fn a_state_that_is_taken_over_expires_too() {
    let mut keyspace = Keyspace::new();
    keyspace.restore(Slot::of_key(b"k"), b"k", &lsm::Content { expiry_ms: Some(2_000), ..lsm::Content::plain(b"v") });
    let keyspace = std::cell::Cell::new(Some(keyspace));
    let mut world = World::starting(
        |_| {},
        |new| {
            if let Some(keyspace) = keyspace.take() {
                new.keyspace = keyspace;
            }
        },
    );
    assert_eq!(world.sides[0].groups.expiring.len(), 1);
    let leader = world.leader();
    world.sides.iter_mut().for_each(|side| side.ctx.unix_ms = 2_000);
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.run(Duration::from_millis(100));
    assert_eq!(keys_counts(&world), [1, 1, 1]);
}
