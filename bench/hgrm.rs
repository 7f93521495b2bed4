//! The percentile distribution that HdrHistogram's tools read, in ms.

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// How many lines there are for each halving of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;
const NS_PER_MS: f64 = 1e6;

/// Writes a histogram of ns.
///
/// # Errors
/// Those of `out`.
pub fn write(latencies: &Histogram<u64>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut count = 0;
    for step in latencies.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        let (value_ms, quantile) = (step.value_iterated_to() as f64 / NS_PER_MS, step.quantile_iterated_to());
        write!(out, "{value_ms:>12.3} {quantile:>14.12} {count:>10}")?;
        if quantile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean_ms, deviation_ms) = (latencies.mean() / NS_PER_MS, latencies.stdev() / NS_PER_MS);
    writeln!(out, "#[Mean    = {mean_ms:>12.3}, StdDeviation   = {deviation_ms:>12.3}]")?;
    let (max_ms, total) = (latencies.max() as f64 / NS_PER_MS, latencies.len());
    writeln!(out, "#[Max     = {max_ms:>12.3}, Total count    = {total:>12}]")?;
    let (buckets, sub_buckets) = buckets(latencies);
    writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]")
}

/// How the histogram is laid out, as HdrHistogram counts it: sub-buckets of one bucket hold two of the largest number
/// that its digits can tell from the next, and each further bucket doubles the range.
fn buckets(latencies: &Histogram<u64>) -> (u32, u64) {
    let sub_buckets = (2 * 10u64.pow(u32::from(latencies.sigfig()))).next_power_of_two();
    let mut buckets = 1;
    let mut covered = sub_buckets;
    while covered <= latencies.high() {
        buckets += 1;
        covered = covered.saturating_mul(2);
    }
    (buckets, sub_buckets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::stats::histogram;

    /// A line of the distribution, read as a plotter would.
    fn parse(line: &str) -> (f64, f64, u64, Option<f64>) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let inverse = fields.get(3).map(|inverse| inverse.parse().unwrap());
        (fields[0].parse().unwrap(), fields[1].parse().unwrap(), fields[2].parse().unwrap(), inverse)
    }

    #[test]
    fn a_plotter_reads_back_what_was_recorded() {
        let mut latencies = histogram();
        for value in 1..=100_000u64 {
            latencies.record(value * 1_000).unwrap();
        }
        let mut out = Vec::new();
        write(&latencies, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let mut lines = text.lines();
        assert_eq!(
            lines.next().unwrap().split_ascii_whitespace().collect::<Vec<_>>().join(" "),
            "Value Percentile TotalCount 1/(1-Percentile)"
        );
        assert_eq!(lines.next(), Some(""));
        let rows: Vec<_> = text.lines().skip(2).filter(|line| !line.starts_with('#')).map(parse).collect();
        assert!(rows.len() > 50, "{text}");
        for pair in rows.windows(2) {
            assert!(pair[0].0 <= pair[1].0 && pair[0].1 < pair[1].1 && pair[0].2 <= pair[1].2, "{pair:?}");
        }
        for (value_ms, quantile, count, inverse) in &rows {
            assert!((value_ms / (quantile * 100.0).max(0.001) - 1.0).abs() < 0.01, "{value_ms} at {quantile}");
            assert!((*count as f64 / 1e5 - quantile).abs() < 0.002, "{count} at {quantile}");
            assert_eq!(inverse.is_none(), *quantile == 1.0);
        }
        assert_eq!((rows.last().unwrap().1, rows.last().unwrap().2), (1.0, 100_000));
        let facts: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with("#["))
            .flat_map(|line| {
                line.trim_matches(['#', '[', ']']).split(',').map(|fact| fact.split('=').nth(1).unwrap())
            })
            .map(|number| number.trim().parse().unwrap())
            .collect();
        assert!((facts[0] - 50.0).abs() < 0.1 && (facts[2] - 100.0).abs() < 0.1, "{facts:?}");
        assert_eq!((facts[3], facts[5]), (100_000.0, 2_048.0));
    }

    #[test]
    fn an_empty_histogram_is_written_too() {
        let mut out = Vec::new();
        write(&histogram(), &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("Total count    =            0]"));
    }
}
