//! The head of a snapshot: what the parts behind it are.

use host::ALIGNMENT;
use types::GroupId;

use crate::codec::{Input, len_u32};
use crate::error::FormatError;
use crate::manifest::{BLOCK_BYTES_MAX, Seal};
use crate::table::footer::check_magic;
use crate::version::{Change, FileSet, Version};

use super::part::{Part, PartId};

const MAGIC: [u8; 8] = *b"CORASNP2";
const FEATURES_KNOWN: u64 = 0;
/// Bytes of a head before its body.
pub(super) const FIXED_BYTES: usize = 40;
/// Longest head. What is installed of it is an edit of about its length, which must fit a block of the manifest.
pub const HEAD_BYTES_MAX: usize = BLOCK_BYTES_MAX - ALIGNMENT;

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    group: GroupId,
    seal: Seal,
    /// Makes the version of none. Invariant: all files are 0, and bases are offsets in the stream.
    change: Change,
    total_bytes: u64,
}

impl SnapshotHead {
    /// The head of a change whose files and bases are of no concern: it gets those of the stream.
    pub(super) fn new(group: GroupId, seal: &Seal, mut change: Change) -> Result<SnapshotHead, FormatError> {
        let mut body = Vec::new();
        seal.encode(&mut body);
        change.encode(&mut body);
        let head_bytes = head_bytes(body.len());
        if head_bytes > HEAD_BYTES_MAX {
            return Err(FormatError::TooLong { bytes: head_bytes as u64, bytes_max: HEAD_BYTES_MAX as u64 });
        }
        let mut end = head_bytes as u64;
        for (file, base, len) in change.places_mut() {
            (*file, *base) = (0, end);
            end += len;
        }
        Ok(SnapshotHead { group, seal: seal.clone(), change, total_bytes: end })
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Up to where in the group's log the snapshot goes.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Length of the stream in bytes, the head included. A multiple of 4,096.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// What makes the version, once the stream lies in the file of this store with a number: to be installed.
    pub fn change(&self, file: u64) -> Change {
        let mut change = self.change.clone();
        change.places_mut().for_each(|(of_part, _, _)| *of_part = file);
        change
    }

    /// The tables and blob files, in the order of the stream.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        let tables = self.change.added.iter().flat_map(|run| &run.tables);
        let tables = tables.map(|table| (PartId::Table(table.info.id), table.base, table.info.len));
        let blobs = self.change.blobs.iter().map(|blob| (PartId::Blob(blob.info.id), blob.base, blob.info.len));
        tables.chain(blobs).map(|(id, offset, len)| Part { id, offset, len })
    }

    /// The bytes, padded.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        self.seal.encode(&mut bytes);
        self.change.encode(&mut bytes);
        let (fixed, body) = bytes.split_at_mut(FIXED_BYTES);
        let fields = FixedHead {
            total_bytes: self.total_bytes,
            group: self.group,
            body_bytes: len_u32(body.len()),
            body_crc: crc32fast::hash(body),
        };
        fixed.copy_from_slice(&fields.encode());
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    /// Reads the bytes behind the fixed part, the padding included.
    pub(super) fn decode(fixed: &FixedHead, bytes: &[u8]) -> Result<SnapshotHead, FormatError> {
        let (body, padding) = bytes.split_at_checked(fixed.body_bytes as usize).ok_or(FormatError::Truncated)?;
        if crc32fast::hash(body) != fixed.body_crc {
            return Err(FormatError::Checksum);
        }
        if padding.len() != fixed.head_bytes() - FIXED_BYTES - body.len() || padding.iter().any(|byte| *byte != 0) {
            return Err(FormatError::Malformed("the head of a snapshot does not end in zeros"));
        }
        let mut input = Input::new(body);
        let (seal, change) = (Seal::read(&mut input)?, Change::read(&mut input)?);
        input.end()?;
        let mut head = SnapshotHead { group: fixed.group, seal, change, total_bytes: fixed.total_bytes };
        head.check_places(fixed.head_bytes() as u64)?;
        head.check_version()?;
        Ok(head)
    }

    /// Checks that the parts stand one behind another, and end where the stream does.
    fn check_places(&mut self, head_bytes: u64) -> Result<(), FormatError> {
        let mut end = Some(head_bytes);
        for (file, base, len) in self.change.places_mut() {
            if *file != 0 || Some(*base) != end || !len.is_multiple_of(ALIGNMENT as u64) || len == 0 {
                return Err(FormatError::Malformed("a part of a snapshot lies elsewhere"));
            }
            end = base.checked_add(len);
        }
        if end == Some(self.total_bytes) {
            Ok(())
        } else {
            Err(FormatError::Malformed("a snapshot does not end behind its last part"))
        }
    }

    /// Checks that the change makes a version of none, and says no more than that version does.
    fn check_version(&self) -> Result<(), FormatError> {
        // A part is known by its id, wherever it lies.
        let mut ids: Vec<PartId> = self.parts().map(|part| part.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(FormatError::Malformed("a snapshot names a part twice"));
        }
        let version = Version::default().apply(&self.change, &FileSet::default())?;
        if version.as_change() == self.change {
            Ok(())
        } else {
            Err(FormatError::Malformed("a snapshot holds more than its version, or in another order"))
        }
    }
}

/// What stands before the body of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FixedHead {
    pub(super) total_bytes: u64,
    pub(super) group: GroupId,
    body_bytes: u32,
    body_crc: u32,
}

impl FixedHead {
    /// Length of the head in bytes, a multiple of 4,096.
    pub(super) fn head_bytes(&self) -> usize {
        head_bytes(self.body_bytes as usize)
    }

    fn encode(&self) -> [u8; FIXED_BYTES] {
        let mut bytes = [0; FIXED_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[16..24].copy_from_slice(&self.total_bytes.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.group.0.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; FIXED_BYTES]) -> Result<FixedHead, FormatError> {
        let (magic, fields) = bytes.split_first_chunk().ok_or(FormatError::Truncated)?;
        let (covered, crc) = bytes.split_last_chunk().ok_or(FormatError::Truncated)?;
        // A head of this version with a flipped bit is none of another one.
        match (crc32fast::hash(covered) == u32::from_le_bytes(*crc), check_magic(*magic, MAGIC)) {
            (_, Err(FormatError::Magic)) => return Err(FormatError::Magic),
            (false, _) => return Err(FormatError::Checksum),
            (true, Err(error)) => return Err(error),
            (true, Ok(())) => {}
        }
        let mut input = Input::new(fields);
        let unknown = input.u64()? & !FEATURES_KNOWN;
        if unknown != 0 {
            return Err(FormatError::Features { unknown });
        }
        Ok(FixedHead {
            total_bytes: input.u64()?,
            group: GroupId(input.u32()?),
            body_bytes: input.u32()?,
            body_crc: input.u32()?,
        })
    }
}

fn head_bytes(body_bytes: usize) -> usize {
    (FIXED_BYTES + body_bytes).next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{FileId, TableId};
    use crate::table::properties::Properties;
    use crate::table::{TableInfo, UnitKind, UnitRef};
    use crate::version::{NewRun, NewTable};

    const FIXED: FixedHead = FixedHead { total_bytes: 4_096, group: GroupId(7), body_bytes: 60, body_crc: 5 };

    fn forged(at: usize, value: u8) -> Result<FixedHead, FormatError> {
        let mut bytes = FIXED.encode();
        bytes[at] = value;
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        FixedHead::decode(&bytes)
    }

    #[test]
    fn the_fixed_part_stands_as_documented_and_no_flipped_bit_passes() {
        let bytes = FIXED.encode();
        let fields = [&[0; 8][..], &4_096_u64.to_le_bytes(), &[7, 0, 0, 0, 60, 0, 0, 0, 5, 0, 0, 0]].concat();
        assert_eq!(bytes[..36], [&b"CORASNP2"[..], &fields].concat());
        assert_eq!(FixedHead::decode(&bytes), Ok(FIXED));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FixedHead::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    /// Two runs that name one table, as if it were of two lengths: whoever has received one would take it for the other.
    #[test]
    fn a_part_that_is_named_twice_is_noticed() {
        let table = |len, key: &str| {
            let id = TableId { file: FileId { store: 1, number: 1 }, offset: 0 };
            let properties = Properties { smallest: key.into(), largest: key.into(), ..Properties::default() };
            let top = UnitRef { kind: UnitKind::Top, offset: 0, len: 16 };
            NewTable { info: TableInfo { id, len, top, properties }, file: 0, base: 0, from: Vec::new() }
        };
        let run = |age, table| NewRun { age, level: 0, tables: vec![table] };
        let decoded = |added: Vec<NewRun>| {
            let change = Change { added, ..Change::default() };
            let bytes = SnapshotHead::new(GroupId(7), &Seal::default(), change).expect("it is short").encode();
            let (fixed, body) = bytes.split_first_chunk().expect("a head has a fixed part");
            SnapshotHead::decode(&FixedHead::decode(fixed).expect("sound"), body)
        };
        assert!(decoded(vec![run(1, table(4_096, "a"))]).is_ok());
        let twice = decoded(vec![run(2, table(4_096, "a")), run(1, table(8_192, "b"))]);
        assert_eq!(twice, Err(FormatError::Malformed("a snapshot names a part twice")));
    }

    #[test]
    fn other_versions_and_features_are_named() {
        assert_eq!(forged(7, b'1'), Err(FormatError::Version { found: '1' }));
        assert_eq!(forged(0, b'X'), Err(FormatError::Magic));
        assert_eq!(forged(9, 1), Err(FormatError::Features { unknown: 256 }));
    }
}
