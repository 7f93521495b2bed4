//! What sessions have of the world.

use std::net::SocketAddr;

use types::Instant;

use crate::client::{ClientConn, ClientNet};

/// The network and the clock, as a session needs them. Nothing here waits.
pub trait ClientPort {
    /// True time.
    fn now(&self) -> Instant;
    /// Begins to connect.
    fn connect(&self, addr: SocketAddr) -> ClientConn;
    /// Lets the client hear of it if the machine at the other end is gone, though it may have nothing to send.
    fn keep_alive(&self, conn: ClientConn);
    /// Takes nothing any more of what comes on a connection.
    fn pause_reading(&self, conn: ClientConn);
    /// Bytes on their way to the server that it has not received.
    fn in_flight_bytes(&self, conn: ClientConn) -> usize;
    /// Sends bytes behind those sent before.
    fn send(&self, conn: ClientConn, bytes: &[u8]);
    /// Closes a connection; nothing more is heard of it.
    fn close(&self, conn: ClientConn);
    /// Asks for a timer event with this token.
    fn timer(&self, at: Instant, token: u64);
}

impl ClientPort for ClientNet {
    fn now(&self) -> Instant {
        ClientNet::now(self)
    }

    fn connect(&self, addr: SocketAddr) -> ClientConn {
        ClientNet::connect(self, addr)
    }

    fn keep_alive(&self, conn: ClientConn) {
        ClientNet::keep_alive(self, conn);
    }

    fn pause_reading(&self, conn: ClientConn) {
        ClientNet::pause_reading(self, conn);
    }

    fn in_flight_bytes(&self, conn: ClientConn) -> usize {
        ClientNet::in_flight_bytes(self, conn)
    }

    fn send(&self, conn: ClientConn, bytes: &[u8]) {
        ClientNet::send(self, conn, bytes);
    }

    fn close(&self, conn: ClientConn) {
        ClientNet::close(self, conn);
    }

    fn timer(&self, at: Instant, token: u64) {
        ClientNet::timer(self, at, token);
    }
}
