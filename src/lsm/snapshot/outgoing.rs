//! The sending side: where the bytes of a snapshot lie.

use std::rc::Rc;

use host::{AlignedBuf, Disk, IoClass};
use types::GroupId;

use crate::error::{Error, FormatError};
use crate::files::Files;
use crate::manifest::Seal;
use crate::version::Version;

use super::head::SnapshotHead;

/// A version as a stream of bytes. Its files stay as long as this is there.
pub struct OutgoingSnapshot {
    head: Vec<u8>,
    /// Invariant: one behind another, beginning at the head's end.
    parts: Vec<Part>,
    total_bytes: u64,
    _version: Rc<Version>,
}

/// A table or a blob file, and where it lies here.
struct Part {
    /// Where it ends in the stream.
    end: u64,
    len: u64,
    file: u64,
    base: u64,
}

/// Bytes of a snapshot that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// In memory.
    Head(&'a [u8]),
    /// In a file of the store.
    File {
        /// Its number.
        number: u64,
        /// Where in it, a multiple of 4,096 if the offset in the stream is one.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
}

impl OutgoingSnapshot {
    /// A version of a group, and what belongs to it besides rows. Fails if there are more tables than a head takes.
    pub fn new(group: GroupId, seal: &Seal, version: Rc<Version>) -> Result<OutgoingSnapshot, FormatError> {
        let mut change = version.as_change();
        let mut parts: Vec<Part> =
            change.places_mut().map(|(file, base, len)| Part { end: 0, len, file: *file, base: *base }).collect();
        let head = SnapshotHead::new(group, seal, change)?;
        let (total_bytes, head) = (head.total_bytes(), head.encode());
        let mut end = head.len() as u64;
        for part in &mut parts {
            end += part.len;
            part.end = end;
        }
        assert!(end == total_bytes, "the head says where its parts end");
        Ok(OutgoingSnapshot { head, parts, total_bytes, _version: version })
    }

    /// Length of the stream in bytes, a multiple of 4,096.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Where the bytes from an offset on lie: at most `len_max` of them, fewer where others lie elsewhere. `None` at the
    /// end of the stream and behind it.
    pub fn locate(&self, offset: u64, len_max: usize) -> Option<Piece<'_>> {
        if let Some(rest) = usize::try_from(offset).ok().and_then(|offset| self.head.get(offset..))
            && !rest.is_empty()
        {
            return Some(Piece::Head(&rest[..rest.len().min(len_max)]));
        }
        let idx = self.parts.partition_point(|part| part.end <= offset);
        let part = self.parts.get(idx)?;
        let left = part.end - offset;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(len_max);
        Some(Piece::File { number: part.file, offset: part.base + (part.len - left), len })
    }

    /// Reads the bytes from an offset on: `len` of them, fewer at the end of the stream.
    pub async fn read<D: Disk>(
        &self,
        files: &Files<D>,
        offset: u64,
        len: usize,
        class: IoClass,
    ) -> Result<AlignedBuf, Error> {
        let mut buf = AlignedBuf::with_capacity(len);
        while buf.len() < len {
            match self.locate(offset.saturating_add(buf.len() as u64), len - buf.len()) {
                None => break,
                Some(Piece::Head(bytes)) => buf.extend_from_slice(bytes),
                Some(Piece::File { number, offset, len }) => {
                    buf.extend_from_slice(files.read(number, offset, len, class).await?.bytes());
                }
            }
        }
        Ok(buf)
    }
}
