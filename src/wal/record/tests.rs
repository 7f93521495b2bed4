//! Records stand as documented, and read back at their place alone.

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
    let entry = |index, kind, payload: &'static [u8]| Entry { term: 3, index, kind, payload: payload.into() };
    let entries =
        [entry(5, EntryKind::Batch, b"abc"), entry(6, EntryKind::Empty, b""), entry(7, EntryKind::Batch, b"d")];
    let (bytes, crc) = put(|buf| put_entries(buf, &mut Vec::new(), &ADDRESS, &entries));
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
fn payloads_that_were_summed_before_are_covered_by_the_record_and_the_block() {
    let entry =
        |index, len: usize| Entry { term: 3, index, kind: EntryKind::Batch, payload: vec![index as u8; len].into() };
    let (mut buf, mut summed) = (AlignedBuf::default(), Vec::new());
    let (mut starts, mut index) = (Vec::new(), 0);
    for lens in [&[10, 1_500][..], &[20], &[2_000, 1_024, 30], &[4_096]] {
        let place = LogPosition { segment: 9, offset: buf.len() as u64 };
        let entries: Vec<_> = lens.iter().zip(index + 1..).map(|(len, index)| entry(index, *len)).collect();
        index += entries.len() as u64;
        starts.push(buf.len());
        let crc = put_entries(&mut buf, &mut summed, &Address { place, ..ADDRESS }, &entries);
        assert_eq!(decode(&buf[starts[starts.len() - 1]..], place).map(|record| record.crc), Ok(crc));
    }
    assert_eq!(summed.len(), 4);
    assert_eq!(crc_of(Crc::default(), &buf, 0, &summed), crc32fast::hash(&buf));
    // The one with a long payload between two others.
    let (start, place) = (starts[2], LogPosition { segment: 9, offset: starts[2] as u64 });
    for at in start..starts[3] {
        let before = buf[at];
        buf[at] ^= 1 << (at % 8);
        assert!(decode(&buf[start..], place).is_err(), "byte {at} flipped");
        buf[at] = before;
    }
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
