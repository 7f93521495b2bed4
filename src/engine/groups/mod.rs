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
//! Reading order: `replica` (what is kept of one), `addresses`, `batch_queue`, `proposals` and `waiting_reads`, `writes`,
//! `reads`, `news` (what the groups are told), `drive` (what Raft wants done), `applying` and `apply`, `cold` and `rows_read` (rows that are not in memory), `pressure` and `evict`, `failed` (batches that are not applied),
//! `forwarded_queue` and `forwarded` (commands of other cores, and who waits for room), `requeue` and `leaving` (a leadership is
//! lost), `leadership`, `members` (who takes part), `order` and `orders` (what operators want of that), `questions`, `standing` and `retire` (who does no more), `install`, `release` (memory of removed keys), `expiry`, `comparing`, `compare` and `divergence` (whether replicas hold the
//! same), `timers`, `sources`, `led`, `group_load`, `reporting` and `views` (what others see).

mod addresses;
mod apply;
mod applying;
mod batch_queue;
mod cold;
mod compare;
mod comparing;
mod divergence;
mod drive;
mod evict;
mod expiry;
mod failed;
mod forwarded;
mod forwarded_queue;
mod gather;
mod group_load;
mod install;
mod leadership;
mod leaving;
mod led;
mod members;
mod news;
mod order;
mod orders;
mod pressure;
mod proposals;
mod questions;
mod reads;
mod release;
mod replica;
mod reporting;
mod requeue;
mod retire;
mod rows_read;
mod sources;
mod stalls;
mod standing;
#[cfg(test)]
mod tests;
mod timers;
mod views;
mod waiting_reads;
mod writes;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use lsm::Prefetch;
use meta::MapChange;
use raft::{LogRead, Persist, Purpose, Ready, StartError};
use resp::ArgRange;
use resp::command::Scope;
use types::{CoreAddr, GroupId, Index, Instant, ReplicaId, Slot, Term};
use wire::{ComparisonNote, LeaderNote, Message, ReplicaNote};

use self::cold::ColdReads;
pub(crate) use self::comparing::CompareRefusal;
use self::comparing::Comparing;
pub(crate) use self::forwarded::Arrival;
use self::gather::Gather;
pub(crate) use self::install::InstalledState;
use self::order::Orders;
pub(crate) use self::order::PlannerQuestion;
use self::pressure::Pressure;
use self::questions::Questions;
pub(crate) use self::questions::is_unwanted;
pub(crate) use self::replica::NewReplica;
use self::replica::Replica;
use self::sources::Sources;
use self::timers::Timers;
use crate::budget::Budget;
use crate::comparison::ComparePoint;
use crate::context::Context;
use crate::limits::WAITING_READS_COUNT_MAX;
use crate::local_replica::LocalReplica;
use crate::observe::Event;
use crate::origin::Origin;
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
    /// A state to receive from another replica.
    WantSnapshot { group: usize, from: CoreAddr, last_index: Index },
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
    /// A committed change of the cluster map.
    MapChange { payload: Bytes },
    /// The state is to be compared as it is behind an entry. The answer is [`Groups::digested`]; until the state is sealed, or cannot be,
    /// nothing more is applied.
    Compare { group: usize, point: ComparePoint },
    /// Something to be said to the replica on another core.
    ComparisonNote { to: CoreAddr, note: ComparisonNote },
    /// To be told a core that has asked whether the replica there is a member: it is none. And who leads, which it may not know.
    Gone { to: CoreAddr, note: ReplicaNote, leader: LeaderNote },
    /// A replica that belongs to its group no more has nothing left to answer: it can be destroyed.
    Retired { group: usize },
    /// A change of the cluster map to be asked for.
    AskChange { change: MapChange },
    /// A client asks whoever plans what is to be done about nodes; it is answered there.
    AskPlanner { origin: Origin, question: PlannerQuestion },
    /// An entry was applied.
    Applied { group: usize, index: Index, payload_bytes: usize },
    /// A batch was committed and applied this long after it was proposed here.
    Committed { took: Duration },
}

/// The replicas of a core.
pub(crate) struct Groups {
    /// Invariant: at most one of a group. Its index stays with the group: another one has it when this one is gone.
    list: Vec<Replica>,
    /// Those that are gone.
    gone: Vec<usize>,
    /// Those that retire.
    retiring: Vec<usize>,
    questions: Questions,
    orders: Orders,
    /// Groups that Raft or a command has given something to do in this turn.
    with_work: VecDeque<usize>,
    /// Groups with commands for a next batch.
    batching: Vec<usize>,
    /// Those of them that propose now. Empty between calls.
    due: Vec<usize>,
    /// Groups that were full when somebody wanted to add to them, or in which commands of other cores wait.
    full: VecDeque<usize>,
    /// Whether some of them were left to the next turn.
    is_full_cut_short: bool,
    /// Groups that have more commands to give back, or to answer as they fail, than a turn may.
    giving_back: Vec<usize>,
    /// Groups that have more to apply, or more reads to answer, than a turn may.
    left_over: Vec<usize>,
    /// Groups whose keys were removed all at once and still take up memory.
    releasing: Vec<usize>,
    /// Groups in which keys expire, in the order in which they are looked at.
    expiring: VecDeque<usize>,
    /// Whether so many keys of late had expired that it is worth looking for more at once.
    is_expiry_behind: bool,
    /// Groups with proposals or reads that are looked at every tick: they may have waited too long.
    watched: Vec<usize>,
    timers: Timers,
    gather: Gather,
    /// The group of which rows were evicted last.
    evict_next: usize,
    pressure: Pressure,
    sources: Sources,
    /// Groups whose writers are held up.
    stalled: Vec<usize>,
    /// Rows on their way from the disk.
    cold: ColdReads,
    /// Groups that wait for rows which are damaged, and the numbers of their reads.
    rows_to_ask_again: Vec<(usize, u64)>,
    /// Raft's priority of this core's replicas.
    priority: u8,
    comparing: Comparing,
    /// Replicas that have left, since they hold other rows than most.
    divergent: Vec<usize>,
    /// Groups whose members may not be those that the map wants, and when these are looked at next.
    unfit: Vec<usize>,
    fit_at: Instant,
    ready: Ready,
    ranges: Vec<ArgRange>,
}

impl Groups {
    /// No replicas yet.
    pub(crate) fn new(budget: &Budget) -> Groups {
        Groups {
            list: Vec::new(),
            gone: Vec::new(),
            retiring: Vec::new(),
            questions: Questions::default(),
            orders: Orders::default(),
            with_work: VecDeque::new(),
            batching: Vec::new(),
            due: Vec::new(),
            full: VecDeque::new(),
            is_full_cut_short: false,
            giving_back: Vec::new(),
            left_over: Vec::new(),
            releasing: Vec::new(),
            expiring: VecDeque::new(),
            is_expiry_behind: false,
            watched: Vec::new(),
            timers: Timers::default(),
            gather: Gather::default(),
            evict_next: 0,
            pressure: Pressure::default(),
            sources: Sources::default(),
            stalled: Vec::new(),
            cold: ColdReads::new(budget),
            rows_to_ask_again: Vec::new(),
            priority: raft::PRIORITY_MAX,
            comparing: Comparing::new(budget),
            divergent: Vec::new(),
            unfit: Vec::new(),
            fit_at: Instant::ZERO,
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
        let compare_at = comparing::first_at(ctx.settings.compare_interval, ctx.now, new.seed);
        let mut replica = Replica::start(&ctx.config, &ctx.budget, new, ctx.now)?;
        replica.compare_at = compare_at;
        replica.raft.set_priority(self.priority, ctx.now);
        let group = self.place(replica);
        self.observe(ctx, group, started);
        self.observe_digest(ctx, group);
        self.expire_later(group);
        self.mark(group);
        Ok(group)
    }

    /// How many replicas there are, or have been.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// The group of a replica.
    pub(crate) fn id(&self, group: usize) -> GroupId {
        self.list[group].id
    }

    /// The replica's own id.
    pub(crate) fn replica_id(&self, group: usize) -> ReplicaId {
        self.list[group].raft.id()
    }

    /// Where the follower lives for which log is read back, if it is for one.
    pub(crate) fn place_of(&self, group: usize, purpose: Purpose) -> Option<CoreAddr> {
        let Purpose::Peer(replica) = purpose else { return None };
        self.list[group].addrs.get(replica)
    }

    /// What decides where a command for this group goes.
    pub(crate) fn local(&self, ctx: &Context, group: usize) -> LocalReplica {
        let replica = &self.list[group];
        LocalReplica {
            group,
            leads: replica.leads(),
            is_full: is_full(ctx, replica),
            must_writers_wait: false,
            has_unsettled: replica.has_unsettled(),
        }
    }

    /// Adds a key to those whose rows are to be loaded into the CPU's caches, if it is here that it will be looked for.
    pub(crate) fn prefetch<'r>(&'r self, prefetch: &mut Prefetch<'r>, group: usize, slot: Slot, key: &[u8]) {
        let replica = &self.list[group];
        if replica.leads() {
            replica.keyspace.prefetch(prefetch, slot, key);
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
        if ctx.hot_keys.is_due()
            && let Some(key) = request.command.keys(request.args).next()
        {
            ctx.hot_keys.note(request.slot, key);
        }
        self.list[group].load.count();
        if matches!(request.command.scope, Scope::Leader | Scope::ClusterLeader) {
            self.take_order(ctx, out, group, request);
        } else if request.command.is_write() {
            self.write(ctx, out, group, request);
        } else {
            self.read(ctx, out, group, request);
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
            if replica.is_mute() {
                // It would campaign, since it hears nobody.
                continue;
            }
            replica.raft.tick(ctx.now);
            self.mark(group);
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self, now: Instant) -> Instant {
        let held_until = if self.batching.is_empty() { None } else { self.gather.until(now) };
        self.timers.next().into_iter().chain(held_until).min().unwrap_or(Instant::NEVER)
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

    /// Whether something waits for ticks: a proposal or a read for its end, or keys for their time.
    pub(crate) fn wants_ticks(&self) -> bool {
        let is_watched = !self.watched.is_empty() || !self.expiring.is_empty() || !self.stalled.is_empty();
        let is_reading = self.pressure.is_on() || !self.rows_to_ask_again.is_empty();
        is_watched
            || is_reading
            || self.comparing.wants_ticks()
            || !self.divergent.is_empty()
            || !self.unfit.is_empty()
            || !self.retiring.is_empty()
            || !self.orders.is_empty()
    }

    /// Looks at what may have waited too long. Called at every tick.
    pub(crate) fn tick(&mut self, ctx: &mut Context, out: &mut impl ReplySink, effects: &mut Vec<GroupEffect>) {
        self.ask_for_rows_again();
        self.tick_retiring(ctx, out, effects);
        for group in std::mem::take(&mut self.watched) {
            self.list[group].is_watched = false;
            self.give_up_unresolved(ctx, out, effects, group);
            if self.list[group].has_reads() {
                self.mark(group);
            }
            self.watch_if_needed(group);
        }
        if ctx.observer.is_some() {
            for group in self.running() {
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
            let replica = &mut self.list[group];
            replica.raft.set_priority(if replica.is_lost { 0 } else { priority }, ctx.now);
            self.mark(group);
        }
    }

    /// What is led here.
    pub(crate) fn led(&self, addr: CoreAddr) -> impl Iterator<Item = LeaderNote> + '_ {
        let led = self.list.iter().filter(|replica| replica.raft.is_leader());
        led.map(move |replica| LeaderNote { group: replica.id, term: replica.raft.term(), place: addr })
    }

    /// Whether nothing is under way in any group.
    pub(crate) fn is_drained(&self) -> bool {
        self.batching.is_empty()
            && self.orders.is_empty()
            && self.cold_count() == 0
            && self.list.iter().all(|replica| {
                replica.proposed.is_empty()
                    && replica.failed.is_empty()
                    && replica.forwarded.is_empty()
                    && !replica.forwarded.has_refused()
                    && !replica.is_requeuing
                    && replica.raft.transferring_to().is_none()
            })
    }
}

/// Whether a group has so much to do that no more should be taken in for it.
fn is_full(ctx: &Context, replica: &Replica) -> bool {
    replica.waiting_bytes() >= ctx.config.limits.batches_bytes_max || replica.reads.len() >= WAITING_READS_COUNT_MAX
}
