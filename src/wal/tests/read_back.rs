//! Reading entries back: how much of the log is read for them, and that nothing else is taken for them.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use support::*;
use types::GroupId;
use wal::{Config, Error, Wal};
use wire::Entry;

const G: GroupId = GroupId(7);
const OTHER: GroupId = GroupId(8);

/// How many reads a span of entries takes. They must be those that were written.
fn reads(host: &Host, wal: &Wal<Host>, expected: &[Entry]) -> u64 {
    let before = host.reads();
    let (first, last) = (expected[0].index, expected[expected.len() - 1].index);
    assert_eq!(read(wal, 7, first, last).unwrap(), expected);
    host.reads() - before
}

#[test]
fn no_more_is_read_than_a_bounded_answer_takes() {
    let (host, mut wal) = begun([7]);
    // Records of a block each, about 16 KiB long.
    wal.append_entries(G, &entries(1, 1..=100, 1_000)).unwrap();
    sync(&host, &mut wal);
    for (bytes_max, count, blocks) in [(1_000, 1, 2), (20_000, 20, 3)] {
        let before = host.read_bytes();
        let answer = futures_lite::future::block_on(wal.reader(G, 1, 100, bytes_max)).unwrap();
        assert_eq!(answer, entries(1, 1..=count, 1_000));
        let bytes = host.read_bytes() - before;
        assert!(bytes <= blocks * (16 << 10), "{bytes} for {bytes_max}");
    }
}

#[test]
fn records_are_read_together_if_they_are_near_and_not_too_many() {
    let host = Host::new();
    let sizes = Config { segment_bytes: 8 << 20, block_bytes_max: 256 << 10, pending_bytes_max: 8 << 20, ..config() };
    let (mut wal, _) = open_with(&host, sizes);
    begin(&mut wal, [G.0, OTHER.0]);
    let mut others = 0;
    let mut fill = |wal: &mut Wal<Host>, count: u64| {
        wal.append_entries(OTHER, &entries(1, others + 1..=others + count, 100 << 10)).unwrap();
        others += count;
    };
    wal.append_entries(G, &entries(1, 1..=1, 1_000)).unwrap();
    fill(&mut wal, 3);
    wal.append_entries(G, &entries(1, 2..=2, 1_000)).unwrap();
    fill(&mut wal, 8);
    // More than 1 MiB into the segment, with little between them.
    wal.append_entries(G, &entries(1, 3..=3, 1_000)).unwrap();
    fill(&mut wal, 1);
    wal.append_entries(G, &entries(1, 4..=4, 1_000)).unwrap();
    for index in 5..=20 {
        wal.append_entries(G, &entries(1, index..=index, 128 << 10)).unwrap();
    }
    sync(&host, &mut wal);
    assert_eq!(wal.stats().rolls, 0);
    assert_eq!(reads(&host, &wal, &entries(1, 1..=2, 1_000)), 2, "300 KiB of another group lie between them");
    assert_eq!(reads(&host, &wal, &entries(1, 3..=4, 1_000)), 1);
    let long = reads(&host, &wal, &entries(1, 5..=20, 128 << 10));
    assert!((2..=4).contains(&long), "2 MiB in {long} reads");
}

/// A log whose second block is written by `append`, each group beginning behind an index.
fn second_block(start: u64, append: impl FnOnce(&mut Wal<Host>)) -> (Host, Wal<Host>) {
    let (host, mut wal) = begun([G.0, OTHER.0]);
    wal.reset(G, start, 1).unwrap();
    wal.reset(OTHER, start, 1).unwrap();
    sync(&host, &mut wal);
    append(&mut wal);
    sync(&host, &mut wal);
    (host, wal)
}

/// A sound record at the right place that is not the one written there, as if the disk had lost that write.
#[test]
fn a_sound_record_that_is_another_one_is_not_taken_for_the_one_wanted() {
    let wanted = |wal: &mut Wal<Host>| wal.append_entries(G, &entries(1, 4..=4, 1_000)).unwrap();
    let stale = [
        ("of another group", second_block(3, |wal| wal.append_entries(OTHER, &entries(1, 4..=4, 1_000)).unwrap())),
        ("of another term", second_block(3, |wal| wal.append_entries(G, &entries(2, 4..=4, 1_000)).unwrap())),
        ("of another index", second_block(4, |wal| wal.append_entries(G, &entries(1, 5..=5, 1_000)).unwrap())),
        ("shorter", second_block(3, |wal| wal.append_entries(G, &entries(1, 4..=4, 900)).unwrap())),
    ];
    for (what, (stale, _)) in stale {
        let (host, wal) = second_block(3, wanted);
        assert_eq!(read(&wal, 7, 4, 4).unwrap(), entries(1, 4..=4, 1_000));
        let block = stale.content(1)[4_096..8_192].to_vec();
        host.change(1, |bytes| bytes[4_096..8_192].copy_from_slice(&block));
        let read = read(&wal, 7, 4, 4);
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{what}: {read:?}");
    }
}

#[test]
fn what_the_log_does_not_hold_is_out_of_range() {
    let (_, wal) = second_block(3, |wal| wal.append_entries(G, &entries(1, 4..=6, 10)).unwrap());
    for (first, last) in [(0, 4), (0, 0), (3, 4), (5, 4), (4, 7), (7, 7)] {
        assert!(matches!(read(&wal, 7, first, last), Err(Error::OutOfRange { .. })), "{first}..={last}");
    }
    assert!(matches!(read(&wal, 9, 1, 1), Err(Error::OutOfRange { .. })), "no such group");
    assert_eq!(wal.bounds(G), Some((4, 6)));
    assert_eq!(wal.bounds(OTHER), None);
}
