//! Records: encoding into a block under construction, and decoding of bytes that may be anything.

use std::ops::Range;

use host::AlignedBuf;
use types::{GroupId, Index, ReplicaId, Term};
use wire::{Checksum, Crc, Entry, EntryKind, HardState};

use crate::format::{u32_at, u64_at};
use crate::recovered::Fault;

/// Length of what all records begin with.
pub const RECORD_HEADER_BYTES: usize = 28;
/// Length of an entries record before its table.
pub const ENTRIES_HEADER_BYTES: usize = RECORD_HEADER_BYTES + 20;
/// Length of one element of the table of an entries record.
pub const ENTRY_HEADER_BYTES: usize = 5;
/// Length of a hard state record.
pub const HARD_STATE_BYTES: usize = RECORD_HEADER_BYTES + 25;
/// Length of a truncation record.
pub const TRUNCATION_BYTES: usize = RECORD_HEADER_BYTES + 8;
/// Length of a compaction record.
pub const COMPACTION_BYTES: usize = RECORD_HEADER_BYTES + 16;
/// Length of a group state record.
pub const GROUP_STATE_BYTES: usize = RECORD_HEADER_BYTES + 8 + 25 + 32;
/// Length of the record of a destroyed replica. Invariant: not longer than a group state, in whose stead it may stand.
pub const DESTROYED_BYTES: usize = RECORD_HEADER_BYTES + 8;
/// Length of a record that quarantines a group. Invariant: as of [`DESTROYED_BYTES`].
pub const QUARANTINE_BYTES: usize = RECORD_HEADER_BYTES + 25;
/// Length of the record with which a replica begins.
pub const BEGINNING_BYTES: usize = RECORD_HEADER_BYTES + 8;
/// Length of the record that a segment opens with.
pub const OPENING_BYTES: usize = RECORD_HEADER_BYTES + 4;
/// Length of one element of a roll call.
pub const ROLL_CALL_ELEMENT_BYTES: usize = 16;

const TYPE_ENTRIES: u8 = 1;
const TYPE_HARD_STATE: u8 = 2;
const TYPE_TRUNCATION: u8 = 3;
const TYPE_COMPACTION: u8 = 4;
const TYPE_GROUP_STATE: u8 = 5;
const TYPE_DESTROYED: u8 = 6;
const TYPE_QUARANTINE: u8 = 7;
const TYPE_OPENING: u8 = 8;
const TYPE_ROLL_CALL: u8 = 9;
const TYPE_BEGINNING: u8 = 10;

// Where what the types tell begins.
const BODY: usize = RECORD_HEADER_BYTES;
// Where what it tells of the replica's log begins in a group state.
const STATE_HARD_STATE: usize = BODY + 8;
const STATE_RANGE: usize = STATE_HARD_STATE + 25;

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Segment id.
    pub segment: u64,
    /// Offset in the segment in bytes.
    pub offset: u64,
}

/// Leads to a record of a group: the sequence of its block and its checksum. Zeros lead to none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Sequence of the block.
    pub seq: u64,
    /// Checksum of the record.
    pub crc: u32,
}

impl Link {
    /// Leads to no record.
    pub const NONE: Link = Link { seq: 0, crc: 0 };
}

/// Everything known of a group at one place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The replica of the group that lives here.
    pub replica: ReplicaId,
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// Last compacted index and its term; zeros if nothing was compacted.
    pub start: (Index, Term),
    /// Last index and its term.
    pub last: (Index, Term),
}

/// A record as it stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The group it belongs to.
    pub group: GroupId,
    /// The record of the group before this one.
    pub link: Link,
    /// Its own checksum, for the link of the next one.
    pub crc: u32,
    /// Its length in bytes.
    pub len: usize,
    /// What it says.
    pub body: Body<'a>,
}

/// What a record says. See [`crate::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Entries that replace those at or behind the first of them.
    Entries(Entries<'a>),
    /// Term, vote and commit.
    HardState(HardState),
    /// The entries at and behind `from` are gone.
    Truncation {
        /// First index removed.
        from: Index,
    },
    /// The entries up to `index` are gone.
    Compaction {
        /// Last index removed.
        index: Index,
        /// Its term.
        term: Term,
    },
    /// Everything known of the group.
    GroupState(GroupState),
    /// The replica is no more, and nothing holds that was said of the group. Neither it nor one before it comes back.
    Destroyed {
        /// The replica.
        replica: ReplicaId,
    },
    /// The group cannot be trusted from here on, whatever was said of it.
    Quarantine {
        /// The replica last known; 0 if none.
        replica: ReplicaId,
        /// Why.
        fault: Fault,
    },
    /// A replica begins here, and nothing holds that was said of the group before.
    Beginning {
        /// The replica.
        replica: ReplicaId,
    },
    /// A segment begins, and this number of groups is named next.
    Opening {
        /// How many groups there are.
        groups: u32,
    },
    /// Names all groups there are.
    RollCall(RollCall<'a>),
}

/// All groups at one place of the log, each with its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollCall<'a> {
    // Invariant: a multiple of ROLL_CALL_ELEMENT_BYTES long.
    table: &'a [u8],
}

impl<'a> RollCall<'a> {
    /// The groups and the links to their last records.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, Link)> + use<'a> {
        self.table.chunks_exact(ROLL_CALL_ELEMENT_BYTES).map_while(|element| {
            let link = Link { seq: u64_at(element, 4)?, crc: u32_at(element, 12)? };
            Some((GroupId(u32_at(element, 0)?), link))
        })
    }
}

/// Consecutive entries of one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// Their term.
    pub term: Term,
    /// Index of the first.
    pub first: Index,
    /// How many; at least 1, and `first + count` does not overflow.
    pub count: u32,
    // Invariant: count × ENTRY_HEADER_BYTES long, and the lengths in it add up to that of `payloads`.
    table: &'a [u8],
    payloads: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Index of the last.
    pub fn last(&self) -> Index {
        self.first + u64::from(self.count) - 1
    }

    /// All payloads, one behind another.
    pub fn payloads(&self) -> &'a [u8] {
        self.payloads
    }

    /// Each entry's kind and its payload's range in [`Entries::payloads`].
    pub fn iter(&self) -> impl Iterator<Item = (u8, Range<usize>)> + use<'a> {
        let mut end = 0;
        self.table.chunks_exact(ENTRY_HEADER_BYTES).map(move |element| {
            let len = u32_at(element, 0).map_or(0, |len| len as usize);
            let start = end;
            end = start + len;
            (element[4], start..end)
        })
    }
}

/// Length of the record for these entries.
pub fn entries_bytes(entries: &[Entry]) -> usize {
    entries.iter().fold(ENTRIES_HEADER_BYTES, |sum, entry| sum + entry_bytes(entry))
}

/// What one entry adds to the length of its record.
pub fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_HEADER_BYTES + entry.payload.len()
}

/// Where a record stands and what it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub(crate) place: LogPosition,
    pub(crate) group: GroupId,
    pub(crate) link: Link,
}

/// A payload in a block that is forming whose checksum is known, so that nobody looks at it again.
#[derive(Debug)]
pub(crate) struct Summed {
    /// Where it stands in the block.
    range: Range<usize>,
    checksum: Checksum,
}

/// The checksum of what `crc` holds and the bytes of a block behind it, from an offset to the end, in which these payloads stand.
pub(crate) fn crc_of(mut crc: Crc, block: &[u8], from: usize, summed: &[Summed]) -> u32 {
    let mut at = from;
    for payload in summed {
        crc.add(&block[at..payload.range.start]);
        crc.add_summed(payload.checksum);
        at = payload.range.end;
    }
    crc.add(&block[at..]);
    crc.finish()
}

/// Appends a record of consecutive entries of one term to a block, and to `summed` those of their payloads whose checksums are known.
/// Returns the record's own.
pub(crate) fn put_entries(
    buf: &mut AlignedBuf,
    summed: &mut Vec<Summed>,
    address: &Address,
    entries: &[Entry],
) -> u32 {
    let summed_before = summed.len();
    let start = buf.len();
    let len = entries_bytes(entries);
    let count = u32::try_from(entries.len()).expect("a record's count is bounded by its length, which fits 32 bits");
    let mut header = [0; ENTRIES_HEADER_BYTES];
    put_header(&mut header, len, address, TYPE_ENTRIES);
    header[BODY..BODY + 8].copy_from_slice(&entries[0].term.to_le_bytes());
    header[BODY + 8..BODY + 16].copy_from_slice(&entries[0].index.to_le_bytes());
    header[BODY + 16..BODY + 20].copy_from_slice(&count.to_le_bytes());
    buf.reserve(len);
    buf.extend_from_slice(&header);
    for entry in entries {
        let payload_len = u32::try_from(entry.payload.len()).expect("a record's length fits 32 bits");
        let mut element = [0; ENTRY_HEADER_BYTES];
        element[..4].copy_from_slice(&payload_len.to_le_bytes());
        element[4] = entry.kind as u8;
        buf.extend_from_slice(&element);
    }
    for entry in entries {
        if let Some(checksum) = entry.payload.checksum() {
            summed.push(Summed { range: buf.len()..buf.len() + entry.payload.len(), checksum });
        }
        buf.extend_from_slice(&entry.payload);
    }
    seal_with(buf, start, address.place, &summed[summed_before..])
}

/// Appends a roll call to a block.
pub(crate) fn put_roll_call(
    buf: &mut AlignedBuf,
    place: LogPosition,
    groups: impl ExactSizeIterator<Item = (GroupId, Link)>,
) {
    let start = buf.len();
    let mut header = [0; RECORD_HEADER_BYTES];
    let address = Address { place, group: GroupId(0), link: Link::NONE };
    put_header(&mut header, roll_call_bytes(groups.len()), &address, TYPE_ROLL_CALL);
    buf.extend_from_slice(&header);
    for (group, link) in groups {
        let mut element = [0; ROLL_CALL_ELEMENT_BYTES];
        element[..4].copy_from_slice(&group.0.to_le_bytes());
        element[4..12].copy_from_slice(&link.seq.to_le_bytes());
        element[12..].copy_from_slice(&link.crc.to_le_bytes());
        buf.extend_from_slice(&element);
    }
    seal(buf, start, place);
}

/// Length of a roll call of `groups_count` groups.
pub(crate) fn roll_call_bytes(groups_count: usize) -> usize {
    RECORD_HEADER_BYTES + groups_count * ROLL_CALL_ELEMENT_BYTES
}

/// Appends any other record to a block. Returns its checksum.
pub(crate) fn put_small(buf: &mut AlignedBuf, address: &Address, body: &Body<'_>) -> u32 {
    let start = buf.len();
    let mut bytes = [0; GROUP_STATE_BYTES];
    let kind = match body {
        Body::Entries(_) | Body::RollCall(_) => unreachable!("these have encoders of their own"),
        Body::HardState(state) => {
            put_hard_state(&mut bytes[BODY..], state);
            TYPE_HARD_STATE
        }
        Body::Truncation { from } => {
            put_numbers(&mut bytes[BODY..], &[*from]);
            TYPE_TRUNCATION
        }
        Body::Compaction { index, term } => {
            put_numbers(&mut bytes[BODY..], &[*index, *term]);
            TYPE_COMPACTION
        }
        Body::GroupState(state) => {
            put_numbers(&mut bytes[BODY..], &[state.replica.0]);
            put_hard_state(&mut bytes[STATE_HARD_STATE..], &state.hard_state);
            let ((start, start_term), (last, last_term)) = (state.start, state.last);
            put_numbers(&mut bytes[STATE_RANGE..], &[start, start_term, last, last_term]);
            TYPE_GROUP_STATE
        }
        Body::Destroyed { replica } => {
            put_numbers(&mut bytes[BODY..], &[replica.0]);
            TYPE_DESTROYED
        }
        Body::Quarantine { replica, fault } => {
            let (code, numbers) = fault_numbers(fault);
            put_numbers(&mut bytes[BODY..], &[replica.0]);
            bytes[BODY + 8] = code;
            put_numbers(&mut bytes[BODY + 9..], &numbers);
            TYPE_QUARANTINE
        }
        Body::Beginning { replica } => {
            put_numbers(&mut bytes[BODY..], &[replica.0]);
            TYPE_BEGINNING
        }
        Body::Opening { groups } => {
            bytes[BODY..BODY + 4].copy_from_slice(&groups.to_le_bytes());
            TYPE_OPENING
        }
    };
    let len = small_bytes(body);
    put_header(&mut bytes, len, address, kind);
    buf.extend_from_slice(&bytes[..len]);
    seal(buf, start, address.place)
}

/// Length of a record other than entries.
pub(crate) fn small_bytes(body: &Body<'_>) -> usize {
    match body {
        Body::Entries(_) | Body::RollCall(_) => unreachable!("these have encoders of their own"),
        Body::HardState(_) => HARD_STATE_BYTES,
        Body::Truncation { .. } => TRUNCATION_BYTES,
        Body::Compaction { .. } => COMPACTION_BYTES,
        Body::GroupState(_) => GROUP_STATE_BYTES,
        Body::Destroyed { .. } => DESTROYED_BYTES,
        Body::Quarantine { .. } => QUARANTINE_BYTES,
        Body::Beginning { .. } => BEGINNING_BYTES,
        Body::Opening { .. } => OPENING_BYTES,
    }
}

/// Reads the record that `bytes` begin with, if it was written for this place.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8], place: LogPosition) -> Result<Record<'_>, &'static str> {
    const SHORT: &str = "a record is cut off";
    let len = u32_at(bytes, 4).ok_or(SHORT)? as usize;
    if len < RECORD_HEADER_BYTES {
        return Err("a record is shorter than its header");
    }
    let bytes = bytes.get(..len).ok_or(SHORT)?;
    let crc = checksum(bytes, place);
    if u32_at(bytes, 0) != Some(crc) {
        return Err("a record's checksum does not match its content and place");
    }
    let group = GroupId(u32_at(bytes, 8).ok_or(SHORT)?);
    let link = Link { seq: u64_at(bytes, 16).ok_or(SHORT)?, crc: u32_at(bytes, 24).ok_or(SHORT)? };
    let (kind, reserved) = (bytes[12], &bytes[13..16]);
    if reserved.iter().any(|byte| *byte != 0) {
        return Err("a record's reserved bytes are not zero");
    }
    Ok(Record { group, link, crc, len, body: decode_body(kind, bytes)? })
}

/// What a record of a type says, all of which these bytes are.
fn decode_body(kind: u8, bytes: &[u8]) -> Result<Body<'_>, &'static str> {
    const SHORT: &str = "a record is cut off";
    let u64_of = |offset| u64_at(bytes, offset).ok_or(SHORT);
    let index_of = |offset| {
        // Room to count on from here, whatever the bytes say.
        u64_of(offset).and_then(|index| if index < Index::MAX { Ok(index) } else { Err("an index makes no sense") })
    };
    let exact = |expected: usize| {
        if bytes.len() == expected { Ok(()) } else { Err("a record's length does not suit its type") }
    };
    Ok(match kind {
        TYPE_ENTRIES => Body::Entries(decode_entries(bytes)?),
        TYPE_HARD_STATE => {
            exact(HARD_STATE_BYTES)?;
            Body::HardState(decode_hard_state(bytes, BODY).ok_or(SHORT)?)
        }
        TYPE_TRUNCATION => {
            exact(TRUNCATION_BYTES)?;
            Body::Truncation { from: index_of(BODY)? }
        }
        TYPE_COMPACTION => {
            exact(COMPACTION_BYTES)?;
            Body::Compaction { index: index_of(BODY)?, term: u64_of(BODY + 8)? }
        }
        TYPE_GROUP_STATE => {
            exact(GROUP_STATE_BYTES)?;
            Body::GroupState(GroupState {
                replica: replica_of(bytes)?,
                hard_state: decode_hard_state(bytes, STATE_HARD_STATE).ok_or(SHORT)?,
                start: (index_of(STATE_RANGE)?, u64_of(STATE_RANGE + 8)?),
                last: (index_of(STATE_RANGE + 16)?, u64_of(STATE_RANGE + 24)?),
            })
        }
        TYPE_DESTROYED => {
            exact(DESTROYED_BYTES)?;
            Body::Destroyed { replica: replica_of(bytes)? }
        }
        TYPE_QUARANTINE => {
            exact(QUARANTINE_BYTES)?;
            let fault = fault_of(bytes[BODY + 8], u64_of(BODY + 9)?, u64_of(BODY + 17)?)?;
            Body::Quarantine { replica: ReplicaId(u64_of(BODY)?), fault }
        }
        TYPE_BEGINNING => {
            exact(BEGINNING_BYTES)?;
            Body::Beginning { replica: replica_of(bytes)? }
        }
        TYPE_OPENING => {
            exact(OPENING_BYTES)?;
            Body::Opening { groups: u32_at(bytes, BODY).ok_or(SHORT)? }
        }
        TYPE_ROLL_CALL => {
            let table = bytes.get(BODY..).ok_or(SHORT)?;
            if !table.len().is_multiple_of(ROLL_CALL_ELEMENT_BYTES) {
                return Err("a roll call ends within a group");
            }
            Body::RollCall(RollCall { table })
        }
        _ => return Err("a record's type is unknown"),
    })
}

fn decode_entries(bytes: &[u8]) -> Result<Entries<'_>, &'static str> {
    const SHORT: &str = "an entries record is cut off";
    let term = u64_at(bytes, BODY).ok_or(SHORT)?;
    let first = u64_at(bytes, BODY + 8).ok_or(SHORT)?;
    let count = u32_at(bytes, BODY + 16).ok_or(SHORT)?;
    if count == 0 || first == 0 || first.checked_add(u64::from(count)).is_none() {
        return Err("an entries record's indices make no sense");
    }
    let rest = bytes.get(ENTRIES_HEADER_BYTES..).ok_or(SHORT)?;
    let table_bytes = (count as usize).checked_mul(ENTRY_HEADER_BYTES).ok_or(SHORT)?;
    let (table, payloads) = rest.split_at_checked(table_bytes).ok_or(SHORT)?;
    let mut total = 0u64;
    for element in table.chunks_exact(ENTRY_HEADER_BYTES) {
        total += u64::from(u32_at(element, 0).ok_or(SHORT)?);
        if EntryKind::from_u8(element[4]).is_none() {
            return Err("an entry's kind is unknown");
        }
    }
    if total != payloads.len() as u64 {
        return Err("the payloads of an entries record do not add up to its length");
    }
    Ok(Entries { term, first, count, table, payloads })
}

/// The replica that a record begins with, of those that always name one.
fn replica_of(bytes: &[u8]) -> Result<ReplicaId, &'static str> {
    match u64_at(bytes, BODY) {
        None | Some(0) => Err("a record names no replica"),
        Some(id) => Ok(ReplicaId(id)),
    }
}

fn decode_hard_state(bytes: &[u8], offset: usize) -> Option<HardState> {
    let vote = match bytes.get(offset + 24)? {
        0 => None,
        _ => Some(ReplicaId(u64_at(bytes, offset + 8)?)),
    };
    Some(HardState { term: u64_at(bytes, offset)?, vote, commit: u64_at(bytes, offset + 16)? })
}

fn put_hard_state(bytes: &mut [u8], state: &HardState) {
    put_numbers(bytes, &[state.term, state.vote.map_or(0, |vote| vote.0), state.commit]);
    bytes[24] = u8::from(state.vote.is_some());
}

fn put_numbers(bytes: &mut [u8], numbers: &[u64]) {
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

fn fault_numbers(fault: &Fault) -> (u8, [u64; 2]) {
    match *fault {
        Fault::BlocksLost { segment, offset } => (1, [segment, offset]),
        Fault::CommitBeyondLog { commit, last_index } => (2, [commit, last_index]),
        Fault::EntriesMissing { first, last } => (3, [first, last]),
        Fault::Contradiction { segment, offset, .. } => (4, [segment, offset]),
    }
}

fn fault_of(code: u8, first: u64, second: u64) -> Result<Fault, &'static str> {
    Ok(match code {
        1 => Fault::BlocksLost { segment: first, offset: second },
        2 => Fault::CommitBeyondLog { commit: first, last_index: second },
        3 => Fault::EntriesMissing { first, last: second },
        4 => Fault::Contradiction { segment: first, offset: second, what: "a record contradicted those before it" },
        _ => return Err("the reason of a quarantine is unknown"),
    })
}

fn put_header(bytes: &mut [u8], len: usize, address: &Address, kind: u8) {
    let len = u32::try_from(len).expect("a record fits a segment, whose length fits 32 bits");
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    bytes[8..12].copy_from_slice(&address.group.0.to_le_bytes());
    bytes[12] = kind;
    bytes[16..24].copy_from_slice(&address.link.seq.to_le_bytes());
    bytes[24..28].copy_from_slice(&address.link.crc.to_le_bytes());
}

/// Puts the checksum into the record that begins at `start` and ends with the buffer.
fn seal(buf: &mut AlignedBuf, start: usize, place: LogPosition) -> u32 {
    seal_with(buf, start, place, &[])
}

/// As [`seal`], of a record in which these payloads stand.
fn seal_with(buf: &mut AlignedBuf, start: usize, place: LogPosition, summed: &[Summed]) -> u32 {
    let crc = crc_of(place_crc(place), buf, start + 4, summed);
    debug_assert_eq!(crc, checksum(&buf[start..], place), "a payload is not what was summed");
    buf[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

fn checksum(record: &[u8], place: LogPosition) -> u32 {
    let mut crc = place_crc(place);
    crc.add(record.get(4..).unwrap_or_default());
    crc.finish()
}

fn place_crc(place: LogPosition) -> Crc {
    let mut crc = Crc::default();
    crc.add(&place.segment.to_le_bytes());
    crc.add(&place.offset.to_le_bytes());
    crc
}

#[cfg(test)]
mod tests;
