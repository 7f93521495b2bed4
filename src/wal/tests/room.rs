//! Full disks and failing writes.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::time::Duration;

use support::*;
use types::GroupId;
use wal::Error;
use wire::HardState;

const G: GroupId = GroupId(7);
const SEGMENT: usize = 64 << 10;

#[test]
fn a_failed_write_poisons_the_log_for_good() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=3, 100)).unwrap();
    sync(&host, &mut wal);
    wal.append_entries(G, &entries(1, 4..=6, 100)).unwrap();
    wal.submit().unwrap();
    host.set_write_fault(WriteFault::Fail(EIO));
    host.complete_one();
    for _ in 0..3 {
        let error = wal.poll().unwrap_err();
        assert!(matches!(error, Error::Poisoned { segment: 1, offset: 4_096, .. }), "{error}");
        assert!(matches!(wal.submit(), Err(Error::Poisoned { .. })));
        assert!(matches!(wal.idle(), Err(Error::Poisoned { .. })));
        assert!(matches!(wal.append_entries(G, &entries(1, 7..=7, 1)), Err(Error::Poisoned { .. })));
        assert!(matches!(wal.append_hard_state(G, HardState::default()), Err(Error::Poisoned { .. })));
    }
    assert_eq!((wal.durable_seq(), host.writes_begun()), (1, 0), "no retry, no acknowledgement");
    let (_, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!(recovered.groups[&G].last_index, 3);
}

#[test]
fn a_full_disk_is_met_with_a_reserve_and_left_without_a_hole() {
    let (host, mut wal) = begun([7]);
    assert_eq!(host.file_names().len(), 3, "one in use, the next, one in reserve");
    host.set_capacity(Some(3 * SEGMENT));
    let mut index = 0;
    while wal.has_room() {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    assert!(wal.room_fault().is_some());
    assert_eq!(wal.stats().segments_used, 2, "no room is reported while the reserve is whole");
    // What was accepted is still written, up to the end of the reserve.
    for _ in 0..25 {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    // Beyond it, blocks wait.
    for _ in 0..10 {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        wal.submit().unwrap();
        host.complete_one();
        wal.poll().unwrap();
        host.run_tasks();
    }
    let failures = wal.stats().prepare_failures;
    assert!(wal.pending_bytes() > 0 && failures >= 1);
    assert_eq!(host.writes_begun(), 0);
    host.run_tasks();
    assert_eq!(wal.stats().prepare_failures, failures, "attempts pause in between");
    host.advance(Duration::from_secs(2));
    host.run_tasks();
    assert_eq!(wal.stats().prepare_failures, failures + 1);
    assert!(!wal.has_room());

    host.set_capacity(None);
    host.advance(Duration::from_secs(2));
    host.run_tasks();
    assert!(wal.has_room());
    sync(&host, &mut wal);
    let (wal, _) = open_sound(&host.crash(|_| false));
    assert_eq!(read(&wal, 7, 1, index).unwrap(), entries(1, 1..=index, 1_000));
}

#[test]
fn a_full_disk_at_the_start_of_a_process_hinders_nothing_but_new_segments() {
    let (host, mut wal) = begun([7]);
    wal.append_entries(G, &entries(1, 1..=3, 100)).unwrap();
    sync(&host, &mut wal);
    let host = host.crash(|_| false);
    host.delete(3);
    host.set_capacity(Some(2 * SEGMENT));
    let (mut wal, _) = open_sound(&host);
    assert!(!wal.has_room());
    wal.append_hard_state(G, HardState { term: 5, vote: None, commit: 3 }).unwrap();
    sync(&host, &mut wal);
    host.set_capacity(None);
    host.advance(Duration::from_secs(2));
    host.run_tasks();
    assert!(wal.has_room());
}

#[test]
fn the_background_task_ends_with_the_log() {
    let host = Host::new();
    host.set_capacity(Some(SEGMENT));
    let (wal, _) = open_sound(&host);
    assert!(!wal.has_room());
    drop(wal);
    host.set_capacity(None);
    host.advance(Duration::from_secs(5));
    host.run_tasks();
    assert_eq!(host.file_names().len(), 1);
}

#[test]
fn what_a_crash_left_of_a_preparation_is_removed() {
    let host = Host::new();
    host.put_file("000000000001.seg.tmp", vec![0; 1_000]);
    let (_wal, _) = open_sound(&host);
    assert!(host.file_names().iter().all(|name| name.ends_with(".seg")));
}

/// Appends entries to an empty log until it is so. Returns the index of the last one.
fn append_until(host: &Host, wal: &mut wal::Wal<Host>, is_so: impl Fn(&wal::Wal<Host>) -> bool) -> u64 {
    let mut index = 0;
    while !is_so(wal) {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(host, wal);
    }
    index
}

/// A log whose first segment is free, with every preparation still to come.
fn with_a_free_segment(config: wal::Config) -> (Host, wal::Wal<Host>, u64) {
    let host = Host::new();
    let (mut wal, _) = open_with(&host, config);
    begin(&mut wal, [7]);
    let index = append_until(&host, &mut wal, |wal| wal.stats().segments_used >= 3);
    (host, wal, index)
}

#[test]
fn a_recycled_segment_whose_name_may_not_be_durable_is_not_written() {
    let (host, mut wal, mut index) = with_a_free_segment(config());
    wal.compact(G, index).unwrap();
    sync(&host, &mut wal);
    // A file gets its new name, and the sync of the directory fails.
    host.fail_dir_syncs(1);
    let recycled = wal.stats().segments_recycled;
    while wal.stats().segments_recycled == recycled {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
        host.advance(Duration::from_secs(2));
        host.run_tasks();
        assert!(index < 1_000, "a free segment is used again in the end");
    }
    assert_eq!(wal.stats().prepare_failures, 1);
    // The log goes on into that segment, and the machine dies before the directory changes again.
    let rolls = wal.stats().rolls;
    while wal.stats().rolls < rolls + 2 {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        wal.submit().unwrap();
        host.complete_one();
        wal.poll().unwrap();
    }
    let (wal, recovered) = open_sound(&host.crash(|_| false));
    assert!(recovered.groups[&G].last_index >= index - 1, "{:?}", recovered.groups[&G]);
    let first = recovered.groups[&G].first_index();
    assert!(read(&wal, 7, first, index - 1).is_ok());
}

#[test]
fn a_removed_segment_that_may_come_back_is_removed_again() {
    let (host, mut wal, index) = with_a_free_segment(wal::Config { recycled_segments_max: 0, ..config() });
    wal.compact(G, index).unwrap();
    // A free segment vanishes, and the sync of the directory fails; so does the next one.
    host.fail_dir_syncs(2);
    sync(&host, &mut wal);
    wal.poll().unwrap();
    for _ in 0..10 {
        host.run_tasks();
        host.advance(Duration::from_secs(2));
    }
    assert_eq!((wal.stats().prepare_failures, wal.stats().segments_removed), (2, 2));
    let names = host.crash(|_| false).file_names();
    assert_eq!(names.first().map(String::as_str), Some("000000000003.seg"), "{names:?}");
    open_sound(&host.crash(|_| false));
    // A crash while the removal was being made sure of leaves a file behind, which goes at the next start.
    let host = host.crash(|_| false);
    host.put_file("names.seg", Vec::new());
    open_sound(&host);
    assert!(!host.file_names().contains(&"names.seg".to_owned()));
}

/// A log on a disk without room for another segment, which has noticed.
fn on_a_full_disk() -> (Host, wal::Wal<Host>, u64) {
    let (host, mut wal) = begun([7]);
    host.set_capacity(Some(3 * SEGMENT));
    let index = append_until(&host, &mut wal, |wal| !wal.has_room());
    (host, wal, index)
}

#[test]
fn segments_that_are_held_back_leave_the_room_to_others_until_a_block_waits_for_one() {
    let (host, mut wal, mut index) = on_a_full_disk();
    assert!(wal.is_disk_full());
    wal.hold_segments(true);
    // Somebody gives up room: it is not the log's.
    host.set_capacity(None);
    host.advance(Duration::from_secs(2));
    host.run_tasks();
    assert_eq!(host.file_names().len(), 3);
    assert!(!wal.has_room());
    let mut before = wal.room_bytes();
    assert!(before > SEGMENT as u64 && before < 2 * SEGMENT as u64, "the reserve and a rest: {before}");
    while wal.room_bytes() > 8_192 {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        assert!(wal.room_bytes() < before, "what is appended counts at once");
        before = wal.room_bytes();
        sync(&host, &mut wal);
    }
    assert_eq!(host.file_names().len(), 3, "what is prepared is enough so far");
    while host.file_names().len() == 3 {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
        assert!(index < 300, "a block gets its segment");
    }
    assert!(!wal.has_room());
    wal.hold_segments(false);
    host.run_tasks();
    assert!(wal.has_room() && wal.room_bytes() > SEGMENT as u64);
    let (wal, _) = open_sound(&host.crash(|_| false));
    assert_eq!(read(&wal, 7, 1, index).unwrap(), entries(1, 1..=index, 1_000));
}

#[test]
fn segments_that_are_free_are_used_again_while_others_are_held_back() {
    let (host, mut wal, mut index) = on_a_full_disk();
    wal.hold_segments(true);
    host.advance(Duration::from_secs(2));
    wal.compact(G, index).unwrap();
    while !wal.has_room() {
        index += 1;
        wal.append_entries(G, &entries(1, index..=index, 100)).unwrap();
        sync(&host, &mut wal);
        assert!(index < 300, "a free segment is used again");
    }
    assert_eq!((host.file_names().len(), wal.room_fault()), (3, None));
}
