//! Counters of a core, for INFO.

use types::Instant;

/// What a core has done since it started (or since CONFIG RESETSTAT).
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) started_at: Instant,
    pub(crate) turns: u64,
    pub(crate) connections_received: u64,
    pub(crate) clients_stalled: u64,
    pub(crate) protocol_errors: u64,
    pub(crate) commands_processed: u64,
    pub(crate) error_replies: u64,
    pub(crate) batches_proposed: u64,
    pub(crate) commands_proposed: u64,
    pub(crate) commands_applied: u64,
    pub(crate) reads_by_lease: u64,
    pub(crate) reads_by_index: u64,
    pub(crate) reads_in_batch: u64,
    pub(crate) commands_forwarded: u64,
    pub(crate) commands_parked: u64,
    pub(crate) commands_redirected: u64,
    pub(crate) outcomes_unknown: u64,
    pub(crate) leaderships_gained: u64,
    pub(crate) leaderships_lost: u64,
    pub(crate) frames_received: u64,
    pub(crate) frames_refused: u64,
    pub(crate) peers_refused: u64,
    pub(crate) messages_misdirected: u64,
}
