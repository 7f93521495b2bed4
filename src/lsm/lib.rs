//! Rows of one group, in memory and on disk.
//!
//! In memory a row is a key with its value, over what the group's tables on disk say: what differs from them is *dirty* until a flush has
//! written it there. The rows of a slot lie in small *segments*, which a trie over the bits of the keys' hashes
//! finds: when a segment is full it alone is split, so that no write moves more than 56 handles however many rows there are,
//! and walking over a slot goes in the order of the hashes.
//!
//! Invariants:
//! - A row is found by its key from when it is put until it is removed, and it holds what was put last.
//! - [`Rows::used_bytes`] is what the blocks of rows, segments and nodes take, to the byte.
//! - Nothing that is done to one row touches more than the segments on its way.
//! - A committed flush leaves tables that say what was so at its beginning, and rows over tables say what is so now.
//! - What the tables do not say stays in memory, and no answer of theirs is taken in that may be older than it.
//!
//! On disk rows lie in sorted tables that are never changed, and long values in blob files.
//!
//! - Bytes from a disk that are damaged, stale or another file's give a typed error, never a panic and never another row.
//! - Nothing that is done to a table in one go grows with the table, but for reading its top unit once.
//!
//! Reading order: [`rows`], and in its folder `slab` (where all bytes lie), `row`, `segment`, `link`, `trie` (the rows of a slot),
//! `tables` (those of all slots), `prefetch` and `cache`, `flags` (how a row stands to the tables on disk), `row_mut` (changing one), `cursor` and `sweep`
//! (what has expired), `records`, `aside`, `flush` and `flushing` (copying what is dirty while it changes), `tidy` and `tidying` (what a flush leaves to do),
//! `look`, `row_position` and `evict` (rows that are not in memory).
//! On disk: `ids`, `codec`, `error`, `pace`, `pending`, [`table`], [`blob`], [`version`], [`files`],
//! [`manifest`], [`read`], [`write`], [`merge`], [`snapshot`], [`digest`].

pub mod blob;
mod codec;
pub mod digest;
mod error;
pub mod files;
mod ids;
pub mod manifest;
pub mod merge;
mod pace;
mod pending;
pub mod read;
pub mod rows;
pub mod snapshot;
pub mod table;
pub mod version;
pub mod write;

pub use error::{Error, FormatError};
pub use ids::{FileId, TableId};
pub use pace::Pace;
pub use pending::Chunk;
pub use rows::{Content, Known, PREFETCH_KEYS_COUNT, Payloads, Prefetch, Records, Row, RowMut, Rows, Swept, Warmed};
