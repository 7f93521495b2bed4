//! Rows that commands want from the tables.

use std::rc::Rc;

use types::{GroupId, Slot};

use super::super::fake::FakeHost;
use super::super::fake_core::{FakeCore, config};
use crate::budget::Pool;
use crate::row_read::{ReadRows, RowRead, Told, Wanted, WantedRows};

/// Values of this length lie in blob files.
const VALUE_BYTES: usize = 8 << 10;
const KEYS_COUNT: usize = 40;

/// A core with 40 keys in tables, in which values of so many bytes may wait for whoever wants them.
fn core(bytes_max: usize) -> FakeCore {
    let mut config = config(1, 1);
    config.limits.row_reads_bytes_max = bytes_max;
    let mut core = FakeCore::start(FakeHost::default(), config);
    core.payload_len = VALUE_BYTES;
    core.append(1, KEYS_COUNT as u64);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) == KEYS_COUNT as u64);
    core
}

/// Asks for the rows of some keys.
fn ask(core: &mut FakeCore, number: u64, keys: &[usize], needs_value: bool, must_count: usize, bytes_max: usize) {
    let keyspace = &core.replicas.list[1].keyspace;
    let row_key = |key: &usize| {
        let key = format!("{{k}}{key}");
        (keyspace.row_key(Slot::of_key(key.as_bytes()), key.as_bytes()).into_boxed_slice(), needs_value)
    };
    let rows: Rc<[_]> = keys.iter().map(row_key).collect();
    let wanted = Wanted::Rows(WantedRows { rows, must_count, bytes_max });
    core.storage.read_rows(RowRead { number, group: GroupId(1), wanted });
}

/// The rows of a read that has ended.
fn told(core: &mut FakeCore, number: u64) -> Vec<Told> {
    let place = core.rows_read.iter().position(|(other, _)| *other == number).unwrap();
    match core.rows_read.remove(place).1 {
        ReadRows::Rows(rows) => rows,
        ReadRows::Range(..) => panic!("rows were named"),
    }
}

fn is_value_of(told: &Told, key: usize) -> bool {
    matches!(told, Told::Whole(row) if row.value.starts_with(format!("{}/", if key == 0 { KEYS_COUNT } else { key }).as_bytes()))
}

#[test]
fn values_beyond_the_room_for_them_wait_until_the_oldest_read_is_done() {
    let mut core = core(2 * VALUE_BYTES);
    let all: Vec<usize> = (0..KEYS_COUNT).collect();
    for number in 1..=4 {
        ask(&mut core, number, &all[..30], true, 0, usize::MAX);
    }
    let mut most_bytes = 0;
    for _ in 0..200 {
        core.turn();
        most_bytes = most_bytes.max(core.ctx.budget.used_by(Pool::Rows));
    }
    let numbers: Vec<u64> = core.rows_read.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "each ends, the oldest first");
    assert!(most_bytes <= 32 * VALUE_BYTES, "{most_bytes} bytes wait");
    assert_eq!((core.ctx.budget.used_by(Pool::Rows), core.storage.row_reads.waiting_count()), (0, 0));
    for number in 1..=4 {
        let told = told(&mut core, number);
        assert!(told.iter().enumerate().all(|(key, told)| is_value_of(told, key)));
    }
}

#[test]
fn a_read_of_too_many_bytes_tells_the_first_rows_that_it_must() {
    let mut core = core(usize::MAX);
    ask(&mut core, 1, &[7, 3, 99, 5, 8, 9], true, 2, VALUE_BYTES + VALUE_BYTES / 2);
    ask(&mut core, 2, &[7, 3], true, 0, VALUE_BYTES / 2);
    core.turns(20);
    let rows = told(&mut core, 1);
    assert!(is_value_of(&rows[0], 7) && is_value_of(&rows[1], 3));
    assert_eq!(rows[2..], [Told::NoRow, Told::Unread, Told::Unread, Told::Unread]);
    assert_eq!(told(&mut core, 2), [Told::Unread, Told::Unread]);
}

#[test]
fn values_that_nobody_needs_are_not_read() {
    let mut core = core(1);
    let (all, reads) = ((0..KEYS_COUNT).collect::<Vec<_>>(), core.host.read_bytes());
    ask(&mut core, 1, &all, false, all.len(), 0);
    core.turns(20);
    let rows = told(&mut core, 1);
    assert!(rows.iter().all(|told| matches!(told, Told::Head(row) if row.value.is_empty())));
    assert!(core.host.read_bytes() - reads < (KEYS_COUNT * VALUE_BYTES) as u64 / 4);
}

/// Whoever wants many rows does not hold up the one who wants one.
#[test]
fn reads_take_turns() {
    let mut core = core(usize::MAX);
    let all: Vec<usize> = (0..KEYS_COUNT).cycle().take(20_000).collect();
    ask(&mut core, 1, &all, true, 0, usize::MAX);
    ask(&mut core, 2, &[4], true, 0, usize::MAX);
    core.turns(20);
    let numbers: Vec<u64> = core.rows_read.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [2, 1]);
}
