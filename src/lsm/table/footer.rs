//! The end of a table, by which whoever has no manifest finds the rest.

use crate::codec::Input;
use crate::error::FormatError;
use crate::ids::{FileId, TableId};

use super::unit::{UNIT_HEADER_BYTES, UnitKind, UnitRef, checksum};

/// Length of the footer.
pub const FOOTER_BYTES: usize = 96;
/// The last bytes of a table; the very last is the version.
pub const MAGIC: [u8; 8] = *b"CORATAB2";
/// Features that this version of the code knows, of those that it must know.
const FEATURES_KNOWN: u64 = 0;

/// The end of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The table.
    pub table: TableId,
    /// Length of the table in bytes, a multiple of 4,096.
    pub len: u64,
    /// Where the top unit is.
    pub top: UnitRef,
    /// Where the properties are.
    pub properties: UnitRef,
}

impl Footer {
    /// The bytes.
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[4..8].copy_from_slice(&self.top.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.top.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.properties.offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.properties.len.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.len.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.table.file.store.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.table.file.number.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.table.offset.to_le_bytes());
        bytes[88..].copy_from_slice(&MAGIC);
        let crc = checksum(self.table, self.at(), &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a footer. Says what the table calls itself; whether it is the one looked for, the caller knows.
    pub fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Footer, FormatError> {
        let (fields, magic) = bytes.split_last_chunk().ok_or(FormatError::Truncated)?;
        check_magic(*magic, MAGIC)?;
        let mut input = Input::new(fields);
        let crc = input.u32()?;
        let top_len = input.u32()?;
        let top = UnitRef { kind: UnitKind::Top, offset: input.u64()?, len: top_len };
        let properties = UnitRef { kind: UnitKind::Properties, offset: input.u64()?, len: input.u32()? };
        let reserved = input.u32()?;
        let len = input.u64()?;
        let (features, _) = (input.u64()?, input.u64()?);
        let file = FileId { store: input.u64()?, number: input.u64()? };
        let footer = Footer { table: TableId { file, offset: input.u64()? }, len, top, properties };
        let covered = bytes.get(4..).ok_or(FormatError::Truncated)?;
        if checksum(footer.table, footer.at(), covered) != crc {
            return Err(FormatError::Checksum);
        }
        let unknown = features & !FEATURES_KNOWN;
        if unknown != 0 {
            return Err(FormatError::Features { unknown });
        }
        if reserved != 0 || input.u64()? != 0 || !footer.is_sound() {
            return Err(FormatError::Malformed("a footer contradicts itself"));
        }
        Ok(footer)
    }

    fn is_sound(&self) -> bool {
        let fits = |unit: UnitRef, end: u64| {
            let len_max = UNIT_HEADER_BYTES + unit.kind.body_bytes_max();
            let is_long = (UNIT_HEADER_BYTES..=len_max).contains(&(unit.len as usize));
            is_long && unit.offset.checked_add(u64::from(unit.len)).is_some_and(|unit_end| unit_end <= end)
        };
        self.len.is_multiple_of(host::ALIGNMENT as u64)
            && self.len >= FOOTER_BYTES as u64
            && fits(self.top, self.properties.offset)
            && fits(self.properties, self.at())
    }

    fn at(&self) -> u64 {
        self.len.wrapping_sub(FOOTER_BYTES as u64)
    }
}

/// Tells another version, whose magic differs in the last byte only, from something else.
pub(crate) fn check_magic(found: [u8; 8], expected: [u8; 8]) -> Result<(), FormatError> {
    let ([found_name @ .., found_version], [name @ .., version]) = (found, expected);
    match found_name == name {
        true if found_version == version => Ok(()),
        true => Err(FormatError::Version { found: char::from(found_version) }),
        false => Err(FormatError::Magic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOOTER: Footer = Footer {
        table: TableId { file: FileId { store: 1, number: 2 }, offset: 4_096 },
        len: 12_288,
        top: UnitRef { kind: UnitKind::Top, offset: 5_000, len: 70 },
        properties: UnitRef { kind: UnitKind::Properties, offset: 5_070, len: 300 },
    };

    /// A footer with a changed byte, under a checksum that fits.
    fn forged(at: usize, value: u8) -> [u8; FOOTER_BYTES] {
        let mut bytes = FOOTER.encode();
        bytes[at] = value;
        let crc = checksum(FOOTER.table, FOOTER.at(), &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn it_reads_back_and_no_flipped_bit_passes() {
        let bytes = FOOTER.encode();
        assert_eq!(Footer::decode(&bytes), Ok(FOOTER));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn unknown_versions_and_features_are_named() {
        assert_eq!(Footer::decode(&forged(95, b'1')), Err(FormatError::Version { found: '1' }));
        assert_eq!(Footer::decode(&forged(88, b'X')), Err(FormatError::Magic));
        assert_eq!(Footer::decode(&forged(41, 1)), Err(FormatError::Features { unknown: 256 }));
        assert_eq!(Footer::decode(&forged(48, 1)), Ok(FOOTER), "that feature may be ignored");
    }

    #[test]
    fn units_lie_before_the_footer_in_their_order() {
        for (at, value) in [(13, 1), (21, 1), (26, 1), (28, 1), (32, 1), (80, 1)] {
            let found = Footer::decode(&forged(at, value));
            assert!(matches!(found, Err(FormatError::Malformed(_) | FormatError::Checksum)), "byte {at}: {found:?}");
        }
    }
}
