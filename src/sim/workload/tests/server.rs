//! A server in memory that runs one command after the other, and may be told to be wrong in some way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use resp::{Protocol, Reply};
use types::{Instant, Slot};

use super::store::Store;
use crate::client::{ClientConn, ClientEvent};
use crate::prng::Prng;
use crate::workload::ClientPort;
use crate::workload::reader::{Answer, read};

/// In which way the server is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Nothing,
    /// Forgets one write in a thousand that it has acknowledged.
    Forgets,
    /// Runs one write in a hundred twice.
    Repeats,
    /// Now and then answers a read with the value before.
    ReadsOld,
    /// Now and then runs the reads of a pipeline before its writes.
    Overtakes,
    /// Now and then swaps two replies of a pipeline.
    Swaps,
    /// Now and then leaves a reply out.
    Skips,
    /// Now and then sends what is no reply.
    Babbles,
}

struct Conn {
    addr: SocketAddr,
    received: Vec<u8>,
    protocol: Protocol,
}

/// What happens at some time.
pub(super) enum Due {
    Event(ClientEvent),
    Arrives(ClientConn, Vec<u8>),
}

/// The server, and the time.
pub(super) struct Server {
    pub(super) now: u64,
    next: u64,
    pub(super) due: BTreeMap<(u64, u64), Due>,
    conns: BTreeMap<ClientConn, Conn>,
    store: Store,
    prng: Prng,
    wrong: Wrong,
    /// When the last segment on a connection arrives: they do not overtake each other.
    last: BTreeMap<ClientConn, u64>,
}

/// What sessions have of it.
pub(super) struct Port(pub(super) RefCell<Server>);

impl ClientPort for Port {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.borrow().now)
    }

    fn connect(&self, addr: SocketAddr) -> ClientConn {
        let mut server = self.0.borrow_mut();
        let conn = server.next;
        if server.prng.below(20) == 0 {
            server.later(1_000, Due::Event(ClientEvent::Closed(conn)));
        } else {
            server.conns.insert(conn, Conn { addr, received: Vec::new(), protocol: Protocol::Resp2 });
            server.later(1_000, Due::Event(ClientEvent::Connected(conn)));
        }
        conn
    }

    // Machines here do not die.
    fn keep_alive(&self, _: ClientConn) {}

    fn pause_reading(&self, _: ClientConn) {}

    fn in_flight_bytes(&self, _: ClientConn) -> usize {
        0
    }

    fn send(&self, conn: ClientConn, bytes: &[u8]) {
        let mut server = self.0.borrow_mut();
        let delay = server.prng.range(1_000, 2_000_000);
        let at = (server.now + delay).max(server.last.get(&conn).copied().unwrap_or(0));
        server.last.insert(conn, at);
        let delay = at - server.now;
        server.later(delay, Due::Arrives(conn, bytes.to_vec()));
    }

    fn close(&self, conn: ClientConn) {
        self.0.borrow_mut().conns.remove(&conn);
    }

    fn timer(&self, at: Instant, token: u64) {
        let mut server = self.0.borrow_mut();
        let delay = at.as_nanos().saturating_sub(server.now);
        server.later(delay, Due::Event(ClientEvent::Timer(token)));
    }
}

fn core_of(slot: Slot) -> u16 {
    slot.number() % 2
}

/// The address of a port.
pub(super) fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn is_write(parts: &[Bytes]) -> bool {
    !matches!(&parts[0][..], b"GET" | b"STRLEN" | b"GETRANGE" | b"MGET" | b"EXISTS" | b"TOUCH")
}

pub(super) const GATEWAY: u16 = 7_000;
pub(super) const CORE: u16 = 7_001;

impl Server {
    /// A server without keys.
    pub(super) fn new(seed: u64, wrong: Wrong) -> Server {
        Server {
            now: 0,
            next: 0,
            due: BTreeMap::new(),
            conns: BTreeMap::new(),
            store: Store::default(),
            prng: Prng::stream(seed, "server"),
            wrong,
            last: BTreeMap::new(),
        }
    }

    /// Whether a connection is open.
    pub(super) fn has(&self, conn: ClientConn) -> bool {
        self.conns.contains_key(&conn)
    }

    fn later(&mut self, delay: u64, due: Due) {
        self.next += 1;
        self.due.insert((self.now + delay, self.next), due);
    }

    /// Bytes arrive: runs the commands that are whole.
    pub(super) fn arrives(&mut self, id: ClientConn, bytes: &[u8]) {
        let Some(mut conn) = self.conns.remove(&id) else { return };
        conn.received.extend_from_slice(bytes);
        let mut requests = Vec::new();
        while let Some((request, len)) = read(&conn.received, Protocol::Resp2).expect("sessions send sound requests")
        {
            conn.received.drain(..len);
            let Answer::Array(parts) = request else { panic!("a request is an array") };
            let parts: Vec<_> = parts
                .into_iter()
                .map(|part| match part {
                    Answer::Bulk(part) => part,
                    other => panic!("{other:?} in a request"),
                })
                .collect();
            requests.push((requests.len(), parts));
        }
        if self.wrong == Wrong::Overtakes && self.prng.below(20) == 0 {
            requests.sort_by_key(|(_, parts)| is_write(parts));
        }
        let mut replies = vec![Vec::new(); requests.len()];
        for (number, parts) in &requests {
            self.request(&mut conn, parts, &mut replies[*number]);
        }
        self.spoil(&mut replies);
        // A connection may end before its replies have left.
        if self.prng.below(500) == 0 {
            return self.later(1_000, Due::Event(ClientEvent::Closed(id)));
        }
        self.conns.insert(id, conn);
        let bytes = replies.concat();
        let cut = self.prng.below(bytes.len() as u64 + 1) as usize;
        for piece in [&bytes[..cut], &bytes[cut..]] {
            if !piece.is_empty() {
                let event = ClientEvent::Received(id, Bytes::copy_from_slice(piece));
                self.later(1_000, Due::Event(event));
            }
        }
    }

    fn spoil(&mut self, replies: &mut Vec<Vec<u8>>) {
        if self.prng.below(20) != 0 || replies.is_empty() {
            return;
        }
        match self.wrong {
            Wrong::Swaps if replies.len() > 1 => replies.swap(0, 1),
            Wrong::Skips => drop(replies.remove(0)),
            Wrong::Babbles => replies[0].insert(0, b'?'),
            _ => {}
        }
    }

    fn request(&mut self, conn: &mut Conn, parts: &[Bytes], out: &mut Vec<u8>) {
        if parts[0] == "HELLO" {
            conn.protocol = Protocol::Resp3;
            out.extend_from_slice(b"%1\r\n$5\r\nproto\r\n:3\r\n");
            return;
        }
        let mut reply = Reply::new(out, conn.protocol);
        if self.prng.below(1_000) == 0 {
            return reply.error("CLUSTERDOWN The cluster is down");
        }
        if parts.len() > 1 && conn.addr.port() != GATEWAY {
            let slot = Slot::of_key(&parts[1]);
            let owner = CORE + core_of(slot);
            if conn.addr.port() != owner {
                return reply.error(&format!("MOVED {} 127.0.0.1:{owner}", slot.number()));
            }
        }
        let is_write = is_write(parts);
        let unluckiness = self.prng.below(1_000);
        if is_write && unluckiness < 10 {
            if unluckiness < 5 {
                self.run_unheard(parts);
            }
            return reply.error("UNKNOWNOUTCOME it may or may not have been applied");
        }
        match self.wrong {
            Wrong::Forgets if is_write && self.prng.below(300) == 0 => {
                let kept = self.store.values();
                self.run(parts, &mut reply);
                self.store.set_values(kept);
            }
            Wrong::Repeats if is_write && self.prng.below(100) == 0 => {
                self.run(parts, &mut reply);
                self.run_unheard(parts);
            }
            _ => self.run(parts, &mut reply),
        }
    }

    fn run(&mut self, parts: &[Bytes], reply: &mut Reply<'_>) {
        let reads_old = self.wrong == Wrong::ReadsOld && parts[0] == "GET" && self.prng.below(100) == 0;
        self.store.run(parts, reads_old, reply);
    }

    /// Runs a command whose reply nobody gets.
    fn run_unheard(&mut self, parts: &[Bytes]) {
        self.run(parts, &mut Reply::new(&mut Vec::new(), Protocol::Resp2));
    }
}
