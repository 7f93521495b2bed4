//! The clients of a core: their connections, what they have sent, what they are owed.
//!
//! A command goes this way: bytes arrive ([`Clients::take_input`]), the parser finds a command in them, [`Clients::classify`]
//! says what kind it is, `core` takes it where it belongs, and its reply comes back in the client's order
//! ([`Clients::reply`]). A command for which there is no room stays unparsed in the client's input, and the client waits
//! ([`Clients::block`]) until its blocker is gone; nobody else does.
//!
//! Invariants:
//! - Replies leave in the order of the requests of their connection.
//! - What a client makes this core hold is bounded: its input, the arguments of its requests without a reply, its replies.
//! - Bytes behind QUIT or a protocol error are dropped.
//!
//! Reading order: `client`, `reply_queue`, `answered`, `wait_queue`, this page, `dispatch` (what kind of command it is), `fan_out` (commands for all
//! groups), `listing` and `local` (CLIENT, HELLO and what else needs no group), `settings` (CONFIG SET), `monitors` and `monitoring` (MONITOR), `sending`.

mod answered;
mod client;
mod dispatch;
mod fan_out;
mod listing;
mod local;
mod monitoring;
mod monitors;
mod reply_queue;
mod sending;
mod settings;
#[cfg(test)]
mod tests;
mod wait_queue;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use host::net::RECV_WINDOW_BYTES_MAX;
use host::{ConnId, Net};
use resp::{Command, CommandId, ProtocolError, Reply};
use types::Instant;
use types::limits::REPLY_BYTES_MAX;

use self::answered::Answered;
pub(crate) use self::client::{Blocker, Input, Step, step};
use self::client::{Client, ClientLimits};
pub(crate) use self::dispatch::{Dispatch, Merge};
use self::fan_out::{FanOuts, MergedReply};
use self::listing::Listing;
pub(crate) use self::monitors::Monitored;
use self::monitors::Monitors;
use self::reply_queue::Timing;
use self::wait_queue::WaitQueue;
use crate::budget::{Budget, Pool};
use crate::conn_table::ConnTable;
use crate::context::Context;
use crate::observe::{QueueLen, Stage, fullest};
use crate::origin::{Origin, Port};
use crate::replies::{Asker, SHORT_REPLY_BYTES_MAX};

/// What is read and dropped of a client that is about to be closed before it is read no more, in bytes. Reading it lets the
/// last reply arrive: closing a socket with unread bytes resets the connection.
const DISCARD_BYTES_MAX: usize = 1 << 20;
/// A command that is not complete is read on up to this length, in bytes, although requests hold all the memory they may; less
/// far if there are so many clients that all together would hold more than that memory once again.
const PARTIAL_BYTES_MAX: usize = 64 << 10;
/// Clients that wait for memory and are looked at in one turn although there is none.
const MEMORY_LOOKS_MAX: usize = 256;

/// The clients of a core.
pub(crate) struct Clients {
    table: ConnTable<Box<Client>>,
    next_id: u64,
    limits: ClientLimits,
    budget: Budget,
    fan_outs: FanOuts,
    /// CLIENT LISTs on their way, at most one per client, by the order in which they were asked for. The first is being written.
    listings: BTreeMap<u64, Listing>,
    next_listing: u64,
    monitors: Monitors,
    /// Clients with something to send, or to be closed for.
    dirty: Vec<ConnId>,
    /// Clients whose replies wait for the one behind them, and until when; the first is due first. Some do not wait any more.
    held: VecDeque<(Instant, ConnId)>,
    /// Clients whose blocker is gone.
    runnable: WaitQueue,
    /// Clients that wait for a route. No queue is empty.
    blocked_on_route: HashMap<usize, WaitQueue>,
    /// Clients that wait for memory.
    blocked_on_memory: WaitQueue,
    blocked_count: usize,
    /// The most that has come of a client at once, in bytes.
    received_at_once_max: usize,
    /// Bytes of all replies that were written.
    written_bytes: u64,
    /// Who was answered in this turn.
    answered: Answered,
    /// When the client that holds most is closed, if requests hold all the memory that they may until then.
    evict_at: Option<Instant>,
    /// The place in the table at which the next look for stalled clients begins.
    stall_cursor: usize,
}

impl Clients {
    /// No clients.
    pub(crate) fn new(ctx: &Context) -> Clients {
        let config = &ctx.config;
        let limits = ClientLimits {
            requests_count_max: config.limits.client_requests_count_max,
            requests_bytes_max: config.limits.client_requests_bytes_max,
            output_bytes_max: ctx.settings.client_output_bytes_max,
            replies_bytes_max: config.limits.client_replies_bytes_max,
            input_bytes_max: config.limits.client_input_bytes_max,
        };
        Clients {
            table: ConnTable::default(),
            next_id: 1,
            limits,
            budget: ctx.budget.clone(),
            fan_outs: FanOuts::default(),
            listings: BTreeMap::new(),
            next_listing: 0,
            monitors: Monitors::default(),
            dirty: Vec::new(),
            held: VecDeque::new(),
            runnable: WaitQueue::default(),
            blocked_on_route: HashMap::new(),
            blocked_on_memory: WaitQueue::default(),
            blocked_count: 0,
            received_at_once_max: 0,
            written_bytes: 0,
            answered: Answered::default(),
            evict_at: None,
            stall_cursor: 0,
        }
    }

    /// A client has connected.
    pub(crate) fn accept(&mut self, ctx: &mut Context, conn: ConnId, port: Port, addr: SocketAddr) {
        ctx.counters.connections_received += 1;
        let client = Client::new(self.next_id, port, addr, &self.budget, ctx.now);
        self.next_id += 1;
        self.table.insert(conn, Box::new(client));
    }

    /// Whether a connection is a client's.
    pub(crate) fn has(&self, conn: ConnId) -> bool {
        self.table.get(conn).is_some()
    }

    /// How many clients there are, and how many of them wait for something.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.table.count(), self.blocked_count)
    }

    /// Takes out what a client has sent before, to execute it with what has come now. `None` if nothing may be executed: the
    /// client is gone or about to be closed.
    pub(crate) fn take_input<N: Net>(
        &mut self,
        ctx: &mut Context,
        net: &N,
        conn: ConnId,
        more: &[u8],
    ) -> Option<Box<Input>> {
        self.received_at_once_max = self.received_at_once_max.max(more.len());
        let client = self.table.get_mut(conn)?;
        client.input_bytes_total += more.len() as u64;
        ctx.counters.client_bytes_received += more.len() as u64;
        if !more.is_empty() {
            client.active_at = ctx.now;
        }
        if client.blocker.is_none()
            && let Some(since) = client.throttled_since.take()
        {
            ctx.stages.record(Stage::Throttled, ctx.now.since(since));
        }
        let input = client.input.take()?;
        if !client.closes_when_sent {
            return Some(input);
        }
        client.discarded_bytes += more.len();
        if client.discarded_bytes > DISCARD_BYTES_MAX && !client.is_paused {
            client.is_paused = true;
            net.recv_pause(conn);
        }
        client.input = Some(input);
        None
    }

    /// Whether a client waits for something, or for its turn behind that: then its input is kept.
    pub(crate) fn is_waiting(&self, conn: ConnId) -> bool {
        self.table.get(conn).is_some_and(|client| client.is_waiting())
    }

    /// Gives back what a client has sent and was not executed, and stops or goes on reading from it.
    pub(crate) fn put_input<N: Net>(&mut self, ctx: &mut Context, net: &N, conn: ConnId, mut input: Box<Input>) {
        let Some(client) = self.table.get_mut(conn) else { return };
        // Requests without a reply need places, too.
        client.settle();
        if client.closes_when_sent {
            *input = Input::new(&self.budget);
            client.input = Some(input);
            return;
        }
        let len = input.len();
        let is_tight = self.budget.requests_are_full();
        if is_tight && !client.is_waiting() && len > self.partial_bytes_max() {
            self.block(ctx, conn, Blocker::Incomplete);
        }
        let Some(client) = self.table.get_mut(conn) else { return };
        // A command that is not complete may grow to its own limit; only what stands behind one that waits is bounded here.
        let is_waiting = client.is_waiting();
        let must_pause = is_waiting && (len >= self.limits.input_bytes_max || is_tight);
        if must_pause && !client.is_paused {
            client.is_paused = true;
            net.recv_pause(conn);
        } else if client.is_paused && !is_waiting {
            client.is_paused = false;
            net.recv_resume(conn);
        }
        client.input = Some(input);
    }

    /// How much is read of a command that is not complete while requests hold all the memory they may, in bytes.
    fn partial_bytes_max(&self) -> usize {
        PARTIAL_BYTES_MAX.min(self.budget.requests_bytes_max() / self.table.count().max(1))
    }

    /// How much memory is kept for the input of a client that has sent none.
    pub(crate) fn input_bytes_kept(&self) -> usize {
        self.limits.input_bytes_max
    }

    /// What keeps a client from executing another command, if something of its own or the memory does.
    pub(crate) fn own_blocker(&self, ctx: &Context, conn: ConnId) -> Option<Blocker> {
        let client = self.table.get(conn)?;
        if client.listing.is_some() {
            return Some(Blocker::Listing);
        }
        if client.awaits_settings {
            return Some(Blocker::Settings);
        }
        if !client.has_room(&self.limits) {
            return Some(Blocker::Own);
        }
        // Who holds nothing may always go on, so that nobody starves while others fill the memory.
        (ctx.must_clients_wait || client.holds_replies() && self.budget.requests_are_full())
            .then_some(Blocker::Memory)
    }

    /// Whether a client executes no more commands: it is gone or about to be closed.
    pub(crate) fn is_closing(&self, conn: ConnId) -> bool {
        self.table.get(conn).is_none_or(|client| client.closes_when_sent)
    }

    /// Keeps a client waiting. It is named by [`Clients::next_runnable`] once the blocker is gone.
    pub(crate) fn block(&mut self, ctx: &mut Context, conn: ConnId, blocker: Blocker) {
        let Some(client) = self.table.get_mut(conn) else { return };
        if client.blocker.is_some() {
            return;
        }
        client.blocker = Some(blocker);
        client.throttled_since = (!matches!(blocker, Blocker::Listing | Blocker::Settings)).then_some(ctx.now);
        ctx.counters.clients_throttled += 1;
        self.blocked_count += 1;
        match blocker {
            Blocker::Own | Blocker::Listing | Blocker::Settings => {}
            Blocker::Memory | Blocker::Incomplete => client.place = self.blocked_on_memory.push(conn),
            Blocker::Route(route) => client.place = self.blocked_on_route.entry(route).or_default().push(conn),
        }
    }

    /// A route takes commands again: clients that wait for it go on.
    pub(crate) fn unblock_route(&mut self, route: usize) {
        let mut waiting = self.blocked_on_route.remove(&route).unwrap_or_default();
        while let Some(conn) = waiting.pop() {
            self.unblock(conn, Blocker::Route(route));
        }
    }

    /// If there is memory again, clients that wait for it go on. Else those do whose replies have all left: what they have sent is
    /// all that they hold, and only they can make it less. Called once per turn.
    pub(crate) fn unblock_memory(&mut self, ctx: &Context) {
        if self.blocked_on_memory.is_empty() || ctx.must_clients_wait {
            return;
        }
        let is_full = self.budget.requests_are_full();
        let looks_count = if is_full { MEMORY_LOOKS_MAX } else { usize::MAX };
        for _ in 0..self.blocked_on_memory.len().min(looks_count) {
            let Some(conn) = self.blocked_on_memory.pop() else { break };
            let Some(client) = self.table.get_mut(conn) else { continue };
            match client.blocker {
                Some(Blocker::Memory) if is_full && client.holds_replies() => {
                    client.place = self.blocked_on_memory.push(conn);
                }
                Some(Blocker::Incomplete) if is_full => client.place = self.blocked_on_memory.push(conn),
                Some(blocker @ (Blocker::Memory | Blocker::Incomplete)) => self.unblock(conn, blocker),
                _ => {}
            }
        }
    }

    fn unblock(&mut self, conn: ConnId, blocker: Blocker) {
        let Some(client) = self.table.get_mut(conn) else { return };
        if client.blocker == Some(blocker) {
            client.blocker = None;
            client.is_runnable = true;
            client.place = self.runnable.push(conn);
            self.blocked_count -= 1;
        }
    }

    /// A client has done its share and has more to do: it goes on behind all others that may.
    pub(crate) fn go_on_later(&mut self, conn: ConnId) {
        let Some(client) = self.table.get_mut(conn) else { return };
        if !client.is_waiting() {
            client.is_runnable = true;
            client.place = self.runnable.push(conn);
        }
    }

    /// How many clients may go on.
    pub(crate) fn runnable_count(&self) -> usize {
        self.runnable.len()
    }

    /// A client that may go on, if there is one: its input is to be executed.
    pub(crate) fn next_runnable(&mut self) -> Option<ConnId> {
        let conn = self.runnable.pop()?;
        if let Some(client) = self.table.get_mut(conn) {
            client.is_runnable = false;
        }
        Some(conn)
    }

    /// A client's input was looked at again: if it has stopped sending and nothing of it waits, it is closed once it has
    /// its replies.
    pub(crate) fn end_if_done(&mut self, conn: ConnId) {
        let Some(client) = self.table.get_mut(conn) else { return };
        if client.is_receive_ended && !client.is_waiting() {
            client.closes_when_sent = true;
            self.touch(conn);
        }
    }

    /// The client has sent its last byte: it is answered what it has asked, and then closed.
    pub(crate) fn receive_ended(&mut self, conn: ConnId) {
        let Some(client) = self.table.get_mut(conn) else { return };
        client.is_receive_ended = true;
        // What was woken has input to be executed, and ends behind that.
        client.closes_when_sent |= !client.is_waiting();
        self.touch(conn);
    }

    /// The connection has ended. Whatever it waited for, it waits no more.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        let Some(client) = self.table.remove(conn) else { return };
        self.blocked_count -= usize::from(client.blocker.is_some());
        match client.blocker {
            Some(Blocker::Own | Blocker::Listing | Blocker::Settings) => {}
            Some(Blocker::Memory | Blocker::Incomplete) => self.blocked_on_memory.remove(client.place),
            Some(Blocker::Route(route)) => {
                if let Entry::Occupied(mut waiting) = self.blocked_on_route.entry(route) {
                    waiting.get_mut().remove(client.place);
                    if waiting.get().is_empty() {
                        waiting.remove();
                    }
                }
            }
            None if client.is_runnable => self.runnable.remove(client.place),
            None => {}
        }
        if let Some(listing) = client.listing {
            self.listings.remove(&listing);
        }
        if client.is_monitor {
            self.end_monitoring(conn);
        }
    }

    /// The client's bytes make no sense, or are those of another protocol: it is told, and closed.
    pub(crate) fn protocol_error(&mut self, ctx: &mut Context, conn: ConnId, error: &ProtocolError) {
        ctx.counters.protocol_errors += 1;
        let Some(client) = self.table.get_mut(conn) else { return };
        let protocol = client.protocol;
        let message = error.to_string();
        client.replies.write_next(|out| Reply::new(out, protocol).error(&message));
        ctx.count_error(message.as_bytes());
        self.close_when_sent(conn);
    }

    /// Executes no more of a client's commands, and closes it once it has its replies.
    pub(crate) fn close_when_sent(&mut self, conn: ConnId) {
        let Some(client) = self.table.get_mut(conn) else { return };
        client.closes_when_sent = true;
        self.touch(conn);
    }

    /// Opens the place of a request of this length, in bytes, in the client's order. If it concerns a single group, that of a route.
    pub(crate) fn open(
        &mut self,
        ctx: &Context,
        conn: ConnId,
        command: &Command,
        bytes: usize,
        route: Option<usize>,
    ) -> Option<Origin> {
        let client = self.table.get_mut(conn)?;
        let timing = Timing { command: Some(command.id), since: ctx.now };
        Some(Origin::Client { conn, seq: client.replies.open(bytes, route, timing), protocol: client.protocol })
    }

    /// The request whose place was opened last is refused: how long that takes tells nothing of its command.
    pub(crate) fn leave_untimed(&mut self, conn: ConnId) {
        if let Some(client) = self.table.get_mut(conn) {
            client.replies.leave_untimed();
        }
    }

    /// Who has asked, if the request has no reply yet.
    pub(crate) fn asker(&self, origin: Origin) -> Option<Asker> {
        let Origin::Client { conn, seq, .. } = origin else { return None };
        let client = self.table.get(conn)?;
        let since = client.replies.timing(seq)?.since;
        Some(Asker { addr: client.addr, name: client.name.clone(), since })
    }

    /// A client, as one who has asked for something that was taken in then.
    pub(crate) fn asker_at(&self, conn: ConnId, since: Instant) -> Option<Asker> {
        let client = self.table.get(conn)?;
        Some(Asker { addr: client.addr, name: client.name.clone(), since })
    }

    /// The commands that were answered since this was last called, as runs: which, when they were taken in, and how many.
    pub(crate) fn take_answered(&mut self) -> impl Iterator<Item = (CommandId, Instant, u64)> {
        self.answered.drain()
    }

    /// The request whose place was opened last is a read that another core answers.
    pub(crate) fn note_read_elsewhere(&mut self, conn: ConnId) {
        if let Some(client) = self.table.get_mut(conn) {
            client.replies.note_read_elsewhere();
        }
    }

    /// The last of a client's requests by a route that is answered while one before it is not.
    pub(crate) fn last_early_by(&self, conn: ConnId, route: usize) -> Option<u64> {
        self.table.get(conn)?.replies.last_early_by(route)
    }

    /// Closes the place that was opened last: its request was not taken in after all.
    pub(crate) fn cancel(&mut self, conn: ConnId) {
        if let Some(client) = self.table.get_mut(conn) {
            client.replies.cancel_last();
        }
    }

    /// Begins a command on `count` groups; the number identifies it in [`Origin::SubRequest`].
    pub(crate) fn begin_fan_out(&mut self, ctx: &Context, origin: Origin, merge: Merge, count: usize) -> u64 {
        self.fan_outs.begin(origin, merge, count, ctx.budget.permit(Pool::ClientOutput))
    }

    /// Writes the reply of a client's request. The client may be gone by now; then nothing is written.
    pub(crate) fn reply(&mut self, origin: Origin, write: impl FnOnce(&mut Reply<'_>)) {
        match origin {
            Origin::Client { .. } => self.reply_client(origin, write),
            Origin::SubRequest { fan_out, .. } => {
                let mut part = Vec::new();
                write(&mut Reply::new(&mut part, origin.protocol()));
                let Some((origin, merged)) = self.fan_outs.part(fan_out, &part) else { return };
                self.reply_client(origin, |reply| match merged {
                    MergedReply::Ok => reply.ok(),
                    MergedReply::Integer(sum) => reply.integer(sum),
                    MergedReply::Array(count, elements) => {
                        reply.array(count);
                        reply.raw(&elements);
                    }
                    MergedReply::Bulk(Some(bulk)) => reply.raw(&bulk),
                    MergedReply::Bulk(None) => reply.null(),
                    MergedReply::Error(message) => reply.error(&message),
                });
            }
            Origin::Peer { .. } => panic!("a reply for another core came to the clients"),
        }
    }

    fn reply_client(&mut self, origin: Origin, write: impl FnOnce(&mut Reply<'_>)) {
        let Origin::Client { conn, seq, protocol } = origin else { return };
        let Some(client) = self.table.get_mut(conn) else { return };
        // What the queue holds may get less meanwhile: it drops what it has moved up.
        let mut written = 0;
        let timing = client.replies.fulfil(seq, |out| {
            let before = out.len();
            write(&mut Reply::new(out, protocol));
            written = out.len() - before;
        });
        if let Some(timing) = timing {
            self.answered.push(timing);
        }
        self.written_bytes += written as u64;
        self.touch(conn);
    }

    /// Bytes of all replies that were written so far: how much more they are behind a command tells what it took.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Whether a reply of `bytes` may be written for a client, beside what waits for it already.
    pub(crate) fn has_room(&mut self, origin: Origin, bytes: usize) -> bool {
        let Origin::Client { conn, .. } = origin else { return true };
        let Some(client) = self.table.get_mut(conn) else { return true };
        let held = client.output_bytes();
        if held + bytes <= PARTIAL_BYTES_MAX {
            return true;
        }
        client.settle();
        let is_within = if bytes == 0 {
            held < self.limits.replies_bytes_max
        } else {
            held == 0 || held + bytes <= self.limits.replies_bytes_max
        };
        is_within && self.budget.has_room_for_requests(bytes)
    }

    /// How full the queues of clients are, the fullest of each kind, for an observer.
    pub(crate) fn queues(&self, command_bytes_max: usize, queue: &mut impl FnMut(QueueLen)) {
        let limits = &self.limits;
        // A command in the middle of which a client is, and what it sends before it is paused.
        let input_max = limits.input_bytes_max + RECV_WINDOW_BYTES_MAX + command_bytes_max;
        // One request may exceed the limit.
        let requests_max = limits.requests_bytes_max + 2 * command_bytes_max;
        // One reply may exceed the limit, and short ones always have room.
        let replies_max =
            limits.replies_bytes_max + REPLY_BYTES_MAX + limits.requests_count_max * SHORT_REPLY_BYTES_MAX;
        let mut one = |name, len: usize, max: usize| queue(QueueLen { name, len: len as u64, max: max as u64 });
        let [requests, requests_bytes, input_bytes, replies_bytes] = fullest(self.table.iter(), |(_, client)| {
            let replies = &client.replies;
            [replies.open_count(), replies.open_bytes(), client.input_bytes(), client.output_bytes()]
        });
        one("requests of a client", requests, limits.requests_count_max);
        one("requests of a client, bytes", requests_bytes, requests_max);
        one("input of a client, bytes", input_bytes, input_max);
        one("replies for a client, bytes", replies_bytes, replies_max);
    }

    /// Bytes of memory for input that was not executed, of all clients.
    pub(crate) fn input_held_bytes(&self) -> usize {
        self.table.iter().filter_map(|(_, client)| client.input.as_ref()).map(|input| input.held_bytes()).sum()
    }

    /// What all clients together may send before they can be told to wait, in bytes: one buffer each.
    pub(crate) fn unasked_bytes_max(&self) -> usize {
        self.table.count() * self.received_at_once_max
    }

    /// Bytes of memory for replies, of all clients.
    pub(crate) fn output_held_bytes(&self) -> usize {
        self.table.iter().map(|(_, client)| client.output_held_bytes()).sum()
    }

    /// Notes that a client has something to send or to be closed for, and lets it go on if its own limits held it up.
    fn touch(&mut self, conn: ConnId) {
        let Some(client) = self.table.get_mut(conn) else { return };
        if !client.is_dirty {
            client.is_dirty = true;
            self.dirty.push(conn);
        }
        if client.blocker == Some(Blocker::Own) && client.has_plenty_of_room(&self.limits) {
            self.unblock(conn, Blocker::Own);
        }
    }
}
