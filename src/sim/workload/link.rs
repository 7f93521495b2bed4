//! A client's connection, and the commands on it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use types::Instant;

use super::pipeline_order::Mark;
use super::port::ClientPort;
use super::shared_counters::SeenCounts;
use crate::client::ClientConn;
use crate::history::{Call, OperationId};
use crate::prng::Prng;

/// How many pieces a burst is sent in, at most.
const PIECES_COUNT_MAX: u64 = 5;

/// A command on its way. One that is sent a second time keeps its operation.
pub(super) struct Item {
    pub(super) call: Call,
    pub(super) own: Option<Mark>,
    pub(super) id: Option<OperationId>,
    pub(super) redirects_count: u8,
}

/// What was sent and is not answered.
pub(super) enum Waiting {
    Hello,
    Command(Item),
}

/// A connection, and what was and will be asked over it.
pub(super) struct Link {
    pub(super) conn: ClientConn,
    pub(super) addr: SocketAddr,
    pub(super) is_open: bool,
    /// Since when nothing that is waited for has come.
    pub(super) waits_since: Instant,
    pub(super) received: Vec<u8>,
    /// Not sent yet.
    pub(super) queue: Vec<Item>,
    /// Sent, in order.
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) counts: SeenCounts,
}

impl Link {
    /// A connection that is being made for a command.
    pub(super) fn new(conn: ClientConn, addr: SocketAddr, now: Instant, item: Item) -> Link {
        Link {
            conn,
            addr,
            is_open: false,
            waits_since: now,
            received: Vec::new(),
            queue: vec![item],
            waiting: VecDeque::new(),
            counts: SeenCounts::default(),
        }
    }

    /// Whether anything is asked over it.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty() || !self.waiting.is_empty()
    }
}

/// Sends bytes that may be cut anywhere.
pub(super) fn send_in_pieces(port: &dyn ClientPort, prng: &mut Prng, conn: ClientConn, bytes: &[u8]) {
    let mut rest = bytes;
    for _ in 1..prng.range(1, PIECES_COUNT_MAX) {
        let (piece, behind) = rest.split_at(prng.below(rest.len() as u64 + 1) as usize);
        if !piece.is_empty() {
            port.send(conn, piece);
        }
        rest = behind;
    }
    if !rest.is_empty() {
        port.send(conn, rest);
    }
}
