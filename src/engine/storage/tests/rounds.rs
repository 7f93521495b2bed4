//! Snapshots that take so long to come that there is a newer one by then.

use std::time::Duration;

use types::CoreAddr;
use types::NodeId;

use super::super::fake_core::{FakeCore, TURN, config};
use super::transfer::{LINK, go_on, pair_of, until_installed, want};
use crate::config::Config;

const VALUE_BYTES: usize = 10_000;

/// A core that leads group 1, and one that has nothing and takes every transfer for a long one.
fn pair() -> (FakeCore, FakeCore) {
    let mut config: Config = config(2, 1);
    config.limits.snapshot_round_min = Duration::ZERO;
    pair_of(VALUE_BYTES, 1 << 30, config)
}

/// The leader writes so many entries, once the first chunks have been sent, and flushes them.
fn write_meanwhile(leader: &mut FakeCore, follower: &mut FakeCore, entries_count: u64) {
    (0..4).for_each(|_| go_on(leader, follower));
    let before = leader.storage.snapshot_index(1);
    leader.append(1, entries_count);
    leader.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > before);
}

/// Bytes of the tables and blob files of group 1.
fn file_bytes(core: &FakeCore) -> u64 {
    let version = core.storage.store.version(core.replicas.list[1].id);
    let blobs: u64 = version.blobs().map(|live| live.blob.info.len).sum();
    version.table_bytes() + blobs
}

#[test]
fn what_is_new_when_a_snapshot_has_come_is_received_too_and_nothing_twice() {
    let (mut leader, mut follower) = pair();
    want(&mut follower, 120);
    write_meanwhile(&mut leader, &mut follower, 8);
    until_installed(&mut leader, &mut follower);
    assert_eq!(follower.ctx.counters.snapshot_rounds, 1);
    assert_eq!(follower.replicas.list[1].applied, leader.storage.snapshot_index(1));
    follower.check_state(1);
    let (bytes, received) = (file_bytes(&leader), follower.ctx.counters.snapshot_bytes_received);
    assert_eq!(file_bytes(&follower), bytes);
    // Each round has a head, and its last chunk may bring more than is missing.
    assert!(received < bytes + (64 << 10), "{received} of {bytes}");
    follower.append(1, 10);
    follower.settle();
    let mut again = follower.restart();
    assert!(again.quarantined.is_empty());
    again.settle();
    again.check_state(1);
    assert_eq!(again.data_files().len(), again.named_files(), "what nobody names is deleted");
}

#[test]
fn round_that_would_bring_nearly_as_much_as_the_last_one_is_not_made() {
    let (mut leader, mut follower) = pair();
    want(&mut follower, 120);
    write_meanwhile(&mut leader, &mut follower, 60);
    until_installed(&mut leader, &mut follower);
    assert_eq!((follower.ctx.counters.snapshot_rounds, follower.replicas.list[1].applied), (0, 120));
    follower.check_state(1);
}

#[test]
fn tables_that_are_being_sent_are_not_merged_meanwhile() {
    let (mut leader, mut follower) = pair();
    // Else they would be written anew from memory.
    leader.replicas.list[1].keyspace.end_residency();
    want(&mut follower, 120);
    (0..4).for_each(|_| go_on(&mut leader, &mut follower));
    let (merges, before) = (leader.ctx.counters.merges, file_bytes(&leader));
    for _ in 0..6 {
        leader.append(1, 8);
        let index = leader.storage.snapshot_index(1);
        leader.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > index);
    }
    assert_eq!(leader.ctx.counters.merges, merges);
    assert!(file_bytes(&leader) > before);
    leader.turn_until("nobody is sent anything any more", |core| core.ctx.counters.merges > merges);
}

/// Until the follower has a whole snapshot, and wants to know what is new.
fn until_whole(leader: &mut FakeCore, follower: &mut FakeCore) {
    let is_whole = |core: &FakeCore| core.storage.receiving.active.iter().any(|one| one.rounds.has_complete());
    for _ in 0..200 {
        if is_whole(follower) {
            return;
        }
        go_on(leader, follower);
    }
    panic!("the snapshot never came");
}

#[test]
fn whole_snapshot_is_taken_if_there_is_no_room_for_what_is_new() {
    let (mut leader, mut follower) = pair();
    want(&mut follower, 120);
    write_meanwhile(&mut leader, &mut follower, 8);
    until_whole(&mut leader, &mut follower);
    follower.host.fail_creations(true);
    until_installed(&mut leader, &mut follower);
    assert_eq!((follower.ctx.counters.snapshot_rounds, follower.replicas.list[1].applied), (1, 120));
    follower.check_state(1);
}

#[test]
fn whole_snapshot_is_taken_if_nobody_tells_what_is_new() {
    let (mut leader, mut follower) = pair();
    want(&mut follower, 120);
    until_whole(&mut leader, &mut follower);
    let addr = CoreAddr { node: NodeId(1), ..follower.config.place };
    follower.storage.link_state(LINK, addr, false);
    follower.said.clear();
    follower.turns((Duration::from_secs(20).as_millis() / TURN.as_millis()) as usize);
    assert_eq!(follower.installed_count, 0, "the link may come back");
    follower.turns((Duration::from_secs(45).as_millis() / TURN.as_millis()) as usize);
    assert_eq!((follower.installed_count, follower.replicas.list[1].applied), (1, 120));
    follower.check_state(1);
}

/// A connection that was lost for a while costs nothing that has come.
#[test]
fn transfer_goes_on_where_it_was_when_the_link_is_back() {
    let (mut leader, mut follower) = pair();
    want(&mut follower, 120);
    (0..8).for_each(|_| go_on(&mut leader, &mut follower));
    let addr = CoreAddr { node: NodeId(1), ..follower.config.place };
    follower.storage.link_state(LINK, addr, false);
    follower.said.clear();
    let received = follower.ctx.counters.snapshot_bytes_received;
    assert!(received > 0 && follower.installed_count == 0);
    follower.turns((Duration::from_secs(25).as_millis() / TURN.as_millis()) as usize);
    follower.storage.link_state(LINK, addr, true);
    until_installed(&mut leader, &mut follower);
    let (bytes, received) = (file_bytes(&leader), follower.ctx.counters.snapshot_bytes_received);
    assert!(received < bytes + (48 << 10), "{received} of {bytes}");
    assert_eq!(follower.ctx.counters.snapshots_failed, 0);
}

#[test]
fn crash_at_any_step_of_a_further_round_leaves_a_clean_start() {
    let run = |leader: &mut FakeCore, follower: &mut FakeCore| {
        want(follower, 120);
        write_meanwhile(leader, follower, 8);
        (0..200).for_each(|_| go_on(leader, follower));
    };
    let (mut leader, mut whole) = pair();
    let before = whole.host.changes();
    run(&mut leader, &mut whole);
    assert_eq!(whole.ctx.counters.snapshot_rounds, 1);
    let newest = leader.storage.snapshot_index(1);
    let (mut with, mut without) = (0, 0);
    for stop in 0..=whole.host.changes() - before {
        let (mut leader, mut follower) = pair();
        follower.host.stop_after(stop);
        run(&mut leader, &mut follower);
        let mut again = follower.restart();
        assert!(again.quarantined.is_empty(), "stopped behind {stop}: the replica does not start");
        again.check_state(1);
        again.turns(20);
        assert_eq!(again.data_files().len(), again.named_files(), "what nobody names is deleted");
        let applied = again.replicas.list[1].applied;
        assert!(applied == 0 || applied == newest, "{applied}");
        *(if applied > 0 { &mut with } else { &mut without }) += 1;
    }
    assert!(with > 0 && without > 0);
}
