//! How long values are.

use std::fmt;
use std::str::FromStr;

use crate::load::rng::Rng;
use crate::load::zipf::Zipf;

/// The longest value, that of Coracle.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most lengths of a list.
const LISTED_MAX: usize = 64;
const WEIGHT_MAX: u32 = 1_000_000;
/// The skew of [`ValueSizes::Zipf`], as in YCSB.
const THETA: f64 = 0.99;

/// A distribution of lengths in bytes. Every length lies within 1 and [`VALUE_BYTES_MAX`].
#[derive(Clone, Debug)]
pub enum ValueSizes {
    /// All alike.
    Fixed(usize),
    /// Each length from the first to the last as likely as any other.
    Uniform(usize, usize),
    /// From the first to the last; the shorter the likelier, by Zipf's law.
    Zipf(usize, usize, Zipf),
    /// Lengths and their weights, none of which is 0, and the sum of the weights.
    Weighted(Vec<(usize, u32)>, u32),
}

impl ValueSizes {
    /// Draws a length.
    pub fn draw(&self, rng: &mut Rng) -> usize {
        match self {
            ValueSizes::Fixed(len) => *len,
            ValueSizes::Uniform(min, max) => min + rng.below((max - min) as u32 + 1) as usize,
            ValueSizes::Zipf(min, _, zipf) => min + zipf.draw(rng) as usize,
            ValueSizes::Weighted(sizes, total) => {
                let mut ticket = rng.below(*total);
                for (len, weight) in sizes {
                    match ticket.checked_sub(*weight) {
                        Some(left) => ticket = left,
                        None => return *len,
                    }
                }
                unreachable!("a ticket is below the sum of the weights")
            }
        }
    }
}

impl fmt::Display for ValueSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueSizes::Fixed(len) => write!(f, "{len}"),
            ValueSizes::Uniform(min, max) => write!(f, "{min}..{max}"),
            ValueSizes::Zipf(min, max, _) => write!(f, "zipf:{min}..{max}"),
            ValueSizes::Weighted(sizes, _) => {
                for (idx, (len, weight)) in sizes.iter().enumerate() {
                    write!(f, "{}{len}={weight}", if idx > 0 { "," } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for ValueSizes {
    type Err = String;

    /// Reads `256`, `16..4096`, `zipf:16..4096` or `64=9,1024=1`. Lengths may end in `k` or `m`, for KiB and MiB.
    fn from_str(text: &str) -> Result<ValueSizes, String> {
        let range = |text: &str| -> Result<Option<(usize, usize)>, String> {
            let Some((min, max)) = text.split_once("..") else { return Ok(None) };
            let (min, max) = (length(min)?, length(max)?);
            if min > max { Err(format!("the range `{text}` ends before it begins")) } else { Ok(Some((min, max))) }
        };
        if let Some(text) = text.strip_prefix("zipf:") {
            let range = range(text)?.ok_or_else(|| format!("`{text}` is no range; write zipf:16..4096"))?;
            let zipf = Zipf::new((range.1 - range.0) as u32 + 1, THETA);
            return Ok(ValueSizes::Zipf(range.0, range.1, zipf));
        }
        if let Some((min, max)) = range(text)? {
            return Ok(ValueSizes::Uniform(min, max));
        }
        if !text.contains('=') {
            return length(text).map(ValueSizes::Fixed);
        }
        let mut sizes = Vec::new();
        for part in text.split(',') {
            let (len, weight) = part.split_once('=').ok_or_else(|| format!("`{part}` has no weight; write 64=9"))?;
            let weight: Option<u32> = weight.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
            let weight = weight.ok_or_else(|| format!("the weight in `{part}` is not within 1 and {WEIGHT_MAX}"))?;
            sizes.push((length(len)?, weight));
        }
        if sizes.len() > LISTED_MAX {
            return Err(format!("{} lengths are listed, of at most {LISTED_MAX}", sizes.len()));
        }
        let total = sizes.iter().map(|(_, weight)| weight).sum();
        Ok(ValueSizes::Weighted(sizes, total))
    }
}

fn length(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1024),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1024 * 1024),
        _ => (text, 1),
    };
    let number: usize = digits.parse().map_err(|_| {
        format!("`{text}` is not a length; write 256, 4k, 16..4096, zipf:16..4096 or 64=9,1024=1 (weights)")
    })?;
    let len = number.saturating_mul(unit);
    if (1..=VALUE_BYTES_MAX).contains(&len) {
        Ok(len)
    } else {
        Err(format!("a length of {text} is not within 1 and {VALUE_BYTES_MAX} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(text: &str) -> Vec<usize> {
        let sizes: ValueSizes = text.parse().unwrap();
        assert_eq!(sizes.to_string().parse::<ValueSizes>().unwrap().to_string(), sizes.to_string(), "{text}");
        let mut rng = Rng::new(11);
        (0..20_000).map(|_| sizes.draw(&mut rng)).collect()
    }

    #[test]
    fn lengths_are_drawn_as_asked_for() {
        assert!(draws("4k").iter().all(|len| *len == 4_096));
        let uniform = draws("10..19");
        for len in 10..20 {
            let share = uniform.iter().filter(|drawn| **drawn == len).count();
            assert!((1_800..2_200).contains(&share), "{len}: {share}");
        }
        let weighted = draws("64=9,1024=1");
        assert!(weighted.iter().all(|len| [64, 1_024].contains(len)));
        let short = weighted.iter().filter(|len| **len == 64).count();
        assert!((17_700..18_300).contains(&short), "{short}");
        let skewed = draws("zipf:100..1099");
        assert!(skewed.iter().all(|len| (100..1_100).contains(len)));
        let (first, second) = (100, 101);
        let count = |len| skewed.iter().filter(|drawn| **drawn == len).count() as f64;
        assert!((1.8..2.2).contains(&(count(first) / count(second))), "{} {}", count(first), count(second));
    }

    #[test]
    fn what_is_no_length_is_refused_with_a_hint() {
        for bad in ["", "0", "x", "9m", "8..4", "zipf:8", "64=0", "64=1,2", "1..", "-1"] {
            assert!(bad.parse::<ValueSizes>().is_err(), "{bad}");
        }
        assert!("large".parse::<ValueSizes>().unwrap_err().contains("zipf:16..4096"));
    }
}
