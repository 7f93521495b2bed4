//! The core: what it owns, and the turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use host::{Host, ListenerId, Mesh, SendBuf};
use raft::{Purpose, Ready};
use resp::ArgRange;
use types::{CoreAddr, Index, Instant, NodeId, Term};
use wal::Wal;
use wire::{Entry, Frame, Hello};

use crate::absent::Absent;
use crate::checkpoints::Checkpoints;
use crate::client::Port;
use crate::config::Config;
use crate::error::Error;
use crate::fetching::Fetches;
use crate::forwards::Forwards;
use crate::group::Group;
use crate::lanes::Lanes;
use crate::log_pace::LogPace;
use crate::outlets::Outlets;
use crate::routes::Routes;
use crate::serving::Serving;
use crate::stats::Stats;
use crate::topology::TopologyCache;
use crate::watch::Observer;

/// What the cores of a node send each other.
#[derive(Debug)]
pub enum MeshMessage {
    /// What one core has for another after a turn.
    Frame(Box<Frame>),
    /// Another node and the incarnation that is remembered of it from now on. Sent by the node, not by a core.
    Acquainted(NodeId, u64),
    /// Hand leaderships over, finish what is under way, and end. Sent by the node, not by a core.
    Stop,
}

/// A host whose mesh carries what cores say.
pub trait CoreHost: Host + Mesh<Message = MeshMessage> {}

impl<T: Host + Mesh<Message = MeshMessage>> CoreHost for T {}

/// A write to the log that Raft waits for.
pub(crate) struct Persisting {
    pub(crate) block_seq: u64,
    pub(crate) group: usize,
    pub(crate) seq: u64,
    /// When it was handed over.
    pub(crate) begun_at: Instant,
}

/// Log reads of a group in a row that fail before its log counts as unreadable.
const LOG_READ_TRIES_MAX: u32 = 10;

/// The same for reads of committed entries, without which the group stands still here, before the node stops. One is
/// tried at each tick, and a disk that fails only for a moment should not cost a restart.
const APPLY_READ_TRIES_MAX: u32 = 100;

/// The end of a log read, left by its task for the next turn.
pub(crate) struct LogReadDone {
    pub(crate) group: usize,
    pub(crate) purpose: Purpose,
    /// The last index that was wanted.
    pub(crate) last: Index,
    pub(crate) result: Result<Vec<Entry>, wal::Error>,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    No,
    /// Leaderships are being handed over and commands finish.
    Draining {
        deadline: Instant,
    },
    /// Nothing is left to do.
    Done,
}

/// One core of a node: its groups, their log, its connections.
///
/// Invariant: everything that happens between two calls of the host's `park` or `yield_now` happens in
/// one turn, and a turn never waits.
pub struct Core<H: CoreHost> {
    pub(crate) host: H,
    pub(crate) config: Rc<Config>,
    /// Read after the input that is being handled was received.
    pub(crate) now: Instant,
    pub(crate) hello: Hello,
    pub(crate) routes: Routes,
    pub(crate) groups: Vec<Group>,
    pub(crate) wal: Wal<H>,
    /// Writes handed to the log and not durable yet, in order.
    pub(crate) persisting: VecDeque<Persisting>,
    pub(crate) log_pace: LogPace,
    pub(crate) out: Outlets,
    pub(crate) forwards: Forwards,
    /// One per route: how its commands leave this core.
    pub(crate) lanes: Lanes,
    /// Groups that Raft or a command has given something to do in this turn.
    pub(crate) dirty_groups: Vec<usize>,
    /// Groups with commands for a next batch.
    pub(crate) forming_groups: Vec<usize>,
    /// Those of them that have so many that no more are taken in.
    pub(crate) full_groups: Vec<usize>,
    /// Clients with input that a limit has held back.
    pub(crate) held_back: VecDeque<host::ConnId>,
    pub(crate) log_reads_done: Rc<RefCell<Vec<LogReadDone>>>,
    pub(crate) listeners: Vec<(ListenerId, ListenerKind)>,
    pub(crate) next_client_id: u64,
    pub(crate) next_tick: Instant,
    /// Blocks written as of the last tick: a log that stood still since then is idle.
    pub(crate) blocks_at_tick: u64,
    /// Epoch of the map in group 0, once it is applied here.
    pub(crate) agreed_map_epoch: Option<u64>,
    /// Term in which this core has proposed a map; 0: never.
    pub(crate) map_proposed_in: Term,
    pub(crate) stopping: Stopping,
    pub(crate) checkpoints: Checkpoints<H::File>,
    pub(crate) serving: Serving<H::File>,
    pub(crate) fetches: Fetches<H::File>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) stats: Stats,
    pub(crate) watch: Option<Rc<dyn Observer>>,
    pub(crate) topology: TopologyCache,
    pub(crate) ready: Ready,
    pub(crate) ranges: Vec<ArgRange>,
    /// The reply of a command without a group, in the making.
    pub(crate) local_reply: Vec<u8>,
}

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    Clients(Port),
    Peers,
}

impl<H: CoreHost> Core<H> {
    /// The place of this core.
    pub(crate) fn place(&self) -> CoreAddr {
        self.config.place
    }

    /// Runs the core until it is told to stop.
    ///
    /// # Errors
    /// The first [`Error`] ends the core; the node must stop with it.
    pub async fn run(mut self) -> Result<(), Error> {
        let host = self.host.clone();
        loop {
            let is_busy = self.turn()?;
            if self.stopping == Stopping::Done {
                // The last replies are queued: begin their sends before the sockets go.
                host.yield_now().await;
                return Ok(());
            }
            if is_busy {
                host.yield_now().await;
            } else {
                host.park(self.next_tick).await;
            }
        }
    }

    /// One turn: take in what has arrived, decide, and begin everything that follows from it. Returns whether
    /// there is more to do at once.
    pub fn turn(&mut self) -> Result<bool, Error> {
        self.stats.turns += 1;
        let begun_at = self.host.now();
        self.now = begun_at;
        let is_cut_short = self.take_in();
        self.finish_log_reads()?;
        self.finish_writes()?;
        self.finish_chunk_reads();
        self.drive_fetches()?;
        if self.now >= self.next_tick {
            self.tick()?;
        }
        self.resume_full_groups();
        self.resume_requests();
        self.resume_held_back();
        self.propose();
        self.drive_groups()?;
        // Applying may have sent commands another way, into the next batch of an idle log.
        self.propose();
        self.drive_groups()?;
        self.wal.submit().map_err(|source| self.wal_error(source))?;
        self.tell_queues();
        self.flush();
        // Behind what clients and peers wait for.
        let is_copying = self.drive_checkpoint()?;
        let turn_us = self.host.now().since(begun_at).as_micros() as u64;
        self.stats.turn_us_max = self.stats.turn_us_max.max(turn_us);
        Ok(is_cut_short || is_copying || self.out.links.has_unsent_mesh())
    }

    /// Handles what other cores and the network have brought. Returns whether something was left for the
    /// next turn.
    fn take_in(&mut self) -> bool {
        let mut budget = crate::limits::EVENTS_PER_TURN_MAX;
        while budget > 0 {
            let Some((from, message)) = self.host.mesh_receive() else { break };
            self.now = self.host.now();
            budget -= 1;
            match message {
                MeshMessage::Frame(frame) => {
                    let place = CoreAddr { node: self.place().node, core: from };
                    if let Some(link) = self.out.links.to(place) {
                        self.on_frame(link, *frame);
                    }
                }
                MeshMessage::Acquainted(node, incarnation) => self.out.links.acquaint(node, incarnation),
                MeshMessage::Stop => self.begin_stop(),
            }
        }
        while budget > 0 {
            let Some(event) = self.host.next_event() else { return false };
            budget -= 1;
            self.on_event(event);
        }
        true
    }

    fn finish_log_reads(&mut self) -> Result<(), Error> {
        if self.log_reads_done.borrow().is_empty() {
            return Ok(());
        }
        for done in self.log_reads_done.take() {
            let group = &mut self.groups[done.group];
            let is_for_applying = done.purpose == Purpose::Apply;
            match done.result {
                Ok(entries) => {
                    group.log_read_failures = 0;
                    if is_for_applying {
                        group.apply_read_failures = 0;
                    }
                    group.raft.log_read(done.purpose, entries, self.now);
                }
                Err(source) => {
                    tracing::error!(group = %group.id, error = %source, "reading the log back failed; it is tried again");
                    group.failed_log_reads.push(done.purpose);
                    group.log_read_failures += 1;
                    if group.log_read_failures >= LOG_READ_TRIES_MAX {
                        group.unreadable_to = group.unreadable_to.max(done.last);
                    }
                    group.apply_read_failures += u32::from(is_for_applying);
                    if group.apply_read_failures >= APPLY_READ_TRIES_MAX {
                        return Err(Error::Unappliable { group: group.id, last: done.last, source });
                    }
                }
            }
            self.mark_dirty(done.group);
        }
        Ok(())
    }

    fn finish_writes(&mut self) -> Result<(), Error> {
        let Some(durable) = self.wal.poll().map_err(|source| self.wal_error(source))? else { return Ok(()) };
        while let Some(first) = self.persisting.front() {
            if first.block_seq > durable {
                break;
            }
            let (group, seq, took) = (first.group, first.seq, self.now.since(first.begun_at));
            self.persisting.pop_front();
            self.log_pace.wrote(took, self.now);
            self.groups[group].raft.persisted(seq, self.now);
            self.mark_dirty(group);
        }
        Ok(())
    }

    /// A core of another node of which nothing was heard for so long is taken to be down.
    pub(crate) fn silence_max(&self) -> Duration {
        Duration::from_millis(u64::from(self.config.map.settings.election_timeout_min_ms))
    }

    fn tick(&mut self) -> Result<(), Error> {
        let interval = self.config.tick_interval();
        self.next_tick = self.now + interval;
        let heartbeat_interval = 2 * interval;
        let silent = self.out.links.keep_alive(self.now, heartbeat_interval, self.silence_max());
        for idx in 0..self.groups.len() {
            let group = &mut self.groups[idx];
            if group.raft.is_quiescent() && (silent.is_empty() || !group.follows_one_of(&silent)) {
                continue;
            }
            group.raft.wake(self.now);
            for purpose in group.failed_log_reads.drain(..) {
                group.raft.log_read_failed(purpose);
            }
            group.raft.tick(self.now);
            let has_reads = !group.index_reads.is_empty() || !group.waiting_reads.is_empty();
            if has_reads || group.raft.has_ready() {
                self.mark_dirty(idx);
            }
        }
        self.propose_map();
        self.tick_checkpoints()?;
        self.tick_serving();
        self.tick_absent();
        self.tick_links();
        self.tick_forwards();
        self.tick_clients();
        let blocks = self.wal.stats().blocks;
        if blocks == self.blocks_at_tick && self.persisting.is_empty() {
            self.wal.idle().map_err(|source| self.wal_error(source))?;
        }
        self.blocks_at_tick = self.wal.stats().blocks;
        self.tell_counts();
        (0..self.groups.len()).for_each(|idx| self.note_digest_if_wanted(idx));
        self.tick_fitness();
        self.tick_stop();
        Ok(())
    }

    /// Puts a group on the list of those to look at in this turn.
    pub(crate) fn mark_dirty(&mut self, idx: usize) {
        let group = &mut self.groups[idx];
        if !group.is_dirty {
            group.is_dirty = true;
            self.dirty_groups.push(idx);
        }
    }

    /// Sends what the turn has produced: one frame per link, one send per client.
    fn flush(&mut self) {
        let host = &self.host;
        self.out.links.flush(host, |place, frame| {
            host.mesh_send(place.core, MeshMessage::Frame(frame)).map_err(|refused| match refused {
                MeshMessage::Frame(frame) => frame,
                _ => panic!("the mesh handed back another message than it was given"),
            })
        });
        self.out.flush_clients(host, self.now);
    }

    pub(crate) fn wal_error(&self, source: wal::Error) -> Error {
        Error::Wal { place: self.place(), source }
    }

    /// A whole buffer was handed to the network.
    pub(crate) fn on_sent(&mut self, conn: host::ConnId, buf: SendBuf) {
        use crate::outlets::Conn;
        const SPARE_BYTES_MAX: usize = 64 << 10;
        match self.out.conns.get_mut(conn) {
            Some(Conn::Client(client)) => {
                client.is_sending = false;
                client.sending_bytes = 0;
                client.progress_at = self.now;
                if let SendBuf::Plain(mut spare) = buf
                    && spare.capacity() <= SPARE_BYTES_MAX
                {
                    spare.clear();
                    client.spare_output = spare;
                }
                self.out.touch(conn);
            }
            Some(Conn::Link(link)) => self.out.links.sent(*link, buf),
            Some(Conn::Peer(_)) | None => {}
        }
    }
}
