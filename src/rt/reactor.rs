//! What a core has in its ring, and what became of it: the table of connections, listeners and file
//! operations, and the queues of events.

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::task::Waker;

use host::{ConnId, IoSchedule, NetEvent, ReadPool, SendBuf, WriteDone};
use io_uring::{opcode, squeue, types as uring};
use types::Instant;

use crate::config::Config;
use crate::conn::{Conns, Gather};
use crate::error::Error;
use crate::listener::Listener;
use crate::ops::{Op, Ops};
use crate::pool::{BufPool, RecvBuf};
use crate::ring::{Completion, Ring};

pub(crate) type Event = NetEvent<RecvBuf>;

/// The group of the core's receive buffers; a ring has only this one.
pub(crate) const BUFFER_GROUP: u16 = 0;

/// Counters of rare and of costly paths, since the start of the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// System calls that submit or wait.
    pub enters_count: u64,
    /// Operations that the kernel has completed.
    pub completions_count: u64,
    /// Operations that did not fit in the submission queue at once.
    pub submission_full_count: u64,
    /// Calls refused because completions had piled up.
    pub overflows_count: u64,
    /// Connections that stopped receiving for want of a buffer.
    pub starved_count: u64,
    /// Sends that the kernel took only in part at first.
    pub partial_sends_count: u64,
    /// Accepting paused because descriptors or memory were short.
    pub accept_pauses_count: u64,
    /// Connections refused because their listener was full.
    pub refused_count: u64,
    /// Waits in which the core slept.
    pub sleeps_count: u64,
    /// Reads, writes and syncs that waited for their turn.
    pub transfers_queued_count: u64,
}

/// What an operation was for; the top byte of what it carries. The next three bytes hold the low bits of
/// the generation, the rest the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Recv = 1,
    Send = 2,
    Connect = 3,
    CancelConn = 4,
    CancelRecv = 5,
    Accept = 6,
    CancelAccept = 7,
    File = 8,
    Wake = 9,
}

impl Kind {
    fn of(user_data: u64) -> Kind {
        match (user_data >> 56) as u8 {
            1 => Kind::Recv,
            2 => Kind::Send,
            3 => Kind::Connect,
            4 => Kind::CancelConn,
            5 => Kind::CancelRecv,
            6 => Kind::Accept,
            7 => Kind::CancelAccept,
            8 => Kind::File,
            9 => Kind::Wake,
            other => unreachable!("operation of kind {other}: every operation is marked with a Kind"),
        }
    }
}

const GENERATION_MASK: u32 = 0x00FF_FFFF;

pub(crate) fn tag(kind: Kind, idx: u32, generation: u32) -> u64 {
    u64::from(kind as u8) << 56 | u64::from(generation & GENERATION_MASK) << 32 | u64::from(idx)
}

pub(crate) fn conn_tag(kind: Kind, id: ConnId) -> u64 {
    tag(kind, id.idx, id.generation)
}

pub(crate) struct Reactor {
    pub(crate) ring: Ring,
    // Dropped after the ring, which uses it.
    pub(crate) pool: Rc<BufPool>,
    pub(crate) conns: Conns,
    pub(crate) listeners: Vec<Listener>,
    /// Connections that wait for a receive buffer, the longest waiting first.
    pub(crate) starved: VecDeque<ConnId>,
    pub(crate) ready: VecDeque<Event>,
    /// How many of `ready` can wait for something else to end the park: the ends of sends begun in the turn
    /// before it, unless the loop has said that it waits for them.
    quiet_count: usize,
    /// Number of the current turn of the loop.
    turn: u64,
    pub(crate) writes_done: VecDeque<WriteDone>,
    pub(crate) ops: Ops,
    /// The transfers among `ops` that wait for their turn.
    pub(crate) schedule: IoSchedule<u32>,
    pub(crate) read_pool: Rc<ReadPool>,
    /// Tasks whose operation has ended, to be woken when nothing of the reactor is borrowed.
    pub(crate) woken: Vec<Waker>,
    #[expect(clippy::vec_box, reason = "the kernel knows where each one lies, so they move as boxes only")]
    pub(crate) gathers: Vec<Box<Gather>>,
    /// When a listener that paused tries again.
    pub(crate) accept_retry_at: Instant,
    pub(crate) listen_backlog_max: u32,
    pub(crate) stats: Stats,
    /// Operations of connections and listeners that the kernel holds.
    pub(crate) net_in_flight_count: usize,
    completions: Vec<Completion>,
    eventfd: i32,
}

/// Most descriptions of gathering sends that are kept for use again.
const GATHERS_KEPT_COUNT_MAX: usize = 64;

impl Reactor {
    /// Must run on the core's own thread.
    pub(crate) fn new(config: &Config, eventfd: i32) -> Result<Reactor, Error> {
        let ring = Ring::new(config.submissions_count, config.completions_count)?;
        let pool = Rc::new(BufPool::new(config.recv_buffers_count, config.recv_buffer_bytes));
        // SAFETY: the pool's entries live until the pool is dropped, which the reactor does after the ring.
        unsafe { ring.register_buffers(pool.entries_addr(), pool.count(), BUFFER_GROUP) }
            .map_err(Error::os("registering receive buffers with io_uring"))?;
        let mut reactor = Reactor {
            ring,
            pool,
            conns: Conns::default(),
            listeners: Vec::new(),
            starved: VecDeque::new(),
            ready: VecDeque::new(),
            quiet_count: 0,
            turn: 1,
            writes_done: VecDeque::new(),
            ops: Ops::default(),
            schedule: IoSchedule::default(),
            read_pool: ReadPool::new(config.read_pool_bytes_max),
            woken: Vec::new(),
            gathers: Vec::new(),
            accept_retry_at: Instant::NEVER,
            listen_backlog_max: config.listen_backlog_max,
            stats: Stats::default(),
            net_in_flight_count: 0,
            completions: Vec::new(),
            eventfd,
        };
        reactor.arm_wake();
        Ok(reactor)
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// As [`Ring::push`].
    pub(crate) unsafe fn push(&mut self, entry: squeue::Entry, user_data: u64) {
        // SAFETY: the caller vouches for the entry.
        unsafe { self.ring.push(entry.user_data(user_data)) };
    }

    /// Queues the operation of a place.
    ///
    /// # Safety
    /// The entry may name only memory and descriptors that the place keeps until the operation has ended.
    pub(crate) unsafe fn push_file(&mut self, entry: squeue::Entry, idx: u32) {
        self.ops.begun();
        // SAFETY: this function's own contract.
        unsafe { self.push(entry, tag(Kind::File, idx, 0)) };
    }

    /// Takes in everything that has completed.
    pub(crate) fn reap(&mut self) {
        loop {
            let mut completions = mem::take(&mut self.completions);
            self.ring.reap(&mut completions);
            let count = completions.len();
            for completion in completions.drain(..) {
                self.complete(completion);
            }
            self.completions = completions;
            if count == 0 {
                return;
            }
        }
    }

    /// Whether the turn loop has something to pick up.
    pub(crate) fn has_events(&self) -> bool {
        self.ready.len() > self.quiet_count || !self.writes_done.is_empty()
    }

    /// The turn loop goes on: from here on the end of any send begun so far is news to it.
    pub(crate) fn begin_turn(&mut self) {
        self.turn += 1;
        self.quiet_count = 0;
    }

    /// The number of the current turn, by which a send remembers when it was begun.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// The next event of the network, in the order in which they happened.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        loop {
            let event = self.ready.pop_front()?;
            let conn = match &event {
                NetEvent::Closed { conn, .. } => {
                    self.conns.remove(*conn);
                    return Some(event);
                }
                NetEvent::Accepted { conn, .. }
                | NetEvent::Connected { conn }
                | NetEvent::Received { conn, .. }
                | NetEvent::ReceiveEnded { conn }
                | NetEvent::Sent { conn, .. } => *conn,
            };
            // What happened before the engine closed the connection is of no interest any more.
            if self.conns.get(conn).is_some_and(|conn| !conn.closed_here) {
                return Some(event);
            }
        }
    }

    /// What to keep of a send that has ended.
    pub(crate) fn recycle(&mut self, gather: Option<Box<Gather>>) {
        if let Some(gather) = gather
            && self.gathers.len() < GATHERS_KEPT_COUNT_MAX
        {
            self.gathers.push(gather);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            enters_count: self.ring.counts.enters,
            completions_count: self.ring.counts.completions,
            submission_full_count: self.ring.counts.submission_full,
            overflows_count: self.ring.counts.overflows,
            ..self.stats
        }
    }

    fn complete(&mut self, completion: Completion) {
        let user_data = completion.user_data;
        let (idx, generation) = (user_data as u32, (user_data >> 32) as u32 & GENERATION_MASK);
        match Kind::of(user_data) {
            Kind::Wake if !completion.more() => self.arm_wake(),
            Kind::Wake => {}
            Kind::File => self.file_completed(idx, completion.result),
            Kind::Accept => self.accept_completed(idx, completion),
            Kind::CancelAccept => {}
            Kind::Recv => self.recv_completed(idx, generation, completion),
            Kind::Send => self.send_completed(idx, generation, completion),
            Kind::Connect => self.connect_completed(idx, generation, completion),
            Kind::CancelConn => self.cancel_completed(idx, generation),
            Kind::CancelRecv => self.cancel_recv_completed(idx, generation),
        }
    }

    fn arm_wake(&mut self) {
        let entry = opcode::PollAdd::new(uring::Fd(self.eventfd), libc::POLLIN as u32).multi(true).build();
        // SAFETY: the event counter lives as long as the core's shared part, which outlives the ring.
        unsafe { self.push(entry, tag(Kind::Wake, 0, 0)) };
    }

    /// Begins to end everything that is under way; the core is about to stop.
    pub(crate) fn close_all(&mut self) {
        for idx in 0..self.listeners.len() {
            self.unlisten(idx as u32);
        }
        for id in self.conns.ids() {
            self.close(id);
        }
        self.ops.clear_wakers();
    }

    /// Whether the kernel holds none of our memory any more, the receive buffers' apart.
    pub(crate) fn is_quiet(&self) -> bool {
        self.net_in_flight_count == 0 && self.ops.in_flight_count() == 0
    }

    /// Drops what the engine will not pick up any more.
    pub(crate) fn drop_events(&mut self) {
        self.ready.clear();
        self.quiet_count = 0;
        self.writes_done.clear();
        self.woken.clear();
    }

    /// Counts a file operation that has ended and hands it on.
    fn file_completed(&mut self, idx: u32, result: i32) {
        self.ops.ended();
        let permit = match self.ops.get(idx) {
            Op::LogWrite { .. } => return self.log_write_completed(idx, result),
            Op::Waited { waker, result: place, permit, .. } => {
                *place = Some(result);
                self.woken.extend(waker.take());
                permit.take()
            }
            Op::Abandoned { opens, permit, .. } => {
                if *opens && result >= 0 {
                    crate::sys::close(result);
                }
                let permit = permit.take();
                self.ops.remove(idx);
                permit
            }
            Op::Free | Op::Queued { .. } => unreachable!("a place is the kernel's until its operation has ended"),
        };
        if let Some(permit) = permit {
            self.schedule.end(permit);
            self.begin_queued();
        }
    }

    /// Reports that a connection's send, begun in the turn `begun`, has ended well. Turn 0 is before any.
    pub(crate) fn push_sent(&mut self, conn: ConnId, buf: SendBuf, begun: u64) {
        self.quiet_count += usize::from(begun == self.turn);
        self.ready.push_back(NetEvent::Sent { conn, buf });
    }
}
