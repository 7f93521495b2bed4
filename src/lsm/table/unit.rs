//! The frame around everything in a table but the footer: checksum, kind, compression.

use crate::codec::{Input, len_u32};
use crate::error::FormatError;
use crate::ids::TableId;

use super::stored_row::{INLINE_VALUE_BYTES_MAX, ROW_KEY_BYTES_MAX};

/// Length of a unit's header.
pub const UNIT_HEADER_BYTES: usize = 16;
const CODEC_NONE: u8 = 0;
const CODEC_LZ4: u8 = 1;
/// A body is stored compressed if that saves at least one part in so many.
const SAVING_MIN: usize = 8;

/// What a unit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnitKind {
    /// Rows.
    Data = 1,
    /// The index and the filter of some data units.
    Leaf = 2,
    /// The index of the leaves, and the range tombstones.
    Top = 3,
    /// What is known of the table as a whole.
    Properties = 4,
}

impl UnitKind {
    /// The longest body of this kind. A builder keeps well below it.
    pub const fn body_bytes_max(self) -> usize {
        match self {
            UnitKind::Data => 2 * (64 << 10) + ROW_KEY_BYTES_MAX + INLINE_VALUE_BYTES_MAX,
            UnitKind::Leaf => 512 << 10,
            UnitKind::Top | UnitKind::Properties => 8 << 20,
        }
    }
}

/// Where a unit lies in its table, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnitRef {
    /// What it holds.
    pub kind: UnitKind,
    /// Offset from the table's first byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u32,
}

/// The checksum of bytes that stand at an offset of a table.
pub(crate) fn checksum(table: TableId, offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let place = [table.file.store, table.file.number, table.offset.wrapping_add(offset)];
    hasher.update(place.map(u64::to_le_bytes).as_flattened());
    hasher.update(bytes);
    hasher.finalize()
}

/// Appends a unit to `out`, which stands at `offset` of the table. Data is compressed where that pays.
///
/// # Panics
/// If the body is longer than anything of its kind may be.
pub fn encode_unit(out: &mut Vec<u8>, table: TableId, kind: UnitKind, offset: u64, body: &[u8]) -> UnitRef {
    assert!(body.len() <= kind.body_bytes_max(), "{kind:?} of {} bytes", body.len());
    let begin = out.len();
    out.extend_from_slice(&[0; UNIT_HEADER_BYTES]);
    let codec = if kind == UnitKind::Data && put_compressed(out, body) {
        CODEC_LZ4
    } else {
        out.extend_from_slice(body);
        CODEC_NONE
    };
    let unit = &mut out[begin..];
    let stored = len_u32(unit.len() - UNIT_HEADER_BYTES);
    unit[4..8].copy_from_slice(&stored.to_le_bytes());
    unit[8..12].copy_from_slice(&len_u32(body.len()).to_le_bytes());
    unit[12] = kind as u8;
    unit[13] = codec;
    let crc = checksum(table, offset, &unit[4..]);
    unit[..4].copy_from_slice(&crc.to_le_bytes());
    UnitRef { kind, offset, len: len_u32(unit.len()) }
}

/// Appends the compressed body if that saves enough, else nothing.
fn put_compressed(out: &mut Vec<u8>, body: &[u8]) -> bool {
    let begin = out.len();
    out.resize(begin + lz4_flex::block::get_maximum_output_size(body.len()), 0);
    let len = lz4_flex::block::compress_into(body, &mut out[begin..]).expect("there is room for the worst case");
    let pays = len + body.len().div_ceil(SAVING_MIN) <= body.len();
    out.truncate(if pays { begin + len } else { begin });
    pays
}

/// The body of the unit that `bytes` are, and nothing but that.
pub fn decode_unit(bytes: &[u8], table: TableId, unit: UnitRef) -> Result<Vec<u8>, FormatError> {
    if bytes.len() != unit.len as usize {
        return Err(FormatError::Truncated);
    }
    let mut input = Input::new(bytes);
    let crc = input.u32()?;
    if checksum(table, unit.offset, input.rest()) != crc {
        return Err(FormatError::Checksum);
    }
    let (stored, len) = (input.u32()? as usize, input.u32()? as usize);
    let (kind, codec, reserved) = (input.u8()?, input.u8()?, input.u16()?);
    if kind != unit.kind as u8 || reserved != 0 || stored != input.len() {
        return Err(FormatError::Malformed("the header of a unit is another one's"));
    }
    if len > unit.kind.body_bytes_max() {
        return Err(FormatError::TooLong { bytes: len as u64, bytes_max: unit.kind.body_bytes_max() as u64 });
    }
    match codec {
        CODEC_NONE if stored == len => Ok(input.rest().to_vec()),
        CODEC_LZ4 => decompress(input.rest(), len),
        _ => Err(FormatError::Malformed("the codec of a unit is not known")),
    }
}

fn decompress(bytes: &[u8], len: usize) -> Result<Vec<u8>, FormatError> {
    let mut body = vec![0; len];
    match lz4_flex::block::decompress_into(bytes, &mut body) {
        Ok(found) if found == len => Ok(body),
        _ => Err(FormatError::Malformed("compressed bytes of another length")),
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use crate::ids::FileId;

    use super::*;

    const TABLE: TableId = TableId { file: FileId { store: 7, number: 12 }, offset: 8_192 };

    #[test]
    fn a_unit_stands_as_documented() {
        let mut out = b"before".to_vec();
        let unit = encode_unit(&mut out, TABLE, UnitKind::Leaf, 100, b"body");
        assert_eq!(unit, UnitRef { kind: UnitKind::Leaf, offset: 100, len: 20 });
        let place = [7_u64, 12, 8_292].map(u64::to_le_bytes).concat();
        let bytes = [&[4, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0][..], b"body"].concat();
        let crc = crc32fast::hash(&[place, bytes.clone()].concat());
        assert_eq!(out, [b"before", &crc.to_le_bytes()[..], &bytes].concat());
    }

    #[test]
    fn no_flipped_bit_and_no_other_length_or_place_passes() {
        let body = [b"a body that repeats itself, ".repeat(20), vec![1, 2, 3]].concat();
        let mut bytes = Vec::new();
        let unit = encode_unit(&mut bytes, TABLE, UnitKind::Data, 0, &body);
        assert!(bytes.len() < body.len(), "it pays");
        assert_eq!(decode_unit(&bytes, TABLE, unit), Ok(body));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_unit(&flipped, TABLE, unit), Err(FormatError::Checksum), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode_unit(&bytes[..len], TABLE, UnitRef { len: len as u32, ..unit }).is_err(), "{len}");
            assert!(decode_unit(&bytes[..len], TABLE, unit).is_err(), "{len}");
        }
        let other = TableId { file: FileId { number: 13, ..TABLE.file }, ..TABLE };
        assert_eq!(decode_unit(&bytes, other, unit), Err(FormatError::Checksum));
        let elsewhere = UnitRef { offset: 1, ..unit };
        assert_eq!(decode_unit(&bytes, TABLE, elsewhere), Err(FormatError::Checksum));
        let of_another_kind = UnitRef { kind: UnitKind::Leaf, ..unit };
        assert!(matches!(decode_unit(&bytes, TABLE, of_another_kind), Err(FormatError::Malformed(_))));
    }

    #[test]
    fn noise_and_nothing_are_stored_as_they_are() {
        let noise: Vec<u8> = (0..4_000_u32).map(|i| xxh3_64(&i.to_le_bytes()) as u8).collect();
        for body in [noise, Vec::new()] {
            let mut bytes = Vec::new();
            let unit = encode_unit(&mut bytes, TABLE, UnitKind::Data, 5, &body);
            assert_eq!(bytes.len(), UNIT_HEADER_BYTES + body.len());
            assert_eq!(decode_unit(&bytes, TABLE, unit), Ok(body));
        }
    }

    #[test]
    fn compressed_bytes_cannot_claim_another_length() {
        let body = vec![9; 4_096];
        let mut bytes = Vec::new();
        let unit = encode_unit(&mut bytes, TABLE, UnitKind::Data, 0, &body);
        for len in [0_u32, 4_095, 4_097, u32::MAX] {
            let mut forged = bytes.clone();
            forged[8..12].copy_from_slice(&len.to_le_bytes());
            let crc = checksum(TABLE, 0, &forged[4..]);
            forged[..4].copy_from_slice(&crc.to_le_bytes());
            assert!(decode_unit(&forged, TABLE, unit).is_err(), "{len}");
        }
    }
}
