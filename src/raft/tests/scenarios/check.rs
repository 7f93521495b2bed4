//! What must hold in every scenario, whatever it shows.

use std::collections::BTreeMap;

use raft::{Raft, Role};
use types::{Index, ReplicaId, Term};
use wire::{Body, Entry, Message};

use crate::replica::Disk;

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Checker {
    leaders: BTreeMap<Term, ReplicaId>,
    /// Every entry ever applied, by index.
    applied: BTreeMap<Index, Entry>,
}

impl Checker {
    /// Election safety and leader completeness (Raft paper, figure 3).
    pub(crate) fn role(&mut self, raft: &Raft) -> Result<(), String> {
        if raft.counters().contradictions() > 0 {
            return Err(format!("{} was told what cannot be", raft.id()));
        }
        if raft.role() != Role::Leader {
            return Ok(());
        }
        if let Some(other) = self.leaders.get(&raft.term()) {
            let same = *other == raft.id();
            return if same { Ok(()) } else { Err(format!("two leaders in term {}", raft.term())) };
        }
        self.leaders.insert(raft.term(), raft.id());
        for entry in self.applied.values().filter(|entry| entry.term < raft.term()) {
            // What has left the beginning of a log was committed there.
            let behind_base = entry.index <= raft.commit_index();
            if raft.term_at(entry.index) != Some(entry.term) && !behind_base {
                return Err(format!("leader {} lacks the committed entry {}", raft.id(), entry.index));
            }
        }
        Ok(())
    }

    /// State-machine safety.
    pub(crate) fn applied(&mut self, id: ReplicaId, entry: &Entry) -> Result<(), String> {
        let known = self.applied.entry(entry.index).or_insert_with(|| entry.clone());
        if known == entry { Ok(()) } else { Err(format!("{id} applies another entry {}", entry.index)) }
    }

    /// What a message promises must be on disk when it leaves.
    pub(crate) fn leaving(&self, message: &Message, disk: &Disk) -> Result<(), String> {
        let durable = disk.hard_state;
        if matches!(message.body, Body::Vote { pre: true, .. } | Body::VoteReply { pre: true, .. }) {
            return Ok(());
        }
        if durable.term < message.term {
            return Err(format!("{} tells of a term that is not durable", message.from));
        }
        let promised = match message.body {
            _ if durable.term != message.term => true,
            Body::Vote { .. } => durable.vote == Some(message.from),
            Body::VoteReply { granted: true, .. } => durable.vote == Some(message.to),
            Body::AppendAccepted { match_index } => match_index <= disk.reaches(),
            _ => true,
        };
        if promised { Ok(()) } else { Err(format!("{} promises what is not durable", message.from)) }
    }
}
