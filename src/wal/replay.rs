//! From the records of sound blocks to what is known of each group, and which of them blocks that were lost concern.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use types::{GroupId, ReplicaId};
use wire::EntryKind;

use crate::format::HEADER_BYTES;
use crate::group::{GroupLog, Run};
use crate::record::{self, Body, Link, LogPosition, Record, RollCall};
use crate::recovered::Fault;
use crate::segments::SegmentTable;

/// A block that is replayed.
#[derive(Clone, Copy)]
pub(crate) struct BlockAt {
    pub(crate) seq: u64,
    pub(crate) place: LogPosition,
    /// What came before it is gone in the order of things: its segment is the oldest, and not the first of the log.
    pub(crate) is_first: bool,
}

/// Blocks that are not there any more.
#[derive(Clone, Copy)]
struct Lost {
    /// The last of them.
    through: u64,
    /// Where the first of them stood.
    place: LogPosition,
}

/// What the blocks read so far add up to.
pub(crate) struct Replay {
    pub(crate) groups: BTreeMap<GroupId, GroupLog>,
    pub(crate) records_count: u64,
    /// The latest loss.
    lost: Option<Lost>,
    /// The last block that named all groups there were.
    named_seq: u64,
}

impl Replay {
    pub(crate) fn new() -> Replay {
        Replay { groups: BTreeMap::new(), records_count: 0, lost: None, named_seq: 0 }
    }

    /// Blocks up to this one are lost, or not what was written.
    pub(crate) fn lose(&mut self, through: u64, place: LogPosition) {
        self.lost = Some(Lost { through, place });
    }

    /// The last block that named all groups there were; 0 if none did.
    pub(crate) fn named_seq(&self) -> u64 {
        self.named_seq
    }

    /// Whether groups may have lived here that no record tells of any more: behind the blocks that were lost nothing names
    /// all there were.
    pub(crate) fn may_lack_groups(&self) -> bool {
        self.lost.is_some_and(|lost| lost.through >= self.named_seq)
    }

    /// Takes the records of a block in. Returns whether it told nothing new.
    ///
    /// # Errors
    /// What is wrong with the block as a whole. What is wrong with one group's records becomes its fault.
    pub(crate) fn block<F>(
        &mut self,
        records: &[u8],
        block: BlockAt,
        segments: &mut SegmentTable<F>,
    ) -> Result<bool, &'static str> {
        let mut is_mark = true;
        let mut opening: Option<(u32, BTreeSet<GroupId>)> = None;
        let mut rest = records;
        let mut place = LogPosition { offset: block.place.offset + HEADER_BYTES as u64, ..block.place };
        while !rest.is_empty() {
            let record = record::decode(rest, place)?;
            self.records_count += 1;
            match (&record.body, &mut opening) {
                (Body::Opening { groups }, None) => opening = Some((*groups, BTreeSet::new())),
                (Body::RollCall(call), None) => self.roll_call(call, block, segments),
                (Body::GroupState(_) | Body::Destroyed { .. } | Body::Quarantine { .. }, Some((_, named))) => {
                    named.insert(record.group);
                    is_mark &= !matches!(record.body, Body::Quarantine { .. });
                    self.record(&record, place, block, segments);
                }
                (Body::Opening { .. } | Body::RollCall(_), _) | (_, Some(_)) => {
                    return Err("an opening names fewer groups than it says");
                }
                (_, None) => {
                    is_mark = false;
                    self.record(&record, place, block, segments);
                }
            }
            if let Some((_, named)) = opening.take_if(|(count, named)| named.len() as u64 >= u64::from(*count)) {
                self.named(&named, block, segments);
            }
            rest = rest.get(record.len..).ok_or("a record is cut off")?;
            place.offset += record.len as u64;
        }
        if opening.is_some() { Err("an opening names fewer groups than it says") } else { Ok(is_mark) }
    }

    /// Where blocks were lost that may have held records of a group behind this one of it.
    fn lost_behind(&self, seq: u64) -> Option<LogPosition> {
        self.lost.filter(|lost| lost.through >= seq).map(|lost| lost.place)
    }

    /// These are all groups there are at this block.
    fn named<F>(&mut self, named: &BTreeSet<GroupId>, block: BlockAt, segments: &mut SegmentTable<F>) {
        self.named_seq = block.seq;
        let unnamed: Vec<_> = self.groups.keys().copied().filter(|group| !named.contains(group)).collect();
        for group in unnamed {
            let log = self.groups.get_mut(&group).expect("just listed");
            if self.lost.is_some_and(|lost| lost.through >= log.link.seq) {
                // A group that was there once is named for ever: what told of it is not what was written.
                log.clear(|id| segments.run_dropped(id));
                self.groups.remove(&group);
            } else if log.fault.is_none() {
                log.fault = Some(contradiction(block.place, "a group is not named where all are"));
            }
        }
    }

    fn roll_call<F>(&mut self, call: &RollCall<'_>, block: BlockAt, segments: &mut SegmentTable<F>) {
        let mut named = BTreeSet::new();
        for (group, link) in call.iter() {
            named.insert(group);
            let known = self.groups.get(&group).map_or(Link::NONE, |log| log.link);
            let lost_at = self.lost_behind(known.seq);
            let log = self.groups.entry(group).or_insert_with(GroupLog::new);
            log.vouched_seq = block.seq;
            if known == link {
                continue;
            }
            log.link = link;
            match lost_at {
                Some(place) => log.broken_at = Some(place),
                None if log.fault.is_none() => {
                    log.fault = Some(contradiction(block.place, "a roll call tells another last record of a group"));
                }
                None => {}
            }
        }
        self.named(&named, block, segments);
    }

    fn record<F>(&mut self, record: &Record<'_>, place: LogPosition, block: BlockAt, segments: &mut SegmentTable<F>) {
        let known = self.groups.get(&record.group).map_or(Link::NONE, |log| log.link);
        let lost_at = self.lost_behind(known.seq);
        let log = self.groups.entry(record.group).or_insert_with(GroupLog::new);
        log.record(Link { seq: block.seq, crc: record.crc });
        if record.link != known && !block.is_first {
            let Some(place) = lost_at else {
                log.fault.get_or_insert(contradiction(place, "a record does not follow the one before it"));
                return;
            };
            log.broken_at = Some(place);
        }
        let dropped = |id| segments.run_dropped(id);
        let result = match record.body {
            // These end whatever was wrong with the group before.
            Body::Beginning { replica } => log.begin(replica, dropped),
            Body::Destroyed { replica } => log.destroy(replica, dropped),
            _ if log.fault.is_some() => return,
            Body::Quarantine { replica, fault } => {
                (log.replica, log.fault, log.is_fault_recorded) = (replica, Some(fault), true);
                return;
            }
            Body::GroupState(state) if block.is_first || log.broken_at.is_some() => log.begin_with(state, dropped),
            _ if log.broken_at.is_some() => Ok(()),
            _ => apply(log, record, place, segments),
        };
        if let Err(what) = result {
            log.fault.get_or_insert(contradiction(place, what));
        }
    }

    /// The groups of which something lives here or may live here, as recovery reports them.
    pub(crate) fn living(&self) -> impl Iterator<Item = (GroupId, &GroupLog)> {
        self.groups.iter().filter(|(_, log)| !log.is_gone()).map(|(group, log)| (*group, log))
    }

    /// The groups of which nothing lives here any more, each with the last replica that was destroyed.
    pub(crate) fn destroyed(&self) -> BTreeMap<GroupId, ReplicaId> {
        self.groups.iter().filter(|(_, log)| log.is_gone()).map(|(group, log)| (*group, log.replica)).collect()
    }

    /// Says at the end of the log of which groups something is or may be missing. `expected` are those that live here, named
    /// or not. Returns whether all that stands in the log already, so that the next start finds the same.
    pub(crate) fn finish<F>(&mut self, expected: &[GroupId], segments: &mut SegmentTable<F>) -> bool {
        let lost = self.lost;
        if let Some(Lost { place, .. }) = lost.filter(|lost| lost.through >= self.named_seq) {
            for group in expected.iter().filter(|group| !self.groups.contains_key(group)).copied().collect::<Vec<_>>()
            {
                self.groups.entry(group).or_insert_with(GroupLog::new).broken_at = Some(place);
            }
        }
        let mut is_recorded = !self.may_lack_groups();
        for log in self.groups.values_mut() {
            let unproven = lost.filter(|lost| lost.through >= log.vouched_seq).map(|lost| lost.place);
            if let Some(LogPosition { segment, offset }) = log.broken_at.or(unproven)
                && log.fault.is_none()
            {
                log.fault = Some(Fault::BlocksLost { segment, offset });
            }
            log.check();
            if log.fault.is_some() {
                is_recorded &= log.is_fault_recorded;
                log.drop_runs(|id| {
                    segments.run_dropped(id);
                    segments.keep_as_evidence(id);
                });
            }
        }
        is_recorded
    }
}

fn contradiction(place: LogPosition, what: &'static str) -> Fault {
    Fault::Contradiction { segment: place.segment, offset: place.offset, what }
}

/// Takes a record in that follows the group's last one.
fn apply<F>(
    log: &mut GroupLog,
    record: &Record<'_>,
    place: LogPosition,
    segments: &mut SegmentTable<F>,
) -> Result<(), &'static str> {
    if !log.is_begun() {
        return Err("a record is of a replica that has not begun");
    }
    match record.body {
        Body::Entries(entries) => {
            let run = Run {
                first: entries.first,
                segment: place.segment,
                offset: u32::try_from(place.offset).map_err(|_| "the segment is too long")?,
                len: u32::try_from(record.len).map_err(|_| "the record is too long")?,
            };
            log.append(run, entries.count, entries.term, |id| segments.run_dropped(id))?;
            segments.run_added(place.segment);
            for (index, (kind, range)) in (entries.first..).zip(entries.iter()) {
                if kind == EntryKind::Membership as u8 {
                    let payload = entries.payloads().get(range).ok_or("payloads are cut off")?;
                    log.note_membership(index, Bytes::copy_from_slice(payload));
                }
            }
        }
        Body::HardState(state) => log.hard_state = state,
        Body::Truncation { from } => log.truncate(from, |id| segments.run_dropped(id))?,
        Body::Compaction { index, term } => log.compact(index, term, |id| segments.run_dropped(id)),
        Body::GroupState(state) => {
            if !log.agrees(&state) {
                return Err("a group state contradicts the records before it");
            }
        }
        Body::Beginning { .. }
        | Body::Destroyed { .. }
        | Body::Quarantine { .. }
        | Body::Opening { .. }
        | Body::RollCall(_) => {}
    }
    Ok(())
}
