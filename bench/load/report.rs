//! The results of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load::stats::Stats;
use crate::text;

/// From this share of its CPU time on, a thread of the generator may be what limits the rate.
const BUSY_SHARE: f64 = 0.9;
/// From this share of the latency on, the lateness of the generator is worth a word.
const LATE_SHARE: f64 = 0.25;

/// A distribution of times, in µs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// 99.99 % are no longer.
    pub p9999_us: f64,
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
            p9999_us: at(0.9999),
            max_us: us(histogram.max()),
        }
    }
}

/// The results of a run, without those of its warm-up, except for errors.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Sound answers, with those that found nothing.
    pub replies_ok: u64,
    /// Reads that found nothing.
    pub replies_missing: u64,
    /// Commands that failed, in the warm-up too.
    pub errors_count: u64,
    /// How many failed with which text.
    pub errors: BTreeMap<String, u64>,
    /// Commands of an open loop that fell due but were not sent before the end: the rate was beyond the server.
    pub unsent: u64,
    /// Commands of an open loop that waited for room on a connection, which their latency includes.
    pub waited_for_room: u64,
    /// From the end of the warm-up to the last answer, in seconds.
    pub elapsed_s: f64,
    /// Sound answers a second.
    pub ops_per_s: f64,
    /// Of the sound answers. In an open loop, from the time a command was due.
    pub latency: Latency,
    /// The same by the name of the command.
    pub by_command: BTreeMap<String, Latency>,
    /// Of an open loop: from the time a command was sent.
    pub since_sent: Option<Latency>,
    /// Of an open loop: how late the generator sent commands that were due and had room, which their latency includes.
    pub sent_late: Option<Latency>,
    /// The share of their time that the generator's threads were running, 0 to 1.
    pub generator_cpu: Option<f64>,
}

impl Report {
    /// Reads what was counted.
    pub fn of(stats: &Stats) -> Report {
        let all = stats.all_latencies();
        let elapsed_s =
            Duration::from_nanos(stats.last_reply_ns.saturating_sub(stats.measured_from_ns)).as_secs_f64();
        Report {
            replies_ok: all.len(),
            replies_missing: stats.missing,
            errors_count: stats.errors_count(),
            errors: stats.errors().clone(),
            unsent: stats.unsent,
            waited_for_room: stats.waited_for_room,
            elapsed_s,
            ops_per_s: if elapsed_s > 0.0 { all.len() as f64 / elapsed_s } else { 0.0 },
            latency: Latency::of(&all),
            by_command: stats
                .latencies()
                .map(|(kind, of_kind)| (kind.name().to_owned(), Latency::of(of_kind)))
                .collect(),
            since_sent: stats.since_sent().map(Latency::of),
            sent_late: stats.sent_late().map(Latency::of),
            generator_cpu: (stats.thread_ns > 0).then(|| stats.cpu_ns as f64 / stats.thread_ns as f64),
        }
    }

    fn table(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        write!(text, "{:<10}", "latency")?;
        for head in ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"] {
            write!(text, " {head:>9}")?;
        }
        writeln!(text, "  µs")?;
        let mut row = |name: &str, latency: &Latency| {
            let Latency { mean_us, p50_us, p90_us, p99_us, p999_us, p9999_us, max_us, .. } = latency;
            write!(text, "{name:<10}")?;
            for figure in [mean_us, p50_us, p90_us, p99_us, p999_us, p9999_us, max_us] {
                write!(text, " {figure:>9.1}")?;
            }
            writeln!(text)
        };
        row("all", &self.latency)?;
        if self.by_command.len() > 1 {
            for (name, latency) in &self.by_command {
                row(name, latency)?;
            }
        }
        if let Some(since_sent) = &self.since_sent {
            row("since sent", since_sent)?;
        }
        if let Some(late) = &self.sent_late {
            row("sent late", late)?;
        }
        Ok(text)
    }

    /// What the reader should know before believing the figures.
    fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.replies_missing > 0 {
            writeln!(f, "{} reads found nothing: write the keys first with --fill", self.replies_missing)?;
        }
        if self.waited_for_room > 0 {
            let share = 100.0 * self.waited_for_room as f64 / (self.replies_ok + self.errors_count).max(1) as f64;
            let count = self.waited_for_room;
            writeln!(
                f,
                "{count} commands ({share:.1} %) waited for room: the server was slow, or -c and -P are too small"
            )?;
        }
        if self.errors.contains_key("MOVED") {
            writeln!(f, "MOVED: the owner of a key is another server (give --cluster), or has changed")?;
        }
        if self.unsent > 0 {
            writeln!(f, "{} commands fell due but found no room: the rate is beyond the server", self.unsent)?;
        }
        if let Some(late) = self.sent_late.as_ref().filter(|late| late.p99_us >= self.latency.p99_us * LATE_SHARE) {
            let p99 = text::time(late.p99_us);
            writeln!(
                f,
                "the generator itself sent 1 % of the commands {p99} late or more: `since sent` is the server's"
            )?;
        }
        match self.generator_cpu {
            Some(share) if share >= BUSY_SHARE => writeln!(
                f,
                "the generator's threads were busy {:.0} % of the time: the server may be faster (see --threads)",
                100.0 * share
            )?,
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { ops_per_s, replies_ok, elapsed_s, .. } = self;
        let (rate, count) = (text::whole(*ops_per_s), text::whole(*replies_ok as f64));
        writeln!(f, "{rate} ops/s  ({count} sound replies in {elapsed_s:.2} s)")?;
        f.write_str(&self.table()?)?;
        self.write_remarks(f)?;
        write!(f, "{} error{}", self.errors_count, if self.errors_count == 1 { "" } else { "s" })?;
        for (text, count) in &self.errors {
            write!(f, "\n{count:>10}  {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::mix::Kind;

    #[test]
    fn a_report_counts_from_the_end_of_the_warm_up() {
        let mut stats = Stats::new();
        stats.record(Kind::Set, 1_000);
        stats.record(Kind::Get, 3_000);
        (stats.measured_from_ns, stats.last_reply_ns) = (3_000_000_000, 5_000_000_000);
        let report = Report::of(&stats);
        assert_eq!((report.replies_ok, report.ops_per_s), (2, 1.0));
        assert_eq!(report.by_command.keys().collect::<Vec<_>>(), ["get", "set"]);
        assert!((report.latency.max_us - 3.0).abs() < 0.01);
        assert!(report.since_sent.is_none() && report.generator_cpu.is_none());
    }

    #[test]
    fn what_makes_figures_doubtful_is_said() {
        let mut stats = Stats::new();
        stats.record(Kind::Get, 1_000);
        stats.record_errors("MOVED 1 127.0.0.1:1", 1);
        (stats.missing, stats.unsent, stats.waited_for_room) = (1, 2, 1);
        (stats.cpu_ns, stats.thread_ns) = (95, 100);
        let text = Report::of(&stats).to_string();
        for said in ["--fill", "give --cluster", "1 error\n", "beyond the server", "waited for room", "busy 95 %"] {
            assert!(text.contains(said), "{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
