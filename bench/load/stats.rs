//! What a run has counted, and its report.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::mix::Kind;

/// Latencies above are counted as this one, in ns: ten minutes.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// How many different error texts are told apart.
const ERROR_TEXTS_MAX: usize = 64;
/// What the others are counted under.
const OTHER_ERRORS: &str = "(other errors)";
/// The longest error text that is kept.
const ERROR_TEXT_BYTES_MAX: usize = 200;

/// The counters of one thread, or of all.
pub struct Stats {
    // In ns; one per kind of command, in the order of `Kind::ALL`.
    latencies: Vec<Histogram<u64>>,
    // In ns: how far behind its due time a command was handed to the socket.
    lateness: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    /// Reads that found nothing; they are sound.
    pub missing: u64,
    /// Commands that fell due in time but found no room on any connection before the end.
    pub unsent: u64,
    /// When the last answer came, in ns since the start.
    pub last_reply_ns: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Stats::new()
    }
}

impl Stats {
    /// Nothing counted yet.
    pub fn new() -> Stats {
        let histogram =
            || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("constant bounds that the histogram accepts");
        Stats {
            latencies: Kind::ALL.iter().map(|_| histogram()).collect(),
            lateness: histogram(),
            errors: BTreeMap::new(),
            missing: 0,
            unsent: 0,
            last_reply_ns: 0,
        }
    }

    /// Counts a sound answer.
    pub fn record(&mut self, kind: Kind, latency_ns: u64) {
        if let Some(histogram) = self.latencies.get_mut(kind as usize) {
            histogram.saturating_record(latency_ns.max(1));
        }
    }

    /// Counts how late a command of an open loop was sent.
    pub fn record_lateness(&mut self, late_ns: u64) {
        self.lateness.saturating_record(late_ns.max(1));
    }

    /// Counts `count` commands that failed with this text. Redirections are told apart by their first word only,
    /// since the rest is a slot and an address.
    pub fn record_errors(&mut self, text: &str, count: u64) {
        let redirection = ["MOVED", "ASK"].into_iter().find(|word| text.split(' ').next() == Some(word));
        let text = redirection.unwrap_or(text);
        let text = text.get(..ERROR_TEXT_BYTES_MAX).unwrap_or(text);
        if let Some(counter) = self.errors.get_mut(text) {
            *counter += count;
        } else if count > 0 {
            let text = if self.errors.len() < ERROR_TEXTS_MAX { text } else { OTHER_ERRORS };
            *self.errors.entry(text.to_owned()).or_default() += count;
        }
    }

    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: &Stats) {
        for (ours, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            ours.add(theirs).expect("both have the same bounds");
        }
        self.lateness.add(&other.lateness).expect("both have the same bounds");
        for (text, count) in &other.errors {
            self.record_errors(text, *count);
        }
        self.missing += other.missing;
        self.unsent += other.unsent;
        self.last_reply_ns = self.last_reply_ns.max(other.last_reply_ns);
    }

    /// The report of a run.
    pub fn report(&self) -> Report {
        let mut all = self.lateness.clone();
        all.reset();
        for histogram in &self.latencies {
            all.add(histogram).expect("both have the same bounds");
        }
        let elapsed_s = Duration::from_nanos(self.last_reply_ns).as_secs_f64();
        let used = Kind::ALL.iter().zip(&self.latencies).filter(|(_, histogram)| !histogram.is_empty());
        Report {
            replies_ok: all.len(),
            replies_missing: self.missing,
            errors_count: self.errors.values().sum(),
            errors: self.errors.clone(),
            unsent: self.unsent,
            elapsed_s,
            ops_per_s: if elapsed_s > 0.0 { all.len() as f64 / elapsed_s } else { 0.0 },
            latency: Latency::of(&all),
            by_command: used.map(|(kind, histogram)| (kind.name().to_owned(), Latency::of(histogram))).collect(),
            sent_late: (!self.lateness.is_empty()).then(|| Latency::of(&self.lateness)),
        }
    }
}

/// A distribution of times, in µs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half are no longer.
    pub p50_us: f64,
    /// 90 % are no longer.
    pub p90_us: f64,
    /// 99 % are no longer.
    pub p99_us: f64,
    /// 99.9 % are no longer.
    pub p999_us: f64,
    /// None is longer.
    pub max_us: f64,
}

impl Latency {
    /// Reads a histogram of ns.
    pub fn of(histogram: &Histogram<u64>) -> Latency {
        let us = |ns: u64| ns as f64 / 1_000.0;
        let at = |quantile| us(histogram.value_at_quantile(quantile));
        Latency {
            count: histogram.len(),
            mean_us: histogram.mean() / 1_000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(histogram.max()),
        }
    }
}

/// The results of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Sound answers, with those that found nothing.
    pub replies_ok: u64,
    /// Answers to `GET` that found nothing.
    pub replies_missing: u64,
    /// Commands that failed.
    pub errors_count: u64,
    /// How many failed with which text.
    pub errors: BTreeMap<String, u64>,
    /// Commands of an open loop that fell due but were not sent before the end: the rate was beyond the server.
    pub unsent: u64,
    /// From the start to the last answer, in seconds.
    pub elapsed_s: f64,
    /// Sound answers a second.
    pub ops_per_s: f64,
    /// Of the sound answers.
    pub latency: Latency,
    /// The same by the name of the command.
    pub by_command: BTreeMap<String, Latency>,
    /// Of an open loop: how far behind schedule commands were sent, which their latency includes.
    pub sent_late: Option<Latency>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { ops_per_s, replies_ok, elapsed_s, .. } = self;
        writeln!(f, "{ops_per_s:.0} ops/s  ({replies_ok} sound replies in {elapsed_s:.2} s)")?;
        let mut text = String::new();
        writeln!(
            text,
            "{:<10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}  us",
            "latency", "mean", "p50", "p90", "p99", "p99.9", "max"
        )?;
        let mut row = |name: &str, latency: &Latency| {
            let Latency { mean_us, p50_us, p90_us, p99_us, p999_us, max_us, .. } = latency;
            writeln!(
                text,
                "{name:<10} {mean_us:>10.1} {p50_us:>10.1} {p90_us:>10.1} {p99_us:>10.1} {p999_us:>10.1} {max_us:>10.1}"
            )
        };
        row("all", &self.latency)?;
        if self.by_command.len() > 1 {
            for (name, latency) in &self.by_command {
                row(name, latency)?;
            }
        }
        if let Some(late) = &self.sent_late {
            row("sent late", late)?;
        }
        f.write_str(&text)?;
        if self.replies_missing > 0 {
            writeln!(f, "{} reads found nothing", self.replies_missing)?;
        }
        if self.unsent > 0 {
            writeln!(f, "{} commands fell due but found no room: the rate is beyond the server", self.unsent)?;
        }
        write!(f, "{} errors", self.errors_count)?;
        for (text, count) in &self.errors {
            write!(f, "\n{count:>10}  {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_are_counted_and_bounded() {
        let mut stats = Stats::new();
        stats.record_errors("MOVED 1 127.0.0.1:7001", 1);
        stats.record_errors("MOVED 2 127.0.0.2:7001", 2);
        for idx in 0..1_000 {
            stats.record_errors(&format!("ERR {idx}"), 1);
        }
        let report = stats.report();
        assert_eq!((report.errors["MOVED"], report.errors_count), (3, 1_003));
        assert!(report.errors.len() <= ERROR_TEXTS_MAX + 1);
        assert_eq!(report.errors[OTHER_ERRORS], 1_000 - (ERROR_TEXTS_MAX as u64 - 1));
    }

    #[test]
    fn threads_merge_into_one_report() {
        let (mut all, mut other) = (Stats::new(), Stats::new());
        all.record(Kind::Set, 1_000);
        other.record(Kind::Get, 3_000);
        other.last_reply_ns = 2_000_000_000;
        all.merge(&other);
        let report = all.report();
        assert_eq!((report.replies_ok, report.ops_per_s), (2, 1.0));
        assert_eq!(report.by_command.keys().collect::<Vec<_>>(), ["get", "set"]);
        assert!((report.latency.max_us - 3.0).abs() < 0.01);
    }
}
