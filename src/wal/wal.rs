//! The log of one core.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use host::AlignedBuf;
use types::{GroupId, Index, Term};
use wire::{Entry, EntryKind, HardState};

use crate::LogHost;
use crate::config::Config;
use crate::error::Error;
use crate::format::{HEADER_BYTES, SEQ_FIRST, padded, segment_name};
use crate::group::{GroupLog, Run};
use crate::reader::{self, ReadPlan};
use crate::record::{self, Address, Body, GROUP_STATE_BYTES, Link, LogPosition, OPENING_BYTES};
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

/// What one [`Wal::append`] makes durable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Append<'a> {
    /// First the group's log begins anew behind this entry of this term: see [`Wal::reset`].
    pub reset: Option<(Index, Term)>,
    /// Then these entries: see [`Wal::append_entries`].
    pub entries: &'a [Entry],
    /// Then this: see [`Wal::append_hard_state`].
    pub hard_state: Option<HardState>,
}

/// The last block that holds any of what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what was appended is durable only with this block"]
pub struct BlockSeq(u64);

impl BlockSeq {
    /// Whether all of it is durable, once all blocks up to `durable_seq` are: see [`Wal::poll`].
    pub fn is_durable(self, durable_seq: u64) -> bool {
        self.0 <= durable_seq
    }
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

    /// Appends all that Raft wants durable together, in the order in which recovery must find it: entries before a hard
    /// state that calls them committed.
    ///
    /// # Errors
    /// As [`Wal::append_entries`]; then nothing was appended.
    ///
    /// # Panics
    /// As [`Wal::append_entries`].
    pub fn append(&mut self, group: GroupId, append: &Append<'_>) -> Result<BlockSeq, Error> {
        self.check_writable(group)?;
        self.check_size(append.entries)?;
        if let Some((index, term)) = append.reset {
            self.reset(group, index, term)?;
        }
        self.append_entries(group, append.entries)?;
        if let Some(state) = append.hard_state {
            self.append_hard_state(group, state)?;
        }
        // Asked last: each of them may have opened another block.
        Ok(BlockSeq(self.writer.pending_seq()))
    }

    /// Appends entries of a group: consecutive, the first at most one behind the group's last. Entries at or
    /// behind the first are replaced. Each payload is copied once, into the block.
    ///
    /// # Errors
    /// [`Error::Backlog`] if too much waits already and [`Error::TooLarge`] if an entry fits no segment; then nothing was
    /// appended. [`Error::Quarantined`] and [`Error::Poisoned`] are final.
    ///
    /// # Panics
    /// If the indices have gaps or reach into the compacted or committed part: Raft never asks for that.
    pub fn append_entries(&mut self, group: GroupId, entries: &[Entry]) -> Result<(), Error> {
        self.check_writable(group)?;
        let Some(first) = entries.first() else { return Ok(()) };
        assert!(
            entries.windows(2).all(|pair| pair[1].index == pair[0].index + 1 && pair[1].term >= pair[0].term),
            "entries must be consecutive"
        );
        self.assert_follows(group, first.index);
        self.check_size(entries)?;
        let mut rest = entries;
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(self.run_length(rest));
            self.put_entries(group, run);
            rest = behind;
        }
        Ok(())
    }

    /// Appends a group's term, vote and commit index. A commit index beyond the group's last entry here is
    /// recorded as that entry's: on restart a commit index beyond the log is the sign of loss.
    ///
    /// # Errors
    /// [`Error::Quarantined`] and [`Error::Poisoned`], both final.
    pub fn append_hard_state(&mut self, group: GroupId, state: HardState) -> Result<(), Error> {
        self.check_writable(group)?;
        let last_index = self.groups.get(&group).map_or(0, GroupLog::last_index);
        let state = HardState { commit: state.commit.min(last_index), ..state };
        self.put_small(group, &Body::HardState(state));
        self.group_mut(group).hard_state = state;
        Ok(())
    }

    /// Removes a group's entries at and behind `from`, if there are any.
    ///
    /// # Errors
    /// As [`Wal::append_hard_state`].
    ///
    /// # Panics
    /// If `from` lies in the compacted or committed part.
    pub fn truncate(&mut self, group: GroupId, from: Index) -> Result<(), Error> {
        self.check_writable(group)?;
        if self.groups.get(&group).is_none_or(|log| log.last_index() < from) {
            return Ok(());
        }
        self.assert_follows(group, from);
        self.put_small(group, &Body::Truncation { from });
        let Wal { groups, segments, .. } = self;
        let log = groups.get_mut(&group).expect("looked up above");
        log.truncate(from, |id| segments.run_dropped(id)).expect("Raft does not truncate what was compacted");
        Ok(())
    }

    /// Removes a group's entries up to and with `index`, at most its last: their effects are durable
    /// elsewhere. Segments in which nothing is left are used again once this is durable itself.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] beyond the last entry; otherwise as [`Wal::append_hard_state`].
    pub fn compact(&mut self, group: GroupId, index: Index) -> Result<(), Error> {
        self.check_writable(group)?;
        let Some(log) = self.groups.get(&group) else {
            return Err(Error::OutOfRange { group, first: index, last: index });
        };
        if index <= log.start_index() {
            return Ok(());
        }
        let Some(term) = log.term(index) else {
            return Err(Error::OutOfRange { group, first: index, last: index });
        };
        self.put_compaction(group, index, term);
        Ok(())
    }

    /// Drops all of a group's entries; its log goes on behind `index`, the last one that an installed
    /// snapshot covers, and `term`, its term. Does nothing if more than that was compacted already.
    ///
    /// # Errors
    /// As [`Wal::append_hard_state`].
    pub fn reset(&mut self, group: GroupId, index: Index, term: Term) -> Result<(), Error> {
        self.check_writable(group)?;
        if self.groups.get(&group).is_some_and(|log| index <= log.start_index()) {
            return Ok(());
        }
        let Some(behind) = index.checked_add(1) else {
            return Err(Error::OutOfRange { group, first: index, last: index });
        };
        self.truncate(group, behind)?;
        self.put_compaction(group, index, term);
        Ok(())
    }

    /// Forgets all of a group: its hard state, its entries, its quarantine. For a replica that left this core
    /// or comes back under a new id.
    ///
    /// # Errors
    /// [`Error::Poisoned`], which is final.
    pub fn forget(&mut self, group: GroupId) -> Result<(), Error> {
        self.check_alive()?;
        if !self.groups.contains_key(&group) {
            return Ok(());
        }
        self.put_small(group, &Body::Forgotten);
        if let Some(mut log) = self.groups.remove(&group) {
            let is_quarantined = log.fault.is_some();
            let segments = &mut self.segments;
            log.clear(|id| segments.run_dropped(id));
            if is_quarantined {
                self.faults_count -= 1;
                if self.faults_count == 0 {
                    self.pool.borrow_mut().remove_damaged();
                    segments::prepare(&self.host, &self.pool);
                }
            }
        }
        Ok(())
    }

    /// The sequence of the block with which everything appended so far is durable. Who waits for one append asks for the
    /// [`BlockSeq`] of that.
    pub fn pending_seq(&self) -> u64 {
        self.writer.pending_seq()
    }

    /// Everything up to this block is durable.
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Bytes appended and not yet durable. Entries are refused once `pending_bytes_max` would be passed.
    pub fn pending_bytes(&self) -> usize {
        self.writer.pending_bytes() + self.in_flight.as_ref().map_or(0, |block| block.len)
    }

    /// Whether a block is being written: what is appended now becomes durable with one behind it.
    pub fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether client writes should be accepted as far as the disk is concerned. Turns false while at least the reserve
    /// is left, so what was accepted can still be written, and true again by itself.
    pub fn has_room(&self) -> bool {
        self.pool.borrow().has_room()
    }

    /// Why [`Wal::has_room`] is false, in the operating system's words.
    pub fn room_fault(&self) -> Option<String> {
        self.pool.borrow().fault().map(str::to_owned)
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
        self.pins_beyond(self.log_bytes().saturating_sub(1))
    }

    /// Bytes of the segments that hold live log, the one being written included. Prepared and free ones are not counted.
    pub fn log_bytes(&self) -> u64 {
        self.segments.bytes()
    }

    /// The groups that must be compacted for the log to be at most `bytes_max` long, each with the index up to which. Who
    /// asks with less than the limit can have them compacted before it is reached.
    pub fn pins_beyond(&self, bytes_max: u64) -> Vec<(GroupId, Index)> {
        let Some(newest) = self.segments.newest_to_go(bytes_max) else { return Vec::new() };
        self.groups.iter().filter_map(|(group, log)| Some((*group, log.last_up_to_segment(newest)?))).collect()
    }

    /// Whether this group is one of [`Wal::pins_beyond`]: its writers are the ones to wait.
    pub fn is_pinning(&self, group: GroupId, bytes_max: u64) -> bool {
        let newest = self.segments.newest_to_go(bytes_max);
        newest
            .is_some_and(|newest| self.groups.get(&group).is_some_and(|log| log.last_up_to_segment(newest).is_some()))
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

    /// Refuses to replace what is committed: that would lose acknowledged writes.
    fn assert_follows(&self, group: GroupId, first: Index) {
        let log = self.groups.get(&group);
        let (start, last) = log.map_or((0, 0), |log| (log.start_index(), log.last_index()));
        let fixed = log.map_or(0, |log| log.hard_state.commit).max(start);
        assert!(
            first > fixed && first <= last + 1,
            "group {group}: entry {first} neither follows the last one, {last}, nor replaces one behind {fixed}"
        );
    }

    fn check_alive(&self) -> Result<(), Error> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.error()))
    }

    fn check_writable(&self, group: GroupId) -> Result<(), Error> {
        self.check_alive()?;
        match self.groups.get(&group) {
            Some(log) => match log.fault {
                Some(fault) => Err(Error::Quarantined { group, fault }),
                None => Ok(()),
            },
            None => self.check_one_more_group(),
        }
    }

    /// A segment opens with the states of all groups and still needs room for a record.
    fn check_one_more_group(&self) -> Result<(), Error> {
        let bytes = HEADER_BYTES + OPENING_BYTES + (self.groups.len() + 2) * GROUP_STATE_BYTES;
        let bytes_max = self.segment_len();
        if bytes > bytes_max { Err(Error::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    fn segment_len(&self) -> usize {
        usize::try_from(self.config.segment_bytes).expect("segments are at most 2 GiB long")
    }

    /// Longest record. A new segment opens with the states of all groups, one more than there are now included.
    fn record_bytes_max(&self) -> usize {
        let states_bytes = (self.groups.len() + 1) * GROUP_STATE_BYTES;
        self.segment_len().saturating_sub(HEADER_BYTES + OPENING_BYTES + states_bytes)
    }

    fn check_size(&self, entries: &[Entry]) -> Result<(), Error> {
        let bytes_max = self.record_bytes_max();
        let mut total = 0;
        for entry in entries {
            let bytes = record::entries_bytes(std::slice::from_ref(entry));
            if bytes > bytes_max {
                return Err(Error::TooLarge { bytes, bytes_max });
            }
            total += bytes;
        }
        if self.pending_bytes() + total > self.config.pending_bytes_max {
            return Err(Error::Backlog { bytes: total, bytes_max: self.config.pending_bytes_max });
        }
        Ok(())
    }

    /// How many of the entries go into one record: of one term, and not longer than a block should be
    /// or a segment has room for.
    fn run_length(&self, entries: &[Entry]) -> usize {
        let term = entries[0].term;
        let mut bytes = HEADER_BYTES + record::ENTRIES_HEADER_BYTES;
        let bytes_max = self.config.block_bytes_max.min(self.record_bytes_max() + HEADER_BYTES);
        let joined = entries.iter().take_while(|entry| {
            bytes += record::entry_bytes(entry);
            entry.term == term && bytes <= bytes_max
        });
        joined.count().max(1)
    }

    fn put_entries(&mut self, group: GroupId, entries: &[Entry]) {
        let len = record::entries_bytes(entries);
        self.make_room(len);
        let link = self.link_of(group);
        let (place, crc) =
            self.writer.put(true, |buf, place| record::put_entries(buf, &Address { place, group, link }, entries));
        self.note_record(group, crc);
        self.stats.records += 1;
        self.stats.entries += entries.len() as u64;
        let run = Run {
            first: entries[0].index,
            segment: place.segment,
            offset: u32::try_from(place.offset).expect("segments are at most 2 GiB long"),
            len: u32::try_from(len).expect("a record fits a segment"),
        };
        let count = u32::try_from(entries.len()).expect("a record's count is below its length");
        let Wal { groups, segments, .. } = self;
        let log = groups.get_mut(&group).expect("its record is noted");
        log.append(run, count, entries[0].term, |id| segments.run_dropped(id)).expect("checked before appending");
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Membership) {
            // The entry's payload may be a slice of something much longer.
            log.note_membership(entry.index, Bytes::copy_from_slice(&entry.payload));
        }
        segments.run_added(place.segment);
    }

    fn put_compaction(&mut self, group: GroupId, index: Index, term: Term) {
        self.put_small(group, &Body::Compaction { index, term });
        let Wal { groups, segments, .. } = self;
        groups.entry(group).or_insert_with(GroupLog::new).compact(index, term, |id| segments.run_dropped(id));
    }

    fn put_small(&mut self, group: GroupId, body: &Body<'_>) {
        self.make_room(record::small_bytes(body));
        let link = self.link_of(group);
        let (_, crc) =
            self.writer.put(true, |buf, place| record::put_small(buf, &Address { place, group, link }, body));
        self.note_record(group, crc);
        self.stats.records += 1;
    }

    /// Leads to the group's last record. To be asked once the next one has its place: a segment opens with records too.
    fn link_of(&self, group: GroupId) -> Link {
        self.groups.get(&group).map_or(Link::NONE, |log| log.link)
    }

    fn note_record(&mut self, group: GroupId, crc: u32) {
        let link = Link { seq: self.writer.forming_seq(), crc };
        self.groups.entry(group).or_insert_with(GroupLog::new).record(link);
    }

    fn group_mut(&mut self, group: GroupId) -> &mut GroupLog {
        self.groups.entry(group).or_insert_with(GroupLog::new)
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
            segment.file = self.pool.borrow_mut().ready.pop_front();
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
