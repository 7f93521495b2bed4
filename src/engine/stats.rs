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
    /// Entries that a follower did not take for want of room on its disk, by message.
    pub(crate) appends_refused: u64,
    pub(crate) frames_received: u64,
    pub(crate) frames_refused: u64,
    pub(crate) peers_refused: u64,
    pub(crate) messages_misdirected: u64,
    pub(crate) checkpoints_written: u64,
    pub(crate) checkpoints_failed: u64,
    pub(crate) checkpoint_bytes_written: u64,
    /// How long the last one took from its beginning to its name.
    pub(crate) checkpoint_last_ms: u64,
    pub(crate) snapshots_sent: u64,
    pub(crate) snapshots_received: u64,
    pub(crate) snapshots_failed: u64,
    pub(crate) snapshot_bytes_sent: u64,
    pub(crate) snapshot_bytes_received: u64,
    /// The longest turn, in microseconds.
    pub(crate) turn_us_max: u64,
}

impl Stats {
    /// All counts with their names.
    pub(crate) fn list(&self) -> [(&'static str, u64); 22] {
        [
            ("turns", self.turns),
            ("connections_received", self.connections_received),
            ("clients_stalled", self.clients_stalled),
            ("protocol_errors", self.protocol_errors),
            ("commands_processed", self.commands_processed),
            ("error_replies", self.error_replies),
            ("batches_proposed", self.batches_proposed),
            ("commands_proposed", self.commands_proposed),
            ("commands_applied", self.commands_applied),
            ("reads_by_lease", self.reads_by_lease),
            ("reads_by_index", self.reads_by_index),
            ("reads_in_batch", self.reads_in_batch),
            ("commands_forwarded", self.commands_forwarded),
            ("commands_parked", self.commands_parked),
            ("commands_redirected", self.commands_redirected),
            ("outcomes_unknown", self.outcomes_unknown),
            ("leaderships_gained", self.leaderships_gained),
            ("leaderships_lost", self.leaderships_lost),
            ("frames_received", self.frames_received),
            ("frames_refused", self.frames_refused),
            ("peers_refused", self.peers_refused),
            ("messages_misdirected", self.messages_misdirected),
        ]
    }
}
