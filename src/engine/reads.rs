//! Reads: answered from the leader's memory while its lease holds, else after ReadIndex.

use meta::ReadMode;
use raft::{ReadError, ReadState};
use resp::{Args, Command};
use types::Slot;

use crate::core::{Core, CoreHost};
use crate::execute::OVERLOADED;
use crate::give_back::GivenBack;
use crate::group::WaitingRead;
use crate::held::ArgStore;
use crate::origin::Origin;

impl<H: CoreHost> Core<H> {
    /// Answers a read on a group that is led here: now if it may, else as soon as it may.
    ///
    /// A read behind a write of the same connection waits for it: in the batch that is forming if there is one,
    /// else until what was proposed is applied.
    pub(crate) fn read(&mut self, idx: usize, origin: Origin, command: &'static Command, slot: Slot, args: Args<'_>) {
        let is_behind_write = self.out.has_writes_pending(origin);
        let group = &mut self.groups[idx];
        if is_behind_write && !group.forming.is_empty() {
            return group.forming.push_read(origin, command, slot, args);
        }
        let behind = if is_behind_write { group.proposed.last_in(group.raft.term()).unwrap_or(0) } else { 0 };
        if self.config.map.settings.read_mode == ReadMode::Lease
            && let Ok(index) = group.raft.lease_read(self.now)
        {
            let index = index.max(behind);
            if group.raft.applied_index() >= index {
                self.stats.reads_by_lease += 1;
                let keyspace = &group.keyspace;
                return self.out.reply_read(origin, |reply| keyspace.query(command.id, slot, args, reply));
            }
            let args = ArgStore::of(args);
            group.waiting_reads.push_back(WaitingRead { origin, command, slot, args, index, is_confirmed: false });
            return self.out.read_begun(origin);
        }
        let read =
            WaitingRead { origin, command, slot, args: ArgStore::of(args), index: behind, is_confirmed: false };
        self.out.read_begun(origin);
        self.read_by_index(idx, read);
    }

    /// Reads that wait are put into the forming batch before a write from the same source, which would else be seen by
    /// them. They need no check there: the batch is proposed after they came.
    pub(crate) fn put_reads_before_write(&mut self, idx: usize, origin: Origin) {
        if !self.out.has_reads_pending(origin) {
            return;
        }
        let Core { groups, out, .. } = self;
        let (group, source) = (&mut groups[idx], out.source(origin));
        for read in group.take_reads(|read| out.source(read.origin) == source) {
            out.read_ended(read.origin);
            group.forming.push_read(read.origin, read.command, read.slot, read.args.only());
        }
    }

    /// Puts a read on the next leadership check of its group. All reads of a turn share one.
    fn read_by_index(&mut self, idx: usize, read: WaitingRead) {
        let group = &mut self.groups[idx];
        group.index_reads.entry(group.index_read_next).or_default().push(read);
        self.mark_dirty(idx);
    }

    /// Asks Raft for the check that this turn's reads wait for.
    pub(crate) fn ask_index_reads(&mut self, idx: usize) {
        let now = self.now;
        let group = &mut self.groups[idx];
        let ctx = group.index_read_next;
        if !group.index_reads.contains_key(&ctx) {
            return;
        }
        group.index_read_next += 1;
        match group.raft.read_index(ctx, now) {
            Ok(()) => {}
            Err(ReadError::Overloaded) => {
                for read in group.index_reads.remove(&ctx).unwrap_or_default() {
                    self.out.read_ended(read.origin);
                    self.out.fail(read.origin, OVERLOADED);
                }
            }
            Err(ReadError::NotLeader { .. } | ReadError::NotReady | ReadError::LeaseExpired) => {
                self.reroute_index_reads(idx, ctx);
            }
        }
    }

    /// Leadership is confirmed as of a time behind the arrival of these reads.
    pub(crate) fn confirm_index_reads(&mut self, idx: usize, confirmed: ReadState) {
        let group = &mut self.groups[idx];
        for read in group.index_reads.remove(&confirmed.ctx).unwrap_or_default() {
            let index = read.index.max(confirmed.index);
            group.waiting_reads.push_back(WaitingRead { index, is_confirmed: true, ..read });
        }
    }

    /// Leadership is not confirmed and will not be: the reads go another way, under a new check.
    pub(crate) fn reroute_index_reads(&mut self, idx: usize, ctx: u64) {
        let reads = self.groups[idx].index_reads.remove(&ctx).unwrap_or_default();
        reads.iter().for_each(|read| self.out.read_ended(read.origin));
        self.find_leader_again(idx, reads.into_iter().map(GivenBack::from).collect());
    }

    /// Answers the reads whose index is applied.
    pub(crate) fn serve_waiting_reads(&mut self, idx: usize) {
        let mut again = Vec::new();
        for _ in 0..self.groups[idx].waiting_reads.len() {
            let now = self.now;
            let group = &mut self.groups[idx];
            let Some(read) = group.waiting_reads.pop_front() else { break };
            if read.is_confirmed && group.raft.applied_index() < read.index {
                group.waiting_reads.push_back(read);
                continue;
            }
            if !read.is_confirmed {
                match group.raft.lease_read(now) {
                    Ok(_) if group.raft.applied_index() < read.index => {
                        group.waiting_reads.push_back(read);
                        continue;
                    }
                    Ok(_) => {}
                    Err(ReadError::NotLeader { .. }) => {
                        self.out.read_ended(read.origin);
                        again.push(read.into());
                        continue;
                    }
                    Err(_) => {
                        self.read_by_index(idx, read);
                        continue;
                    }
                }
            }
            let counter =
                if read.is_confirmed { &mut self.stats.reads_by_index } else { &mut self.stats.reads_by_lease };
            *counter += 1;
            let keyspace = &group.keyspace;
            self.out.read_ended(read.origin);
            self.out
                .reply_read(read.origin, |reply| keyspace.query(read.command.id, read.slot, read.args.only(), reply));
        }
        self.find_leader_again(idx, again);
    }
}
