//! The world: virtual time, a network that misbehaves as told, and a few nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use raft::{Config, ProposeError, Purpose, Raft, ReadError, Role};
use types::{GroupId, Index, Instant, ReplicaId, Term};
use wire::{Body, EntryKind, Membership, Message};

use crate::check::Checker;
use crate::node::Node;

/// A millisecond of true time.
pub(crate) const MS: u64 = 1_000_000;

/// Chance for the world, apart from that of the replicas.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    /// True in `per_mille` of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

/// How the network and the disks behave. Chances are per mille, times in nanoseconds of true time.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) drop: u64,
    pub(crate) repeat: u64,
    pub(crate) latency_min: u64,
    pub(crate) latency_max: u64,
    pub(crate) disk_min: u64,
    pub(crate) disk_max: u64,
    pub(crate) log_read_fails: u64,
    /// Chance of a message to be late by up to `late_max`.
    pub(crate) late: u64,
    pub(crate) late_max: u64,
}

pub(crate) const CALM: Weather = Weather {
    drop: 0,
    repeat: 0,
    latency_min: MS,
    latency_max: MS,
    disk_min: MS,
    disk_max: MS,
    log_read_fails: 0,
    late: 0,
    late_max: 0,
};

/// When nodes call `tick`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// Every so many milliseconds, each node at its own phase.
    Ticks(u64),
    /// Once `next_wake` has come.
    Timers,
}

pub(crate) struct Sim {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) check: Checker,
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    pub(crate) drive: Drive,
    /// Directed pairs of nodes between which nothing passes.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    flying: BTreeMap<(u64, u64), Message>,
    sent_count: u64,
    ctx_last: u64,
}

/// Settings for a group of `count` replicas in the world's time scale.
pub(crate) fn config(id: u64, count: u64) -> Config {
    Config {
        heartbeat_interval: Duration::from_millis(10),
        election_timeout_min: Duration::from_millis(50),
        election_timeout_max: Duration::from_millis(100),
        seed: 7,
        ..Config::new(GroupId(3), ReplicaId(id), (1..=count).map(ReplicaId).collect())
    }
}

impl Sim {
    /// A calm world of `count` brand-new replicas with ids from 1; node 0 is the first campaigner.
    pub(crate) fn new(count: usize) -> Sim {
        Sim::with(count, 1, |config| config.first_campaigner = config.id == ReplicaId(1))
    }

    pub(crate) fn with(count: usize, seed: u64, tweak: impl Fn(&mut Config)) -> Sim {
        let mut sim = Sim {
            now: 0,
            nodes: Vec::new(),
            check: Checker::default(),
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            weather: CALM,
            drive: Drive::Ticks(1),
            cuts: BTreeSet::new(),
            flying: BTreeMap::new(),
            sent_count: 0,
            ctx_last: 0,
        };
        for id in 1..=count as u64 {
            let mut config = config(id, count as u64);
            config.seed = seed;
            tweak(&mut config);
            let mut node = Node::new(config, 0);
            node.start(0);
            sim.nodes.push(node);
        }
        sim
    }

    pub(crate) fn raft(&mut self, idx: usize) -> &mut Raft {
        self.nodes[idx].raft.as_mut().expect("the node is alive")
    }

    pub(crate) fn clock(&self, idx: usize) -> Instant {
        self.nodes[idx].clock(self.now)
    }

    /// The leader of the highest term among the living.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |idx: &usize| self.nodes[*idx].raft.as_ref().is_some_and(Raft::is_leader);
        let leaders = (0..self.nodes.len()).filter(leads);
        leaders.max_by_key(|idx| self.nodes[*idx].raft.as_ref().map(Raft::term))
    }

    /// Runs until some living node leads, at most for a second of true time.
    pub(crate) fn elect(&mut self) -> usize {
        let end = self.now + 1_000 * MS;
        while self.now < end {
            self.turn();
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
        panic!("no leader within a second");
    }

    pub(crate) fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.turn();
        }
    }

    pub(crate) fn propose(&mut self, idx: usize, payload: &[u8]) -> Result<(Term, Index), ProposeError> {
        let (clock, payload) = (self.clock(idx), Bytes::copy_from_slice(payload));
        let proposed = self.raft(idx).propose(payload, clock);
        self.drain(idx);
        proposed
    }

    pub(crate) fn set_priority(&mut self, idx: usize, priority: u8) {
        let clock = self.clock(idx);
        self.raft(idx).set_priority(priority, clock);
        self.drain(idx);
    }

    pub(crate) fn lease_read(&mut self, idx: usize) -> Result<Index, ReadError> {
        let clock = self.clock(idx);
        let read = self.raft(idx).lease_read(clock);
        if let Ok(index) = read {
            self.check.lease_read(index);
        }
        read
    }

    pub(crate) fn read_index(&mut self, idx: usize) -> Result<u64, ReadError> {
        let (clock, ctx) = (self.clock(idx), self.ctx_last + 1);
        self.raft(idx).read_index(ctx, clock)?;
        self.ctx_last = ctx;
        self.check.read_index_asked(ctx);
        self.drain(idx);
        Ok(ctx)
    }

    /// Nothing passes between `idx` and the others.
    pub(crate) fn isolate(&mut self, idx: usize) {
        for other in 0..self.nodes.len() {
            self.cuts.insert((idx, other));
            self.cuts.insert((other, idx));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    /// The process dies, and with it every write that is not durable.
    pub(crate) fn crash(&mut self, idx: usize) {
        self.crash_with(idx, 0);
    }

    pub(crate) fn crash_with(&mut self, idx: usize, survivors: usize) {
        // Reads that die with the process get no answer; forget them.
        self.nodes[idx].crash(survivors);
    }

    pub(crate) fn restart(&mut self, idx: usize) {
        let now = self.now;
        self.nodes[idx].start(now);
    }

    /// A millisecond passes.
    pub(crate) fn turn(&mut self) {
        self.now += MS;
        self.deliver();
        for idx in 0..self.nodes.len() {
            if self.nodes[idx].raft.is_none() || self.nodes[idx].paused_until > self.now {
                continue;
            }
            let clock = self.clock(idx);
            if let Some(seq) = self.nodes[idx].complete_writes(self.now) {
                self.raft(idx).persisted(seq, clock);
            }
            self.answer_log_reads(idx);
            self.end_fetch(idx);
            let is_due = match self.drive {
                Drive::Ticks(every) => (self.now / MS + 7 * idx as u64).is_multiple_of(every),
                Drive::Timers => self.raft(idx).next_wake().is_some_and(|at| at <= clock),
            };
            if is_due {
                self.raft(idx).tick(clock);
            }
            self.drain(idx);
        }
    }

    fn deliver(&mut self) {
        let later = self.flying.split_off(&(self.now + 1, 0));
        let due = std::mem::replace(&mut self.flying, later);
        for message in due.into_values() {
            let (from, to) = (message.from.0 as usize - 1, message.to.0 as usize - 1);
            if self.cuts.contains(&(from, to)) {
                continue;
            }
            if self.nodes[to].paused_until > self.now {
                // It waits in the socket of the stopped process.
                self.sent_count += 1;
                self.flying.insert((self.nodes[to].paused_until, self.sent_count), message);
                continue;
            }
            let clock = self.clock(to);
            if let Some(raft) = &mut self.nodes[to].raft {
                raft.step(message, clock);
                self.drain(to);
            }
        }
    }

    fn answer_log_reads(&mut self, idx: usize) {
        let clock = self.clock(idx);
        while let Some(read) = self.nodes[idx].log_reads.pop_front() {
            if self.dice.chance(self.weather.log_read_fails) {
                self.raft(idx).log_read_failed(read.purpose);
                continue;
            }
            let entries = self.nodes[idx].read_log(&read);
            self.raft(idx).log_read(read.purpose, entries, clock);
        }
    }

    /// A fetch ends: with the state of whoever offered it, or of nobody if that one is away by now.
    fn end_fetch(&mut self, idx: usize) {
        let Some((due, fetch)) = self.nodes[idx].fetch else { return };
        if due > self.now {
            return;
        }
        self.nodes[idx].fetch = None;
        let from = fetch.from.0 as usize - 1;
        let offered = self.nodes[from].raft.as_ref().and_then(|raft| raft.snapshot().cloned());
        if let Some(meta) = offered.filter(|_| !self.cuts.contains(&(from, idx))) {
            assert!(meta.last_index >= fetch.last_index, "snapshots grow");
            let clock = self.clock(idx);
            let committed = self.check.committed().to_vec();
            self.nodes[idx].restore(meta, &committed, clock);
        }
    }

    /// Does what the replica wants done.
    pub(crate) fn drain(&mut self, idx: usize) {
        let node = &mut self.nodes[idx];
        let Some(raft) = &mut node.raft else { return };
        let mut outgoing = Vec::new();
        while raft.has_ready() {
            raft.ready(&mut node.ready);
            outgoing.append(&mut node.ready.messages);
            if let Some(persist) = node.ready.persist.take() {
                let done = self.now
                    + self.weather.disk_min
                    + self.dice.below(self.weather.disk_max - self.weather.disk_min + 1);
                let last = node.writes.back().map_or(0, |(due, _)| *due);
                node.writes.push_back((done.max(last), persist));
            }
            for entry in node.ready.committed.drain(..) {
                assert_eq!(entry.index, node.applied + 1);
                self.check.applied(node.config.id, raft.term(), &entry);
                node.applied = entry.index;
                if entry.kind == EntryKind::Membership {
                    node.membership = Membership::decode(&entry.payload).unwrap();
                }
            }
            raft.applied(node.applied);
            if let Some(fetch) = node.ready.snapshot_request.take()
                && node.fetch.is_none()
            {
                node.fetch = Some((self.now + self.dice.below(30 * MS), fetch));
            }
            for read in node.ready.log_reads.drain(..) {
                assert!(node.log_reads.iter().all(|other| other.purpose != read.purpose), "one read per purpose");
                assert!(read.purpose != Purpose::Peer(node.config.id) && read.first <= read.last);
                node.log_reads.push_back(read);
            }
            for read in node.ready.reads.drain(..) {
                self.check.read_index_answered(read.ctx, Some(read.index));
            }
            for ctx in node.ready.reads_failed.drain(..) {
                self.check.read_index_answered(ctx, None);
            }
        }
        self.check.role(raft);
        if let Some(raft) = &self.nodes[idx].raft {
            self.check.commit(raft, &self.nodes);
        }
        for message in outgoing {
            self.post(idx, message);
        }
    }

    fn post(&mut self, idx: usize, message: Message) {
        assert_eq!(message.from, self.nodes[idx].config.id);
        assert_ne!(message.to, message.from, "no message to oneself");
        self.check_leaving(idx, &message);
        let copies = 1 + u64::from(self.dice.chance(self.weather.repeat));
        for _ in 0..copies {
            if self.dice.chance(self.weather.drop) {
                continue;
            }
            let Weather { latency_min, latency_max, late, late_max, .. } = self.weather;
            let mut due = self.now + latency_min + self.dice.below(latency_max - latency_min + 1);
            if self.dice.chance(late) {
                due += self.dice.below(late_max + 1);
            }
            self.sent_count += 1;
            self.flying.insert((due, self.sent_count), message.clone());
        }
    }

    /// What a message promises must be on disk when it leaves.
    fn check_leaving(&mut self, idx: usize, message: &Message) {
        let node = &mut self.nodes[idx];
        let pre = matches!(message.body, Body::Vote { pre: true, .. } | Body::VoteReply { pre: true, .. });
        if !pre {
            assert!(node.disk.hard_state.term >= message.term, "the term is durable before it is told");
        }
        let same_term = node.disk.hard_state.term == message.term;
        match &message.body {
            Body::Append { .. } => node.appends_sent += 1,
            Body::Vote { pre: false, .. } if same_term => {
                assert_eq!(node.disk.hard_state.vote, Some(message.from), "a candidate's own vote is durable");
            }
            Body::VoteReply { pre: false, granted: true } if same_term => {
                assert_eq!(node.disk.hard_state.vote, Some(message.to), "a vote is durable before it leaves");
            }
            Body::AppendAccepted { match_index } => {
                assert!(*match_index <= node.disk.reach(), "only the durable is acknowledged");
            }
            _ => {}
        }
    }

    /// Roles of all living nodes, for messages.
    pub(crate) fn roles(&self) -> Vec<Option<Role>> {
        self.nodes.iter().map(|node| node.raft.as_ref().map(Raft::role)).collect()
    }
}
