//! Terms that are too far ahead to be believed at once.
//!
//! A term from a damaged or hostile message could leave no room for elections. It is believed only if its sender insists on
//! it, as the others do when this replica was away for very long.

use core::time::Duration;

use types::{Instant, ReplicaId, Term};

/// A message may be ahead of our term by this much. So many elections take days in which we heard of none.
const TERM_JUMP_MAX: Term = 1 << 16;

/// A term further ahead is believed only up to here, so that there is room to count on from it.
const TERM_FAR_MAX: Term = Term::MAX / 2;

/// The last term that counts at all: counting on from it does not overflow.
pub(crate) const TERM_LAST: Term = Term::MAX - TERM_JUMP_MAX;

/// A term that is too far ahead is believed once the same replica has told of such terms this often: it is not one wrong
/// byte then.
const TOLD_COUNT_MIN: u32 = 8;

/// How long a sender must insist, and for how long it counts what it told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Insistence {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

/// What replicas have told of terms too far ahead.
#[derive(Debug)]
pub(crate) struct FarTerms {
    insistence: Insistence,
    /// Who told of them last, since when, and how often.
    told: Option<(ReplicaId, Instant, u32)>,
}

impl FarTerms {
    pub(crate) fn new(insistence: Insistence) -> FarTerms {
        FarTerms { insistence, told: None }
    }

    /// Whether `term`, told by `from`, can be true for a replica whose term is `own`.
    pub(crate) fn believes(&mut self, own: Term, term: Term, from: ReplicaId, now: Instant) -> bool {
        if term <= own.saturating_add(TERM_JUMP_MAX) {
            return term <= TERM_LAST;
        }
        if term > TERM_FAR_MAX {
            return false;
        }
        let (since, count) = match self.told {
            Some((teller, since, count)) if teller == from && now.since(since) < self.insistence.max => {
                (since, count)
            }
            _ => (now, 0),
        };
        self.told = Some((from, since, count.saturating_add(1)));
        count + 1 >= TOLD_COUNT_MIN && now.since(since) >= self.insistence.min
    }
}
