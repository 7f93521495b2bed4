//! One segment in memory, and what stands at a place of it.

use std::path::Path;

use host::{ALIGNMENT, Disk, IoClass, ReadBuf};

use crate::error::Error;
use crate::format::{BlockHeader, HEADER_BYTES, segment_name};

/// How much is read at once.
const READ_BYTES_MAX: usize = 1 << 20;

/// How often a unit is read before it counts as unreadable.
const READ_TRIES_MAX: usize = 16;
/// Behind this number of unreadable units in a segment each further unit is tried only once.
const HOPELESS_UNITS_COUNT: usize = 8;

/// A segment's bytes. Where the disk cannot read, zeros stand instead.
pub(crate) struct Image {
    pub(crate) segment: u64,
    pub(crate) bytes: Vec<u8>,
    /// Offsets of the 4,096-byte units that the disk cannot read, ascending.
    pub(crate) unreadable: Vec<u64>,
}

/// What stands at a place.
pub(crate) enum Look {
    /// No header of a block.
    Nothing,
    /// A header of the log with this id, which is another one.
    Foreign(u64),
    /// A header that was to stand elsewhere: the block was misdirected, or the file had another name before.
    Misplaced(BlockHeader),
    /// A header whose records are not what it says.
    Torn(BlockHeader),
    /// A sound block, and its header's checksum.
    Whole(BlockHeader, u32),
}

impl Image {
    /// Reads a whole segment. A place that cannot be read is noted, not an error.
    pub(crate) async fn load<D: Disk>(
        host: &D,
        dir: &Path,
        segment: u64,
        file: &D::File,
        len: u64,
    ) -> Result<Image, Error> {
        let too_long = || Error::Io {
            what: "read the log from",
            path: dir.join(segment_name(segment)),
            source: std::io::ErrorKind::FileTooLarge.into(),
        };
        let len = usize::try_from(len).map_err(|_| too_long())?;
        let mut image = Image { segment, bytes: Vec::with_capacity(len), unreadable: Vec::new() };
        while image.bytes.len() < len {
            let offset = image.bytes.len();
            let chunk = READ_BYTES_MAX.min(len - offset);
            match host.read(file, offset as u64, chunk, IoClass::Log).await {
                Ok(buf) => image.bytes.extend_from_slice(&buf),
                Err(_) => image.load_piecewise(host, file, chunk).await,
            }
        }
        Ok(image)
    }

    async fn load_piecewise<D: Disk>(&mut self, host: &D, file: &D::File, chunk: usize) {
        for _ in 0..chunk / ALIGNMENT {
            let offset = self.bytes.len() as u64;
            match self.read_patiently(host, file, offset).await {
                Ok(buf) => self.bytes.extend_from_slice(&buf),
                Err(error) => {
                    tracing::warn!(segment = self.segment, offset, %error, "cannot read a part of the log");
                    self.unreadable.push(offset);
                    self.bytes.resize(self.bytes.len() + ALIGNMENT, 0);
                }
            }
        }
    }

    /// Reads one unit, if need be several times: what cannot be read counts as lost for good, and some errors pass.
    async fn read_patiently<D: Disk>(&self, host: &D, file: &D::File, offset: u64) -> std::io::Result<ReadBuf> {
        let is_hopeless = self.unreadable.len() >= HOPELESS_UNITS_COUNT;
        let tries_max = if is_hopeless { 1 } else { READ_TRIES_MAX };
        let mut result = host.read(file, offset, ALIGNMENT, IoClass::Log).await;
        for _ in 1..tries_max {
            if result.is_ok() {
                break;
            }
            result = host.read(file, offset, ALIGNMENT, IoClass::Log).await;
        }
        result
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What stands at an offset.
    pub(crate) fn look(&self, offset: u64, log: u64) -> Look {
        let bytes = usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset..)).unwrap_or_default();
        let Some((header, crc)) = BlockHeader::decode(bytes) else { return Look::Nothing };
        if header.log != log {
            return Look::Foreign(header.log);
        }
        if header.segment != self.segment || u64::from(header.offset) != offset {
            return Look::Misplaced(header);
        }
        let whole = bytes.len() >= header.block_bytes()
            && self.records(offset, &header).is_some_and(|records| crc32fast::hash(records) == header.records_crc);
        if whole { Look::Whole(header, crc) } else { Look::Torn(header) }
    }

    /// The records of the block at an offset, if the segment is long enough.
    pub(crate) fn records(&self, offset: u64, header: &BlockHeader) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?.checked_add(HEADER_BYTES)?;
        self.bytes.get(start..start.checked_add(header.records_len as usize)?)
    }

    /// The whole block at an offset, padding included.
    pub(crate) fn block(&self, offset: u64, header: &BlockHeader) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.bytes.get(start..start.checked_add(header.block_bytes())?)
    }
}
