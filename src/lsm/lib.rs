//! Rows of one group in memory.
//!
//! A row is a key with its value. The rows of a slot lie in small *segments*, which a trie over the bits of the keys' hashes
//! finds: when a segment is full it alone is split, so that no write moves more than 56 handles however many rows there are,
//! and walking over a slot goes in the order of the hashes.
//!
//! Invariants:
//! - A row is found by its key from when it is put until it is removed, and it holds what was put last.
//! - [`Rows::used_bytes`] is what the blocks of rows, segments and nodes take, to the byte.
//! - Nothing that is done to one row touches more than the segments on its way.
//!
//! Reading order: [`rows`], and in its folder `slab` (where all bytes lie), `row`, `segment`, `link`, `trie` (the rows of a slot),
//! `tables` (those of all slots), `row_mut` (changing one), `sweep` (what has expired), `walk` (a state while it changes) and `former`
//! (what a walk copies).

pub mod rows;

pub use rows::{Content, Former, Row, RowMut, Rows, Swept};
