//! Which configurations are in effect, or may be again.

use alloc::collections::VecDeque;

use types::{Index, ReplicaId};
use wire::Membership;

/// The configurations that are in effect or may be again: the last one that is committed, and those behind it.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) struct Memberships {
    /// With the index of its entry; 0 for the one the group began with. Invariants: indexes grow; never empty.
    list: VecDeque<(Index, Membership)>,
}

impl Memberships {
    /// `first` was in effect as of `index`, and `later` ones follow in the log.
    pub(crate) fn new(index: Index, first: Membership, later: impl IntoIterator<Item = (Index, Membership)>) -> Self {
        let later = later.into_iter().filter(|(at, _)| *at > index);
        Memberships { list: [(index, first)].into_iter().chain(later).collect() }
    }

    /// The one in effect, and the index of its entry.
    pub(crate) fn last(&self) -> &(Index, Membership) {
        self.list.back().expect("there is always one in effect")
    }

    pub(crate) fn push(&mut self, index: Index, membership: Membership) {
        assert!(index > self.last().0, "configurations come in the order of the log");
        self.list.push_back((index, membership));
    }

    /// The log was cut back to `last_index`. True if that undid a configuration.
    pub(crate) fn truncated(&mut self, last_index: Index) -> bool {
        let before = self.list.len();
        while self.list.len() > 1 && self.last().0 > last_index {
            self.list.pop_back();
        }
        self.list.len() < before
    }

    /// A state was taken over that knows only this one.
    pub(crate) fn replace(&mut self, index: Index, membership: Membership) {
        self.list.clear();
        self.list.push_back((index, membership));
    }

    /// Everything up to `index` is committed: what came before the last one up to there cannot come back.
    pub(crate) fn committed(&mut self, index: Index) {
        while self.list.get(1).is_some_and(|(at, _)| *at <= index) {
            self.list.pop_front();
        }
    }

    /// Whether `id` votes in any of them.
    pub(crate) fn any_has_voter(&self, id: ReplicaId) -> bool {
        self.list.iter().any(|(_, membership)| membership.is_voter(id))
    }
}
