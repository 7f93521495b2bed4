//! What must hold at all times, looked at after every turn of every node.

use std::collections::BTreeMap;

use raft::{Raft, Role};
use types::{Index, ReplicaId, Term};
use wire::Entry;

use crate::node::Node;

/// Remembers everything that was ever promised, and compares.
#[derive(Default)]
pub(crate) struct Checker {
    leaders: BTreeMap<Term, ReplicaId>,
    /// Every committed entry, from index 1 on, as first applied anywhere.
    committed: Vec<Entry>,
    /// In which term each of them was committed: that of the replica that applied it first.
    committed_in: Vec<Term>,
    /// Whether the group is whoever it began with, so that a majority can be counted.
    pub(crate) members_change: bool,
    /// The highest commit index any replica ever had.
    commit_max: Index,
    reads_by_index: BTreeMap<u64, Index>,
    pub(crate) lease_reads: u64,
    pub(crate) index_reads: u64,
}

impl Checker {
    pub(crate) fn commit_max(&self) -> Index {
        self.commit_max
    }

    /// What was committed, as far as it was applied anywhere.
    pub(crate) fn committed(&self) -> &[Entry] {
        &self.committed
    }

    pub(crate) fn leaders_count(&self) -> usize {
        self.leaders.len()
    }

    /// Election safety and leader completeness.
    pub(crate) fn role(&mut self, raft: &Raft) {
        assert_eq!(raft.counters().contradictions(), 0, "{} was told what cannot be", raft.id());
        if raft.role() != Role::Leader {
            return;
        }
        let first_seen = !self.leaders.contains_key(&raft.term());
        let leader = *self.leaders.entry(raft.term()).or_insert(raft.id());
        assert_eq!(leader, raft.id(), "election safety: two leaders in term {}", raft.term());
        if first_seen {
            // One that is elected late may lack what was committed by leaders of later terms.
            let before = self.committed.iter().zip(&self.committed_in).filter(|(_, term)| **term < raft.term());
            for (entry, _) in before {
                let held = raft.term_at(entry.index);
                let is_dropped = entry.index < raft.base_index();
                assert!(
                    is_dropped || held == Some(entry.term),
                    "leader completeness: entry {} of {}: {held:?}",
                    entry.index,
                    raft.id()
                );
            }
        }
    }

    /// State-machine safety: every replica applies the same entries in the same order.
    pub(crate) fn applied(&mut self, id: ReplicaId, term: Term, entry: &Entry) {
        match self.committed.get(entry.index as usize - 1) {
            Some(known) => assert_eq!(known, entry, "state-machine safety: {id} applies another entry"),
            None => {
                self.committed_in.push(term);
                assert_eq!(entry.index, self.committed.len() as u64 + 1, "entries are applied without gaps");
                self.committed.push(entry.clone());
            }
        }
    }

    /// Durability: what is committed for the first time is on the disks of a majority.
    pub(crate) fn commit(&mut self, raft: &Raft, nodes: &[Node]) {
        if raft.commit_index() <= self.commit_max {
            return;
        }
        self.commit_max = raft.commit_index();
        let term = raft.term_at(self.commit_max);
        let durable = |node: &&Node| {
            let logged = node.disk.entries.get(self.commit_max as usize - 1).map(|entry| entry.term);
            logged == term || node.disk.snapshot_index() >= self.commit_max
        };
        if self.members_change {
            return;
        }
        let copies = nodes.iter().filter(durable).count();
        assert!(copies > nodes.len() / 2, "durability: entry {} has {copies} copies", self.commit_max);
    }

    pub(crate) fn lease_read(&mut self, index: Index) {
        self.lease_reads += 1;
        assert!(index >= self.commit_max, "a read by lease misses entries {index}..{}", self.commit_max);
    }

    pub(crate) fn read_index_asked(&mut self, ctx: u64) {
        assert!(self.reads_by_index.insert(ctx, self.commit_max).is_none(), "contexts are used once");
    }

    pub(crate) fn read_index_answered(&mut self, ctx: u64, index: Option<Index>) {
        let asked_at = self.reads_by_index.remove(&ctx).expect("an answer belongs to one question");
        if let Some(index) = index {
            self.index_reads += 1;
            assert!(index >= asked_at, "a read by ReadIndex misses entries {index}..{asked_at}");
        }
    }

    /// Log matching: where two disks hold entries of the same index and term, they agree up to there.
    pub(crate) fn logs(&self, nodes: &[Node]) {
        for (idx, one) in nodes.iter().enumerate() {
            for other in &nodes[idx + 1..] {
                let pairs = || one.disk.entries.iter().zip(&other.disk.entries);
                if let Some(last) = pairs().rposition(|(a, b)| a.term == b.term) {
                    assert!(pairs().take(last + 1).all(|(a, b)| a == b), "log matching up to {last}");
                }
            }
        }
    }
}
