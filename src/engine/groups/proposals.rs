//! The batches that a replica has proposed and not yet seen applied, with those who wait for them.

use std::collections::VecDeque;
use std::time::Duration;

use types::{Index, Instant, Term};

use crate::groups::batch_queue::{Waiter, Waiters};
use crate::request::ArgArena;

/// A batch that was proposed here and is not yet applied.
pub(super) struct Proposed {
    pub(super) term: Term,
    pub(super) index: Index,
    /// When it was proposed.
    pub(super) at: Instant,
    pub(super) waiters: Waiters,
}

/// Proposed batches in the order in which they were proposed: by term, and within a term by index.
///
/// Who is deposed and elected again before its proposals are settled proposes in the new term at places where those of
/// the old one stood: indexes may repeat.
#[derive(Default)]
pub(super) struct Proposals {
    list: VecDeque<Proposed>,
    /// Bytes of who waits for them.
    waiters_bytes: usize,
    /// Whether reads may be among them.
    has_reads: bool,
    /// How many of the first are known to be durable here.
    durable_count: usize,
}

impl Proposals {
    /// Adds what was just proposed.
    pub(super) fn push(&mut self, proposed: Proposed) {
        self.waiters_bytes += proposed.waiters.bytes();
        self.has_reads |= proposed.waiters.args.bytes() > 0;
        self.list.push_back(proposed);
    }

    /// Takes out the next batch whose fate is known once the entry of this term and index is applied: that entry itself,
    /// or one of an earlier term, which will never be applied. Terms never decrease along a log, and entries are
    /// applied in its order: what was proposed in an earlier term would have been applied before.
    pub(super) fn pop_settled_by(&mut self, term: Term, index: Index) -> Option<Proposed> {
        let first = self.list.front()?;
        if (first.term, first.index) > (term, index) {
            return None;
        }
        let settled = self.list.pop_front()?;
        self.durable_count = self.durable_count.saturating_sub(1);
        self.waiters_bytes -= settled.waiters.bytes();
        Some(settled)
    }

    /// All entries up to this index are durable here: says so of the batches among them, and for each how long it took.
    pub(super) fn durable_up_to(&mut self, index: Index, now: Instant, mut took: impl FnMut(Duration)) {
        while let Some(proposed) = self.list.get_mut(self.durable_count).filter(|proposed| proposed.index <= index) {
            let times = &mut proposed.waiters.times;
            times.durable_at = Some(now);
            took(now.since(times.proposed_at));
            self.durable_count += 1;
        }
    }

    /// Takes out the next batch that was proposed in a term before `term`, and at least `wait` ago.
    pub(super) fn pop_unresolved(&mut self, term: Term, now: Instant, wait: Duration) -> Option<Proposed> {
        if now.since(self.list.front()?.at) < wait { None } else { self.pop_settled_by(term, 0) }
    }

    /// The last index that was proposed in `term`.
    pub(super) fn last_in(&self, term: Term) -> Option<Index> {
        self.list.back().filter(|last| last.term == term).map(|last| last.index)
    }

    /// Whether reads may be among those who wait; they are to leave now.
    pub(super) fn take_has_reads(&mut self) -> bool {
        std::mem::take(&mut self.has_reads)
    }

    /// Takes the reads out of a batch, behind which `newer_count` were proposed: `see` gets who waits for it, and the arguments of
    /// the reads among them. Writes stay. Returns how many waited; `None` if there is no such batch.
    pub(super) fn take_reads(&mut self, newer_count: usize, see: impl FnOnce(&[Waiter], ArgArena)) -> Option<usize> {
        let at = self.list.len().checked_sub(newer_count + 1)?;
        let waiters = &mut self.list[at].waiters;
        let (count, bytes) = (waiters.list.len(), waiters.bytes());
        if waiters.args.bytes() > 0 {
            see(&waiters.list, std::mem::take(&mut waiters.args));
            waiters.list.retain(|waiter| matches!(waiter, Waiter::Write { .. }));
        } else {
            see(&waiters.list, ArgArena::default());
        }
        self.waiters_bytes -= bytes - waiters.bytes();
        Some(count)
    }

    /// Bytes of who waits for the batches, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        self.list.iter().map(|proposed| proposed.waiters.bytes()).sum()
    }

    /// Bytes of who waits for the batches.
    pub(super) fn waiters_bytes(&self) -> usize {
        self.waiters_bytes
    }

    /// How many batches there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposals(places: &[(Term, Index)]) -> Proposals {
        let mut proposals = Proposals::default();
        for (term, index) in places {
            let (at, waiters) = (Instant::ZERO, Waiters::default());
            proposals.push(Proposed { term: *term, index: *index, at, waiters });
        }
        proposals
    }

    fn settled_by(proposals: &mut Proposals, term: Term, index: Index) -> Vec<(Term, Index)> {
        let taken = std::iter::from_fn(|| proposals.pop_settled_by(term, index));
        taken.map(|proposed| (proposed.term, proposed.index)).collect()
    }

    /// Found by simulation (seed 3155): an entry of the new term was applied while its proposal stood behind one of
    /// the old term with a higher index, and later its clients were told that it was not.
    #[test]
    fn proposals_of_a_second_leadership_are_met_by_their_entries() {
        let mut proposals = proposals(&[(1, 199), (1, 200), (1, 201), (1, 202), (3, 201), (3, 202)]);
        assert_eq!(settled_by(&mut proposals, 1, 199), [(1, 199)]);
        assert_eq!(settled_by(&mut proposals, 3, 200), [(1, 200), (1, 201), (1, 202)], "cut off by the new term");
        assert_eq!(settled_by(&mut proposals, 3, 201), [(3, 201)]);
        assert_eq!(settled_by(&mut proposals, 3, 202), [(3, 202)]);
        assert!(proposals.is_empty());
    }

    #[test]
    fn an_older_entry_settles_nothing_newer() {
        // Raft paper, figure 8: another replica's entry of term 1 is committed where ours of term 2 stood.
        let mut proposals = proposals(&[(2, 7), (2, 8)]);
        assert_eq!(settled_by(&mut proposals, 1, 7), []);
        assert_eq!(settled_by(&mut proposals, 4, 8), [(2, 7), (2, 8)]);
    }

    #[test]
    fn proposals_of_older_terms_can_be_given_up_after_some_time() {
        let mut proposals = proposals(&[(1, 7), (1, 8), (2, 7), (3, 7)]);
        let wait = Duration::from_secs(2);
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        proposals.list[2].at = at(1);
        let mut give_up = |now| -> Vec<_> {
            let given_up = std::iter::from_fn(|| proposals.pop_unresolved(3, now, wait));
            given_up.map(|old| (old.term, old.index)).collect()
        };
        assert_eq!(give_up(at(1)), []);
        assert_eq!(give_up(at(2)), [(1, 7), (1, 8)]);
        assert_eq!(give_up(at(9)), [(2, 7)]);
        assert_eq!(settled_by(&mut proposals, 3, 7), [(3, 7)]);
    }

    #[test]
    fn each_batch_is_told_once_when_it_is_durable() {
        let mut proposals = proposals(&[(1, 7), (1, 8), (1, 9)]);
        let durable = |proposals: &mut Proposals, index, seconds| {
            let (mut count, now) = (0, Instant::ZERO + Duration::from_secs(seconds));
            proposals.durable_up_to(index, now, |took| {
                assert_eq!(took, Duration::from_secs(seconds));
                count += 1;
            });
            count
        };
        assert_eq!((durable(&mut proposals, 6, 1), durable(&mut proposals, 7, 2)), (0, 1));
        let first = proposals.pop_settled_by(1, 7).unwrap();
        assert_eq!(first.waiters.times.durable_at, Some(Instant::ZERO + Duration::from_secs(2)));
        let second = proposals.pop_settled_by(1, 8).unwrap();
        assert_eq!(second.waiters.times.durable_at, None, "others had it first");
        assert_eq!((durable(&mut proposals, 9, 3), durable(&mut proposals, 9, 4)), (1, 0));
    }

    #[test]
    fn a_read_waits_for_what_its_own_leadership_proposed() {
        let proposals = proposals(&[(1, 7), (1, 9), (3, 8)]);
        assert_eq!(proposals.last_in(3), Some(8), "not for index 9, which may not be reached for long");
        assert_eq!(proposals.last_in(4), None);
    }
}
