//! Replicas begin and are destroyed: none inherits anything, and none comes back.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use support::*;
use types::{GroupId, ReplicaId};
use wal::{Condition, Config, Error, Fault, Recovered, Wal};
use wire::HardState;

const G: GroupId = GroupId(7);
const OTHER: GroupId = GroupId(9);
const VOTED: HardState = HardState { term: 3, vote: Some(ReplicaId(5)), commit: 2 };

/// A log in which replica 1 of the group holds two entries and has voted, all in the first block.
fn lived() -> (Host, Wal<Host>) {
    lived_in(config())
}

fn lived_in(config: Config) -> (Host, Wal<Host>) {
    let host = Host::new();
    let (mut wal, _) = open_with(&host, config);
    begin(&mut wal, [G.0]);
    wal.append_entries(G, &entries(2, 1..=2, 100)).unwrap();
    wal.append_hard_state(G, VOTED).unwrap();
    sync(&host, &mut wal);
    (host, wal)
}

/// Segments so long that no roll is called within the first blocks.
fn long() -> Config {
    Config { segment_bytes: 4 << 20, ..config() }
}

fn destroyed(recovered: &Recovered) -> Vec<(u32, u64)> {
    recovered.destroyed.iter().map(|(group, replica)| (group.0, replica.0)).collect()
}

/// The replica of the group, and whether it is sound.
fn found(recovered: &Recovered) -> (u64, bool) {
    let group = &recovered.groups[&G];
    (group.replica.0, group.condition == Condition::Sound)
}

/// What a panic says.
fn panics<T>(run: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).err().expect("it panics");
    payload.downcast_ref::<String>().cloned().expect("it says why")
}

/// Another group writes and compacts until so many segments have gone by.
fn roll(host: &Host, wal: &mut Wal<Host>, times: u64) {
    let until = wal.stats().rolls + times;
    let mut index = wal.last_index(OTHER);
    while wal.stats().rolls < until {
        index += 1;
        wal.append_entries(OTHER, &entries(1, index..=index, 1_000)).unwrap();
        wal.compact(OTHER, index - 1).unwrap();
        sync(host, wal);
        wal.poll().unwrap();
        host.run_tasks();
    }
}

#[test]
fn successor_inherits_neither_entries_nor_a_vote() {
    let (host, mut wal) = lived();
    wal.begin(G, ReplicaId(4)).unwrap();
    assert_eq!((wal.bounds(G), wal.last_index(G)), (None, 0));
    sync(&host, &mut wal);
    let (mut wal, recovered) = open_sound(&host.crash(|_| false));
    let group = &recovered.groups[&G];
    assert_eq!((group.replica, group.hard_state, group.last_index), (ReplicaId(4), HardState::default(), 0));
    assert!(group.memberships.is_empty() && recovered.destroyed.is_empty());
    assert!(matches!(read(&wal, G.0, 1, 1), Err(Error::OutOfRange { .. })));
    let own = entries(1, 1..=1, 50);
    wal.append_entries(G, &own).unwrap();
    assert_eq!(wal.bounds(G), Some((1, 1)));
}

#[test]
fn entries_of_a_replica_that_is_gone_keep_no_segment() {
    for is_succeeded in [true, false] {
        let (host, mut wal) = lived();
        begin(&mut wal, [OTHER.0]);
        roll(&host, &mut wal, 2);
        assert_eq!(wal.pins(), [(G, 2)]);
        let result = if is_succeeded { wal.begin(G, ReplicaId(2)) } else { wal.destroy(G, ReplicaId(1)) };
        result.unwrap();
        sync(&host, &mut wal);
        wal.poll().unwrap();
        assert_eq!((wal.pins(), wal.stats().segments_used), (vec![], 1));
    }
}

#[test]
fn beginning_that_is_not_durable_has_not_happened() {
    let (host, mut wal) = lived();
    wal.begin(G, ReplicaId(2)).unwrap();
    wal.append_hard_state(G, HardState { term: 9, ..HardState::default() }).unwrap();
    wal.submit().unwrap();
    let (_, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!((found(&recovered), recovered.groups[&G].hard_state), ((1, true), VOTED));
    let (_, recovered) = open_sound(&host.crash(|_| true));
    assert_eq!((found(&recovered), recovered.groups[&G].hard_state.term), ((2, true), 9));
}

#[test]
fn destroyed_replica_never_comes_back() {
    let (host, mut wal) = lived();
    wal.destroy(G, ReplicaId(3)).unwrap();
    sync(&host, &mut wal);
    let host = host.crash(|_| false);
    let (mut wal, recovered) = open_sound(&host);
    assert_eq!((recovered.groups.len(), destroyed(&recovered)), (0, vec![(G.0, 3)]));
    assert!(matches!(read(&wal, G.0, 1, 1), Err(Error::OutOfRange { .. })));
    let records = wal.stats().records;
    for again in [1, 3] {
        wal.destroy(G, ReplicaId(again)).unwrap();
    }
    assert_eq!(wal.stats().records, records, "that is known");
    for replica in [0, 1, 3] {
        let said = panics(|| wal.begin(G, ReplicaId(replica)));
        assert!(said.contains("cannot begin here, as replica 3 has lived or was destroyed here"), "{said}");
    }
    wal.begin(G, ReplicaId(4)).unwrap();
    let said = panics(|| wal.destroy(G, ReplicaId(3)));
    assert!(said.contains("replica 3 cannot be destroyed here, as replica 4 lives here"), "{said}");
    let said = panics(|| wal.begin(G, ReplicaId(4)));
    assert!(said.contains("replica 4 cannot begin here"), "{said}");
    sync(&host, &mut wal);
    let (_, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!((found(&recovered), destroyed(&recovered)), ((4, true), vec![]));
}

#[test]
fn replica_that_never_lived_here_can_be_destroyed() {
    let host = Host::new();
    let (mut wal, _) = open_sound(&host);
    let said = panics(|| wal.destroy(G, ReplicaId(0)));
    assert!(said.contains("cannot be destroyed here"), "{said}");
    wal.destroy(G, ReplicaId(6)).unwrap();
    sync(&host, &mut wal);
    let host = host.crash(|_| false);
    let (mut wal, recovered) = open_sound(&host);
    assert_eq!((recovered.groups.len(), destroyed(&recovered)), (0, vec![(G.0, 6)]));
    wal.destroy(G, ReplicaId(8)).unwrap();
    sync(&host, &mut wal);
    assert_eq!(destroyed(&open_sound(&host.crash(|_| false)).1), [(G.0, 8)]);
}

#[test]
fn nothing_is_written_where_nothing_has_begun() {
    for is_destroyed in [false, true] {
        let host = Host::new();
        let (mut wal, _) = open_sound(&host);
        if is_destroyed {
            wal.destroy(G, ReplicaId(1)).unwrap();
        }
        let bytes = wal.pending_bytes();
        let said = [
            panics(|| wal.append_entries(G, &entries(1, 1..=1, 10))),
            panics(|| wal.append_hard_state(G, VOTED)),
            panics(|| wal.append(G, &wal::Append::default()).map(drop)),
            panics(|| wal.compact(G, 1)),
            panics(|| wal.reset(G, 1, 1)),
            panics(|| wal.truncate(G, 1)),
        ];
        assert!(said.iter().all(|said| said == "group 7: nothing has begun here"), "{said:?}");
        // What was read to be written again may come late.
        assert!(!wal.rewrite(G, &entries(1, 1..=1, 10)).unwrap());
        assert_eq!(wal.pending_bytes(), bytes);
    }
}

#[test]
fn who_lives_and_who_was_destroyed_outlasts_all_segments() {
    let (host, mut wal) = lived();
    wal.destroy(G, ReplicaId(1)).unwrap();
    wal.begin(OTHER, ReplicaId(6)).unwrap();
    let mut host = host;
    for _ in 0..3 {
        roll(&host, &mut wal, 4);
        assert_eq!(wal.stats().segments_used, 1);
        host = host.crash(|_| false);
        let recovered;
        (wal, recovered) = open_sound(&host);
        assert_eq!(destroyed(&recovered), [(G.0, 1)]);
        assert_eq!(recovered.groups[&OTHER].replica, ReplicaId(6));
    }
    assert!(panics(|| wal.begin(G, ReplicaId(1))).contains("cannot begin"));
    wal.begin(G, ReplicaId(2)).unwrap();
    roll(&host, &mut wal, 4);
    let (_, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!((found(&recovered), destroyed(&recovered)), ((2, true), vec![]));
}

/// What the second block tells of the group is lost, and then some block of another one comes.
fn second_block_lost(tell: impl FnOnce(&mut Wal<Host>), behind: impl FnOnce(&Host, &mut Wal<Host>)) -> Host {
    let (host, mut wal) = lived_in(long());
    tell(&mut wal);
    sync(&host, &mut wal);
    begin(&mut wal, [OTHER.0]);
    wal.append_entries(OTHER, &entries(1, 1..=1, 100)).unwrap();
    sync(&host, &mut wal);
    behind(&host, &mut wal);
    sync(&host, &mut wal);
    let host = host.crash(|_| false);
    host.flip(1, (4_096 + 60) * 8);
    host
}

/// The group is quarantined with the replica last known, however often the log is opened, until another one begins.
fn check_quarantined(host: &Host) {
    let config = || Config { groups: vec![G, OTHER], ..long() };
    let mut host = host.crash(|_| false);
    for _ in 0..3 {
        let (wal, recovered) = open_with(&host, config());
        assert_eq!((found(&recovered), destroyed(&recovered)), ((1, false), vec![]));
        let fault = Fault::BlocksLost { segment: 1, offset: 4_096 };
        assert_eq!((wal.fault(G), recovered.groups[&OTHER].condition.clone()), (Some(&fault), Condition::Sound));
        assert!(matches!(read(&wal, G.0, 1, 1), Err(Error::Quarantined { .. })), "whose is it?");
        drop(wal);
        host = host.crash(|_| false);
    }
    for is_destroyed in [false, true] {
        let host = host.crash(|_| false);
        let (mut wal, _) = open_with(&host, config());
        assert!(panics(|| wal.begin(G, ReplicaId(1))).contains("replica 1 cannot begin here"));
        assert!(matches!(wal.append_hard_state(G, VOTED), Err(Error::Quarantined { .. })));
        let result = if is_destroyed { wal.destroy(G, ReplicaId(1)) } else { wal.begin(G, ReplicaId(5)) };
        result.unwrap();
        assert_eq!(wal.fault(G), None);
        sync(&host, &mut wal);
        let (_, recovered) = open_with(&host.crash(|_| false), config());
        if is_destroyed {
            assert_eq!((recovered.groups.get(&G), destroyed(&recovered)), (None, vec![(G.0, 1)]));
        } else {
            assert_eq!((found(&recovered), recovered.groups[&G].last_index), ((5, true), 0));
        }
    }
}

#[test]
fn lost_beginning_leaves_the_group_quarantined_and_nothing_to_inherit() {
    let begin_second = |wal: &mut Wal<Host>| wal.begin(G, ReplicaId(2)).unwrap();
    // Nothing is told of the group behind it; entries are; a roll is called.
    check_quarantined(&second_block_lost(begin_second, |_, _| {}));
    check_quarantined(&second_block_lost(begin_second, |_, wal| {
        wal.append_entries(G, &entries(1, 1..=1, 100)).unwrap();
    }));
    check_quarantined(&second_block_lost(begin_second, |_, wal| assert!(wal.idle().unwrap())));
}

#[test]
fn lost_destruction_leaves_the_group_quarantined() {
    let destroy = |wal: &mut Wal<Host>| wal.destroy(G, ReplicaId(1)).unwrap();
    check_quarantined(&second_block_lost(destroy, |_, _| {}));
    check_quarantined(&second_block_lost(destroy, |_, wal| assert!(wal.idle().unwrap())));
}

#[test]
fn destroyed_replica_may_have_a_successor_in_blocks_that_are_lost() {
    let (host, mut wal) = lived_in(long());
    wal.destroy(G, ReplicaId(1)).unwrap();
    sync(&host, &mut wal);
    for index in 1..=2 {
        if index == 1 {
            begin(&mut wal, [OTHER.0]);
        }
        wal.append_entries(OTHER, &entries(1, index..=index, 100)).unwrap();
        sync(&host, &mut wal);
    }
    let sound = host.crash(|_| false);
    assert!(wal.idle().unwrap());
    sync(&host, &mut wal);
    let marked = host.crash(|_| false);
    for host in [&sound, &marked] {
        host.flip(1, (2 * 4_096 + 60) * 8);
    }
    let (_, recovered) = open_with(&sound, long());
    assert_eq!((found(&recovered), destroyed(&recovered)), ((1, false), vec![]));
    let (_, recovered) = open_with(&marked, long());
    assert_eq!((recovered.groups.get(&G), destroyed(&recovered)), (None, vec![(G.0, 1)]), "the roll spares it");
    // That nothing of it lives here can be said once more.
    let sound = sound.crash(|_| false);
    let (mut wal, _) = open_with(&sound, long());
    wal.destroy(G, ReplicaId(1)).unwrap();
    sync(&sound, &mut wal);
    let (_, recovered) = open_with(&sound.crash(|_| false), long());
    assert_eq!((recovered.groups.get(&G), destroyed(&recovered)), (None, vec![(G.0, 1)]));
}

#[test]
fn beginning_and_destruction_behind_lost_blocks_tell_all() {
    let lost = |wal: &mut Wal<Host>| wal.append_entries(G, &entries(2, 3..=4, 100)).unwrap();
    let host = second_block_lost(lost, |_, wal| {
        wal.begin(G, ReplicaId(2)).unwrap();
        wal.append_entries(G, &entries(1, 1..=3, 100)).unwrap();
    });
    let (wal, recovered) = open_with(&host, long());
    assert_eq!((recovered.damage.is_some(), found(&recovered)), (true, (2, true)));
    assert_eq!(read(&wal, G.0, 1, 3).unwrap(), entries(1, 1..=3, 100));
    let host = second_block_lost(lost, |_, wal| wal.destroy(G, ReplicaId(1)).unwrap());
    let (_, recovered) = open_with(&host, long());
    assert_eq!((recovered.groups.get(&G), destroyed(&recovered)), (None, vec![(G.0, 1)]));
}

#[test]
fn segment_that_opens_behind_lost_blocks_tells_who_lives_there() {
    for (successor, expected) in [(None, BTreeMap::from([(G, ReplicaId(1))])), (Some(2), BTreeMap::new())] {
        let (host, mut wal) = lived();
        match successor {
            None => wal.destroy(G, ReplicaId(1)).unwrap(),
            Some(replica) => wal.begin(G, ReplicaId(replica)).unwrap(),
        }
        sync(&host, &mut wal);
        begin(&mut wal, [OTHER.0]);
        // It keeps the first segment.
        wal.append_entries(OTHER, &entries(1, 1..=1, 100)).unwrap();
        sync(&host, &mut wal);
        let mut index = 1;
        while wal.stats().rolls == 0 {
            index += 1;
            wal.append_entries(OTHER, &entries(1, index..=index, 1_000)).unwrap();
            sync(&host, &mut wal);
        }
        let host = host.crash(|_| false);
        host.flip(1, (4_096 + 60) * 8);
        let (_, recovered) = open(&host);
        assert!(recovered.damage.is_some());
        assert_eq!(recovered.destroyed, expected);
        assert_eq!(recovered.groups.get(&G).map(|group| group.replica.0), successor);
        assert!(recovered.groups.values().all(|group| group.condition == Condition::Sound), "{recovered:?}");
    }
}

/// No log writes that by itself.
#[test]
fn group_whose_records_say_that_a_replica_began_twice_is_quarantined() {
    let (host, mut wal) = lived();
    wal.begin(G, ReplicaId(2)).unwrap();
    sync(&host, &mut wal);
    let host = host.crash(|_| false);
    host.change(1, |bytes| {
        let place = 4_096 + wal::format::HEADER_BYTES;
        let header = wal::format::BlockHeader::decode(&bytes[4_096..]).unwrap().0;
        let behind = place + header.records_len as usize;
        bytes[place + 28] = 1;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&1_u64.to_le_bytes());
        hasher.update(&(place as u64).to_le_bytes());
        hasher.update(&bytes[place + 4..place + wal::record::BEGINNING_BYTES]);
        let crc = hasher.finalize();
        bytes[place..place + 4].copy_from_slice(&crc.to_le_bytes());
        let header = wal::format::BlockHeader { records_crc: crc32fast::hash(&bytes[place..behind]), ..header };
        bytes[4_096..4_096 + wal::format::HEADER_BYTES].copy_from_slice(&header.encode().0);
    });
    let (_, recovered) = open(&host);
    let condition = &recovered.groups[&G].condition;
    assert!(matches!(condition, Condition::Quarantined(Fault::Contradiction { .. })), "{recovered:?}");
}
