//! Writing long values to blob files.

use std::rc::Rc;

use host::{Disk, IoClass};

use crate::blob::{BlobBuilder, BlobRecord, PIECE_BYTES};
use crate::error::{Error, FormatError};
use crate::pace::Pace;
use crate::table::BlobRef;
use crate::version::{NamedFile, NewBlob};

use super::output::{Output, SyncedWriter};

/// A blob file being written.
struct Open<D: Disk> {
    builder: BlobBuilder,
    named: Rc<NamedFile>,
    writer: SyncedWriter<D>,
}

/// Values on their way into blob files.
pub(super) struct BlobWriter<D: Disk> {
    class: IoClass,
    open: Option<Open<D>>,
    written: Vec<NewBlob>,
    named: Vec<Rc<NamedFile>>,
}

impl<D: Disk> BlobWriter<D> {
    pub(super) fn new(class: IoClass) -> BlobWriter<D> {
        BlobWriter { class, open: None, written: Vec::new(), named: Vec::new() }
    }

    /// Writes a value, a piece at a time.
    pub(super) async fn put<P: Pace>(
        &mut self,
        output: &Output<D>,
        pace: &P,
        key: &[u8],
        value: &[u8],
    ) -> Result<BlobRef, Error> {
        let len = u32::try_from(value.len()).expect("a value is no longer than its limit");
        let open = self.begin(output).await?;
        let blob = open.builder.begin(key, len);
        for piece in value.chunks(PIECE_BYTES) {
            open.append(pace, piece).await?;
        }
        self.end_if_full(output).await?;
        Ok(blob)
    }

    /// Writes the value of a record anew, checking it. The error of a damaged one names the piece.
    pub(super) async fn copy<P: Pace>(
        &mut self,
        output: &Output<D>,
        pace: &P,
        key: &[u8],
        (record, len): (&BlobRecord<'_>, u32),
    ) -> Result<Result<BlobRef, FormatError>, Error> {
        let open = self.begin(output).await?;
        let blob = open.builder.begin(key, len);
        for idx in 0..record.pieces_count() {
            match record.piece(idx) {
                Ok(piece) => open.append(pace, piece).await?,
                Err(error) => return Ok(Err(error)),
            }
        }
        self.end_if_full(output).await?;
        Ok(Ok(blob))
    }

    async fn begin(&mut self, output: &Output<D>) -> Result<&mut Open<D>, Error> {
        if self.open.is_none() {
            let (named, writer) = output.create(0, self.class).await?;
            let builder = BlobBuilder::new(output.file_id(&named), output.settings.table.chunk_bytes);
            self.open = Some(Open { builder, named, writer });
        }
        Ok(self.open.as_mut().expect("it was just opened if it was not"))
    }

    async fn end_if_full(&mut self, output: &Output<D>) -> Result<(), Error> {
        let is_full = |open: &Open<D>| open.builder.len() >= output.settings.blob_file_bytes_max;
        if self.open.as_ref().is_some_and(is_full) { self.end().await } else { Ok(()) }
    }

    async fn end(&mut self) -> Result<(), Error> {
        let Some(Open { builder, named, mut writer }) = self.open.take() else { return Ok(()) };
        let (chunks, info) = builder.finish();
        for chunk in chunks {
            writer.write(0, chunk).await?;
        }
        writer.finish(info.len).await?;
        self.written.push(NewBlob { info, file: named.number(), base: 0 });
        self.named.push(named);
        Ok(())
    }

    /// Ends the last file: the files written.
    pub(super) async fn finish(mut self) -> Result<(Vec<NewBlob>, Vec<Rc<NamedFile>>), Error> {
        self.end().await?;
        Ok((self.written, self.named))
    }
}

impl<D: Disk> Open<D> {
    async fn append<P: Pace>(&mut self, pace: &P, piece: &[u8]) -> Result<(), Error> {
        self.builder.append(piece);
        while let Some(chunk) = self.builder.take_chunk() {
            self.writer.write(0, chunk).await?;
        }
        pace.pause(piece.len()).await;
        Ok(())
    }
}
