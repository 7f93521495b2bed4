//! Snapshots from one core to another, and the log that stays for them.

use std::time::Duration;

use host::ALIGNMENT;
use types::{CoreAddr, GroupId, NodeId};

use super::super::fake::FakeHost;
use super::super::fake_core::{FakeCore, Said, TURN, ask, config, exchange};
use crate::budget::Pool;
use crate::config::Config;
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::origin::LinkId;

pub(super) const LINK: LinkId = LinkId(0);

/// A core that leads group 1 and has cut its log behind a snapshot, and one that has nothing.
fn pair(value_bytes: usize) -> (FakeCore, FakeCore) {
    pair_with(value_bytes, config(1, 1).log_bytes_max)
}

fn pair_with(value_bytes: usize, log_bytes_max: u64) -> (FakeCore, FakeCore) {
    pair_of(value_bytes, log_bytes_max, config(2, 1))
}

/// The one that has nothing is configured like this.
pub(super) fn pair_of(value_bytes: usize, log_bytes_max: u64, config_of_it: Config) -> (FakeCore, FakeCore) {
    let mut leader = FakeCore::start(FakeHost::default(), Config { log_bytes_max, ..config(1, 1) });
    leader.payload_len = value_bytes;
    leader.append(1, 120);
    leader.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    leader.settle();
    let mut follower = FakeCore::start(FakeHost::default(), config_of_it);
    follower.payload_len = value_bytes;
    let addr = CoreAddr { node: NodeId(1), ..follower.config.place };
    follower.storage.link_state(LINK, addr, true);
    (leader, follower)
}

pub(super) fn want(follower: &mut FakeCore, last_index: u64) {
    // The offer has told it of a term.
    follower.append(1, 0);
    let id = follower.replicas.list[1].id;
    follower.storage.want_snapshot(id, LINK, last_index);
}

/// Both go on, and what they say arrives.
pub(super) fn go_on(leader: &mut FakeCore, follower: &mut FakeCore) {
    follower.turn();
    leader.turn();
    exchange(follower, leader);
}

pub(super) fn until_installed(leader: &mut FakeCore, follower: &mut FakeCore) {
    for _ in 0..2_000 {
        if follower.installed_count > 0 {
            return;
        }
        go_on(leader, follower);
    }
    panic!("the snapshot never came");
}

#[test]
fn follower_receives_a_snapshot_and_starts_from_it_again() {
    let (mut leader, mut follower) = pair(1_000);
    want(&mut follower, 120);
    until_installed(&mut leader, &mut follower);
    assert_eq!(follower.replicas.list[1].applied, 120);
    follower.check_state(1);
    follower.append(1, 10);
    follower.settle();
    let mut again = follower.restart();
    assert!(again.quarantined.is_empty());
    again.settle();
    assert_eq!(again.replicas.list[1].applied, 130);
    again.check_state(1);
    assert_eq!(follower.ctx.counters.snapshots_received, 1);
    assert_eq!(follower.ctx.budget.used_by(Pool::Snapshots), 0);
    leader.turns(5);
    assert_eq!(leader.ctx.budget.used_by(Pool::Snapshots), 0);
}

#[test]
fn crash_at_any_step_of_receiving_leaves_a_clean_start() {
    let (mut leader, mut whole) = pair(10_000);
    let before = whole.host.changes();
    want(&mut whole, 120);
    until_installed(&mut leader, &mut whole);
    whole.settle();
    let changes = whole.host.changes() - before;
    let (mut with, mut without) = (0, 0);
    for stop in 0..=changes {
        let (mut leader, mut follower) = pair(10_000);
        follower.host.stop_after(stop);
        want(&mut follower, 120);
        (0..400).for_each(|_| go_on(&mut leader, &mut follower));
        let mut again = follower.restart();
        if again.quarantined.is_empty() {
            again.check_state(1);
            again.turns(20);
            assert_eq!(again.data_files().len(), again.named_files(), "what nobody names is deleted");
            let applied = again.replicas.list[1].applied;
            assert!(applied == 0 || applied == 120, "{applied}");
            *(if applied > 0 { &mut with } else { &mut without }) += 1;
            again.append(1, 5);
            again.settle();
            again.check_state(1);
        } else {
            panic!("stopped behind {stop}: the replica does not start");
        }
    }
    assert!(with > 0 && without > 0);
}

/// The log behind the snapshot was cut as soon as the next one was written, so that a follower that had received a large
/// state was offered the next one, for ever.
#[test]
fn log_behind_a_snapshot_stays_until_the_follower_can_go_on_with_it() {
    let (mut leader, mut follower) = pair_with(4_000, 1 << 30);
    want(&mut follower, 120);
    let mut written = 0;
    for _ in 0..2_000 {
        if follower.installed_count > 0 {
            break;
        }
        // Slower than the leader's writers, who call for a snapshot after the other.
        for _ in 0..3 {
            leader.append(1, 3);
            written += 3;
            leader.turn();
        }
        go_on(&mut leader, &mut follower);
    }
    assert!(follower.installed_count > 0 && written > 50);
    assert!(leader.storage.snapshot_index(1) > 120, "another snapshot was written meanwhile");
    assert!(leader.replicas.list[1].base <= 120, "the log from {} on is gone", leader.replicas.list[1].base);
    // While the follower loads, checks, and tells the leader how far it has come.
    for _ in 0..(Duration::from_secs(10).as_millis() / TURN.as_millis()) {
        if leader.storage.snapshot_index(1) < 1_000 {
            leader.append(1, 2);
        }
        leader.turn();
    }
    assert!(leader.storage.snapshot_index(1) > 120, "another snapshot was written meanwhile");
    assert!(leader.replicas.list[1].base <= 120, "the log from {} on is gone", leader.replicas.list[1].base);
    leader.turn_until("the log is cut once nobody needs it", |core| core.replicas.list[1].base > 120);
}

/// What was written while a large state was on its way may take longer to be read than to be kept for nothing.
#[test]
fn log_stays_for_a_follower_that_reads_on_in_it() {
    let (mut leader, mut follower) = pair_with(1_000, 1 << 30);
    let addr = follower.config.place;
    leader.storage.link_state(LINK, addr, true);
    let (group, spec) = (leader.replicas.list[1].id, leader.config.map.groups[1].clone());
    let replica = spec.replicas.iter().find(|member| member.place == addr).unwrap().id;
    want(&mut follower, 120);
    until_installed(&mut leader, &mut follower);
    for first in (121..600).step_by(40) {
        for _ in 0..200 {
            leader.append(1, 1);
            leader.turn();
        }
        assert!(leader.storage.snapshot_index(1) > first, "snapshots go on");
        let base = leader.replicas.list[1].base;
        assert!(base < first, "the log from {base} on is gone, and entry {first} is next");
        let read =
            raft::LogRead { purpose: raft::Purpose::Peer(replica), first, last: first + 39, bytes_max: 1 << 20 };
        leader.storage.read_log(&mut leader.ctx, 1, group, Some(addr), read);
    }
    assert!(leader.replicas.list[1].base > 300, "what it has read may go");
}

#[test]
fn log_behind_a_snapshot_goes_when_the_log_of_the_core_gets_too_long() {
    let (mut leader, mut follower) = pair(4_000);
    want(&mut follower, 120);
    (0..4).for_each(|_| go_on(&mut leader, &mut follower));
    let segments_max = leader.config.log_bytes_max / leader.config.segment_bytes;
    for _ in 0..400 {
        if !leader.storage.writers_wait(1) {
            leader.append(1, 3);
        }
        leader.turn();
        assert!(leader.storage.log_stats().segments_used <= segments_max);
    }
    assert!(leader.replicas.list[1].base > 120);
}

#[test]
fn version_that_is_being_sent_outlives_the_next_ones() {
    let (mut leader, mut follower) = pair(10_000);
    want(&mut follower, 120);
    while leader.ctx.counters.snapshot_bytes_sent == 0 {
        go_on(&mut leader, &mut follower);
    }
    leader.append(1, 200);
    leader.turn_until("it is flushed again", |core| core.storage.snapshot_index(1) > 120);
    until_installed(&mut leader, &mut follower);
    assert_eq!(follower.replicas.list[1].applied, 120);
    follower.check_state(1);
}

#[test]
fn snapshot_that_is_gone_is_replaced_by_the_newest() {
    let (mut leader, mut follower) = pair(1_000);
    want(&mut follower, 77);
    until_installed(&mut leader, &mut follower);
    assert_eq!(follower.replicas.list[1].applied, 120);
    assert_eq!(follower.ctx.counters.snapshots_overtaken, 1);
}

#[test]
fn damaged_snapshot_is_noticed_and_the_sender_writes_its_rows_anew() {
    let (mut leader, mut follower) = pair(1_000);
    leader.damage_tables();
    want(&mut follower, 120);
    for _ in 0..200 {
        go_on(&mut leader, &mut follower);
    }
    assert_eq!((follower.installed_count, follower.ctx.counters.snapshots_failed), (0, 1));
    // It is asked for the same one again, and looks at what it has.
    leader.append(1, 1);
    want(&mut follower, 120);
    for _ in 0..200 {
        go_on(&mut leader, &mut follower);
        want(&mut follower, leader.storage.snapshot_index(1));
    }
    assert_eq!(leader.ctx.counters.tables_damaged, 1);
    assert_eq!(leader.storage.snapshot_index(1), 121);
    until_installed(&mut leader, &mut follower);
    follower.check_state(1);
}

#[test]
fn transfer_that_stands_still_is_given_up() {
    let (_, mut follower) = pair(1_000);
    want(&mut follower, 120);
    follower.turns(10);
    assert!(follower.said.iter().any(|(link, said)| *link == LINK && matches!(said, Said::Ask(_))));
    assert_eq!(follower.storage.receiving.count(), 1);
    follower.turns((Duration::from_secs(11).as_millis() / TURN.as_millis()) as usize);
    assert_eq!(follower.ctx.counters.snapshots_given_up, 1);
    assert_eq!(follower.storage.receiving.count(), 0);
}

/// Seen in a simulated run with a full disk: 50 attempts within seconds.
#[test]
fn disk_that_refuses_a_snapshot_is_not_asked_at_every_heartbeat() {
    let (mut leader, mut follower) = pair(1_000);
    follower.host.fail_creations(true);
    for _ in 0..100 {
        want(&mut follower, 120);
        go_on(&mut leader, &mut follower);
    }
    assert_eq!(follower.ctx.counters.snapshots_failed, 1);
    follower.host.fail_creations(false);
    follower.turns((Duration::from_secs(5).as_millis() / TURN.as_millis()) as usize);
    until_installed(&mut leader, &mut follower);
}

#[test]
fn nobody_is_asked_over_a_link_that_is_down() {
    let (_, mut follower) = pair(1_000);
    let addr = CoreAddr { node: NodeId(1), ..follower.config.place };
    follower.storage.link_state(LINK, addr, false);
    want(&mut follower, 120);
    follower.turns(20);
    assert!(follower.said.is_empty());
    follower.storage.link_state(LINK, addr, true);
    follower.turns(1);
    assert_eq!(follower.said.len(), 1);
}

/// The manifest would be told of the flush afterwards, older as it is, and the log would have gone on behind the newer state.
#[test]
fn received_snapshot_waits_for_a_flush_under_way() {
    let (mut leader, mut follower) = pair(1_000);
    follower.append(1, 100);
    follower.host.hold_syncs(true);
    follower.turn_until("a flush is under way", |core| core.storage.flushing.group() == Some(1));
    follower.turns(20);
    want(&mut follower, 120);
    (0..200).for_each(|_| go_on(&mut leader, &mut follower));
    assert_eq!(follower.storage.flushing.group(), Some(1));
    follower.host.hold_syncs(false);
    until_installed(&mut leader, &mut follower);
    follower.turns(20);
    assert_eq!(follower.storage.snapshot_index(1), 120);
    let again = follower.restart();
    assert!(again.quarantined.is_empty());
    assert_eq!(again.replicas.list[1].applied, 120);
}

#[test]
fn received_snapshot_waits_until_the_term_of_its_offer_is_durable() {
    let (mut leader, mut follower) = pair(1_000);
    follower.disk_writes = false;
    want(&mut follower, 120);
    (0..200).for_each(|_| go_on(&mut leader, &mut follower));
    assert_eq!((follower.data_files().len(), follower.named_files()), (1, 0));
    follower.disk_writes = true;
    until_installed(&mut leader, &mut follower);
}

#[test]
fn received_snapshot_never_takes_the_place_of_a_newer_one() {
    let (mut leader, mut follower) = pair(1_000);
    follower.append(1, 200);
    follower.turn_until("it is flushed", |core| core.storage.snapshot_index(1) == 200);
    want(&mut follower, 120);
    (0..200).for_each(|_| go_on(&mut leader, &mut follower));
    assert_eq!((follower.installed_count, follower.ctx.counters.snapshots_failed), (0, 1));
    let again = follower.restart();
    assert_eq!(again.replicas.list[1].applied, 200);
}

#[test]
fn chunks_that_come_twice_or_late_change_nothing() {
    let (mut leader, mut follower) = pair(10_000);
    want(&mut follower, 120);
    let mut former: Option<wire::ChunkReply> = None;
    for _ in 0..2_000 {
        if follower.installed_count > 0 {
            break;
        }
        follower.turn();
        // An answer to a question that was asked twice.
        if let Some(reply) = former.clone() {
            follower.storage.on_chunk(&mut follower.ctx, LINK, reply);
        }
        ask(&mut follower, &mut leader);
        leader.turn();
        let replies = leader.said.iter().filter_map(|(_, said)| match said {
            Said::Reply(reply) => Some(reply.clone()),
            Said::Ask(_) => None,
        });
        former = replies.last().or(former);
        exchange(&mut follower, &mut leader);
    }
    assert_eq!((follower.installed_count, follower.ctx.counters.snapshots_failed), (1, 0));
    follower.check_state(1);
}

/// What a peer says of a snapshot's length is neither reserved nor believed beyond what can be.
#[test]
fn chunks_that_cannot_be_end_the_transfer() {
    let max = SNAPSHOT_BYTES_MAX;
    let (page, total) = (4 << 10, 64 << 10);
    // Each: the chunks of a transfer, by length of the chunk and of the snapshot; the last one cannot be.
    let cases: [&[(usize, u64)]; 9] = [
        &[(page, u64::MAX)],
        &[(page, u64::MAX / ALIGNMENT as u64 * ALIGNMENT as u64)],
        &[(page, max + ALIGNMENT as u64)],
        &[(0, total)],
        &[(page, 0)],
        &[(page, total + 1)],
        &[(page + 1, total)],
        &[(2 * page, page as u64)],
        &[(page, total)],
    ];
    for case in cases {
        let (mut leader, mut follower) = pair(1_000);
        want(&mut follower, 120);
        let mut offset = 0;
        for (at, (len, total_bytes)) in case.iter().enumerate() {
            follower.turn_until("a chunk is asked for", |core| !core.said.is_empty());
            follower.said.clear();
            assert_eq!(follower.ctx.counters.snapshots_failed, 0, "{case:?} is dropped before chunk {at}");
            let chunk = wire::Chunk { offset, total_bytes: *total_bytes, bytes: vec![0; *len].into() };
            let reply = wire::ChunkReply { group: GroupId(1), last_index: 120, chunk: Some(chunk) };
            follower.storage.on_chunk(&mut follower.ctx, LINK, reply);
            offset += *len as u64;
        }
        assert_eq!(follower.ctx.counters.snapshots_failed, 1, "{case:?}");
        assert_eq!(follower.ctx.budget.used_by(Pool::Snapshots), 0);
        follower.turns(3);
        assert_eq!(follower.data_files().len(), follower.named_files(), "{case:?}");
        assert_eq!(follower.storage.receiving.count(), 0);
        want(&mut follower, 120);
        until_installed(&mut leader, &mut follower);
        follower.check_state(1);
    }
}

#[test]
fn log_that_a_snapshot_replaced_does_not_call_for_another_one() {
    let (mut leader, mut follower) = pair(1_000);
    follower.append(1, 60);
    follower.settle();
    want(&mut follower, 120);
    until_installed(&mut leader, &mut follower);
    follower.append(1, 10);
    follower.settle();
    follower.turns(20);
    assert_eq!((follower.begun_count, follower.storage.snapshot_index(1)), (0, 120));
}

#[test]
fn chunk_of_nothing_is_answered_with_what_there_is() {
    let (mut leader, _) = pair(1_000);
    let mut ask = |group, last_index, offset| {
        let request = wire::ChunkRequest { group: GroupId(group), last_index, offset };
        let mut effects = Vec::new();
        leader.storage.on_chunk_request(&mut leader.ctx, LINK, request, &mut effects);
        match &effects[..] {
            [super::super::StorageEffect::SendChunk { reply, .. }] => (reply.last_index, reply.chunk.is_some()),
            _ => panic!("it is answered at once"),
        }
    };
    assert_eq!(ask(1, 77, 0), (120, false));
    assert_eq!(ask(9, 0, 0), (0, false));
    assert_eq!(ask(1, 120, 17), (120, false));
}
