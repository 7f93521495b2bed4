//! What took longer than it should, and when: what LATENCY LATEST and HISTORY show.
//!
//! As in Redis there is a threshold, and of each event one sample per second is kept: the longest.

use std::collections::VecDeque;
use std::time::Duration;

use crate::observe::stages::Stage;

/// Samples of an event that are kept, as in Redis.
const SAMPLES_COUNT_MAX: usize = 160;

/// Declares the events once, each with its name, its stage if it is one, and what it is.
macro_rules! events {
    ($($event:ident: $name:literal, $stage:expr, $help:literal;)*) => {
        /// What may take too long.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum SpikeEvent {
            $(#[doc = $help] $event,)*
        }

        impl SpikeEvent {
            /// All of them, in the order in which they are shown.
            pub(crate) const ALL: &[SpikeEvent] = &[$(SpikeEvent::$event,)*];

            /// Its name for clients.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(SpikeEvent::$event => $name,)*
                }
            }

            /// What it is, for people: it follows the name.
            pub(crate) fn help(self) -> &'static str {
                match self {
                    $(SpikeEvent::$event => $help,)*
                }
            }

            fn stage(self) -> Option<Stage> {
                match self {
                    $(SpikeEvent::$event => $stage,)*
                }
            }
        }
    };
}

events! {
    Turn: "turn", None, "a pass of the core's loop: everything on the core has waited for it";
    LogWrite: "log-write", Some(Stage::LogWrite), "a write to the log, until it was durable on this disk";
    Commit: "commit", Some(Stage::Commit), "an entry, until a majority had it durable";
    Apply: "apply", Some(Stage::Apply), "a committed batch, until it was applied";
    RowRead: "row-read", Some(Stage::ReadRows), "a read that needed rows from the disk";
    Forward: "forward", Some(Stage::Forwarded), "a command that another core has carried out";
}

impl SpikeEvent {
    /// The event that a stage is, if it is one.
    fn of(stage: Stage) -> Option<SpikeEvent> {
        SpikeEvent::ALL.iter().copied().find(|event| event.stage() == Some(stage))
    }

    /// The event of this name.
    pub(crate) fn from_name(name: &[u8]) -> Option<SpikeEvent> {
        SpikeEvent::ALL.iter().copied().find(|event| event.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The longest time that something took within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spike {
    /// When that was, in seconds since 1970.
    pub(crate) unix_s: u64,
    /// How long it took.
    pub(crate) ms: u64,
}

/// The spikes of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpikeLog {
    /// By time. Invariant: one per second, and no more than [`SAMPLES_COUNT_MAX`].
    samples: VecDeque<Spike>,
    /// The longest since the last reset, whether its sample is still kept or not.
    max_ms: u64,
}

impl SpikeLog {
    fn note(&mut self, spike: Spike) {
        self.max_ms = self.max_ms.max(spike.ms);
        match self.samples.back_mut() {
            // A wall clock that was set back makes no second sample of a second either.
            Some(last) if last.unix_s >= spike.unix_s => last.ms = last.ms.max(spike.ms),
            _ => {
                if self.samples.len() == SAMPLES_COUNT_MAX {
                    self.samples.pop_front();
                }
                self.samples.push_back(spike);
            }
        }
    }

    /// The samples, the oldest first.
    pub(crate) fn samples(&self) -> impl ExactSizeIterator<Item = &Spike> {
        self.samples.iter()
    }

    /// The latest.
    pub(crate) fn latest(&self) -> Option<Spike> {
        self.samples.back().copied()
    }

    /// The longest since the last reset, in milliseconds.
    pub(crate) fn max_ms(&self) -> u64 {
        self.max_ms
    }

    fn merge(&mut self, other: &SpikeLog) {
        let mut all: Vec<Spike> = self.samples.iter().chain(&other.samples).copied().collect();
        all.sort_unstable_by_key(|spike| spike.unix_s);
        let max_ms = self.max_ms.max(other.max_ms);
        *self = SpikeLog::default();
        all.into_iter().for_each(|spike| self.note(spike));
        self.max_ms = max_ms;
    }
}

/// The spikes of a core, or of all cores of a node.
#[derive(Clone, Debug)]
pub(crate) struct Spikes {
    /// In the order of [`SpikeEvent::ALL`].
    logs: Vec<SpikeLog>,
}

impl Default for Spikes {
    fn default() -> Spikes {
        Spikes { logs: vec![SpikeLog::default(); SpikeEvent::ALL.len()] }
    }
}

impl Spikes {
    /// Notes that something took so long.
    #[cold]
    pub(crate) fn note(&mut self, event: SpikeEvent, took: Duration, unix_ms: u64) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.logs[event as usize].note(Spike { unix_s: unix_ms / 1_000, ms });
    }

    /// The same of a stage, if it is an event.
    #[cold]
    pub(crate) fn note_stage(&mut self, stage: Stage, took: Duration, unix_ms: u64) {
        if let Some(event) = SpikeEvent::of(stage) {
            self.note(event, took, unix_ms);
        }
    }

    /// The spikes of one event.
    pub(crate) fn of(&self, event: SpikeEvent) -> &SpikeLog {
        &self.logs[event as usize]
    }

    /// The events that have spikes, with them.
    pub(crate) fn list(&self) -> impl Iterator<Item = (SpikeEvent, &SpikeLog)> + Clone {
        let all = SpikeEvent::ALL.iter().copied().zip(&self.logs);
        all.filter(|(_, log)| log.latest().is_some())
    }

    /// Forgets the spikes of these events. Returns how many of them had any.
    pub(crate) fn reset(&mut self, events: &[SpikeEvent]) -> usize {
        let mut count = 0;
        for event in events {
            let log = std::mem::take(&mut self.logs[*event as usize]);
            count += usize::from(log.latest().is_some());
        }
        count
    }

    /// Adds those of another core of the node.
    pub(crate) fn merge(&mut self, other: &Spikes) {
        self.logs.iter_mut().zip(&other.logs).for_each(|(mine, theirs)| mine.merge(theirs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(spikes: &mut Spikes, event: SpikeEvent, second: u64, ms: u64) {
        spikes.note(event, Duration::from_millis(ms), second * 1_000 + 999);
    }

    fn samples(spikes: &Spikes, event: SpikeEvent) -> Vec<(u64, u64)> {
        spikes.of(event).samples().map(|spike| (spike.unix_s, spike.ms)).collect()
    }

    #[test]
    fn the_longest_of_each_second_is_kept_and_a_bounded_number_of_seconds() {
        let mut spikes = Spikes::default();
        for (second, ms) in [(1, 100), (1, 300), (1, 200), (2, 150), (1, 400)] {
            note(&mut spikes, SpikeEvent::Turn, second, ms);
        }
        assert_eq!(samples(&spikes, SpikeEvent::Turn), [(1, 300), (2, 400)], "a clock set back makes no new second");
        (3..1_000).for_each(|second| note(&mut spikes, SpikeEvent::Turn, second, 100));
        let turn = spikes.of(SpikeEvent::Turn);
        assert_eq!((turn.samples().len(), turn.latest().map(|spike| spike.unix_s)), (SAMPLES_COUNT_MAX, Some(999)));
        assert_eq!(turn.max_ms(), 400, "the longest is known also when its sample is gone");
    }

    #[test]
    fn a_node_tells_the_spikes_of_all_cores_by_time() {
        let (mut one, mut other) = (Spikes::default(), Spikes::default());
        note(&mut one, SpikeEvent::Commit, 5, 100);
        note(&mut one, SpikeEvent::Commit, 7, 120);
        note(&mut other, SpikeEvent::Commit, 6, 500);
        note(&mut other, SpikeEvent::Commit, 7, 110);
        note(&mut other, SpikeEvent::RowRead, 1, 200);
        one.merge(&other);
        assert_eq!(samples(&one, SpikeEvent::Commit), [(5, 100), (6, 500), (7, 120)]);
        let known: Vec<_> = one.list().map(|(event, log)| (event.name(), log.max_ms())).collect();
        assert_eq!(known, [("commit", 500), ("row-read", 200)]);
        let (commit, turn) = (SpikeEvent::Commit, SpikeEvent::Turn);
        assert_eq!((one.reset(&[commit, turn]), one.list().count()), (1, 1));
    }

    #[test]
    fn events_are_found_by_name_and_by_stage() {
        for event in SpikeEvent::ALL {
            assert_eq!(SpikeEvent::from_name(event.name().to_uppercase().as_bytes()), Some(*event));
            assert!(event.stage().is_none_or(|stage| SpikeEvent::of(stage) == Some(*event)));
        }
        assert_eq!(SpikeEvent::from_name(b"command"), None);
        let mut spikes = Spikes::default();
        spikes.note_stage(Stage::LogWrite, Duration::from_secs(1), 0);
        spikes.note_stage(Stage::Batch, Duration::from_secs(1), 0);
        assert_eq!(spikes.list().map(|(event, _)| event).collect::<Vec<_>>(), [SpikeEvent::LogWrite]);
    }
}
