//! Payloads as they are read, from whoever sends them.

use std::borrow::Cow;

use types::limits::VALUE_BYTES_MAX;

use super::write::checksum;
use super::{
    CHECKSUM_BYTES, ENCODED, FOOT_BYTES, INT_8, INT_16, INT_32, LENGTH_6_BITS, LENGTH_14_BITS, LENGTH_32_BITS,
    LENGTH_64_BITS, LZF, RDB_VERSIONS_READ, TYPE_STRING, lzf,
};
use crate::outcome::Error;

/// Types that stand for values, beside strings: lists, sets, sorted sets, hashes, streams and what modules keep. What lies beyond them
/// is no value in any version.
const OTHER_TYPES: [core::ops::RangeInclusive<u8>; 2] = [1..=7, 9..=23];

/// A string as a payload holds it, checked to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serialized<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// The number whose decimal form it is.
    Number(i32),
    /// Its compressed form.
    Compressed {
        /// The LZF stream.
        stream: &'a [u8],
        /// How long it becomes. Invariant: it was measured, and is at most [`VALUE_BYTES_MAX`].
        len: usize,
    },
}

impl<'a> Serialized<'a> {
    /// Reads a payload. What follows the string and stands before version and checksum is not looked at, as in Redis.
    ///
    /// # Errors
    /// [`Error::PayloadChecksum`], [`Error::PayloadFormat`], [`Error::PayloadType`] of what is sound and no string, and
    /// [`Error::ValueTooLong`].
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Serialized<'a>, Error> {
        let body = checked_body(payload).ok_or(Error::PayloadChecksum)?;
        match body.split_first() {
            Some((&TYPE_STRING, string)) => Input { rest: string }.string(),
            Some((other, _)) if OTHER_TYPES.iter().any(|types| types.contains(other)) => Err(Error::PayloadType),
            _ => Err(Error::PayloadFormat),
        }
    }

    /// The string itself.
    pub(crate) fn value(self) -> Cow<'a, [u8]> {
        match self {
            Serialized::Bytes(bytes) => Cow::Borrowed(bytes),
            Serialized::Number(number) => Cow::Owned(number.to_string().into_bytes()),
            Serialized::Compressed { stream, len } => Cow::Owned(lzf::expand(stream, len)),
        }
    }
}

/// What stands before version and checksum, if they are right.
fn checked_body(payload: &[u8]) -> Option<&[u8]> {
    let (body, foot) = payload.split_last_chunk::<FOOT_BYTES>()?;
    let (version, expected) = foot.split_first_chunk::<2>()?;
    let (covered, _) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    let version = u16::from_le_bytes(*version);
    let is_known = RDB_VERSIONS_READ.iter().any(|versions| versions.contains(&version));
    (is_known && checksum(&[covered]).to_le_bytes() == expected).then_some(body)
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn string(&mut self) -> Result<Serialized<'a>, Error> {
        let first = *self.rest.first().ok_or(Error::PayloadFormat)?;
        if first >> 6 != ENCODED {
            let len = self.length()?;
            let bytes = self.take(len)?;
            return bounded(bytes.len()).map(|_| Serialized::Bytes(bytes));
        }
        self.take(1)?;
        match first {
            INT_8 => Ok(Serialized::Number(i8::from_le_bytes(self.array()?).into())),
            INT_16 => Ok(Serialized::Number(i16::from_le_bytes(self.array()?).into())),
            INT_32 => Ok(Serialized::Number(i32::from_le_bytes(self.array()?))),
            LZF => self.compressed(),
            _ => Err(Error::PayloadFormat),
        }
    }

    fn compressed(&mut self) -> Result<Serialized<'a>, Error> {
        let (stream_len, claimed_len) = (self.length()?, self.length()?);
        let stream = self.take(stream_len)?;
        match lzf::measure(stream) {
            Some(len) if len as u64 == claimed_len => Ok(Serialized::Compressed { stream, len: bounded(len)? }),
            _ => Err(Error::PayloadFormat),
        }
    }

    fn length(&mut self) -> Result<u64, Error> {
        let [first] = self.array()?;
        let low = first & 0b11_1111;
        match (first >> 6, first) {
            (LENGTH_6_BITS, _) => Ok(low.into()),
            (LENGTH_14_BITS, _) => {
                let [next] = self.array()?;
                Ok(u16::from_be_bytes([low, next]).into())
            }
            (_, LENGTH_32_BITS) => Ok(u32::from_be_bytes(self.array()?).into()),
            (_, LENGTH_64_BITS) => Ok(u64::from_be_bytes(self.array()?)),
            _ => Err(Error::PayloadFormat),
        }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Error> {
        let len = usize::try_from(len).map_err(|_| Error::PayloadFormat)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Error::PayloadFormat)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::PayloadFormat)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// A length, if a value may have it.
fn bounded(len: usize) -> Result<usize, Error> {
    if len <= VALUE_BYTES_MAX { Ok(len) } else { Err(Error::ValueTooLong) }
}
