//! A replica of this crate.

use std::time::Duration;

use bytes::Bytes;
use raft::{Config, Persist, Raft, Ready, Recovered, TermRun};
use types::{GroupId, Instant, ReplicaId};
use wire::{Entry, HardState, Message};

use crate::cluster::{Replica, View};

const HEARTBEAT: Duration = Duration::from_millis(1);
/// So long that it passes only when it is meant to.
const ELECTION_MIN: Duration = Duration::from_secs(1_000);
const ELECTION_MAX: Duration = Duration::from_secs(1_001);

#[derive(Default)]
struct Disk {
    hard_state: HardState,
    entries: Vec<Entry>,
}

impl Disk {
    fn write(&mut self, persist: Persist) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(first) = persist.entries.first() {
            self.entries.truncate(first.index as usize - 1);
        }
        self.entries.extend(persist.entries);
    }

    fn recover(&self) -> Recovered {
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.entries {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { first: entry.index, term: entry.term });
            }
        }
        let last_index = self.entries.len() as u64;
        Recovered { hard_state: self.hard_state, last_index, runs, ..Recovered::default() }
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
            for read in std::mem::take(&mut self.ready.log_reads) {
                let entries = self.disk.entries[read.first as usize - 1..read.last as usize].to_vec();
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
        Ours { raft, ready, disk, now, stalled: false, writes: Vec::new(), messages: Vec::new() }
    }

    fn restart(&mut self) {
        self.writes.clear();
        self.messages.clear();
        self.stalled = false;
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
        self.now = self.now.max(self.raft.next_deadline());
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
            self.now += HEARTBEAT;
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
        let payload = |entry: &Entry| <[u8; 8]>::try_from(&entry.payload[..]).map_or(0, u64::from_le_bytes);
        View {
            term: self.raft.term(),
            leads: self.raft.is_leader(),
            log: self.disk.entries.iter().map(|entry| (entry.term, payload(entry))).collect(),
            commit: self.raft.commit_index() as usize,
        }
    }
}
