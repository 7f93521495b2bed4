//! The log as Raft sees it: the term of every entry, the payload of the recent ones, and how much of it
//! is durable.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use types::{Index, Term};
use wire::Entry;

/// Consecutive entries of one term: those from `first` up to the next run, or to the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermRun {
    /// Index of the first entry.
    pub first: Index,
    /// Their term.
    pub term: Term,
}

/// What an entry counts against limits besides its payload: its header in memory, in the log and in a message.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 48;

/// A payload received from a peer may be a slice of a whole frame, and keep all of it in memory. Shorter ones than this are
/// copied, so that they hold what they count; longer ones leave the cache as soon as they are durable and applied.
pub(crate) const SLICE_BYTES_MIN: usize = 64 << 10;

/// What an entry counts against limits.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    entry.payload.len() + ENTRY_OVERHEAD_BYTES
}

/// The log. Invariants: `base_index <= durable <= handed <= last_index`; the cache is a suffix of the log and
/// holds at least what is not durable.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) struct Log {
    /// Index and term of the entry before the first; 0 at the start of time.
    base_index: Index,
    base_term: Term,
    last_index: Index,
    /// Invariant: indexes and terms both grow; the first run starts at `base_index + 1`.
    runs: Vec<TermRun>,
    cache: VecDeque<Entry>,
    /// Invariant: the sum of what the entries in `cache` count.
    cache_bytes: usize,
    /// Indexes of cached entries whose payloads are slices of frames, in order.
    slices: VecDeque<Index>,
    /// Everything up to here was handed out to be written.
    handed: Index,
    /// Everything up to here is on stable storage.
    durable: Index,
}

impl Log {
    /// A recovered log: all of it durable, none of it in memory.
    pub(crate) fn new(base_index: Index, base_term: Term, last_index: Index, runs: Vec<TermRun>) -> Log {
        Log {
            base_index,
            base_term,
            last_index,
            runs,
            cache: VecDeque::new(),
            cache_bytes: 0,
            slices: VecDeque::new(),
            handed: last_index,
            durable: last_index,
        }
    }

    pub(crate) fn last_index(&self) -> Index {
        self.last_index
    }

    pub(crate) fn base_index(&self) -> Index {
        self.base_index
    }

    pub(crate) fn last_term(&self) -> Term {
        self.runs.last().map_or(self.base_term, |run| run.term)
    }

    pub(crate) fn handed(&self) -> Index {
        self.handed
    }

    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// Index of the first entry whose payload is in memory; `last_index + 1` if none is.
    pub(crate) fn cache_first(&self) -> Index {
        self.last_index + 1 - self.cache.len() as u64
    }

    /// Term of the entry at `index`; `None` if the log does not reach there, or no longer does.
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == self.base_index {
            return Some(self.base_term);
        }
        if index < self.base_index || index > self.last_index {
            return None;
        }
        // Nearly always the question is about the last run.
        let run = match self.runs.last() {
            Some(run) if run.first <= index => run,
            _ => self.runs.get(self.runs.partition_point(|run| run.first <= index).checked_sub(1)?)?,
        };
        Some(run.term)
    }

    /// The last index at or before `index` whose term is at most `term`, as far as terms are known: before the
    /// log's beginning every index will do.
    pub(crate) fn last_of_term(&self, index: Index, term: Term) -> Index {
        let mut end = index.min(self.last_index);
        for run in self.runs.iter().rev() {
            if run.first <= end {
                if run.term <= term {
                    return end;
                }
                end = run.first - 1;
            }
        }
        end.min(self.base_index)
    }

    /// Appends the next entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last_index + 1, "the log has no gaps");
        assert!(entry.term >= self.last_term(), "terms never fall along the log");
        if self.runs.is_empty() || entry.term > self.last_term() {
            self.runs.push(TermRun { first: entry.index, term: entry.term });
        }
        self.last_index = entry.index;
        self.cache_bytes += entry_bytes(&entry);
        self.cache.push_back(entry);
    }

    /// Appends the next entry, whose payload may be a slice of a longer buffer.
    pub(crate) fn push_received(&mut self, mut entry: Entry) {
        if entry.payload.is_slice() {
            if entry.payload.len() < SLICE_BYTES_MIN {
                entry.payload = entry.payload.copied();
            } else {
                self.slices.push_back(entry.index);
            }
        }
        self.push(entry);
    }

    /// Drops the entry at `index` and all behind it. What was written of them no longer counts as durable.
    pub(crate) fn truncate_from(&mut self, index: Index) {
        assert!(index > self.base_index, "what left the log's beginning cannot be undone");
        while self.cache.back().is_some_and(|entry| entry.index >= index) {
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= entry_bytes(&entry);
            }
        }
        self.slices.truncate(self.slices.partition_point(|slice| *slice < index));
        while self.runs.last().is_some_and(|run| run.first >= index) {
            self.runs.pop();
        }
        self.last_index = index - 1;
        self.handed = self.handed.min(self.last_index);
        self.durable = self.durable.min(self.last_index);
    }

    /// Drops everything up to and with `index`, which is durable.
    pub(crate) fn compact(&mut self, index: Index) {
        assert!(self.base_index <= index && index <= self.durable, "only what is durable leaves the log's beginning");
        self.base_term = self.term(index).expect("the log holds what it is asked to drop");
        self.base_index = index;
        while self.cache.front().is_some_and(|entry| entry.index <= index) {
            self.uncache_first();
        }
        // The run that goes on behind `index` begins there now.
        let gone = self.runs.partition_point(|run| run.first <= index);
        let first = index + 1;
        if gone > 0 && first <= self.last_index && self.runs.get(gone).is_none_or(|run| run.first > first) {
            self.runs[gone - 1].first = first;
            self.runs.drain(..gone - 1);
        } else {
            self.runs.drain(..gone);
        }
    }

    /// Empties the log; it goes on behind `index`, up to which a snapshot holds everything durably.
    pub(crate) fn reset(&mut self, index: Index, term: Term) {
        *self = Log::new(index, term, index, Vec::new());
    }

    /// Appends what was not handed out yet to `out`.
    pub(crate) fn hand_out(&mut self, out: &mut Vec<Entry>) {
        let skip = self.cache.len() - (self.last_index - self.handed) as usize;
        out.extend(self.cache.range(skip..).cloned());
        self.handed = self.last_index;
    }

    /// Everything up to `index` is on stable storage.
    pub(crate) fn set_durable(&mut self, index: Index) {
        assert!(index <= self.handed, "only what was handed out can become durable");
        self.durable = self.durable.max(index);
    }

    /// Appends cached entries from `first` (which must be cached) to `out`, up to index `last` and up to
    /// `bytes_max`, but at least one. Returns their bytes.
    pub(crate) fn copy(&self, first: Index, last: Index, bytes_max: usize, out: &mut Vec<Entry>) -> usize {
        let from = (first - self.cache_first()) as usize;
        let to = (last + 1 - self.cache_first()) as usize;
        let (mut count, mut bytes) = (0, 0);
        for entry in self.cache.range(from..to) {
            let more = entry_bytes(entry);
            if count > 0 && bytes + more > bytes_max {
                break;
            }
            count += 1;
            bytes += more;
        }
        out.reserve_exact(count);
        out.extend(self.cache.range(from..from + count).cloned());
        bytes
    }

    /// Bytes of the entries in `first ..= last`; all of them must be cached.
    pub(crate) fn bytes(&self, first: Index, last: Index) -> usize {
        let from = (first - self.cache_first()) as usize;
        let to = (last + 1 - self.cache_first()) as usize;
        self.cache.range(from..to).map(entry_bytes).sum()
    }

    /// Drops the first payload of the cache.
    fn uncache_first(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= entry_bytes(&entry);
            if self.slices.front() == Some(&entry.index) {
                self.slices.pop_front();
            }
        }
    }

    /// Drops payloads from the front of the cache while it is over its limit, or keeps frames in memory; only what is
    /// durable and applied may go.
    pub(crate) fn evict(&mut self, applied: Index, bytes_max: usize) {
        let limit = applied.min(self.durable);
        while self.cache.front().is_some_and(|entry| entry.index <= limit) {
            let holds_frame = self.slices.front().is_some_and(|slice| *slice <= limit);
            if self.cache_bytes <= bytes_max && !holds_frame {
                break;
            }
            self.uncache_first();
        }
    }

    /// Whether `entries` are these very entries of the log, in order: an index and a term name one entry.
    pub(crate) fn holds(&self, entries: &[Entry]) -> bool {
        let Some(head) = entries.first() else { return true };
        let mut numbered = entries.iter().zip(head.index..);
        numbered.all(|(entry, index)| entry.index == index && self.term(index) == Some(entry.term))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::{EntryKind, Payload};

    use super::*;

    fn log(terms: &[Term]) -> Log {
        let mut log = Log::new(0, 0, 0, Vec::new());
        for (term, index) in terms.iter().zip(1..) {
            log.push(Entry { term: *term, index, kind: EntryKind::Batch, payload: Payload::from(&b"12345678"[..]) });
        }
        log
    }

    #[test]
    fn terms_are_found_by_run() {
        let log = log(&[1, 1, 3, 3, 3, 4]);
        let terms: Vec<_> = (0..=7).map(|index| log.term(index)).collect();
        assert_eq!(terms, [Some(0), Some(1), Some(1), Some(3), Some(3), Some(3), Some(4), None]);
        assert_eq!(log.last_of_term(6, 4), 6);
        assert_eq!(log.last_of_term(9, 3), 5);
        assert_eq!(log.last_of_term(4, 2), 2);
        assert_eq!(log.last_of_term(5, 0), 0);
    }

    #[test]
    fn truncation_takes_back_what_was_handed_out_and_durable() {
        let mut log = log(&[1, 1, 2, 2]);
        let mut out = Vec::new();
        log.hand_out(&mut out);
        assert_eq!(out.len(), 4);
        log.set_durable(4);
        log.truncate_from(3);
        assert_eq!((log.last_index(), log.handed(), log.durable(), log.last_term()), (2, 2, 2, 1));
        log.truncate_from(1);
        assert_eq!((log.last_index(), log.last_term(), log.cache_bytes()), (0, 0, 0));
    }

    #[test]
    fn only_the_durable_and_applied_leave_the_cache() {
        let mut log = log(&[1; 6]);
        log.evict(6, 0);
        assert_eq!(log.cache_first(), 1, "nothing is durable");
        log.hand_out(&mut Vec::new());
        log.set_durable(5);
        log.evict(3, 0);
        assert_eq!(log.cache_first(), 4, "three are applied");
        log.evict(6, 2 * (8 + ENTRY_OVERHEAD_BYTES));
        assert_eq!(log.cache_first(), 5, "two fit");
        log.truncate_from(3);
        assert_eq!(log.cache_first(), 3, "an empty cache starts behind the log");
    }

    #[test]
    fn a_log_that_was_compacted_knows_the_terms_of_what_is_left() {
        for index in 0..=6 {
            let mut log = log(&[1, 1, 3, 3, 3, 4]);
            log.hand_out(&mut Vec::new());
            log.set_durable(6);
            let terms: Vec<_> = (index..=7).map(|index| log.term(index)).collect();
            log.compact(index);
            assert_eq!((index..=7).map(|index| log.term(index)).collect::<Vec<_>>(), terms, "behind {index}");
            assert!((0..index).all(|gone| log.term(gone).is_none()), "behind {index}");
            let first = log.runs.first().map_or(7, |run| run.first);
            assert_eq!(first, index + 1, "the runs begin with the log");
            assert!(log.runs.windows(2).all(|pair| pair[0].first < pair[1].first));
        }
    }

    #[test]
    fn a_copy_takes_what_fits_to_the_byte_and_one_entry_at_least() {
        let log = log(&[1; 4]);
        let one = 8 + ENTRY_OVERHEAD_BYTES;
        for (bytes_max, count) in [(0, 1), (one, 1), (2 * one - 1, 1), (2 * one, 2), (usize::MAX, 3)] {
            let mut out = Vec::new();
            assert_eq!(log.copy(2, 4, bytes_max, &mut out), count * one);
            assert_eq!(out.len(), count, "{bytes_max}");
        }
    }

    #[test]
    fn entries_of_one_term_are_one_run() {
        let log = log(&[1, 1, 1, 3, 3]);
        assert_eq!(log.runs, [TermRun { first: 1, term: 1 }, TermRun { first: 4, term: 3 }]);
    }

    #[test]
    fn a_truncation_forgets_the_slices_behind_it_and_no_others() {
        let mut log = Log::new(0, 0, 0, Vec::new());
        for (index, payload_len) in [(1, SLICE_BYTES_MIN), (2, 10), (3, SLICE_BYTES_MIN), (4, SLICE_BYTES_MIN)] {
            log.push_received(received(index, payload_len));
        }
        log.truncate_from(4);
        assert_eq!(log.slices, [1, 3]);
        log.truncate_from(3);
        assert_eq!(log.slices, [1]);
        log.compact(0);
        log.hand_out(&mut Vec::new());
        log.set_durable(2);
        log.compact(1);
        assert_eq!((log.slices.len(), log.cache_bytes()), (0, 10 + ENTRY_OVERHEAD_BYTES));
    }

    /// An entry as it comes from a peer: its payload is a slice of a frame that is 100 bytes longer.
    fn received(index: Index, payload_len: usize) -> Entry {
        let frame = Bytes::from(alloc::vec![7; payload_len + 100]);
        Entry { term: 1, index, kind: EntryKind::Batch, payload: Payload::slice(frame.slice(50..50 + payload_len)) }
    }

    #[test]
    fn slices_of_frames_leave_the_cache_with_all_before_them_once_they_are_durable_and_applied() {
        let mut log = Log::new(0, 0, 0, Vec::new());
        for (index, payload_len) in [(1, 10), (2, SLICE_BYTES_MIN), (3, 10), (4, SLICE_BYTES_MIN), (5, 10)] {
            log.push_received(received(index, payload_len));
        }
        log.hand_out(&mut Vec::new());
        log.set_durable(4);
        log.evict(1, usize::MAX);
        assert_eq!(log.cache_first(), 1, "the slice is not applied");
        log.evict(3, usize::MAX);
        assert_eq!(log.cache_first(), 3, "what is not a slice may stay");
        log.truncate_from(4);
        log.push_received(received(4, 10));
        log.hand_out(&mut Vec::new());
        log.set_durable(4);
        log.evict(4, usize::MAX);
        assert_eq!((log.cache_first(), log.cache_bytes()), (3, 2 * (10 + ENTRY_OVERHEAD_BYTES)), "no slice is left");
    }

    #[test]
    fn short_payloads_are_copied_out_of_their_frames_and_long_ones_are_not() {
        for (payload_len, is_copied) in [(SLICE_BYTES_MIN - 1, true), (SLICE_BYTES_MIN, false)] {
            let mut log = Log::new(0, 0, 0, Vec::new());
            let entry = received(1, payload_len);
            let (at, payload) = (entry.payload.as_ptr(), entry.payload.clone());
            log.push_received(entry);
            let mut out = Vec::new();
            log.copy(1, 1, usize::MAX, &mut out);
            assert_eq!(out[0].payload, payload);
            assert_eq!(out[0].payload.as_ptr() != at, is_copied, "{payload_len} bytes");
        }
    }
}
