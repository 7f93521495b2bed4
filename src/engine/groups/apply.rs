//! Applying committed entries, and answering those who wait for them.

use std::collections::HashSet;
use std::ops::ControlFlow;

use data::{ColdKey, Keyspace, Outcome};
use lsm::{PREFETCH_KEYS_COUNT, Prefetch};
use resp::{ArgRange, Args, CommandId};
use types::{GroupId, Instant, Slot};
use wire::{Batch, BatchError, Entry, EntryKind, Membership};

use crate::budget::Pool;
use crate::context::Context;
use crate::error::Error;
use crate::groups::applying::Progress;
use crate::groups::batch_queue::{Waiter, Waiters};
use crate::groups::cold::ColdReads;
use crate::groups::sources::Sources;
use crate::groups::{GroupEffect, Groups};
use crate::limits::ROWS_AHEAD_COUNT_MAX;
use crate::observe::{Event, Stage, Way};
use crate::refusal::Refusal;
use crate::replies::{ReplySink, SHORT_REPLY_BYTES_MAX, refuse};
use crate::request::Request;
use crate::shares::Kind;
use crate::slow::log_if_slow;

impl Groups {
    /// Applies what Raft has handed out, until a command needs rows that are not in memory: then the group waits for them, and Raft hands
    /// out no more.
    pub(super) fn apply_handed_out(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
    ) -> Result<(), Error> {
        while let Some((entry, begun)) = self.list[group].applying.take_next() {
            if begun.is_none() && !self.list[group].leads() && self.pressure.must_wait(ctx) {
                self.pressure.hold_follower(group);
                let replica = &mut self.list[group];
                replica.raft.pause_applying(true);
                // What was read ahead must be free to leave.
                replica.keyspace.unpin_all();
                return Ok(());
            }
            if let Some((progress, number)) = self.apply(ctx, out, effects, group, &entry, begun)? {
                ctx.counters.applies_from_disk += 1;
                let replica = &mut self.list[group];
                replica.applying.wait(progress, number);
                replica.raft.pause_applying(true);
                return Ok(());
            }
            self.list[group].applying.done();
        }
        let replica = &mut self.list[group];
        if replica.applying.is_empty() && !replica.applying.is_held() {
            replica.keyspace.unpin_all();
            replica.raft.pause_applying(false);
        }
        Ok(())
    }

    /// Applies a committed entry, or goes on with one that was begun, and answers those who wait for it. Returns how far it has come if it
    /// cannot be applied whole yet, and the number of the rows that it waits for.
    fn apply(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        entry: &Entry,
        begun: Option<Progress>,
    ) -> Result<Option<(Progress, u64)>, Error> {
        let mut progress = match begun {
            Some(progress) => progress,
            None => {
                self.observe(ctx, group, Event::Applied(entry));
                // Beside its commands.
                ctx.shares.spend_with_bytes(Kind::Applied, 1, entry.payload.len());
                Progress { waiters: self.settle_proposals(ctx, out, effects, group, entry), ..Progress::default() }
            }
        };
        progress.is_slow = progress.waiters.times.begun_at.is_some_and(|begun_at| ctx.is_slow(begun_at));
        let id = self.list[group].id;
        match entry.kind {
            EntryKind::Empty => {}
            EntryKind::Batch => {
                let applied = self.apply_batch(ctx, out, group, entry, &mut progress);
                let number = applied.map_err(|source| Error::Batch { group: id, index: entry.index, source })?;
                if let Some(number) = number {
                    return Ok(Some((progress, number)));
                }
            }
            EntryKind::Compare => self.compare_applied(ctx, effects, group, entry)?,
            EntryKind::ClusterMap => effects.push(GroupEffect::Map { payload: entry.payload.bytes().clone() }),
            EntryKind::MapChange => effects.push(GroupEffect::MapChange { payload: entry.payload.bytes().clone() }),
            EntryKind::Membership => {
                let membership = Membership::decode(&entry.payload);
                let membership =
                    membership.map_err(|source| Error::Membership { group: id, index: entry.index, source })?;
                let replica = &mut self.list[group];
                replica.learn_addresses(&membership);
                replica.set_membership(membership);
                self.fit_members_later(group);
            }
        }
        let replica = &mut self.list[group];
        time_apply(ctx, &progress.waiters);
        replica.batches.recycle(progress.waiters);
        replica.raft.applied(entry.index);
        let has_to_release = replica.keyspace.has_to_release();
        self.expire_later(group);
        if has_to_release {
            self.release_later(group);
        }
        effects.push(GroupEffect::Applied { group, index: entry.index, payload_bytes: entry.payload.len() });
        self.alter_row_if_wanted(ctx, group, entry);
        self.observe_digest_if_wanted(ctx, group);
        Ok(None)
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
                waiters.times.committed_at = self.list[group].applying.handed_out_at();
                time_commit(ctx, &waiters);
            } else {
                // A later leader's entry is committed, and it is not before that: it can never be applied.
                ctx.counters.batches_not_applied += 1;
                self.list[group].failed.push(proposed.waiters, Refusal::NotApplied);
            }
        }
        self.answer_failed(ctx, out, group);
        waiters
    }

    /// Applies a batch from where it has come to. If not all of it can be applied, returns the number of the rows that it waits for.
    fn apply_batch(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        group: usize,
        entry: &Entry,
        progress: &mut Progress,
    ) -> Result<Option<u64>, BatchError> {
        let batch = Batch::access(&entry.payload)?;
        let Groups { list, ranges, sources, cold, .. } = self;
        let replica = &mut list[group];
        if progress.commands_count == 0 {
            ctx.shares.spend(Kind::Applied, batch.commands_count().max(progress.waiters.list.len()));
            replica.time_goes_on(ctx.now, batch.time_ms());
        }
        let (place, keyspace) = ((group, replica.id), &mut replica.keyspace);
        keyspace.advance_time(batch.time_ms());
        let may_lack = !keyspace.is_resident();
        let (first, mut missing, mut must_count) = (progress.commands_count, Missing::default(), 0);
        let are_rows_many = ctx.budget.used_by(Pool::Keys) > ctx.config.limits.cached_rows_bytes_max / 8;
        let (mut ahead, mut until_prefetch) = (batch.first_arguments().skip(first), 0);
        batch.for_each_from(first, |command, arguments| {
            if until_prefetch == 0 && are_rows_many {
                prefetch(keyspace, ahead.by_ref().take(PREFETCH_KEYS_COUNT));
                until_prefetch = PREFETCH_KEYS_COUNT;
            }
            until_prefetch = until_prefetch.saturating_sub(1);
            ranges.clear();
            ranges.push(ArgRange { start: 0, end: 0 });
            ranges.extend(arguments.map(|(start, end)| ArgRange { start, end }));
            let args = Args::new(batch.arguments(), ranges);
            let (id, slot) = (CommandId::from_u16(command.id), Slot::new(command.slot));
            if may_lack && let (Some(id), Some(slot)) = (id, slot) {
                let command = resp::table::by_id(id);
                let lacking = keyspace.missing(command, slot, args);
                if must_count == 0 && !lacking.is_empty() {
                    // All that it needs must be there at once, also what is there already.
                    command.keys(args).for_each(|key| keyspace.pin(slot, key));
                    must_count = lacking.len();
                }
                missing.extend(lacking);
                if missing.is_enough() {
                    return ControlFlow::Break(());
                }
                if must_count > 0 {
                    // Those behind the first command that waits are only asked for.
                    return ControlFlow::Continue(());
                }
            }
            serve_reads(ctx, out, keyspace, cold, place, sources, progress);
            let outcome = match (id, slot) {
                (Some(id), Some(slot)) => keyspace.apply(id, slot, args),
                _ => Outcome::Error(data::Error::Unsupported),
            };
            answer_write(ctx, out, sources, progress, (id, args), &outcome);
            progress.commands_count += 1;
            ControlFlow::Continue(())
        })?;
        if must_count > 0 {
            for later in replica.applying.behind_first() {
                missing_of(keyspace, later, ranges, &mut missing);
            }
            // Rows that were read would otherwise be gone again before their commands come.
            missing.list.iter().for_each(|cold| keyspace.pin(cold.slot, &cold.key));
            return Ok(Some(cold.begin_apply(ctx.latest(), place, keyspace, missing.list, must_count)));
        }
        serve_reads(ctx, out, keyspace, cold, place, sources, progress);
        ctx.counters.commands_applied += batch.commands_count() as u64;
        Ok(None)
    }
}

/// Has the rows of these keys loaded into the CPU's caches.
fn prefetch<'k>(keyspace: &Keyspace, keys: impl Iterator<Item = (u16, &'k [u8])>) {
    let mut prefetch = Prefetch::default();
    for (slot, key) in keys {
        keyspace.prefetch(&mut prefetch, Slot::new(slot).unwrap_or_default(), key);
    }
    prefetch.load();
}

/// A batch of this core is committed.
fn time_commit(ctx: &mut Context, waiters: &Waiters) {
    let times = waiters.times;
    ctx.stages.record(Stage::Commit, times.committed_at.since(times.proposed_at));
    let durable_at = times.durable_at.unwrap_or(times.committed_at);
    ctx.stages.record(Stage::Quorum, times.committed_at.since(durable_at));
}

/// A batch is applied. Its replies are all written by the end of the turn.
fn time_apply(ctx: &mut Context, waiters: &Waiters) {
    let times = waiters.times;
    let Some(begun_at) = times.begun_at else { return };
    ctx.stages.ends_with_turn(Stage::Apply, times.committed_at);
    ctx.stages.ends_with_turn(Stage::Write, begun_at);
    let reads_count = waiters.reads_count();
    if reads_count > 0 {
        ctx.stages.end_with_turn(Stage::ReadInBatch, begun_at, reads_count as u64);
    }
}

/// The way of the commands of a batch that is being applied, and when the batch was begun.
#[cold]
fn way_of(ctx: &Context, waiters: &Waiters) -> (Way, Instant) {
    let times = waiters.times;
    let us = |from: Instant, to: Instant| to.since(from).as_micros() as u64;
    let begun_at = times.begun_at.unwrap_or(times.proposed_at);
    let way = Way::Batch {
        batch_us: us(begun_at, times.proposed_at),
        durable_us: times.durable_at.map(|durable_at| us(times.proposed_at, durable_at)),
        commit_us: us(times.proposed_at, times.committed_at),
        apply_us: us(times.committed_at, ctx.latest()),
    };
    (way, begun_at)
}

/// Keys whose rows are to be read, in the order in which they are needed.
#[derive(Default)]
struct Missing {
    list: Vec<ColdKey>,
    known: HashSet<(Slot, Box<[u8]>)>,
}

impl Missing {
    /// Adds keys that are not there already. If a later command needs more of a row than an earlier one, it asks again when it comes.
    fn extend(&mut self, keys: Vec<ColdKey>) {
        let Missing { list, known } = self;
        list.extend(keys.into_iter().filter(|cold| known.insert((cold.slot, cold.key.clone()))));
    }

    /// Whether there are so many that no more are asked for at once.
    fn is_enough(&self) -> bool {
        self.list.len() >= ROWS_AHEAD_COUNT_MAX
    }
}

/// Adds the keys of a batch whose rows are not in memory, until there are enough.
fn missing_of(keyspace: &Keyspace, entry: &Entry, ranges: &mut Vec<ArgRange>, missing: &mut Missing) {
    let Ok(batch) = Batch::access(&entry.payload) else { return };
    // What is wrong with a batch shows when it is applied.
    let _ = batch.for_each_from(0, |command, arguments| {
        if missing.is_enough() {
            return ControlFlow::Break(());
        }
        ranges.clear();
        ranges.push(ArgRange { start: 0, end: 0 });
        ranges.extend(arguments.map(|(start, end)| ArgRange { start, end }));
        if let (Some(id), Some(slot)) = (CommandId::from_u16(command.id), Slot::new(command.slot)) {
            missing.extend(keyspace.missing(resp::table::by_id(id), slot, Args::new(batch.arguments(), ranges)));
        }
        ControlFlow::Continue(())
    });
}

/// Answers who waits for the outcome of the next write of a batch, if somebody does.
#[inline]
fn answer_write(
    ctx: &mut Context,
    out: &mut impl ReplySink,
    sources: &mut Sources,
    progress: &mut Progress,
    (id, args): (Option<CommandId>, Args<'_>),
    outcome: &Outcome<'_>,
) {
    let Some(&Waiter::Write { origin, reply_bytes }) = progress.waiters.list.get(progress.answered_count) else {
        return;
    };
    progress.answered_count += 1;
    sources.write_ended(origin.source(), reply_bytes);
    if progress.is_slow
        && let Some(id) = id
    {
        let request = Request { origin, command: resp::table::by_id(id), slot: Slot::default(), args };
        let (way, since) = way_of(ctx, &progress.waiters);
        log_if_slow(ctx, out, request, way, since);
    }
    if let (Outcome::Error(error), Some(id)) = (outcome, id) {
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

/// Answers the reads that stand before the next write of a batch.
#[inline]
fn serve_reads(
    ctx: &mut Context,
    out: &mut impl ReplySink,
    keyspace: &Keyspace,
    cold: &mut ColdReads,
    place: (usize, GroupId),
    sources: &mut Sources,
    progress: &mut Progress,
) {
    while let Some(&Waiter::Read { origin, command, slot, span }) = progress.waiters.list.get(progress.answered_count)
    {
        progress.answered_count += 1;
        sources.batched_read_ended(origin.source());
        ctx.counters.reads_in_batch += 1;
        let request = Request { origin, command, slot, args: progress.waiters.args.get(span) };
        if progress.is_slow {
            let (way, since) = way_of(ctx, &progress.waiters);
            log_if_slow(ctx, out, request, way, since);
        }
        answer_read(ctx, out, keyspace, cold, place, request);
    }
}

/// Answers a read as of now: from the keys in memory, or once the others are read. Returns whether it is answered.
pub(super) fn answer_read(
    ctx: &mut Context,
    out: &mut impl ReplySink,
    keyspace: &Keyspace,
    cold: &mut ColdReads,
    place: (usize, GroupId),
    request: Request<'_>,
) -> bool {
    let is_answered = keyspace.is_resident() || !cold.take_read(ctx, out, place, keyspace, request);
    if is_answered {
        answer_from(ctx, out, keyspace, request);
    }
    is_answered
}

/// Answers a read from the keys, unless too much waits for whoever asked already.
pub(super) fn answer_from(ctx: &mut Context, out: &mut impl ReplySink, keyspace: &Keyspace, request: Request<'_>) {
    let Request { origin, command, slot, args } = request;
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
