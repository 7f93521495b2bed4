//! The bytes of a blob file.

use crate::codec::{Input, len_u32};
use crate::error::FormatError;
use crate::ids::FileId;
use crate::table::BlobRef;
use crate::table::footer::check_magic;
use crate::table::stored_row::ROW_KEY_BYTES_MAX;

/// Length of a file's header, behind which the first record begins.
pub const HEADER_BYTES: usize = 64;
/// Bytes of a value that have a checksum of their own.
pub const PIECE_BYTES: usize = 64 << 10;
/// Bytes of a record before its key.
pub const RECORD_HEAD_BYTES: usize = 8;

const MAGIC: [u8; 8] = *b"CORABLB1";
const FEATURES_KNOWN: u64 = 0;

/// The beginning of a blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHeader {
    /// The file.
    pub file: FileId,
}

impl BlobHeader {
    /// The bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[8..16].copy_from_slice(&self.file.store.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.file.number.to_le_bytes());
        bytes[56..].copy_from_slice(&MAGIC);
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header. Says what the file calls itself; whether it is the one looked for, the caller knows.
    pub fn decode(bytes: &[u8]) -> Result<BlobHeader, FormatError> {
        let mut input = Input::new(bytes);
        let header = input.bytes(HEADER_BYTES)?;
        let (fields, magic) = header.split_last_chunk().ok_or(FormatError::Truncated)?;
        check_magic(*magic, MAGIC)?;
        let mut fields = Input::new(fields);
        let crc = fields.u32()?;
        if header.get(4..).map(crc32fast::hash) != Some(crc) {
            return Err(FormatError::Checksum);
        }
        let reserved = fields.u32()?;
        let file = FileId { store: fields.u64()?, number: fields.u64()? };
        let (features, _) = (fields.u64()?, fields.u64()?);
        if features & !FEATURES_KNOWN != 0 {
            return Err(FormatError::Features { unknown: features & !FEATURES_KNOWN });
        }
        if reserved != 0 || fields.u64()? != 0 || fields.u64()? != 0 {
            return Err(FormatError::Malformed("the header of a blob file holds what it must not"));
        }
        Ok(BlobHeader { file })
    }
}

/// The checksum of bytes that stand at an offset of a blob file.
pub(super) fn checksum(file: FileId, offset: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update([file.store, file.number, offset].map(u64::to_le_bytes).as_flattened());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// The two lengths with which a record begins.
pub(super) fn record_head(key_len: usize, value_len: usize) -> [u8; RECORD_HEAD_BYTES] {
    let mut head = [0; RECORD_HEAD_BYTES];
    head[..4].copy_from_slice(&len_u32(key_len).to_le_bytes());
    head[4..].copy_from_slice(&len_u32(value_len).to_le_bytes());
    head
}

/// The lengths of key and value that the record says which begins with these bytes; `None` behind the last one. For whoever
/// walks over a file without the rows that lead into it. Only [`BlobRecord::open`] tells whether they are right.
pub fn record_lens(bytes: &[u8]) -> Result<Option<(u32, u32)>, FormatError> {
    let mut input = Input::new(bytes);
    let (key_len, value_len) = (input.u32()?, input.u32()?);
    match (key_len as usize <= ROW_KEY_BYTES_MAX, value_len) {
        (_, 0) if key_len == 0 => Ok(None),
        (true, 1..) => Ok(Some((key_len, value_len))),
        _ => Err(FormatError::Malformed("the lengths of a record make no sense")),
    }
}

/// Bytes of a record.
pub fn record_bytes(key_len: usize, value_len: usize) -> usize {
    let checksums_count = value_len.div_ceil(PIECE_BYTES) + 1;
    RECORD_HEAD_BYTES + key_len + value_len + checksums_count * size_of::<u32>()
}

/// A record in memory, all of which but its value was checked.
#[derive(Clone, Copy, Debug)]
pub struct BlobRecord<'a> {
    file: FileId,
    value: &'a [u8],
    /// Offset of the value in the file.
    value_at: u64,
    checksums: &'a [u8],
}

impl<'a> BlobRecord<'a> {
    /// Takes the bytes of a record, [`record_bytes`] of them, that a row leads to.
    pub fn open(bytes: &'a [u8], blob: BlobRef, key: &[u8]) -> Result<BlobRecord<'a>, FormatError> {
        let value_len = blob.len as usize;
        if bytes.len() != record_bytes(key.len(), value_len) {
            return Err(FormatError::Truncated);
        }
        let mut input = Input::new(bytes);
        let (head, found_key, value) =
            (input.bytes(RECORD_HEAD_BYTES)?, input.bytes(key.len())?, input.bytes(value_len)?);
        let checksums = input.bytes(value_len.div_ceil(PIECE_BYTES) * size_of::<u32>())?;
        if checksum(blob.file, blob.offset, &[head, found_key, checksums]) != input.u32()? {
            return Err(FormatError::Checksum);
        }
        if found_key != key || head != record_head(key.len(), value_len) {
            return Err(FormatError::Malformed("a value belongs to another row"));
        }
        let value_at = blob.offset.wrapping_add((RECORD_HEAD_BYTES + key.len()) as u64);
        Ok(BlobRecord { file: blob.file, value, value_at, checksums })
    }

    /// How many pieces the value has.
    pub fn pieces_count(&self) -> usize {
        self.value.len().div_ceil(PIECE_BYTES)
    }

    /// Checks a piece of the value, and returns it.
    pub fn piece(&self, idx: usize) -> Result<&'a [u8], FormatError> {
        let begin = idx * PIECE_BYTES;
        let piece = self.value.get(begin..).ok_or(FormatError::Truncated)?;
        let piece = piece.get(..PIECE_BYTES).unwrap_or(piece);
        let expected = self.checksums.as_chunks().0.get(idx).ok_or(FormatError::Truncated)?;
        if checksum(self.file, self.value_at.wrapping_add(begin as u64), &[piece]) != u32::from_le_bytes(*expected) {
            return Err(FormatError::Checksum);
        }
        Ok(piece)
    }

    /// Checks all pieces, and returns the value. A value of many pieces is better checked one by one.
    pub fn value(&self) -> Result<&'a [u8], FormatError> {
        for idx in 0..self.pieces_count() {
            self.piece(idx)?;
        }
        Ok(self.value)
    }
}
