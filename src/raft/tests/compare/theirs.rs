//! A replica of raft-rs.

use raft_rs::eraftpb::{Entry, HardState, Message};
use raft_rs::storage::MemStorage;
use raft_rs::{Config, INVALID_ID, RawNode, StateRole};

use crate::cluster::{Replica, View};

/// A replica with its storage. The library wants to read at once what it hands out to be written, so what a crash leaves
/// is kept aside while writes are stalled.
pub(crate) struct Theirs {
    node: RawNode<MemStorage>,
    config: Config,
    voters: Vec<u64>,
    stalled: bool,
    /// What was durable when the stall began.
    durable: Option<(HardState, Vec<Entry>)>,
    /// Number of the last write under way.
    written: u64,
    /// Messages that wait for a write.
    held: Vec<Message>,
    messages: Vec<Message>,
}

fn start(config: &Config, storage: MemStorage) -> RawNode<MemStorage> {
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(config, storage, &silent).unwrap()
}

fn storage(voters: &[u64], hard_state: HardState, entries: &[Entry]) -> MemStorage {
    let storage = MemStorage::new_with_conf_state((voters.to_vec(), Vec::new()));
    storage.wl().append(entries).unwrap();
    storage.wl().set_hardstate(hard_state);
    storage
}

impl Theirs {
    fn stored(&self) -> (HardState, Vec<Entry>) {
        let core = self.node.store().rl();
        let hard_state = core.hard_state().clone();
        drop(core);
        let entries = all_entries(self.node.store());
        (hard_state, entries)
    }

    fn drain(&mut self) {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            self.messages.extend(ready.take_messages());
            if !ready.entries().is_empty() {
                self.node.mut_store().wl().append(ready.entries()).unwrap();
            }
            if let Some(hard_state) = ready.hs() {
                self.node.mut_store().wl().set_hardstate(hard_state.clone());
            }
            self.held.extend(ready.take_persisted_messages());
            self.written = ready.number();
            self.node.advance_append_async(ready);
            self.node.advance_apply();
            if !self.stalled {
                self.complete();
            }
        }
    }

    /// All writes under way are done.
    fn complete(&mut self) {
        self.node.on_persist_ready(self.written);
        self.messages.append(&mut self.held);
    }
}

fn all_entries(storage: &MemStorage) -> Vec<Entry> {
    use raft_rs::{GetEntriesContext, Storage};
    let (first, last) = (storage.first_index().unwrap(), storage.last_index().unwrap());
    if last < first {
        return Vec::new();
    }
    storage.entries(first, last + 1, None, GetEntriesContext::empty(false)).unwrap()
}

impl Replica for Theirs {
    type Message = Message;

    fn new(id: u64, count: u64, narrow: bool) -> Theirs {
        let mut config = Config { pre_vote: true, max_size_per_msg: 1 << 20, ..Config::new(id) };
        if narrow {
            config.max_inflight_msgs = 2;
            config.max_size_per_msg = 30;
        }
        let voters: Vec<u64> = (1..=count).collect();
        let node = start(&config, storage(&voters, HardState::default(), &[]));
        let (held, messages) = (Vec::new(), Vec::new());
        Theirs { node, config, voters, stalled: false, durable: None, written: 0, held, messages }
    }

    fn restart(&mut self) {
        let (hard_state, entries) = self.durable.take().unwrap_or_else(|| self.stored());
        self.node = start(&self.config, storage(&self.voters, hard_state, &entries));
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
        let payload = |entry: &Entry| <[u8; 8]>::try_from(&entry.data[..]).map_or(0, u64::from_le_bytes);
        View {
            term: self.node.raft.term,
            leads: self.node.raft.state == StateRole::Leader,
            log: all_entries(self.node.store()).iter().map(|entry| (entry.term, payload(entry))).collect(),
            commit: self.node.raft.raft_log.committed as usize,
        }
    }
}
