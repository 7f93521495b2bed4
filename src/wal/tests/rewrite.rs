//! Entries that are written again at the end of the log, so that the segment they lay in can go.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use support::*;
use types::{GroupId, Index, ReplicaId};
use wire::{Entry, HardState};

/// The group that has no majority, and the one that goes on writing.
const STUCK: GroupId = GroupId(3);
const G: GroupId = GroupId(7);
const STATE: HardState = HardState { term: 2, vote: Some(ReplicaId(9)), commit: 2 };

/// What the stuck group holds: two committed entries, and some of two terms that are not.
fn tail(last: Index) -> Vec<Entry> {
    [entries(1, 1..=4, 100), entries(2, 5..=last, 100)].concat()
}

/// A log whose first segment is kept by the stuck group alone.
fn pinned(last: Index) -> (Host, wal::Wal<Host>, Index) {
    let (host, mut wal) = begun([STUCK.0, G.0]);
    wal.append_entries(STUCK, &tail(last)).unwrap();
    wal.append_hard_state(STUCK, STATE).unwrap();
    wal.compact(STUCK, 2).unwrap();
    let mut index = 0;
    while wal.stats().segments_used < 4 {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    wal.compact(G, index).unwrap();
    sync(&host, &mut wal);
    wal.poll().unwrap();
    assert_eq!((wal.stats().segments_used, wal.pins()), (4, vec![(STUCK, last)]));
    (host, wal, index)
}

fn check(wal: &wal::Wal<Host>, recovered: &wal::Recovered, last: Index) {
    let group = &recovered.groups[&STUCK];
    assert_eq!((group.start_index, group.last_index, group.hard_state), (2, last, STATE));
    assert_eq!(group.terms, [(3, 1), (5, 2)]);
    assert_eq!(read(wal, STUCK.0, 3, last).unwrap(), tail(last)[2..]);
}

#[test]
fn entries_that_were_written_again_let_the_oldest_segments_go() {
    let (host, mut wal, index) = pinned(9);
    assert!(wal.rewritable_bytes(STUCK, 3).is_some_and(|bytes| bytes > 700));
    assert!(wal.rewrite(STUCK, &tail(9)[2..]).unwrap());
    assert_eq!(wal.stats().segments_used, 4, "not before it is durable");
    sync(&host, &mut wal);
    wal.poll().unwrap();
    assert_eq!((wal.stats().segments_used, wal.stats().rewrites), (1, 1));
    assert_eq!(read(&wal, STUCK.0, 3, 9).unwrap(), tail(9)[2..]);
    // The files of the others are used again.
    for more in index + 1..=index + 200 {
        wal.append_entries(G, &entries(1, more..=more, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    let (wal, recovered) = open_sound(&host.crash(|_| false));
    check(&wal, &recovered, 9);
}

#[test]
fn a_crash_while_entries_are_written_again_loses_none_of_them() {
    const LAST: Index = 60;
    let sectors = 6_000_usize.div_ceil(SECTOR) + 2;
    for boundary in 0..=sectors {
        for keeps_head in [true, false] {
            let (host, mut wal, _) = pinned(LAST);
            assert!(wal.rewrite(STUCK, &tail(LAST)[2..]).unwrap());
            wal.submit().unwrap();
            assert!(host.write_begun().is_some());
            let host = host.crash(|sector| (sector < boundary) == keeps_head);
            let (mut wal, recovered) = open_sound(&host);
            check(&wal, &recovered, LAST);
            assert!(wal.rewrite(STUCK, &tail(LAST)[2..]).unwrap(), "and it can be tried again");
            sync(&host, &mut wal);
            let (wal, recovered) = open_sound(&host.crash(|_| false));
            check(&wal, &recovered, LAST);
        }
    }
}

#[test]
fn what_is_not_the_end_of_the_log_any_more_is_not_written_again() {
    let (host, mut wal, _) = pinned(9);
    let blocks = wal.stats().records;
    let refused = |wal: &mut wal::Wal<Host>, entries: &[Entry]| assert!(!wal.rewrite(STUCK, entries).unwrap());
    refused(&mut wal, &[]);
    refused(&mut wal, &tail(8)[2..]);
    refused(&mut wal, &tail(10)[2..]);
    refused(&mut wal, &tail(9)[1..]);
    refused(&mut wal, &entries(1, 3..=9, 100));
    assert_eq!((wal.rewritable_bytes(STUCK, 2), wal.rewritable_bytes(STUCK, 10)), (None, None));
    assert_eq!((wal.rewritable_bytes(GroupId(99), 1), wal.rewrite(GroupId(99), &tail(3)).unwrap()), (None, false));
    assert_eq!(wal.stats().records, blocks, "nothing was written");
    // More than a segment holds.
    let long = entries(2, 10..=90, 1_000);
    wal.append_entries(STUCK, &long).unwrap();
    sync(&host, &mut wal);
    assert_eq!(wal.rewritable_bytes(STUCK, 3), None);
    refused(&mut wal, &[&tail(9)[2..], &long].concat());
}
