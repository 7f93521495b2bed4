//! What is known of one group, and where its entries lie. The same code follows appends and recovery, so
//! the two cannot disagree.

use std::collections::VecDeque;

use bytes::Bytes;
use types::{Index, ReplicaId, Term};
use wire::HardState;

use crate::record::{Body, GroupState, Link, LogPosition};
use crate::recovered::{Condition, Fault, RecoveredGroup};

/// The part of one record that still counts: its entries from `first` up to the next run's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Index of the record's first entry.
    pub(crate) first: Index,
    /// Segment of the record.
    pub(crate) segment: u64,
    /// Its offset there in bytes.
    pub(crate) offset: u32,
    /// Its length in bytes.
    pub(crate) len: u32,
}

/// One group's part of the log.
#[derive(Debug)]
pub(crate) struct GroupLog {
    /// The replica that lives here, or the last one that was destroyed here; 0 if none is known. Of a group that is
    /// quarantined a lower bound.
    pub(crate) replica: ReplicaId,
    /// Nothing lives here. Invariant: then no entry and no hard state is known.
    pub(crate) is_destroyed: bool,
    /// Term, vote and commit as last recorded. Invariant while sound: commit <= last_index.
    pub(crate) hard_state: HardState,
    /// Last compacted index and its term.
    start: (Index, Term),
    // Invariant: last_index >= start.0.
    last_index: Index,
    /// Entries start.0 + 1 up to this index exist by a group state, but lay in segments before the oldest. To
    /// be compacted away by a later record, or missing. With a lower bound for the term of the last of them.
    absent: Option<(Index, Term)>,
    // Invariant: ascending by `first`, without gaps; the first one may begin at or before start.0.
    runs: VecDeque<Run>,
    // Invariant: ascending; neighbours differ in term; the first begins at the first entry that has a run.
    terms: VecDeque<(Index, Term)>,
    /// Payloads of the entries that change the membership. Invariant: ascending, all behind start.0.
    memberships: VecDeque<(Index, Bytes)>,
    pub(crate) fault: Option<Fault>,
    /// Whether the log itself says so.
    pub(crate) is_fault_recorded: bool,
    /// The group's last record.
    pub(crate) link: Link,
    /// The last block that vouches for the group: it holds that record, or a roll call that names it.
    pub(crate) vouched_seq: u64,
    /// A record behind this place, where blocks were lost, does not follow the last one known. Only a group state tells
    /// again what counts.
    pub(crate) broken_at: Option<LogPosition>,
}

impl GroupLog {
    /// A group of which nothing is known.
    pub(crate) fn new() -> GroupLog {
        GroupLog {
            replica: ReplicaId(0),
            is_destroyed: false,
            hard_state: HardState::default(),
            start: (0, 0),
            last_index: 0,
            absent: None,
            runs: VecDeque::new(),
            terms: VecDeque::new(),
            memberships: VecDeque::new(),
            fault: None,
            is_fault_recorded: false,
            link: Link::NONE,
            vouched_seq: 0,
            broken_at: None,
        }
    }

    /// Takes this for all that is known of the group.
    pub(crate) fn begin_with(&mut self, state: GroupState, dropped: impl FnMut(u64)) -> Result<(), &'static str> {
        self.clear(dropped);
        if state.last.0 < state.start.0 {
            return Err("a group state ends before it starts");
        }
        let absent = (state.last.0 > state.start.0).then_some(state.last);
        self.replica = state.replica;
        self.hard_state = state.hard_state;
        self.start = state.start;
        self.last_index = state.last.0;
        self.absent = absent;
        Ok(())
    }

    /// A replica begins: nothing of what was known holds.
    pub(crate) fn begin(&mut self, replica: ReplicaId, dropped: impl FnMut(u64)) -> Result<(), &'static str> {
        // Where blocks were lost, what is known may be what stands there in their stead.
        if replica <= self.replica && self.broken_at.is_none() {
            return Err("a replica begins where it or a later one lived or was destroyed");
        }
        self.clear(dropped);
        self.replica = replica;
        Ok(())
    }

    /// A replica is destroyed, whether it lived here or not: nothing of what was known holds.
    pub(crate) fn destroy(&mut self, replica: ReplicaId, dropped: impl FnMut(u64)) -> Result<(), &'static str> {
        if replica < self.replica && self.broken_at.is_none() {
            return Err("a replica is destroyed where a later one lived or was destroyed");
        }
        self.clear(dropped);
        self.replica = replica;
        self.is_destroyed = true;
        Ok(())
    }

    /// Whether a replica has begun here and lives, as far as is known.
    pub(crate) fn is_begun(&self) -> bool {
        self.replica > ReplicaId(0) && !self.is_destroyed
    }

    /// Whether nothing lives here any more for sure.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_destroyed && self.fault.is_none()
    }

    /// Notes the group's last record.
    pub(crate) fn record(&mut self, link: Link) {
        self.link = link;
        self.vouched_seq = link.seq;
    }

    /// Last compacted index; 0 if none.
    pub(crate) fn start_index(&self) -> Index {
        self.start.0
    }

    /// Last entry; equals the start if there are none.
    pub(crate) fn last_index(&self) -> Index {
        self.last_index
    }

    /// Everything known of a replica that lives here, as a record.
    pub(crate) fn state(&self) -> GroupState {
        GroupState {
            replica: self.replica,
            hard_state: self.hard_state,
            start: self.start,
            last: (self.last_index, self.last_term()),
        }
    }

    /// Everything known, as the record with which a segment opens.
    pub(crate) fn opening(&self) -> Body<'static> {
        match self.fault {
            Some(fault) => Body::Quarantine { replica: self.replica, fault },
            None if self.is_destroyed => Body::Destroyed { replica: self.replica },
            None => Body::GroupState(self.state()),
        }
    }

    /// Whether a group state found later in the log agrees with what the records before it add up to.
    pub(crate) fn agrees(&self, state: &GroupState) -> bool {
        // Of absent entries only the end is known, and not its term once a part was truncated.
        let last_agrees =
            if self.absent.is_some() { self.last_index == state.last.0 } else { self.state().last == state.last };
        let replica_agrees = self.is_begun() && self.replica == state.replica;
        replica_agrees && last_agrees && self.hard_state == state.hard_state && self.start == state.start
    }

    /// Term of the last entry, or of the one compacted away before it.
    pub(crate) fn last_term(&self) -> Term {
        let absent = self.absent.map(|(_, term)| term);
        self.terms.back().map(|(_, term)| *term).or(absent).unwrap_or(self.start.1)
    }

    /// Term of an entry; `None` if it is not in the log (the last compacted one still counts as in it).
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == self.start.0 {
            return Some(self.start.1);
        }
        if index < self.start.0 || index > self.last_index {
            return None;
        }
        let after = self.terms.partition_point(|(first, _)| *first <= index);
        self.terms.get(after.checked_sub(1)?).map(|(_, term)| *term)
    }

    /// The runs that hold entries `first..=last`, each with the index its part ends at.
    pub(crate) fn runs(&self, first: Index, last: Index) -> impl Iterator<Item = (Run, Index)> + '_ {
        let from = self.runs.partition_point(|run| run.first <= first).saturating_sub(1);
        (from..self.runs.len()).map_while(move |idx| {
            let run = *self.runs.get(idx)?;
            let end = self.runs.get(idx + 1).map_or(self.last_index, |next| next.first - 1);
            (run.first <= last).then_some((run, end.min(last)))
        })
    }

    /// The last entry that lies in a segment or in an older one, if any does.
    pub(crate) fn last_up_to_segment(&self, segment: u64) -> Option<Index> {
        let behind = self.runs.partition_point(|run| run.segment <= segment);
        behind.checked_sub(1)?;
        Some(self.runs.get(behind).map_or(self.last_index, |next| next.first - 1))
    }

    /// Takes a record of entries into the index. `dropped` is told the segment of each run that goes.
    pub(crate) fn append(
        &mut self,
        run: Run,
        count: u32,
        term: Term,
        dropped: impl FnMut(u64),
    ) -> Result<(), &'static str> {
        if run.first <= self.start.0 {
            return Err("entries were appended that had been compacted");
        }
        if run.first > self.last_index + 1 {
            return Err("entries were appended behind a gap");
        }
        self.truncate(run.first, dropped)?;
        if term < self.last_term() {
            return Err("the term of appended entries is older than that before them");
        }
        if self.terms.back().is_none_or(|(_, last)| *last != term) {
            self.terms.push_back((run.first, term));
        }
        self.last_index = run.first + u64::from(count) - 1;
        self.runs.push_back(run);
        Ok(())
    }

    /// Notes that one of the entries just appended changes the membership.
    pub(crate) fn note_membership(&mut self, index: Index, payload: Bytes) {
        if index > self.start.0 {
            self.memberships.push_back((index, payload));
        }
    }

    /// Removes the entries at and behind `from`.
    pub(crate) fn truncate(&mut self, from: Index, mut dropped: impl FnMut(u64)) -> Result<(), &'static str> {
        if from <= self.start.0 {
            return Err("a truncation reaches into what had been compacted");
        }
        // The first run may begin with entries that were compacted away: without others nothing of it counts.
        let is_emptied = from == self.start.0 + 1;
        while let Some(run) = self.runs.back().filter(|run| run.first >= from || is_emptied) {
            dropped(run.segment);
            self.runs.pop_back();
        }
        while self.terms.back().is_some_and(|(first, _)| *first >= from) {
            self.terms.pop_back();
        }
        while self.memberships.back().is_some_and(|(index, _)| *index >= from) {
            self.memberships.pop_back();
        }
        self.last_index = self.last_index.min(from - 1);
        if let Some((last, _)) = self.absent.filter(|(last, _)| *last >= from) {
            // In which term the rest ends is unknown. What comes next may well be older than what is removed here: an
            // uncommitted entry of a newer leader gives way to a committed one of an older.
            self.absent = (from - 1 > self.start.0).then_some((last.min(from - 1), 0));
        }
        Ok(())
    }

    /// Removes the entries up to `index`, which had this term. Beyond the last entry: the log restarts behind it.
    pub(crate) fn compact(&mut self, index: Index, term: Term, mut dropped: impl FnMut(u64)) {
        if index <= self.start.0 {
            return;
        }
        self.start = (index, term);
        while self.memberships.front().is_some_and(|(changed, _)| *changed <= index) {
            self.memberships.pop_front();
        }
        if self.absent.is_some_and(|(last, _)| last <= index) {
            self.absent = None;
        }
        if index >= self.last_index {
            self.last_index = index;
            self.terms.clear();
            self.runs.drain(..).for_each(|run| dropped(run.segment));
            return;
        }
        while self.runs.get(1).is_some_and(|next| next.first <= index + 1) {
            if let Some(run) = self.runs.pop_front() {
                dropped(run.segment);
            }
        }
        while self.terms.get(1).is_some_and(|(first, _)| *first <= index + 1) {
            self.terms.pop_front();
        }
        if let Some(front) = self.terms.front_mut() {
            front.0 = front.0.max(index + 1);
        }
    }

    /// Forgets all but which record was the last.
    pub(crate) fn clear(&mut self, dropped: impl FnMut(u64)) {
        self.drop_runs(dropped);
        *self = GroupLog { link: self.link, vouched_seq: self.vouched_seq, ..GroupLog::new() };
    }

    /// Forgets where entries lie: nobody shall read them.
    pub(crate) fn drop_runs(&mut self, mut dropped: impl FnMut(u64)) {
        self.runs.drain(..).for_each(|run| dropped(run.segment));
    }

    /// Looks, at the end of recovery, for what must be there and is not.
    pub(crate) fn check(&mut self) {
        if self.fault.is_some() {
            return;
        }
        if let Some((last, _)) = self.absent {
            self.fault = Some(Fault::EntriesMissing { first: self.start.0 + 1, last });
        } else if self.hard_state.commit > self.last_index {
            self.fault = Some(Fault::CommitBeyondLog { commit: self.hard_state.commit, last_index: self.last_index });
        }
    }

    /// The report on this group.
    pub(crate) fn report(&self) -> RecoveredGroup {
        RecoveredGroup {
            replica: self.replica,
            hard_state: self.hard_state,
            start_index: self.start.0,
            start_term: self.start.1,
            last_index: self.last_index,
            terms: self.terms.iter().copied().collect(),
            memberships: self.memberships.iter().cloned().collect(),
            condition: self.fault.map_or(Condition::Sound, Condition::Quarantined),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries 5 to 9 behind a compaction up to 4: two of term 2 and three of term 3.
    fn log() -> GroupLog {
        let mut log = GroupLog::new();
        log.begin(ReplicaId(6), |_| {}).expect("nothing lived here");
        log.hard_state.term = 3;
        log.compact(4, 1, |_| {});
        let run = |first| Run { first, segment: 1, offset: 0, len: 100 };
        log.append(run(5), 2, 2, |_| {}).expect("behind the start");
        log.append(run(7), 3, 3, |_| {}).expect("behind the last");
        log
    }

    #[test]
    fn terms_are_known_from_the_start_to_the_last_entry() {
        let log = log();
        let terms: Vec<_> = (2..=10).map(|index| log.term(index)).collect();
        assert_eq!(terms, [None, None, Some(1), Some(2), Some(2), Some(3), Some(3), Some(3), None]);
        assert_eq!((log.start_index(), log.last_index(), log.last_term()), (4, 9, 3));
    }

    #[test]
    fn a_state_agrees_only_if_all_of_it_does() {
        let log = log();
        let state = log.state();
        assert!(log.agrees(&state));
        assert!(!log.agrees(&GroupState { replica: ReplicaId(7), ..state }));
        assert!(!log.agrees(&GroupState { start: (4, 2), ..state }));
        assert!(!log.agrees(&GroupState { last: (9, 2), ..state }));
        assert!(!log.agrees(&GroupState { last: (8, 3), ..state }));
        assert!(!log.agrees(&GroupState { hard_state: HardState { commit: 5, ..state.hard_state }, ..state }));
    }

    #[test]
    fn of_absent_entries_only_the_end_must_agree() {
        let mut log = log();
        let state = log.state();
        log.begin_with(state, |_| {}).expect("it makes sense");
        assert!(log.agrees(&GroupState { last: (9, 7), ..state }), "nobody knows the term of a rest");
        assert!(!log.agrees(&GroupState { last: (8, 3), ..state }));
        assert!(!log.agrees(&GroupState { start: (4, 2), ..state }));
        // What is left of them ends in a term that is not known; with the last of them gone that of the start is.
        log.truncate(8, |_| {}).expect("behind the start");
        assert_eq!((log.last_index(), log.last_term()), (7, 0));
        log.truncate(5, |_| {}).expect("behind the start");
        assert_eq!((log.last_index(), log.last_term()), (4, 1));
    }

    #[test]
    fn a_cleared_log_remembers_its_last_record_alone() {
        let mut log = log();
        let link = Link { seq: 12, crc: 7 };
        log.record(link);
        log.clear(|_| {});
        assert_eq!((log.link, log.vouched_seq, log.start_index(), log.last_index()), (link, 12, 0, 0));
    }

    #[test]
    fn a_replica_begins_only_behind_all_that_lived_or_were_destroyed() {
        let mut log = log();
        for earlier in [0, 5, 6] {
            assert!(log.begin(ReplicaId(earlier), |_| {}).is_err(), "{earlier}");
        }
        assert_eq!((log.replica, log.last_index()), (ReplicaId(6), 9), "an error changes nothing");
        let mut dropped = Vec::new();
        log.begin(ReplicaId(8), |segment| dropped.push(segment)).expect("a later one");
        assert_eq!((log.replica, log.last_index(), log.hard_state), (ReplicaId(8), 0, HardState::default()));
        assert_eq!(dropped, [1, 1], "the runs of the one before");
        assert!(log.destroy(ReplicaId(7), |_| {}).is_err());
        log.destroy(ReplicaId(9), |_| {}).expect("it need not have lived here");
        assert!(!log.is_begun() && log.begin(ReplicaId(9), |_| {}).is_err());
        assert!(!log.agrees(&GroupState { replica: ReplicaId(9), ..GroupLog::new().state() }));
        log.begin(ReplicaId(10), |_| {}).expect("a later one");
        assert!(log.is_begun());
        // What is known may be wrong behind blocks that were lost.
        log.broken_at = Some(LogPosition { segment: 1, offset: 0 });
        log.begin(ReplicaId(3), |_| {}).expect("the record tells the truth");
        assert_eq!((log.replica, log.broken_at), (ReplicaId(3), None));
    }

    #[test]
    fn memberships_count_behind_the_start() {
        let mut log = log();
        log.note_membership(4, Bytes::new());
        log.note_membership(6, Bytes::new());
        log.note_membership(8, Bytes::new());
        let noted = |log: &GroupLog| log.memberships.iter().map(|(index, _)| *index).collect::<Vec<_>>();
        assert_eq!(noted(&log), [6, 8]);
        log.truncate(8, |_| {}).expect("behind the start");
        assert_eq!(noted(&log), [6]);
        log.compact(6, 2, |_| {});
        assert_eq!(noted(&log), [0; 0]);
    }
}
