//! The payloads of a frame that has come.

use bytes::Bytes;

use crate::checksum::Crc;
use crate::frame_error::FrameError;
use crate::payload::Payload;

/// The run of payloads behind the metadata, consumed from the front: those of entries first, then the checksum of all is compared, then the
/// others.
pub(crate) struct Payloads<'a> {
    /// Where they have arrived, until entries have been copied from there; then empty.
    lent: &'a [u8],
    /// Behind what is lent.
    rest: Bytes,
    /// Of the entries that were taken.
    crc: Crc,
}

impl<'a> Payloads<'a> {
    /// All of them: whoever takes some shares their memory.
    pub(crate) fn new(rest: Bytes) -> Payloads<'static> {
        Payloads { lent: &[], rest, crc: Crc::default() }
    }

    /// All of them, to be copied.
    pub(crate) fn lent(lent: &'a [u8]) -> Payloads<'a> {
        Payloads { lent, rest: Bytes::new(), crc: Crc::default() }
    }

    /// Takes what an entry holds. If it is long, it keeps the checksum that is made of it here.
    pub(crate) fn take_entry(&mut self, len: usize) -> Result<Payload, FrameError> {
        let payload = match self.lent.split_at_checked(len) {
            Some((bytes, lent)) => {
                self.lent = lent;
                Payload::from(Bytes::copy_from_slice(bytes))
            }
            None => Payload::slice(self.take(len)?),
        };
        self.crc.add_payload(&payload);
        Ok(payload)
    }

    /// Compares the checksum of all payloads, of which nothing but entries was taken.
    pub(crate) fn check(&mut self, expected: u32) -> Result<(), FrameError> {
        if !self.lent.is_empty() {
            self.rest = Bytes::copy_from_slice(core::mem::take(&mut self.lent));
        }
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
