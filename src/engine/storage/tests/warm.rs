//! Rows that come back into memory behind a start, while the group goes on.

use super::super::fake::FakeHost;
use super::super::fake_core::{FakeCore, config};
use crate::budget::Pool;
use crate::config::Config;

/// A core with tables in some groups and log behind them.
fn flushed(groups_count: usize, config: Config) -> FakeCore {
    let mut core = FakeCore::start(FakeHost::default(), config);
    for group in 1..=groups_count {
        core.append(group, 120);
        core.turn_until("it is flushed", |core| core.storage.snapshot_index(group) > 0);
        core.append(group, 10);
    }
    core.settle();
    core
}

#[test]
fn start_reads_no_table_and_all_rows_come_back_behind_it() {
    let core = flushed(2, config(1, 2));
    core.host.set_unreadable(".data", true);
    let mut cold = core.restart_cold();
    cold.host.set_unreadable(".data", false);
    for group in 1..=2 {
        let keyspace = &cold.replicas.list[group].keyspace;
        assert_eq!((keyspace.is_resident(), keyspace.rows_count()), (false, 0));
        assert!(keyspace.keys_count() > 0, "about how many there are is known");
    }
    assert!(cold.replicas.list[0].keyspace.is_resident(), "it has no tables");
    assert!(cold.storage.wants_ticks());
    cold.settle();
    for group in 1..=2 {
        assert!(cold.replicas.list[group].keyspace.is_resident());
        cold.check_state(group);
    }
    assert_eq!(cold.ctx.counters.groups_warmed, 2);
    assert_eq!(cold.ctx.budget.used_by(Pool::Rows), 0);
}

#[test]
fn rows_that_are_written_meanwhile_are_the_ones_that_stay() {
    let core = flushed(1, config(1, 1));
    let mut cold = core.restart_cold();
    // The log behind the tables, and more, is applied before the first row comes.
    cold.turn_until("its tables are being read", |core| core.storage.warming.running.is_some());
    cold.append(1, 15);
    cold.settle();
    assert!(cold.replicas.list[1].keyspace.is_resident());
    cold.check_state(1);
    assert!(cold.ctx.counters.rows_warmed_known > 0);
}

#[test]
fn flushes_and_merges_meanwhile_change_nothing() {
    let core = flushed(1, config(1, 1));
    let mut cold = core.restart_cold();
    cold.turn_until("its tables are being read", |core| core.storage.warming.running.is_some());
    // What was read waits, and is of the tables of before.
    let feed = std::rc::Rc::clone(&cold.storage.warming.running.as_ref().unwrap().feed);
    while feed.result.borrow().is_none() {
        cold.host.advance(std::time::Duration::from_millis(1));
        cold.host.run_tasks();
    }
    let kept: Vec<_> = feed.chunks.borrow_mut().drain(..).collect();
    assert!(!kept.is_empty());
    let result = feed.result.borrow_mut().take();
    cold.append(1, 120);
    cold.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 120);
    assert!(!cold.replicas.list[1].keyspace.is_resident());
    feed.chunks.borrow_mut().extend(kept);
    *feed.result.borrow_mut() = result;
    cold.settle();
    assert!(cold.replicas.list[1].keyspace.is_resident());
    cold.check_state(1);
    let mut again = cold.restart();
    again.settle();
    again.check_state(1);
}

#[test]
fn warming_ends_where_memory_has_no_more_room() {
    let core = flushed(2, Config { memory_bytes_max: 1 << 30, ..config(1, 2) });
    let mut small = config(1, 2);
    small.limits.rows_bytes_max = 0;
    let mut cold = FakeCore::try_start_cold(core.host.crash(), small).unwrap();
    cold.settle();
    assert!(cold.storage.warming.is_idle() && !cold.replicas.list[1].keyspace.is_resident());
    assert_eq!(cold.ctx.counters.warmings_cut_short, 2);
    assert_eq!(cold.ctx.counters.groups_warmed, 0);
}

#[test]
fn group_that_was_used_most_comes_first() {
    let core = flushed(3, config(1, 3));
    let mut cold = core.restart_cold();
    // Its log is applied, and that of the others is not yet.
    (1..=2).for_each(|group| cold.replicas.list[group].is_stuck = true);
    cold.replicas.list[3].keyspace.restore(types::Slot::of_key(b"k"), b"k", &lsm::Content::plain(b"v"));
    cold.turn();
    assert_eq!(cold.storage.warming.running.as_ref().map(|running| running.group), Some(3));
}

#[test]
fn damage_that_warming_meets_is_that_replicas_loss() {
    let core = flushed(2, config(1, 2));
    let files = core.data_files();
    core.host.damage(&files[0], 100);
    let mut cold = core.restart_cold();
    cold.turn_until("it is noticed", |core| core.ctx.counters.states_lost == 1);
    cold.turn_until("nothing comes back any more", |core| core.storage.warming.is_idle());
    let lost = cold.replicas.list.iter().filter(|replica| replica.is_lost).count();
    let resident = cold.replicas.list.iter().filter(|replica| replica.keyspace.is_resident()).count();
    assert_eq!((lost, resident), (1, 2), "the other one, and the one without tables");
}

#[test]
fn nothing_is_flushed_of_tables_whose_damage_was_just_found() {
    let core = flushed(1, config(1, 1));
    let mut cold = core.restart_cold();
    cold.turn_until("its tables are being read", |core| core.storage.warming.running.is_some());
    cold.append(1, 15);
    cold.turn_until("its log is applied", |core| core.replicas.list[1].applied > core.storage.snapshot_index(1));
    let id = cold.replicas.list[1].id;
    cold.storage.tables_are_damaged(&mut cold.ctx, id, &"a checksum");
    // As behind a flush of another group, before the next tick.
    cold.storage.begin_due_flush(&cold.ctx, &mut cold.replicas, &mut Vec::new());
    assert!(cold.storage.flushing.running.is_none(), "memory does not hold all rows to write them anew");
    cold.turn_until("its state is lost", |core| core.replicas.list[1].is_lost);
}
