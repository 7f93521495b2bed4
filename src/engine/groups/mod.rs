//! The replicas of a core: their Raft, their keys, and the commands that wait for either.
//!
//! Commands come in through [`Groups::execute`] and [`Groups::take_forwarded`], messages of other replicas through
//! [`Groups::step`], news of the log through [`Groups::persisted`] and [`Groups::log_read`]. Replies go straight to the
//! [`ReplySink`]; everything else that follows is returned as [`GroupEffect`]s, in the order in which it is to be done.
//!
//! Invariants:
//! - A reply to a write leaves only after the write was committed and applied here.
//! - A read is answered only under a lease that holds at a time behind its arrival, after a majority has confirmed the
//!   leadership since, or at its place in a batch proposed after it.
//! - Commands of one source for one group keep their order, also when the leadership moves.
//! - A group in which nothing happens costs nothing: it stands in no list and no timer runs.
//!
//! Reading order: `replica` (what is kept of one), `batch_queue`, `proposals` and `waiting_read`, `writes`, `reads`, `drive` (what Raft
//! wants done), `apply`, `requeue` (a leadership is lost), `leadership`, `install`, `timers`, `sources`.

mod apply;
mod batch_queue;
mod drive;
mod install;
mod leadership;
mod proposals;
mod reads;
mod replica;
mod requeue;
mod sources;
#[cfg(test)]
mod tests;
mod timers;
mod waiting_read;
mod writes;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use data::Keyspace;
use raft::{LogRead, Persist, Purpose, Ready, StartError};
use resp::ArgRange;
use types::{CoreAddr, GroupId, Index, Instant, Term};
use wire::{Entry, LeaderNote, Message};

pub(crate) use self::install::InstalledState;
pub(crate) use self::replica::NewReplica;
use self::replica::Replica;
use self::sources::Sources;
use self::timers::Timers;
use crate::context::Context;
use crate::local_replica::LocalReplica;
use crate::observe::{CoreReport, Event, QueueLen, ReplicaReport};
use crate::origin::LinkId;
use crate::replicas::{ReplicaView, Replicas, SnapshotHeader};
use crate::replies::ReplySink;
use crate::request::{OwnedRequest, Request};

/// What an entry's payload has beside the bytes of its commands, and more.
const ENTRY_OVERHEAD_BYTES: usize = 64 << 10;

/// What follows from what happened to a group: for `core` to carry out, in order.
#[derive(Debug)]
pub(crate) enum GroupEffect {
    /// A Raft message for another replica.
    Send { to: CoreAddr, message: Message },
    /// A write to the log. What becomes of it is told by [`Groups::persisted`].
    Persist { group: usize, persist: Persist },
    /// Entries to read back. Answered by [`Groups::log_read`] or [`Groups::log_read_failed`].
    ReadLog { group: usize, read: LogRead },
    /// A state to fetch from another replica.
    FetchSnapshot { group: usize, from: CoreAddr, last_index: Index },
    /// Who leads the group. With `is_elected` this core has just won the election.
    Leader { note: LeaderNote, is_elected: bool },
    /// Nobody is known to lead the group in this term.
    NoLeader { group: GroupId, term: Term },
    /// Commands that were taken in here and did not run: they look for the leader, before all others that do.
    Requeue { group: GroupId, requests: Vec<OwnedRequest> },
    /// The group takes commands in again that had to wait elsewhere.
    Unblocked { group: GroupId },
    /// A committed cluster map.
    Map { payload: Bytes },
    /// An entry was applied.
    Applied { group: usize, index: Index, payload_bytes: usize },
    /// A batch was committed and applied this long after it was proposed here.
    Committed { took: Duration },
}

/// How a forwarded command arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The replica that it is for.
    pub(crate) group: usize,
    /// Whether the sender has an answer to every earlier command for this group.
    pub(crate) resumes: bool,
    /// Whether the log is full for the group.
    pub(crate) must_wait: bool,
}

/// The replicas of a core.
pub(crate) struct Groups {
    list: Vec<Replica>,
    /// Groups that Raft or a command has given something to do in this turn.
    with_work: VecDeque<usize>,
    /// Groups with commands for a next batch.
    batching: Vec<usize>,
    /// Groups that were full when somebody wanted to add to them.
    full: Vec<usize>,
    /// Groups with proposals or reads that are looked at every tick: they may have waited too long.
    watched: Vec<usize>,
    timers: Timers,
    sources: Sources,
    /// Raft's priority of this core's replicas.
    priority: u8,
    ready: Ready,
    ranges: Vec<ArgRange>,
}

impl Groups {
    /// No replicas yet.
    pub(crate) fn new() -> Groups {
        Groups {
            list: Vec::new(),
            with_work: VecDeque::new(),
            batching: Vec::new(),
            full: Vec::new(),
            watched: Vec::new(),
            timers: Timers::default(),
            sources: Sources::default(),
            priority: raft::PRIORITY_MAX,
            ready: Ready::new(),
            ranges: Vec::new(),
        }
    }

    /// Adds a replica; returns its index.
    ///
    /// # Errors
    /// What Raft has against what was recovered.
    pub(crate) fn add(&mut self, ctx: &Context, new: NewReplica) -> Result<usize, StartError> {
        let started = Event::Started {
            hard_state: new.recovered.hard_state,
            base: (new.recovered.base_index, new.recovered.base_term),
            last_index: new.recovered.last_index,
            last_term: new.recovered.runs.last().map_or(new.recovered.base_term, |run| run.term),
            applied: new.recovered.applied,
        };
        let mut replica = Replica::start(&ctx.config, &ctx.budget, new, ctx.now)?;
        replica.raft.set_priority(self.priority, ctx.now);
        let group = self.list.len();
        self.list.push(replica);
        self.observe(ctx, group, started);
        self.observe_digest(ctx, group);
        self.mark(group);
        Ok(group)
    }

    /// How many replicas there are.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// The group of a replica.
    pub(crate) fn id(&self, group: usize) -> GroupId {
        self.list[group].id
    }

    /// What decides where a command for this group goes.
    pub(crate) fn local(&self, ctx: &Context, group: usize) -> LocalReplica {
        let replica = &self.list[group];
        LocalReplica {
            group,
            leads: replica.leads(),
            is_full: is_full(ctx, replica),
            has_unsettled: replica.has_unsettled(),
        }
    }

    /// Executes a command on a group that is led here and not full.
    pub(crate) fn execute(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        group: usize,
        request: Request<'_>,
    ) {
        if request.command.is_write() {
            self.write(ctx, out, group, request);
        } else {
            self.read(ctx, out, group, request);
        }
    }

    /// Takes in a command that another core has forwarded: executes it, lets it wait until there is room, or sends it back.
    pub(crate) fn take_forwarded(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        arrival: Arrival,
        request: Request<'_>,
    ) {
        let Arrival { group, resumes, must_wait } = arrival;
        let Some((link, id)) = peer_of(request) else { return };
        let replica = &mut self.list[group];
        if resumes {
            replica.accept_again(link);
        }
        if !replica.leads() || replica.refuses(link) {
            // The older ones first.
            self.requeue(ctx, out, effects, group);
            self.list[group].refuse(link);
            return out.send_back(link, id);
        }
        let must_wait = must_wait || !replica.held.is_empty() || is_full(ctx, replica) || !out.takes_replies(link);
        if !must_wait {
            return self.execute(ctx, out, group, request);
        }
        if replica.held_bytes < ctx.config.limits.held_bytes_max {
            let held = request.to_owned();
            replica.held_bytes += held.bytes();
            replica.held.push_back(held);
            replica.settle_requests();
            return self.note_full(group);
        }
        // The sender gives up on commands, and sends others, while these are stalled. All go back, in order.
        self.refuse_held(out, group);
        self.list[group].refuse(link);
        out.send_back(link, id);
    }

    /// Goes on with commands that waited because their group was full, as far as it is no longer. `must_wait` tells whether
    /// the log is full for a group.
    pub(crate) fn resume_full(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        must_wait: impl Fn(usize) -> bool,
    ) {
        for group in std::mem::take(&mut self.full) {
            self.list[group].is_full = false;
            if !must_wait(group) {
                self.execute_held(ctx, out, group);
            }
            let replica = &self.list[group];
            if is_full(ctx, replica) || !replica.held.is_empty() || must_wait(group) {
                self.note_full(group);
            } else {
                effects.push(GroupEffect::Unblocked { group: replica.id });
            }
        }
    }

    fn execute_held(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize) {
        loop {
            let replica = &mut self.list[group];
            let Some((link, _)) = replica.held.front().and_then(|held| peer_of(held.as_request())) else { break };
            if !replica.leads() || is_full(ctx, replica) || !out.takes_replies(link) {
                break;
            }
            let Some(held) = replica.take_held() else { break };
            self.execute(ctx, out, group, held.as_request());
        }
        self.list[group].settle_requests();
    }

    /// Sends all commands of other cores back that wait for room, in order.
    fn refuse_held(&mut self, out: &mut impl ReplySink, group: usize) {
        let replica = &mut self.list[group];
        while let Some(held) = replica.take_held() {
            let Some((link, id)) = peer_of(held.as_request()) else { continue };
            replica.refuse(link);
            out.send_back(link, id);
        }
        replica.settle_requests();
    }

    /// Notes that somebody waits until the group has room.
    pub(crate) fn note_full(&mut self, group: usize) {
        if !std::mem::replace(&mut self.list[group].is_full, true) {
            self.full.push(group);
        }
    }

    /// Forgets the commands of a core that has heard no answers and waits for none: its connection was replaced.
    pub(crate) fn forget_held(&mut self, link: LinkId) {
        for group in self.full.clone() {
            let replica = &mut self.list[group];
            replica.held.retain(|held| peer_of(held.as_request()).is_none_or(|(from, _)| from != link));
            replica.held_bytes = replica.held.iter().map(OwnedRequest::bytes).sum();
            replica.settle_requests();
        }
    }

    /// A Raft message of another replica, which lives at `from`.
    pub(crate) fn step(&mut self, ctx: &mut Context, group: usize, from: CoreAddr, message: Message) {
        // The leader sends it again, for as long as it takes; what is left of the log is for votes.
        if (ctx.disk_full.is_some() || ctx.is_log_backlogged) && brings_commands(&message) {
            ctx.counters.appends_refused += 1;
            return;
        }
        let replica = &mut self.list[group];
        // Whoever takes part by a configuration that has not come here yet must be answered too.
        replica.addrs.entry(message.from).or_insert(from);
        replica.raft.step(message, ctx.now);
        self.mark(group);
    }

    /// Writes up to `seq` of this group are durable in the log here.
    pub(crate) fn persisted(&mut self, ctx: &Context, group: usize, seq: u64) {
        self.list[group].raft.persisted(seq, ctx.now);
        self.mark(group);
    }

    /// Entries that were wanted from the log.
    pub(crate) fn log_read(&mut self, ctx: &Context, group: usize, purpose: Purpose, entries: Vec<Entry>) {
        self.list[group].raft.log_read(purpose, entries, ctx.now);
        self.mark(group);
    }

    /// Entries that were wanted from the log cannot be read now.
    pub(crate) fn log_read_failed(&mut self, ctx: &Context, group: usize, purpose: Purpose) {
        let raft = &mut self.list[group].raft;
        raft.wake(ctx.now);
        raft.log_read_failed(purpose);
        self.mark(group);
    }

    /// The core at `addr` cannot be reached any more: its replicas cannot, and those that follow it look whether it lives.
    pub(crate) fn peer_lost(&mut self, ctx: &Context, addr: CoreAddr) {
        for group in 0..self.list.len() {
            let replica = &mut self.list[group];
            let lost = replica.addrs.iter().find(|(_, at)| **at == addr).map(|(id, _)| *id);
            let Some(id) = lost else { continue };
            replica.raft.peer_unreachable(id);
            if replica.follows_one_of(&[addr]) {
                replica.raft.wake(ctx.now);
            }
            self.mark(group);
        }
    }

    /// The core at `addr` can be reached, or is heard, again: its replicas may lack something and not know it, as they were
    /// cut off while their groups were quiescent.
    pub(crate) fn peer_found(&mut self, ctx: &Context, addr: CoreAddr) {
        for group in 0..self.list.len() {
            let replica = &mut self.list[group];
            if let Some((id, _)) = replica.addrs.iter().find(|(_, at)| **at == addr) {
                replica.raft.peer_reachable(*id, ctx.now);
                self.mark(group);
            }
        }
    }

    /// The cores at `addrs` have not been heard for long: quiescent groups that follow them wake.
    pub(crate) fn peers_silent(&mut self, ctx: &Context, addrs: &[CoreAddr]) {
        for group in 0..self.list.len() {
            let replica = &mut self.list[group];
            if replica.raft.is_quiescent() && replica.follows_one_of(addrs) {
                replica.raft.wake(ctx.now);
                self.mark(group);
            }
        }
    }

    /// Ticks the groups whose time has come.
    pub(crate) fn run_timers(&mut self, ctx: &Context) {
        while let Some(group) = self.timers.pop_due(ctx.now) {
            let replica = &mut self.list[group];
            if replica.timer_at > ctx.now {
                // An earlier place of a group that was looked at since.
                continue;
            }
            replica.timer_at = Instant::NEVER;
            replica.raft.tick(ctx.now);
            self.mark(group);
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Instant {
        self.timers.next().unwrap_or(Instant::NEVER)
    }

    /// Sets a group's timer to when its Raft wants to be ticked next.
    fn arm(&mut self, group: usize) {
        let replica = &mut self.list[group];
        let next = replica.raft.next_wake().unwrap_or(Instant::NEVER);
        if next < replica.timer_at {
            replica.timer_at = next;
            self.timers.arm(group, next);
        }
    }

    /// Looks at what may have waited too long. Called at every tick.
    pub(crate) fn tick(&mut self, ctx: &mut Context, out: &mut impl ReplySink, effects: &mut Vec<GroupEffect>) {
        for group in std::mem::take(&mut self.watched) {
            self.list[group].is_watched = false;
            self.give_up_unresolved(ctx, out, effects, group);
            if self.list[group].has_reads() {
                self.mark(group);
            }
            self.watch_if_needed(group);
        }
        if ctx.observer.is_some() {
            for group in 0..self.list.len() {
                self.observe_counters(ctx, group);
                self.observe_digest_if_wanted(ctx, group);
            }
        }
    }

    /// Puts a group on the list of those looked at every tick, if it has something that may wait too long.
    fn watch_if_needed(&mut self, group: usize) {
        let replica = &mut self.list[group];
        if !replica.is_watched && (!replica.proposed.is_empty() || replica.has_reads()) {
            replica.is_watched = true;
            self.watched.push(group);
        }
    }

    /// Puts a group on the list of those to look at in this turn.
    fn mark(&mut self, group: usize) {
        if !std::mem::replace(&mut self.list[group].has_work, true) {
            self.with_work.push_back(group);
        }
    }

    /// How fit this core is to lead: replicas on fitter ones take over where they can.
    pub(crate) fn set_priority(&mut self, ctx: &Context, priority: u8) {
        if self.priority == priority {
            return;
        }
        self.priority = priority;
        for group in 0..self.list.len() {
            self.list[group].raft.set_priority(priority, ctx.now);
            self.mark(group);
        }
    }

    /// What is led here.
    pub(crate) fn led(&self, addr: CoreAddr) -> impl Iterator<Item = LeaderNote> + '_ {
        let led = self.list.iter().filter(|replica| replica.raft.is_leader());
        led.map(move |replica| LeaderNote { group: replica.id, term: replica.raft.term(), place: addr })
    }

    /// Adds what is known here to a report. `snapshot_index` tells the last entry of a group's snapshot.
    pub(crate) fn report(&self, report: &mut CoreReport, snapshot_index: impl Fn(usize) -> Index) {
        report.groups_count = self.list.len();
        for (group, replica) in self.list.iter().enumerate() {
            let raft = &replica.raft;
            report.commit_index_sum += raft.commit_index();
            report.raft.merge(raft.counters());
            if raft.is_leader() {
                report.groups_led_count += 1;
                report.keys_count += replica.keyspace.keys_count();
            }
            report.replicas.push(ReplicaReport {
                group: replica.id,
                role: raft.role(),
                term: raft.term(),
                commit: raft.commit_index(),
                applied: raft.applied_index(),
                last: raft.last_index(),
                durable: raft.durable_index(),
                keys_count: replica.keyspace.keys_count(),
                backlog_bytes: replica.backlog_bytes(),
                snapshot: snapshot_index(group),
            });
        }
    }

    /// How full the queues of the groups are, the fullest of each kind, for an observer.
    pub(crate) fn queues(&self, ctx: &Context, queue: &mut impl FnMut(QueueLen)) {
        let limits = &ctx.config.limits;
        let most = |of: &dyn Fn(&Replica) -> usize| self.list.iter().map(of).max().unwrap_or_default();
        let entry_max = ctx.config.batch_bytes_max + limits.commands.command_bytes_max + ENTRY_OVERHEAD_BYTES;
        // A group that is full takes no more; one command, or what forwarded it, may have made it so.
        let waiting_max = limits.batches_bytes_max + limits.commands.command_bytes_max + ENTRY_OVERHEAD_BYTES;
        let held_max = limits.held_bytes_max + limits.commands.command_bytes_max + ENTRY_OVERHEAD_BYTES;
        let uncommitted_max = ctx.config.uncommitted_bytes_max.max(entry_max) + ENTRY_OVERHEAD_BYTES;
        let mut one = |name, len: usize, max: usize| queue(QueueLen { name, len: len as u64, max: max as u64 });
        one("commands that wait in a group, bytes", most(&|replica| replica.waiting_bytes()), waiting_max);
        one("commands of a batch, bytes", most(&|replica| replica.batches.oldest_bytes()), entry_max);
        one("commands of other cores held by a group, bytes", most(&|replica| replica.held_bytes), held_max);
        one(
            "what a group has not committed, bytes",
            most(&|replica| replica.raft.uncommitted_bytes()),
            uncommitted_max,
        );
    }

    /// Whether nothing is under way in any group.
    pub(crate) fn is_drained(&self) -> bool {
        self.batching.is_empty()
            && self.list.iter().all(|replica| {
                replica.proposed.is_empty() && replica.held.is_empty() && replica.raft.transferring_to().is_none()
            })
    }

    fn observe(&self, ctx: &Context, group: usize, observation: Event<'_>) {
        if let Some(observer) = &ctx.observer {
            let replica = &self.list[group];
            observer.observe(ctx.addr(), replica.id, replica.raft.id(), observation);
        }
    }

    /// Tells the observer, if there is one, the digest of a group's state, which takes a walk over all keys.
    pub(crate) fn observe_digest(&self, ctx: &Context, group: usize) {
        if ctx.observer.is_some() {
            let replica = &self.list[group];
            let applied = replica.raft.applied_index();
            self.observe(ctx, group, Event::Digest { applied, digest: replica.digest() });
        }
    }

    fn observe_digest_if_wanted(&self, ctx: &Context, group: usize) {
        let Some(observer) = &ctx.observer else { return };
        let replica = &self.list[group];
        if observer.wants_digest(ctx.addr(), replica.id, replica.raft.applied_index()) {
            self.observe_digest(ctx, group);
        }
    }

    fn observe_counters(&self, ctx: &Context, group: usize) {
        let Some(observer) = &ctx.observer else { return };
        let replica = &self.list[group];
        observer.raft_counted(ctx.addr(), replica.id, replica.raft.counters());
    }

    /// The log of a group was cut up to `index`, which a snapshot covers.
    pub(crate) fn compact(&mut self, ctx: &Context, group: usize, index: Index) {
        self.list[group].raft.compact(index);
        self.observe(ctx, group, Event::Compacted(index));
        self.mark(group);
    }

    /// There is a snapshot of the group that followers can be sent.
    pub(crate) fn offer_snapshot(&mut self, group: usize, meta: wire::SnapshotMeta) {
        self.list[group].raft.set_snapshot(meta);
        self.mark(group);
    }
}

/// Whether a group has so much to do that no more should be taken in for it.
fn is_full(ctx: &Context, replica: &Replica) -> bool {
    replica.waiting_bytes() >= ctx.config.limits.batches_bytes_max
}

/// Whom a forwarded command came from, and under which number.
fn peer_of(request: Request<'_>) -> Option<(LinkId, u64)> {
    match request.origin {
        crate::origin::Origin::Peer { link, id, .. } => Some((link, id)),
        _ => None,
    }
}

/// Whether a message has entries with commands, which take room in the log and can wait.
fn brings_commands(message: &Message) -> bool {
    match &message.body {
        wire::Body::Append { entries, .. } => entries.iter().any(|entry| entry.kind == wire::EntryKind::Batch),
        _ => false,
    }
}

impl Replicas for Groups {
    fn view(&self, group: usize) -> ReplicaView {
        let replica = &self.list[group];
        let raft = &replica.raft;
        ReplicaView {
            id: replica.id,
            replica: raft.id(),
            applied: raft.applied_index(),
            applied_term: raft.term_at(raft.applied_index()),
            durable: raft.durable_index(),
            base: raft.base_index(),
            offered: raft.snapshot().map_or(0, |snapshot| snapshot.last_index),
            state_bytes: replica.keyspace.bytes() as u64,
        }
    }

    fn keyspace(&self, group: usize) -> &Keyspace {
        &self.list[group].keyspace
    }

    fn keyspace_mut(&mut self, group: usize) -> &mut Keyspace {
        &mut self.list[group].keyspace
    }

    fn snapshot_header(&self, group: usize) -> SnapshotHeader {
        let replica = &self.list[group];
        SnapshotHeader {
            time_ms: replica.time_ms,
            keys_count: replica.keyspace.keys_count() as u64,
            membership: replica.membership.clone(),
        }
    }
}
