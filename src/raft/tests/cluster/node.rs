//! One replica with its disk and its clock.

use std::collections::VecDeque;

use raft::{Config, LogRead, Persist, Raft, Ready, Recovered, SnapshotRequest, TermRun};
use types::{CoreAddr, Index, Instant, Term};
use wire::{Entry, EntryKind, HardState, Member, Membership, SnapshotMeta};

/// What survives a crash.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    /// The log from index 1 on.
    pub(crate) entries: Vec<Entry>,
    /// The store's durable state: what it holds, and who took part as of then.
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// Entries up to here are not in the log any more, though `entries` has them for those who check.
    pub(crate) base: Index,
    /// The entries that a restored state stands for, until the log says so.
    pub(crate) restored: Vec<Entry>,
}

impl Disk {
    fn write(&mut self, persist: Persist) {
        if let Some((index, term)) = persist.reset {
            self.reset(index, term);
        }
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

    /// Index of the last entry the snapshot holds.
    pub(crate) fn snapshot_index(&self) -> Index {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last_index)
    }

    /// Index of the last entry that a restart finds, in the log or in the snapshot.
    pub(crate) fn reach(&self) -> Index {
        self.snapshot_index().max(self.entries.len() as u64)
    }

    /// The log goes on behind a snapshot. Entries it holds are known to those who check, so they stay in sight.
    fn reset(&mut self, index: Index, term: Term) {
        // A later state may have been restored by now, whose reset is still to come.
        let held = self.restored[..index as usize].to_vec();
        assert_eq!(held.last().map(|entry| (entry.index, entry.term)), Some((index, term)), "a state was restored");
        self.entries = held;
        self.base = index;
    }

    pub(crate) fn recover(&mut self) -> Recovered {
        // A state that was restored counts, whether or not the log was emptied by then.
        if let Some(snapshot) = self.snapshot.clone()
            && self.entries.get(snapshot.last_index as usize - 1).map(|entry| entry.term) != Some(snapshot.last_term)
        {
            self.reset(snapshot.last_index, snapshot.last_term);
        }
        self.restored.clear();
        let base = self.base as usize;
        let mut runs: Vec<TermRun> = Vec::new();
        let mut memberships = Vec::new();
        for entry in &self.entries[base..] {
            if entry.kind == EntryKind::Membership {
                memberships.push((entry.index, Membership::decode(&entry.payload).unwrap()));
            }
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { first: entry.index, term: entry.term });
            }
        }
        Recovered {
            hard_state: self.hard_state,
            base_index: self.base,
            base_term: base.checked_sub(1).map_or(0, |last| self.entries[last].term),
            last_index: self.entries.len() as u64,
            runs,
            applied: self.snapshot_index(),
            snapshot: self.snapshot.clone(),
            memberships,
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
    /// A state that is being fetched, and when it is there.
    pub(crate) fetch: Option<(u64, SnapshotRequest)>,
    /// Who takes part as of what is applied.
    pub(crate) membership: Membership,
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
            fetch: None,
            membership: Membership::default(),
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
        let recovered = self.disk.recover();
        self.applied = self.disk.snapshot_index();
        let bootstrap = self.config.voters.iter().map(|id| Member { id: *id, place: CoreAddr::default() });
        self.membership = match &recovered.snapshot {
            Some(snapshot) => snapshot.membership.clone(),
            None => Membership::of_voters(bootstrap),
        };
        self.raft = Some(Raft::new(self.config.clone(), recovered, clock).unwrap());
    }

    /// The process dies. Of the writes under way the first `survivors` reach the disk, unreported.
    pub(crate) fn crash(&mut self, survivors: usize) {
        self.raft = None;
        self.ready = Ready::new();
        self.log_reads.clear();
        self.fetch = None;
        for (_, persist) in self.writes.drain(..).take(survivors) {
            self.disk.write(persist);
        }
    }

    /// The store makes its state durable, if the log holds durably what is in it.
    pub(crate) fn write_snapshot(&mut self) {
        let Some(raft) = &mut self.raft else { return };
        let last = self.applied;
        if last <= self.disk.snapshot_index() || last > raft.durable_index() {
            return;
        }
        let last_term = raft.term_at(last).expect("what was just applied is in the log");
        let meta = SnapshotMeta { last_index: last, last_term, membership: self.membership.clone() };
        self.disk.snapshot = Some(meta.clone());
        raft.set_snapshot(meta);
    }

    /// Drops the log's beginning, all that the snapshot covers but `kept` entries.
    pub(crate) fn compact(&mut self, kept: u64) {
        let Some(raft) = &mut self.raft else { return };
        let index = self.disk.snapshot_index().saturating_sub(kept);
        if index > self.disk.base && raft.snapshot().is_some() {
            raft.compact(index);
            self.disk.base = index;
        }
    }

    /// Takes over a state that was fetched: durable first, then told.
    pub(crate) fn restore(&mut self, meta: SnapshotMeta, entries: &[Entry], clock: Instant) {
        let Some(raft) = &mut self.raft else { return };
        if meta.last_index <= raft.commit_index() {
            assert!(raft.restore(meta, clock).is_err(), "an old state is of no use");
            return;
        }
        self.disk.restored = entries[..meta.last_index as usize].to_vec();
        self.disk.snapshot = Some(meta.clone());
        raft.restore(meta.clone(), clock).unwrap();
        self.applied = meta.last_index;
        self.membership = meta.membership;
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
        assert!(read.last <= self.disk.entries.len() as u64);
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
