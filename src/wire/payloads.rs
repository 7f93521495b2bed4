//! The payloads of a frame that has come.

use bytes::Bytes;

use crate::checksum::Crc;
use crate::frame_error::FrameError;
use crate::payload::Payload;

/// The run of payloads behind the metadata, consumed from the front: those of entries first, then the checksum of all is compared, then the
/// others.
pub(crate) struct Payloads {
    rest: Bytes,
    /// Of the entries that were taken.
    crc: Crc,
}

impl Payloads {
    /// All of them.
    pub(crate) fn new(rest: Bytes) -> Payloads {
        Payloads { rest, crc: Crc::default() }
    }

    /// Takes what an entry holds. If it is long, it keeps the checksum that is made of it here.
    pub(crate) fn take_entry(&mut self, len: usize) -> Result<Payload, FrameError> {
        let payload = Payload::from(self.take(len)?);
        self.crc.add_payload(&payload);
        Ok(payload)
    }

    /// Compares the checksum of all payloads, of which nothing but entries was taken.
    pub(crate) fn check(&mut self, expected: u32) -> Result<(), FrameError> {
        let mut crc = core::mem::take(&mut self.crc);
        crc.add(&self.rest);
        if crc.finish() == expected { Ok(()) } else { Err(FrameError::Checksum) }
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, FrameError> {
        if len > self.rest.len() { Err(FrameError::Payloads) } else { Ok(self.rest.split_to(len)) }
    }

    /// Everything was taken.
    pub(crate) fn end(self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FrameError::Payloads) }
    }
}
