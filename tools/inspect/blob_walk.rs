//! Going over the records of a blob file without the rows that lead into it.

use std::io::ErrorKind;

use futures_lite::future::block_on;
use host::{ALIGNMENT, IoClass};
use lsm::blob::{BlobHeader, BlobRecord, HEADER_BYTES, RECORD_HEAD_BYTES, record_bytes, record_lens};
use lsm::files::ReadBytes;
use lsm::table::BlobRef;
use lsm::version::PlacedBlob;
use lsm::{Error, FileId, FormatError};

use crate::progress::Progress;
use crate::store::Store;

/// Where a blob file lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobPlace {
    /// Number of the file of this store.
    pub(crate) number: u64,
    /// Offset of the blob file's first byte in it.
    pub(crate) base: u64,
    /// Length of the blob file in bytes.
    pub(crate) len: u64,
}

/// A record of a blob file.
pub(crate) struct Record<'a> {
    pub(crate) offset: u64,
    pub(crate) key: &'a [u8],
    pub(crate) value_bytes: u32,
}

/// What a walk has come over.
pub(crate) struct BlobWalk {
    /// The file, as its header calls it.
    pub(crate) id: FileId,
    /// Records whose values are sound.
    pub(crate) records_count: u64,
    /// Bytes of their values.
    pub(crate) value_bytes: u64,
    /// Up to where records could be found.
    pub(crate) end: u64,
    /// What could not be read.
    pub(crate) errors: Vec<Error>,
}

impl BlobPlace {
    pub(crate) fn of(blob: &PlacedBlob) -> BlobPlace {
        BlobPlace { number: blob.file.number(), base: blob.base, len: blob.info.len }
    }

    /// That it is damaged at an offset.
    pub(crate) fn damaged(&self, store: &Store, offset: u64, source: FormatError) -> Error {
        store.files().damaged(self.number, self.base.saturating_add(offset), source)
    }

    /// Bytes at an offset.
    pub(crate) fn read(&self, store: &Store, offset: u64, len: usize) -> Result<ReadBytes, Error> {
        let is_inside = offset.checked_add(len as u64).is_some_and(|end| end <= self.len);
        match self.base.checked_add(offset).filter(|_| is_inside) {
            Some(at) => block_on(store.files().read(self.number, at, len, IoClass::Scrub)),
            None => Err(self.damaged(store, offset, FormatError::Truncated)),
        }
    }

    /// The file as its header calls it.
    pub(crate) fn id(&self, store: &Store) -> Result<FileId, Error> {
        let read = self.read(store, 0, HEADER_BYTES)?;
        let header = BlobHeader::decode(read.bytes()).map_err(|source| self.damaged(store, 0, source))?;
        Ok(header.file)
    }

    /// Goes over all records and checks every byte of them.
    pub(crate) fn walk(
        &self,
        store: &Store,
        progress: &Progress,
        mut visit: impl FnMut(&Record<'_>),
    ) -> Result<BlobWalk, Error> {
        let (id, end) = (self.id(store)?, HEADER_BYTES as u64);
        let mut walk = BlobWalk { id, records_count: 0, value_bytes: 0, end, errors: Vec::new() };
        let mut is_last_bad = false;
        loop {
            let (key_len, value_len) = match self.lens_at(store, walk.end) {
                Ok(Some(lens)) => lens,
                Ok(None) => break,
                Err(error) => {
                    walk.errors.push(error);
                    break;
                }
            };
            let blob = BlobRef { file: id, offset: walk.end, len: value_len };
            match self.check_record(store, blob, key_len as usize, &mut visit) {
                Ok(()) => {
                    walk.records_count += 1;
                    walk.value_bytes += u64::from(value_len);
                    is_last_bad = false;
                }
                Err(error) => {
                    walk.errors.push(error);
                    // With wrong lengths nobody knows where the next one begins.
                    if std::mem::replace(&mut is_last_bad, true) {
                        break;
                    }
                }
            }
            let bytes = record_bytes(key_len as usize, value_len as usize) as u64;
            progress.advance(bytes);
            walk.end += bytes;
        }
        if walk.errors.is_empty() && self.len.saturating_sub(walk.end) >= ALIGNMENT as u64 {
            let source = FormatError::Malformed("the records end, and the file goes on");
            walk.errors.push(self.damaged(store, walk.end, source));
        }
        Ok(walk)
    }

    /// The lengths of key and value of the record at an offset; `None` behind the last one.
    fn lens_at(&self, store: &Store, offset: u64) -> Result<Option<(u32, u32)>, Error> {
        if offset + RECORD_HEAD_BYTES as u64 > self.len {
            // The records end with the file, or, if it was cut off, before.
            return match self.len.is_multiple_of(ALIGNMENT as u64) && offset <= self.len {
                true => Ok(None),
                false => Err(self.damaged(store, offset, FormatError::Truncated)),
            };
        }
        let read = self.read(store, offset, RECORD_HEAD_BYTES)?;
        record_lens(read.bytes()).map_err(|source| self.damaged(store, offset, source))
    }

    fn check_record(
        &self,
        store: &Store,
        blob: BlobRef,
        key_len: usize,
        visit: &mut impl FnMut(&Record<'_>),
    ) -> Result<(), Error> {
        let read = self.read(store, blob.offset, record_bytes(key_len, blob.len as usize))?;
        let damaged = |source| self.damaged(store, blob.offset, source);
        let key = read.bytes().get(RECORD_HEAD_BYTES..RECORD_HEAD_BYTES + key_len);
        let key = key.ok_or_else(|| damaged(FormatError::Truncated))?;
        BlobRecord::open(read.bytes(), blob, key).and_then(|record| record.value()).map_err(damaged)?;
        visit(&Record { offset: blob.offset, key, value_bytes: blob.len });
        Ok(())
    }

    /// Checks the value that a row leads to. What lies before `end` was read when the file was gone over: of that only the
    /// beginning is compared with the row.
    pub(crate) fn check_value(&self, store: &Store, end: u64, blob: BlobRef, key: &[u8]) -> Result<(), Error> {
        let damaged = |source| self.damaged(store, blob.offset, source);
        let read = self.read(store, blob.offset, RECORD_HEAD_BYTES + key.len())?;
        let (head, found) = read.bytes().split_at_checked(RECORD_HEAD_BYTES).unwrap_or_default();
        let lens = record_lens(head).ok().flatten();
        if found != key || lens.is_none_or(|(key_len, len)| (key_len as usize, len) != (key.len(), blob.len)) {
            return Err(damaged(FormatError::Malformed("the record that a row leads to is that of another row")));
        }
        if blob.offset < end {
            return Ok(());
        }
        let read = self.read(store, blob.offset, record_bytes(key.len(), blob.len as usize))?;
        let checked = BlobRecord::open(read.bytes(), blob, key).and_then(|record| record.value());
        checked.map(|_| ()).map_err(damaged)
    }
}

/// Whether a file of tables or blobs begins as blob files do; `None` if it cannot be read.
pub(crate) fn is_blob_file(store: &Store, number: u64) -> Option<bool> {
    match block_on(store.files().read(number, 0, HEADER_BYTES, IoClass::Scrub)) {
        Ok(read) => Some(!matches!(BlobHeader::decode(read.bytes()), Err(FormatError::Magic))),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::UnexpectedEof => Some(false),
        Err(_) => None,
    }
}
