//! What is kept of clients that monitor; `monitoring` says what becomes of it.

use std::sync::Arc;

use host::ConnId;
use types::{CoreId, Instant};

/// Lines that one core hands another for its monitors.
#[derive(Clone, Debug)]
pub struct Monitored {
    pub(super) lines: Arc<[u8]>,
    pub(super) lines_count: u64,
    pub(super) lost_count: u64,
}

/// A client that monitors.
pub(super) struct Monitor {
    pub(super) conn: ConnId,
    /// Lines that it has lost and was not told of.
    pub(super) lost_count: u64,
}

/// A core that wants the lines of this one.
pub(super) struct Wanted {
    pub(super) by: CoreId,
    pub(super) until: Instant,
    /// Lines that it was not handed.
    pub(super) lost_count: u64,
}

/// The clients that monitor, and what they are to be shown of this turn.
#[derive(Default)]
pub(super) struct Monitors {
    pub(super) here: Vec<Monitor>,
    pub(super) elsewhere: Vec<Wanted>,
    /// When the other cores are told next that their lines are wanted.
    pub(super) want_next: Instant,
    /// The lines of this turn.
    pub(super) lines: Vec<u8>,
    pub(super) lines_count: u64,
    pub(super) lost_count: u64,
}
