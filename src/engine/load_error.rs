//! Why a snapshot cannot be loaded.

use std::path::PathBuf;

use thiserror::Error;

/// The system's number for a place that the disk cannot read.
const EIO: i32 = 5;

/// Why a snapshot cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The disk refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what was written.
    #[error("{} is damaged: {source}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// How.
        source: Corrupt,
    },
}

impl LoadError {
    /// Whether it is what the disk holds that is wrong: another attempt will find the same.
    pub fn is_damage(&self) -> bool {
        match self {
            LoadError::Io { source, .. } => source.raw_os_error() == Some(EIO),
            LoadError::Corrupt { .. } => true,
        }
    }
}

/// Why bytes are not a snapshot, or not the one expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// The file ends where a block should begin or go on.
    #[error("the file ends at offset {offset}, before its footer is complete")]
    Truncated {
        /// Where, in bytes.
        offset: u64,
    },
    /// A block is not the one that was written there.
    #[error("the block at offset {offset}: {what}")]
    Block {
        /// Where it begins, in bytes.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The blocks are sound and contradict each other.
    #[error("{0}")]
    Content(&'static str),
}
