//! A stream: its two sides, and what each has on its way.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use host::{ConnId, SendBuf};

use super::way::Host;

/// Longest run of bytes that a core is handed at once: what a receive buffer of a real host holds.
pub(super) const RECV_BUFFER_BYTES: usize = 16 << 10;

/// Who has an end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A core's connection.
    Core {
        /// The core.
        core: usize,
        /// Its connection.
        conn: ConnId,
    },
    /// A client's connection.
    Client(u64),
    /// Nobody any more, or not yet.
    Nobody,
}

/// A run of bytes on its way.
pub(super) struct Segment {
    pub(super) at: u64,
    pub(super) bytes: Bytes,
    pub(super) is_end: bool,
    /// It was sent when nothing had been confirmed for long: it leaves only once something is.
    pub(super) waits: bool,
}

/// One side of a stream, and what it has sent.
pub struct Side {
    /// Who has it.
    pub owner: Owner,
    /// Where it is.
    pub host: Host,
    pub(super) segments: VecDeque<Segment>,
    pub(super) in_flight_bytes: usize,
    /// What has arrived at the other side.
    pub(super) arrived_bytes: u64,
    pub(super) last_at: u64,
    pub(super) is_scheduled: bool,
    /// Nothing of it is delivered until the other side reads on.
    pub(super) is_held: bool,
    pub(super) stalled_since: Option<u64>,
    /// Since when what is sent has been getting there, as far as is known, without being confirmed.
    pub(super) unconfirmed_since: Option<u64>,
    pub(super) retries: u32,
    /// A send that ends when there is room again.
    pub(super) sending: Option<SendBuf>,
    /// Whether it asks now and then whether the other side is still there.
    pub(crate) keeps_alive: bool,
    /// Whether its owner does not want to receive.
    pub is_paused: bool,
    /// What has been delivered to the core that owns it and not been looked at. Invariant: at most the stream's window.
    pub(super) unread_bytes: usize,
    /// Frames that corruption has kept back, and when they may leave.
    pub(crate) kept_back: VecDeque<(u64, Bytes)>,
}

impl Side {
    /// A side that has sent nothing.
    fn new(owner: Owner, host: Host) -> Side {
        Side {
            owner,
            host,
            segments: VecDeque::new(),
            in_flight_bytes: 0,
            arrived_bytes: 0,
            last_at: 0,
            is_scheduled: false,
            is_held: false,
            stalled_since: None,
            unconfirmed_since: None,
            retries: 0,
            sending: None,
            keeps_alive: false,
            is_paused: false,
            unread_bytes: 0,
            kept_back: VecDeque::new(),
        }
    }

    /// Bytes it has sent and the other side has not received.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }
}

/// A stream.
pub struct Stream {
    /// The side that has connected, then the other.
    pub sides: [Side; 2],
    /// Where it leads.
    pub addr: SocketAddr,
    /// Whether both sides know each other.
    pub is_open: bool,
    /// What a core may have been delivered and not looked at, in bytes.
    pub(super) recv_window_bytes: usize,
    pub(super) began_at: u64,
    pub(super) retries: u32,
}

impl Stream {
    /// One that `owner` at a host begins at a time: nobody has the other side yet.
    pub(super) fn new(
        owner: Owner,
        hosts: [Host; 2],
        addr: SocketAddr,
        recv_window_bytes: usize,
        now: u64,
    ) -> Stream {
        let sides = [Side::new(owner, hosts[0]), Side::new(Owner::Nobody, hosts[1])];
        Stream { sides, addr, is_open: false, recv_window_bytes, began_at: now, retries: 0 }
    }

    /// Takes what arrives next of what a side has sent, and whether it is the end. `None` if the receiver has no room for it.
    pub(super) fn take(&mut self, side: usize) -> Option<(Bytes, bool)> {
        let [first, second] = &mut self.sides;
        let (sender, receiver) = if side == 0 { (first, second) } else { (second, first) };
        let segment = sender.segments.front_mut()?;
        let mut len = segment.bytes.len();
        if matches!(receiver.owner, Owner::Core { .. }) {
            len = len.min(RECV_BUFFER_BYTES).min(self.recv_window_bytes - receiver.unread_bytes);
            receiver.unread_bytes += len;
        }
        if len == 0 && !segment.bytes.is_empty() {
            return None;
        }
        sender.in_flight_bytes -= len;
        sender.arrived_bytes += len as u64;
        let bytes = segment.bytes.split_to(len);
        let is_end = segment.bytes.is_empty() && segment.is_end;
        if segment.bytes.is_empty() {
            sender.segments.pop_front();
        }
        Some((bytes, is_end))
    }
}

/// The number of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// CoreAddr in the table.
    pub idx: u32,
    /// How often the place was used before.
    pub generation: u32,
}
