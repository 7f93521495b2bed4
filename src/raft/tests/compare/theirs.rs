//! A replica of raft-rs.

use raft_rs::eraftpb::{Entry, HardState, Message, MessageType, Snapshot};
use raft_rs::storage::MemStorage;
use raft_rs::{Config, GetEntriesContext, INVALID_ID, RawNode, SnapshotStatus, StateRole, Storage};

use crate::cluster::{Record, Replica, View};

/// A replica with its storage. The library wants to read at once what it hands out to be written, so what a crash
/// leaves is kept aside while writes are stalled.
pub(crate) struct Theirs {
    node: RawNode<MemStorage>,
    config: Config,
    voters: Vec<u64>,
    stalled: bool,
    /// What was durable when the stall began.
    durable: Option<Durable>,
    /// The entries that left the log's beginning, in place of the state they led to.
    dropped: Vec<Record>,
    /// Number of the last write under way.
    written: u64,
    /// Messages that wait for a write.
    held: Vec<Message>,
    messages: Vec<Message>,
}

/// What a crash leaves.
struct Durable {
    hard_state: HardState,
    dropped: Vec<Record>,
    entries: Vec<Entry>,
}

fn start(config: &Config, storage: MemStorage) -> RawNode<MemStorage> {
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(config, storage, &silent).unwrap()
}

fn storage(voters: &[u64], durable: &Durable) -> MemStorage {
    let storage = MemStorage::new_with_conf_state((voters.to_vec(), Vec::new()));
    if let Some((term, _)) = durable.dropped.last() {
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        (meta.index, meta.term) = (durable.dropped.len() as u64, *term);
        meta.mut_conf_state().voters = voters.to_vec();
        storage.wl().apply_snapshot(snapshot).unwrap();
    }
    storage.wl().append(&durable.entries).unwrap();
    storage.wl().set_hardstate(durable.hard_state.clone());
    storage
}

fn record(entry: &Entry) -> Record {
    (entry.term, <[u8; 8]>::try_from(&entry.data[..]).map_or(0, u64::from_le_bytes))
}

/// The state in a snapshot: what led to it.
fn encode(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(|(term, payload)| [term.to_le_bytes(), payload.to_le_bytes()].concat()).collect()
}

fn decode(bytes: &[u8]) -> Vec<Record> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    bytes.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect()
}

impl Theirs {
    fn stored(&self) -> Durable {
        let hard_state = self.node.store().rl().hard_state().clone();
        Durable { hard_state, dropped: self.dropped.clone(), entries: self.entries() }
    }

    fn entries(&self) -> Vec<Entry> {
        let store = self.node.store();
        let (first, last) = (store.first_index().unwrap(), store.last_index().unwrap());
        if last < first {
            return Vec::new();
        }
        store.entries(first, last + 1, None, GetEntriesContext::empty(false)).unwrap()
    }

    fn records(&self) -> Vec<Record> {
        self.dropped.iter().copied().chain(self.entries().iter().map(record)).collect()
    }

    /// A snapshot leaves with the state that belongs to it.
    fn fill(&self, mut message: Message) -> Message {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let count = message.get_snapshot().get_metadata().index as usize;
            let state = encode(&self.records()[..count]);
            message.mut_snapshot().data = state.into();
        }
        message
    }

    fn drain(&mut self) {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            if ready.snapshot().get_metadata().index > 0 {
                self.dropped = decode(&ready.snapshot().data);
                self.node.mut_store().wl().apply_snapshot(ready.snapshot().clone()).unwrap();
            }
            for message in ready.take_messages() {
                let message = self.fill(message);
                self.messages.push(message);
            }
            if !ready.entries().is_empty() {
                self.node.mut_store().wl().append(ready.entries()).unwrap();
            }
            if let Some(hard_state) = ready.hs() {
                self.node.mut_store().wl().set_hardstate(hard_state.clone());
            }
            self.held.extend(ready.take_persisted_messages());
            self.written = ready.number();
            self.node.advance_append_async(ready);
            if !self.stalled {
                self.complete();
            }
        }
    }

    /// All writes under way are done.
    fn complete(&mut self) {
        self.node.on_persist_ready(self.written);
        self.node.advance_apply();
        self.messages.append(&mut self.held);
    }
}

impl Replica for Theirs {
    type Message = Message;
    /// Its snapshots travel in messages.
    type Snapshot = ();

    fn new(id: u64, count: u64, narrow: bool) -> Theirs {
        let mut config = Config { pre_vote: true, max_size_per_msg: 1 << 20, ..Config::new(id) };
        if narrow {
            config.max_inflight_msgs = 2;
            config.max_size_per_msg = 30;
        }
        let voters: Vec<u64> = (1..=count).collect();
        let nothing = Durable { hard_state: HardState::default(), dropped: Vec::new(), entries: Vec::new() };
        let node = start(&config, storage(&voters, &nothing));
        let (held, messages, dropped) = (Vec::new(), Vec::new(), Vec::new());
        Theirs { node, config, voters, stalled: false, durable: None, dropped, written: 0, held, messages }
    }

    fn restart(&mut self) {
        let durable = self.durable.take().unwrap_or_else(|| self.stored());
        self.node = start(&self.config, storage(&self.voters, &durable));
        self.dropped = durable.dropped;
        self.stalled = false;
        self.held.clear();
        self.messages.clear();
    }

    fn stall(&mut self) {
        self.stalled = true;
        self.durable = Some(self.stored());
    }

    fn resume(&mut self) {
        self.stalled = false;
        self.durable = None;
        self.complete();
        self.drain();
    }

    fn compact(&mut self) {
        // Its storage forgets the terms of what it drops, and wants one entry to stay.
        let first = self.node.raft.raft_log.applied;
        if first > self.dropped.len() as u64 + 1 {
            let count = first as usize - 1;
            self.dropped = self.records();
            self.dropped.truncate(count);
            self.node.mut_store().wl().compact(first).unwrap();
        }
    }

    fn wants(&mut self) -> Option<u64> {
        None
    }

    fn give(&self) -> Option<()> {
        None
    }

    fn take_over(&mut self, (): ()) {}

    fn reported(&mut self, message: &Message, arrived: bool) {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
            self.node.report_snapshot(message.to, status);
            self.drain();
        }
    }

    fn forget_leader(&mut self) {}

    fn resign(&mut self) {
        if self.node.raft.state == StateRole::Leader {
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, INVALID_ID);
            self.drain();
        }
    }

    fn campaign(&mut self) {
        self.node.campaign().unwrap();
        self.drain();
    }

    fn propose(&mut self, payload: u64) {
        self.node.propose(Vec::new(), payload.to_le_bytes().to_vec()).unwrap();
        self.drain();
    }

    fn ping(&mut self) {
        self.node.ping();
        self.drain();
    }

    fn step(&mut self, message: Message) {
        // Some answers are errors for a replica that no longer expects them.
        let _ = self.node.step(message);
        self.drain();
    }

    fn take_messages(&mut self, out: &mut Vec<(u64, u64, Message)>) {
        out.extend(self.messages.drain(..).map(|message| (message.from, message.to, message)));
    }

    fn view(&self) -> View {
        View {
            term: self.node.raft.term,
            leads: self.node.raft.state == StateRole::Leader,
            log: self.records(),
            commit: self.node.raft.raft_log.committed as usize,
        }
    }
}
