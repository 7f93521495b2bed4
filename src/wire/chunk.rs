//! Handing a snapshot over: the follower asks for one piece of the file after another.
//!
//! Pieces have no checksum of their own: the frame's covers them on the way, and the file's own, block by block and as
//! a whole, from the disk of one to the disk of the other.

use bytes::Bytes;
use types::{GroupId, Index};

/// Longest piece, in bytes.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Asks a replica for a piece of its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRequest {
    /// The group.
    pub group: GroupId,
    /// Which snapshot, by the last index that it holds; 0 for the newest.
    pub last_index: Index,
    /// Where the piece begins in the file, in bytes.
    pub offset: u64,
}

/// Answers a [`ChunkRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkReply {
    /// The group.
    pub group: GroupId,
    /// The snapshot that the piece belongs to; without a piece the newest there is, 0 if there is none.
    pub last_index: Index,
    /// The piece; `None` if the snapshot asked for is gone, or there is no such place in it.
    pub chunk: Option<Chunk>,
}

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Length of the whole file in bytes.
    pub total_bytes: u64,
    /// The bytes: as many as there are up to [`CHUNK_BYTES_MAX`], at least one.
    pub bytes: Bytes,
}
