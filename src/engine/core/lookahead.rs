//! Rows that the commands behind this one will read, brought into the CPU's caches meanwhile.
//!
//! In tables that no cache holds a read waits for memory twice, which takes longer than the rest of it. What a client or another core has
//! sent at once is looked through before it is executed, a few commands at a time, so that these waits overlap. Nothing depends on it.
//! A write looks at its rows later, when it is applied, and is not looked for here.

use lsm::{PREFETCH_KEYS_COUNT, Prefetch};
use resp::{Command, CommandId};
use types::Slot;

use super::{Core, CoreHost};
use crate::budget::Pool;
use crate::peers::ReceivedRequests;

/// How far the commands of a client were looked at ahead.
#[derive(Debug, Default)]
pub(super) struct Lookahead {
    /// Whether the last command read rows here. A pipeline goes on as it has begun, as a rule.
    is_reading: bool,
    /// Commands whose rows are on the way.
    count: usize,
}

impl Lookahead {
    /// Another client's turn.
    pub(super) fn begin(&mut self) {
        *self = Lookahead::default();
    }

    /// A command is executed on a group here.
    #[inline]
    pub(super) fn note(&mut self, command: &Command) {
        self.is_reading = !command.is_write();
    }

    /// So many commands were looked at. Where nothing is to be seen, the next one is not to look again.
    pub(super) fn looked_at(&mut self, count: usize) {
        self.count = count.max(1);
    }

    /// A command was executed.
    pub(super) fn executed(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// Whether it is time to look at the commands that come next.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.is_reading && self.count == 0
    }
}

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
