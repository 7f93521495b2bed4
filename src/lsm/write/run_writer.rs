//! Writing a run: rows and range tombstones by ascending keys, cut into tables.

use std::rc::Rc;

use host::{ALIGNMENT, Disk, IoClass};

use crate::blob::BlobRecord;
use crate::error::{Error, FormatError};
use crate::pace::Pace;
use crate::table::{BlobRef, Content, KeyRange, Put, StoredRow, TableBuilder, Value};
use crate::version::{NamedFile, NewBlob, NewTable};

use super::blob_writer::BlobWriter;
use super::output::Output;
use super::table_file::TableFile;

/// Bytes of rows between two pauses.
const SLICE_BYTES: usize = 32 << 10;

/// What was written of a run. Its files are named as long as it is there, and deleted if no version names them then.
pub struct WrittenRun {
    /// The tables, by ascending keys.
    pub tables: Vec<NewTable>,
    /// The blob files.
    pub blobs: Vec<NewBlob>,
    named: Vec<Rc<NamedFile>>,
}

impl WrittenRun {
    /// The files that are named by this.
    pub fn named(&self) -> &[Rc<NamedFile>] {
        &self.named
    }
}

/// A run being written. Durable when the file that [`RunWriter::finish`] returns is finished, and the names are synced.
pub struct RunWriter<D: Disk, P: Pace> {
    output: Rc<Output<D>>,
    pace: P,
    class: IoClass,
    /// Bytes of tables that are still expected, for which room is reserved.
    expected_bytes: u64,
    /// The file of the table being written, or of the next one.
    file: Option<TableFile<D>>,
    builder: Option<TableBuilder>,
    /// The last range tombstone, which a later one may make longer, or a cut shorter.
    range: Option<KeyRange>,
    blobs: BlobWriter<D>,
    written: WrittenRun,
    /// Bytes of rows since the last pause.
    slice_bytes: usize,
    /// By which time what has expired is dropped, if a merge writes.
    merged_ms: u64,
}

impl<D: Disk, P: Pace> RunWriter<D, P> {
    /// An empty run, whose first table goes to the end of a file, if there is one.
    pub fn new(output: Rc<Output<D>>, pace: P, class: IoClass, file: Option<TableFile<D>>) -> RunWriter<D, P> {
        let written = WrittenRun { tables: Vec::new(), blobs: Vec::new(), named: Vec::new() };
        let blobs = BlobWriter::new(class);
        RunWriter {
            output,
            pace,
            class,
            expected_bytes: 0,
            file,
            builder: None,
            range: None,
            blobs,
            written,
            slice_bytes: 0,
            merged_ms: 0,
        }
    }

    /// Says how many bytes of tables will come, about, so that room is reserved for them.
    pub fn expect(&mut self, bytes: u64) {
        self.expected_bytes = bytes;
    }

    /// Says that a merge writes, and by which time it drops what has expired.
    pub fn set_merged_ms(&mut self, time_ms: u64) {
        self.merged_ms = time_ms;
    }

    /// Appends a row. A long value goes into a blob file; it may be longer than a table takes.
    ///
    /// # Panics
    /// If its key is not greater than the last one.
    pub async fn push(&mut self, mut row: StoredRow<'_>) -> Result<(), Error> {
        if let Content::Put(Put { value: Value::Inline(value), value_type, expiry_ms }) = row.content
            && value.len() >= self.output.settings.blob_value_bytes_min
        {
            let blob = self.blobs.put(&self.output, &self.pace, row.key, value).await?;
            row.content = Content::Put(Put { value_type, expiry_ms, value: Value::Blob(blob) });
        }
        if self.is_table_full() {
            self.cut(row.key).await?;
        }
        let builder = self.begin_table().await?;
        let len = builder.len();
        builder.push(row);
        self.slice_bytes += row.key.len() + usize::try_from(builder.len() - len).unwrap_or(usize::MAX);
        self.write_chunks().await?;
        if self.slice_bytes >= SLICE_BYTES {
            self.pace.pause(std::mem::take(&mut self.slice_bytes)).await;
        }
        Ok(())
    }

    /// Writes the value of a record to a blob file of this run. A damaged one gives an error of its own.
    pub async fn copy_blob(
        &mut self,
        key: &[u8],
        record: &BlobRecord<'_>,
        len: u32,
    ) -> Result<Result<BlobRef, FormatError>, Error> {
        self.blobs.copy(&self.output, &self.pace, key, (record, len)).await
    }

    /// Deletes a range of keys in older runs. Ranges come by ascending beginnings, and each before the rows behind its
    /// beginning.
    pub async fn delete_range(&mut self, range: &KeyRange) -> Result<(), Error> {
        if range.from >= range.to {
            return Ok(());
        }
        if let Some(last) = &mut self.range
            && range.from <= last.to
        {
            if range.to > last.to {
                range.to.clone_into(&mut last.to);
            }
            return Ok(());
        }
        if self.is_table_full() {
            self.cut(&range.from).await?;
        }
        self.put_range().await?;
        self.range = Some(range.clone());
        Ok(())
    }

    fn is_table_full(&self) -> bool {
        let Some(builder) = &self.builder else { return false };
        builder.len() >= self.output.settings.table_bytes_max || builder.is_full()
    }

    async fn begin_table(&mut self) -> Result<&mut TableBuilder, Error> {
        if self.builder.is_none() {
            let file = match self.file.take() {
                Some(file) => file,
                None => {
                    let reserved = self.expected_bytes.min(self.output.settings.table_bytes_max);
                    let reserved = reserved.next_multiple_of(ALIGNMENT as u64);
                    TableFile::create(&self.output, reserved, self.class).await?
                }
            };
            let mut builder = TableBuilder::new(file.table_id(&self.output), self.output.settings.table);
            builder.set_merged_ms(self.merged_ms);
            self.builder = Some(builder);
            self.file = Some(file);
        }
        Ok(self.builder.as_mut().expect("it was just made if it was not there"))
    }

    /// Puts the last range tombstone into the table.
    async fn put_range(&mut self) -> Result<(), Error> {
        let Some(range) = self.range.take() else { return Ok(()) };
        self.begin_table().await?.delete_range(&range.from, &range.to);
        Ok(())
    }

    /// Ends the table before a key. What the last range tombstone deletes behind it is left for the next one.
    async fn cut(&mut self, key: &[u8]) -> Result<(), Error> {
        let rest = match &mut self.range {
            Some(range) if range.to.as_slice() > key => {
                let to = std::mem::replace(&mut range.to, key.to_vec());
                Some(KeyRange { from: range.from.clone().max(key.to_vec()), to })
            }
            _ => None,
        };
        // Nothing of it is left if it begins at the key.
        self.range = self.range.take().filter(|range| range.from < range.to);
        self.put_range().await?;
        self.end_table().await?;
        if let Some(file) = self.file.take() {
            file.finish().await?;
        }
        self.range = rest;
        Ok(())
    }

    async fn end_table(&mut self) -> Result<(), Error> {
        let Some(builder) = self.builder.take().filter(|builder| !builder.is_empty()) else { return Ok(()) };
        let file = self.file.as_mut().expect("a table is written to a file");
        let (chunks, info) = builder.finish();
        for chunk in chunks {
            let bytes = chunk.buf.len();
            file.write(chunk).await?;
            self.pace.pause(bytes).await;
        }
        let base = file.end_table(info.len);
        self.expected_bytes = self.expected_bytes.saturating_sub(info.len);
        self.written.named.push(Rc::clone(file.named()));
        self.written.tables.push(NewTable { info, file: file.named().number(), base, from: Vec::new() });
        Ok(())
    }

    async fn write_chunks(&mut self) -> Result<(), Error> {
        let (Some(builder), Some(file)) = (&mut self.builder, &mut self.file) else { return Ok(()) };
        while let Some(chunk) = builder.take_chunk() {
            let bytes = chunk.buf.len();
            file.write(chunk).await?;
            self.pace.pause(bytes).await;
        }
        Ok(())
    }

    /// Bytes of the tables that are complete.
    pub fn written_bytes(&self) -> u64 {
        self.written.tables.iter().map(|table| table.info.len).sum()
    }

    /// Ends the run: what was written, and the file that its last table lies in, which is to be finished, or to take
    /// other tables first.
    pub async fn finish(mut self) -> Result<(WrittenRun, Option<TableFile<D>>), Error> {
        self.put_range().await?;
        self.end_table().await?;
        let (blobs, named) = self.blobs.finish().await?;
        self.written.blobs = blobs;
        self.written.named.extend(named);
        Ok((self.written, self.file))
    }
}
