//! Why nothing can be said.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the files could not be looked at. What is wrong with the files themselves is a [`crate::Finding`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A node runs on the directory.
    #[error(
        "a node runs on {} (process {holder}): stop it first, or give --running, and figures may be torn",
        dir.display()
    )]
    Running {
        /// The directory.
        dir: PathBuf,
        /// The id of its process.
        holder: String,
    },
    /// The operating system lets nobody look at a file or directory.
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The command line asks for what there is not.
    #[error("{0}")]
    Usage(String),
}

impl InspectError {
    /// That an attempt on a path failed.
    pub(crate) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InspectError {
        move |source| InspectError::Io { attempt, path: path.to_owned(), source }
    }
}
