//! The log: what is durable, what is read back, and how long it may get.

use std::time::Duration;

use raft::{LogRead, Purpose};
use types::ReplicaId;

use super::super::StorageEffect;
use super::super::fake::FakeHost;
use super::super::fake_core::{FakeCore, config};
use super::super::sending::SnapshotId;
use crate::budget::Pool;
use crate::error::Error;
use crate::limits::{LOG_READ_BYTES_MAX, LOG_READS_BYTES_MAX, LOG_READS_TURN_BYTES};
use crate::observe::StallReason;
use crate::origin::LinkId;

/// Found by planting: the block to wait for was taken before the hard state was appended, which may open the next one.
#[test]
fn write_is_durable_only_with_the_last_block_that_holds_something_of_it() {
    for count in 1..80 {
        let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
        // As many entries as fill a block, more or less; the hard state comes last.
        core.payload_len = 900;
        core.append(1, count);
        let blocks_before = core.storage.log_stats().blocks;
        while core.replicas.list[1].durable == 0 {
            assert!(core.storage.has_pending());
            core.turn();
        }
        let blocks = core.storage.log_stats().blocks - blocks_before;
        let mut again = core.restart();
        assert_eq!(again.replicas.list[1].last, count, "{count} entries in {blocks} blocks");
        assert_eq!(core.storage.log_stats().pending_bytes, 0, "{count} entries: something of them came later");
        again.settle();
        again.check_state(1);
    }
}

#[test]
fn what_waits_to_become_durable_is_counted() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.disk_writes = false;
    core.append(1, 30);
    core.turn();
    assert!(core.ctx.budget.used_by(Pool::Log) >= 30_000 && core.storage.is_writing());
    assert!(!core.storage.is_backlogged());
    core.payload_len = 1 << 20;
    (0..64).for_each(|_| core.append(2 - 1, 0));
    core.disk_writes = true;
    core.settle();
    assert_eq!(core.ctx.budget.used_by(Pool::Log), 0);
    assert!(!core.storage.has_pending());
}

/// At a restart every group wants its log at once.
#[test]
fn log_is_read_back_in_slices_and_a_bounded_part_of_it_at_a_time() {
    const GROUPS: usize = 20;
    let mut tuned = config(1, GROUPS);
    tuned.segment_bytes = 16 << 20;
    tuned.log_bytes_max = 1 << 30;
    tuned.group_log_bytes_max = 1 << 30;
    let mut core = FakeCore::start(FakeHost::default(), tuned);
    core.payload_len = 20_000;
    for group in 1..=GROUPS {
        core.append(group, 80);
    }
    core.settle();
    let mut again = core.restart();
    let mut turns = 0;
    while again.replicas.list.iter().any(|replica| replica.applied < replica.last) {
        again.turn();
        assert!(again.read_bytes <= LOG_READS_TURN_BYTES + LOG_READ_BYTES_MAX, "{} in a turn", again.read_bytes);
        assert!(again.ctx.budget.used_by(Pool::Log) <= LOG_READS_BYTES_MAX);
        turns += 1;
        assert!(turns < 1_000);
    }
    (0..=GROUPS).for_each(|group| again.check_state(group));
    again.turns(2);
    assert_eq!(again.ctx.budget.used_by(Pool::Log), 0);
}

#[test]
fn read_that_failed_is_tried_again_at_the_next_tick() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 30);
    core.settle();
    let mut again = core.restart();
    again.host.set_unreadable(".seg", true);
    again.turns(5);
    assert_eq!(again.replicas.list[1].applied, 0);
    again.host.set_unreadable(".seg", false);
    again.settle();
    again.check_state(1);
}

#[test]
fn committed_entries_that_stay_unreadable_end_the_core() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 30);
    core.settle();
    let mut again = core.restart();
    again.host.set_unreadable(".seg", true);
    let error = (0..300).find_map(|_| again.try_turn().err());
    assert!(matches!(error, Some(Error::Unappliable { last: 30, .. })), "{error:?}");
}

#[test]
fn log_that_cannot_be_read_for_a_follower_is_replaced_by_a_snapshot() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 30);
    core.settle();
    core.host.set_unreadable(".seg", true);
    let purpose = Purpose::Peer(ReplicaId(9));
    for _ in 0..12 {
        let id = core.replicas.list[1].id;
        let read = LogRead { purpose, first: 3, last: 10, bytes_max: 1 << 20 };
        core.storage.read_log(&mut core.ctx, 1, id, None, read);
        core.turns(2);
    }
    core.turn_until("the log is let go", |core| core.replicas.list[1].base >= 10);
    assert_eq!(core.storage.snapshot_index(1), 30);
    core.host.set_unreadable(".seg", false);
    core.restart().check_state(1);
}

/// The plan of a read is made when it is asked for, so it stays good while it waits.
#[test]
fn read_that_waits_finds_its_entries_though_the_log_was_cut() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 60);
    core.settle();
    let id = core.replicas.list[1].id;
    let read = LogRead { purpose: Purpose::Peer(ReplicaId(9)), first: 1, last: 5, bytes_max: 1 << 20 };
    core.storage.read_log(&mut core.ctx, 1, id, None, read);
    core.storage.log.compact(id, 50).unwrap();
    core.host.run_tasks();
    let mut effects = Vec::new();
    core.storage.poll(&mut core.ctx, &mut core.replicas, &mut effects).unwrap();
    assert!(matches!(&effects[..], [StorageEffect::LogRead { group: 1, entries, .. }] if entries.len() == 5));
}

/// `log_bytes_max` was a wish: a group could keep the oldest segment while others went on writing.
#[test]
fn log_stays_within_its_limit_by_flushes_of_the_groups_that_keep_it() {
    let mut tuned = config(1, 2);
    // Nobody would be flushed for the length of its own log.
    tuned.group_log_bytes_max = 1 << 30;
    let segments_max = tuned.log_bytes_max / tuned.segment_bytes;
    let mut core = FakeCore::start(FakeHost::default(), tuned);
    core.append(2, 5);
    for _ in 0..600 {
        if !core.storage.writers_wait(1) {
            core.append(1, 10);
        }
        core.turn();
        assert!(core.storage.log_stats().segments_used <= segments_max);
    }
    assert!(core.ctx.counters.flushes > 2 && core.replicas.list[2].base == 5);
    assert!(core.replicas.list[1].applied > 5_000, "writers do not wait for long");
}

#[test]
fn writers_wait_for_a_group_that_keeps_a_full_log_and_others_do_not() {
    let mut tuned = config(1, 2);
    tuned.group_log_bytes_max = 1 << 30;
    let mut core = FakeCore::start(FakeHost::default(), tuned);
    // More than can be written again in one block.
    let last = 300;
    core.append(2, last);
    core.replicas.list[2].is_stuck = true;
    for _ in 0..300 {
        if !core.storage.writers_wait(1) {
            core.append(1, 10);
        }
        core.turn();
        if core.storage.writers_wait(2) {
            break;
        }
    }
    assert!(core.storage.writers_wait(2), "nothing of it is committed, so no snapshot can help");
    assert!(!core.storage.writers_wait(1));
    core.replicas.list[2].is_stuck = false;
    core.turn_until("its log is let go", |core| core.replicas.list[2].base == last);
    core.turn_until("its writers go on", |core| !core.storage.writers_wait(2));
}

/// A group without a majority kept the oldest segment with what it could not commit, and the log of the others grew behind
/// it until the disk was full.
#[test]
fn entries_of_a_group_without_a_majority_do_not_keep_the_log_of_the_others() {
    let mut tuned = config(1, 3);
    tuned.group_log_bytes_max = 1 << 30;
    let segments_max = tuned.log_bytes_max / tuned.segment_bytes;
    let mut core = FakeCore::start(FakeHost::default(), tuned);
    // One has applied a part of what it holds, the other nothing.
    core.append(2, 20);
    core.settle();
    for group in [2, 3] {
        core.replicas.list[group].is_stuck = true;
        core.append(group, 10);
    }
    for _ in 0..900 {
        core.append(1, 10);
        core.turn();
        let used = core.storage.log_stats().segments_used;
        assert!(used <= segments_max, "{used} segments");
        assert!(!core.storage.writers_wait(1) && !core.storage.writers_wait(2));
    }
    assert!(core.storage.log_stats().rewrites >= 4, "{}", core.storage.log_stats().rewrites);
    core.host.complete_write();
    core.turns(3);
    let mut again = core.restart();
    assert_eq!((again.replicas.list[2].last, again.replicas.list[3].last), (30, 10));
    again.settle();
    (1..=3).for_each(|group| again.check_state(group));
    core.replicas.list[2].is_stuck = false;
    core.settle();
    core.check_state(2);
}

#[test]
fn reads_of_entries_that_are_being_written_again_wait_for_the_disk_however_slow() {
    let mut tuned = config(1, 2);
    tuned.group_log_bytes_max = 1 << 30;
    let mut core = FakeCore::start(FakeHost::default(), tuned);
    core.append(2, 10);
    core.replicas.list[2].is_stuck = true;
    core.disk_writes = false;
    while core.storage.log_stats().rewrites == 0 {
        while core.host.complete_write() {}
        core.append(1, 10);
        core.turn();
    }
    let id = core.replicas.list[2].id;
    let read = |purpose| LogRead { purpose, first: 1, last: 10, bytes_max: 1 << 20 };
    for _ in 0..300 {
        core.storage.read_log(&mut core.ctx, 2, id, None, read(Purpose::Apply));
        core.try_turn().unwrap();
    }
    core.disk_writes = true;
    core.turns(20);
    core.storage.read_log(&mut core.ctx, 2, id, None, read(Purpose::Peer(ReplicaId(9))));
    core.host.run_tasks();
    let mut effects = Vec::new();
    core.storage.poll(&mut core.ctx, &mut core.replicas, &mut effects).unwrap();
    let is_read = |effect: &StorageEffect| matches!(effect, StorageEffect::LogRead { group: 2, entries, .. } if entries.len() == 10);
    assert!(effects.iter().any(is_read));
}

#[test]
fn looks_at_who_keeps_a_long_log_are_rare_while_nothing_is_written() {
    let mut tuned = config(1, 2);
    tuned.group_log_bytes_max = 1 << 30;
    let mut core = FakeCore::start(FakeHost::default(), tuned);
    core.append(2, 300);
    core.replicas.list[2].is_stuck = true;
    while !core.storage.writers_wait(2) {
        core.append(1, 10);
        core.turn();
    }
    core.turns(100);
    core.replicas.views.set(0);
    core.turns(100);
    let views = core.replicas.views.get();
    assert!(views <= 400, "{views} in 100 ticks");
}

#[test]
fn writers_are_slowed_down_while_a_replica_that_is_needed_catches_up_and_the_log_gets_long() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 2));
    // Nothing is committed, so the log grows.
    core.replicas.list[1].is_stuck = true;
    let waits = |core: &mut FakeCore| {
        let mut count = 0;
        for _ in 0..16 {
            core.turn();
            assert_eq!(core.storage.writers_wait(1), core.storage.writers_wait(2), "all of them write one log");
            count += u32::from(core.storage.writers_wait(1));
        }
        count
    };
    let receiver = |core: &mut FakeCore, number: u32, lasts: Duration| {
        let id = SnapshotId { group: core.replicas.list[1].id, last_index: 1 };
        core.storage.sending.receives(LinkId(number), id, core.ctx.now + lasts);
    };
    receiver(&mut core, 0, Duration::from_secs(3_600));
    assert_eq!(waits(&mut core), 0, "the log is short");
    let half = core.storage.pressure.length.bytes_max() / 2;
    while core.storage.pressure.length.bytes(&core.storage.log_stats()) < half + half / 4 {
        core.append(1, 20);
        core.turn();
    }
    let count = waits(&mut core);
    assert!((1..15).contains(&count), "{count} of 16 ticks");
    core.turn_until("they wait", |core| core.storage.slows(1).is_some());
    assert_eq!(core.storage.slows(1), Some(StallReason::ReplicaBehind));
    core.storage.sending.receivers.clear();
    assert_eq!(waits(&mut core), 0, "nobody catches up");
    receiver(&mut core, 0, Duration::ZERO);
    assert_eq!(waits(&mut core), 0, "it has gone");
}
