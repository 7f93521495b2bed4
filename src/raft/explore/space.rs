//! The states of single replicas and the messages that were met, each once and with a number; and what each step did.
//!
//! A replica is in few states compared with the group. So a step of the real code runs once per state of a replica and
//! event; whenever the same replica meets the same event again, in whatever state of the group, the result is looked up.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt::{self, Debug};
use std::format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use types::{Index, ReplicaId, Term};
use wire::{Body, Entry, EntryKind, Membership, Message};

use super::disk::Snapshot;
use super::hash::{Quick, digest};
use super::replica::{Event, Output, Replica, membership_as_of};
use super::scenario::{Clocks, PreVotes, Scenario};
use crate::Role;

/// An event by the numbers of what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Input {
    Message(u32),
    ElectionTimeout,
    Heartbeat,
    QuorumLost,
    TransferTimeout,
    Propose(u8),
    Change(u8),
    Transfer(u8),
    Compact,
    Restore(u32),
    Read(u8),
    Tick,
    Persist,
    Crash(u8),
}

/// Two sets of voters, a bit per replica. The second is empty but for joint states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voters {
    pub(super) incoming: u8,
    pub(super) outgoing: u8,
}

impl Voters {
    fn of(membership: &Membership) -> Voters {
        let bits = |set: &[wire::Member]| set.iter().fold(0, |bits, member| bits | 1 << member.id.0);
        Voters { incoming: bits(&membership.voters), outgoing: bits(&membership.outgoing) }
    }

    pub(super) fn contain(self, id: ReplicaId) -> bool {
        (self.incoming | self.outgoing) & 1 << id.0 != 0
    }

    /// Whether `those` are a majority of each set.
    pub(super) fn have_majority(self, those: u8) -> bool {
        let in_set = |set: u8| set == 0 || 2 * (those & set).count_ones() > set.count_ones();
        in_set(self.incoming) && in_set(self.outgoing)
    }

    /// Whether this configuration may follow `before`: any two majorities have a replica in common.
    pub(super) fn may_follow(self, before: Voters) -> bool {
        match (before.outgoing, self.outgoing) {
            (0, 0) => self.incoming == before.incoming,
            (0, outgoing) => outgoing == before.incoming,
            (_, 0) => self.incoming == before.incoming,
            _ => false,
        }
    }
}

/// An entry as far as the checkers look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryFacts {
    pub(super) term: Term,
    /// If it is a configuration.
    pub(super) voters: Option<Voters>,
}

/// What the checkers look at in a replica. Logs are numbers of entries, from index 1 on.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) id: ReplicaId,
    pub(super) role: Role,
    pub(super) term: Term,
    /// The term that a restart would know.
    pub(super) term_durable: Term,
    pub(super) commit: Index,
    pub(super) log: Vec<u32>,
    /// What a restart would know of it.
    pub(super) durable: Vec<u32>,
    pub(super) may_campaign: bool,
    pub(super) is_sticky: bool,
    pub(super) is_transferring: bool,
    pub(super) writes_count: u8,
    pub(super) lease: Option<Index>,
    /// From whom it wants a state, and up to which index at least.
    pub(super) wanted: Option<(ReplicaId, Index)>,
    /// Its durable state, by number, and the last index of it.
    pub(super) snapshot: Option<(u32, Index)>,
}

/// A message as far as the group looks at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter {
    pub(super) to: ReplicaId,
    pub(super) term: Term,
    pub(super) is_answer: bool,
    /// Its receiver is told to campaign.
    pub(super) is_order: bool,
}

/// A vote that was told: the term, who gives it, and to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote {
    pub(super) term: Term,
    pub(super) voter: ReplicaId,
    pub(super) candidate: ReplicaId,
}

/// What a step did.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The replica behind it.
    pub(super) replica: u32,
    /// By number.
    pub(super) sent: Vec<u32>,
    pub(super) votes: Vec<Vote>,
    pub(super) applied: Vec<u32>,
    pub(super) applied_in: Term,
    /// Reads that were answered: what they had to see, and what they see.
    pub(super) reads: Vec<(Index, Index)>,
}

/// All that was met so far in one scenario.
pub(super) struct Space {
    pub(super) scenario: Scenario,
    replicas: Vec<(Replica, Facts)>,
    replica_numbers: HashMap<u64, u32>,
    messages: Vec<(Message, Letter)>,
    message_numbers: HashMap<u64, u32>,
    entries: Vec<(Entry, EntryFacts)>,
    entry_numbers: HashMap<u64, u32>,
    snapshots: Vec<Snapshot>,
    outcomes: Vec<Result<Option<Outcome>, String>>,
    steps: HashMap<(u32, Input, bool), u32, Quick>,
}

impl Space {
    pub(super) fn new(scenario: Scenario) -> Space {
        Space {
            scenario,
            replicas: Vec::new(),
            replica_numbers: HashMap::new(),
            messages: Vec::new(),
            message_numbers: HashMap::new(),
            entries: Vec::new(),
            entry_numbers: HashMap::new(),
            snapshots: Vec::new(),
            outcomes: Vec::new(),
            steps: HashMap::default(),
        }
    }

    pub(super) fn replicas_count(&self) -> usize {
        self.replicas.len()
    }

    /// How many steps the real code has run.
    pub(super) fn steps_count(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn facts(&self, replica: u32) -> &Facts {
        &self.replicas[replica as usize].1
    }

    pub(super) fn replica(&self, replica: u32) -> &Replica {
        &self.replicas[replica as usize].0
    }

    pub(super) fn message(&self, message: u32) -> &Message {
        &self.messages[message as usize].0
    }

    pub(super) fn letter(&self, message: u32) -> &Letter {
        &self.messages[message as usize].1
    }

    pub(super) fn entry(&self, entry: u32) -> &EntryFacts {
        &self.entries[entry as usize].1
    }

    pub(super) fn entry_number(&mut self, entry: &Entry) -> u32 {
        let entries = &mut self.entries;
        *self.entry_numbers.entry(digest(entry)).or_insert_with(|| {
            let is_membership = entry.kind == EntryKind::Membership;
            let voters = is_membership.then(|| Voters::of(&membership_as_of(core::slice::from_ref(entry))));
            entries.push((entry.clone(), EntryFacts { term: entry.term, voters }));
            entries.len() as u32 - 1
        })
    }

    fn numbers_of<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u32> {
        entries.into_iter().map(|entry| self.entry_number(entry)).collect()
    }

    fn message_number(&mut self, message: Message) -> u32 {
        let messages = &mut self.messages;
        *self.message_numbers.entry(digest(&message)).or_insert_with(|| {
            let is_answer = matches!(
                message.body,
                Body::VoteReply { .. }
                    | Body::AppendAccepted { .. }
                    | Body::AppendRejected { .. }
                    | Body::HeartbeatReply { .. }
            );
            let (to, term) = (message.to, message.term);
            let is_order = message.body == Body::TimeoutNow;
            messages.push((message, Letter { to, term, is_answer, is_order }));
            messages.len() as u32 - 1
        })
    }

    pub(super) fn replica_number(&mut self, replica: Replica) -> u32 {
        let digest = digest(&replica);
        if let Some(known) = self.replica_numbers.get(&digest) {
            return *known;
        }
        let facts = self.facts_of(&replica);
        let number = self.replicas.len() as u32;
        self.replicas.push((replica, facts));
        self.replica_numbers.insert(digest, number);
        number
    }

    fn facts_of(&mut self, replica: &Replica) -> Facts {
        let raft = &replica.raft;
        let snapshot = replica.disk.snapshot.as_ref().map(|snapshot| {
            let known = self.snapshots.iter().position(|known| known == snapshot);
            let number = known.unwrap_or_else(|| {
                self.snapshots.push(snapshot.clone());
                self.snapshots.len() - 1
            });
            (number as u32, snapshot.meta.last_index)
        });
        let is_timed = matches!(self.scenario.clocks, Clocks::Bounded(_));
        Facts {
            id: raft.id(),
            role: raft.role(),
            term: raft.term(),
            term_durable: replica.disk.hard_state.term,
            commit: raft.commit_index(),
            log: self.numbers_of(&replica.log()),
            durable: self.numbers_of(replica.disk.known()),
            may_campaign: raft.may_campaign(),
            is_sticky: raft.is_sticky(),
            is_transferring: raft.transferring_to().is_some(),
            writes_count: replica.writes.len() as u8,
            lease: if is_timed { replica.lease() } else { None },
            wanted: replica.wanted.map(|wanted| (wanted.from, wanted.last_index)),
            snapshot,
        }
    }

    /// What `input` does to a replica, by number; `None` if nothing comes of it, as when the replica is to crash in that
    /// step and there is nothing to lose.
    ///
    /// # Errors
    /// What the replica has broken.
    pub(super) fn step(&mut self, replica: u32, input: Input, crashes: bool) -> Result<Option<u32>, String> {
        let number = match self.steps.entry((replica, input, crashes)) {
            Slot::Occupied(known) => *known.get(),
            Slot::Vacant(free) => {
                let number = self.outcomes.len() as u32;
                free.insert(number);
                let outcome = self.run(replica, input, crashes);
                self.outcomes.push(outcome);
                number
            }
        };
        match &self.outcomes[number as usize] {
            Ok(outcome) => Ok(outcome.is_some().then_some(number)),
            Err(broken) => Err(broken.clone()),
        }
    }

    /// What a step did that something came of.
    pub(super) fn outcome(&self, number: u32) -> &Outcome {
        let outcome = self.outcomes[number as usize].as_ref().ok().and_then(Option::as_ref);
        outcome.expect("something came of the step")
    }

    /// What a step did that was taken before.
    pub(super) fn known(&self, replica: u32, input: Input, crashes: bool) -> Option<&Outcome> {
        let number = self.steps.get(&(replica, input, crashes))?;
        self.outcomes[*number as usize].as_ref().ok()?.as_ref()
    }

    /// Runs the real code.
    fn run(&mut self, number: u32, input: Input, crashes: bool) -> Result<Option<Outcome>, String> {
        let mut replica = self.replica(number).clone();
        let (event, scenario) = (self.event(replica.raft.id(), input), self.scenario);
        let stepped = catch_unwind(AssertUnwindSafe(|| replica.step(event, crashes, &scenario)));
        let output = stepped.map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            format!("replica {} panicked: {}", self.facts(number).id, text.unwrap_or("for whatever reason"))
        })??;
        let Some(Output { messages, reads, applied, applied_in }) = output else { return Ok(None) };
        let behind = self.replica_number(replica);
        let votes = messages.iter().filter_map(vote_of).collect();
        let kept: Vec<Message> = messages.into_iter().filter(|message| !self.is_lost(message)).collect();
        let sent: Vec<u32> = kept.into_iter().map(|message| self.message_number(message)).collect();
        if behind == number && sent.is_empty() && reads.is_empty() {
            return Ok(None);
        }
        let reads = reads.into_iter().map(|read| (read.ctx, read.index)).collect();
        let applied = self.numbers_of(&applied);
        Ok(Some(Outcome { replica: behind, sent, votes, applied, applied_in, reads }))
    }

    /// Whether a message never arrives in this scenario.
    fn is_lost(&self, message: &Message) -> bool {
        let is_pre_vote = matches!(message.body, Body::Vote { pre: true, .. } | Body::VoteReply { pre: true, .. });
        is_pre_vote && self.scenario.pre_votes == PreVotes::Granted || (self.scenario.is_lost)(&message.body)
    }

    fn event(&self, id: ReplicaId, input: Input) -> Event<'_> {
        match input {
            Input::Message(message) => Event::Message(self.message(message)),
            Input::ElectionTimeout => Event::ElectionTimeout,
            Input::Heartbeat => Event::Heartbeat,
            Input::QuorumLost => Event::QuorumLost,
            Input::TransferTimeout => Event::TransferTimeout,
            Input::Propose(nth) => Event::Propose(nth),
            Input::Change(nth) => Event::Change(self.scenario.changes[usize::from(nth)]),
            Input::Transfer(to) => Event::Transfer(ReplicaId(u64::from(to))),
            Input::Compact => Event::Compact,
            Input::Restore(snapshot) => Event::Restore(&self.snapshots[snapshot as usize]),
            Input::Read(index) => Event::Read(Index::from(index)),
            Input::Tick => {
                let Clocks::Bounded(rates) = self.scenario.clocks else { unreachable!("free clocks do not tick") };
                Event::Pass(Duration::from_millis(rates[id.0 as usize - 1]))
            }
            Input::Persist => Event::Persist,
            Input::Crash(survivors) => Event::Crash(survivors),
        }
    }
}

/// The vote that a message tells of: a candidate's request tells of its own.
fn vote_of(message: &Message) -> Option<Vote> {
    let Message { from, to, term, .. } = *message;
    match message.body {
        Body::Vote { pre: false, .. } => Some(Vote { term, voter: from, candidate: from }),
        Body::VoteReply { pre: false, granted: true } => Some(Vote { term, voter: from, candidate: to }),
        _ => None,
    }
}

/// The configuration in effect behind these entries.
pub(super) fn voters_behind(space: &Space, log: &[u32]) -> Voters {
    let first = Voters { incoming: 0b1110, outgoing: 0 };
    log.iter().rev().find_map(|entry| space.entry(*entry).voters).unwrap_or(first)
}

/// The replica with this number, counted from 0.
pub(super) fn id_of(replica_idx: usize) -> ReplicaId {
    ReplicaId(replica_idx as u64 + 1)
}

impl Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scenario.name)
    }
}
