//! Commands that were taken in for a group that is not led here any more and did not run: they look for the new leader.
//!
//! Commands of a connection must not overtake each other on the way. What was taken in here is older than all that waits
//! in the queue of the group's route, and goes before it, in the order proposals, forming batch, reads. Commands of
//! clients of other cores go back there, and everything that comes behind them over the same link does too, until that
//! core says that it has heard of it.

use std::collections::HashSet;
use std::iter::Peekable;
use std::slice::Iter;

use resp::{ArgRange, Args};
use types::Slot;
use wire::Batch;

use crate::context::Context;
use crate::groups::apply::command_of;
use crate::groups::batch_queue::{SealedBatch, Waiter};
use crate::groups::sources::Sources;
use crate::groups::{GroupEffect, Groups};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::request::{ArgArena, OwnedArgs, OwnedRequest, Request};

/// Takes the reads up to the next write.
fn take_leading_reads(
    next: &mut Peekable<Iter<'_, Waiter>>,
    args: &ArgArena,
    sources: &mut Sources,
    taken: &mut Vec<OwnedRequest>,
) {
    while let Some(&&Waiter::Read { origin, command, slot, span }) = next.peek() {
        next.next();
        sources.batched_read_ended(origin.source());
        taken.push(Request { origin, command, slot, args: args.get(span) }.to_owned());
    }
}

impl Groups {
    /// If the group is not led here any more, or is being handed over, what has not been proposed goes another way. Once
    /// leadership is lost that holds for all reads too. The fate of writes that were proposed is not known yet.
    pub(super) fn requeue(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
    ) {
        let replica = &self.list[group];
        if replica.leads() || !replica.has_commands() && replica.forwarded.is_empty() {
            return;
        }
        let mut again = Vec::new();
        let is_lost = !replica.raft.is_leader();
        if is_lost {
            self.take_reads_of_proposals(ctx, out, group, &mut again);
        }
        self.take_batches(group, &mut again);
        if is_lost {
            for read in self.list[group].reads.take_all() {
                self.sources.read_ended(read.request.origin.source());
                again.push(read.request);
            }
        }
        self.reroute(ctx, out, effects, group, again);
        // They came behind all of these.
        self.refuse_forwarded(out, group);
    }

    /// A read behind which a write of the same source was proposed cannot be asked again: it would see that write, if it
    /// is committed after all.
    fn take_reads_of_proposals(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        group: usize,
        taken: &mut Vec<OwnedRequest>,
    ) {
        let mut writers = HashSet::new();
        let (mut again, mut lost) = (Vec::new(), Vec::new());
        let Groups { list, sources, .. } = self;
        list[group].proposed.take_reads(|waiters| {
            for waiter in waiters.list.iter().rev() {
                match *waiter {
                    Waiter::Write { origin, .. } => {
                        writers.insert(origin.source());
                    }
                    Waiter::Read { origin, .. } if writers.contains(&origin.source()) => {
                        sources.batched_read_ended(origin.source());
                        lost.push(origin);
                    }
                    Waiter::Read { origin, command, slot, span } => {
                        sources.batched_read_ended(origin.source());
                        again.push(Request { origin, command, slot, args: waiters.args.get(span) }.to_owned());
                    }
                }
            }
        });
        taken.extend(again.into_iter().rev());
        let id = self.list[group].id;
        lost.into_iter().rev().for_each(|origin| refuse(ctx, out, origin, Refusal::ReadLost, Some(id)));
    }

    fn take_batches(&mut self, group: usize, taken: &mut Vec<OwnedRequest>) {
        while let Some(SealedBatch { payload, waiters, .. }) = self.list[group].batches.take_oldest(0) {
            let batch = Batch::access(&payload).expect("a batch that was just archived is valid");
            let mut ranges = Vec::new();
            let mut next = waiters.list.iter().peekable();
            batch
                .for_each(|command, arguments| {
                    take_leading_reads(&mut next, &waiters.args, &mut self.sources, taken);
                    let Some(&Waiter::Write { origin, reply_bytes }) = next.next() else {
                        panic!("a write of ours that nobody waits for")
                    };
                    ranges.clear();
                    // The name is not archived; nothing looks at it.
                    ranges.push(ArgRange { start: 0, end: 0 });
                    ranges.extend(arguments.map(|(start, end)| ArgRange { start, end }));
                    let slot = Slot::new(command.slot).expect("a slot of our own batch");
                    let command = command_of(command.id).expect("a command of our own batch");
                    let args = OwnedArgs::of(Args::new(batch.arguments(), &ranges));
                    self.sources.write_ended(origin.source(), reply_bytes);
                    taken.push(OwnedRequest { origin, command, slot, args });
                })
                .expect("a batch that was just archived is valid");
            take_leading_reads(&mut next, &waiters.args, &mut self.sources, taken);
        }
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
        if again.is_empty() {
            return;
        }
        let replica = &mut self.list[group];
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
        replica.settle_requests();
        ctx.counters.commands_requeued += requests.len() as u64;
        if !requests.is_empty() {
            effects.push(GroupEffect::Requeue { group: replica.id, requests });
        }
    }
}
