//! Chance from a seed: SplitMix64 (Steele, Lea, Flood, 2014). Enough to keep candidates apart.

use core::time::Duration;

/// A stream of numbers that depends on its seed alone.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A duration in `min .. max`. Both must fit 64 bits of nanoseconds, `min < max`.
    pub(crate) fn duration(&mut self, min: Duration, max: Duration) -> Duration {
        let span = (max - min).as_nanos() as u64;
        min + Duration::from_nanos(self.next() % span)
    }
}
