//! Starts: on what a replica starts, and when it stays away.

use types::{CoreAddr, GroupId, ReplicaId};

use super::super::fake::{EIO, FakeHost, block_on};
use super::super::fake_core::{FakeCore, config, exchange};
use crate::origin::LinkId;

/// A core with tables in group 1 and log behind them.
fn with_tables() -> FakeCore {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 120);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    core.append(1, 10);
    core.settle();
    core
}

#[test]
fn empty_disk_starts_every_replica_of_the_map_empty() {
    let core = FakeCore::start(FakeHost::default(), config(1, 4));
    assert_eq!(core.replicas.list.len(), 5);
    assert!(core.quarantined.is_empty());
    assert!(core.replicas.list.iter().all(|replica| replica.last == 0 && replica.keyspace.keys_count() == 0));
}

#[test]
fn replica_whose_tables_are_damaged_takes_another_ones_state_over_that_reaches_into_its_log() {
    let mut leader = with_tables();
    let core = with_tables();
    core.damage_tables();
    let mut again = core.restart();
    assert_eq!((again.replicas.list.len(), again.quarantined.len()), (2, 0), "a start does not read them");
    again.turn_until("it is noticed", |core| core.replicas.list[1].is_lost);
    assert_eq!((again.ctx.counters.tables_damaged, again.ctx.counters.states_lost), (1, 1));
    // The other nodes, of which the second one answers.
    let others = [(LinkId(0), 2), (LinkId(1), 3)];
    for (link, node) in others {
        again.storage.link_state(link, CoreAddr { node: types::NodeId(node), ..again.config.place }, true);
    }
    for _ in 0..1_000 {
        again.turn();
        again.said.retain(|(link, _)| *link == LinkId(1));
        exchange(&mut again, &mut leader);
        leader.turn();
        if again.installed_count > 0 {
            break;
        }
    }
    assert_eq!(again.installed_count, 1, "it is back");
    assert_eq!(again.replicas.list[1].applied, 120);
    assert!(again.storage.rebuilding.is_empty());
    again.settle();
    assert_eq!(again.replicas.list[1].applied, 130, "and goes on with its own log");
    again.check_state(1);
    let mut third = again.restart();
    assert_eq!(third.replicas.list.len(), 2);
    third.settle();
    third.check_state(1);
}

#[test]
fn replica_without_its_state_takes_no_snapshot_that_ends_before_its_log_begins() {
    let mut core = with_tables();
    core.append(1, 120);
    core.turn_until("it is flushed again", |core| core.storage.snapshot_index(1) > 130);
    core.settle();
    assert!(core.replicas.list[1].base > 80);
    core.damage_tables();
    let mut again = core.restart();
    let mut older = FakeCore::start(FakeHost::default(), config(3, 1));
    older.append(1, 80);
    older.turn_until("it is flushed", |core| core.storage.snapshot_index(1) == 80);
    again.storage.link_state(LinkId(1), CoreAddr { node: types::NodeId(3), ..again.config.place }, true);
    for _ in 0..1_000 {
        again.turn();
        older.turn();
        exchange(&mut again, &mut older);
    }
    assert_eq!(again.installed_count, 0, "entries 81 and on are not in its log");
    assert!(again.ctx.counters.snapshots_failed > 1);
    // No more of it is sent than tells how far it reaches.
    let chunks_bytes = again.ctx.counters.snapshots_failed * again.config.limits.chunk_bytes_max as u64;
    assert!(older.ctx.counters.snapshot_bytes_sent <= chunks_bytes + again.config.limits.chunk_bytes_max as u64);
    older.append(1, 220);
    older.turn_until("a newer one is there", |core| core.storage.snapshot_index(1) == 300);
    for _ in 0..1_000 {
        again.turn();
        older.turn();
        exchange(&mut again, &mut older);
    }
    assert_eq!((again.installed_count, again.replicas.list[1].applied), (1, 300));
    again.settle();
    again.check_state(1);
}

/// Damage used to quarantine every group of the core.
#[test]
fn damage_of_the_log_concerns_the_groups_that_may_have_lost_something() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 2));
    core.append(1, 10);
    core.settle();
    let block = core.storage.log_stats().bytes as usize;
    core.append(2, 10);
    core.settle();
    // What comes later shows that group 1 had nothing there.
    core.append(1, 10);
    core.settle();
    core.turns(10);
    let segment = std::path::Path::new("/data/wal/core-00").join(wal::format::segment_name(1));
    core.host.damage(&segment, block + 100);
    let mut again = core.restart();
    assert_eq!(again.quarantined, [GroupId(2)]);
    again.settle();
    assert_eq!(again.replicas.list[1].applied, 20);
    again.check_state(1);
    again.append(1, 10);
    again.settle();
    let mut third = again.restart();
    assert_eq!(third.quarantined, [GroupId(2)], "it stays away");
    third.settle();
    assert_eq!(third.replicas.list[1].applied, 30);
}

#[test]
fn replica_without_its_log_never_starts_on_tables_alone() {
    let core = with_tables();
    let other = core.host.crash();
    other.forget("/wal/");
    let again = FakeCore::start(other, config(1, 1));
    assert_eq!(again.quarantined.len(), 1, "what it has voted stood in the log");
}

/// It would have taken its predecessor's vote for its own.
#[test]
fn replica_never_starts_on_the_log_of_another_one_of_its_group() {
    let core = with_tables();
    let mut moved = config(1, 1);
    let place = moved.place;
    let replica = moved.map.groups[1].replicas.iter_mut().find(|replica| replica.place == place).unwrap();
    replica.id = ReplicaId(replica.id.0 + 1_000);
    let again = FakeCore::start(core.host.crash(), moved);
    assert_eq!(again.quarantined, [GroupId(1)]);
    assert_eq!(again.replicas.list.len(), 1, "the cluster's group goes on");
    let mut back = FakeCore::start(again.host.crash(), config(1, 1));
    assert!(back.quarantined.is_empty());
    back.settle();
    assert_eq!(back.replicas.list[1].applied, 130);
}

#[test]
fn replica_begins_in_the_log_before_anything_else_of_it_is_written() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.append(1, 3);
    core.settle();
    let mut survey = Vec::new();
    let seen = |header: &wal::format::BlockHeader, records: &[u8]| {
        let (mut rest, mut offset) = (records, u64::from(header.offset) + wal::format::HEADER_BYTES as u64);
        while !rest.is_empty() {
            let place = wal::record::LogPosition { segment: header.segment, offset };
            let record = wal::record::decode(rest, place).unwrap();
            survey.push((record.group.0, matches!(record.body, wal::record::Body::Beginning { .. })));
            (rest, offset) = (&rest[record.len..], offset + record.len as u64);
        }
    };
    let dir = std::path::Path::new("/data/wal/core-00");
    let found = block_on(wal::Survey::take(&core.host, dir, seen)).unwrap().unwrap();
    for (group, spec) in found.groups.iter().zip(&core.config.map.groups) {
        let here = spec.replicas.iter().find(|replica| replica.place == core.config.place).unwrap();
        assert_eq!((*group.0, group.1.group.replica), (spec.id, here.id));
    }
    let begun = |of: u32| survey.iter().filter(|(group, _)| *group == of).map(|(_, is)| *is).collect::<Vec<_>>();
    assert_eq!((found.groups.len(), begun(0)), (2, vec![true]));
    assert!(begun(1).len() > 1 && begun(1).iter().enumerate().all(|(at, is_beginning)| *is_beginning == (at == 0)));
}

#[test]
fn replica_that_was_destroyed_neither_starts_nor_counts_as_quarantined() {
    let mut core = with_tables();
    let config = core.config.clone();
    let (_, replica) = config.map.replicas_at(config.place).find(|(spec, _)| spec.id == GroupId(1)).unwrap();
    core.storage.log.wal_mut().destroy(GroupId(1), replica.id).unwrap();
    for _ in 0..4 {
        core.storage.log.submit().unwrap();
        core.host.complete_write();
        core.storage.log.wal_mut().poll().unwrap();
    }
    let again = core.restart();
    assert_eq!((again.replicas.list.len(), again.quarantined.len()), (1, 0));
}

#[test]
fn group_with_no_other_replica_goes_on_with_what_can_be_read() {
    let mut alone = config(1, 1);
    alone.map.groups[1].replicas.truncate(1);
    let place = alone.map.groups[1].replicas[0].place;
    alone.place = place;
    let mut core = FakeCore::start(FakeHost::default(), alone.clone());
    core.append(1, 120);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    core.settle();
    core.damage_tables();
    let mut again = FakeCore::start(core.host.crash(), alone);
    again.turn_until("it is noticed", |core| core.ctx.counters.states_lost >= 1);
    assert!(again.storage.rebuilding.is_empty() && !again.replicas.list[1].is_lost);
    // What is written from now on is flushed, and the log does not grow.
    again.append(1, 120);
    again.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 120);
    assert!(!again.replicas.list[1].keyspace.is_resident());
}

#[test]
fn tables_that_cannot_be_read_are_lost_like_damaged_ones() {
    let core = with_tables();
    core.host.set_unreadable(".data", true);
    let mut again = core.restart();
    again.turn_until(&format!("errno {EIO} is noticed"), |core| core.replicas.list[1].is_lost);
}

#[test]
fn replica_that_raft_refuses_leaves_its_index_to_the_next_one() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 3));
    let refused = (core.replicas.list[1].id, core.replicas.list[1].replica);
    core.storage.quarantine(1, refused.0, refused.1);
    core.replicas.list.remove(1);
    core.append(1, 120);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    assert_eq!(core.replicas.list[1].id, GroupId(2));
    assert!(core.storage.store.group(GroupId(2)).is_some_and(|state| state.seal.index == 120));
}
