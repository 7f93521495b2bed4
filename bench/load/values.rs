//! Values that say what they are.
//!
//! A value of 32 bytes or more is, in this order:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | the number of its key, in hex digits |
//! | 8..16 | its tag, in hex digits: drawn anew for every write |
//! | 16..32 | the hash of key, tag and length, in hex digits |
//! | 32.. | filler: a text without a pattern, repeated every 16 KiB (or as asked for), from an offset that the hash gives |
//!
//! A shorter value is the first of the hex digits of two hashes of its key and length. So any run can check what any
//! other run with the same period has written: a value that is torn, mixed up of two writes, cut, or under another key shows.

use std::sync::Arc;

use crate::load::rng::{Rng, mix};

const HEAD_BYTES: usize = 32;
/// The period of the filler, unless another one is asked for.
const FILLER_BYTES: usize = 16 * 1024;
/// The two hex digits of each byte. Every command of a run writes or reads 32 digits, so they come from a table.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};
/// What each hex digit stands for, and [`NO_DIGIT`] for every other byte.
const DIGIT_VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut byte = 0;
    while byte < 16 {
        values[HEX[byte][1] as usize] = byte as u8;
        byte += 1;
    }
    values
};
const NO_DIGIT: u8 = 0xFF;

/// What every value is made of.
#[derive(Clone, Debug)]
pub struct Values {
    // Invariant: not empty.
    filler: Arc<[u8]>,
}

impl Default for Values {
    fn default() -> Self {
        Values::new()
    }
}

impl Values {
    /// The filler is the same in every process.
    pub fn new() -> Values {
        Values::with_period(FILLER_BYTES)
    }

    /// A filler that repeats after so many bytes, one at least: a store that compresses finds nothing in values that it sees
    /// together if the period is much longer than they are.
    pub fn with_period(bytes: usize) -> Values {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut rng = Rng::new(0x0F11_E412);
        Values { filler: (0..bytes.max(1)).map(|_| LETTERS[(rng.bits() & 63) as usize]).collect() }
    }

    /// Appends the value of `len` bytes that the write with this tag gives a key.
    pub fn append(&self, key: u32, tag: u32, len: usize, out: &mut Vec<u8>) {
        let (head, hash) = head(key, tag, len);
        out.extend_from_slice(head.get(..len).unwrap_or(&head));
        for piece in self.pieces(hash, len.saturating_sub(HEAD_BYTES)) {
            out.extend_from_slice(piece);
        }
    }

    /// Makes sure that a value is one that was written under this key.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, key: u32, value: &[u8]) -> Result<(), &'static str> {
        const FOREIGN: &str = "a value was read that this program did not write (write the keys with --fill, or leave \
             values unread with --no-check)";
        let Some((given, tail)) = value.split_at_checked(HEAD_BYTES) else {
            let sound = head(key, 0, value.len()).0.starts_with(value);
            return if sound { Ok(()) } else { Err(FOREIGN) };
        };
        let (Some(given_key), Some(tag)) = (parse_hex(&given[..8]), parse_hex(&given[8..16])) else {
            return Err(FOREIGN);
        };
        if head(given_key, tag, value.len()).0 != given {
            return Err("a value was read whose checksum or length is wrong: it is torn or mixed up");
        }
        if given_key != key {
            return Err("a value was read that was written under another key");
        }
        let mut rest = tail;
        for piece in self.pieces(hash_of(key, tag, value.len()), tail.len()) {
            match rest.strip_prefix(piece) {
                Some(behind) => rest = behind,
                None => return Err("a value was read whose content is wrong: it is torn or mixed up"),
            }
        }
        Ok(())
    }

    /// The filler of a value with this hash, in pieces that are `len` bytes long together.
    fn pieces(&self, hash: u64, len: usize) -> impl Iterator<Item = &[u8]> {
        let mut at = hash as usize % self.filler.len();
        let mut left = len;
        std::iter::from_fn(move || {
            let piece = self.filler.get(at..self.filler.len().min(at + left)).filter(|piece| !piece.is_empty())?;
            left -= piece.len();
            at = 0;
            Some(piece)
        })
    }
}

fn hash_of(key: u32, tag: u32, len: usize) -> u64 {
    mix(mix((u64::from(key) << 32) | u64::from(tag)).wrapping_add(len as u64))
}

/// The first bytes of a value, and its hash.
fn head(key: u32, tag: u32, len: usize) -> ([u8; HEAD_BYTES], u64) {
    let hash = hash_of(key, if len < HEAD_BYTES { 0 } else { tag }, len);
    let first = if len < HEAD_BYTES { mix(!hash) } else { (u64::from(key) << 32) | u64::from(tag) };
    let mut head = [0; HEAD_BYTES];
    let bytes = first.to_be_bytes().into_iter().chain(hash.to_be_bytes());
    for (pair, byte) in head.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
    (head, hash)
}

/// The number that eight lower-case hex digits give.
fn parse_hex(digits: &[u8]) -> Option<u32> {
    let (number, seen) = digits.iter().fold((0u32, 0u8), |(number, seen), digit| {
        let value = DIGIT_VALUES[usize::from(*digit)];
        ((number << 4) | u32::from(value & 15), seen | value)
    });
    (seen < 16).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: u32, tag: u32, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        Values::new().append(key, tag, len, &mut out);
        assert_eq!(out.len(), len);
        out
    }

    #[test]
    fn what_was_written_is_sound_whatever_its_length() {
        let values = Values::new();
        for len in (1..80).chain([255, 256, 4_096, 16_384, 16_416, 40_000]) {
            for (key, tag) in [(0, 0), (7, 1), (u32::MAX, u32::MAX), (123, 0xDEAD_BEEF)] {
                assert_eq!(values.check(key, &value(key, tag, len)), Ok(()), "{len} bytes");
            }
        }
    }

    #[test]
    fn every_damaged_byte_shows() {
        let values = Values::new();
        for len in [1, 8, 16, 31, 32, 33, 100, 20_000] {
            let sound = value(9, 77, len);
            for at in (0..len).step_by(if len > 1_000 { 511 } else { 1 }) {
                let mut damaged = sound.clone();
                damaged[at] ^= 1;
                assert!(values.check(9, &damaged).is_err(), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn other_keys_other_lengths_and_mixtures_show() {
        let values = Values::new();
        let (one, other) = (value(9, 1, 200), value(9, 2, 200));
        assert!(values.check(10, &one).unwrap_err().contains("another key"));
        assert!(values.check(9, &one[..199]).unwrap_err().contains("length"));
        let torn = [&one[..100], &other[100..]].concat();
        assert!(values.check(9, &torn).unwrap_err().contains("content is wrong"));
        assert!(values.check(9, b"hello").unwrap_err().contains("--no-check"));
        assert!(values.check(9, &[b'x'; 64]).unwrap_err().contains("--no-check"));
        assert!(values.check(10, &value(9, 1, 20)).is_err(), "short values are checked too");
        assert!(values.check(9, &value(9, 1, 20)[..19]).is_err(), "a short value that was cut");
    }
}
