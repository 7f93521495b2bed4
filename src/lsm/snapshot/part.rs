//! The parts of a snapshot: tables and blob files.

use crate::ids::{FileId, TableId};

/// A part of a snapshot, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartId {
    /// A table.
    Table(TableId),
    /// A blob file.
    Blob(FileId),
}

/// A part as a snapshot names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which it is.
    pub id: PartId,
    /// Where it begins in the stream.
    pub offset: u64,
    /// Its length in bytes, a multiple of 4,096.
    pub len: u64,
}
