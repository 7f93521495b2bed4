//! How often rare things happened.

/// Makes the struct and its list out of one entry per counter: what it counts, and its name.
macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)*) => {
        /// Counts since the start of the replica.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $name: u64,)*
        }

        impl Counters {
            /// Every counter: its name, what it counts in words, and its value.
            pub fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($help),+).trim_ascii_start(), self.$name),)*].into_iter()
            }

            /// Adds what another replica has counted.
            pub fn merge(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

impl Counters {
    /// Messages of leaders that cannot be what they say if this replica is right. Whoever sends one is broken or forged it,
    /// or the group's safety is lost: nothing of it is taken in, and somebody should look.
    pub fn contradictions(&self) -> u64 {
        self.rival_leaders + self.appends_contradicting
    }
}

counters! {
    /// Messages for another group or another replica, dropped.
    not_addressed_here,
    /// Messages from a replica that is no other voter of the group, dropped.
    unknown_sender,
    /// Messages of an earlier term, dropped or answered with ours.
    stale_term,
    /// Messages whose term was too far ahead to be believed, dropped.
    terms_refused,
    /// Messages that contradict themselves or the protocol, dropped.
    malformed,
    /// Messages of another leader of the term in which this replica leads, dropped.
    rival_leaders,
    /// Appends that contradict an entry committed here, dropped.
    appends_contradicting,
    /// Votes and pre-votes denied because a leader may be alive.
    votes_denied,
    /// Pre-campaigns begun.
    pre_campaigns,
    /// Campaigns begun.
    campaigns,
    /// Elections won.
    elections_won,
    /// Times a leader stepped down because no majority answered it any more.
    quorum_lost,
    /// Appends refused because our log did not match.
    appends_refused,
    /// Times a follower answered heartbeats and had taken none of the entries sent to it.
    appends_untaken,
    /// Log reads whose answer was no longer of use.
    log_reads_stale,
    /// Log reads that failed.
    log_reads_failed,
    /// Heartbeats that would commit what we do not hold: this replica has lost entries.
    commits_beyond_log,
    /// Times a follower needed entries that have left the log's beginning, and there was no snapshot to offer it.
    peers_behind_log,
    /// Leadership transfers begun.
    transfers,
    /// Leadership transfers given up.
    transfers_timed_out,
    /// Times the log's beginning was dropped.
    compactions,
    /// Snapshots offered to followers, repetitions included.
    snapshots_offered,
    /// Offers that showed that this replica lacks what only a snapshot has, repetitions included.
    snapshots_wanted,
    /// States taken over from a snapshot.
    snapshots_restored,
    /// States received in vain: the log had caught up meanwhile.
    snapshots_stale,
    /// Changes of membership begun that change voters.
    joint_entered,
    /// Joint states left.
    joint_left,
    /// Configurations undone because their entry was cut off.
    memberships_undone,
    /// Leaders that stepped down because they do not vote any more.
    leaders_removed,
    /// Leadership transfers begun because a voter of higher priority was fit to lead.
    transfers_by_priority,
    /// Times this replica quiesced.
    quiesced,
    /// Times a leader quiesced though a member had not been heard for a long time.
    quiesced_with_absent,
    /// Times it woke from that.
    woken,
    /// Times this replica did not quiesce with its leader: it lacked something, or the heartbeat came late.
    quiesce_declined,
    /// Times the heartbeat interval followed the round trips measured.
    heartbeat_interval_changes,
    /// Times the spread of election timeouts followed the round trips and writes measured.
    campaign_spread_changes,
    /// Times a follower's refusal sent a leader back over a whole term or more.
    terms_skipped,
    /// Times a follower's window of Appends under way was full: the next one waits for an answer.
    windows_closed,
    /// Reads by lease refused because there was none.
    leases_missing,
    /// Reads by ReadIndex refused because too many were waiting.
    reads_refused,
    /// Reads by ReadIndex that failed because leadership was lost.
    reads_failed,
    /// Proposals refused because leadership was being handed over.
    proposals_during_transfer,
    /// Proposals refused because too much is uncommitted.
    proposals_refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_listed_with_its_name_its_help_and_its_value() {
        let counters = Counters { stale_term: 3, appends_untaken: 7, ..Counters::default() };
        let of = |name| counters.list().find(|(known, _, _)| *known == name);
        assert_eq!(
            of("stale_term"),
            Some(("stale_term", "Messages of an earlier term, dropped or answered with ours.", 3))
        );
        assert_eq!(of("appends_untaken").map(|(_, _, count)| count), Some(7));
        assert_eq!(counters.list().map(|(_, _, count)| count).sum::<u64>(), 10);
        assert!(counters.list().all(|(_, help, _)| help.ends_with('.') && !help.starts_with(' ')));
        assert_eq!(counters.list().count() * size_of::<u64>(), size_of::<Counters>());
    }
}
