//! Writing a blob file: values in, aligned chunks to write out. Does no I/O.

use host::ALIGNMENT;

use crate::codec::Input;
use crate::error::FormatError;
use crate::ids::FileId;
use crate::pending::{Chunk, Pending};
use crate::table::BlobRef;

use super::record::{BlobHeader, PIECE_BYTES, checksum, record_head};

/// What the manifest holds of a blob file.
///
/// ```text
///  0 u64 store, 8 u64 number: the file's id
/// 16 u64 length of the file
/// 24 u64 values in it
/// 32 u64 their bytes
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// The file.
    pub id: FileId,
    /// Its length in bytes, a multiple of 4,096.
    pub len: u64,
    /// Values in it.
    pub values: u64,
    /// Bytes of the values.
    pub value_bytes: u64,
}

impl BlobInfo {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let numbers = [self.id.store, self.id.number, self.len, self.values, self.value_bytes];
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    }

    /// Reads the bytes, and nothing but them.
    pub fn decode(bytes: &[u8]) -> Result<BlobInfo, FormatError> {
        let mut input = Input::new(bytes);
        let info = BlobInfo::read(&mut input)?;
        input.end()?;
        Ok(info)
    }

    /// Reads the bytes; others may follow.
    pub(crate) fn read(input: &mut Input<'_>) -> Result<BlobInfo, FormatError> {
        let id = FileId { store: input.u64()?, number: input.u64()? };
        Ok(BlobInfo { id, len: input.u64()?, values: input.u64()?, value_bytes: input.u64()? })
    }
}

/// A value of which not all pieces have come.
struct Begun {
    /// Offset of the record.
    offset: u64,
    /// The record's lengths and key.
    head: Vec<u8>,
    /// Bytes of the value that are to come.
    missing: usize,
    checksums: Vec<u8>,
}

/// A blob file being written.
///
/// Whoever pushes takes the chunks that are full in between.
pub struct BlobBuilder {
    info: BlobInfo,
    chunk_bytes: usize,
    pending: Pending,
    begun: Option<Begun>,
}

impl BlobBuilder {
    /// An empty file, written in chunks of so many bytes, a multiple of [`ALIGNMENT`].
    ///
    /// # Panics
    /// If they are not.
    pub fn new(id: FileId, chunk_bytes: usize) -> BlobBuilder {
        assert!(chunk_bytes > 0 && chunk_bytes.is_multiple_of(ALIGNMENT), "chunks are aligned");
        let mut pending = Pending::default();
        pending.bytes.extend_from_slice(&BlobHeader { file: id }.encode());
        BlobBuilder { info: BlobInfo { id, len: 0, values: 0, value_bytes: 0 }, chunk_bytes, pending, begun: None }
    }

    /// Begins the record of a value of so many bytes, at least one, which [`BlobBuilder::append`] takes.
    ///
    /// # Panics
    /// If the one before is not complete.
    pub fn begin(&mut self, key: &[u8], len: u32) -> BlobRef {
        assert!(self.begun.is_none() && len > 0, "one value behind the other, none of them empty");
        let offset = self.pending.end();
        let head = [&record_head(key.len(), len as usize)[..], key].concat();
        self.pending.bytes.extend_from_slice(&head);
        self.begun = Some(Begun { offset, head, missing: len as usize, checksums: Vec::new() });
        BlobRef { file: self.info.id, offset, len }
    }

    /// Appends the next piece of the value: [`PIECE_BYTES`] of it, or all that is missing if that is less.
    ///
    /// # Panics
    /// If it has another length, or nothing is missing.
    pub fn append(&mut self, piece: &[u8]) {
        let mut begun = self.begun.take().expect("a value that is not complete");
        assert!(piece.len() == begun.missing.min(PIECE_BYTES), "a piece of {} bytes", piece.len());
        let crc = checksum(self.info.id, self.pending.end(), &[piece]);
        begun.checksums.extend_from_slice(&crc.to_le_bytes());
        begun.missing -= piece.len();
        self.pending.bytes.extend_from_slice(piece);
        self.info.value_bytes += piece.len() as u64;
        if begun.missing > 0 {
            self.begun = Some(begun);
            return;
        }
        let crc = checksum(self.info.id, begun.offset, &[&begun.head, &begun.checksums]);
        self.pending.bytes.extend_from_slice(&begun.checksums);
        self.pending.bytes.extend_from_slice(&crc.to_le_bytes());
        self.info.values += 1;
    }

    /// Appends a whole value. One of many pieces takes long; it is better appended one by one.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> BlobRef {
        let len = u32::try_from(value.len()).expect("a value is no longer than its limit");
        let blob = self.begin(key, len);
        value.chunks(PIECE_BYTES).for_each(|piece| self.append(piece));
        blob
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.info.values == 0
    }

    /// Bytes of the file so far.
    pub fn len(&self) -> u64 {
        self.pending.end()
    }

    /// The next chunk that is full.
    pub fn take_chunk(&mut self) -> Option<Chunk> {
        (self.pending.bytes.len() >= self.chunk_bytes).then(|| self.pending.take(self.chunk_bytes))
    }

    /// Ends the file: what is left to be written, and what the manifest is to hold of it.
    ///
    /// # Panics
    /// If a value is not complete.
    pub fn finish(mut self) -> (Vec<Chunk>, BlobInfo) {
        assert!(self.begun.is_none(), "a value that is not complete");
        let chunks = self.pending.finish(self.chunk_bytes);
        (chunks, BlobInfo { len: self.pending.end(), ..self.info })
    }
}
