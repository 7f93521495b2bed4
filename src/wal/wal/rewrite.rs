//! Writing entries of a group once more at the end of the log, so that the segments they lay in can go.

use types::{GroupId, Index};
use wire::Entry;

use crate::LogHost;
use crate::error::Error;
use crate::group::GroupLog;
use crate::record;
use crate::wal::Wal;

/// Longest block that is written for this: a little more than the longest single record may take.
const REWRITE_BYTES_MAX: usize = 24 << 20;

impl<D: LogHost> Wal<D> {
    /// How many bytes of records hold the entries of a group from `first` to its last one, if [`Wal::rewrite`] could take
    /// them: they are not committed as far as the log knows, and fit a block together.
    pub fn rewritable_bytes(&self, group: GroupId, first: Index) -> Option<usize> {
        let log = self.groups.get(&group).filter(|log| log.fault.is_none())?;
        let fixed = log.hard_state.commit.max(log.start_index());
        if first <= fixed || first > log.last_index() {
            return None;
        }
        let bytes = log.runs(first, log.last_index()).map(|(run, _)| run.len as usize).sum();
        (bytes <= self.rewrite_bytes_max()).then_some(bytes)
    }

    fn rewrite_bytes_max(&self) -> usize {
        self.record_bytes_max().min(REWRITE_BYTES_MAX)
    }

    /// Writes entries again that the log holds already, up to a group's last one and none of them committed: what was the
    /// only copy of them is not needed once this is durable. For a group that can neither commit nor drop what it holds, as
    /// it has no majority, while others go on writing. Returns whether it was done; it is not if these are not the group's
    /// last entries any more or do not fit one block.
    ///
    /// On disk these are entries that replace themselves. They stand in one block, so that a crash leaves the former ones
    /// or all of these: entries that were acknowledged are never missing.
    ///
    /// # Errors
    /// As [`Wal::append_hard_state`].
    pub fn rewrite(&mut self, group: GroupId, entries: &[Entry]) -> Result<bool, Error> {
        self.check_trusted(group)?;
        let (Some(first), Some(log)) = (entries.first(), self.groups.get(&group)) else { return Ok(false) };
        let is_same = self.rewritable_bytes(group, first.index).is_some()
            && (first.index..=log.last_index()).eq(entries.iter().map(|entry| entry.index))
            && entries.iter().all(|entry| log.term(entry.index) == Some(entry.term));
        let records = || entries.chunk_by(|one, next| one.term == next.term);
        let bytes = records().map(record::entries_bytes).sum();
        if !is_same || bytes > self.rewrite_bytes_max() {
            return Ok(false);
        }
        self.make_room_for_block(bytes);
        records().for_each(|record| self.put_record(group, record));
        self.stats.rewrites += 1;
        Ok(true)
    }

    /// Begins a block that takes records of this length together.
    fn make_room_for_block(&mut self, len: usize) {
        self.writer.close();
        if !self.writer.fits_empty(len) {
            self.roll();
        }
    }

    /// The last entry of a group, durable or not; 0 if there is none.
    pub fn last_index(&self, group: GroupId) -> Index {
        self.groups.get(&group).map_or(0, GroupLog::last_index)
    }
}
