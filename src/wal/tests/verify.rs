//! A sealed segment is checked while the log goes on: whatever changes in its blocks is found and named, and nothing else is.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use futures_lite::future::block_on;
use host::IoClass;
use support::*;
use types::GroupId;
use wal::format::{BlockHeader, HEADER_BYTES, padded};
use wal::{Error, SealedSegment, Verified, Wal};

fn sealed(wal: &Wal<Host>) -> Vec<SealedSegment<Host>> {
    let mut sealed: Vec<SealedSegment<Host>> = Vec::new();
    while let Some(segment) = wal.sealed_behind(sealed.last().map_or(0, SealedSegment::id)) {
        sealed.push(segment);
    }
    sealed
}

fn verify(segment: &SealedSegment<Host>) -> Result<Verified, Error> {
    block_on(segment.verify(IoClass::Scrub, &async |_| {}))
}

/// Where the blocks of a segment begin, and how long their records are.
fn blocks(host: &Host, segment: u64) -> Vec<(usize, usize)> {
    let content = host.content(segment);
    let (mut blocks, mut offset) = (Vec::new(), 0);
    while let Some((header, _)) = content.get(offset..).and_then(BlockHeader::decode) {
        if header.segment != segment {
            break;
        }
        blocks.push((offset, header.records_len as usize));
        offset += header.block_bytes();
    }
    blocks
}

#[test]
fn sealed_segments_of_a_sound_log_are_sound_and_read_whole() {
    let (host, wal) = filled();
    let all = sealed(&wal);
    assert!(all.len() >= 3, "{}", all.len());
    assert_eq!(all.len() as u64, wal.stats().segments_used - 1, "all but the one that is written");
    for segment in &all {
        let (offset, records_len) = *blocks(&host, segment.id()).last().unwrap();
        let end = offset + padded(HEADER_BYTES + records_len);
        assert_eq!(verify(segment).unwrap(), Verified::Sound(end as u64));
    }
    let again = open_sound(&host.crash(|_| false)).0;
    assert!(sealed(&again).iter().all(|segment| matches!(verify(segment), Ok(Verified::Sound(_)))));
}

#[test]
fn every_flipped_bit_of_a_block_is_found_and_named() {
    let (host, wal) = filled();
    for segment in sealed(&wal) {
        let id = segment.id();
        for (offset, records_len) in blocks(&host, id) {
            let all = offset..offset + HEADER_BYTES + records_len;
            // All bytes of the header, and some of the records.
            for at in all.clone().filter(|at| at - offset < HEADER_BYTES || at % 37 == 0 || *at + 1 == all.end) {
                let bit = 8 * at + at % 8;
                host.flip(id, bit);
                match verify(&segment) {
                    Err(Error::Corrupt { segment, offset: found, .. }) => {
                        assert_eq!((segment, found), (id, offset as u64), "byte {at}");
                    }
                    other => panic!("segment {id}, byte {at}: {other:?}"),
                }
                host.flip(id, bit);
            }
        }
        assert!(matches!(verify(&segment), Ok(Verified::Sound(_))));
    }
}

#[test]
fn a_block_of_an_earlier_state_and_an_unreadable_place_are_found() {
    let (host, wal) = filled();
    let segment = wal.sealed_behind(0).unwrap();
    let content = host.content(1);
    let (second, _) = blocks(&host, 1)[1];
    // The segment ends with its first block, as it once did.
    host.change(1, |bytes| bytes[second..].fill(0));
    assert!(matches!(verify(&segment), Err(Error::Corrupt { segment: 1, offset, .. }) if offset == second as u64));
    host.change(1, |bytes| bytes.fill(0));
    assert!(matches!(verify(&segment), Err(Error::Corrupt { segment: 1, offset: 0, .. })));
    host.change(1, |bytes| bytes.clone_from(&content));
    // The first block behind the segment says which one was the last in it: if that is damaged, it is what is named.
    host.flip(2, 77);
    assert!(matches!(verify(&segment), Err(Error::Corrupt { segment: 2, offset: 0, .. })));
    host.flip(2, 77);
    assert!(verify(&segment).is_ok());
    host.set_unreadable(1, second as u64);
    let error = verify(&segment).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.is_damage(), "{error}");
}

#[test]
fn a_segment_that_is_let_go_meanwhile_is_gone_and_not_damaged() {
    let (host, mut wal) = filled();
    let segment = wal.sealed_behind(0).unwrap();
    for (group, index) in wal.pins() {
        wal.compact(group, index).unwrap();
    }
    sync(&host, &mut wal);
    wal.append_entries(GroupId(3), &entries(1, 31..=31, 100)).unwrap();
    sync(&host, &mut wal);
    assert!(wal.sealed_behind(0).unwrap().id() > 1, "nothing kept it from being used again");
    assert!(matches!(verify(&segment), Ok(Verified::Gone)));
}

#[test]
fn whoever_keeps_a_damaged_segment_is_named_and_its_place_is_not_used_again() {
    let (host, mut wal) = filled();
    let second = sealed(&wal)[1].id();
    let holders = wal.damaged(second);
    assert_eq!(holders.iter().map(|(group, _)| group.0).collect::<Vec<_>>(), [1, 2, 3], "2 keeps the one before it");
    assert!(sealed(&wal).iter().all(|segment| segment.id() != second), "it is known");
    for (group, index) in holders {
        wal.compact(group, index).unwrap();
    }
    sync(&host, &mut wal);
    for index in 31..=50 {
        wal.append_entries(GroupId(1), &entries(1, index..=index, 6_000)).unwrap();
        sync(&host, &mut wal);
    }
    let set_aside = format!("{}.set-aside", wal::format::segment_name(second));
    assert!(host.file_names().contains(&set_aside), "{:?}", host.file_names());
    open_sound(&host.crash(|_| false));
}
