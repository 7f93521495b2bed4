//! One replica with its clock and its disk.

use std::collections::VecDeque;

use raft::{Config, LogRead, Persist, Raft, Ready, Recovered, TermRun};
use types::{CoreAddr, Index, Instant, Term};
use wire::{Entry, EntryKind, HardState, Member, Membership, SnapshotMeta};

/// What survives a crash.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    /// Index and term of the entry before the log's first.
    pub(crate) base: (Index, Term),
    /// The log behind `base`.
    pub(crate) entries: Vec<Entry>,
    pub(crate) snapshot: Option<SnapshotMeta>,
}

impl Disk {
    pub(crate) fn write(&mut self, persist: Persist) {
        if let Some(base) = persist.reset {
            self.base = base;
            self.entries.clear();
        }
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(first) = persist.entries.first() {
            assert!(first.index <= self.last_index() + 1, "no gap in the log");
            self.entries.truncate(self.offset(first.index));
        }
        self.entries.extend(persist.entries);
    }

    fn offset(&self, index: Index) -> usize {
        (index - self.base.0 - 1) as usize
    }

    pub(crate) fn last_index(&self) -> Index {
        self.base.0 + self.entries.len() as Index
    }

    /// Everything up to here survives a crash, in the log or in the snapshot.
    pub(crate) fn reaches(&self) -> Index {
        self.last_index().max(self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last_index))
    }

    /// The entries `first ..= last`.
    pub(crate) fn range(&self, first: Index, last: Index) -> &[Entry] {
        &self.entries[self.offset(first)..=self.offset(last)]
    }

    /// Drops the log up to `index`.
    pub(crate) fn compact(&mut self, index: Index) {
        if index > self.base.0 {
            let dropped = self.offset(index) + 1;
            self.base = (index, self.entries[dropped - 1].term);
            self.entries.drain(..dropped);
        }
    }

    /// A snapshot whose entry the log does not hold came from elsewhere, and the crash came before the log was emptied.
    fn finish_restore(&mut self) {
        let Some(SnapshotMeta { last_index, last_term, .. }) = self.snapshot else { return };
        let follows = last_index <= self.base.0
            || last_index <= self.last_index() && self.range(last_index, last_index)[0].term == last_term;
        if !follows {
            self.base = (last_index, last_term);
            self.entries.clear();
        }
    }

    fn recover(&mut self) -> Recovered {
        self.finish_restore();
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.entries {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { first: entry.index, term: entry.term });
            }
        }
        Recovered {
            hard_state: self.hard_state,
            base_index: self.base.0,
            base_term: self.base.1,
            last_index: self.last_index(),
            runs,
            applied: self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last_index),
            snapshot: self.snapshot.clone(),
            memberships: self.entries.iter().filter_map(|entry| Some((entry.index, membership(entry)?))).collect(),
        }
    }
}

/// The configuration in an entry.
pub(crate) fn membership(entry: &Entry) -> Option<Membership> {
    (entry.kind == EntryKind::Membership).then(|| Membership::decode(&entry.payload).unwrap())
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
    /// Who took part as of `applied`.
    pub(crate) membership: Membership,
    /// Its role as last shown.
    pub(crate) shown: String,
    /// The configuration it counts on, as last shown.
    pub(crate) shown_members: Membership,
}

impl Replica {
    pub(crate) fn new(config: Config) -> Replica {
        let voters = config.voters.iter().map(|id| Member { id: *id, place: CoreAddr::default() });
        let membership = Membership::of_voters(voters);
        Replica {
            shown_members: membership.clone(),
            membership,
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
        self.applied = raft.applied_index();
        if let Some(snapshot) = &self.disk.snapshot {
            self.membership = snapshot.membership.clone();
        }
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
        let wanted = self.disk.range(read.first, read.last);
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.payload.len() + 1;
            first || bytes <= read.bytes_max
        };
        wanted.iter().take_while(fits).cloned().collect()
    }
}
