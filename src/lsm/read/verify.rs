//! Checking a version from its first byte to its last: a scrub, or what another replica has sent.

use std::rc::Rc;

use host::{Disk, IoClass};

use crate::blob::BlobChecker;
use crate::error::{Error, FormatError};
use crate::files::Files;
use crate::pace::Pace;
use crate::table::TableChecker;
use crate::version::{PlacedBlob, PlacedTable, Version};

use super::read_ahead::{READS_COUNT_MAX, ReadAhead};
use super::reader::Reader;

/// Bytes that are checked in one go.
const SLICE_BYTES: usize = 32 << 10;

/// What was checked and is sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Tables.
    pub tables: u64,
    /// Rows of the tables, tombstones included.
    pub rows: u64,
    /// Blob files.
    pub blob_files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// Reads all tables and blob files of a version and checks all that can be: every checksum, that rows ascend, that
/// indexes, filters and counts are those of the rows. The error names the file, and where what is damaged begins in it.
///
/// Tables of which parts have been merged into others are checked whole. That rows lead to values which are there is
/// not checked.
pub async fn verify<D: Disk, P: Pace>(
    reader: &Reader<D>,
    version: &Version,
    class: IoClass,
    pace: &P,
) -> Result<Verified, Error> {
    let mut parts: Vec<Part<'_>> = version.tables().map(|table| Part::Table(table)).collect();
    parts.extend(version.blobs().map(|live| Part::Blob(&live.blob)));
    parts.sort_by_key(Part::place);
    let (files, mut verified) = (reader.files(), Verified::default());
    for part in parts {
        let (number, base, len) = part.place();
        match part {
            Part::Table(table) => {
                let checker = TableChecker::new(Rc::clone(&table.info));
                check(files, (number, base, len), checker, class, pace).await?;
                verified.tables += 1;
                verified.rows += table.info.properties.rows;
            }
            Part::Blob(blob) => {
                check(files, (number, base, len), BlobChecker::new(blob.info), class, pace).await?;
                verified.blob_files += 1;
            }
        }
        verified.bytes += len;
    }
    Ok(verified)
}

enum Part<'a> {
    Table(&'a PlacedTable),
    Blob(&'a PlacedBlob),
}

impl Part<'_> {
    /// Number of the file, base in it, length: the order in which the disk is read.
    fn place(&self) -> (u64, u64, u64) {
        match self {
            Part::Table(table) => (table.file.number(), table.base, table.info.len),
            Part::Blob(blob) => (blob.file.number(), blob.base, blob.info.len),
        }
    }
}

/// What takes the bytes of a table or a blob file one after another.
trait Checker {
    fn push(&mut self, bytes: &[u8]) -> Result<(), FormatError>;
    fn finish(self) -> Result<(), FormatError>;
    fn offset(&self) -> u64;
}

impl Checker for TableChecker {
    fn push(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        TableChecker::push(self, bytes)
    }

    fn finish(self) -> Result<(), FormatError> {
        TableChecker::finish(self)
    }

    fn offset(&self) -> u64 {
        TableChecker::offset(self)
    }
}

impl Checker for BlobChecker {
    fn push(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        BlobChecker::push(self, bytes)
    }

    fn finish(self) -> Result<(), FormatError> {
        BlobChecker::finish(self)
    }

    fn offset(&self) -> u64 {
        BlobChecker::offset(self)
    }
}

async fn check<D: Disk, P: Pace>(
    files: &Rc<Files<D>>,
    (number, base, len): (u64, u64, u64),
    mut checker: impl Checker,
    class: IoClass,
    pace: &P,
) -> Result<(), Error> {
    let damaged = |offset: u64, source| files.damaged(number, base.saturating_add(offset), source);
    let Some(end) = base.checked_add(len) else {
        return Err(damaged(0, FormatError::Malformed("a part beyond all files")));
    };
    let mut reads = ReadAhead::new(Rc::clone(files), number, (class, READS_COUNT_MAX), std::iter::once(base..end));
    while let Some(read) = reads.next().await {
        for slice in read?.1.bytes().chunks(SLICE_BYTES) {
            checker.push(slice).map_err(|source| damaged(checker.offset(), source))?;
            pace.pause(slice.len()).await;
        }
    }
    let offset = checker.offset();
    checker.finish().map_err(|source| damaged(offset, source))
}
