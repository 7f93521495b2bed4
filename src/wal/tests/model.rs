//! Random histories against a model: after any crash the log holds what was acknowledged, and after any
//! flipped bit it holds that or says that it does not.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use support::*;
use types::{GroupId, Index, ReplicaId, Term};
use wal::{Condition, Recovered, Wal};
use wire::{Entry, HardState};

const GROUPS: u32 = 3;

#[derive(Clone, Debug)]
enum Op {
    Append { group: u32, back: u64, count: u64, len: usize, newer: bool },
    HardState { group: u32, newer: bool, back: u64 },
    Truncate { group: u32, back: u64 },
    Compact { group: u32, back: u64 },
    Reset { group: u32, ahead: u64 },
    Forget { group: u32 },
    Submit,
    Complete,
    Idle,
    Tasks,
    Crash { sectors: u64 },
}

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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    hard_state: HardState,
    start: (Index, Term),
    entries: Vec<Entry>,
}

impl Group {
    fn last(&self) -> Index {
        self.start.0 + self.entries.len() as u64
    }

    fn last_term(&self) -> Term {
        self.entries.last().map_or(self.start.1, |entry| entry.term)
    }

    fn keep_to(&mut self, last: Index) {
        self.entries.truncate((last - self.start.0) as usize);
    }

    fn fixed(&self) -> Index {
        self.start.0.max(self.hard_state.commit)
    }
}

type Model = BTreeMap<u32, Group>;

/// The log, and what it must hold after each operation with the block that makes it so.
struct Run {
    host: Host,
    wal: Wal<Host>,
    model: Model,
    history: Vec<(u64, Model)>,
    durable: u64,
}

impl Run {
    fn new() -> Run {
        let host = Host::new();
        let (wal, _) = open_sound(&host);
        let durable = wal.durable_seq();
        Run { host, wal, model: Model::new(), history: vec![(0, Model::new())], durable }
    }

    fn step(&mut self, op: &Op) {
        match op.clone() {
            Op::Append { group, back, count, len, newer } => self.append(group, back, count, len, newer),
            Op::HardState { group, newer, back } => self.hard_state(group, newer, back),
            Op::Truncate { group, back } => self.truncate(group, back),
            Op::Compact { group, back } => {
                let Some(known) = self.model.get_mut(&group) else { return };
                let index = known.last().saturating_sub(back).max(known.start.0);
                let count = (index - known.start.0) as usize;
                if let Some(entry) = known.entries.drain(..count).last() {
                    known.start = (entry.index, entry.term);
                }
                self.wal.compact(GroupId(group), index).unwrap();
                self.record();
            }
            Op::Reset { group, ahead } => {
                let known = self.model.entry(group).or_default();
                *known = Group {
                    start: (known.last() + ahead, known.last_term() + 1),
                    hard_state: known.hard_state,
                    entries: Vec::new(),
                };
                self.wal.reset(GroupId(group), known.start.0, known.start.1).unwrap();
                self.record();
            }
            Op::Forget { group } => {
                self.wal.forget(GroupId(group)).unwrap();
                self.model.remove(&group);
                self.record();
            }
            Op::Submit => self.wal.submit().unwrap(),
            Op::Complete => {
                self.host.complete_one();
                if let Some(seq) = self.wal.poll().unwrap() {
                    self.durable = seq;
                }
            }
            Op::Idle => {
                self.wal.idle().unwrap();
            }
            Op::Tasks => self.host.run_tasks(),
            Op::Crash { sectors } => self.crash(sectors),
        }
    }

    fn append(&mut self, group: u32, back: u64, count: u64, len: usize, newer: bool) {
        let known = self.model.get(&group).cloned().unwrap_or_default();
        let first = (known.last() + 1).saturating_sub(back).max(known.fixed() + 1);
        let term = (known.last_term() + u64::from(newer)).max(1);
        let batch = entries(term, first..=first + count - 1, len);
        match self.wal.append_entries(GroupId(group), &batch) {
            Ok(()) => {
                let known = self.model.entry(group).or_default();
                known.keep_to(first - 1);
                known.entries.extend(batch);
                self.record();
            }
            Err(error) => assert!(matches!(error, wal::Error::Backlog { .. }), "{error}"),
        }
    }

    fn hard_state(&mut self, group: u32, newer: bool, back: u64) {
        let known = self.model.entry(group).or_default();
        let commit = known.last().saturating_sub(back).max(known.hard_state.commit);
        let vote = newer.then_some(ReplicaId(back));
        known.hard_state = HardState { term: known.hard_state.term + u64::from(newer), vote, commit };
        self.wal.append_hard_state(GroupId(group), known.hard_state).unwrap();
        self.record();
    }

    fn truncate(&mut self, group: u32, back: u64) {
        let Some(known) = self.model.get_mut(&group) else { return };
        let from = (known.last() + 1).saturating_sub(back).max(known.fixed() + 1);
        known.keep_to(from - 1);
        self.wal.truncate(GroupId(group), from).unwrap();
        self.record();
    }

    fn record(&mut self) {
        self.history.push((self.wal.pending_seq(), self.model.clone()));
    }

    /// What the log must hold if it ends with this block.
    fn at(&self, seq: u64) -> &Model {
        &self.history.iter().rev().find(|(needed, _)| *needed <= seq).unwrap().1
    }

    fn crash(&mut self, sectors: u64) {
        let in_flight = self.host.writes_begun() > 0;
        let host = self.host.crash(|sector| sectors >> (sector % 64) & 1 == 1);
        let (mut wal, recovered) = open_sound(&host);
        let found = content(&wal, &recovered);
        let acknowledged = self.at(self.durable).clone();
        let unacknowledged = self.at(self.durable + 1).clone();
        assert!(
            found == acknowledged || (in_flight && found == unacknowledged),
            "found {found:#?}, acknowledged {acknowledged:#?}"
        );
        if in_flight && sectors == u64::MAX {
            assert_eq!(found, unacknowledged);
        }
        assert!(!wal.idle().unwrap(), "what was found is confirmed by a mark already");
        self.durable = wal.durable_seq();
        self.history = vec![(0, found.clone())];
        (self.host, self.wal, self.model) = (host, wal, found);
    }
}

/// All that a log holds, payloads included.
fn content(wal: &Wal<Host>, recovered: &Recovered) -> Model {
    let group = |(group, state): (&GroupId, &wal::RecoveredGroup)| {
        let entries = match state.first_index() {
            0 => Vec::new(),
            first => read(wal, group.0, first, state.last_index).unwrap(),
        };
        let terms = entries.iter().fold(Vec::new(), |mut terms: Vec<(Index, Term)>, entry| {
            if terms.last().is_none_or(|(_, term)| *term != entry.term) {
                terms.push((entry.index, entry.term));
            }
            terms
        });
        assert_eq!(state.terms, terms);
        let changes = entries.iter().filter(|entry| entry.kind == wire::EntryKind::Membership);
        let changes: Vec<_> = changes.map(|entry| (entry.index, entry.payload.clone())).collect();
        assert_eq!(state.memberships, changes);
        let start = (state.start_index, state.start_term);
        (group.0, Group { hard_state: state.hard_state, start, entries })
    };
    recovered.groups.iter().map(group).collect()
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
        let place = wal::record::Place { segment: 3, offset };
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
