//! What a core does with the network.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use host::{ConnId, ListenerId, NetEvent, SendBuf};

use super::World;
use crate::net::{Host, Owner};

impl World {
    /// Where an address is; for one that nobody has, where the clients are.
    pub(crate) fn host_of(&self, addr: IpAddr) -> Host {
        self.nodes.iter().position(|node| node.host == addr).unwrap_or(self.nodes.len())
    }

    /// A core listens, alone or with others.
    ///
    /// # Errors
    /// If another core listens there and it is not shared.
    pub(crate) fn listen(&mut self, core: usize, addr: SocketAddr, is_shared: bool) -> std::io::Result<ListenerId> {
        let others = self.net.listeners.entry(addr).or_default();
        if !others.is_empty() && !is_shared {
            return Err(ErrorKind::AddrInUse.into());
        }
        let id = self.cores[core].conns.add_listener();
        others.push((core, id));
        Ok(id)
    }

    /// A core listens no more.
    pub(crate) fn unlisten(&mut self, core: usize, listener: ListenerId) {
        for listeners in self.net.listeners.values_mut() {
            listeners.retain(|entry| *entry != (core, listener));
        }
    }

    /// A core begins to connect; the inbox tells what comes of it.
    pub(crate) fn connect(&mut self, core: usize, addr: SocketAddr) -> ConnId {
        let from = self.cores[core].node;
        let to = self.host_of(addr.ip());
        let stream = self.net.connect(Owner::Nobody, from, to, addr, &mut self.queue);
        let conn = self.cores[core].conns.insert(stream, 0);
        if let Some(stream) = self.net.stream(stream) {
            stream.sides[0].owner = Owner::Core { core, conn };
        }
        conn
    }

    /// A core sends. The end of that is in its inbox, at once or later.
    pub(crate) fn send(&mut self, core: usize, conn: ConnId, buf: SendBuf) {
        let Some((stream, side)) = self.cores[core].conns.stream(conn) else { return };
        let (bytes, buf) = match buf {
            SendBuf::Plain(bytes) => {
                // The sender gets an empty buffer as long as its own back: replies of megabytes are not copied.
                let spare = Vec::with_capacity(bytes.capacity());
                (Bytes::from(bytes), SendBuf::Plain(spare))
            }
            SendBuf::Gather(parts) => {
                let bytes = if let [part] = &parts[..] { part.clone() } else { parts.concat().into() };
                (bytes, SendBuf::Gather(parts))
            }
        };
        let ended = match &buf {
            SendBuf::Gather(_) if side == 0 => self.send_frame(stream, bytes, buf),
            _ => self.net.send(stream, side, bytes, buf, &mut self.queue),
        };
        if let Some(buf) = ended {
            self.cores[core].staged.push((NetEvent::Sent { conn, buf }, true));
        }
    }

    /// A core waits for the end of the send that is under way.
    pub(crate) fn wake_when_sent(&mut self, core: usize, conn: ConnId) {
        let is_its_end =
            |event: &NetEvent<Bytes>| matches!(event, NetEvent::Sent { conn: sent, .. } if *sent == conn);
        for (event, is_quiet) in &mut self.cores[core].staged {
            *is_quiet &= !is_its_end(event);
        }
    }

    /// How many bytes the other side of a connection has got.
    pub(crate) fn acked_bytes(&mut self, core: usize, conn: ConnId) -> u64 {
        let stream = self.cores[core].conns.stream(conn);
        stream.map_or(0, |(stream, side)| self.net.arrived_bytes(stream, side))
    }

    /// A core takes nothing any more of what comes on a connection, or takes it again.
    pub(crate) fn recv_pause(&mut self, core: usize, conn: ConnId, is_paused: bool) {
        let Some((id, side)) = self.cores[core].conns.stream(conn) else { return };
        if let Some(stream) = self.net.stream(id) {
            stream.sides[side].is_paused = is_paused;
            if !is_paused {
                self.net.resume(id, 1 - side, &mut self.queue);
            }
        }
    }

    /// A core closes a connection. What it has sent still arrives.
    pub(crate) fn close(&mut self, core: usize, conn: ConnId) {
        let state = &mut self.cores[core];
        let Some((id, side)) = state.conns.take_stream(conn) else { return };
        state.staged.push((NetEvent::Closed { conn, error: None }, false));
        self.net.close(id, side, &mut self.queue);
        // What waits to be read comes to nobody, and its sender hears of that.
        self.net.resume(id, 1 - side, &mut self.queue);
        self.drop_if_deserted(id);
    }

    /// The next event of the network for a core.
    pub(crate) fn next_event(&mut self, core: usize) -> Option<NetEvent<Bytes>> {
        if !self.may_see_event(core) {
            return None;
        }
        let state = &mut self.cores[core];
        let event = state.inbox.pop_front()?;
        state.quiet_count = state.quiet_count.min(state.inbox.len());
        match &event {
            NetEvent::Closed { conn, .. } => state.conns.remove(*conn),
            NetEvent::Received { conn, buf } => {
                if let Some((stream, side)) = state.conns.stream(*conn) {
                    self.net.read(stream, side, buf.len(), &mut self.queue);
                }
            }
            _ => {}
        }
        Some(event)
    }
}
