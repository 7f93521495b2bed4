//! One replica whose peers are played by the test.

use std::time::Duration;

use raft::{Config, LogRead, PRIORITY_MAX, Persist, Raft, Ready, Recovered, Role, TermRun};
use types::{Index, Instant, ReplicaId, Term};
use wire::{Body, Entry, EntryKind, HardState, Message};

use crate::sim::config;

pub(crate) const ONE: ReplicaId = ReplicaId(1);
pub(crate) const TWO: ReplicaId = ReplicaId(2);
pub(crate) const THREE: ReplicaId = ReplicaId(3);

/// Replica 1 of 3, unless told otherwise.
pub(crate) struct Solo {
    pub(crate) raft: Raft,
    pub(crate) now: Instant,
    pub(crate) ready: Ready,
    /// Collected from every `Ready` until taken.
    pub(crate) messages: Vec<Message>,
    pub(crate) writes: Vec<Persist>,
    pub(crate) committed: Vec<Entry>,
    pub(crate) log_reads: Vec<LogRead>,
    pub(crate) reads: Vec<(u64, Index)>,
    pub(crate) reads_failed: Vec<u64>,
}

/// A heartbeat that tells nothing else.
pub(crate) fn heartbeat(commit: Index, round: u64) -> Body {
    Body::Heartbeat { commit, round, quiesce: false, round_trip_us: 0 }
}

/// The answer of a replica of no special priority.
pub(crate) fn heartbeat_reply(round: u64) -> Body {
    Body::HeartbeatReply { round, priority: PRIORITY_MAX }
}

pub(crate) fn entry(index: Index, term: Term) -> Entry {
    Entry { term, index, kind: EntryKind::Batch, payload: vec![term as u8; 10].into() }
}

/// Entries from index `first` on with these terms.
pub(crate) fn entries(first: Index, terms: &[Term]) -> Vec<Entry> {
    terms.iter().zip(first..).map(|(term, index)| entry(index, *term)).collect()
}

/// A log with these terms from index 1 on, and a hard state of `term`.
pub(crate) fn recovered(term: Term, terms: &[Term]) -> Recovered {
    let mut runs: Vec<TermRun> = Vec::new();
    for (term, first) in terms.iter().copied().zip(1..) {
        if runs.last().is_none_or(|run| run.term != term) {
            runs.push(TermRun { first, term });
        }
    }
    let hard_state = HardState { term, vote: None, commit: 0 };
    Recovered { hard_state, last_index: terms.len() as u64, runs, ..Recovered::default() }
}

impl Solo {
    /// A brand-new replica.
    pub(crate) fn new() -> Solo {
        Solo::with(Recovered::default(), |_| {})
    }

    pub(crate) fn with(recovered: Recovered, tweak: impl Fn(&mut Config)) -> Solo {
        let mut config = config(1, 3);
        tweak(&mut config);
        let now = Instant::from_nanos(5_000_000_000);
        Solo {
            raft: Raft::new(config, recovered, now).unwrap(),
            now,
            ready: Ready::new(),
            messages: Vec::new(),
            writes: Vec::new(),
            committed: Vec::new(),
            log_reads: Vec::new(),
            reads: Vec::new(),
            reads_failed: Vec::new(),
        }
    }

    /// A leader elected on top of `recovered`, with everything durable and its first messages taken.
    pub(crate) fn leader(recovered: Recovered, tweak: impl Fn(&mut Config)) -> Solo {
        let mut solo = Solo::with(recovered, tweak);
        solo.elect();
        solo
    }

    pub(crate) fn elect(&mut self) {
        self.wait_ms(300);
        self.raft.tick(self.now);
        let term = self.raft.term() + 1;
        self.step(TWO, term, Body::VoteReply { pre: true, granted: true });
        self.persist();
        self.step(TWO, term, Body::VoteReply { pre: false, granted: true });
        assert_eq!(self.raft.role(), Role::Leader);
        self.persist();
        self.messages.clear();
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    pub(crate) fn step(&mut self, from: ReplicaId, term: Term, body: Body) {
        let message = Message { group: self.raft.group(), from, to: self.raft.id(), term, body };
        self.raft.step(message, self.now);
        self.drain();
    }

    /// An Append from the leader `from`.
    pub(crate) fn append(&mut self, from: ReplicaId, term: Term, prev: (Index, Term), terms: &[Term], commit: Index) {
        let (prev_index, prev_term) = prev;
        let entries = entries(prev_index + 1, terms);
        self.step(from, term, Body::Append { prev_index, prev_term, commit, entries });
    }

    pub(crate) fn accept(&mut self, from: ReplicaId, match_index: Index) {
        self.step(from, self.raft.term(), Body::AppendAccepted { match_index });
    }

    pub(crate) fn propose(&mut self, bytes: usize) -> Index {
        let (_, index) = self.raft.propose(vec![0; bytes].into(), self.now).unwrap();
        self.drain();
        index
    }

    pub(crate) fn tick(&mut self) {
        self.raft.tick(self.now);
        self.drain();
    }

    /// Takes what is ready.
    pub(crate) fn drain(&mut self) {
        while self.raft.has_ready() {
            self.raft.ready(&mut self.ready);
            self.messages.append(&mut self.ready.messages);
            self.writes.extend(self.ready.persist.take());
            self.committed.append(&mut self.ready.committed);
            self.log_reads.append(&mut self.ready.log_reads);
            self.reads.extend(self.ready.reads.drain(..).map(|read| (read.ctx, read.index)));
            self.reads_failed.append(&mut self.ready.reads_failed);
        }
        if let Some(last) = self.committed.last() {
            self.raft.applied(last.index);
        }
    }

    /// Everything handed out so far becomes durable.
    pub(crate) fn persist(&mut self) {
        self.drain();
        let last = self.writes.drain(..).next_back();
        if let Some(last) = last {
            self.persisted(last.seq);
        }
    }

    pub(crate) fn persisted(&mut self, seq: u64) {
        self.raft.persisted(seq, self.now);
        self.drain();
    }

    /// The bodies of all messages to `to`, taken out.
    pub(crate) fn take(&mut self, to: ReplicaId) -> Vec<Body> {
        let (taken, left) = self.messages.drain(..).partition(|message: &Message| message.to == to);
        self.messages = left;
        let taken: Vec<Message> = taken;
        taken.into_iter().map(|message| message.body).collect()
    }

    /// First and last index of the entries in each Append to `to`; of an empty one, `prev_index + 1` and `prev_index`.
    pub(crate) fn take_appends(&mut self, to: ReplicaId) -> Vec<(Index, Index)> {
        let range = |body| match body {
            Body::Append { prev_index, entries, .. } => Some((prev_index + 1, prev_index + entries.len() as u64)),
            _ => None,
        };
        self.take(to).into_iter().filter_map(range).collect()
    }
}
