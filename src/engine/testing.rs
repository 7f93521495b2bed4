//! What the tests of several parts share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;

use host::{ConnId, ListenerId, Net, NetEvent, SendBuf};
use meta::{Bootstrap, ClusterMap, Node};
use resp::{ArgRange, Args, Protocol, Reply};
use types::{CoreAddr, CoreId, Instant, NodeId, Slot};

use crate::config::Config;
use crate::context::Context;
use crate::origin::{LinkId, Origin};
use crate::replies::ReplySink;
use crate::request::Request;

/// A map of three nodes with one core each, and this many groups beside group 0.
pub(crate) fn map(groups_count: usize) -> ClusterMap {
    let node = |id: u32| Node {
        id: NodeId(id),
        host: IpAddr::from([127, 0, 0, id as u8]),
        gateway_port: 1_000,
        core_port: 2_000,
        peer_port: 3_000,
        admin_port: 4_000,
        cores: 1,
        rack: None,
    };
    let nodes = (1..=3).map(node).collect();
    ClusterMap::bootstrap(&Bootstrap {
        cluster_id: meta::ClusterId(7),
        nodes,
        groups_count,
        settings: Default::default(),
    })
    .unwrap()
}

/// The only core of a node.
pub(crate) fn core(node: u32) -> CoreAddr {
    CoreAddr { node: NodeId(node), core: CoreId(0) }
}

/// The context of the core of node 1.
pub(crate) fn context(change: impl FnOnce(&mut Config)) -> Context {
    let mut config = Config::new(core(1), map(2), 1, PathBuf::new());
    config.disk_reserve_bytes = 0;
    change(&mut config);
    Context::new(Rc::new(config), Instant::ZERO, None)
}

/// The one client of these tests, its request of this number.
pub(crate) fn client(seq: u64) -> Origin {
    client_at(0, seq)
}

/// The client in this place, which has sent request `seq`.
pub(crate) fn client_at(idx: u32, seq: u64) -> Origin {
    Origin::Client { conn: ConnId { idx, generation: 0 }, seq, protocol: Protocol::Resp2 }
}

/// Hands a command in words, separated by single spaces, to `take`.
pub(crate) fn with_request<T>(origin: Origin, line: &str, take: impl FnOnce(Request<'_>) -> T) -> T {
    let mut ranges = Vec::new();
    let mut start = 0;
    for word in line.split(' ') {
        ranges.push(ArgRange { start, end: start + word.len() as u32 });
        start += word.len() as u32 + 1;
    }
    let args = Args::new(line.as_bytes(), &ranges);
    let command = resp::resolve(args).unwrap();
    take(Request { origin, command, slot: Slot::default(), args })
}

/// What was answered: the clients' requests by number, what went back to other cores, and what was sent back unserved.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) replies: BTreeMap<u64, String>,
    /// Whose requests they answer.
    conns: BTreeMap<u64, ConnId>,
    /// By which routes requests went, where a test says so; else by the first.
    pub(crate) routes: BTreeMap<u64, usize>,
    pub(crate) to_peers: Vec<(LinkId, u64, String)>,
    pub(crate) sent_back: Vec<(LinkId, u64)>,
    /// Whether there is no room for long replies.
    pub(crate) is_full: bool,
    /// Longest reply that there is room for, in bytes; any if it is `None`.
    pub(crate) room_bytes: Option<usize>,
    /// Links that take no replies: no more commands may be executed that came over them.
    pub(crate) congested: Vec<LinkId>,
}

impl ReplySink for Answers {
    fn reply(&mut self, origin: Origin, write: impl FnOnce(&mut Reply<'_>)) {
        let mut bytes = Vec::new();
        write(&mut Reply::new(&mut bytes, origin.protocol()));
        let text = String::from_utf8(bytes).unwrap();
        match origin {
            Origin::Client { conn, seq, .. } => {
                self.conns.insert(seq, conn);
                let former = self.replies.insert(seq, text);
                assert!(former.is_none(), "request {seq} is answered twice");
            }
            Origin::Peer { link, id, .. } => self.to_peers.push((link, id, text)),
            Origin::SubRequest { .. } => panic!("not of these tests"),
        }
    }

    fn has_room(&mut self, _: Origin, bytes: usize) -> bool {
        !self.is_full && self.room_bytes.is_none_or(|room_bytes| bytes <= room_bytes)
    }

    fn takes_replies(&self, link: LinkId) -> bool {
        !self.congested.contains(&link)
    }

    fn send_back(&mut self, link: LinkId, id: u64) {
        self.sent_back.push((link, id));
    }

    fn last_early_by(&self, conn: ConnId, route: usize) -> Option<u64> {
        let is_by = |seq: &u64| self.routes.get(seq).copied().unwrap_or_default() == route;
        self.conns.iter().rev().find(|(seq, other)| **other == conn && is_by(seq)).map(|(seq, _)| *seq)
    }
}

/// What a part has asked of the network, sends aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetCall {
    Connect(ConnId, SocketAddr),
    Pause(ConnId),
    Resume(ConnId),
    Close(ConnId),
}

/// A network that carries nothing and notes what is asked of it. Events come from the test.
#[derive(Default)]
pub(crate) struct FakeNet {
    calls: RefCell<Vec<NetCall>>,
    sends: RefCell<BTreeMap<ConnId, SendBuf>>,
    acked_bytes: RefCell<BTreeMap<ConnId, u64>>,
    awaited: RefCell<Vec<ConnId>>,
    connects_count: Cell<u32>,
}

impl FakeNet {
    /// From now on the other side of a connection has confirmed this many bytes.
    pub(crate) fn set_acked_bytes(&self, conn: ConnId, bytes: u64) {
        self.acked_bytes.borrow_mut().insert(conn, bytes);
    }

    /// What was asked since the last call, in order.
    pub(crate) fn take_calls(&self) -> Vec<NetCall> {
        self.calls.take()
    }

    /// The connections that were to be closed since the last call. Nothing else may have been asked meanwhile.
    pub(crate) fn take_closed(&self) -> Vec<ConnId> {
        let closed = |call| match call {
            NetCall::Close(conn) => conn,
            other => panic!("asked for {other:?}"),
        };
        self.take_calls().into_iter().map(closed).collect()
    }

    /// What is on its way over a connection. Whoever takes it tells the part that it has left.
    pub(crate) fn take_send(&self, conn: ConnId) -> Option<SendBuf> {
        self.sends.borrow_mut().remove(&conn)
    }

    /// Over which connections the end of a send was waited for since the last call.
    pub(crate) fn take_awaited(&self) -> Vec<ConnId> {
        self.awaited.take()
    }

    /// How many connections have something on its way.
    pub(crate) fn sends_count(&self) -> usize {
        self.sends.borrow().len()
    }
}

impl Net for FakeNet {
    type RecvBuf = Vec<u8>;

    fn listen(&self, _: SocketAddr, _: bool, _: usize, _: &'static [u8]) -> io::Result<ListenerId> {
        panic!("parts do not listen")
    }

    fn unlisten(&self, _: ListenerId) {
        panic!("parts do not listen")
    }

    fn connect(&self, _: IpAddr, to: SocketAddr) -> ConnId {
        let conn = ConnId { idx: self.connects_count.get(), generation: 0 };
        self.connects_count.set(conn.idx + 1);
        self.calls.borrow_mut().push(NetCall::Connect(conn, to));
        conn
    }

    fn next_event(&self) -> Option<NetEvent<Vec<u8>>> {
        None
    }

    fn send(&self, conn: ConnId, buf: SendBuf) {
        assert!(!buf.is_empty(), "a send of nothing over {conn}");
        let former = self.sends.borrow_mut().insert(conn, buf);
        assert!(former.is_none(), "a second send over {conn} while the first is on its way");
    }

    fn wake_when_sent(&self, conn: ConnId) {
        assert!(self.sends.borrow().contains_key(&conn), "nothing is on its way over {conn}");
        self.awaited.borrow_mut().push(conn);
    }

    fn recv_pause(&self, conn: ConnId) {
        self.calls.borrow_mut().push(NetCall::Pause(conn));
    }

    fn recv_resume(&self, conn: ConnId) {
        self.calls.borrow_mut().push(NetCall::Resume(conn));
    }

    fn acked_bytes(&self, conn: ConnId) -> u64 {
        self.acked_bytes.borrow().get(&conn).copied().unwrap_or(0)
    }

    fn close(&self, conn: ConnId) {
        self.calls.borrow_mut().push(NetCall::Close(conn));
    }
}
