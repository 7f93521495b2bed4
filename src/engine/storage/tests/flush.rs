//! Flushes: when one is begun, what it leaves, and crashes at every step of it.

use std::time::Duration;

use super::super::fake::FakeHost;
use super::super::fake_core::{FakeCore, config};
use super::super::sending::SnapshotId;
use crate::budget::Pool;
use crate::origin::LinkId;

#[test]
fn rows_are_flushed_once_the_log_is_long_and_the_log_before_goes() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 20);
    core.settle();
    assert_eq!(core.begun_count, 0, "its log is short");
    core.append(1, 100);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    core.settle();
    let replica = &core.replicas.list[1];
    assert_eq!((replica.offered, core.storage.snapshot_index(1)), (120, 120));
    assert!(replica.base > 60 && !core.data_files().is_empty());
    assert_eq!(core.begun_count, 1);
    assert_eq!(core.ctx.budget.used_by(Pool::Snapshots), 0);
    let mut again = core.restart();
    assert_eq!(again.replicas.list[1].applied, 120);
    again.check_state(1);
    again.append(1, 10);
    again.settle();
    again.check_state(1);
}

#[test]
fn what_is_flushed_is_the_state_at_its_seal_and_the_rest_comes_from_the_log() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 120);
    core.turn_until("a flush is under way", |core| core.begun_count == 1);
    for _ in 0..30 {
        core.append(1, 1);
        core.turn();
    }
    core.settle();
    let last_index = core.storage.snapshot_index(1);
    assert!((120..150).contains(&last_index));
    let mut again = core.restart();
    assert_eq!(again.replicas.list[1].applied, last_index);
    again.check_state(1);
    again.turn_until("the log is applied", |core| core.replicas.list[1].applied == 150);
    again.check_state(1);
}

#[test]
fn manifest_is_told_only_once_the_log_holds_the_entries_durably() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 120);
    core.settle();
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    // A follower may apply entries that are durable elsewhere.
    core.disk_writes = false;
    core.append(1, 120);
    core.turn();
    let replica = &mut core.replicas.list[1];
    let durable = std::mem::replace(&mut replica.durable, 240);
    core.turn();
    assert_eq!(core.replicas.list[1].applied, 240);
    core.replicas.list[1].durable = durable;
    core.turns(50);
    assert_eq!(core.begun_count, 2);
    assert!(core.storage.flushing.group() == Some(1), "it is complete and waits");
    assert_eq!(core.storage.snapshot_index(1), 120);
    core.disk_writes = true;
    core.turn_until("the manifest is told", |core| core.storage.snapshot_index(1) == 240);
}

#[test]
fn crash_at_any_step_of_a_flush_leaves_the_old_state_or_the_new_one() {
    let run = |core: &mut FakeCore| {
        for _ in 0..12 {
            core.append(1, 25);
            core.turns(3);
        }
        core.turns(20);
    };
    let mut whole = FakeCore::start(FakeHost::default(), config(1, 1));
    let before = whole.host.changes();
    run(&mut whole);
    assert!(whole.ctx.counters.flushes >= 2 && whole.replicas.list[1].base > 0);
    let changes = whole.host.changes() - before;
    assert!(changes > 20, "{changes} steps");
    let (mut with_new, mut without) = (0, 0);
    for stop in 0..=changes {
        let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
        core.host.stop_after(stop);
        run(&mut core);
        let durable = core.replicas.list[1].durable;
        let acknowledged = core.replicas.list[1].applied;
        let mut again = core.restart();
        assert!(again.quarantined.is_empty(), "stopped behind {stop}");
        assert!(again.replicas.list[1].last >= durable, "stopped behind {stop}");
        again.check_state(1);
        let has_tables = again.storage.snapshot_index(1) > 0;
        again.settle();
        again.check_state(1);
        assert!(again.replicas.list[1].applied >= acknowledged);
        *(if has_tables { &mut with_new } else { &mut without }) += 1;
        again.turns(40);
        assert_eq!(again.data_files().len(), again.named_files(), "what nobody names is deleted");
    }
    assert!(with_new > 5 && without > 5);
}

#[test]
fn flush_that_fails_is_tried_again() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 120);
    core.host.fail_creations(true);
    core.turn_until("writing has failed", |core| core.ctx.counters.flushes_failed == 1);
    core.append(1, 10);
    core.turns(50);
    assert_eq!((core.begun_count, core.replicas.list[1].base), (1, 0), "not at once");
    core.host.fail_creations(false);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) == 130);
    core.restart().check_state(1);
}

/// They used to wait for a tick each, and clients for all of them.
#[test]
fn groups_that_keep_a_full_log_are_flushed_one_behind_the_other() {
    let mut config = config(1, 40);
    config.log_bytes_max = 2 * config.segment_bytes;
    let mut core = FakeCore::start(FakeHost::default(), config);
    (0..core.replicas.list.len()).for_each(|group| core.append(group, 12));
    core.turn_until("the log is full and the first one is begun", |core| {
        core.storage.writers_wait(1) && core.begun_count > 0
    });
    let before = core.ctx.counters.flushes;
    core.ticks = false;
    core.turns(400);
    let written = core.ctx.counters.flushes - before;
    assert!(written > 20, "{written} between two ticks");
    core.ticks = true;
    core.turns(2);
    assert!(!core.storage.writers_wait(1));
}

#[test]
fn nothing_is_begun_while_the_node_stops() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.ctx.is_stopping = true;
    core.append(1, 200);
    core.turns(50);
    assert_eq!(core.begun_count, 0);
}

/// A tick used to go over all groups several times.
#[test]
fn idle_groups_cost_a_tick_nothing() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 500));
    core.turns(3);
    core.replicas.views.set(0);
    core.turns(10);
    assert_eq!(core.replicas.views.get(), 0);
}

/// Flushes a group so often, half of whose keys are written again each time. Returns the most bytes that its files ever took.
fn flush_again_and_again(core: &mut FakeCore, count: usize) -> u64 {
    let mut most = 0;
    for _ in 0..count {
        let index = core.storage.snapshot_index(1);
        core.append(1, 20);
        core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > index);
        most = most.max(core.storage.store.version(core.replicas.list[1].id).file_bytes());
    }
    most
}

#[test]
fn tables_of_rows_in_memory_are_written_anew_from_there_before_they_take_much_room() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.payload_len = 6_000;
    let once = flush_again_and_again(&mut core, 2);
    let most = flush_again_and_again(&mut core, 40);
    assert_eq!(core.ctx.counters.merges, 0, "nothing is read");
    let rows_bytes = core.replicas.list[1].keyspace.used_bytes() as u64;
    assert!(most <= 2 * rows_bytes + once, "{most} bytes of files for {rows_bytes} of rows");
    core.settle();
    let again = core.restart();
    again.check_state(1);
    core.replicas.list[1].keyspace.end_residency();
    flush_again_and_again(&mut core, 8);
    assert!(core.ctx.counters.merges > 0, "what memory does not hold is merged");
}

#[test]
fn rows_are_written_anew_once_no_replica_receives_what_is_there() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.payload_len = 6_000;
    let once = flush_again_and_again(&mut core, 2);
    let rows_bytes = core.replicas.list[1].keyspace.used_bytes() as u64;
    let id = SnapshotId { group: core.replicas.list[1].id, last_index: core.storage.snapshot_index(1) };
    core.storage.sending.receives(LinkId(0), id, core.ctx.now + Duration::from_secs(3_600));
    let most = flush_again_and_again(&mut core, 8);
    assert!(most > 2 * rows_bytes + once, "{most} bytes: what is sent was written anew");
    core.storage.sending.receivers.clear();
    flush_again_and_again(&mut core, 1);
    assert!(core.storage.store.version(core.replicas.list[1].id).file_bytes() <= 2 * rows_bytes + once);
}

#[test]
fn rows_that_are_being_written_anew_take_the_place_of_tables_also_if_memory_gets_short_of_them() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    let runs_count = |core: &FakeCore| core.storage.store.version(core.replicas.list[1].id).runs().len();
    core.payload_len = 6_000;
    flush_again_and_again(&mut core, 2);
    assert_eq!(runs_count(&core), 2);
    assert!(core.storage.records.begin_to_write_anew(1));
    core.replicas.list[1].keyspace.write_anew();
    core.ctx.wants_flush = true;
    flush_again_and_again(&mut core, 1);
    assert_eq!(runs_count(&core), 1, "all rows were dirty, and are not written beside what they were before");
    assert!(!core.storage.records.is_written_anew(1));
}
