//! Records: encoding into a block under construction, and decoding of bytes that may be anything.

use host::AlignedBuf;
use types::{GroupId, Index, ReplicaId, Term};
use wire::{Entry, EntryKind, HardState};

use crate::format::{u32_at, u64_at};

/// Length of what all records begin with.
pub const RECORD_HEADER_BYTES: usize = 16;
/// Length of an entries record before its table.
pub const ENTRIES_HEADER_BYTES: usize = 36;
/// Length of one element of the table of an entries record.
pub const ENTRY_HEADER_BYTES: usize = 5;
/// Length of a hard state record.
pub const HARD_STATE_BYTES: usize = RECORD_HEADER_BYTES + 25;
/// Length of a truncation record.
pub const TRUNCATION_BYTES: usize = RECORD_HEADER_BYTES + 8;
/// Length of a compaction record.
pub const COMPACTION_BYTES: usize = RECORD_HEADER_BYTES + 16;
/// Length of a group state record.
pub const GROUP_STATE_BYTES: usize = HARD_STATE_BYTES + 32;
/// Length of a record that forgets a group.
pub const FORGOTTEN_BYTES: usize = RECORD_HEADER_BYTES;

const TYPE_ENTRIES: u8 = 1;
const TYPE_HARD_STATE: u8 = 2;
const TYPE_TRUNCATION: u8 = 3;
const TYPE_COMPACTION: u8 = 4;
const TYPE_GROUP_STATE: u8 = 5;
const TYPE_FORGOTTEN: u8 = 6;

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Segment id.
    pub segment: u64,
    /// Offset in the segment in bytes.
    pub offset: u64,
}

/// Everything known of a group at one place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupState {
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
    /// The group is unknown from here on.
    Forgotten,
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
    pub fn iter(&self) -> impl Iterator<Item = (u8, core::ops::Range<usize>)> + use<'a> {
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

/// Appends a record of consecutive entries of one term to a block.
pub(crate) fn put_entries(buf: &mut AlignedBuf, place: LogPosition, group: GroupId, entries: &[Entry]) {
    let start = buf.len();
    let len = entries_bytes(entries);
    let count = u32::try_from(entries.len()).expect("a record's count is bounded by its length, which fits 32 bits");
    let mut header = [0; ENTRIES_HEADER_BYTES];
    put_header(&mut header, len, group, TYPE_ENTRIES);
    header[16..24].copy_from_slice(&entries[0].term.to_le_bytes());
    header[24..32].copy_from_slice(&entries[0].index.to_le_bytes());
    header[32..36].copy_from_slice(&count.to_le_bytes());
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
        buf.extend_from_slice(&entry.payload);
    }
    seal(buf, start, place);
}

/// Appends any other record to a block.
pub(crate) fn put_small(buf: &mut AlignedBuf, place: LogPosition, group: GroupId, body: &Body<'_>) {
    let start = buf.len();
    let mut bytes = [0; GROUP_STATE_BYTES];
    let len = match body {
        Body::Entries(_) => unreachable!("entries have an encoder of their own"),
        Body::HardState(state) => {
            put_header(&mut bytes, HARD_STATE_BYTES, group, TYPE_HARD_STATE);
            put_hard_state(&mut bytes[16..41], state);
            HARD_STATE_BYTES
        }
        Body::Truncation { from } => {
            put_header(&mut bytes, TRUNCATION_BYTES, group, TYPE_TRUNCATION);
            bytes[16..24].copy_from_slice(&from.to_le_bytes());
            TRUNCATION_BYTES
        }
        Body::Compaction { index, term } => {
            put_header(&mut bytes, COMPACTION_BYTES, group, TYPE_COMPACTION);
            bytes[16..24].copy_from_slice(&index.to_le_bytes());
            bytes[24..32].copy_from_slice(&term.to_le_bytes());
            COMPACTION_BYTES
        }
        Body::GroupState(state) => {
            put_header(&mut bytes, GROUP_STATE_BYTES, group, TYPE_GROUP_STATE);
            put_hard_state(&mut bytes[16..41], &state.hard_state);
            bytes[41..49].copy_from_slice(&state.start.0.to_le_bytes());
            bytes[49..57].copy_from_slice(&state.start.1.to_le_bytes());
            bytes[57..65].copy_from_slice(&state.last.0.to_le_bytes());
            bytes[65..73].copy_from_slice(&state.last.1.to_le_bytes());
            GROUP_STATE_BYTES
        }
        Body::Forgotten => {
            put_header(&mut bytes, FORGOTTEN_BYTES, group, TYPE_FORGOTTEN);
            FORGOTTEN_BYTES
        }
    };
    buf.extend_from_slice(&bytes[..len]);
    seal(buf, start, place);
}

/// Length of a record other than entries.
pub(crate) fn small_bytes(body: &Body<'_>) -> usize {
    match body {
        Body::Entries(_) => unreachable!("entries have an encoder of their own"),
        Body::HardState(_) => HARD_STATE_BYTES,
        Body::Truncation { .. } => TRUNCATION_BYTES,
        Body::Compaction { .. } => COMPACTION_BYTES,
        Body::GroupState(_) => GROUP_STATE_BYTES,
        Body::Forgotten => FORGOTTEN_BYTES,
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
    if u32_at(bytes, 0) != Some(checksum(bytes, place)) {
        return Err("a record's checksum does not match its content and place");
    }
    let group = GroupId(u32_at(bytes, 8).ok_or(SHORT)?);
    let u64_of = |offset| u64_at(bytes, offset).ok_or(SHORT);
    let (kind, reserved) = (bytes[12], &bytes[13..16]);
    if reserved.iter().any(|byte| *byte != 0) {
        return Err("a record's reserved bytes are not zero");
    }
    let index_of = |offset| {
        // Room to count on from here, whatever the bytes say.
        u64_of(offset).and_then(|index| if index < Index::MAX { Ok(index) } else { Err("an index makes no sense") })
    };
    let exact =
        |expected: usize| if len == expected { Ok(()) } else { Err("a record's length does not suit its type") };
    let body = match kind {
        TYPE_ENTRIES => Body::Entries(decode_entries(bytes)?),
        TYPE_HARD_STATE => {
            exact(HARD_STATE_BYTES)?;
            Body::HardState(decode_hard_state(bytes).ok_or(SHORT)?)
        }
        TYPE_TRUNCATION => {
            exact(TRUNCATION_BYTES)?;
            Body::Truncation { from: index_of(16)? }
        }
        TYPE_COMPACTION => {
            exact(COMPACTION_BYTES)?;
            Body::Compaction { index: index_of(16)?, term: u64_of(24)? }
        }
        TYPE_GROUP_STATE => {
            exact(GROUP_STATE_BYTES)?;
            Body::GroupState(GroupState {
                hard_state: decode_hard_state(bytes).ok_or(SHORT)?,
                start: (index_of(41)?, u64_of(49)?),
                last: (index_of(57)?, u64_of(65)?),
            })
        }
        TYPE_FORGOTTEN => {
            exact(FORGOTTEN_BYTES)?;
            Body::Forgotten
        }
        _ => return Err("a record's type is unknown"),
    };
    Ok(Record { group, len, body })
}

fn decode_entries(bytes: &[u8]) -> Result<Entries<'_>, &'static str> {
    const SHORT: &str = "an entries record is cut off";
    let term = u64_at(bytes, 16).ok_or(SHORT)?;
    let first = u64_at(bytes, 24).ok_or(SHORT)?;
    let count = u32_at(bytes, 32).ok_or(SHORT)?;
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

fn decode_hard_state(bytes: &[u8]) -> Option<HardState> {
    let vote = match bytes.get(40)? {
        0 => None,
        _ => Some(ReplicaId(u64_at(bytes, 24)?)),
    };
    Some(HardState { term: u64_at(bytes, 16)?, vote, commit: u64_at(bytes, 32)? })
}

fn put_hard_state(bytes: &mut [u8], state: &HardState) {
    bytes[0..8].copy_from_slice(&state.term.to_le_bytes());
    bytes[8..16].copy_from_slice(&state.vote.map_or(0, |vote| vote.0).to_le_bytes());
    bytes[16..24].copy_from_slice(&state.commit.to_le_bytes());
    bytes[24] = u8::from(state.vote.is_some());
}

fn put_header(bytes: &mut [u8], len: usize, group: GroupId, kind: u8) {
    let len = u32::try_from(len).expect("a record fits a segment, whose length fits 32 bits");
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    bytes[8..12].copy_from_slice(&group.0.to_le_bytes());
    bytes[12] = kind;
}

/// Puts the checksum into the record that begins at `start` and ends with the buffer.
fn seal(buf: &mut AlignedBuf, start: usize, place: LogPosition) {
    let crc = checksum(&buf[start..], place);
    buf[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(record: &[u8], place: LogPosition) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(record.get(4..).unwrap_or_default());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const PLACE: LogPosition = LogPosition { segment: 9, offset: 4_136 };

    fn put(put: impl FnOnce(&mut AlignedBuf)) -> Vec<u8> {
        let mut buf = AlignedBuf::default();
        put(&mut buf);
        buf.to_vec()
    }

    #[test]
    fn an_entries_record_stands_as_documented() {
        let entry =
            |index, kind, payload: &'static [u8]| Entry { term: 3, index, kind, payload: Bytes::from(payload) };
        let entries =
            [entry(5, EntryKind::Batch, b"abc"), entry(6, EntryKind::Empty, b""), entry(7, EntryKind::Batch, b"d")];
        let bytes = put(|buf| put_entries(buf, PLACE, GroupId(2), &entries));
        let mut expected = [&55_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), &[1, 0, 0, 0]].concat();
        expected.extend([&3_u64.to_le_bytes()[..], &5_u64.to_le_bytes(), &3_u32.to_le_bytes()].concat());
        expected.extend([3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        expected.extend(b"abcd");
        assert_eq!(bytes[4..], expected);
        let record = decode(&bytes, PLACE).expect("it is sound");
        let Body::Entries(decoded) = record.body else { panic!("not entries") };
        assert_eq!((record.group, decoded.term, decoded.first, decoded.last()), (GroupId(2), 3, 5, 7));
        let parts: Vec<_> = decoded.iter().map(|(kind, range)| (kind, &decoded.payloads()[range])).collect();
        assert_eq!(parts, [(1, &b"abc"[..]), (0, b""), (1, b"d")]);
    }

    #[test]
    fn other_records_read_back_at_their_place_and_nowhere_else() {
        let hard_state = HardState { term: 8, vote: Some(ReplicaId(0)), commit: 4 };
        let state = GroupState { hard_state, start: (1, 2), last: (3, 4) };
        let bodies = [
            Body::HardState(hard_state),
            Body::HardState(HardState { vote: None, ..hard_state }),
            Body::Truncation { from: 6 },
            Body::Compaction { index: 7, term: 2 },
            Body::GroupState(state),
            Body::Forgotten,
        ];
        for body in bodies {
            let bytes = put(|buf| put_small(buf, PLACE, GroupId(1), &body));
            assert_eq!(bytes.len(), small_bytes(&body));
            assert_eq!(decode(&bytes, PLACE), Ok(Record { group: GroupId(1), len: bytes.len(), body }));
            for place in [LogPosition { segment: 8, ..PLACE }, LogPosition { offset: 8_232, ..PLACE }] {
                assert!(decode(&bytes, place).is_err());
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&flipped, PLACE).is_err(), "bit {bit} of {body:?}");
            }
        }
    }
}
