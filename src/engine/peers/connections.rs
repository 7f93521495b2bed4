//! Connections to and from other cores: making them, keeping them alive, losing them.

use std::net::SocketAddr;
use std::time::Duration;

use host::{ConnId, Net, SendBuf};
use types::{CoreAddr, Instant};
use wire::{Frame, Hello, Verdict};

use crate::budget::Pool;
use crate::context::Context;
use crate::origin::LinkId;
use crate::peers::assembler::FrameAssembler;
use crate::peers::link::{HELLO_TIMEOUT, LinkState, Received};
use crate::peers::{Incoming, PeerConn, PeerEvent, Peers};

impl Peers {
    /// Another core has connected, or whoever it is.
    pub(crate) fn accept(&mut self, ctx: &Context, conn: ConnId, addr: SocketAddr) {
        let incoming = Incoming {
            addr,
            link: None,
            hello: Vec::new(),
            awaits_admission: false,
            assembler: FrameAssembler::default(),
            permit: ctx.budget.permit(Pool::Links),
            deadline: ctx.now + HELLO_TIMEOUT,
        };
        self.conns.insert(conn, PeerConn::Incoming(Box::new(incoming)));
    }

    /// A connection that this core has begun stands.
    pub(crate) fn connected<N: Net>(&mut self, net: &N, conn: ConnId) {
        let Some(PeerConn::Outgoing(link)) = self.conns.get(conn) else { return };
        let link = &mut self.links[link.idx()];
        let hello = Hello { to: link.to, ..self.hello };
        link.is_sending = true;
        net.send(conn, SendBuf::Plain(hello.encode().to_vec()));
    }

    /// Bytes have arrived. Returns the next frame that they complete, and who sent it; call it again with the rest of
    /// `bytes` until it returns `None`.
    pub(crate) fn next_frame<N: Net>(
        &mut self,
        ctx: &mut Context,
        net: &N,
        conn: ConnId,
        bytes: &mut &[u8],
    ) -> Option<(LinkId, Frame)> {
        if let Some(PeerConn::Outgoing(link)) = self.conns.get(conn) {
            let link = *link;
            if !bytes.is_empty() {
                self.on_verdict(ctx, net, link, conn, std::mem::take(bytes));
            }
            return None;
        }
        if !self.take_hello(ctx, net, conn, bytes) {
            return None;
        }
        let Some(PeerConn::Incoming(incoming)) = self.conns.get_mut(conn) else { return None };
        let link = incoming.link?;
        if self.links[link.idx()].inbound != Some(conn) {
            return None;
        }
        let next = incoming.assembler.next(bytes);
        incoming.permit.set(incoming.assembler.bytes());
        match next {
            Ok(frame) => {
                let frame = frame?;
                ctx.counters.frames_received += 1;
                self.has_keep_alives |= frame.is_empty();
                self.heard(ctx, link);
                Some((link, frame))
            }
            Err(error) => {
                ctx.counters.frames_refused += 1;
                tracing::warn!(addr = %incoming.addr, %error, "a peer's frame is refused and its connection dropped");
                net.close(conn);
                None
            }
        }
    }

    fn on_verdict<N: Net>(&mut self, ctx: &Context, net: &N, id: LinkId, conn: ConnId, bytes: &[u8]) {
        let link = &mut self.links[id.idx()];
        match link.received(bytes) {
            Received::More => {}
            Received::Up => {
                link.up_since_ms = ctx.unix_ms;
                tracing::debug!(to = %link.to, "link up");
                // The core there takes nothing to be certain before it has heard of this one.
                self.next_due = ctx.now;
                self.events.push(PeerEvent::Up(id));
                self.events.push(PeerEvent::Changed(id));
            }
            Received::Refused(verdict) => {
                self.is_told_removed |= verdict == Verdict::Removed;
                tracing::error!(to = %link.to, %verdict, "a peer has refused this node");
                net.close(conn);
            }
            Received::Nonsense => net.close(conn),
        }
    }

    /// A frame has come from another core.
    pub(crate) fn heard(&mut self, ctx: &Context, id: LinkId) {
        let link = &mut self.links[id.idx()];
        link.heard_at = ctx.now;
        if std::mem::take(&mut link.is_noted_silent) {
            self.events.push(PeerEvent::HeardAgain(id));
        }
        if !std::mem::replace(&mut link.is_heard, true) {
            self.events.push(PeerEvent::Changed(id));
        }
    }

    /// A core has connected and is let in. Returns its former connection: of one whose other end is gone, cut off or
    /// powered down, nothing is heard any more, and each such one would take a place for ever.
    pub(super) fn accept_inbound(&mut self, ctx: &Context, id: LinkId, conn: ConnId) -> Option<ConnId> {
        let link = &mut self.links[id.idx()];
        link.is_heard = false;
        link.inbound_since_ms = ctx.unix_ms;
        let former = link.inbound.replace(conn);
        if former.is_some() {
            self.events.push(PeerEvent::AnswersLost(id));
        }
        former
    }

    /// The other side has sent its last byte, or a whole buffer has left.
    pub(crate) fn receive_ended<N: Net>(&self, net: &N, conn: ConnId) {
        if self.conns.get(conn).is_some() {
            net.close(conn);
        }
    }

    /// A whole buffer was handed to the network.
    pub(crate) fn sent(&mut self, conn: ConnId, buf: SendBuf) {
        let Some(PeerConn::Outgoing(link)) = self.conns.get(conn) else { return };
        let link = *link;
        self.links[link.idx()].sent(buf);
        // There may be more, here or with the router.
        self.mark(link);
    }

    /// A connection has ended.
    pub(crate) fn closed(&mut self, ctx: &Context, conn: ConnId, error: Option<std::io::Error>) {
        match self.conns.remove(conn) {
            Some(PeerConn::Outgoing(id)) => {
                let reason = error.map_or_else(|| "closed".to_owned(), |error| error.to_string());
                let link = &mut self.links[id.idx()];
                if link.state == LinkState::Removed {
                    return;
                }
                let was_up = link.is_up();
                if link.closed(ctx.now, &reason) && !ctx.is_stopping {
                    tracing::info!(to = %link.to, reason, "no link to a peer");
                }
                self.next_due = self.next_due.min(link.due(&ctx.config));
                self.events.push(PeerEvent::Down { link: id, was_up });
            }
            Some(PeerConn::Incoming(incoming)) => {
                tracing::debug!(addr = %incoming.addr, "a peer's connection has ended");
                let Some(id) = incoming.link else { return };
                let link = &mut self.links[id.idx()];
                if link.inbound == Some(conn) {
                    link.is_heard = false;
                    link.inbound = None;
                    self.events.push(PeerEvent::AnswersLost(id));
                }
            }
            None => {}
        }
    }

    /// Connects what is due, gives up on what takes too long, and lets the cores of other nodes know that this one is there,
    /// where nothing else has told them for `keep_alive_after`: quiescent groups rely on it. Returns the cores that have
    /// fallen silent since the last call.
    pub(crate) fn tick<N: Net>(&mut self, ctx: &Context, net: &N, keep_alive_after: Duration) -> Vec<CoreAddr> {
        let mut silent = Vec::new();
        self.next_due = Instant::NEVER;
        for id in self.ids() {
            let link = &mut self.links[id.idx()];
            match link.state {
                LinkState::Mesh | LinkState::Removed => continue,
                LinkState::Down { retry_at } if retry_at <= ctx.now => self.connect(ctx, net, id),
                LinkState::Connecting { conn, deadline } if deadline <= ctx.now => net.close(conn),
                LinkState::Up { .. } if !link.is_sending && ctx.now.since(link.sent_at) >= keep_alive_after => {
                    // An empty frame says it.
                    link.is_keep_alive_due = true;
                    self.mark(id);
                }
                _ => {}
            }
            let link = &mut self.links[id.idx()];
            if link.is_silent(ctx.now, ctx.config.silence_max())
                && !std::mem::replace(&mut link.is_noted_silent, true)
            {
                silent.push(link.to);
            }
            self.next_due = self.next_due.min(link.due(&ctx.config));
        }
        self.close_late(ctx, net);
        silent
    }

    /// Begins a connection over a link.
    pub(super) fn connect<N: Net>(&mut self, ctx: &Context, net: &N, id: LinkId) {
        let link = &mut self.links[id.idx()];
        let conn = net.connect(ctx.config.node().host, link.addr);
        link.connecting(conn, ctx.now);
        self.conns.insert(conn, PeerConn::Outgoing(id));
    }

    /// Closes connections of peers that do not introduce themselves.
    fn close_late<N: Net>(&self, ctx: &Context, net: &N) {
        for (conn, peer) in self.conns.iter() {
            if let PeerConn::Incoming(incoming) = peer
                && incoming.link.is_none()
                && incoming.deadline <= ctx.now
            {
                net.close(conn);
            }
        }
    }
}
