//! A listening socket of a core.

use std::os::fd::RawFd;

use types::Instant;

/// A listening socket.
pub(crate) struct Listener {
    pub(crate) fd: RawFd,
    pub(crate) conns_count: usize,
    pub(crate) conns_count_max: usize,
    pub(crate) refusal: &'static [u8],
    // Connections that were sent it.
    pub(crate) refused_count: u64,
    // Whether the kernel holds an accept.
    pub(crate) armed: bool,
    // Whether it accepts no more. The descriptor is closed when the accept has ended.
    pub(crate) closing: bool,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) warned_at: Instant,
}
