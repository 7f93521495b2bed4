//! Files that are synced at chosen points: what a crash leaves of them.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use host::{ALIGNMENT, AlignedBuf};
use sim::disk::{File, NodeDisk, SECTOR_BYTES, WriteFault};
use sim::prng::Prng;

const PAGE: u64 = ALIGNMENT as u64;
const TABLE: &str = "/data/1.table";
const TRIES_COUNT: u64 = 200;

fn disk() -> NodeDisk {
    let mut disk = NodeDisk::new(SECTOR_BYTES[0]);
    disk.create_dir_all(Path::new("/data"));
    disk
}

fn page(byte: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(ALIGNMENT);
    buf.fill(byte);
    buf
}

fn sync(disk: &mut NodeDisk, file: File) {
    let mark = disk.sync_mark(file);
    disk.sync(file, mark).unwrap();
}

fn fail_power(disk: &mut NodeDisk, prng: &mut Prng) {
    disk.lose_power(prng);
    disk.crash(prng);
}

/// A file whose name and four pages of ones last.
fn synced(disk: &mut NodeDisk) -> File {
    let file = disk.create_unsynced(Path::new(TABLE), 4 * PAGE).unwrap();
    for idx in 0..4 {
        disk.write(file, idx * PAGE, &page(1)).unwrap();
    }
    sync(disk, file);
    disk.sync_dir(Path::new("/data"));
    file
}

/// What a page of the file holds, as long as it is of one piece.
fn byte_of(disk: &NodeDisk, idx: u64) -> Option<u8> {
    let file = disk.open(Path::new(TABLE)).unwrap();
    let bytes = disk.read(file, idx * PAGE, ALIGNMENT).unwrap();
    bytes.iter().all(|byte| *byte == bytes[0]).then_some(bytes[0])
}

#[test]
fn unsynced_writes_are_read_until_power_fails_and_then_lost_kept_or_torn_in_any_order() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..TRIES_COUNT {
        let (mut disk, mut prng) = (disk(), Prng::stream(seed, "disk"));
        let file = synced(&mut disk);
        disk.write(file, 0, &page(2)).unwrap();
        disk.write(file, PAGE, &page(2)).unwrap();
        assert_eq!([byte_of(&disk, 0), byte_of(&disk, 1)], [Some(2); 2], "what was written is read");
        disk.crash(&mut prng);
        assert_eq!([byte_of(&disk, 0), byte_of(&disk, 1)], [Some(2); 2], "a process that dies loses none of it");
        fail_power(&mut disk, &mut prng);
        assert_eq!([byte_of(&disk, 2), byte_of(&disk, 3)], [Some(1); 2], "what was synced lasts");
        let outcome = [byte_of(&disk, 0), byte_of(&disk, 1)];
        outcomes.insert(outcome);
        fail_power(&mut disk, &mut prng);
        assert_eq!([byte_of(&disk, 0), byte_of(&disk, 1)], outcome, "what a failure left lasts");
    }
    for first in [Some(1), Some(2), None] {
        for second in [Some(1), Some(2), None] {
            assert!(outcomes.contains(&[first, second]), "{first:?} and {second:?} never came about");
        }
    }
}

#[test]
fn a_page_written_twice_may_hold_either_or_what_was_before() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..TRIES_COUNT {
        let (mut disk, mut prng) = (disk(), Prng::stream(seed, "disk"));
        let file = synced(&mut disk);
        disk.write(file, 0, &page(2)).unwrap();
        disk.write(file, 0, &page(3)).unwrap();
        fail_power(&mut disk, &mut prng);
        outcomes.extend(byte_of(&disk, 0));
    }
    assert_eq!(outcomes, BTreeSet::from([1, 2, 3]));
}

#[test]
fn a_sync_keeps_what_was_written_before_it_began() {
    let mut lost_count = 0;
    for seed in 0..TRIES_COUNT {
        let (mut disk, mut prng) = (disk(), Prng::stream(seed, "disk"));
        let file = synced(&mut disk);
        disk.write(file, 0, &page(2)).unwrap();
        let mark = disk.sync_mark(file);
        disk.write(file, PAGE, &page(2)).unwrap();
        disk.sync(file, mark).unwrap();
        fail_power(&mut disk, &mut prng);
        assert_eq!(byte_of(&disk, 0), Some(2));
        lost_count += u64::from(byte_of(&disk, 1) == Some(1));
    }
    assert!((1..TRIES_COUNT).contains(&lost_count), "{lost_count}");
}

#[test]
fn after_a_failed_sync_a_later_one_that_succeeds_saves_nothing() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..TRIES_COUNT {
        let (mut disk, mut prng) = (disk(), Prng::stream(seed, "disk"));
        let file = synced(&mut disk);
        disk.write(file, 0, &page(2)).unwrap();
        disk.fail_sync(file, &mut prng);
        assert_eq!(byte_of(&disk, 0), Some(2), "the damage does not show");
        sync(&mut disk, file);
        disk.write(file, PAGE, &page(2)).unwrap();
        sync(&mut disk, file);
        fail_power(&mut disk, &mut prng);
        outcomes.insert(byte_of(&disk, 0));
        assert_eq!(byte_of(&disk, 1), Some(2), "what was written afterwards and synced lasts");
    }
    assert_eq!(outcomes, BTreeSet::from([Some(1), Some(2), None]));
}

#[test]
fn a_name_lasts_once_its_own_directory_is_synced() {
    let mut seen = BTreeSet::new();
    for seed in 0..TRIES_COUNT {
        let (mut disk, mut prng) = (disk(), Prng::stream(seed, "disk"));
        let names = ["/data/a", "/data/b", "/data/c"];
        for (idx, name) in names.into_iter().enumerate() {
            let file = disk.create_unsynced(Path::new(name), PAGE).unwrap();
            sync(&mut disk, file);
            if idx == 0 {
                disk.sync_dir(Path::new("/data"));
            }
        }
        disk.sync_dir(Path::new("/elsewhere"));
        let used = disk.used();
        disk.crash(&mut prng);
        assert_eq!(disk.used(), used, "a process that dies loses no name");
        fail_power(&mut disk, &mut prng);
        let exists = names.map(|name| disk.exists(Path::new(name)));
        assert!(exists[0], "its directory was synced");
        assert_eq!(disk.used(), PAGE * exists.into_iter().filter(|exists| *exists).count() as u64);
        seen.insert((exists[1], exists[2]));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn a_removed_file_may_return_until_its_directory_is_synced() {
    let (mut returned_count, mut prng) = (0, Prng::stream(1, "disk"));
    for is_synced in [true, false] {
        for _ in 0..TRIES_COUNT {
            let mut disk = disk();
            synced(&mut disk);
            disk.remove(Path::new(TABLE)).unwrap();
            if is_synced {
                disk.sync_dir(Path::new("/data"));
            }
            fail_power(&mut disk, &mut prng);
            let exists = disk.exists(Path::new(TABLE));
            assert!(!exists || !is_synced && byte_of(&disk, 0) == Some(1));
            assert_eq!(disk.used(), if exists { 4 * PAGE } else { 0 });
            returned_count += u64::from(exists);
        }
    }
    assert!((1..TRIES_COUNT).contains(&returned_count), "{returned_count}");
}

#[test]
fn a_length_that_was_not_synced_is_the_old_or_the_new_one() {
    for new_pages in [2, 6] {
        let mut lens = BTreeSet::new();
        for seed in 0..TRIES_COUNT {
            let (mut disk, mut prng) = (disk(), Prng::stream(seed, "disk"));
            let file = synced(&mut disk);
            disk.truncate(file, new_pages * PAGE).unwrap();
            assert_eq!((disk.len(file).unwrap(), disk.used()), (new_pages * PAGE, new_pages * PAGE));
            fail_power(&mut disk, &mut prng);
            let file = disk.open(Path::new(TABLE)).unwrap();
            let len = disk.len(file).unwrap();
            lens.insert(len / PAGE);
            assert_eq!(disk.used(), len);
            let bytes: Vec<_> = (0..len / PAGE).map(|idx| byte_of(&disk, idx).unwrap()).collect();
            let expected: Vec<u8> = (0..len / PAGE).map(|idx| u8::from(idx < 4)).collect();
            assert_eq!(bytes, expected);
        }
        assert_eq!(lens, BTreeSet::from([4, new_pages]));
    }
}

#[test]
fn a_full_disk_is_met_when_space_is_reserved_and_not_when_it_is_written() {
    let mut disk = disk();
    disk.capacity = Some(4 * PAGE);
    let error = disk.create_unsynced(Path::new(TABLE), 5 * PAGE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(!disk.exists(Path::new(TABLE)) && disk.used() == 0, "nothing is left behind");
    let file = disk.create_unsynced(Path::new(TABLE), 4 * PAGE).unwrap();
    assert_eq!(disk.create_unsynced(Path::new(TABLE), PAGE).unwrap_err().kind(), ErrorKind::AlreadyExists);
    for idx in 0..4 {
        disk.write(file, idx * PAGE, &page(7)).unwrap();
    }
    assert_eq!(disk.write(file, 4 * PAGE, &page(7)).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.truncate(file, PAGE).unwrap();
    disk.create_unsynced(Path::new("/data/2.table"), 3 * PAGE).unwrap();
}

#[test]
fn a_write_under_way_when_a_process_dies_is_not_synced_either() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..TRIES_COUNT {
        let (mut disk, mut prng) = (disk(), Prng::stream(seed, "disk"));
        let file = synced(&mut disk);
        disk.tear_into_cache(file, 0, &page(2), &mut prng);
        let read = byte_of(&disk, 0);
        fail_power(&mut disk, &mut prng);
        outcomes.insert((read == Some(1), read == Some(2), byte_of(&disk, 0) == Some(1)));
    }
    for expected in [(true, false, true), (false, true, true), (false, true, false), (false, false, true)] {
        assert!(outcomes.contains(&expected), "{expected:?} never came about: {outcomes:?}");
    }
}

#[test]
fn a_lost_write_of_such_a_file_never_comes_back_and_a_misdirected_one_lands_elsewhere() {
    let mut landed_count = 0;
    for seed in 0..TRIES_COUNT {
        for fault in [WriteFault::Lose, WriteFault::Misdirect] {
            let (mut disk, mut prng) = (disk(), Prng::stream(seed, "disk"));
            let file = synced(&mut disk);
            disk.write_wrong(fault, file, PAGE, &page(2), &mut prng).expect("nobody is told");
            sync(&mut disk, file);
            fail_power(&mut disk, &mut prng);
            assert_eq!(byte_of(&disk, 1), Some(1), "{fault:?}");
            let landed = [0, 2, 3].into_iter().filter(|idx| byte_of(&disk, *idx) == Some(2)).count();
            assert!(landed == 0 || landed == 1 && fault == WriteFault::Misdirect);
            landed_count += landed;
        }
    }
    assert!(landed_count > 0);
}
