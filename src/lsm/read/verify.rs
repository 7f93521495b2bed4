//! Checking a version from its first byte to its last: a scrub, or what another replica has sent.

use std::rc::Rc;

use host::{Disk, IoClass};

use crate::blob::BlobChecker;
use crate::error::{Error, FormatError};
use crate::files::Files;
use crate::pace::Pace;
use crate::table::TableChecker;
use crate::version::{PlacedBlob, PlacedTable, Version};

use super::read_ahead::{READ_AHEAD_BYTES_MAX, READS_COUNT_MAX, ReadAhead};
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
    let mut parts: Vec<Part> = Part::all(version).collect();
    parts.sort_by_key(Part::place);
    let mut verified = Verified::default();
    for part in parts {
        part.verify(reader.files(), class, pace).await?;
        match &part {
            Part::Table(table) => {
                verified.tables += 1;
                verified.rows += table.info.properties.rows;
            }
            Part::Blob(_) => verified.blob_files += 1,
        }
        verified.bytes += part.bytes();
    }
    Ok(verified)
}

/// Where a part of a version lies: the number of its file, and its first byte there. In this order the disk is read.
pub type PartPlace = (u64, u64);

/// A table or a blob file of a version. Its file stays as long as somebody has it.
#[derive(Clone)]
pub enum Part {
    /// A table.
    Table(Rc<PlacedTable>),
    /// A blob file.
    Blob(Rc<PlacedBlob>),
}

impl Part {
    /// The first part of a version that lies behind a place, or first of all. Takes time in proportion to the version's parts, a few
    /// nanoseconds for each.
    pub fn next_behind(version: &Version, behind: Option<PartPlace>) -> Option<Part> {
        Part::all(version).filter(|part| behind.is_none_or(|behind| part.place() > behind)).min_by_key(Part::place)
    }

    /// Where the last part of a version lies; `None` if it has none.
    pub fn last_place(version: &Version) -> Option<PartPlace> {
        Part::all(version).map(|part| part.place()).max()
    }

    fn all(version: &Version) -> impl Iterator<Item = Part> {
        let tables = version.tables().map(|table| Part::Table(Rc::clone(table)));
        tables.chain(version.blobs().map(|live| Part::Blob(Rc::clone(&live.blob))))
    }

    /// Where it lies.
    pub fn place(&self) -> PartPlace {
        match self {
            Part::Table(table) => (table.file.number(), table.base),
            Part::Blob(blob) => (blob.file.number(), blob.base),
        }
    }

    /// Whether a version consists of it, among others.
    pub fn is_of(&self, version: &Version) -> bool {
        Part::all(version).any(|part| part.place() == self.place())
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Part::Table(table) => table.info.len,
            Part::Blob(blob) => blob.info.len,
        }
    }

    /// Memory for reading it ahead while it is checked, in bytes.
    pub fn memory_bytes(&self) -> usize {
        usize::try_from(self.bytes()).unwrap_or(usize::MAX).min(READ_AHEAD_BYTES_MAX)
    }

    /// Reads it from its first byte to its last and checks all that can be.
    ///
    /// # Errors
    /// It cannot be read, or is damaged: the error names the file, and where what is damaged begins in it.
    pub async fn verify<D: Disk, P: Pace>(
        &self,
        files: &Rc<Files<D>>,
        class: IoClass,
        pace: &P,
    ) -> Result<(), Error> {
        let (number, base) = self.place();
        let place = (number, base, self.bytes());
        match self {
            Part::Table(table) => check(files, place, TableChecker::new(Rc::clone(&table.info)), class, pace).await,
            Part::Blob(blob) => check(files, place, BlobChecker::new(blob.info), class, pace).await,
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
