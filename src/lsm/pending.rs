//! Bytes on their way into a file, cut into aligned chunks.

use host::{ALIGNMENT, AlignedBuf};

/// Bytes to be written. Offset and length are multiples of [`ALIGNMENT`].
#[derive(Debug)]
pub struct Chunk {
    /// Where, from the first byte of the table or the blob file on.
    pub offset: u64,
    /// The bytes.
    pub buf: AlignedBuf,
}

/// Bytes that are not written yet, and where they belong.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) bytes: Vec<u8>,
    /// Offset of `bytes`. Invariant: a multiple of `ALIGNMENT`.
    pub(crate) offset: u64,
}

impl Pending {
    /// Where the next byte goes.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Takes the first bytes, a multiple of `ALIGNMENT`.
    pub(crate) fn take(&mut self, len: usize) -> Chunk {
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(&self.bytes[..len]);
        self.bytes.drain(..len);
        let offset = self.offset;
        self.offset += len as u64;
        Chunk { offset, buf }
    }

    /// Takes all there is, with zeros up to the next boundary, in chunks of at most so many bytes.
    pub(crate) fn finish(&mut self, chunk_bytes: usize) -> Vec<Chunk> {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let mut chunks = Vec::new();
        while !self.bytes.is_empty() {
            chunks.push(self.take(chunk_bytes.min(self.bytes.len())));
        }
        chunks
    }
}
