//! From the records of sound blocks to what is known of each group.

use std::collections::BTreeMap;

use bytes::Bytes;
use types::GroupId;
use wire::EntryKind;

use crate::format::HEADER_BYTES;
use crate::group::{GroupLog, Run};
use crate::record::{self, Body, LogPosition, Record};
use crate::recovered::Fault;
use crate::segments::SegmentTable;

/// What replaying a block found.
pub(crate) struct Replayed {
    pub(crate) records: u64,
    /// The block told nothing new.
    pub(crate) mark: bool,
}

/// Takes the records of a block in.
///
/// # Errors
/// What is wrong with the block as a whole. What is wrong with one group's records becomes its fault.
pub(crate) fn replay<F>(
    records: &[u8],
    block: LogPosition,
    oldest: bool,
    groups: &mut BTreeMap<GroupId, GroupLog>,
    segments: &mut SegmentTable<F>,
) -> Result<Replayed, &'static str> {
    let mut replayed = Replayed { records: 0, mark: true };
    let mut rest = records;
    let mut place = LogPosition { offset: block.offset + HEADER_BYTES as u64, ..block };
    while !rest.is_empty() {
        let record = record::decode(rest, place)?;
        apply(&record, place, oldest, groups, segments);
        replayed.records += 1;
        replayed.mark &= matches!(record.body, Body::GroupState(_));
        rest = rest.get(record.len..).ok_or("a record is cut off")?;
        place.offset += record.len as u64;
    }
    Ok(replayed)
}

fn apply<F>(
    record: &Record<'_>,
    place: LogPosition,
    oldest: bool,
    groups: &mut BTreeMap<GroupId, GroupLog>,
    segments: &mut SegmentTable<F>,
) {
    if matches!(record.body, Body::Forgotten) {
        if let Some(mut log) = groups.remove(&record.group) {
            log.clear(|id| segments.run_dropped(id));
        }
        return;
    }
    let known = groups.contains_key(&record.group);
    let log = groups.entry(record.group).or_insert_with(GroupLog::new);
    if log.fault.is_some() {
        return;
    }
    if let Err(what) = apply_to(log, record, place, oldest && !known, segments) {
        log.fault = Some(Fault::Contradiction { segment: place.segment, offset: place.offset, what });
    }
}

/// `first`: nothing was said of the group before, and the record stands in the oldest segment.
fn apply_to<F>(
    log: &mut GroupLog,
    record: &Record<'_>,
    place: LogPosition,
    first: bool,
    segments: &mut SegmentTable<F>,
) -> Result<(), &'static str> {
    match record.body {
        Body::Entries(entries) => {
            let run = Run {
                first: entries.first,
                segment: place.segment,
                offset: u32::try_from(place.offset).map_err(|_| "the segment is too long")?,
                len: u32::try_from(record.len).map_err(|_| "the record is too long")?,
            };
            log.append(run, entries.count, entries.term, |id| segments.run_dropped(id))?;
            for (index, (kind, range)) in (entries.first..).zip(entries.iter()) {
                if kind == EntryKind::Membership as u8 {
                    let payload = entries.payloads().get(range).ok_or("payloads are cut off")?;
                    log.note_membership(index, Bytes::copy_from_slice(payload));
                }
            }
            segments.run_added(place.segment);
        }
        Body::HardState(state) => log.hard_state = state,
        Body::Truncation { from } => log.truncate(from, |id| segments.run_dropped(id))?,
        Body::Compaction { index, term } => log.compact(index, term, |id| segments.run_dropped(id)),
        Body::GroupState(state) if first => *log = GroupLog::from_state(state)?,
        Body::GroupState(state) => {
            if !log.agrees(&state) {
                return Err("a group state contradicts the records before it");
            }
        }
        Body::Forgotten => {}
    }
    Ok(())
}
