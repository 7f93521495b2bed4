//! What stands on disk, byte by byte. Version 1. Little-endian throughout, nothing is aligned inside a block.
//!
//! # Files
//!
//! `DATA/wal/core-NN/NNNNNNNNNNNN.seg`: the segment with that id, twelve decimal digits, ids ascending
//! without a gap from the oldest segment still needed to the last prepared one. The first segment of a log is 1. A
//! file holds zeros or the remains of an earlier use under a smaller id before the log reaches it.
//!
//! # Blocks
//!
//! Blocks stand one behind another from offset 0, each at a 4,096-byte boundary and padded with zeros to the next one. When a
//! block does not fit behind the last one, it is the first of the next segment instead.
//!
//! ```text
//!  0 u64 magic, "CORAWAL1"
//!  8 u64 segment id; equals that in the name of the file
//! 16 u64 block sequence: 1 for the first block of a log, +1 for each one, across segments
//! 24 u32 length of the records; 0 for a mark
//! 28 u32 crc32 of the records
//! 32 u32 chain: what stands at byte 36 of the previous block; 0 for block 1
//! 36 u32 crc32 of bytes 0..36
//! 40     records
//! ```
//!
//! The chain takes the crc32 of the previous header's bytes 0..36 and not 0..40: the crc32 of anything with
//! its own crc32 behind it is a constant.
//!
//! A **mark** is a block that tells nothing new: it holds no records, or none but the group states with
//! which a segment opens. It proves by its mere presence that the block before it had become durable. The first block of
//! a segment always holds a record: one without any would pass for it wherever it was written to.
//!
//! # Records
//!
//! ```text
//!  0 u32 crc32 of: segment id (u64), offset of this record in its segment (u64), bytes 4..length
//!  4 u32 length of the record, these 16 bytes included
//!  8 u32 group
//! 12 u8  type
//! 13 u8 × 3, zero
//! 16     by type:
//!
//! 1 entries: consecutive, of one term. Those of the group at or behind `first` are replaced.
//!     16 u64 term
//!     24 u64 index of the first
//!     32 u32 count, at least 1
//!     36 count × { u32 payload length, u8 payload kind }
//!        the payloads, one behind another
//! 2 hard state
//!     16 u64 term
//!     24 u64 replica voted for, 0 if none
//!     32 u64 commit index: at most the last index of the log at this place
//!     40 u8  1 if a vote was given in the term, else 0
//! 3 truncation (suffix)
//!     16 u64 first index removed; all behind it go too
//! 4 compaction (prefix)
//!     16 u64 last index removed; all before it go too. Beyond the last entry: the log restarts behind it
//!     24 u64 its term
//! 5 group state: everything known of a group at this place. Every segment opens with one for each group.
//!     16 hard state as in 2, 25 bytes
//!     41 u64 index of the last compacted entry, 0 if none
//!     49 u64 its term
//!     57 u64 index of the last entry
//!     65 u64 its term
//! 6 group forgotten: nothing of what was said before holds. A segment opens with one for group 0 if there are no groups
//! ```
//!
//! Other types are free. The checksum of a record covers its place, so a record that was written elsewhere, or
//! here in an earlier use of the file, does not pass for the one looked for.

use host::ALIGNMENT;

/// First bytes of every block; the last of them is the version.
pub const MAGIC: u64 = u64::from_le_bytes(*b"CORAWAL1");
/// Length of a block's header.
pub const HEADER_BYTES: usize = 40;
/// Sequence of the first block of a log.
pub const SEQ_FIRST: u64 = 1;
/// Id of the first segment of a log.
pub const SEGMENT_FIRST: u64 = 1;

const NAME_DIGITS: usize = 12;
const NAME_SUFFIX: &str = ".seg";

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Id of the segment it stands in.
    pub segment: u64,
    /// Block sequence.
    pub seq: u64,
    /// Length of the records in bytes.
    pub records_len: u32,
    /// Checksum of the records.
    pub records_crc: u32,
    /// The previous header's checksum.
    pub chain: u32,
}

impl BlockHeader {
    /// The bytes of the header, and its checksum: the chain value of the next block.
    pub fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.records_len.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.records_crc.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.chain.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a header and its checksum; `None` if the bytes are not a sound one. Does not look at the records.
    pub fn decode(bytes: &[u8]) -> Option<(BlockHeader, u32)> {
        if u64_at(bytes, 0)? != MAGIC {
            return None;
        }
        let crc = u32_at(bytes, 36)?;
        if crc32fast::hash(bytes.get(..36)?) != crc {
            return None;
        }
        let header = BlockHeader {
            segment: u64_at(bytes, 8)?,
            seq: u64_at(bytes, 16)?,
            records_len: u32_at(bytes, 24)?,
            records_crc: u32_at(bytes, 28)?,
            chain: u32_at(bytes, 32)?,
        };
        // Room to count on from here, whatever the bytes say.
        (header.seq >= SEQ_FIRST && header.seq < u64::MAX).then_some((header, crc))
    }

    /// Length of the whole block on disk.
    pub fn block_bytes(&self) -> usize {
        padded(HEADER_BYTES + self.records_len as usize)
    }
}

/// `len` rounded up to a whole number of 4,096-byte units.
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// The name of a segment's file.
pub fn segment_name(id: u64) -> String {
    format!("{id:0width$}{NAME_SUFFIX}", width = NAME_DIGITS)
}

/// The id in the name of a segment's file; `None` for any other name.
pub fn segment_id(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(NAME_SUFFIX)?;
    if digits.len() != NAME_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|id| *id >= SEGMENT_FIRST)
}

/// The little-endian number at an offset, if the bytes reach that far.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..)?.first_chunk().copied()?))
}

/// The little-endian number at an offset, if the bytes reach that far.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..)?.first_chunk().copied()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_passes() {
        let header = BlockHeader { segment: 7, seq: 99, records_len: 5_000, records_crc: 0xABCD, chain: 0x1234 };
        let (bytes, crc) = header.encode();
        assert_eq!(BlockHeader::decode(&bytes), Some((header, crc)));
        assert_eq!(header.block_bytes(), 8_192);
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::decode(&flipped), None, "bit {bit}");
        }
        assert_eq!(BlockHeader::decode(&bytes[..39]), None);
    }

    #[test]
    fn the_header_stands_as_documented() {
        let header = BlockHeader { segment: 1, seq: 2, records_len: 3, records_crc: 4, chain: 5 };
        let (bytes, crc) = header.encode();
        assert_eq!(&bytes[..8], b"CORAWAL1");
        assert_eq!(
            &bytes[8..36],
            [&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], &[3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0]].concat()
        );
        assert_eq!(&bytes[36..], crc.to_le_bytes());
    }

    #[test]
    fn names_and_ids_belong_together() {
        assert_eq!(segment_name(12), "000000000012.seg");
        assert_eq!(segment_id("000000000012.seg"), Some(12));
        assert_eq!(segment_id("999999999999.seg"), Some(999_999_999_999));
        for name in [
            "12.seg",
            "000000000012.seg.tmp",
            "00000000001x.seg",
            "0000000000012.seg",
            "000000000000.seg",
            ".seg",
            "",
        ] {
            assert_eq!(segment_id(name), None, "{name}");
        }
    }
}
