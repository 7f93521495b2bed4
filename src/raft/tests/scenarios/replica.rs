//! One replica with its clock and its disk.

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
}

impl Disk {
    pub(crate) fn write(&mut self, persist: Persist) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(first) = persist.entries.first() {
            assert!(first.index <= self.last_index() + 1, "no gap in the log");
            self.entries.truncate(first.index as usize - 1);
        }
        self.entries.extend(persist.entries);
    }

    pub(crate) fn last_index(&self) -> Index {
        self.entries.len() as Index
    }

    fn recover(&self) -> Recovered {
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.entries {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { first: entry.index, term: entry.term });
            }
        }
        Recovered { hard_state: self.hard_state, last_index: self.last_index(), runs, ..Recovered::default() }
    }
}

/// A replica, running or stopped.
pub(crate) struct Replica {
    pub(crate) config: Config,
    /// `None` while stopped.
    pub(crate) raft: Option<Raft>,
    pub(crate) ready: Ready,
    pub(crate) disk: Disk,
    /// Writes wait for a command, and so do log reads.
    pub(crate) manual: bool,
    pub(crate) writes: VecDeque<Persist>,
    pub(crate) log_reads: VecDeque<LogRead>,
    /// What its clock shows.
    pub(crate) clock: Instant,
    pub(crate) applied: Index,
    /// Its role as last shown.
    pub(crate) shown: String,
}

impl Replica {
    pub(crate) fn new(config: Config) -> Replica {
        Replica {
            // Clocks of different nodes have nothing to do with each other.
            clock: Instant::from_nanos(1_000_000_000 * config.id.0),
            config,
            raft: None,
            ready: Ready::new(),
            disk: Disk::default(),
            manual: false,
            writes: VecDeque::new(),
            log_reads: VecDeque::new(),
            applied: 0,
            shown: String::new(),
        }
    }

    pub(crate) fn start(&mut self) -> Result<(), String> {
        if self.raft.is_some() {
            return Err(format!("{} is running", self.config.id));
        }
        let raft = Raft::new(self.config.clone(), self.disk.recover(), self.clock).map_err(|e| e.to_string())?;
        self.shown = crate::show::role(&raft);
        self.applied = 0;
        self.raft = Some(raft);
        Ok(())
    }

    /// The process dies. The first `survivors` writes under way reach the disk.
    pub(crate) fn crash(&mut self, survivors: usize) {
        self.raft = None;
        self.ready = Ready::new();
        self.log_reads.clear();
        for persist in self.writes.drain(..).take(survivors) {
            self.disk.write(persist);
        }
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
