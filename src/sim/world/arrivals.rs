//! What the network brings to cores and clients.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use host::NetEvent;

use super::clients::ClientEvent;
use super::{NodeState, World};
use crate::net::{Arrival, Host, Owner, Side, StreamId};
use crate::trace::Kind;

impl World {
    /// Whether the machine of a host runs.
    fn is_heard(&self, host: Host) -> bool {
        self.nodes.get(host).is_none_or(|node| node.state != NodeState::Dark)
    }

    /// An attempt to connect arrives.
    pub(super) fn on_syn(&mut self, id: StreamId) {
        let Some(stream) = self.net.stream(id) else { return };
        let (addr, from, to) = (stream.addr, stream.sides[0].host, stream.sides[1].host);
        let is_heard = self.is_heard(to);
        if !self.net.syn_passes(id, is_heard, &mut self.queue) {
            return;
        }
        let listeners = self.net.listeners.get(&addr).cloned().unwrap_or_default();
        if listeners.is_empty() {
            return self.net.answer(id, true, &mut self.queue);
        }
        let (core, listener) = self.net.prng.pick(&listeners);
        let conn = self.cores[core].conns.insert(id, 1);
        let port = 32_768 + (id.idx % 32_768) as u16;
        let ip = self.nodes.get(from).map_or(IpAddr::from([127, 0, 0, 254]), |node| node.host);
        self.net.answer(id, false, &mut self.queue);
        if let Some(stream) = self.net.stream(id) {
            stream.sides[1].owner = Owner::Core { core, conn };
        }
        self.trace.add(self.queue.now(), Kind::Connection, [core as u64, u64::from(conn.idx)]);
        self.arrived(core, NetEvent::Accepted { conn, listener, peer: SocketAddr::new(ip, port) });
    }

    /// The answer to an attempt to connect arrives.
    pub(super) fn on_syn_ack(&mut self, id: StreamId, is_refused: bool) {
        let Some(stream) = self.net.stream(id) else { return };
        if is_refused {
            return self.on_reset(id, 0);
        }
        stream.is_open = true;
        match stream.sides[0].owner {
            Owner::Core { core, conn } => self.arrived(core, NetEvent::Connected { conn }),
            Owner::Client(conn) => self.client_event(ClientEvent::Connected(conn)),
            Owner::Nobody => self.net.tell_reset(id, 1, &mut self.queue),
        }
    }

    /// The next bytes of a stream arrive.
    pub(super) fn on_deliver(&mut self, id: StreamId, from: usize) {
        let Some(stream) = self.net.stream(id) else { return };
        let to = stream.sides[1 - from].host;
        let is_heard = self.is_heard(to);
        let arrivals = self.net.deliver(id, from, is_heard, &mut self.queue);
        for arrival in arrivals {
            let Some(stream) = self.net.stream(id) else { return };
            let owner = stream.sides[1 - from].owner;
            let sender = stream.sides[from].owner;
            match (arrival, owner) {
                (Arrival::Sent(buf), _) => {
                    if let Owner::Core { core, conn } = sender {
                        self.arrived(core, NetEvent::Sent { conn, buf });
                    }
                }
                // The sender gives up; the other side may never hear of it.
                (Arrival::Reset, _) => {
                    self.count("a stream was given up");
                    self.on_reset(id, from);
                }
                (Arrival::Bytes(_) | Arrival::End, Owner::Nobody) => {
                    if sender != Owner::Nobody {
                        self.net.tell_reset(id, from, &mut self.queue);
                    }
                    return self.drop_if_deserted(id);
                }
                (Arrival::Bytes(buf), Owner::Core { core, conn }) => {
                    self.trace.add(self.queue.now(), Kind::Delivered, [core as u64, buf.len() as u64]);
                    self.trace.bytes(&buf);
                    self.arrived(core, NetEvent::Received { conn, buf });
                }
                (Arrival::End, Owner::Core { core, conn }) => self.arrived(core, NetEvent::ReceiveEnded { conn }),
                (Arrival::Bytes(bytes), Owner::Client(conn)) => {
                    self.client_event(ClientEvent::Received(conn, bytes));
                }
                (Arrival::End, Owner::Client(conn)) => {
                    self.client_event(ClientEvent::Closed(conn));
                    stream_gone(self, id, 1 - from);
                }
            }
        }
    }

    /// A side hears that the other is gone.
    pub(super) fn on_reset(&mut self, id: StreamId, side: usize) {
        let Some(stream) = self.net.stream(id) else { return };
        let owner = std::mem::replace(&mut stream.sides[side].owner, Owner::Nobody);
        match owner {
            Owner::Core { core, conn } => {
                self.cores[core].conns.take_stream(conn);
                let error = Some(Error::from(ErrorKind::ConnectionReset));
                self.arrived(core, NetEvent::Closed { conn, error });
            }
            Owner::Client(conn) => self.client_event(ClientEvent::Closed(conn)),
            Owner::Nobody => {}
        }
        // What waits to be read comes to nobody, and its sender hears of that.
        self.net.resume(id, 1 - side, &mut self.queue);
        self.drop_if_deserted(id);
    }

    /// Resets a stream: both sides hear of it.
    pub(crate) fn reset_stream(&mut self, id: StreamId) {
        self.on_reset(id, 0);
        self.on_reset(id, 1);
    }

    /// Removes a stream that nobody has an end of any more.
    pub(crate) fn drop_if_deserted(&mut self, id: StreamId) {
        let is_deserted = |side: &Side| side.owner == Owner::Nobody;
        if self.net.stream(id).is_some_and(|stream| stream.is_open && stream.sides.iter().all(is_deserted)) {
            self.net.remove(id);
        }
    }

    fn arrived(&mut self, core: usize, event: NetEvent<Bytes>) {
        self.cores[core].inbox.push_back(event);
        self.wake_core(core);
    }

    fn client_event(&mut self, event: ClientEvent) {
        let now = self.queue.now();
        match &event {
            ClientEvent::Connected(conn) => self.trace.add(now, Kind::Client, [*conn, 1]),
            ClientEvent::Received(conn, bytes) => {
                self.trace.add(now, Kind::Reply, [*conn, bytes.len() as u64]);
                self.trace.bytes(bytes);
            }
            ClientEvent::Closed(conn) => {
                self.trace.add(now, Kind::Client, [*conn, 2]);
                self.clients.conns.remove(conn);
            }
            ClientEvent::Timer(_) => {}
        }
        self.clients.events.push_back(event);
    }
}

/// A client hears the end of a stream and closes its own side.
fn stream_gone(world: &mut World, id: StreamId, side: usize) {
    world.net.close(id, side, &mut world.queue);
    world.drop_if_deserted(id);
}
