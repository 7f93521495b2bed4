//! Hashes for the tables of a search: the same in every process, so that a search goes the same way, and cheap for keys that are
//! a few bytes long.

use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Odd, and half of its bits are set: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes hashers for a `HashMap`.
pub(super) type FixedHashes = BuildHasherDefault<FixedHasher>;

/// Hashes alike in every process.
#[derive(Default)]
pub(super) struct FixedHasher(u64);

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, number: usize) {
        // Lengths and variants stand before bytes, which mix them.
        self.0 = (self.0 ^ number as u64).wrapping_mul(MULTIPLIER);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}
