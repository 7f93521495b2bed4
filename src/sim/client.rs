//! The clients' side of the network: what a workload has in its hands.

use std::net::SocketAddr;

use bytes::Bytes;
use types::{CoreAddr, GroupId, Instant};

use crate::history::History;
use crate::net::Owner;
use crate::queue::Event;
use crate::world::Shared;

pub use crate::world::{ClientConn, ClientEvent};

/// What decides what clients send. Called with everything that happens to clients, in order; in between it has no say.
pub trait Workload {
    /// The run begins.
    fn start(&mut self, net: &ClientNet);
    /// Something has happened.
    fn event(&mut self, net: &ClientNet, event: ClientEvent);
    /// A group has a new leader, as nobody outside could know.
    fn elected(&mut self, _net: &ClientNet, _group: GroupId, _place: CoreAddr) {}
    /// No fault happens any more: read back what was written, and come to an end.
    fn heal(&mut self, _net: &ClientNet) {}
    /// Whether everything that was to be asked after [`Workload::heal`] is asked and answered.
    fn is_done(&self) -> bool {
        true
    }
    /// What was asked and answered.
    fn history(&self) -> &History;
}

/// The network and the clock as clients have them. Nothing here waits.
#[derive(Clone)]
pub struct ClientNet {
    world: Shared,
}

impl ClientNet {
    pub(crate) fn new(world: Shared) -> ClientNet {
        ClientNet { world }
    }

    /// True time.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.world.borrow().now())
    }

    /// Begins to connect to a gateway or core port. `Connected` or `Closed` follows.
    pub fn connect(&self, addr: SocketAddr) -> ClientConn {
        let world = &mut *self.world.borrow_mut();
        let conn = world.clients.next_conn();
        let clients_host = world.nodes.len();
        let to = world.host_of(addr.ip());
        let stream = world.net.connect(Owner::Client(conn), clients_host, to, addr, &mut world.queue);
        world.clients.conns.insert(conn, stream);
        conn
    }

    /// Takes nothing any more of what comes on a connection.
    pub fn pause_reading(&self, conn: ClientConn) {
        let world = &mut *self.world.borrow_mut();
        if let Some(stream) = world.clients.conns.get(&conn).and_then(|stream| world.net.stream(*stream)) {
            stream.sides[0].is_paused = true;
        }
    }

    /// Bytes on their way to the server that it has not received.
    pub fn in_flight_bytes(&self, conn: ClientConn) -> usize {
        let world = &mut *self.world.borrow_mut();
        let stream = world.clients.conns.get(&conn).and_then(|stream| world.net.stream(*stream));
        stream.map_or(0, |stream| stream.sides[0].in_flight_bytes())
    }

    /// Lets the client hear of it if the machine at the other end is gone, though it may have nothing to send.
    pub fn keep_alive(&self, conn: ClientConn) {
        let world = &mut *self.world.borrow_mut();
        if let Some(stream) = world.clients.conns.get(&conn).and_then(|stream| world.net.stream(*stream)) {
            stream.sides[0].keeps_alive = true;
        }
    }

    /// Sends bytes behind those sent before. Nothing happens if the connection does not stand.
    pub fn send(&self, conn: ClientConn, bytes: &[u8]) {
        let world = &mut *self.world.borrow_mut();
        let Some(stream) = world.clients.conns.get(&conn).copied() else { return };
        if bytes.is_empty() || !world.net.stream(stream).is_some_and(|stream| stream.is_open) {
            return;
        }
        world.net.push_bytes(stream, 0, Bytes::copy_from_slice(bytes), &mut world.queue);
    }

    /// Closes a connection; nothing more is heard of it. What was sent still arrives.
    pub fn close(&self, conn: ClientConn) {
        let world = &mut *self.world.borrow_mut();
        if let Some(stream) = world.clients.conns.remove(&conn) {
            world.net.close(stream, 0, &mut world.queue);
        }
    }

    /// Asks for [`ClientEvent::Timer`] with this token at a true time.
    pub fn timer(&self, at: Instant, token: u64) {
        self.world.borrow_mut().queue.push(at.as_nanos(), Event::ClientTimer { token });
    }
}
