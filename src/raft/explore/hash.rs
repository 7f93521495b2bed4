//! Hashes that are quick and the same in every run.

use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Debug, Write as _};
use std::hash::{BuildHasherDefault, Hasher};

/// For maps whose keys are a few small numbers.
pub(super) type Quick = BuildHasherDefault<Mix>;

/// Multiplies and folds each word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mix(u64);

impl Mix {
    pub(super) fn mix(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64);
    }
}

/// Feeds text to a hash.
struct Text(DefaultHasher);

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// A hash of all that a thing shows of itself. Derived `Debug` shows every field, and one that is added later too.
pub(super) fn digest(thing: &dyn Debug) -> u64 {
    let mut text = Text(DefaultHasher::new());
    write!(text, "{thing:?}").expect("a hash takes any text");
    text.0.finish()
}
