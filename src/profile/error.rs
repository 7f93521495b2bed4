//! Why there is no profile.

use std::io;

/// Errors of profiles.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another profile of that kind is being taken.
    #[error("such a profile is being taken already: one is taken at a time")]
    Busy,
    /// Allocations are not sampled.
    #[error("allocations are not sampled")]
    NotStarted,
    /// Whoever wanted it is gone.
    #[error("nobody waits for the profile any more")]
    Unwanted,
    /// Other code in the process handles the signal.
    #[error("SIGPROF has a handler of somebody else: another profiler is loaded into the process")]
    SignalTaken,
    /// The operating system refused.
    #[error("{what}: {source}")]
    Os {
        /// What was being done.
        what: &'static str,
        /// What it answered.
        source: io::Error,
    },
}

impl Error {
    /// The operating system refused `what`, as it says by `errno`.
    pub(crate) fn last_os(what: &'static str) -> Error {
        Error::Os { what, source: io::Error::last_os_error() }
    }
}
