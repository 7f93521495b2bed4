//! What cores of different nodes say to each other, and how it is framed.
//!
//! Data only: no I/O, no clock, no state. Bytes from a peer are validated before they are looked at and
//! then used in place; a broken frame is a [`FrameError`], never a panic.
//!
//! Reading order: [`entry`] (what a log holds), [`payload`] and [`checksum`] (what is summed once), [`message`] (what Raft says), [`batch`] and [`membership`] (what an entry's payload
//! is); [`frame`] (what a core sends another one in one turn), `payloads` and `frame_error` (how it is taken apart, and what can be wrong), with
//! what stands in it: [`forward`] (commands and their replies), `leader_note` (who leads), [`chunk`] (pieces of a group's state),
//! [`comparison`] (digests of it), [`replica_note`] (who belongs to a group) and [`report`] (how nodes and groups do); [`handshake`] (what comes
//! before the first frame) and [`formation`] (what comes before
//! there is a cluster).

#![no_std]

extern crate alloc;

pub mod batch;
pub mod checksum;
pub mod chunk;
pub mod comparison;
pub mod entry;
pub mod formation;
pub mod forward;
pub mod frame;
mod frame_error;
pub mod handshake;
mod leader_note;
pub mod membership;
pub mod message;
pub mod payload;
mod payloads;
pub mod replica_note;
pub mod report;

pub use batch::{Batch, BatchBuilder, BatchCommand, BatchError};
pub use checksum::{Checksum, Crc};
pub use chunk::{CHUNK_BYTES_MAX, Chunk, ChunkReply, ChunkRequest};
pub use comparison::{
    ComparisonError, ComparisonNote, DIGEST_BYTES, LEAVES_COUNT, NoDigest, NoteBody, RowsDigest, compare_payload,
    compare_time_ms,
};
pub use entry::{Entry, EntryKind, HardState};
pub use formation::{
    ANSWER_BYTES, Answer, AnswerCode, ConfigPrint, FormationError, QUESTION_BYTES, Question, QuestionKind,
};
pub use forward::{Replies, RepliesBuilder, ReplyHead, ReplyStatus, RequestHead, Requests, RequestsBuilder};
pub use frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, MapNote};
pub use frame_error::FrameError;
pub use handshake::{HELLO_BYTES, Hello, HelloError, VERDICT_BYTES, Verdict};
pub use leader_note::LeaderNote;
pub use membership::{Member, Membership, MembershipError, SnapshotMeta};
pub use message::{Body, Message};
pub use payload::Payload;
pub use replica_note::{ReplicaNote, ReplicaNoteKind};
pub use report::{
    GroupFigures, Healths, NodeFigures, NodeHealth, REPORT_GROUPS_COUNT_MAX, Report, ReportError, SilentMember,
};

#[cfg(test)]
mod tests;
