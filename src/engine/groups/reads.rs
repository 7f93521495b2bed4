//! Reads: answered from the leader's memory while its lease holds, else after ReadIndex.

use meta::ReadMode;
use raft::{ReadError, ReadState};

use crate::context::Context;
use crate::groups::apply::answer_read;
use crate::groups::waiting_read::WaitingRead;
use crate::groups::{GroupEffect, Groups};
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::request::Request;

impl Groups {
    /// Answers a read on a group that is led here: now if it may, else as soon as it may.
    ///
    /// A read behind a write of the same connection waits for it: in the batch that is forming if there is one,
    /// else until what was proposed is applied.
    pub(super) fn read(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize, request: Request<'_>) {
        let is_behind_write = self.sources.of(request.origin.source()).writes > 0;
        let replica = &mut self.list[group];
        if is_behind_write && !replica.batches.is_empty() {
            replica.batches.push_read(request);
            return replica.settle_requests();
        }
        let behind = if is_behind_write { replica.proposed.last_in(replica.raft.term()).unwrap_or(0) } else { 0 };
        if ctx.config.map.settings.read_mode == ReadMode::Lease
            && let Ok(index) = replica.raft.lease_read(ctx.now)
        {
            let index = index.max(behind);
            if replica.raft.applied_index() >= index {
                ctx.counters.reads_by_lease += 1;
                return answer_read(ctx, out, &replica.keyspace, request);
            }
            let read = WaitingRead { request: request.to_owned(), index, is_confirmed: false };
            replica.reads_bytes += read.request.bytes();
            replica.waiting_reads.push_back(read);
        } else {
            let read = WaitingRead { request: request.to_owned(), index: behind, is_confirmed: false };
            replica.reads_bytes += read.request.bytes();
            self.read_by_index(group, read);
        }
        self.list[group].settle_requests();
        self.sources.read_begun(request.origin.source());
        self.watch_if_needed(group);
    }

    /// Reads that wait are put into the forming batch before a write from the same source, which would else be seen by
    /// them. They need no check there: the batch is proposed after they came.
    pub(super) fn put_reads_before_write(&mut self, group: usize, write: Request<'_>) {
        let source = write.origin.source();
        if self.sources.of(source).reads == 0 {
            return;
        }
        let replica = &mut self.list[group];
        for read in replica.take_reads(|read| read.request.origin.source() == source) {
            self.sources.read_ended(source);
            replica.batches.push_read(read.request.as_request());
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

    /// Answers the reads whose index is applied.
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
        for _ in 0..self.list[group].waiting_reads.len() {
            let replica = &mut self.list[group];
            let Some(read) = replica.waiting_reads.pop_front() else { break };
            if read.is_confirmed && replica.raft.applied_index() < read.index {
                replica.waiting_reads.push_back(read);
                continue;
            }
            if !read.is_confirmed {
                match replica.raft.lease_read(ctx.now) {
                    Ok(_) if replica.raft.applied_index() < read.index => {
                        replica.waiting_reads.push_back(read);
                        continue;
                    }
                    Ok(_) => {}
                    Err(ReadError::NotLeader { .. }) => {
                        replica.reads_bytes -= read.request.bytes();
                        self.sources.read_ended(read.request.origin.source());
                        again.push(read.request);
                        continue;
                    }
                    Err(_) => {
                        self.read_by_index(group, read);
                        continue;
                    }
                }
            }
            let counters = &mut ctx.counters;
            let counter = if read.is_confirmed { &mut counters.reads_by_index } else { &mut counters.reads_by_lease };
            *counter += 1;
            replica.reads_bytes -= read.request.bytes();
            self.sources.read_ended(read.request.origin.source());
            answer_read(ctx, out, &self.list[group].keyspace, read.request.as_request());
        }
        self.reroute(ctx, out, effects, group, again);
    }
}
