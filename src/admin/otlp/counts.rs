//! What became of what was to be sent.

use std::sync::atomic::{AtomicU64, Ordering};

use super::queue::Signal;
use crate::exposition::Exposition;

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// There was no room in the queue.
    QueueFull,
    /// The collector does not take it.
    Refused,
    /// Slow commands that had left their log when it was looked at.
    Overwritten,
}

impl Loss {
    const ALL: [Loss; 3] = [Loss::QueueFull, Loss::Refused, Loss::Overwritten];

    fn name(self) -> &'static str {
        match self {
            Loss::QueueFull => "queue_full",
            Loss::Refused => "refused",
            Loss::Overwritten => "overwritten",
        }
    }
}

const SIGNALS_COUNT: usize = Signal::ALL.len();

/// Counts of what is sent to a collector. They stand among the figures themselves.
#[derive(Debug, Default)]
pub struct OtlpCounts {
    sent: [AtomicU64; SIGNALS_COUNT],
    dropped: [[AtomicU64; Loss::ALL.len()]; SIGNALS_COUNT],
    failures: AtomicU64,
    queued: AtomicU64,
}

impl OtlpCounts {
    /// Adds them to other figures, with these labels.
    pub fn write(&self, labels: &[(&str, &str)], out: &mut Exposition) {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        for signal in Signal::ALL {
            let labels = [labels, &[("signal", signal.name())]].concat();
            let help = "Samples and spans that the collector has taken.";
            out.counter("coracle_otlp_sent_total", help, &labels, get(&self.sent[signal as usize]));
            for loss in Loss::ALL {
                let labels = [&labels[..], &[("reason", loss.name())]].concat();
                let help = "Samples and spans that were not sent, and slow commands that had left their log before.";
                let count = get(&self.dropped[signal as usize][loss as usize]);
                out.counter("coracle_otlp_dropped_total", help, &labels, count);
            }
        }
        let help = "Messages that the collector did not take when they were sent.";
        out.counter("coracle_otlp_failures_total", help, labels, get(&self.failures));
        out.gauge("coracle_otlp_queued", "Messages that wait to be sent.", labels, get(&self.queued));
    }

    pub(crate) fn sent(&self, signal: Signal, count: usize) {
        self.sent[signal as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, signal: Signal, loss: Loss, count: usize) {
        self.dropped[signal as usize][loss as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn queued(&self, count: usize) {
        self.queued.store(count as u64, Ordering::Relaxed);
    }
}
