//! The links of a core without a host: who is let in, what is sent when, and what becomes of it when links break.

mod handshake;
mod liveness;
mod nodes;
mod queues;

use std::rc::Rc;

use host::{ConnId, SendBuf};
use resp::Protocol;
use types::{GroupId, NodeId, ReplicaId};
use wire::{Body, Entry, EntryKind, Payload, Verdict};

use super::*;
use crate::budget::Pool;
use crate::config::Config;
use crate::testing::{FakeNet, NetCall};

/// The core on node 1 that these tests are about, its neighbour on that node, and a core of another node.
const ME: CoreAddr = CoreAddr { node: NodeId(1), core: types::CoreId(0) };
const NEIGHBOUR: CoreAddr = CoreAddr { node: NodeId(1), core: types::CoreId(1) };
const OTHER: CoreAddr = CoreAddr { node: NodeId(2), core: types::CoreId(0) };

struct World {
    ctx: Context,
    net: FakeNet,
    peers: Peers,
    /// What the mesh has taken, and whether it takes anything.
    mesh: Vec<(CoreAddr, Frame)>,
    is_mesh_full: bool,
    /// Commands that the next frame over each link is to carry.
    requests: Vec<(LinkId, Requests)>,
}

/// A connection that another core has made.
fn incoming(idx: u32) -> ConnId {
    ConnId { idx: 100 + idx, generation: 0 }
}

fn message(index: u64) -> Message {
    let body = Body::AppendAccepted { match_index: index };
    Message { group: GroupId(1), from: ReplicaId(1), to: ReplicaId(2), term: 3, body }
}

/// A message with that many entries of that many bytes.
fn append(entries_count: u64, entry_bytes: usize) -> Message {
    let payload = Payload::from(vec![7; entry_bytes]);
    let entry = |index| Entry { term: 3, index, kind: EntryKind::Batch, payload: payload.clone() };
    let body =
        Body::Append { prev_index: 0, prev_term: 0, commit: 0, entries: (1..=entries_count).map(entry).collect() };
    Message { body, ..message(0) }
}

fn note(group: u32) -> LeaderNote {
    LeaderNote { group: GroupId(group), term: 3, place: ME }
}

fn encode(mut frame: Frame) -> Vec<u8> {
    let mut parts = Vec::new();
    frame.encode(&mut parts);
    parts.concat()
}

/// A frame that says who leads a group.
fn frame(group: u32) -> Vec<u8> {
    encode(Frame { leaders: vec![note(group)], ..Frame::default() })
}

/// What was sent, as the other side reads it.
fn decode(buf: &SendBuf) -> Frame {
    let bytes = match buf {
        SendBuf::Plain(bytes) => bytes.clone(),
        SendBuf::Gather(parts) => parts.concat(),
    };
    let mut rest = &bytes[..];
    let frame = FrameAssembler::default().next(&mut rest).unwrap().unwrap();
    assert!(rest.is_empty(), "one send is one frame");
    frame
}

fn reply_of(link: LinkId, id: u64) -> Origin {
    Origin::Peer { link, id, protocol: Protocol::Resp2 }
}

impl World {
    fn new(change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::of_test(3, 2, 2);
        change(&mut config);
        let ctx = Context::new(Rc::new(config), Instant::ZERO, None);
        let (net, mesh, requests) = Default::default();
        let peers = Peers::new(&ctx, &net);
        World { ctx, net, peers, mesh, is_mesh_full: false, requests }
    }

    fn link(&self, addr: CoreAddr) -> LinkId {
        self.peers.link_to(addr).unwrap()
    }

    /// What another core says of itself.
    fn hello(&self, from: CoreAddr) -> Hello {
        Hello { from, to: ME, incarnation: 70 + u64::from(from.node.0), ..handshake_of(&self.ctx) }
    }

    /// Bytes arrive. Returns what they complete, by the groups that the frames tell of.
    fn receive(&mut self, conn: ConnId, mut bytes: &[u8]) -> Vec<(LinkId, u32)> {
        let mut frames = Vec::new();
        while let Some((link, frame)) = self.peers.next_frame(&mut self.ctx, &self.net, conn, &mut bytes) {
            frames.push((link, frame.leaders.first().map_or(0, |note| note.group.0)));
        }
        frames
    }

    /// Another core has connected and introduces itself. Returns what it is answered.
    fn introduce(&mut self, conn: ConnId, hello: &[u8]) -> Option<Verdict> {
        self.peers.accept(&self.ctx, conn, SocketAddr::from(([127, 0, 0, 2], 9)));
        assert_eq!(self.receive(conn, hello), []);
        self.verdict(conn)
    }

    /// The connections that were closed since the last call. Whoever greets is connected to, and nothing else is asked for.
    fn take_closed(&self) -> Vec<ConnId> {
        let closed = |call| match call {
            NetCall::Close(conn) => Some(conn),
            NetCall::Connect(..) => None,
            other => panic!("asked for {other:?}"),
        };
        self.net.take_calls().into_iter().filter_map(closed).collect()
    }

    fn admit(&mut self, node: NodeId, incarnation: u64) {
        self.peers.admit(&mut self.ctx, &self.net, node, incarnation);
    }

    fn verdict(&mut self, conn: ConnId) -> Option<Verdict> {
        let buf = self.net.take_send(conn)?;
        let SendBuf::Plain(bytes) = &buf else { panic!("a verdict is one run of bytes") };
        let verdict = Verdict::decode(bytes[..].try_into().unwrap());
        self.peers.sent(conn, buf);
        verdict
    }

    fn tick(&mut self) -> Vec<CoreAddr> {
        self.peers.tick(&self.ctx, &self.net, std::time::Duration::from_millis(100))
    }

    /// Begins what connections are due; returns the one over a link.
    fn connect(&mut self, link: LinkId) -> ConnId {
        self.tick();
        let at = self.peers.links[link.idx()].addr;
        let calls = self.net.take_calls();
        let made = calls.iter().find_map(|call| match call {
            NetCall::Connect(conn, to) if *to == at => Some(*conn),
            _ => None,
        });
        made.expect("a connection is due")
    }

    /// Brings a link up; returns its connection.
    fn up(&mut self, link: LinkId) -> ConnId {
        let conn = self.connect(link);
        self.peers.connected(&self.net, conn);
        let hello = self.net.take_send(conn).unwrap();
        self.peers.sent(conn, hello);
        self.receive(conn, &Verdict::Accepted.encode());
        assert_eq!(self.peers.take_events(), [PeerEvent::Up(link), PeerEvent::Changed(link)]);
        conn
    }

    /// Whether the next tick begins a connection over a link.
    fn connects_by_tick(&mut self, link: LinkId) -> bool {
        self.tick();
        matches!(self.peers.links[link.idx()].state, LinkState::Connecting { .. })
    }

    fn flush(&mut self) {
        let World { ctx, net, peers, mesh, requests, .. } = self;
        let is_full = self.is_mesh_full;
        let requests_of = |link| {
            let at = requests.iter().position(|(to, _)| *to == link)?;
            Some(requests.remove(at).1)
        };
        peers.flush(ctx, net, requests_of, |to, frame| {
            if is_full {
                return Err(frame);
            }
            mesh.push((to, *frame));
            Ok(())
        });
    }

    /// Sends what is due over a link; returns the frame once it has left.
    fn frame(&mut self, conn: ConnId) -> Option<Frame> {
        self.flush();
        let buf = self.net.take_send(conn)?;
        let frame = decode(&buf);
        self.peers.sent(conn, buf);
        Some(frame)
    }

    fn used(&self) -> usize {
        self.ctx.budget.used_by(Pool::Links)
    }
}

fn handshake_of(ctx: &Context) -> Hello {
    super::handshake::own_hello(&ctx.config)
}

#[test]
fn there_is_a_link_to_every_other_core() {
    let mut world = World::new(|_| {});
    assert_eq!((world.peers.counts(), world.peers.link_to(ME)), ((5, 1), None));
    for (addr, link) in world.peers.by_addr() {
        assert_eq!((world.peers.addr_of(link), world.peers.link_to(addr)), (addr, Some(link)));
    }
    let (link, neighbour) = (world.link(OTHER), world.link(NEIGHBOUR));
    assert!(world.peers.is_connected(NEIGHBOUR) && !world.peers.is_connected(OTHER));
    assert!(world.peers.takes_commands(neighbour) && !world.peers.takes_commands(link));
    world.ctx.unix_ms = 500;
    world.up(link);
    world.ctx.unix_ms = 600;
    world.introduce(incoming(0), &world.hello(OTHER).encode());
    world.peers.message(&mut world.ctx, link, message(1));
    let mut views = Vec::new();
    world.peers.each_link(&mut |view| views.push(view));
    assert_eq!(views.len(), 4, "the mesh is no link to another node");
    let view = LinkView { addr: OTHER, to_since_ms: Some(500), from_since_ms: Some(600), send_bytes: 64 };
    assert!(views.contains(&view), "{views:?}");
    assert_eq!(views.iter().filter(|view| view.to_since_ms.or(view.from_since_ms).is_none()).count(), 3);
}
