//! Whether a replica is still a member of its group.
//!
//! Whoever is removed seldom hears of it: the leader sends the entry that removes it to the others alone. So a core whose map does not
//! want a replica that lives there asks those of the group that the map wants. Whoever of them leads answers if the replica is none of
//! the members, and only once it has confirmed that it leads *behind the question*: what was committed by then it has, and if it has
//! applied all of that, no configuration counts on the replica. None will again: the leader's map knows the replica and does not want it, and
//! even a leader with an older map could make it no more than a learner, whose answer it needs to have it vote. For the same reason
//! the answer counts only if the replica has come to no later term since it asked: in none has it answered anybody.
//!
//! A replica that has applied the entry which removes it need not ask. That a cached map does not name it proves nothing: neither alone.

use meta::ClusterMap;
use raft::ReadState;
use types::CoreAddr;
use wire::{LeaderNote, ReplicaNote, ReplicaNoteKind};

use crate::context::Context;
use crate::groups::questions::{QUESTION, QUESTIONS_COUNT_MAX, Question, is_unwanted, names};
use crate::groups::{GroupEffect, Groups};

impl Groups {
    /// A core asks whether the replica there is a member. Answered by a [`GroupEffect::Gone`] if this one leads and it is none.
    pub(crate) fn take_question(
        &mut self,
        ctx: &Context,
        map: &ClusterMap,
        group: usize,
        from: CoreAddr,
        note: ReplicaNote,
    ) {
        let Groups { list, questions, .. } = self;
        let raft = &mut list[group].raft;
        let may_be_gone = is_unwanted(map, note.group, note.replica) && !names(raft.membership(), note.replica);
        if !raft.is_leader() || !may_be_gone || questions.open.len() >= QUESTIONS_COUNT_MAX {
            return;
        }
        let number = QUESTION | questions.next_number;
        if raft.read_index(number, ctx.now).is_ok() {
            questions.next_number += 1;
            questions.open.insert(number, Question { from, note });
            self.mark(group);
        }
    }

    /// Leadership is confirmed as of a time behind a question.
    pub(super) fn answer_question(
        &mut self,
        ctx: &Context,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        confirmed: ReadState,
    ) {
        let Some(Question { from, note }) = self.questions.open.remove(&confirmed.ctx) else { return };
        let replica = &self.list[group];
        let raft = &replica.raft;
        let is_member = names(&replica.membership, note.replica) || names(raft.membership(), note.replica);
        // What is committed and not applied may name it.
        if is_member || raft.applied_index() < confirmed.index {
            return;
        }
        let leader = LeaderNote { group: replica.id, term: raft.term(), place: ctx.addr() };
        let note = ReplicaNote { says: ReplicaNoteKind::Gone, ..note };
        effects.push(GroupEffect::Gone { to: from, note, leader });
    }

    /// Leadership was lost before it was confirmed.
    pub(super) fn drop_question(&mut self, check: u64) {
        self.questions.open.remove(&check);
    }

    /// Whether the replica here has applied the entry by which it left its group.
    pub(crate) fn has_left_group(&self, group: usize) -> bool {
        self.list[group].has_left_group
    }
}
