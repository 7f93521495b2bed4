//! The batches that a replica has proposed and not yet seen applied, with those who wait for them.

use std::collections::VecDeque;

use types::{Index, Instant, Term};

use crate::group::Waiters;

/// A batch that was proposed here and is not yet applied.
pub(crate) struct Proposed {
    pub(crate) term: Term,
    pub(crate) index: Index,
    /// When it was proposed.
    pub(crate) at: Instant,
    pub(crate) waiters: Waiters,
}

/// Proposed batches, by index, and those for one index by term.
///
/// There can be several for one index: who is elected again proposes in a later term, at places where its proposals of
/// an earlier one stood until another leader cut them off. Those stay, since another replica may still hold the old
/// entry and be elected with it. Only what is applied at an index tells which of them was committed.
#[derive(Default)]
pub(crate) struct Proposals {
    list: VecDeque<Proposed>,
}

impl Proposals {
    /// Adds what was just proposed.
    pub(crate) fn push(&mut self, proposed: Proposed) {
        let place = (proposed.index, proposed.term);
        let older = self.list.iter().rev().take_while(|other| (other.index, other.term) > place).count();
        self.list.insert(self.list.len() - older, proposed);
    }

    /// Takes out the next batch that was proposed for an index up to `index`.
    pub(crate) fn pop_up_to(&mut self, index: Index) -> Option<Proposed> {
        if self.list.front()?.index > index {
            return None;
        }
        self.list.pop_front()
    }

    /// Takes out the next batch that was proposed in a term before `term`.
    pub(crate) fn pop_older_than(&mut self, term: Term) -> Option<Proposed> {
        let place = self.list.iter().position(|proposed| proposed.term < term)?;
        self.list.remove(place)
    }

    /// The last index that was proposed in `term`.
    pub(crate) fn last_in(&self, term: Term) -> Option<Index> {
        self.list.iter().rev().find(|proposed| proposed.term == term).map(|proposed| proposed.index)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposals(places: &[(Term, Index)]) -> Proposals {
        let mut proposals = Proposals::default();
        for (term, index) in places {
            proposals.push(Proposed { term: *term, index: *index, at: Instant::ZERO, waiters: Waiters::default() });
        }
        proposals
    }

    fn taken_up_to(proposals: &mut Proposals, index: Index) -> Vec<(Term, Index)> {
        std::iter::from_fn(|| proposals.pop_up_to(index)).map(|proposed| (proposed.term, proposed.index)).collect()
    }

    /// Found by simulation (seed 3155): the second entry of the new term was applied while its proposal stood behind
    /// one of the old term with a higher index, and its clients were told that it was not.
    #[test]
    fn proposals_of_a_second_leadership_are_met_by_the_entries_of_their_index() {
        let mut proposals = proposals(&[(1, 199), (1, 200), (1, 201), (1, 202), (3, 201), (3, 202)]);
        assert_eq!(taken_up_to(&mut proposals, 199), [(1, 199)]);
        assert_eq!(taken_up_to(&mut proposals, 200), [(1, 200)]);
        assert_eq!(taken_up_to(&mut proposals, 201), [(1, 201), (3, 201)]);
        assert_eq!(taken_up_to(&mut proposals, 202), [(1, 202), (3, 202)]);
        assert!(proposals.is_empty());
    }

    #[test]
    fn proposals_of_older_terms_can_be_given_up() {
        let mut proposals = proposals(&[(1, 7), (1, 8), (3, 7)]);
        assert_eq!(proposals.pop_older_than(3).map(|proposed| (proposed.term, proposed.index)), Some((1, 7)));
        assert_eq!(proposals.pop_older_than(3).map(|proposed| (proposed.term, proposed.index)), Some((1, 8)));
        assert!(proposals.pop_older_than(3).is_none());
        assert_eq!(taken_up_to(&mut proposals, 7), [(3, 7)]);
    }

    #[test]
    fn a_read_waits_for_what_its_own_leadership_proposed() {
        let proposals = proposals(&[(1, 7), (1, 9), (3, 8)]);
        assert_eq!(proposals.last_in(3), Some(8), "not for index 9, which may not be reached for long");
        assert_eq!(proposals.last_in(4), None);
    }
}
