//! All live rows of a version, from the first to the last, at the speed of the disk.

use std::rc::Rc;

use host::{Disk, IoClass};

use crate::error::Error;
use crate::pace::Pace;
use crate::table::{BlobRef, Content, Put, StoredRow, Value};
use crate::version::Version;

use super::need::Target;
use super::reader::{BlobBytes, Reader};
use super::runs_ahead::RunsAhead;
use super::version_cursor::{Progress, VersionCursor};

/// How a version is scanned.
#[derive(Clone, Copy, Debug)]
pub struct ScanSettings {
    /// What the reads are for.
    pub class: IoClass,
    /// Replicated time, Unix time in ms: single rows whose time has come by it are passed over.
    pub time_ms: u64,
    /// Whether a head of this type has no elements. Others are shown also if their time has come, since their elements
    /// are there.
    pub is_single_row: fn(u8) -> bool,
}

/// A row with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedRow<'a> {
    /// The row key.
    pub key: &'a [u8],
    /// The type of the value.
    pub value_type: u8,
    /// Unix time in milliseconds as of which the row is gone.
    pub expiry_ms: Option<u64>,
    /// The value, wherever it lay.
    pub value: &'a [u8],
}

/// A walk over all live rows of a version by ascending keys.
///
/// It reads each run ahead ([`RunsAhead`] tells what memory that takes), and holds the longest value. The caller takes row after row
/// and pauses when it likes: nothing of what it has not taken is decoded, but for a block.
pub struct Scan<'a, D: Disk> {
    reader: &'a Reader<D>,
    version: Rc<Version>,
    settings: ScanSettings,
    cursor: VersionCursor,
    ahead: RunsAhead<D>,
    /// The value of the row, if it lies in a blob file. All of it was checked.
    blob: Option<BlobBytes>,
    has_begun: bool,
}

impl<'a, D: Disk> Scan<'a, D> {
    /// Before the first row.
    pub fn new(reader: &'a Reader<D>, version: Rc<Version>, settings: ScanSettings) -> Scan<'a, D> {
        let cursor = VersionCursor::of_version(&version);
        let ahead = RunsAhead::new(version.runs().len(), settings.class);
        Scan { reader, version, settings, cursor, ahead, blob: None, has_begun: false }
    }

    /// The next row; `None` behind the last.
    pub async fn next<P: Pace>(&mut self, pace: &P) -> Result<Option<ScannedRow<'_>>, Error> {
        if !self.has_begun {
            self.cursor.seek(Target::First);
            self.has_begun = true;
        } else {
            self.cursor.next();
        }
        self.blob = None;
        loop {
            self.settle(pace).await?;
            let Some(row) = self.cursor.row() else { return Ok(None) };
            if !self.is_live(&row) {
                self.cursor.next();
                continue;
            }
            if let Content::Put(Put { value: Value::Blob(blob), .. }) = row.content {
                self.read_blob(blob, pace).await?;
            }
            return Ok(self.row());
        }
    }

    fn is_live(&self, row: &StoredRow<'_>) -> bool {
        match row.content {
            Content::Tombstone => false,
            Content::Put(put) => !row.is_due(self.settings.time_ms) || !(self.settings.is_single_row)(put.value_type),
        }
    }

    fn row(&self) -> Option<ScannedRow<'_>> {
        let row = self.cursor.row()?;
        let Content::Put(put) = row.content else { return None };
        let value = match (put.value, &self.blob) {
            (Value::Inline(value), _) => value,
            (Value::Blob(_), blob) => blob.as_ref()?.checked_value(),
        };
        Some(ScannedRow { key: row.key, value_type: put.value_type, expiry_ms: put.expiry_ms, value })
    }

    /// Reads the value of the row the cursor is on, which lies in a blob file.
    async fn read_blob<P: Pace>(&mut self, blob: BlobRef, pace: &P) -> Result<(), Error> {
        let Some(row) = self.cursor.row() else { return Ok(()) };
        let bytes = self.reader.blob(&self.version, blob, row.key, self.settings.class).await?;
        let damaged = |source| self.reader.damaged_blob(&self.version, blob, source);
        let record = bytes.record().map_err(damaged)?;
        for idx in 0..record.pieces_count() {
            let piece = record.piece(idx).map_err(damaged)?;
            pace.pause(piece.len()).await;
        }
        self.blob = Some(bytes);
        Ok(())
    }

    async fn settle<P: Pace>(&mut self, pace: &P) -> Result<(), Error> {
        loop {
            match self.cursor.poll() {
                Progress::Arrived => return Ok(()),
                Progress::Busy => pace.pause(0).await,
                Progress::Need(need) => {
                    let unit = self.ahead.unit(self.reader, &self.cursor, &need).await?;
                    self.cursor.supply(unit);
                    pace.pause(need.unit.len as usize).await;
                }
            }
        }
    }
}
