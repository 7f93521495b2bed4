//! The blocks of the manifest.

use host::{ALIGNMENT, AlignedBuf};

use crate::codec::{Input, len_u32};
use crate::error::FormatError;
use crate::table::footer::check_magic;

const MAGIC: [u8; 8] = *b"CORAMAN2";
const FEATURES_KNOWN: u64 = 0;
/// Length of a block's header.
pub(super) const HEADER_BYTES: usize = 64;
/// Longest block, header included.
pub const BLOCK_BYTES_MAX: usize = 32 << 20;

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Id of the store.
    pub store: u64,
    /// How often the manifest has been written anew.
    pub epoch: u64,
    /// Number of the block in its epoch.
    pub seq: u64,
    /// Offset in its file.
    pub offset: u64,
    /// Length of the edits in bytes.
    pub edits_len: u32,
    /// Checksum of the edits.
    pub edits_crc: u32,
    /// Checksum of the header before.
    pub chain: u32,
}

impl BlockHeader {
    /// The bytes, and their checksum: the chain value of the next block.
    pub fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        for (idx, number) in [self.store, self.epoch, self.seq, self.offset].into_iter().enumerate() {
            bytes[8 + idx * 8..16 + idx * 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[48..52].copy_from_slice(&self.edits_len.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.edits_crc.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.chain.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a header and its checksum. Does not look at the edits.
    pub fn decode(bytes: &[u8]) -> Result<(BlockHeader, u32), FormatError> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(FormatError::Truncated)?;
        let (magic, fields) = bytes.split_first_chunk().ok_or(FormatError::Truncated)?;
        let (covered, crc) = bytes.split_last_chunk().ok_or(FormatError::Truncated)?;
        let crc = u32::from_le_bytes(*crc);
        // A header of this version with a flipped bit is none of another one.
        match (crc32fast::hash(covered) == crc, check_magic(*magic, MAGIC)) {
            (false, _) => return Err(FormatError::Checksum),
            (true, Err(error)) => return Err(error),
            (true, Ok(())) => {}
        }
        let mut input = Input::new(fields);
        let (store, epoch, seq, offset) = (input.u64()?, input.u64()?, input.u64()?, input.u64()?);
        let unknown = input.u64()? & !FEATURES_KNOWN;
        if unknown != 0 {
            return Err(FormatError::Features { unknown });
        }
        let (edits_len, edits_crc, chain) = (input.u32()?, input.u32()?, input.u32()?);
        let header = BlockHeader { store, epoch, seq, offset, edits_len, edits_crc, chain };
        let is_sound = seq > 0 && seq < u64::MAX / 2 && HEADER_BYTES + edits_len as usize <= BLOCK_BYTES_MAX;
        if is_sound {
            Ok((header, crc))
        } else {
            Err(FormatError::Malformed("the header of a block of the manifest"))
        }
    }

    /// Length of the block in its file.
    pub fn block_bytes(&self) -> u64 {
        (HEADER_BYTES + self.edits_len as usize).next_multiple_of(ALIGNMENT) as u64
    }
}

/// A block of these edits, each behind its length, and its header's checksum.
pub(super) fn encode_block(mut header: BlockHeader, edits: &[u8]) -> (AlignedBuf, u32) {
    header.edits_len = len_u32(edits.len());
    header.edits_crc = crc32fast::hash(edits);
    let (bytes, crc) = header.encode();
    let mut buf = AlignedBuf::with_capacity(HEADER_BYTES + edits.len());
    buf.extend_from_slice(&bytes);
    buf.extend_from_slice(edits);
    buf.pad_to_alignment();
    (buf, crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: BlockHeader =
        BlockHeader { store: 1, epoch: 2, seq: 3, offset: 4_096, edits_len: 5_000, edits_crc: 6, chain: 7 };

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_passes() {
        let (bytes, crc) = HEADER.encode();
        assert_eq!(BlockHeader::decode(&bytes), Ok((HEADER, crc)));
        assert_eq!(HEADER.block_bytes(), 8_192);
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::decode(&flipped), Err(FormatError::Checksum), "bit {bit}");
        }
    }

    #[test]
    fn other_versions_and_features_are_named() {
        let forged = |at: usize, value| {
            let (mut bytes, _) = HEADER.encode();
            bytes[at] = value;
            let crc = crc32fast::hash(&bytes[..60]);
            bytes[60..].copy_from_slice(&crc.to_le_bytes());
            BlockHeader::decode(&bytes).map(|_| ())
        };
        assert_eq!(forged(7, b'1'), Err(FormatError::Version { found: '1' }));
        assert_eq!(forged(40, 4), Err(FormatError::Features { unknown: 4 }));
        assert!(matches!(forged(51, 0xFF), Err(FormatError::Malformed(_))), "longer than a block may be");
    }
}
