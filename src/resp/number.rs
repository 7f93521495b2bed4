//! Integers as the protocol writes them, without the formatting machinery.

/// Longest decimal form of an `i64`: its sign and 19 digits.
const I64_DIGITS_MAX: usize = 20;

/// The two digits of every number below 100, one after the other.
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[number * 2] = b'0' + (number / 10) as u8;
        pairs[number * 2 + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

/// Reads a whole decimal integer, in the one form that writing it would give: no sign but `-`, no leading zero,
/// no space. `None` for anything else and for what does not fit.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() < I64_DIGITS_MAX => {}
        _ => return None,
    }
    // At most 19 digits, so the sum stays below 10^19 and fits.
    let mut magnitude = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Appends `number` in decimal.
pub fn write_i64(out: &mut Vec<u8>, number: i64) {
    let mut line = Line::new();
    line.push_i64(number);
    out.extend_from_slice(line.bytes());
}

/// Shows the digits of `number`, as [`write_i64`] writes them.
#[inline]
pub fn with_digits<R>(number: i64, seen: impl FnOnce(&[u8]) -> R) -> R {
    let mut line = Line::new();
    line.push_i64(number);
    seen(line.bytes())
}

/// A short line that is filled from its end, so that it reaches the output with one copy.
pub(crate) struct Line {
    bytes: [u8; Line::BYTES_MAX],
    // Invariant: start <= BYTES_MAX; the line is bytes[start..].
    start: usize,
}

impl Line {
    /// A type byte, a number and an end of line.
    const BYTES_MAX: usize = 1 + I64_DIGITS_MAX + 2;

    /// An empty line.
    #[inline]
    pub(crate) fn new() -> Line {
        Line { bytes: [0; Line::BYTES_MAX], start: Line::BYTES_MAX }
    }

    /// `kind number \r\n`, what every header and every integer reply is.
    #[inline]
    pub(crate) fn header(kind: u8, number: i64) -> Line {
        let mut line = Line::new();
        line.push(b'\n');
        line.push(b'\r');
        line.push_i64(number);
        line.push(kind);
        line
    }

    /// The finished line.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Puts a byte in front.
    #[inline]
    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    /// Puts a number in front.
    #[inline]
    fn push_i64(&mut self, number: i64) {
        let mut rest = number.unsigned_abs();
        while rest >= 100 {
            let pair = (rest % 100) as usize * 2;
            rest /= 100;
            self.push(PAIRS[pair + 1]);
            self.push(PAIRS[pair]);
        }
        let pair = rest as usize * 2;
        self.push(PAIRS[pair + 1]);
        if rest >= 10 {
            self.push(PAIRS[pair]);
        }
        if number < 0 {
            self.push(b'-');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_form_is_read() {
        let good: [(&[u8], i64); 6] = [
            (b"0", 0),
            (b"7", 7),
            (b"-1", -1),
            (b"1000000000", 1_000_000_000),
            (b"9223372036854775807", i64::MAX),
            (b"-9223372036854775808", i64::MIN),
        ];
        for (text, number) in good {
            assert_eq!(parse_i64(text), Some(number));
        }
        let bad: [&[u8]; 14] = [
            b"",
            b"-",
            b"-0",
            b"+1",
            b"01",
            b" 1",
            b"1 ",
            b"1a",
            b"a",
            b"0x1",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"99999999999999999999",
            b"18446744073709551617",
        ];
        for text in bad {
            assert_eq!(parse_i64(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn written_as_the_standard_library_writes(number: i64, small in -200i64..200) {
            for number in [number, small] {
                let mut out = Vec::new();
                write_i64(&mut out, number);
                let expected = number.to_string();
                prop_assert_eq!(&out, expected.as_bytes());
                prop_assert_eq!(parse_i64(&out), Some(number));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..24)) {
            if let Some(number) = parse_i64(&text) {
                let written = number.to_string();
                prop_assert_eq!(written.as_bytes(), &text[..]);
            }
        }
    }
}
