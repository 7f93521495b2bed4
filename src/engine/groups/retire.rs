//! Replicas that belong to their groups no more: they take part in nothing, give back what was taken in here, and leave.
//!
//! A replica retires once it is certain that it is no member and never will be one again (`standing` says how that is known). From
//! then on it says and hears nothing. Commands that were taken in look for the leader, those whose fate is not known are answered so, a slice per turn.
//! Then storage destroys what the disk holds, and once that is durable the rows leave memory, a slice per turn, too. Of a replica
//! that is gone its place in the list stays, with next to nothing in it, for another one of the same group.

use data::Keyspace;
use raft::Recovered;
use types::{ReplicaId, Term};
use wire::Membership;

use crate::context::Context;
use crate::groups::replica::{Life, Replica};
use crate::groups::{GroupEffect, Groups, NewReplica};
use crate::refusal::Refusal;
use crate::replies::ReplySink;

use std::time::Duration;

impl Groups {
    /// The replica here is no member any more, and never will be one again. It is named by a [`GroupEffect::Retired`] once nobody waits for
    /// it any more.
    ///
    /// # Panics
    /// If it leads: then it is a member, or is about to hand over.
    pub(crate) fn retire(&mut self, ctx: &mut Context, group: usize) {
        let replica = &mut self.list[group];
        assert!(!replica.raft.is_leader(), "group {}: the replica that leads is a member", replica.id);
        if replica.life != Life::Running {
            return;
        }
        replica.life = Life::Retiring;
        replica.raft.pause_applying(true);
        if let Some(begun) = replica.applying.clear() {
            replica.failed.push_from(begun.waiters, begun.answered_count, Refusal::OutcomeUnknownLeadership);
        }
        replica.settle_permits();
        ctx.counters.group_stall_us += replica.stalls.end(ctx.now).as_micros() as u64;
        self.stalled.retain(|stalled| *stalled != group);
        self.divergent.retain(|divergent| *divergent != group);
        self.comparing.notes.retain(|(about, ..)| *about != group);
        self.retiring.push(group);
    }

    /// Goes on with those that retire. Called at every tick.
    pub(super) fn tick_retiring(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
    ) {
        for group in std::mem::take(&mut self.retiring) {
            self.requeue(ctx, out, effects, group);
            let replica = &mut self.list[group];
            // The reads of a batch leave first.
            while replica.leaving.is_empty()
                && let Some(proposed) = replica.proposed.pop_unresolved(Term::MAX, ctx.now, Duration::ZERO)
            {
                replica.failed.push(proposed.waiters, Refusal::OutcomeUnknownLeadership);
            }
            self.answer_failed(ctx, out, group);
            if self.list[group].is_awaited_by_nobody() && !self.cold.has_of(group) {
                effects.push(GroupEffect::Retired { group });
            } else {
                self.retiring.push(group);
            }
        }
    }

    /// The replica of this index takes part.
    pub(crate) fn is_running(&self, group: usize) -> bool {
        self.list[group].life == Life::Running
    }

    /// Whether a replica leads.
    pub(crate) fn is_leader(&self, group: usize) -> bool {
        self.list[group].raft.is_leader()
    }

    /// Whether a replica leads, or follows a leader that it hears.
    pub(crate) fn is_led(&self, group: usize) -> bool {
        self.list[group].raft.leader().is_some()
    }

    /// The replica of a group that has retired and is not gone, if there is one.
    pub(crate) fn retired_of(&self, id: types::GroupId) -> Option<usize> {
        self.list.iter().position(|replica| replica.id == id && replica.life == Life::Retiring)
    }

    /// The term that a replica has come to.
    pub(crate) fn term(&self, group: usize) -> Term {
        self.list[group].raft.term()
    }

    /// What the disk held of a replica that has retired is gone, or never comes back: lets go of what memory holds.
    pub(crate) fn erase(&mut self, ctx: &Context, group: usize) {
        self.forget(group);
        let former = &mut self.list[group];
        let empty = || Keyspace::with_hash_seed(ctx.config.row_hash_seed());
        let rows = std::mem::replace(&mut former.keyspace, empty());
        let nothing = NewReplica {
            group: former.id,
            id: former.raft.id(),
            recovered: Recovered::default(),
            membership: Membership::default(),
            keyspace: empty(),
            seed: 0,
        };
        let mut gone =
            Replica::start(&ctx.config, &ctx.budget, nothing, ctx.now).expect("any replica starts with nothing");
        gone.life = Life::Gone;
        gone.keyspace.succeed(rows);
        gone.settle_permits();
        self.list[group] = gone;
        self.gone.push(group);
        self.release_later(group);
    }

    /// Puts a replica where one of its group was that is gone, or behind all others. Returns its index.
    pub(super) fn place(&mut self, replica: Replica) -> usize {
        let Some(at) = self.gone.iter().position(|gone| self.list[*gone].id == replica.id) else {
            self.list.push(replica);
            return self.list.len() - 1;
        };
        let group = self.gone.swap_remove(at);
        self.forget(group);
        let gone = std::mem::replace(&mut self.list[group], replica);
        // Memory that was not given back yet.
        self.list[group].keyspace.succeed(gone.keyspace);
        self.release_later(group);
        group
    }

    /// Takes a replica out of all lists.
    fn forget(&mut self, group: usize) {
        let is_other = |other: &usize| *other != group;
        self.with_work.retain(is_other);
        self.full.retain(is_other);
        self.expiring.retain(is_other);
        let Groups { batching, giving_back, left_over, releasing, watched, stalled, divergent, unfit, .. } = self;
        for list in [batching, giving_back, left_over, releasing, watched, stalled, divergent, unfit] {
            list.retain(is_other);
        }
        self.pressure.forget(group);
        self.rows_to_ask_again.retain(|(other, _)| *other != group);
        self.comparing.forget(group, self.list[group].id);
    }

    /// The replicas that take part.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.list.len()).filter(|group| self.is_running(*group))
    }

    /// The replicas that take part, with their groups.
    pub(crate) fn residents(&self) -> impl Iterator<Item = (usize, types::GroupId, ReplicaId)> + '_ {
        self.running().map(|group| (group, self.list[group].id, self.list[group].raft.id()))
    }
}
