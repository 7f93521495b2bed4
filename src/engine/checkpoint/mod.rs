//! A checkpoint: the state of one group after one entry of its log, in one file.
//!
//! With it the log before that entry can go, a restart replays only what came later, and a replica that was away for
//! too long takes the whole state over. The file stands aside (`checkpoint.new`) until it is complete and durable, and
//! is then renamed, so that there is always one whole checkpoint or none.
//!
//! Invariants:
//! - A checkpoint holds exactly the state at its last index, though the state goes on changing while it is written.
//! - A file is taken for sound only if every byte of it is as it was written, for this group and at this place.
//!
//! Deliberately absent: deltas. Each checkpoint holds the whole state.
//!
//! Reading order: [`mod@format`] (bytes), `writer`, `reader`, `files` (where they lie, and loading them).

mod files;
pub mod format;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use files::{LoadError, Loaded, Paths, load};
pub use format::{Corrupt, FileHeader, FileId, Record};
pub use reader::Verifier;
pub use writer::Sealer;

pub(crate) use files::{create, tidy, verify};

/// Which checkpoint the file is that begins with these bytes; `None` if it is none.
pub(crate) fn file_id(bytes: &[u8]) -> Option<FileId> {
    format::BlockHeader::decode(bytes).ok().map(|(header, _)| header.file)
}
