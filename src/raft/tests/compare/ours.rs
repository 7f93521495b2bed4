//! A replica of this crate.

use std::time::Duration;

use bytes::Bytes;
use raft::{Config, Persist, Raft, Ready, Recovered, TermRun};
use types::{GroupId, Instant, ReplicaId};
use wire::{Entry, HardState, Message, SnapshotMeta};

use crate::cluster::{Record, Replica, View};

const HEARTBEAT: Duration = Duration::from_millis(1);
/// Longer than a leader waits at most before it tries again to send entries to a follower that took none.
const PAUSE: Duration = Duration::from_millis(40);
/// So long that it passes only when it is meant to.
const ELECTION_MIN: Duration = Duration::from_secs(1_000);
const ELECTION_MAX: Duration = Duration::from_secs(1_001);

#[derive(Default)]
struct Disk {
    hard_state: HardState,
    /// The entries that left the log's beginning, in place of the state they led to.
    dropped: Vec<Record>,
    /// Those behind them.
    entries: Vec<Entry>,
    snapshot: Option<SnapshotMeta>,
}

fn record(entry: &Entry) -> Record {
    (entry.term, <[u8; 8]>::try_from(&entry.payload[..]).map_or(0, u64::from_le_bytes))
}

impl Disk {
    fn offset(&self, index: u64) -> usize {
        index as usize - 1 - self.dropped.len()
    }

    fn write(&mut self, persist: Persist) {
        if persist.reset.is_some() {
            self.entries.clear();
        }
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(first) = persist.entries.first() {
            self.entries.truncate(self.offset(first.index));
        }
        self.entries.extend(persist.entries);
    }

    fn records(&self) -> Vec<Record> {
        self.dropped.iter().copied().chain(self.entries.iter().map(record)).collect()
    }

    fn recover(&self) -> Recovered {
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.entries {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { first: entry.index, term: entry.term });
            }
        }
        let base_index = self.dropped.len() as u64;
        Recovered {
            hard_state: self.hard_state,
            base_index,
            base_term: self.dropped.last().map_or(0, |(term, _)| *term),
            last_index: base_index + self.entries.len() as u64,
            runs,
            applied: base_index,
            snapshot: self.snapshot.clone(),
            ..Recovered::default()
        }
    }
}

/// A replica with its disk and its clock.
pub(crate) struct Ours {
    raft: Raft,
    ready: Ready,
    disk: Disk,
    now: Instant,
    stalled: bool,
    writes: Vec<Persist>,
    messages: Vec<Message>,
    wants: Option<u64>,
    /// States taken over from a snapshot.
    pub(crate) taken_over: u64,
}

impl Ours {
    fn drain(&mut self) {
        while self.raft.has_ready() || (!self.stalled && !self.writes.is_empty()) {
            self.raft.ready(&mut self.ready);
            self.messages.append(&mut self.ready.messages);
            self.writes.extend(self.ready.persist.take());
            if let Some(last) = self.ready.committed.last() {
                self.raft.applied(last.index);
            }
            self.wants = self.ready.snapshot_request.take().map(|fetch| fetch.from.0).or(self.wants);
            for read in std::mem::take(&mut self.ready.log_reads) {
                let entries = self.disk.entries[self.disk.offset(read.first)..=self.disk.offset(read.last)].to_vec();
                self.raft.log_read(read.purpose, entries, self.now);
            }
            if !self.stalled {
                for persist in self.writes.drain(..) {
                    let seq = persist.seq;
                    self.disk.write(persist);
                    self.raft.persisted(seq, self.now);
                }
            }
        }
    }
}

impl Replica for Ours {
    type Message = Message;
    type Snapshot = (SnapshotMeta, Vec<Record>);

    fn new(id: u64, count: u64, narrow: bool) -> Ours {
        let mut config = Config {
            heartbeat_interval: HEARTBEAT,
            election_timeout_min: ELECTION_MIN,
            election_timeout_max: ELECTION_MAX,
            ..Config::new(GroupId(1), ReplicaId(id), (1..=count).map(ReplicaId).collect())
        };
        if narrow {
            config.inflight_count_max = 2;
            config.append_bytes_max = 100;
            config.cache_bytes_max = 200;
        }
        let now = Instant::from_nanos(0);
        let raft = Raft::new(config, Recovered::default(), now).unwrap();
        let (ready, disk) = (Ready::new(), Disk::default());
        Ours {
            raft,
            ready,
            disk,
            now,
            stalled: false,
            writes: Vec::new(),
            messages: Vec::new(),
            wants: None,
            taken_over: 0,
        }
    }

    fn restart(&mut self) {
        self.writes.clear();
        self.messages.clear();
        self.stalled = false;
        self.wants = None;
        self.raft = Raft::new(self.raft.config().clone(), self.disk.recover(), self.now).unwrap();
        self.drain();
    }

    fn stall(&mut self) {
        self.stalled = true;
    }

    fn resume(&mut self) {
        self.stalled = false;
        self.drain();
    }

    fn compact(&mut self) {
        let last_index = self.raft.applied_index();
        if last_index <= self.raft.base_index() || last_index > self.raft.durable_index() {
            return;
        }
        let last_term = self.raft.term_at(last_index).unwrap();
        let meta = SnapshotMeta { last_index, last_term, membership: self.raft.membership().clone() };
        self.raft.set_snapshot(meta.clone());
        self.raft.compact(last_index);
        let count = self.disk.offset(last_index) + 1;
        self.disk.dropped.extend(self.disk.entries.drain(..count).map(|entry| record(&entry)));
        self.disk.snapshot = Some(meta);
    }

    fn wants(&mut self) -> Option<u64> {
        // While nothing becomes durable no state is taken over either.
        self.wants.take().filter(|_| !self.stalled)
    }

    fn give(&self) -> Option<Self::Snapshot> {
        let meta = self.disk.snapshot.clone()?;
        let mut records = self.disk.records();
        records.truncate(meta.last_index as usize);
        Some((meta, records))
    }

    fn take_over(&mut self, (meta, records): Self::Snapshot) {
        let last = meta.last_index;
        if self.raft.restore(meta.clone(), self.now).is_err() {
            return;
        }
        self.taken_over += 1;
        let base = self.raft.base_index();
        if base == last {
            self.disk.dropped = records;
            self.disk.entries.retain(|entry| entry.index > last);
        }
        if base == last || self.disk.snapshot.is_some() {
            self.disk.snapshot = Some(meta);
        }
        self.drain();
    }

    fn reported(&mut self, _: &Message, _: bool) {}

    fn forget_leader(&mut self) {
        self.now += ELECTION_MIN;
    }

    fn resign(&mut self) {
        self.now = self.now + ELECTION_MAX + HEARTBEAT;
        if self.raft.is_leader() {
            self.raft.tick(self.now);
            self.drain();
        }
    }

    fn campaign(&mut self) {
        self.now = self.now.max(self.raft.next_wake().expect("a replica that does not lead has a timer"));
        self.raft.tick(self.now);
        self.drain();
    }

    fn propose(&mut self, payload: u64) {
        let payload = Bytes::copy_from_slice(&payload.to_le_bytes());
        self.raft.propose(payload, self.now).unwrap();
        self.drain();
    }

    fn ping(&mut self) {
        if self.raft.is_leader() {
            self.now += PAUSE;
            self.raft.tick(self.now);
            self.drain();
        }
    }

    fn step(&mut self, message: Message) {
        self.raft.step(message, self.now);
        self.drain();
    }

    fn take_messages(&mut self, out: &mut Vec<(u64, u64, Message)>) {
        out.extend(self.messages.drain(..).map(|message| (message.from.0, message.to.0, message)));
    }

    fn view(&self) -> View {
        View {
            term: self.raft.term(),
            leads: self.raft.is_leader(),
            log: self.disk.records(),
            commit: self.raft.commit_index() as usize,
        }
    }
}
