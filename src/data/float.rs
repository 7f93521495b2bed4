//! The numbers of `INCRBYFLOAT`.
//!
//! Redis computes them in C's `long double`, which on x86-64 is the 80-bit extended format, and writes the sum
//! with 17 decimals, trailing zeros removed. The 64-bit mantissa is what makes 0.1 + 0.2 print as 0.3: neither an
//! `f64` nor a decimal type rounds in the same places. So the sum is computed in that very format, in software: it
//! comes out as in Redis to the last digit, and the same on every replica, whatever its processor.

use rustc_apfloat::ieee::X87DoubleExtended;
use rustc_apfloat::{Float as _, Round};

/// Longest text that Redis takes for a number.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Exponents beyond this over- or underflow whatever digits stand before them: those span at most
/// [`TEXT_BYTES_MAX`] powers of ten, and the format about 4,950 on either side.
const EXPONENT_MAX: i32 = 4 * TEXT_BYTES_MAX as i32;
/// Digits written behind the point.
const DECIMALS: usize = 17;
/// Longest decimal form: a sign, the 4,933 digits of the largest number, a point and the decimals.
pub(crate) const DECIMAL_BYTES_MAX: usize = 1 + 4_933 + 1 + DECIMALS;
/// `10^DECIMALS`.
const DECIMALS_SCALE: u128 = 10u128.pow(DECIMALS as u32);
/// The place of the mantissa's lowest bit for a biased exponent of 0: bias and mantissa bits.
const EXPONENT_BIAS: i32 = 16_383 + 63;

/// A number in the 80-bit extended format: finite or infinite, never NaN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Float(X87DoubleExtended);

impl Float {
    pub(crate) const ZERO: Float = Float(X87DoubleExtended::ZERO);

    /// The number nearest to `text`, in any form that C's `strtold` takes, with nothing before it or behind it:
    /// decimal or hexadecimal, with or without an exponent, or an infinity. `None` if it is anything else, or so
    /// large or small that it is infinite or zero only by rounding.
    pub(crate) fn parse(text: &[u8]) -> Option<Float> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let number = parse_magnitude(magnitude)?;
        Some(Float(if negative { -number } else { number }))
    }

    /// The sum, or `None` if it is not finite.
    pub(crate) fn add(self, other: Float) -> Option<Float> {
        let sum = self.0.add_r(other.0, Round::NearestTiesToEven).value;
        sum.is_finite().then_some(Float(sum))
    }

    /// The finite number in decimal, rounded to 17 decimals, without an exponent, trailing zeros or a sign on
    /// zero.
    pub(crate) fn to_decimal(self) -> Vec<u8> {
        // Sign, 15 bits of biased exponent, 64 bits of mantissa with its leading one.
        let bits = self.0.to_bits();
        let mantissa = bits as u64;
        // Zero and the subnormals have the exponent of the smallest normal numbers.
        let exponent = ((bits >> 64) as i32 & 0x7fff).max(1) - EXPONENT_BIAS;
        let mut out = Vec::with_capacity(32);
        if self.0.is_negative() {
            out.push(b'-');
        }
        if exponent >= 0 {
            push_scaled(&mut out, mantissa, exponent as u32);
        } else {
            push_fraction(&mut out, mantissa, exponent.unsigned_abs());
        }
        if out == b"-0" {
            out.remove(0);
        }
        out
    }
}

fn parse_magnitude(text: &[u8]) -> Option<X87DoubleExtended> {
    if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
        return Some(X87DoubleExtended::INFINITY);
    }
    let (radix_prefix, exponent_mark, rest) = match text {
        [b'0', b'x' | b'X', rest @ ..] => ("0x", b'p', rest),
        rest => ("", b'e', rest),
    };
    let is_digit: fn(&u8) -> bool = if radix_prefix.is_empty() { u8::is_ascii_digit } else { u8::is_ascii_hexdigit };
    let (digits, exponent) = match rest.iter().position(|byte| byte.to_ascii_lowercase() == exponent_mark) {
        Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next().unwrap_or_default();
    let mut all = whole.iter().chain(fraction);
    if all.clone().next().is_none() || !all.clone().all(is_digit) {
        return None;
    }
    if all.all(|digit| *digit == b'0') {
        return Some(X87DoubleExtended::ZERO);
    }
    let (whole, fraction) = (str::from_utf8(whole).ok()?, str::from_utf8(fraction).ok()?);
    let canonical = format!("{radix_prefix}0{whole}.{fraction}0{}{exponent}", char::from(exponent_mark));
    let number = X87DoubleExtended::from_str_r(&canonical, Round::NearestTiesToEven).ok()?.value;
    (number.is_finite() && number.is_non_zero()).then_some(number)
}

/// The exponent, clamped to where it makes no difference any more.
fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0, |sum: i32, digit| (sum * 10 + i32::from(digit - b'0')).min(EXPONENT_MAX));
    Some(if negative { -magnitude } else { magnitude })
}

/// Appends `mantissa * 2^exponent`, which is an integer.
fn push_scaled(out: &mut Vec<u8>, mantissa: u64, exponent: u32) {
    const LIMB_SCALE: u64 = 1_000_000_000;
    // Limbs of 32 bits, lowest first.
    let mut limbs = vec![0u32; exponent as usize / 32];
    let shifted = u128::from(mantissa) << (exponent % 32);
    limbs.extend([shifted as u32, (shifted >> 32) as u32, (shifted >> 64) as u32]);
    // Nine decimal digits at a time, lowest first.
    let mut chunks = Vec::new();
    while let Some(highest) = limbs.last() {
        if *highest == 0 {
            limbs.pop();
            continue;
        }
        let remainder = limbs.iter_mut().rev().fold(0u64, |remainder, limb| {
            let dividend = remainder << 32 | u64::from(*limb);
            *limb = (dividend / LIMB_SCALE) as u32;
            dividend % LIMB_SCALE
        });
        chunks.push(remainder);
    }
    let mut chunks = chunks.iter().rev();
    out.extend_from_slice(chunks.next().unwrap_or(&0).to_string().as_bytes());
    chunks.for_each(|chunk| out.extend_from_slice(format!("{chunk:09}").as_bytes()));
}

/// Appends `mantissa / 2^shift`, rounded to [`DECIMALS`] decimals, half to even. `shift` is at least 1.
fn push_fraction(out: &mut Vec<u8>, mantissa: u64, shift: u32) {
    let mantissa = u128::from(mantissa);
    let whole = mantissa.checked_shr(shift).unwrap_or(0);
    let rest = mantissa - whole.checked_shl(shift).unwrap_or(0);
    // Below 2^64 * 10^17 < 2^121: no bit is lost.
    let scaled = rest * DECIMALS_SCALE;
    let mut decimals = scaled.checked_shr(shift).unwrap_or(0);
    // From 2^122 on a half is more than there can be.
    if shift < 122 {
        let remainder = scaled - (decimals << shift);
        let half = 1u128 << (shift - 1);
        if remainder > half || (remainder == half && decimals % 2 == 1) {
            decimals += 1;
        }
    }
    let whole = whole + decimals / DECIMALS_SCALE;
    out.extend_from_slice(format!("{whole}.{:0DECIMALS$}", decimals % DECIMALS_SCALE).as_bytes());
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let sum = Float::parse(a.as_bytes())?.add(Float::parse(b.as_bytes())?)?;
        Some(String::from_utf8(sum.to_decimal()).unwrap())
    }

    #[test]
    fn sums_print_as_in_redis() {
        let cases = [
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0e3", "0", "3000"),
            ("0.1", "0.2", "0.3"),
            ("1", "-1", "0"),
            ("-0", "-0", "0"),
            ("1e-18", "0", "0"),
            ("-1e-18", "0", "0"),
            ("1e19", "1", "10000000000000000001"),
            ("1e20", "1", "100000000000000000000"),
            ("0x1.8p1", "+.5", "3.5"),
            ("0xA", "5.", "15"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("17179869184", "1.5", "17179869185.5"),
            ("0.99999999999999999999", "0", "1"),
        ];
        for (a, b, expected) in cases {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn only_what_strtold_takes_whole_is_a_number() {
        let bad = [
            "", " 1", "1 ", "-", ".", "-.", "e5", "1e", "1e+", "1.2.3", "0x", "0x.", "0x1p", "0xg", "nan", "-nan",
            "infi", "1e5000", "-1e5000", "1e-5000", "1_0", "1f", "++1", "1e1.5", "abc", "1\0",
        ];
        for text in bad {
            assert!(Float::parse(text.as_bytes()).is_none(), "{text:?}");
        }
        let good = ["inf", "-INFINITY", "0e99999999999999999999", "1e4932", "1e-4950", "+1", "00012", "0X1P-3"];
        for text in good {
            assert!(Float::parse(text.as_bytes()).is_some(), "{text:?}");
        }
        assert!(Float::parse("9".repeat(TEXT_BYTES_MAX).as_bytes()).is_none(), "overflow");
        assert!(Float::parse("0".repeat(TEXT_BYTES_MAX + 1).as_bytes()).is_none(), "too long");
    }

    #[test]
    fn infinite_sums_are_refused() {
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("inf", "-inf"), None);
        assert_eq!(sum("1e4932", "1e4932").as_deref(), None);
    }

    #[test]
    fn large_numbers_keep_every_digit() {
        let power = sum("0x1p16383", "0").unwrap();
        assert_eq!(power.len(), 4932);
        assert!(power.starts_with("5948657476786158825"), "2^16383");
        assert!(power.ends_with("8"));
        assert_eq!(sum("0x1p127", "0").unwrap(), (1u128 << 127).to_string());
    }

    #[test]
    fn no_decimal_form_is_longer_than_the_bound() {
        let largest = X87DoubleExtended::largest();
        let smallest = X87DoubleExtended::SMALLEST;
        let mixed = X87DoubleExtended::from_str_r("123456789.1", Round::NearestTiesToEven).unwrap().value;
        let longest = [largest, -largest, smallest, -smallest, -mixed].map(|number| Float(number).to_decimal().len());
        assert_eq!(longest[1], 1 + 4_933);
        assert!(longest.iter().all(|len| *len <= DECIMAL_BYTES_MAX));
    }
}
