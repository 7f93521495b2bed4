//! Listeners and connections in the core's ring.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::time::Duration;

use host::{ConnId, ListenerId, NetEvent, SendBuf};
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{opcode, squeue};
use types::Instant;

use crate::clock;
use crate::conn::{Conn, Gather, Phase, Sending, pending};
use crate::listener::Listener;
use crate::reactor::{BUFFER_GROUP, Kind, Reactor, conn_tag, tag};
use crate::ring::Completion;
use crate::sys::{self, RawAddr};

/// How long accepting pauses when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two log lines about that.
const ACCEPT_WARN_INTERVAL: Duration = Duration::from_secs(1);
/// Longest part of a send that is handed over in one operation.
const SEND_BYTES_MAX: usize = 1 << 30;

impl Reactor {
    pub(crate) fn listen(
        &mut self,
        addr: SocketAddr,
        is_shared: bool,
        conns_count_max: usize,
        refusal: &'static [u8],
    ) -> io::Result<ListenerId> {
        let fd = sys::listener(addr, is_shared, self.listen_backlog_max)?;
        self.listeners.push(Listener {
            fd,
            conns_count: 0,
            conns_count_max,
            refusal,
            refused_count: 0,
            armed: false,
            closing: false,
            retry_at: None,
            warned_at: Instant::ZERO,
        });
        let idx = self.listeners.len() as u32 - 1;
        self.arm_accept(idx);
        Ok(ListenerId(idx))
    }

    pub(crate) fn unlisten(&mut self, idx: u32) {
        let Some(listener) = self.listeners.get_mut(idx as usize) else { return };
        if listener.closing {
            return;
        }
        listener.closing = true;
        listener.retry_at = None;
        if listener.armed {
            // As for connections: the shutdown ends what a cancellation can miss.
            sys::shutdown(listener.fd);
            let entry = opcode::AsyncCancel::new(tag(Kind::Accept, idx, 0)).build();
            // SAFETY: the entry names no memory.
            unsafe { self.push(entry, tag(Kind::CancelAccept, idx, 0)) };
        } else {
            sys::close(listener.fd);
        }
    }

    pub(crate) fn limit_conns(&mut self, idx: u32, conns_count_max: usize) {
        if let Some(listener) = self.listeners.get_mut(idx as usize) {
            listener.conns_count_max = conns_count_max;
        }
    }

    pub(crate) fn refused_count(&self, idx: u32) -> u64 {
        self.listeners.get(idx as usize).map_or(0, |listener| listener.refused_count)
    }

    fn arm_accept(&mut self, idx: u32) {
        let listener = &mut self.listeners[idx as usize];
        assert!(!listener.armed && !listener.closing, "one accept at a time, none once closing");
        listener.armed = true;
        listener.retry_at = None;
        let entry = opcode::AcceptMulti::new(Fd(listener.fd)).flags(libc::SOCK_CLOEXEC).build();
        self.net_in_flight_count += 1;
        // SAFETY: the descriptor is closed only after the accept has ended.
        unsafe { self.push(entry, tag(Kind::Accept, idx, 0)) };
    }

    pub(crate) fn accept_completed(&mut self, idx: u32, completion: Completion) {
        if completion.result >= 0 {
            self.accepted(idx, completion.result);
        }
        if completion.more() {
            return;
        }
        self.net_in_flight_count -= 1;
        let listener = &mut self.listeners[idx as usize];
        listener.armed = false;
        if listener.closing {
            sys::close(listener.fd);
            return;
        }
        let short = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
        if !short.contains(&-completion.result) {
            // Something about the one connection, or the kernel's own limit on repetition.
            self.arm_accept(idx);
            return;
        }
        let now = clock::now();
        let retry_at = now + ACCEPT_PAUSE;
        listener.retry_at = Some(retry_at);
        if now >= listener.warned_at + ACCEPT_WARN_INTERVAL || listener.warned_at == Instant::ZERO {
            listener.warned_at = now;
            let error = completion.error();
            tracing::warn!(%error, "cannot accept connections for now; raise the limit of open files (ulimit -n)");
        }
        self.accept_retry_at = self.accept_retry_at.min(retry_at);
        self.stats.accept_pauses_count += 1;
    }

    /// Lets listeners that have paused long enough accept again.
    pub(crate) fn retry_accepts(&mut self, now: Instant) {
        if self.accept_retry_at > now {
            return;
        }
        self.accept_retry_at = Instant::NEVER;
        for idx in 0..self.listeners.len() {
            match self.listeners[idx].retry_at {
                Some(at) if at <= now => self.arm_accept(idx as u32),
                Some(at) => self.accept_retry_at = self.accept_retry_at.min(at),
                None => {}
            }
        }
    }

    fn accepted(&mut self, idx: u32, fd: RawFd) {
        let listener = &mut self.listeners[idx as usize];
        if listener.closing {
            sys::close(fd);
            return;
        }
        if listener.conns_count >= listener.conns_count_max {
            self.stats.refused_count += 1;
            listener.refused_count += 1;
            sys::refuse(fd, listener.refusal);
            return;
        }
        // A connection that was reset already has no peer.
        let Ok(peer) = sys::peer_addr(fd) else {
            sys::close(fd);
            return;
        };
        let Some(id) = self.conns.insert(Phase::Open, fd) else {
            self.stats.refused_count += 1;
            listener.refused_count += 1;
            sys::refuse(fd, listener.refusal);
            return;
        };
        listener.conns_count += 1;
        if let Some(conn) = self.conns.get(id) {
            conn.listener = Some(idx);
        }
        self.ready.push_back(NetEvent::Accepted { conn: id, listener: ListenerId(idx), peer });
        self.arm_recv(id);
    }

    pub(crate) fn connect(&mut self, from: IpAddr, to: SocketAddr) -> ConnId {
        let fd = sys::connector(from);
        let id = self.conns.insert(Phase::Connecting, *fd.as_ref().unwrap_or(&-1));
        let id = id.expect("fewer connections are opened from here than the table holds");
        let conn = self.conns.get(id).expect("it was just inserted");
        if let Err(error) = fd {
            self.begin_close(id, Some(error));
            return id;
        }
        let addr = Box::new(RawAddr::new(to));
        let entry = opcode::Connect::new(Fd(conn.fd), addr.as_ptr(), addr.len()).build();
        conn.connect_addr = Some(addr);
        conn.pending |= pending::CONNECT;
        self.net_in_flight_count += 1;
        // SAFETY: the connection keeps address and descriptor until the operation has ended.
        unsafe { self.push(entry, conn_tag(Kind::Connect, id)) };
        id
    }

    pub(crate) fn connect_completed(&mut self, idx: u32, generation: u32, completion: Completion) {
        let id = self.operation_ended(idx, generation, pending::CONNECT);
        let conn = self.conns.get(id).expect("its operation has just ended");
        conn.connect_addr = None;
        if conn.phase == Phase::Closing {
            self.finish_close(id);
        } else if completion.result < 0 {
            self.begin_close(id, Some(completion.error()));
        } else {
            conn.phase = Phase::Open;
            self.ready.push_back(NetEvent::Connected { conn: id });
            self.arm_recv(id);
        }
    }

    // Receiving.

    fn arm_recv(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        let idle = conn.pending & pending::RECV == 0 && !conn.starved;
        if conn.phase != Phase::Open || !conn.recv_wanted || conn.recv_ended || !idle {
            return;
        }
        conn.pending |= pending::RECV;
        let entry = opcode::RecvMulti::new(Fd(conn.fd), BUFFER_GROUP).build();
        self.net_in_flight_count += 1;
        // SAFETY: the connection keeps its descriptor until the operation has ended, and the reactor the buffers.
        unsafe { self.push(entry, conn_tag(Kind::Recv, id)) };
    }

    pub(crate) fn recv_completed(&mut self, idx: u32, generation: u32, completion: Completion) {
        let id = if completion.more() {
            self.full_id(idx, generation)
        } else {
            self.operation_ended(idx, generation, pending::RECV)
        };
        let len = completion.result;
        let buf = completion.buffer().map(|buffer| self.pool.lend(buffer, len.max(0) as usize));
        let conn = self.conns.get(id).expect("it has an operation, so its place is in use");
        if conn.phase == Phase::Closing {
            if !completion.more() {
                self.finish_close(id);
            }
            return;
        }
        match (len, buf) {
            (1.., Some(buf)) => self.ready.push_back(NetEvent::Received { conn: id, buf }),
            (0, _) => {
                conn.recv_ended = true;
                self.ready.push_back(NetEvent::ReceiveEnded { conn: id });
            }
            _ => match -len {
                libc::ENOBUFS => {
                    conn.starved = true;
                    self.starved.push_back(id);
                    self.stats.starved_count += 1;
                }
                libc::ECANCELED | libc::EAGAIN | libc::EINTR => {}
                _ => return self.begin_close(id, Some(completion.error())),
            },
        }
        if !completion.more() {
            self.arm_recv(id);
        }
    }

    /// Lets as many starved connections receive again as there are idle buffers, the longest waiting first.
    pub(crate) fn feed_starved(&mut self) {
        let count = self.starved.len().min(self.pool.idle_count());
        for _ in 0..count {
            let Some(id) = self.starved.pop_front() else { return };
            if let Some(conn) = self.conns.get(id) {
                conn.starved = false;
                self.arm_recv(id);
            }
        }
    }

    pub(crate) fn recv_pause(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        if !conn.recv_wanted {
            return;
        }
        conn.recv_wanted = false;
        if conn.phase == Phase::Open && conn.pending & pending::RECV != 0 {
            self.cancel_recv(id);
        }
    }

    pub(crate) fn recv_resume(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        conn.recv_wanted = true;
        self.arm_recv(id);
    }

    fn cancel_recv(&mut self, id: ConnId) {
        let entry = opcode::AsyncCancel::new(conn_tag(Kind::Recv, id)).build();
        // SAFETY: the entry names no memory.
        unsafe { self.push(entry, conn_tag(Kind::CancelRecv, id)) };
    }

    pub(crate) fn cancel_recv_completed(&mut self, idx: u32, generation: u32) {
        // The receive may have been between two places of the kernel and so have been missed: try again.
        let id = self.full_id(idx, generation);
        if let Some(conn) = self.conns.get(id)
            && conn.phase == Phase::Open
            && !conn.recv_wanted
            && conn.pending & pending::RECV != 0
        {
            self.cancel_recv(id);
        }
    }

    // Sending.

    pub(crate) fn send(&mut self, id: ConnId, buf: SendBuf) {
        let turn = self.turn();
        let Some(conn) = self.conns.get(id) else { return };
        if conn.phase != Phase::Open {
            return;
        }
        assert!(conn.sending.is_none(), "one send at a time per connection: connection {id} has one under way");
        let len = buf.len();
        if len == 0 {
            // Nothing to wait for: the loop hears of it at once.
            self.push_sent(id, buf, 0);
            return;
        }
        let gather = match &buf {
            SendBuf::Plain(_) => None,
            SendBuf::Gather(_) => Some(self.gathers.pop().unwrap_or_else(Gather::new)),
        };
        conn.sending = Some(Sending { buf, len, sent: 0, gather, turn, is_awaited: false });
        self.push_send(id);
    }

    /// The loop waits for the end of the send that is under way.
    pub(crate) fn wake_when_sent(&mut self, id: ConnId) {
        if let Some(sending) = self.conns.get(id).and_then(|conn| conn.sending.as_mut()) {
            sending.is_awaited = true;
        }
    }

    fn push_send(&mut self, id: ConnId) {
        let conn = self.conns.get(id).expect("callers have just looked it up");
        let entry = send_entry(conn);
        conn.pending |= pending::SEND;
        self.net_in_flight_count += 1;
        // SAFETY: the connection keeps descriptor, buffers and their list until the operation has ended.
        unsafe { self.push(entry, conn_tag(Kind::Send, id)) };
    }

    pub(crate) fn send_completed(&mut self, idx: u32, generation: u32, completion: Completion) {
        let id = self.operation_ended(idx, generation, pending::SEND);
        let conn = self.conns.get(id).expect("its operation has just ended");
        if conn.phase == Phase::Closing {
            return self.finish_close(id);
        }
        let sending = conn.sending.as_mut().expect("kept until its operation has ended");
        match completion.result {
            1.. => sending.sent += completion.result as usize,
            0 => return self.begin_close(id, Some(io::ErrorKind::WriteZero.into())),
            _ if [libc::EINTR, libc::EAGAIN].contains(&-completion.result) => {}
            _ => return self.begin_close(id, Some(completion.error())),
        }
        assert!(sending.sent <= sending.len, "the kernel sends no more than it was given");
        if sending.sent < sending.len {
            self.stats.partial_sends_count += 1;
            return self.push_send(id);
        }
        if let Some(Sending { buf, gather, turn, is_awaited, .. }) = conn.sending.take() {
            self.recycle(gather);
            self.push_sent(id, buf, if is_awaited { 0 } else { turn });
        }
    }

    /// What the other side has confirmed, as the kernel counts it: a send that is under way reports nothing in between.
    pub(crate) fn acked_bytes(&mut self, id: ConnId) -> u64 {
        let Some(conn) = self.conns.get(id) else { return 0 };
        // A socket that is no TCP connection any more has confirmed all that it ever will.
        if conn.phase == Phase::Open { sys::acked_bytes(conn.fd).unwrap_or(0) } else { 0 }
    }

    // Closing.

    pub(crate) fn close(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        conn.closed_here = true;
        self.begin_close(id, None);
    }

    /// Ends a connection: first what is in flight, then itself.
    fn begin_close(&mut self, id: ConnId, error: Option<io::Error>) {
        let Some(conn) = self.conns.get(id) else { return };
        if !matches!(conn.phase, Phase::Connecting | Phase::Open) {
            return;
        }
        conn.phase = Phase::Closing;
        conn.error = error;
        if conn.pending != 0 {
            // Either alone would do nearly always. The shutdown also ends what a cancellation can miss while it
            // moves between two places of the kernel.
            sys::shutdown(conn.fd);
            conn.pending |= pending::CANCEL;
            let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(conn.fd)).all()).build();
            self.net_in_flight_count += 1;
            // SAFETY: the descriptor is kept until the cancellation has ended.
            unsafe { self.push(entry, conn_tag(Kind::CancelConn, id)) };
        }
        self.finish_close(id);
    }

    pub(crate) fn cancel_completed(&mut self, idx: u32, generation: u32) {
        let id = self.operation_ended(idx, generation, pending::CANCEL);
        self.finish_close(id);
    }

    /// Reports the end of a closing connection if nothing of it is in flight any more.
    fn finish_close(&mut self, id: ConnId) {
        let conn = self.conns.get(id).expect("a closing connection keeps its place");
        assert_eq!(conn.phase, Phase::Closing, "connection {id} has begun to close");
        if conn.pending != 0 {
            return;
        }
        conn.phase = Phase::Ended;
        if conn.fd >= 0 {
            sys::discard_received(conn.fd);
            sys::close(conn.fd);
            conn.fd = -1;
        }
        let error = conn.error.take();
        let sending = conn.sending.take();
        if let Some(listener) = conn.listener {
            self.listeners[listener as usize].conns_count -= 1;
        }
        if let Some(sending) = sending {
            self.recycle(sending.gather);
        }
        self.ready.push_back(NetEvent::Closed { conn: id, error });
    }

    /// The id of the connection that an operation belongs to. Its place is not used anew while an operation
    /// that counts is in flight; for others the caller checks.
    fn full_id(&mut self, idx: u32, generation: u32) -> ConnId {
        self.conns.id_at(idx, generation)
    }

    fn operation_ended(&mut self, idx: u32, generation: u32, bit: u8) -> ConnId {
        let id = self.full_id(idx, generation);
        let conn = self.conns.get(id).expect("a place is kept until its operations have ended");
        assert!(conn.pending & bit != 0, "an operation ends once");
        conn.pending &= !bit;
        self.net_in_flight_count -= 1;
        id
    }
}

/// The operation that sends what is left of a connection's send.
fn send_entry(conn: &mut Conn) -> squeue::Entry {
    // With MSG_WAITALL the kernel itself goes on after a partial send.
    let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    let sending = conn.sending.as_mut().expect("callers have set it");
    match &sending.buf {
        SendBuf::Plain(bytes) => {
            let rest = &bytes[sending.sent..];
            let len = rest.len().min(SEND_BYTES_MAX) as u32;
            opcode::Send::new(Fd(conn.fd), rest.as_ptr(), len).flags(flags).build()
        }
        SendBuf::Gather(parts) => {
            let gather = sending.gather.as_mut().expect("a gathering send has its list");
            gather.fill(parts, sending.sent);
            opcode::SendMsg::new(Fd(conn.fd), &raw const gather.header).flags(flags as u32).build()
        }
    }
}
