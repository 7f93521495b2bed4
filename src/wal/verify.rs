//! Checking a sealed segment from its first block to its last, while the log goes on.
//!
//! A segment is sealed when the one behind it has a durable block. That block's chain value says which block was the last one here, so that
//! a damaged block is told from the end. Nothing keeps a segment from being used again meanwhile: then nothing is said of it.

use std::path::PathBuf;
use std::rc::Weak;

use host::{ALIGNMENT, IoClass, ReadBuf};

use crate::LogHost;
use crate::error::Error;
use crate::format::{BlockHeader, HEADER_BYTES, segment_name};
use crate::segments::SegmentFile;

/// Longest read.
const READ_BYTES_MAX: u64 = 64 << 10;
/// Bytes that are checked in one go.
const SLICE_BYTES: usize = 32 << 10;

const NO_BLOCK: &str = "there is no sound block where the log has written one";
const OTHER_BLOCK: &str = "the block here is not the one that the log has written";
const RECORDS: &str = "the checksum does not match the records of the block";

/// What was found of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It holds what was written to it, so many bytes.
    Sound(u64),
    /// It is none of the log any more.
    Gone,
}

/// A segment that is not written any more, to be checked.
pub struct SealedSegment<D: LogHost> {
    pub(crate) host: D,
    pub(crate) dir: PathBuf,
    pub(crate) log_id: u64,
    pub(crate) id: u64,
    pub(crate) bytes: u64,
    pub(crate) file: Weak<SegmentFile<D::File>>,
    /// Whether entries in it count: then it has a block.
    pub(crate) has_runs: bool,
    /// The segment behind it, if that one is to say which block is the last one here.
    pub(crate) next: Option<(u64, Weak<SegmentFile<D::File>>)>,
}

/// Where a check stands.
struct Reached {
    offset: u64,
    /// Sequence and header checksum of the block before; `None` before the first.
    before: Option<(u64, u32)>,
}

/// Bytes of the segment that were read.
#[derive(Default)]
struct Window {
    start: u64,
    buf: ReadBuf,
}

impl Window {
    fn behind(&self, offset: u64) -> &[u8] {
        let skipped = offset.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.and_then(|skipped| self.buf.get(skipped..)).unwrap_or_default()
    }
}

impl<D: LogHost> SealedSegment<D> {
    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.dir.join(segment_name(self.id))
    }

    /// Memory that a check takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        READ_BYTES_MAX as usize
    }

    /// Reads it and checks that every block that was written is there: its header, its place, the chain and the records. `pace` is called
    /// behind each slice with how many bytes that had, and returns when the check may go on.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for the first block that is not what was written, which may be the first one of the segment behind this one; [`Error::Io`]
    /// if the disk cannot read.
    pub async fn verify(&self, class: IoClass, pace: &impl AsyncFn(usize)) -> Result<Verified, Error> {
        let (mut window, mut place) = (Window::default(), Reached { offset: 0, before: None });
        while place.offset < self.bytes {
            if !self.read_to(&mut window, place.offset, class).await? {
                return Ok(Verified::Gone);
            }
            let header =
                BlockHeader::decode(window.behind(place.offset)).filter(|(header, _)| self.fits(header, &place));
            let Some((header, crc)) = header else { return self.judge_end(&place, NO_BLOCK, class).await };
            pace(HEADER_BYTES).await;
            let Some(records_crc) = self.records_crc(&mut window, &header, class, pace).await? else {
                return Ok(Verified::Gone);
            };
            if records_crc != header.records_crc {
                return self.judge_end(&place, RECORDS, class).await;
            }
            place = Reached { offset: place.offset + header.block_bytes() as u64, before: Some((header.seq, crc)) };
        }
        self.judge_end(&place, OTHER_BLOCK, class).await
    }

    /// Whether a block may stand behind the one before.
    fn fits(&self, header: &BlockHeader, place: &Reached) -> bool {
        let is_here =
            header.log == self.log_id && header.segment == self.id && u64::from(header.offset) == place.offset;
        let follows = place.before.is_none_or(|(seq, crc)| header.seq > seq && header.chain == crc);
        is_here && follows && header.block_bytes() as u64 <= self.bytes - place.offset
    }

    /// Has the window reach to an offset. `false` if the segment is none of the log any more.
    async fn read_to(&self, window: &mut Window, offset: u64, class: IoClass) -> Result<bool, Error> {
        if !window.behind(offset).is_empty() {
            return Ok(self.file.strong_count() > 0);
        }
        let start = offset - offset % ALIGNMENT as u64;
        let len = (self.bytes - start).min(READ_BYTES_MAX);
        let Some(buf) = self.read(self.id, &self.file, start, len as usize, class).await? else { return Ok(false) };
        *window = Window { start, buf };
        Ok(true)
    }

    /// Reads a segment; `None` if it is none of the log any more.
    async fn read(
        &self,
        id: u64,
        file: &Weak<SegmentFile<D::File>>,
        offset: u64,
        len: usize,
        class: IoClass,
    ) -> Result<Option<ReadBuf>, Error> {
        // Whoever has the file keeps the segment from being used again: for this one read.
        let Some(file) = file.upgrade() else { return Ok(None) };
        let read = self.host.read(&file.file, offset, len, class).await;
        let path = self.dir.join(segment_name(id));
        read.map(Some).map_err(|source| Error::Io { what: "read the log from", path, source })
    }

    /// The checksum of what stands where the records of a block do; `None` if the segment is none of the log any more.
    async fn records_crc(
        &self,
        window: &mut Window,
        header: &BlockHeader,
        class: IoClass,
        pace: &impl AsyncFn(usize),
    ) -> Result<Option<u32>, Error> {
        let mut hasher = crc32fast::Hasher::new();
        let mut at = u64::from(header.offset) + HEADER_BYTES as u64;
        let mut left = header.records_len as usize;
        while left > 0 {
            if !self.read_to(window, at, class).await? {
                return Ok(None);
            }
            let slice = window.behind(at);
            let slice = slice.get(..left.min(SLICE_BYTES)).unwrap_or(slice);
            let len = slice.len().min(SLICE_BYTES);
            hasher.update(&slice[..len]);
            pace(len).await;
            (left, at) = (left - len, at + len as u64);
        }
        Ok(Some(hasher.finalize()))
    }

    /// No block stands at a place, or none that counts: whether the log had written none there, the segment behind this one says.
    async fn judge_end(&self, place: &Reached, what: &'static str, class: IoClass) -> Result<Verified, Error> {
        let sound = Ok(Verified::Sound(place.offset));
        let damaged = Err(Error::Corrupt { segment: self.id, offset: place.offset, what });
        let Some((_, crc)) = place.before else {
            return if self.has_runs { damaged } else { sound };
        };
        let Some((next_id, file)) = &self.next else { return sound };
        let first = self.read(*next_id, file, 0, ALIGNMENT, class).await?;
        let Some(first) = first.filter(|_| self.file.strong_count() > 0) else { return Ok(Verified::Gone) };
        let first = BlockHeader::decode(&first).map(|(header, _)| header);
        match first.filter(|header| header.log == self.log_id && header.segment == *next_id && header.offset == 0) {
            Some(header) if header.chain == crc => sound,
            Some(_) => damaged,
            None => Err(Error::Corrupt { segment: *next_id, offset: 0, what: NO_BLOCK }),
        }
    }
}
