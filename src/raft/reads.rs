//! Heartbeat rounds, and the two kinds of reads that rest on them (thesis §6.4).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use types::{Index, Instant};

/// Most heartbeat rounds whose sending time is remembered. A leader that starts more before a majority answers
/// dates the lease by an older round, which only makes it shorter.
const ROUNDS_COUNT_MAX: usize = 256;

/// Most reads by ReadIndex waiting at a time.
pub const READS_COUNT_MAX: usize = 65_536;

/// A read that may be served once `index` is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// What the read was called when it was asked for.
    pub ctx: u64,
    /// The read must see everything up to here.
    pub index: Index,
}

/// The heartbeat rounds of one term of leadership.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Number of the last round sent; 0 before the first.
    current: u64,
    /// Highest round a majority has answered. Invariant: `confirmed <= current`.
    confirmed: u64,
    /// When the rounds in `confirmed + 1 ..= current` were sent, oldest first; not necessarily all of them.
    sent: VecDeque<(u64, Instant)>,
    /// When the last confirmed round was sent: at that moment we were the leader.
    confirmed_at: Option<Instant>,
}

impl Rounds {
    pub(crate) fn current(&self) -> u64 {
        self.current
    }

    pub(crate) fn start(&mut self, now: Instant) -> u64 {
        self.current += 1;
        if self.sent.len() < ROUNDS_COUNT_MAX {
            self.sent.push_back((self.current, now));
        }
        self.current
    }

    /// A majority has answered `round` or a later one. True if that is news.
    pub(crate) fn confirm(&mut self, round: u64) -> bool {
        assert!(round <= self.current, "a round is answered after it was sent");
        if round <= self.confirmed {
            return false;
        }
        self.confirmed = round;
        while let Some((sent, at)) = self.sent.front().copied() {
            if sent > round {
                break;
            }
            self.confirmed_at = Some(at);
            self.sent.pop_front();
        }
        true
    }

    pub(crate) fn confirmed_at(&self) -> Option<Instant> {
        self.confirmed_at
    }

    /// Dates everything anew.
    #[cfg(test)]
    pub(crate) fn date(&mut self, anew: impl Fn(Instant) -> Instant) {
        for (_, at) in &mut self.sent {
            *at = anew(*at);
        }
        self.confirmed_at = self.confirmed_at.map(anew);
    }
}

/// Reads by ReadIndex that a leader was asked for and that are not confirmed.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Asked for, and part of no round yet.
    waiting: Vec<u64>,
    /// Waiting for a majority to answer a round. Invariant: rounds never fall.
    pending: VecDeque<(u64, ReadState)>,
}

/// Reads by ReadIndex that need nothing more here. They outlive the leadership in which they were asked for.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct ReadResults {
    done: Vec<ReadState>,
    failed: Vec<u64>,
}

impl Reads {
    /// Whether there is room for another read.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() + self.pending.len() < READS_COUNT_MAX
    }

    pub(crate) fn ask(&mut self, ctx: u64) {
        self.waiting.push(ctx);
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The waiting reads join `round`, which was just begun; they must see everything up to `index`.
    pub(crate) fn join_round(&mut self, round: u64, index: Index) {
        self.pending.extend(self.waiting.drain(..).map(|ctx| (round, ReadState { ctx, index })));
    }

    /// A majority has answered `round`.
    pub(crate) fn confirmed(&mut self, round: u64, results: &mut ReadResults) {
        while let Some((joined, read)) = self.pending.front().copied() {
            if joined > round {
                break;
            }
            results.done.push(read);
            self.pending.pop_front();
        }
    }

    /// Leadership is lost, and with it every read that is not confirmed. Returns how many.
    pub(crate) fn fail_all(mut self, results: &mut ReadResults) -> usize {
        let failed = self.pending.len() + self.waiting.len();
        results.failed.extend(self.pending.drain(..).map(|(_, read)| read.ctx));
        results.failed.append(&mut self.waiting);
        failed
    }

    /// Whether no read waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.pending.is_empty()
    }
}

impl ReadResults {
    pub(crate) fn is_empty(&self) -> bool {
        self.done.is_empty() && self.failed.is_empty()
    }

    pub(crate) fn take(&mut self, done: &mut Vec<ReadState>, failed: &mut Vec<u64>) {
        done.append(&mut self.done);
        failed.append(&mut self.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmed_round_dates_the_lease_by_its_sending() {
        let at = Instant::from_nanos;
        let mut rounds = Rounds::default();
        assert_eq!((rounds.start(at(10)), rounds.start(at(20)), rounds.start(at(30))), (1, 2, 3));
        assert!(rounds.confirm(2));
        assert_eq!(rounds.confirmed_at(), Some(at(20)));
        assert!(!rounds.confirm(1), "an older round is no news");
        for now in 100..100 + 2 * ROUNDS_COUNT_MAX as u64 {
            rounds.start(at(now));
        }
        assert!(rounds.confirm(rounds.current()));
        assert_eq!(rounds.confirmed_at(), Some(at(100 + ROUNDS_COUNT_MAX as u64 - 2)), "the last one remembered");
    }

    #[test]
    fn reads_are_idle_once_none_waits_and_none_is_pending() {
        let (mut reads, mut results) = (Reads::default(), ReadResults::default());
        assert!(reads.is_idle() && results.is_empty());
        reads.ask(7);
        assert!(!reads.is_idle(), "it is part of no round yet");
        reads.join_round(3, 10);
        assert!(!reads.is_idle(), "its round is not answered");
        reads.confirmed(3, &mut results);
        assert!(reads.is_idle() && !results.is_empty());
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        results.take(&mut done, &mut failed);
        assert_eq!((done, results.is_empty()), (alloc::vec![ReadState { ctx: 7, index: 10 }], true));
        reads.ask(8);
        assert_eq!(reads.fail_all(&mut results), 1);
        assert!(!results.is_empty());
        results.take(&mut Vec::new(), &mut failed);
        assert_eq!((failed, results.is_empty()), (alloc::vec![8], true));
    }
}
