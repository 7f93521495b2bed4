//! The connections of a core, and what the network brings them.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use host::{ConnId, ListenerId, NetEvent, SendBuf};
use resp::CommandId;
use types::Instant;
use wire::{Body, Frame, Message, RequestHead};

use crate::client::ClientEvent;
use crate::corruption::{KEPT_BACK_COUNT_MAX, corrupt, decode};
use crate::net::{Arrival, Host, Owner, StreamId};
use crate::observation::{Observation, ObservationKind};
use crate::queue::Event;
use crate::trace::Kind;
use crate::world::{NodeState, World};

#[derive(Default)]
struct Slot {
    generation: u32,
    is_used: bool,
    stream: Option<(StreamId, usize)>,
}

/// The connections of a core: a table with generations.
#[derive(Default)]
pub struct Conns {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// How many listeners the core has had.
    pub(crate) listeners_count: u32,
}

impl Conns {
    fn insert(&mut self, stream: StreamId, side: usize) -> ConnId {
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[idx as usize];
        slot.is_used = true;
        slot.stream = Some((stream, side));
        ConnId { idx, generation: slot.generation }
    }

    fn get(&mut self, id: ConnId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.idx as usize)?;
        (slot.is_used && slot.generation == id.generation).then_some(slot)
    }

    pub(crate) fn stream(&mut self, id: ConnId) -> Option<(StreamId, usize)> {
        self.get(id)?.stream
    }

    /// Frees a place once its end was seen.
    pub(crate) fn remove(&mut self, id: ConnId) {
        if let Some(slot) = self.get(id) {
            slot.is_used = false;
            slot.stream = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.idx);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Conns::default();
    }

    /// The streams of all connections, and which side of them is the core's.
    pub(crate) fn streams(&self) -> Vec<(StreamId, usize)> {
        self.slots.iter().filter_map(|slot| slot.stream).collect()
    }
}

impl World {
    /// Where an address is; for one that nobody has, where the clients are.
    pub(crate) fn host_of(&self, addr: IpAddr) -> Host {
        self.nodes.iter().position(|node| node.host == addr).unwrap_or(self.nodes.len())
    }

    fn is_heard(&self, host: Host) -> bool {
        self.nodes.get(host).is_none_or(|node| node.state != NodeState::Dark)
    }

    // What a core begins.

    pub(crate) fn listen(&mut self, core: usize, addr: SocketAddr, is_shared: bool) -> std::io::Result<ListenerId> {
        let others = self.net.listeners.entry(addr).or_default();
        if !others.is_empty() && !is_shared {
            return Err(ErrorKind::AddrInUse.into());
        }
        let conns = &mut self.cores[core].conns;
        let id = ListenerId(conns.listeners_count);
        conns.listeners_count += 1;
        others.push((core, id));
        Ok(id)
    }

    pub(crate) fn unlisten(&mut self, core: usize, listener: ListenerId) {
        for listeners in self.net.listeners.values_mut() {
            listeners.retain(|entry| *entry != (core, listener));
        }
    }

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

    pub(crate) fn send(&mut self, core: usize, conn: ConnId, buf: SendBuf) {
        let Some((stream, side)) = self.cores[core].conns.stream(conn) else { return };
        let bytes = match &buf {
            SendBuf::Plain(bytes) => Bytes::copy_from_slice(bytes),
            SendBuf::Gather(parts) if parts.len() == 1 => parts[0].clone(),
            SendBuf::Gather(parts) => parts.concat().into(),
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

    /// Sends a whole frame to a peer, as far as the way leaves it whole, and with it what was kept back long enough.
    fn send_frame(&mut self, id: StreamId, bytes: Bytes, buf: SendBuf) -> Option<SendBuf> {
        let now = self.queue.now();
        let Some(stream) = self.net.stream(id) else { return Some(buf) };
        let (from, to) = (stream.sides[0].host, stream.sides[1].host);
        if let Owner::Core { core, .. } = stream.sides[0].owner
            && let Some(frame) = decode(&bytes)
        {
            self.reset_behind_flush(id, &frame);
            self.note_promises(core, frame);
        }
        while let Some(stream) = self.net.stream(id)
            && stream.sides[0].kept_back.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, late)) = stream.sides[0].kept_back.pop_front()
        {
            self.net.push_bytes(id, 0, late, &mut self.queue);
        }
        let way = *self.net.way(from, to);
        let Some(done) = corrupt(&bytes, &way, &mut self.net.prng, now) else {
            return self.net.send(id, 0, bytes, buf, &mut self.queue);
        };
        for (name, count) in [
            ("a message was lost", done.lost),
            ("a message was repeated", done.repeated),
            ("a message was overtaken", done.reordered),
            ("a message was forged", done.altered),
        ] {
            *self.counts.entry(name).or_default() += count;
        }
        if let Some(stream) = self.net.stream(id) {
            let kept_back = &mut stream.sides[0].kept_back;
            kept_back.extend(done.later);
            kept_back.make_contiguous().sort_by_key(|(at, _)| *at);
            kept_back.truncate(KEPT_BACK_COUNT_MAX);
        }
        match done.now {
            Some(bytes) => self.net.send(id, 0, bytes, buf, &mut self.queue),
            None => Some(buf),
        }
    }

    /// Resets the stream soon if that is ordered and the frame forwards a `FLUSHALL`.
    fn reset_behind_flush(&mut self, id: StreamId, frame: &Frame) {
        let now = self.queue.now();
        let Some(resets) = self.flush_resets.filter(|resets| resets.until > now) else { return };
        let is_flush = |head: &RequestHead| CommandId::from_u16(head.command) == Some(CommandId::FlushAll);
        if !frame.requests.heads.iter().any(is_flush) {
            return;
        }
        let at = now + self.net.prng.range(1, resets.within);
        for side in [0, 1] {
            self.queue.push(at, Event::Reset { stream: id.idx, generation: id.generation, side });
        }
        self.count("a connection was reset behind a FLUSHALL");
    }

    /// Notes what a frame says of its sender's disk.
    fn note_promises(&mut self, core: usize, frame: Frame) {
        let (at, place) = (Instant::from_nanos(self.queue.now()), self.cores[core].place);
        for message in frame.messages {
            let Message { group, from: replica, to, term, body } = message;
            let kind = match body {
                Body::AppendAccepted { match_index } => ObservationKind::Accepted { term, index: match_index },
                Body::VoteReply { pre: false, granted: true } => ObservationKind::Voted { term, candidate: to },
                _ => continue,
            };
            self.promises.push(Observation { at, place, group, replica, kind });
        }
    }

    pub(crate) fn recv_pause(&mut self, core: usize, conn: ConnId, is_paused: bool) {
        let Some((id, side)) = self.cores[core].conns.stream(conn) else { return };
        if let Some(stream) = self.net.stream(id) {
            stream.sides[side].is_paused = is_paused;
            if !is_paused {
                self.net.resume(id, 1 - side, &mut self.queue);
            }
        }
    }

    pub(crate) fn close(&mut self, core: usize, conn: ConnId) {
        let state = &mut self.cores[core];
        let Some(slot) = state.conns.get(conn) else { return };
        let Some((id, side)) = slot.stream.take() else { return };
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

    // What the network brings.

    pub(crate) fn on_net(&mut self, event: Event) {
        match event {
            Event::Syn { stream, generation } => self.on_syn(StreamId { idx: stream, generation }),
            Event::SynAck { stream, generation, is_refused } => {
                self.on_syn_ack(StreamId { idx: stream, generation }, is_refused);
            }
            Event::Deliver { stream, generation, from } => {
                self.on_deliver(StreamId { idx: stream, generation }, usize::from(from));
            }
            Event::Reset { stream, generation, side } => {
                self.on_reset(StreamId { idx: stream, generation }, usize::from(side));
            }
            _ => unreachable!("callers pass events of the network"),
        }
    }

    fn on_syn(&mut self, id: StreamId) {
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

    fn on_syn_ack(&mut self, id: StreamId, is_refused: bool) {
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

    fn on_deliver(&mut self, id: StreamId, from: usize) {
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
    pub(crate) fn on_reset(&mut self, id: StreamId, side: usize) {
        let Some(stream) = self.net.stream(id) else { return };
        let owner = std::mem::replace(&mut stream.sides[side].owner, Owner::Nobody);
        match owner {
            Owner::Core { core, conn } => {
                if let Some(slot) = self.cores[core].conns.get(conn) {
                    slot.stream = None;
                }
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

    pub(crate) fn drop_if_deserted(&mut self, id: StreamId) {
        let is_deserted = |side: &crate::net::Side| side.owner == Owner::Nobody;
        if self.net.stream(id).is_some_and(|stream| stream.is_open && stream.sides.iter().all(is_deserted)) {
            self.net.remove(id);
        }
    }

    fn arrived(&mut self, core: usize, event: NetEvent<Bytes>) {
        self.cores[core].inbox.push_back(event);
        self.wake_core(core);
    }
}

/// A client hears the end of a stream and closes its own side.
fn stream_gone(world: &mut World, id: StreamId, side: usize) {
    world.net.close(id, side, &mut world.queue);
    world.drop_if_deserted(id);
}
