//! Collects the records of a walk into the payloads of a snapshot's blocks.
//!
//! ```text
//! record
//!  0 u16 slot
//!  2 u8  kind of the value: 0 string
//!  3 u8  flags: 1 the row expires
//!  4 u32 length of the key
//!  8 u32 length of the value
//! 12 u64 when it expires, in milliseconds since 1970 UTC; only if the flag says so
//!    key, value
//! ```
//!
//! Little-endian. No record is cut in two.

use std::collections::VecDeque;

use host::{ALIGNMENT, AlignedBuf};
use types::Slot;

use crate::rows::row::Row;

/// Length of what every record begins with.
pub const RECORD_HEADER_BYTES: usize = 12;
/// Length of what may stand behind that.
pub const RECORD_EXPIRY_BYTES: usize = 8;
/// The flag of a record with an expiry.
pub const RECORD_EXPIRES: u8 = 1;
/// Room that stands before a payload's records for the header of its block.
pub const PAYLOAD_HEADROOM_BYTES: usize = 56;
/// A payload is closed once it is this long; its last record may exceed it.
pub const PAYLOAD_BYTES: usize = 256 << 10;

/// Collects records into payloads. All that it does per record is to copy it; what costs more is the
/// snapshot's that seals them.
#[derive(Default)]
pub struct Former {
    /// The payload in the making, behind room for its header; nothing is allocated before the first record.
    open: AlignedBuf,
    /// Payloads that wait to be sealed, oldest first.
    closed: VecDeque<AlignedBuf>,
    /// Bytes of `open` and `closed`.
    bytes: usize,
    keys_count: u64,
}

impl Former {
    /// Adds a row.
    pub(crate) fn put(&mut self, slot: Slot, row: Row<'_>) {
        if self.open.is_empty() {
            // One more block than the limit, so that the last of many short records does not make it grow.
            self.open = AlignedBuf::with_capacity(PAYLOAD_BYTES + ALIGNMENT);
            self.open.extend_from_slice(&[0; PAYLOAD_HEADROOM_BYTES]);
        }
        let before = self.open.len();
        let expiry_ms = row.expiry_ms();
        let mut head = [0; RECORD_HEADER_BYTES];
        head[..2].copy_from_slice(&slot.number().to_le_bytes());
        head[2] = row.kind();
        head[3] = if expiry_ms.is_some() { RECORD_EXPIRES } else { 0 };
        head[4..8].copy_from_slice(&(row.key().len() as u32).to_le_bytes());
        head[8..].copy_from_slice(&(row.value().len() as u32).to_le_bytes());
        self.open.extend_from_slice(&head);
        if let Some(expiry_ms) = expiry_ms {
            self.open.extend_from_slice(&expiry_ms.to_le_bytes());
        }
        self.open.extend_from_slice(row.key_and_value());
        self.bytes += self.open.len() - before;
        self.keys_count += 1;
        if self.open.len() >= PAYLOAD_BYTES {
            self.close();
        }
    }

    /// Closes the payload in the making, if there is one.
    pub(crate) fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push_back(std::mem::take(&mut self.open));
        }
    }

    /// Takes the oldest closed payload.
    pub fn take_closed(&mut self) -> Option<AlignedBuf> {
        let payload = self.closed.pop_front()?;
        self.bytes -= payload.len() - PAYLOAD_HEADROOM_BYTES;
        Some(payload)
    }

    /// How many payloads wait.
    pub fn closed_count(&self) -> usize {
        self.closed.len()
    }

    /// Bytes of records held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records added so far.
    pub fn keys_count(&self) -> u64 {
        self.keys_count
    }
}
