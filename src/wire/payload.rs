//! The payload of an entry, with its checksum.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use bytes::Bytes;

use crate::checksum::{Checksum, Crc};

/// Shorter payloads are summed wherever they go: that takes less than to put together what was summed before.
pub const SUMMED_BYTES_MIN: usize = 1 << 10;

/// What an entry holds: bytes that are archived once and never changed. Where they are long they are summed once, by whoever has made or received
/// them, and the checksums of frames, records and blocks follow from that. So those tell of what was proposed: bytes that change in memory
/// later do not pass.
#[derive(Clone)]
pub struct Payload {
    bytes: Bytes,
    // Invariant: that of `bytes` if they are long, else 0.
    crc: u32,
    is_slice: bool,
}

impl Payload {
    /// No bytes.
    pub const EMPTY: Payload = Payload { bytes: Bytes::new(), crc: 0, is_slice: false };

    /// Bytes that are part of something longer.
    pub fn slice(bytes: Bytes) -> Payload {
        Payload { is_slice: true, ..Payload::from(bytes) }
    }

    /// Whether the bytes are part of something longer, such as a frame, all of which stays in memory with them.
    pub fn is_slice(&self) -> bool {
        self.is_slice
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes alone.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Their checksum, if they are long.
    #[inline]
    pub fn checksum(&self) -> Option<Checksum> {
        self.is_long().then(|| Checksum::new(self.crc, self.bytes.len()))
    }

    fn is_long(&self) -> bool {
        self.bytes.len() >= SUMMED_BYTES_MIN
    }

    /// The same in memory of its own.
    pub fn copied(&self) -> Payload {
        Payload { bytes: Bytes::copy_from_slice(&self.bytes), crc: self.crc, is_slice: false }
    }
}

impl Crc {
    /// Adds a payload.
    #[inline]
    pub fn add_payload(&mut self, payload: &Payload) {
        if payload.is_long() {
            self.add_crc(payload.crc, payload.len());
        } else {
            self.add(payload);
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        let is_long = bytes.len() >= SUMMED_BYTES_MIN;
        let crc = if is_long { crc32fast::hash(&bytes) } else { 0 };
        Payload { bytes, crc, is_slice: false }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload::from(Bytes::from(bytes))
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Payload {
        Payload::from(Bytes::from_static(bytes))
    }
}

impl Deref for Payload {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn long_and_short_payloads_count_as_their_bytes() {
        for len in [0, 1, SUMMED_BYTES_MIN - 1, SUMMED_BYTES_MIN, 5_000] {
            let payload = Payload::from(vec![7; len]);
            assert_eq!(payload.checksum().is_some(), len >= SUMMED_BYTES_MIN);
            for payload in [payload.copied(), payload] {
                let mut crc = Crc::default();
                crc.add(b"before");
                crc.add_payload(&payload);
                crc.add(b"behind");
                let joined = [&b"before"[..], &payload, b"behind"].concat();
                assert_eq!(crc.finish(), crc32fast::hash(&joined), "{len} bytes");
            }
        }
    }
}
