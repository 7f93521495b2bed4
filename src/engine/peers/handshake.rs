//! Who is let in: what cores tell each other before the first frame.

use std::net::SocketAddr;

use host::{ConnId, Net, SendBuf};
use types::NodeId;
use wire::{Answer, AnswerCode, FormationError, HELLO_BYTES, Hello, HelloError, Question, Verdict};

use crate::config::Config;
use crate::context::Context;
use crate::origin::LinkId;
use crate::peers::link::{ADMISSION_TIMEOUT, LinkState};
use crate::peers::{PeerConn, Peers};

/// What this core says of itself. Whom it speaks to is filled in for each link.
pub(super) fn own_hello(config: &Config) -> Hello {
    let mut map = [0; 12];
    map.copy_from_slice(&config.map.fingerprint()[..12]);
    Hello {
        cluster_id: config.map.cluster_id.0.to_le_bytes(),
        from: config.place,
        to: config.place,
        incarnation: config.incarnation,
        map,
    }
}

impl Peers {
    /// A node is remembered with its data directory, durably; the first one counts. Its cores that wait for that are let in.
    pub(crate) fn admit<N: Net>(&mut self, ctx: &mut Context, net: &N, node: NodeId, incarnation: u64) {
        self.note_incarnation(node, incarnation);
        let waits = |(conn, peer): (ConnId, &PeerConn)| match peer {
            PeerConn::Incoming(incoming) if incoming.awaits_admission => Some((conn, *incoming.hello.first_chunk()?)),
            _ => None,
        };
        let waiting: Vec<_> = self.conns.iter().filter_map(waits).collect();
        for (conn, hello) in waiting {
            if Hello::decode(&hello).is_ok_and(|hello| hello.from.node == node) {
                self.introduce(ctx, net, conn, &hello);
            }
        }
    }

    /// A node has come with a token and this data directory: from now on it is let in with that one alone.
    pub(super) fn replace_node(&mut self, node: NodeId, incarnation: u64) {
        for link in self.links.iter_mut().filter(|link| link.to.node == node) {
            link.incarnation = Some(incarnation);
        }
    }

    pub(super) fn note_incarnation(&mut self, node: NodeId, incarnation: u64) {
        for link in self.links.iter_mut().filter(|link| link.to.node == node) {
            link.incarnation.get_or_insert(incarnation);
        }
    }

    /// Takes the bytes of the hello from the front of a connection's bytes. Returns whether the other side is authenticated,
    /// so that what stands behind are frames.
    pub(super) fn take_hello<N: Net>(&mut self, ctx: &mut Context, net: &N, conn: ConnId, bytes: &mut &[u8]) -> bool {
        let Some(PeerConn::Incoming(incoming)) = self.conns.get_mut(conn) else { return false };
        if incoming.link.is_some() {
            return true;
        }
        if incoming.hello.len() == HELLO_BYTES {
            // Refused: nothing behind it is looked at, and the connection is closed at its deadline if the other side does
            // not end it. Or it has no verdict yet, and sends before it is let in.
            if !bytes.is_empty() && incoming.awaits_admission {
                net.close(conn);
            }
            return false;
        }
        let missing = HELLO_BYTES - incoming.hello.len();
        let (head, behind) = bytes.split_at(missing.min(bytes.len()));
        incoming.hello.extend_from_slice(head);
        *bytes = behind;
        let Some(hello) = incoming.hello.first_chunk::<HELLO_BYTES>().copied() else { return false };
        let is_let_in = self.introduce(ctx, net, conn, &hello);
        if !bytes.is_empty() && self.awaits_admission(conn) {
            net.close(conn);
        }
        is_let_in
    }

    /// Lets a core in that has said hello, if it may come in, and connects to it if nothing does: it listens, or it would not
    /// greet. Returns whether it may.
    fn introduce<N: Net>(&mut self, ctx: &mut Context, net: &N, conn: ConnId, hello: &[u8; HELLO_BYTES]) -> bool {
        let Some(PeerConn::Incoming(incoming)) = self.conns.get_mut(conn) else { return false };
        incoming.awaits_admission = false;
        let addr = incoming.addr;
        let Some(link) = self.authenticate(ctx, net, conn, addr, hello) else { return false };
        if let Some(PeerConn::Incoming(incoming)) = self.conns.get_mut(conn) {
            incoming.link = Some(link);
        }
        if let Some(former) = self.accept_inbound(ctx, link, conn) {
            net.close(former);
        }
        if matches!(self.links[link.idx()].state, LinkState::Down { .. }) {
            self.connect(ctx, net, link);
        }
        true
    }

    fn awaits_admission(&self, conn: ConnId) -> bool {
        matches!(self.conns.get(conn), Some(PeerConn::Incoming(incoming)) if incoming.awaits_admission)
    }

    /// Decides whether whoever has connected is let in, and tells it. Returns the link to it.
    fn authenticate<N: Net>(
        &mut self,
        ctx: &mut Context,
        net: &N,
        conn: ConnId,
        addr: SocketAddr,
        hello: &[u8; HELLO_BYTES],
    ) -> Option<LinkId> {
        if let Some(answer) = self.answer_to_formation(ctx, hello) {
            net.send(conn, SendBuf::Plain(answer.encode().to_vec()));
            if answer.code != AnswerCode::FormedSame {
                ctx.counters.peers_refused += 1;
                tracing::warn!(%addr, answer = ?answer.code, "a node without data is told that this cluster is formed");
            }
            return None;
        }
        let (verdict, link) = match Hello::decode(hello) {
            Ok(hello) => match self.verdict_on(ctx, &hello) {
                Some(verdict) => verdict,
                None => {
                    if let Some(PeerConn::Incoming(incoming)) = self.conns.get_mut(conn) {
                        incoming.awaits_admission = true;
                        incoming.deadline = ctx.now + ADMISSION_TIMEOUT;
                    }
                    return None;
                }
            },
            Err(HelloError::Version(_)) => (Verdict::OtherVersion, None),
            Err(error) => {
                ctx.counters.peers_refused += 1;
                tracing::warn!(%addr, %error, "a connection to the peer port is dropped");
                net.close(conn);
                return None;
            }
        };
        net.send(conn, SendBuf::Plain(verdict.encode().to_vec()));
        if verdict != Verdict::Accepted {
            ctx.counters.peers_refused += 1;
            tracing::warn!(%addr, %verdict, "a node is refused");
        }
        link
    }

    /// What to answer to a node that has no data and asks before it forms a cluster; `None` for any other bytes.
    fn answer_to_formation(&self, ctx: &Context, bytes: &[u8; HELLO_BYTES]) -> Option<Answer> {
        let me = ctx.addr().node;
        let code = match Question::decode(bytes) {
            Ok(question) => question.answer_of_formed(me, &ctx.config.config_print, self.hello.cluster_id),
            Err(FormationError::Version(_)) => AnswerCode::OtherVersion,
            Err(_) => return None,
        };
        Some(Answer { from: me, code })
    }

    /// What to answer to a hello; `None` for a node seen for the first time that is not remembered yet.
    fn verdict_on(&mut self, ctx: &Context, hello: &Hello) -> Option<(Verdict, Option<LinkId>)> {
        if hello.cluster_id != self.hello.cluster_id {
            return Some((Verdict::OtherCluster, None));
        }
        if hello.to != ctx.addr() {
            return Some((Verdict::OtherPlace, None));
        }
        let known = self.link_to(hello.from).filter(|_| hello.from.node != ctx.addr().node);
        let Some(link) = known else {
            let is_removed = self.removed.contains(&hello.from.node);
            return Some((if is_removed { Verdict::Removed } else { Verdict::Unknown }, None));
        };
        if hello.map != self.hello.map {
            return Some((Verdict::OtherMap, None));
        }
        match (self.links[link.idx()].incarnation, &ctx.config.remember_peer) {
            (Some(seen), _) if seen != hello.incarnation => return Some((Verdict::OtherIncarnation, None)),
            (Some(_), _) => {}
            // What is forgotten at a crash would let a node in that has lost its votes.
            (None, Some(remember)) => {
                remember.remember(hello.from.node, hello.incarnation);
                return None;
            }
            (None, None) => self.note_incarnation(hello.from.node, hello.incarnation),
        }
        Some((Verdict::Accepted, Some(link)))
    }
}
