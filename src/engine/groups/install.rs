//! Taking a state into use that was received from another replica.

use data::Keyspace;
use types::{Index, Term};
use wire::{Membership, SnapshotMeta};

use crate::context::Context;
use crate::groups::Groups;
use crate::observe::Event;
use crate::refusal::Refusal;
use crate::replies::ReplySink;

/// A group's state as a snapshot holds it.
pub(crate) struct InstalledState {
    pub(crate) last_index: Index,
    pub(crate) last_term: Term,
    pub(crate) membership: Membership,
    pub(crate) keyspace: Keyspace,
}

impl Groups {
    /// A snapshot is to take the place of a group's tables, or could not: until then nothing is applied.
    pub(crate) fn hold_applying(&mut self, group: usize, is_held: bool) {
        let replica = &mut self.list[group];
        // One that has lost its state, or holds other rows than most, applies nothing before it has those of another one.
        let is_held = is_held || replica.is_lost || replica.divergent.is_some();
        replica.applying.hold(is_held);
        replica.raft.pause_applying(is_held || !replica.applying.is_empty());
        self.mark(group);
    }

    /// The state of a replica is lost, and its log is not: it applies nothing, and others should rather lead, until a state that was
    /// received takes its place.
    pub(crate) fn lose_state(&mut self, ctx: &Context, group: usize) {
        let replica = &mut self.list[group];
        replica.is_lost = true;
        replica.raft.set_priority(0, ctx.now);
        self.hold_applying(group, true);
        self.observe(ctx, group, Event::StateLost);
    }

    /// Takes a state into use whose snapshot has its name on disk. Returns whether it was: `false` if the log has caught up
    /// meanwhile and the state here is as new.
    pub(crate) fn install(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        group: usize,
        state: InstalledState,
    ) -> bool {
        let InstalledState { last_index, last_term, membership, keyspace } = state;
        let replica = &mut self.list[group];
        let meta = SnapshotMeta { last_index, last_term, membership: membership.clone() };
        // What was applied to a state that is lost is applied again to an older one.
        let restored =
            if replica.is_lost { replica.raft.rewind(meta, ctx.now) } else { replica.raft.restore(meta, ctx.now) };
        if let Err(error) = restored {
            tracing::info!(group = %replica.id, %error, "the state that was received is not needed any more");
            self.hold_applying(group, false);
            return false;
        }
        replica.learn_addresses(&membership);
        replica.membership = membership;
        replica.time_goes_on(ctx.now, keyspace.time_ms());
        if std::mem::take(&mut replica.is_lost) {
            replica.raft.set_priority(self.priority, ctx.now);
        }
        let replaced = std::mem::replace(&mut replica.keyspace, keyspace);
        replica.keyspace.succeed(replaced);
        self.state_replaced(ctx, group);
        self.observe(ctx, group, Event::Restored { last: (last_index, last_term) });
        self.observe_digest(ctx, group);
        // Whether what was proposed here is part of that state nobody can tell.
        let replica = &mut self.list[group];
        replica.raft.pause_applying(false);
        if let Some(begun) = replica.applying.clear() {
            replica.failed.push_from(begun.waiters, begun.answered_count, Refusal::OutcomeUnknownSnapshot);
        }
        while let Some(proposed) = replica.proposed.pop_settled_by(last_term, last_index) {
            replica.failed.push(proposed.waiters, Refusal::OutcomeUnknownSnapshot);
        }
        self.answer_failed(ctx, out, group);
        self.release_later(group);
        self.expire_later(group);
        self.list[group].settle_permits();
        self.mark(group);
        true
    }
}
