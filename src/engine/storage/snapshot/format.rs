//! The snapshot file, byte by byte.
//!
//! A file is a run of blocks. Each begins at a multiple of 4,096 bytes, right behind the one before it. Little-endian
//! throughout.
//!
//! ```text
//! block                                        header: payload of block 0
//!  0 u64 magic "CKPTBLK1"                       0 u32 version, 2; 1 had no flags
//!  8 u32 group                                  4 u64 last_term: term of the entry at last_index
//! 12 u32 kind: 1 header, 2 keys, 3 footer      12 u64 time_ms: replicated time, ms since 1970 UTC
//! 16 u64 last_index: the state holds the       20 u64 keys_count
//!        entries up to here and no more        28 u32 length of the membership
//! 24 u64 sequence of the block, from 0         32 u32 length of the cluster map
//! 32 u64 offset of the block in the file       36 membership, cluster map (each may be empty)
//! 40 u32 length of the payload
//! 44 u32 crc32 of the payload and the          keys: records, none cut in two
//!        zeros behind it                        0 u16 slot
//! 48 u32 crc32 of bytes 0..52 of the block      2 u8  kind of the value: 0 string
//!        before, 0 in block 0 (the chain)       3 u8  flags: 1 it expires
//! 52 u32 crc32 of bytes 0..52                   4 u32 length of the key
//! 56 payload, then zeros up to the next         8 u32 length of the value
//!    multiple of 4,096                         12 u64 when it expires, ms since 1970 UTC; if
//!                                                     the flag says so
//!                                                 key, value
//!
//! footer: payload of the last block
//!  0 u64 keys_count: records in the file        8 u128 xxh3 of all bytes of the file before this block
//! ```
//!
//! Group, index, sequence and offset stand in every block and the chain ties each to all before it, so a block that
//! belongs to another place, another file or another time is noticed. A file without its footer is not complete.
//! Records stand in no particular order; no key occurs twice.

use host::ALIGNMENT;
use lsm::Content;
use lsm::rows::{PAYLOAD_BYTES, PAYLOAD_HEADROOM_BYTES, RECORD_EXPIRES, RECORD_EXPIRY_BYTES, RECORD_HEADER_BYTES};
use types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use types::{GroupId, Index, Term};

/// Length of what every block begins with.
pub const BLOCK_HEADER_BYTES: usize = PAYLOAD_HEADROOM_BYTES;
/// Longest membership or cluster map in a header.
pub const HEADER_PART_BYTES_MAX: usize = 16 << 20;
/// Longest block, whatever it claims.
pub const BLOCK_BYTES_MAX: usize = 40 << 20;

const MAGIC: u64 = u64::from_le_bytes(*b"CKPTBLK1");
const VERSION: u32 = 2;
/// The oldest version that is still read.
const VERSION_MIN: u32 = 1;
const FILE_HEADER_BYTES: usize = 36;
const FOOTER_BYTES: usize = 24;
/// The part of a block's header that its own checksum covers.
const CHECKED_BYTES: usize = 52;

const _: () = {
    assert!(BLOCK_HEADER_BYTES < ALIGNMENT && PAYLOAD_BYTES.is_multiple_of(ALIGNMENT));
    let longest_record = RECORD_HEADER_BYTES + RECORD_EXPIRY_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX;
    assert!(PAYLOAD_BYTES + longest_record + ALIGNMENT < BLOCK_BYTES_MAX);
    assert!(BLOCK_HEADER_BYTES + FILE_HEADER_BYTES + 2 * HEADER_PART_BYTES_MAX + ALIGNMENT < BLOCK_BYTES_MAX);
};

/// Which file a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The group whose state it is.
    pub group: GroupId,
    /// The last entry that the state holds.
    pub last_index: Index,
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BlockKind {
    /// What the state is of. The first block.
    Header = 1,
    /// Keys and their values.
    Keys = 2,
    /// The end.
    Footer = 3,
}

/// The beginning of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The file.
    pub file: FileId,
    /// What the block holds.
    pub kind: BlockKind,
    /// Its number in the file, from 0.
    pub sequence: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Length of the payload in bytes.
    pub payload_len: u32,
    /// Checksum of the payload and its padding.
    pub payload_crc: u32,
    /// Checksum of the header before.
    pub chain: u32,
}

impl BlockHeader {
    /// The header as it stands in the file, and its checksum.
    pub fn encode(&self) -> ([u8; BLOCK_HEADER_BYTES], u32) {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let mut fields = Fields { bytes: &mut bytes, at: 0 };
        fields.put(&MAGIC.to_le_bytes());
        fields.put(&self.file.group.0.to_le_bytes());
        fields.put(&(self.kind as u32).to_le_bytes());
        fields.put(&self.file.last_index.to_le_bytes());
        fields.put(&self.sequence.to_le_bytes());
        fields.put(&self.offset.to_le_bytes());
        fields.put(&self.payload_len.to_le_bytes());
        fields.put(&self.payload_crc.to_le_bytes());
        fields.put(&self.chain.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a header, and its checksum, which holds. Whether it is the one expected is for the caller to say.
    pub fn decode(bytes: &[u8]) -> Result<(BlockHeader, u32), &'static str> {
        let bytes: &[u8; BLOCK_HEADER_BYTES] = bytes.first_chunk().ok_or("it is cut off")?;
        let mut reader = Reader { bytes };
        if reader.u64()? != MAGIC {
            return Err("there is no block here");
        }
        let crc = crc32fast::hash(&bytes[..CHECKED_BYTES]);
        if bytes[CHECKED_BYTES..] != crc.to_le_bytes() {
            return Err("the checksum of its header does not match");
        }
        let group = GroupId(reader.u32()?);
        let kind = match reader.u32()? {
            1 => BlockKind::Header,
            2 => BlockKind::Keys,
            3 => BlockKind::Footer,
            _ => return Err("its kind is unknown"),
        };
        let file = FileId { group, last_index: reader.u64()? };
        let header = BlockHeader {
            file,
            kind,
            sequence: reader.u64()?,
            offset: reader.u64()?,
            payload_len: reader.u32()?,
            payload_crc: reader.u32()?,
            chain: reader.u32()?,
        };
        if header.block_bytes() > BLOCK_BYTES_MAX { Err("it is too long") } else { Ok((header, crc)) }
    }

    /// Length of the whole block in bytes.
    pub fn block_bytes(&self) -> usize {
        (BLOCK_HEADER_BYTES + self.payload_len as usize).next_multiple_of(ALIGNMENT)
    }
}

/// What a snapshot is of, besides group and index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHeader {
    /// Term of the last entry that the state holds.
    pub last_term: Term,
    /// Replicated time of the group, in milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// How many keys there are.
    pub keys_count: u64,
    /// The members of the group as of the last entry, encoded; empty if they are those of the cluster map.
    pub membership: Vec<u8>,
    /// The cluster map as of the last entry, encoded; empty if the group has none.
    pub map: Vec<u8>,
}

impl FileHeader {
    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let lens = [&self.membership, &self.map].map(|part| {
            assert!(part.len() <= HEADER_PART_BYTES_MAX, "a membership or map of ours is within its limit");
            part.len() as u32
        });
        out.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.last_term, self.time_ms, self.keys_count] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        lens.iter().for_each(|len| out.extend_from_slice(&len.to_le_bytes()));
        out.extend_from_slice(&self.membership);
        out.extend_from_slice(&self.map);
    }

    /// Reads the payload.
    pub fn decode(bytes: &[u8]) -> Result<FileHeader, &'static str> {
        let mut reader = Reader { bytes };
        if !(VERSION_MIN..=VERSION).contains(&reader.u32()?) {
            return Err("it was written by another version");
        }
        let (last_term, time_ms, keys_count) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (membership_len, map_len) = (reader.u32()? as usize, reader.u32()? as usize);
        let membership = reader.take(membership_len)?.to_vec();
        let map = reader.take(map_len)?.to_vec();
        reader.end()?;
        Ok(FileHeader { last_term, time_ms, keys_count, membership, map })
    }
}

/// The end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Records in the file.
    pub keys_count: u64,
    /// Digest of all bytes before the footer's block.
    pub digest: u128,
}

impl Footer {
    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.keys_count.to_le_bytes());
        out.extend_from_slice(&self.digest.to_le_bytes());
    }

    /// Reads the payload.
    pub fn decode(bytes: &[u8]) -> Result<Footer, &'static str> {
        let bytes: &[u8; FOOTER_BYTES] = bytes.try_into().map_err(|_| "a footer of another length")?;
        let mut reader = Reader { bytes };
        let keys_count = reader.u64()?;
        let digest = u128::from(reader.u64()?) | u128::from(reader.u64()?) << 64;
        Ok(Footer { keys_count, digest })
    }
}

/// One key of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its slot.
    pub slot: u16,
    /// The key.
    pub key: &'a [u8],
    /// What it holds.
    pub content: Content<'a>,
}

impl<'a> Record<'a> {
    /// Takes the record at the front of `bytes`.
    pub fn take(bytes: &mut &'a [u8]) -> Result<Record<'a>, &'static str> {
        let mut reader = Reader { bytes };
        let slot = reader.u16()?;
        let [kind, flags] = reader.array()?;
        if kind != 0 || flags & !RECORD_EXPIRES != 0 {
            return Err("a value of an unknown type");
        }
        let (key_len, value_len) = (reader.u32()? as usize, reader.u32()? as usize);
        if key_len > KEY_BYTES_MAX || value_len > VALUE_BYTES_MAX {
            return Err("a key or value longer than any may be");
        }
        let expiry_ms = if flags & RECORD_EXPIRES == 0 { None } else { Some(reader.u64()?) };
        let key = reader.take(key_len)?;
        let value = reader.take(value_len)?;
        *bytes = reader.bytes;
        Ok(Record { slot, key, content: Content { kind, expiry_ms, value: [value, b""] } })
    }
}

struct Fields<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Fields<'_> {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or("its content is cut off")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or("its content is cut off")?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    fn end(&self) -> Result<(), &'static str> {
        if self.bytes.is_empty() { Ok(()) } else { Err("its content is too long") }
    }
}
