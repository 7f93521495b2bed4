//! What a flush copies, as payloads of records that a background task hands on to a table's writer.
//!
//! ```text
//! record
//!  0 u32 length of the row key
//!  4 u32 length of the value
//!  8 u64 when the row expires, in milliseconds since 1970 UTC; 0 unless flagged
//! 16 u8  kind of the value
//! 17 u8  flags: 1 the row expires, 2 a tombstone
//!    row key, value
//! ```
//!
//! Little-endian. Records ascend by their row keys, over all payloads of a flush, and none is cut in two. They never leave the
//! process that made them.

use std::collections::VecDeque;

use types::Slot;

use crate::rows::row::Row;
use crate::table::stored_row::head_key;
use crate::table::{Content, Put, StoredRow, Value};

const HEADER_BYTES: usize = 18;
const EXPIRES: u8 = 1;
const TOMBSTONE: u8 = 2;
/// A payload is closed once it is this long. A record that is longer has one of its own.
const PAYLOAD_BYTES: usize = 256 << 10;
/// Room beyond that, so that the last of many short records does not make the payload grow.
const SLACK_BYTES: usize = 4 << 10;
/// Bytes of a row key before the key: slot, `h`, and the hash.
pub(crate) const KEY_PREFIX_BYTES: usize = 9;

/// How long the record of a row is.
pub(crate) fn record_bytes(row: Row<'_>) -> usize {
    HEADER_BYTES + KEY_PREFIX_BYTES + row.key_and_value().len()
}

/// Appends the record of a row.
pub(crate) fn put_record(slot: Slot, row: Row<'_>, out: &mut Vec<u8>) {
    let expiry_ms = row.expiry_ms();
    let expires = if expiry_ms.is_some() { EXPIRES } else { 0 };
    let mut head = [0; HEADER_BYTES];
    head[..4].copy_from_slice(&((KEY_PREFIX_BYTES + row.key().len()) as u32).to_le_bytes());
    head[4..8].copy_from_slice(&(row.value().len() as u32).to_le_bytes());
    head[8..16].copy_from_slice(&expiry_ms.unwrap_or(0).to_le_bytes());
    head[16] = row.kind();
    head[17] = expires | if row.is_absent() { TOMBSTONE } else { 0 };
    out.extend_from_slice(&head);
    head_key(slot, row.hash().number(), row.key(), out);
    out.extend_from_slice(row.value());
}

/// The client's key in a record.
pub(crate) fn key_of_record(record: &[u8]) -> &[u8] {
    let row = Records::new(record).next().expect("a record holds a row");
    &row.key[KEY_PREFIX_BYTES..]
}

/// Collects records into payloads. All that it does per record is to copy it.
#[derive(Default)]
pub struct Payloads {
    /// The payload in the making.
    open: Vec<u8>,
    /// Payloads that wait to be taken, oldest first.
    closed: VecDeque<Vec<u8>>,
    /// Bytes of `open` and `closed`.
    bytes: usize,
}

impl Payloads {
    /// Adds the record of a row.
    pub(crate) fn put(&mut self, slot: Slot, row: Row<'_>) {
        self.add(record_bytes(row), |open| put_record(slot, row, open));
    }

    /// Adds a record.
    pub(crate) fn put_record(&mut self, record: &[u8]) {
        self.add(record.len(), |open| open.extend_from_slice(record));
    }

    fn add(&mut self, bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if bytes > PAYLOAD_BYTES {
            self.close();
        }
        if self.open.is_empty() {
            self.open.reserve_exact(bytes.max(PAYLOAD_BYTES + SLACK_BYTES));
        }
        write(&mut self.open);
        self.bytes += bytes;
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

    /// Takes the oldest closed payload: about 256 KiB of records, or one long one.
    pub fn take_closed(&mut self) -> Option<Vec<u8>> {
        let payload = self.closed.pop_front()?;
        self.bytes -= payload.len();
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
}

/// The rows in a payload, as a table holds them, by ascending row keys.
///
/// # Panics
/// If the bytes are not those of a payload.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Those of a payload that [`Payloads::take_closed`] gave.
    pub fn new(payload: &'a [u8]) -> Records<'a> {
        Records { rest: payload }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = StoredRow<'a>;

    fn next(&mut self) -> Option<StoredRow<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let head: &[u8; HEADER_BYTES] = self.take(HEADER_BYTES).try_into().expect("as long as asked for");
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let expiry_ms = u64::from(number(8)) | u64::from(number(12)) << 32;
        let key = self.take(number(0) as usize);
        let value = self.take(number(4) as usize);
        let content = if head[17] & TOMBSTONE != 0 {
            Content::Tombstone
        } else {
            let expiry_ms = (head[17] & EXPIRES != 0).then_some(expiry_ms);
            Content::Put(Put { value_type: head[16], expiry_ms, value: Value::Inline(value) })
        };
        Some(StoredRow { key, content })
    }
}
