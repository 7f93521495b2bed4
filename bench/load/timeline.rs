//! A run in windows of time: threads hand their counters over at the end of each, and whoever watches adds them up.
//!
//! So a thread records each answer once, merging costs it nothing, and a run is seen while it goes on.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::stats::Stats;

/// The counters of one thread during one window.
#[derive(Debug)]
pub struct Window {
    /// When it began, in ns since the start.
    pub start_ns: u64,
    /// When it ended, in ns since the start.
    pub end_ns: u64,
    /// Whether it belongs to the warm-up.
    pub is_warmup: bool,
    /// What was counted.
    pub stats: Stats,
}

/// Windows of one thread that nobody has fetched yet.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<Vec<Window>>);

impl Mailbox {
    /// Hands a window over.
    pub fn put(&self, window: Window) {
        self.0.lock().expect("nobody panics with the lock").push(window);
    }

    /// Fetches what was handed over, the oldest first.
    pub fn take(&self) -> Vec<Window> {
        std::mem::take(&mut self.0.lock().expect("nobody panics with the lock"))
    }
}

/// When windows end. All threads of a run have the same ones; one ends with the warm-up.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    len_ns: u64,
    warmup_ns: u64,
}

impl Windows {
    /// Windows of this length, the first of which belong to the warm-up.
    pub fn new(len: Duration, warmup: Duration) -> Windows {
        Windows { len_ns: (len.as_nanos() as u64).max(1), warmup_ns: warmup.as_nanos() as u64 }
    }

    /// When the window ends that begins at `start_ns`.
    pub fn end_ns(&self, start_ns: u64) -> u64 {
        let end_ns = start_ns + self.len_ns;
        if self.is_warmup(start_ns) { end_ns.min(self.warmup_ns) } else { end_ns }
    }

    /// Whether what begins then belongs to the warm-up.
    pub fn is_warmup(&self, start_ns: u64) -> bool {
        start_ns < self.warmup_ns
    }
}

/// One window of all threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// When it began, in seconds since the end of the warm-up.
    pub start_s: f64,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Whether it belongs to the warm-up, whose latencies are not recorded.
    #[serde(skip)]
    pub is_warmup: bool,
    /// Sound answers.
    pub replies_ok: u64,
    /// Sound answers a second.
    pub ops_per_s: f64,
    /// Commands that failed.
    pub errors_count: u64,
    /// Half of the answers took no longer, in µs.
    pub p50_us: f64,
    /// 99 % took no longer, in µs.
    pub p99_us: f64,
    /// 99.9 % took no longer, in µs.
    pub p999_us: f64,
    /// None took longer, in µs.
    pub max_us: f64,
    /// Of an open loop: 99 % of the commands were sent no later than that, in µs.
    pub sent_late_p99_us: Option<f64>,
}

/// One window of all threads as whoever watches a run sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its figures.
    pub point: &'a Point,
    /// Its latencies, in ns.
    pub latencies: &'a Histogram<u64>,
    /// Of an open loop: how late its commands were sent, in ns.
    pub sent_late: Option<&'a Histogram<u64>>,
}

impl Point {
    fn of(window: &Window, latencies: &Histogram<u64>, warmup: Duration) -> Point {
        let us = |ns: u64| ns as f64 / 1_000.0;
        let at = |quantile| us(latencies.value_at_quantile(quantile));
        let seconds = Duration::from_nanos(window.end_ns - window.start_ns).as_secs_f64();
        let replies_ok = latencies.len() + window.stats.warmup_replies;
        Point {
            start_s: Duration::from_nanos(window.start_ns).as_secs_f64() - warmup.as_secs_f64(),
            seconds,
            is_warmup: window.is_warmup,
            replies_ok,
            ops_per_s: if seconds > 0.0 { replies_ok as f64 / seconds } else { 0.0 },
            errors_count: window.stats.errors_count(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(latencies.max()),
            sent_late_p99_us: window.stats.sent_late().map(|late| us(late.value_at_quantile(0.99))),
        }
    }
}

/// Adds up the windows of all threads.
#[derive(Debug)]
pub struct Merger {
    warmup: Duration,
    window_ns: u64,
    // How many windows each thread has handed over.
    taken_counts: Vec<usize>,
    // The oldest windows that some thread has not handed over, each with the number of threads that have.
    open: VecDeque<(Window, usize)>,
    // How many windows are complete.
    complete_count: usize,
    total: Stats,
}

impl Merger {
    /// For the windows of that many threads.
    pub fn new(threads_count: usize, window: Duration, warmup: Duration) -> Merger {
        let window_ns = window.as_nanos() as u64;
        let taken_counts = vec![0; threads_count];
        Merger { warmup, window_ns, taken_counts, open: VecDeque::new(), complete_count: 0, total: Stats::new() }
    }

    /// Takes the next window of a thread. `on_view` sees each window that is complete now.
    pub fn take(&mut self, thread_idx: usize, window: Window, on_view: &mut dyn FnMut(&View<'_>)) {
        let Some(taken_count) = self.taken_counts.get_mut(thread_idx) else { return };
        let idx = *taken_count - self.complete_count;
        *taken_count += 1;
        match self.open.get_mut(idx) {
            Some((merged, threads_count)) => {
                merged.stats.merge(&window.stats);
                // The last windows of a run end when their threads do.
                merged.end_ns = merged.end_ns.max(window.end_ns);
                *threads_count += 1;
            }
            None => self.open.push_back((window, 1)),
        }
        while self.open.front().is_some_and(|(_, count)| *count == self.taken_counts.len()) {
            self.close_oldest(on_view);
        }
    }

    /// Takes notice that no more windows come: the sum of all.
    pub fn finish(mut self, on_view: &mut dyn FnMut(&View<'_>)) -> Stats {
        while !self.open.is_empty() {
            self.close_oldest(on_view);
        }
        self.total
    }

    fn close_oldest(&mut self, on_view: &mut dyn FnMut(&View<'_>)) {
        let Some((window, _)) = self.open.pop_front() else { return };
        self.complete_count += 1;
        self.total.merge(&window.stats);
        // What is left at the end of a run is too short for a rate.
        if window.end_ns - window.start_ns >= self.window_ns / 2 || window.is_warmup {
            let latencies = window.stats.all_latencies();
            let point = Point::of(&window, &latencies, self.warmup);
            on_view(&View { point: &point, latencies: &latencies, sent_late: window.stats.sent_late() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::mix::Kind;

    const MS: u64 = 1_000_000;

    fn window(start_ns: u64, end_ns: u64, count: u64) -> Window {
        let mut stats = Stats::new();
        (0..count).for_each(|_| stats.record(Kind::Get, 2 * MS));
        Window { start_ns, end_ns, is_warmup: false, stats }
    }

    #[test]
    fn a_window_ends_with_the_warm_up() {
        let windows = Windows::new(Duration::from_millis(250), Duration::from_millis(600));
        let mut ends = vec![0];
        for _ in 0..5 {
            ends.push(windows.end_ns(ends[ends.len() - 1]) / MS * MS);
        }
        assert_eq!(ends, [0, 250, 500, 600, 850, 1_100].map(|ms| ms * MS));
        assert!(windows.is_warmup(599 * MS) && !windows.is_warmup(600 * MS));
    }

    #[test]
    fn a_point_comes_once_all_threads_have_ended_its_window() {
        let mut points = Vec::new();
        let mut on_view = |view: &View<'_>| {
            assert_eq!(view.latencies.len(), view.point.replies_ok);
            points.push(view.point.clone());
        };
        let mut merger = Merger::new(2, Duration::from_millis(500), Duration::from_secs(1));
        merger.take(0, window(1_000 * MS, 1_500 * MS, 10), &mut on_view);
        merger.take(0, window(1_500 * MS, 2_000 * MS, 20), &mut on_view);
        merger.take(1, window(1_000 * MS, 1_500 * MS, 5), &mut on_view);
        merger.take(1, window(1_500 * MS, 2_000 * MS, 30), &mut on_view);
        merger.take(1, window(2_000 * MS, 2_010 * MS, 1), &mut on_view);
        let total = merger.finish(&mut on_view);
        let seen: Vec<_> = points.iter().map(|point| (point.start_s, point.ops_per_s)).collect();
        assert_eq!(seen, [(0.0, 30.0), (0.5, 100.0)], "the rest of 10 ms is no point");
        assert!((points[0].p99_us - 2_000.0).abs() < 5.0);
        assert_eq!(total.all_latencies().len(), 66, "and yet nothing is lost");
    }
}
