//! What the network reports, and what the connections of clients are due.

use std::net::SocketAddr;

use host::{ConnId, ListenerId, NetEvent};
use resp::Reply;
use types::Instant;

use crate::client::{Client, Input, Port, Step};
use crate::core::{Core, CoreHost, ListenerKind, Stopping};
use crate::limits::CLIENT_INPUT_BYTES_MAX;
use crate::outlets::{Conn, PeerConn};

/// How long a peer may take to introduce itself.
const HELLO_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

impl<H: CoreHost> Core<H> {
    pub(crate) fn on_event(&mut self, event: NetEvent<H::RecvBuf>) {
        match event {
            NetEvent::Received { conn, buf } => {
                // A lease is judged by a clock read after the request was received.
                self.now = self.host.now();
                self.on_received(conn, &buf);
            }
            NetEvent::Sent { conn, buf } => self.on_sent(conn, buf),
            NetEvent::Accepted { conn, listener, peer } => self.on_accepted(conn, listener, peer),
            NetEvent::Connected { conn } => self.on_connected(conn),
            NetEvent::ReceiveEnded { conn } => self.on_receive_ended(conn),
            NetEvent::Closed { conn, error } => self.on_closed(conn, error),
        }
    }

    fn on_accepted(&mut self, conn: ConnId, listener: ListenerId, peer: SocketAddr) {
        let kind = self.listeners.iter().find(|(id, _)| *id == listener).map(|(_, kind)| *kind);
        match kind {
            Some(ListenerKind::Clients(port)) => self.accept_client(conn, port, peer),
            Some(ListenerKind::Peers) => {
                let peer = PeerConn {
                    addr: peer,
                    link: None,
                    hello: Vec::new(),
                    assembler: Default::default(),
                    deadline: self.now + HELLO_TIMEOUT,
                };
                self.out.conns.insert(conn, Conn::Peer(Box::new(peer)));
            }
            None => self.host.close(conn),
        }
    }

    fn accept_client(&mut self, conn: ConnId, port: Port, peer: SocketAddr) {
        self.stats.connections_received += 1;
        let client = Client::new(conn, self.next_client_id, port, peer, self.now);
        self.next_client_id += 1;
        self.out.conns.insert(conn, Conn::Client(Box::new(client)));
    }

    fn on_received(&mut self, conn: ConnId, bytes: &[u8]) {
        match self.out.conns.get_mut(conn) {
            Some(Conn::Client(_)) => self.on_client_bytes(conn, bytes),
            Some(Conn::Link(link)) => {
                let link = *link;
                self.on_link_bytes(link, conn, bytes);
            }
            Some(Conn::Peer(_)) => self.on_peer_bytes(conn, bytes),
            None => {}
        }
    }

    /// The client has sent its last byte: answer what it has asked, then close.
    fn on_receive_ended(&mut self, conn: ConnId) {
        match self.out.conns.get_mut(conn) {
            Some(Conn::Client(client)) => {
                client.closes_when_sent = !client.is_held_back;
                client.is_receive_ended = true;
                self.out.touch(conn);
            }
            Some(Conn::Link(_) | Conn::Peer(_)) => self.host.close(conn),
            None => {}
        }
    }

    fn on_closed(&mut self, conn: ConnId, error: Option<std::io::Error>) {
        match self.out.conns.remove(conn) {
            Some(Conn::Link(link)) => {
                let reason = error.map_or_else(|| "closed".to_owned(), |error| error.to_string());
                self.on_link_closed(link, &reason);
            }
            Some(Conn::Peer(peer)) => {
                tracing::debug!(addr = %peer.addr, "a peer's connection has ended");
                peer.link.into_iter().for_each(|link| self.on_peer_closed(link, conn));
            }
            Some(Conn::Client(_)) | None => {}
        }
    }

    /// Carries out what the client has sent. Whole commands are used where they arrived; the beginning of one
    /// that is not complete is kept.
    fn on_client_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(client) = self.out.conns.client(conn) else { return };
        client.active_at = self.now;
        let is_held_back = client.is_held_back;
        let Some(mut input) = client.input.take() else { return };
        if input.rest.is_empty() && !is_held_back {
            let done = self.carry_out(conn, &mut input.parser, bytes);
            input.rest.extend_from_slice(bytes.get(done..).unwrap_or_default());
        } else {
            reserve_for_command(&mut input, bytes.len());
            input.rest.extend_from_slice(bytes);
            if !is_held_back {
                self.carry_out_rest(conn, &mut input);
            }
        }
        self.put_back(conn, input);
    }

    fn carry_out_rest(&mut self, conn: ConnId, input: &mut Input) {
        let done = self.carry_out(conn, &mut input.parser, &input.rest);
        if done == input.rest.len() {
            input.rest.clear();
            input.rest.shrink_to(CLIENT_INPUT_BYTES_MAX);
        } else if done > 0 {
            input.rest.drain(..done);
        }
    }

    fn put_back(&mut self, conn: ConnId, input: Box<Input>) {
        let Some(client) = self.out.conns.client(conn) else { return };
        // A command that is not complete may grow to its own limit; only what stands behind a held-back one is bounded here.
        let input_bytes_max = self.config.limits.client_input_bytes_max;
        let is_full = client.is_held_back && input.rest.len() >= input_bytes_max;
        if is_full && !client.is_paused {
            client.is_paused = true;
            self.host.recv_pause(conn);
        } else if client.is_paused && !client.is_held_back {
            client.is_paused = false;
            self.host.recv_resume(conn);
        }
        client.input = Some(input);
    }

    /// Carries out the whole commands at the front of `buf`; returns how many bytes they took.
    fn carry_out(&mut self, conn: ConnId, parser: &mut resp::Parser, buf: &[u8]) -> usize {
        let limits = self.config.limits.commands;
        let mut pos = 0;
        // What commands fill is looked at once per run of bytes, which bounds what can be added to it.
        let is_backlogged = self.is_backlogged();
        loop {
            if pos < buf.len() && (is_backlogged || !self.has_room(conn)) {
                self.hold_back(conn);
                return pos;
            }
            match Input::step(parser, buf, pos, &limits) {
                Step::Command { args, next } => {
                    self.execute(conn, args);
                    pos = next;
                }
                Step::Skip { next } => pos = next,
                Step::Incomplete => return pos,
                Step::Broken(error) => {
                    self.stats.protocol_errors += 1;
                    let Some(client) = self.out.conns.client(conn) else { return buf.len() };
                    let protocol = client.protocol;
                    client.replies.write_next(|out| Reply::new(out, protocol).error(&error.to_string()));
                    client.closes_when_sent = true;
                    self.out.touch(conn);
                    return buf.len();
                }
            }
        }
    }

    /// Whether the client's own limits allow another command. A client that is about to be closed has no room.
    fn has_room(&mut self, conn: ConnId) -> bool {
        let requests_count_max = self.config.limits.client_requests_count_max;
        let output_bytes_max = self.config.client_output_bytes_max;
        let client = self.out.conns.client(conn);
        client.is_some_and(|client| client.has_room(requests_count_max, output_bytes_max))
    }

    fn hold_back(&mut self, conn: ConnId) {
        let Some(client) = self.out.conns.client(conn) else { return };
        if !client.is_held_back && !client.closes_when_sent {
            client.is_held_back = true;
            self.stats.clients_held_back += 1;
            self.held_back.push_back(conn);
        }
    }

    /// Lets clients go on that a limit has held back, as far as it does no longer.
    pub(crate) fn resume_held_back(&mut self) {
        if self.held_back.is_empty() || self.is_backlogged() {
            return;
        }
        for _ in 0..self.held_back.len() {
            let Some(conn) = self.held_back.pop_front() else { return };
            if self.out.conns.client(conn).is_none() {
                continue;
            }
            if !self.has_room(conn) {
                self.held_back.push_back(conn);
                continue;
            }
            let Some(client) = self.out.conns.client(conn) else { continue };
            client.is_held_back = false;
            let Some(mut input) = client.input.take() else { continue };
            self.carry_out_rest(conn, &mut input);
            self.put_back(conn, input);
            let Some(client) = self.out.conns.client(conn) else { continue };
            if client.is_receive_ended && !client.is_held_back {
                client.closes_when_sent = true;
                self.out.touch(conn);
            }
        }
    }

    /// Closes clients that do not take their replies, and peers that do not introduce themselves.
    pub(crate) fn tick_clients(&mut self) {
        let timeout = self.config.client_stall_timeout;
        let is_stalled =
            |client: &Client, now: Instant| client.is_sending && now.since(client.progress_at) >= timeout;
        let late: Vec<ConnId> = self
            .out
            .conns
            .iter()
            .filter(|(_, conn)| match conn {
                Conn::Client(client) => is_stalled(client, self.now),
                Conn::Peer(peer) => peer.link.is_none() && peer.deadline <= self.now,
                Conn::Link(_) => false,
            })
            .map(|(id, _)| id)
            .collect();
        for conn in late {
            if let Some(client) = self.out.conns.client(conn) {
                tracing::info!(addr = %client.addr, "closing a client that does not take its replies");
                self.stats.clients_stalled += 1;
            }
            self.host.close(conn);
        }
    }

    /// Whether nothing is under way for any client.
    pub(crate) fn clients_are_served(&self) -> bool {
        self.out
            .conns
            .clients()
            .all(|client| client.replies.open_count() == 0 && !client.replies.has_output() && !client.is_sending)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }
}

/// Makes room for the command that is arriving in steps that double, so that what is reserved is bounded by
/// what has come and not by what is claimed.
fn reserve_for_command(input: &mut Input, more: usize) {
    let claimed = input.parser.needed_bytes();
    let len = input.rest.len();
    if claimed > input.rest.capacity() {
        input.rest.reserve(claimed.saturating_sub(len).min(len.max(4 << 10)).max(more));
    }
}
