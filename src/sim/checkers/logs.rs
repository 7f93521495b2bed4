//! What each replica's log holds, as far as it can be told from outside.

use std::collections::{BTreeMap, HashMap};

use types::{GroupId, Index, ReplicaId, Term};

use crate::observation::{EntryHash, Observation, ObservationKind};

/// One replica's log: what was handed to it, durable or not.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Index and term of the entry before the first.
    base: (Index, Term),
    /// The entry of index `base.0 + 1`, and so on.
    entries: Vec<EntryHash>,
}

impl Log {
    /// Index of the last entry.
    pub fn last_index(&self) -> Index {
        self.base.0 + self.entries.len() as Index
    }

    /// Index of the entry before the first.
    pub fn base_index(&self) -> Index {
        self.base.0
    }

    /// The entry at an index, if the log has it.
    pub fn get(&self, index: Index) -> Option<EntryHash> {
        let idx = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(idx).ok()?).copied()
    }

    /// The term of the entry at an index: also of the one before the first.
    pub fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.0 { Some(self.base.1) } else { self.get(index).map(|entry| entry.term) }
    }

    /// Whether the replica has this entry, or a state that holds it.
    pub fn holds(&self, index: Index, term: Term) -> bool {
        index < self.base.0 || self.term(index) == Some(term)
    }

    fn replace(&mut self, first: Index, entries: &[EntryHash]) {
        let Some(keep) = first.checked_sub(self.base.0 + 1) else { return };
        self.entries.truncate(keep as usize);
        self.entries.extend_from_slice(entries);
    }

    fn drop_beginning(&mut self, last: (Index, Term)) {
        let keeps = last.0 <= self.last_index() && self.term(last.0) == Some(last.1);
        let dropped = last.0.saturating_sub(self.base.0) as usize;
        if keeps {
            self.entries.drain(..dropped);
        } else if last.0 >= self.base.0 {
            self.entries.clear();
        } else {
            return;
        }
        self.base = last;
    }
}

/// An entry with the term of the one before it. By the log matching property (Raft paper, §5.3) an index and a term
/// name one of these, and so all of the log before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The entry.
    pub entry: EntryHash,
    /// The term of the entry before.
    pub term_before: Term,
}

/// The logs of all replicas.
#[derive(Debug, Default)]
pub struct Logs {
    logs: BTreeMap<(GroupId, ReplicaId), Log>,
    /// What logs held before their disks were damaged.
    damaged: BTreeMap<(GroupId, ReplicaId), Log>,
    linked: HashMap<(GroupId, Index, Term), Linked>,
}

impl Logs {
    /// A replica's log; empty if nothing was seen of it.
    pub fn get(&self, group: GroupId, replica: ReplicaId) -> Option<&Log> {
        self.logs.get(&(group, replica))
    }

    /// Whether the replica has this entry or a state that holds it, or had it before its disk was damaged: then it may
    /// have said so, and be counted on.
    pub fn has_held(&self, group: GroupId, replica: ReplicaId, index: Index, term: Term) -> bool {
        let key = (group, replica);
        [self.logs.get(&key), self.damaged.get(&key)].into_iter().flatten().any(|log| log.holds(index, term))
    }

    /// What an index and a term name, if any replica ever logged it.
    pub fn linked(&self, group: GroupId, index: Index, term: Term) -> Option<Linked> {
        self.linked.get(&(group, index, term)).copied()
    }

    /// Takes in what a replica did.
    pub fn observe(&mut self, seen: &Observation) {
        let key = (seen.group, seen.replica);
        match &seen.kind {
            ObservationKind::Started { base, last, .. } => {
                let log = self.found(seen.group, *base, *last);
                self.logs.insert(key, log);
            }
            ObservationKind::Logged { first, entries, .. } if !entries.is_empty() => {
                let log = self.logs.entry(key).or_default();
                let mut term_before = log.term(first - 1).unwrap_or(0);
                for (index, entry) in (*first..).zip(entries) {
                    let linked = Linked { entry: *entry, term_before };
                    self.linked.entry((seen.group, index, entry.term)).or_insert(linked);
                    term_before = entry.term;
                }
                log.replace(*first, entries);
            }
            ObservationKind::Compacted(index) => {
                let log = self.logs.entry(key).or_default();
                if let Some(term) = log.term(*index) {
                    log.drop_beginning((*index, term));
                }
            }
            ObservationKind::Restored { last } => self.logs.entry(key).or_default().drop_beginning(*last),
            ObservationKind::Damaged | ObservationKind::Quarantined { .. } => {
                if let Some(log) = self.logs.remove(&key) {
                    self.damaged.insert(key, log);
                }
            }
            _ => {}
        }
    }

    /// The log that ends with the entry named `last`, from behind `base`.
    fn found(&self, group: GroupId, base: (Index, Term), last: (Index, Term)) -> Log {
        let mut entries = Vec::new();
        let (mut index, mut term) = last;
        while index > base.0 {
            // What nobody has logged was objected to by another checker.
            let Some(linked) = self.linked(group, index, term) else { break };
            entries.push(linked.entry);
            index -= 1;
            term = linked.term_before;
        }
        entries.reverse();
        Log { base: (index, if index == base.0 { base.1 } else { term }), entries }
    }
}
