//! The frame: what one core sends another core of a different node in one turn, for all groups of the pair.
//!
//! ```text
//!  0 u32 magic "CRF2"
//!  4 u32 length of the metadata        12 u32 crc32 of the metadata      20 u32 crc32 of bytes 0..20
//!  8 u32 length of the payloads        16 u32 crc32 of the payloads      24 metadata, then payloads
//! ```
//!
//! Little-endian. The metadata is an rkyv archive of [`FrameHead`]. The payloads stand behind it in one run:
//! entries in the order of the messages, then the bytes of the requests, those of the replies, the pieces of
//! snapshots, what notes about comparisons hold, changes of the cluster map, a report, and the map itself. On the way out they are gathered from where they already lie; on the way in they are slices of the frame.

use alloc::vec::Vec;

use bytes::Bytes;
use rkyv::rancor::Failure;
use rkyv::{Archive, Serialize};
use types::limits::FRAME_BYTES_MAX;
use types::{CoreAddr, CoreId, GroupId, NodeId, ReplicaId};

use crate::batch::archive_behind;
use crate::checksum::Crc;
use crate::chunk::{CHUNK_BYTES_MAX, Chunk, ChunkReply, ChunkRequest};
use crate::comparison::{ComparisonNote, NoteBody};
use crate::entry::{Entry, EntryKind};
use crate::forward::{ArchivedReplyHead, ArchivedRequestHead, Replies, ReplyHead, RequestHead, Requests};
use crate::frame_error::FrameError;
use crate::leader_note::LeaderNote;
use crate::message::{Body, Message};
use crate::payloads::Payloads;
use crate::replica_note::{ReplicaNote, ReplicaNoteKind};
use crate::report::{ArchivedHealthHead, HealthHead, Healths, Report};

/// Length of the fixed part of a frame.
pub const FRAME_HEADER_BYTES: usize = 24;

const MAGIC: u32 = u32::from_le_bytes(*b"CRF2");

/// What one core tells another of the cluster map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapNote {
    /// The epoch of the latest map that the sender knows.
    pub epoch: u64,
    /// Whether the sender wants the receiver's map.
    pub is_wanted: bool,
    /// The sender's map, archived, if the receiver wanted it; else empty.
    pub map: Bytes,
}

/// What goes into one frame.
#[derive(Debug, Default)]
pub struct Frame {
    /// Raft messages, of any groups.
    pub messages: Vec<Message>,
    /// Commands forwarded to the receiver.
    pub requests: Requests,
    /// Answers to commands the receiver has forwarded.
    pub replies: Replies,
    /// Leaderships of the sender.
    pub leaders: Vec<LeaderNote>,
    /// Pieces of snapshots that the sender wants.
    pub chunk_requests: Vec<ChunkRequest>,
    /// Pieces of snapshots that the receiver wanted.
    pub chunks: Vec<ChunkReply>,
    /// What replicas say about comparisons.
    pub comparisons: Vec<ComparisonNote>,
    /// Who belongs to a group.
    pub replica_notes: Vec<ReplicaNote>,
    /// Changes of the cluster map that the sender asks for, archived. Whoever leads group 0 proposes them.
    pub changes: Vec<Bytes>,
    /// What the sender reports to the receiver, which it takes for the leader of group 0.
    pub report: Option<Report>,
    /// How the sender, which leads group 0, finds the nodes.
    pub healths: Option<Healths>,
    /// About the cluster map. Its epoch is in every frame.
    pub map: MapNote,
}

#[derive(Archive, Serialize)]
struct FrameHead {
    messages: Vec<MessageHead>,
    entries: Vec<EntryHead>,
    requests: Vec<RequestHead>,
    request_ends: Vec<u32>,
    replies: Vec<ReplyHead>,
    leaders: Vec<LeaderHead>,
    chunk_requests: Vec<ChunkRequestHead>,
    chunks: Vec<ChunkHead>,
    comparisons: Vec<ComparisonHead>,
    replica_notes: Vec<ReplicaNoteHead>,
    change_lens: Vec<u32>,
    // 0: there is none.
    report_len: u32,
    // 0: there are none.
    healths_term: u64,
    healths: Vec<HealthHead>,
    map: MapHead,
}

#[derive(Archive, Serialize)]
struct MessageHead {
    group: u32,
    from: u64,
    to: u64,
    term: u64,
    body: BodyHead,
}

#[derive(Archive, Serialize)]
enum BodyHead {
    Vote { pre: bool, transfer: bool, last_index: u64, last_term: u64 },
    VoteReply { pre: bool, granted: bool },
    Append { prev_index: u64, prev_term: u64, commit: u64, entries_count: u32 },
    AppendAccepted { match_index: u64 },
    AppendRejected { prev_index: u64, hint_index: u64, hint_term: u64 },
    Heartbeat { commit: u64, round: u64, quiesce: bool, round_trip_us: u32 },
    HeartbeatReply { round: u64, priority: u8 },
    TimeoutNow,
    Snapshot { last_index: u64, last_term: u64 },
}

#[derive(Archive, Serialize)]
struct EntryHead {
    term: u64,
    index: u64,
    payload_len: u32,
    kind: u8,
}

#[derive(Archive, Serialize)]
struct LeaderHead {
    group: u32,
    term: u64,
    node: u32,
    core: u16,
}

#[derive(Archive, Serialize)]
struct ChunkRequestHead {
    group: u32,
    last_index: u64,
    offset: u64,
}

#[derive(Archive, Serialize)]
struct ChunkHead {
    group: u32,
    last_index: u64,
    offset: u64,
    total_bytes: u64,
    // 0: there is no piece.
    len: u32,
}

#[derive(Archive, Serialize)]
struct ComparisonHead {
    group: u32,
    index: u64,
    term: u64,
    len: u32,
    kind: u8,
}

#[derive(Archive, Serialize)]
struct ReplicaNoteHead {
    group: u32,
    replica: u64,
    term: u64,
    says: u8,
}

#[derive(Archive, Serialize)]
struct MapHead {
    epoch: u64,
    is_wanted: bool,
    // 0: there is none.
    len: u32,
}

impl LeaderHead {
    fn of(note: LeaderNote) -> LeaderHead {
        let CoreAddr { node, core } = note.place;
        LeaderHead { group: note.group.0, term: note.term, node: node.0, core: core.0 }
    }
}

impl ChunkRequestHead {
    fn of(request: ChunkRequest) -> ChunkRequestHead {
        ChunkRequestHead { group: request.group.0, last_index: request.last_index, offset: request.offset }
    }
}

impl ReplicaNoteHead {
    fn of(note: ReplicaNote) -> ReplicaNoteHead {
        ReplicaNoteHead { group: note.group.0, replica: note.replica.0, term: note.term, says: note.says as u8 }
    }
}

impl MapHead {
    fn of(note: &MapNote) -> MapHead {
        MapHead { epoch: note.epoch, is_wanted: note.is_wanted, len: note.map.len() as u32 }
    }
}

impl Frame {
    /// Whether there is nothing to send but the epoch of the map.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.requests.is_empty()
            && self.replies.is_empty()
            && self.leaders.is_empty()
            && self.chunk_requests.is_empty()
            && self.chunks.is_empty()
            && self.comparisons.is_empty()
            && self.replica_notes.is_empty()
            && self.changes.is_empty()
            && self.report.is_none()
            && self.healths.is_none()
            && !self.map.is_wanted
            && self.map.map.is_empty()
    }

    /// Encodes the frame for one gathering send: header and metadata as one part, then each payload as it
    /// is. Empties the frame.
    pub fn encode(&mut self, parts: &mut Vec<Bytes>) {
        parts.clear();
        parts.push(Bytes::new());
        let mut head = FrameHead {
            messages: Vec::with_capacity(self.messages.len()),
            entries: Vec::new(),
            requests: Vec::new(),
            request_ends: Vec::new(),
            replies: Vec::new(),
            leaders: Vec::with_capacity(self.leaders.len()),
            chunk_requests: Vec::with_capacity(self.chunk_requests.len()),
            chunks: Vec::with_capacity(self.chunks.len()),
            comparisons: Vec::with_capacity(self.comparisons.len()),
            replica_notes: self.replica_notes.drain(..).map(ReplicaNoteHead::of).collect(),
            change_lens: self.changes.iter().map(|change| change.len() as u32).collect(),
            report_len: 0,
            healths_term: 0,
            healths: Vec::new(),
            map: MapHead::of(&self.map),
        };
        (head.healths_term, head.healths) = HealthHead::of(self.healths.take());
        let mut crc = self.encode_messages(&mut head, parts);
        let entries_end = parts.len();
        let requests = core::mem::take(&mut self.requests);
        head.requests = requests.heads;
        head.request_ends = requests.ends;
        push_part(parts, requests.bytes);
        let replies = core::mem::take(&mut self.replies);
        head.replies = replies.heads;
        push_part(parts, replies.bytes);
        head.leaders.extend(self.leaders.drain(..).map(LeaderHead::of));
        head.chunk_requests.extend(self.chunk_requests.drain(..).map(ChunkRequestHead::of));
        for reply in self.chunks.drain(..) {
            let chunk = reply.chunk.unwrap_or(Chunk { offset: 0, total_bytes: 0, bytes: Bytes::new() });
            head.chunks.push(ChunkHead {
                group: reply.group.0,
                last_index: reply.last_index,
                offset: chunk.offset,
                total_bytes: chunk.total_bytes,
                len: chunk.bytes.len() as u32,
            });
            push_part(parts, chunk.bytes);
        }
        for note in self.comparisons.drain(..) {
            let (kind, bytes) = note.body.encode();
            let len = bytes.len() as u32;
            head.comparisons.push(ComparisonHead {
                group: note.group.0,
                index: note.index,
                term: note.term,
                len,
                kind,
            });
            push_part(parts, bytes);
        }
        self.changes.drain(..).for_each(|change| push_part(parts, change));
        head.report_len = push_report(parts, self.report.take());
        push_part(parts, core::mem::take(&mut self.map).map);
        parts[entries_end..].iter().for_each(|part| crc.add(part));
        parts[0] = seal(&head, &parts[1..], crc.finish());
    }

    /// Encodes the messages. Returns the checksum of the payloads of their entries.
    fn encode_messages(&mut self, head: &mut FrameHead, parts: &mut Vec<Bytes>) -> Crc {
        let mut crc = Crc::default();
        for message in self.messages.drain(..) {
            let body = body_head(message.body, &mut head.entries, parts, &mut crc);
            head.messages.push(MessageHead {
                group: message.group.0,
                from: message.from.0,
                to: message.to.0,
                term: message.term,
                body,
            });
        }
        crc
    }
}

fn push_part(parts: &mut Vec<Bytes>, part: Bytes) {
    if !part.is_empty() {
        parts.push(part);
    }
}

/// What a message says, its entries left out. These are added to `heads`, `parts` and `crc`.
fn body_head(body: Body, heads: &mut Vec<EntryHead>, parts: &mut Vec<Bytes>, crc: &mut Crc) -> BodyHead {
    match body {
        Body::Vote { pre, transfer, last_index, last_term } => {
            BodyHead::Vote { pre, transfer, last_index, last_term }
        }
        Body::VoteReply { pre, granted } => BodyHead::VoteReply { pre, granted },
        Body::Append { prev_index, prev_term, commit, entries } => {
            let entries_count = entries.len() as u32;
            for entry in entries {
                heads.push(EntryHead {
                    term: entry.term,
                    index: entry.index,
                    payload_len: entry.payload.len() as u32,
                    kind: entry.kind as u8,
                });
                crc.add_payload(&entry.payload);
                push_part(parts, entry.payload.into_bytes());
            }
            BodyHead::Append { prev_index, prev_term, commit, entries_count }
        }
        Body::AppendAccepted { match_index } => BodyHead::AppendAccepted { match_index },
        Body::AppendRejected { prev_index, hint_index, hint_term } => {
            BodyHead::AppendRejected { prev_index, hint_index, hint_term }
        }
        Body::Heartbeat { commit, round, quiesce, round_trip_us } => {
            BodyHead::Heartbeat { commit, round, quiesce, round_trip_us }
        }
        Body::HeartbeatReply { round, priority } => BodyHead::HeartbeatReply { round, priority },
        Body::TimeoutNow => BodyHead::TimeoutNow,
        Body::Snapshot { last_index, last_term } => BodyHead::Snapshot { last_index, last_term },
    }
}

/// Header and metadata in one run of bytes.
fn seal(head: &FrameHead, payloads: &[Bytes], payload_crc: u32) -> Bytes {
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + 256 + 96 * head.messages.len());
    bytes.resize(FRAME_HEADER_BYTES, 0);
    let mut bytes = archive_behind(head, bytes);
    let payload_len: usize = payloads.iter().map(Bytes::len).sum();
    let head_len = bytes.len() - FRAME_HEADER_BYTES;
    assert!(head_len + payload_len <= FRAME_BYTES_MAX, "a frame of ours is longer than FRAME_BYTES_MAX");
    let head_crc = crc32fast::hash(&bytes[FRAME_HEADER_BYTES..]);
    let words = [MAGIC, head_len as u32, payload_len as u32, head_crc, payload_crc];
    for (idx, word) in words.into_iter().enumerate() {
        bytes[4 * idx..4 * idx + 4].copy_from_slice(&word.to_le_bytes());
    }
    let header_crc = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&header_crc.to_le_bytes());
    Bytes::from(bytes)
}

/// The fixed part of a frame that arrives.
#[derive(Clone, Copy, Debug)]
pub struct FrameHeader {
    head_len: usize,
    payload_len: usize,
    head_crc: u32,
    payload_crc: u32,
}

impl FrameHeader {
    /// Validates the first [`FRAME_HEADER_BYTES`] bytes of a frame.
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<FrameHeader, FrameError> {
        let word = |idx: usize| {
            u32::from_le_bytes([bytes[4 * idx], bytes[4 * idx + 1], bytes[4 * idx + 2], bytes[4 * idx + 3]])
        };
        if word(0) != MAGIC {
            return Err(FrameError::Magic);
        }
        if crc32fast::hash(&bytes[..20]) != word(5) {
            return Err(FrameError::Checksum);
        }
        let header = FrameHeader {
            head_len: word(1) as usize,
            payload_len: word(2) as usize,
            head_crc: word(3),
            payload_crc: word(4),
        };
        if header.body_len() > FRAME_BYTES_MAX { Err(FrameError::TooLong) } else { Ok(header) }
    }

    /// How many bytes follow the header.
    pub fn body_len(&self) -> usize {
        self.head_len + self.payload_len
    }

    /// Decodes what follows the header. Payloads of the frame are slices of `body`, not copies.
    pub fn decode_body(&self, body: Bytes) -> Result<Frame, FrameError> {
        if body.len() != self.body_len() {
            return Err(FrameError::Payloads);
        }
        self.decode_parts(&body[..self.head_len], Payloads::new(body.slice(self.head_len..)))
    }

    /// Decodes what follows the header, from wherever it has arrived. What entries hold is copied once each, and the other
    /// payloads together: slices of that copy.
    pub fn decode_copied(&self, body: &[u8]) -> Result<Frame, FrameError> {
        if body.len() != self.body_len() {
            return Err(FrameError::Payloads);
        }
        let (head, payloads) = body.split_at(self.head_len);
        self.decode_parts(head, Payloads::lent(payloads))
    }

    fn decode_parts(&self, head: &[u8], mut payloads: Payloads<'_>) -> Result<Frame, FrameError> {
        if crc32fast::hash(head) != self.head_crc {
            return Err(FrameError::Checksum);
        }
        let head = rkyv::access::<ArchivedFrameHead, Failure>(head).map_err(|_| FrameError::Metadata)?;
        let mut frame = Frame::default();
        let mut entries = head.entries.iter();
        frame.messages.reserve(head.messages.len());
        for message in head.messages.iter() {
            frame.messages.push(Message {
                group: GroupId(message.group.to_native()),
                from: ReplicaId(message.from.to_native()),
                to: ReplicaId(message.to.to_native()),
                term: message.term.to_native(),
                body: decode_body(&message.body, &mut entries, &mut payloads)?,
            });
        }
        if entries.next().is_some() {
            return Err(FrameError::Metadata);
        }
        payloads.check(self.payload_crc)?;
        frame.requests = decode_requests(head, &mut payloads)?;
        frame.replies = decode_replies(head, &mut payloads)?;
        frame.leaders.extend(head.leaders.iter().map(|note| LeaderNote {
            group: GroupId(note.group.to_native()),
            term: note.term.to_native(),
            place: CoreAddr { node: NodeId(note.node.to_native()), core: CoreId(note.core.to_native()) },
        }));
        frame.chunk_requests.extend(head.chunk_requests.iter().map(|request| ChunkRequest {
            group: GroupId(request.group.to_native()),
            last_index: request.last_index.to_native(),
            offset: request.offset.to_native(),
        }));
        for chunk in head.chunks.iter() {
            frame.chunks.push(decode_chunk(chunk, &mut payloads)?);
        }
        for note in head.comparisons.iter() {
            let bytes = payloads.take(note.len.to_native() as usize)?;
            frame.comparisons.push(ComparisonNote {
                group: GroupId(note.group.to_native()),
                index: note.index.to_native(),
                term: note.term.to_native(),
                body: NoteBody::decode(note.kind, &bytes).ok_or(FrameError::Metadata)?,
            });
        }
        for note in head.replica_notes.iter() {
            frame.replica_notes.push(ReplicaNote {
                group: GroupId(note.group.to_native()),
                replica: ReplicaId(note.replica.to_native()),
                term: note.term.to_native(),
                says: ReplicaNoteKind::from_u8(note.says).ok_or(FrameError::Metadata)?,
            });
        }
        for len in head.change_lens.iter() {
            frame.changes.push(payloads.take(len.to_native() as usize)?);
        }
        frame.report = Report::decode_part(&payloads.take(head.report_len.to_native() as usize)?)?;
        let healths = ArchivedHealthHead::decode(head.healths_term.to_native(), &head.healths);
        frame.healths = healths.ok_or(FrameError::Metadata)?;
        frame.map = MapNote {
            epoch: head.map.epoch.to_native(),
            is_wanted: head.map.is_wanted,
            map: payloads.take(head.map.len.to_native() as usize)?,
        };
        payloads.end().map(|()| frame)
    }
}

fn decode_body<'a>(
    body: &ArchivedBodyHead,
    heads: &mut impl Iterator<Item = &'a ArchivedEntryHead>,
    payloads: &mut Payloads<'_>,
) -> Result<Body, FrameError> {
    Ok(match body {
        ArchivedBodyHead::Vote { pre, transfer, last_index, last_term } => Body::Vote {
            pre: *pre,
            transfer: *transfer,
            last_index: last_index.to_native(),
            last_term: last_term.to_native(),
        },
        ArchivedBodyHead::VoteReply { pre, granted } => Body::VoteReply { pre: *pre, granted: *granted },
        ArchivedBodyHead::Append { prev_index, prev_term, commit, entries_count } => {
            let mut entries = Vec::new();
            let prev_index = prev_index.to_native();
            for expected in 0..u64::from(entries_count.to_native()) {
                let head = heads.next().ok_or(FrameError::Metadata)?;
                let kind = EntryKind::from_u8(head.kind).ok_or(FrameError::Metadata)?;
                let index = head.index.to_native();
                if prev_index.checked_add(expected + 1) != Some(index) {
                    return Err(FrameError::Metadata);
                }
                let payload = payloads.take_entry(head.payload_len.to_native() as usize)?;
                entries.push(Entry { term: head.term.to_native(), index, kind, payload });
            }
            Body::Append { prev_index, prev_term: prev_term.to_native(), commit: commit.to_native(), entries }
        }
        ArchivedBodyHead::AppendAccepted { match_index } => {
            Body::AppendAccepted { match_index: match_index.to_native() }
        }
        ArchivedBodyHead::AppendRejected { prev_index, hint_index, hint_term } => Body::AppendRejected {
            prev_index: prev_index.to_native(),
            hint_index: hint_index.to_native(),
            hint_term: hint_term.to_native(),
        },
        ArchivedBodyHead::Heartbeat { commit, round, quiesce, round_trip_us } => Body::Heartbeat {
            commit: commit.to_native(),
            round: round.to_native(),
            quiesce: *quiesce,
            round_trip_us: round_trip_us.to_native(),
        },
        ArchivedBodyHead::HeartbeatReply { round, priority } => {
            Body::HeartbeatReply { round: round.to_native(), priority: *priority }
        }
        ArchivedBodyHead::TimeoutNow => Body::TimeoutNow,
        ArchivedBodyHead::Snapshot { last_index, last_term } => {
            Body::Snapshot { last_index: last_index.to_native(), last_term: last_term.to_native() }
        }
    })
}

fn decode_chunk(head: &ArchivedChunkHead, payloads: &mut Payloads<'_>) -> Result<ChunkReply, FrameError> {
    let len = head.len.to_native() as usize;
    let (offset, total_bytes) = (head.offset.to_native(), head.total_bytes.to_native());
    let is_within = offset.checked_add(len as u64).is_some_and(|end| end <= total_bytes);
    if len > 0 && (len > CHUNK_BYTES_MAX || !is_within) {
        return Err(FrameError::Metadata);
    }
    let bytes = payloads.take(len)?;
    let chunk = (len > 0).then_some(Chunk { offset, total_bytes, bytes });
    Ok(ChunkReply { group: GroupId(head.group.to_native()), last_index: head.last_index.to_native(), chunk })
}

fn push_report(parts: &mut Vec<Bytes>, report: Option<Report>) -> u32 {
    let bytes = report.map(|report| report.encode()).unwrap_or_default();
    let len = bytes.len() as u32;
    push_part(parts, bytes);
    len
}

fn decode_requests(head: &ArchivedFrameHead, payloads: &mut Payloads<'_>) -> Result<Requests, FrameError> {
    let mut requests = Requests::default();
    requests.heads.extend(head.requests.iter().map(ArchivedRequestHead::to_native));
    requests.ends.extend(head.request_ends.iter().map(|end| end.to_native()));
    let arguments_count: u64 = requests.heads.iter().map(|head| u64::from(head.arguments_count)).sum();
    let ordered = requests.ends.is_sorted();
    if arguments_count != requests.ends.len() as u64 || !ordered {
        return Err(FrameError::Metadata);
    }
    let len = requests.ends.last().map_or(0, |end| *end as usize);
    requests.bytes = payloads.take(len)?;
    Ok(requests)
}

fn decode_replies(head: &ArchivedFrameHead, payloads: &mut Payloads<'_>) -> Result<Replies, FrameError> {
    let mut replies = Replies::default();
    let mut len = 0usize;
    for reply in head.replies.iter() {
        let reply = ArchivedReplyHead::to_native(reply).ok_or(FrameError::Metadata)?;
        len = len.checked_add(reply.len as usize).ok_or(FrameError::Payloads)?;
        replies.heads.push(reply);
    }
    replies.bytes = payloads.take(len)?;
    Ok(replies)
}
