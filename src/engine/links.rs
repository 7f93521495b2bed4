//! This core's links to the other cores of the cluster: what is queued for each, and the connections that
//! carry it.
//!
//! A link goes one way. A core connects to every core of the other nodes and sends frames; what those have
//! to say comes in over the connections they have made. Cores of the same node are reached over the mesh.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use host::{ConnId, Net, SendBuf};
use types::limits::FRAME_BYTES_MAX;
use types::{CoreAddr, Instant, NodeId};
use wire::{
    Body, ChunkReply, ChunkRequest, FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, Hello, LeaderNote, Message,
    ReplyStatus, RequestHead, VERDICT_BYTES, Verdict,
};

use crate::held::ArgStore;
use crate::limits::{CHUNKS_COUNT_MAX, FRAME_PAYLOAD_BYTES_MAX, Limits};
use crate::origin::Pending;

/// How long to wait before the first new attempt to connect, and at most.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(20);
const RETRY_AFTER_MAX: Duration = Duration::from_millis(500);
/// How long a connection may take to be established and greeted.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

/// How a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// Another core of this node: always there.
    Mesh,
    /// No connection; the next attempt is due then.
    Down { retry_at: Instant },
    /// Connected or about to be; the greeting is not answered yet.
    Greeting { conn: ConnId, deadline: Instant },
    /// Frames may be sent.
    Up { conn: ConnId },
}

/// One way to another core.
pub(crate) struct Link {
    pub(crate) place: CoreAddr,
    pub(crate) state: LinkState,
    addr: SocketAddr,
    /// What is to be sent next.
    pub(crate) outbox: Frame,
    /// Bytes of the Raft messages in it.
    pub(crate) messages_bytes: usize,
    /// Bytes of the forwarded commands and the replies in it. Counted apart: neither may keep the other out.
    pub(crate) commands_bytes: usize,
    /// Whether a frame is on its way to the network.
    is_sending: bool,
    retry_after: Duration,
    /// The peer's answer, as far as it has come.
    verdict: Vec<u8>,
    /// What this core has under way for it.
    pub(crate) pending: Pending,
    /// Commands forwarded by that core that wait until the replies of earlier ones have left.
    pub(crate) held_requests: VecDeque<(RequestHead, ArgStore)>,
    /// Bytes of their arguments, and of themselves.
    pub(crate) held_bytes: usize,
    /// An earlier gathering list, to be used again.
    spare_parts: Vec<Bytes>,
    /// Whether the link is on the list of those with something to send.
    is_dirty: bool,
    /// When a frame was last sent.
    sent_at: Instant,
    /// The connection that core has made, over which its frames come.
    inbound: Option<ConnId>,
    /// Whether a frame has come over it: then that core can answer. Until then it drops what it has to reply.
    is_heard: bool,
    /// When a frame last came from there.
    pub(crate) heard_at: Instant,
    /// The data directory that the node there was first seen with.
    pub(crate) incarnation: Option<u64>,
    /// Why the last attempt failed, so that the log tells it once.
    last_failure: Option<String>,
}

/// All links of a core.
pub(crate) struct Links {
    list: Vec<Link>,
    limits: Limits,
    dirty: Vec<u32>,
    /// Messages dropped because an outbox was full or a link down.
    pub(crate) dropped_count: u64,
    pub(crate) frames_sent: u64,
}

impl Links {
    /// Links to all places given, which do not include this core's own.
    pub(crate) fn new(me: CoreAddr, places: impl Iterator<Item = (CoreAddr, SocketAddr)>, limits: Limits) -> Links {
        let list = places
            .map(|(place, addr)| Link {
                place,
                state: if place.node == me.node {
                    LinkState::Mesh
                } else {
                    LinkState::Down { retry_at: Instant::ZERO }
                },
                addr,
                outbox: Frame::default(),
                messages_bytes: 0,
                commands_bytes: 0,
                is_sending: false,
                retry_after: RETRY_AFTER_MIN,
                verdict: Vec::new(),
                pending: Pending::default(),
                held_requests: VecDeque::new(),
                held_bytes: 0,
                spare_parts: Vec::new(),
                is_dirty: false,
                sent_at: Instant::ZERO,
                inbound: None,
                is_heard: false,
                heard_at: Instant::ZERO,
                incarnation: None,
                last_failure: None,
            })
            .collect();
        Links { list, limits, dirty: Vec::new(), dropped_count: 0, frames_sent: 0 }
    }

    pub(crate) fn get(&self, idx: u32) -> &Link {
        &self.list[idx as usize]
    }

    pub(crate) fn get_mut(&mut self, idx: u32) -> &mut Link {
        &mut self.list[idx as usize]
    }

    /// Notes the data directory that a node is known with; the first one counts.
    pub(crate) fn acquaint(&mut self, node: NodeId, incarnation: u64) {
        for link in self.list.iter_mut().filter(|link| link.place.node == node) {
            link.incarnation.get_or_insert(incarnation);
        }
    }

    /// The link to a place.
    pub(crate) fn to(&self, place: CoreAddr) -> Option<u32> {
        self.list.iter().position(|link| link.place == place).map(|idx| idx as u32)
    }

    /// All links.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.list.iter()
    }

    /// How many links there are.
    pub(crate) fn count(&self) -> u32 {
        self.list.len() as u32
    }

    /// How many nodes' links are up, and how many there should be.
    pub(crate) fn up_count(&self) -> usize {
        self.list.iter().filter(|link| matches!(link.state, LinkState::Mesh | LinkState::Up { .. })).count()
    }

    fn mark(&mut self, idx: u32) {
        let link = &mut self.list[idx as usize];
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push(idx);
        }
    }

    /// Queues a Raft message. Dropped if it cannot go out soon: Raft sends again.
    pub(crate) fn message(&mut self, idx: u32, message: Message) {
        let messages_bytes_max = self.limits.outbox_messages_bytes_max;
        let link = &mut self.list[idx as usize];
        let bytes = message_bytes(&message);
        if !link.is_up() || (link.messages_bytes > 0 && link.messages_bytes + bytes > messages_bytes_max) {
            self.dropped_count += 1;
            return;
        }
        link.messages_bytes += bytes;
        link.outbox.messages.push(message);
        self.mark(idx);
    }

    /// Queues a forwarded command.
    pub(crate) fn request<'a>(&mut self, idx: u32, head: RequestHead, arguments: impl Iterator<Item = &'a [u8]>) {
        let link = &mut self.list[idx as usize];
        let before = link.outbox.requests.bytes.len();
        link.outbox.requests.push(head, arguments);
        link.commands_bytes += link.outbox.requests.bytes.len() - before + 64;
        self.mark(idx);
    }

    /// Queues the reply of a command that came from there. Dropped if the link is down: its sender gives up on all that
    /// it has sent before the link is up again.
    pub(crate) fn reply(&mut self, idx: u32, id: u64, status: ReplyStatus, write: impl FnOnce(&mut Vec<u8>)) {
        let link = &mut self.list[idx as usize];
        if !link.is_up() {
            return;
        }
        let before = link.outbox.replies.bytes.len();
        link.outbox.replies.push(id, status, write);
        link.commands_bytes += link.outbox.replies.bytes.len() - before + 32;
        self.mark(idx);
    }

    /// Queues a question for a piece of a checkpoint.
    pub(crate) fn chunk_request(&mut self, idx: u32, request: ChunkRequest) {
        let link = &mut self.list[idx as usize];
        if link.is_up() {
            link.outbox.chunk_requests.push(request);
            self.mark(idx);
        }
    }

    /// Queues a piece of a checkpoint. Whoever asked for it asks for one at a time, and again if it is lost.
    pub(crate) fn chunk(&mut self, idx: u32, reply: ChunkReply) {
        let link = &mut self.list[idx as usize];
        if link.is_up() && link.outbox.chunks.len() < CHUNKS_COUNT_MAX {
            link.outbox.chunks.push(reply);
            self.mark(idx);
        }
    }

    /// Queues who leads a group, for all cores.
    pub(crate) fn announce(&mut self, note: LeaderNote) {
        for idx in 0..self.count() {
            if self.list[idx as usize].is_up() {
                self.list[idx as usize].outbox.leaders.push(note);
                self.mark(idx);
            }
        }
    }

    /// Queues who leads what for one core whose link has just come up.
    pub(crate) fn brief(&mut self, idx: u32, notes: impl Iterator<Item = LeaderNote>) {
        self.list[idx as usize].outbox.leaders.extend(notes);
        self.mark(idx);
    }

    /// Whether a link has taken more than it can send.
    pub(crate) fn is_congested(&self, idx: u32) -> bool {
        self.list[idx as usize].commands_bytes >= self.limits.outbox_bytes_max
    }

    /// Lets the cores of other nodes know that this one is there, where nothing else has told them for `interval`:
    /// groups that have fallen silent rely on it. Returns the places that were not heard for `silence_max`.
    pub(crate) fn keep_alive(&mut self, now: Instant, interval: Duration, silence_max: Duration) -> Vec<CoreAddr> {
        let mut silent = Vec::new();
        for idx in 0..self.count() {
            let link = &mut self.list[idx as usize];
            if link.state == LinkState::Mesh {
                continue;
            }
            if link.is_silent(now, silence_max) {
                silent.push(link.place);
            }
            if link.is_up() && !link.is_sending && now.since(link.sent_at) >= interval {
                // An empty frame says it.
                link.sent_at = now;
                self.mark(idx);
            }
        }
        silent
    }

    /// A frame has come from another core.
    pub(crate) fn heard(&mut self, idx: u32, now: Instant) {
        let link = &mut self.list[idx as usize];
        link.heard_at = now;
        link.is_heard = true;
    }

    /// A core has connected and is let in. Returns its former connection: of one whose other end is gone, cut off or
    /// powered down, nothing is heard any more, and each such one would take a place for ever.
    pub(crate) fn let_in(&mut self, idx: u32, conn: ConnId) -> Option<ConnId> {
        let link = &mut self.list[idx as usize];
        link.is_heard = false;
        link.inbound.replace(conn)
    }

    /// A connection that a core has made has ended. Returns whether that was the one over which its frames come.
    pub(crate) fn inbound_ended(&mut self, idx: u32, conn: ConnId) -> bool {
        let link = &mut self.list[idx as usize];
        let is_current = link.inbound == Some(conn);
        if is_current {
            link.is_heard = false;
            link.inbound = None;
        }
        is_current
    }

    /// Whether frames that come over a connection are those of a core, and not late ones of its former connection.
    pub(crate) fn is_inbound(&self, idx: u32, conn: ConnId) -> bool {
        self.list[idx as usize].inbound == Some(conn)
    }

    /// Sends one frame on each connection that has something to say and is not busy. Frames for cores of this
    /// node are handed to `mesh`, which may refuse.
    pub(crate) fn flush<N: Net>(
        &mut self,
        net: &N,
        mut mesh: impl FnMut(CoreAddr, Box<Frame>) -> Result<(), Box<Frame>>,
    ) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|idx| {
            let link = &mut self.list[*idx as usize];
            match link.state {
                LinkState::Mesh => match mesh(link.place, Box::new(std::mem::take(&mut link.outbox))) {
                    Ok(()) => {
                        (link.messages_bytes, link.commands_bytes) = (0, 0);
                        self.frames_sent += 1;
                    }
                    Err(frame) => {
                        link.outbox = *frame;
                        return true;
                    }
                },
                LinkState::Up { conn } if !link.is_sending => {
                    link.send_frame(net, conn);
                    self.frames_sent += 1;
                    if !link.outbox.is_empty() {
                        return true;
                    }
                }
                // `Sent` marks the link again; one that is down starts empty.
                LinkState::Up { .. } | LinkState::Down { .. } | LinkState::Greeting { .. } => {}
            }
            link.is_dirty = false;
            false
        });
        self.dirty.append(&mut dirty);
    }

    /// Whether something could not be handed over and must be tried again without a new event.
    pub(crate) fn has_unsent_mesh(&self) -> bool {
        self.dirty.iter().any(|idx| self.list[*idx as usize].state == LinkState::Mesh)
    }

    /// A frame has left. Returns nothing to do; more goes out at the next flush.
    pub(crate) fn sent(&mut self, idx: u32, buf: SendBuf) {
        let link = &mut self.list[idx as usize];
        link.is_sending = false;
        if let SendBuf::Gather(mut parts) = buf {
            parts.clear();
            link.spare_parts = parts;
        }
        if !link.outbox.is_empty() {
            self.mark(idx);
        }
    }

    /// Connects what is due and gives up on what takes too long. Returns the connections begun.
    pub(crate) fn tick<N: Net>(&mut self, net: &N, from: IpAddr, now: Instant) -> Vec<(u32, ConnId)> {
        let mut begun = Vec::new();
        for (idx, link) in self.list.iter_mut().enumerate() {
            match link.state {
                LinkState::Down { retry_at } if retry_at <= now => {
                    let conn = net.connect(from, link.addr);
                    link.state = LinkState::Greeting { conn, deadline: now + GREETING_TIMEOUT };
                    link.verdict.clear();
                    begun.push((idx as u32, conn));
                }
                LinkState::Greeting { conn, deadline } if deadline <= now => net.close(conn),
                _ => {}
            }
        }
        begun
    }

    /// The connection stands: introduce ourselves.
    pub(crate) fn greet<N: Net>(&mut self, idx: u32, net: &N, conn: ConnId, hello: &Hello) {
        self.list[idx as usize].is_sending = true;
        net.send(conn, SendBuf::Plain(hello.encode().to_vec()));
    }

    /// Bytes have come back on an outgoing connection: the verdict, and nothing behind it.
    pub(crate) fn received(&mut self, idx: u32, bytes: &[u8]) -> Received {
        let link = &mut self.list[idx as usize];
        let LinkState::Greeting { conn, .. } = link.state else { return Received::Nonsense };
        link.verdict.extend_from_slice(bytes);
        if link.verdict.len() < VERDICT_BYTES {
            return Received::More;
        }
        let verdict = link.verdict.first_chunk().filter(|_| link.verdict.len() == VERDICT_BYTES);
        match verdict.and_then(Verdict::decode) {
            Some(Verdict::Accepted) => {
                link.state = LinkState::Up { conn };
                link.retry_after = RETRY_AFTER_MIN;
                link.last_failure = None;
                Received::Up
            }
            Some(refusal) => Received::Refused(refusal),
            None => Received::Nonsense,
        }
    }

    /// The connection is gone. Returns whether the failure is news worth telling.
    pub(crate) fn closed(&mut self, idx: u32, now: Instant, failure: &str) -> bool {
        let link = &mut self.list[idx as usize];
        link.state = LinkState::Down { retry_at: now + link.retry_after };
        link.retry_after = (link.retry_after * 2).min(RETRY_AFTER_MAX);
        link.outbox = Frame::default();
        (link.messages_bytes, link.commands_bytes) = (0, 0);
        // Nobody waits for their answers any more: replies to that core were lost with the link.
        link.held_requests.clear();
        link.held_bytes = 0;
        link.is_sending = false;
        link.is_dirty = false;
        self.dirty.retain(|dirty| *dirty != idx);
        let is_news = link.last_failure.as_deref() != Some(failure);
        link.last_failure = Some(failure.to_owned());
        is_news
    }
}

/// What came back on an outgoing connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Not all of it yet.
    More,
    /// The peer has let us in.
    Up,
    /// It has not.
    Refused(Verdict),
    /// Something that is no verdict.
    Nonsense,
}

/// What a command that waits costs beside its arguments, in bytes.
pub(crate) const HELD_OVERHEAD_BYTES: usize = size_of::<(RequestHead, ArgStore)>();

impl Link {
    /// Keeps a command of that core until there is room for it.
    pub(crate) fn hold(&mut self, head: RequestHead, args: ArgStore) {
        self.held_bytes += args.bytes() + HELD_OVERHEAD_BYTES;
        self.held_requests.push_back((head, args));
    }

    /// Takes out the command of that core that has waited for longest.
    pub(crate) fn take_held(&mut self) -> Option<(RequestHead, ArgStore)> {
        let (head, args) = self.held_requests.pop_front()?;
        self.held_bytes -= args.bytes() + HELD_OVERHEAD_BYTES;
        Some((head, args))
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Mesh | LinkState::Up { .. })
    }

    /// Whether nothing has been heard of that core for so long. The cores of one node are never called silent: they do not
    /// tell each other that they are there.
    pub(crate) fn is_silent(&self, now: Instant, silence_max: Duration) -> bool {
        self.state != LinkState::Mesh && now.since(self.heard_at) >= silence_max
    }

    /// Whether commands can be sent and their replies can come.
    pub(crate) fn takes_commands(&self) -> bool {
        self.state == LinkState::Mesh || self.is_up() && self.is_heard
    }

    /// Sends as much of the outbox as one frame may hold.
    fn send_frame<N: Net>(&mut self, net: &N, conn: ConnId) {
        let mut frame = std::mem::take(&mut self.outbox);
        self.split_off_excess(&mut frame);
        let mut parts = std::mem::take(&mut self.spare_parts);
        frame.encode(&mut parts);
        self.is_sending = true;
        if parts.len() <= host::net::GATHER_COUNT_MAX {
            return net.send(conn, SendBuf::Gather(parts));
        }
        // One message with very many small entries, as for a follower far behind: they are copied together.
        let joined = parts.concat();
        parts.clear();
        self.spare_parts = parts;
        net.send(conn, SendBuf::Plain(joined));
    }

    /// Leaves in the outbox what is too much for one frame: in bytes, or in parts to gather.
    fn split_off_excess(&mut self, frame: &mut Frame) {
        let mut bytes = 0;
        // Header, requests, replies and pieces of checkpoints take a part each.
        let mut parts_count = 3 + frame.chunks.len();
        let mut fits = 0;
        for message in &frame.messages {
            if let Body::Append { entries, .. } = &message.body {
                parts_count += entries.len();
                bytes += entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
            }
            if fits > 0 && (bytes > FRAME_PAYLOAD_BYTES_MAX || parts_count > host::net::GATHER_COUNT_MAX) {
                break;
            }
            fits += 1;
        }
        self.outbox.messages = frame.messages.split_off(fits);
        self.outbox.replies = frame.replies.split_off_behind(FRAME_PAYLOAD_BYTES_MAX);
        self.messages_bytes = self.outbox.messages.iter().map(message_bytes).sum();
        self.commands_bytes = self.outbox.replies.bytes.len() + 32 * self.outbox.replies.heads.len();
    }
}

/// What a message adds to an outbox.
fn message_bytes(message: &Message) -> usize {
    let entries_bytes = match &message.body {
        Body::Append { entries, .. } => entries.iter().map(|entry| entry.payload.len() + 32).sum(),
        _ => 0,
    };
    entries_bytes + 64
}

/// Puts frames together from the runs of bytes that a connection delivers.
#[derive(Default)]
pub(crate) struct FrameAssembler {
    header_bytes: Vec<u8>,
    header: Option<FrameHeader>,
    body: Vec<u8>,
}

impl FrameAssembler {
    /// Takes bytes from the front of `bytes` and returns a frame once one is complete. Call it again until
    /// it returns `None`. The body is allocated once, as long as its checked header says.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let missing = FRAME_HEADER_BYTES - self.header_bytes.len();
                take(bytes, missing, &mut self.header_bytes);
                let Some(header_bytes) = self.header_bytes.first_chunk() else { return Ok(None) };
                let header = FrameHeader::decode(header_bytes)?;
                assert!(header.body_len() <= FRAME_BYTES_MAX, "a decoded header is within the limit");
                self.body = Vec::with_capacity(header.body_len());
                *self.header.insert(header)
            }
        };
        take(bytes, header.body_len() - self.body.len(), &mut self.body);
        if self.body.len() < header.body_len() {
            return Ok(None);
        }
        self.header = None;
        self.header_bytes.clear();
        header.decode_body(Bytes::from(std::mem::take(&mut self.body))).map(Some)
    }
}

fn take(from: &mut &[u8], count: usize, to: &mut Vec<u8>) {
    let (taken, rest) = from.split_at(count.min(from.len()));
    to.extend_from_slice(taken);
    *from = rest;
}
