//! Which I/O of a core begins when: the rule, without the I/O. The runtime and the simulator both go by it.

use std::collections::BTreeMap;
use std::time::Duration;

use types::Instant;

use crate::buffer::ALIGNMENT;

/// Most operations of [`IoClass::Foreground`] in flight per core.
pub const FOREGROUND_IN_FLIGHT_MAX: usize = 64;
/// Most background reads in flight per core.
pub const BACKGROUND_READS_IN_FLIGHT_MAX: usize = 8;
/// Most background writes and syncs in flight per core while its log is idle.
pub const BACKGROUND_WRITES_IN_FLIGHT_MAX: usize = 4;
/// Most of them that are begun while the log is not idle.
pub const BACKGROUND_WRITES_BESIDE_LOG_MAX: usize = 1;
/// Longest background read or write that is in flight as one; longer ones go piece by piece.
pub const BACKGROUND_BYTES_MAX: usize = 256 << 10;
/// While merges wait, so many writes of flushes are begun in a row. Merges make less of what flushes have written: if they got nothing as
/// long as rows come faster than they are flushed, there would be more and more tables.
pub const FLUSHES_IN_ROW_MAX: u32 = 2;
/// How long after its last write a log counts as idle. Less than that passes between the blocks of a busy log, and what
/// was begun in between would be in the way of the next block.
pub const LOG_IDLE_AFTER: Duration = Duration::from_millis(2);

const _: () = {
    assert!(FOREGROUND_IN_FLIGHT_MAX > 0 && BACKGROUND_READS_IN_FLIGHT_MAX > 0);
    // With none allowed, nothing would end that lets the next one begin.
    assert!(BACKGROUND_WRITES_BESIDE_LOG_MAX > 0);
    assert!(BACKGROUND_WRITES_BESIDE_LOG_MAX <= BACKGROUND_WRITES_IN_FLIGHT_MAX);
    assert!(BACKGROUND_BYTES_MAX > 0 && BACKGROUND_BYTES_MAX.is_multiple_of(ALIGNMENT));
};

/// What I/O is for, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IoClass {
    /// The log, and all that must not wait behind anything: begins at once.
    Log,
    /// What clients wait for.
    Foreground,
    /// A flush: it frees log and memory.
    Flush,
    /// Merges of the upper levels: reads get slower while they wait.
    UpperMerge,
    /// Merges into the bottom level: they only save space.
    BottomMerge,
    /// What nobody waits for, such as looking for rot.
    Scrub,
}

impl IoClass {
    /// Whether the class gives way to the log.
    pub fn is_background(self) -> bool {
        self > IoClass::Foreground
    }

    /// Longest part of a read or write in this class that is in flight as one, in bytes; a multiple of [`ALIGNMENT`].
    pub fn piece_bytes_max(self) -> usize {
        if self.is_background() { BACKGROUND_BYTES_MAX } else { usize::MAX / ALIGNMENT * ALIGNMENT }
    }
}

/// What an operation does to the disk. A sync counts as a write: the device writes out what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// It reads.
    Read,
    /// It writes, or waits for what was written.
    Write,
}

/// A share of the disk's time with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lot {
    Foreground,
    BackgroundReads,
    BackgroundWrites,
}

const LOTS: [Lot; 3] = [Lot::Foreground, Lot::BackgroundReads, Lot::BackgroundWrites];

/// An operation that waits for its turn in an [`IoSchedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoTicket {
    lot: Lot,
    class: IoClass,
    number: u64,
}

/// An operation that was let go by an [`IoSchedule`], to be handed to [`IoSchedule::end`] once.
#[must_use = "whoever does not give it back keeps a place for ever"]
#[derive(Debug, PartialEq, Eq)]
pub struct IoPermit(Lot);

/// The I/O of a core that waits, and how much is in flight. `T` names an operation.
#[derive(Debug)]
pub struct IoSchedule<T> {
    // By urgency, then in order of arrival. One element per caller that waits, which takes it out when it stops waiting.
    waiting: [BTreeMap<(IoClass, u64), T>; LOTS.len()],
    // Invariant: at most the limit of the lot, but for background writes that were begun before the log was busy.
    in_flight_count: [usize; LOTS.len()],
    log_in_flight_count: usize,
    log_ended_at: Option<Instant>,
    next_number: u64,
    flushes_in_row: u32,
}

impl<T> Default for IoSchedule<T> {
    fn default() -> IoSchedule<T> {
        IoSchedule {
            waiting: Default::default(),
            in_flight_count: [0; LOTS.len()],
            log_in_flight_count: 0,
            log_ended_at: None,
            next_number: 0,
            flushes_in_row: 0,
        }
    }
}

impl<T> IoSchedule<T> {
    /// Lets an operation wait for its turn. It may be its turn at once: see [`IoSchedule::next`].
    ///
    /// # Panics
    /// For [`IoClass::Log`], which does not wait.
    pub fn enqueue(&mut self, class: IoClass, kind: IoKind, operation: T) -> IoTicket {
        let lot = match (class, kind) {
            (IoClass::Log, _) => panic!("the log's I/O begins at once"),
            (IoClass::Foreground, _) => Lot::Foreground,
            (_, IoKind::Read) => Lot::BackgroundReads,
            (_, IoKind::Write) => Lot::BackgroundWrites,
        };
        let number = self.next_number;
        self.next_number += 1;
        self.waiting[lot as usize].insert((class, number), operation);
        IoTicket { lot, class, number }
    }

    /// Takes out an operation that nobody wants any more. `None` if its turn has come.
    pub fn cancel(&mut self, ticket: IoTicket) -> Option<T> {
        self.waiting[ticket.lot as usize].remove(&(ticket.class, ticket.number))
    }

    /// The next operation whose turn has come. To be asked after every other call here, until there is none.
    pub fn next(&mut self, now: Instant) -> Option<(T, IoPermit)> {
        LOTS.into_iter().find_map(|lot| {
            let idx = lot as usize;
            if self.waiting[idx].is_empty() || self.in_flight_count[idx] >= self.limit(lot, now) {
                return None;
            }
            let operation = self.take_next(lot)?;
            self.in_flight_count[idx] += 1;
            Some((operation, IoPermit(lot)))
        })
    }

    /// The most urgent that waits, or a merge that has given way to flushes long enough.
    fn take_next(&mut self, lot: Lot) -> Option<T> {
        let waiting = &mut self.waiting[lot as usize];
        let first = *waiting.first_key_value()?.0;
        if lot != Lot::BackgroundWrites {
            return waiting.remove(&first);
        }
        let mut merges = waiting.range((IoClass::UpperMerge, 0)..(IoClass::Scrub, 0));
        let key = match merges.next() {
            Some((merge, _)) if self.flushes_in_row >= FLUSHES_IN_ROW_MAX => *merge,
            _ => first,
        };
        self.flushes_in_row = if key.0 == IoClass::Flush { self.flushes_in_row.saturating_add(1) } else { 0 };
        waiting.remove(&key)
    }

    /// An operation that was let go has ended.
    pub fn end(&mut self, permit: IoPermit) {
        self.in_flight_count[permit.0 as usize] -= 1;
    }

    /// A block of the log is in flight from now on.
    pub fn begin_log(&mut self) {
        self.log_in_flight_count += 1;
    }

    /// A block of the log has ended.
    pub fn end_log(&mut self, now: Instant) {
        self.log_in_flight_count -= 1;
        self.log_ended_at = Some(now);
    }

    /// Whether any operation waits for its turn.
    pub fn has_waiting(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// How many operations wait for their turn.
    pub fn waiting_count(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }

    fn limit(&self, lot: Lot, now: Instant) -> usize {
        match lot {
            Lot::Foreground => FOREGROUND_IN_FLIGHT_MAX,
            Lot::BackgroundReads => BACKGROUND_READS_IN_FLIGHT_MAX,
            Lot::BackgroundWrites if self.is_log_idle(now) => BACKGROUND_WRITES_IN_FLIGHT_MAX,
            Lot::BackgroundWrites => BACKGROUND_WRITES_BESIDE_LOG_MAX,
        }
    }

    fn is_log_idle(&self, now: Instant) -> bool {
        self.log_in_flight_count == 0 && self.log_ended_at.is_none_or(|ended_at| now >= ended_at + LOG_IDLE_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// All whose turn it is.
    fn begun<T>(schedule: &mut IoSchedule<T>, now: Instant) -> (Vec<T>, Vec<IoPermit>) {
        std::iter::from_fn(|| schedule.next(now)).unzip()
    }

    #[test]
    fn foreground_operations_beyond_the_limit_wait_in_order() {
        let mut schedule = IoSchedule::default();
        for idx in 0..FOREGROUND_IN_FLIGHT_MAX + 3 {
            schedule.enqueue(IoClass::Foreground, IoKind::Read, idx);
        }
        let (first, mut permits) = begun(&mut schedule, at_ms(0));
        assert_eq!(first, (0..FOREGROUND_IN_FLIGHT_MAX).collect::<Vec<_>>());
        assert_eq!(schedule.waiting_count(), 3);
        for expected in FOREGROUND_IN_FLIGHT_MAX..FOREGROUND_IN_FLIGHT_MAX + 3 {
            schedule.end(permits.pop().expect("many are in flight"));
            assert_eq!(begun(&mut schedule, at_ms(0)).0, [expected]);
        }
        assert!(!schedule.has_waiting());
    }

    #[test]
    fn merges_get_a_share_of_the_writes_beside_flushes_that_never_end() {
        use IoClass::{BottomMerge, Flush, Scrub, UpperMerge};
        let mut schedule = IoSchedule::default();
        schedule.begin_log();
        let classes = [Flush; 6].into_iter().chain([BottomMerge, UpperMerge, Scrub]);
        for class in classes {
            schedule.enqueue(class, IoKind::Write, class);
        }
        let mut order = Vec::new();
        while let Some((class, permit)) = schedule.next(at_ms(0)) {
            order.push(class);
            schedule.end(permit);
        }
        assert_eq!(order, [Flush, Flush, UpperMerge, Flush, Flush, BottomMerge, Flush, Flush, Scrub]);
    }

    #[test]
    fn the_most_urgent_background_class_goes_first() {
        let mut schedule = IoSchedule::default();
        schedule.begin_log();
        let classes = [IoClass::Scrub, IoClass::BottomMerge, IoClass::Flush, IoClass::UpperMerge, IoClass::Flush];
        for (idx, class) in classes.into_iter().enumerate() {
            schedule.enqueue(class, IoKind::Write, idx);
        }
        let mut order = Vec::new();
        loop {
            let (operations, permits) = begun(&mut schedule, at_ms(0));
            assert!(operations.len() <= BACKGROUND_WRITES_BESIDE_LOG_MAX);
            if operations.is_empty() {
                break;
            }
            order.extend(operations);
            permits.into_iter().for_each(|permit| schedule.end(permit));
        }
        assert_eq!(order, [2, 4, 3, 1, 0]);
    }

    #[test]
    fn background_writes_give_way_to_a_log_until_it_was_idle_for_a_while() {
        let mut schedule = IoSchedule::default();
        for idx in 0..100 {
            schedule.enqueue(IoClass::Flush, IoKind::Write, idx);
        }
        let (first, permits) = begun(&mut schedule, at_ms(0));
        assert_eq!(first.len(), BACKGROUND_WRITES_IN_FLIGHT_MAX, "there is no log yet");
        schedule.begin_log();
        let mut permits = permits.into_iter();
        schedule.end(permits.next().expect("one"));
        assert!(schedule.next(at_ms(0)).is_none(), "more are in flight than may be begun beside the log");
        permits.for_each(|permit| schedule.end(permit));
        assert_eq!(begun(&mut schedule, at_ms(0)).0.len(), BACKGROUND_WRITES_BESIDE_LOG_MAX);
        schedule.end_log(at_ms(10));
        assert!(schedule.next(at_ms(10)).is_none(), "the next block may come soon");
        let idle_at = at_ms(10) + LOG_IDLE_AFTER;
        let more = BACKGROUND_WRITES_IN_FLIGHT_MAX - BACKGROUND_WRITES_BESIDE_LOG_MAX;
        assert_eq!(begun(&mut schedule, idle_at).0.len(), more);
    }

    #[test]
    fn reads_of_clients_and_of_merges_do_not_take_each_others_places() {
        let mut schedule = IoSchedule::default();
        schedule.begin_log();
        for _ in 0..1_000 {
            schedule.enqueue(IoClass::BottomMerge, IoKind::Read, "merge");
        }
        let (merges, _permits) = begun(&mut schedule, at_ms(0));
        assert_eq!(merges.len(), BACKGROUND_READS_IN_FLIGHT_MAX);
        schedule.enqueue(IoClass::Foreground, IoKind::Read, "client");
        schedule.enqueue(IoClass::Flush, IoKind::Write, "flush");
        assert_eq!(begun(&mut schedule, at_ms(0)).0, ["client", "flush"]);
    }

    #[test]
    fn a_cancelled_operation_gives_up_its_place_in_the_queue() {
        let mut schedule = IoSchedule::default();
        schedule.begin_log();
        let tickets: Vec<_> = (0..3).map(|idx| schedule.enqueue(IoClass::Flush, IoKind::Write, idx)).collect();
        let (first, permits) = begun(&mut schedule, at_ms(0));
        assert_eq!(first, [0]);
        assert_eq!(schedule.cancel(tickets[0]), None, "it is in flight");
        assert_eq!(schedule.cancel(tickets[1]), Some(1));
        assert_eq!(schedule.cancel(tickets[1]), None, "it is gone");
        permits.into_iter().for_each(|permit| schedule.end(permit));
        assert_eq!(begun(&mut schedule, at_ms(0)).0, [2]);
        assert_eq!(schedule.waiting_count(), 0);
    }
}
