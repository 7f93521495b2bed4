//! A row as a table holds it.

use types::{SLOTS_COUNT, Slot};

use crate::ids::FileId;

/// Longest row key: slot and kind, the hash or the id, and the longest key of a client.
pub const ROW_KEY_BYTES_MAX: usize = 3 + 8 + types::limits::KEY_BYTES_MAX;
/// Longest value that lies in a table. Longer ones lie in blob files.
pub const INLINE_VALUE_BYTES_MAX: usize = 64 << 10;
/// The byte behind the slot in the row key of a head.
pub const HEAD: u8 = b'h';

/// A row of a table, borrowed from the block that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRow<'a> {
    /// The row key.
    pub key: &'a [u8],
    /// What the table says of it.
    pub content: Content<'a>,
}

/// What a table says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The row was deleted: what older tables say of it does not hold.
    Tombstone,
    /// The row has a value.
    Put(Put<'a>),
}

/// The value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<'a> {
    /// Its type, as the layer above numbers them.
    pub value_type: u8,
    /// Unix time in milliseconds as of which the row is gone.
    pub expiry_ms: Option<u64>,
    /// The bytes.
    pub value: Value<'a>,
}

/// The bytes of a value, or where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// In the table.
    Inline(&'a [u8]),
    /// In a blob file.
    Blob(BlobRef),
}

/// A value in a blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The file.
    pub file: FileId,
    /// Offset of the record in it.
    pub offset: u64,
    /// Length of the value in bytes.
    pub len: u32,
}

/// The slot of a row key, if it is long enough to name one.
pub fn slot_of(key: &[u8]) -> Option<Slot> {
    Slot::new(u16::from_be_bytes(*key.first_chunk()?))
}

/// Whether a row key is that of a head.
pub fn is_head(key: &[u8]) -> bool {
    key.get(2) == Some(&HEAD)
}

const _: () = assert!(SLOTS_COUNT <= 1 << 16, "a slot fits the two bytes before a row key");
