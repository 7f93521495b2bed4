//! Reading from disk what lookups and cursors need.

use std::cell::RefCell;
use std::rc::Rc;

use host::{Disk, IoClass};

use crate::blob::{BlobRecord, RECORD_HEAD_BYTES, record_bytes};
use crate::error::{Error, FormatError};
use crate::files::{Files, ReadBytes};
use crate::table::{BlobRef, Content, TableAnswer, TableLookup, Unit, Value};
use crate::version::{LiveBlob, Version};

use super::cache::{CacheLimits, UnitCache};
use super::need::Need;
use super::version_cursor::{Progress, VersionCursor};

/// A row that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The type of the value.
    pub value_type: u8,
    /// Unix time in milliseconds as of which the row is gone. It is shown also if that has passed.
    pub expiry_ms: Option<u64>,
    /// The value.
    pub value: FoundValue,
}

/// The value of a row, or where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundValue {
    /// The bytes.
    Inline(Vec<u8>),
    /// In a blob file.
    Blob(BlobRef),
}

/// Reads units and blobs of the tables of a store.
pub struct Reader<D: Disk> {
    files: Rc<Files<D>>,
    cache: RefCell<UnitCache>,
}

impl<D: Disk> Reader<D> {
    /// Reads these files, and keeps no more of them than that.
    pub fn new(files: Rc<Files<D>>, limits: CacheLimits) -> Reader<D> {
        Reader { files, cache: RefCell::new(UnitCache::new(limits)) }
    }

    /// The files.
    pub fn files(&self) -> &Rc<Files<D>> {
        &self.files
    }

    /// What is kept.
    pub fn cache(&self) -> &RefCell<UnitCache> {
        &self.cache
    }

    /// A unit that is kept: without waiting.
    pub fn cached(&self, need: &Need) -> Option<Unit> {
        self.cache.borrow_mut().get(need.unit.kind, need.table.info.id, need.unit.offset)
    }

    /// A unit, which is kept if it was read.
    pub async fn unit(&self, need: &Need) -> Result<Unit, Error> {
        if let Some(unit) = self.cached(need) {
            return Ok(unit);
        }
        let unit = self.read_unit(need, IoClass::Foreground).await?;
        let Need { table, unit: at } = need;
        self.cache.borrow_mut().insert(at.kind, table.info.id, at.offset, unit.clone());
        Ok(unit)
    }

    /// A unit for whoever reads all there is: it is not kept, so that what others need stays.
    pub async fn unit_once(&self, need: &Need, class: IoClass) -> Result<Unit, Error> {
        match self.cached(need) {
            Some(unit) => Ok(unit),
            None => self.read_unit(need, class).await,
        }
    }

    async fn read_unit(&self, Need { table, unit }: &Need, class: IoClass) -> Result<Unit, Error> {
        let number = table.file.number();
        let Some(offset) = table.base.checked_add(unit.offset) else {
            return Err(self.files.damaged(number, table.base, FormatError::Malformed("a unit beyond all files")));
        };
        let read = self.files.read(number, offset, unit.len as usize, class).await?;
        let decoded = Unit::decode(read.bytes(), table.info.id, *unit);
        decoded.map_err(|source| self.files.damaged(number, offset, source))
    }

    /// What a version says of a row key; `None` if the row is not there.
    pub async fn get(&self, version: &Version, key: &[u8]) -> Result<Option<Found>, Error> {
        for run in version.runs() {
            let Some(table) = run.find(key).and_then(|idx| run.tables().get(idx)) else { continue };
            let mut lookup = TableLookup::new(Rc::clone(&table.info), key);
            let answer = loop {
                match lookup.poll() {
                    Ok(answer) => break answer,
                    Err(unit) => lookup.supply(self.unit(&Need { table: Rc::clone(table), unit }).await?),
                }
            };
            match &answer {
                TableAnswer::Nothing => {}
                TableAnswer::Deleted => return Ok(None),
                TableAnswer::Row(_) => return Ok(answer.row().and_then(|row| found(row.content))),
            }
        }
        Ok(None)
    }

    /// Lets a cursor arrive.
    pub async fn settle(&self, cursor: &mut VersionCursor) -> Result<(), Error> {
        loop {
            match cursor.poll() {
                Progress::Arrived => return Ok(()),
                Progress::Busy => {}
                Progress::Need(need) => cursor.supply(self.unit(&need).await?),
            }
        }
    }

    /// The record of a value in a blob file, of which all but the value was checked.
    pub async fn blob(
        &self,
        version: &Version,
        blob: BlobRef,
        key: &[u8],
        class: IoClass,
    ) -> Result<BlobBytes, Error> {
        let Some(live) = version.blob(blob.file) else {
            let source = FormatError::Malformed("a row leads to a blob file that is not there");
            return Err(self.damaged_blob(version, blob, source));
        };
        let len = record_bytes(key.len(), blob.len as usize);
        let is_inside = blob.offset.checked_add(len as u64).is_some_and(|end| end <= live.blob.info.len);
        let Some(offset) = live.blob.base.checked_add(blob.offset).filter(|_| is_inside) else {
            return Err(self.damaged_blob(version, blob, FormatError::Truncated));
        };
        let read = self.files.read(live.blob.file.number(), offset, len, class).await?;
        let bytes = BlobBytes { read, blob, key: key.to_vec() };
        bytes.record().map_err(|source| self.damaged_blob(version, blob, source))?;
        Ok(bytes)
    }

    /// That a record of a blob file is damaged.
    pub fn damaged_blob(&self, version: &Version, blob: BlobRef, source: FormatError) -> Error {
        match version.blob(blob.file) {
            Some(LiveBlob { blob: placed, .. }) => {
                self.files.damaged(placed.file.number(), placed.base.saturating_add(blob.offset), source)
            }
            None => Error::Damaged { path: self.files.path(&blob.file.to_string()), offset: blob.offset, source },
        }
    }
}

/// A record of a blob file that was read.
pub struct BlobBytes {
    read: ReadBytes,
    blob: BlobRef,
    key: Vec<u8>,
}

impl BlobBytes {
    /// The record, whose value is checked piece by piece.
    pub fn record(&self) -> Result<BlobRecord<'_>, FormatError> {
        BlobRecord::open(self.read.bytes(), self.blob, &self.key)
    }

    /// The value, all pieces of which the caller has checked.
    pub(super) fn checked_value(&self) -> &[u8] {
        let begin = RECORD_HEAD_BYTES + self.key.len();
        self.read.bytes().get(begin..begin + self.blob.len as usize).unwrap_or_default()
    }
}

fn found(content: Content<'_>) -> Option<Found> {
    let Content::Put(put) = content else { return None };
    let value = match put.value {
        Value::Inline(value) => FoundValue::Inline(value.to_vec()),
        Value::Blob(blob) => FoundValue::Blob(blob),
    };
    Some(Found { value_type: put.value_type, expiry_ms: put.expiry_ms, value })
}
