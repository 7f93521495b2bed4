//! The log of a core as its turn uses it: what Raft wants durable goes in, what is durable comes out.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use types::{CoreAddr, GroupId, Index, Instant, ReplicaId};
use wal::{Recovered, Wal};
use wire::Entry;

use super::disk_health::DiskHealth;
use super::interface::{StorageEffect, StorageHost};
use super::log_reads::LogReads;
use super::record::Records;
use crate::budget::{Budget, Permit, Pool};
use crate::config::Config;
use crate::context::Context;
use crate::error::Error;
use crate::limits::LOG_PENDING_BYTES_MAX;
use crate::observe::{Field, Size, Stage};

/// Of the room that a log without more has left, this part of a segment is for votes and what else must not wait.
const VOTES_SHARE: u64 = 2;

/// A write to the log that Raft waits for.
struct PendingWrite {
    /// The block with which it is durable.
    block_seq: wal::BlockSeq,
    group: usize,
    /// Raft's number of it.
    seq: u64,
    /// When it was handed over.
    begun_at: Instant,
}

/// The log of a core, and the writes that are on their way into it.
pub(super) struct Log<H: StorageHost> {
    addr: CoreAddr,
    wal: Wal<H>,
    segment_bytes: u64,
    /// Writes that are not durable yet, in order.
    pending: VecDeque<PendingWrite>,
    /// For blocks that are not durable yet.
    permit: Permit,
    /// How long the last block took to become durable, until somebody asks.
    block_time: Option<Duration>,
    /// Blocks written as of the last tick: a log that has stood still since then is idle.
    blocks_at_tick: u64,
    /// The block that is being written, or was last, and when it was handed to the disk, as far as that was not told.
    timed_seq: u64,
    write_begun_at: Option<Instant>,
    /// For how long what was to become durable first was not, as of the last tick; zero if there was nothing.
    write_under_way: Duration,
    /// Why there is no room for writes of clients; `None` if there is.
    room_fault: Option<Rc<str>>,
    pub(super) reads: LogReads,
    pub(super) health: DiskHealth,
}

impl<H: StorageHost> Log<H> {
    /// Opens a core's log, and says what it holds.
    /// `stored` are the groups of which the manifest names a replica: they may live here, whatever the first map says.
    pub(super) async fn open(
        host: &H,
        config: &Config,
        budget: &Budget,
        stored: impl Iterator<Item = GroupId>,
    ) -> Result<(Log<H>, Recovered), Error> {
        let addr = config.place;
        let mut wal_config = wal::Config::new(config.wal_dir());
        wal_config.log_id = config.incarnation.rotate_left(16) ^ u64::from(addr.core.0);
        let first = config.map.replicas_at(addr).map(|(spec, _)| spec.id);
        wal_config.groups = first.chain(stored).collect::<BTreeSet<_>>().into_iter().collect();
        wal_config.segment_bytes = config.segment_bytes;
        wal_config.block_bytes_max = config.block_bytes_max;
        // A write that Raft has handed out cannot be refused. `is_backlogged` keeps others from being taken in.
        wal_config.pending_bytes_max = usize::MAX;
        let opened = Wal::open(host.clone(), wal_config).await;
        let (wal, recovered) = opened.map_err(|source| Error::Wal { place: addr, source })?;
        let log = Log {
            addr,
            wal,
            segment_bytes: config.segment_bytes,
            pending: VecDeque::new(),
            permit: budget.permit(Pool::Log),
            block_time: None,
            blocks_at_tick: 0,
            timed_seq: 0,
            write_begun_at: None,
            write_under_way: Duration::ZERO,
            room_fault: None,
            reads: LogReads::new(budget),
            health: DiskHealth::default(),
        };
        Ok((log, recovered))
    }

    /// The log itself, for recovery.
    pub(super) fn wal_mut(&mut self) -> &mut Wal<H> {
        &mut self.wal
    }

    /// Notes for ever that a replica is destroyed, from the block of this sequence on.
    pub(super) fn destroy(&mut self, group: GroupId, replica: ReplicaId) -> Result<u64, Error> {
        self.wal.destroy(group, replica).map_err(|source| self.failed(source))?;
        self.permit.set(self.wal.pending_bytes());
        Ok(self.wal.pending_seq())
    }

    /// Whether a block is durable.
    pub(super) fn is_durable(&self, seq: u64) -> bool {
        self.wal.durable_seq() >= seq
    }

    fn failed(&self, source: wal::Error) -> Error {
        Error::Wal { place: self.addr, source }
    }

    pub(super) fn persist(
        &mut self,
        ctx: &Context,
        group: usize,
        id: GroupId,
        persist: &raft::Persist,
    ) -> Result<(), Error> {
        let append = wal::Append { reset: persist.reset, entries: &persist.entries, hard_state: persist.hard_state };
        let block_seq = self.wal.append(id, &append).map_err(|source| self.failed(source))?;
        self.pending.push_back(PendingWrite { block_seq, group, seq: persist.seq, begun_at: ctx.now });
        self.permit.set(self.wal.pending_bytes());
        Ok(())
    }

    /// Takes in what has become durable.
    pub(super) fn poll_writes(&mut self, ctx: &mut Context, effects: &mut Vec<StorageEffect>) -> Result<(), Error> {
        self.look_for_room();
        let Some(durable) = self.wal.poll().map_err(|source| self.failed(source))? else { return Ok(()) };
        if let Some(begun_at) = self.write_begun_at.take() {
            let took = ctx.latest().since(begun_at);
            ctx.stages.record(Stage::LogWrite, took);
            self.block_time = Some(took);
        }
        while self.pending.front().is_some_and(|first| first.block_seq.is_durable(durable)) {
            let Some(first) = self.pending.pop_front() else { break };
            self.health.wrote(ctx.now.since(first.begun_at), ctx.now);
            effects.push(StorageEffect::Persisted { group: first.group, seq: first.seq });
        }
        self.permit.set(self.wal.pending_bytes());
        Ok(())
    }

    fn look_for_room(&mut self) {
        if self.wal.has_room() {
            self.room_fault = None;
            return;
        }
        let fault = self.wal.room_fault().unwrap_or_default();
        if self.room_fault.as_deref() != Some(fault.as_str()) {
            self.room_fault = Some(Rc::from(fault));
        }
    }

    pub(super) fn submit(&mut self) -> Result<(), Error> {
        self.wal.submit().map_err(|source| self.failed(source))
    }

    /// How long the block took that has become durable since this was last asked, if there is one.
    pub(super) fn take_block_time(&mut self) -> Option<Duration> {
        self.block_time.take()
    }

    /// What was submitted in this turn is with the disk since `now`.
    pub(super) fn note_submitted(&mut self, ctx: &mut Context, now: Instant) {
        let Some((seq, bytes)) = self.wal.writing().filter(|(seq, _)| *seq != self.timed_seq) else { return };
        (self.timed_seq, self.write_begun_at) = (seq, Some(now));
        ctx.stages.record_size(Size::BlockBytes, bytes);
        // A block that confirms the one before it holds nothing that Raft waits for.
        if let Some(first) = self.pending.front().filter(|first| first.block_seq.is_durable(seq)) {
            ctx.stages.record(Stage::LogQueue, now.since(first.begun_at));
        }
    }

    /// Marks the end of a log that has gone idle, and judges how fast the disk is.
    pub(super) fn tick(&mut self, ctx: &Context) -> Result<(), Error> {
        let under_way = self.pending.front().map(|write| ctx.now.since(write.begun_at));
        self.health.tick(under_way, ctx.now);
        self.write_under_way = under_way.unwrap_or_default();
        let blocks = self.wal.stats().blocks;
        if blocks == self.blocks_at_tick && self.pending.is_empty() {
            self.wal.idle().map_err(|source| self.failed(source))?;
        }
        self.blocks_at_tick = blocks;
        Ok(())
    }

    /// Whether something waits for ticks: the end of the log for its mark, or a read that is to be tried again.
    pub(super) fn wants_ticks(&self) -> bool {
        !self.pending.is_empty() || !self.wal.is_marked() || self.reads.has_failed()
    }

    pub(super) fn read(&mut self, host: &H, group: usize, id: GroupId, read: raft::LogRead) {
        // What is read is settled now: the segments concerned stay as they are until it is done, whatever is cut meanwhile.
        let bytes_max = self.reads.bytes_max(read.bytes_max);
        let reader = self.wal.reader(id, read.first, read.last, bytes_max);
        self.reads.push(host, group, read, bytes_max, reader);
    }

    pub(super) fn poll_reads(
        &mut self,
        host: &H,
        records: &Records,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        self.reads.poll(host, records, effects)
    }

    pub(super) fn retry_reads(&mut self, effects: &mut Vec<StorageEffect>) {
        self.reads.retry(effects);
    }

    /// Lets a group's log up to `index` go.
    pub(super) fn compact(&mut self, id: GroupId, index: Index) -> Result<(), Error> {
        self.wal.compact(id, index).map_err(|source| self.failed(source))
    }

    /// Reads what a group's log holds from `first` on, to be written again with [`Log::rewrite`]: up to how many bytes, and
    /// the task. `None` if it cannot be written again.
    pub(super) fn read_tail(
        &self,
        id: GroupId,
        first: Index,
    ) -> Option<(usize, impl Future<Output = Result<Vec<Entry>, wal::Error>> + use<H> + 'static)> {
        let bytes = self.wal.rewritable_bytes(id, first)?;
        Some((bytes, self.wal.reader(id, first, self.wal.last_index(id), bytes)))
    }

    /// Writes entries again with which a group's log still ends. Returns whether that was so.
    pub(super) fn rewrite(&mut self, id: GroupId, entries: &[Entry]) -> Result<bool, Error> {
        let is_rewritten = self.wal.rewrite(id, entries).map_err(|source| self.failed(source))?;
        self.permit.set(self.wal.pending_bytes());
        Ok(is_rewritten)
    }

    /// The groups that keep the oldest segment, and up to where each must be compacted to let it go.
    pub(super) fn pins(&self) -> Vec<(GroupId, Index)> {
        self.wal.pins()
    }

    /// The first sealed segment behind the one with this id, to be checked.
    pub(super) fn sealed_behind(&self, id: u64) -> Option<wal::SealedSegment<H>> {
        self.wal.sealed_behind(id)
    }

    /// A segment turned out to be damaged: the groups that keep it, and up to where each must be compacted to let it go.
    pub(super) fn segment_is_damaged(&mut self, id: u64) -> Vec<(GroupId, Index)> {
        self.wal.damaged(id)
    }

    pub(super) fn stats(&self) -> wal::Stats {
        self.wal.stats()
    }

    pub(super) fn is_writing(&self) -> bool {
        self.wal.is_writing()
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether something of a group waits to become durable.
    pub(super) fn is_pending(&self, group: usize) -> bool {
        self.pending.iter().any(|write| write.group == group)
    }

    pub(super) fn is_backlogged(&self) -> bool {
        self.wal.pending_bytes() >= LOG_PENDING_BYTES_MAX
    }

    pub(super) fn has_room(&self) -> bool {
        self.wal.has_room()
    }

    pub(super) fn disk_full(&self) -> Option<Rc<str>> {
        self.room_fault.clone()
    }

    /// That the disk has no room for segments, in the operating system's words, if that is what is wrong with it.
    pub(super) fn full_disk(&self) -> Option<Rc<str>> {
        self.room_fault.clone().filter(|_| self.wal.is_disk_full())
    }

    /// Bytes that commands which make room may take of the log, if it has no room for others.
    pub(super) fn freeing_bytes(&self) -> Option<usize> {
        self.room_fault.as_ref()?;
        let bytes = self.wal.room_bytes().saturating_sub(self.segment_bytes / VOTES_SHARE);
        Some(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Says whether segments are to be made only once a block waits for one.
    pub(super) fn hold_segments(&mut self, is_held: bool) {
        self.wal.hold_segments(is_held);
    }

    pub(super) fn report(&self, tell: &mut impl FnMut(Field)) {
        let log = self.wal.stats();
        tell(Field::counter("log_blocks_written", "Blocks of the log that became durable.", log.blocks));
        tell(Field::counter("log_bytes_written", "Bytes of durable blocks of the log.", log.bytes));
        tell(Field::counter("log_records_written", "Records written to the log.", log.records));
        tell(Field::counter("log_entries_written", "Entries written to the log.", log.entries));
        tell(Field::sum("log_segments_used", "Segments of the log that hold something.", log.segments_used));
        tell(Field::sum("log_pending_bytes", "Bytes that wait to be written to the log.", log.pending_bytes));
        tell(Field::least(
            "log_has_room",
            "Whether the log takes entries: 0 if its disk is full.",
            self.wal.has_room().into(),
        ));
        tell(Field::greatest(
            "log_is_slow",
            "Whether the log's disk is so slow that others are to lead.",
            self.health.is_slow().into(),
        ));
        tell(Field::greatest(
            "log_write_under_way_us",
            "For how long the oldest write of the log has been under way, in microseconds.",
            micros(self.write_under_way),
        ));
        tell(Field::greatest(
            "log_write_mean_us",
            "How long writes of the log take, in microseconds.",
            micros(self.health.write_mean()),
        ));
        tell(Field::greatest(
            "commit_mean_us",
            "How long commits of the groups take, in microseconds.",
            micros(self.health.commit_mean()),
        ));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
