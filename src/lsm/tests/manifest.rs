//! The manifest: whatever happens to it, a start finds all acknowledged edits or says that it does not.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_lite::future::block_on;
use host::IoClass;
use lsm::files::Files;
use lsm::manifest::{
    BlockHeader, Edit, EditKind, GroupState, Manifest, ManifestSettings, Seal, State, Survey, Written, scan,
    scan_blocks, verify_copies,
};
use lsm::table::{TableInfo, TableSettings};
use lsm::version::{Change, NewRun, NewTable};
use lsm::{Error, FileId, FormatError, TableId};
use proptest::collection::vec;
use proptest::prelude::*;
use support::disk::TestDisk;
use support::store::NoPace;
use support::*;
use types::{GroupId, ReplicaId};

/// What the manifest says of a group: replica, seal, last install, tables.
type GroupContent = (GroupId, ReplicaId, Seal, u64, Change);

const DIR: &str = "/store";
const STORE: u64 = 0xC0FFEE;
const REPLICA: ReplicaId = ReplicaId(3);
const SETTINGS: ManifestSettings = ManifestSettings { bytes_min: 64 << 10 };

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn open(disk: &TestDisk) -> Result<Manifest<TestDisk>, Error> {
    block_on(async {
        let files = Rc::new(Files::open(disk.clone(), PathBuf::from(DIR)).await?);
        Manifest::open(files, SETTINGS, STORE).await
    })
}

/// What a manifest holds, so that it can be compared.
fn content(manifest: &Manifest<TestDisk>) -> Vec<GroupContent> {
    content_of(manifest.state())
}

fn content_of(state: &State) -> Vec<GroupContent> {
    let of = |(group, state): (GroupId, &GroupState)| {
        (group, state.replica, state.seal.clone(), state.installed, state.version.as_change())
    };
    state.groups().map(of).collect()
}

/// What whoever only looks at a manifest finds.
fn surveyed(disk: &TestDisk) -> Result<Option<Vec<GroupContent>>, Error> {
    let files = block_on(Files::open(disk.clone(), PathBuf::from(DIR)))?;
    let survey = block_on(Survey::take(&files));
    survey.state.map(|surveyed| surveyed.map(|surveyed| content_of(&surveyed.state)))
}

fn edit(group: u32, kind: EditKind) -> Edit {
    Edit::Group { group: GroupId(group), replica: REPLICA, kind }
}

fn seal(index: u64, generation: u64) -> Seal {
    Seal { index, term: 2, time_ms: index * 10, generation, id_counter: index, membership: b"members".to_vec() }
}

/// A run of one table in a file of its own. What is in it does not matter here.
fn run(age: u64, file: u64) -> NewRun {
    let table = MemoryTable::build(TableSettings::default(), &Model::from([(b"\0\0hk".to_vec(), put(b"v"))]), &[]);
    let id = TableId { file: FileId { store: STORE, number: file }, offset: 0 };
    let info = TableInfo { id, ..(*table.info).clone() };
    NewRun { age, level: 0, tables: vec![NewTable { info, file, base: 0, from: Vec::new() }] }
}

fn flush(group: u32, index: u64, age: u64, file: u64) -> Edit {
    let change = Change { added: vec![run(age, file)], ..Change::default() };
    edit(group, EditKind::Flush { seal: seal(index, 0), change })
}

/// A step of a history.
#[derive(Clone, Copy, Debug)]
enum Op {
    Flush(u32),
    Merge(u32),
    Install(u32),
    Drop(u32),
    NewGeneration(u32),
}

fn op() -> impl Strategy<Value = Op> {
    (0..10_u8, 1..4_u32).prop_map(|(kind, group)| match kind {
        0..5 => Op::Flush(group),
        5..7 => Op::Merge(group),
        7 => Op::Install(group),
        8 => Op::Drop(group),
        _ => Op::NewGeneration(group),
    })
}

/// The edit that a step is, if it fits.
fn edit_of(op: Op, manifest: &Manifest<TestDisk>, file: u64) -> Option<Edit> {
    let (Op::Flush(group) | Op::Merge(group) | Op::Install(group) | Op::Drop(group) | Op::NewGeneration(group)) = op;
    let state = manifest.group(GroupId(group));
    let index = state.map_or(1, |state| state.seal.index + 1);
    let generation = state.map_or(0, |state| state.seal.generation);
    let age = state.map_or(1, |state| state.version.next_age());
    let change = Change { added: vec![run(age, file)], ..Change::default() };
    let kind = match op {
        Op::Flush(_) => EditKind::Flush { seal: seal(index, generation), change },
        Op::Install(_) => EditKind::Install { seal: seal(index + 5, generation), change },
        Op::Merge(_) => {
            let removed = state?.version.tables().map(|table| table.info.id).collect();
            EditKind::Merge { change: Change { removed, ..change } }
        }
        Op::Drop(_) => state.map(|_| EditKind::Drop)?,
        Op::NewGeneration(_) => EditKind::NewGeneration { seal: seal(index, generation + 1) },
    };
    Some(edit(group, kind))
}

/// Does a step; what it gives a table is a file, which is deleted when its time has come.
fn step(disk: &TestDisk, manifest: &mut Manifest<TestDisk>, op: Op) -> Result<(), Error> {
    let named = manifest.files().give().unwrap();
    let number = named.number();
    disk.put(&path(&lsm::files::data_name(number)), vec![0; 4_096]);
    if let Some(edit) = edit_of(op, manifest, number) {
        block_on(manifest.commit(vec![edit]))?;
    }
    drop(named);
    while let Some(number) = manifest.take_unnamed() {
        disk.delete(&path(&lsm::files::data_name(number)));
    }
    Ok(())
}

/// Files that are named are there, and others are handed out.
fn check_files(disk: &TestDisk, manifest: &Manifest<TestDisk>) {
    let there: Vec<u64> = disk.names().iter().filter_map(|name| lsm::files::data_number(name)).collect();
    let named = || manifest.state().groups().flat_map(|(_, state)| state.version.tables());
    assert!(named().all(|table| there.contains(&table.file.number())), "a named file is missing");
    let unnamed = there.iter().filter(|number| !manifest.files().is_named(**number)).count();
    assert_eq!(manifest.files().unnamed_count(), unnamed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Dies in every change of the disk once, and goes on from there.
    #[test]
    fn a_crash_leaves_the_edits_before_or_the_one_under_way_too(ops in vec(op(), 1..25), dice: u64) {
        let calm = TestDisk::new();
        let mut manifest = open(&calm).unwrap();
        let mut states = vec![content(&manifest)];
        for op in &ops {
            step(&calm, &mut manifest, *op).unwrap();
            states.push(content(&manifest));
        }
        let mut crash_at = 1;
        loop {
            let disk = TestDisk::new();
            disk.crash_at(crash_at, dice);
            let mut done = 0;
            if let Ok(mut manifest) = open(&disk) {
                done = ops.iter().take_while(|op| step(&disk, &mut manifest, **op).is_ok()).count();
            }
            if !disk.has_crashed() {
                break;
            }
            let allowed = &states[done..states.len().min(done + 2)];
            let after = disk.restart();
            let mut manifest = open(&after).unwrap();
            let found = content(&manifest);
            prop_assert!(allowed.contains(&found), "crash {}: {:?} is none of {:?}", crash_at, found, allowed);
            check_files(&after, &manifest);
            // It goes on, and the next start finds that too.
            step(&after, &mut manifest, Op::Flush(9)).unwrap();
            let manifest_again = open(&after.restart()).unwrap();
            prop_assert_eq!(content(&manifest_again), content(&manifest));
            crash_at += 1;
        }
    }

    #[test]
    fn any_bytes_are_a_manifest_or_an_error(bytes in vec(any::<u8>(), 0..300), edits in vec(vec(any::<u8>(), 0..60), 0..4)) {
        let _ = scan(&bytes);
        for edit in &edits {
            let _ = Edit::decode(edit);
        }
        // Edits of any bytes under checksums that are right.
        let edits: Vec<u8> = edits.iter().flat_map(|edit| [&(edit.len() as u32).to_le_bytes()[..], edit].concat()).collect();
        let header = BlockHeader {
            store: 1,
            epoch: 1,
            seq: 1,
            offset: 0,
            edits_len: edits.len() as u32,
            edits_crc: crc32fast::hash(&edits),
            chain: 0,
        };
        let _ = scan(&[&header.encode().0[..], &edits].concat());
    }
}

/// A disk with a manifest of some edits, and what the manifest holds.
fn some(edits: u64) -> (TestDisk, Vec<GroupContent>) {
    let disk = TestDisk::new();
    let mut manifest = open(&disk).unwrap();
    for index in 0..edits {
        let named = manifest.files().give().unwrap();
        let number = named.number();
        disk.put(&path(&lsm::files::data_name(number)), vec![0; 4_096]);
        block_on(manifest.commit(vec![flush(1, index, index + 1, number)])).unwrap();
    }
    (disk, content(&manifest))
}

const NAMES: [&str; 2] = ["manifest.a", "manifest.b"];

/// The offsets of the blocks of a copy.
fn blocks(disk: &TestDisk, name: &str) -> Vec<u64> {
    let content = disk.content(&path(name)).unwrap();
    let headers = content.chunks(4_096).filter_map(|unit| BlockHeader::decode(unit).ok());
    headers.map(|(header, _)| header.offset).collect()
}

fn damage(disk: &TestDisk, name: &str, at: u64) {
    let mut content = disk.content(&path(name)).unwrap();
    content[at as usize] ^= 0x10;
    disk.put(&path(name), content);
}

#[test]
fn damage_to_one_copy_loses_nothing() {
    let (disk, expected) = some(6);
    for name in NAMES {
        for at in (0..blocks(&disk, name).last().unwrap() + 4_096).step_by(97) {
            let damaged = disk.restart();
            damage(&damaged, name, at);
            let manifest = open(&damaged).unwrap();
            assert_eq!(content(&manifest), expected, "{name}, byte {at}");
            assert_eq!(content(&open(&damaged.restart()).unwrap()), expected, "it was repaired");
        }
        for gone in [TestDisk::delete as fn(&TestDisk, &Path), TestDisk::set_unreadable] {
            let damaged = disk.restart();
            gone(&damaged, &path(name));
            assert_eq!(content(&open(&damaged).unwrap()), expected, "{name}");
        }
    }
}

#[test]
fn damage_to_both_copies_is_an_error_if_a_later_block_shows_it() {
    let (disk, _) = some(6);
    let offsets = blocks(&disk, NAMES[0]);
    assert_eq!(offsets, blocks(&disk, NAMES[1]));
    for (idx, at) in offsets.iter().enumerate() {
        let damaged = disk.restart();
        NAMES.iter().for_each(|name| damage(&damaged, name, at + 70));
        match open(&damaged) {
            Err(Error::Damaged { .. }) => {}
            // The last block alone cannot be told from one that was never acknowledged.
            Ok(_) => assert_eq!(idx, offsets.len() - 1),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_store_that_has_lost_its_manifest_is_not_taken_for_a_new_one() {
    let (disk, _) = some(2);
    NAMES.iter().for_each(|name| disk.delete(&path(name)));
    assert!(matches!(open(&disk), Err(Error::ManifestMissing { .. })));
    let (disk, _) = some(0);
    NAMES.iter().for_each(|name| disk.set_unreadable(&path(name)));
    assert!(matches!(open(&disk), Err(Error::ManifestMissing { .. })));
}

#[test]
fn other_versions_are_named_and_left_alone() {
    let (disk, _) = some(2);
    for name in NAMES {
        let mut content = disk.content(&path(name)).unwrap();
        content[7] = b'1';
        let crc = crc32fast::hash(&content[..60]);
        content[60..64].copy_from_slice(&crc.to_le_bytes());
        disk.put(&path(name), content);
    }
    let before = disk.content(&path(NAMES[0]));
    match open(&disk) {
        Err(Error::Damaged { source: FormatError::Version { found: '1' }, .. }) => {}
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(disk.content(&path(NAMES[0])), before);
}

#[test]
fn edits_that_do_not_fit_are_refused_and_nothing_is_written() {
    let (disk, expected) = some(3);
    let mut manifest = open(&disk).unwrap();
    let before = disk.content(&path(NAMES[0]));
    let other_replica = Edit::Group { group: GroupId(1), replica: ReplicaId(4), kind: EditKind::Drop };
    let stale = edit(1, EditKind::Flush { seal: seal(1, 0), change: Change::default() });
    let of_no_group = edit(2, EditKind::Merge { change: Change::default() });
    let same_generation = edit(1, EditKind::NewGeneration { seal: seal(9, 0) });
    let never_given = flush(1, 9, 9, 1 << 40);
    for wrong in [other_replica, stale, of_no_group, same_generation, never_given, Edit::Numbers(0)] {
        // The first of the two would fit.
        let edits = vec![edit(5, EditKind::NewGeneration { seal: seal(1, 1) }), wrong];
        assert!(matches!(block_on(manifest.commit(edits)), Err(Error::Edit { .. })));
    }
    assert_eq!((content(&manifest), disk.content(&path(NAMES[0]))), (expected, before));
}

#[test]
fn a_manifest_that_has_grown_long_is_written_anew() {
    let disk = TestDisk::new();
    let mut manifest = open(&disk).unwrap();
    for index in 0..300 {
        block_on(manifest.commit(vec![edit(1, EditKind::NewGeneration { seal: seal(index, index + 1) })])).unwrap();
    }
    for name in NAMES {
        assert!(disk.content(&path(name)).unwrap().len() as u64 <= SETTINGS.bytes_min + 4_096);
    }
    assert_eq!(content(&open(&disk.restart()).unwrap()), content(&manifest));
}

/// An edit that names no file.
fn seal_only(index: u64) -> Edit {
    edit(1, EditKind::Flush { seal: seal(index, 0), change: Change::default() })
}

#[test]
fn edits_need_no_room_on_a_full_disk() {
    let (disk, expected) = some(3);
    let mut manifest = open(&disk).unwrap();
    disk.set_capacity(Some(disk.used()));
    for index in 10..100 {
        block_on(manifest.commit(vec![seal_only(index)])).unwrap();
    }
    assert_eq!(content(&manifest)[0].4, expected[0].4);
    assert_eq!(content(&open(&disk.restart()).unwrap()), content(&manifest));
}

#[test]
fn an_edit_that_finds_no_room_changes_nothing() {
    let (disk, _) = some(3);
    let mut manifest = open(&disk).unwrap();
    disk.set_capacity(Some(0));
    let mut index = 10;
    // What is allocated is enough for some; then it is not allocated anew.
    while block_on(manifest.commit(vec![seal_only(index)])).is_ok() {
        index += 1;
    }
    assert!((20..100).contains(&index), "there was room for {index}");
    assert_eq!(manifest.group(GroupId(1)).unwrap().seal.index, index - 1);
    assert_eq!(content(&open(&disk.restart()).unwrap()), content(&manifest), "it starts without room");
    disk.put(&path("000000000999.data"), vec![0; 4_096]);
    let started = open(&disk.restart()).unwrap();
    assert_eq!(started.take_unnamed(), Some(999), "and gives room back");
    disk.set_capacity(None);
    block_on(manifest.commit(vec![edit(1, EditKind::Drop)])).unwrap();
    assert!(content(&open(&disk.restart()).unwrap()).is_empty());
}

#[test]
fn a_survey_finds_what_a_start_finds_and_changes_nothing() {
    let disk = TestDisk::new();
    assert!(surveyed(&disk).unwrap().is_none());
    let mut manifest = open(&disk).unwrap();
    block_on(manifest.commit(vec![flush(1, 5, 1, 0)])).unwrap();
    block_on(manifest.commit(vec![flush(2, 7, 1, 1), flush(1, 9, 2, 2)])).unwrap();
    let changes = disk.changes();
    assert_eq!(surveyed(&disk).unwrap(), Some(content(&manifest)));
    assert_eq!(disk.changes(), changes);
    let whole = disk.content(&path("manifest.a")).unwrap();
    let mut edits_counts = Vec::new();
    let copy = scan_blocks(&whole, |header, edits| edits_counts.push((header.seq, edits.len()))).unwrap();
    assert_eq!((edits_counts.len() as u64, edits_counts.last()), (copy.blocks, Some(&(copy.blocks, 2))));
    for name in ["manifest.a", "manifest.b"] {
        for at in (0..whole.len()).step_by(127) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let damaged = disk.restart();
            damaged.put(&path(name), bytes);
            let found = surveyed(&damaged);
            assert_eq!(damaged.changes(), 0);
            match open(&damaged) {
                Ok(manifest) => assert_eq!(found.unwrap(), Some(content(&manifest)), "{name}, {at}"),
                Err(error) => assert_eq!(found.unwrap_err().to_string(), error.to_string(), "{name}, {at}"),
            }
        }
    }
    disk.delete(&path("manifest.a"));
    disk.delete(&path("manifest.b"));
    assert!(surveyed(&disk).unwrap().is_none(), "there is nothing that it would name");
    disk.put(&path("000000000005.data"), Vec::new());
    assert!(matches!(surveyed(&disk), Err(Error::ManifestMissing { .. })));
}

#[test]
fn a_start_removes_files_that_are_not_complete_and_no_others() {
    let (disk, before) = some(3);
    let mut expected = disk.names();
    let unfinished = ["000000000099.data.tmp", "manifest.a.tmp", "manifest.b.new.tmp"];
    for name in unfinished.into_iter().chain(["notes.txt"]) {
        disk.put(&path(name), vec![1; 4_096]);
    }
    assert_eq!(content(&open(&disk).unwrap()), before);
    expected.push("notes.txt".to_owned());
    // Files that were reserved for the next epoch are not complete either, and reserved again when they are needed.
    let complete = |mut names: Vec<String>| {
        names.retain(|name| !name.ends_with(".new"));
        names
    };
    assert_eq!(complete(disk.names()), complete(expected));
}

/// Checks the copies of a manifest that is in use.
fn verify(disk: &TestDisk, written: &Written) -> Result<u64, Error> {
    let files = block_on(Files::open(disk.clone(), PathBuf::from(DIR)))?;
    block_on(verify_copies(&files, written, IoClass::Scrub, &NoPace))
}

#[test]
fn every_flipped_byte_of_a_copy_is_found_while_the_manifest_is_in_use() {
    let disk = TestDisk::new();
    let mut manifest = open(&disk).unwrap();
    (1..6).for_each(|group| step(&disk, &mut manifest, Op::Flush(group)).unwrap());
    let written = manifest.written().unwrap();
    assert!(written.blocks > 5 && written.end == 4_096 * written.blocks, "{written:?}");
    assert_eq!(verify(&disk, &written).unwrap(), 2 * written.end);
    for name in ["manifest.a", "manifest.b"] {
        let content = disk.content(&path(name)).unwrap();
        let mut found_count = 0;
        // All of the headers, and some of the rest.
        for at in (0..written.end as usize).filter(|at| at % 4_096 < 128 || at % 97 == 0) {
            let mut damaged = content[..written.end as usize].to_vec();
            damaged[at] ^= 1 << (at % 8);
            disk.put(&path(name), damaged);
            match verify(&disk, &written) {
                Err(Error::Damaged { path: found, offset, .. }) => {
                    assert_eq!((found, offset as usize), (path(name), at / 4_096 * 4_096), "byte {at}");
                    found_count += 1;
                }
                // Behind its edits a block is padded.
                Ok(_) => assert_eq!(content[at..at / 4_096 * 4_096 + 4_096].iter().max(), Some(&0), "byte {at}"),
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
        assert!(found_count > 64 * written.blocks, "{found_count}");
        disk.put(&path(name), content);
        let (unreadable, missing) = (disk.restart(), disk.restart());
        unreadable.set_unreadable(&path(name));
        missing.delete(&path(name));
        for disk in [unreadable, missing] {
            assert!(verify(&disk, &written).unwrap_err().is_damage());
        }
    }
}

#[test]
fn what_is_written_to_a_manifest_meanwhile_is_no_damage_and_a_copy_that_stood_still_is() {
    let disk = TestDisk::new();
    let mut manifest = open(&disk).unwrap();
    step(&disk, &mut manifest, Op::Flush(1)).unwrap();
    let (before, stale) = (manifest.written().unwrap(), disk.content(&path("manifest.b")).unwrap());
    step(&disk, &mut manifest, Op::Flush(2)).unwrap();
    let after = manifest.written().unwrap();
    assert!(verify(&disk, &before).is_ok() && verify(&disk, &after).is_ok());
    disk.put(&path("manifest.b"), stale);
    assert!(verify(&disk, &after).is_err(), "an acknowledged write never came");
    // Written anew it is sound, and of a later epoch than what was looked for.
    let expected = content(&manifest);
    block_on(manifest.renew()).unwrap();
    let renewed = manifest.written().unwrap();
    assert_eq!(renewed.epoch, after.epoch + 1);
    assert!(verify(&disk, &renewed).is_ok() && verify(&disk, &after).is_ok());
    step(&disk, &mut manifest, Op::Flush(3)).unwrap();
    assert!(verify(&disk, &manifest.written().unwrap()).is_ok());
    let again = open(&disk.restart()).unwrap();
    assert_eq!(content(&again)[..expected.len()], expected[..]);
}
