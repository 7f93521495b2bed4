//! How long records and blocks may be, how many groups fit a segment, and what the log tells of itself.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use support::*;
use types::{GroupId, ReplicaId};
use wal::format::{HEADER_BYTES, padded};
use wal::record::{ENTRIES_HEADER_BYTES, ENTRY_HEADER_BYTES, GROUP_STATE_BYTES, OPENING_BYTES};
use wal::{Condition, Config, Error};
use wire::HardState;

const G: GroupId = GroupId(7);

/// What a segment has besides the states of its groups and of what comes.
fn room(config: &Config, groups_count: usize) -> usize {
    config.segment_bytes as usize - HEADER_BYTES - OPENING_BYTES - groups_count * GROUP_STATE_BYTES
}

#[test]
fn as_many_groups_as_a_segment_can_open_with_and_no_more() {
    let sizes = Config { segment_bytes: 8_192, block_bytes_max: 4_096, pending_bytes_max: 64 << 10, ..config() };
    let host = Host::new();
    let (mut wal, _) = open_with(&host, sizes.clone());
    let state = |term| HardState { term, ..HardState::default() };
    let count = (1..).find(|id| wal.begin(GroupId(*id), ReplicaId(1)).is_err()).unwrap() - 1;
    assert!(room(&sizes, 0) / GROUP_STATE_BYTES == count as usize + 1, "{count} and room for one record");
    for refused in [wal.begin(GroupId(count + 1), ReplicaId(1)), wal.destroy(GroupId(count + 1), ReplicaId(1))] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::TooLarge { bytes, bytes_max: 8_192 } if bytes > 8_192), "{error}");
    }
    // All of them go on over many segments.
    for term in 1..=20 {
        (1..=count).for_each(|id| wal.append_hard_state(GroupId(id), state(term)).unwrap());
        sync(&host, &mut wal);
    }
    assert!(wal.stats().rolls > 2);
    let (_, recovered) = open_with(&host.crash(|_| false), sizes);
    assert_eq!(recovered.groups.len(), count as usize);
    assert!(
        recovered.groups.values().all(|group| group.hard_state.term == 20 && group.condition == Condition::Sound)
    );
}

#[test]
fn the_longest_record_fits_behind_the_states_of_all_groups() {
    let (host, mut wal) = begun((1..=5).chain([7]));
    for id in 1..=5 {
        wal.append_hard_state(GroupId(id), HardState { term: 1, ..HardState::default() }).unwrap();
    }
    let Error::TooLarge { bytes, bytes_max } = wal.append_entries(G, &entries(1, 1..=1, 65_000)).unwrap_err() else {
        panic!("another error")
    };
    assert_eq!(bytes_max, room(&config(), 7), "with one that may come");
    let longest = bytes_max - (bytes - 65_000);
    assert!(wal.append_entries(G, &entries(1, 1..=1, longest + 1)).is_err());
    wal.append_entries(G, &entries(1, 1..=1, longest)).unwrap();
    sync(&host, &mut wal);
    let (wal, _) = open_sound(&host.crash(|_| false));
    assert_eq!(read(&wal, 7, 1, 1).unwrap(), entries(1, 1..=1, longest));
}

#[test]
fn what_may_wait_is_refused_beyond_twice_as_much_to_the_byte() {
    for over in [0, 1] {
        let host = Host::new();
        let (mut wal, _) = open_with(&host, Config { pending_bytes_max: 16 << 10, ..config() });
        begin(&mut wal, [7]);
        wal.append_entries(G, &entries(1, 1..=1, 20_000)).unwrap();
        let rest = (32 << 10) - wal.pending_bytes() - ENTRIES_HEADER_BYTES - ENTRY_HEADER_BYTES;
        let appended = wal.append_entries(G, &entries(1, 2..=2, rest + over));
        assert_eq!(matches!(appended, Err(Error::Backlog { bytes_max: 32_768, .. })), over > 0);
    }
}

#[test]
fn blocks_of_short_entries_are_full_and_not_longer_than_they_may_be() {
    let (host, mut wal) = begun([7]);
    sync(&host, &mut wal);
    let all = entries(1, 1..=1_000, 33);
    wal.append_entries(G, &all).unwrap();
    let mut lens = Vec::new();
    while wal.pending_bytes() > 0 {
        wal.submit().unwrap();
        lens.extend(host.write_begun().map(|(_, len)| len));
        host.complete_one();
        wal.poll().unwrap();
        host.run_tasks();
    }
    assert_eq!(lens.len(), 3, "38,000 bytes: {lens:?}");
    assert!(lens[..2].iter().all(|len| *len == 16 << 10), "{lens:?}");
    assert_eq!(read(&wal, 7, 1, 1_000).unwrap(), all);
}

#[test]
fn the_log_tells_what_it_has_done() {
    let host = Host::new();
    let (mut wal, recovered) = open_sound(&host);
    assert_eq!((recovered.segments_count, recovered.records_count), (1, 0));
    begin(&mut wal, [7]);
    wal.append_entries(G, &[entries(1, 1..=3, 100), entries(2, 4..=5, 100)].concat()).unwrap();
    wal.append_hard_state(G, HardState { term: 2, ..HardState::default() }).unwrap();
    let stats = wal.stats();
    assert_eq!((stats.records, stats.entries, stats.blocks), (4, 5, 0));
    assert!(stats.pending_bytes > 500 && stats.pending_bytes == wal.pending_bytes() as u64);
    assert!(!wal.idle().unwrap(), "something waits to be written");
    sync(&host, &mut wal);
    let stats = wal.stats();
    assert_eq!((stats.blocks, stats.bytes, stats.pending_bytes), (1, padded(600) as u64, 0));
    assert!(stats.segments_created >= 1, "one in reserve");
    assert_eq!((wal.bounds(G), wal.fault(G)), (Some((1, 5)), None));
    wal.compact(G, 5).unwrap();
    assert_eq!(wal.bounds(G), None);
    let (_, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!(recovered.records_count, 4);
    assert!(recovered.segments_count >= 1);
}

#[test]
fn a_full_disk_is_told_in_the_words_of_the_system() {
    let host = Host::new();
    host.set_capacity(Some(64 << 10));
    let (wal, _) = open_sound(&host);
    assert!(!wal.has_room());
    let fault = wal.room_fault().unwrap();
    assert!(fault.contains("No space left on device"), "{fault}");
    let (wal, _) = open_sound(&Host::new());
    assert_eq!((wal.has_room(), wal.room_fault()), (true, None));
}

/// Every now and then all groups are named in the block that is forming, so that damage concerns those alone that had
/// something in it, and not those that are silent since.
#[test]
fn groups_that_were_silent_for_long_are_named_now_and_then() {
    let config = || Config { groups: (1..=8).map(GroupId).collect(), ..config() };
    let host = Host::new();
    let (mut wal, _) = open_with(&host, config());
    for group in 1..=8 {
        begin(&mut wal, [group]);
        wal.append_entries(GroupId(group), &entries(1, 1..=1, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    for index in 2..=7 {
        wal.append_entries(GroupId(1), &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    assert_eq!((wal.stats().rolls, wal.stats().blocks), (0, 14), "a roll call has no block of its own");
    wal.submit().unwrap();
    assert_eq!(host.writes_begun(), 0, "nor without anything to say");
    let host = host.crash(|_| false);
    host.flip(1, (8 * 4_096 + 700) * 8);
    let (wal, recovered) = open_with(&host, config());
    for group in 1..=8 {
        let is_sound = recovered.groups[&GroupId(group)].condition == Condition::Sound;
        assert_eq!((is_sound, wal.fault(GroupId(group)).is_none()), (group > 1, group > 1), "group {group}");
    }
}
