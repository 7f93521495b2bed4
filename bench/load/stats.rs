//! What a run counts.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::load::mix::Kind;

/// Latencies above are counted as this one, in ns: ten minutes.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// How many different error texts are told apart.
const ERROR_TEXTS_MAX: usize = 64;
/// What the others are counted under.
const OTHER_ERRORS: &str = "(other errors)";
/// The longest error text that is kept.
const ERROR_TEXT_BYTES_MAX: usize = 200;

/// A histogram of ns, which keeps three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("constant bounds that the histogram accepts")
}

/// A histogram that takes memory only once something was recorded.
#[derive(Clone, Debug, Default)]
struct Lazy(Option<Histogram<u64>>);

impl Lazy {
    fn record(&mut self, ns: u64) {
        self.0.get_or_insert_with(histogram).saturating_record(ns.max(1));
    }

    fn merge(&mut self, other: &Lazy) {
        if let Some(theirs) = &other.0 {
            self.0.get_or_insert_with(histogram).add(theirs).expect("all have the same bounds");
        }
    }
}

/// The counters of one thread during one window, or of many.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    // In ns; one per kind of command, in the order of `Kind::ALL`.
    latencies: [Lazy; Kind::ALL.len()],
    // Of an open loop, in ns: from the moment a command was handed to the socket to its answer.
    since_sent: Lazy,
    // Of an open loop, in ns: how long after it was due and had room a command was handed to the socket.
    sent_late: Lazy,
    errors: BTreeMap<String, u64>,
    /// Reads that found nothing; they are sound.
    pub missing: u64,
    /// Commands that fell due in time but found no room on any connection before the end.
    pub unsent: u64,
    /// Commands of an open loop that had to wait for room on a connection.
    pub waited_for_room: u64,
    /// Sound answers to commands of the warm-up, which stand in no histogram.
    pub warmup_replies: u64,
    /// When measuring began, in ns since the start.
    pub measured_from_ns: u64,
    /// When the last answer came, in ns since the start.
    pub last_reply_ns: u64,
    /// CPU time of the threads that sent, in ns, since measuring began.
    pub cpu_ns: u64,
    /// The time that those threads had, in ns.
    pub thread_ns: u64,
}

impl Stats {
    /// Nothing counted yet.
    pub fn new() -> Stats {
        Stats::default()
    }

    /// Counts a sound answer.
    pub fn record(&mut self, kind: Kind, latency_ns: u64) {
        if let Some(histogram) = self.latencies.get_mut(kind as usize) {
            histogram.record(latency_ns);
        }
    }

    /// Counts how long a sound answer of an open loop took since its command was sent.
    pub fn record_since_sent(&mut self, ns: u64) {
        self.since_sent.record(ns);
    }

    /// Counts how late the generator sent a command of an open loop.
    pub fn record_sent_late(&mut self, late_ns: u64) {
        self.sent_late.record(late_ns);
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

    /// Adds what another thread, or another window, has counted.
    pub fn merge(&mut self, other: &Stats) {
        for (ours, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            ours.merge(theirs);
        }
        self.since_sent.merge(&other.since_sent);
        self.sent_late.merge(&other.sent_late);
        for (text, count) in &other.errors {
            self.record_errors(text, *count);
        }
        self.missing += other.missing;
        self.unsent += other.unsent;
        self.waited_for_room += other.waited_for_room;
        self.warmup_replies += other.warmup_replies;
        self.measured_from_ns = self.measured_from_ns.max(other.measured_from_ns);
        self.last_reply_ns = self.last_reply_ns.max(other.last_reply_ns);
        self.cpu_ns += other.cpu_ns;
        self.thread_ns += other.thread_ns;
    }

    /// The latencies of all sound answers, in ns.
    pub fn all_latencies(&self) -> Histogram<u64> {
        let mut all = histogram();
        for latencies in self.latencies.iter().filter_map(|lazy| lazy.0.as_ref()) {
            all.add(latencies).expect("all have the same bounds");
        }
        all
    }

    /// The latencies of the kinds that came, in ns.
    pub fn latencies(&self) -> impl Iterator<Item = (Kind, &Histogram<u64>)> {
        Kind::ALL.into_iter().zip(&self.latencies).filter_map(|(kind, lazy)| Some((kind, lazy.0.as_ref()?)))
    }

    /// From sending to the answer, in ns, of an open loop.
    pub fn since_sent(&self) -> Option<&Histogram<u64>> {
        self.since_sent.0.as_ref()
    }

    /// How late the generator was, in ns, of an open loop.
    pub fn sent_late(&self) -> Option<&Histogram<u64>> {
        self.sent_late.0.as_ref()
    }

    /// How many commands failed, by the text of the error.
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// How many commands failed.
    pub fn errors_count(&self) -> u64 {
        self.errors.values().sum()
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
        assert_eq!((stats.errors()["MOVED"], stats.errors_count()), (3, 1_003));
        assert!(stats.errors().len() <= ERROR_TEXTS_MAX + 1);
        assert_eq!(stats.errors()[OTHER_ERRORS], 1_000 - (ERROR_TEXTS_MAX as u64 - 1));
    }

    #[test]
    fn what_threads_count_adds_up() {
        let (mut all, mut other) = (Stats::new(), Stats::new());
        all.record(Kind::Set, 1_000);
        other.record(Kind::Get, 3_000);
        other.record(Kind::Get, 3_000);
        other.record_sent_late(7);
        other.last_reply_ns = 2_000_000_000;
        all.merge(&other);
        assert_eq!((all.all_latencies().len(), all.last_reply_ns), (3, 2_000_000_000));
        let counts: Vec<_> = all.latencies().map(|(kind, histogram)| (kind, histogram.len())).collect();
        assert_eq!(counts, [(Kind::Set, 1), (Kind::Get, 2)]);
        assert_eq!(all.sent_late().map(Histogram::len), Some(1));
        assert!(all.since_sent().is_none());
    }
}
