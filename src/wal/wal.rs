//! The log of one core: opening, writing, reading back, room. What is appended, what is
//! written again, and which replicas begin and end have files of their own.

pub(crate) mod append;
mod replica;
mod rewrite;
mod seal;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use host::AlignedBuf;
use types::{GroupId, Index};
use wire::Entry;

use crate::LogHost;
use crate::config::Config;
use crate::error::Error;
use crate::format::{SEQ_FIRST, padded, segment_name};
use crate::group::GroupLog;
use crate::reader::{self, ReadPlan};
use crate::record::{self, GROUP_STATE_BYTES, LogPosition};
use crate::recover::{self, Log};
use crate::recovered::{Fault, Recovered};
use crate::segments::{self, Pool, SegmentTable};
use crate::stats::Stats;
use crate::writer::Writer;

/// How often all groups are named in the length of a segment.
const ROLL_CALLS_PER_SEGMENT: u64 = 16;
/// Of this many bytes of log at most one is for naming groups.
const ROLL_CALL_SHARE: u64 = 16;

/// The log of one core, shared by its groups. See the crate's documentation for what it promises.
///
/// The calls of a turn, in order: [`Wal::poll`], then any number of appends, then [`Wal::submit`]; before
/// the core parks for longer, [`Wal::idle`]. None of them waits. The log takes all of the host's write
/// completions ([`host::Disk::write_end`]): nothing else of the core may begin writes that way.
pub struct Wal<D: LogHost> {
    host: D,
    config: Config,
    groups: BTreeMap<GroupId, GroupLog>,
    segments: SegmentTable<D::File>,
    pool: Rc<RefCell<Pool<D::File>>>,
    writer: Writer,
    in_flight: Option<InFlight>,
    /// All blocks up to this one are durable.
    durable_seq: u64,
    /// All records before this place are durable.
    durable_end: LogPosition,
    failure: Option<Failure>,
    /// How many groups are quarantined.
    faults_count: usize,
    stats: Stats,
}

struct InFlight {
    seq: u64,
    place: LogPosition,
    len: usize,
    mark: bool,
}

/// The write that failed: nothing can be written any more.
struct Failure {
    place: LogPosition,
    message: String,
}

impl Failure {
    fn error(&self) -> Error {
        Error::Poisoned { segment: self.place.segment, offset: self.place.offset, message: self.message.clone() }
    }
}

impl<D: LogHost> Wal<D> {
    /// Opens the log in `config.dir`, or begins one if there is none, and says what it holds. All that it
    /// reports is durable. Groups of which something may be missing are quarantined: see [`Recovered::groups`].
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses, [`Error::Config`] if the sizes make no sense, [`Error::Version`] and
    /// [`Error::Foreign`] if it is not a log of ours.
    pub async fn open(host: D, config: Config) -> Result<(Wal<D>, Recovered), Error> {
        config.check()?;
        let (log, recovered) = recover::recover(&host, &config).await?;
        let Log { groups, segments, pool, writer, must_roll } = log;
        let durable_end = writer.place();
        let faults_count = groups.values().filter(|log| log.fault.is_some()).count();
        let mut wal = Wal {
            faults_count,
            durable_seq: writer.pending_seq(),
            host,
            config,
            groups,
            segments,
            pool: Rc::new(RefCell::new(pool)),
            writer,
            in_flight: None,
            durable_end,
            failure: None,
            stats: Stats::default(),
        };
        if must_roll {
            wal.roll();
        }
        if faults_count == 0 {
            wal.pool.borrow_mut().remove_damaged();
        }
        segments::prepare(&wal.host, &wal.pool);
        Ok((wal, recovered))
    }

    /// The sequence of the block with which everything appended so far is durable. Who waits for one append asks for the
    /// [`BlockSeq`](append::BlockSeq) of that.
    pub fn pending_seq(&self) -> u64 {
        self.writer.pending_seq()
    }

    /// Everything up to this block is durable.
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Bytes appended and not yet durable.
    pub fn pending_bytes(&self) -> usize {
        self.writer.pending_bytes() + self.in_flight.as_ref().map_or(0, |block| block.len)
    }

    /// Whether a block is being written: what is appended now becomes durable with one behind it.
    pub fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The sequence and the length in bytes of the block that is being written, if one is.
    pub fn writing(&self) -> Option<(u64, usize)> {
        self.in_flight.as_ref().map(|block| (block.seq, block.len))
    }

    /// Whether client writes should be accepted as far as the disk is concerned. Turns false while at least the reserve
    /// is left, so what was accepted can still be written, and true again by itself.
    pub fn has_room(&self) -> bool {
        self.pool.borrow().has_room()
    }

    /// Why [`Wal::has_room`] is false, in the operating system's words.
    pub fn room_fault(&self) -> Option<String> {
        self.pool.borrow().fault().map(std::io::Error::to_string)
    }

    /// Whether [`Wal::has_room`] is false because the disk is full, and not for another fault.
    pub fn is_disk_full(&self) -> bool {
        self.pool.borrow().fault().is_some_and(host::is_full)
    }

    /// Bytes of prepared segments behind all that was appended, durable or not: what can still be written if the disk gives
    /// no more room.
    pub fn room_bytes(&self) -> u64 {
        let waiting_count = self.segments.iter().rev().take_while(|segment| segment.file.is_none()).count();
        let prepared_count = self.pool.borrow().ready.len();
        // Without a file, the segment that is being filled is one of those that are prepared, or of none.
        let begun = if waiting_count <= prepared_count { self.writer.segment_left() } else { 0 };
        let behind = prepared_count.saturating_sub(waiting_count) as u64 * self.config.segment_bytes;
        begun + behind
    }

    /// Says whether segments are to be made only once a block waits for one, since what room the disk has is for others. Free
    /// ones are used again all the same. [`Wal::has_room`] is true then as long as all that should be prepared is.
    pub fn hold_segments(&mut self, is_held: bool) {
        self.pool.borrow_mut().hold(is_held);
        segments::prepare(&self.host, &self.pool);
    }

    /// Begins to write the next block, if none is being written and there is one. Without a prepared segment
    /// it stays pending, so this is called in every turn, also when nothing was appended.
    ///
    /// # Errors
    /// [`Error::Poisoned`], which is final.
    pub fn submit(&mut self) -> Result<(), Error> {
        self.check_alive()?;
        if self.in_flight.is_some() {
            return Ok(());
        }
        if self.writer.front().is_none() {
            self.call_roll_if_due();
            self.writer.close();
        }
        let Some(place) = self.writer.front().map(|block| block.place) else { return Ok(()) };
        let Some(file) = self.file_of(place.segment) else { return Ok(()) };
        let block = self.writer.take().expect("looked at above");
        self.in_flight = Some(InFlight { seq: block.seq, place, len: block.buf.len(), mark: block.mark });
        self.host.write_begin(&file, place.offset, block.buf, block.seq);
        Ok(())
    }

    /// Takes in what the disk has finished. Returns the last durable block if there are new ones.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a write has failed, now or earlier: the process must stop.
    pub fn poll(&mut self) -> Result<Option<u64>, Error> {
        self.check_alive()?;
        let mut advanced = None;
        while let Some(done) = self.host.write_end() {
            let block = self.in_flight.take().expect("one write at a time, begun here");
            assert_eq!(done.token, block.seq, "the write that ended is the one in flight");
            if let Err(error) = done.result {
                tracing::error!(
                    segment = block.place.segment, offset = block.place.offset, %error,
                    "writing the log failed; nothing more is acknowledged"
                );
                let path = self.config.dir.join(segment_name(block.place.segment));
                let message = format!("{error} ({})", path.display());
                let failure = Failure { place: block.place, message };
                let error = failure.error();
                self.failure = Some(failure);
                return Err(error);
            }
            self.block_done(&block, done.buf);
            advanced = Some(block.seq);
        }
        self.release();
        Ok(advanced)
    }

    /// Confirms the last block with a mark behind it, once per idle period. To be called when nothing has
    /// been appended for a moment: until the mark stands, damage to the last block would look like a torn write.
    /// Returns whether a mark was begun; its end arrives like any block's.
    ///
    /// # Errors
    /// [`Error::Poisoned`], which is final.
    pub fn idle(&mut self) -> Result<bool, Error> {
        self.check_alive()?;
        let busy = self.is_writing() || self.writer.pending_bytes() > 0;
        if busy || self.writer.last_is_mark() {
            return Ok(false);
        }
        if !self.writer.fits_empty(0) {
            self.roll();
        }
        self.writer.put_mark(&self.groups);
        self.submit()?;
        Ok(true)
    }

    /// Whether a mark stands behind the last block, and nothing is on its way: [`Wal::idle`] has nothing to do.
    pub fn is_marked(&self) -> bool {
        !self.is_writing() && self.writer.pending_bytes() == 0 && self.writer.last_is_mark()
    }

    /// Names all groups in the forming block every now and then, so that damage before it concerns only those of which
    /// something is lost.
    fn call_roll_if_due(&mut self) {
        let len = record::roll_call_bytes(self.groups.len());
        let unnamed_min = (self.config.segment_bytes / ROLL_CALLS_PER_SEGMENT).max(ROLL_CALL_SHARE * len as u64);
        if self.writer.is_forming() && self.writer.unnamed_bytes() >= unnamed_min && self.writer.joins(len) {
            self.writer.put_roll_call(&self.groups);
        }
    }

    /// Reads entries `first..=last` of a group back, for a task beside the turn: the future holds what it
    /// needs and the log goes on meanwhile. It yields at least one entry and stops, at an entry's end, once payloads
    /// exceed `bytes_max` or where entries are not durable yet. They are as of this call:
    /// whoever asked checks that Raft still wants them.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::NotDurable`] for the first entry, [`Error::Quarantined`], [`Error::Io`], and [`Error::Corrupt`]
    /// if the disk does not hold what was written.
    pub fn reader(
        &self,
        group: GroupId,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, Error>> + use<D> + 'static {
        let plan = self.plan(group, first, last, bytes_max);
        let host = self.host.clone();
        async move { reader::read(&host, plan?).await }
    }

    fn plan(&self, group: GroupId, first: Index, last: Index, bytes_max: usize) -> Result<ReadPlan<D::File>, Error> {
        let log = self.groups.get(&group).ok_or(Error::OutOfRange { group, first, last })?;
        if let Some(fault) = log.fault {
            return Err(Error::Quarantined { group, fault });
        }
        let mut plan = ReadPlan::new(&self.config.dir, group, first, last, bytes_max);
        if first == 0 || first > last || first <= log.start_index() || last > log.last_index() {
            return Err(plan.out_of_range());
        }
        for (run, end) in log.runs(first, last) {
            let place = LogPosition { segment: run.segment, offset: u64::from(run.offset) };
            if place >= self.durable_end || plan.is_full() {
                break;
            }
            let term = log.term(end).ok_or(plan.out_of_range())?;
            let segment = self.segments.get(run.segment).expect("a segment with live runs is in the table");
            let file = segment.file.as_ref().expect("a segment with durable blocks has a file");
            plan.push(run, end, term, segment.bytes, file);
        }
        if plan.is_empty() { Err(Error::NotDurable { group, index: first }) } else { Ok(plan) }
    }

    /// First and last index of a group's entries here, durable or not; `None` if there are none.
    pub fn bounds(&self, group: GroupId) -> Option<(Index, Index)> {
        let log = self.groups.get(&group)?;
        (log.last_index() > log.start_index()).then(|| (log.start_index() + 1, log.last_index()))
    }

    /// The groups whose entries keep the oldest segment from being used again, with the index up to which each
    /// must be compacted to let it go. Empty if nothing does, or only one segment is in use. A quarantined group keeps none.
    pub fn pins(&self) -> Vec<(GroupId, Index)> {
        let Some(oldest) = self.segments.oldest_to_go() else { return Vec::new() };
        self.groups.iter().filter_map(|(group, log)| Some((*group, log.last_up_to_segment(oldest)?))).collect()
    }

    /// Bytes of the segments that hold live log, the one being written included. Prepared and free ones are not counted.
    pub fn log_bytes(&self) -> u64 {
        self.segments.bytes()
    }

    /// What the log has done so far.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            segments_used: self.segments.len() as u64,
            pending_bytes: self.pending_bytes() as u64,
            ..self.stats
        };
        self.pool.borrow().count(&mut stats);
        stats
    }

    fn check_alive(&self) -> Result<(), Error> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.error()))
    }

    /// Sees to it that the forming block can take a record of this length.
    fn make_room(&mut self, len: usize) {
        if self.writer.joins(len) {
            return;
        }
        self.writer.close();
        if !self.writer.fits_empty(len) {
            self.roll();
        }
    }

    /// Moves on to the next segment, whether it is prepared yet or not, and opens it with all groups' states.
    fn roll(&mut self) {
        self.writer.roll(self.config.segment_bytes);
        self.segments.push(self.writer.segment(), self.config.segment_bytes, None);
        self.stats.rolls += 1;
        self.writer.put_opening(&mut self.groups);
    }

    /// The file of a segment in use, if one is prepared by now.
    fn file_of(&mut self, id: u64) -> Option<D::File> {
        let segment = self.segments.get_mut(id).expect("blocks stand in segments of the table");
        if segment.file.is_none() {
            segment.file = self.pool.borrow_mut().take_ready();
            if let Some(file) = &segment.file {
                assert_eq!(file.id, id, "segments are prepared in the order of their use");
            }
            segments::prepare(&self.host, &self.pool);
        }
        segment.file.as_ref().map(|file| file.file.clone())
    }

    fn block_done(&mut self, block: &InFlight, buf: AlignedBuf) {
        self.durable_seq = block.seq;
        self.durable_end = LogPosition { offset: block.place.offset + block.len as u64, ..block.place };
        self.stats.blocks += 1;
        self.stats.bytes += block.len as u64;
        self.stats.marks += u64::from(block.mark);
        self.writer.recycle(buf);
    }

    /// Gives segments away in which nothing is needed any more.
    fn release(&mut self) {
        let pending_seq = self.writer.pending_seq();
        let mut freed = false;
        while let Some(segment) = self.segments.take_free(self.durable_seq, pending_seq) {
            self.pool.borrow_mut().push_freed(&segment, self.faults_count > 0);
            freed = true;
        }
        if freed {
            segments::prepare(&self.host, &self.pool);
        }
    }

    /// Whether this group is quarantined, and why.
    pub fn fault(&self, group: GroupId) -> Option<&Fault> {
        self.groups.get(&group)?.fault.as_ref()
    }
}

const _: () = {
    // What `Config::new` sets must admit the longest entry and the states of all groups.
    let longest =
        padded(types::limits::ENTRY_BYTES_MAX + GROUP_STATE_BYTES * types::limits::GROUPS_COUNT_MAX + 4_096);
    assert!(longest < 64 << 20);
    assert!(SEQ_FIRST == 1, "pending_seq is 0 before the first record");
};
