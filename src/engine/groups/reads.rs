//! Reads: answered from the leader's memory while its lease holds, else after ReadIndex.

use meta::ReadMode;
use raft::{ReadError, ReadState};

use crate::context::Context;
use crate::groups::Groups;
use crate::groups::apply::answer_read;
use crate::groups::waiting_reads::{WaitingRead, WaitsFor};
use crate::observe::{Stage, Way};
use crate::origin::Source;
use crate::replies::ReplySink;
use crate::request::Request;
use crate::shares::Kind;
use crate::slow::log_if_slow;

impl Groups {
    /// Answers a read on a group that is led here: now if it may, else as soon as it may.
    ///
    /// A read waits for what came before it over the same connection. If that stands in a batch, it waits in the batch that is
    /// forming if there is one, else until what was proposed is applied. If that is a read that waits for something else, it
    /// waits behind it.
    pub(super) fn read(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize, request: Request<'_>) {
        let source = request.origin.source();
        let under_way = *self.sources.of(source);
        if under_way.is_in_batch() && !self.list[group].batches.is_empty() {
            self.put_reads_in_batch(ctx, group, source);
            self.sources.batched_read_begun(source);
            let replica = &mut self.list[group];
            replica.batches.push_read(ctx.now, request);
            return replica.settle_requests();
        }
        let replica = &mut self.list[group];
        let proposed = under_way.is_in_batch().then(|| replica.proposed.last_in(replica.raft.term())).flatten();
        let behind = proposed.unwrap_or(0);
        // Most sources have no reads that wait, in no group.
        let follows = if under_way.reads > 0 { replica.reads.last_of(source) } else { None };
        let may_use_lease =
            ctx.config.map.settings.read_mode == ReadMode::Lease && !matches!(follows, Some(WaitsFor::Check(_)));
        match may_use_lease.then(|| replica.raft.lease_read(ctx.now)) {
            Some(Ok(index)) => {
                let index = index.max(behind);
                if replica.raft.applied_index() >= index && follows.is_none() {
                    if replica.must_wait_for_time(ctx, request) {
                        return self.read_in_batch(ctx, group, request);
                    }
                    ctx.counters.reads_by_lease += 1;
                    let place = (group, replica.id);
                    if answer_read(ctx, out, &replica.keyspace, &mut self.cold, place, request) {
                        ctx.stages.ends_with_turn(Stage::ReadAtOnce, ctx.now);
                    }
                    return;
                }
                let (request, since) = (request.to_owned(), ctx.now);
                replica.reads.push_by_index(WaitingRead { request, index, is_confirmed: false, since });
            }
            _ => {
                replica.reads.recheck(source);
                let (request, since) = (request.to_owned(), ctx.now);
                let read = WaitingRead { request, index: behind, is_confirmed: false, since };
                replica.reads.push_by_check(read);
            }
        }
        replica.settle_requests();
        self.mark(group);
        self.sources.read_begun(source);
        self.watch_if_needed(group);
    }

    /// A read looks for a key that is due by the clock and not yet gone: it takes a place in a batch, with which time goes on.
    fn read_in_batch(&mut self, ctx: &mut Context, group: usize, request: Request<'_>) {
        let source = request.origin.source();
        ctx.counters.reads_for_expiry += 1;
        self.sources.batched_read_begun(source);
        self.list[group].batches.push_read(ctx.now, request);
        // Those that still wait came later.
        self.put_reads_in_batch(ctx, group, source);
        self.propose_later(group);
        self.list[group].settle_requests();
    }

    /// Reads of a source that wait are put into the forming batch before a write from it, which would else be seen by them, or
    /// before another read from it. They need no check there: the batch is proposed after they came.
    pub(super) fn put_reads_in_batch(&mut self, ctx: &mut Context, group: usize, source: Source) {
        if self.sources.of(source).reads == 0 {
            return;
        }
        let replica = &mut self.list[group];
        while let Some(read) = replica.reads.take_first_of(source) {
            ctx.shares.spend(Kind::Answered, 1);
            self.sources.read_ended(source);
            self.sources.batched_read_begun(source);
            replica.batches.push_read(ctx.now, read.request.as_request());
        }
    }

    /// Asks Raft for the check that this turn's reads wait for. If it takes no more for now the reads wait for the next tick.
    pub(super) fn ask_index_reads(&mut self, ctx: &Context, group: usize) {
        let replica = &mut self.list[group];
        if let Some(number) = replica.reads.next_check()
            && replica.raft.read_index(number, ctx.now).is_ok()
        {
            replica.reads.begin_next_check();
        }
    }

    /// Leadership is confirmed as of a time behind the arrival of these reads.
    pub(super) fn confirm_index_reads(&mut self, group: usize, confirmed: ReadState) {
        self.list[group].reads.confirm(confirmed.ctx, confirmed.index);
    }

    /// Answers the reads whose index is applied, as many as the turn still may. None is answered before an older one of its source.
    pub(super) fn serve_waiting_reads(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize) {
        while !ctx.shares.is_spent(Kind::Answered) {
            let Groups { list, sources, cold, .. } = self;
            let replica = &mut list[group];
            if replica.reads.go_on_confirming() {
                ctx.shares.spend(Kind::Answered, 1);
                continue;
            }
            let first = replica.reads.first_applied(replica.raft.applied_index());
            let Some((source, is_confirmed)) = first else { return };
            ctx.shares.spend(Kind::Answered, 1);
            match if is_confirmed { Ok(()) } else { replica.raft.lease_read(ctx.now).map(drop) } {
                Ok(()) => {
                    let Some(WaitingRead { request, since, .. }) = replica.reads.take_first_by_index() else {
                        return;
                    };
                    sources.read_ended(source);
                    if replica.must_wait_for_time(ctx, request.as_request()) {
                        self.read_in_batch(ctx, group, request.as_request());
                        continue;
                    }
                    let counters = &mut ctx.counters;
                    *(if is_confirmed { &mut counters.reads_by_index } else { &mut counters.reads_by_lease }) += 1;
                    let place = (group, replica.id);
                    let stage = if is_confirmed { Stage::ReadIndex } else { Stage::ReadBehind };
                    if ctx.is_slow(since) {
                        log_if_slow(ctx, out, request.as_request(), Way::Waited(stage.name()), since);
                    }
                    if answer_read(ctx, out, &replica.keyspace, cold, place, request.as_request()) {
                        ctx.stages.ends_with_turn(stage, since);
                    }
                }
                Err(ReadError::NotReady | ReadError::LeaseExpired | ReadError::Overloaded) => {
                    replica.reads.recheck(source);
                    self.mark(group);
                }
                // All reads leave with the leadership, the newest first.
                Err(ReadError::NotLeader { .. }) => break,
            }
        }
        let replica = &self.list[group];
        if replica.reads.may_go_on(replica.raft.applied_index()) {
            self.left_over.push(group);
        }
    }
}
