//! Rows that are not in memory: reads that wait for them, groups that wait to go on applying.

use super::*;
use crate::row_read::{ReadRow, ReadRows, RowRead, Told, Wanted};

/// What a replica holds is in tables, and nothing of it in memory. Returns the rows, by their row keys.
fn evict(side: &mut Side) -> BTreeMap<Vec<u8>, ReadRow> {
    let keyspace = &mut side.replica().keyspace;
    assert!(keyspace.begin_flush());
    while !keyspace.go_on_flushing(1 << 20) {}
    let mut rows = BTreeMap::new();
    while let Some(payload) = keyspace.flushed().unwrap().take_closed() {
        for row in lsm::Records::new(&payload) {
            let lsm::table::Content::Put(put) = row.content else { continue };
            let lsm::table::Value::Inline(value) = put.value else { panic!("values lie in payloads") };
            let read = ReadRow { kind: put.value_type, expiry_ms: put.expiry_ms, value: value.to_vec() };
            rows.insert(row.key.to_vec(), read);
        }
    }
    keyspace.end_flush();
    // What was used lately is spared once.
    for _ in 0..3 {
        keyspace.evict_some(usize::MAX, 10_000);
    }
    assert!(!keyspace.is_resident() && keyspace.used_bytes() < 20_000);
    rows
}

/// A world with some keys, all of which the leader has on its disk alone.
fn with_rows_on_disk(lines: &[&str]) -> (World, usize, BTreeMap<Vec<u8>, ReadRow>) {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for (seq, line) in lines.iter().enumerate() {
        world.execute(leader, client(seq as u64 + 1), line);
        world.settle();
    }
    let rows = evict(&mut world.sides[leader]);
    assert_eq!(rows.len(), lines.len());
    (world, leader, rows)
}

fn take_reads(world: &mut World, side: usize) -> Vec<RowRead> {
    world.sides[side].groups.take_row_reads()
}

fn count_of(read: &RowRead) -> usize {
    match &read.wanted {
        Wanted::Rows(wanted) => wanted.rows.len(),
        Wanted::Range(_) => panic!("rows are named"),
    }
}

/// The disk answers.
fn answer(world: &mut World, side: usize, read: &RowRead, rows: &BTreeMap<Vec<u8>, ReadRow>) {
    let Wanted::Rows(wanted) = &read.wanted else { panic!("rows are named") };
    let told = |(row_key, needs_value): &(Box<[u8]>, bool)| match rows.get(&row_key[..]).cloned() {
        None => Told::NoRow,
        Some(row) if *needs_value => Told::Whole(row),
        Some(row) => Told::Head(ReadRow { value: Vec::new(), ..row }),
    };
    let found = wanted.rows.iter().map(told).collect();
    let side = &mut world.sides[side];
    side.groups.rows_read(&mut side.ctx, &mut side.answers, read.number, &ReadRows::Rows(found));
}

fn last_reply(world: &World, side: usize) -> (u64, String) {
    let replies = world.replies(side);
    let (seq, reply) = replies.last().unwrap();
    (*seq, (*reply).to_owned())
}

#[test]
fn a_read_waits_for_its_row_and_the_next_one_finds_it() {
    let (mut world, leader, rows) = with_rows_on_disk(&["SET a 1", "SET b 2"]);
    let replies_count = world.replies(leader).len();
    world.execute(leader, client(11), "GET a");
    world.execute(leader, client(12), "GET nothing");
    assert_eq!(world.replies(leader).len(), replies_count);
    let reads = take_reads(&mut world, leader);
    assert_eq!(reads.iter().map(count_of).collect::<Vec<_>>(), [1, 1]);
    reads.iter().for_each(|read| answer(&mut world, leader, read, &rows));
    assert_eq!(world.replies(leader)[replies_count..], [(11, "$1\r\n1\r\n"), (12, "$-1\r\n")]);
    world.execute(leader, client(13), "GET a");
    world.execute(leader, client(14), "GET nothing");
    assert!(take_reads(&mut world, leader).is_empty(), "both are known now");
    assert_eq!(world.sides[leader].ctx.budget.used_by(crate::budget::Pool::Rows), 0);
}

/// Whatever is written while a read waits, it is answered as of its place.
#[test]
fn a_read_is_answered_as_of_when_it_came() {
    let (mut world, leader, rows) = with_rows_on_disk(&["SET a 1", "SET b 2"]);
    world.execute(leader, client(10), "SET b 3");
    world.settle();
    world.execute(leader, client(11), "MGET a b c");
    world.execute(leader, client(12), "SET a 4");
    world.execute(leader, client(13), "SET b 5");
    world.settle();
    let reads = take_reads(&mut world, leader);
    reads.iter().for_each(|read| answer(&mut world, leader, read, &rows));
    let replies = world.replies(leader);
    let reply = replies.iter().find(|(seq, _)| *seq == 11).unwrap().1;
    assert_eq!(reply, "*3\r\n$1\r\n1\r\n$1\r\n3\r\n$-1\r\n", "what b had was in memory");
    world.execute(leader, client(14), "GET a");
    assert_eq!(
        last_reply(&world, leader),
        (14, "$1\r\n4\r\n".to_owned()),
        "what was read does not hide what was written"
    );
}

#[test]
fn blind_writes_wait_for_nothing_and_others_ask_when_they_join_a_batch() {
    let (mut world, leader, rows) = with_rows_on_disk(&["SET a 1", "SET b 2"]);
    world.execute(leader, client(11), "SET a 5");
    world.settle();
    assert_eq!(last_reply(&world, leader), (11, "+OK\r\n".to_owned()));
    assert!(take_reads(&mut world, leader).is_empty());
    world.execute(leader, client(12), "INCR b");
    let hints = take_reads(&mut world, leader);
    assert_eq!(hints.iter().map(count_of).collect::<Vec<_>>(), [1]);
    hints.iter().for_each(|read| answer(&mut world, leader, read, &rows));
    world.settle();
    assert_eq!(last_reply(&world, leader), (12, ":3\r\n".to_owned()));
    assert_eq!(world.sides[leader].ctx.counters.applies_from_disk, 0);
}

#[test]
fn a_group_waits_within_an_entry_and_goes_on_where_it_was() {
    let (mut world, leader, rows) = with_rows_on_disk(&["SET a 1", "SET b 2", "SET c 3"]);
    for (seq, line) in [(11, "SET x 1"), (12, "INCR a"), (13, "INCR b"), (14, "SET y 1"), (15, "APPEND c z")] {
        world.execute(leader, client(seq), line);
    }
    let before = world.replies(leader).len();
    // The hints come too late.
    let hints = take_reads(&mut world, leader);
    world.settle();
    let replies: Vec<u64> = world.replies(leader)[before..].iter().map(|(seq, _)| *seq).collect();
    assert_eq!(replies, [11], "what is before it is applied");
    assert!(world.sides[leader].replica().applying.is_within_entry());
    let reads = take_reads(&mut world, leader);
    assert_eq!(reads.iter().map(count_of).collect::<Vec<_>>(), [3], "those of commands behind it are asked for, too");
    answer(&mut world, leader, &reads[0], &rows);
    world.settle();
    let replies = world.replies(leader);
    let of = |seq: u64| replies.iter().find(|(other, _)| *other == seq).unwrap().1;
    assert_eq!([12, 13, 14, 15].map(of), [":2\r\n", ":3\r\n", "+OK\r\n", ":2\r\n"]);
    hints.iter().for_each(|read| answer(&mut world, leader, read, &rows));
    world.execute(leader, client(17), "GET a");
    assert_eq!(last_reply(&world, leader), (17, "$1\r\n2\r\n".to_owned()), "late hints change nothing");
}

#[test]
fn rows_that_cannot_be_read_are_asked_for_again_by_a_group_and_refused_to_a_read() {
    let (mut world, leader, rows) = with_rows_on_disk(&["SET a 1"]);
    world.execute(leader, client(11), "GET a");
    let reads = take_reads(&mut world, leader);
    let side = &mut world.sides[leader];
    side.groups.rows_not_read(&mut side.ctx, &mut side.answers, reads[0].number);
    assert!(last_reply(&world, leader).1.starts_with("-TRYAGAIN"));
    world.execute(leader, client(12), "INCR a");
    drop(take_reads(&mut world, leader));
    world.settle();
    for _ in 0..3 {
        let reads = take_reads(&mut world, leader);
        assert_eq!(reads.len(), 1);
        let side = &mut world.sides[leader];
        side.groups.rows_not_read(&mut side.ctx, &mut side.answers, reads[0].number);
        world.settle();
    }
    let reads = take_reads(&mut world, leader);
    answer(&mut world, leader, &reads[0], &rows);
    world.settle();
    assert_eq!(last_reply(&world, leader), (12, ":2\r\n".to_owned()));
}

/// When a key on disk expires nobody knows before it was read, and what is read then shows it as of the read's place.
#[test]
fn a_read_of_a_key_on_disk_that_may_be_due_takes_its_place_once_time_has_gone_on() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), "SET k v PX 500");
    world.settle();
    let rows = evict(&mut world.sides[leader]);
    let expiry_ms = rows.values().next().unwrap().expiry_ms;
    world.sides[leader].replica().keyspace.set_stored(1, expiry_ms);
    world.sides[leader].ctx.unix_ms += 50;
    world.execute(leader, client(2), "EXISTS k");
    let reads = take_reads(&mut world, leader);
    world.sides[leader].ctx.unix_ms += 550;
    world.execute(leader, client(3), "GET k");
    assert!(take_reads(&mut world, leader).is_empty(), "time must go on first");
    world.settle();
    let later = take_reads(&mut world, leader);
    reads.iter().chain(&later).for_each(|read| answer(&mut world, leader, read, &rows));
    assert_eq!(world.replies(leader), [(1, "+OK\r\n"), (2, ":1\r\n"), (3, "$-1\r\n")]);
    assert_eq!(world.sides[leader].ctx.counters.reads_for_expiry, 1);
}

/// Found by a campaign (seed 452233895588): time goes on with commands that change the key before it is due.
#[test]
fn a_read_is_answered_as_of_the_time_of_its_place() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), "SET k v PX 500");
    world.settle();
    let rows = evict(&mut world.sides[leader]);
    world.execute(leader, client(2), "EXISTS k");
    let reads = take_reads(&mut world, leader);
    world.execute(leader, client(3), "SET k v");
    world.settle();
    world.sides[leader].ctx.unix_ms += 600;
    world.execute(leader, client(4), "SET other v");
    world.settle();
    reads.iter().for_each(|read| answer(&mut world, leader, read, &rows));
    world.run(Duration::from_millis(100));
    assert!(world.replies(leader).contains(&(2, ":1\r\n")));
}

/// A DEL of many long values must not read them.
#[test]
fn commands_that_need_no_values_ask_for_none() {
    let (mut world, leader, rows) = with_rows_on_disk(&["SET {t}a 1", "SET {t}b 2"]);
    let answer_all = |world: &mut World, needs_value: bool| {
        let reads = take_reads(world, leader);
        assert!(!reads.is_empty());
        for read in &reads {
            let Wanted::Rows(wanted) = &read.wanted else { panic!("rows are named") };
            assert!(wanted.rows.iter().all(|(_, needs)| *needs == needs_value));
            answer(world, leader, read, &rows);
        }
        world.settle();
    };
    world.execute(leader, client(11), "EXISTS {t}a {t}b {t}a {t}z");
    answer_all(&mut world, false);
    assert_eq!(last_reply(&world, leader), (11, ":3\r\n".to_owned()));
    world.execute(leader, client(12), "MSETNX {t}y 1 {t}b 2");
    // The hint, and the group itself.
    answer_all(&mut world, false);
    answer_all(&mut world, false);
    assert_eq!(last_reply(&world, leader), (12, ":0\r\n".to_owned()));
    // A write that waits for heads changes nothing about what reads find.
    world.execute(leader, client(13), "DEL {t}a {t}b {t}b {t}z");
    answer_all(&mut world, false);
    answer_all(&mut world, false);
    assert_eq!(last_reply(&world, leader), (13, ":2\r\n".to_owned()));
    world.execute(leader, client(14), "EXISTS {t}a {t}b");
    assert!(take_reads(&mut world, leader).is_empty(), "they have left tombstones");
    assert_eq!(last_reply(&world, leader), (14, ":0\r\n".to_owned()));
}
