//! The network: streams between cores, and between clients and cores.
//!
//! A stream behaves like TCP: bytes arrive in order or not at all, in pieces of any size. What a packet network loses, TCP
//! sends again, so loss is delay here; a cut is silence, then a reset. A cut in one direction lets what was sent the other way
//! arrive, and a little more. See `corrupt` for what is done to whole frames.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use host::net::RECV_WINDOW_BYTES_MAX;
use host::{ConnId, ListenerId, SendBuf};

use crate::prng::{Ppm, Prng};
use crate::queue::{Event, Queue};

/// Bytes a side has sent and the other has not received; beyond it a send ends only when they are fewer.
const IN_FLIGHT_BYTES_MAX: usize = 1 << 20;
/// Longest run of bytes that a core is handed at once: what a receive buffer of a real host holds.
const RECV_BUFFER_BYTES: usize = 16 << 10;
/// What a core may have been delivered of a connection and not looked at; one of them in each run.
const RECV_WINDOWS_BYTES: [usize; 3] = [RECV_BUFFER_BYTES, 8 * RECV_BUFFER_BYTES, RECV_WINDOW_BYTES_MAX];
/// How long a sender that hears nothing waits before it sends again, at first and at most, in nanoseconds.
const RETRY_MIN: u64 = 200_000_000;
const RETRY_MAX: u64 = 3_200_000_000;

/// For how long a sender whose words get there goes on to send though nothing is confirmed: then its window is full, or it
/// waits to send the first of them again.
const UNCONFIRMED_MAX: u64 = RETRY_MIN;

/// How long it takes at most to notice that a machine is gone, in nanoseconds.
const KEEP_ALIVE_MAX: u64 = 3_000_000_000;

/// The longest delay, in nanoseconds: links give up on a connection that confirms nothing for that long, and the next one has
/// other delays. Without a bound one long delay would hold back all that comes behind it, long after the fault is over.
const DELAY_MAX: u64 = 2_000_000_000;

/// Where a node or the clients are on the network.
pub type Host = usize;

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
struct Segment {
    at: u64,
    bytes: Bytes,
    is_end: bool,
    /// It was sent when nothing had been confirmed for long: it leaves only once something is.
    waits: bool,
}

/// One side of a stream, and what it has sent.
pub struct Side {
    /// Who has it.
    pub owner: Owner,
    /// Where it is.
    pub host: Host,
    segments: VecDeque<Segment>,
    in_flight_bytes: usize,
    /// What has arrived at the other side.
    arrived_bytes: u64,
    last_at: u64,
    is_scheduled: bool,
    /// Nothing of it is delivered until the other side reads on.
    is_held: bool,
    stalled_since: Option<u64>,
    /// Since when what is sent has been getting there, as far as is known, without being confirmed.
    unconfirmed_since: Option<u64>,
    retries: u32,
    /// A send that ends when there is room again.
    sending: Option<SendBuf>,
    /// Whether it asks now and then whether the other side is still there.
    pub(crate) keeps_alive: bool,
    /// Whether its owner does not want to receive.
    pub is_paused: bool,
    /// What has been delivered to the core that owns it and not been looked at. Invariant: at most the stream's window.
    unread_bytes: usize,
    /// Frames that corruption has kept back, and when they may leave.
    pub(crate) kept_back: VecDeque<(u64, Bytes)>,
}

impl Side {
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
    recv_window_bytes: usize,
    began_at: u64,
    retries: u32,
}

impl Stream {
    /// Takes what arrives next of what a side has sent, and whether it is the end. `None` if the receiver has no room for it.
    fn take(&mut self, side: usize) -> Option<(Bytes, bool)> {
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

struct Slot {
    generation: u32,
    stream: Option<Stream>,
}

/// The number of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// CoreAddr in the table.
    pub idx: u32,
    /// How often the place was used before.
    pub generation: u32,
}

/// How the way from one host to another is.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// How many cuts keep everything from getting through.
    pub cuts: u32,
    /// Least delay in nanoseconds.
    pub delay_min: u64,
    /// What is added to it on average.
    pub delay_mean: u64,
    /// How likely a packet is lost, and so what it carries late.
    pub loss: Ppm,
    /// How likely what is sent arrives in pieces.
    pub pieces: Ppm,
    /// How likely a frame's messages are lost.
    pub drop: Ppm,
    /// How likely they are repeated later.
    pub repeat: Ppm,
    /// How likely they are kept back and arrive behind later ones.
    pub reorder: Ppm,
    /// How likely a frame is altered and sealed again, as no peer may.
    pub alter: Ppm,
}

/// What a step of the network has for somebody.
pub enum Arrival {
    /// Bytes.
    Bytes(Bytes),
    /// The other side will send no more.
    End,
    /// The stream is gone.
    Reset,
    /// There is room again for a send that had to wait.
    Sent(SendBuf),
}

/// All streams and listeners.
pub struct Net {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Who listens where.
    pub listeners: BTreeMap<SocketAddr, Vec<(usize, ListenerId)>>,
    ways: Vec<Way>,
    hosts_count: usize,
    /// How long a side hears nothing before it gives up, in nanoseconds.
    pub give_up_after: u64,
    recv_window_bytes: usize,
    /// The network's prng.
    pub prng: Prng,
}

impl Net {
    /// A network of `hosts_count` hosts with equal ways between them.
    pub fn new(hosts_count: usize, way: Way, give_up_after: u64, mut prng: Prng) -> Net {
        Net {
            recv_window_bytes: prng.pick(&RECV_WINDOWS_BYTES),
            slots: Vec::new(),
            free: Vec::new(),
            listeners: BTreeMap::new(),
            ways: vec![way; hosts_count * hosts_count],
            hosts_count,
            give_up_after,
            prng,
        }
    }

    /// The way from one host to another.
    pub fn way(&mut self, from: Host, to: Host) -> &mut Way {
        &mut self.ways[from * self.hosts_count + to]
    }

    /// Changes every way.
    pub fn for_all_ways(&mut self, change: impl FnMut(&mut Way)) {
        self.ways.iter_mut().for_each(change);
    }

    fn is_cut(&self, from: Host, to: Host) -> bool {
        self.ways[from * self.hosts_count + to].cuts > 0
    }

    /// The stream with this number, if it is still there.
    pub fn stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        let slot = self.slots.get_mut(id.idx as usize)?;
        if slot.generation == id.generation { slot.stream.as_mut() } else { None }
    }

    fn delay(&mut self, from: Host, to: Host) -> u64 {
        let way = self.ways[from * self.hosts_count + to];
        let mut delay = self.prng.latency(way.delay_min, way.delay_mean);
        if self.prng.bernoulli(way.loss) {
            delay += self.prng.latency(RETRY_MIN, RETRY_MIN);
        }
        delay
    }

    /// Begins to connect.
    pub fn connect(&mut self, owner: Owner, from: Host, to: Host, addr: SocketAddr, queue: &mut Queue) -> StreamId {
        let now = queue.now();
        let side = |owner, host| Side {
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
        };
        let sides = [side(owner, from), side(Owner::Nobody, to)];
        let stream = Stream {
            sides,
            addr,
            is_open: false,
            recv_window_bytes: self.recv_window_bytes,
            began_at: now,
            retries: 0,
        };
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, stream: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[idx as usize];
        slot.stream = Some(stream);
        let id = StreamId { idx, generation: slot.generation };
        let at = now + self.delay(from, to);
        queue.push(at, Event::Syn { stream: idx, generation: id.generation });
        id
    }

    /// Whether an attempt to connect gets through; if not, it is repeated, and given up in the end.
    pub fn syn_passes(&mut self, id: StreamId, is_heard: bool, queue: &mut Queue) -> bool {
        let Some(stream) = self.stream(id) else { return false };
        let (from, to) = (stream.sides[0].host, stream.sides[1].host);
        let (began_at, retries) = (stream.began_at, stream.retries);
        let passes = is_heard && !self.is_cut(from, to) && !self.is_cut(to, from);
        if passes {
            return true;
        }
        let pause = (RETRY_MIN << retries.min(4)).min(RETRY_MAX);
        let now = queue.now();
        let give_up_after = self.give_up_after;
        if let Some(stream) = self.stream(id) {
            stream.retries += 1;
        }
        if now + pause > began_at + give_up_after {
            let (stream, generation) = (id.idx, id.generation);
            queue.push(now, Event::SynAck { stream, generation, is_refused: true });
        } else {
            queue.push(now + pause, Event::Syn { stream: id.idx, generation: id.generation });
        }
        false
    }

    /// Answers an attempt to connect.
    pub fn answer(&mut self, id: StreamId, is_refused: bool, queue: &mut Queue) {
        let Some(stream) = self.stream(id) else { return };
        let (from, to) = (stream.sides[0].host, stream.sides[1].host);
        let at = queue.now() + self.delay(to, from);
        if let Some(stream) = self.stream(id) {
            // Nothing that the answering side sends overtakes its answer.
            stream.sides[1].last_at = at;
        }
        queue.push(at, Event::SynAck { stream: id.idx, generation: id.generation, is_refused });
    }

    /// Removes a stream.
    pub fn remove(&mut self, id: StreamId) {
        let slot = &mut self.slots[id.idx as usize];
        if slot.generation == id.generation && slot.stream.take().is_some() {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.idx);
        }
    }

    /// Puts bytes on the way from a side. Returns `buf` if its sending has ended with that.
    pub fn send(
        &mut self,
        id: StreamId,
        side: usize,
        bytes: Bytes,
        buf: SendBuf,
        queue: &mut Queue,
    ) -> Option<SendBuf> {
        self.push_bytes(id, side, bytes, queue);
        let Some(stream) = self.stream(id) else { return Some(buf) };
        let from = &mut stream.sides[side];
        if from.in_flight_bytes <= IN_FLIGHT_BYTES_MAX {
            return Some(buf);
        }
        from.sending = Some(buf);
        None
    }

    /// How many bytes from a side have arrived at the other one.
    pub fn arrived_bytes(&mut self, id: StreamId, side: usize) -> u64 {
        self.stream(id).map_or(0, |stream| stream.sides[side].arrived_bytes)
    }

    /// Puts bytes on the way from a side, cut into pieces now and then.
    pub fn push_bytes(&mut self, id: StreamId, side: usize, bytes: Bytes, queue: &mut Queue) {
        let Some(stream) = self.stream(id) else { return };
        let (from, to) = (stream.sides[side].host, stream.sides[1 - side].host);
        let pieces = self.way(from, to).pieces;
        let mut rest = bytes;
        while rest.len() > 1 && self.prng.bernoulli(pieces) {
            let piece = rest.split_to(self.prng.range(1, rest.len() as u64 - 1) as usize);
            self.push_segment(id, side, piece, false, queue);
        }
        self.push_segment(id, side, rest, false, queue);
    }

    fn push_segment(&mut self, id: StreamId, side: usize, bytes: Bytes, is_end: bool, queue: &mut Queue) {
        let Some(stream) = self.stream(id) else { return };
        let (from, to) = (stream.sides[side].host, stream.sides[1 - side].host);
        let delay = self.delay(from, to).min(DELAY_MAX);
        let is_confirmed = !self.is_cut(to, from);
        let Some(stream) = self.stream(id) else { return };
        let sender = &mut stream.sides[side];
        let waits = if is_confirmed {
            sender.unconfirmed_since = None;
            false
        } else {
            queue.now() - *sender.unconfirmed_since.get_or_insert(queue.now()) >= UNCONFIRMED_MAX
        };
        sender.last_at = sender.last_at.max(queue.now() + delay);
        let at = sender.last_at;
        sender.in_flight_bytes += bytes.len();
        sender.segments.push_back(Segment { at, bytes, is_end, waits });
        if !sender.is_scheduled && !sender.is_held {
            sender.is_scheduled = true;
            queue.push(at, Event::Deliver { stream: id.idx, generation: id.generation, from: side as u8 });
        }
    }

    /// What has arrived from a side. `is_heard` says whether the machine of the other side runs at all.
    pub fn deliver(&mut self, id: StreamId, side: usize, is_heard: bool, queue: &mut Queue) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        let give_up_after = self.give_up_after;
        let now = queue.now();
        let event = Event::Deliver { stream: id.idx, generation: id.generation, from: side as u8 };
        let Some(stream) = self.stream(id) else { return arrivals };
        let (from, to) = (stream.sides[side].host, stream.sides[1 - side].host);
        // What is sent must get there. If what confirms it does not get back, the sender soon sends nothing new.
        let is_confirmed = !self.is_cut(to, from);
        let is_open = is_heard && !self.is_cut(from, to);
        let Some(stream) = self.stream(id) else { return arrivals };
        let passes = is_open && (is_confirmed || stream.sides[side].segments.front().is_some_and(|next| !next.waits));
        let sender = &mut stream.sides[side];
        sender.is_scheduled = false;
        if !passes {
            let since = *sender.stalled_since.get_or_insert(now);
            if now - since >= give_up_after {
                arrivals.push(Arrival::Reset);
                return arrivals;
            }
            let pause = (RETRY_MIN << sender.retries.min(4)).min(RETRY_MAX);
            sender.retries += 1;
            sender.is_scheduled = true;
            queue.push(now + pause, event);
            return arrivals;
        }
        sender.stalled_since = None;
        sender.retries = 0;
        let is_due = |next: &Segment| next.at <= now && (is_confirmed || !next.waits);
        while !stream.sides[1 - side].is_paused
            && stream.sides[side].segments.front().is_some_and(is_due)
            && let Some((bytes, is_end)) = stream.take(side)
        {
            if !bytes.is_empty() {
                arrivals.push(Arrival::Bytes(bytes));
            }
            if is_end {
                arrivals.push(Arrival::End);
            }
        }
        let sender = &mut stream.sides[side];
        if sender.in_flight_bytes <= IN_FLIGHT_BYTES_MAX
            && let Some(buf) = sender.sending.take()
        {
            arrivals.push(Arrival::Sent(buf));
        }
        match sender.segments.front() {
            // It is due and was not delivered: it waits for the receiver.
            Some(next) if is_due(next) => sender.is_held = true,
            Some(next) => {
                sender.is_scheduled = true;
                queue.push(next.at.max(now + 1), event);
            }
            None => {}
        }
        arrivals
    }

    /// The core that owns a side has looked at bytes that were delivered to it: when half of its window is free, more may come.
    pub fn read(&mut self, id: StreamId, side: usize, len: usize, queue: &mut Queue) {
        let Some(stream) = self.stream(id) else { return };
        let window = stream.recv_window_bytes;
        let reader = &mut stream.sides[side];
        reader.unread_bytes -= len;
        if reader.unread_bytes <= window / 2 && !reader.is_paused {
            self.resume(id, 1 - side, queue);
        }
    }

    /// The receiver of what a side sends wants it again.
    pub fn resume(&mut self, id: StreamId, side: usize, queue: &mut Queue) {
        let Some(stream) = self.stream(id) else { return };
        let sender = &mut stream.sides[side];
        if std::mem::take(&mut sender.is_held) && !sender.is_scheduled {
            sender.is_scheduled = true;
            queue.push(queue.now(), Event::Deliver { stream: id.idx, generation: id.generation, from: side as u8 });
        }
    }

    /// A side is closed by its owner: what it has sent still arrives, as far as it was taken, and then the end.
    pub fn close(&mut self, id: StreamId, side: usize, queue: &mut Queue) {
        let Some(stream) = self.stream(id) else { return };
        stream.sides[side].owner = Owner::Nobody;
        let was_whole = stream.sides[side].sending.take().is_none();
        if !stream.is_open && side == 0 {
            return self.remove(id);
        }
        if was_whole {
            self.push_segment(id, side, Bytes::new(), true, queue);
        } else {
            self.tell_reset(id, 1 - side, queue);
        }
    }

    /// The process of a side has died: a part of what it has sent still arrives, and then a reset, unless its whole
    /// machine has died.
    pub fn die(&mut self, id: StreamId, side: usize, is_machine: bool, queue: &mut Queue) {
        let Some(stream) = self.stream(id) else { return };
        let dead = &mut stream.sides[side];
        dead.owner = Owner::Nobody;
        dead.sending = None;
        let kept = dead.segments.len();
        let kept = self.prng.below(kept as u64 + 1) as usize;
        // What waits to be read comes to nobody, and its sender hears of that.
        self.resume(id, 1 - side, queue);
        let Some(stream) = self.stream(id) else { return };
        let dead = &mut stream.sides[side];
        dead.segments.truncate(kept);
        dead.in_flight_bytes = dead.segments.iter().map(|segment| segment.bytes.len()).sum();
        if stream.sides[1 - side].owner == Owner::Nobody {
            return self.remove(id);
        }
        if !is_machine {
            self.tell_reset(id, 1 - side, queue);
        } else if stream.sides[1 - side].keeps_alive {
            let at = queue.now() + self.prng.range(1, KEEP_ALIVE_MAX);
            queue.push(at, Event::Reset { stream: id.idx, generation: id.generation, side: 1 - side as u8 });
        }
    }

    /// Lets a side hear that the other one is gone, behind what that has sent.
    pub fn tell_reset(&mut self, id: StreamId, side: usize, queue: &mut Queue) {
        let Some(stream) = self.stream(id) else { return };
        let (from, to) = (stream.sides[1 - side].host, stream.sides[side].host);
        let at = queue.now() + self.delay(from, to);
        let Some(stream) = self.stream(id) else { return };
        let at = at.max(stream.sides[1 - side].last_at);
        queue.push(at, Event::Reset { stream: id.idx, generation: id.generation, side: side as u8 });
    }

    /// All streams that are there.
    pub fn ids(&self) -> Vec<StreamId> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.stream.is_some());
        used.map(|(idx, slot)| StreamId { idx: idx as u32, generation: slot.generation }).collect()
    }

    /// Bytes on their way on all streams.
    pub fn in_flight_bytes(&self) -> usize {
        let streams = self.slots.iter().filter_map(|slot| slot.stream.as_ref());
        streams.flat_map(|stream| stream.sides.iter()).map(|side| side.in_flight_bytes).sum()
    }
}

#[cfg(test)]
mod tests;
