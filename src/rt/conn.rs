//! The connections of a core: a table with generations, and what is in flight for each.

use std::io;
use std::os::fd::RawFd;

use host::net::GATHER_COUNT_MAX;
use host::{ConnId, SendBuf};

use crate::sys::RawAddr;

/// Most connections of a core, so that a place fits into what an operation carries.
pub(crate) const CONNS_COUNT_MAX: usize = 1 << 20;

/// Operations of a connection that the kernel holds.
pub(crate) mod pending {
    pub(crate) const RECV: u8 = 1;
    pub(crate) const SEND: u8 = 2;
    pub(crate) const CONNECT: u8 = 4;
    /// The cancellation of all others. It names the descriptor, which may not be used anew before it ended.
    pub(crate) const CANCEL: u8 = 8;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    Connecting,
    Open,
    /// Waits for its operations to end.
    Closing,
    /// Has ended; its place is free again once the engine has seen `Closed`.
    Ended,
}

pub(crate) struct Conn {
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    // -1 while there is none.
    pub(crate) fd: RawFd,
    // Invariant: the connection's descriptor and its send memory are kept until this is 0.
    pub(crate) pending: u8,
    pub(crate) listener: Option<u32>,
    // Whether the engine wants to receive.
    pub(crate) recv_wanted: bool,
    // Whether the other side has ended its stream.
    pub(crate) recv_ended: bool,
    // Whether it waits for a receive buffer.
    pub(crate) starved: bool,
    // Whether the engine has closed it: then it sees nothing more but `Closed`.
    pub(crate) closed_here: bool,
    pub(crate) sending: Option<Sending>,
    pub(crate) error: Option<io::Error>,
    // The address being connected to, for as long as the kernel may read it.
    pub(crate) connect_addr: Option<Box<RawAddr>>,
}

impl Conn {
    fn free(generation: u32) -> Conn {
        Conn {
            generation,
            phase: Phase::Free,
            fd: -1,
            pending: 0,
            listener: None,
            recv_wanted: true,
            recv_ended: false,
            starved: false,
            closed_here: false,
            sending: None,
            error: None,
            connect_addr: None,
        }
    }
}

/// A send under way.
pub(crate) struct Sending {
    pub(crate) buf: SendBuf,
    pub(crate) len: usize,
    // Invariant: sent < len.
    pub(crate) sent: usize,
    // For `SendBuf::Gather`: what the kernel reads to find the parts.
    pub(crate) gather: Option<Box<Gather>>,
    /// The turn of the loop in which it was begun.
    pub(crate) turn: u64,
    /// Whether the loop waits for its end.
    pub(crate) is_awaited: bool,
}

/// The list of parts of a gathering send, in the kernel's form. Boxed, so that it stays where it is.
pub(crate) struct Gather {
    pub(crate) header: libc::msghdr,
    parts: Vec<libc::iovec>,
}

impl Gather {
    pub(crate) fn new() -> Box<Gather> {
        // SAFETY: all zeros is a valid value of this plain C struct: no name, no parts, no control data.
        Box::new(Gather { header: unsafe { std::mem::zeroed() }, parts: Vec::new() })
    }

    /// Describes `parts` from byte `skip` on.
    pub(crate) fn fill(&mut self, parts: &[bytes::Bytes], skip: usize) {
        assert!(parts.len() <= GATHER_COUNT_MAX, "a gathering send has at most {GATHER_COUNT_MAX} parts");
        self.parts.clear();
        let mut skip = skip;
        for part in parts {
            let rest = &part[skip.min(part.len())..];
            skip -= part.len() - rest.len();
            if !rest.is_empty() {
                self.parts.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
            }
        }
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = self.parts.len();
    }
}

/// All connections of a core.
#[derive(Default)]
pub(crate) struct Conns {
    places: Vec<Conn>,
    free: Vec<u32>,
}

impl Conns {
    /// A new connection, or `None` if the table is full.
    pub(crate) fn insert(&mut self, phase: Phase, fd: RawFd) -> Option<ConnId> {
        let idx = match self.free.pop() {
            Some(idx) => idx,
            None if self.places.len() < CONNS_COUNT_MAX => {
                self.places.push(Conn::free(0));
                self.places.len() as u32 - 1
            }
            None => return None,
        };
        let conn = &mut self.places[idx as usize];
        assert_eq!(conn.phase, Phase::Free, "a place on the free list is free");
        conn.phase = phase;
        conn.fd = fd;
        Some(ConnId { idx, generation: conn.generation })
    }

    /// The connection with this id, unless the id is stale.
    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        let conn = self.places.get_mut(id.idx as usize)?;
        (conn.generation == id.generation && conn.phase != Phase::Free).then_some(conn)
    }

    /// The id of what is in a place now, if the low bits of its generation are these, else a stale id.
    pub(crate) fn id_at(&self, idx: u32, generation_low: u32) -> ConnId {
        let generation = self.places[idx as usize].generation;
        let same = generation & 0x00FF_FFFF == generation_low;
        ConnId { idx, generation: if same { generation } else { generation.wrapping_sub(1) } }
    }

    /// Frees the place of a connection that has ended.
    pub(crate) fn remove(&mut self, id: ConnId) {
        let conn = &mut self.places[id.idx as usize];
        assert!(conn.generation == id.generation && conn.phase == Phase::Ended, "only what has ended is removed");
        *conn = Conn::free(id.generation.wrapping_add(1));
        self.free.push(id.idx);
    }

    /// The ids of all connections that are in use.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        let used = self.places.iter().enumerate().filter(|(_, conn)| conn.phase != Phase::Free);
        used.map(|(idx, conn)| ConnId { idx: idx as u32, generation: conn.generation }).collect()
    }
}
