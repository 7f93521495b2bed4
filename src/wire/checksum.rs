//! Checksums of bytes of which some were looked at before.
//!
//! The CRC-32 of two runs of bytes, one behind the other, follows from those of both and the length of the second: it is `crc(first) · x^(8 · len)
//! mod P` plus `crc(second)`, in polynomials over GF(2), where P is that of CRC-32 (as in zlib's `crc32_combine`). So what was summed once is not
//! looked at again by whoever sums it with something before and behind.
//!
//! Numbers stand reflected, as CRC-32 has them: the highest bit is the coefficient of x^0.

use crc32fast::Hasher;

const POLYNOMIAL: u32 = 0xEDB8_8320;
/// x^0 and x^8.
const ONE: u32 = 1 << 31;
const X8: u32 = ONE >> 8;

/// `POWERS[n][b]` is x^(8 · b · 256^n) mod P: that many zero bytes behind something.
static POWERS: [[u32; 256]; 4] = powers();
/// `REDUCTION[n][b]` is the byte `b` with `n` more bytes behind it, mod P: four of them are what stands beyond x^31 of a product.
static REDUCTION: [[u32; 256]; 4] = reduction();

/// The CRC-32 of a run of bytes, and what its length does to that of the bytes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    crc: u32,
    // Invariant: x^(8 · length) mod P.
    shift: u32,
}

impl Checksum {
    /// Of so many bytes with this CRC-32.
    ///
    /// # Panics
    /// If there are 4 GiB of them or more.
    pub fn new(crc: u32, len: usize) -> Checksum {
        let len = u32::try_from(len).expect("whatever is summed fits a frame or a block");
        Checksum { crc, shift: shift_by(len) }
    }

    /// The CRC-32 of bytes of which that is `before`, with these behind them.
    fn behind(self, before: u32) -> u32 {
        multiply(before, self.shift) ^ self.crc
    }
}

/// A CRC-32 in the making: of all that was added so far, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Crc(Hasher);

impl Crc {
    /// Adds bytes.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds bytes that were summed before.
    pub fn add_summed(&mut self, checksum: Checksum) {
        self.0 = Hasher::new_with_initial(checksum.behind(self.0.clone().finalize()));
    }

    /// Adds so many bytes with this CRC-32.
    #[inline]
    pub fn add_crc(&mut self, crc: u32, len: usize) {
        if self.is_zero() {
            // As behind no bytes at all.
            self.0 = Hasher::new_with_initial(crc);
        } else {
            self.add_summed(Checksum::new(crc, len));
        }
    }

    fn is_zero(&self) -> bool {
        self.0.clone().finalize() == 0
    }

    /// The CRC-32 of all of it.
    #[inline]
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

fn shift_by(len: u32) -> u32 {
    let [byte, higher @ ..] = len.to_le_bytes();
    let shift = POWERS[0][usize::from(byte)];
    let powers = POWERS[1..].iter().zip(higher).filter(|(_, byte)| *byte > 0);
    powers.fold(shift, |shift, (powers, byte)| multiply(shift, powers[usize::from(byte)]))
}

/// The product modulo P.
fn multiply(one: u32, other: u32) -> u32 {
    // 63 coefficients, from the highest bit on.
    let product = product(one, other) << 1;
    let [a, b, c, d] = (product as u32).to_le_bytes().map(usize::from);
    (product >> 32) as u32 ^ REDUCTION[3][a] ^ REDUCTION[2][b] ^ REDUCTION[1][c] ^ REDUCTION[0][d]
}

/// The product of two polynomials. Each is split into four of which the coefficients lie four bits apart, so that the sums in a product of
/// integers, 8 at most, carry nothing into the next coefficient.
fn product(one: u32, other: u32) -> u64 {
    const MASKS: [u64; 4] =
        [0x1111_1111_1111_1111, 0x2222_2222_2222_2222, 0x4444_4444_4444_4444, 0x8888_8888_8888_8888];
    let [a, b, c, d] = MASKS.map(|mask| u64::from(one) & mask);
    let [e, f, g, h] = MASKS.map(|mask| u64::from(other) & mask);
    let sums = [
        (a * e) ^ (b * h) ^ (c * g) ^ (d * f),
        (a * f) ^ (b * e) ^ (c * h) ^ (d * g),
        (a * g) ^ (b * f) ^ (c * e) ^ (d * h),
        (a * h) ^ (b * g) ^ (c * f) ^ (d * e),
    ];
    sums[0] & MASKS[0] | sums[1] & MASKS[1] | sums[2] & MASKS[2] | sums[3] & MASKS[3]
}

const fn times_x(number: u32) -> u32 {
    if number & 1 == 0 { number >> 1 } else { (number >> 1) ^ POLYNOMIAL }
}

/// As [`multiply`], for when the program is built.
const fn multiply_slowly(one: u32, other: u32) -> u32 {
    let (mut sum, mut shifted, mut bit) = (0, other, ONE);
    while bit > 0 {
        if one & bit != 0 {
            sum ^= shifted;
        }
        shifted = times_x(shifted);
        bit >>= 1;
    }
    sum
}

const fn powers() -> [[u32; 256]; 4] {
    let (mut powers, mut base, mut n) = ([[ONE; 256]; 4], X8, 0);
    while n < powers.len() {
        let mut byte = 1;
        while byte < 256 {
            powers[n][byte] = multiply_slowly(powers[n][byte - 1], base);
            byte += 1;
        }
        base = multiply_slowly(powers[n][255], base);
        n += 1;
    }
    powers
}

const fn reduction() -> [[u32; 256]; 4] {
    let mut reduction = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let (mut number, mut shifts) = (byte as u32, 0);
        while shifts < 32 {
            number = times_x(number);
            shifts += 1;
            if shifts % 8 == 0 {
                reduction[shifts / 8 - 1][byte] = number;
            }
        }
        byte += 1;
    }
    reduction
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn products_are_those_of_the_definition() {
        let mut number = 1u32;
        for _ in 0..10_000 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let other = number.rotate_left(number % 31).wrapping_mul(2_654_435_761);
            assert_eq!(multiply(number, other), multiply_slowly(number, other), "{number:x} {other:x}");
        }
        for (one, other) in [(u32::MAX, u32::MAX), (0, 7), (ONE, 7), (1, 1), (u32::MAX, 1)] {
            assert_eq!(multiply(one, other), multiply_slowly(one, other), "{one:x} {other:x}");
        }
    }

    #[test]
    fn lengths_shift_as_so_many_zero_bytes_do() {
        let mut shifted = ONE;
        for len in 0..70_000 {
            assert_eq!(shift_by(len), shifted, "{len}");
            shifted = multiply_slowly(shifted, X8);
        }
        assert_eq!(shift_by(1 << 24), multiply(shift_by(1 << 23), shift_by(1 << 23)));
        assert_eq!(shift_by(u32::MAX), multiply(shift_by(u32::MAX - 70_000), shift_by(70_000)));
    }

    #[test]
    fn what_was_summed_before_counts_as_if_it_were_looked_at() {
        let all = bytes(300_000);
        for (first, second) in [(0, 0), (0, 9), (1, 0), (1, 1), (52, 4_130), (4_096, 255), (7, 256), (9, 70_001)] {
            let end = first + second;
            let mut crc = Crc::default();
            crc.add(&all[..first]);
            crc.add_crc(crc32fast::hash(&all[first..end]), second);
            crc.add(&all[end..end + 100]);
            crc.add_summed(Checksum::new(crc32fast::hash(&all[end + 100..]), all.len() - end - 100));
            assert_eq!(crc.finish(), crc32fast::hash(&all), "{first} and {second} bytes");
        }
    }

    #[test]
    fn a_flipped_bit_changes_the_sum() {
        let all = bytes(2_000);
        let sum_of = |middle: &[u8]| {
            let mut crc = Crc::default();
            crc.add(b"before");
            crc.add_crc(crc32fast::hash(middle), middle.len());
            crc.finish()
        };
        let sum = sum_of(&all);
        for bit in 0..all.len() * 8 {
            let mut broken = all.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum_of(&broken), sum, "bit {bit} flipped");
        }
    }
}
