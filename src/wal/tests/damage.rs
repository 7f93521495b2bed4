//! Damage to acknowledged data is found, named, and never repaired by forgetting.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use support::*;
use types::GroupId;
use wal::format::segment_name;
use wal::{Condition, DamageKind, Error, Fault, Wal};
use wire::HardState;

const G: GroupId = GroupId(7);

/// Blocks 1 to 10 at offsets 0, 4096, ...; one entry each; not marked.
fn ten_blocks() -> (Host, Wal<Host>) {
    let host = Host::new();
    let (mut wal, _) = open_sound(&host);
    append_blocks(&host, &mut wal, 1..=10);
    (host, wal)
}

fn append_blocks(host: &Host, wal: &mut Wal<Host>, indices: std::ops::RangeInclusive<u64>) {
    for index in indices {
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(host, wal);
    }
}

fn damage_after(host: &Host) -> DamageKind {
    let host = host.crash(|_| false);
    let (mut wal, recovered) = open(&host);
    for group in recovered.groups.values() {
        assert_eq!(group.condition, Condition::Quarantined(Fault::LogDamaged));
    }
    assert!(matches!(wal.append_hard_state(G, HardState::default()), Err(Error::Damaged(_))));
    assert!(matches!(wal.submit(), Err(Error::Damaged(_))));
    assert!(matches!(wal.poll(), Err(Error::Damaged(_))));
    assert_eq!(host.writes_begun(), 0);
    recovered.damage.expect("the log is damaged").kind
}

#[test]
fn a_flipped_bit_before_the_last_block_is_damage() {
    for block in 0..9 {
        let (host, _wal) = ten_blocks();
        host.flip(1, (block * 4_096 + 500) * 8);
        let kind = damage_after(&host);
        assert!(matches!(kind, DamageKind::LaterBlock { .. }), "{kind:?}");
    }
}

#[test]
fn a_lost_write_is_damage() {
    let (host, mut wal) = ten_blocks();
    wal.append_entries(G, &entries(1, 11..=11, 1_000)).unwrap();
    wal.submit().unwrap();
    host.set_write_fault(WriteFault::Lose);
    sync(&host, &mut wal);
    append_blocks(&host, &mut wal, 12..=12);
    let kind = damage_after(&host);
    assert!(matches!(kind, DamageKind::LaterBlock { expected_seq: 11, found_seq: 12, .. }), "{kind:?}");
}

#[test]
fn a_lost_write_is_damage_even_if_an_old_block_stood_there() {
    let (host, mut wal) = ten_blocks();
    // Go on until a segment is used again, so that a whole block of an earlier life stands at every place.
    let mut index = 10;
    while wal.stats().segments_recycled < 5 {
        index += 1;
        append_blocks(&host, &mut wal, index..=index);
        wal.compact(G, index - 1).unwrap();
        wal.poll().unwrap();
    }
    wal.append_entries(G, &entries(1, index + 1..=index + 1, 1_000)).unwrap();
    wal.submit().unwrap();
    host.set_write_fault(WriteFault::Lose);
    sync(&host, &mut wal);
    wal.idle().unwrap();
    sync(&host, &mut wal);
    assert!(matches!(damage_after(&host), DamageKind::LaterBlock { .. }));
}

#[test]
fn a_misdirected_write_is_damage_wherever_it_lands() {
    for offset in (0..60_000).step_by(4_096).filter(|offset| *offset != 10 * 4_096) {
        let (host, mut wal) = ten_blocks();
        wal.append_entries(G, &entries(1, 11..=11, 1_000)).unwrap();
        wal.submit().unwrap();
        host.set_write_fault(WriteFault::Misdirect { offset });
        sync(&host, &mut wal);
        let kind = damage_after(&host);
        assert!(matches!(kind, DamageKind::LaterBlock { .. }), "to {offset}: {kind:?}");
        let error = read(&wal, 7, 11, 11).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

#[test]
fn an_old_version_of_a_block_breaks_the_chain() {
    let (host, mut wal) = ten_blocks();
    // The same sequence number with other content, as if a rewritten block had been lost.
    let old = host.content(1)[9 * 4_096..10 * 4_096].to_vec();
    let other = {
        let (host, mut wal) = (Host::new(), None::<Wal<Host>>);
        let wal = wal.insert(open_sound(&host).0);
        append_blocks(&host, wal, 1..=9);
        wal.append_entries(G, &entries(2, 10..=10, 1_000)).unwrap();
        sync(&host, wal);
        host.content(1)[9 * 4_096..10 * 4_096].to_vec()
    };
    assert_ne!(old, other);
    append_blocks(&host, &mut wal, 11..=11);
    host.change(1, |bytes| bytes[9 * 4_096..10 * 4_096].copy_from_slice(&other));
    assert_eq!(damage_after(&host), DamageKind::BrokenChain { seq: 11 });
}

#[test]
fn a_missing_segment_is_damage_or_loss_of_its_groups() {
    let (host, mut wal) = ten_blocks();
    append_blocks(&host, &mut wal, 11..=50);
    wal.append_entries(GroupId(8), &entries(1, 1..=1, 10)).unwrap();
    sync(&host, &mut wal);
    assert!(wal.stats().segments_used >= 4);

    let middle = host.crash(|_| false);
    middle.delete(2);
    assert_eq!(damage_after(&middle), DamageKind::SegmentMissing);

    let last = host.crash(|_| false);
    last.delete(wal.stats().segments_used);
    assert_eq!(damage_after(&last), DamageKind::SegmentMissing, "prepared segments stand behind it");

    let first = host.crash(|_| false);
    first.delete(1);
    let (mut wal, recovered) = open(&first);
    assert_eq!(recovered.damage, None);
    assert_eq!(recovered.groups[&GroupId(8)].condition, Condition::Sound);
    let condition = &recovered.groups[&G].condition;
    assert!(matches!(condition, Condition::Quarantined(Fault::EntriesMissing { first: 1, .. })), "{condition:?}");
    let error = wal.append_entries(G, &entries(1, 51..=51, 10)).unwrap_err();
    assert!(matches!(error, Error::Quarantined { .. }), "{error}");
    // The replica comes back under a new id.
    wal.forget(G).unwrap();
    wal.append_entries(G, &entries(9, 1..=1, 10)).unwrap();
    sync(&first, &mut wal);
    let (_, recovered) = open_sound(&first.crash(|_| false));
    assert_eq!(recovered.groups[&G].terms, [(1, 9)]);
}

#[test]
fn the_first_block_of_the_oldest_segment_is_needed() {
    let (host, mut wal) = ten_blocks();
    append_blocks(&host, &mut wal, 11..=17);
    wal.compact(G, 17).unwrap();
    sync(&host, &mut wal);
    wal.poll().unwrap();
    host.run_tasks();
    assert_eq!(wal.stats().segments_used, 1);
    let host = host.crash(|_| false);
    // Segment 1 is free, and only kept to be used again.
    host.delete(1);
    host.change(2, |bytes| bytes.fill(0));
    assert_eq!(damage_after(&host), DamageKind::FirstBlock);
}

#[test]
fn a_mark_over_the_first_block_of_the_oldest_segment_is_noticed() {
    let (host, mut wal) = ten_blocks();
    append_blocks(&host, &mut wal, 11..=19);
    wal.compact(G, 19).unwrap();
    sync(&host, &mut wal);
    wal.poll().unwrap();
    host.run_tasks();
    host.delete(1);
    host.set_write_fault(WriteFault::Misdirect { offset: 0 });
    wal.idle().unwrap();
    sync(&host, &mut wal);
    assert_eq!(damage_after(&host), DamageKind::FirstBlock);
}

#[test]
fn a_mark_over_the_only_block_of_the_oldest_segment_is_noticed() {
    let (host, mut wal) = ten_blocks();
    append_blocks(&host, &mut wal, 11..=16);
    wal.compact(G, 16).unwrap();
    sync(&host, &mut wal);
    assert_eq!(wal.stats().rolls, 1, "the compaction stands behind the states that the second segment opens with");
    wal.poll().unwrap();
    host.run_tasks();
    host.delete(1);
    wal.idle().unwrap();
    host.set_write_fault(WriteFault::Misdirect { offset: 0 });
    sync(&host, &mut wal);
    assert_eq!(damage_after(&host), DamageKind::FirstBlock);
}

#[test]
fn a_log_without_groups_may_begin_with_any_segment() {
    let (host, mut wal) = ten_blocks();
    append_blocks(&host, &mut wal, 11..=15);
    wal.forget(G).unwrap();
    sync(&host, &mut wal);
    wal.idle().unwrap();
    sync(&host, &mut wal);
    assert_eq!(wal.stats().rolls, 1, "the mark stands in the second segment");
    wal.poll().unwrap();
    host.run_tasks();
    host.delete(1);
    let host = host.crash(|_| false);
    let (mut wal, recovered) = open_sound(&host);
    assert!(recovered.groups.is_empty());
    append_blocks(&host, &mut wal, 1..=2);
    assert_eq!(open_sound(&host.crash(|_| false)).1.groups[&G].last_index, 2);
}

#[test]
fn a_first_segment_too_short_for_the_first_block_is_left_out() {
    let host = Host::new();
    drop(open_sound(&host));
    let host = host.crash(|_| false);
    host.change(1, Vec::clear);
    let (mut wal, _) = open_sound(&host);
    append_blocks(&host, &mut wal, 1..=2);
    let (wal, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!(recovered.groups[&G].last_index, 2);
    assert_eq!(read(&wal, 7, 1, 2).unwrap(), entries(1, 1..=2, 1_000));
}

#[test]
fn an_unreadable_sector_where_a_block_was_or_may_have_been_is_damage() {
    // Where blocks stand, where the next one may stand, and where it may if it did not fit there.
    for (segment, unit) in [(1, 3), (1, 9), (1, 10), (2, 0)] {
        let (host, _wal) = ten_blocks();
        host.set_unreadable(segment, unit * 4_096);
        let kind = damage_after(&host);
        assert!(matches!(kind, DamageKind::Unreadable), "{segment}, {unit}: {kind:?}");
    }
    // A block that was being written, of which a part cannot be read.
    let (host, mut wal) = ten_blocks();
    wal.append_entries(G, &entries(1, 11..=11, 9_000)).unwrap();
    wal.submit().unwrap();
    let host = host.crash(|sector| sector < 8);
    host.set_unreadable(1, 12 * 4_096);
    assert!(matches!(damage_after(&host), DamageKind::Unreadable));
}

#[test]
fn an_unreadable_sector_that_was_never_used_concerns_nobody() {
    // Behind the end, in the prepared segments, and in several of them.
    for places in [&[(1, 11)][..], &[(1, 15)], &[(2, 1)], &[(2, 15)], &[(3, 0)], &[(1, 12), (2, 7), (3, 3)]] {
        let (host, _wal) = ten_blocks();
        places.iter().for_each(|(segment, unit)| host.set_unreadable(*segment, unit * 4_096));
        let host = host.crash(|_| false);
        let (mut wal, recovered) = open_sound(&host);
        assert_eq!(recovered.groups[&G].last_index, 10, "{places:?}");
        // Nothing is written where it could not be read, and the bad segments are replaced.
        append_blocks(&host, &mut wal, 11..=60);
        let host = host.crash(|_| false);
        let (mut wal, recovered) = open_sound(&host);
        assert_eq!(recovered.groups[&G].last_index, 60, "{places:?}");
        assert_eq!(read(&wal, 7, 1, 60).unwrap(), entries(1, 1..=60, 1_000));
        // They are set aside, and not used again.
        wal.compact(G, 60).unwrap();
        append_blocks(&host, &mut wal, 61..=100);
        let aside: Vec<_> = host.file_names().into_iter().filter(|name| name.ends_with(".set-aside")).collect();
        let expected: Vec<_> = places.iter().map(|(id, _)| format!("{}.set-aside", segment_name(*id))).collect();
        assert_eq!(aside, expected);
        open_sound(&host.crash(|_| false));
    }
}

#[test]
fn reading_back_gives_entries_or_an_error() {
    for byte in 40..1_100 {
        let (host, wal) = ten_blocks();
        host.flip(1, (3 * 4_096 + byte) * 8 + byte % 8);
        match read(&wal, 7, 4, 4) {
            Ok(read) => assert_eq!(read, entries(1, 4..=4, 1_000)),
            Err(error) => assert!(matches!(error, Error::Corrupt { segment: 1, .. }), "{error}"),
        }
    }
    let (host, wal) = ten_blocks();
    host.set_unreadable(1, 3 * 4_096);
    assert!(matches!(read(&wal, 7, 4, 4), Err(Error::Io { .. })));
    assert_eq!(read(&wal, 7, 1, 3).unwrap(), entries(1, 1..=3, 1_000));
}

#[test]
fn a_commit_index_beyond_the_log_quarantines_that_group_alone() {
    let host = Host::new();
    let (mut wal, _) = open_sound(&host);
    wal.append_entries(GroupId(8), &entries(1, 1..=2, 10)).unwrap();
    sync(&host, &mut wal);
    wal.append_entries(G, &entries(1, 1..=5, 10)).unwrap();
    wal.append_hard_state(G, HardState { term: 1, vote: None, commit: 5 }).unwrap();
    sync(&host, &mut wal);
    // No log writes this by itself: the entries' record is made a group state of another group by hand.
    host.change(1, |bytes| {
        let (hard_state, place) = (wal::record::HARD_STATE_BYTES, 4_096 + 40);
        let header = wal::format::BlockHeader::decode(&bytes[4_096..]).unwrap().0;
        let end = place + header.records_len as usize;
        let mut record = bytes[end - hard_state..end].to_vec();
        bytes[place..8_192].fill(0);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&1_u64.to_le_bytes());
        hasher.update(&(place as u64).to_le_bytes());
        hasher.update(&record[4..]);
        record[..4].copy_from_slice(&hasher.finalize().to_le_bytes());
        bytes[place..place + hard_state].copy_from_slice(&record);
        let header = wal::format::BlockHeader {
            records_len: hard_state as u32,
            records_crc: crc32fast::hash(&record),
            ..header
        };
        bytes[4_096..4_096 + 40].copy_from_slice(&header.encode().0);
    });
    let (_, recovered) = open(&host.crash(|_| false));
    assert_eq!(recovered.damage, None);
    let fault = Fault::CommitBeyondLog { commit: 5, last_index: 0 };
    assert_eq!(recovered.groups[&G].condition, Condition::Quarantined(fault));
    assert_eq!(recovered.groups[&GroupId(8)].condition, Condition::Sound);
}

#[test]
fn a_damaged_log_can_be_read_and_set_aside() {
    let (host, _wal) = ten_blocks();
    host.flip(1, (5 * 4_096 + 500) * 8);
    let host = host.crash(|_| false);
    let (wal, recovered) = open(&host);
    assert_eq!(recovered.groups[&G].last_index, 5);
    assert_eq!(read(&wal, 7, 1, 5).unwrap(), entries(1, 1..=5, 1_000));
    let count = futures_lite::future::block_on(wal::set_aside(&host, &config().dir)).unwrap();
    assert_eq!(count, 3);
    let (mut wal, recovered) = open_sound(&host);
    assert!(recovered.groups.is_empty());
    append_blocks(&host, &mut wal, 1..=2);
    assert!(host.file_names().contains(&"000000000001.seg.damaged-1".to_owned()));
    let (_, recovered) = open_sound(&host.crash(|_| false));
    assert_eq!(recovered.groups[&G].last_index, 2);
}
