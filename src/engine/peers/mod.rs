//! The other cores of the cluster: links to them, connections from them, what is queued for each.
//!
//! A link goes one way. A core connects to every core of the other nodes and sends frames; what those have
//! to say comes in over the connections they have made. Cores of the same node are reached over the mesh.
//!
//! Invariants:
//! - At most one frame per link is on its way; what comes meanwhile collects, within limits.
//! - A frame is taken in only over the latest connection of a core that was authenticated.
//! - Any wrong byte ends a connection and nothing else.
//! - Replies and commands that came wait here for their turn; those of a link are taken in in the order in which they came.
//!
//! Reading order: `link` (one link and its outbox), this page (queues and frames), `handshake` (who is let in),
//! `connections` (connecting, keeping alive), `nodes` (that join or are removed), `assembler`, `inbox`.

mod assembler;
mod connections;
mod handshake;
mod inbox;
mod link;
mod nodes;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use host::Net;
use resp::Reply;
use types::limits::REPLY_BYTES_MAX;
use types::{CoreAddr, Instant, NodeId};
use wire::{
    ChunkReply, ChunkRequest, ComparisonNote, Frame, Healths, Hello, LeaderNote, Message, ReplicaNote, Replies,
    ReplyStatus, Report, Requests,
};

use self::assembler::FrameAssembler;
pub(crate) use self::inbox::{Received, ReceivedReplies, ReceivedRequests};
use self::link::{Link, LinkState, message_bytes};
use crate::budget::Permit;
use crate::conn_table::ConnTable;
use crate::context::Context;
use crate::limits::{CHUNKS_COUNT_MAX, COMPARISON_NOTES_COUNT_MAX, Limits, REPLICA_NOTES_COUNT_MAX};
use crate::observe::{QueueLen, fullest};
use crate::origin::{LinkId, Origin};
use crate::replies::SHORT_REPLY_BYTES_MAX;
use crate::topology_view::{LinkTable, LinkView};

/// What an entry's payload has beside the bytes of its commands, and more.
const ENTRY_OVERHEAD_BYTES: usize = 64 << 10;

/// What happened to the links, for `core` to tell others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerEvent {
    /// Frames can be sent over this link: the other core should hear what is led here.
    Up(LinkId),
    /// The link is gone, and what was queued for it. `was_up`: frames could be sent before.
    Down { link: LinkId, was_up: bool },
    /// The connection over which that core's answers came has ended or was replaced: those under way are lost.
    AnswersLost(LinkId),
    /// Whether commands can be sent over a link has changed, perhaps.
    Changed(LinkId),
    /// The core is heard again after it had been silent.
    HeardAgain(LinkId),
}

/// What a connection of this part is used for.
enum PeerConn {
    /// Our own connection to another core, over which we send.
    Outgoing(LinkId),
    /// A connection that another core has made, over which it sends.
    Incoming(Box<Incoming>),
}

/// A connection on the peer port.
struct Incoming {
    addr: SocketAddr,
    /// Link to the core on the other side; `None` until it has introduced itself.
    link: Option<LinkId>,
    hello: Vec<u8>,
    /// Whether it has introduced itself and is let in once its node is remembered. It has no verdict yet, and says nothing more.
    awaits_admission: bool,
    assembler: FrameAssembler,
    permit: Permit,
    deadline: Instant,
}

/// The other cores, as this one reaches them.
pub(crate) struct Peers {
    links: Vec<Link>,
    /// Ascending by address.
    by_addr: Vec<(CoreAddr, LinkId)>,
    conns: ConnTable<PeerConn>,
    hello: Hello,
    limits: Limits,
    /// Links with something to send.
    dirty: Vec<LinkId>,
    /// Links over which something came that was not taken in, each once. The first one has waited for longest.
    with_input: VecDeque<LinkId>,
    events: Vec<PeerEvent>,
    /// When a link next wants a tick. Invariant: no later than any of [`Link::due`], but for links of which something was sent
    /// or heard since the last tick.
    next_due: Instant,
    /// The epoch of the latest map known here: every frame tells it.
    map_epoch: u64,
    /// Whether a keep-alive has come since the last [`Peers::take_keep_alives`].
    has_keep_alives: bool,
    /// The nodes that were removed, ascending.
    removed: Vec<NodeId>,
    /// Whether this one was, as another core has said.
    is_told_removed: bool,
}

impl Peers {
    /// Links to all other cores of the latest map that this node has kept.
    pub(crate) fn new<N: Net>(ctx: &Context, net: &N) -> Peers {
        let config = &ctx.config;
        let mut peers = Peers {
            links: Vec::new(),
            by_addr: Vec::new(),
            conns: ConnTable::default(),
            hello: handshake::own_hello(config),
            limits: config.limits,
            dirty: Vec::new(),
            with_input: VecDeque::new(),
            events: Vec::new(),
            next_due: Instant::ZERO,
            map_epoch: config.latest_map.epoch,
            has_keep_alives: false,
            removed: Vec::new(),
            is_told_removed: false,
        };
        peers.fit_links(ctx, net, &config.latest_map);
        for (node, incarnation) in &config.known_peers {
            peers.note_incarnation(*node, *incarnation);
        }
        peers
    }

    /// The link to every other core.
    pub(crate) fn by_addr(&self) -> impl Iterator<Item = (CoreAddr, LinkId)> + '_ {
        self.by_addr.iter().copied()
    }

    /// The link to a core.
    pub(crate) fn link_to(&self, addr: CoreAddr) -> Option<LinkId> {
        let at = self.by_addr.binary_search_by_key(&addr, |(known, _)| *known).ok()?;
        Some(self.by_addr[at].1)
    }

    /// The core that a link leads to.
    pub(crate) fn addr_of(&self, link: LinkId) -> CoreAddr {
        self.links[link.idx()].to
    }

    /// All links.
    pub(crate) fn ids(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.links.len() as u32).map(LinkId)
    }

    /// Whether commands can be sent over a link and their replies can come.
    pub(crate) fn takes_commands(&self, link: LinkId) -> bool {
        self.links[link.idx()].takes_commands()
    }

    /// Whether frames can be sent over a link.
    pub(crate) fn is_up(&self, link: LinkId) -> bool {
        self.links[link.idx()].is_up()
    }

    /// Whether nothing has been heard of a core for as long as makes it count as silent.
    pub(crate) fn is_silent(&self, ctx: &Context, link: LinkId) -> bool {
        self.links[link.idx()].is_silent(ctx.now, ctx.config.silence_max())
    }

    /// When the links next want a tick: one is to be told that this core is there, or to be connected, or its core falls silent.
    pub(crate) fn next_due(&self) -> Instant {
        self.next_due
    }

    /// Whether another core has said that it is there, and nothing else, since the last call.
    pub(crate) fn take_keep_alives(&mut self) -> bool {
        std::mem::take(&mut self.has_keep_alives)
    }

    /// Whether something has happened to the links since the last [`Peers::take_events`].
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// What has happened to the links since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<PeerEvent> {
        std::mem::take(&mut self.events)
    }

    /// Puts a link on the list of those with something to send.
    pub(crate) fn mark(&mut self, link: LinkId) {
        if !std::mem::replace(&mut self.links[link.idx()].is_dirty, true) {
            self.dirty.push(link);
        }
    }

    /// Keeps what a frame has brought until its turn.
    pub(crate) fn keep_input(&mut self, link: LinkId, replies: Replies, requests: Requests) {
        let from = &mut self.links[link.idx()];
        let was_empty = from.inbox.is_empty();
        from.inbox.push(replies, requests);
        from.settle();
        if was_empty && !from.inbox.is_empty() {
            self.with_input.push_back(link);
        }
    }

    /// The link whose turn it is, if something waits to be taken in: for [`Peers::pop_input`], and [`Peers::end_input`] behind
    /// that.
    pub(crate) fn next_input(&mut self) -> Option<LinkId> {
        self.with_input.pop_front()
    }

    /// What came first of what waits of a link. What is not taken in of it is to be put back.
    pub(crate) fn pop_input(&mut self, link: LinkId) -> Option<Received> {
        self.links[link.idx()].inbox.pop()
    }

    /// Puts back the rest of what was taken out.
    pub(crate) fn restore_input(&mut self, link: LinkId, rest: Received) {
        self.links[link.idx()].inbox.restore(rest);
    }

    /// A link has had its turn. If something is left it gets another one, behind all others.
    pub(crate) fn end_input(&mut self, link: LinkId) {
        let from = &mut self.links[link.idx()];
        from.settle();
        if !from.inbox.is_empty() {
            self.with_input.push_back(link);
        }
    }

    /// What came first of a link was taken in to its end. Returns whether that was the last over a connection that has ended.
    pub(crate) fn is_input_done(&mut self, link: LinkId) -> bool {
        self.links[link.idx()].inbox.is_done()
    }

    /// The connection has ended over which came what waits of a link: commands are forgotten, replies still have their turn.
    /// Returns whether there are any.
    pub(crate) fn end_connection_input(&mut self, link: LinkId) -> bool {
        let from = &mut self.links[link.idx()];
        let has_replies = from.inbox.end();
        from.settle();
        if !has_replies {
            self.with_input.retain(|other| *other != link);
        }
        has_replies
    }

    /// Whether something waits to be taken in.
    pub(crate) fn has_input(&self) -> bool {
        !self.with_input.is_empty()
    }

    /// Whether more waits to be taken in than may.
    pub(crate) fn has_too_much_input(&self) -> bool {
        let bytes = self.with_input.iter().map(|link| self.links[link.idx()].inbox.bytes());
        bytes.sum::<usize>() > self.limits.inbox_bytes_max
    }

    /// Queues a Raft message. Dropped if it cannot go out soon: Raft sends again.
    pub(crate) fn message(&mut self, ctx: &mut Context, link: LinkId, message: Message) {
        let to = &mut self.links[link.idx()];
        let bytes = message_bytes(&message);
        // A message that is the only one may be of any length that Raft makes.
        let has_room = to.outbox.messages_bytes == 0
            || to.outbox.messages_bytes + bytes <= self.limits.outbox_messages_bytes_max;
        if !to.is_up() || !has_room {
            ctx.counters.messages_dropped += 1;
            return;
        }
        to.outbox.messages_bytes += bytes;
        to.outbox.messages.push(message);
        self.mark(link);
    }

    /// Queues the reply of a command that came from another core. Dropped if the link is down: its sender gives up on all
    /// that it has sent before the link is up again.
    pub(crate) fn reply(&mut self, origin: Origin, write: impl FnOnce(&mut Reply<'_>)) {
        let Origin::Peer { link, id, protocol } = origin else {
            panic!("a reply for a client came to the peers");
        };
        let to = &mut self.links[link.idx()];
        if to.is_up() {
            to.outbox.replies.push(id, ReplyStatus::Done, |out| write(&mut Reply::new(out, protocol)));
            self.mark(link);
        }
    }

    /// Sends a forwarded command back: it did not run.
    pub(crate) fn send_back(&mut self, link: LinkId, id: u64) {
        let to = &mut self.links[link.idx()];
        if to.is_up() {
            to.outbox.replies.push(id, ReplyStatus::NotLeader, |_| {});
            self.mark(link);
        }
    }

    /// Whether a reply of `bytes` may be queued for another core, beside what waits already.
    pub(crate) fn has_room(&self, link: LinkId, bytes: usize) -> bool {
        let queued = self.links[link.idx()].outbox.replies.bytes_len();
        queued == 0 || queued + bytes <= 2 * self.limits.outbox_bytes_max
    }

    /// Whether more commands of another core may be executed, as far as their replies are concerned.
    pub(crate) fn takes_replies(&self, link: LinkId) -> bool {
        self.links[link.idx()].outbox.replies.bytes_len() < self.limits.outbox_bytes_max
    }

    /// Queues a question for a chunk of a snapshot.
    pub(crate) fn chunk_request(&mut self, link: LinkId, request: ChunkRequest) {
        let to = &mut self.links[link.idx()];
        if to.is_up() {
            to.outbox.chunk_requests.push(request);
            self.mark(link);
        }
    }

    /// Queues a chunk of a snapshot. Whoever asked for it asks for one at a time, and again if it is lost.
    pub(crate) fn chunk(&mut self, link: LinkId, reply: ChunkReply) {
        let to = &mut self.links[link.idx()];
        if to.is_up() && to.outbox.chunks.len() < CHUNKS_COUNT_MAX {
            to.outbox.chunks.push(reply);
            self.mark(link);
        }
    }

    /// Queues what a replica here says about a comparison. If it is lost the comparison goes without it.
    pub(crate) fn comparison_note(&mut self, link: LinkId, note: ComparisonNote) {
        let to = &mut self.links[link.idx()];
        if to.is_up() && to.outbox.comparisons.len() < COMPARISON_NOTES_COUNT_MAX {
            to.outbox.comparisons.push(note);
            self.mark(link);
        }
    }

    /// Queues something about a replica. Whoever says it does so again if it must.
    pub(crate) fn replica_note(&mut self, link: LinkId, note: ReplicaNote) {
        let to = &mut self.links[link.idx()];
        if to.is_up() && to.outbox.replica_notes.len() < REPLICA_NOTES_COUNT_MAX {
            to.outbox.replica_notes.push(note);
            self.mark(link);
        }
    }

    /// The epoch of the latest map of which all cores hear.
    pub(crate) fn map_epoch(&self) -> u64 {
        self.map_epoch
    }

    /// A later map is known here: all cores are to hear so.
    fn map_changed(&mut self, epoch: u64) {
        self.map_epoch = epoch;
        for link in self.ids() {
            let to = &mut self.links[link.idx()];
            if to.is_up() {
                to.is_keep_alive_due = true;
                self.mark(link);
            }
        }
    }

    /// Asks another core for the map that it knows.
    pub(crate) fn want_map(&mut self, link: LinkId) {
        let to = &mut self.links[link.idx()];
        if to.is_up() {
            to.outbox.is_map_wanted = true;
            self.mark(link);
        }
    }

    /// Queues the map for a core that wants it.
    pub(crate) fn send_map(&mut self, link: LinkId, map: bytes::Bytes) {
        let to = &mut self.links[link.idx()];
        if to.is_up() {
            to.outbox.map = map;
            self.mark(link);
        }
    }

    /// Queues changes of the map that this core asks for, for the core that leads group 0. Whoever asks does so again until the map is
    /// as it wants it: what was queued before and has not left is of no use any more.
    pub(crate) fn ask_changes(&mut self, link: LinkId, changes: Vec<bytes::Bytes>) {
        let to = &mut self.links[link.idx()];
        if to.is_up() {
            to.outbox.changes = changes;
            self.mark(link);
        }
    }

    /// Queues a report for the core that leads group 0. Returns whether it was taken: not while the one before waits, or the link is down.
    pub(crate) fn report(&mut self, link: LinkId, report: Report) -> bool {
        let to = &mut self.links[link.idx()];
        let is_taken = to.is_up() && to.outbox.report.is_none();
        if is_taken {
            to.outbox.report = Some(report);
            self.mark(link);
        }
        is_taken
    }

    /// Queues how the nodes are found, in place of what was queued before and has not left.
    pub(crate) fn healths(&mut self, link: LinkId, healths: Healths) {
        let to = &mut self.links[link.idx()];
        if to.is_up() {
            to.outbox.healths = Some(healths);
            self.mark(link);
        }
    }

    /// Queues who leads a group, for all cores.
    pub(crate) fn announce(&mut self, note: LeaderNote) {
        for link in self.ids() {
            let to = &mut self.links[link.idx()];
            if to.is_up() {
                to.outbox.leaders.push(note);
                self.mark(link);
            }
        }
    }

    /// Queues who leads what for one core whose link has just come up.
    pub(crate) fn send_leaders(&mut self, link: LinkId, notes: impl Iterator<Item = LeaderNote>) {
        self.links[link.idx()].outbox.leaders.extend(notes);
        self.mark(link);
    }

    /// Sends one frame on each link that has something to say and is not busy. `requests` are the commands for the core
    /// behind a link. Frames for cores of this node are handed to `mesh`, which may refuse.
    pub(crate) fn flush<N: Net>(
        &mut self,
        ctx: &mut Context,
        net: &N,
        mut requests: impl FnMut(LinkId) -> Option<Requests>,
        mut mesh: impl FnMut(CoreAddr, Box<Frame>) -> Result<(), Box<Frame>>,
    ) {
        for id in std::mem::take(&mut self.dirty) {
            let link = &mut self.links[id.idx()];
            link.is_dirty = false;
            let is_free = match link.state {
                LinkState::Mesh => match link.refused_frame.take() {
                    Some(frame) => deliver(ctx, link, &mut mesh, frame),
                    None => true,
                },
                // `Sent` marks the link again; one that is down starts empty.
                LinkState::Up { .. } => !link.is_sending,
                LinkState::Down { .. } | LinkState::Connecting { .. } | LinkState::Removed => false,
            };
            if is_free {
                let frame = link.outbox.take_frame(requests(id).unwrap_or_default(), self.map_epoch);
                let is_wanted = !frame.is_empty() || std::mem::take(&mut link.is_keep_alive_due);
                match link.state {
                    _ if !is_wanted => {}
                    LinkState::Up { conn } => {
                        ctx.counters.frames_sent += 1;
                        link.sent_at = ctx.now;
                        link.send_frame(net, conn, frame);
                        if !link.outbox.is_empty() {
                            net.wake_when_sent(conn);
                        }
                    }
                    _ => {
                        deliver(ctx, link, &mut mesh, Box::new(frame));
                    }
                }
            }
            link.settle();
            let has_more = link.state == LinkState::Mesh && (link.refused_frame.is_some() || !link.outbox.is_empty());
            if has_more {
                self.mark(id);
            }
        }
    }

    /// Whether something could not be handed over and must be tried again without a new event.
    pub(crate) fn has_unsent_mesh(&self) -> bool {
        self.dirty.iter().any(|link| self.links[link.idx()].state == LinkState::Mesh)
    }

    /// How many links there are, and how many of them are up.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.by_addr.len(), self.links.iter().filter(|link| link.is_up()).count())
    }

    /// Bytes of what waits for other cores or is on its way to them, of frames being put together, and of what came in them.
    pub(crate) fn held_bytes(&self) -> usize {
        let of_link = |link: &Link| link.outbox.held_bytes() + link.sending_bytes + link.inbox.held_bytes();
        let outgoing = self.links.iter().map(of_link);
        let incoming = self.conns.iter().filter_map(|(_, conn)| match conn {
            PeerConn::Incoming(incoming) => Some(incoming.assembler.bytes()),
            PeerConn::Outgoing(_) => None,
        });
        outgoing.sum::<usize>() + incoming.sum::<usize>()
    }

    /// How full the queues of this part are, the fullest of each kind, for an observer.
    pub(crate) fn queues(&self, ctx: &Context, queue: &mut impl FnMut(QueueLen)) {
        let limits = &self.limits;
        let entry_max = ctx.config.batch_bytes_max + limits.commands.command_bytes_max + ENTRY_OVERHEAD_BYTES;
        // A message that is the only one may be of any length that Raft makes.
        let messages_max = limits.outbox_messages_bytes_max.max(ctx.config.inflight_bytes_max + entry_max);
        // Beyond the limits come one reply of any length, and short ones to all that was forwarded before.
        let short_bytes = limits.forwarded_count_max * SHORT_REPLY_BYTES_MAX;
        let replies_max = 2 * limits.outbox_bytes_max + REPLY_BYTES_MAX + short_bytes;
        let mut one = |name, len: usize, max: usize| queue(QueueLen { name, len: len as u64, max: max as u64 });
        let [messages, replies, chunks, notes, replica_notes] = fullest(self.links.iter(), |link| {
            let outbox = &link.outbox;
            let notes = [outbox.comparisons.len(), outbox.replica_notes.len()];
            [outbox.messages_bytes, outbox.replies.bytes_len(), outbox.chunks.len(), notes[0], notes[1]]
        });
        one("Raft messages for a core, bytes", messages, messages_max);
        one("replies for a core, bytes", replies, replies_max);
        let inbox_bytes = self.links.iter().map(|link| link.inbox.bytes()).sum();
        one("commands and replies of other cores, bytes", inbox_bytes, limits.inbox_bytes_max);
        one("chunks of snapshots for a core", chunks, CHUNKS_COUNT_MAX);
        one("notes about comparisons for a core", notes, COMPARISON_NOTES_COUNT_MAX);
        one("notes about replicas for a core", replica_notes, REPLICA_NOTES_COUNT_MAX);
    }
}

/// Hands a frame to another core of this node, or keeps it until the mesh takes it. Returns whether it was handed over.
fn deliver(
    ctx: &mut Context,
    link: &mut Link,
    mesh: &mut impl FnMut(CoreAddr, Box<Frame>) -> Result<(), Box<Frame>>,
    frame: Box<Frame>,
) -> bool {
    match mesh(link.to, frame) {
        Ok(()) => {
            ctx.counters.frames_sent += 1;
            true
        }
        Err(frame) => {
            link.refused_frame = Some(frame);
            false
        }
    }
}

impl LinkTable for Peers {
    fn is_connected(&self, addr: CoreAddr) -> bool {
        self.link_to(addr).is_some_and(|link| self.is_up(link))
    }

    fn heard_at(&self, addr: CoreAddr) -> Option<Instant> {
        let link = &self.links[self.link_to(addr)?.idx()];
        (link.heard_at != Instant::ZERO).then_some(link.heard_at)
    }

    fn incarnation(&self, node: NodeId) -> Option<u64> {
        self.links.iter().filter(|link| link.to.node == node).find_map(|link| link.incarnation)
    }

    fn each_link(&self, visit: &mut dyn FnMut(LinkView)) {
        let is_shown = |link: &&Link| !matches!(link.state, LinkState::Mesh | LinkState::Removed);
        for link in self.links.iter().filter(is_shown) {
            visit(LinkView {
                addr: link.to,
                to_since_ms: link.is_up().then_some(link.up_since_ms),
                from_since_ms: link.inbound.map(|_| link.inbound_since_ms),
                send_bytes: link.outbox.bytes() + link.sending_bytes,
            });
        }
    }
}
