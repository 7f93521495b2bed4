//! The receiving side: what a snapshot says of itself, checked as it arrives.

use types::GroupId;

use crate::error::FormatError;

use super::head::{FIXED_BYTES, FixedHead, HEAD_BYTES_MAX, SnapshotHead};

/// A snapshot that is being received, from its first byte on.
///
/// It looks at the head and keeps nothing else: the caller writes the bytes to a file. Bytes come from a peer, so
/// whatever they are, what they give is an error or a head whose parts fill the stream.
pub struct IncomingSnapshot {
    group: GroupId,
    total_bytes: u64,
    head_bytes_max: usize,
    /// Bytes of the head, until it is complete. Invariant: no more than it has.
    begun: Vec<u8>,
    head: Option<SnapshotHead>,
    received_bytes: u64,
}

impl IncomingSnapshot {
    /// A snapshot of a group, of which so many bytes are announced. Its head, which is held in memory, is to be no longer
    /// than `head_bytes_max`, nor than [`HEAD_BYTES_MAX`].
    pub fn new(group: GroupId, total_bytes: u64, head_bytes_max: usize) -> IncomingSnapshot {
        let head_bytes_max = head_bytes_max.min(HEAD_BYTES_MAX);
        IncomingSnapshot { group, total_bytes, head_bytes_max, begun: Vec::new(), head: None, received_bytes: 0 }
    }

    /// Takes the next bytes of the stream. After an error the snapshot is of no use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let received = self.received_bytes.saturating_add(bytes.len() as u64);
        if received > self.total_bytes {
            return Err(FormatError::Malformed("more of a snapshot has come than was announced"));
        }
        let mut rest = bytes;
        while self.head.is_none() && !rest.is_empty() {
            rest = self.push_head(rest)?;
        }
        self.received_bytes = received;
        Ok(())
    }

    /// Takes bytes of the head: up to the end of the fixed part, or of all of it. Returns what is left.
    fn push_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
        let fixed = match self.begun.first_chunk() {
            Some(fixed) => Some(self.check_fixed(FixedHead::decode(fixed)?)?),
            None => None,
        };
        let wanted = fixed.map_or(FIXED_BYTES, |fixed| fixed.head_bytes());
        let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.begun.len()));
        self.begun.extend_from_slice(taken);
        if let Some(fixed) = fixed
            && self.begun.len() == wanted
        {
            let body = self.begun.get(FIXED_BYTES..).ok_or(FormatError::Truncated)?;
            self.head = Some(SnapshotHead::decode(&fixed, body)?);
            self.begun = Vec::new();
        }
        Ok(rest)
    }

    fn check_fixed(&self, fixed: FixedHead) -> Result<FixedHead, FormatError> {
        if fixed.group != self.group {
            return Err(FormatError::Malformed("a snapshot of another group"));
        }
        if fixed.total_bytes != self.total_bytes {
            return Err(FormatError::Malformed("a snapshot of another length than was announced"));
        }
        if fixed.head_bytes() > self.head_bytes_max {
            let (bytes, bytes_max) = (fixed.head_bytes() as u64, self.head_bytes_max as u64);
            return Err(FormatError::TooLong { bytes, bytes_max });
        }
        Ok(fixed)
    }

    /// How many bytes have come.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Bytes of memory that it takes, about.
    pub fn held_bytes(&self) -> usize {
        self.begun.capacity()
    }

    /// What the snapshot holds, once that is known.
    pub fn head(&self) -> Option<&SnapshotHead> {
        self.head.as_ref()
    }

    /// What the snapshot holds, if that is known; the rest of the stream is then the caller's concern.
    pub fn into_head(self) -> Option<SnapshotHead> {
        self.head
    }

    /// What the snapshot holds, all of which has come. Fails if something is missing.
    pub fn finish(self) -> Result<SnapshotHead, FormatError> {
        let is_complete = self.received_bytes == self.total_bytes;
        self.head.filter(|_| is_complete).ok_or(FormatError::Truncated)
    }
}
