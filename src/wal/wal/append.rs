//! What is appended: checked first, then put into blocks, then known.

use bytes::Bytes;
use types::{GroupId, Index, Term};
use wire::{Entry, EntryKind, HardState};

use crate::LogHost;
use crate::error::Error;
use crate::format::HEADER_BYTES;
use crate::group::{GroupLog, Run};
use crate::record::{self, Address, Body, GROUP_STATE_BYTES, Link, OPENING_BYTES};
use crate::wal::Wal;

/// Why a group is known that is written to.
const BEGUN: &str = "a replica of it has begun";

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

impl<D: LogHost> Wal<D> {
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
    /// If no replica of the group lives here, or the indices have gaps or reach into the compacted or committed part: Raft never
    /// asks for that.
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
    ///
    /// # Panics
    /// If no replica of the group lives here.
    pub fn append_hard_state(&mut self, group: GroupId, state: HardState) -> Result<(), Error> {
        self.check_writable(group)?;
        let state = HardState { commit: state.commit.min(self.last_index(group)), ..state };
        self.put_small(group, &Body::HardState(state));
        self.groups.get_mut(&group).expect(BEGUN).hard_state = state;
        Ok(())
    }

    /// Removes a group's entries at and behind `from`, if there are any.
    ///
    /// # Errors
    /// As [`Wal::append_hard_state`].
    ///
    /// # Panics
    /// If no replica of the group lives here, or `from` lies in the compacted or committed part.
    pub fn truncate(&mut self, group: GroupId, from: Index) -> Result<(), Error> {
        self.check_writable(group)?;
        if self.last_index(group) < from {
            return Ok(());
        }
        self.assert_follows(group, from);
        self.put_small(group, &Body::Truncation { from });
        let Wal { groups, segments, .. } = self;
        let log = groups.get_mut(&group).expect(BEGUN);
        log.truncate(from, |id| segments.run_dropped(id)).expect("Raft does not truncate what was compacted");
        Ok(())
    }

    /// Removes a group's entries up to and with `index`, at most its last: their effects are durable
    /// elsewhere. Segments in which nothing is left are used again once this is durable itself.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] beyond the last entry; otherwise as [`Wal::append_hard_state`].
    ///
    /// # Panics
    /// If no replica of the group lives here.
    pub fn compact(&mut self, group: GroupId, index: Index) -> Result<(), Error> {
        self.check_writable(group)?;
        let log = self.groups.get(&group).expect(BEGUN);
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
    ///
    /// # Panics
    /// If no replica of the group lives here.
    pub fn reset(&mut self, group: GroupId, index: Index, term: Term) -> Result<(), Error> {
        self.check_writable(group)?;
        if index <= self.groups.get(&group).expect(BEGUN).start_index() {
            return Ok(());
        }
        let Some(behind) = index.checked_add(1) else {
            return Err(Error::OutOfRange { group, first: index, last: index });
        };
        self.truncate(group, behind)?;
        self.put_compaction(group, index, term);
        Ok(())
    }

    /// Refuses to replace what is committed: that would lose acknowledged writes.
    fn assert_follows(&self, group: GroupId, first: Index) {
        let log = self.groups.get(&group).expect(BEGUN);
        let (fixed, last) = (log.hard_state.commit.max(log.start_index()), log.last_index());
        assert!(
            first > fixed && first <= last + 1,
            "group {group}: entry {first} neither follows the last one, {last}, nor replaces one behind {fixed}"
        );
    }

    pub(super) fn check_writable(&self, group: GroupId) -> Result<(), Error> {
        self.check_trusted(group)?;
        let is_begun = self.groups.get(&group).is_some_and(GroupLog::is_begun);
        assert!(is_begun, "group {group}: nothing has begun here");
        Ok(())
    }

    pub(super) fn check_trusted(&self, group: GroupId) -> Result<(), Error> {
        self.check_alive()?;
        let fault = self.groups.get(&group).and_then(|log| log.fault);
        fault.map_or(Ok(()), |fault| Err(Error::Quarantined { group, fault }))
    }

    /// A segment opens with the states of all groups and still needs room for a record.
    pub(super) fn check_one_more_group(&self) -> Result<(), Error> {
        let bytes = HEADER_BYTES + OPENING_BYTES + (self.groups.len() + 2) * GROUP_STATE_BYTES;
        let bytes_max = self.segment_len();
        if bytes > bytes_max { Err(Error::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    fn segment_len(&self) -> usize {
        usize::try_from(self.config.segment_bytes).expect("segments are at most 2 GiB long")
    }

    /// Longest record. A new segment opens with the states of all groups, one more than there are now included.
    pub(super) fn record_bytes_max(&self) -> usize {
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
        // Padding and headers come on top of what an owner counts, so it is not taken at its word to the byte.
        let bytes_max = self.config.pending_bytes_max.saturating_mul(2);
        if self.pending_bytes().saturating_add(total) > bytes_max {
            return Err(Error::Backlog { bytes: total, bytes_max });
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
        self.make_room(record::entries_bytes(entries));
        self.put_record(group, entries);
    }

    /// Puts entries of one term, which the forming block must fit, into a record.
    pub(super) fn put_record(&mut self, group: GroupId, entries: &[Entry]) {
        let len = record::entries_bytes(entries);
        let link = self.link_of(group);
        let (place, crc) = self.writer.put_entries(group, link, entries);
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
        let log = groups.get_mut(&group).expect(BEGUN);
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
        groups.get_mut(&group).expect(BEGUN).compact(index, term, |id| segments.run_dropped(id));
    }

    pub(super) fn put_small(&mut self, group: GroupId, body: &Body<'_>) {
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
}
