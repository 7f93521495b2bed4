//! Random histories against a model: after any crash the log holds what was acknowledged, and after any
//! flipped bit it holds that or says that it does not.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use support::model::{GROUPS, Op, Run, content};
use support::*;
use types::{GroupId, ReplicaId};
use wal::Condition;

fn op() -> impl Strategy<Value = Op> {
    let group = 0..GROUPS;
    let append = (0..GROUPS, prop_oneof![4 => Just(0), 1 => 0..4_u64], 1..5_u64, 0..2_500_usize, any::<bool>());
    prop_oneof![
        8 => append.prop_map(|(group, back, count, len, newer)| Op::Append { group, back, count, len, newer }),
        3 => (group.clone(), any::<bool>(), 0..4_u64).prop_map(|(group, newer, back)| Op::HardState { group, newer, back }),
        1 => (group.clone(), 0..3_u64).prop_map(|(group, back)| Op::Truncate { group, back }),
        3 => (group.clone(), 0..6_u64).prop_map(|(group, back)| Op::Compact { group, back }),
        1 => (group.clone(), 1..5_u64).prop_map(|(group, ahead)| Op::Reset { group, ahead }),
        2 => (group.clone(), 0..4_u64).prop_map(|(group, from)| Op::Rewrite { group, from }),
        1 => (group.clone(), 1..4_u64).prop_map(|(group, ahead)| Op::Begin { group, ahead }),
        1 => (group, 0..4_u64).prop_map(|(group, ahead)| Op::Destroy { group, ahead }),
        8 => Just(Op::Submit),
        8 => Just(Op::Complete),
        1 => Just(Op::Idle),
        4 => Just(Op::Tasks),
        1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(|sectors| Op::Crash { sectors }),
    ]
}

/// What befalls a log at rest. Blocks are counted over all segments.
#[derive(Clone, Debug)]
enum Damage {
    Flip {
        segment: usize,
        bit: usize,
    },
    /// A block was never written, or not where it belongs but over another one.
    Lost {
        block: usize,
        over: Option<usize>,
    },
    Unreadable {
        block: usize,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), any::<usize>()).prop_map(|(segment, bit)| Damage::Flip { segment, bit }),
        (any::<usize>(), any::<Option<usize>>()).prop_map(|(block, over)| Damage::Lost { block, over }),
        any::<usize>().prop_map(|block| Damage::Unreadable { block }),
    ]
}

fn segments(host: &Host) -> Vec<u64> {
    host.file_names().iter().filter_map(|name| wal::format::segment_id(name)).collect()
}

/// Segment, offset, length and sequence of each block of a sound log.
fn blocks(host: &Host) -> Vec<(u64, usize, usize, u64)> {
    let mut blocks = Vec::new();
    for segment in segments(host) {
        let content = host.content(segment);
        let mut offset = 0;
        while let Some((header, _)) = content.get(offset..).and_then(wal::format::BlockHeader::decode) {
            if header.segment != segment || header.offset as usize != offset {
                break;
            }
            blocks.push((segment, offset, header.block_bytes(), header.seq));
            offset += header.block_bytes();
        }
    }
    blocks
}

/// Returns the last block that is as it was; `None` if there was nothing to damage.
fn apply(damage: &Damage, host: &Host) -> Option<u64> {
    let (segments, blocks) = (segments(host), blocks(host));
    let before: BTreeMap<_, _> = segments.iter().map(|segment| (*segment, host.content(*segment))).collect();
    let mut unreadable = None;
    if blocks.is_empty() {
        return None;
    }
    match *damage {
        Damage::Flip { segment, bit } => {
            let segment = segments[segment % segments.len()];
            host.flip(segment, bit % (host.content(segment).len() * 8));
        }
        Damage::Lost { block, over } => {
            let (segment, offset, len, _) = blocks[block % blocks.len()];
            let bytes = host.content(segment)[offset..offset + len].to_vec();
            host.change(segment, |content| content[offset..offset + len].fill(0));
            if let Some(over) = over {
                let (segment, offset, ..) = blocks[over % blocks.len()];
                host.change(segment, |content| {
                    let len = bytes.len().min(content.len() - offset);
                    content[offset..offset + len].copy_from_slice(&bytes[..len]);
                });
            }
        }
        Damage::Unreadable { block } => {
            let (segment, offset, ..) = blocks[block % blocks.len()];
            host.set_unreadable(segment, offset as u64);
            unreadable = Some((segment, offset));
        }
    }
    let is_kept = |(segment, offset, len, _): &&(u64, usize, usize, u64)| {
        let range = *offset..offset + len;
        before[segment][range.clone()] == host.content(*segment)[range] && unreadable != Some((*segment, *offset))
    };
    Some(blocks.iter().rfind(is_kept).map_or(0, |(.., seq)| *seq))
}

/// Carries operations out, and makes all of it durable. Also says as of which block the run remembers what the log held.
fn durable(ops: &[Op], marked: bool) -> (Run, u64) {
    let (mut run, mut remembered) = (Run::new(), 0);
    for op in ops {
        run.step(op);
        if matches!(op, Op::Crash { .. }) {
            remembered = run.durable;
        }
    }
    sync(&run.host, &mut run.wal);
    if marked {
        run.wal.idle().unwrap();
        sync(&run.host, &mut run.wal);
    }
    run.durable = run.wal.durable_seq();
    (run, remembered)
}

/// Each group is quarantined or complete, and so it is at the next start.
fn check_damaged(run: &Run, host: &Host, last_kept: u64, what: &dyn std::fmt::Debug) -> Result<(), TestCaseError> {
    let config = || wal::Config { groups: (0..GROUPS).map(GroupId).collect(), ..config() };
    let (wal, recovered) = open_with(host, config());
    let is_quarantined = |recovered: &wal::Recovered, group: u32| {
        recovered.groups.get(&GroupId(group)).is_some_and(|state| state.condition != Condition::Sound)
    };
    let sound = |wal: &wal::Wal<Host>, recovered: &wal::Recovered| {
        let mut recovered = recovered.clone();
        recovered.groups.retain(|_, state| state.condition == Condition::Sound);
        content(wal, &recovered)
    };
    let found = sound(&wal, &recovered);
    for (group, state) in recovered.groups.iter().filter(|(_, state)| state.condition != Condition::Sound) {
        let last = run.at(run.durable).get(&group.0).map_or(ReplicaId(0), |known| known.replica);
        prop_assert!(state.replica <= last, "group {}: no lower bound: {what:?}, {state:?}", group);
    }
    for group in (0..GROUPS).filter(|group| !is_quarantined(&recovered, *group)) {
        // Nothing tells a last block of which nothing is left, and no block behind it, from one that never came to be.
        let is_complete = (last_kept..=run.durable).any(|seq| found.get(&group) == run.at(seq).get(&group));
        prop_assert!(is_complete, "group {group} has a hole: {what:?}, {:?}", recovered.damage);
    }
    let (wal, again) = open_with(&host.crash(|_| false), config());
    for group in 0..GROUPS {
        prop_assert_eq!(is_quarantined(&again, group), is_quarantined(&recovered, group), "{:?}", what);
    }
    prop_assert_eq!(sound(&wal, &again), found);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_crash_leaves_what_was_acknowledged(ops in vec(op(), 1..300)) {
        let mut run = Run::new();
        for op in &ops {
            run.step(op);
        }
        run.crash(0);
    }

    #[test]
    fn damage_hits_those_that_lost_something_and_spares_the_complete(
        ops in vec(op(), 1..200),
        damages in vec(damage(), 1..12),
        marked: bool,
    ) {
        let (run, remembered) = durable(&ops, marked);
        for damage in damages {
            let host = run.host.crash(|_| false);
            if let Some(last_kept) = apply(&damage, &host).filter(|seq| *seq >= remembered) {
                check_damaged(&run, &host, last_kept, &damage)?;
            }
        }
    }

    #[test]
    fn a_vanished_segment_hits_those_that_lost_something(ops in vec(op(), 1..300), which: usize) {
        let (run, _) = durable(&ops, true);
        let host = run.host.crash(|_| false);
        let ids = segments(&host);
        let last = blocks(&host).last().map_or(0, |block| block.0);
        let gone = ids[which % ids.len()];
        host.delete(gone);
        if gone != last {
            check_damaged(&run, &host, run.durable, &which)?;
        }
    }

    #[test]
    fn garbage_is_no_reason_to_panic(
        chunks in vec((0..40_usize, vec(any::<u8>(), 0..600)), 1..10),
        spliced in vec((0..16_usize, 0..16_usize), 0..8),
    ) {
        let host = Host::new();
        let (mut wal, _) = open_sound(&host);
        begin(&mut wal, [1]);
        for index in 1..=30 {
            wal.append_entries(GroupId(1), &entries(1, index..=index, 1_500)).unwrap();
            sync(&host, &mut wal);
        }
        let host = host.crash(|_| false);
        for (from, to) in spliced {
            host.change(1, |bytes| bytes.copy_within(from * 4_096..(from + 1) * 4_096, to * 4_096));
        }
        for (place, chunk) in chunks {
            let segment = 1 + (place / 16) as u64;
            let offset = place % 16 * 4_096;
            host.change(segment, |bytes| bytes[offset..offset + chunk.len()].copy_from_slice(&chunk));
        }
        let (wal, recovered) = open(&host);
        for (group, state) in &recovered.groups {
            if state.first_index() > 0 {
                let _ = read(&wal, group.0, state.first_index(), state.last_index);
            }
        }
    }

    #[test]
    fn records_of_any_bytes_decode_or_fail(
        bytes in vec(any::<u8>(), 0..200),
        kind in 0..12_u8,
        offset in 0..100_000_u64,
    ) {
        // A right checksum and type, so that the parts behind them are reached.
        let mut bytes = bytes;
        let place = wal::record::LogPosition { segment: 3, offset };
        let _ = wal::record::decode(&bytes, place);
        if bytes.len() >= 16 {
            let len = bytes.len() as u32;
            bytes[4..8].copy_from_slice(&len.to_le_bytes());
            bytes[12..16].copy_from_slice(&[kind, 0, 0, 0]);
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&3_u64.to_le_bytes());
            hasher.update(&offset.to_le_bytes());
            hasher.update(&bytes[4..]);
            bytes[..4].copy_from_slice(&hasher.finalize().to_le_bytes());
            let _ = wal::record::decode(&bytes, place);
        }
    }
}
