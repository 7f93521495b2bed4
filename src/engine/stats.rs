//! Counters of a core, for INFO.

use types::Instant;

/// What a core has done since it started (or since CONFIG RESETSTAT).
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) started_at: Instant,
    pub(crate) turns: u64,
    pub(crate) connections_received: u64,
    pub(crate) clients_stalled: u64,
    /// Times a limit has kept a client's commands waiting.
    pub(crate) clients_held_back: u64,
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
    /// Batches whose place in the log another leader's entry has taken, so that they never ran.
    pub(crate) batches_not_applied: u64,
    /// Writes refused for want of room on the disk.
    pub(crate) writes_refused: u64,
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
    /// Written ones that turned out to be damaged when they were handed over.
    pub(crate) checkpoints_damaged: u64,
    pub(crate) checkpoint_bytes_written: u64,
    /// How long the last one took from its beginning to its name.
    pub(crate) checkpoint_last_ms: u64,
    pub(crate) snapshots_sent: u64,
    pub(crate) snapshots_received: u64,
    pub(crate) snapshots_failed: u64,
    /// Those of them that nobody handed over.
    pub(crate) snapshots_given_up: u64,
    /// Those of them that were replaced by a newer one while they were being taken over.
    pub(crate) snapshots_overtaken: u64,
    pub(crate) snapshot_bytes_sent: u64,
    pub(crate) snapshot_bytes_received: u64,
    /// The longest turn, in microseconds.
    pub(crate) turn_us_max: u64,
}

impl Stats {
    /// All counts with their names. `errors_sent` counts the errors that were answered later than at once.
    pub(crate) fn list(&self, errors_sent: u64) -> [(&'static str, u64); 35] {
        [
            ("turns", self.turns),
            ("connections_received", self.connections_received),
            ("clients_stalled", self.clients_stalled),
            ("clients_held_back", self.clients_held_back),
            ("protocol_errors", self.protocol_errors),
            ("commands_processed", self.commands_processed),
            ("error_replies", self.error_replies + errors_sent),
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
            ("batches_not_applied", self.batches_not_applied),
            ("writes_refused", self.writes_refused),
            ("appends_refused", self.appends_refused),
            ("leaderships_gained", self.leaderships_gained),
            ("leaderships_lost", self.leaderships_lost),
            ("frames_received", self.frames_received),
            ("frames_refused", self.frames_refused),
            ("peers_refused", self.peers_refused),
            ("messages_misdirected", self.messages_misdirected),
            ("checkpoints_written", self.checkpoints_written),
            ("checkpoints_failed", self.checkpoints_failed),
            ("checkpoints_damaged", self.checkpoints_damaged),
            ("snapshots_sent", self.snapshots_sent),
            ("snapshots_received", self.snapshots_received),
            ("snapshots_failed", self.snapshots_failed),
            ("snapshots_given_up", self.snapshots_given_up),
            ("snapshots_overtaken", self.snapshots_overtaken),
            ("snapshot_bytes_received", self.snapshot_bytes_received),
        ]
    }
}
