//! What clients can make a core forget, beside CONFIG RESETSTAT.

use crate::observe::command_log::LogKind;
use crate::observe::spikes::SpikeEvent;

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The spikes of these events.
    Spikes(Vec<SpikeEvent>),
    /// The commands that are kept for this reason.
    CommandLog(LogKind),
}
