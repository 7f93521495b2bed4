//! Writes: collected into batches and proposed.

use std::time::Duration;

use raft::ProposeError;
use types::Instant;

use crate::context::Context;
use crate::groups::batch_queue::SealedBatch;
use crate::groups::proposals::Proposed;
use crate::groups::replica::Replica;
use crate::groups::{GroupEffect, Groups};
use crate::limits::PROPOSALS_COUNT_MAX;
use crate::observe::{Size, Stage, StallReason};
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::request::Request;

/// More than what a batch's root and Raft's own account add to the bytes of its commands.
pub(super) const ENTRY_OVERHEAD_BYTES_MAX: usize = 1 << 10;

impl Groups {
    /// Adds a write to the next batch of a group that is led here.
    pub(super) fn write(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize, request: Request<'_>) {
        let origin = request.origin;
        if let Err(error) = data::check(request.command.id, request.args) {
            ctx.count_failed(origin, request.command.id, error.message().as_bytes());
            return out.fail(origin, error.message());
        }
        let reply_bytes = match self.admit_write(ctx, out, group, request) {
            Ok(reply_bytes) => reply_bytes,
            Err(refusal @ Refusal::NoRoomToFree) => {
                self.stall(ctx, group, StallReason::DiskFull);
                return refuse(ctx, out, origin, refusal, Some(self.list[group].id));
            }
            Err(Refusal::DiskFull) => {
                self.stall(ctx, group, StallReason::DiskFull);
                ctx.refused(Refusal::DiskFull, Some(self.list[group].id));
                let message = Refusal::disk_full_message(ctx.disk_full.as_deref());
                ctx.count_error_to(origin, message.as_bytes());
                return out.fail(origin, &message);
            }
            Err(refusal) => return refuse(ctx, out, origin, refusal, Some(self.list[group].id)),
        };
        self.put_reads_in_batch(ctx, group, origin.source());
        self.propose_later(group);
        let replica = &mut self.list[group];
        if replica.commits_alone() {
            self.gather.joined(ctx.now);
        }
        self.cold.hint(ctx.now, (group, replica.id), &replica.keyspace, request);
        replica.batches.push_write(ctx.now, request, reply_bytes);
        if replica.batches.is_last_long() && replica.leads() {
            self.propose_group(ctx, group);
        }
        self.list[group].settle_requests();
    }

    /// Puts a group on the list of those that have something to propose.
    pub(super) fn propose_later(&mut self, group: usize) {
        if !std::mem::replace(&mut self.list[group].is_batching, true) {
            self.batching.push(group);
        }
    }

    /// Counts a write as under way, unless there is a reason why it must not be taken in now. Returns how long its reply may
    /// be, beyond a short one.
    fn admit_write(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        group: usize,
        request: Request<'_>,
    ) -> Result<u32, Refusal> {
        if ctx.disk_full.is_some() {
            admit_to_full_disk(ctx, request)?;
        }
        let adds_data = request.command.flags.contains(resp::Flags::DENYOOM);
        if adds_data && !ctx.makes_room() && !ctx.budget.has_room_for_keys(request.bytes()) {
            return Err(Refusal::OutOfMemory);
        }
        let source = request.origin.source();
        let reply_bytes = self.list[group].keyspace.reply_bytes_bound(request.command.id, request.slot, request.args);
        let reply_bytes = if reply_bytes <= data::SHORT_REPLY_BYTES_MAX { 0 } else { reply_bytes };
        if reply_bytes > 0 {
            let under_way = self.sources.of(source).reply_bytes;
            if !out.has_room(request.origin, under_way + reply_bytes) {
                return Err(Refusal::RepliesFull);
            }
        }
        let reply_bytes = u32::try_from(reply_bytes).unwrap_or(u32::MAX);
        self.sources.write_begun(source, reply_bytes);
        Ok(reply_bytes)
    }

    /// Bytes of commands that were taken in and not proposed.
    pub(crate) fn batched_bytes(&self) -> usize {
        self.batching.iter().map(|group| self.list[*group].batches.bytes()).sum()
    }

    /// Proposes what groups have collected: as a rule one entry each. `is_writing` tells whether a block of the log is being
    /// written: what is proposed now becomes durable here with one behind it.
    ///
    /// Meanwhile the next batch forms, so that a busy log commits many commands with one write and an idle one commits each at
    /// once. But other replicas may commit what this core's log does not have yet, so groups that have others go on a little ahead of it.
    pub(crate) fn propose(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        is_writing: bool,
    ) {
        let mut due = std::mem::take(&mut self.due);
        let must_wait = is_writing || self.gather.holds(ctx.now);
        let list = &self.list;
        self.batching.retain(|group| {
            let replica = &list[*group];
            let waits = if replica.commits_alone() { must_wait } else { is_writing && replica.is_ahead_of_log() };
            let is_due = !waits || !replica.leads();
            if is_due {
                due.push(*group);
            }
            !is_due
        });
        if !must_wait {
            self.gather.proposed();
        }
        for group in due.drain(..) {
            self.list[group].is_batching = false;
            if !self.list[group].leads() {
                self.requeue(ctx, out, effects, group);
            } else {
                self.propose_group(ctx, group);
            }
            let replica = &mut self.list[group];
            replica.settle_requests();
            // What there was no room for stays.
            if !replica.batches.is_empty() && !std::mem::replace(&mut replica.is_batching, true) {
                self.batching.push(group);
            }
        }
        self.due = due;
    }

    /// Whether there is something to propose.
    pub(crate) fn has_batches(&self) -> bool {
        !self.batching.is_empty()
    }

    /// A block of the log has become durable, this long after its write began.
    pub(crate) fn block_ended(&mut self, took: Duration, now: Instant) {
        self.gather.block_ended(took, now);
    }

    /// Proposes what a group that leads has collected, as far as there is room.
    fn propose_group(&mut self, ctx: &mut Context, group: usize) {
        let mut lacks_memory = false;
        let Groups { list, pressure, .. } = self;
        let replica = &mut list[group];
        if replica.batches.is_empty() && !replica.wants_time {
            return;
        }
        let time_ms = replica.batch_time(ctx);
        let has_room = |replica: &Replica| {
            let uncommitted_bytes = replica.raft.uncommitted_bytes();
            let next_bytes = replica.batches.oldest_bytes() + ENTRY_OVERHEAD_BYTES_MAX;
            uncommitted_bytes == 0 || uncommitted_bytes + next_bytes <= replica.raft.config().uncommitted_bytes_max
        };
        while replica.proposed.len() < PROPOSALS_COUNT_MAX && has_room(replica) {
            if !replica.batches.is_empty() && pressure.must_wait(ctx) {
                lacks_memory = true;
                break;
            }
            let taken = replica.batches.take_oldest(time_ms);
            let is_for_expiry = taken.is_none() && replica.wants_time;
            let Some(SealedBatch { payload, commands_count, mut waiters }) =
                taken.or_else(|| is_for_expiry.then(|| SealedBatch::empty(time_ms)))
            else {
                break;
            };
            ctx.counters.batches_for_expiry += u64::from(is_for_expiry);
            replica.wants_time = false;
            let payload_bytes = payload.len();
            let (term, index) = match replica.raft.propose(payload, ctx.now) {
                Ok(position) => position,
                // Nothing else can change between the checks above and here.
                Err(
                    error @ (ProposeError::NotLeader { .. } | ProposeError::Transferring | ProposeError::Overloaded),
                ) => {
                    panic!("a group that leads and has room refused a proposal: {error}")
                }
            };
            replica.time_goes_on(ctx.now, time_ms);
            replica.proposed_ms = time_ms;
            waiters.times.proposed_at = ctx.latest();
            if let Some(begun_at) = waiters.times.begun_at {
                ctx.stages.record(Stage::Batch, waiters.times.proposed_at.since(begun_at));
                ctx.stages.record_size(Size::BatchCommands, commands_count);
                ctx.stages.record_size(Size::BatchBytes, payload_bytes);
                ctx.stages.record_size(Size::Proposals, replica.proposed.len());
            }
            replica.proposed.push(Proposed { term, index, at: ctx.now, waiters });
            ctx.counters.batches_proposed += 1;
            ctx.counters.commands_proposed += commands_count as u64;
        }
        if lacks_memory {
            self.stall(ctx, group, StallReason::Memory);
        }
        self.watch_if_needed(group);
        self.mark(group);
    }

    /// Proposes a cluster map or a change of it for the group that holds it, if the group is led here. Returns the term in which
    /// it did.
    pub(crate) fn propose_map(
        &mut self,
        ctx: &Context,
        group: usize,
        kind: wire::EntryKind,
        map: bytes::Bytes,
    ) -> Option<types::Term> {
        let raft = &mut self.list[group].raft;
        // Refused during a transfer, for example: the next leader, or the next tick, tries again.
        let proposed = raft.propose_kind(kind, map, ctx.now).ok();
        let term = proposed.map(|(term, _)| term);
        if term.is_some() {
            self.mark(group);
        }
        term
    }

    /// The term in which a group is led here and everything committed earlier is applied, if it is.
    pub(crate) fn settled_leader_term(&self, group: usize) -> Option<types::Term> {
        let raft = &self.list[group].raft;
        // Everything committed earlier is applied once an entry of the leader's own term is.
        let is_settled = raft.is_leader() && raft.term_at(raft.applied_index()) == Some(raft.term());
        is_settled.then(|| raft.term())
    }
}

/// Takes in commands that make room, as long as the log has room for them beyond what is for votes.
fn admit_to_full_disk(ctx: &mut Context, request: Request<'_>) -> Result<(), Refusal> {
    if !data::frees_room(request.command, request.args, ctx.unix_ms) {
        return Err(Refusal::DiskFull);
    }
    if let Some(left) = ctx.freeing_bytes {
        let rest = left.checked_sub(request.bytes() + ENTRY_OVERHEAD_BYTES_MAX).ok_or(Refusal::NoRoomToFree)?;
        ctx.freeing_bytes = Some(rest);
    }
    ctx.counters.commands_admitted_full += 1;
    Ok(())
}
