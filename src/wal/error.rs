//! What can go wrong with a log.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use types::{GroupId, Index};

use crate::recovered::Fault;

/// The system's number for a place that the disk cannot read.
const EIO: i32 = 5;

impl Error {
    /// Whether it is what the disk holds that is wrong: another attempt will find the same.
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Corrupt { .. } => true,
            Error::Io { source, .. } => {
                source.raw_os_error() == Some(EIO) || source.kind() == io::ErrorKind::UnexpectedEof
            }
            _ => false,
        }
    }
}

/// An error of the log.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file or directory.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A write of the log failed, now or earlier. Nothing more is written or acknowledged; the process
    /// must stop, and recovery decides what is there.
    #[error("the log is poisoned: writing segment {segment} at offset {offset} failed: {message}")]
    Poisoned {
        /// Segment of the failed write.
        segment: u64,
        /// Its offset in bytes.
        offset: u64,
        /// The operating system's reason.
        message: String,
    },
    /// The directory holds a log in a format that this version does not know. Nothing was changed.
    #[error(
        "{} is a log of format version {found}, and this version of Coracle reads and writes {expected}: use the version \
         that wrote it, or begin with an empty data directory", path.display()
    )]
    Version {
        /// The segment.
        path: PathBuf,
        /// The version found.
        found: char,
        /// The version known.
        expected: char,
    },
    /// The directory holds the log of another data directory or core. Nothing was changed.
    #[error("{} belongs to another log: its id is {found:#x}, and {expected:#x} was expected", path.display())]
    Foreign {
        /// The segment.
        path: PathBuf,
        /// The id found.
        found: u64,
        /// The id expected.
        expected: u64,
    },
    /// This group's part of the log cannot be trusted. Only another replica's beginning or a destruction is accepted.
    #[error("group {group} is quarantined: {fault}")]
    Quarantined {
        /// The group.
        group: GroupId,
        /// Why.
        fault: Fault,
    },
    /// A record does not fit a segment.
    #[error("a record of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest that fits.
        bytes_max: usize,
    },
    /// Too much waits to become durable. Nothing was appended.
    #[error("{bytes} more bytes exceed the limit of {bytes_max} waiting to become durable")]
    Backlog {
        /// What was to be added.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The entries asked for are not, or no longer, in the log.
    #[error("group {group} has no entries {first}..={last} in the log")]
    OutOfRange {
        /// The group.
        group: GroupId,
        /// First index asked for.
        first: Index,
        /// Last index asked for.
        last: Index,
    },
    /// The first entry asked for is not durable yet, so it cannot be read back; Raft still has it.
    #[error("entry {index} of group {group} is not durable yet")]
    NotDurable {
        /// The group.
        group: GroupId,
        /// The entry.
        index: Index,
    },
    /// What was read back is not what was written there.
    #[error("segment {segment}, offset {offset}: {what}")]
    Corrupt {
        /// The segment.
        segment: u64,
        /// Where the record should be, in bytes.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The configuration makes no sense.
    #[error("configuration of the log: {0}")]
    Config(&'static str),
}
