//! Damage to acknowledged data is found, named, and never repaired by forgetting.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use support::*;
use types::{GroupId, ReplicaId};
use wal::format::{HEADER_BYTES, segment_name};
use wal::{Condition, Config, DamageKind, Error, Fault, Wal};
use wire::HardState;

const G: GroupId = GroupId(7);
const OTHER: GroupId = GroupId(9);

/// Blocks 1 to 10 at offsets 0, 4096, ...; one entry each; not marked.
fn ten_blocks() -> (Host, Wal<Host>) {
    let (host, mut wal) = begun([7]);
    append_blocks(&host, &mut wal, 1..=10);
    (host, wal)
}

fn append_blocks(host: &Host, wal: &mut Wal<Host>, indices: std::ops::RangeInclusive<u64>) {
    for index in indices {
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(host, wal);
    }
}

/// Opens a log that has lost something of the only group: that one is quarantined, at the next start too, until
/// another replica begins, and others are as if nothing was. Says what is wrong.
fn damage_after(host: &Host) -> DamageKind {
    let host = host.crash(|_| false);
    let (mut wal, recovered) = open_with(&host, expecting_g());
    let kind = recovered.damage.expect("the log is damaged").kind;
    assert!(matches!(recovered.groups[&G].condition, Condition::Quarantined(_)), "{recovered:?}");
    assert_eq!(recovered.groups.len(), 1);
    let error = wal.append_hard_state(G, HardState::default()).unwrap_err();
    assert!(matches!(error, Error::Quarantined { .. }), "{error}");
    assert!(matches!(read(&wal, 7, 1, 1), Err(Error::Quarantined { .. })));
    begin(&mut wal, [OTHER.0]);
    for index in 1..=30 {
        wal.append_entries(OTHER, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    let first = recovered.groups[&G].condition.clone();
    let (wal, recovered) = open_with(&host.crash(|_| false), expecting_g());
    assert_eq!(fault(&recovered.groups[&G].condition), fault(&first));
    assert_eq!(recovered.groups[&OTHER].condition, Condition::Sound);
    assert_eq!(read(&wal, OTHER.0, 1, 30).unwrap(), entries(1, 1..=30, 1_000));
    drop(wal);
    let host = host.crash(|_| false);
    let (mut wal, _) = open_with(&host, expecting_g());
    wal.begin(G, ReplicaId(2)).unwrap();
    wal.append_entries(G, &entries(9, 1..=1, 10)).unwrap();
    sync(&host, &mut wal);
    assert_eq!(open_with(&host.crash(|_| false), expecting_g()).1.groups[&G].condition, Condition::Sound);
    kind
}

fn expecting_g() -> Config {
    Config { groups: vec![G], ..config() }
}

/// The fault, but for the words of a contradiction, which the log does not keep.
fn fault(condition: &Condition) -> Option<Fault> {
    match condition {
        Condition::Quarantined(Fault::Contradiction { segment, offset, .. }) => {
            Some(Fault::Contradiction { segment: *segment, offset: *offset, what: "" })
        }
        Condition::Quarantined(fault) => Some(*fault),
        Condition::Sound => None,
    }
}

#[test]
fn a_flipped_bit_before_the_last_block_is_damage() {
    for block in 0..9 {
        let (host, _wal) = ten_blocks();
        host.flip(1, (block * 4_096 + 500) * 8);
        match damage_after(&host) {
            DamageKind::FirstBlock => assert_eq!(block, 0),
            DamageKind::LaterBlock { expected_seq, .. } => assert_eq!(expected_seq, 1 + block as u64),
            kind => panic!("{kind:?}"),
        }
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
        let is_named =
            matches!(kind, DamageKind::LaterBlock { .. }) || (offset == 0 && kind == DamageKind::FirstBlock);
        assert!(is_named, "to {offset}: {kind:?}");
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
        begin(wal, [7]);
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
    assert!(wal.stats().segments_used >= 4);

    let middle = host.crash(|_| false);
    middle.delete(2);
    assert_eq!(damage_after(&middle), DamageKind::SegmentMissing);

    let last = host.crash(|_| false);
    last.delete(wal.stats().segments_used);
    assert_eq!(damage_after(&last), DamageKind::SegmentMissing, "prepared segments stand behind it");

    begin(&mut wal, [8]);
    wal.append_entries(GroupId(8), &entries(1, 1..=1, 10)).unwrap();
    sync(&host, &mut wal);
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
    wal.begin(G, ReplicaId(2)).unwrap();
    wal.append_entries(G, &entries(9, 1..=1, 10)).unwrap();
    sync(&first, &mut wal);
    let (_, recovered) = open_sound(&first.crash(|_| false));
    assert_eq!((recovered.groups[&G].replica, &recovered.groups[&G].terms[..]), (ReplicaId(2), &[(1, 9)][..]));
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
fn a_log_in_which_nothing_lives_may_begin_with_any_segment() {
    let (host, mut wal) = ten_blocks();
    append_blocks(&host, &mut wal, 11..=15);
    wal.destroy(G, ReplicaId(1)).unwrap();
    sync(&host, &mut wal);
    wal.idle().unwrap();
    sync(&host, &mut wal);
    assert_eq!(wal.stats().rolls, 1, "the mark stands in the second segment");
    wal.poll().unwrap();
    host.run_tasks();
    host.delete(1);
    let host = host.crash(|_| false);
    let (mut wal, recovered) = open_sound(&host);
    assert!(recovered.groups.is_empty() && recovered.destroyed.into_iter().eq([(G, ReplicaId(1))]));
    wal.begin(G, ReplicaId(2)).unwrap();
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
    begin(&mut wal, [7]);
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
        match damage_after(&host) {
            DamageKind::Unreadable => assert_ne!((segment, unit), (1, 3)),
            kind => {
                assert!(unit == 3 && matches!(kind, DamageKind::LaterBlock { .. }), "{segment}, {unit}: {kind:?}")
            }
        }
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
        let (_, recovered) = open_sound(&host.crash(|_| false));
        let told: Vec<_> = recovered.set_aside.into_iter().map(|file| file.name).collect();
        assert_eq!(told, aside);
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
    let (host, mut wal) = begun([7, 8]);
    wal.append_entries(GroupId(8), &entries(1, 1..=2, 10)).unwrap();
    sync(&host, &mut wal);
    wal.append_entries(G, &entries(1, 1..=5, 10)).unwrap();
    wal.append_hard_state(G, HardState { term: 1, vote: None, commit: 5 }).unwrap();
    sync(&host, &mut wal);
    // No log writes this by itself: the entries' record is made a group state of another group by hand.
    host.change(1, |bytes| {
        let (hard_state, place) = (wal::record::HARD_STATE_BYTES, 4_096 + HEADER_BYTES);
        let header = wal::format::BlockHeader::decode(&bytes[4_096..]).unwrap().0;
        let entries_at = wal::record::LogPosition { segment: 1, offset: place as u64 };
        let behind = place + wal::record::decode(&bytes[place..], entries_at).unwrap().len;
        let mut record = bytes[behind..behind + hard_state].to_vec();
        // It follows the beginning now.
        record[16..28].copy_from_slice(&bytes[place + 16..place + 28]);
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
        bytes[4_096..4_096 + HEADER_BYTES].copy_from_slice(&header.encode().0);
    });
    let (_, recovered) = open(&host.crash(|_| false));
    assert_eq!(recovered.damage, None);
    let fault = Fault::CommitBeyondLog { commit: 5, last_index: 0 };
    assert_eq!(recovered.groups[&G].condition, Condition::Quarantined(fault));
    assert_eq!(recovered.groups[&GroupId(8)].condition, Condition::Sound);
}

/// A log of 16 blocks: of each group of 1..=8 one entry, in turn. Group 8 has nothing behind block 8.
fn eight_groups(host: &Host) -> Wal<Host> {
    let (mut wal, _) = open_with(host, expecting(1..=9));
    for (block, group) in (1..=8).chain(1..=7).enumerate() {
        if block < 8 {
            begin(&mut wal, [group]);
        }
        let index = 1 + (block / 8) as u64;
        wal.append_entries(GroupId(group), &entries(1, index..=index, 1_000)).unwrap();
        sync(host, &mut wal);
    }
    wal
}

fn expecting(groups: std::ops::RangeInclusive<u32>) -> Config {
    // Segments so long that no roll is called within the first blocks.
    Config { groups: groups.map(GroupId).collect(), segment_bytes: 4 << 20, ..config() }
}

fn quarantined(recovered: &wal::Recovered) -> Vec<u32> {
    let groups = recovered.groups.iter().filter(|(_, state)| state.condition != Condition::Sound);
    groups.map(|(group, _)| group.0).collect()
}

#[test]
fn a_group_is_spared_if_a_later_record_leads_back_over_the_damage() {
    for block in 0..14 {
        let host = Host::new();
        drop(eight_groups(&host));
        let host = host.crash(|_| false);
        host.flip(1, (block * 4_096 + 700) * 8);
        let (mut wal, recovered) = open_with(&host, expecting(1..=8));
        assert!(recovered.damage.is_some());
        // That of the block; those whose last record lies before it; group 8, if block 8 is not behind it.
        let of_block = 1 + block as u32 % 8;
        let last_block = |group: u32| if group == 8 { 7 } else { 7 + group as usize };
        let expected: Vec<_> = (1..=8).filter(|group| *group == of_block || last_block(*group) < block).collect();
        assert_eq!(quarantined(&recovered), expected, "block {block}");
        // The others go on, now and at the next start.
        for group in (1..=8).filter(|group| !expected.contains(group)) {
            let last = recovered.groups[&GroupId(group)].last_index;
            assert_eq!(last, if group == 8 { 1 } else { 2 });
            assert_eq!(read(&wal, group, 1, last).unwrap(), entries(1, 1..=last, 1_000));
            wal.append_entries(GroupId(group), &entries(1, last + 1..=last + 1, 1_000)).unwrap();
        }
        sync(&host, &mut wal);
        let (wal, recovered) = open_with(&host.crash(|_| false), expecting(1..=8));
        assert_eq!(quarantined(&recovered), expected, "block {block}, at the next start");
        for group in (1..=8).filter(|group| !expected.contains(group)) {
            let last = recovered.groups[&GroupId(group)].last_index;
            assert_eq!(read(&wal, group, 1, last).unwrap(), entries(1, 1..=last, 1_000));
            assert_eq!(last, if group == 8 { 2 } else { 3 });
        }
    }
}

#[test]
fn a_mark_behind_the_damage_spares_all_that_lost_nothing() {
    for block in 0..15 {
        let host = Host::new();
        let mut wal = eight_groups(&host);
        wal.idle().unwrap();
        sync(&host, &mut wal);
        let host = host.crash(|_| false);
        host.flip(1, (block * 4_096 + 700) * 8);
        let (_, recovered) = open_with(&host, expecting(1..=9));
        assert_eq!(quarantined(&recovered), [1 + block as u32 % 8], "block {block}; group 9 is proven to be new");
    }
}

#[test]
fn a_group_that_the_log_does_not_name_may_have_been_lost() {
    let host = Host::new();
    drop(eight_groups(&host));
    let host = host.crash(|_| false);
    host.flip(1, (14 * 4_096 - 3_000) * 8);
    let (mut wal, recovered) = open_with(&host, expecting(1..=9));
    // Groups 1 to 5 have nothing behind it either.
    let expected = [1, 2, 3, 4, 5, 6, 8, 9];
    assert_eq!(quarantined(&recovered), expected);
    let error = wal.append_entries(GroupId(9), &entries(1, 1..=1, 10)).unwrap_err();
    assert!(matches!(error, Error::Quarantined { .. }), "{error}");
    sync(&host, &mut wal);
    let (mut wal, recovered) = open_with(&host.crash(|_| false), expecting(1..=10));
    assert_eq!(quarantined(&recovered), expected, "that stands in the log now, and group 10 is new");
    begin(&mut wal, [10]);
    wal.append_entries(GroupId(10), &entries(1, 1..=1, 10)).unwrap();
}

#[test]
fn what_a_later_segment_tells_makes_up_for_records_that_count_no_more() {
    let (host, mut wal) = begun([7]);
    append_blocks(&host, &mut wal, 1..=40);
    begin(&mut wal, [OTHER.0]);
    for index in 1..=3 {
        wal.append_entries(OTHER, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    assert!(wal.stats().rolls >= 2);
    // Group 9 keeps nothing in the first segment, group 7 needs it no more.
    wal.compact(G, 39).unwrap();
    sync(&host, &mut wal);
    wal.idle().unwrap();
    sync(&host, &mut wal);
    let host = host.crash(|_| false);
    host.flip(1, (5 * 4_096 + 700) * 8);
    let (wal, recovered) = open(&host);
    assert_eq!(quarantined(&recovered), Vec::<u32>::new());
    assert_eq!(read(&wal, 7, 40, 40).unwrap(), entries(1, 40..=40, 1_000));
    assert_eq!(read(&wal, 9, 1, 3).unwrap(), entries(1, 1..=3, 1_000));
}

#[test]
fn a_log_of_another_version_or_another_directory_is_refused_and_left_alone() {
    let (host, _wal) = ten_blocks();
    let open = |host: &Host, config| futures_lite::future::block_on(Wal::open(host.clone(), config)).map(drop);
    let other = host.crash(|_| false);
    other.change(1, |bytes| bytes[7] = b'2');
    assert!(open(&other, config()).is_ok(), "a flipped bit is damage");
    let other = host.crash(|_| false);
    other.change(1, |bytes| bytes[..16].copy_from_slice(b"CORAWAL2\x01\0\0\0\0\0\0\0"));
    let before = other.content(1);
    let error = open(&other, config()).unwrap_err();
    assert!(matches!(error, Error::Version { found: '2', expected: '3', .. }), "{error}");
    let error = open(&host, Config { log_id: 5, ..config() }).unwrap_err();
    assert!(matches!(error, Error::Foreign { found: 0, expected: 5, .. }), "{error}");
    assert_eq!(other.content(1), before);
}

#[test]
fn a_sector_that_cannot_be_read_between_the_records_of_a_group_does_not_hinder_reading_them() {
    let (host, mut wal) = begun([G.0, OTHER.0]);
    for index in 1..=3 {
        wal.append_entries(G, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
        wal.append_entries(OTHER, &entries(1, index..=index, 1_000)).unwrap();
        sync(&host, &mut wal);
    }
    host.set_unreadable(1, 4_096);
    assert_eq!(read(&wal, G.0, 1, 3).unwrap(), entries(1, 1..=3, 1_000));
    assert!(matches!(read(&wal, OTHER.0, 1, 3), Err(Error::Io { .. })));
}

#[test]
fn read_errors_that_pass_are_no_damage() {
    let (host, _wal) = ten_blocks();
    let host = host.crash(|_| false);
    host.fail_reads(16);
    let (wal, recovered) = open_sound(&host);
    assert_eq!(recovered.groups[&G].last_index, 10);
    host.fail_reads(0);
    assert_eq!(read(&wal, 7, 1, 10).unwrap(), entries(1, 1..=10, 1_000));
}

#[test]
fn a_quarantined_group_keeps_no_segment_and_what_it_had_stays_until_another_replica_begins() {
    let (host, mut wal) = ten_blocks();
    append_blocks(&host, &mut wal, 11..=40);
    let host = host.crash(|_| false);
    host.flip(1, (5 * 4_096 + 700) * 8);
    let (mut wal, recovered) = open(&host);
    assert_eq!(quarantined(&recovered), [G.0]);
    // Another group writes on and on, and compacts.
    begin(&mut wal, [OTHER.0]);
    for index in 1..=200 {
        wal.append_entries(OTHER, &entries(1, index..=index, 1_000)).unwrap();
        wal.compact(OTHER, index - 1).unwrap();
        sync(&host, &mut wal);
        wal.poll().unwrap();
        host.run_tasks();
        assert_eq!(wal.pins(), []);
        assert!(wal.log_bytes() <= 5 * 65_536 && wal.has_room());
    }
    assert!(wal.log_bytes() <= 2 * 65_536);
    let kept =
        |host: &Host| host.file_names().into_iter().filter(|name| name.ends_with(".damaged")).collect::<Vec<_>>();
    assert_eq!(kept(&host), [1, 2, 3].map(|id| format!("{}.damaged", segment_name(id))), "those with its entries");
    // That lasts over restarts, and ends with the quarantine.
    let host = host.crash(|_| false);
    let (mut wal, recovered) = open(&host);
    assert_eq!(
        (quarantined(&recovered), recovered.damage),
        (vec![G.0], None),
        "nothing damaged is in the log any more"
    );
    assert_eq!(kept(&host).len(), 3);
    wal.begin(G, ReplicaId(2)).unwrap();
    sync(&host, &mut wal);
    assert_eq!(kept(&host).len(), 0);
    assert_eq!(quarantined(&open(&host.crash(|_| false)).1), Vec::<u32>::new());
}
