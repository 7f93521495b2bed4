//! Commands that were taken in for a group that is not led here any more and did not run: they look for the new leader.
//!
//! Commands of a connection must not overtake each other on the way. What was taken in here is older than all that waits
//! in the queue of the group's route, and goes before it, in the order proposals, forming batch, reads. Commands of
//! clients of other cores go back there, and everything that comes behind them over the same link does too, until that
//! core says that it has heard of it.
//!
//! There may be very many, so each turn gives a slice of them back, from the last to the first: each slice goes before the
//! one of the turn before. Until the first has left, the group takes nothing in and what waits for it stays in its queue.

use crate::context::Context;
use crate::groups::batch_queue::{Unproposed, Waiter};
use crate::groups::leaving::Leaving;
use crate::groups::replica::Replica;
use crate::groups::{GroupEffect, Groups};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::request::OwnedRequest;
use crate::shares::Kind;

/// To look at so many of those who wait for a batch takes about as long as to give a command back.
const LOOKS_PER_COMMAND: usize = 4;

impl Groups {
    /// Begins a turn: goes on with what earlier ones have left.
    pub(crate) fn begin_turn(&mut self, ctx: &mut Context, out: &mut impl ReplySink, effects: &mut Vec<GroupEffect>) {
        ctx.counters.commands_sliced += u64::from(!self.giving_back.is_empty());
        for group in std::mem::take(&mut self.left_over) {
            self.mark(group);
        }
        for group in std::mem::take(&mut self.giving_back) {
            self.list[group].is_giving_back = false;
            self.answer_failed(ctx, out, group);
            self.send_refused_back(ctx, out, group);
            self.requeue(ctx, out, effects, group);
        }
    }

    /// Leaves what a group has to give back, or to answer as it fails, to the next turn.
    pub(super) fn go_on_giving_back(&mut self, group: usize) {
        if !std::mem::replace(&mut self.list[group].is_giving_back, true) {
            self.giving_back.push(group);
        }
    }

    /// Answers those who wait for batches that cannot be applied any more, or not be known to be: as many as the turn still
    /// may.
    pub(super) fn answer_failed(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize) {
        let Groups { list, sources, .. } = self;
        let replica = &mut list[group];
        while !ctx.shares.is_spent(Kind::GivenBack)
            && let Some((waiter, refusal)) = replica.failed.pop()
        {
            ctx.shares.spend(Kind::GivenBack, 1);
            match waiter {
                Waiter::Write { origin, reply_bytes } => {
                    sources.write_ended(origin.source(), reply_bytes);
                    refuse(ctx, out, origin, refusal, Some(replica.id));
                }
                // A write of its source may have run behind it.
                Waiter::Read { origin, .. } => {
                    sources.batched_read_ended(origin.source());
                    refuse(ctx, out, origin, Refusal::ReadLost, Some(replica.id));
                }
            }
        }
        replica.settle_requests();
        if !replica.failed.is_empty() {
            self.go_on_giving_back(group);
        }
    }

    /// If the group is not led here any more, or is being handed over, what has not been proposed goes another way, as many
    /// commands as the turn still may. Once leadership is lost that holds for all reads too. The fate of writes that were
    /// proposed is not known yet.
    pub(super) fn requeue(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
    ) {
        let replica = &mut self.list[group];
        if replica.leads() {
            return;
        }
        let had_unsettled = replica.has_unsettled();
        if !replica.raft.is_leader() {
            replica.leaving.take_over(&mut replica.reads, &mut replica.proposed);
        }
        if !replica.has_to_requeue() {
            return;
        }
        replica.is_requeuing = true;
        let mut again = Vec::new();
        while !ctx.shares.is_spent(Kind::GivenBack) {
            let cost = match self.take_last(group) {
                Some(Leaving::Again(request)) => {
                    again.push(request);
                    1
                }
                Some(Leaving::Lost(origin)) => {
                    refuse(ctx, out, origin, Refusal::ReadLost, Some(self.list[group].id));
                    1
                }
                None => {
                    let Replica { leaving, proposed, .. } = &mut self.list[group];
                    let Some(looked_count) = leaving.look_at_next(proposed) else { break };
                    looked_count.div_ceil(LOOKS_PER_COMMAND)
                }
            };
            ctx.shares.spend(Kind::GivenBack, cost);
        }
        again.reverse();
        self.reroute(ctx, out, effects, group, again);
        // They came behind all of these.
        self.refuse_forwarded(ctx, out, group);
        let replica = &mut self.list[group];
        replica.is_requeuing = replica.has_to_requeue();
        if replica.is_requeuing {
            self.go_on_giving_back(group);
        } else if had_unsettled && !replica.has_unsettled() {
            effects.push(GroupEffect::Unblocked { group: replica.id });
        }
    }

    /// Takes out a command that was not proposed, or a read that leaves: none that is left came behind it from the same source.
    fn take_last(&mut self, group: usize) -> Option<Leaving> {
        let Groups { list, sources, ranges, .. } = self;
        let replica = &mut list[group];
        // A source of which a read waits in no batch has no command in one that forms.
        if let Some(request) = replica.leaving.pop_waited() {
            sources.read_ended(request.origin.source());
            return Some(Leaving::Again(request));
        }
        match replica.batches.pop_last(ranges) {
            Some(Unproposed::Write(request, reply_bytes)) => {
                sources.write_ended(request.origin.source(), reply_bytes);
                return Some(Leaving::Again(request));
            }
            Some(Unproposed::Read(request)) => {
                sources.batched_read_ended(request.origin.source());
                return Some(Leaving::Again(request));
            }
            None => {}
        }
        let read = replica.leaving.pop_proposed()?;
        let (Leaving::Again(OwnedRequest { origin, .. }) | Leaving::Lost(origin)) = &read;
        sources.batched_read_ended(origin.source());
        Some(read)
    }

    /// Commands that this core had taken in and did not run look for their leader, before all others that do.
    pub(super) fn reroute(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        again: Vec<OwnedRequest>,
    ) {
        let replica = &mut self.list[group];
        replica.settle_requests();
        if again.is_empty() {
            return;
        }
        let mut requests = Vec::new();
        for request in again {
            match request.origin {
                // The core it came from looks itself. If newer ones have gone back before, they wait there for this one.
                Origin::Peer { link, id, .. } => {
                    replica.refuse(link);
                    out.send_back(link, id);
                }
                Origin::Client { .. } | Origin::SubRequest { .. } => requests.push(request),
            }
        }
        ctx.counters.commands_requeued += requests.len() as u64;
        if !requests.is_empty() {
            effects.push(GroupEffect::Requeue { group: replica.id, requests });
        }
    }
}
