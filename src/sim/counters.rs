//! The counters of the layers, by name.

/// What one replica has counted.
pub fn of_raft(counters: &raft::Counters) -> Vec<(&'static str, u64)> {
    vec![
        ("raft.not_addressed_here", counters.not_addressed_here),
        ("raft.unknown_sender", counters.unknown_sender),
        ("raft.stale_term", counters.stale_term),
        ("raft.malformed", counters.malformed),
        ("raft.votes_denied", counters.votes_denied),
        ("raft.pre_campaigns", counters.pre_campaigns),
        ("raft.campaigns", counters.campaigns),
        ("raft.elections_won", counters.elections_won),
        ("raft.quorum_lost", counters.quorum_lost),
        ("raft.appends_refused", counters.appends_refused),
        ("raft.log_reads_stale", counters.log_reads_stale),
        ("raft.log_reads_failed", counters.log_reads_failed),
        ("raft.commits_beyond_log", counters.commits_beyond_log),
        ("raft.peers_behind_log", counters.peers_behind_log),
        ("raft.transfers", counters.transfers),
        ("raft.transfers_timed_out", counters.transfers_timed_out),
        ("raft.proposals_refused", counters.proposals_refused),
        ("raft.compactions", counters.compactions),
        ("raft.snapshots_offered", counters.snapshots_offered),
        ("raft.snapshots_wanted", counters.snapshots_wanted),
        ("raft.snapshots_restored", counters.snapshots_restored),
        ("raft.snapshots_stale", counters.snapshots_stale),
        ("raft.quiesced", counters.quiesced),
        ("raft.woken", counters.woken),
        ("raft.silences_declined", counters.silences_declined),
        ("raft.transfers_by_priority", counters.transfers_by_priority),
        ("raft.heartbeat_interval_changes", counters.heartbeat_interval_changes),
        ("raft.campaign_spread_changes", counters.campaign_spread_changes),
        ("raft.terms_skipped", counters.terms_skipped),
        ("raft.windows_closed", counters.windows_closed),
        ("raft.leases_missing", counters.leases_missing),
        ("raft.reads_refused", counters.reads_refused),
        ("raft.reads_failed", counters.reads_failed),
        ("raft.proposals_during_transfer", counters.proposals_during_transfer),
    ]
}

/// What one log has counted.
pub fn of_wal(stats: &wal::Stats) -> Vec<(&'static str, u64)> {
    vec![
        ("wal.blocks", stats.blocks),
        ("wal.marks", stats.marks),
        ("wal.bytes", stats.bytes),
        ("wal.records", stats.records),
        ("wal.entries", stats.entries),
        ("wal.rolls", stats.rolls),
        ("wal.segments_created", stats.segments_created),
        ("wal.segments_recycled", stats.segments_recycled),
        ("wal.segments_removed", stats.segments_removed),
        ("wal.prepare_failures", stats.prepare_failures),
    ]
}
