//! The network: streams between cores, and between clients and cores.
//!
//! A stream behaves like TCP: bytes arrive in order or not at all, in pieces of any size. What a packet network loses, TCP
//! sends again, so loss is delay here; a cut is silence, then a reset. A cut in one direction lets what was sent the other way
//! arrive, and a little more. See `corrupt` for what is done to whole frames.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use host::{ConnId, ListenerId, SendBuf};

use crate::prng::{Ppm, Prng};
use crate::queue::{Event, Queue};

/// Bytes a side has sent and the other has not received; beyond it a send ends only when they are fewer.
const IN_FLIGHT_BYTES_MAX: usize = 1 << 20;
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
    began_at: u64,
    retries: u32,
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
    /// The network's prng.
    pub prng: Prng,
}

impl Net {
    /// A network of `hosts_count` hosts with equal ways between them.
    pub fn new(hosts_count: usize, way: Way, give_up_after: u64, prng: Prng) -> Net {
        Net {
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
            kept_back: VecDeque::new(),
        };
        let sides = [side(owner, from), side(Owner::Nobody, to)];
        let stream = Stream { sides, addr, is_open: false, began_at: now, retries: 0 };
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
        let is_paused = stream.sides[1 - side].is_paused;
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
        if is_paused {
            sender.is_held = true;
            return arrivals;
        }
        while sender.segments.front().is_some_and(|next| next.at <= now && (is_confirmed || !next.waits)) {
            let Some(segment) = sender.segments.pop_front() else { break };
            sender.in_flight_bytes -= segment.bytes.len();
            sender.arrived_bytes += segment.bytes.len() as u64;
            if !segment.bytes.is_empty() {
                arrivals.push(Arrival::Bytes(segment.bytes));
            }
            if segment.is_end {
                arrivals.push(Arrival::End);
            }
        }
        if sender.in_flight_bytes <= IN_FLIGHT_BYTES_MAX
            && let Some(buf) = sender.sending.take()
        {
            arrivals.push(Arrival::Sent(buf));
        }
        if let Some(next) = sender.segments.front() {
            sender.is_scheduled = true;
            queue.push(next.at.max(now + 1), event);
        }
        arrivals
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
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Sends something of one byte from side 0, with what arrives there until the time of it.
    fn send(net: &mut Net, queue: &mut Queue, id: StreamId, at_ms: u64) -> usize {
        let arrived_count = run(net, queue, id, at_ms);
        net.push_bytes(id, 0, Bytes::from_static(b"x"), queue);
        arrived_count
    }

    /// How many bytes arrive at side 1 until a time.
    fn run(net: &mut Net, queue: &mut Queue, id: StreamId, until_ms: u64) -> usize {
        let mut arrived_count = 0;
        while let Some(event) = queue.pop(until_ms * MS) {
            let Event::Deliver { .. } = event else { continue };
            for arrival in net.deliver(id, 0, true, queue) {
                match arrival {
                    Arrival::Bytes(bytes) => arrived_count += bytes.len(),
                    _ => panic!("nothing but bytes arrives"),
                }
            }
        }
        queue.pass(until_ms * MS);
        arrived_count
    }

    #[test]
    fn what_nobody_confirms_arrives_for_a_while() {
        let way = Way {
            cuts: 0,
            delay_min: 50 * MS,
            delay_mean: 0,
            loss: 0,
            pieces: 0,
            drop: 0,
            repeat: 0,
            reorder: 0,
            alter: 0,
        };
        let mut queue = Queue::default();
        let mut net = Net::new(2, way, 15_000 * MS, Prng::stream(1, "net"));
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let id = net.connect(Owner::Client(0), 0, 1, addr, &mut queue);
        assert_eq!(send(&mut net, &mut queue, id, 10), 0);
        net.way(1, 0).cuts = 1;
        assert_eq!(send(&mut net, &mut queue, id, 100), 1, "it was on its way");
        assert_eq!(send(&mut net, &mut queue, id, 250), 1, "the first that nobody confirms");
        assert_eq!(send(&mut net, &mut queue, id, 400), 1, "the window is not full yet");
        assert_eq!(run(&mut net, &mut queue, id, 2_000), 0, "now it is");
        net.way(1, 0).cuts = 0;
        assert_eq!(run(&mut net, &mut queue, id, 8_000), 1, "it was kept");
        net.way(0, 1).cuts = 1;
        assert_eq!(send(&mut net, &mut queue, id, 9_000), 0);
        assert_eq!(run(&mut net, &mut queue, id, 10_000), 0, "nothing gets there at all");
    }
}
