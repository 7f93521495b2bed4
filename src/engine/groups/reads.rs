//! Reads: answered from the leader's memory while its lease holds, else after ReadIndex.

use std::collections::HashSet;

use meta::ReadMode;
use raft::{ReadError, ReadState};

use crate::context::Context;
use crate::groups::apply::answer_read;
use crate::groups::waiting_read::WaitingRead;
use crate::groups::{GroupEffect, Groups};
use crate::origin::Source;
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::request::Request;

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
            self.put_reads_in_batch(group, source);
            self.sources.batched_read_begun(source);
            let replica = &mut self.list[group];
            replica.batches.push_read(request);
            return replica.settle_requests();
        }
        let replica = &mut self.list[group];
        let proposed = under_way.is_in_batch().then(|| replica.proposed.last_in(replica.raft.term())).flatten();
        let behind = proposed.unwrap_or(0);
        // They may be reads of other groups; then it waits for others' reads of this one, which does no harm.
        let follows_reads = under_way.reads > 0 && replica.has_reads();
        let may_use_lease = ctx.config.map.settings.read_mode == ReadMode::Lease
            && (!follows_reads || replica.index_reads.is_empty());
        match may_use_lease.then(|| replica.raft.lease_read(ctx.now)) {
            Some(Ok(index)) => {
                let index = index.max(behind);
                if replica.raft.applied_index() >= index && !follows_reads {
                    ctx.counters.reads_by_lease += 1;
                    return answer_read(ctx, out, &replica.keyspace, request);
                }
                let read = WaitingRead { request: request.to_owned(), index, is_confirmed: false };
                replica.reads_bytes += read.request.bytes();
                replica.waiting_reads.push_back(read);
                self.mark(group);
            }
            _ => {
                if follows_reads {
                    self.check_waiting_reads(group, source);
                }
                let read = WaitingRead { request: request.to_owned(), index: behind, is_confirmed: false };
                self.list[group].reads_bytes += read.request.bytes();
                self.read_by_index(group, read);
            }
        }
        self.list[group].settle_requests();
        self.sources.read_begun(source);
        self.watch_if_needed(group);
    }

    /// Reads of a source that wait are put into the forming batch before a write from it, which would else be seen by them, or
    /// before another read from it. They need no check there: the batch is proposed after they came.
    pub(super) fn put_reads_in_batch(&mut self, group: usize, source: Source) {
        if self.sources.of(source).reads == 0 || !self.list[group].has_reads() {
            return;
        }
        let replica = &mut self.list[group];
        for read in replica.take_reads(|read| read.request.origin.source() == source) {
            self.sources.read_ended(source);
            self.sources.batched_read_begun(source);
            replica.batches.push_read(read.request.as_request());
        }
    }

    /// Reads of a source that rest on a lease wait for the next leadership check instead, so that none that comes behind them
    /// is checked before them.
    fn check_waiting_reads(&mut self, group: usize, source: Source) {
        let replica = &mut self.list[group];
        for read in std::mem::take(&mut replica.waiting_reads) {
            if !read.is_confirmed && read.request.origin.source() == source {
                replica.index_reads.entry(replica.index_read_next).or_default().push(read);
            } else {
                replica.waiting_reads.push_back(read);
            }
        }
    }

    /// Puts a read on the next leadership check of its group. All reads of a turn share one.
    fn read_by_index(&mut self, group: usize, read: WaitingRead) {
        let replica = &mut self.list[group];
        replica.index_reads.entry(replica.index_read_next).or_default().push(read);
        self.mark(group);
    }

    /// Asks Raft for the check that this turn's reads wait for.
    pub(super) fn ask_index_reads(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
    ) {
        let replica = &mut self.list[group];
        let number = replica.index_read_next;
        if !replica.index_reads.contains_key(&number) {
            return;
        }
        replica.index_read_next += 1;
        match replica.raft.read_index(number, ctx.now) {
            Ok(()) => {}
            Err(ReadError::Overloaded) => {
                for read in self.take_index_reads(group, number) {
                    self.sources.read_ended(read.request.origin.source());
                    refuse(ctx, out, read.request.origin, Refusal::ReadIndexFull, Some(self.list[group].id));
                }
            }
            Err(ReadError::NotLeader { .. } | ReadError::NotReady | ReadError::LeaseExpired) => {
                self.reroute_index_reads(ctx, out, effects, group, number);
            }
        }
    }

    fn take_index_reads(&mut self, group: usize, number: u64) -> Vec<WaitingRead> {
        let replica = &mut self.list[group];
        let reads = replica.index_reads.remove(&number).unwrap_or_default();
        replica.reads_bytes -= reads.iter().map(|read| read.request.bytes()).sum::<usize>();
        reads
    }

    /// Leadership is confirmed as of a time behind the arrival of these reads.
    pub(super) fn confirm_index_reads(&mut self, group: usize, confirmed: ReadState) {
        let replica = &mut self.list[group];
        for read in replica.index_reads.remove(&confirmed.ctx).unwrap_or_default() {
            let index = read.index.max(confirmed.index);
            replica.waiting_reads.push_back(WaitingRead { index, is_confirmed: true, ..read });
        }
    }

    /// Leadership is not confirmed and will not be: the reads go another way, under a new check.
    pub(super) fn reroute_index_reads(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        number: u64,
    ) {
        let reads = self.take_index_reads(group, number);
        reads.iter().for_each(|read| self.sources.read_ended(read.request.origin.source()));
        self.reroute(ctx, out, effects, group, reads.into_iter().map(|read| read.request).collect());
    }

    /// Answers the reads whose index is applied. None is answered before an older one of its source.
    pub(super) fn serve_waiting_reads(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
    ) {
        if self.list[group].waiting_reads.is_empty() {
            return;
        }
        let mut again = Vec::new();
        let mut waiting = HashSet::new();
        for _ in 0..self.list[group].waiting_reads.len() {
            let replica = &mut self.list[group];
            let Some(read) = replica.waiting_reads.pop_front() else { break };
            let source = read.request.origin.source();
            let leads = if read.is_confirmed { Ok(read.index) } else { replica.raft.lease_read(ctx.now) };
            match leads {
                _ if waiting.contains(&source) => replica.waiting_reads.push_back(read),
                Ok(_) if replica.raft.applied_index() < read.index => {
                    waiting.insert(source);
                    replica.waiting_reads.push_back(read);
                }
                Ok(_) => {
                    let counters = &mut ctx.counters;
                    let by_index = read.is_confirmed;
                    *(if by_index { &mut counters.reads_by_index } else { &mut counters.reads_by_lease }) += 1;
                    replica.reads_bytes -= read.request.bytes();
                    self.sources.read_ended(source);
                    answer_read(ctx, out, &self.list[group].keyspace, read.request.as_request());
                }
                Err(ReadError::NotLeader { .. }) => {
                    replica.reads_bytes -= read.request.bytes();
                    self.sources.read_ended(source);
                    again.push(read.request);
                }
                Err(_) => self.read_by_index(group, read),
            }
        }
        self.reroute(ctx, out, effects, group, again);
    }
}
