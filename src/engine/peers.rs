//! Connections to and from the cores of other nodes.

use std::net::SocketAddr;

use host::{ConnId, SendBuf};
use types::CoreAddr;
use wire::{HELLO_BYTES, Hello, HelloError, Verdict};

use crate::core::{Core, CoreHost};
use crate::links::Received;
use crate::outlets::Conn;

impl<H: CoreHost> Core<H> {
    /// Connects the links that are due.
    pub(crate) fn tick_links(&mut self) {
        let Some(node) = self.config.map.node(self.place().node) else { return };
        for (link, conn) in self.out.links.tick(&self.host, node.host, self.now) {
            self.out.conns.insert(conn, Conn::Link(link));
        }
    }

    /// The client address of a core, for MOVED.
    pub(crate) fn core_addr(&self, place: CoreAddr) -> SocketAddr {
        let node = self.config.map.node(place.node).expect("routes lead to places of the map");
        node.core_addr(place.core)
    }

    pub(crate) fn on_connected(&mut self, conn: ConnId) {
        let Some(Conn::Link(link)) = self.out.conns.get_mut(conn) else { return };
        let link = *link;
        let hello = Hello { to: self.out.links.get(link).place, ..self.hello };
        self.out.links.greet(link, &self.host, conn, &hello);
    }

    pub(crate) fn on_link_bytes(&mut self, link: u32, conn: ConnId, bytes: &[u8]) {
        match self.out.links.received(link, bytes) {
            Received::More => {}
            Received::Up => {
                let notes = self.led_notes();
                self.out.links.brief(link, notes.into_iter());
                tracing::debug!(to = %self.out.links.get(link).place, "link up");
            }
            Received::Refused(verdict) => {
                let to = self.out.links.get(link).place;
                tracing::error!(%to, %verdict, "a peer has refused this node");
                self.host.close(conn);
            }
            Received::Nonsense => self.host.close(conn),
        }
    }

    pub(crate) fn on_link_closed(&mut self, link: u32, reason: &str) {
        let was_up = self.out.links.get(link).is_up();
        let to = self.out.links.get(link).place;
        if self.out.links.closed(link, self.now, reason) && !self.is_stopping() {
            tracing::info!(%to, reason, "no link to a peer");
        }
        if was_up {
            for group in &mut self.groups {
                let lost = group.places.iter().find(|(_, place)| **place == to).map(|(id, _)| *id);
                if let Some(id) = lost {
                    group.raft.peer_unreachable(id);
                }
                if group.follows_one_of(&[to]) {
                    group.raft.wake(self.now);
                }
            }
        }
        self.fail_forwards(link);
    }

    /// A connection that another core has made has ended: replies that were under way are lost.
    pub(crate) fn on_peer_closed(&mut self, link: u32, conn: ConnId) {
        if self.out.links.inbound_ended(link, conn) {
            self.fail_forwards(link);
        }
    }

    /// Bytes on a connection that another core has made: its greeting, then frames.
    pub(crate) fn on_peer_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut rest = bytes;
        let Some(Conn::Peer(peer)) = self.out.conns.get_mut(conn) else { return };
        if peer.link.is_none() {
            if peer.hello.len() == HELLO_BYTES {
                // Refused: the connection is closed once the verdict is sent, and nothing behind it is looked at.
                return;
            }
            let missing = HELLO_BYTES - peer.hello.len();
            let (head, behind) = rest.split_at(missing.min(rest.len()));
            peer.hello.extend_from_slice(head);
            rest = behind;
            let Some(hello) = peer.hello.first_chunk::<HELLO_BYTES>().copied() else { return };
            let addr = peer.addr;
            let Some(link) = self.judge(conn, addr, &hello) else { return };
            if let Some(former) = self.out.links.let_in(link, conn) {
                self.host.close(former);
                self.fail_forwards(link);
            }
            let Some(Conn::Peer(peer)) = self.out.conns.get_mut(conn) else { return };
            peer.link = Some(link);
        }
        loop {
            let Some(Conn::Peer(peer)) = self.out.conns.get_mut(conn) else { return };
            let (Some(link), addr) = (peer.link, peer.addr) else { return };
            if !self.out.links.is_inbound(link, conn) {
                return;
            }
            match peer.assembler.next(&mut rest) {
                Ok(Some(frame)) => self.on_frame(link, frame),
                Ok(None) => return,
                Err(error) => {
                    self.stats.frames_refused += 1;
                    tracing::warn!(%addr, %error, "a peer's frame is refused and its connection dropped");
                    return self.host.close(conn);
                }
            }
        }
    }

    /// Decides whether whoever has connected is let in, and tells it. Returns the link to it.
    fn judge(&mut self, conn: ConnId, addr: SocketAddr, hello: &[u8; HELLO_BYTES]) -> Option<u32> {
        let (verdict, link) = match Hello::decode(hello) {
            Ok(hello) => match self.verdict_on(&hello) {
                Some(verdict) => verdict,
                None => {
                    // It comes again in a moment, and then it is known.
                    self.host.close(conn);
                    return None;
                }
            },
            Err(HelloError::Version(_)) => (Verdict::OtherVersion, None),
            Err(error) => {
                self.stats.peers_refused += 1;
                tracing::warn!(%addr, %error, "a connection to the peer port is dropped");
                self.host.close(conn);
                return None;
            }
        };
        self.host.send(conn, SendBuf::Plain(verdict.encode().to_vec()));
        if verdict != Verdict::Accepted {
            self.stats.peers_refused += 1;
            tracing::warn!(%addr, %verdict, "a node is refused");
        }
        link
    }

    /// What to answer to a greeting; `None` for a node seen for the first time that is not remembered yet.
    fn verdict_on(&mut self, hello: &Hello) -> Option<(Verdict, Option<u32>)> {
        if hello.cluster_id != self.hello.cluster_id {
            return Some((Verdict::OtherCluster, None));
        }
        if hello.to != self.place() {
            return Some((Verdict::OtherPlace, None));
        }
        let known = self.out.links.to(hello.from).filter(|_| hello.from.node != self.place().node);
        let Some(link) = known else { return Some((Verdict::Unknown, None)) };
        if hello.map != self.hello.map {
            return Some((Verdict::OtherMap, None));
        }
        match (self.out.links.get(link).incarnation, &self.config.acquaint) {
            (Some(seen), _) if seen != hello.incarnation => return Some((Verdict::OtherIncarnation, None)),
            (Some(_), _) => {}
            // What is forgotten at a crash would let a node in that has lost its votes.
            (None, Some(acquaint)) => {
                acquaint.remember(hello.from.node, hello.incarnation);
                return None;
            }
            (None, None) => self.out.links.acquaint(hello.from.node, hello.incarnation),
        }
        Some((Verdict::Accepted, Some(link)))
    }
}
