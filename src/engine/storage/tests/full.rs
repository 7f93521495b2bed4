//! Disks without room: what fails keeps the old state, leaves no file, and is tried again.

use std::path::PathBuf;

use super::super::fake::{FakeHost, block_on};
use super::super::fake_core::{FakeCore, config};
use super::transfer::{go_on, pair_of, until_installed, want};
use crate::budget::Pool;

/// More than what anything that has failed waits before it is tried again.
const TURNS_OF_A_PAUSE: usize = 240;

/// Entries of which flushes and merges come, with rows of tables and of blob files.
fn run(core: &mut FakeCore) {
    for len in [1_000, 6_000].repeat(4) {
        core.payload_len = len;
        core.append(1, 70);
        core.turns(40);
    }
}

fn failed(core: &FakeCore) -> (u64, u64) {
    (core.ctx.counters.flushes_failed, core.ctx.counters.merges_failed)
}

/// Asserts that the store has no file that nothing names, and no longer ones than it says, and memory nothing that nobody needs.
fn assert_nothing_is_left(core: &FakeCore, when: &str) {
    assert_eq!(core.data_files().len(), core.named_files(), "{when}");
    let len = |path: &PathBuf| block_on(host::Disk::len(&core.host, &block_on(host::Disk::open(&core.host, path))?));
    let file_bytes: u64 = core.data_files().iter().map(|path| len(path).unwrap()).sum();
    let version = core.storage.store.version(core.replicas.list[1].id);
    let blob_bytes: u64 = version.blobs().map(|live| live.blob.info.len).sum();
    assert_eq!(file_bytes, version.table_bytes() + blob_bytes, "{when}");
    assert_eq!(core.ctx.budget.used_by(Pool::Snapshots), 0, "{when}");
}

#[test]
fn flush_without_room_at_any_step_keeps_the_old_state_and_leaves_no_file() {
    full_at_any_step(true);
}

#[test]
fn flush_and_merge_without_room_at_any_step_keep_the_old_state_and_leave_no_file() {
    full_at_any_step(false);
}

/// A core whose tables are written anew from memory, or merged.
fn start(is_resident: bool) -> FakeCore {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    if !is_resident {
        core.replicas.list[1].keyspace.end_residency();
    }
    core
}

fn full_at_any_step(is_resident: bool) {
    let mut whole = start(is_resident);
    let before = whole.host.room_takers();
    run(&mut whole);
    assert!(whole.ctx.counters.flushes >= 3 && (is_resident || whole.ctx.counters.merges >= 1));
    let takers = whole.host.room_takers() - before;
    assert!(takers > 10, "{takers} operations take room");
    let (mut flushes_failed, mut merges_failed) = (0, 0);
    for left in 0..takers {
        let when = format!("full behind {left} operations");
        let mut core = start(is_resident);
        core.host.fill_after(Some(left));
        run(&mut core);
        let (flushes, merges) = failed(&core);
        flushes_failed += flushes;
        merges_failed += merges;
        assert!(flushes <= 3 && merges <= 3, "{when}: attempts pause in between");
        core.turn_until("nothing is under way", |core| core.storage.flushing.group().is_none());
        core.turns(40);
        assert_nothing_is_left(&core, &when);
        let durable = core.replicas.list[1].durable;
        let again = core.restart_cold();
        assert!(again.replicas.list[1].last >= durable, "{when}");
        core.host.fill_after(None);
        core.turns(TURNS_OF_A_PAUSE);
        core.append(1, 70);
        core.turns(40);
        core.settle();
        core.turns(40);
        assert!(core.storage.snapshot_index(1) > 400 && core.ctx.counters.flushes > 0, "{when}: it is tried again");
        assert_nothing_is_left(&core, &when);
        assert_eq!(core.replicas.list[1].applied, 630, "{when}");
        let mut again = core.restart();
        again.settle();
        assert_eq!(again.replicas.list[1].keyspace.digest(), core.replicas.list[1].keyspace.digest(), "{when}");
    }
    assert!(
        flushes_failed > 5 && (is_resident || merges_failed > 0),
        "{flushes_failed} flushes and {merges_failed} merges"
    );
}

#[test]
fn snapshot_that_finds_no_room_at_any_step_leaves_no_file_and_comes_later() {
    let transfer = |left: Option<usize>| {
        let (mut leader, mut follower) = pair_of(1_000, config(1, 1).log_bytes_max, config(2, 1));
        let before = follower.host.room_takers();
        follower.host.fill_after(left);
        want(&mut follower, 120);
        (0..200).for_each(|_| go_on(&mut leader, &mut follower));
        let takers = follower.host.room_takers() - before;
        (leader, follower, takers)
    };
    let (_, follower, takers) = transfer(None);
    assert_eq!(follower.installed_count, 1);
    assert!(takers > 0);
    let mut failed = 0;
    for left in 0..takers {
        let when = format!("full behind {left} operations");
        let (mut leader, mut follower, _) = transfer(Some(left));
        failed += follower.ctx.counters.snapshots_failed;
        if follower.installed_count == 0 {
            assert_eq!(follower.replicas.list[1].applied, 0, "{when}");
            assert_nothing_is_left(&follower, &when);
            follower.host.fill_after(None);
            follower.turns(TURNS_OF_A_PAUSE);
            want(&mut follower, 120);
            until_installed(&mut leader, &mut follower);
        }
        follower.turns(40);
        assert_nothing_is_left(&follower, &when);
        follower.check_state(1);
    }
    assert!(failed > 0);
}

/// A core with a reserve, and a store with some rows.
fn with_reserve() -> FakeCore {
    let mut config = config(1, 2);
    config.disk_reserve_bytes = RESERVE_BYTES;
    let mut core = FakeCore::start(FakeHost::default(), config);
    core.append(1, 100);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    core.settle();
    core
}

const RESERVE_BYTES: u64 = 256 << 10;

fn reserve_len(core: &FakeCore) -> Option<u64> {
    let path = core.config.store_dir().join("reserve");
    let file = block_on(host::Disk::open(&core.host, &path)).ok()?;
    block_on(host::Disk::len(&core.host, &file)).ok()
}

fn fill(core: &FakeCore) {
    core.host.set_capacity(Some(core.host.used_bytes()));
}

#[test]
fn reserve_is_given_up_to_a_flush_that_finds_no_room_and_made_again_when_there_is_more() {
    let mut core = with_reserve();
    assert_eq!(reserve_len(&core), Some(RESERVE_BYTES));
    fill(&core);
    core.append(1, 100);
    core.turn_until("it is flushed all the same", |core| core.storage.snapshot_index(1) >= 200);
    assert_eq!((core.ctx.counters.flushes_failed, core.ctx.counters.disk_reserves_given_up), (1, 1));
    assert_eq!(reserve_len(&core), None);
    assert!(core.storage.disk_full().is_some_and(|fault| fault.contains("storage space")), "writes wait for it");
    core.settle();
    core.turns(100);
    let used = core.host.used_bytes();
    core.host.set_capacity(Some(used + RESERVE_BYTES + core.config.segment_bytes - 1));
    core.turns(100);
    assert_eq!(reserve_len(&core), None, "writes would resume on the last bytes");
    core.host.set_capacity(Some(used + RESERVE_BYTES + core.config.segment_bytes));
    core.turn_until("it is made again", |core| core.storage.disk_full().is_none());
    assert_eq!((reserve_len(&core), core.ctx.counters.disk_reserves_made), (Some(RESERVE_BYTES), 1));
    assert_eq!(reserve_len(&core.restart()), Some(RESERVE_BYTES));
    core.restart().check_state(1);
}

#[test]
fn full_log_has_its_groups_flushed_with_the_reserve_and_room_again_without_new_segments() {
    let mut core = with_reserve();
    fill(&core);
    // Short entries of the other group pin the log, and would for long.
    core.append(2, 5);
    let mut appended = 0;
    while core.storage.freeing_bytes().is_none() {
        core.append(1, 4);
        core.turn();
        appended += 1;
        assert!(appended < 500, "the log finds no room");
    }
    assert_eq!(core.storage.snapshot_index(2), 0);
    let segments = |core: &FakeCore| block_on(host::Disk::list(&core.host, &core.config.wal_dir())).unwrap().len();
    let before = segments(&core);
    core.turn_until("the group that keeps the log is flushed", |core| core.storage.snapshot_index(2) == 5);
    core.turn_until("segments are used again", |core| core.storage.freeing_bytes().is_none());
    assert!(core.storage.disk_full().is_some() && segments(&core) <= before, "none was made");
    core.host.set_capacity(None);
    core.turn_until("the disk has room", |core| core.storage.disk_full().is_none());
    core.settle();
    core.restart().settle();
}

#[test]
fn start_on_a_disk_that_is_full_does_without_a_reserve_and_gives_one_up_that_it_needs() {
    let mut core = with_reserve();
    core.append(1, 30);
    core.settle();
    let mut config = (*core.config).clone();
    config.disk_reserve_bytes = 4 * RESERVE_BYTES;
    let host = core.host.crash();
    host.set_capacity(Some(host.used_bytes() - RESERVE_BYTES + 4_096));
    let mut again = FakeCore::start(host, config);
    assert!(again.storage.disk_full().is_none(), "there is room in the log");
    assert_eq!(reserve_len(&again), None);
    again.settle();
    again.check_state(1);
    again.host.set_capacity(None);
    again.turn_until("there is one", |core| reserve_len(core) == Some(4 * RESERVE_BYTES));
    // Without its manifests' second copy a start writes both anew.
    let host = core.host.crash();
    host.forget("manifest.b");
    host.fill_after(Some(0));
    let config = (*core.config).clone();
    assert!(FakeCore::try_start(host, config).is_err(), "this disk gives nothing back");
    let host = core.host.crash();
    host.forget("manifest.b");
    host.set_capacity(Some(host.used_bytes()));
    let mut again = FakeCore::start(host, (*core.config).clone());
    again.settle();
    again.check_state(1);
}

/// Found by seed 443446508524: a start on a full disk could reserve no numbers for files, which came with the next edit of the manifest,
/// and that with a flush, which had no number for its file.
#[test]
fn core_without_numbers_for_files_reserves_some_and_flushes() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    let files = core.storage.store.files().clone();
    let given: Vec<_> = std::iter::from_fn(|| files.give()).collect();
    assert!(files.is_exhausted());
    core.append(1, 120);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    assert!(!files.is_exhausted() && given.len() > 100);
    core.settle();
    core.check_state(1);
}
