//! What storage keeps of each replica of a core: its snapshot on disk, and how long its log has grown behind that.

use std::collections::{BTreeSet, HashMap, VecDeque};

use types::{GroupId, Index, ReplicaId};

use super::interface::{SnapshotInfo, StorageEffect};

/// How much is applied between two places at which the log could be cut, in bytes.
const CUT_EVERY_BYTES: u64 = 64 << 10;
/// What an entry takes in the log beside its payload, in bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// How much of a group's log its state has taken in, and where it could be cut.
#[derive(Default)]
pub(super) struct LogSize {
    /// Bytes of entries applied since the start.
    applied_bytes: u64,
    /// That number at the last snapshot. Invariant: `at_snapshot <= applied_bytes`.
    at_snapshot: u64,
    /// Some of the entries applied, ascending, and how many bytes had been applied with them.
    cuts: VecDeque<(Index, u64)>,
}

impl LogSize {
    /// An entry was applied.
    fn applied(&mut self, index: Index, payload_bytes: usize) {
        self.applied_bytes += payload_bytes as u64 + ENTRY_OVERHEAD_BYTES;
        if self.cuts.back().is_none_or(|(_, bytes)| self.applied_bytes - bytes >= CUT_EVERY_BYTES) {
            self.cuts.push_back((index, self.applied_bytes));
        }
    }

    /// Bytes of entries applied since the last snapshot.
    fn behind_snapshot(&self) -> u64 {
        self.applied_bytes - self.at_snapshot
    }

    /// The last entry at which the log can be cut so that at least `tail_bytes` of the entries up to `last` remain.
    fn cut(&mut self, last: Index, tail_bytes: u64) -> Option<Index> {
        let count = self.cuts.partition_point(|(index, _)| *index <= last);
        let end = self.cuts.get(count.checked_sub(1)?)?.1;
        let far = self.cuts.partition_point(|(index, bytes)| *index <= last && bytes + tail_bytes <= end);
        let cut = self.cuts.get(far.checked_sub(1)?)?.0;
        self.cuts.drain(..far);
        Some(cut)
    }
}

/// What is kept of one replica.
pub(super) struct Record {
    pub(super) group: GroupId,
    replica: ReplicaId,
    /// The snapshot that has its name on disk.
    snapshot: Option<SnapshotInfo>,
    /// The snapshot on disk is ahead of the state, and is offered once this index is applied; 0 if it is not.
    offer_at: Index,
    log_size: LogSize,
    /// Whether the group is among those whose log has grown long.
    is_long: bool,
    /// The log should be cut here once nobody receives a snapshot before it any more; 0 if it was cut.
    cut_at: Index,
    is_log_full: bool,
    /// How often all rows had been removed at once when they were last flushed.
    clears_flushed: u64,
    /// Whether all rows are dirty, or on the way to be, since the tables are of no use.
    is_written_anew: bool,
}

/// What is kept of all replicas of a core, by their index, with the sets of those for which something is due: nothing
/// here goes over all replicas.
pub(super) struct Records {
    list: Vec<Record>,
    /// Where each group stands in `list` that has a replica here.
    index_of: HashMap<GroupId, usize>,
    /// The same of those that had one.
    gone: HashMap<GroupId, usize>,
    group_log_bytes_max: u64,
    /// Replicas whose log behind the snapshot is longer than it should be.
    long: BTreeSet<usize>,
    /// Replicas whose snapshot turned out to be damaged.
    damaged: BTreeSet<usize>,
    /// Replicas whose tables are damaged while memory does not hold all rows: nothing of them is flushed, merged or sent until another
    /// replica's state has taken their place.
    lost: BTreeSet<usize>,
    /// Replicas with a cut of their log that waits.
    cuts: BTreeSet<usize>,
    /// Replicas whose writers wait since they keep the oldest part of a log that is full.
    full: Vec<usize>,
    /// Replicas that have applied as much as their snapshot holds, so that it can be offered.
    offers: Vec<usize>,
}

impl Records {
    pub(super) fn new(group_log_bytes_max: u64) -> Records {
        Records {
            list: Vec::new(),
            index_of: HashMap::new(),
            gone: HashMap::new(),
            group_log_bytes_max,
            long: BTreeSet::new(),
            damaged: BTreeSet::new(),
            lost: BTreeSet::new(),
            cuts: BTreeSet::new(),
            full: Vec::new(),
            offers: Vec::new(),
        }
    }

    /// A replica starts, on this snapshot. Its index is that of one of its group that is gone, or the next one.
    pub(super) fn push(&mut self, group: GroupId, replica: ReplicaId, snapshot: Option<SnapshotInfo>) {
        let idx = self.gone.remove(&group).unwrap_or(self.list.len());
        self.index_of.insert(group, idx);
        let record = Record {
            group,
            replica,
            snapshot,
            offer_at: 0,
            log_size: LogSize::default(),
            is_long: false,
            cut_at: 0,
            is_log_full: false,
            clears_flushed: 0,
            is_written_anew: false,
        };
        match self.list.get_mut(idx) {
            Some(gone) => *gone = record,
            None => self.list.push(record),
        }
    }

    /// A replica is about to be destroyed: nothing is due for it any more.
    pub(super) fn is_gone(&mut self, group: usize) {
        let id = self.list[group].group;
        self.index_of.remove(&id);
        self.gone.insert(id, group);
        for due in [&mut self.long, &mut self.damaged, &mut self.lost, &mut self.cuts] {
            due.remove(&group);
        }
        self.full.retain(|full| *full != group);
        self.offers.retain(|offer| *offer != group);
    }

    /// Whether the replica of this index is there.
    pub(super) fn is_here(&self, idx: usize) -> bool {
        self.index_of(self.list[idx].group) == Some(idx)
    }

    /// The index of the replica of a group, if one has started here, whether it is gone or not.
    pub(super) fn last_index_of(&self, group: GroupId) -> Option<usize> {
        self.index_of(group).or_else(|| self.gone.get(&group).copied())
    }

    /// The indexes of the replicas that are there.
    pub(super) fn indexes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.list.len()).filter(|idx| self.is_here(*idx))
    }

    /// A replica does not start after all.
    pub(super) fn remove(&mut self, group: usize) {
        let is_untouched = self.long.is_empty() && self.damaged.is_empty() && self.cuts.is_empty();
        assert!(is_untouched && self.full.is_empty(), "replicas are removed before the first turn only");
        self.list.remove(group);
        self.index_of = self.list.iter().enumerate().map(|(idx, record)| (record.group, idx)).collect();
    }

    /// The replica of a group that runs here.
    pub(super) fn replica_of(&self, group: GroupId) -> Option<ReplicaId> {
        self.index_of(group).map(|idx| self.list[idx].replica)
    }

    /// The index of the replica of a group, if it has started here.
    pub(super) fn index_of(&self, group: GroupId) -> Option<usize> {
        self.index_of.get(&group).copied()
    }

    pub(super) fn get(&self, group: usize) -> &Record {
        &self.list[group]
    }

    /// The snapshot that a group has on disk, damaged or not.
    pub(super) fn snapshot(&self, group: usize) -> Option<&SnapshotInfo> {
        self.list[group].snapshot.as_ref()
    }

    /// Last index of the snapshot on disk; 0 if there is none.
    pub(super) fn snapshot_index(&self, group: usize) -> Index {
        self.snapshot(group).map_or(0, |snapshot| snapshot.last_index)
    }

    /// Last index of the snapshot on disk if it is sound; 0 if there is none.
    pub(super) fn covered(&self, group: usize) -> Index {
        self.snapshot(group).filter(|snapshot| !snapshot.is_damaged).map_or(0, |snapshot| snapshot.last_index)
    }

    /// An entry was applied. Cheap.
    pub(super) fn applied(&mut self, group: usize, index: Index, payload_bytes: usize) {
        let record = &mut self.list[group];
        record.log_size.applied(index, payload_bytes);
        if !record.is_long && record.log_size.behind_snapshot() > self.group_log_bytes_max {
            record.is_long = true;
            self.long.insert(group);
        }
        if record.offer_at != 0 && record.offer_at <= index {
            record.offer_at = 0;
            self.offers.push(group);
        }
    }

    /// Bytes of entries applied up to now, to be handed to [`Records::covers`] once a snapshot that begins now is there.
    pub(super) fn applied_bytes(&self, group: usize) -> u64 {
        self.list[group].log_size.applied_bytes
    }

    /// Bytes of entries applied since the last snapshot.
    pub(super) fn behind_snapshot(&self, group: usize) -> u64 {
        self.list[group].log_size.behind_snapshot()
    }

    /// The snapshot on disk covers all that had been applied when [`Records::applied_bytes`] was this.
    pub(super) fn covers(&mut self, group: usize, applied_bytes: u64) {
        let record = &mut self.list[group];
        record.log_size.at_snapshot = applied_bytes;
        if record.log_size.behind_snapshot() <= self.group_log_bytes_max {
            record.is_long = false;
            self.long.remove(&group);
        }
    }

    /// The state of a replica was replaced: the log that it had taken in concerns nobody any more.
    pub(super) fn restart_log(&mut self, group: usize) {
        self.covers(group, self.applied_bytes(group));
        let record = &mut self.list[group];
        record.log_size = LogSize::default();
        record.cut_at = 0;
        self.cuts.remove(&group);
    }

    /// The last entry at which the log can be cut so that a tail for slow followers remains of what the snapshot covers.
    pub(super) fn cut(&mut self, group: usize, last: Index, tail_bytes: u64) -> Option<Index> {
        self.list[group].log_size.cut(last, tail_bytes)
    }

    /// A snapshot has its name on disk. It is offered at once if the state, which holds everything up to `applied`, has
    /// come as far, or else once it has.
    pub(super) fn set_snapshot(
        &mut self,
        group: usize,
        snapshot: SnapshotInfo,
        applied: Index,
        effects: &mut Vec<StorageEffect>,
    ) {
        self.offers.retain(|other| *other != group);
        let record = &mut self.list[group];
        if snapshot.last_index <= applied {
            record.offer_at = 0;
            effects.push(StorageEffect::OfferSnapshot { group, meta: snapshot.meta() });
        } else {
            record.offer_at = snapshot.last_index;
        }
        record.snapshot = Some(snapshot);
        record.is_written_anew = false;
        self.damaged.remove(&group);
    }

    /// Raft has taken the snapshot on disk over and needs no offer of it.
    pub(super) fn is_offered(&mut self, group: usize) {
        self.list[group].offer_at = 0;
    }

    /// Offers the snapshots as far as which states have come since.
    pub(super) fn take_offers(&mut self, effects: &mut Vec<StorageEffect>) {
        for group in self.offers.drain(..) {
            let snapshot = self.list[group].snapshot.as_ref();
            effects.extend(snapshot.map(|snapshot| StorageEffect::OfferSnapshot { group, meta: snapshot.meta() }));
        }
    }

    /// The snapshot with this last index is damaged. `false` if it is not the one on disk, or known to be.
    pub(super) fn set_damaged(&mut self, group: usize, last_index: Index) -> bool {
        let snapshot = self.list[group].snapshot.as_mut();
        let Some(snapshot) = snapshot.filter(|one| one.last_index == last_index && !one.is_damaged) else {
            return false;
        };
        snapshot.is_damaged = true;
        self.damaged.insert(group);
        true
    }

    /// Whether the tables are of no use: all rows are to be written anew.
    pub(super) fn is_damaged(&self, group: usize) -> bool {
        self.damaged.contains(&group)
    }

    /// The tables of a replica are damaged, and memory does not hold all of its rows. `false` if that is known.
    pub(super) fn lose(&mut self, group: usize) -> bool {
        self.damaged.remove(&group);
        self.lost.insert(group)
    }

    /// Nothing can take the place of damaged tables: they are read as long as they can be.
    pub(super) fn is_sound_again(&mut self, group: usize) {
        self.damaged.remove(&group);
        if let Some(snapshot) = &mut self.list[group].snapshot {
            snapshot.is_damaged = false;
        }
    }

    /// Whether the state of a replica is lost.
    pub(super) fn is_lost(&self, group: usize) -> bool {
        self.lost.contains(&group)
    }

    /// Whether nobody should read the tables of a replica but for rows that commands need.
    pub(super) fn is_damaged_or_lost(&self, group: usize) -> bool {
        self.is_damaged(group) || self.is_lost(group)
    }

    /// Another state has taken the place of one that was lost.
    pub(super) fn is_found(&mut self, group: usize) {
        self.lost.remove(&group);
    }

    /// All rows are to be written anew. Whether that is to be begun.
    pub(super) fn begin_to_write_anew(&mut self, group: usize) -> bool {
        !std::mem::replace(&mut self.list[group].is_written_anew, true)
    }

    /// Whether that was begun, and has not ended.
    pub(super) fn is_written_anew(&self, group: usize) -> bool {
        self.list[group].is_written_anew
    }

    /// How often all rows had been removed at once when they were last flushed, since the replica was loaded.
    pub(super) fn clears_flushed(&self, group: usize) -> u64 {
        self.list[group].clears_flushed
    }

    /// The rows were flushed, or loaded, when all had been removed at once so often.
    pub(super) fn set_clears_flushed(&mut self, group: usize, clears_count: u64) {
        self.list[group].clears_flushed = clears_count;
    }

    /// Replicas whose log behind the snapshot is longer than it should be.
    pub(super) fn long(&self) -> impl Iterator<Item = usize> + '_ {
        self.long.iter().copied()
    }

    /// Replicas whose snapshot is damaged.
    pub(super) fn damaged(&self) -> impl Iterator<Item = usize> + '_ {
        self.damaged.iter().copied()
    }

    /// The log of a group should be cut at `index`, later.
    pub(super) fn postpone_cut(&mut self, group: usize, index: Index) {
        let record = &mut self.list[group];
        record.cut_at = record.cut_at.max(index);
        self.cuts.insert(group);
    }

    /// Cuts that wait, as (replica, index).
    pub(super) fn postponed_cuts(&self) -> impl Iterator<Item = (usize, Index)> + '_ {
        self.cuts.iter().map(|group| (*group, self.list[*group].cut_at))
    }

    /// The log of a group was cut at `index`.
    pub(super) fn was_cut(&mut self, group: usize, index: Index) {
        let record = &mut self.list[group];
        if record.cut_at <= index {
            record.cut_at = 0;
            self.cuts.remove(&group);
        }
    }

    pub(super) fn is_log_full(&self, group: usize) -> bool {
        self.list[group].is_log_full
    }

    /// Replicas whose writers wait since they keep the oldest part of a log that is full.
    pub(super) fn full(&self) -> &[usize] {
        &self.full
    }

    /// Whose writers wait from now on, instead of those until now.
    pub(super) fn set_full(&mut self, full: impl Iterator<Item = usize>) {
        for group in self.full.drain(..) {
            self.list[group].is_log_full = false;
        }
        self.full.extend(full);
        for group in &self.full {
            self.list[*group].is_log_full = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(group_log_bytes_max: u64) -> Records {
        let mut records = Records::new(group_log_bytes_max);
        (1..=3).for_each(|id| records.push(GroupId(id), ReplicaId(1), None));
        records
    }

    fn snapshot(last_index: Index) -> SnapshotInfo {
        SnapshotInfo::new(last_index, 1, wire::Membership::default())
    }

    #[test]
    fn a_log_is_cut_so_that_a_tail_of_what_the_snapshot_covers_remains() {
        let mut size = LogSize::default();
        let payload_bytes = (CUT_EVERY_BYTES - ENTRY_OVERHEAD_BYTES) as usize;
        (1..=10).for_each(|index| size.applied(index, payload_bytes));
        assert_eq!(size.cut(8, 3 * CUT_EVERY_BYTES), Some(5));
        assert_eq!(size.cut(8, 3 * CUT_EVERY_BYTES), None, "it was cut there");
        assert_eq!(size.cut(8, 0), Some(8));
        assert_eq!(LogSize::default().cut(8, 0), None);
    }

    #[test]
    fn a_group_is_long_from_when_its_log_passes_the_limit_until_a_snapshot_covers_it() {
        let mut records = records(1_000);
        records.applied(1, 1, 900);
        assert_eq!(records.long().count(), 0);
        records.applied(1, 2, 900);
        assert!(records.long().eq([1]));
        let covers = records.applied_bytes(1);
        records.applied(1, 3, 900);
        records.covers(1, covers);
        assert_eq!(records.long().count(), 0);
        assert_eq!(records.behind_snapshot(1), 964);
    }

    #[test]
    fn a_snapshot_ahead_of_the_state_is_offered_once_the_state_has_come_as_far() {
        let (mut records, mut effects) = (records(1_000), Vec::new());
        records.set_snapshot(2, snapshot(7), 5, &mut effects);
        records.applied(2, 6, 0);
        records.take_offers(&mut effects);
        assert!(effects.is_empty());
        records.applied(2, 7, 0);
        records.take_offers(&mut effects);
        assert!(matches!(&effects[..], [StorageEffect::OfferSnapshot { group: 2, meta }] if meta.last_index == 7));
        records.applied(2, 8, 0);
        records.take_offers(&mut effects);
        assert_eq!(effects.len(), 1, "once");
        records.set_snapshot(2, snapshot(8), 8, &mut effects);
        assert_eq!(effects.len(), 2);
    }

    #[test]
    fn a_snapshot_that_replaced_one_which_could_be_offered_waits_for_the_state() {
        let (mut records, mut effects) = (records(1_000), Vec::new());
        records.set_snapshot(2, snapshot(7), 5, &mut effects);
        records.applied(2, 7, 0);
        records.set_snapshot(2, snapshot(9), 7, &mut effects);
        records.take_offers(&mut effects);
        assert!(effects.is_empty(), "the state has not come as far");
    }

    #[test]
    fn a_damaged_snapshot_covers_nothing_until_another_one_takes_its_place() {
        let (mut records, mut effects) = (records(1_000), Vec::new());
        records.set_snapshot(0, snapshot(7), 7, &mut effects);
        assert!(!records.set_damaged(0, 6), "that one is gone");
        assert!(records.set_damaged(0, 7) && !records.set_damaged(0, 7), "it is told once");
        assert_eq!((records.covered(0), records.snapshot_index(0)), (0, 7));
        assert!(records.damaged().eq([0]));
        records.set_snapshot(0, snapshot(7), 7, &mut effects);
        assert_eq!((records.covered(0), records.damaged().count()), (7, 0));
    }

    #[test]
    fn cuts_wait_until_the_log_is_cut_as_far() {
        let mut records = records(1_000);
        records.postpone_cut(1, 20);
        records.postpone_cut(1, 10);
        assert!(records.postponed_cuts().eq([(1, 20)]));
        records.was_cut(1, 15);
        assert!(records.postponed_cuts().eq([(1, 20)]));
        records.was_cut(1, 20);
        assert_eq!(records.postponed_cuts().count(), 0);
    }

    #[test]
    fn writers_wait_only_for_groups_that_keep_a_full_log() {
        let mut records = records(1_000);
        records.set_full([0, 2].into_iter());
        assert!(records.is_log_full(0) && !records.is_log_full(1) && records.is_log_full(2));
        records.set_full([1].into_iter());
        assert!(!records.is_log_full(0) && records.is_log_full(1) && !records.is_log_full(2));
    }
}
