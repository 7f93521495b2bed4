//! How often rare things happened.

/// Counts since the start of the replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages for another group or another replica, dropped.
    pub not_addressed_here: u64,
    /// Messages from a replica that is no other voter of the group, dropped.
    pub unknown_sender: u64,
    /// Messages of an earlier term, dropped or answered with ours.
    pub stale_term: u64,
    /// Messages that contradict themselves or the protocol, dropped.
    pub malformed: u64,
    /// Votes and pre-votes denied out of loyalty to a leader that may be alive.
    pub votes_denied: u64,
    /// Pre-campaigns begun.
    pub pre_campaigns: u64,
    /// Campaigns begun.
    pub campaigns: u64,
    /// Elections won.
    pub elections_won: u64,
    /// Times a leader stepped down because no majority answered it any more.
    pub quorum_lost: u64,
    /// Appends refused because our log did not match.
    pub appends_refused: u64,
    /// Times a follower answered heartbeats and had taken none of the entries sent to it.
    pub appends_untaken: u64,
    /// Log reads whose answer was no longer of use.
    pub log_reads_stale: u64,
    /// Log reads that failed.
    pub log_reads_failed: u64,
    /// Heartbeats that would commit what we do not hold: this replica has lost entries.
    pub commits_beyond_log: u64,
    /// Times a follower needed entries that have left the log's beginning, and there was no snapshot to offer it.
    pub peers_behind_log: u64,
    /// Leadership transfers begun.
    pub transfers: u64,
    /// Leadership transfers given up.
    pub transfers_timed_out: u64,
    /// Times the log's beginning was dropped.
    pub compactions: u64,
    /// Snapshots offered to followers, repetitions included.
    pub snapshots_offered: u64,
    /// Offers that showed that this replica lacks what only a snapshot has, repetitions included.
    pub snapshots_wanted: u64,
    /// States taken over from a snapshot.
    pub snapshots_restored: u64,
    /// States fetched in vain: the log had caught up meanwhile.
    pub snapshots_stale: u64,
    /// Changes of membership begun that change voters.
    pub joint_entered: u64,
    /// Joint states left.
    pub joint_left: u64,
    /// Configurations undone because their entry was cut off.
    pub memberships_undone: u64,
    /// Leaders that stepped down because they do not vote any more.
    pub leaders_removed: u64,
    /// Leadership transfers begun because a voter of higher priority was fit to lead.
    pub transfers_by_priority: u64,
    /// Times this replica fell silent with its group.
    pub quiesced: u64,
    /// Times it woke from that.
    pub woken: u64,
    /// Heartbeats that would have silenced this replica, and came too late or while it lacked something.
    pub silences_declined: u64,
    /// Times the heartbeat interval followed the round trips measured.
    pub heartbeat_interval_changes: u64,
    /// Times the spread of election timeouts followed the round trips and writes measured.
    pub campaign_spread_changes: u64,
    /// Times a follower's refusal sent a leader back over a whole term or more.
    pub terms_skipped: u64,
    /// Times a follower's window of Appends under way was full: the next one waits for an answer.
    pub windows_closed: u64,
    /// Reads by lease refused because there was none.
    pub leases_missing: u64,
    /// Reads by ReadIndex refused because too many were waiting.
    pub reads_refused: u64,
    /// Reads by ReadIndex that failed because leadership was lost.
    pub reads_failed: u64,
    /// Proposals refused because leadership was being handed over.
    pub proposals_during_transfer: u64,
    /// Proposals refused because too much is uncommitted.
    pub proposals_refused: u64,
}
