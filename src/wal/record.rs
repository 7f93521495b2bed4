//! Records: encoding into a block under construction, and decoding of bytes that may be anything.

use host::AlignedBuf;
use types::{GroupId, Index, ReplicaId, Term};
use wire::{Entry, EntryKind, HardState};

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
pub const GROUP_STATE_BYTES: usize = HARD_STATE_BYTES + 32;
/// Length of a record that forgets a group.
pub const FORGOTTEN_BYTES: usize = RECORD_HEADER_BYTES;
/// Length of a record that quarantines a group. Invariant: not longer than a group state, in whose stead it may stand.
pub const QUARANTINE_BYTES: usize = RECORD_HEADER_BYTES + 17;
/// Length of the record that a segment opens with.
pub const OPENING_BYTES: usize = RECORD_HEADER_BYTES + 4;
/// Length of one element of a roll call.
pub const ROLL_CALL_ELEMENT_BYTES: usize = 16;

const TYPE_ENTRIES: u8 = 1;
const TYPE_HARD_STATE: u8 = 2;
const TYPE_TRUNCATION: u8 = 3;
const TYPE_COMPACTION: u8 = 4;
const TYPE_GROUP_STATE: u8 = 5;
const TYPE_FORGOTTEN: u8 = 6;
const TYPE_QUARANTINE: u8 = 7;
const TYPE_OPENING: u8 = 8;
const TYPE_ROLL_CALL: u8 = 9;

// Where what the types tell begins.
const BODY: usize = RECORD_HEADER_BYTES;

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
    /// The group is unknown from here on.
    Forgotten,
    /// The group cannot be trusted from here on, whatever was said of it.
    Quarantine(Fault),
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

/// Where a record stands and what it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub(crate) place: LogPosition,
    pub(crate) group: GroupId,
    pub(crate) link: Link,
}

/// Appends a record of consecutive entries of one term to a block. Returns its checksum.
pub(crate) fn put_entries(buf: &mut AlignedBuf, address: &Address, entries: &[Entry]) -> u32 {
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
        buf.extend_from_slice(&entry.payload);
    }
    seal(buf, start, address.place)
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
            put_hard_state(&mut bytes[BODY..], &state.hard_state);
            let ((start, start_term), (last, last_term)) = (state.start, state.last);
            put_numbers(&mut bytes[HARD_STATE_BYTES..], &[start, start_term, last, last_term]);
            TYPE_GROUP_STATE
        }
        Body::Forgotten => TYPE_FORGOTTEN,
        Body::Quarantine(fault) => {
            let (code, numbers) = fault_numbers(fault);
            bytes[BODY] = code;
            put_numbers(&mut bytes[BODY + 1..], &numbers);
            TYPE_QUARANTINE
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
        Body::Forgotten => FORGOTTEN_BYTES,
        Body::Quarantine(_) => QUARANTINE_BYTES,
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
            Body::Truncation { from: index_of(BODY)? }
        }
        TYPE_COMPACTION => {
            exact(COMPACTION_BYTES)?;
            Body::Compaction { index: index_of(BODY)?, term: u64_of(BODY + 8)? }
        }
        TYPE_GROUP_STATE => {
            exact(GROUP_STATE_BYTES)?;
            Body::GroupState(GroupState {
                hard_state: decode_hard_state(bytes).ok_or(SHORT)?,
                start: (index_of(HARD_STATE_BYTES)?, u64_of(HARD_STATE_BYTES + 8)?),
                last: (index_of(HARD_STATE_BYTES + 16)?, u64_of(HARD_STATE_BYTES + 24)?),
            })
        }
        TYPE_FORGOTTEN => {
            exact(FORGOTTEN_BYTES)?;
            Body::Forgotten
        }
        TYPE_QUARANTINE => {
            exact(QUARANTINE_BYTES)?;
            Body::Quarantine(fault_of(bytes[BODY], u64_of(BODY + 1)?, u64_of(BODY + 9)?)?)
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
    };
    Ok(Record { group, link, crc, len, body })
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

fn decode_hard_state(bytes: &[u8]) -> Option<HardState> {
    let vote = match bytes.get(BODY + 24)? {
        0 => None,
        _ => Some(ReplicaId(u64_at(bytes, BODY + 8)?)),
    };
    Some(HardState { term: u64_at(bytes, BODY)?, vote, commit: u64_at(bytes, BODY + 16)? })
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
    let crc = checksum(&buf[start..], place);
    buf[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    crc
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
    const LINK: Link = Link { seq: 77, crc: 0xABCD };
    const ADDRESS: Address = Address { place: PLACE, group: GroupId(2), link: LINK };

    fn put<T>(put: impl FnOnce(&mut AlignedBuf) -> T) -> (Vec<u8>, T) {
        let mut buf = AlignedBuf::default();
        let crc = put(&mut buf);
        (buf.to_vec(), crc)
    }

    #[test]
    fn an_entries_record_stands_as_documented() {
        let entry =
            |index, kind, payload: &'static [u8]| Entry { term: 3, index, kind, payload: Bytes::from(payload) };
        let entries =
            [entry(5, EntryKind::Batch, b"abc"), entry(6, EntryKind::Empty, b""), entry(7, EntryKind::Batch, b"d")];
        let (bytes, crc) = put(|buf| put_entries(buf, &ADDRESS, &entries));
        let mut expected = [&67_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), &[1, 0, 0, 0]].concat();
        expected.extend([&77_u64.to_le_bytes()[..], &0xABCD_u32.to_le_bytes()].concat());
        expected.extend([&3_u64.to_le_bytes()[..], &5_u64.to_le_bytes(), &3_u32.to_le_bytes()].concat());
        expected.extend([3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        expected.extend(b"abcd");
        assert_eq!((&bytes[..4], &bytes[4..]), (&crc.to_le_bytes()[..], &expected[..]));
        let record = decode(&bytes, PLACE).expect("it is sound");
        let Body::Entries(decoded) = record.body else { panic!("not entries") };
        assert_eq!((record.group, record.link, record.crc), (GroupId(2), LINK, crc));
        assert_eq!((decoded.term, decoded.first, decoded.last()), (3, 5, 7));
        let parts: Vec<_> = decoded.iter().map(|(kind, range)| (kind, &decoded.payloads()[range])).collect();
        assert_eq!(parts, [(1, &b"abc"[..]), (0, b""), (1, b"d")]);
    }

    #[test]
    fn a_group_state_and_a_quarantine_stand_as_documented() {
        let hard_state = HardState { term: 8, vote: Some(ReplicaId(6)), commit: 4 };
        let state = Body::GroupState(GroupState { hard_state, start: (1, 2), last: (3, 5) });
        let (bytes, _) = put(|buf| put_small(buf, &ADDRESS, &state));
        assert_eq!(bytes[12], 5);
        let expected =
            [[8_u64, 6, 4].map(u64::to_le_bytes).concat(), vec![1], [1_u64, 2, 3, 5].map(u64::to_le_bytes).concat()];
        assert_eq!(bytes[28..], expected.concat());
        let fault = Body::Quarantine(Fault::EntriesMissing { first: 11, last: 12 });
        let (bytes, _) = put(|buf| put_small(buf, &ADDRESS, &fault));
        assert_eq!(
            (bytes[12], &bytes[28..]),
            (7, &[vec![3], [11_u64, 12].map(u64::to_le_bytes).concat()].concat()[..])
        );
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
            Body::Quarantine(Fault::BlocksLost { segment: 3, offset: 4 }),
            Body::Quarantine(Fault::CommitBeyondLog { commit: 3, last_index: 2 }),
            Body::Quarantine(Fault::EntriesMissing { first: 3, last: 4 }),
            Body::Quarantine(Fault::Contradiction {
                segment: 1,
                offset: 2,
                what: "a record contradicted those before it",
            }),
            Body::Opening { groups: 7 },
        ];
        for body in bodies {
            let (bytes, crc) = put(|buf| put_small(buf, &ADDRESS, &body));
            assert_eq!(bytes.len(), small_bytes(&body));
            let expected = Record { group: GroupId(2), link: LINK, crc, len: bytes.len(), body };
            assert_eq!(decode(&bytes, PLACE), Ok(expected));
            reads_nowhere_else(&bytes);
        }
    }

    #[test]
    fn a_roll_call_reads_back() {
        let named = [(GroupId(1), LINK), (GroupId(9), Link { seq: 1, crc: 2 })];
        let (bytes, ()) = put(|buf| put_roll_call(buf, PLACE, named.into_iter()));
        assert_eq!(bytes.len(), roll_call_bytes(2));
        let record = decode(&bytes, PLACE).expect("it is sound");
        let Body::RollCall(read) = record.body else { panic!("not a roll call") };
        assert!(read.iter().eq(named));
        assert_eq!((record.group, record.link), (GroupId(0), Link::NONE));
        reads_nowhere_else(&bytes);
    }

    fn reads_nowhere_else(bytes: &[u8]) {
        for place in [LogPosition { segment: 8, ..PLACE }, LogPosition { offset: 8_232, ..PLACE }] {
            assert!(decode(bytes, place).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, PLACE).is_err(), "bit {bit}");
        }
    }
}
