//! Crashes: what was acknowledged is there, what was torn is dropped.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use support::*;
use types::GroupId;
use wal::{Damage, DamageKind};

const G: GroupId = GroupId(7);

/// A log with one durable block, and a second one of 12 KiB under way.
fn torn_tail() -> (Host, wal::Wal<Host>) {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=3, 100)).unwrap();
    sync(&host, &mut wal);
    wal.append_entries(G, &entries(1, 4..=14, 1_000)).unwrap();
    wal.submit().unwrap();
    assert_eq!(host.write_begun(), Some((4_096, 12_288)));
    (host, wal)
}

/// Crashes with these sectors of the second block written, and checks that the log goes on soundly.
fn check_torn(host: &Host, keep: impl Fn(usize) -> bool) {
    let host = host.crash(&keep);
    let (mut wal, recovered) = open_sound(&host);
    let last = recovered.groups[&G].last_index;
    let whole = (0..11_000_usize.div_ceil(SECTOR)).all(&keep);
    assert!(last == 3 || last == 14, "nothing but whole blocks");
    assert!(!whole || last == 14);
    assert_eq!(recovered.torn_tail, last == 3 && keep(0));
    assert_eq!(read(&wal, 7, 1, 3).unwrap(), entries(1, 1..=3, 100));
    wal.append_entries(G, &entries(2, last + 1..=last + 5, 700)).unwrap();
    sync(&host, &mut wal);
    // Once more: what was written behind the torn block must be found.
    let host = host.crash(|_| false);
    let (wal, recovered) = open_sound(&host);
    assert_eq!(recovered.groups[&G].last_index, last + 5);
    assert_eq!(read(&wal, 7, last + 1, last + 5).unwrap(), entries(2, last + 1..=last + 5, 700));
}

#[test]
fn every_torn_sector_pattern_of_a_block_is_a_torn_tail() {
    let (host, _wal) = torn_tail();
    for boundary in 0..=24 {
        check_torn(&host, |sector| sector < boundary);
        check_torn(&host, |sector| sector >= boundary);
        check_torn(&host, |sector| sector != boundary);
        check_torn(&host, |sector| sector == boundary);
    }
    let mut pattern = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..500 {
        pattern ^= pattern << 13;
        pattern ^= pattern >> 7;
        pattern ^= pattern << 17;
        check_torn(&host, |sector| pattern >> sector & 1 == 1);
    }
}

#[test]
fn a_block_in_flight_that_reached_the_disk_is_kept() {
    let (host, _wal) = torn_tail();
    let (wal, recovered) = open_sound(&host.crash(|_| true));
    assert_eq!(recovered.groups[&G].last_index, 14);
    assert_eq!(read(&wal, 7, 4, 14).unwrap(), entries(1, 4..=14, 1_000));
}

/// A mark used to be left where it was found, and later blocks stood behind a gap if it was lost.
#[test]
fn what_recovery_finds_last_survives_a_failure_of_power_whatever_it_is() {
    for is_mark in [false, true] {
        let (host, mut wal) = begun([7]);
        wal.append_entries(G, &entries(1, 1..=3, 100)).unwrap();
        if is_mark {
            sync(&host, &mut wal);
            assert!(wal.idle().unwrap());
        } else {
            wal.submit().unwrap();
        }
        assert!(host.write_begun().is_some());
        let host = host.die();
        let (mut wal, recovered) = open_sound(&host);
        assert_eq!(recovered.groups[&G].last_index, 3);
        wal.append_entries(G, &entries(1, 4..=6, 100)).unwrap();
        sync(&host, &mut wal);
        let (_, recovered) = open_sound(&host.lose_power());
        assert_eq!(recovered.groups[&G].last_index, 6, "behind a mark: {is_mark}");
    }
}

#[test]
fn the_first_block_of_a_new_segment_may_be_torn() {
    for keep in 0..=4 {
        let (host, mut wal) = begun([7]);
        let mut index = 0;
        while wal.stats().rolls == 0 {
            sync(&host, &mut wal);
            index += 1;
            wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        }
        wal.submit().unwrap();
        assert_eq!(host.write_begun(), Some((0, 4_096)));
        let host = host.crash(|sector| sector < keep);
        let (mut wal, recovered) = open_sound(&host);
        let last = recovered.groups[&G].last_index;
        assert_eq!(last, if keep < 3 { index - 1 } else { index });
        wal.append_entries(G, &entries(2, last + 1..=last + 30, 1_000)).unwrap();
        sync(&host, &mut wal);
        let (wal, _) = open_sound(&host.crash(|_| false));
        assert_eq!(read(&wal, 7, last + 1, last + 30).unwrap(), entries(2, last + 1..=last + 30, 1_000));
    }
}

#[test]
fn one_mark_is_written_per_idle_period() {
    let (host, mut wal) = begun([7]);
    assert!(!wal.idle().unwrap(), "an empty log has nothing to confirm");
    wal.append_entries(G, &entries(1, 1..=3, 100)).unwrap();
    assert!(!wal.idle().unwrap(), "not while records wait");
    wal.submit().unwrap();
    assert!(!wal.idle().unwrap(), "nor while a block is under way");
    sync(&host, &mut wal);
    assert!(wal.idle().unwrap());
    assert!(!wal.idle().unwrap());
    sync(&host, &mut wal);
    assert!(!wal.idle().unwrap());
    assert_eq!((wal.stats().blocks, wal.stats().marks), (2, 1));
}

#[test]
fn damage_to_the_last_block_looks_torn_without_a_mark_and_is_damage_with_one() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=3, 100)).unwrap();
    sync(&host, &mut wal);
    wal.append_entries(G, &entries(1, 4..=6, 100)).unwrap();
    sync(&host, &mut wal);

    let unmarked = host.crash(|_| false);
    unmarked.flip(1, (4_096 + 100) * 8);
    let (_, recovered) = open_sound(&unmarked);
    assert_eq!(recovered.groups[&G].last_index, 3, "the documented gap");

    wal.idle().unwrap();
    sync(&host, &mut wal);
    let marked = host.crash(|_| false);
    marked.flip(1, (4_096 + 100) * 8);
    let (_, recovered) = open(&marked);
    let kind = DamageKind::LaterBlock { expected_seq: 2, found_seq: 3, found_segment: 1, found_offset: 8_192 };
    assert_eq!(recovered.damage, Some(Damage { segment: 1, offset: 4_096, kind }));

    let mark_lost = host.crash(|_| false);
    mark_lost.flip(1, 8_192 * 8 + 70);
    let (_, recovered) = open_sound(&mark_lost);
    assert_eq!(recovered.groups[&G].last_index, 6, "a mark holds nothing");
}

#[test]
fn recovery_confirms_what_it_reports() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=3, 100)).unwrap();
    sync(&host, &mut wal);
    let host = host.crash(|_| false);
    let (wal, _) = open_sound(&host);
    assert_eq!(wal.durable_seq(), 2, "a mark stands behind the last block");
    let host = host.crash(|_| false);
    let (wal, _) = open_sound(&host);
    assert_eq!(wal.durable_seq(), 2, "and one is enough, however often the process restarts");
    host.flip(1, 100 * 8);
    let (_, recovered) = open(&host.crash(|_| false));
    assert!(recovered.damage.is_some());
}

#[test]
fn stale_blocks_of_recycled_segments_are_not_taken_for_the_tail() {
    let (host, mut wal) = begun([7]);
    let mut index = 0;
    // Every block ends at the same offsets as in the segments' earlier lives.
    while wal.stats().segments_recycled < 6 {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        wal.compact(G, index - 1).unwrap();
        sync(&host, &mut wal);
        wal.poll().unwrap();
        host.run_tasks();
        let (wal, recovered) = open_sound(&host.crash(|_| false));
        assert_eq!((recovered.groups[&G].first_index(), recovered.groups[&G].last_index), (index, index));
        assert_eq!(read(&wal, 7, index, index).unwrap(), entries(1, index..=index, 1_000));
    }
}

#[test]
fn segments_of_another_length_are_continued_and_replaced() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=10, 1_000)).unwrap();
    sync(&host, &mut wal);
    let host = host.crash(|_| false);
    let larger = || wal::Config { segment_bytes: 128 << 10, ..config() };
    let (mut wal, _) = open_with(&host, larger());
    for index in 11..=400 {
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    wal.compact(G, 390).unwrap();
    sync(&host, &mut wal);
    wal.poll().unwrap();
    host.run_tasks();
    assert!(wal.stats().segments_removed >= 1);
    let host = host.crash(|_| false);
    let (wal, recovered) = open_with(&host, larger());
    assert_eq!((recovered.damage, recovered.groups[&G].last_index), (None, 400));
    assert_eq!(read(&wal, 7, 391, 400).unwrap(), entries(1, 391..=400, 1_000));
}
