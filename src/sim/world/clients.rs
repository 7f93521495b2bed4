//! The clients' ends of their connections, and what happens to clients.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::net::StreamId;

/// A client's connection. Never used again.
pub type ClientConn = u64;

/// What happens to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A connection stands.
    Connected(ClientConn),
    /// Bytes have arrived, never empty, cut anywhere.
    Received(ClientConn, Bytes),
    /// A connection has ended or was never made; nothing more comes of it. Not reported for one that the client itself
    /// has closed.
    Closed(ClientConn),
    /// A time asked for has come.
    Timer(u64),
}

/// The clients' ends of their connections.
#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) conns: BTreeMap<ClientConn, StreamId>,
    next: ClientConn,
    /// What has happened and no client has heard of yet.
    pub(crate) events: VecDeque<ClientEvent>,
}

impl Clients {
    /// The number of another connection.
    pub(crate) fn next_conn(&mut self) -> ClientConn {
        self.next += 1;
        self.next - 1
    }
}
