//! Applying committed entries, and answering those who wait for them.

use std::iter::Peekable;
use std::slice::Iter;

use data::{Keyspace, Outcome};
use lsm::PREFETCH_KEYS_COUNT;
use resp::{ArgRange, Args, CommandId};
use types::Slot;
use wire::{Batch, BatchError, Entry, EntryKind, Membership};

use crate::context::Context;
use crate::error::Error;
use crate::groups::batch_queue::{Waiter, Waiters};
use crate::groups::sources::Sources;
use crate::groups::{GroupEffect, Groups};
use crate::observe::Event;
use crate::refusal::Refusal;
use crate::replies::{ReplySink, SHORT_REPLY_BYTES_MAX, refuse};
use crate::shares::Kind;

impl Groups {
    /// Applies a committed entry, and answers those who wait for it.
    pub(super) fn apply(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        entry: &Entry,
    ) -> Result<(), Error> {
        let waiters = self.settle_proposals(ctx, out, effects, group, entry);
        // Beside its commands.
        ctx.shares.spend_with_bytes(Kind::Applied, 1, entry.payload.len());
        let id = self.list[group].id;
        match entry.kind {
            EntryKind::Empty => {}
            EntryKind::Batch => {
                let applied = self.apply_batch(ctx, out, group, entry, &waiters);
                applied.map_err(|source| Error::Batch { group: id, index: entry.index, source })?;
            }
            EntryKind::ClusterMap => effects.push(GroupEffect::Map { payload: entry.payload.clone() }),
            EntryKind::Membership => {
                let membership = Membership::decode(&entry.payload);
                let membership =
                    membership.map_err(|source| Error::Membership { group: id, index: entry.index, source })?;
                let replica = &mut self.list[group];
                replica.learn_addresses(&membership);
                replica.membership = membership;
            }
        }
        self.observe(ctx, group, Event::Applied(entry));
        let replica = &mut self.list[group];
        replica.batches.recycle(waiters);
        replica.raft.applied(entry.index);
        let has_to_release = replica.keyspace.has_to_release();
        self.expire_later(group);
        if has_to_release {
            self.release_later(group);
        }
        effects.push(GroupEffect::Applied { group, index: entry.index, payload_bytes: entry.payload.len() });
        self.observe_digest_if_wanted(ctx, group);
        Ok(())
    }

    /// Takes out the proposals whose fate this entry decides: those it has passed fail, and the waiters of the one that it
    /// is are returned.
    fn settle_proposals(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        entry: &Entry,
    ) -> Waiters {
        let mut waiters = Waiters::default();
        while let Some(proposed) = self.list[group].proposed.pop_settled_by(entry.term, entry.index) {
            if proposed.term == entry.term {
                // Entries are applied one by one, and a state that is taken over answers what it may hold.
                assert!(proposed.index == entry.index, "proposal {} is passed by {}", proposed.index, entry.index);
                effects.push(GroupEffect::Committed { took: ctx.now.since(proposed.at) });
                waiters = proposed.waiters;
            } else {
                // A later leader's entry is committed, and it is not before that: it can never be applied.
                ctx.counters.batches_not_applied += 1;
                self.list[group].failed.push(proposed.waiters, Refusal::NotApplied);
            }
        }
        self.answer_failed(ctx, out, group);
        waiters
    }

    fn apply_batch(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        group: usize,
        entry: &Entry,
        waiters: &Waiters,
    ) -> Result<(), BatchError> {
        let batch = Batch::access(&entry.payload)?;
        ctx.shares.spend(Kind::Applied, batch.commands_count().max(waiters.list.len()));
        let Groups { list, ranges, sources, .. } = self;
        let replica = &mut list[group];
        replica.time_goes_on(ctx.now, batch.time_ms());
        let keyspace = &mut replica.keyspace;
        keyspace.advance_time(batch.time_ms());
        let mut next = waiters.list.iter().peekable();
        let (mut ahead, mut until_prefetch) = (batch.first_arguments(), 0);
        batch.for_each(|command, arguments| {
            if until_prefetch == 0 {
                let keys = ahead.by_ref().take(PREFETCH_KEYS_COUNT);
                keyspace.prefetch(keys.map(|(slot, key)| (Slot::new(slot).unwrap_or_default(), key)));
                until_prefetch = PREFETCH_KEYS_COUNT;
            }
            until_prefetch -= 1;
            ranges.clear();
            ranges.push(ArgRange { start: 0, end: 0 });
            ranges.extend(arguments.map(|(start, end)| ArgRange { start, end }));
            serve_reads(ctx, out, keyspace, sources, waiters, &mut next);
            let args = Args::new(batch.arguments(), ranges);
            let outcome = match (CommandId::from_u16(command.id), Slot::new(command.slot)) {
                (Some(id), Some(slot)) => keyspace.apply(id, slot, args),
                _ => Outcome::Error(data::Error::Unsupported),
            };
            if let Some(&Waiter::Write { origin, reply_bytes }) = next.next() {
                sources.write_ended(origin.source(), reply_bytes);
                if let (Outcome::Error(error), Some(id)) = (&outcome, CommandId::from_u16(command.id)) {
                    ctx.count_failed(origin, id, error.message().as_bytes());
                }
                let reply_bytes = outcome.reply_bytes();
                if reply_bytes > SHORT_REPLY_BYTES_MAX && !out.has_room(origin, reply_bytes) {
                    // It took a permit by the value of then, and others have made the value longer since.
                    refuse(ctx, out, origin, Refusal::ReplyWithheld, None);
                } else {
                    out.reply(origin, |reply| outcome.write(reply));
                }
            }
        })?;
        serve_reads(ctx, out, keyspace, sources, waiters, &mut next);
        ctx.counters.commands_applied += batch.commands_count() as u64;
        Ok(())
    }
}

/// Answers the reads that stand before the next write of a batch.
fn serve_reads(
    ctx: &mut Context,
    out: &mut impl ReplySink,
    keyspace: &Keyspace,
    sources: &mut Sources,
    waiters: &Waiters,
    next: &mut Peekable<Iter<'_, Waiter>>,
) {
    while let Some(&&Waiter::Read { origin, command, slot, span }) = next.peek() {
        next.next();
        sources.batched_read_ended(origin.source());
        ctx.counters.reads_in_batch += 1;
        answer_read(
            ctx,
            out,
            keyspace,
            crate::request::Request { origin, command, slot, args: waiters.args.get(span) },
        );
    }
}

/// Answers a read from the keys, unless too much waits for whoever asked already.
pub(super) fn answer_read(
    ctx: &mut Context,
    out: &mut impl ReplySink,
    keyspace: &Keyspace,
    request: crate::request::Request<'_>,
) {
    let crate::request::Request { origin, command, slot, args } = request;
    // How long the reply will be takes another look at the keys: only where it matters.
    let bytes = if ctx.budget.requests_are_tight() { keyspace.reply_bytes_bound(command.id, slot, args) } else { 0 };
    if bytes <= data::SHORT_REPLY_BYTES_MAX && bytes > 0 || out.has_room(origin, bytes) {
        let (mut failed, unix_ms) = (None, ctx.unix_ms);
        out.reply(origin, |reply| failed = keyspace.query(command.id, slot, args, unix_ms, reply));
        let lookups = keyspace.take_lookups();
        ctx.counters.keyspace_hits += lookups.hits;
        ctx.counters.keyspace_misses += lookups.misses;
        if let Some(error) = failed {
            ctx.count_failed(origin, command.id, error.message().as_bytes());
        }
    } else {
        refuse(ctx, out, origin, Refusal::RepliesFull, None);
    }
}
