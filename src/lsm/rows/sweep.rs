//! Looking for rows whose time has come, a few at a time.
//!
//! A sweep goes round and round over the segments of the slots in which rows expire. It keeps no list of what expires when: that
//! would cost as much memory as short rows do, and a row's expiry may be changed at any time.

use types::Slot;

use crate::rows::row::{Handle, Hash48};
use crate::rows::segment::ROWS_COUNT_MAX;
use crate::rows::tables::Tables;

/// Where a sweep goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    slot: usize,
    hash: Hash48,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep { slot: 0, hash: Hash48::MIN }
    }
}

/// What a part of a sweep has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows that it has looked at.
    pub looked_count: usize,
    /// Rows among them that it has removed.
    pub removed_count: usize,
    /// Rows among them that are due by the clock, and not by the time by which rows are removed.
    pub due_count: usize,
    /// Rows among them that expire later, and for how long they have to live, in milliseconds.
    pub living_count: usize,
    /// See `living_count`.
    pub living_ms: u64,
}

impl Swept {
    /// For how long rows that expire later have to live, in milliseconds; `None` if it has seen none.
    pub fn mean_ttl_ms(&self) -> Option<u64> {
        self.living_ms.checked_div(self.living_count as u64)
    }
}

/// The rows of a segment.
pub(crate) struct Few {
    handles: [Option<Handle>; ROWS_COUNT_MAX],
    count: usize,
}

impl Few {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Handle> + '_ {
        self.handles[..self.count].iter().copied().flatten()
    }
}

impl Sweep {
    /// The rows of the next segment of a slot in which rows expire. `None` at the end of the last one; the next round begins behind
    /// that.
    pub(crate) fn next(&mut self, tables: &Tables) -> Option<(Slot, Few)> {
        let Some(slot) = tables.next_expiring_slot(self.slot) else {
            *self = Sweep::default();
            return None;
        };
        if slot.idx() != self.slot {
            *self = Sweep { slot: slot.idx(), hash: Hash48::MIN };
        }
        let (segment, behind) = tables.segment_at(slot, self.hash).expect("a slot with rows has segments");
        *self = match behind {
            Some(hash) => Sweep { slot: self.slot, hash },
            None => Sweep { slot: self.slot + 1, hash: Hash48::MIN },
        };
        let mut few = Few { handles: [None; ROWS_COUNT_MAX], count: 0 };
        for handle in segment.handles() {
            few.handles[few.count] = Some(handle);
            few.count += 1;
        }
        Some((slot, few))
    }
}
