//! Snapshots: a version as it is handed to another replica.
//!
//! A snapshot is one stream of bytes, of which the other side asks for any part at any time. Nothing of it is written
//! for that purpose: all but its head lies in the files of a version, which whoever sends holds on to. Whoever receives
//! writes the parts as they are to files of its store, in which the tables and blob files then lie, each at another
//! base.
//!
//! # The stream, byte by byte
//!
//! Version 2. Little-endian throughout.
//!
//! ```text
//! the head
//!  0 u64 magic, "CORASNP2": the last byte is the version
//!  8 u64 features without which it cannot be read: none yet
//! 16 u64 length of the stream
//! 24 u32 group
//! 28 u32 length of the body
//! 32 u32 crc32 of the body
//! 36 u32 crc32 of bytes 0..36
//! 40     the body: the seal, as in the manifest;
//!        the change that makes the version of none, as in the manifest, with 0 for the number of each file, and the
//!        offset in the stream for each base
//! zeros up to a 4,096-byte boundary
//!
//! the parts, as they lie in their files, each a multiple of 4,096 bytes long, one behind another without a gap:
//!   the tables, in the order of the change
//!   the blob files, in the order of the change
//! ```
//!
//! A version has one head: runs stand from the newest to the oldest, tables by their keys, blob files by their ids.
//! The checksum of the head says that it was received as it was sent; whether the parts are what it calls them shows
//! when they are read, since their own checksums cover who wrote them, and where.
//!
//! Whoever has received one snapshot asks for what is new in the next only: [`ReceivedParts`].
//!
//! Deliberately absent: I/O of the receiver.
//!
//! Reading order: `part`, `head`, `outgoing`, `incoming`, `parts`.

mod head;
mod incoming;
mod outgoing;
mod part;
mod parts;

pub use head::{HEAD_BYTES_MAX, SnapshotHead};
pub use incoming::IncomingSnapshot;
pub use outgoing::{OutgoingSnapshot, Piece};
pub use part::{Part, PartId};
pub use parts::{ReceivedParts, StreamRange};
