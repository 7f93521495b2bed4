//! A file that tables are written to, one behind another.

use std::rc::Rc;

use host::{Disk, IoClass};

use crate::error::Error;
use crate::ids::TableId;
use crate::pending::Chunk;
use crate::version::NamedFile;

use super::output::{Output, SyncedWriter};

/// A file being written. Small groups share one: each adds its tables behind those of the one before.
pub struct TableFile<D: Disk> {
    named: Rc<NamedFile>,
    writer: SyncedWriter<D>,
    /// Where the next table begins.
    end: u64,
}

impl<D: Disk> TableFile<D> {
    /// A new one, with so many bytes reserved; beyond them it grows.
    pub async fn create(output: &Output<D>, reserved: u64, class: IoClass) -> Result<TableFile<D>, Error> {
        let (named, writer) = output.create(reserved, class).await?;
        Ok(TableFile { named, writer, end: 0 })
    }

    /// Bytes of its tables.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    pub(super) fn named(&self) -> &Rc<NamedFile> {
        &self.named
    }

    /// The id of the table that begins at its end.
    pub(super) fn table_id(&self, output: &Output<D>) -> TableId {
        TableId { file: output.file_id(&self.named), offset: self.end }
    }

    /// Writes a chunk of the table at its end.
    pub(super) async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.writer.write(self.end, chunk).await
    }

    /// Ends the file: all of its tables are on stable storage, and what was reserved beyond them is free.
    pub async fn finish(self) -> Result<(), Error> {
        self.writer.finish(self.end).await
    }

    /// Ends the table at its end, of so many bytes. Returns where it began.
    pub(super) fn end_table(&mut self, len: u64) -> u64 {
        let base = self.end;
        self.end += len;
        base
    }
}
