//! Where tables are written to, and how fast.

use std::rc::Rc;

use host::{Disk, IoClass};

use crate::error::Error;
use crate::files::{FileWriter, Files};
use crate::ids::FileId;
use crate::pending::Chunk;
use crate::table::TableSettings;
use crate::table::stored_row::INLINE_VALUE_BYTES_MAX;
use crate::version::{FileSet, NamedFile};

/// How runs are written.
#[derive(Clone, Copy, Debug)]
pub struct WriteSettings {
    /// How tables are made.
    pub table: TableSettings,
    /// Bytes of a table behind which another one is begun, in a file of its own.
    pub table_bytes_max: u64,
    /// Values of so many bytes go into blob files.
    pub blob_value_bytes_min: usize,
    /// Bytes of a blob file behind which another one is begun.
    pub blob_file_bytes_max: u64,
    /// Bytes behind which what was written is synced, rather than all at once in the end: a device that has much to
    /// write out lets others wait.
    pub sync_bytes: u64,
}

impl Default for WriteSettings {
    fn default() -> WriteSettings {
        WriteSettings {
            table: TableSettings::default(),
            table_bytes_max: 64 << 20,
            blob_value_bytes_min: 16 << 10,
            blob_file_bytes_max: 256 << 20,
            sync_bytes: 2 << 20,
        }
    }
}

/// Where the tables and blob files of a store are written to.
pub struct Output<D: Disk> {
    files: Rc<Files<D>>,
    set: FileSet,
    store: u64,
    /// How.
    pub settings: WriteSettings,
}

impl<D: Disk> Output<D> {
    /// Into these files, of which the store with this id keeps the set.
    ///
    /// # Panics
    /// If longer values are to lie in tables than tables take.
    pub fn new(files: Rc<Files<D>>, set: FileSet, store: u64, settings: WriteSettings) -> Output<D> {
        let is_sound = (1..=INLINE_VALUE_BYTES_MAX + 1).contains(&settings.blob_value_bytes_min);
        assert!(is_sound, "values of {} bytes in tables", settings.blob_value_bytes_min);
        Output { files, set, store, settings }
    }

    /// A file that did not exist before, with so many bytes reserved. It is deleted once nobody names it.
    pub(super) async fn create(
        &self,
        reserved: u64,
        class: IoClass,
    ) -> Result<(Rc<NamedFile>, SyncedWriter<D>), Error> {
        let (named, writer) = self.create_raw(reserved, class).await?;
        Ok((named, SyncedWriter { writer, unsynced_bytes: 0, sync_bytes: self.settings.sync_bytes }))
    }

    /// A file that did not exist before, with so many bytes reserved, for bytes that others have made: tables and blob
    /// files of another replica. The caller chooses when they are synced. The file is deleted once nobody names it.
    pub async fn create_raw(&self, reserved: u64, class: IoClass) -> Result<(Rc<NamedFile>, FileWriter<D>), Error> {
        let named = self.set.give().ok_or(Error::NumbersExhausted)?;
        let writer = self.files.create(named.number(), reserved, class).await?;
        Ok((named, writer))
    }

    /// Puts the names of all files that were made on stable storage: the last thing before the manifest names them.
    pub async fn sync_names(&self) -> Result<(), Error> {
        self.files.sync_names().await
    }

    /// The id of a file written here.
    pub(super) fn file_id(&self, named: &NamedFile) -> FileId {
        FileId { store: self.store, number: named.number() }
    }
}

/// A file being written, and synced every so many bytes.
pub(super) struct SyncedWriter<D: Disk> {
    writer: FileWriter<D>,
    unsynced_bytes: u64,
    sync_bytes: u64,
}

impl<D: Disk> SyncedWriter<D> {
    /// Writes a chunk of what begins at `base`.
    pub(super) async fn write(&mut self, base: u64, chunk: Chunk) -> Result<(), Error> {
        self.unsynced_bytes += chunk.buf.len() as u64;
        self.writer.write_chunk(base, chunk).await?;
        if self.unsynced_bytes >= self.sync_bytes {
            self.writer.sync().await?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Ends the file: it has this length, and all of it is on stable storage.
    pub(super) async fn finish(&self, len: u64) -> Result<(), Error> {
        self.writer.finish(len).await
    }
}
