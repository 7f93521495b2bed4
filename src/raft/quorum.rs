//! Majorities.

use types::limits::REPLICAS_COUNT_MAX;

/// How many of `voters_count` voters are a majority.
pub(crate) const fn majority(voters_count: usize) -> usize {
    voters_count / 2 + 1
}

/// The largest value that a majority has reached. `values` holds one value per voter.
pub(crate) fn reached_by_majority<T: Copy + Ord>(values: impl Iterator<Item = T>, lowest: T) -> T {
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

    #[test]
    fn a_majority_has_reached_the_value_in_the_middle() {
        let reached = |values: &[u64]| reached_by_majority(values.iter().copied(), 0);
        assert_eq!(reached(&[7]), 7);
        assert_eq!(reached(&[7, 3]), 3);
        assert_eq!(reached(&[1, 9, 5]), 5);
        assert_eq!(reached(&[1, 9, 5, 7]), 5);
        assert_eq!(reached(&[4, 4, 0, 0, 9]), 4);
    }
}
