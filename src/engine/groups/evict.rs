//! Keeping what keys take up within the memory for them: rows that tables hold, too, leave it, a few per turn.
//!
//! Writes may come faster than rows are flushed and leave. When there is no room then, leaders propose no more for a while, so that writes
//! wait in their batches and reads go on; followers apply no more. If every row was looked at in vain and none is being flushed, there is
//! nothing to wait for: writes that add data are refused.

use crate::context::Context;
use crate::groups::Groups;
use crate::groups::replica::Replica;
use crate::limits::{EVICT_LOOKS_MAX, EVICT_TURN_BYTES};

/// Groups of which rows are looked at in one turn.
const GROUPS_COUNT: usize = 8;
/// Rows may be dirty that take one in this many bytes of the memory for keys, before they are flushed for that reason.
const DIRTY_SHARE: usize = 4;
/// How often each row is looked at in vain before it is clear that none can leave: the first time it may be spared.
const LOOKS_PER_ROW: usize = 2;

impl Groups {
    /// Lets some rows leave memory, if there are more bytes of them than there should be. Called once per turn, behind what clients and peers
    /// wait for. Returns whether there is more to do at once.
    pub(crate) fn evict_some(&mut self, ctx: &mut Context) -> bool {
        let rows_bytes_max = ctx.config.limits.rows_bytes_max;
        // What is held is never less than what is used: most turns end here.
        if !ctx.budget.keys_may_be_over() && rows_bytes_max == usize::MAX {
            (ctx.wants_flush, ctx.rows_can_leave) = (false, true);
            self.pressure.vain_looks = 0;
            return self.end_pressure(ctx);
        }
        let (mut used_bytes, mut dirty_bytes, mut rows_count) = (0, 0, 0);
        for Replica { keyspace, .. } in &self.list {
            used_bytes += keyspace.used_bytes();
            dirty_bytes += keyspace.dirty_bytes();
            rows_count += keyspace.rows_count();
        }
        let over_bytes = ctx.budget.keys_over(used_bytes).max(used_bytes.saturating_sub(rows_bytes_max));
        let mut evicted_bytes = 0;
        for _ in 0..GROUPS_COUNT.min(self.list.len()) {
            let want_bytes = over_bytes.min(EVICT_TURN_BYTES).saturating_sub(evicted_bytes);
            if want_bytes == 0 {
                break;
            }
            self.evict_next = (self.evict_next + 1) % self.list.len();
            let replica = &mut self.list[self.evict_next];
            evicted_bytes += replica.keyspace.evict_some(want_bytes, EVICT_LOOKS_MAX);
            self.pressure.vain_looks += EVICT_LOOKS_MAX;
            replica.settle_permits();
        }
        ctx.counters.rows_evicted_bytes += evicted_bytes as u64;
        let is_stuck = over_bytes > 0 && evicted_bytes == 0 && dirty_bytes > used_bytes / 2;
        let dirty_bytes_max = ctx.budget.keys_bytes_max().min(rows_bytes_max) / DIRTY_SHARE;
        ctx.wants_flush = is_stuck || dirty_bytes > dirty_bytes_max;
        if evicted_bytes > 0 || over_bytes == 0 {
            self.pressure.vain_looks = 0;
        }
        let may_find = self.pressure.vain_looks <= LOOKS_PER_ROW * rows_count;
        ctx.rows_can_leave = may_find || ctx.is_flushing || ctx.wants_flush;
        let goes_on = self.end_pressure(ctx);
        let looks_on = over_bytes > 0 && may_find && self.pressure.is_on();
        goes_on || looks_on || evicted_bytes > 0 && evicted_bytes < over_bytes
    }

    /// What has waited for room goes on if there is some, or nothing to wait for. Returns whether it does.
    fn end_pressure(&mut self, ctx: &mut Context) -> bool {
        if ctx.makes_room() && !ctx.budget.has_room_for_keys(0) {
            return false;
        }
        let Some((since, followers)) = self.pressure.end() else { return false };
        ctx.counters.write_stall_us += ctx.now.since(since).as_micros() as u64;
        followers.into_iter().for_each(|group| self.mark(group));
        true
    }
}
