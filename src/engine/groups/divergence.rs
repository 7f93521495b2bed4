//! Replicas that hold other rows than most of their group, though they have applied the same log.
//!
//! Such a replica *leaves*: it applies nothing more, answers nobody, neither votes nor acknowledges, and if it leads it hands that over
//! first. What it has voted and acknowledged stands in its log, in which nothing is wrong. So it asks for another replica's snapshot that
//! reaches beyond what it has applied, takes that over as any replica that was away for too long does, and takes part again.
//!
//! That it has left is not remembered by the disk: a start takes part again, until the next comparison.

use std::time::Duration;

use types::{CoreAddr, Index, ReplicaId};
use wire::{ComparisonNote, NoteBody};

use crate::comparison::{ComparePoint, Comparison, Standing};
use crate::context::Context;
use crate::groups::comparing::Divergent;
use crate::groups::{GroupEffect, Groups};
use crate::observe::Event;

/// How often a replica that has left asks for a snapshot.
const ASK_EVERY: Duration = Duration::from_secs(5);

impl Groups {
    /// The leader says that the replica here differs from most behind an entry.
    pub(super) fn differs(&mut self, ctx: &mut Context, group: usize, point: ComparePoint, sender: ReplicaId) {
        let replica = &self.list[group];
        // What it was compared as is still there, and whoever says so leads.
        if replica.compared != Some(point) || replica.raft.leader() != Some(sender) || replica.divergent.is_some() {
            return;
        }
        tracing::error!(
            group = %replica.id,
            index = point.index,
            "the replica here holds other rows than most behind the same entry of the log: it takes no part any more until it has \
             taken over another one's state; look for faulty memory or a faulty disk on this node"
        );
        self.leave(ctx, group);
    }

    /// The replica here leaves.
    pub(super) fn leave(&mut self, ctx: &mut Context, group: usize) {
        let replica = &mut self.list[group];
        if replica.divergent.is_some() {
            return;
        }
        ctx.counters.replicas_left += 1;
        replica.divergent = Some(Divergent { ask_at: ctx.now + ASK_EVERY });
        replica.applying.hold(true);
        replica.raft.pause_applying(true);
        self.divergent.push(group);
        self.observe(ctx, group, Event::Quarantined);
        self.mark(group);
    }

    /// Hands leaderships over, and asks for snapshots. Called at every tick.
    pub(super) fn tick_divergent(&mut self, ctx: &Context, effects: &mut Vec<GroupEffect>) {
        for at in 0..self.divergent.len() {
            let group = self.divergent[at];
            let heir = self.heir(group);
            let replica = &mut self.list[group];
            if replica.raft.is_leader() {
                // Refused while a transfer is under way.
                if replica.raft.transfer_leader(heir, ctx.now).is_ok() {
                    self.mark(group);
                }
                continue;
            }
            let Some(divergent) = replica.divergent.as_mut().filter(|divergent| divergent.ask_at <= ctx.now) else {
                continue;
            };
            divergent.ask_at = ctx.now + ASK_EVERY;
            let (own, raft) = (replica.raft.id(), &replica.raft);
            let others = raft.membership().voters.iter().filter(|voter| voter.id != own);
            for to in others.filter_map(|voter| replica.addrs.get(voter.id)) {
                let index = raft.applied_index();
                let note = ComparisonNote { group: replica.id, index, term: raft.term(), body: NoteBody::Left };
                effects.push(GroupEffect::ComparisonNote { to, note });
            }
        }
    }

    /// Who is to lead instead of the replica here: one that agrees with most.
    fn heir(&self, group: usize) -> Option<ReplicaId> {
        let is_of_group = |found: &&Comparison| found.point.group == self.list[group].id;
        let found = self.comparing.results().find(is_of_group)?;
        let agrees = found.members.iter().find(|member| member.standing == Standing::Agrees);
        agrees.map(|member| member.replica)
    }

    /// There is a snapshot of this index at `from`.
    pub(super) fn rebuild(&self, effects: &mut Vec<GroupEffect>, group: usize, from: CoreAddr, index: Index) {
        let replica = &self.list[group];
        if replica.is_mute() && index > replica.raft.applied_index() {
            effects.push(GroupEffect::WantSnapshot { group, from, last_index: 0 });
        }
    }

    /// The state of a replica was replaced: whatever it held before concerns nobody any more.
    pub(super) fn state_replaced(&mut self, ctx: &mut Context, group: usize) {
        let replica = &mut self.list[group];
        replica.compared = None;
        if replica.divergent.take().is_some() {
            ctx.counters.replicas_rebuilt += 1;
            tracing::info!(group = %replica.id, "the replica has taken over another one's state and takes part again");
            self.divergent.retain(|other| *other != group);
        }
    }
}
