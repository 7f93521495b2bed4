//! What survives a crash of a replica.

use std::vec::Vec;

use types::{Index, Term};
use wire::{Entry, EntryKind, HardState, Membership, SnapshotMeta};

use crate::{Persist, Recovered, TermRun};

/// A durable state: what it stands for, and the entries that made it, from index 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) meta: SnapshotMeta,
    pub(super) entries: Vec<Entry>,
}

/// A write that was handed out and may still be lost.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) seq: u64,
    reset: Option<(Index, Term)>,
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
}

impl From<Persist> for Write {
    fn from(persist: Persist) -> Write {
        let Persist { seq, reset, hard_state, entries } = persist;
        Write { seq, reset, hard_state, entries }
    }
}

/// The disk. Invariant: if the log has lost its beginning, there is a snapshot that covers it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    pub(super) snapshot: Option<Snapshot>,
    /// Index of the entry before the log's first.
    base: Index,
    log: Vec<Entry>,
}

impl Disk {
    /// That of a replica whose state stands for these entries, all of term 1, and whose log is empty behind them.
    pub(super) fn with_state(entries: Vec<Entry>, membership: Membership) -> Disk {
        let base = entries.len() as Index;
        let snapshot = Snapshot { meta: SnapshotMeta { last_index: base, last_term: 1, membership }, entries };
        let hard_state = HardState { term: 1, vote: None, commit: base };
        Disk { hard_state, snapshot: Some(snapshot), base, log: Vec::new() }
    }

    pub(super) fn write(&mut self, write: Write) {
        if let Some((index, _)) = write.reset {
            self.base = index;
            self.log.clear();
        }
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(first) = write.entries.first() {
            let kept = first.index.checked_sub(self.base + 1).expect("nothing before the log's beginning is written");
            assert!(kept <= self.log.len() as u64, "the log has no gaps");
            self.log.truncate(kept as usize);
        }
        self.log.extend(write.entries);
    }

    /// Drops what the snapshot covers from the log's beginning.
    pub(super) fn compact(&mut self) {
        let index = self.snapshot_index();
        if index > self.base {
            self.log.drain(..(index - self.base) as usize);
            self.base = index;
        }
    }

    pub(super) fn snapshot_index(&self) -> Index {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.last_index)
    }

    /// The entry at `index`, if the log holds it.
    pub(super) fn entry(&self, index: Index) -> Option<&Entry> {
        self.log.get(index.checked_sub(self.base + 1)? as usize)
    }

    /// Whether the log goes on behind the snapshot; else the snapshot replaces it.
    fn log_continues(&self) -> bool {
        let Some(Snapshot { meta, .. }) = &self.snapshot else { return true };
        meta.last_index <= self.base || self.entry(meta.last_index).is_some_and(|entry| entry.term == meta.last_term)
    }

    /// Everything that a restart would know, from index 1 on.
    pub(super) fn known(&self) -> impl Iterator<Item = &Entry> {
        let covered = self.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.entries);
        let (covered, log) =
            if self.log_continues() { (&covered[..self.base as usize], &self.log[..]) } else { (covered, &[][..]) };
        covered.iter().chain(log)
    }

    /// What a start finds. A state that was taken over counts, whether or not the log was emptied by then.
    pub(super) fn recover(&mut self) -> Recovered {
        if !self.log_continues() {
            self.base = self.snapshot_index();
            self.log.clear();
        }
        let base_term = match &self.snapshot {
            Some(snapshot) if self.base > 0 => snapshot.entries[self.base as usize - 1].term,
            _ => 0,
        };
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.log {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { first: entry.index, term: entry.term });
            }
        }
        let changes = self.log.iter().filter(|entry| entry.kind == EntryKind::Membership);
        let decode = |entry: &Entry| Membership::decode(&entry.payload).expect("only what was encoded is written");
        Recovered {
            hard_state: self.hard_state,
            base_index: self.base,
            base_term,
            last_index: self.base + self.log.len() as u64,
            runs,
            applied: self.snapshot_index(),
            snapshot: self.snapshot.as_ref().map(|snapshot| snapshot.meta.clone()),
            memberships: changes.map(|entry| (entry.index, decode(entry))).collect(),
        }
    }
}
