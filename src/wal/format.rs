//! What stands on disk, byte by byte. Version 3. Little-endian throughout, nothing is aligned inside a block.
//!
//! # Files
//!
//! `DATA/wal/core-NN/NNNNNNNNNNNN.seg`: the segment with that id, twelve decimal digits, ids ascending
//! without a gap from the oldest segment still needed to the last prepared one, unless files were lost. The first segment
//! of a log is 1. A file holds zeros or the remains of an earlier use under a smaller id before the log reaches it.
//!
//! `….seg.set-aside` is a segment that the disk cannot read everywhere. `….seg.damaged` is one that holds damage, or
//! entries of quarantined groups; it is removed once no group is quarantined any more. The log needs neither, and names
//! them when it is opened.
//!
//! # Blocks
//!
//! Blocks stand one behind another from offset 0, each at a 4,096-byte boundary and padded with zeros to the next one. When a
//! block does not fit behind the last one, or the rest of the segment is not trusted, it is the first of the next segment.
//!
//! ```text
//!  0 u64 magic, "CORAWAL3": the last byte is the version
//!  8 u64 id of the log, which no client can know
//! 16 u64 segment id; equals that in the name of the file
//! 24 u64 block sequence: 1 for the first block of a log, +1 for each one, across segments
//! 32 u32 offset of the block in its segment
//! 36 u32 length of the records; 0 for a mark without any
//! 40 u32 crc32 of the records
//! 44 u32 chain: what stands at byte 48 of the previous block; 0 for block 1
//! 48 u32 crc32 of bytes 0..48
//! 52     records
//! ```
//!
//! The chain takes the crc32 of the previous header's bytes 0..48 and not 0..52: the crc32 of anything with
//! its own crc32 behind it is a constant.
//!
//! A **mark** is a block that tells nothing new: it holds no records, or none but those with which a segment opens, or a
//! roll call. It proves by its mere presence that the block before it had become durable.
//!
//! Where blocks were lost behind which no later one can be read, the sequence goes on with a number that none of them had.
//!
//! # Records
//!
//! ```text
//!  0 u32 crc32 of: segment id (u64), offset of this record in its segment (u64), bytes 4..length
//!  4 u32 length of the record, these 28 bytes included
//!  8 u32 group
//! 12 u8  type
//! 13 u8 × 3, zero
//! 16 u64 link: sequence of the block with the group's record before this one; 0 if this is its first
//! 24 u32 link: what stands at byte 0 of that record; 0 if this is the first
//! 28     by type:
//!
//! 1 entries: consecutive, of one term. Those of the group at or behind `first` are replaced.
//!     28 u64 term
//!     36 u64 index of the first
//!     44 u32 count, at least 1
//!     48 count × { u32 payload length, u8 payload kind }
//!        the payloads, one behind another
//! 2 hard state
//!     28 u64 term
//!     36 u64 replica voted for, 0 if none
//!     44 u64 commit index: at most the last index of the log at this place
//!     52 u8  1 if a vote was given in the term, else 0
//! 3 truncation (suffix)
//!     28 u64 first index removed; all behind it go too
//! 4 compaction (prefix)
//!     28 u64 last index removed; all before it go too. Beyond the last entry: the log restarts behind it
//!     36 u64 its term
//! 5 group state: everything known at this place of a group of which a replica lives here
//!     28 u64 the replica, at least 1
//!     36 hard state as in 2, 25 bytes
//!     61 u64 index of the last compacted entry, 0 if none
//!     69 u64 its term
//!     77 u64 index of the last entry
//!     85 u64 its term
//! 6 replica destroyed: nothing of what was said of the group before holds, and no replica of it begins here any more but with
//!   a greater id than this one
//!     28 u64 the replica, at least 1
//! 7 group quarantined: nothing of what was said before can be trusted, until a replica begins or is destroyed
//!     28 u64 the replica last known, 0 if none: another one with a greater id may have begun since, or this one be destroyed
//!     36 u8  why: 1 blocks were lost, 2 the commit index lies beyond the log, 3 entries are missing, 4 a contradiction
//!     37 u64 segment; commit index; first missing entry; segment
//!     45 u64 offset; last entry; last missing entry; offset
//! 8 opening: with this every segment but the first of a log begins. Of group 0, without a link
//!     28 u32 how many groups there are: as many records of type 5, 6 or 7 follow, one for each
//! 9 roll call: all groups there are, each with its last record. Of group 0, without a link
//!     28 n × { u32 group, u64 and u32 what a link to its last record says }
//! 10 beginning: nothing of what was said of the group before holds, and from here on its records are this replica's
//!     28 u64 the replica, at least 1, and greater than any that lived here or was destroyed here before
//! ```
//!
//! The first record of a group is a beginning or a destruction. From then on the group is one of those there are, for good: one
//! whose replica was destroyed stands as that in all openings and roll calls to come, however old its last record of another
//! kind may be. So its replica never comes back with nothing to say that it voted here once.
//!
//! Other types are free. The checksum of a record covers its place, so a record that was written elsewhere, or
//! here in an earlier use of the file, does not pass for the one looked for.
//!
//! The links make the records of each group a chain of its own, over all replicas that lived here. Where blocks were lost, a later record whose link leads to
//! the last one known of the group proves that nothing of it was among them; an opening or a roll call proves it of all
//! groups at once. A group state, a destruction or a beginning behind the damage tells all that counts of a group whose chain is
//! broken.

use host::ALIGNMENT;

/// First bytes of every block; the last of them is the version.
pub const MAGIC: u64 = u64::from_le_bytes(*b"CORAWAL3");
/// Length of a block's header.
pub const HEADER_BYTES: usize = 52;
/// What the header's own checksum covers: all before it.
pub const HEADER_CRC_AT: usize = HEADER_BYTES - 4;
/// Sequence of the first block of a log.
pub const SEQ_FIRST: u64 = 1;
/// No sequence reaches this.
pub(crate) const SEQ_LIMIT: u64 = 1 << 63;
/// More blocks than a log can have lost: its sequence goes on behind this number where the last ones are unknown.
pub(crate) const SEQ_LEAP: u64 = 1 << 40;
/// Id of the first segment of a log.
pub const SEGMENT_FIRST: u64 = 1;

const NAME_DIGITS: usize = 12;
const NAME_SUFFIX: &str = ".seg";

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Id of the log.
    pub log: u64,
    /// Id of the segment it stands in.
    pub segment: u64,
    /// Block sequence.
    pub seq: u64,
    /// Offset in its segment in bytes.
    pub offset: u32,
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
        bytes[8..16].copy_from_slice(&self.log.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seq.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.offset.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.records_len.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.records_crc.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.chain.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_CRC_AT]);
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a header and its checksum; `None` if the bytes are not a sound one. Does not look at the records.
    pub fn decode(bytes: &[u8]) -> Option<(BlockHeader, u32)> {
        if u64_at(bytes, 0)? != MAGIC {
            return None;
        }
        let crc = u32_at(bytes, HEADER_CRC_AT)?;
        if crc32fast::hash(bytes.get(..HEADER_CRC_AT)?) != crc {
            return None;
        }
        let header = BlockHeader {
            log: u64_at(bytes, 8)?,
            segment: u64_at(bytes, 16)?,
            seq: u64_at(bytes, 24)?,
            offset: u32_at(bytes, 32)?,
            records_len: u32_at(bytes, 36)?,
            records_crc: u32_at(bytes, 40)?,
            chain: u32_at(bytes, 44)?,
        };
        // Room to count on from here, whatever the bytes say.
        (header.seq >= SEQ_FIRST && header.seq < SEQ_LIMIT).then_some((header, crc))
    }

    /// Length of the whole block on disk.
    pub fn block_bytes(&self) -> usize {
        padded(HEADER_BYTES + self.records_len as usize)
    }
}

/// The version of the log of which a segment begins with these bytes, if it is another one than [`MAGIC`]'s.
pub fn foreign_version(bytes: &[u8]) -> Option<char> {
    let magic = MAGIC.to_le_bytes();
    let (version, name) = magic.split_last().expect("eight bytes");
    let found = *bytes.strip_prefix(name)?.first().filter(|found| *found != version)?;
    // With a flipped bit in the version it is a block of ours.
    let mut header = *bytes.first_chunk::<HEADER_BYTES>()?;
    header[..8].copy_from_slice(&magic);
    BlockHeader::decode(&header).is_none().then_some(char::from(found))
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

    const HEADER: BlockHeader =
        BlockHeader { log: 9, segment: 7, seq: 99, offset: 8_192, records_len: 5_000, records_crc: 4, chain: 5 };

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_passes() {
        let (bytes, crc) = HEADER.encode();
        assert_eq!(BlockHeader::decode(&bytes), Some((HEADER, crc)));
        assert_eq!(HEADER.block_bytes(), 8_192);
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::decode(&flipped), None, "bit {bit}");
            assert_eq!(foreign_version(&flipped), None, "bit {bit}");
        }
        assert_eq!(BlockHeader::decode(&bytes[..HEADER_BYTES - 1]), None);
    }

    #[test]
    fn a_header_stands_as_documented() {
        let (bytes, crc) = HEADER.encode();
        assert_eq!(&bytes[..8], b"CORAWAL3");
        let numbers = [9_u64, 7, 99].map(u64::to_le_bytes).concat();
        let more = [8_192_u32, 5_000, 4, 5, crc].map(u32::to_le_bytes).concat();
        assert_eq!(&bytes[8..], [numbers, more].concat());
    }

    #[test]
    fn sequences_leave_room_to_count_on() {
        for (seq, is_sound) in [(0, false), (1, true), (SEQ_LIMIT - 1, true), (SEQ_LIMIT, false), (u64::MAX, false)] {
            let (bytes, _) = BlockHeader { seq, ..HEADER }.encode();
            assert_eq!(BlockHeader::decode(&bytes).is_some(), is_sound, "{seq}");
        }
    }

    #[test]
    fn other_versions_are_told_from_flipped_bits() {
        let (mut bytes, _) = HEADER.encode();
        assert_eq!(foreign_version(&bytes), None);
        bytes[7] = b'2';
        assert_eq!(foreign_version(&bytes), None, "the rest is a header of this version");
        bytes[20] ^= 1;
        assert_eq!(foreign_version(&bytes), Some('2'));
        assert_eq!(foreign_version(&bytes[..20]), None);
        assert_eq!(foreign_version(&[0; HEADER_BYTES]), None);
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
