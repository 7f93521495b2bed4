//! One link: what is queued for another core, and the connections that carry it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use host::{ConnId, Net, SendBuf};
use types::{CoreAddr, Instant};
use wire::{
    Body, ChunkReply, ChunkRequest, ComparisonNote, DIGEST_BYTES, Frame, Healths, LeaderNote, MapNote, Message,
    ReplicaNote, RepliesBuilder, Report, Requests, VERDICT_BYTES, Verdict,
};

use crate::budget::Permit;
use crate::config::Config;
use crate::limits::FRAME_PAYLOAD_BYTES_MAX;
use crate::peers::inbox::Inbox;

/// How long to wait before the first new attempt to connect, and at most.
pub(super) const RETRY_AFTER_MIN: Duration = Duration::from_millis(20);
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_millis(500);
/// How long a connection may take to be established and authenticated.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a node seen for the first time is kept waiting until it is remembered. Then it connects again.
pub(super) const ADMISSION_TIMEOUT: Duration = Duration::from_millis(300);

/// About what a group takes in a report, in bytes.
const GROUP_FIGURES_BYTES: usize = 160;

/// How a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Another core of this node: always there.
    Mesh,
    /// No connection; the next attempt is due then.
    Down { retry_at: Instant },
    /// Connected or about to be; the hello is not answered yet.
    Connecting { conn: ConnId, deadline: Instant },
    /// Frames may be sent.
    Up { conn: ConnId },
    /// The node there was removed from the cluster, for ever.
    Removed,
}

/// What is to be sent next. Commands for the other core are not in it: the router has them.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) messages: Vec<Message>,
    pub(super) messages_bytes: usize,
    pub(super) replies: RepliesBuilder,
    pub(super) leaders: Vec<LeaderNote>,
    pub(super) chunk_requests: Vec<ChunkRequest>,
    pub(super) chunks: Vec<ChunkReply>,
    pub(super) comparisons: Vec<ComparisonNote>,
    pub(super) replica_notes: Vec<ReplicaNote>,
    pub(super) changes: Vec<Bytes>,
    /// What is reported to that core, and how the nodes are found: the latest of each.
    pub(super) report: Option<Report>,
    pub(super) healths: Option<Healths>,
    /// Whether that core's map is wanted, and this one's as it wants it.
    pub(super) is_map_wanted: bool,
    pub(super) map: Bytes,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.replies.is_empty()
            && self.leaders.is_empty()
            && self.chunk_requests.is_empty()
            && self.chunks.is_empty()
            && self.comparisons.is_empty()
            && self.replica_notes.is_empty()
            && self.changes.is_empty()
            && self.report.is_none()
            && self.healths.is_none()
            && !self.is_map_wanted
            && self.map.is_empty()
    }

    /// Bytes that wait, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        let chunks = self.chunks.iter().filter_map(|reply| reply.chunk.as_ref()).map(|chunk| chunk.bytes.len());
        let messages = self.messages.iter().map(message_bytes);
        messages.sum::<usize>() + self.replies.bytes_len() + chunks.sum::<usize>() + self.notes_bytes()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().filter_map(|reply| reply.chunk.as_ref()).map(|chunk| chunk.bytes.len());
        self.messages_bytes + self.replies.bytes_len() + chunks.sum::<usize>() + self.notes_bytes()
    }

    fn notes_bytes(&self) -> usize {
        let reported = self.report.as_ref().map_or(0, |report| report.groups.len() * GROUP_FIGURES_BYTES);
        let changes = self.changes.iter().map(Bytes::len).sum::<usize>();
        self.comparisons.len() * DIGEST_BYTES + self.map.len() + changes + reported
    }

    /// Takes out as much as one frame may hold, in bytes and in parts to gather.
    /// `map_epoch` is that of the latest map known here.
    pub(super) fn take_frame(&mut self, requests: Requests, map_epoch: u64) -> Frame {
        let mut bytes = 0;
        // Header, requests, replies, a report, the map and chunks take a part each.
        let mut parts_count = 5 + self.chunks.len() + self.comparisons.len() + self.changes.len();
        let mut fits = 0;
        for message in &self.messages {
            if let Body::Append { entries, .. } = &message.body {
                parts_count += entries.len();
                bytes += entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
            }
            if fits > 0 && (bytes > FRAME_PAYLOAD_BYTES_MAX || parts_count > host::net::GATHER_COUNT_MAX) {
                break;
            }
            fits += 1;
        }
        let rest = self.messages.split_off(fits);
        let frame = Frame {
            messages: std::mem::replace(&mut self.messages, rest),
            requests,
            replies: self.replies.take_up_to(FRAME_PAYLOAD_BYTES_MAX),
            leaders: std::mem::take(&mut self.leaders),
            chunk_requests: std::mem::take(&mut self.chunk_requests),
            chunks: std::mem::take(&mut self.chunks),
            comparisons: std::mem::take(&mut self.comparisons),
            replica_notes: std::mem::take(&mut self.replica_notes),
            changes: std::mem::take(&mut self.changes),
            report: self.report.take(),
            healths: self.healths.take(),
            map: MapNote {
                epoch: map_epoch,
                is_wanted: std::mem::take(&mut self.is_map_wanted),
                map: std::mem::take(&mut self.map),
            },
        };
        self.messages_bytes = self.messages.iter().map(message_bytes).sum();
        frame
    }
}

/// One way to another core.
pub(super) struct Link {
    pub(super) to: CoreAddr,
    pub(super) state: LinkState,
    pub(super) addr: SocketAddr,
    pub(super) outbox: Outbox,
    /// What came from there and waits to be taken in.
    pub(super) inbox: Inbox,
    /// Bytes of the outbox, of the frame on its way and of the inbox.
    pub(super) permit: Permit,
    /// A frame that the mesh did not take yet.
    pub(super) refused_frame: Option<Box<Frame>>,
    /// Whether a frame is on its way to the network, and its bytes.
    pub(super) is_sending: bool,
    pub(super) sending_bytes: usize,
    pub(super) retry_after: Duration,
    /// The peer's answer to the hello, as far as it has come.
    verdict: Vec<u8>,
    /// An earlier gathering list, to be used again.
    spare_parts: Vec<Bytes>,
    /// Whether the link is on the list of those with something to send.
    pub(super) is_dirty: bool,
    /// Whether a frame is to be sent even if it is empty, to say that this core is there.
    pub(super) is_keep_alive_due: bool,
    /// When a frame was last sent.
    pub(super) sent_at: Instant,
    /// Since when this core's connection is up, in milliseconds since 1970.
    pub(super) up_since_ms: u64,
    /// The connection that core has made, over which its frames come, and since when.
    pub(super) inbound: Option<ConnId>,
    pub(super) inbound_since_ms: u64,
    /// Whether a frame has come over it: then that core can answer. Until then it drops what it has to reply.
    pub(super) is_heard: bool,
    /// When a frame last came from there.
    pub(super) heard_at: Instant,
    /// Whether the silence of that core was noted already.
    pub(super) is_noted_silent: bool,
    /// The data directory that the node there was first seen with.
    pub(super) incarnation: Option<u64>,
    /// Why the last attempt failed, so that the log tells it once.
    pub(super) last_failure: Option<String>,
}

impl Link {
    /// A link to a core, at its peer address.
    pub(super) fn new(to: CoreAddr, addr: SocketAddr, is_mesh: bool, permit: Permit) -> Link {
        Link {
            to,
            state: if is_mesh { LinkState::Mesh } else { LinkState::Down { retry_at: Instant::ZERO } },
            addr,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            permit,
            refused_frame: None,
            is_sending: false,
            sending_bytes: 0,
            retry_after: RETRY_AFTER_MIN,
            verdict: Vec::new(),
            spare_parts: Vec::new(),
            is_dirty: false,
            is_keep_alive_due: false,
            sent_at: Instant::ZERO,
            up_since_ms: 0,
            inbound: None,
            inbound_since_ms: 0,
            is_heard: false,
            heard_at: Instant::ZERO,
            is_noted_silent: false,
            incarnation: None,
            last_failure: None,
        }
    }

    /// Whether frames can be sent.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Mesh | LinkState::Up { .. })
    }

    /// Whether nothing has been heard of that core for so long. The cores of one node are never called silent: they do not
    /// tell each other that they are there.
    pub(super) fn is_silent(&self, now: Instant, silence_max: Duration) -> bool {
        self.state != LinkState::Mesh && now.since(self.heard_at) >= silence_max
    }

    /// When the link next wants a tick.
    pub(super) fn due(&self, config: &Config) -> Instant {
        let due = match self.state {
            LinkState::Mesh | LinkState::Removed => return Instant::NEVER,
            LinkState::Down { retry_at } => retry_at,
            LinkState::Connecting { deadline, .. } => deadline,
            // What is on its way tells that this core is there; the next tick looks again.
            LinkState::Up { .. } if self.is_sending || self.is_keep_alive_due => Instant::NEVER,
            LinkState::Up { .. } => self.sent_at + config.keep_alive_interval(),
        };
        if self.is_noted_silent { due } else { due.min(self.heard_at + config.silence_max()) }
    }

    /// Whether commands can be sent and their replies can come.
    pub(super) fn takes_commands(&self) -> bool {
        self.state == LinkState::Mesh || self.is_up() && self.is_heard
    }

    /// Makes the permit say what is held.
    pub(super) fn settle(&mut self) {
        self.permit.set(self.outbox.bytes() + self.sending_bytes + self.inbox.bytes());
    }

    /// Sends a frame.
    pub(super) fn send_frame<N: Net>(&mut self, net: &N, conn: ConnId, mut frame: Frame) {
        let mut parts = std::mem::take(&mut self.spare_parts);
        frame.encode(&mut parts);
        self.is_sending = true;
        self.sending_bytes = parts.iter().map(Bytes::len).sum();
        if parts.len() <= host::net::GATHER_COUNT_MAX {
            return net.send(conn, SendBuf::Gather(parts));
        }
        // One message with very many small entries, as for a follower far behind: they are copied together.
        let joined = parts.concat();
        parts.clear();
        self.spare_parts = parts;
        net.send(conn, SendBuf::Plain(joined));
    }

    /// A frame has left.
    pub(super) fn sent(&mut self, buf: SendBuf) {
        self.is_sending = false;
        self.sending_bytes = 0;
        if let SendBuf::Gather(mut parts) = buf {
            parts.clear();
            self.spare_parts = parts;
        }
    }

    /// A connection is being made.
    pub(super) fn connecting(&mut self, conn: ConnId, now: Instant) {
        self.state = LinkState::Connecting { conn, deadline: now + HELLO_TIMEOUT };
        self.verdict.clear();
    }

    /// Bytes have come back on an outgoing connection: the verdict, and nothing behind it.
    pub(super) fn received(&mut self, bytes: &[u8]) -> Received {
        let LinkState::Connecting { conn, .. } = self.state else { return Received::Nonsense };
        if bytes.len() > VERDICT_BYTES - self.verdict.len() {
            return Received::Nonsense;
        }
        self.verdict.extend_from_slice(bytes);
        let Some(verdict) = self.verdict.first_chunk() else { return Received::More };
        match Verdict::decode(verdict) {
            Some(Verdict::Accepted) => {
                self.state = LinkState::Up { conn };
                self.retry_after = RETRY_AFTER_MIN;
                self.last_failure = None;
                Received::Up
            }
            Some(refusal) => Received::Refused(refusal),
            None => Received::Nonsense,
        }
    }

    /// The node there was removed: what waits for it comes to nobody.
    pub(super) fn remove(&mut self) {
        self.state = LinkState::Removed;
        self.outbox = Outbox::default();
        (self.is_heard, self.is_sending, self.sending_bytes, self.is_keep_alive_due) = (false, false, 0, false);
        self.settle();
    }

    /// The connection is gone. Returns whether the failure is news worth telling.
    pub(super) fn closed(&mut self, now: Instant, failure: &str) -> bool {
        self.state = LinkState::Down { retry_at: now + self.retry_after };
        self.retry_after = (self.retry_after * 2).min(RETRY_AFTER_MAX);
        self.outbox = Outbox::default();
        self.is_sending = false;
        self.sending_bytes = 0;
        self.is_keep_alive_due = false;
        self.settle();
        let is_news = self.last_failure.as_deref() != Some(failure);
        self.last_failure = Some(failure.to_owned());
        is_news
    }
}

/// What came back on an outgoing connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Not all of it yet.
    More,
    /// The peer has let us in.
    Up,
    /// It has not.
    Refused(Verdict),
    /// Something that is no verdict.
    Nonsense,
}

/// What a message adds to an outbox.
pub(super) fn message_bytes(message: &Message) -> usize {
    let entries_bytes = match &message.body {
        Body::Append { entries, .. } => entries.iter().map(|entry| entry.payload.len() + 32).sum(),
        _ => 0,
    };
    entries_bytes + 64
}
