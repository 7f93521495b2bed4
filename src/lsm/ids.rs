//! Names of files and tables.

use core::fmt;

/// A file of tables or of blobs. No two files of a cluster have the same, also over time, wherever their bytes are
/// copied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The store that wrote the file: a random number drawn when the store was made.
    pub store: u64,
    /// The number that this store gave it, and gives to no other file.
    pub number: u64,
}

impl fmt::Display for FileId {
    /// `store/number`, for example `00000000deadbeef/12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}", self.store, self.number)
    }
}

/// A table: the file it was first written to and where it began there. A copy in another file keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// The file.
    pub file: FileId,
    /// Offset of the table's first byte in that file.
    pub offset: u64,
}

impl fmt::Display for TableId {
    /// `store/number+offset`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.file, self.offset)
    }
}
