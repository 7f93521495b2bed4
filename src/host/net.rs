//! Stream connections, by completions.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;

use bytes::Bytes;

/// A connection of this core. The generation tells a connection from a later one in the same place, so a
/// stale id is harmless: operations on it do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// CoreAddr in the core's table of connections; small and dense, so it can index an array.
    pub idx: u32,
    /// How often the place was used before.
    pub generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.idx, self.generation)
    }
}

/// A listening socket of this core, numbered from 0 in the order of [`Net::listen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// What one send consists of. Handed back with [`NetEvent::Sent`], to be used again.
#[derive(Debug)]
pub enum SendBuf {
    /// One run of bytes.
    Plain(Vec<u8>),
    /// Runs sent one behind the other with one gathering send; at most [`GATHER_COUNT_MAX`].
    Gather(Vec<Bytes>),
}

/// Most parts of a [`SendBuf::Gather`].
pub const GATHER_COUNT_MAX: usize = 1_024;

/// Most bytes of one connection that a simulated host has received and the core has not taken in: as many may still come after
/// [`Net::recv_pause`]. A real host has no such limit for one connection, but its receive buffers, which all connections of
/// the core share: the kernel hands over 33 buffers at a time, and on a busy machine does so again before the core looks.
pub const RECV_WINDOW_BYTES_MAX: usize = 1 << 20;

impl SendBuf {
    /// Total bytes.
    pub fn len(&self) -> usize {
        match self {
            SendBuf::Plain(bytes) => bytes.len(),
            SendBuf::Gather(parts) => parts.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What happened on the network since the last look.
#[derive(Debug)]
pub enum NetEvent<RecvBuf> {
    /// A client or peer has connected. Receiving has already begun.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// Where it came in.
        listener: ListenerId,
        /// Who it is.
        peer: SocketAddr,
    },
    /// A connection begun with [`Net::connect`] stands. Receiving has already begun.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// Bytes have arrived; never empty. Dropping `buf` gives the buffer back to the core's pool: do so soon,
    /// the pool is bounded and nothing is received while it is empty.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes, in the order of the stream.
        buf: RecvBuf,
    },
    /// The other side will send no more. Sending still works.
    ReceiveEnded {
        /// The connection.
        conn: ConnId,
    },
    /// All of a [`Net::send`] was handed to the network.
    Sent {
        /// The connection.
        conn: ConnId,
        /// The buffers, to be used again.
        buf: SendBuf,
    },
    /// The last event of a connection, for whatever reason, [`Net::close`] included: the id is dead, what
    /// was not sent is lost.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why, unless it was closed from here.
        error: Option<io::Error>,
    },
}

/// A core's sockets. Calls never wait; what they begin is submitted together at the end of the turn
/// ([`crate::Spawn::park`], [`crate::Spawn::yield_now`]).
pub trait Net {
    /// A received run of bytes, lent from a pool; dropping it gives it back.
    type RecvBuf: Deref<Target = [u8]>;

    /// Listens on an address and accepts from now on. `conns_count_max` bounds the connections that came in
    /// through this listener and are open; beyond it a new one is accepted, sent `refusal`, and closed. Several
    /// cores may listen on one address if all of them say `is_shared`; the kernel spreads connections.
    fn listen(
        &self,
        addr: SocketAddr,
        is_shared: bool,
        conns_count_max: usize,
        refusal: &'static [u8],
    ) -> io::Result<ListenerId>;

    /// Bounds the open connections of a listener anew. Those that are open stay. A host that allows any number does nothing.
    fn limit_conns(&self, listener: ListenerId, conns_count_max: usize) {
        let _ = (listener, conns_count_max);
    }

    /// How many connections a listener has refused because there were as many as allowed. A host that allows any number
    /// refuses none.
    fn refused_count(&self, listener: ListenerId) -> u64 {
        let _ = listener;
        0
    }

    /// Stops accepting; connections stay.
    fn unlisten(&self, listener: ListenerId);

    /// Begins to connect from a local address (any port). Ends in `Connected` or `Closed`.
    fn connect(&self, from: IpAddr, to: SocketAddr) -> ConnId;

    /// The next event. Reaps completions without a system call where it can.
    fn next_event(&self) -> Option<NetEvent<Self::RecvBuf>>;

    /// Sends bytes behind those sent before. One send at a time per connection: wait for `Sent` before the next.
    ///
    /// The end of a send that was begun in the turn before a [`crate::Spawn::park`] may be told only when something else ends
    /// that: see [`Net::wake_when_sent`].
    fn send(&self, conn: ConnId, buf: SendBuf);

    /// The turn loop has more to do once the send that is under way over a connection has ended: its end ends a
    /// [`crate::Spawn::park`]. A host in which every end does need not do anything.
    fn wake_when_sent(&self, conn: ConnId) {
        let _ = conn;
    }

    /// Stops receiving: back-pressure on the other side. What was received before still comes: see
    /// [`RECV_WINDOW_BYTES_MAX`].
    fn recv_pause(&self, conn: ConnId);

    /// Receives again.
    fn recv_resume(&self, conn: ConnId);

    /// How many bytes the other side's machine has confirmed since the connection stands; 0 for one that has ended. It grows
    /// while a long send goes on, so it tells a receiver that is slow from one that takes nothing. It may cost a system
    /// call: for connections that are suspected, not for every send.
    fn acked_bytes(&self, conn: ConnId) -> u64;

    /// Closes at once: what is not yet sent is dropped. `Closed` follows.
    fn close(&self, conn: ConnId);
}
