//! A plain load: sessions that read and write a few keys, each waiting for its answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use meta::ClusterMap;
use types::Instant;

use crate::chance::Chance;
use crate::client::{ClientConn, ClientEvent, ClientNet, Workload};
use crate::history::{Call, History, OperationId, Outcome};

const SESSIONS: u64 = 12;
const PATIENCE: Duration = Duration::from_secs(8);

struct Session {
    conn: Option<ClientConn>,
    is_open: bool,
    pending: Option<OperationId>,
    sent: u64,
    received: Vec<u8>,
    is_read: bool,
    read_back: usize,
}

/// The sessions.
pub struct Sessions {
    chance: Chance,
    addrs: Vec<SocketAddr>,
    sessions: Vec<Session>,
    by_conn: BTreeMap<ClientConn, usize>,
    history: History,
    keys: u64,
    value: u64,
    is_healed: bool,
}

impl Sessions {
    /// Sessions of a seed.
    pub fn new(seed: u64, map: &ClusterMap, _: Duration) -> Sessions {
        let mut chance = Chance::stream(seed, "load");
        let session = |_| Session {
            conn: None,
            is_open: false,
            pending: None,
            sent: 0,
            received: Vec::new(),
            is_read: false,
            read_back: 0,
        };
        Sessions {
            keys: chance.range(3, 20),
            chance,
            addrs: map.nodes.iter().map(|node| node.gateway_addr()).collect(),
            sessions: (0..SESSIONS).map(session).collect(),
            by_conn: BTreeMap::new(),
            history: History::new(),
            value: 0,
            is_healed: false,
        }
    }

    fn open(&mut self, net: &ClientNet, idx: usize) {
        let addr = self.addrs[self.chance.below(self.addrs.len() as u64) as usize];
        let conn = net.connect(addr);
        self.by_conn.insert(conn, idx);
        self.sessions[idx].conn = Some(conn);
        self.sessions[idx].is_open = false;
        self.sessions[idx].received.clear();
    }

    fn again(&mut self, net: &ClientNet, idx: usize, after_ms: u64) {
        let wait = self.chance.range(1, after_ms * 1_000_000);
        net.timer(net.now() + Duration::from_nanos(wait), idx as u64);
    }

    fn ask(&mut self, net: &ClientNet, idx: usize) {
        if self.history.healed_at().is_some_and(|healed| net.now() > healed + Duration::from_secs(17)) {
            self.sessions[idx].read_back = 1;
            return;
        }
        let Some(conn) = self.sessions[idx].conn else { return };
        let key = self.chance.below(self.keys);
        let key = Bytes::from(format!("key{key}"));
        let is_read = self.is_healed || self.chance.happens(500_000);
        let (call, text) = if is_read {
            (Call::Get(key.clone()), format!("GET {}\r\n", String::from_utf8_lossy(&key)))
        } else {
            self.value += 1;
            let value = Bytes::from(format!("v{}", self.value));
            let text = format!("SET {} v{}\r\n", String::from_utf8_lossy(&key), self.value);
            (Call::Set(key, value), text)
        };
        let id = self.history.begin(idx as u32, net.now(), call);
        let session = &mut self.sessions[idx];
        session.pending = Some(id);
        session.is_read = is_read;
        session.sent += 1;
        net.send(conn, text.as_bytes());
        let token = session.sent << 16 | idx as u64 | 1 << 63;
        net.timer(net.now() + PATIENCE, token);
    }

    fn end(&mut self, net: &ClientNet, idx: usize, outcome: Outcome, reason: Option<String>) {
        if let Some(id) = self.sessions[idx].pending.take() {
            self.history.end(id, net.now(), outcome, reason);
        }
    }

    fn give_up(&mut self, net: &ClientNet, idx: usize, reason: &str) {
        let outcome = Outcome::Unknown;
        self.end(net, idx, outcome, Some(reason.to_owned()));
        if let Some(conn) = self.sessions[idx].conn.take() {
            self.by_conn.remove(&conn);
            net.close(conn);
        }
        self.again(net, idx, 300);
    }

    fn reply(&mut self, net: &ClientNet, idx: usize) {
        let text = String::from_utf8_lossy(&self.sessions[idx].received).into_owned();
        let Some((line, rest)) = text.split_once("\r\n") else { return };
        let outcome = match line.split_at(1) {
            ("+", _) => Outcome::Ok,
            ("$", "-1") => Outcome::Value(None),
            ("$", len) => {
                let len: usize = len.parse().unwrap_or(0);
                if rest.len() < len + 2 {
                    return;
                }
                Outcome::Value(Some(Bytes::copy_from_slice(&rest.as_bytes()[..len])))
            }
            (_, error) if error.starts_with("UNKNOWNOUTCOME") => Outcome::Unknown,
            _ => Outcome::NotApplied,
        };
        let reason = line.starts_with('-').then(|| line.to_owned());
        let is_failed = reason.is_some();
        self.sessions[idx].received.clear();
        self.end(net, idx, outcome, reason);
        self.again(net, idx, if is_failed { 200 } else { 15 });
    }
}

impl Workload for Sessions {
    fn start(&mut self, net: &ClientNet) {
        for idx in 0..self.sessions.len() {
            net.timer(Instant::from_nanos(100_000_000), idx as u64);
        }
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Connected(conn) => {
                if let Some(idx) = self.by_conn.get(&conn).copied() {
                    self.sessions[idx].is_open = true;
                    self.ask(net, idx);
                }
            }
            ClientEvent::Received(conn, bytes) => {
                if let Some(idx) = self.by_conn.get(&conn).copied() {
                    self.sessions[idx].received.extend_from_slice(&bytes);
                    self.reply(net, idx);
                }
            }
            ClientEvent::Closed(conn) => {
                if let Some(idx) = self.by_conn.remove(&conn) {
                    self.sessions[idx].conn = None;
                    self.give_up(net, idx, "closed");
                }
            }
            ClientEvent::Timer(token) if token >> 63 == 1 => {
                let idx = (token & 0xFFFF) as usize;
                if (token & !(1 << 63)) >> 16 == self.sessions[idx].sent && self.sessions[idx].pending.is_some() {
                    self.give_up(net, idx, "no answer");
                }
            }
            ClientEvent::Timer(token) => {
                let idx = token as usize;
                let session = &self.sessions[idx];
                if session.pending.is_some() {
                    return;
                }
                if session.conn.is_some() && session.is_open && !self.chance.happens(10_000) {
                    self.ask(net, idx);
                } else {
                    if let Some(conn) = self.sessions[idx].conn.take() {
                        self.by_conn.remove(&conn);
                        net.close(conn);
                    }
                    self.open(net, idx);
                }
            }
        }
    }

    fn heal(&mut self, net: &ClientNet) {
        self.is_healed = true;
        self.history.heal(net.now());
    }

    fn is_done(&self) -> bool {
        self.sessions.iter().all(|session| session.read_back > 0)
    }

    fn history(&self) -> &History {
        &self.history
    }
}
