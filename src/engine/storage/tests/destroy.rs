//! Replicas that are destroyed, and those that begin where others were.

use types::{GroupId, ReplicaId};

use super::super::fake::{FakeHost, block_on};
use super::super::fake_core::{FakeCore, config};

const GROUP: GroupId = GroupId(1);

/// A core with tables of group 1, and entries behind them.
fn with_tables() -> FakeCore {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 2));
    core.append(1, 120);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    core.append(1, 10);
    core.settle();
    core
}

fn destroy(core: &mut FakeCore) -> ReplicaId {
    let replica = core.replicas.list[1].replica;
    core.storage.destroy(&mut core.replicas, GROUP, replica);
    replica
}

#[test]
fn a_destroyed_replica_leaves_nothing_and_never_comes_back() {
    let mut core = with_tables();
    let replica = destroy(&mut core);
    core.turn_until("it is destroyed", |core| core.destroyed == [(GROUP, replica)]);
    core.turn_until("its files are gone", |core| {
        core.data_files().is_empty() && core.storage.destroying.list.is_empty()
    });
    assert!(core.storage.store.group(GROUP).is_none());
    // Nothing is done for it any more.
    for _ in 0..100 {
        core.turn();
    }
    for mut again in [core.restart(), core.restart().restart()] {
        assert_eq!(again.replicas.list.len(), 2);
        assert!(again.replicas.list.iter().all(|one| one.id != GROUP) && again.quarantined.is_empty());
        again.storage.begin_successor(&again.ctx, GROUP, replica);
        (0..20).for_each(|_| again.turn());
        assert_eq!(again.replicas.list.len(), 2, "it has lived here");
        assert!(again.storage.spent().eq([(GROUP, replica)]));
    }
}

#[test]
fn another_replica_of_the_group_begins_where_one_was_destroyed() {
    let mut core = with_tables();
    let replica = destroy(&mut core);
    let next = ReplicaId(core.config.map.next_replica.0 + 3);
    core.storage.begin_successor(&core.ctx, GROUP, next);
    assert!(!core.storage.succeeding.beginning.iter().any(|(group, _)| *group == GROUP), "the other one is not gone");
    core.turn_until("it is destroyed", |core| core.storage.destroying.list.is_empty() && !core.destroyed.is_empty());
    core.storage.begin_successor(&core.ctx, GROUP, next);
    core.turn_until("another one begins", |core| core.replicas.list[1].replica == next);
    assert!(next > replica && core.replicas.list[1].last == 0);
    core.append(1, 30);
    core.settle();
    core.check_state(1);
    let again = core.restart();
    let found = again.replicas.list.iter().find(|one| one.id == GROUP).unwrap();
    assert_eq!((found.replica, found.last), (next, 30));
}

#[test]
fn a_crash_leaves_a_replica_whole_or_destroyed() {
    let (mut wholes, mut gone) = (0, 0);
    for turns in 0..200 {
        let mut core = with_tables();
        let replica = destroy(&mut core);
        (0..turns).for_each(|_| core.turn());
        let was_told = !core.destroyed.is_empty();
        let is_over = core.storage.destroying.list.is_empty() && core.data_files().is_empty();
        let mut again = core.restart();
        match again.replicas.list.iter().position(|one| one.id == GROUP) {
            Some(at) => {
                assert!(!was_told, "after {turns} turns it was destroyed");
                assert_eq!((again.replicas.list[at].replica, again.replicas.list[at].last), (replica, 130));
                again.settle();
                again.check_state(at);
                wholes += 1;
            }
            None => {
                again.turn_until("its files are gone", |again| again.data_files().is_empty());
                assert!(again.storage.store.group(GROUP).is_none() && again.storage.away_count() == 0);
                gone += 1;
            }
        }
        if is_over {
            break;
        }
    }
    assert!(wholes > 0 && gone > 0, "{wholes} and {gone}");
}

#[test]
fn a_replica_is_destroyed_while_it_is_flushed_and_its_log_is_read() {
    for turns in 0..12 {
        let mut core = with_tables();
        core.append(1, 200);
        core.settle();
        core.append(1, 200);
        core.turn_until("a flush is under way", |core| core.storage.flushing.running.is_some());
        (0..turns).for_each(|_| core.turn());
        let replica = destroy(&mut core);
        core.turn_until("it is destroyed", |core| core.destroyed == [(GROUP, replica)]);
        core.turn_until("its files are gone", |core| core.data_files().is_empty());
        // The others go on.
        core.append(0, 120);
        core.turn_until("another one is flushed", |core| core.storage.snapshot_index(0) > 0);
        core.check_state(0);
    }
}

#[test]
fn a_replica_that_stays_away_can_be_destroyed() {
    let core = with_tables();
    let wal = core.config.wal_dir();
    let names = block_on(host::Disk::list(&core.host, &wal)).unwrap();
    core.host.damage(&wal.join(&names[0]), 5_000);
    let mut again = core.restart();
    let away: Vec<_> = again.storage.away().filter(|(group, _)| *group == GROUP).collect();
    let [(_, replica)] = away[..] else { panic!("the log is damaged: {away:?}") };
    again.storage.destroy(&mut again.replicas, GROUP, replica);
    again.turn_until("it is destroyed", |core| core.destroyed == [(GROUP, replica)]);
    assert!(again.storage.away().all(|(group, _)| group != GROUP));
    again.turn_until("its files are gone", |core| core.data_files().is_empty());
    let third = again.restart();
    assert!(third.storage.away().all(|(group, _)| group != GROUP));
}

#[test]
fn a_replica_that_a_crash_keeps_from_beginning_begins_later() {
    let (mut not_yet, mut begun) = (0, 0);
    for turns in 0..40 {
        let mut core = with_tables();
        destroy(&mut core);
        core.turn_until("it is destroyed", |core| {
            core.storage.destroying.list.is_empty() && !core.destroyed.is_empty()
        });
        let next = ReplicaId(core.config.map.next_replica.0 + 3);
        core.storage.begin_successor(&core.ctx, GROUP, next);
        (0..turns).for_each(|_| core.turn());
        let mut again = core.restart();
        assert!(again.quarantined.is_empty() && again.storage.away_count() == 0, "after {turns} turns");
        if again.replicas.list.iter().any(|one| one.id == GROUP) {
            begun += 1;
        } else {
            not_yet += 1;
            again.turn_until("what the manifest names is dropped", |core| core.storage.destroying.list.is_empty());
            again.storage.begin_successor(&again.ctx, GROUP, next);
            again.turn_until("it begins", |core| core.replicas.list.iter().any(|one| one.replica == next));
        }
    }
    assert!(not_yet > 1 && begun > 0, "{not_yet} and {begun}");
}
