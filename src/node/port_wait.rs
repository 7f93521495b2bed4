//! Waiting for ports that a former process of this node still holds.
//!
//! The kernel closes the sockets of a process that has used io_uring a moment behind its end, so a node that is started again
//! at once finds its own ports taken.

use std::io;
use std::time::{Duration, Instant};

/// How long a port may be taken, and how often is looked whether it still is.
const TAKEN_MAX: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// How long the ports of this node were waited for.
pub(crate) struct PortWait {
    begin: Instant,
}

impl PortWait {
    /// The wait begins.
    pub(crate) fn begin() -> PortWait {
        PortWait { begin: Instant::now() }
    }

    /// Behind a port that could not be listened on: how long to pause before it is tried again, if it is worth that.
    pub(crate) fn pause(&self, error: &io::Error) -> Option<Duration> {
        (error.kind() == io::ErrorKind::AddrInUse && self.begin.elapsed() < TAKEN_MAX).then_some(PAUSE)
    }
}
