//! One replica with its driver and its disk, and what it does in one step.
//!
//! Behind each step the replica is brought into a form in which nothing is left of when it came there: see
//! [`Replica::normalise`].

use std::collections::VecDeque;
use std::format;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use bytes::Bytes;
use types::{Index, Instant, ReplicaId, Term};
use wire::{Body, Entry, EntryKind, Membership, Message, SnapshotMeta};

use super::disk::{Disk, Snapshot, Write};
use super::scenario::{Clocks, Disks, PreVotes, Scenario};
use crate::counters::Counters;
use crate::membership;
use crate::raft::Raft;
use crate::reads::ReadState;
use crate::ready::{Persist, Purpose, Ready, SnapshotRequest};
use crate::rng::Rng;
use crate::role::RoleState;
use crate::timing::Timing;
use crate::{Change, Role};

/// What each clock shows when a step begins.
const START: Instant = Instant::from_nanos(3_600_000_000_000);

/// What lies further back than this is as old as can be: longer than every time-out.
const AGE_MAX: Duration = Duration::from_millis(16);

/// What may be done to a replica.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'a> {
    Message(&'a Message),
    /// It misses a leader.
    ElectionTimeout,
    /// A heartbeat interval has passed at a leader.
    Heartbeat,
    /// A heartbeat interval has passed at a leader that has heard no majority for long.
    QuorumLost,
    /// A transfer has taken too long.
    TransferTimeout,
    /// A client proposes its nth batch.
    Propose(u8),
    Change(&'a [Change]),
    Transfer(ReplicaId),
    /// The state is made durable, and what it covers leaves the log.
    Compact,
    /// A state that was asked for has come.
    Restore(&'a Snapshot),
    /// A read by ReadIndex, of whatever is committed up to this index.
    Read(Index),
    /// This much passes on its clock.
    Pass(Duration),
    /// The disk completes the first write under way.
    Persist,
    /// The process ends and starts again. As many of the writes under way have reached the disk.
    Crash(u8),
}

/// What came out of a step, beside the replica as it is then.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) messages: Vec<Message>,
    pub(super) reads: Vec<ReadState>,
    /// All that was applied when most was: a crash ends the step with less.
    pub(super) applied: Vec<Entry>,
    /// The term it was in when it applied that.
    pub(super) applied_in: Term,
}

/// A replica that runs.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) raft: Raft,
    pub(super) disk: Disk,
    /// Under way, in order.
    pub(super) writes: VecDeque<Write>,
    /// The state machine: what made it, from index 1 on.
    pub(super) applied: Vec<Entry>,
    /// The state that it wants.
    pub(super) wanted: Option<SnapshotRequest>,
}

impl Replica {
    /// Starts on what the disk holds.
    pub(super) fn start(config: crate::Config, mut disk: Disk, scenario: &Scenario) -> Replica {
        let raft = Raft::new(config, disk.recover(), START).expect("a disk holds what was written to it");
        let applied = disk.snapshot.as_ref().map_or_else(Vec::new, |snapshot| snapshot.entries.clone());
        let mut replica = Replica { raft, disk, writes: VecDeque::new(), applied, wanted: None };
        replica.pump(scenario, false, &mut Output::default());
        replica.normalise(scenario);
        replica
    }

    /// Does one step; with `crashes` the process ends before the first write of the step is durable. `None` if there is
    /// no such write.
    ///
    /// # Errors
    /// What the replica broke, if that can be told without knowing the others.
    pub(super) fn step(
        &mut self,
        event: Event<'_>,
        crashes: bool,
        scenario: &Scenario,
    ) -> Result<Option<Output>, String> {
        let (term, commit, vote) = (self.raft.term, self.raft.commit, self.raft.vote);
        let is_sticky = self.raft.now < self.raft.leader_sticky_until;
        let mut out = Output::default();
        self.apply_event(event, scenario);
        let is_restart = matches!(event, Event::Crash(_));
        let is_cut_short = self.pump(scenario, crashes, &mut out);
        self.note_applied(&mut out);
        if crashes && !is_cut_short {
            return Ok(None);
        }
        if self.raft.counters.contradictions() > 0 {
            return Err(format!("replica {} was told what cannot be", self.raft.id()));
        }
        if !is_restart && (self.raft.term < term || self.raft.commit < commit) {
            return Err(format!("term or commit index of replica {} fell", self.raft.id()));
        }
        if let Event::Message(Message { body: Body::Vote { transfer: false, .. }, .. }) = event
            && is_sticky
            && (self.raft.term, self.raft.vote) != (term, vote)
        {
            return Err(format!("replica {} was disturbed though it hears a leader", self.raft.id()));
        }
        if crashes {
            self.restart(0, scenario);
        }
        self.normalise(scenario);
        Ok(Some(out))
    }

    fn apply_event(&mut self, event: Event<'_>, scenario: &Scenario) {
        match event {
            Event::Message(message) => {
                self.raft.step(message.clone(), START);
            }
            Event::ElectionTimeout => self.miss_leader(scenario),
            Event::Heartbeat => self.pass_heartbeat_interval(),
            Event::QuorumLost => {
                for peer in &mut self.raft.peers {
                    peer.heard_at = Instant::ZERO;
                }
                self.pass_heartbeat_interval();
            }
            Event::TransferTimeout => {
                if let Some(transfer) = self.raft.state.leader_mut().and_then(|leader| leader.transfer.as_mut()) {
                    transfer.deadline = START;
                }
                self.raft.tick(START);
            }
            Event::Propose(nth) => {
                let _ = self.raft.propose(Bytes::copy_from_slice(&[nth]), START);
            }
            Event::Change(changes) => {
                let _ = self.raft.change_membership(changes, START);
            }
            Event::Transfer(to) => {
                let _ = self.raft.transfer_leader(Some(to), START);
            }
            Event::Compact => self.compact(),
            Event::Restore(snapshot) => self.restore(snapshot),
            Event::Read(ctx) => {
                let _ = self.raft.read_index(ctx, START);
            }
            Event::Pass(duration) => self.raft.advance(START + duration),
            Event::Persist => {
                if let Some(write) = self.writes.pop_front() {
                    self.complete(write, scenario);
                }
            }
            Event::Crash(survivors) => self.restart(usize::from(survivors), scenario),
        }
    }

    /// Time-outs are choices: the deadline is now.
    fn miss_leader(&mut self, scenario: &Scenario) {
        self.raft.election_deadline = START;
        self.raft.tick(START);
        if scenario.pre_votes == PreVotes::Granted {
            let term = self.raft.term + 1;
            let (group, to) = (self.raft.group(), self.raft.id());
            let voters: Vec<ReplicaId> = self.raft.peers.iter().map(|peer| peer.id).collect();
            for from in voters {
                if self.raft.role() == Role::PreCandidate {
                    let body = Body::VoteReply { pre: true, granted: true };
                    self.raft.step(Message { group, from, to, term, body }, START);
                }
            }
        }
    }

    fn pass_heartbeat_interval(&mut self) {
        let slot = self.raft.slot_of_now() - 1;
        if let Some(leader) = self.raft.state.leader_mut() {
            leader.heartbeat_slot = slot;
        }
        self.raft.tick(START);
    }

    fn compact(&mut self) {
        let last_index = self.applied.len() as Index;
        if last_index <= self.disk.snapshot_index() || last_index > self.raft.durable_index() {
            return;
        }
        let last_term = self.applied[last_index as usize - 1].term;
        let meta = SnapshotMeta { last_index, last_term, membership: membership_as_of(&self.applied) };
        self.disk.snapshot = Some(Snapshot { meta: meta.clone(), entries: self.applied.clone() });
        self.raft.set_snapshot(meta);
        self.raft.compact(last_index);
        self.disk.compact();
    }

    /// A state is made durable before it is taken over.
    fn restore(&mut self, snapshot: &Snapshot) {
        self.wanted = None;
        let meta = snapshot.meta.clone();
        if meta.last_index <= self.raft.commit_index() {
            return;
        }
        self.disk.snapshot = Some(snapshot.clone());
        self.raft.restore(meta, START).expect("a state behind what is committed here is of use");
        self.applied.clone_from(&snapshot.entries);
    }

    fn restart(&mut self, survivors: usize, scenario: &Scenario) {
        let mut disk = self.disk.clone();
        for write in self.writes.drain(..).take(survivors) {
            disk.write(write);
        }
        *self = Replica::start(self.raft.config.clone(), disk, scenario);
    }

    fn complete(&mut self, write: Write, scenario: &Scenario) {
        let seq = write.seq;
        self.disk.write(write);
        if scenario.disks != Disks::Lying {
            self.raft.persisted(seq, START);
        }
    }

    /// Does what the replica wants done. True if `crashes` ended that before a write was durable.
    fn pump(&mut self, scenario: &Scenario, crashes: bool, out: &mut Output) -> bool {
        let mut ready = Ready::new();
        while self.raft.has_ready() {
            self.raft.ready(&mut ready);
            out.messages.append(&mut ready.messages);
            out.reads.append(&mut ready.reads);
            self.applied.append(&mut ready.committed);
            self.raft.applied(self.applied.len() as Index);
            if let Some(wanted) = ready.snapshot_request.take() {
                self.wanted = Some(wanted);
            }
            if let Some(persist) = ready.persist.take() {
                if crashes {
                    return true;
                }
                self.begin_write(persist, scenario);
            }
            for read in &ready.log_reads {
                let entries = (read.first..=read.last).map_while(|index| self.disk.entry(index).cloned());
                self.raft.log_read(read.purpose, entries.collect(), START);
                assert_ne!(read.purpose, Purpose::Peer(self.raft.id()), "nobody reads for itself");
            }
        }
        false
    }

    fn begin_write(&mut self, persist: Persist, scenario: &Scenario) {
        let write = Write::from(persist);
        match scenario.disks {
            Disks::Prompt => self.complete(write, scenario),
            Disks::Late => self.writes.push_back(write),
            Disks::Lying => {
                self.raft.persisted(write.seq, START);
                self.writes.push_back(write);
            }
        }
    }

    fn note_applied(&self, out: &mut Output) {
        if self.applied.len() >= out.applied.len() {
            out.applied.clone_from(&self.applied);
            out.applied_in = self.raft.term;
        }
    }

    /// Forgets what is of no meaning for what can come: measurements, chance, counters, the order of answers, and when
    /// things were. With free clocks every time-out may come at any time, and stickiness is over as soon as it begins.
    /// With bounded clocks ages are kept, as far as something depends on them. The real code goes on from here, so two replicas
    /// that are equal now do the same for ever.
    fn normalise(&mut self, scenario: &Scenario) {
        let raft = &mut self.raft;
        let elapsed = raft.now.since(START);
        let anew = |at: Instant| match scenario.clocks {
            Clocks::Free => START,
            Clocks::Bounded(_) => (at - elapsed).max(START - AGE_MAX),
        };
        raft.now = START;
        raft.rng = Rng::new(0);
        raft.timing = Timing::new(&raft.config);
        raft.counters = Counters::default();
        raft.election_timeout = raft.config.election_timeout_min;
        raft.election_deadline = Instant::NEVER;
        raft.apply_retry_at = START;
        raft.has_campaigned = false;
        raft.hand_overs_failed = 0;
        raft.leader_sticky_until = anew(raft.leader_sticky_until).max(START);
        for peer in &mut raft.peers {
            peer.heard_at = anew(peer.heard_at);
            peer.retry_at = START;
        }
        let slot = raft.slot_of_now();
        let transfer_deadline = START + raft.config.election_timeout_min;
        match &mut raft.state {
            RoleState::Follower(_) => {}
            RoleState::PreCandidate(candidate) => {
                candidate.asked_at = START;
                candidate.votes.sort();
            }
            RoleState::Candidate(candidate) => candidate.votes.sort(),
            RoleState::Leader(leader) => {
                leader.rounds.date(anew);
                leader.hand_over_from = START;
                leader.heartbeat_slot = slot;
                leader.idle_intervals_count = 0;
                if let Some(transfer) = &mut leader.transfer {
                    transfer.deadline = transfer_deadline;
                }
            }
        }
        let fell = raft.durability.renumber();
        for write in &mut self.writes {
            write.seq = write.seq.saturating_sub(fell);
        }
    }

    /// All entries that the log holds, and before its beginning those that were applied, from index 1 on.
    pub(super) fn log(&self) -> Vec<Entry> {
        let (base, cached) = (self.raft.base_index(), self.raft.log.cache_first());
        let mut log = self.applied[..base as usize].to_vec();
        for index in base + 1..=self.raft.last_index() {
            if index >= cached {
                self.raft.log.copy(index, index, 1, &mut log);
            } else {
                log.push(self.disk.entry(index).expect("what is not in memory is durable").clone());
            }
        }
        log
    }

    /// What a read by lease would be answered from; `None` if there is no lease now.
    pub(super) fn lease(&self) -> Option<Index> {
        self.raft.clone().lease_read(START).ok()
    }
}

/// The group that all scenarios begin with.
pub(super) fn first_membership() -> Membership {
    membership::of_ids(&[ReplicaId(1), ReplicaId(2), ReplicaId(3)])
}

/// Who takes part behind these entries.
pub(super) fn membership_as_of(entries: &[Entry]) -> Membership {
    let last = entries.iter().rfind(|entry| entry.kind == EntryKind::Membership);
    last.map_or_else(first_membership, |entry| {
        Membership::decode(&entry.payload).expect("only what was encoded is committed")
    })
}
