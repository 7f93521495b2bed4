//! How values are spread: times or sizes, within 6 %, in a fixed amount of memory.

use hdrhistogram::Histogram;

/// Digits that are kept of each value: what is told of it is right within 6 %.
const SIGNIFICANT_DIGITS: u8 = 1;

/// How many values there were of each size.
///
/// Invariant: its memory is that of the greatest value it was made for, whatever comes.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    /// Counts are of 64 bits: at a million values a second those of 32 are full within an hour or so.
    histogram: Histogram<u64>,
    sum: u64,
}

impl Distribution {
    /// No value yet. Those above `max` count as `max`.
    pub(crate) fn new(max: u64) -> Distribution {
        let histogram = Histogram::new_with_bounds(1, max.max(2), SIGNIFICANT_DIGITS);
        let mut histogram = histogram.expect("a lowest of 1 and a greatest of 2 or more are valid bounds");
        // Writes to all of its memory, so that the kernel counts from the first moment on what the core counts.
        histogram.reset();
        Distribution { histogram, sum: 0 }
    }

    /// Adds a value, so many times.
    #[inline]
    pub(crate) fn record(&mut self, value: u64, count: u64) {
        let value = value.min(self.histogram.high());
        self.histogram.saturating_record_n(value, count);
        self.sum = self.sum.saturating_add(value.saturating_mul(count));
    }

    /// How many values there were.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Their sum, exact but for values above the greatest.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// Their mean; 0 if there is none.
    pub(crate) fn mean(&self) -> u64 {
        self.sum.checked_div(self.count()).unwrap_or(0)
    }

    /// The value that so many percent of all do not exceed; 0 if there is none.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        if self.histogram.is_empty() { 0 } else { self.histogram.value_at_quantile(percent / 100.0) }
    }

    /// The greatest value; 0 if there is none.
    pub(crate) fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// How many values were at most as great as each of `bounds`, which ascend.
    pub(crate) fn counts_up_to(&self, bounds: impl Iterator<Item = u64>) -> Vec<u64> {
        let (mut values, mut count) = (self.histogram.iter_recorded().peekable(), 0);
        let mut up_to = |bound| {
            while let Some(value) = values.next_if(|value| value.value_iterated_to() <= self.upper(bound)) {
                count += value.count_since_last_iteration();
            }
            count
        };
        bounds.map(&mut up_to).collect()
    }

    /// The greatest value that is not told apart from this one.
    pub(crate) fn upper(&self, value: u64) -> u64 {
        self.histogram.highest_equivalent(value)
    }

    /// Adds the values of another one, which was made for the same greatest value.
    pub(crate) fn merge(&mut self, other: &Distribution) {
        self.histogram.add(&other.histogram).expect("what is merged has the same bounds");
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Forgets all values.
    pub(crate) fn reset(&mut self) {
        self.histogram.reset();
        self.sum = 0;
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.histogram.distinct_values() * size_of::<u64>() + size_of::<Distribution>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_values_is_right_within_six_percent() {
        let mut times = Distribution::new(1_000_000);
        (1..=1_000).for_each(|value| times.record(value, 2));
        assert_eq!((times.count(), times.sum(), times.mean(), times.max()), (2_000, 1_001_000, 500, 1_023));
        for percent in [1.0, 50.0, 99.0, 99.9] {
            let (told, exact) = (times.percentile(percent) as f64, 10.0 * percent);
            assert!((told - exact).abs() <= 0.065 * exact + 1.0, "{percent}: {told}");
        }
        let counts = times.counts_up_to([10, 100, 500, 1_000_000].into_iter());
        assert_eq!((counts[0], counts[3]), (20, 2_000));
        assert!(counts[1].abs_diff(200) <= 14 && counts[2].abs_diff(1_000) <= 65, "{counts:?}");
    }

    #[test]
    fn values_beyond_all_bounds_count_as_the_greatest_and_take_no_memory() {
        let mut times = Distribution::new(60_000_000);
        let bytes = times.bytes();
        times.record(u64::MAX, 1);
        times.record(0, 1);
        assert_eq!((times.count(), times.bytes()), (2, bytes));
        assert!(times.max() >= 60_000_000 && times.sum() < 64_000_000, "{times:?}");
        assert!(bytes < 4_096, "{bytes}");
    }

    #[test]
    fn counts_go_beyond_thirty_two_bits() {
        let (mut one, mut other) = (Distribution::new(100), Distribution::new(100));
        one.record(5, u64::from(u32::MAX));
        other.record(5, 10);
        one.merge(&other);
        assert_eq!(one.counts_up_to([4, 5].into_iter()), [0, u64::from(u32::MAX) + 10]);
        one.reset();
        assert_eq!((one.count(), one.sum(), one.percentile(50.0)), (0, 0, 0));
    }
}
