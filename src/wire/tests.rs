//! Frames and greetings: what goes in comes out, and damage is an error.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use types::{CoreAddr, CoreId, GroupId, NodeId, ReplicaId};

use crate::*;

/// The payload of an entry that is summed once.
static LONG: [u8; 1_100] = [7; 1_100];

fn sample() -> Frame {
    let message =
        |group, body| Message { group: GroupId(group), from: ReplicaId(3), to: ReplicaId(4), term: 7, body };
    let entry =
        |index, payload: &'static [u8]| Entry { term: 7, index, kind: EntryKind::Batch, payload: payload.into() };
    let messages = vec![
        message(
            1,
            Body::Append { prev_index: 4, prev_term: 6, commit: 3, entries: vec![entry(5, b"five"), entry(6, b"")] },
        ),
        message(2, Body::Heartbeat { commit: 9, round: 11, quiesce: true, round_trip_us: 250 }),
        message(
            1,
            Body::Append {
                prev_index: 9,
                prev_term: 7,
                commit: 3,
                entries: vec![entry(10, b"ten"), entry(11, &LONG)],
            },
        ),
        message(3, Body::Vote { pre: true, transfer: false, last_index: 1, last_term: 2 }),
        message(3, Body::VoteReply { pre: true, granted: true }),
        message(3, Body::AppendRejected { prev_index: 1, hint_index: 2, hint_term: 3 }),
        message(3, Body::AppendAccepted { match_index: 8 }),
        message(3, Body::HeartbeatReply { round: 12, priority: 3 }),
        message(3, Body::TimeoutNow),
        message(2, Body::Snapshot { last_index: 70, last_term: 8 }),
    ];
    let mut frame = Frame { messages, ..Frame::default() };
    let head =
        RequestHead { id: 99, group: 2, arguments_count: 0, command: 1, slot: 77, resp3: true, resumes: false };
    let mut requests = RequestsBuilder::default();
    requests.push(head, [&b"key"[..], b"", b"value"].into_iter());
    requests.push(RequestHead { id: 100, ..head }, [&b"other"[..]].into_iter());
    frame.requests = requests.finish();
    let mut replies = RepliesBuilder::default();
    replies.push(5, ReplyStatus::Done, |out| out.extend_from_slice(b"+OK\r\n"));
    replies.push(6, ReplyStatus::NotLeader, |_| {});
    frame.replies = replies.take_up_to(usize::MAX);
    let place = CoreAddr { node: NodeId(2), core: CoreId(1) };
    frame.leaders.push(LeaderNote { group: GroupId(8), term: 3, place });
    frame.chunk_requests.push(ChunkRequest { group: GroupId(5), last_index: 0, offset: 8_192 });
    let chunk = Chunk { offset: 4_096, total_bytes: 4_100, bytes: Bytes::from_static(b"tail") };
    frame.chunks.push(ChunkReply { group: GroupId(5), last_index: 70, chunk: Some(chunk) });
    frame.chunks.push(ChunkReply { group: GroupId(6), last_index: 71, chunk: None });
    let note = |index, body| ComparisonNote { group: GroupId(7), index, term: 3, body };
    frame.comparisons.push(note(80, NoteBody::Differs));
    frame.comparisons.push(note(81, NoteBody::NoDigest(NoDigest::Busy)));
    for (says, term) in [(ReplicaNoteKind::IsMember, 9), (ReplicaNoteKind::Gone, 0), (ReplicaNoteKind::Lead, 4)] {
        frame.replica_notes.push(ReplicaNote { group: GroupId(9), replica: ReplicaId(17), term, says });
    }
    frame.changes = vec![Bytes::from_static(b"a change"), Bytes::from_static(b"another one")];
    let member = |id: u64| Member { id: ReplicaId(id), place };
    let figures = GroupFigures {
        group: GroupId(2),
        term: 3,
        leader: ReplicaId(1),
        membership: Membership::of_voters([1, 5].map(member)),
        membership_index: 70,
        silent: vec![SilentMember { replica: ReplicaId(5), for_ms: 900 }],
        behind: vec![ReplicaId(5)],
        bytes: 1 << 40,
        ops_per_s: 12,
    };
    frame.report = Some(Report { node: Some(NodeFigures::default()), groups: vec![figures] });
    frame.healths =
        Some(Healths { term: 4, nodes: vec![(NodeId(1), NodeHealth::Up), (NodeId(2), NodeHealth::Down)] });
    frame.map = MapNote { epoch: 12, is_wanted: true, map: Bytes::from_static(b"the map") };
    frame
}

fn encoded() -> Vec<u8> {
    let mut parts = Vec::new();
    sample().encode(&mut parts);
    parts.concat()
}

fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
    let header = bytes.first_chunk::<FRAME_HEADER_BYTES>().ok_or(FrameError::Payloads)?;
    FrameHeader::decode(header)?.decode_body(Bytes::copy_from_slice(&bytes[FRAME_HEADER_BYTES..]))
}

#[test]
fn a_frame_survives_the_journey() {
    let frame = decode(&encoded()).unwrap();
    let expected = sample();
    assert_eq!(frame.messages, expected.messages);
    assert_eq!(frame.requests.heads, expected.requests.heads);
    assert_eq!(frame.requests.ends, expected.requests.ends);
    assert_eq!(frame.requests.bytes, expected.requests.bytes);
    assert_eq!(frame.replies.heads, expected.replies.heads);
    assert_eq!(frame.replies.bytes, expected.replies.bytes);
    assert_eq!(frame.leaders, expected.leaders);
    assert_eq!(frame.chunk_requests, expected.chunk_requests);
    assert_eq!(frame.chunks, expected.chunks);
    assert_eq!(frame.comparisons, expected.comparisons);
    assert_eq!(frame.replica_notes, expected.replica_notes);
    assert_eq!(frame.changes, expected.changes);
    assert_eq!((frame.report, frame.healths), (expected.report, expected.healths));
    assert_eq!(frame.map, expected.map);
}

#[test]
fn a_report_that_makes_no_sense_names_what_is_wrong_with_it() {
    let mut figures = sample().report.unwrap().groups.remove(0);
    figures.leader = ReplicaId(9);
    let mut frame = Frame { report: Some(Report { node: None, groups: vec![figures] }), ..Frame::default() };
    assert!(!frame.is_empty());
    let mut parts = Vec::new();
    frame.encode(&mut parts);
    let error = decode(&parts.concat()).err();
    assert_eq!(error, Some(FrameError::Report(ReportError::Rule("the leader is no member"))));
    let mut frame =
        Frame { healths: Some(Healths { term: 0, nodes: vec![(NodeId(1), NodeHealth::Up)] }), ..Frame::default() };
    frame.encode(&mut parts);
    assert_eq!(decode(&parts.concat()).err(), Some(FrameError::Metadata), "nobody leads in term 0");
}

#[test]
fn the_checksum_of_the_payloads_is_that_of_their_bytes() {
    let bytes = encoded();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let payloads = &bytes[FRAME_HEADER_BYTES + number(4) as usize..];
    assert_eq!((payloads.len() as u32, crc32fast::hash(payloads)), (number(8), number(16)));
}

#[test]
fn a_long_payload_keeps_the_checksum_that_its_frame_was_found_sound_by() {
    let frame = decode(&encoded()).unwrap();
    let Body::Append { entries, .. } = &frame.messages[2].body else { panic!("not entries") };
    assert_eq!(entries[1].payload.checksum(), Some(Checksum::new(crc32fast::hash(&LONG), LONG.len())));
    assert_eq!(entries[0].payload.checksum(), None);
}

#[test]
fn the_epoch_of_the_map_alone_is_nothing_to_send() {
    let mut frame = Frame { map: MapNote { epoch: 12, ..MapNote::default() }, ..Frame::default() };
    assert!(frame.is_empty());
    let mut parts = Vec::new();
    frame.encode(&mut parts);
    assert_eq!(decode(&parts.concat()).unwrap().map.epoch, 12);
    assert!(!Frame { map: MapNote { is_wanted: true, ..MapNote::default() }, ..Frame::default() }.is_empty());
    assert!(!Frame { changes: vec![Bytes::from_static(b"a change")], ..Frame::default() }.is_empty());
}

#[test]
fn a_digest_that_is_cut_short_is_refused() {
    let frame = |leaves_count: usize| {
        let digest = RowsDigest { rows: 1, leaves: vec![2; leaves_count] };
        let body = NoteBody::Digest(digest);
        let mut frame = Frame::default();
        frame.comparisons.push(ComparisonNote { group: GroupId(5), index: 70, term: 1, body });
        let mut parts = Vec::new();
        frame.encode(&mut parts);
        decode(&parts.concat())
    };
    assert_eq!(frame(LEAVES_COUNT).unwrap().comparisons.len(), 1);
    assert_eq!(frame(LEAVES_COUNT - 1).err(), Some(FrameError::Metadata));
}

#[test]
fn a_piece_beyond_the_end_of_its_file_is_refused() {
    let chunk = Chunk { offset: 4_097, total_bytes: 4_100, bytes: Bytes::from_static(b"tail") };
    let mut frame = Frame::default();
    frame.chunks.push(ChunkReply { group: GroupId(5), last_index: 70, chunk: Some(chunk) });
    let mut parts = Vec::new();
    frame.encode(&mut parts);
    assert_eq!(decode(&parts.concat()).err(), Some(FrameError::Metadata));
}

#[test]
fn payloads_are_gathered_not_copied() {
    let payload = Bytes::from(vec![7u8; 1_000]);
    let entry = Entry { term: 1, index: 1, kind: EntryKind::Batch, payload: payload.clone().into() };
    let body = Body::Append { prev_index: 0, prev_term: 0, commit: 0, entries: vec![entry] };
    let mut frame = Frame::default();
    frame.messages.push(Message { group: GroupId(1), from: ReplicaId(1), to: ReplicaId(2), term: 1, body });
    let mut parts = Vec::new();
    frame.encode(&mut parts);
    assert!(frame.is_empty());
    assert_eq!(parts[1].as_ptr(), payload.as_ptr());
}

fn decode_copied(bytes: &[u8]) -> Result<Frame, FrameError> {
    let header = bytes.first_chunk::<FRAME_HEADER_BYTES>().ok_or(FrameError::Payloads)?;
    FrameHeader::decode(header)?.decode_copied(&bytes[FRAME_HEADER_BYTES..])
}

#[test]
fn what_is_copied_out_of_a_frame_says_the_same_and_is_no_slice() {
    let bytes = encoded();
    let (copied, sliced) = (decode_copied(&bytes).unwrap(), decode(&bytes).unwrap());
    assert_eq!((&copied.messages, &copied.chunks), (&sliced.messages, &sliced.chunks));
    assert_eq!((&copied.changes, &copied.map), (&sliced.changes, &sliced.map));
    assert_eq!((&copied.requests.bytes, &copied.replies.bytes), (&sliced.requests.bytes, &sliced.replies.bytes));
    let are_slices = |frame: &Frame| {
        let entries = frame.messages.iter().filter_map(|message| match &message.body {
            Body::Append { entries, .. } => Some(entries),
            _ => None,
        });
        entries.flatten().filter(|entry| !entry.payload.is_empty()).map(|entry| entry.payload.is_slice()).collect()
    };
    let (copied, sliced): (Vec<bool>, Vec<bool>) = (are_slices(&copied), are_slices(&sliced));
    assert_eq!((copied, sliced), (vec![false; 3], vec![true; 3]));
}

#[test]
fn no_flipped_bit_and_no_truncation_is_accepted() {
    let bytes = encoded();
    for bit in 0..bytes.len() * 8 {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&broken).is_err() && decode_copied(&broken).is_err(), "bit {bit} flipped");
    }
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err() && decode_copied(&bytes[..len]).is_err(), "cut to {len}");
    }
}

/// A peer that computes correct checksums over nonsense must not crash the receiver either.
#[test]
fn nonsense_under_a_correct_checksum_is_an_error_or_a_frame() {
    let bytes = encoded();
    let head_len = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    for position in 0..head_len {
        for value in [0x00, 0x01, 0x7F, 0x80, 0xFF] {
            let mut broken = bytes.clone();
            broken[FRAME_HEADER_BYTES + position] = value;
            let crc = crc32fast::hash(&broken[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + head_len]);
            broken[12..16].copy_from_slice(&crc.to_le_bytes());
            let crc = crc32fast::hash(&broken[..20]);
            broken[20..24].copy_from_slice(&crc.to_le_bytes());
            refused += usize::from(decode(&broken).is_err());
        }
    }
    assert!(refused > 100, "the checks that add up lengths were never reached: {refused}");
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_anything_is_allocated() {
    let mut bytes = encoded();
    bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(FrameHeader::decode(bytes.first_chunk().unwrap()).unwrap_err(), FrameError::TooLong);
}

#[test]
fn greetings_survive_and_damage_is_noticed() {
    let place = |node, core| CoreAddr { node: NodeId(node), core: CoreId(core) };
    let hello = Hello {
        cluster_id: [9; 16],
        from: place(1, 2),
        to: place(3, 4),
        incarnation: 0x0102_0304_0506_0708,
        map: [5; 12],
    };
    let bytes = hello.encode();
    assert_eq!(Hello::decode(&bytes), Ok(hello));
    for bit in 0..bytes.len() * 8 {
        let mut broken = bytes;
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(Hello::decode(&broken).is_err(), "bit {bit} flipped");
    }
    assert_eq!(Verdict::decode(&Verdict::OtherPlace.encode()), Some(Verdict::OtherPlace));
    assert_eq!(Verdict::decode(&[0; VERDICT_BYTES]), None);
}

#[test]
fn replies_are_cut_between_replies_and_never_starve() {
    let mut replies = RepliesBuilder::default();
    for (id, len) in [(1, 10), (2, 5), (3, 100), (4, 0)] {
        replies.push(id, ReplyStatus::Done, |out| out.resize(out.len() + len, id as u8));
    }
    let first = replies.take_up_to(15);
    assert_eq!((first.heads.len(), first.bytes.len()), (2, 15));
    let long = replies.take_up_to(15);
    assert_eq!((long.heads[0].id, long.bytes.len()), (3, 100), "one reply goes out whatever its length");
    let last = replies.take_up_to(15);
    assert_eq!((last.heads[0].id, last.bytes.len(), replies.is_empty()), (4, 0, true));
}
