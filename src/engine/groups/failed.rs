//! Batches that fail, and those who wait for them: answered a slice per turn, as there may be very many.

use std::collections::VecDeque;

use crate::groups::batch_queue::{Waiter, Waiters};
use crate::refusal::Refusal;

/// A batch that fails, and how many of those who wait for it were answered.
struct Failed {
    waiters: Waiters,
    answered_count: usize,
    refusal: Refusal,
}

/// Batches that fail, in the order in which they were proposed.
#[derive(Default)]
pub(super) struct FailedBatches {
    list: VecDeque<Failed>,
    /// Invariant: the bytes of all who wait, those of a batch until the last of them is answered.
    bytes: usize,
}

impl FailedBatches {
    /// Adds a batch. All who wait for it are to be answered with this.
    pub(super) fn push(&mut self, waiters: Waiters, refusal: Refusal) {
        self.push_from(waiters, 0, refusal);
    }

    /// The same of a batch of which so many were answered.
    pub(super) fn push_from(&mut self, waiters: Waiters, answered_count: usize, refusal: Refusal) {
        if answered_count < waiters.list.len() {
            self.bytes += waiters.bytes();
            self.list.push_back(Failed { waiters, answered_count, refusal });
        }
    }

    /// Takes out the first of those who wait.
    pub(super) fn pop(&mut self) -> Option<(Waiter, Refusal)> {
        let first = self.list.front_mut()?;
        let (waiter, refusal) = (first.waiters.list[first.answered_count], first.refusal);
        first.answered_count += 1;
        if first.answered_count == first.waiters.list.len() {
            self.bytes -= first.waiters.bytes();
            self.list.pop_front();
        }
        Some((waiter, refusal))
    }

    /// Whether all who waited were answered.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes of who waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of who waits, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        self.list.iter().map(|failed| failed.waiters.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::client;

    #[test]
    fn who_waits_is_taken_out_in_order_and_counted_until_then() {
        let mut failed = FailedBatches::default();
        let of = |seqs: std::ops::Range<u64>| {
            let list = seqs.map(|seq| Waiter::Write { origin: client(seq), reply_bytes: 0 }).collect();
            Waiters { list, ..Waiters::default() }
        };
        failed.push(of(1..4), Refusal::NotApplied);
        failed.push(of(0..0), Refusal::NotApplied);
        failed.push(of(4..6), Refusal::OutcomeUnknownSnapshot);
        let mut taken = Vec::new();
        while let Some((Waiter::Write { origin, .. }, refusal)) = failed.pop() {
            assert_eq!(failed.bytes(), failed.held_bytes());
            taken.push((origin, refusal));
        }
        let expected = (1..6)
            .map(|seq| (client(seq), if seq < 4 { Refusal::NotApplied } else { Refusal::OutcomeUnknownSnapshot }));
        assert!(taken.into_iter().eq(expected));
        assert!(failed.is_empty() && failed.bytes() == 0);
    }
}
