//! Checking a blob file from its first byte to its last. Does no I/O.

use crate::codec::Input;
use crate::error::FormatError;

use super::builder::BlobInfo;
use super::record::{BlobHeader, HEADER_BYTES, PIECE_BYTES, RECORD_HEAD_BYTES, checksum, record_bytes, record_lens};

/// A record of which not all has come.
struct Begun {
    /// Where it begins.
    offset: u64,
    /// Its lengths and its key.
    head: Vec<u8>,
    /// Bytes of the value that are to come.
    missing: usize,
    /// The checksums of the pieces that have come, as they are to stand behind the value.
    checksums: Vec<u8>,
}

/// What comes next.
enum Stage {
    Header,
    /// A record, or zeros up to the end.
    Head,
    Value(Begun),
    Checksums(Begun),
    Zeros,
}

/// A blob file whose bytes are checked one after another: that they are what was written, and as many values as was
/// said.
pub struct BlobChecker {
    info: BlobInfo,
    stage: Stage,
    pending: Vec<u8>,
    /// Where `pending` begins in the file.
    pending_offset: u64,
    /// Where that begins which is being checked.
    offset: u64,
    values: u64,
    value_bytes: u64,
}

impl BlobChecker {
    /// A file of which nothing has come.
    pub fn new(info: BlobInfo) -> BlobChecker {
        BlobChecker {
            info,
            stage: Stage::Header,
            pending: Vec::new(),
            pending_offset: 0,
            offset: 0,
            values: 0,
            value_bytes: 0,
        }
    }

    /// Where in the blob file that begins which is being checked: after an error, what is damaged.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next bytes. Takes time in proportion to them.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.pending.extend_from_slice(bytes);
        if self.pending_offset + self.pending.len() as u64 > self.info.len {
            return Err(FormatError::Malformed("there is more of a blob file than was to be"));
        }
        let pending = std::mem::take(&mut self.pending);
        let mut rest = Input::new(&pending);
        loop {
            let before = rest.len();
            let (stage, goes_on) = self.step(&mut rest)?;
            self.stage = stage;
            self.pending_offset += (before - rest.len()) as u64;
            if !matches!(self.stage, Stage::Value(_) | Stage::Checksums(_)) {
                self.offset = self.pending_offset;
            }
            if !goes_on {
                break;
            }
        }
        self.pending = rest.rest().to_vec();
        Ok(())
    }

    /// Checks what comes next: the stage behind it, and whether there may be enough for that.
    fn step(&mut self, rest: &mut Input<'_>) -> Result<(Stage, bool), FormatError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Zeros);
        match stage {
            Stage::Header if rest.len() < HEADER_BYTES => Ok((stage, false)),
            Stage::Header => match BlobHeader::decode(rest.bytes(HEADER_BYTES)?)?.file == self.info.id {
                true => Ok((Stage::Head, true)),
                false => Err(FormatError::Malformed("a blob file is another one")),
            },
            Stage::Head => self.begin_record(rest),
            Stage::Value(begun) => self.take_piece(begun, rest),
            Stage::Checksums(begun) => self.end_record(begun, rest),
            Stage::Zeros => match rest.bytes(rest.len())?.iter().all(|byte| *byte == 0) {
                true => Ok((Stage::Zeros, false)),
                false => Err(FormatError::Malformed("there are bytes behind the last value of a blob file")),
            },
        }
    }

    fn begin_record(&mut self, rest: &mut Input<'_>) -> Result<(Stage, bool), FormatError> {
        let left = self.info.len.saturating_sub(self.pending_offset);
        if left < RECORD_HEAD_BYTES as u64 {
            return Ok((Stage::Zeros, true));
        }
        if rest.len() < RECORD_HEAD_BYTES {
            return Ok((Stage::Head, false));
        }
        let Some((key_len, value_len)) = record_lens(rest.rest())? else { return Ok((Stage::Zeros, true)) };
        let (key_len, value_len) = (key_len as usize, value_len as usize);
        if record_bytes(key_len, value_len) as u64 > left {
            return Err(FormatError::Malformed("a record of a blob file ends behind the file"));
        }
        if rest.len() < RECORD_HEAD_BYTES + key_len {
            return Ok((Stage::Head, false));
        }
        let head = rest.bytes(RECORD_HEAD_BYTES + key_len)?.to_vec();
        let begun = Begun { offset: self.pending_offset, head, missing: value_len, checksums: Vec::new() };
        Ok((Stage::Value(begun), true))
    }

    fn take_piece(&mut self, mut begun: Begun, rest: &mut Input<'_>) -> Result<(Stage, bool), FormatError> {
        let len = begun.missing.min(PIECE_BYTES);
        if rest.len() < len {
            return Ok((Stage::Value(begun), false));
        }
        let crc = checksum(self.info.id, self.pending_offset, &[rest.bytes(len)?]);
        begun.checksums.extend_from_slice(&crc.to_le_bytes());
        begun.missing -= len;
        self.value_bytes += len as u64;
        Ok((if begun.missing > 0 { Stage::Value(begun) } else { Stage::Checksums(begun) }, true))
    }

    fn end_record(&mut self, begun: Begun, rest: &mut Input<'_>) -> Result<(Stage, bool), FormatError> {
        if rest.len() < begun.checksums.len() + size_of::<u32>() {
            return Ok((Stage::Checksums(begun), false));
        }
        let found = rest.bytes(begun.checksums.len())?;
        let crc = checksum(self.info.id, begun.offset, &[&begun.head, found]);
        if rest.u32()? != crc || found != begun.checksums {
            return Err(FormatError::Checksum);
        }
        self.values += 1;
        Ok((Stage::Head, true))
    }

    /// Checks that all of the file has come.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.pending_offset != self.info.len || !matches!(self.stage, Stage::Zeros) {
            return Err(FormatError::Truncated);
        }
        match (self.values, self.value_bytes) == (self.info.values, self.info.value_bytes) {
            true => Ok(()),
            false => Err(FormatError::Malformed("a blob file holds other values than was said")),
        }
    }
}
