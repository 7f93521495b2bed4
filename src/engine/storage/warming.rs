//! The groups whose rows are to come back into memory, and the one of which they are coming.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use lsm::Content;
use lsm::read::ScannedRow;
use lsm::table::stored_row;
use types::{GroupId, Instant, Slot};

use crate::budget::{Budget, Permit, Pool};
use crate::limits::{WARM_TURN_BYTES, WARM_TURN_ROWS};
use crate::load_error::LoadError;

/// Chunks that were read and not taken in, beyond which no more is read.
const CHUNKS_COUNT_MAX: usize = 4;
/// Their bytes; a single value may exceed it.
const CHUNKS_BYTES_MAX: usize = 1 << 20;

/// Where a row stands in a chunk.
struct RowSpan {
    slot: Slot,
    kind: u8,
    expiry_ms: Option<u64>,
    key_bytes: usize,
    value_bytes: usize,
}

/// Rows of a version: as many as a turn takes in.
#[derive(Default)]
pub(super) struct Chunk {
    spans: Vec<RowSpan>,
    /// Key and value of each row, one behind the other.
    bytes: Vec<u8>,
}

impl Chunk {
    /// Adds a row.
    ///
    /// # Errors
    /// It is none of a key.
    pub(super) fn push(&mut self, row: &ScannedRow<'_>) -> Result<(), LoadError> {
        let (slot, _, key) = stored_row::head_parts(row.key).ok_or(LoadError::Row("a row that is none of a key"))?;
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(row.value);
        self.spans.push(RowSpan {
            slot,
            kind: row.value_type,
            expiry_ms: row.expiry_ms,
            key_bytes: key.len(),
            value_bytes: row.value.len(),
        });
        Ok(())
    }

    /// Whether a turn should take in no more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= WARM_TURN_BYTES || self.spans.len() >= WARM_TURN_ROWS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The rows, in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Slot, &[u8], Content<'_>)> {
        let mut rest = &self.bytes[..];
        self.spans.iter().map(move |span| {
            let (key, behind) = rest.split_at(span.key_bytes);
            let (value, behind) = behind.split_at(span.value_bytes);
            rest = behind;
            (span.slot, key, Content { kind: span.kind, expiry_ms: span.expiry_ms, value: [value, b""] })
        })
    }
}

/// What the task that reads a version and the turns share.
#[derive(Default)]
pub(super) struct Feed {
    /// Invariant: at most [`CHUNKS_COUNT_MAX`], and the last one alone exceeds [`CHUNKS_BYTES_MAX`].
    pub(super) chunks: RefCell<VecDeque<Chunk>>,
    /// How the task has ended, once it has.
    pub(super) result: RefCell<Option<Result<(), LoadError>>>,
    /// How much of the tables was read, in bytes.
    pub(super) read_bytes: Cell<u64>,
    /// Nobody takes in what is read any more.
    pub(super) is_given_up: Cell<bool>,
}

impl Feed {
    /// Whether another chunk may wait.
    pub(super) fn has_room(&self) -> bool {
        self.bytes() < CHUNKS_BYTES_MAX && self.chunks.borrow().len() < CHUNKS_COUNT_MAX
    }

    /// Bytes of what waits.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.borrow().iter().map(|chunk| chunk.bytes.len()).sum()
    }
}

/// The group whose rows are coming.
pub(super) struct Running {
    pub(super) group: usize,
    pub(super) id: GroupId,
    pub(super) feed: Rc<Feed>,
    /// Bytes of its tables and blob files.
    pub(super) total_bytes: u64,
    pub(super) rows_count: u64,
    pub(super) begun_at: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.feed.is_given_up.set(true);
    }
}

/// The warming of a core's groups: one at a time.
pub(super) struct Warming {
    /// Invariant: each once, and none of them is the running one.
    pub(super) waiting: VecDeque<GroupId>,
    pub(super) running: Option<Running>,
    /// Groups that have become resident since somebody took them.
    pub(super) resident: Vec<usize>,
    /// Not before this is another one begun.
    pub(super) not_before: Instant,
    /// For chunks that were not taken in.
    pub(super) permit: Permit,
}

impl Warming {
    pub(super) fn new(budget: &Budget) -> Warming {
        Warming {
            waiting: VecDeque::new(),
            running: None,
            resident: Vec::new(),
            not_before: Instant::ZERO,
            permit: budget.permit(Pool::Rows),
        }
    }

    /// The rows of a group are to come into memory, after those of others. What was read of them until now counts no more.
    pub(super) fn push(&mut self, group: GroupId) {
        self.remove(group);
        self.waiting.push_back(group);
    }

    /// The rows of a group are not to come any more, or not those of its tables of now.
    pub(super) fn remove(&mut self, group: GroupId) {
        self.waiting.retain(|waiting| *waiting != group);
        self.running.take_if(|running| running.id == group);
    }

    /// Whether no group waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_none() && self.resident.is_empty()
    }
}
