//! A row as a table holds it.

use types::{SLOTS_COUNT, Slot};

use crate::ids::FileId;

/// Longest row key: slot and kind, the hash or the id, and the longest key of a client.
pub const ROW_KEY_BYTES_MAX: usize = 3 + 8 + types::limits::KEY_BYTES_MAX;
/// Longest value that lies in a table. Longer ones lie in blob files.
pub const INLINE_VALUE_BYTES_MAX: usize = 64 << 10;
/// The byte behind the slot in the row key of a head.
pub const HEAD: u8 = b'h';

/// Bits of a key's hash in the row key of its head.
pub const HASH_BITS: u32 = 48;
const HASH_BYTES: usize = HASH_BITS as usize / 8;

/// A row of a table, borrowed from the block that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRow<'a> {
    /// The row key.
    pub key: &'a [u8],
    /// What the table says of it.
    pub content: Content<'a>,
}

impl StoredRow<'_> {
    /// Whether it is the head of a key whose time has come.
    pub fn is_due(&self, time_ms: u64) -> bool {
        let Content::Put(put) = self.content else { return false };
        is_head(self.key) && put.expiry_ms.is_some_and(|expiry| expiry <= time_ms)
    }
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

/// Appends the row key of a head: that of a client's key in a slot, with the 48 bits of its hash.
///
/// ```text
/// u16 slot, `h`, 6 bytes of the hash, key      numbers big-endian, so that row keys are ordered by slot, hash and key
/// ```
pub fn head_key(slot: Slot, hash: u64, key: &[u8], row_key: &mut Vec<u8>) {
    debug_assert!(hash >> HASH_BITS == 0);
    row_key.extend_from_slice(&slot.number().to_be_bytes());
    row_key.push(HEAD);
    row_key.extend_from_slice(&hash.to_be_bytes()[size_of::<u64>() - HASH_BYTES..]);
    row_key.extend_from_slice(key);
}

/// Slot, hash and client's key of the row key of a head; `None` of any other.
pub fn head_parts(row_key: &[u8]) -> Option<(Slot, u64, &[u8])> {
    let slot = slot_of(row_key)?;
    let (hash, key) = row_key.get(3..)?.split_first_chunk::<HASH_BYTES>()?;
    let hash = hash.iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte));
    is_head(row_key).then_some((slot, hash, key))
}

const _: () = assert!(SLOTS_COUNT <= 1 << 16, "a slot fits the two bytes before a row key");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_key_of_a_head_tells_its_parts_and_is_ordered_as_they_are() {
        let slot = |number: u16| Slot::new(number).expect("a slot");
        let heads = [
            (slot(1), 0xFF, &b"b"[..]),
            (slot(1), 0x100, b""),
            (slot(1), 0x100, b"a"),
            (slot(1), 0xFFFF_FFFF_FFFF, b"a"),
            (slot(0x100), 0, b"\xFF"),
        ];
        let keys = heads.map(|(slot, hash, key)| {
            let mut row_key = Vec::new();
            head_key(slot, hash, key, &mut row_key);
            row_key
        });
        assert_eq!(keys[0], b"\0\x01h\0\0\0\0\0\xFFb");
        assert!(keys.is_sorted());
        for (row_key, parts) in keys.iter().zip(heads) {
            assert_eq!((head_parts(row_key), is_head(row_key)), (Some(parts), true));
        }
        let of_element = [&keys[0][..2], b"e", &keys[0][3..]].concat();
        assert_eq!(head_parts(&of_element), None);
        assert_eq!(head_parts(&keys[0][..8]), None);
        assert_eq!(head_parts(&[0xFF; 20]), None);
    }
}
