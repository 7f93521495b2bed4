//! The scrub: what it reads, what it finds, and what becomes of that.

use std::sync::Arc;
use std::time::Duration;

use types::{CoreAddr, GroupId};

use super::super::fake::FakeHost;
use super::super::fake_core::{FakeCore, config, exchange};
use super::super::scrubbing::Stage;
use crate::config::Config;
use crate::origin::LinkId;
use crate::scrub_report::ScrubbedPart;
use crate::settings::NodeSettings;

/// Passes begin only when they are asked for, and nothing slows them down.
fn asked(config: Config) -> Config {
    with_settings(
        &config,
        NodeSettings { scrub_interval: None, scrub_bytes_per_s: 1 << 40, ..NodeSettings::default() },
    )
}

fn with_settings(config: &Config, settings: NodeSettings) -> Config {
    Config { settings, ..config.clone() }
}

/// A core with tables and blobs in some groups, and log behind them that keeps segments.
fn filled(groups_count: usize) -> FakeCore {
    let mut config = asked(config(1, groups_count));
    config.log_tail_bytes_max = 1 << 30;
    let mut core = FakeCore::start(FakeHost::default(), config);
    for group in 1..=groups_count {
        core.append(group, 70);
        core.payload_len = 5_000;
        core.append(group, 50);
        core.payload_len = 1_000;
        core.turn_until("it is flushed", |core| core.storage.snapshot_index(group) > 0);
        core.append(group, 10);
    }
    core.settle();
    core.turns(400);
    core
}

/// A whole pass.
fn pass(core: &mut FakeCore) {
    let passes = core.ctx.counters.scrub_passes;
    assert!(core.storage.scrub_soon(&core.ctx));
    core.turn_until("a pass has ended", |core| core.ctx.counters.scrub_passes > passes);
}

fn damaged(core: &FakeCore) -> Vec<(ScrubbedPart, Vec<GroupId>)> {
    let findings = core.storage.scrub_report(&core.ctx).findings;
    findings.into_iter().map(|finding| (finding.part, finding.groups)).collect()
}

#[test]
fn a_pass_over_what_is_sound_reads_all_of_it_and_finds_nothing() {
    let mut core = filled(2);
    assert!(core.named_files() > 4 && core.storage.log_stats().segments_used > 2);
    let read = core.host.read_bytes();
    pass(&mut core);
    let counters = core.ctx.counters.clone();
    assert_eq!((counters.scrub_passes, counters.scrub_damaged, counters.scrub_unread), (1, 0, 0));
    assert_eq!((counters.scrub_errors_passed, counters.tables_damaged), (0, 0));
    let files: u64 = core.data_files().iter().map(|file| core.host.len_of(file)).sum();
    let sealed = (core.storage.log_stats().segments_used - 1) * core.config.segment_bytes;
    let bytes = counters.scrub_bytes;
    assert!(bytes > files && bytes < files + sealed + (64 << 10), "{bytes} of {files} and {sealed}");
    assert!(core.host.read_bytes() - read >= bytes);
    // Another pass is another pass, and none comes by itself.
    pass(&mut core);
    core.turns(2_000);
    assert_eq!(core.ctx.counters.scrub_passes, 2);
}

#[test]
fn passes_come_by_themselves_at_the_interval_and_not_at_all_at_rate_zero() {
    let interval = Some(Duration::from_secs(10));
    let mut core = filled(1);
    let every = NodeSettings { scrub_interval: interval, ..core.config.settings.clone() };
    let every = with_settings(&core.config, every);
    core = FakeCore::start(core.host.crash(), every.clone());
    core.turn_until("the first one has ended", |core| core.ctx.counters.scrub_passes == 1);
    assert!(core.ctx.now < types::Instant::ZERO + Duration::from_secs(600));
    let first = core.ctx.now;
    core.turn_until("the second one has ended", |core| core.ctx.counters.scrub_passes == 2);
    let apart = core.ctx.now.since(first);
    assert!(apart > Duration::from_secs(9) && apart < Duration::from_secs(11), "{apart:?}");
    let off = NodeSettings { scrub_bytes_per_s: 0, ..every.settings.clone() };
    let off = with_settings(&every, off);
    let mut core = FakeCore::start(core.host.crash(), off);
    assert!(!core.storage.scrub_soon(&core.ctx));
    core.turns(1_000);
    assert_eq!((core.ctx.counters.scrub_passes, core.ctx.counters.scrub_bytes), (0, 0));
}

/// Other settings are in force from now on.
fn change(core: &mut FakeCore, settings: NodeSettings) {
    let before = std::mem::replace(&mut core.ctx.settings, Arc::new(settings));
    core.storage.settings_changed(&core.ctx, &before);
}

#[test]
fn a_pass_under_way_goes_on_at_another_rate_and_ends_without_one() {
    let core = filled(1);
    let slow = NodeSettings { scrub_bytes_per_s: 64 << 10, ..core.config.settings.clone() };
    let mut core = FakeCore::start(core.host.crash(), with_settings(&core.config, slow.clone()));
    assert!(core.storage.scrub_soon(&core.ctx));
    core.turns(200);
    assert!(core.storage.scrub_report(&core.ctx).under_way.is_some());
    change(&mut core, NodeSettings { scrub_bytes_per_s: 1 << 40, ..slow.clone() });
    let begun_at = core.ctx.now;
    core.turn_until("the pass has ended", |core| core.ctx.counters.scrub_passes == 1);
    assert!(core.ctx.now.since(begun_at) < Duration::from_secs(3), "a chunk may have been waited for");
    change(&mut core, slow.clone());
    assert!(core.storage.scrub_soon(&core.ctx));
    core.turns(200);
    change(&mut core, NodeSettings { scrub_bytes_per_s: 0, ..slow.clone() });
    assert!(core.storage.scrub_report(&core.ctx).under_way.is_none() && !core.storage.scrub_soon(&core.ctx));
    let next_in = |core: &FakeCore| core.storage.scrub_report(&core.ctx).next_in;
    assert_eq!(next_in(&core), None);
    let interval = Duration::from_secs(100);
    change(&mut core, NodeSettings { scrub_interval: Some(interval), ..slow });
    assert!(next_in(&core).is_some_and(|time| time <= interval), "{:?}", next_in(&core));
}

#[test]
fn it_reads_no_faster_than_it_may_and_ends_when_the_core_stops() {
    let mut core = filled(1);
    let rate = 64 << 10;
    let slow = NodeSettings { scrub_bytes_per_s: rate, ..core.config.settings.clone() };
    core = FakeCore::start(core.host.crash(), with_settings(&core.config, slow));
    assert!(core.storage.scrub_soon(&core.ctx));
    let begun_at = core.ctx.now;
    core.turns(200);
    let (bytes, took) = (core.ctx.counters.scrub_bytes, core.ctx.now.since(begun_at));
    let allowed = rate * (took.as_millis() as u64 + 1_000) / 1_000;
    assert!(bytes > 0 && bytes <= allowed, "{bytes} in {took:?}");
    assert!(core.storage.scrubbing.pass.is_some());
    core.ctx.is_stopping = true;
    core.turns(50);
    assert!(core.storage.scrubbing.pass.is_none());
    let stopped_at = core.ctx.counters.scrub_bytes;
    core.turns(200);
    assert_eq!((core.ctx.counters.scrub_bytes, core.ctx.counters.scrub_passes), (stopped_at, 0));
}

#[test]
fn damaged_tables_are_written_anew_from_memory() {
    let mut core = filled(2);
    let version = core.storage.store.version(GroupId(2));
    let table = version.tables().next().map(|table| (table.file.number(), table.base as usize)).unwrap();
    drop(version);
    core.host.damage(&core.config.store_dir().join(lsm::files::data_name(table.0)), table.1 + 100);
    pass(&mut core);
    assert_eq!(damaged(&core), [(ScrubbedPart::Table, vec![GroupId(2)])]);
    assert_eq!((core.ctx.counters.scrub_damaged, core.ctx.counters.tables_damaged), (1, 1));
    core.turn_until("its rows are written anew", |core| core.storage.records.damaged().count() == 0);
    core.settle();
    pass(&mut core);
    assert_eq!((core.ctx.counters.scrub_damaged, damaged(&core)), (1, Vec::new()), "the alarm is over");
    let again = core.restart();
    assert!((1..=2).all(|group| again.replicas.list[group].keyspace.is_resident()));
}

#[test]
fn damaged_blobs_are_found_like_tables() {
    let mut core = filled(1);
    let version = core.storage.store.version(GroupId(1));
    let blob = version.blobs().next().map(|live| (live.blob.file.number(), live.blob.base as usize)).unwrap();
    drop(version);
    core.host.damage(&core.config.store_dir().join(lsm::files::data_name(blob.0)), blob.1 + 300);
    pass(&mut core);
    assert_eq!(damaged(&core), [(ScrubbedPart::Blob, vec![GroupId(1)])]);
    core.turn_until("its rows are written anew", |core| core.storage.records.damaged().count() == 0);
}

#[test]
fn a_replica_without_all_rows_in_memory_takes_another_ones_state_over() {
    let (mut leader, core) = (filled(1), filled(1));
    let mut small = (*core.config).clone();
    small.limits.rows_bytes_max = 0;
    let mut core = FakeCore::start(core.host.crash(), small);
    core.settle();
    assert!(!core.replicas.list[1].keyspace.is_resident());
    core.damage_tables();
    pass(&mut core);
    assert_eq!(core.ctx.counters.scrub_damaged, 1, "one is enough to know that the state is lost");
    core.turn_until("it is lost", |core| core.replicas.list[1].is_lost);
    core.storage.link_state(LinkId(0), CoreAddr { node: types::NodeId(2), ..core.config.place }, true);
    for _ in 0..2_000 {
        core.turn();
        exchange(&mut core, &mut leader);
        leader.turn();
        if core.installed_count > 0 {
            break;
        }
    }
    assert_eq!((core.installed_count, core.replicas.list[1].is_lost), (1, false));
    pass(&mut core);
    assert_eq!((core.ctx.counters.scrub_damaged, damaged(&core)), (1, Vec::new()));
}

#[test]
fn a_damaged_copy_of_the_manifest_is_written_anew_from_memory() {
    for name in ["manifest.a", "manifest.b"] {
        let mut core = filled(1);
        core.host.damage(&core.config.store_dir().join(name), 4_096 + 70);
        pass(&mut core);
        assert_eq!(damaged(&core), [(ScrubbedPart::Manifest, Vec::new())], "{name}");
        core.turn_until("it is at rest", |core| core.storage.store.is_at_rest());
        pass(&mut core);
        assert_eq!((core.ctx.counters.scrub_damaged, damaged(&core)), (1, Vec::new()));
        // Without the other one a start finds all of it.
        let again = core.host.crash();
        again.forget(if name == "manifest.a" { "manifest.b" } else { "manifest.a" });
        let mut again = FakeCore::start(again, (*core.config).clone());
        again.settle();
        assert_eq!(again.storage.snapshot_index(1), core.storage.snapshot_index(1));
    }
}

#[test]
fn a_damaged_segment_of_the_log_goes_once_those_who_keep_it_are_flushed() {
    let mut core = filled(2);
    let segment = core.storage.log.sealed_behind(0).unwrap();
    let file = segment.path();
    drop(segment);
    core.host.damage(&file, 5_000);
    pass(&mut core);
    assert_eq!(damaged(&core), [(ScrubbedPart::Log, vec![GroupId(1)])], "group 2 begins behind it");
    let set_aside = file.with_extension("seg.set-aside");
    core.turn_until("it is let go, and its place is not used again", |core| core.host.has(&set_aside));
    core.append(1, 1);
    core.settle();
    core.turns(20);
    pass(&mut core);
    assert_eq!((core.ctx.counters.scrub_damaged, damaged(&core)), (1, Vec::new()));
    // A start does not meet it any more: nobody is quarantined.
    let mut again = core.restart();
    assert_eq!(again.quarantined, []);
    again.settle();
    assert_eq!(again.replicas.list[1].applied, core.replicas.list[1].applied);
}

#[test]
fn what_can_be_read_again_is_no_damage() {
    let mut core = filled(1);
    core.host.set_unreadable("", true);
    assert!(core.storage.scrub_soon(&core.ctx));
    core.turns(20);
    core.host.set_unreadable("", false);
    core.turn_until("a pass has ended", |core| core.ctx.counters.scrub_passes == 1);
    let counters = &core.ctx.counters;
    assert_eq!((counters.scrub_damaged, counters.tables_damaged, counters.scrub_errors_passed), (0, 0, 1));
}

#[test]
fn tables_that_are_replaced_while_they_are_read_are_no_damage() {
    let mut core = filled(1);
    core.host.set_unreadable(".data", true);
    assert!(core.storage.scrub_soon(&core.ctx));
    core.turn_until("a table is being read again", |core| {
        let pass = core.storage.scrubbing.pass.as_ref();
        pass.is_some_and(|pass| matches!(pass.stage, Stage::Parts { .. }) && pass.is_checking)
    });
    core.turns(4);
    // Somebody else comes across it, and the rows are written to other tables before the second read fails.
    core.storage.tables_are_damaged(&mut core.ctx, GroupId(1), &"a checksum");
    core.turn_until("they are written anew", |core| core.storage.records.damaged().count() == 0);
    assert!(core.storage.scrubbing.pass.is_some());
    core.turn_until("a pass has ended", |core| core.ctx.counters.scrub_passes == 1);
    assert_eq!((core.ctx.counters.scrub_damaged, core.ctx.counters.tables_damaged), (0, 1));
}
