//! Where the commands of each group go: executed here, forwarded over one link at a time, or told to go elsewhere.
//!
//! The router decides and keeps order; it does no I/O and knows no connection. It owns the commands that wait for a
//! leader and those in flight to one, and enforces their limits.
//!
//! Invariants:
//! - The commands of a source for one group never overtake each other: what is in flight went over one link, newer
//!   commands wait while older ones come back, and those go again in the order in which they were taken in.
//! - A write is never executed twice: one whose answer is lost is answered UNKNOWNOUTCOME and not sent again.
//! - A group without a leader holds up its own commands only.
//!
//! Reading order: `routes` (slot → route → leader), `queue` (what waits for one group), `window` and `in_flight` (what is sent),
//! `room` and `sharing` (who may have how many), `sweep` (what is being given up), this page ([`Router::decide`],
//! [`Router::forward`]), `drains` (queues that go on), `answers`, and `failures` (answers that will not come).

mod answers;
mod drains;
mod failures;
mod in_flight;
mod queue;
mod room;
mod routes;
mod sharing;
mod sweep;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeMap, HashMap, VecDeque};

use meta::ClusterMap;
use types::{CoreAddr, GroupId, Instant, Slot, Term};
use wire::{LeaderNote, Requests};

use self::in_flight::InFlight;
use self::queue::{Queued, RouteQueue};
use self::room::Room;
pub(crate) use self::routes::Route;
use self::routes::RouteTable;
use self::sweep::{LateLook, Sweep, SweepScope};
use crate::budget::{Permit, Pool};
use crate::context::Context;
use crate::local_replica::LocalReplica;
use crate::observe::{QueueLen, fullest};
use crate::origin::{LinkId, Port};
use crate::refusal::Refusal;
use crate::request::{OwnedRequest, Request};
use crate::topology_view::{Leader, LeaderTable};

/// More than what a command's arguments cost beside their bytes, as a rule.
const COMMAND_OVERHEAD_BYTES: usize = 16 << 20;

/// What becomes of a command of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is executed by the replica of this index.
    Local(usize),
    /// It takes its place among the commands of the route.
    Forward,
    /// The client is told where to go.
    Moved(CoreAddr),
    /// Nobody is known to lead the group.
    ClusterDown(Refusal),
}

/// How a command was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// It is sent or waits.
    Taken,
    /// There is no room for it now. Its route is named by [`Router::take_unblocked`] once there is.
    Blocked,
    /// There is no room, and it may be long until there is.
    Refused(Refusal),
}

/// What this core knows of a link.
#[derive(Clone, Copy, Debug, Default)]
struct LinkState {
    /// Whether commands can be sent over it and their replies can come.
    takes_commands: bool,
    /// Whether it has failed, or the way back, and answers that came before are still being taken in. None is sent until then.
    is_failing: bool,
    /// Which of the commands in flight over it are being given up.
    sweep: Option<SweepScope>,
    /// Whether that has begun: then no more routes are added to it.
    has_sweep_begun: bool,
}

/// The routes of a core and the commands on their way.
pub(crate) struct Router {
    routes: RouteTable,
    /// One per route.
    queues: Vec<RouteQueue>,
    in_flight: InFlight,
    links: Vec<LinkState>,
    /// Commands that wait, in all queues.
    waiting_count: usize,
    waiting_bytes: usize,
    room: Room,
    permit: Permit,
    /// Routes with commands that wait or are in flight.
    active: Vec<usize>,
    /// Routes whose queue may go on.
    to_drain: Vec<usize>,
    /// Routes that clients are kept waiting for, by where they stand among each other.
    blocked: BTreeMap<u64, usize>,
    next_blocked: u64,
    /// Routes that clients were kept waiting for and that have room again, and where they stood.
    unblocked: Vec<(u64, usize)>,
    /// Commands in flight that are being given up, at most one sweep per link.
    sweeps: VecDeque<Sweep>,
    /// Links whose oldest commands were not answered in time.
    late_links: VecDeque<LinkId>,
    /// Queues that are being looked through for commands that have waited for too long.
    late_looks: VecDeque<LateLook>,
    /// Whether queues that may go on were left to the next turn.
    is_drain_cut_short: bool,
}

impl Router {
    /// Routes by a validated map.
    ///
    /// # Errors
    /// What is wrong with the map.
    pub(crate) fn new(
        ctx: &Context,
        map: &ClusterMap,
        links: HashMap<CoreAddr, LinkId>,
        random: u64,
    ) -> Result<Router, meta::Error> {
        let links_count = links.len();
        let routes = RouteTable::new(map, ctx.addr(), links)?;
        let queues = std::iter::repeat_with(RouteQueue::default).take(routes.count()).collect();
        Ok(Router {
            routes,
            queues,
            in_flight: InFlight::new(links_count, random),
            links: vec![LinkState::default(); links_count],
            waiting_count: 0,
            waiting_bytes: 0,
            room: Room::default(),
            permit: ctx.budget.permit(Pool::Forwarded),
            active: Vec::new(),
            to_drain: Vec::new(),
            blocked: BTreeMap::new(),
            next_blocked: 0,
            unblocked: Vec::new(),
            sweeps: VecDeque::new(),
            late_links: VecDeque::new(),
            late_looks: VecDeque::new(),
            is_drain_cut_short: false,
        })
    }

    /// The route of a slot.
    pub(crate) fn of_slot(&self, slot: Slot) -> usize {
        self.routes.of_slot(slot)
    }

    /// The route of a group.
    pub(crate) fn of_group(&self, group: GroupId) -> Option<usize> {
        self.routes.of_group(group)
    }

    /// The index of a group among the core's own, if a replica of it lives here.
    pub(crate) fn local_of(&self, group: GroupId) -> Option<usize> {
        self.routes.get(self.routes.of_group(group)?).local
    }

    /// A replica of the group lives here after all, as the core's group of this index.
    pub(crate) fn set_local(&mut self, group: GroupId, local: usize) {
        self.routes.set_local(group, local);
    }

    /// No replica of the group lives here any more.
    pub(crate) fn clear_local(&mut self, group: GroupId) {
        self.routes.clear_local(group);
    }

    /// A route.
    pub(crate) fn route(&self, idx: usize) -> &Route {
        self.routes.get(idx)
    }

    /// How many routes there are.
    pub(crate) fn count(&self) -> usize {
        self.routes.count()
    }

    /// How many groups have no known leader.
    pub(crate) fn leaderless_count(&self) -> usize {
        self.routes.leaderless_count()
    }

    /// What becomes of a command that came in through `port`. `local` is the group's replica here, if there is one.
    pub(crate) fn decide(&self, me: CoreAddr, port: Port, route: usize, local: Option<LocalReplica>) -> Decision {
        let leads = local.is_some_and(|local| local.leads);
        if let Some(local) = local
            && local.leads
            && self.queues[route].is_idle()
        {
            return Decision::Local(local.group);
        }
        // Behind older commands that wait for something; or the leader is elsewhere.
        let target = self.routes.get(route);
        match port {
            Port::Gateway => Decision::Forward,
            Port::Core if leads => Decision::Forward,
            Port::Core if !target.is_known || target.leader == me => Decision::ClusterDown(Refusal::NoLeader),
            Port::Core => Decision::Moved(target.leader),
        }
    }

    /// Sends a command to the leader of its group, or keeps it until there is one.
    pub(crate) fn forward(
        &mut self,
        ctx: &mut Context,
        route: usize,
        local: Option<LocalReplica>,
        request: Request<'_>,
    ) -> Forwarded {
        let bytes = request.bytes();
        self.look_if_stalled(ctx, route);
        if !self.has_share(ctx, route) {
            return self.without_room(route);
        }
        if self.queues[route].waiting_count() == 0
            && let Some(link) = self.open_link(ctx, route, local, bytes)
            && self.permit.try_grow(bytes)
        {
            let order = self.queues[route].take_order();
            let deadline = ctx.now + ctx.config.leader_wait;
            self.send(ctx, route, link, order, deadline, request);
            return Forwarded::Taken;
        }
        let limits = &ctx.config.limits;
        let queue = &self.queues[route];
        let has_room = queue.waiting_count() < limits.queued_count_max
            && (queue.waiting_bytes() + bytes <= limits.queued_bytes_max || queue.waiting_count() == 0);
        if has_room && self.has_memory_share(ctx, route) && self.permit.try_grow(bytes) {
            let deadline = ctx.now + ctx.config.leader_wait;
            self.enqueue(ctx, route, Queued { request: request.to_owned(), deadline });
            self.want_drain(route);
            return Forwarded::Taken;
        }
        self.without_room(route)
    }

    /// Whether a route has room for a command of `bytes` bytes, beside as many of such for other routes that there are `count`
    /// in all: then [`Router::forward`] takes them.
    pub(crate) fn has_room(&self, ctx: &Context, route: usize, bytes: usize, count: usize) -> bool {
        let (queue, limits) = (&self.queues[route], &ctx.config.limits);
        self.in_flight.count() + self.waiting_count + count <= limits.forwarded_count_max
            && ctx.budget.has_room_for_requests(count * bytes)
            && self.has_share(ctx, route)
            && (queue.waiting_count() == 0
                || self.has_memory_share(ctx, route)
                    && queue.waiting_count() < limits.queued_count_max
                    && queue.waiting_bytes() + bytes <= limits.queued_bytes_max)
    }

    /// The link over which a command of `bytes` bytes can be sent now.
    fn open_link(&self, ctx: &Context, route: usize, local: Option<LocalReplica>, bytes: usize) -> Option<LinkId> {
        let target = self.routes.get(route);
        if !target.is_known || local.is_some_and(|local| local.leads || local.has_unsettled) {
            return None;
        }
        let link = target.link?;
        let (queue, limits) = (&self.queues[route], &ctx.config.limits);
        let state = &self.links[link.idx()];
        let is_open = state.takes_commands
            && !state.is_failing
            && state.sweep != Some(SweepScope::Link)
            && !queue.is_failing
            && self.in_flight.count() < limits.forwarded_count_max
            && self.in_flight.unsent_bytes(link) < limits.outbox_bytes_max
            // What comes behind a refused command is refused as well: it goes again with the others, in order.
            && (queue.in_flight_count == 0 || queue.link == Some(link) && !queue.has_refused())
            && (queue.in_flight_count == 0 || queue.in_flight_bytes + bytes <= limits.route_in_flight_bytes_max);
        is_open.then_some(link)
    }

    /// Sends a command. Its deadline is that of when it was taken in, however often it was sent before.
    fn send(
        &mut self,
        ctx: &mut Context,
        route: usize,
        link: LinkId,
        order: i64,
        deadline: Instant,
        request: Request<'_>,
    ) {
        ctx.counters.commands_forwarded += 1;
        let group = self.routes.get(route).id;
        let resumes = self.queues[route].in_flight_count == 0;
        let bytes = self.in_flight.push(link, request, route, group, order, resumes, deadline);
        self.add_to_room(ctx, route, 1);
        let queue = &mut self.queues[route];
        queue.link = Some(link);
        queue.in_flight_count += 1;
        queue.in_flight_bytes += bytes;
        self.activate(route);
    }

    /// Counts commands of a route, before they stand in its queue or are sent.
    fn add_to_room(&mut self, ctx: &Context, route: usize, count: usize) {
        let queue = &mut self.queues[route];
        if queue.count() == 0 {
            queue.progressed(ctx.now);
        }
        self.room.add(queue, count);
    }

    fn enqueue(&mut self, ctx: &Context, route: usize, queued: Queued) {
        self.add_to_room(ctx, route, 1);
        self.waiting_count += 1;
        self.waiting_bytes += queued.request.bytes();
        self.queues[route].push_back(queued);
        self.activate(route);
    }

    /// Whether [`Router::take_unblocked`] has routes to name.
    pub(crate) fn has_unblocked(&self) -> bool {
        !self.unblocked.is_empty()
    }

    /// Routes that clients were kept waiting for and that have room again. Those come first for which they have waited for longest,
    /// whichever of them has made room: else its own clients would take that again and again before the others hear of it.
    pub(crate) fn take_unblocked(&mut self, ctx: &Context) -> Vec<usize> {
        if self.unblocked.is_empty() {
            return Vec::new();
        }
        self.look_at_blocked(ctx);
        let mut unblocked = std::mem::take(&mut self.unblocked);
        unblocked.sort_unstable();
        unblocked.into_iter().map(|(_, route)| route).collect()
    }

    /// Commands of this core's own replica that did not run: they go before all that wait.
    pub(crate) fn requeue(&mut self, ctx: &Context, group: GroupId, requests: Vec<OwnedRequest>) {
        let Some(route) = self.routes.of_group(group) else { return };
        self.add_to_room(ctx, route, requests.len());
        self.waiting_count += requests.len();
        self.waiting_bytes += requests.iter().map(OwnedRequest::bytes).sum::<usize>();
        let deadline = ctx.now + ctx.config.leader_wait;
        let queued = requests.into_iter().map(|request| Queued { request, deadline });
        self.queues[route].push_front(queued);
        self.activate(route);
        self.want_drain(route);
    }

    /// Takes in who leads a group.
    pub(crate) fn learn_leader(&mut self, ctx: &mut Context, note: LeaderNote) {
        match self.routes.learn(note) {
            Ok(Some(route)) => self.want_drain(route),
            Ok(None) => {}
            Err(why) => {
                ctx.counters.leader_notes_refused += 1;
                tracing::warn!(group = %note.group, addr = %note.place, term = note.term, ?why, "a note about a leader is ignored");
            }
        }
    }

    /// A replica here has noticed that nobody leads the group in `term`.
    pub(crate) fn forget_leader(&mut self, group: GroupId, term: Term) {
        self.routes.forget(group, term);
    }

    /// Whether commands can be sent over a link.
    pub(crate) fn set_takes_commands(&mut self, link: LinkId, takes_commands: bool) {
        let state = &mut self.links[link.idx()];
        if takes_commands && !state.takes_commands {
            self.want_drain_of_link(link);
        }
        self.links[link.idx()].takes_commands = takes_commands;
    }

    /// There is a link to another core, with the next number. `random` is drawn for it.
    pub(crate) fn add_link(&mut self, addr: CoreAddr, link: LinkId, random: u64) {
        assert_eq!(link.idx(), self.links.len(), "links are numbered in their order");
        self.links.push(LinkState::default());
        self.in_flight.add_link(random);
        self.routes.add_link(addr, link);
    }

    /// A core is gone for ever, as `map` says. What is in flight to it is given up as over any link that fails.
    pub(crate) fn remove_link(&mut self, addr: CoreAddr, map: &ClusterMap) {
        self.routes.remove_link(addr, map);
    }

    /// The commands for the core behind a link, if there are any: for its next frame.
    pub(crate) fn take_requests(&mut self, link: LinkId) -> Option<Requests> {
        let state = &self.links[link.idx()];
        if state.is_failing || state.sweep == Some(SweepScope::Link) {
            return None;
        }
        let requests = self.in_flight.take_requests(link)?;
        self.want_drain_of_link(link);
        Some(requests)
    }

    /// The link over which a route's commands go, if some wait to be sent over it.
    pub(crate) fn fresh_link(&self, route: usize) -> Option<LinkId> {
        self.queues[route].link.filter(|link| self.in_flight.unsent_bytes(*link) > 0)
    }

    fn activate(&mut self, route: usize) {
        if !std::mem::replace(&mut self.queues[route].is_active, true) {
            self.active.push(route);
        }
    }

    /// Makes the permit say what is held. Called once per turn.
    pub(crate) fn settle(&mut self) {
        self.permit.set(self.waiting_bytes + self.in_flight.bytes());
    }

    /// Bytes of commands that wait or are in flight.
    pub(crate) fn held_bytes(&self) -> usize {
        self.queues.iter().map(RouteQueue::held_bytes).sum::<usize>() + self.in_flight.bytes()
    }

    /// How full the queues of the router are, the fullest of each kind, for an observer.
    pub(crate) fn queues(&self, ctx: &Context, queue: &mut impl FnMut(QueueLen)) {
        assert_eq!(self.room, Room::of(&self.queues), "every command on its way is counted once");
        let limits = &ctx.config.limits;
        let one_max = limits.commands.command_bytes_max + COMMAND_OVERHEAD_BYTES;
        // What was taken in here and is requeued when a leadership is lost stands in the queue of its route.
        let requeued_max = limits.batches_bytes_max + 2 * one_max;
        // In flight before they come back.
        let refused_max = limits.route_in_flight_bytes_max + one_max;
        let waiting_max = limits.queued_bytes_max + one_max + requeued_max + refused_max;
        let mut one = |name, len: usize, max: usize| queue(QueueLen { name, len: len as u64, max: max as u64 });
        let in_flight_max = limits.route_in_flight_bytes_max.max(one_max);
        let [in_flight, waiting] =
            fullest(self.queues.iter(), |queue| [queue.in_flight_bytes, queue.waiting_bytes()]);
        one("commands of a group in flight, bytes", in_flight, in_flight_max);
        one("commands that wait for a leader, bytes", waiting, waiting_max);
        one("commands in flight", self.in_flight.count(), limits.forwarded_count_max);
    }
}

impl LeaderTable for Router {
    fn version(&self) -> u64 {
        self.routes.version()
    }

    fn leader_of(&self, group: GroupId) -> Option<Leader> {
        let route = self.routes.get(self.routes.of_group(group)?);
        Some(Leader { addr: route.leader, is_known: route.is_known })
    }
}
