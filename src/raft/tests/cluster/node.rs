//! One replica with its disk and its clock.

use std::collections::VecDeque;

use raft::{Config, LogRead, Persist, Raft, Ready, Recovered, TermRun};
use types::{Index, Instant};
use wire::{Entry, HardState};

/// What survives a crash.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    /// The log from index 1 on.
    pub(crate) entries: Vec<Entry>,
    /// The store's durable applied index.
    pub(crate) checkpoint: Index,
}

impl Disk {
    fn write(&mut self, persist: Persist) {
        if let Some(hard_state) = persist.hard_state {
            assert!(hard_state.term >= self.hard_state.term, "terms on disk never fall");
            self.hard_state = hard_state;
        }
        if let Some(first) = persist.entries.first() {
            assert!(first.index <= self.entries.len() as u64 + 1, "no gap in the log");
            self.entries.truncate(first.index as usize - 1);
        }
        self.entries.extend(persist.entries);
        let numbered = self.entries.iter().zip(1..);
        assert!(numbered.into_iter().all(|(entry, index)| entry.index == index));
    }

    pub(crate) fn recover(&self) -> Recovered {
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.entries {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { first: entry.index, term: entry.term });
            }
        }
        Recovered {
            hard_state: self.hard_state,
            last_index: self.entries.len() as u64,
            runs,
            applied: self.checkpoint,
            ..Recovered::default()
        }
    }
}

/// A replica, alive or crashed.
pub(crate) struct Node {
    pub(crate) config: Config,
    /// `None` while crashed.
    pub(crate) raft: Option<Raft>,
    pub(crate) ready: Ready,
    pub(crate) disk: Disk,
    /// Writes under way and when they are done; in order.
    pub(crate) writes: VecDeque<(u64, Persist)>,
    pub(crate) log_reads: VecDeque<LogRead>,
    /// The disk completes nothing.
    pub(crate) disk_stopped: bool,
    /// The process is stopped until then.
    pub(crate) paused_until: u64,
    /// How much faster than true time its clock runs, in millionths.
    pub(crate) drift_ppm: i64,
    pub(crate) applied: Index,
    pub(crate) appends_sent: u64,
}

impl Node {
    pub(crate) fn new(config: Config, drift_ppm: i64) -> Node {
        Node {
            config,
            raft: None,
            ready: Ready::new(),
            disk: Disk::default(),
            writes: VecDeque::new(),
            log_reads: VecDeque::new(),
            disk_stopped: false,
            paused_until: 0,
            drift_ppm,
            applied: 0,
            appends_sent: 0,
        }
    }

    /// What its clock shows at the true time `now`, in nanoseconds.
    pub(crate) fn clock(&self, now: u64) -> Instant {
        let drift = now as i64 / 1_000_000 * self.drift_ppm;
        Instant::from_nanos((now as i64 + drift) as u64 + 1_000_000_007 * self.config.id.0)
    }

    pub(crate) fn start(&mut self, now: u64) {
        assert!(self.raft.is_none());
        let clock = self.clock(now);
        self.applied = self.disk.checkpoint;
        self.raft = Some(Raft::new(self.config.clone(), self.disk.recover(), clock).unwrap());
    }

    /// The process dies. Of the writes under way the first `survivors` reach the disk, unreported.
    pub(crate) fn crash(&mut self, survivors: usize) {
        self.raft = None;
        self.ready = Ready::new();
        self.log_reads.clear();
        for (_, persist) in self.writes.drain(..).take(survivors) {
            self.disk.write(persist);
        }
    }

    /// Completes the writes that are done by now. Returns the number of the last one.
    pub(crate) fn complete_writes(&mut self, now: u64) -> Option<u64> {
        let mut last = None;
        while !self.disk_stopped && self.writes.front().is_some_and(|(due, _)| *due <= now) {
            let (_, persist) = self.writes.pop_front().unwrap();
            last = Some(persist.seq);
            self.disk.write(persist);
        }
        last
    }

    /// Answers a log read as a log would: at least one entry, no more than fit.
    pub(crate) fn read_log(&self, read: &LogRead) -> Vec<Entry> {
        let mut bytes = 0;
        let wanted = &self.disk.entries[read.first as usize - 1..read.last as usize];
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.payload.len() + 1;
            first || bytes <= read.bytes_max
        };
        wanted.iter().take_while(fits).cloned().collect()
    }
}
