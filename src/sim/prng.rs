//! Seeded prng: one stream per subsystem, so that a change in one does not shift what the others draw.

/// A stream of random numbers (splitmix64; Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#[derive(Clone, Debug)]
pub struct Prng(u64);

/// How likely something is, in millionths.
pub type Ppm = u32;

/// Certainty.
pub const PPM: Ppm = 1_000_000;

impl Prng {
    /// The stream `name` of a seed. Different names give unrelated streams.
    pub fn stream(seed: u64, name: &str) -> Prng {
        let mut prng = Prng(seed ^ xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
        prng.next_u64();
        prng
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "there is no number below zero");
        // The high half of a wide product: as even as 64 bits allow, and cheaper than a division.
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `first` to `last`, both included.
    pub fn range(&mut self, first: u64, last: u64) -> u64 {
        assert!(first <= last, "a range has its first number before its last");
        first + self.below(last - first + 1)
    }

    /// Whether something happens that is this likely.
    pub fn bernoulli(&mut self, likely: Ppm) -> bool {
        likely > 0 && self.below(u64::from(PPM)) < u64::from(likely)
    }

    /// One of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A length of time that is mostly a little above `least` nanoseconds and now and then much longer: twice `mean`
    /// beyond it for one in eight, and sixteen times for one in 256.
    pub fn latency(&mut self, least: u64, mean: u64) -> u64 {
        if mean == 0 {
            return least;
        }
        let bits = self.next_u64();
        let spread = match bits & 0xFF {
            0 => 16 * mean,
            1..=31 => 2 * mean,
            _ => mean,
        };
        least + (((u128::from(bits >> 8)) * u128::from(spread)) >> 56) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_name() {
        let draw = |name| {
            let mut prng = Prng::stream(7, name);
            [prng.next_u64(), prng.next_u64()]
        };
        assert_eq!(draw("disk"), draw("disk"));
        assert_ne!(draw("disk"), draw("net"));
    }

    #[test]
    fn ranges_are_reached_at_both_ends() {
        let mut prng = Prng::stream(1, "ranges");
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            seen[prng.range(1, 3) as usize] += 1;
            assert!(prng.latency(10, 100) < 10 + 1_600);
        }
        assert_eq!((seen[0], seen[4]), (0, 0));
        assert!(seen[1..4].iter().all(|count| *count > 250));
        assert!(!prng.bernoulli(0) && prng.bernoulli(PPM));
    }
}
