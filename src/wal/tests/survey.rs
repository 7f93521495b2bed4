//! A survey says what a start would find, and changes nothing.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use futures_lite::future::block_on;
use support::*;
use types::{GroupId, ReplicaId};
use wal::format::HEADER_BYTES;
use wal::record::{self, LogPosition};
use wal::{Condition, Survey, Wal};

const DIR: &str = "/data/wal/core-00";

/// Such a log, of which the first group has let some go.
fn compacted() -> (Host, Wal<Host>) {
    let (host, mut wal) = filled();
    wal.compact(GroupId(1), 25).unwrap();
    sync(&host, &mut wal);
    (host, wal)
}

/// What a survey finds, with the blocks and records that it has shown.
fn survey(host: &Host) -> (Survey, u64, u64) {
    let (mut blocks_count, mut records_count) = (0, 0);
    let seen = |header: &wal::format::BlockHeader, records: &[u8]| {
        blocks_count += 1;
        let (mut rest, mut offset) = (records, u64::from(header.offset) + HEADER_BYTES as u64);
        while !rest.is_empty() {
            let record = record::decode(rest, LogPosition { segment: header.segment, offset }).unwrap();
            records_count += 1;
            offset += record.len as u64;
            rest = &rest[record.len..];
        }
    };
    let survey = block_on(Survey::take(host, Path::new(DIR), seen)).unwrap().unwrap();
    (survey, blocks_count, records_count)
}

/// Compares a survey with what a start finds in the same files.
fn compare(host: &Host) -> Survey {
    let contents = |host: &Host| -> Vec<_> {
        host.file_names().iter().filter_map(|name| wal::format::segment_id(name)).map(|id| host.content(id)).collect()
    };
    let before = contents(host);
    let (survey, blocks_count, records_count) = survey(host);
    assert_eq!(contents(host), before, "nothing was written");
    let (wal, recovered) = open(&host.crash(|_| false));
    let groups: BTreeMap<_, _> = survey.groups.iter().map(|(id, group)| (*id, group.group.clone())).collect();
    assert_eq!((&groups, &survey.destroyed), (&recovered.groups, &recovered.destroyed));
    assert_eq!(survey.damages.first().copied(), recovered.damage);
    assert_eq!((survey.torn_at.is_some(), survey.blocks_count), (recovered.torn_tail, recovered.blocks_count));
    assert_eq!((survey.blocks_count, survey.records_count), (blocks_count, records_count));
    assert_eq!(survey.records_count, recovered.records_count);
    assert_eq!(survey.pins(), wal.pins());
    survey
}

#[test]
fn it_finds_what_a_start_finds() {
    let (host, wal) = compacted();
    let found = compare(&host);
    assert_eq!(found.log_id, Some(0));
    assert_eq!(found.pins().first(), Some(&(GroupId(2), 3)));
    let in_use: u64 =
        found.segments.iter().filter(|segment| segment.used_bytes > 0).map(|segment| segment.bytes).sum();
    assert_eq!(in_use, wal.log_bytes());
    let group = &found.groups[&GroupId(3)];
    let pieces: Vec<_> = group.pieces.iter().map(|piece| (piece.first, piece.last)).collect();
    assert_eq!((pieces.first().unwrap().0, pieces.last().unwrap().1), (1, 30));
    assert!(pieces.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{pieces:?}");
    let live: u64 = found.segments.iter().map(|segment| segment.live_records_count).sum();
    assert_eq!(live, 1 + 30 + 5);
}

#[test]
fn it_tells_who_lives_there_and_who_was_destroyed() {
    let (host, mut wal) = compacted();
    wal.destroy(GroupId(1), ReplicaId(4)).unwrap();
    wal.begin(GroupId(2), ReplicaId(9)).unwrap();
    sync(&host, &mut wal);
    let found = compare(&host);
    assert_eq!(found.destroyed, BTreeMap::from([(GroupId(1), ReplicaId(4))]));
    let living: Vec<_> = found.groups.iter().map(|(id, group)| (id.0, group.group.replica.0)).collect();
    assert_eq!(living, [(2, 9), (3, 1)]);
    assert!(found.groups[&GroupId(2)].pieces.is_empty(), "what it held is no more");
}

#[test]
fn it_names_all_damage_and_the_groups_that_it_concerns() {
    let (host, _) = compacted();
    for place in [8_192, 24_576] {
        host.flip(1, place * 8);
    }
    let found = compare(&host);
    assert_eq!(found.damages.len(), 2, "{:?}", found.damages);
    let is_sound = |group| found.groups[&GroupId(group)].group.condition == Condition::Sound;
    assert_eq!([1, 2, 3].map(is_sound), [true, true, false], "what group 1 has lost was cut off later");
    assert!(!found.may_lack_groups, "later segments name all groups");
}

#[test]
fn an_empty_directory_has_nothing_to_survey_and_zeros_are_a_log_that_did_not_begin() {
    let host = Host::new();
    assert_eq!(block_on(Survey::take(&host, Path::new(DIR), |_, _| {})).unwrap(), None);
    host.put_file("000000000001.seg", vec![0; 64 << 10]);
    let (found, blocks_count, _) = survey(&host);
    assert_eq!((found.log_id, found.blocks_count, blocks_count, found.segments.len()), (None, 0, 0, 1));
    assert!(found.damages.is_empty() && !found.may_lack_groups);
    let without_beginning = Host::new();
    without_beginning.put_file("000000000005.seg", vec![0; 64 << 10]);
    let found = compare(&without_beginning);
    assert!(found.damages.len() == 1 && found.may_lack_groups, "nothing names what lived here");
}

#[test]
fn what_another_log_has_left_is_an_error() {
    let (host, _) = compacted();
    let foreign = wal::format::BlockHeader {
        log: 99,
        segment: 7,
        seq: 1,
        offset: 4_096,
        records_len: 0,
        records_crc: 0,
        chain: 0,
    };
    let mut bytes = vec![0; 64 << 10];
    bytes[4_096..4_096 + HEADER_BYTES].copy_from_slice(&foreign.encode().0);
    host.put_file("000000000099.seg", bytes);
    let (found, ..) = survey(&host);
    assert_eq!(found.log_id, Some(0), "one segment of many");
    let versions = Host::new();
    let mut bytes = vec![0; 64 << 10];
    bytes[..8].copy_from_slice(b"CORAWAL2");
    versions.put_file("000000000001.seg", bytes);
    let error = block_on(Survey::take(&versions, Path::new(DIR), |_, _| {})).unwrap_err();
    assert!(matches!(error, wal::Error::Version { found: '2', .. }), "{error}");
}
