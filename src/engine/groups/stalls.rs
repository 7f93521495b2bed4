//! Groups whose writers are held up: noted where it happens, and looked at once per turn until it is over.

use crate::context::Context;
use crate::groups::Groups;
use crate::observe::StallReason;

impl Groups {
    /// Writers of a group that is led here wait, or are refused.
    pub(crate) fn stall(&mut self, ctx: &mut Context, group: usize, reason: StallReason) {
        let replica = &mut self.list[group];
        if replica.raft.is_leader() && replica.stalls.begin(reason, ctx.now) {
            ctx.counters.group_stalls += 1;
            self.stalled.push(group);
        }
    }

    /// The log takes nothing that has collected.
    pub(crate) fn stall_batching(&mut self, ctx: &mut Context, reason: StallReason) {
        for at in 0..self.batching.len() {
            self.stall(ctx, self.batching[at], reason);
        }
    }

    /// Looks which groups are held up no more. `must_writers_wait` tells whether writes of one wait for what the disk has to do first. Once per turn.
    pub(crate) fn end_stalls(&mut self, ctx: &mut Context, must_writers_wait: impl Fn(usize) -> bool) {
        if self.stalled.is_empty() {
            return;
        }
        for group in std::mem::take(&mut self.stalled) {
            let has_memory = !self.pressure.is_on();
            let replica = &mut self.list[group];
            let lasts = match replica.stalls.reason() {
                Some(StallReason::Memory) => !has_memory,
                Some(StallReason::LogLong | StallReason::MergesBehind | StallReason::ReplicaBehind) => {
                    must_writers_wait(group)
                }
                Some(StallReason::LogBehind) => ctx.is_log_backlogged,
                Some(StallReason::FlushBehind) => ctx.must_clients_wait,
                Some(StallReason::DiskFull) => ctx.disk_full.is_some(),
                None => false,
            };
            if lasts && replica.raft.is_leader() {
                self.stalled.push(group);
            } else {
                ctx.counters.group_stall_us += replica.stalls.end(ctx.now).as_micros() as u64;
            }
        }
    }
}
