//! Majorities of a configuration: in the joint state, of each of its two sets of voters.

use types::ReplicaId;
use types::limits::REPLICAS_COUNT_MAX;
use wire::{Member, Membership};

/// How many of `voters_count` voters are a majority.
const fn majority(voters_count: usize) -> usize {
    voters_count / 2 + 1
}

/// The largest value that a majority of each set of voters has reached; `lowest` if nobody votes. `of` gives a voter's.
pub(crate) fn quorum_value<T: Copy + Ord>(membership: &Membership, of: impl Fn(ReplicaId) -> T, lowest: T) -> T {
    let Membership { voters, outgoing, .. } = membership;
    let value_in = |set: &[Member]| value_of_majority(set.iter().map(|member| of(member.id)), lowest);
    match (voters.is_empty(), outgoing.is_empty()) {
        (true, _) => lowest,
        (false, true) => value_in(voters),
        (false, false) => value_in(voters).min(value_in(outgoing)),
    }
}

/// How the votes stand: `Some(true)` if a majority of each set of voters has granted, `Some(false)` if in one of them none
/// can any more. `of` gives a voter's answer.
pub(crate) fn votes(membership: &Membership, of: impl Fn(ReplicaId) -> Option<bool>) -> Option<bool> {
    let Membership { voters, outgoing, .. } = membership;
    let mut all_granted = !voters.is_empty();
    for set in [voters, outgoing].into_iter().filter(|set| !set.is_empty()) {
        let count = |wanted| set.iter().filter(|member| of(member.id) == Some(wanted)).count();
        if count(false) > set.len() - majority(set.len()) {
            return Some(false);
        }
        all_granted &= count(true) >= majority(set.len());
    }
    all_granted.then_some(true)
}

/// The largest value that a majority has reached. `values` holds one value per voter.
fn value_of_majority<T: Copy + Ord>(values: impl Iterator<Item = T>, lowest: T) -> T {
    let mut sorted = [lowest; REPLICAS_COUNT_MAX];
    let mut count = 0;
    for value in values {
        sorted[count] = value;
        count += 1;
    }
    let sorted = &mut sorted[..count];
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted[majority(count) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Voters 1 to 9 of which `incoming` and `outgoing` vote.
    fn joint(incoming: &[u64], outgoing: &[u64]) -> Membership {
        let ids = |set: &[u64]| set.iter().map(|id| ReplicaId(*id)).collect::<Vec<_>>();
        let mut membership = super::super::of_ids(&ids(incoming));
        membership.outgoing = super::super::of_ids(&ids(outgoing)).voters;
        membership
    }

    #[test]
    fn a_majority_has_reached_the_value_in_the_middle() {
        let reached = |values: &[u64]| value_of_majority(values.iter().copied(), 0);
        assert_eq!(reached(&[7]), 7);
        assert_eq!(reached(&[7, 3]), 3);
        assert_eq!(reached(&[1, 9, 5]), 5);
        assert_eq!(reached(&[1, 9, 5, 7]), 5);
        assert_eq!(reached(&[4, 4, 0, 0, 9]), 4);
    }

    #[test]
    fn in_the_joint_state_a_majority_of_each_set_counts() {
        let of = |id: ReplicaId| id.0 * 10;
        assert_eq!(quorum_value(&joint(&[1, 2, 3], &[]), of, 0), 20);
        assert_eq!(quorum_value(&joint(&[1, 2, 3], &[4, 5, 6]), of, 0), 20, "the lower of the two");
        assert_eq!(quorum_value(&joint(&[7, 8, 9], &[4, 5, 6]), of, 0), 50);
        assert_eq!(quorum_value(&joint(&[], &[4, 5, 6]), of, 3), 3, "nobody votes");
    }

    #[test]
    fn votes_are_won_in_each_set_and_lost_in_one() {
        let voted = |yes: &[u64], no: &[u64], membership: &Membership| {
            votes(membership, |id| if yes.contains(&id.0) { Some(true) } else { no.contains(&id.0).then_some(false) })
        };
        let three = joint(&[1, 2, 3], &[]);
        assert_eq!(voted(&[1], &[2], &three), None);
        assert_eq!(voted(&[1, 3], &[2], &three), Some(true));
        assert_eq!(voted(&[1], &[2, 3], &three), Some(false));
        let four = joint(&[1, 2, 3, 4], &[]);
        assert_eq!(voted(&[1, 2], &[3], &four), None);
        assert_eq!(voted(&[1, 2], &[3, 4], &four), Some(false), "two of four are no majority, and no more can come");
        let both = joint(&[1, 2, 3], &[4, 5, 6]);
        assert_eq!(voted(&[1, 2, 3, 4], &[], &both), None);
        assert_eq!(voted(&[1, 2, 4, 5], &[3, 6], &both), Some(true));
        assert_eq!(voted(&[1, 2, 3, 4], &[5, 6], &both), Some(false));
        assert_eq!(voted(&[1, 4], &[], &joint(&[], &[4])), None, "nobody votes");
    }
}
