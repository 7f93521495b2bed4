//! Rows that the commands behind this one will read, brought into the CPU's caches meanwhile.
//!
//! In tables that no cache holds a read waits for memory twice, which takes longer than the rest of it. What a client or another core has
//! sent at once is looked through before it is executed, a few commands at a time, so that these waits overlap. Nothing depends on it.
//! A write looks at its rows later, when it is applied, and is not looked for here.

use lsm::{PREFETCH_KEYS_COUNT, Prefetch};
use resp::CommandId;
use types::Slot;

use super::{Core, CoreHost};
use crate::budget::Pool;
use crate::peers::ReceivedRequests;

impl<H: CoreHost> Core<H> {
    /// Looks at the commands that a client has sent behind those that were executed.
    pub(super) fn look_ahead(&mut self, buf: &[u8]) {
        if self.are_rows_cached() {
            return self.lookahead.looked_at(PREFETCH_KEYS_COUNT);
        }
        let mut prefetch = Prefetch::default();
        let mut count = 0;
        for key in resp::first_arguments(buf).take(PREFETCH_KEYS_COUNT) {
            let slot = Slot::of_key(key);
            if let Some(group) = self.router.route(self.router.of_slot(slot)).local {
                self.groups.prefetch(&mut prefetch, group, slot, key);
            }
            count += 1;
        }
        prefetch.load();
        self.lookahead.looked_at(count);
    }

    fn are_rows_cached(&self) -> bool {
        self.ctx.budget.used_by(Pool::Keys) <= self.ctx.config.limits.cached_rows_bytes_max
    }

    /// Looks at the commands of another core that come next.
    pub(super) fn look_ahead_in_frame(&self, requests: &ReceivedRequests) {
        if self.are_rows_cached() {
            return;
        }
        let mut prefetch = Prefetch::default();
        for (head, key) in requests.ahead().take(PREFETCH_KEYS_COUNT) {
            let reads = CommandId::from_u16(head.command).is_some_and(|id| !resp::table::by_id(id).is_write());
            if reads && let (Some(slot), Some(group)) = (Slot::new(head.slot), self.router.local_of(head.group())) {
                self.groups.prefetch(&mut prefetch, group, slot, key);
            }
        }
        prefetch.load();
    }
}
