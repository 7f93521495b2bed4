//! The network: streams between cores, and between clients and cores.
//!
//! A stream behaves like TCP: bytes arrive in order or not at all, in pieces of any size. What a packet network loses, TCP
//! sends again, so loss is delay here; a cut is silence, then a reset. A cut in one direction lets what was sent the other way
//! arrive, and a little more.
//!
//! Read `way`, `stream`, this page, and `corruption` (what is done to whole frames).

pub(crate) mod corruption;
mod stream;
#[cfg(test)]
mod tests;
mod way;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use host::net::RECV_WINDOW_BYTES_MAX;
use host::{ListenerId, SendBuf};

use crate::prng::Prng;
use crate::queue::{Event, Queue};

pub use stream::{Owner, Side, Stream, StreamId};
pub use way::{Host, Way};

use stream::{RECV_BUFFER_BYTES, Segment};

/// Bytes a side has sent and the other has not received; beyond it a send ends only when they are fewer.
const IN_FLIGHT_BYTES_MAX: usize = 1 << 20;
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

struct Slot {
    generation: u32,
    stream: Option<Stream>,
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
        let stream = Stream::new(owner, [from, to], addr, self.recv_window_bytes, now);
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
