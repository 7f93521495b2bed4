//! Numbers and byte strings as they stand on disk: little-endian, and lengths as varints of seven bits a byte.

use crate::error::FormatError;

/// Bytes that are read from front to back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A varint of at most 32 bits, in as few bytes as it needs.
    pub(crate) fn varint(&mut self) -> Result<u32, FormatError> {
        // Most numbers are small.
        if let Some((byte, rest)) = self.rest.split_first().filter(|(byte, _)| **byte < 0x80) {
            self.rest = rest;
            return Ok(u32::from(*byte));
        }
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                let fits = u32::try_from(number).ok().filter(|_| is_shortest);
                return fits.ok_or(FormatError::Malformed("a varint is too large or too long"));
            }
        }
        Err(FormatError::Malformed("a varint does not end"))
    }

    /// A byte string behind its length as a `u32`.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], FormatError> {
        let len = self.u32()?;
        self.bytes(len as usize)
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::Malformed("there is more than was to be")) }
    }
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a byte string behind its length as a `u32`.
pub(crate) fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(&len_u32(string.len()).to_le_bytes());
    out.extend_from_slice(string);
}

/// A length that the limits of the formats keep within 32 bits.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("nothing of ours is 4 GiB long")
}

/// How many of the first bytes of two strings agree.
pub(crate) fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_back_and_have_one_form() {
        for number in [0, 1, 127, 128, 16_383, 16_384, 1 << 28, u32::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            let mut input = Input::new(&bytes);
            assert_eq!(input.varint(), Ok(number));
            assert_eq!(input.end(), Ok(()));
            assert_eq!(Input::new(&bytes[..bytes.len() - 1]).varint(), Err(FormatError::Truncated));
        }
        for bytes in [&[0x80, 0][..], &[0xFF, 0xFF, 0xFF, 0xFF, 0x1F], &[0x80, 0x80, 0x80, 0x80, 0x80, 1]] {
            assert!(matches!(Input::new(bytes).varint(), Err(FormatError::Malformed(_))), "{bytes:?}");
        }
    }

    #[test]
    fn numbers_are_little_endian() {
        let mut input = Input::new(&[1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9]);
        let numbers = (input.u8(), input.u16(), input.u32(), input.u64());
        assert_eq!(numbers, (Ok(1), Ok(2), Ok(3), Ok(4)));
        assert_eq!(input.u32(), Err(FormatError::Truncated));
        assert_eq!(input.len(), 1);
    }
}
