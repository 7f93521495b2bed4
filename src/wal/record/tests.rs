//! Records stand as documented, and read back at their place alone.

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
    let entry = |index, kind, payload: &'static [u8]| Entry { term: 3, index, kind, payload: Bytes::from(payload) };
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
    let replica = ReplicaId(0x0807_0605);
    let state = Body::GroupState(GroupState { replica, hard_state, start: (1, 2), last: (3, 5) });
    let (bytes, _) = put(|buf| put_small(buf, &ADDRESS, &state));
    assert_eq!(bytes[12], 5);
    let numbers = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let expected = [numbers(&[replica.0, 8, 6, 4]), vec![1], numbers(&[1, 2, 3, 5])];
    assert_eq!(bytes[28..], expected.concat());
    let fault = Body::Quarantine { replica, fault: Fault::EntriesMissing { first: 11, last: 12 } };
    let (bytes, _) = put(|buf| put_small(buf, &ADDRESS, &fault));
    assert_eq!(bytes[12], 7);
    assert_eq!(bytes[28..], [numbers(&[replica.0]), vec![3], numbers(&[11, 12])].concat());
}

#[test]
fn a_beginning_and_a_destruction_stand_as_documented_and_name_a_replica() {
    let bodies = |replica| [(10, Body::Beginning { replica }), (6, Body::Destroyed { replica })];
    for (kind, body) in bodies(ReplicaId(0x0807_0605_0403_0201)) {
        let (bytes, _) = put(|buf| put_small(buf, &ADDRESS, &body));
        assert_eq!((bytes[12], &bytes[28..]), (kind, &[1, 2, 3, 4, 5, 6, 7, 8][..]));
    }
    for (_, body) in bodies(ReplicaId(0)) {
        let (bytes, _) = put(|buf| put_small(buf, &ADDRESS, &body));
        assert_eq!(decode(&bytes, PLACE), Err("a record names no replica"));
    }
}

#[test]
fn other_records_read_back_at_their_place_and_nowhere_else() {
    let hard_state = HardState { term: 8, vote: Some(ReplicaId(0)), commit: 4 };
    let replica = ReplicaId(9);
    let state = GroupState { replica, hard_state, start: (1, 2), last: (3, 4) };
    // Which one it is may be unknown.
    let quarantine = |fault| Body::Quarantine { replica: ReplicaId(0), fault };
    let bodies = [
        Body::HardState(hard_state),
        Body::HardState(HardState { vote: None, ..hard_state }),
        Body::Truncation { from: 6 },
        Body::Compaction { index: 7, term: 2 },
        Body::GroupState(state),
        Body::Destroyed { replica },
        Body::Beginning { replica },
        quarantine(Fault::BlocksLost { segment: 3, offset: 4 }),
        quarantine(Fault::CommitBeyondLog { commit: 3, last_index: 2 }),
        quarantine(Fault::EntriesMissing { first: 3, last: 4 }),
        quarantine(Fault::Contradiction { segment: 1, offset: 2, what: "a record contradicted those before it" }),
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
