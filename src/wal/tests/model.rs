//! Random histories against a model: after any crash the log holds what was acknowledged, and after any
//! flipped bit it holds that or says that it does not.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use support::model::{GROUPS, Op, Run, content};
use support::*;
use types::GroupId;
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
        1 => group.prop_map(|group| Op::Forget { group }),
        8 => Just(Op::Submit),
        8 => Just(Op::Complete),
        1 => Just(Op::Idle),
        4 => Just(Op::Tasks),
        1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(|sectors| Op::Crash { sectors }),
    ]
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
    fn a_flipped_bit_is_harmless_or_reported(ops in vec(op(), 1..200), bits in vec(any::<u64>(), 1..20), marked: bool) {
        let mut run = Run::new();
        for op in &ops {
            run.step(op);
        }
        sync(&run.host, &mut run.wal);
        if marked {
            run.wal.idle().unwrap();
            sync(&run.host, &mut run.wal);
        }
        run.durable = run.wal.durable_seq();
        let names = run.host.file_names();
        for bit in bits {
            let host = run.host.crash(|_| false);
            let name = &names[bit as usize % names.len()];
            let segment = wal::format::segment_id(name).unwrap();
            host.flip(segment, (bit >> 8) as usize % (host.content(segment).len() * 8));
            let (wal, recovered) = open(&host);
            let sound = recovered.groups.values().all(|group| group.condition == Condition::Sound);
            if recovered.damage.is_some() || !sound {
                continue;
            }
            let found = content(&wal, &recovered);
            // Without a mark, damage to the last block alone may look like a torn write.
            let last_only = !marked && found == *run.at(run.durable.saturating_sub(1));
            prop_assert!(found == *run.at(run.durable) || last_only, "segment {segment}");
        }
    }

    #[test]
    fn a_vanished_segment_is_harmless_or_reported(ops in vec(op(), 1..300), which: usize) {
        let mut run = Run::new();
        for op in &ops {
            run.step(op);
        }
        sync(&run.host, &mut run.wal);
        run.durable = run.wal.durable_seq();
        let names = run.host.file_names();
        let host = run.host.crash(|_| false);
        host.delete(wal::format::segment_id(&names[which % names.len()]).unwrap());
        let (wal, recovered) = open(&host);
        let sound = recovered.groups.values().all(|group| group.condition == Condition::Sound);
        if recovered.damage.is_none() && sound {
            prop_assert_eq!(&content(&wal, &recovered), run.at(run.durable));
        }
    }

    #[test]
    fn garbage_is_no_reason_to_panic(
        chunks in vec((0..40_usize, vec(any::<u8>(), 0..600)), 1..10),
        spliced in vec((0..16_usize, 0..16_usize), 0..8),
    ) {
        let host = Host::new();
        let (mut wal, _) = open_sound(&host);
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
        kind in 0..9_u8,
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
