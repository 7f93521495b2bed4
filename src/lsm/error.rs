//! What can go wrong with what lies on disk.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why bytes are not what they were to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// They end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// They are not what was written to this place: damaged, stale, or meant for another one.
    #[error("the checksum does not match the bytes and their place")]
    Checksum,
    /// They do not end, or begin, with the mark of their kind.
    #[error("the magic number is missing")]
    Magic,
    /// They are of another version of the format.
    #[error("format version {found:?} is not known")]
    Version {
        /// The version found, a letter.
        found: char,
    },
    /// Whoever does not know these features cannot read them.
    #[error("the features {unknown:#x} are not known")]
    Features {
        /// One bit for each.
        unknown: u64,
    },
    /// They are longer than anything of their kind.
    #[error("{bytes} bytes exceed the limit of {bytes_max}")]
    TooLong {
        /// The length found.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// They say what cannot be.
    #[error("{0}")]
    Malformed(&'static str),
}

/// The system's number for a place that the disk cannot read.
const EIO: i32 = 5;

impl Error {
    /// The operating system's error, if it is that the disk is full.
    pub fn disk_full(&self) -> Option<&io::Error> {
        match self {
            Error::Io { source, .. } if host::is_full(source) => Some(source),
            _ => None,
        }
    }

    /// Whether it is what the disk holds that is wrong: another attempt will find the same.
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Io { source, attempt, .. } => {
                *attempt == "read" && source.raw_os_error() == Some(EIO)
                    || source.kind() == io::ErrorKind::UnexpectedEof
                    || *attempt == "open" && source.kind() == io::ErrorKind::NotFound
            }
            Error::Damaged { .. } => true,
            _ => false,
        }
    }
}

/// An error of the store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file or directory.
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what was written to it.
    #[error("{} is damaged at offset {offset}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// How.
        source: FormatError,
    },
    /// There are tables and no manifest that says what they are.
    #[error("{} is missing, and there are files beside it", path.display())]
    ManifestMissing {
        /// The manifest.
        path: PathBuf,
    },
    /// An edit does not fit what the store holds. Nothing was changed.
    #[error("an edit of the manifest is refused: {source}")]
    Edit {
        /// Why.
        source: FormatError,
    },
    /// More files were begun than numbers are reserved at a time: edits are missing in between.
    #[error("no number is left for another file")]
    NumbersExhausted,
}
