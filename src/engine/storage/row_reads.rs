//! Rows that are being read from tables, for commands that need them.
//!
//! A few tasks read one row each at a time. Those who wait take turns, so that whoever wants many rows holds up nobody who wants one. A read
//! keeps the version of the moment at which it was asked for, whatever is flushed or merged meanwhile.
//!
//! Values that were read take room until all rows of their read are there. When there are too many bytes of them, only the oldest read goes
//! on: it ends at any rate, and makes room for the others.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use data::RowRange;
use data::row_range::{position, stop_before};
use host::{Disk, IoClass};
use lsm::read::{FoundValue, Reader, Target, VersionCursor};
use lsm::table::Content;
use lsm::table::stored_row::{head_key, head_parts};
use lsm::version::Version;
use types::Slot;

use crate::row_read::{ReadRow, ReadRows, RowRead, Told, Wanted, WantedRows};

/// A read of some rows, as far as it has come.
pub(super) struct Pending {
    pub(super) read: RowRead,
    version: Rc<Version>,
    /// Invariant: as many as there are row keys.
    rows: RefCell<Vec<Told>>,
    /// Parts that were not read yet.
    left_count: Cell<usize>,
    /// Values that were read, in bytes.
    bytes: Cell<usize>,
    result: RefCell<Option<Result<ReadRows, lsm::Error>>>,
}

impl Pending {
    /// Rows of a version that are to be read.
    fn new(read: RowRead, version: Rc<Version>) -> Pending {
        let count = Pending::parts_count(&read);
        assert!(count > 0, "who asks for rows names some");
        let (rows, left_count) = (RefCell::new(vec![Told::Unread; count]), Cell::new(count));
        Pending { read, version, rows, left_count, bytes: Cell::new(0), result: RefCell::new(None) }
    }

    /// What was read, once it is all there.
    fn take_result(&self) -> Result<ReadRows, lsm::Error> {
        self.result.take().unwrap_or_else(|| Ok(ReadRows::Rows(self.rows.take())))
    }

    /// In how many parts it is read.
    fn parts_count(read: &RowRead) -> usize {
        match &read.wanted {
            Wanted::Rows(wanted) => wanted.rows.len(),
            Wanted::Range(_) => 1,
        }
    }
}

/// A part that a task reads.
struct Part {
    of: Rc<Pending>,
    idx: usize,
    /// Whether it is read however many bytes of values there are.
    is_oldest: bool,
}

/// The parts of one read that nobody has begun to read.
struct Waiting {
    of: Rc<Pending>,
    next: usize,
    /// Those for whose values there was no room.
    again: Vec<usize>,
}

/// The reads of rows of a core.
#[derive(Default)]
pub(super) struct RowReads {
    /// See [`Limits::row_reads_bytes_max`](crate::Limits::row_reads_bytes_max).
    bytes_max: usize,
    /// The numbers of all reads that were not taken yet.
    open: RefCell<BTreeSet<u64>>,
    /// By their numbers.
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    /// The read of which a part was begun last.
    turn: Cell<u64>,
    tasks_count: Cell<usize>,
    done: RefCell<Vec<Rc<Pending>>>,
    /// Values of all reads, in bytes.
    bytes: Cell<usize>,
    /// Whether there was no room for a value.
    is_short: Cell<bool>,
}

impl RowReads {
    /// No reads, of which so many bytes of values may wait.
    pub(super) fn new(bytes_max: usize) -> RowReads {
        RowReads { bytes_max, ..RowReads::default() }
    }

    /// How many rows wait to be read.
    pub(super) fn waiting_count(&self) -> usize {
        let count = |waiting: &Waiting| Pending::parts_count(&waiting.of.read) - waiting.next + waiting.again.len();
        self.waiting.borrow().values().map(count).sum()
    }

    /// Values that were read and not taken, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Adds rows of a version to those that are to be read.
    pub(super) fn push(&self, read: RowRead, version: Rc<Version>) {
        let number = read.number;
        let waiting = Waiting { of: Rc::new(Pending::new(read, version)), next: 0, again: Vec::new() };
        self.open.borrow_mut().insert(number);
        self.waiting.borrow_mut().insert(number, waiting);
    }

    /// Counts a task that begins, if there is something for it to do.
    pub(super) fn begin_task(&self, tasks_count_max: usize) -> bool {
        let may_read = self.next_number().is_some();
        let begins = may_read && self.tasks_count.get() < tasks_count_max.min(self.waiting_count());
        self.tasks_count.set(self.tasks_count.get() + usize::from(begins));
        begins
    }

    /// Reads until nothing waits that may be read now. `notify` is told of each read that is done.
    pub(super) async fn run_task<D: Disk>(&self, reader: &Reader<D>, notify: impl Fn()) {
        while let Some(part) = self.take_part() {
            if self.read_part(reader, &part).await {
                self.done.borrow_mut().push(part.of);
                notify();
            }
        }
        self.tasks_count.set(self.tasks_count.get() - 1);
    }

    /// Takes what was read as a whole.
    pub(super) fn take_done(&self) -> Vec<(RowRead, Result<ReadRows, lsm::Error>)> {
        let done = self.done.take();
        let taken = done.into_iter().map(|pending| {
            self.bytes.set(self.bytes.get() - pending.bytes.get());
            self.is_short.set(false);
            self.open.borrow_mut().remove(&pending.read.number);
            (pending.read.clone(), pending.take_result())
        });
        taken.collect()
    }

    /// The read whose turn it is.
    fn next_number(&self) -> Option<u64> {
        let waiting = self.waiting.borrow();
        if self.is_short.get() {
            return self.open.borrow().first().copied().filter(|oldest| waiting.contains_key(oldest));
        }
        let behind = waiting.range(self.turn.get() + 1..).next();
        behind.or_else(|| waiting.first_key_value()).map(|(number, _)| *number)
    }

    fn take_part(&self) -> Option<Part> {
        let number = self.next_number()?;
        self.turn.set(number);
        let mut waiting = self.waiting.borrow_mut();
        let its = waiting.get_mut(&number)?;
        let idx = its.again.pop().unwrap_or_else(|| {
            its.next += 1;
            its.next - 1
        });
        let part = Part { of: Rc::clone(&its.of), idx, is_oldest: self.open.borrow().first() == Some(&number) };
        if its.again.is_empty() && its.next == Pending::parts_count(&its.of.read) {
            waiting.remove(&number);
        }
        Some(part)
    }

    /// Gives back a part for whose value there is no room.
    fn ask_again(&self, part: &Part) {
        self.is_short.set(true);
        let count = Pending::parts_count(&part.of.read);
        let waiting = || Waiting { of: Rc::clone(&part.of), next: count, again: Vec::new() };
        self.waiting.borrow_mut().entry(part.of.read.number).or_insert_with(waiting).again.push(part.idx);
    }

    /// Reads a part. Returns whether that was the last one of its read.
    async fn read_part<D: Disk>(&self, reader: &Reader<D>, part: &Part) -> bool {
        let pending = &*part.of;
        let failed = match &pending.read.wanted {
            Wanted::Rows(wanted) => match self.read_row(reader, part, wanted).await {
                Ok(Some(told)) => {
                    pending.rows.borrow_mut()[part.idx] = told;
                    None
                }
                Ok(None) => {
                    self.ask_again(part);
                    return false;
                }
                Err(error) => Some(Err(error)),
            },
            Wanted::Range(range) => Some(read_range(reader, &pending.version, *range).await),
        };
        if let Some(result) = failed {
            *pending.result.borrow_mut() = Some(result);
        }
        pending.left_count.set(pending.left_count.get() - 1);
        pending.left_count.get() == 0
    }

    /// Reads a row; `None` if there is no room for its value now.
    async fn read_row<D: Disk>(
        &self,
        reader: &Reader<D>,
        part: &Part,
        wanted: &WantedRows,
    ) -> Result<Option<Told>, lsm::Error> {
        let pending = &*part.of;
        let (row_key, needs_value) = &wanted.rows[part.idx];
        let Some(found) = reader.get(&pending.version, row_key).await? else { return Ok(Some(Told::NoRow)) };
        let mut row = ReadRow { kind: found.value_type, expiry_ms: found.expiry_ms, value: Vec::new() };
        if !needs_value {
            return Ok(Some(Told::Head(row)));
        }
        let len = match &found.value {
            FoundValue::Inline(value) => value.len(),
            FoundValue::Blob(blob) => blob.len as usize,
        };
        if part.idx >= wanted.must_count && pending.bytes.get() + len > wanted.bytes_max {
            return Ok(Some(Told::Unread));
        }
        if self.bytes.get() + len > self.bytes_max && !part.is_oldest {
            return Ok(None);
        }
        pending.bytes.set(pending.bytes.get() + len);
        self.bytes.set(self.bytes.get() + len);
        row.value = match found.value {
            FoundValue::Inline(value) => value,
            FoundValue::Blob(blob) => {
                let bytes = reader.blob(&pending.version, blob, row_key, IoClass::Foreground).await?;
                let value = bytes.record().and_then(|record| record.value().map(<[u8]>::to_vec));
                value.map_err(|source| reader.damaged_blob(&pending.version, blob, source))?
            }
        };
        Ok(Some(Told::Whole(row)))
    }
}

/// Reads a run of rows until there are as many as wanted, and no more than must be read beyond that to come to a place at which a look at rows
/// may stop.
async fn read_range<D: Disk>(reader: &Reader<D>, version: &Version, range: RowRange) -> Result<ReadRows, lsm::Error> {
    let mut cursor = VersionCursor::of_version(version);
    cursor.seek(Target::From(&first_row_key(range.from)));
    let mut rows: Vec<(Box<[u8]>, ReadRow)> = Vec::new();
    loop {
        reader.settle(&mut cursor).await?;
        let Some(row) = cursor.row() else { return Ok(ReadRows::Range(rows, None)) };
        let Some((slot, hash, _)) = head_parts(row.key) else {
            cursor.next();
            continue;
        };
        let at = position(slot.idx(), hash);
        if at >= range.to {
            return Ok(ReadRows::Range(rows, None));
        }
        let stop = stop_before(at);
        if rows.len() >= range.rows_max && stop > range.from && last_position(&rows).is_some_and(|last| last < stop) {
            return Ok(ReadRows::Range(rows, Some(stop)));
        }
        if let Content::Put(put) = row.content {
            let read = ReadRow { kind: put.value_type, expiry_ms: put.expiry_ms, value: Vec::new() };
            rows.push((row.key.into(), read));
        }
        cursor.next();
    }
}

fn last_position(rows: &[(Box<[u8]>, ReadRow)]) -> Option<u64> {
    let (slot, hash, _) = head_parts(&rows.last()?.0)?;
    Some(position(slot.idx(), hash))
}

/// The least row key of a position.
fn first_row_key(at: u64) -> Vec<u8> {
    let mut row_key = Vec::new();
    let (slot, hash) = ((at >> 48) as u16, at & ((1 << 48) - 1));
    head_key(Slot::new(slot).unwrap_or(Slot::MAX), hash, b"", &mut row_key);
    row_key
}
