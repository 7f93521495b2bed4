//! Sessions against a server in memory that runs one command after the other, and against ones that do not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use resp::{Protocol, Reply};
use types::{Instant, Slot};

use super::reader::{Answer, read};
use super::{ClientPort, Sessions};
use crate::checkers::{Judged, check_durability, check_exactly_once, check_linearizability};
use crate::client::{ClientConn, ClientEvent};
use crate::cluster_spec::Load;
use crate::history::Outcome;
use crate::prng::Prng;

const BUSY: Duration = Duration::from_secs(5);
const SECOND: u64 = 1_000_000_000;

/// In which way the server is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
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

enum Due {
    Event(ClientEvent),
    Arrives(ClientConn, Vec<u8>),
}

struct Server {
    now: u64,
    next: u64,
    due: BTreeMap<(u64, u64), Due>,
    conns: BTreeMap<ClientConn, Conn>,
    values: BTreeMap<Bytes, Bytes>,
    before: BTreeMap<Bytes, Option<Bytes>>,
    prng: Prng,
    wrong: Wrong,
    /// When the last segment on a connection arrives: they do not overtake each other.
    last: BTreeMap<ClientConn, u64>,
}

struct Port(RefCell<Server>);

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

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn is_write(parts: &[Bytes]) -> bool {
    !matches!(&parts[0][..], b"GET" | b"STRLEN" | b"GETRANGE" | b"MGET" | b"EXISTS" | b"TOUCH")
}

fn integer(text: &Bytes) -> i64 {
    resp::number::parse_i64(text).expect("sessions send integers")
}

const GATEWAY: u16 = 7_000;
const CORE: u16 = 7_001;

impl Server {
    fn later(&mut self, delay: u64, due: Due) {
        self.next += 1;
        self.due.insert((self.now + delay, self.next), due);
    }

    fn arrives(&mut self, id: ClientConn, bytes: &[u8]) {
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
                self.run(parts, &mut Reply::new(&mut Vec::new(), Protocol::Resp2));
            }
            return reply.error("UNKNOWNOUTCOME it may or may not have been applied");
        }
        match self.wrong {
            Wrong::Forgets if is_write && self.prng.below(300) == 0 => {
                let kept = self.values.clone();
                self.run(parts, &mut reply);
                self.values = kept;
            }
            Wrong::Repeats if is_write && self.prng.below(100) == 0 => {
                self.run(parts, &mut reply);
                self.run(parts, &mut Reply::new(&mut Vec::new(), Protocol::Resp2));
            }
            _ => self.run(parts, &mut reply),
        }
    }

    fn set(&mut self, key: &Bytes, value: Bytes) {
        let before = self.values.insert(key.clone(), value);
        self.before.insert(key.clone(), before);
    }

    fn bulk(value: Option<&Bytes>, reply: &mut Reply<'_>) {
        match value {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
    }

    fn run(&mut self, parts: &[Bytes], reply: &mut Reply<'_>) {
        let held = parts.get(1).and_then(|key| self.values.get(key)).cloned();
        let len = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len) as i64;
        let pairs = || parts[1..].chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        match &parts[0][..] {
            b"GET" => {
                let is_old = self.wrong == Wrong::ReadsOld && self.prng.below(100) == 0;
                match self.before.get(&parts[1]).filter(|_| is_old) {
                    Some(before) => Server::bulk(before.as_ref(), reply),
                    None => Server::bulk(held.as_ref(), reply),
                }
            }
            b"STRLEN" => reply.integer(len(&held)),
            b"SET" => {
                let has = |option: &str| parts[3..].iter().any(|part| part == option);
                let sets = !(has("NX") && held.is_some() || has("XX") && held.is_none());
                if sets {
                    self.set(&parts[1], parts[2].clone());
                }
                match (has("GET"), sets) {
                    (true, _) => Server::bulk(held.as_ref(), reply),
                    (false, true) => reply.ok(),
                    (false, false) => reply.null(),
                }
            }
            b"SETRANGE" => {
                let (offset, text) = (integer(&parts[2]) as usize, &parts[3]);
                let mut value = held.unwrap_or_default().to_vec();
                if !text.is_empty() {
                    value.resize(value.len().max(offset + text.len()), 0);
                    value[offset..offset + text.len()].copy_from_slice(text);
                    self.set(&parts[1], value.clone().into());
                }
                reply.integer(value.len() as i64);
            }
            b"GETRANGE" => {
                let value = held.unwrap_or_default();
                let place = |part: &Bytes| match integer(part) {
                    place if place < 0 => (value.len() as i64 + place).max(0),
                    place => place,
                };
                let (start, end) = (place(&parts[2]), (place(&parts[3]) + 1).min(value.len() as i64));
                let is_backwards = integer(&parts[3]) < integer(&parts[2]) && integer(&parts[2]) < 0;
                let range = if start < end && !is_backwards { &value[start as usize..end as usize] } else { &[] };
                reply.bulk(range);
            }
            b"INCRBYFLOAT" => {
                let float = |text: &[u8]| str::from_utf8(text).unwrap().parse::<f64>().unwrap();
                let sum = (held.map_or(0.0, |value| float(&value)) + float(&parts[2])).to_string();
                self.set(&parts[1], sum.clone().into());
                reply.bulk(sum.as_bytes());
            }
            b"SETNX" => {
                if held.is_none() {
                    self.set(&parts[1], parts[2].clone());
                }
                reply.integer(i64::from(held.is_none()));
            }
            b"GETSET" => {
                self.set(&parts[1], parts[2].clone());
                Server::bulk(held.as_ref(), reply);
            }
            b"GETDEL" => {
                self.values.remove(&parts[1]);
                Server::bulk(held.as_ref(), reply);
            }
            b"APPEND" => {
                let value: Bytes = [held.unwrap_or_default(), parts[2].clone()].concat().into();
                reply.integer(value.len() as i64);
                self.set(&parts[1], value);
            }
            b"INCR" | b"INCRBY" | b"DECR" | b"DECRBY" => {
                let by = parts.get(2).map_or(1, integer);
                let by = if parts[0].starts_with(b"DECR") { -by } else { by };
                let sum =
                    held.map_or(0, |value| resp::number::parse_i64(&value).expect("counters hold integers")) + by;
                self.set(&parts[1], sum.to_string().into());
                reply.integer(sum);
            }
            b"DEL" | b"UNLINK" => {
                reply.integer(parts[1..].iter().filter(|key| self.values.remove(*key).is_some()).count() as i64)
            }
            b"EXISTS" | b"TOUCH" => {
                reply.integer(parts[1..].iter().filter(|key| self.values.contains_key(*key)).count() as i64)
            }
            b"MGET" => {
                reply.array(parts.len() - 1);
                parts[1..].iter().for_each(|key| Server::bulk(self.values.get(key), reply));
            }
            b"MSETNX" if pairs().any(|(key, _)| self.values.contains_key(&key)) => reply.integer(0),
            b"MSET" | b"MSETNX" => {
                pairs().for_each(|(key, value)| self.set(&key, value));
                if parts[0] == "MSET" { reply.ok() } else { reply.integer(1) }
            }
            b"FLUSHALL" => {
                self.values.clear();
                reply.ok();
            }
            other => panic!("an unknown command {}", other.escape_ascii()),
        }
    }
}

fn run(seed: u64, wrong: Wrong) -> Sessions {
    let server = Server {
        now: 0,
        next: 0,
        due: BTreeMap::new(),
        conns: BTreeMap::new(),
        values: BTreeMap::new(),
        before: BTreeMap::new(),
        prng: Prng::stream(seed, "server"),
        wrong,
        last: BTreeMap::new(),
    };
    let port = Port(RefCell::new(server));
    let mut sessions =
        Sessions::with_addrs(seed, Load::Usual, vec![addr(GATEWAY)], vec![addr(CORE), addr(CORE + 1)], BUSY);
    sessions.begin(&port);
    let mut is_healed = false;
    while !sessions.has_read_back() && sessions.history().objection().is_none() {
        let next = port.0.borrow_mut().due.pop_first();
        let Some(((at, _), due)) = next else { panic!("sessions wait for nothing") };
        port.0.borrow_mut().now = at;
        assert!(at < 60 * SECOND, "sessions come to an end");
        if !is_healed && at > BUSY.as_nanos() as u64 {
            is_healed = true;
            sessions.healed(&port);
        }
        match due {
            Due::Arrives(conn, bytes) => port.0.borrow_mut().arrives(conn, &bytes),
            Due::Event(event) => {
                if let ClientEvent::Received(conn, _) | ClientEvent::Closed(conn) = &event
                    && matches!(event, ClientEvent::Received(..))
                    && !port.0.borrow().conns.contains_key(conn)
                {
                    continue;
                }
                sessions.happened(&port, event);
            }
        }
    }
    sessions
}

/// The objection of the first checker that has one.
fn judge(sessions: &Sessions) -> Result<Judged, String> {
    let history = sessions.history();
    if let Some(objection) = history.objection() {
        return Err(format!("replies: {objection}"));
    }
    check_exactly_once(history).map_err(|violation| violation.to_string())?;
    check_durability(history).map_err(|violation| violation.to_string())?;
    check_linearizability(history).map_err(|violation| violation.to_string())
}

#[test]
fn a_sound_server_is_found_sound_and_everything_is_read_back() {
    let (mut all_count, mut judged_count) = (0, 0);
    for seed in 0..20 {
        let sessions = run(seed, Wrong::Nothing);
        let judged = judge(&sessions).unwrap_or_else(|objection| panic!("seed {seed}: {objection}"));
        let operations = sessions.history().operations();
        all_count += operations.len() as u64;
        judged_count += judged.operations;
        let count = |is: &dyn Fn(&Outcome) -> bool| operations.iter().filter(|one| is(&one.outcome)).count();
        let answered = count(&|outcome| !matches!(outcome, Outcome::Unknown | Outcome::NotApplied));
        assert!(answered > 500 && answered > operations.len() / 2, "seed {seed}: {answered} of {}", operations.len());
        assert!(operations.iter().all(|one| one.end != Instant::NEVER), "seed {seed}: every operation has ended");
    }
    // Objects on which too many outcomes are unknown at once are left undecided: they must be few.
    assert!(judged_count * 10 > all_count * 8, "only {judged_count} of {all_count} operations were judged");
}

#[test]
fn equal_seeds_ask_the_same() {
    let ask = || format!("{:?}", run(3, Wrong::Nothing).history().operations());
    assert_eq!(ask(), ask());
}

#[test]
fn wrong_servers_are_found_out() {
    for wrong in [
        Wrong::Forgets,
        Wrong::Repeats,
        Wrong::ReadsOld,
        Wrong::Overtakes,
        Wrong::Swaps,
        Wrong::Skips,
        Wrong::Babbles,
    ] {
        let caught = (0..20).find(|seed| judge(&run(*seed, wrong)).is_err());
        assert!(caught.is_some(), "{wrong:?}");
    }
}

#[test]
fn replies_are_read_however_they_are_cut() {
    let bytes = b"*3\r\n$2\r\na\n\r\n:-12\r\n$-1\r\n";
    let expected = Answer::Array(vec![Answer::Bulk("a\n".into()), Answer::Integer(-12), Answer::Null]);
    for len in 0..bytes.len() {
        assert_eq!(read(&bytes[..len], Protocol::Resp2), Ok(None), "{len}");
    }
    assert_eq!(read(bytes, Protocol::Resp2), Ok(Some((expected, bytes.len()))));
}

#[test]
fn what_the_protocol_does_not_have_is_refused() {
    for bytes in [&b"_\r\n"[..], b"%1\r\n", b"+OK\n", b"$1\r\nab\r\n", b":1x\r\n", b"$-2\r\n", b"?", b"\r\n"] {
        let is_whole = bytes.ends_with(b"\n");
        assert!(!is_whole || read(bytes, Protocol::Resp2).is_err(), "{}", bytes.escape_ascii());
    }
    assert!(read(b"$-1\r\n", Protocol::Resp3).is_err(), "RESP3 has a null of its own");
    assert_eq!(read(b"_\r\n", Protocol::Resp3), Ok(Some((Answer::Null, 3))));
}
