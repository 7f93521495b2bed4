//! What a log must hold, kept beside it: operations, and after each of them the state a recovery must find.

use std::collections::BTreeMap;

use types::{GroupId, Index, ReplicaId, Term};
use wal::{Recovered, Wal};
use wire::{Entry, HardState};

use super::{Host, entries, open_sound, read};

pub const GROUPS: u32 = 3;

#[derive(Clone, Debug)]
pub enum Op {
    Append { group: u32, back: u64, count: u64, len: usize, newer: bool },
    HardState { group: u32, newer: bool, back: u64 },
    Truncate { group: u32, back: u64 },
    Compact { group: u32, back: u64 },
    Reset { group: u32, ahead: u64 },
    Begin { group: u32, ahead: u64 },
    Destroy { group: u32, ahead: u64 },
    Rewrite { group: u32, from: u64 },
    Submit,
    Complete,
    Idle,
    Tasks,
    Crash { sectors: u64 },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub replica: ReplicaId,
    pub is_destroyed: bool,
    pub hard_state: HardState,
    pub start: (Index, Term),
    pub entries: Vec<Entry>,
}

impl Group {
    pub fn begun(replica: ReplicaId) -> Group {
        Group { replica, ..Group::default() }
    }

    pub fn destroyed(replica: ReplicaId) -> Group {
        Group { replica, is_destroyed: true, ..Group::default() }
    }

    pub fn last(&self) -> Index {
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

pub type Model = BTreeMap<u32, Group>;

/// The log, and what it must hold after each operation with the block that makes it so.
pub struct Run {
    pub host: Host,
    pub wal: Wal<Host>,
    pub model: Model,
    pub history: Vec<(u64, Model)>,
    pub durable: u64,
}

impl Run {
    pub fn new() -> Run {
        let host = Host::new();
        let (wal, _) = open_sound(&host);
        let durable = wal.durable_seq();
        Run { host, wal, model: Model::new(), history: vec![(0, Model::new())], durable }
    }

    pub fn step(&mut self, op: &Op) {
        match op.clone() {
            Op::Append { group, back, count, len, newer } => self.append(group, back, count, len, newer),
            Op::HardState { group, newer, back } => self.hard_state(group, newer, back),
            Op::Truncate { group, back } => self.truncate(group, back),
            Op::Compact { group, back } => {
                let Some(known) = self.living(group) else { return };
                let index = known.last().saturating_sub(back).max(known.start.0);
                let count = (index - known.start.0) as usize;
                if let Some(entry) = known.entries.drain(..count).last() {
                    known.start = (entry.index, entry.term);
                }
                self.wal.compact(GroupId(group), index).unwrap();
                self.record();
            }
            Op::Reset { group, ahead } => {
                let known = self.begun(group);
                *known = Group {
                    start: (known.last() + ahead, known.last_term() + 1),
                    entries: Vec::new(),
                    ..known.clone()
                };
                let (index, term) = known.start;
                self.wal.reset(GroupId(group), index, term).unwrap();
                self.record();
            }
            Op::Begin { group, ahead } => self.begin(group, ahead),
            Op::Destroy { group, ahead } => self.destroy(group, ahead),
            Op::Rewrite { group, from } => {
                let Some(known) = self.model.get(&group).filter(|known| !known.is_destroyed) else { return };
                let first = known.fixed() + 1 + from;
                let tail = known.entries.get((first - known.start.0 - 1) as usize..).unwrap_or_default();
                let can = self.wal.rewritable_bytes(GroupId(group), first).is_some();
                assert!(can || tail.is_empty() || tail.len() > 20, "a short tail fits a block");
                assert_eq!(self.wal.rewrite(GroupId(group), tail).unwrap(), can && !tail.is_empty());
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

    /// A replica begins whose id lies so far ahead of all that were here.
    fn begin(&mut self, group: u32, ahead: u64) {
        let replica = ReplicaId(self.model.get(&group).map_or(0, |known| known.replica.0) + ahead);
        self.wal.begin(GroupId(group), replica).unwrap();
        self.model.insert(group, Group::begun(replica));
        self.record();
    }

    fn destroy(&mut self, group: u32, ahead: u64) {
        let known = self.model.get(&group).map_or(0, |known| known.replica.0);
        let replica = ReplicaId((known + ahead).max(1));
        self.wal.destroy(GroupId(group), replica).unwrap();
        self.model.insert(group, Group::destroyed(replica));
        self.record();
    }

    fn living(&mut self, group: u32) -> Option<&mut Group> {
        self.model.get_mut(&group).filter(|known| !known.is_destroyed)
    }

    /// The replica that lives here, a new one if there is none.
    fn begun(&mut self, group: u32) -> &mut Group {
        if self.living(group).is_none() {
            self.begin(group, 1);
        }
        self.model.get_mut(&group).unwrap()
    }

    fn append(&mut self, group: u32, back: u64, count: u64, len: usize, newer: bool) {
        let known = self.begun(group).clone();
        let first = (known.last() + 1).saturating_sub(back).max(known.fixed() + 1);
        let term = (known.last_term() + u64::from(newer)).max(1);
        let batch = entries(term, first..=first + count - 1, len);
        match self.wal.append_entries(GroupId(group), &batch) {
            Ok(()) => {
                let known = self.begun(group);
                known.keep_to(first - 1);
                known.entries.extend(batch);
                self.record();
            }
            Err(error) => assert!(matches!(error, wal::Error::Backlog { .. }), "{error}"),
        }
    }

    fn hard_state(&mut self, group: u32, newer: bool, back: u64) {
        let known = self.begun(group);
        let commit = known.last().saturating_sub(back).max(known.hard_state.commit);
        let vote = newer.then_some(ReplicaId(back));
        known.hard_state = HardState { term: known.hard_state.term + u64::from(newer), vote, commit };
        let hard_state = known.hard_state;
        self.wal.append_hard_state(GroupId(group), hard_state).unwrap();
        self.record();
    }

    fn truncate(&mut self, group: u32, back: u64) {
        let Some(known) = self.living(group) else { return };
        let from = (known.last() + 1).saturating_sub(back).max(known.fixed() + 1);
        known.keep_to(from - 1);
        self.wal.truncate(GroupId(group), from).unwrap();
        self.record();
    }

    fn record(&mut self) {
        self.history.push((self.wal.pending_seq(), self.model.clone()));
    }

    /// What the log must hold if it ends with this block.
    pub fn at(&self, seq: u64) -> &Model {
        &self.history.iter().rev().find(|(needed, _)| *needed <= seq).unwrap().1
    }

    pub fn crash(&mut self, sectors: u64) {
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
pub fn content(wal: &Wal<Host>, recovered: &Recovered) -> Model {
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
        let changes: Vec<_> = changes.map(|entry| (entry.index, entry.payload.bytes().clone())).collect();
        assert_eq!(state.memberships, changes);
        let start = (state.start_index, state.start_term);
        (group.0, Group { hard_state: state.hard_state, start, entries, ..Group::begun(state.replica) })
    };
    let destroyed = recovered.destroyed.iter().map(|(group, replica)| (group.0, Group::destroyed(*replica)));
    recovered.groups.iter().map(group).chain(destroyed).collect()
}
