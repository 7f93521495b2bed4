//! The schedule of a core's I/O against a plain list of what waits and what is in flight.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use host::io_schedule::{
    BACKGROUND_READS_IN_FLIGHT_MAX, BACKGROUND_WRITES_BESIDE_LOG_MAX, BACKGROUND_WRITES_IN_FLIGHT_MAX,
    FLUSHES_IN_ROW_MAX, FOREGROUND_IN_FLIGHT_MAX, LOG_IDLE_AFTER,
};
use host::{IoClass, IoKind, IoPermit, IoSchedule, IoTicket};
use proptest::prelude::*;
use types::Instant;

const CLASSES: [IoClass; 5] =
    [IoClass::Foreground, IoClass::Flush, IoClass::UpperMerge, IoClass::BottomMerge, IoClass::Scrub];

#[derive(Clone, Copy, Debug)]
enum Step {
    Enqueue(usize, bool),
    Cancel(usize),
    End(usize),
    BeginLog,
    EndLog,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..CLASSES.len(), any::<bool>()).prop_map(|(class, reads)| Step::Enqueue(class, reads)),
        1 => any::<usize>().prop_map(Step::Cancel),
        4 => any::<usize>().prop_map(Step::End),
        1 => Just(Step::BeginLog),
        1 => Just(Step::EndLog),
        1 => (0..3_000_000_u64).prop_map(Step::Pass),
    ]
}

/// What counts against the same limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Foreground,
    BackgroundReads,
    BackgroundWrites,
}

fn share_of(class: IoClass, kind: IoKind) -> Share {
    match (class, kind) {
        (IoClass::Foreground, _) => Share::Foreground,
        (_, IoKind::Read) => Share::BackgroundReads,
        (_, IoKind::Write) => Share::BackgroundWrites,
    }
}

#[derive(Default)]
struct Model {
    schedule: IoSchedule<u64>,
    // In order of arrival.
    waiting: Vec<(u64, Share, IoClass, IoTicket)>,
    in_flight: Vec<(Share, IoPermit)>,
    logs_count: usize,
    log_ended_at: Option<Instant>,
    now: Duration,
    asked_count: u64,
    begun_or_cancelled_count: u64,
    flushes_in_row: u32,
}

impl Model {
    fn now(&self) -> Instant {
        Instant::ZERO + self.now
    }

    fn limit(&self, share: Share) -> usize {
        let is_idle = self.logs_count == 0 && self.log_ended_at.is_none_or(|at| self.now() >= at + LOG_IDLE_AFTER);
        match share {
            Share::Foreground => FOREGROUND_IN_FLIGHT_MAX,
            Share::BackgroundReads => BACKGROUND_READS_IN_FLIGHT_MAX,
            Share::BackgroundWrites if is_idle => BACKGROUND_WRITES_IN_FLIGHT_MAX,
            Share::BackgroundWrites => BACKGROUND_WRITES_BESIDE_LOG_MAX,
        }
    }

    fn in_flight_count(&self, share: Share) -> usize {
        self.in_flight.iter().filter(|(it, _)| *it == share).count()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Enqueue(class, reads) => {
                let (class, kind) = (CLASSES[class], if reads { IoKind::Read } else { IoKind::Write });
                let ticket = self.schedule.enqueue(class, kind, self.asked_count);
                self.waiting.push((self.asked_count, share_of(class, kind), class, ticket));
                self.asked_count += 1;
            }
            Step::Cancel(idx) if !self.waiting.is_empty() => {
                let (name, _, _, ticket) = self.waiting.remove(idx % self.waiting.len());
                assert_eq!(self.schedule.cancel(ticket), Some(name));
                assert_eq!(self.schedule.cancel(ticket), None);
                self.begun_or_cancelled_count += 1;
            }
            Step::End(idx) if !self.in_flight.is_empty() => {
                let (_, permit) = self.in_flight.swap_remove(idx % self.in_flight.len());
                self.schedule.end(permit);
            }
            Step::BeginLog => {
                self.logs_count += 1;
                self.schedule.begin_log();
            }
            Step::EndLog if self.logs_count > 0 => {
                self.logs_count -= 1;
                self.log_ended_at = Some(self.now());
                self.schedule.end_log(self.now());
            }
            Step::Pass(nanos) => self.now += Duration::from_nanos(nanos),
            Step::Cancel(_) | Step::End(_) | Step::EndLog => {}
        }
        self.begin();
    }

    fn begin(&mut self) {
        while let Some((name, permit)) = self.schedule.next(self.now()) {
            let idx = self.waiting.iter().position(|(it, ..)| *it == name).expect("it waits");
            let (_, share, class, _) = self.waiting.remove(idx);
            assert!(self.in_flight_count(share) < self.limit(share), "{share:?}");
            // Merges have their turn behind so many flushes, and it is theirs alone that others do not come first in.
            let is_merge = |class: IoClass| matches!(class, IoClass::UpperMerge | IoClass::BottomMerge);
            let is_write = share == Share::BackgroundWrites;
            let is_turn_of_merges = is_write && is_merge(class) && self.flushes_in_row >= FLUSHES_IN_ROW_MAX;
            let mut of_share = self.waiting.iter().filter(|(_, its_share, ..)| *its_share == share);
            let is_before = |other: u64, its_class: IoClass| {
                (its_class, other) < (class, name) && (is_merge(its_class) || !is_turn_of_merges)
            };
            assert!(
                !of_share.any(|(other, _, its_class, _)| is_before(*other, *its_class)),
                "a more urgent or older one waits"
            );
            if is_write && class == IoClass::Flush {
                let mut merges = self
                    .waiting
                    .iter()
                    .filter(|(_, its_share, its_class, _)| *its_share == share && is_merge(*its_class));
                assert!(self.flushes_in_row < FLUSHES_IN_ROW_MAX || merges.next().is_none(), "merges wait for ever");
                self.flushes_in_row += 1;
            } else if is_write {
                self.flushes_in_row = 0;
            }
            self.in_flight.push((share, permit));
            self.begun_or_cancelled_count += 1;
        }
        for (_, share, ..) in &self.waiting {
            assert!(self.in_flight_count(*share) >= self.limit(*share), "nothing waits for nothing");
        }
        assert_eq!(self.schedule.waiting_count(), self.waiting.len());
        assert_eq!(self.schedule.has_waiting(), !self.waiting.is_empty());
    }
}

proptest! {
    #[test]
    fn limits_hold_the_most_urgent_goes_first_and_nothing_waits_in_vain(steps in prop::collection::vec(step(), 0..600)) {
        let mut model = Model::default();
        steps.into_iter().for_each(|step| model.take(step));
        while !model.in_flight.is_empty() {
            model.take(Step::End(0));
        }
        prop_assert!(model.waiting.is_empty());
        prop_assert_eq!(model.begun_or_cancelled_count, model.asked_count);
    }
}
