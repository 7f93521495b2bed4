//! Tables: sorted and immutable rows on disk.
//!
//! A table is a slice of a file: small ones share a file. It is written once, from front to back, by a
//! [`TableBuilder`], and never changed. A row key is opaque bytes in memcmp order, but for its first three: the slot as
//! a big-endian `u16`, and `h` if it is a head ([`stored_row::head_key`]). A table holds one row a key at most. Besides rows it holds *range
//! tombstones*, which delete ranges of keys in older tables only, never in the table itself.
//!
//! # The table, byte by byte
//!
//! Version 2. Little-endian throughout. Offsets count from the table's first byte, which stands at a 4,096-byte
//! boundary of its file.
//!
//! ```text
//! units, one behind another, in the order in which they were filled:
//!   leaf after leaf: its data units, then the leaf unit itself
//!   the top unit
//!   the properties unit
//! zeros, so that the footer ends at a 4,096-byte boundary
//! the footer, 96 bytes
//! ```
//!
//! So a lookup reads the top unit (where it is, the manifest says), one leaf, and one data unit if the leaf's filter
//! lets it. Nothing but the top unit grows with the table, by about 40 bytes for each leaf of about 1 MiB.
//!
//! ## Unit
//!
//! ```text
//!  0 u32 crc32 of: the store and the number of the table's file, the offset of the unit in that file (3 × u64), bytes 4..
//!  4 u32 length of what follows the header
//!  8 u32 length of the body
//! 12 u8  kind: 1 data, 2 leaf, 3 top, 4 properties
//! 13 u8  codec: 0 none, the body follows as it is; 1 LZ4 block
//! 14 u16 zero
//! 16     the body, as the codec makes it
//! ```
//!
//! File and offset are those of the [`crate::TableId`], where the table was first written; a copy elsewhere keeps them.
//! So a unit that was misdirected, or that an earlier use of the space has left, does not pass for the one looked for.
//!
//! ## Body of a data unit
//!
//! ```text
//! entries, one behind another, by ascending keys:
//!   u8     flags: bits 0 and 1: 0 value follows, 1 tombstone, 2 value in a blob file; bit 2: has an expiry; others zero
//!   varint bytes that the key shares with the one before
//!   varint bytes of the key that follow
//!   varint bytes of the value                     unless a tombstone or in a blob file
//!          the rest of the key
//!   u8     type of the value                      unless a tombstone
//!   u64    expiry, Unix time in ms                if flagged
//!          the value; or where it lies: u64 store, u64 number of the blob file, u64 offset of the record in it, u32 bytes
//! n × u32 offsets of the entries that share nothing, at which a search can begin; the first is 0
//! u32     n, 0 if there are no entries
//! ```
//!
//! ## Index, part of a leaf and of the top
//!
//! ```text
//! u32 n
//! n × { u64 offset of the unit, u32 its length, header included, u32 where its bound ends }
//! the bounds, one behind another
//! ```
//!
//! All keys of unit `i` are at least bound `i` and less than bound `i + 1`. Bounds are cut as short as that allows; the
//! first of a table is empty.
//!
//! ## Body of a leaf unit
//!
//! ```text
//! u32 bytes of the filter, a multiple of 32
//!     the filter of the rows of the leaf's data units
//!     the index of the data units
//! ```
//!
//! The filter is a split-block Bloom filter (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters,
//! 2007). With `h` the 64-bit XXH3 of the row key and `n` the number of 32-byte blocks, block `(h >> 32) * n >> 32`
//! concerns the row. Seen as eight `u32`, bit `(h as u32 * SALT[i]) >> 27` of each one `i` is set ([`filter`] lists the
//! salts).
//!
//! ## Body of the top unit
//!
//! ```text
//! u32 n
//! n × { u32 length, first key deleted, u32 length, first key behind that is not }    ascending, without overlap
//!     the index of the leaves
//! ```
//!
//! ## Body of the properties unit
//!
//! ```text
//!  0 u64 rows
//!  8 u64 heads: rows of keys that have a value
//! 16 u64 tombstones of heads
//! 24 u64 tombstones, those of heads among them
//! 32 u64 rows with an expiry
//! 40 u64 smallest expiry; all ones if there is none
//! 48 u64 largest expiry; 0 if there is none
//! 56 u64 time of the merge that wrote the table in ms, 0 if none did; all expired by then was dropped that may be
//! 64 u64 range tombstones
//! 72 u64 bytes of keys and values, those in blob files not among them
//! 80 u64 bytes of the units before this one
//! 88 u32 length, smallest key; of a range tombstone, if that begins before the first row
//!    u32 length, largest key; if a range tombstone ends behind the last row, its end, which is not in it
//!    u16 slots that are counted together
//!    u32 n, n × { u16 first slot, u16 last slot, u64 heads, u64 tombstones of heads }    ascending
//!    u32 n, n × { u64 store, u64 number of a blob file, u64 values in it, u64 their bytes }    ascending
//!    u32 n, n × { 16 bytes of the first key, 16 bytes of the first key behind }    the widest range tombstones, ascending
//! ```
//!
//! ## Footer
//!
//! ```text
//!  0 u32 crc32 of: store and number of the table's file, offset of the footer in it (3 × u64), bytes 4..96
//!  4 u32 length of the top unit
//!  8 u64 offset of the top unit
//! 16 u64 offset of the properties unit
//! 24 u32 length of the properties unit
//! 28 u32 zero
//! 32 u64 length of the table, footer included
//! 40 u64 features without which it cannot be read: none yet
//! 48 u64 features that may be ignored: none yet
//! 56 u64 store, 64 u64 number, 72 u64 offset: the table's id
//! 80 u64 zero
//! 88     "CORATAB2": the last byte is the version
//! ```
//!
//! Reading order: [`stored_row`], `unit`, [`block`], [`filter`], `index`, [`leaf`], `ranges`, [`top`], `slot_counts`,
//! [`widest_ranges`], [`properties`], [`footer`], [`info`]; then [`builder`], and for reading `decoded`, `cursor`, `lookup`, `checker`.

pub mod block;
pub mod builder;
mod checker;
mod cursor;
mod decoded;
pub mod filter;
pub mod footer;
mod index;
pub mod info;
pub mod leaf;
mod lookup;
pub mod properties;
mod ranges;
mod slot_counts;
pub mod stored_row;
pub mod top;
mod unit;
pub mod widest_ranges;

pub use builder::{TableBuilder, TableSettings};
pub use checker::TableChecker;
pub use cursor::TableCursor;
pub use decoded::Unit;
pub use index::Index;
pub use info::TableInfo;
pub use lookup::{TableAnswer, TableLookup};
pub use ranges::{KeyRange, RangeTombstones};
pub use slot_counts::{SLOT_RANGES_COUNT_MAX, SlotCount, SlotCounts};
pub use stored_row::{BlobRef, Content, Put, StoredRow, Value};
pub use top::Top;
pub use unit::{UNIT_HEADER_BYTES, UnitKind, UnitRef, decode_unit, encode_unit};
