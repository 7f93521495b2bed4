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
#[cfg_attr(test, derive(Clone))]
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(10);

    /// Whether the last of as many messages as it takes is believed, when they come this far apart.
    fn is_believed(term: Term, apart: Duration) -> bool {
        let mut far_terms = FarTerms::new(Insistence { min: MIN, max: MAX });
        let told = |nth: u32| far_terms.believes(1, term, ReplicaId(2), Instant::ZERO + apart * nth);
        (0..TOLD_COUNT_MIN).map(told).last().unwrap_or_default()
    }

    #[test]
    fn a_far_term_is_believed_within_its_bounds_only() {
        let apart = MIN / (TOLD_COUNT_MIN - 1) + Duration::from_nanos(1);
        assert!(is_believed(TERM_FAR_MAX, apart));
        assert!(!is_believed(TERM_FAR_MAX + 1, apart));
        assert!(!is_believed(TERM_FAR_MAX, apart / 2), "not for long enough");
        // What was told first counts for less than the longest time.
        assert!(is_believed(TERM_FAR_MAX, (MAX - Duration::from_nanos(7)) / (TOLD_COUNT_MIN - 1)));
        assert!(!is_believed(TERM_FAR_MAX, MAX / (TOLD_COUNT_MIN - 1) + Duration::from_nanos(1)));
    }

    #[test]
    fn what_was_told_first_counts_for_a_bounded_time() {
        let mut far_terms = FarTerms::new(Insistence { min: MIN, max: MAX });
        let mut told = |at: Duration| far_terms.believes(1, TERM_FAR_MAX, ReplicaId(2), Instant::ZERO + at);
        assert!((1..TOLD_COUNT_MIN).all(|_| !told(Duration::ZERO)));
        assert!(!told(MAX), "it begins anew");
        assert!((2..TOLD_COUNT_MIN).all(|_| !told(MAX)));
        assert!(told(MAX + MIN));
    }
}
