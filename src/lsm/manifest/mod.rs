//! The manifest: which groups a store holds, and of which tables and blob files each consists.
//!
//! One per core. It is a log of [`Edit`]s, and their order is that of everything durable: a flush or a merge takes
//! effect with its edit and not before. Two files hold the same blocks; a block is written to the first, then to the
//! second, and the next block only after both are durable. When it has grown long it is written anew, as edits that
//! make the present state.
//!
//! # The files, byte by byte
//!
//! Version 2. Little-endian throughout. `manifest.a` and `manifest.b`; what is being written anew is called `….new`
//! until it is whole, and gets its name then: first that of `a`, then that of `b`. Files of zeros of that name are
//! allocated beforehand.
//!
//! Blocks stand one behind another from offset 0, each at a 4,096-byte boundary and padded with zeros to the next one.
//! Zeros follow the last.
//!
//! ```text
//!  0 u64 magic, "CORAMAN2": the last byte is the version
//!  8 u64 id of the store
//! 16 u64 epoch: 1 for the first, +1 each time the manifest is written anew
//! 24 u64 sequence: 1 for the first block of an epoch, +1 for each one
//! 32 u64 offset of the block in the file
//! 40 u64 features without which it cannot be read: none yet
//! 48 u32 length of the edits
//! 52 u32 crc32 of the edits
//! 56 u32 chain: what stands at byte 60 of the block before; 0 for block 1
//! 60 u32 crc32 of bytes 0..60
//! 64     the edits, each behind its length as u32
//! ```
//!
//! An epoch begins with edits of types 1 to 4 that make the state at its beginning; a copy that has no *complete* is
//! not used.
//!
//! ## Edits
//!
//! ```text
//!  0 u8  type
//!  1 u32 group, 5 u64 replica, but for types 1 and 2, where they are zero
//! 13     by type:
//!
//! 1 numbers: files of smaller numbers may have been written; greater ones were not
//!    u64 number
//! 2 complete: the state at the beginning of the epoch ends here
//! 3 group: there is one, without tables; merges that follow add them
//!    the seal; u64 index of the last install, 0 if there was none
//! 4 merge: tables and blob files are replaced by others that say the same
//!    the change
//! 5 flush: rows that were in memory are in tables, up to the seal
//!    the seal, the change
//! 6 install: the state of another replica takes the place of all there was
//!    the seal, the change
//! 7 drop: the group is gone, with all it had
//! 8 new generation: all rows are gone
//!    the seal
//! ```
//!
//! A *change* is documented with [`crate::version::Change`]. A *seal* is
//!
//! ```text
//! u64 index, u64 term, u64 time in ms, u64 generation, u64 id counter, u32 length, membership
//! ```
//!
//! # What a start finds
//!
//! The sound blocks from the beginning of a copy, to the first that is missing or damaged. Of the two copies the one of
//! the later epoch counts, of one epoch the longer one. If a block *two* behind its end is found in either copy, the
//! one between had been durable in both, so that edits are lost that were acknowledged: an error. Else what lies behind
//! the end was never acknowledged, and is dropped: the manifest is written anew.
//!
//! Reading order: `edit`, `block`, `scan`, `state`, `written`, `log`, `survey`, `verify`.

mod block;
mod edit;
mod log;
mod scan;
mod state;
mod survey;
mod verify;
mod written;

pub use block::{BLOCK_BYTES_MAX, BlockHeader};
pub use edit::{Edit, EditKind, Seal};
pub use log::{Manifest, ManifestSettings};
pub use scan::{Copy, scan, scan_blocks};
pub use state::{GroupState, Staged, State};
pub use survey::{CopySurvey, Survey, Surveyed};
pub use verify::verify_copies;
pub use written::Written;
