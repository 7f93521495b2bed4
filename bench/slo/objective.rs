//! What a service promises: quantiles of its latency, and bounds for them.

use std::fmt;
use std::str::FromStr;

use hdrhistogram::Histogram;

use crate::text;

const OBJECTIVES_MAX: usize = 8;
/// The longest bound, in µs: a minute.
const BOUND_US_MAX: f64 = 60e6;
/// Fewer answers beyond a quantile than this say little about it.
const BEYOND_MIN: f64 = 10.0;

/// A bound for one quantile.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// As the user wrote it, such as `p99.9`.
    pub name: String,
    /// From 0 to 1; 1 is the longest latency.
    pub quantile: f64,
    /// In µs.
    pub bound_us: f64,
}

impl Objective {
    /// The quantile in a histogram of ns, in µs.
    pub fn read(&self, latencies: &Histogram<u64>) -> f64 {
        latencies.value_at_quantile(self.quantile) as f64 / 1e3
    }

    /// How many answers a window needs, so that the quantile means something.
    pub fn replies_min(&self) -> u64 {
        if self.quantile < 1.0 { (BEYOND_MIN / (1.0 - self.quantile)).round() as u64 } else { 1 }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <= {}", self.name, text::time(self.bound_us))
    }
}

/// A service-level objective: bounds that hold together. Not empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo(Vec<Objective>);

impl Slo {
    /// The bounds, in the order in which they were written.
    pub fn objectives(&self) -> &[Objective] {
        &self.0
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, objective) in self.0.iter().enumerate() {
            write!(f, "{}{objective}", if idx > 0 { " and " } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Slo {
    type Err = String;

    /// Reads `p99=2ms` or `p50=300us,p99.9=10ms,max=1s`.
    fn from_str(text: &str) -> Result<Slo, String> {
        let objectives: Vec<Objective> = text.split(',').map(parse_objective).collect::<Result<_, _>>()?;
        if objectives.len() > OBJECTIVES_MAX {
            return Err(format!("{} bounds are listed, of at most {OBJECTIVES_MAX}", objectives.len()));
        }
        Ok(Slo(objectives))
    }
}

fn parse_objective(text: &str) -> Result<Objective, String> {
    let example = "write p99=2ms or p50=300us,p99.9=10ms,max=1s";
    let (name, bound) = text.split_once('=').ok_or_else(|| format!("`{text}` is no bound; {example}"))?;
    let quantile = match name.strip_prefix('p') {
        None if name == "max" => Some(1.0),
        None => None,
        Some(percent) => percent.parse().ok().map(|percent: f64| (percent * 1e6).round() / 1e8),
    };
    let quantile = quantile.filter(|quantile| *quantile > 0.0 && *quantile <= 1.0);
    let quantile = quantile.ok_or_else(|| format!("`{name}` is no quantile; {example}"))?;
    let unit_at = bound.find(|letter: char| letter.is_alphabetic() || letter == 'µ').unwrap_or(bound.len());
    let (number, unit) = bound.split_at(unit_at);
    let unit_us = match unit {
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return Err(format!("`{bound}` lacks a unit, us, ms or s; {example}")),
    };
    let bound_us = number.parse().ok().map(|number: f64| number * unit_us);
    let bound_us = bound_us.filter(|bound_us| *bound_us > 0.0 && *bound_us <= BOUND_US_MAX);
    let bound_us = bound_us.ok_or_else(|| format!("`{bound}` is not above 0 and at most 60s; {example}"))?;
    Ok(Objective { name: name.to_owned(), quantile, bound_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_with_their_units() {
        let slo: Slo = "p50=300us,p99.9=1.5ms,max=1s".parse().unwrap();
        assert_eq!(slo.to_string(), "p50 <= 300 µs and p99.9 <= 1.50 ms and max <= 1.00 s");
        let quantiles: Vec<f64> = slo.objectives().iter().map(|objective| objective.quantile).collect();
        assert_eq!(quantiles, [0.5, 0.999, 1.0]);
        assert_eq!(slo.objectives()[1].replies_min(), 10_000);
        for bad in ["", "p99", "p99=2", "p99=ms", "p0=1ms", "p101=1ms", "q=1ms", "p99=0ms", "p99=2h", "p99=90s"] {
            let said = bad.parse::<Slo>().unwrap_err();
            assert!(said.contains("p99=2ms"), "{bad}: {said}");
        }
    }
}
