//! Zipf's law over ranks, and a shuffle that keeps popular ranks from being neighbours.

use crate::load::rng::{Rng, mix};

/// The least and the largest skew. YCSB's is 0.99.
pub const THETA_MIN: f64 = 0.01;
/// See [`THETA_MIN`].
pub const THETA_MAX: f64 = 5.0;

/// Draws ranks 0, 1, 2, … below a count, rank k with a probability in proportion to 1 / (k + 1)^theta.
///
/// Exact for every theta, without tables, in constant time per draw: rejection-inversion (Hörmann and Derflinger,
/// "Rejection-inversion to generate variates from monotone discrete distributions", TOMACS 6(3), 1996).
#[derive(Clone, Debug)]
pub struct Zipf {
    theta: f64,
    // Invariant: at least 1.
    count: u32,
    // The area under the hat, from `area_min` (rank 0, with its part below) to `area_max` (the last rank).
    area_min: f64,
    area_max: f64,
    // How close to the middle of a rank a draw must lie to be taken without looking at the area.
    shortcut: f64,
}

impl Zipf {
    /// Ranks below `count`, which counts as 1 if it is 0; `theta` lies within [`THETA_MIN`] and [`THETA_MAX`].
    pub fn new(count: u32, theta: f64) -> Zipf {
        let mut zipf = Zipf { theta, count: 1, area_min: 0.0, area_max: 0.0, shortcut: 0.0 };
        zipf.area_min = zipf.area(1.5) - 1.0;
        zipf.shortcut = 2.0 - zipf.area_inverse(zipf.area(2.5) - zipf.density(2.0));
        zipf.set_count(count);
        zipf
    }

    /// Goes on with another number of ranks.
    pub fn set_count(&mut self, count: u32) {
        self.count = count.max(1);
        self.area_max = self.area(f64::from(self.count) + 0.5);
    }

    /// How many ranks there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Draws a rank.
    pub fn draw(&self, rng: &mut Rng) -> u32 {
        loop {
            let area = self.area_max + rng.unit() * (self.area_min - self.area_max);
            let at = self.area_inverse(area);
            let middle = (at + 0.5).floor().clamp(1.0, f64::from(self.count));
            if middle - at <= self.shortcut || area >= self.area(middle + 0.5) - self.density(middle) {
                return middle as u32 - 1;
            }
        }
    }

    /// x^-theta.
    fn density(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// An antiderivative of the density, 0 at 1.
    fn area(&self, x: f64) -> f64 {
        let log = x.ln();
        let power = (1.0 - self.theta) * log;
        // expm1(y) / y, which is 1 for theta = 1.
        if power.abs() < 1e-12 { log } else { log * power.exp_m1() / power }
    }

    fn area_inverse(&self, area: f64) -> f64 {
        let scaled = (area * (1.0 - self.theta)).max(-1.0);
        // ln1p(y) / y, which is 1 for theta = 1.
        if scaled.abs() < 1e-12 { area.exp() } else { (area * scaled.ln_1p() / scaled).exp() }
    }
}

/// Puts ranks into an order without a pattern: one to one, so that the law of the draws stays exact.
#[derive(Clone, Copy, Debug)]
pub struct Shuffle {
    count: u32,
    bits: u32,
}

impl Shuffle {
    /// A shuffle of the numbers below `count`, the same one whenever the count is the same.
    pub fn new(count: u32) -> Shuffle {
        // Both halves of a number must have a bit.
        Shuffle { count, bits: (u32::BITS - count.saturating_sub(1).leading_zeros()).max(2) }
    }

    /// The number that stands at `rank`; `rank` itself if that is not below the count.
    pub fn at(&self, rank: u32) -> u32 {
        if rank >= self.count {
            return rank;
        }
        // The permutation is one of the next power of two; what falls outside is put through it again.
        let mut number = self.permute(rank);
        while number >= self.count {
            number = self.permute(number);
        }
        number
    }

    /// Every step can be undone, so this is a permutation of the numbers of `bits` bits.
    fn permute(&self, number: u32) -> u32 {
        let mask = u64::from(u32::MAX >> (u32::BITS - self.bits));
        let half = self.bits.div_ceil(2);
        let mut number = u64::from(number);
        for round in 0..3 {
            number = number.wrapping_mul(mix(round + 1) | 1).wrapping_add(mix(round + 9)) & mask;
            number ^= number >> half;
        }
        number as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the counts of draws are from the law, as a multiple of what chance makes likely: the root of
    /// chi-squared over its degrees of freedom, which is about 1 for the right law.
    fn distance(count: u32, theta: f64, draws: u32) -> f64 {
        let zipf = Zipf::new(count, theta);
        let (mut rng, mut counts) = (Rng::new(u64::from(count)), vec![0u32; count as usize]);
        for _ in 0..draws {
            counts[zipf.draw(&mut rng) as usize] += 1;
        }
        let weight = |rank: u32| f64::from(rank + 1).powf(-theta);
        let total: f64 = (0..count).map(weight).sum();
        // Ranks one by one while twenty draws are expected of each, and the tail as one.
        let (mut chi_squared, mut classes, mut tail, mut tail_expected) = (0.0, 0u32, 0.0, 0.0);
        for rank in 0..count {
            let (seen, expected) = (f64::from(counts[rank as usize]), weight(rank) / total * f64::from(draws));
            if expected >= 20.0 {
                chi_squared += (seen - expected).powi(2) / expected;
                classes += 1;
            } else {
                tail += seen;
                tail_expected += expected;
            }
        }
        if tail_expected > 20.0 {
            chi_squared += (tail - tail_expected).powi(2) / tail_expected;
            classes += 1;
        }
        (chi_squared / f64::from(classes.max(2) - 1)).sqrt()
    }

    #[test]
    fn frequencies_are_those_of_the_law() {
        for (count, theta) in [(2, 0.5), (10, 0.99), (1_000, 0.5), (1_000, 0.99), (1_000, 1.0), (50_000, 1.4)] {
            let distance = distance(count, theta, 400_000);
            assert!((0.0..1.35).contains(&distance), "{count} ranks, theta {theta}: {distance}");
        }
    }

    #[test]
    fn another_law_is_told_apart() {
        let zipf = Zipf::new(1_000, 0.9);
        let (mut rng, mut first) = (Rng::new(1), 0u32);
        for _ in 0..400_000 {
            first += u32::from(zipf.draw(&mut rng) == 0);
        }
        let share = |theta: f64| 1.0 / (1..=1_000).map(|rank| f64::from(rank).powf(-theta)).sum::<f64>();
        let seen = f64::from(first) / 400_000.0;
        assert!((seen / share(0.9) - 1.0).abs() < 0.02, "{seen}");
        assert!((seen / share(0.99) - 1.0).abs() > 0.1, "{seen}");
    }

    #[test]
    fn a_growing_number_of_ranks_is_followed() {
        let mut zipf = Zipf::new(1, 0.99);
        let mut rng = Rng::new(2);
        assert!((0..100).all(|_| zipf.draw(&mut rng) == 0));
        zipf.set_count(3);
        let mut counts = [0; 3];
        for _ in 0..60_000 {
            counts[zipf.draw(&mut rng) as usize] += 1;
        }
        let expected = [1.0, 0.5f64.powf(0.99), (1.0f64 / 3.0).powf(0.99)];
        for (seen, weight) in counts.into_iter().zip(expected) {
            let expected = weight / expected.iter().sum::<f64>();
            assert!((f64::from(seen) / 60_000.0 - expected).abs() < 0.01, "{counts:?}");
        }
    }

    #[test]
    fn a_shuffle_meets_every_number_once_and_parts_neighbours() {
        for count in [1, 2, 3, 7, 8, 1_000, 1_025] {
            let shuffle = Shuffle::new(count);
            let mut numbers: Vec<u32> = (0..count).map(|rank| shuffle.at(rank)).collect();
            let near = numbers.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < count / 50).count();
            assert!(near < count as usize / 10 + 1, "{near} of {count} neighbours stay together");
            numbers.sort_unstable();
            assert_eq!(numbers, (0..count).collect::<Vec<u32>>());
        }
        assert_eq!(Shuffle::new(10).at(10), 10, "what is added later keeps its place");
    }
}
