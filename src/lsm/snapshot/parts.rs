//! What a receiver has of a snapshot: from its stream, and from those of earlier ones.
//!
//! A table or a blob file is the same wherever it lies, so a newer snapshot of the same store is for the most part what an
//! older one was. Whoever has received that needs the rest only.

use std::collections::BTreeMap;

use crate::version::Change;

use super::head::SnapshotHead;
use super::part::{Part, PartId};

/// Bytes of a stream that lie together: parts of a snapshot, one behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRange {
    /// Where they begin in the stream.
    pub offset: u64,
    /// How many bytes they are, a multiple of 4,096.
    pub len: u64,
}

/// Where a part lies here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FilePosition {
    len: u64,
    file: u64,
    base: u64,
}

/// The parts of snapshots that a receiver has in files of its store.
#[derive(Clone, Debug, Default)]
pub struct ReceivedParts(BTreeMap<PartId, FilePosition>);

impl ReceivedParts {
    /// What is not here of a snapshot, in the order of its stream.
    pub fn missing(&self, head: &SnapshotHead) -> Vec<StreamRange> {
        let mut ranges: Vec<StreamRange> = Vec::new();
        for part in head.parts().filter(|part| !self.has(part)) {
            match ranges.last_mut() {
                Some(last) if last.offset + last.len == part.offset => last.len += part.len,
                _ => ranges.push(StreamRange { offset: part.offset, len: part.len }),
            }
        }
        ranges
    }

    fn has(&self, part: &Part) -> bool {
        self.0.get(&part.id).is_some_and(|place| place.len == part.len)
    }

    /// All that was [missing](ReceivedParts::missing) of a snapshot lies in a file now, one behind another.
    pub fn received(&mut self, head: &SnapshotHead, file: u64) {
        let mut base = 0;
        let missing: Vec<Part> = head.parts().filter(|part| !self.has(part)).collect();
        for Part { id, len, .. } in missing {
            self.0.insert(id, FilePosition { len, file, base });
            base += len;
        }
    }

    /// What makes the version of a snapshot from the parts that are here. `None` if some are missing.
    pub fn change(&self, head: &SnapshotHead) -> Option<Change> {
        let places: Option<Vec<FilePosition>> =
            head.parts().map(|part| self.0.get(&part.id).copied().filter(|place| place.len == part.len)).collect();
        let mut change = head.change(0);
        for ((file, base, _), place) in change.places_mut().zip(places?) {
            (*file, *base) = (place.file, place.base);
        }
        Some(change)
    }
}
