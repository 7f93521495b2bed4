//! A store of one core against a map: flushes, merges, range deletions, expiry, generations and installs, with the
//! process dying in any change of the disk.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::ops::Bound;
use std::rc::Rc;

use lsm::merge::MergeTask;
use lsm::read::Target;
use lsm::{Error, FormatError};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::disk::TestDisk;
use support::store::*;
use support::*;
use types::GroupId;

const GROUPS: u32 = 3;

/// A step of a history.
#[derive(Clone, Debug)]
enum Op {
    /// Batches of some groups, at a time.
    Flush(Vec<(GroupId, Batch)>),
    /// The merge that a group needs, if it does.
    Merge(GroupId),
    /// The newer runs of a group, if they are many.
    MergeUpper(GroupId),
    /// All runs of a group, or the first window of them.
    MergeAll(GroupId),
    NewGeneration(GroupId),
    /// What another group holds, written anew.
    Install(GroupId, GroupId),
    /// What another group holds, handed over as a snapshot.
    Receive(GroupId, GroupId),
    Drop(GroupId),
}

fn value() -> impl Strategy<Value = ModelRow> {
    let value = prop_oneof![4 => 0..60_usize, 1 => BLOB_BYTES - 1..BLOB_BYTES + 2, 1 => 1_000..9_000_usize];
    let value = (value, any::<u8>()).prop_map(|(len, byte)| ModelValue::Inline(vec![byte; len]));
    let put = (0..4_u8, proptest::option::weighted(0.3, 0..60_u64), value);
    let put = put.prop_map(|(value_type, expiry_ms, value)| ModelPut { value_type, expiry_ms, value });
    proptest::option::weighted(0.75, put)
}

fn batch() -> impl Strategy<Value = Batch> {
    let ranges = vec((key(), key()), 0..3).prop_map(|mut ranges| {
        ranges.retain(|(from, to)| from < to);
        ranges.sort();
        ranges
    });
    (btree_map(key(), value(), 0..25), ranges).prop_map(|(rows, ranges)| Batch { rows, ranges })
}

fn op() -> impl Strategy<Value = Op> {
    let group = || (1..=GROUPS).prop_map(GroupId);
    let batches = vec(batch(), 1..=GROUPS as usize)
        .prop_map(|batches| batches.into_iter().zip(1..).map(|(batch, group)| (GroupId(group), batch)).collect());
    prop_oneof![
        8 => batches.prop_map(Op::Flush),
        4 => (group(), batch()).prop_map(|(group, batch)| Op::Flush(vec![(group, batch)])),
        8 => group().prop_map(Op::Merge),
        4 => group().prop_map(Op::MergeUpper),
        2 => group().prop_map(Op::MergeAll),
        1 => group().prop_map(Op::NewGeneration),
        1 => (group(), group()).prop_map(|(group, from)| Op::Install(group, from)),
        2 => (group(), group()).prop_map(|(group, from)| Op::Receive(group, from)),
        1 => group().prop_map(Op::Drop),
    ]
}

/// What each group holds, and up to which time merges may have dropped what has expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct World {
    groups: [Rows; GROUPS as usize],
    time_ms: u64,
}

impl World {
    fn group(&mut self, group: GroupId) -> &mut Rows {
        &mut self.groups[group.0 as usize - 1]
    }

    fn apply(&mut self, op: &Op) {
        self.time_ms += 1;
        match op {
            Op::Flush(batches) => batches.iter().for_each(|(group, batch)| batch.apply(self.group(*group))),
            Op::Merge(_) | Op::MergeUpper(_) | Op::MergeAll(_) => {}
            Op::NewGeneration(group) | Op::Drop(group) => self.group(*group).clear(),
            Op::Install(group, from) | Op::Receive(group, from) => *self.group(*group) = self.group(*from).clone(),
        }
    }

    /// Whether rows are those of a group, some of them gone whose time has come.
    fn holds(&self, group: u32, rows: &Rows) -> bool {
        let expected = &self.groups[group as usize - 1];
        let may_be_gone = |key: &Vec<u8>, put: &ModelPut| is_gone(key, put, self.time_ms);
        rows.iter().all(|(key, put)| expected.get(key) == Some(put))
            && expected.iter().all(|(key, put)| rows.contains_key(key) || may_be_gone(key, put))
    }
}

/// Whether a row is gone by a time, be it there or not.
fn is_gone(key: &[u8], put: &ModelPut, time_ms: u64) -> bool {
    key[2] == b'h' && is_single_row(put.value_type) && put.expiry_ms.is_some_and(|expiry| expiry <= time_ms)
}

/// Does a step, at the time of the world behind it.
fn step(store: &mut Store, world: &World, op: &Op) -> Result<(), Error> {
    let time_ms = world.time_ms;
    match op {
        Op::Flush(batches) => store.flush(batches, time_ms),
        Op::Merge(group) | Op::MergeUpper(group) | Op::MergeAll(group) => {
            let task = match op {
                Op::MergeUpper(_) => store.upper_task(*group),
                _ => store.task(*group, matches!(op, Op::MergeAll(_))),
            };
            let Some(task) = task else { return Ok(()) };
            store.merge(*group, &task).map(|_| ())
        }
        Op::NewGeneration(group) => store.new_generation(*group, time_ms),
        Op::Install(group, from) => {
            let rows = store.scan(*from, Target::First)?;
            store.install(*group, &rows, time_ms)
        }
        Op::Receive(group, from) => {
            let (snapshot, files) = (store.snapshot(*from, *group), Rc::clone(store.reader.files()));
            store.receive(*group, &snapshot, &files)
        }
        Op::Drop(group) => store.drop_group(*group),
    }
}

/// All that a store holds is what one of some worlds does; both ways, and row by row.
fn check(store: &Store, worlds: &[World]) -> Result<(), TestCaseError> {
    let found: Vec<Rows> = (1..=GROUPS).map(|group| store.scan(GroupId(group), Target::First).unwrap()).collect();
    let holds = |world: &World| found.iter().zip(1..).all(|(rows, group)| world.holds(group, rows));
    prop_assert!(worlds.iter().any(holds), "{:?} is none of {:?}", found, worlds);
    for (rows, group) in found.iter().zip(1..) {
        let group_id = GroupId(group);
        prop_assert_eq!(&store.scan(group_id, Target::Last).unwrap(), rows);
        let time_ms = worlds[0].time_ms;
        let mut live = rows.clone();
        live.retain(|key, put| !is_gone(key, put, time_ms));
        prop_assert_eq!(store.scan_live(group_id, time_ms).unwrap(), live);
        let verified = store.verify(group_id).unwrap();
        prop_assert_eq!(verified.tables, store.version(group_id).tables().count() as u64);
        for key in worlds.iter().flat_map(|world| world.groups[group as usize - 1].keys()) {
            prop_assert_eq!(&store.get(GroupId(group), key).unwrap(), &rows.get(key).cloned());
        }
    }
    store.check_files();
    Ok(())
}

/// The worlds before the first and behind each of some steps.
fn worlds(ops: &[Op]) -> Vec<World> {
    let mut worlds = vec![World::default()];
    for op in ops {
        let mut world = worlds.last().unwrap().clone();
        world.apply(op);
        worlds.push(world);
    }
    worlds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_holds_what_a_map_does(
        ops in vec(op(), 1..30),
        sought in vec((key(), any::<bool>()), 0..8),
        steps in vec(any::<bool>(), 0..12),
    ) {
        let disk = TestDisk::new();
        let mut store = Store::open(&disk).unwrap();
        let worlds = worlds(&ops);
        for (op, world) in ops.iter().zip(&worlds[1..]) {
            step(&mut store, world, op).unwrap();
            check(&store, std::slice::from_ref(world))?;
        }
        let rows = store.scan(GroupId(1), Target::First).unwrap();
        for (key, back) in sought {
            let target = if back { Target::Before(&key) } else { Target::From(&key) };
            let mut expected = rows.clone();
            expected.retain(|other, _| if back { *other < key } else { *other >= key });
            let mut at = if back { expected.keys().next_back() } else { expected.keys().next() };
            let mut keys = vec![at.cloned()];
            for back in &steps {
                // Beside the rows it stays there.
                at = at.and_then(|at| match back {
                    true => rows.range(..at.clone()).next_back().map(|(key, _)| key),
                    false => rows.range((Bound::Excluded(at.clone()), Bound::Unbounded)).next().map(|(key, _)| key),
                });
                keys.push(at.cloned());
            }
            prop_assert_eq!(store.walk(GroupId(1), target, steps.iter().copied()).unwrap(), keys);
            prop_assert_eq!(store.scan(GroupId(1), target).unwrap(), expected);
        }
        store.delete_unnamed().unwrap();
        let store = Store::open(&disk.restart()).unwrap();
        check(&store, &worlds[worlds.len() - 1..])?;
        prop_assert_eq!(store.manifest.files().unnamed_count(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Dies in every change of the disk once, and goes on from there.
    #[test]
    fn a_crash_leaves_the_steps_before_or_the_one_under_way_too(ops in vec(op(), 1..14), dice: u64) {
        let worlds = worlds(&ops);
        for crash_at in 1.. {
            let disk = TestDisk::new();
            disk.crash_at(crash_at, dice.rotate_left(crash_at as u32));
            let mut done = 0;
            if let Ok(mut store) = Store::open(&disk) {
                let all = ops.iter().zip(&worlds[1..]);
                done = all.take_while(|(op, world)| step(&mut store, world, op).is_ok()).count();
            }
            if !disk.has_crashed() {
                break;
            }
            let disk = disk.restart();
            let mut store = Store::open(&disk).unwrap();
            let allowed = &worlds[done..worlds.len().min(done + 2)];
            check(&store, allowed)?;
            store.delete_unnamed().unwrap();
            // It goes on.
            for group in 1..=GROUPS {
                if let Some(task) = store.task(GroupId(group), true) {
                    store.merge(GroupId(group), &task).unwrap();
                }
            }
            check(&store, allowed)?;
            check(&Store::open(&disk.restart()).unwrap(), allowed)?;
        }
    }

    /// What finds no room changes nothing, and leaves nothing behind.
    #[test]
    fn a_full_disk_keeps_what_was(ops in vec(op(), 2..20), room in 0..60_000_usize) {
        let disk = TestDisk::new();
        let mut store = Store::open(&disk).unwrap();
        let worlds = worlds(&ops);
        disk.set_capacity(Some(disk.used() + room));
        let mut done = 0;
        for (op, world) in ops.iter().zip(&worlds[1..]) {
            match step(&mut store, world, op) {
                Ok(()) => done += 1,
                Err(Error::Io { source, .. }) => {
                    prop_assert_eq!(source.raw_os_error(), Some(disk::ENOSPC));
                    break;
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
        }
        let allowed = &worlds[done..worlds.len().min(done + 1)];
        check(&store, allowed)?;
        store.delete_unnamed().unwrap();
        check(&Store::open(&disk.restart()).unwrap(), allowed)?;
        // With room again, all goes on.
        disk.set_capacity(None);
        for (op, world) in ops.iter().zip(&worlds[1..]).skip(done) {
            step(&mut store, world, op).unwrap();
        }
        check(&store, &worlds[worlds.len() - 1..])?;
    }
}

fn row_key(i: u32) -> Vec<u8> {
    [&[0, 0, b'h'][..], format!("{i:06}").as_bytes()].concat()
}

fn flushed(store: &mut Store, keys: impl Iterator<Item = u32>, row: impl Fn(u32) -> ModelRow) {
    let rows = keys.map(|i| (row_key(i), row(i))).collect();
    store.flush(&[(GroupId(1), Batch { rows, ranges: Vec::new() })], 10).unwrap();
}

#[test]
fn a_damaged_block_is_an_error_for_those_who_need_it_and_no_other() {
    let disk = TestDisk::new();
    let mut store = Store::open(&disk).unwrap();
    flushed(&mut store, 0..400, |i| put(format!("value {i}").as_bytes()));
    let name = disk.names().into_iter().find(|name| lsm::files::data_number(name).is_some()).unwrap();
    let path = std::path::Path::new(DIR).join(name);
    let mut content = disk.content(&path).unwrap();
    content[100] ^= 1;
    disk.put(&path, content);
    // The files that are open are those of before.
    let store = Store::open(&disk.restart()).unwrap();
    let results: Vec<_> = (0..400).map(|i| store.get(GroupId(1), &row_key(i))).collect();
    let damaged =
        |result: &Result<_, Error>| matches!(result, Err(Error::Damaged { source: FormatError::Checksum, .. }));
    let count = results.iter().filter(|result| damaged(result)).count();
    assert!((1..20).contains(&count), "{count} rows lie in the damaged block");
    for (i, result) in results.iter().enumerate().filter(|(_, result)| !damaged(result)) {
        assert_eq!(result.as_ref().unwrap(), &put(format!("value {i}").as_bytes()));
    }
    assert!(matches!(store.scan(GroupId(1), Target::First), Err(Error::Damaged { .. })));
}

#[test]
fn a_version_that_somebody_reads_keeps_its_files() {
    let disk = TestDisk::new();
    let mut store = Store::open(&disk).unwrap();
    flushed(&mut store, 0..50, |_| put(b"old"));
    let version = store.version(GroupId(1));
    store.new_generation(GroupId(1), 11).unwrap();
    let get = |store: &Store| futures_lite::future::block_on(store.reader.get(&version, &row_key(7))).unwrap();
    assert!(get(&store).is_some(), "who reads the version before still can");
    assert!(store.get(GroupId(1), &row_key(7)).unwrap().is_none());
    drop(version);
    store.delete_unnamed().unwrap();
    assert!(!disk.names().iter().any(|name| lsm::files::data_number(name).is_some()));
}

#[test]
fn sparse_blob_files_are_given_up() {
    let disk = TestDisk::new();
    let mut store = Store::open(&disk).unwrap();
    let long =
        |i: u32| Some(ModelPut { value_type: 0, expiry_ms: None, value: ModelValue::Inline(vec![i as u8; 5_000]) });
    flushed(&mut store, 0..30, long);
    let full = disk.used();
    flushed(&mut store, (0..30).filter(|i| i % 5 != 0), |_| put(b"short"));
    for _ in 0..2 {
        // The first merge learns that values are hidden, the next one gives the files up.
        if let Some(task) = store.task(GroupId(1), true) {
            store.merge(GroupId(1), &task).unwrap();
        }
    }
    let version = store.version(GroupId(1));
    let (live, all) =
        version.blobs().fold((0, 0), |(live, all), of| (live + of.bytes, all + of.blob.info.value_bytes));
    assert_eq!((live, all), (30_000, 30_000));
    assert!(disk.used() + 100_000 < full, "{} bytes instead of {full}", disk.used());
    for i in (0..30).step_by(5) {
        assert_eq!(store.get(GroupId(1), &row_key(i)).unwrap(), long(i));
    }
}

#[test]
fn merges_tell_of_expired_collections_and_keep_them() {
    let disk = TestDisk::new();
    let mut store = Store::open(&disk).unwrap();
    let row = |i: u32| {
        let value_type = if i.is_multiple_of(2) { COLLECTION } else { 0 };
        Some(ModelPut { value_type, expiry_ms: Some(5), value: ModelValue::Inline(vec![1]) })
    };
    flushed(&mut store, 0..10, row);
    let task = store.task(GroupId(1), true).unwrap();
    let expired = store.merge(GroupId(1), &task).unwrap();
    assert_eq!(expired, (0..10).step_by(2).map(row_key).collect::<Vec<_>>());
    let kept: Vec<_> = store.scan(GroupId(1), Target::First).unwrap().into_keys().collect();
    assert_eq!(kept, expired);
    // They are no reason to merge again and again.
    assert!(store.task(GroupId(1), false).is_none());
}

#[test]
fn a_merge_with_the_oldest_run_goes_by_windows() {
    let disk = TestDisk::new();
    let mut store = Store::open(&disk).unwrap();
    flushed(&mut store, 0..3_000, |i| put(format!("a value that is there first, {i}").as_bytes()));
    flushed(&mut store, (0..3_000_u32).filter(|i| i.is_multiple_of(3)), |i| put(&i.to_le_bytes()));
    let range = (row_key(1_000), row_key(2_000));
    store.flush(&[(GroupId(1), Batch { rows: Model::new(), ranges: vec![range] })], 10).unwrap();
    let expected = store.scan(GroupId(1), Target::First).unwrap();
    let (before, mut room_max, mut windows) = (disk.used(), 0, 0);
    while store.version(GroupId(1)).runs().len() > 1 {
        let version = store.version(GroupId(1));
        let task = MergeTask::all(&version, &store.merges).unwrap();
        // The version is held, so nothing is deleted, and what was added shows.
        let used = disk.used();
        store.merge(GroupId(1), &task).unwrap();
        room_max = room_max.max(disk.used().saturating_sub(used));
        drop((version, task));
        store.delete_unnamed().unwrap();
        windows += 1;
        assert_eq!(store.scan(GroupId(1), Target::First).unwrap(), expected);
        assert_eq!(store.scan(GroupId(1), Target::Last).unwrap(), expected);
    }
    assert!(windows > 3, "{windows} windows");
    assert!(room_max < before / 2, "{room_max} bytes beside {before}");
    assert!(!store.version(GroupId(1)).runs()[0].is_trimmed());
    assert!(expected.keys().all(|key| store.get(GroupId(1), key).unwrap().is_some()));
}

#[test]
fn a_range_deletes_without_reading_what_is_in_it() {
    let disk = TestDisk::new();
    let mut store = Store::open(&disk).unwrap();
    flushed(&mut store, 0..5_000, |i| put(&i.to_le_bytes()));
    let range = (row_key(10), row_key(4_990));
    store.flush(&[(GroupId(1), Batch { rows: Model::new(), ranges: vec![range] })], 10).unwrap();
    let before = disk.reads();
    assert_eq!(store.scan(GroupId(1), Target::First).unwrap().len(), 20);
    assert_eq!(store.scan(GroupId(1), Target::Last).unwrap().len(), 20);
    let reads = disk.reads() - before;
    assert!(reads < 80, "{reads} reads for 20 rows twice");
    while store.version(GroupId(1)).runs().len() > 1 {
        let task = store.task(GroupId(1), true).unwrap();
        store.merge(GroupId(1), &task).unwrap();
    }
    assert_eq!(store.version(GroupId(1)).tables().map(|table| table.info.properties.rows).sum::<u64>(), 20);
}

#[test]
fn the_room_of_what_a_range_deletes_comes_back_by_itself() {
    let deleted_up_to = |end: u32| {
        let disk = TestDisk::new();
        let mut store = Store::open(&disk).unwrap();
        flushed(&mut store, 0..1_000, |i| put(&i.to_le_bytes()));
        let full = store.version(GroupId(1)).table_bytes();
        let range = (row_key(0), row_key(end));
        store.flush(&[(GroupId(1), Batch { rows: Model::new(), ranges: vec![range] })], 10).unwrap();
        while let Some(task) = store.task(GroupId(1), false) {
            store.merge(GroupId(1), &task).unwrap();
        }
        assert_eq!(store.scan(GroupId(1), Target::First).unwrap().len(), 1_000 - end as usize);
        let version = store.version(GroupId(1));
        let rows = version.tables().map(|table| table.info.properties.rows).sum::<u64>();
        (rows, version.table_bytes() < full / 2)
    };
    assert_eq!(deleted_up_to(200), (1_000, false), "a fifth is not worth a merge");
    assert_eq!(deleted_up_to(800), (200, true));
}

#[test]
fn a_row_at_the_beginning_of_a_range_is_found_wherever_tables_end() {
    let disk = TestDisk::new();
    let mut store = Store::open(&disk).unwrap();
    flushed(&mut store, 0..2_000, |_| put(b"oldest"));
    for value in [&b"older"[..], b"newest"] {
        let rows = (0..2_000).map(|i| (row_key(i), put(value))).collect();
        let ranges = (0..2_000).map(|i| (row_key(i), [&row_key(i)[..], b"x"].concat())).collect();
        store.flush(&[(GroupId(1), Batch { rows, ranges })], 10).unwrap();
    }
    let task = store.upper_task(GroupId(1)).unwrap();
    assert!(!task.is_oldest, "the ranges stay");
    store.merge(GroupId(1), &task).unwrap();
    assert!(store.version(GroupId(1)).runs()[0].tables().len() > 10);
    for i in 0..2_000 {
        assert_eq!(store.get(GroupId(1), &row_key(i)).unwrap(), put(b"newest"), "row {i}");
    }
}

#[test]
fn a_merge_reaches_the_table_that_begins_where_the_newer_runs_end() {
    let disk = TestDisk::new();
    let mut store = Store::open(&disk).unwrap();
    flushed(&mut store, 0..200, |_| put(b"old"));
    let begin = store.version(GroupId(1)).tables().last().unwrap().smallest().to_vec();
    let rows = [(begin.clone(), put(b"new"))].into();
    store.flush(&[(GroupId(1), Batch { rows, ranges: Vec::new() })], 10).unwrap();
    let mut merges_count = 0;
    while store.version(GroupId(1)).runs().len() > 1 {
        let task = store.task(GroupId(1), true).unwrap();
        store.merge(GroupId(1), &task).unwrap();
        merges_count += 1;
        assert!(merges_count < 20, "merges get nowhere");
    }
    assert_eq!(store.get(GroupId(1), &begin).unwrap(), put(b"new"));
}
