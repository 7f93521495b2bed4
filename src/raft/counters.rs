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
    /// Proposals refused because too much is uncommitted.
    pub proposals_refused: u64,
}
