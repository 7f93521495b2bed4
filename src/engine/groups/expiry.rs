//! Keys whose time has come.
//!
//! A key is gone by replicated time: at the same entry of the log on every replica, whether its row is there any more or not. Rows
//! are removed by each replica for itself, a few per tick. Time goes on with the batches that clients' commands make; where none
//! come, a leader that finds rows that are due by its clock proposes a batch without commands, a few times a second at most.

use std::time::Duration;

use crate::context::Context;
use crate::groups::Groups;

/// Rows that are looked at in one go: about 50 us.
const SWEEP_ROWS_COUNT: usize = 500;
/// A group proposes nothing but the time no more often than this.
const TIME_INTERVAL_MIN: Duration = Duration::from_millis(100);

impl Groups {
    /// Notes that keys may expire in a group.
    pub(super) fn expire_later(&mut self, group: usize) {
        let replica = &mut self.list[group];
        if replica.keyspace.expiring_count() > 0 && !std::mem::replace(&mut replica.is_expiring, true) {
            self.expiring.push_back(group);
        }
    }

    /// Looks at a few rows of the next group in which keys expire, and removes those whose time has come. Called every tick, and
    /// in every turn as long as it says that there is more to do at once.
    pub(crate) fn sweep_expired(&mut self, ctx: &mut Context) -> bool {
        self.is_expiry_behind = false;
        let Some(group) = self.expiring.pop_front() else { return false };
        let replica = &mut self.list[group];
        let swept = replica.keyspace.sweep(SWEEP_ROWS_COUNT, ctx.unix_ms);
        let expired_count = replica.keyspace.take_expired();
        if replica.leads() {
            ctx.counters.expired_keys += expired_count;
        }
        replica.ttl_ms = swept.mean_ttl_ms().unwrap_or(replica.ttl_ms);
        if replica.keyspace.expiring_count() > 0 {
            self.expiring.push_back(group);
        } else {
            (replica.is_expiring, replica.ttl_ms) = (false, 0);
        }
        if swept.removed_count > 0 {
            replica.settle_permits();
        }
        let may_propose = replica.leads() && ctx.now.since(replica.time_reached_at) >= TIME_INTERVAL_MIN;
        if swept.due_count > 0 && may_propose && ctx.disk_full.is_none() {
            replica.wants_time = true;
            self.propose_later(group);
        }
        self.is_expiry_behind = swept.removed_count * 10 >= swept.looked_count && swept.removed_count > 0;
        self.is_expiry_behind
    }

    /// Whether more rows are to be looked at in this turn, not only at the next tick.
    pub(crate) fn is_expiry_behind(&self) -> bool {
        self.is_expiry_behind
    }
}
