//! A snapshot: the state of one group after one entry of its log, in one file.
//!
//! With it the log before that entry can go, a restart replays only what came later, and a replica that was away for
//! too long takes the whole state over. The file, called `checkpoint`, stands aside (`checkpoint.new`) until it is complete and durable, and
//! is then renamed, so that there is always one whole snapshot or none.
//!
//! Invariants:
//! - A snapshot holds exactly the state at its last index, though the state goes on changing while it is written.
//! - A file is taken for sound only if every byte of it is as it was written, for this group and at this place.
//!
//! Deliberately absent: deltas. Each snapshot holds the whole state.
//!
//! Reading order: [`mod@format`] (bytes), `writer`, `reader`, `files` (where they lie, and loading them).

mod files;
pub mod format;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use files::{Loaded, Paths, load};
pub use format::{FileHeader, FileId, Record};

pub use crate::load_error::{Corrupt, LoadError};
pub use reader::Verifier;
pub use writer::Sealer;

pub(crate) use files::{create, tidy, verify};

/// Which snapshot the file is that begins with these bytes; `None` if it is none.
pub(crate) fn file_id(bytes: &[u8]) -> Option<FileId> {
    format::BlockHeader::decode(bytes).ok().map(|(header, _)| header.file)
}
