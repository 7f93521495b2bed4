//! What a run looks like while it goes on, on stderr.

use std::io::IsTerminal;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::stats::histogram;
use crate::load::timeline::{Point, View};
use crate::text;

/// How often a line is printed where there is no terminal, in seconds.
const LINE_INTERVAL_S: f64 = 1.0;
/// How many windows the sparkline shows.
const SPARKLINE_WIDTH: usize = 24;
const TICK_INTERVAL: Duration = Duration::from_millis(125);

/// Where it is shown.
enum Sink {
    /// One line, written over and over.
    Terminal(ProgressBar),
    /// A line every second.
    Lines,
    Nowhere,
}

/// Shows windows as they come.
pub struct Progress {
    sink: Sink,
    label: String,
    has_lines: bool,
    // How long measuring takes, if that is known.
    span: Option<Duration>,
    rates: Vec<f64>,
    errors_count: u64,
    // What has come since the last line.
    second: Second,
}

/// The windows of a line.
struct Second {
    latencies: Histogram<u64>,
    replies_ok: u64,
    seconds: f64,
}

impl Second {
    fn new() -> Second {
        Second { latencies: histogram(), replies_ok: 0, seconds: 0.0 }
    }
}

impl Progress {
    /// On a terminal or as lines, whatever stderr is; nowhere if `is_quiet`. `label` stands first.
    pub fn new(label: &str, span: Option<Duration>, is_quiet: bool) -> Progress {
        let sink = match (is_quiet, std::io::stderr().is_terminal()) {
            (true, _) => Sink::Nowhere,
            (false, true) => {
                let bar = ProgressBar::new_spinner();
                if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(TICK_INTERVAL);
                Sink::Terminal(bar)
            }
            (false, false) => Sink::Lines,
        };
        let label = label.to_owned();
        Progress { sink, label, has_lines: true, span, rates: Vec::new(), errors_count: 0, second: Second::new() }
    }

    /// Shows the next window.
    pub fn observe(&mut self, view: &View<'_>) {
        let View { point, latencies, .. } = *view;
        self.errors_count += point.errors_count;
        self.rates.push(point.ops_per_s);
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Lines if !self.has_lines => {}
            Sink::Terminal(bar) => {
                let line = self.line(point, point.ops_per_s, latencies);
                bar.set_message(format!("{line}  {}", text::sparkline(&self.rates, SPARKLINE_WIDTH)));
            }
            Sink::Lines => {
                self.second.latencies.add(latencies).expect("all have the same bounds");
                self.second.replies_ok += point.replies_ok;
                self.second.seconds += point.seconds;
                // Windows may be a little shorter than they should be.
                if self.second.seconds >= LINE_INTERVAL_S * 0.99 {
                    let second = std::mem::replace(&mut self.second, Second::new());
                    let rate = second.replies_ok as f64 / second.seconds;
                    eprintln!("{}", self.line(point, rate, &second.latencies));
                }
            }
        }
    }

    /// Shows no lines where there is no terminal, but only what is said.
    pub fn without_lines(mut self) -> Progress {
        self.has_lines = false;
        self
    }

    /// Says something that stays.
    pub fn say(&self, line: &str) {
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Terminal(bar) => bar.println(line),
            Sink::Lines => eprintln!("{line}"),
        }
    }

    fn line(&self, point: &Point, rate: f64, latencies: &Histogram<u64>) -> String {
        let now_s = (point.start_s + point.seconds).max(0.0);
        let at = match (point.is_warmup, self.span) {
            (true, _) => "warm-up".to_owned(),
            (false, Some(span)) => format!("{now_s:.0}/{:.0} s", span.as_secs_f64()),
            (false, None) => format!("{now_s:.0} s"),
        };
        let mut line = format!("{} {at:>8}  {:>9}/s", self.label, text::whole(rate));
        if !latencies.is_empty() {
            let quantile = |quantile| text::time(latencies.value_at_quantile(quantile) as f64 / 1e3);
            line.push_str(&format!("  p50 {:>7}  p99 {:>7}", quantile(0.5), quantile(0.99)));
        }
        let plural = if self.errors_count == 1 { "" } else { "s" };
        line.push_str(&format!("  {} error{plural}", self.errors_count));
        line
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Sink::Terminal(bar) = &self.sink {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(start_s: f64, is_warmup: bool) -> Point {
        Point {
            start_s,
            seconds: 0.25,
            is_warmup,
            replies_ok: 20_780,
            ops_per_s: 83_120.0,
            errors_count: 1,
            p50_us: 0.0,
            p99_us: 0.0,
            p999_us: 0.0,
            max_us: 0.0,
            sent_late_p99_us: None,
        }
    }

    #[test]
    fn a_line_says_where_the_run_is_and_how_it_goes() {
        let mut progress = Progress::new("ycsb-a", Some(Duration::from_secs(10)), true);
        let mut latencies = histogram();
        (0..100).for_each(|idx| latencies.record(400_000 + idx * 10_000).unwrap());
        progress.observe(&View { point: &point(3.0, false), latencies: &latencies, sent_late: None });
        assert_eq!(
            progress.line(&point(3.0, false), 83_120.0, &latencies),
            "ycsb-a   3/10 s     83,120/s  p50  890 µs  p99 1.38 ms  1 error"
        );
        let warm = progress.line(&point(-0.5, true), 83_120.0, &histogram());
        assert_eq!(warm, "ycsb-a  warm-up     83,120/s  1 error");
    }
}
