//! A log of three groups and what is left of a fourth, over some segments.

use std::path::Path;

use futures_lite::future::block_on;
use types::{GroupId, ReplicaId};
use wal::{Config, Wal};
use wire::{Entry, EntryKind, HardState};

use super::disk::Host;

const LOG_ID: u64 = 0x10C;

fn entries(term: u64, indices: std::ops::RangeInclusive<u64>, len: usize) -> Vec<Entry> {
    let kind = |index: u64| if index == 1 { EntryKind::Membership } else { EntryKind::Batch };
    let entry = |index| Entry { term, index, kind: kind(index), payload: vec![index as u8; len].into() };
    indices.map(entry).collect()
}

fn put(wal: &mut Wal<Host>, group: u32, entries: &[Entry], commit: u64) {
    wal.append_entries(GroupId(group), entries).unwrap();
    let term = entries.last().map_or(1, |entry| entry.term);
    let state = HardState { term, vote: Some(ReplicaId(u64::from(group))), commit };
    wal.append_hard_state(GroupId(group), state).unwrap();
}

fn sync(host: &Host, wal: &mut Wal<Host>) {
    while wal.pending_bytes() > 0 {
        wal.submit().unwrap();
        host.run_tasks();
        wal.poll().unwrap();
    }
    host.run_tasks();
}

/// Writes it: group 1 is busy and cut, group 2 keeps an old segment, group 3 was deposed once, and the replica of group 4 was
/// destroyed. The last block is a mark.
pub fn write(dir: &Path) {
    let host = Host::default();
    let config = Config {
        log_id: LOG_ID,
        segment_bytes: 64 << 10,
        block_bytes_max: 16 << 10,
        pending_bytes_max: 128 << 10,
        ..Config::new(dir)
    };
    let (mut wal, recovered) = block_on(Wal::open(host.clone(), config)).unwrap();
    assert_eq!(recovered.damage, None);
    host.run_tasks();
    for group in 1..=3 {
        wal.begin(GroupId(group), ReplicaId(u64::from(group) + 10)).unwrap();
    }
    put(&mut wal, 1, &entries(1, 1..=4, 3_000), 4);
    put(&mut wal, 2, &entries(1, 1..=2, 500), 2);
    put(&mut wal, 3, &entries(1, 1..=5, 200), 3);
    sync(&host, &mut wal);
    wal.destroy(GroupId(4), ReplicaId(14)).unwrap();
    wal.truncate(GroupId(3), 4).unwrap();
    put(&mut wal, 3, &entries(2, 4..=6, 200), 6);
    sync(&host, &mut wal);
    for round in 0..6 {
        let first = 5 + round * 8;
        put(&mut wal, 1, &entries(2, first..=first + 7, 3_000), first + 7);
        sync(&host, &mut wal);
    }
    wal.compact(GroupId(1), 30).unwrap();
    wal.compact(GroupId(3), 6).unwrap();
    sync(&host, &mut wal);
    while wal.idle().unwrap() {
        sync(&host, &mut wal);
    }
}
