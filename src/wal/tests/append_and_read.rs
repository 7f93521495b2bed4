//! What is appended is found again: at once, after a restart, in part, and across blocks and segments.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::time::Duration;

use support::*;
use types::{GroupId, ReplicaId};
use wal::{Config, Error};
use wire::HardState;

const G: GroupId = GroupId(7);

#[test]
fn entries_and_hard_states_survive_a_restart() {
    let host = Host::new();
    let (mut wal, recovered) = open_sound(&host);
    assert!(recovered.groups.is_empty());
    begin(&mut wal, [7]);
    let state = HardState { term: 3, vote: Some(ReplicaId(2)), commit: 2 };
    wal.append_entries(G, &entries(2, 1..=3, 100)).unwrap();
    wal.append_entries(G, &entries(3, 4..=5, 0)).unwrap();
    wal.append_hard_state(G, state).unwrap();
    assert_eq!(wal.pending_seq(), 1);
    wal.submit().unwrap();
    assert_eq!(wal.poll().unwrap(), None);
    host.complete_one();
    assert_eq!(wal.poll().unwrap(), Some(1));
    assert_eq!(wal.stats().blocks, 1, "one block for all of it");
    let (wal, recovered) = open_sound(&host.crash(|_| false));
    let group = &recovered.groups[&G];
    assert_eq!(group.hard_state, state);
    assert_eq!((group.first_index(), group.last_index), (1, 5));
    assert_eq!(group.terms, [(1, 2), (4, 3)]);
    assert!(!recovered.torn_tail);
    assert_eq!(read(&wal, 7, 1, 3).unwrap(), entries(2, 1..=3, 100));
    assert_eq!(read(&wal, 7, 2, 5).unwrap(), [entries(2, 2..=3, 100), entries(3, 4..=5, 0)].concat());
}

#[test]
fn appending_below_the_last_entry_replaces_the_suffix() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=10, 50)).unwrap();
    wal.append_entries(G, &entries(2, 6..=7, 50)).unwrap();
    assert_eq!(wal.bounds(G), Some((1, 7)));
    wal.truncate(G, 7).unwrap();
    sync(&host, &mut wal);
    let expected = [entries(1, 1..=5, 50), entries(2, 6..=6, 50)].concat();
    assert_eq!(read(&wal, 7, 1, 6).unwrap(), expected);
    let (wal, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!(recovered.groups[&G].terms, [(1, 1), (6, 2)]);
    assert_eq!(read(&wal, 7, 1, 6).unwrap(), expected);
    assert!(matches!(read(&wal, 7, 1, 7), Err(Error::OutOfRange { .. })));
}

#[test]
fn a_log_can_begin_behind_a_snapshot() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=10, 50)).unwrap();
    wal.reset(G, 100, 4).unwrap();
    wal.append_entries(G, &entries(5, 101..=102, 50)).unwrap();
    sync(&host, &mut wal);
    let (wal, recovered) = open_sound(&host.crash(|_| false));
    let group = &recovered.groups[&G];
    assert_eq!((group.start_index, group.start_term, group.last_index), (100, 4, 102));
    assert_eq!(read(&wal, 7, 101, 102).unwrap(), entries(5, 101..=102, 50));
}

#[test]
fn a_long_append_spans_blocks_and_segments_and_is_read_in_few_reads() {
    let (host, mut wal) = begun([7]);
    let all = entries(1, 1..=100, 1_000);
    wal.append_entries(G, &all).unwrap();
    let last_seq = wal.pending_seq();
    assert!(last_seq >= 6, "blocks of at most 16 KiB");
    sync(&host, &mut wal);
    assert_eq!(wal.durable_seq(), last_seq);
    assert!(wal.stats().rolls >= 1);
    let before = host.reads();
    assert_eq!(read(&wal, 7, 1, 100).unwrap(), all);
    assert_eq!(host.reads() - before, 2, "one read per segment");
    let (wal, _) = open_sound(&host.crash(|_| false));
    assert_eq!(read(&wal, 7, 1, 100).unwrap(), all);
}

#[test]
fn a_read_is_bounded_but_yields_at_least_one_entry() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=100, 1_000)).unwrap();
    sync(&host, &mut wal);
    let bounded =
        |first, bytes_max| futures_lite::future::block_on(wal.reader(G, first, 100, bytes_max)).unwrap().len();
    assert_eq!(bounded(1, 0), 1);
    assert_eq!(bounded(14, 999), 1);
    assert_eq!(bounded(14, 3_500), 3);
    assert_eq!(bounded(1, 50_000), 50);
    assert_eq!(bounded(100, usize::MAX), 1);
}

#[test]
fn what_is_not_durable_is_not_read() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=1, 10)).unwrap();
    assert!(matches!(read(&wal, 7, 1, 1), Err(Error::NotDurable { index: 1, .. })));
    sync(&host, &mut wal);
    wal.append_entries(G, &entries(1, 2..=2, 10)).unwrap();
    assert_eq!(read(&wal, 7, 1, 2).unwrap().len(), 1, "the durable part");
    assert!(matches!(read(&wal, 7, 2, 2), Err(Error::NotDurable { index: 2, .. })));
}

#[test]
fn one_block_is_in_flight_while_the_next_forms() {
    let (host, mut wal) = begun([7]);
    for index in 1..=10 {
        wal.append_entries(G, &entries(1, index..=index, 10)).unwrap();
        wal.submit().unwrap();
        assert_eq!(host.writes_begun(), 1);
    }
    assert_eq!(wal.pending_seq(), 2);
    host.complete_one();
    assert_eq!(wal.poll().unwrap(), Some(1));
    wal.submit().unwrap();
    host.complete_one();
    assert_eq!(wal.poll().unwrap(), Some(2));
    assert_eq!(wal.stats().blocks, 2, "nine entries shared a block");
    assert_eq!(wal.pending_bytes(), 0);
}

#[test]
fn limits_refuse_and_change_nothing() {
    let (host, mut wal) = begun([7]);
    let before = wal.pending_bytes();
    let error = wal.append_entries(G, &[entry(1, 1, &vec![1; 70_000])]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let error = wal.append_entries(G, &entries(1, 1..=7, 40_000)).unwrap_err();
    assert!(matches!(error, Error::Backlog { bytes_max: 262_144, .. }), "{error}");
    assert_eq!((wal.bounds(G), wal.pending_bytes()), (None, before));
    wal.append_entries(G, &entries(1, 1..=2, 50_000)).unwrap();
    sync(&host, &mut wal);
    assert_eq!(read(&wal, 7, 1, 2).unwrap(), entries(1, 1..=2, 50_000), "longer than a block should be");
}

#[test]
fn a_commit_index_beyond_the_log_is_never_recorded() {
    let (host, mut wal) = begun([7]);
    wal.append_hard_state(G, HardState { term: 1, vote: None, commit: 5 }).unwrap();
    sync(&host, &mut wal);
    let (_, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!(recovered.groups[&G].hard_state.commit, 0);
}

#[test]
#[should_panic(expected = "neither follows")]
fn committed_entries_are_never_replaced() {
    let (_, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=5, 10)).unwrap();
    wal.append_hard_state(G, HardState { term: 1, vote: None, commit: 4 }).unwrap();
    let _ = wal.append_entries(G, &entries(2, 4..=4, 10));
}

#[test]
fn compaction_frees_segments_and_they_are_used_again() {
    let (host, mut wal) = begun([7]);
    let (mut next, mut reused) = (1, false);
    for _ in 0..200 {
        let batch = entries(1, next..=next + 9, 1_000);
        wal.append_entries(G, &batch).unwrap();
        next += 10;
        sync(&host, &mut wal);
        if next > 60 {
            wal.compact(G, next - 50).unwrap();
            sync(&host, &mut wal);
        }
        wal.poll().unwrap();
        host.run_tasks();
        reused |= wal.stats().segments_recycled > 0;
        assert!(host.file_names().len() <= 8, "{:?}", host.file_names());
        assert_eq!(read(&wal, 7, next - 10, next - 1).unwrap(), batch);
    }
    assert!(reused);
    let (wal, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!(recovered.groups[&G].first_index(), next - 49);
    assert_eq!(read(&wal, 7, next - 49, next - 1).unwrap(), entries(1, next - 49..=next - 1, 1_000));
}

#[test]
fn a_group_that_lags_pins_its_segment_and_is_named() {
    let (host, mut wal) = begun([1, 7]);
    wal.append_entries(GroupId(1), &entries(1, 1..=3, 100)).unwrap();
    for index in 1..=200 {
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    wal.compact(G, 200).unwrap();
    sync(&host, &mut wal);
    assert_eq!(wal.pins(), [(GroupId(1), 3)]);
    let used = wal.stats().segments_used;
    wal.compact(GroupId(1), 3).unwrap();
    sync(&host, &mut wal);
    wal.poll().unwrap();
    assert!(wal.stats().segments_used < used);
    assert_eq!(wal.pins(), []);
}

#[test]
fn a_segment_is_not_used_again_while_it_is_read() {
    let host = Host::new();
    // Free segments are kept, so that the first one would be the first to be used again.
    let (mut wal, _) = open_with(&host, Config { recycled_segments_max: 100, ..config() });
    begin(&mut wal, [7]);
    for index in 1..=100 {
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    let reading = wal.reader(G, 1, 3, usize::MAX);
    wal.compact(G, 99).unwrap();
    for index in 101..=300 {
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        wal.compact(G, index - 1).unwrap();
        sync(&host, &mut wal);
        host.advance(Duration::from_secs(1));
    }
    assert_eq!(futures_lite::future::block_on(reading).unwrap(), entries(1, 1..=3, 1_000));
    sync(&host, &mut wal);
    wal.poll().unwrap();
    assert_eq!(wal.stats().segments_used, 1);
}

#[test]
fn entries_truncated_and_compacted_before_the_oldest_segment_are_not_missed() {
    let (host, mut wal) = begun([7]);
    let mut index = 0;
    while wal.stats().rolls == 0 {
        index += 1;
        wal.append_entries(G, &entries(4, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    // The second segment says that there were `index - 1` entries before it; then they go, from both sides.
    wal.truncate(G, index - 3).unwrap();
    wal.compact(G, index - 4).unwrap();
    sync(&host, &mut wal);
    wal.poll().unwrap();
    assert_eq!(wal.stats().segments_used, 1);
    host.delete(1);
    let (mut wal, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!((recovered.groups[&G].start_index, recovered.groups[&G].last_index), (index - 4, index - 4));
    wal.append_entries(G, &entries(4, index - 3..=index, 1_000)).unwrap();
}

#[test]
fn blocks_as_long_as_a_segment_leave_room_for_what_a_segment_opens_with() {
    // Of these lengths some make a record that fits an empty segment, but not behind the states of the groups.
    for len in 1_050..1_080 {
        let host = Host::new();
        let config = Config { block_bytes_max: 64 << 10, pending_bytes_max: 1 << 20, ..config() };
        let (mut wal, _) = open_with(&host, config);
        begin(&mut wal, [1, 2]);
        let written = entries(1, 1..=61, len);
        for group in [1, 2] {
            wal.append_entries(GroupId(group), &written).unwrap();
            sync(&host, &mut wal);
        }
        for group in [1, 2] {
            assert_eq!(read(&wal, group, 1, 61).unwrap(), written);
        }
    }
}

#[test]
fn those_who_keep_the_oldest_segment_are_named() {
    const SEGMENT: u64 = 64 << 10;
    let (host, mut wal) = begun([7]);
    begin(&mut wal, [1, 2]);
    assert_eq!((wal.log_bytes(), wal.pins()), (SEGMENT, vec![]), "what is being written cannot go");
    // Group 1 has entries in the first segment, group 2 in the first and in the second, group 7 in all.
    let mut index = 0;
    let mut write_segment = |wal: &mut wal::Wal<Host>| {
        let rolls = wal.stats().rolls;
        while wal.stats().rolls == rolls {
            index += 1;
            wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
            sync(&host, wal);
        }
        index
    };
    wal.append_entries(GroupId(1), &entries(1, 1..=3, 10)).unwrap();
    wal.append_entries(GroupId(2), &entries(1, 1..=4, 10)).unwrap();
    let second = write_segment(&mut wal);
    wal.append_entries(GroupId(2), &entries(1, 5..=6, 10)).unwrap();
    let third = write_segment(&mut wal);
    write_segment(&mut wal);
    assert_eq!(wal.log_bytes(), 4 * SEGMENT);
    // Compacted as told, the oldest segment goes.
    for (segments_left, expected) in
        [(3, vec![(GroupId(1), 3), (GroupId(2), 4), (G, second - 1)]), (2, vec![(GroupId(2), 6), (G, third - 1)])]
    {
        assert_eq!(wal.pins(), expected);
        for (group, to) in wal.pins() {
            wal.compact(group, to).unwrap();
        }
        sync(&host, &mut wal);
        wal.poll().unwrap();
        assert_eq!(wal.log_bytes(), segments_left * SEGMENT);
    }
}

/// Makes blocks durable one by one. Returns after which of them the append counts as durable, and after which a crash
/// leaves all of it.
fn blocks_until_durable(append: &wal::Append<'_>) -> (u64, u64) {
    let (host, mut wal) = begun([7]);
    let block_seq = wal.append(G, append).unwrap();
    let (last_index, state) = (append.entries.last().map(|entry| entry.index), append.hard_state);
    let (mut counts, mut found) = (None, None);
    let mut seq = 0;
    while wal.pending_bytes() > 0 {
        wal.submit().unwrap();
        host.run_tasks();
        host.complete_one();
        seq = wal.poll().unwrap().unwrap_or(seq);
        counts = counts.or(block_seq.is_durable(seq).then_some(seq));
        let (_, recovered) = open_sound(&host.crash(|_| false));
        let is_there = recovered.groups.get(&G).is_some_and(|group| {
            last_index.is_none_or(|last| group.last_index == last)
                && state.is_none_or(|state| group.hard_state == state)
        });
        found = found.or(is_there.then_some(seq));
    }
    (counts.unwrap(), found.unwrap())
}

#[test]
fn an_append_is_durable_with_the_last_block_that_holds_any_of_it() {
    let hard_state = Some(HardState { term: 3, vote: None, commit: 1 });
    // Entries over several blocks, and of several terms.
    let long = entries(1, 1..=60, 1_000);
    let terms: Vec<_> = (1..=60).flat_map(|index| entries(index, index..=index, 1_000)).collect();
    for entries in [&long, &terms] {
        for hard_state in [None, hard_state] {
            let (counts, found) = blocks_until_durable(&wal::Append { entries, hard_state, reset: None });
            assert_eq!(counts, found);
            assert!(found > 3, "they span blocks");
        }
    }
    // Of some of these lengths the hard state does not fit the block of the entries any more.
    let mut opened = 0;
    for len in 16_200..16_330 {
        let entries = entries(1, 1..=1, len);
        let append = wal::Append { entries: &entries, hard_state, reset: Some((0, 0)) };
        let (counts, found) = blocks_until_durable(&append);
        assert_eq!(counts, found, "{len}");
        opened += u64::from(found == 2);
    }
    assert!(opened > 10 && opened < 120, "{opened}");
}

#[test]
fn an_append_that_is_refused_changes_nothing() {
    let (_, mut wal) = begun([7]);
    let before = wal.pending_bytes();
    let too_long = [entry(1, 6, &vec![1; 70_000])];
    let append = wal::Append { reset: Some((5, 1)), entries: &too_long, hard_state: None };
    let error = wal.append(G, &append).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!((wal.bounds(G), wal.pending_bytes()), (None, before));
}
