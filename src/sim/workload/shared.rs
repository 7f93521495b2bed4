//! What the sessions of a run share.

use std::collections::BTreeMap;
use std::time::Duration;

use types::Instant;

use super::mix::Mix;
use super::shared_counters::SharedCounters;
use crate::client::ClientConn;
use crate::history::History;
use crate::prng::Prng;

/// When the first commands are sent.
pub(super) const BEGIN: Instant = Instant::from_nanos(100_000_000);
/// How long after the last fault sessions stop to write.
pub(super) const WRITES_UNTIL: Duration = Duration::from_secs(12);

/// What sessions are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Reads and writes.
    Busy,
    /// Reads only.
    Quiet,
    /// Reads back all keys, each once.
    ReadBack,
}

/// What all sessions share.
pub(super) struct Shared {
    pub(super) prng: Prng,
    pub(super) mix: Mix,
    pub(super) counters: SharedCounters,
    /// Most commands in a pipeline once faults are over.
    pub(super) healed_depth_max: u64,
    pub(super) history: History,
    pub(super) stage: Stage,
    /// Which session a connection belongs to.
    pub(super) owners: BTreeMap<ClientConn, usize>,
}
