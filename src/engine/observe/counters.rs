//! The counters of a core: one line gives a counter its field, its name and its help.

use types::Instant;

/// Declares the counters once, and from them the list that INFO and the simulator read. The node's value of a counter
/// is the sum of its cores' or the greatest of them.
macro_rules! counters {
    (sums { $($sum:ident: $sum_help:literal,)* } maxima { $($max:ident: $max_help:literal,)* }) => {
        /// What a core has counted since it started, or since CONFIG RESETSTAT.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Counters {
            /// When the core started. RESETSTAT leaves it alone.
            pub(crate) started_at: Instant,
            $(#[doc = $sum_help] pub(crate) $sum: u64,)*
            $(#[doc = $max_help] pub(crate) $max: u64,)*
        }

        impl Counters {
            /// The names of those that are no sums, and so may fall.
            pub(crate) const MAXIMA: &[&str] = &[$(stringify!($max),)*];

            /// How many counters there are.
            pub(crate) const COUNT: usize = [$($sum_help,)* $($max_help,)*].len();

            /// Every counter: its name, what it counts, and its value.
            pub(crate) fn list(&self) -> [(&'static str, &'static str, u64); Counters::COUNT] {
                [
                    $((stringify!($sum), $sum_help, self.$sum),)*
                    $((stringify!($max), $max_help, self.$max),)*
                ]
            }

            /// Adds what another core of the node has counted.
            pub(crate) fn merge(&mut self, other: &Counters) {
                self.started_at = self.started_at.min(other.started_at);
                $(self.$sum += other.$sum;)*
                $(self.$max = self.$max.max(other.$max);)*
            }
        }
    };
}

counters! {
    sums {
        turns: "Passes of the core's loop.",
        connections_received: "Client connections accepted.",
        client_bytes_received: "Bytes received from clients.",
        client_bytes_sent: "Bytes sent to clients.",
        clients_evicted: "Clients closed because requests filled the memory that they may and this one held most.",
        clients_stalled: "Clients closed because they did not take their replies.",
        clients_throttled: "Times a limit has kept a client's next command waiting.",
        protocol_errors: "Client connections closed because of bytes that are no command.",
        cross_protocol_refused: "Client connections closed because they spoke HTTP.",
        commands_processed: "Commands of clients taken in.",
        error_replies: "Replies that are errors.",
        keyspace_hits: "Keys that reads found.",
        keyspace_misses: "Keys that reads did not find.",
        monitor_lines_lost: "Lines that clients in MONITOR were not shown, since they did not take those before in time.",
        batches_proposed: "Batches proposed, each as one log entry.",
        commands_proposed: "Commands in them.",
        commands_applied: "Commands applied, as leader or follower.",
        reads_by_lease: "Reads answered under the leader's lease.",
        reads_by_index: "Reads answered after a majority confirmed the leader.",
        reads_in_batch: "Reads answered at their place in a batch, behind a write of the same connection.",
        reads_for_expiry: "Reads that waited for a batch, since the key was due and replicated time had not come that far.",
        batches_for_expiry: "Batches without commands, proposed so that keys that are due are gone.",
        expired_keys: "Keys removed because their time had come, in groups that are led here.",
        commands_forwarded: "Commands sent to the core that leads their group.",
        commands_requeued: "Commands that went back to their queue because the leadership had moved.",
        commands_sliced: "Turns that left commands to the next one, of those that a lost leader leaves or a new one takes.",
        commands_redirected: "Commands answered MOVED.",
        batches_not_applied: "Batches whose place in the log another leader's entry took, so that they never ran.",
        appends_refused: "Messages with entries that a follower did not take for want of room on its disk.",
        leaderships_gained: "Elections won by replicas of this core.",
        leaderships_lost: "Leaderships lost or handed over.",
        commands_admitted_full: "Commands that make room, taken in while the disk was full.",
        appends_admitted_full: "Messages with entries of such commands that a follower took while its log had no room for others.",
        disk_reserves_given_up: "How often a core found its disk full and gave up its reserve, for what frees room.",
        disk_reserves_made: "How often it made that again, as there was room.",
        frames_sent: "Frames sent to other cores.",
        frames_received: "Frames of other cores taken in.",
        frames_refused: "Frames refused as malformed; their connection was closed.",
        messages_dropped: "Raft messages dropped because a link was down or had too many; Raft sends them again.",
        messages_misdirected: "Raft messages for a group without a replica here.",
        leader_notes_refused: "Notes about leaders that name an unknown group or core, or an impossible term.",
        peers_refused: "Connections to the peer port that were refused.",
        flushes: "Flushes: rows that had changed were written to tables.",
        flushes_failed: "Flushes that failed and are tried again.",
        flush_bytes_written: "Bytes of tables and blob files that flushes have written.",
        merges: "Merges of tables.",
        merges_failed: "Merges that failed and are tried again.",
        merge_bytes_written: "Bytes of tables that merges have written.",
        rows_read: "Rows read from tables, for commands that needed them.",
        reads_from_disk: "Reads that had to wait for rows of tables.",
        applies_from_disk: "How often a group had to wait for rows of tables to go on applying.",
        rows_evicted_bytes: "Bytes of rows that were dropped from memory, as tables hold them.",
        groups_warmed: "Groups of which all rows came back into memory, as their tables were read from the first row to the last.",
        rows_warmed: "Rows that this brought into memory.",
        rows_warmed_known: "Rows that it came across and did not need: something newer was known of the key, or its time had come.",
        warmings_cut_short: "Groups of which not all rows came back into memory, as it had no room for more.",
        warmings_overtaken: "Groups of which not all rows came back into memory, as rows left it meanwhile, or all were removed or replaced.",
        group_stalls: "How often writers of a group that is led here began to wait or to be refused, for whatever reason.",
        group_stall_us: "For how long they did, all groups added up, in microseconds.",
        write_stalls: "How often writes began to wait until rows had left memory.",
        write_stall_us: "For how long they did, in microseconds.",
        tables_damaged: "How often tables of a group turned out to be damaged, and its rows were written anew.",
        states_lost: "How often they did while memory did not hold all rows, so that another replica's state has to take their place.",
        digests_made: "Digests made of the rows of a group, to compare its replicas.",
        comparisons: "Comparisons of the replicas of groups that are led here.",
        comparisons_unfinished: "Comparisons that ended without a result.",
        comparisons_differing: "Comparisons that found replicas with different rows.",
        membership_changes: "Changes of a group's members that were begun here.",
        replicas_begun: "Replicas that began here to take the place of others.",
        replicas_destroyed: "Replicas here that belonged to their groups no more, and were destroyed.",
        replicas_left: "Replicas that held other rows than most of their group, and left.",
        replicas_rebuilt: "Replicas of these that took over another one's state.",
        scrub_passes: "Passes of the scrub that have ended: all that the core had at rest was read and checked.",
        scrub_bytes: "Bytes that the scrub has read.",
        scrub_damaged: "Tables, blob files, copies of the manifest and segments of the log that the scrub found damaged.",
        scrub_unread: "Those that it could not read for other reasons.",
        scrub_errors_passed: "Errors that the scrub met and that were not there when it read again.",
        snapshots_sent: "Snapshots sent whole to other replicas.",
        snapshots_received: "Snapshots received and installed.",
        snapshots_failed: "Snapshots that could not be received.",
        snapshots_given_up: "Those of them that nobody sent.",
        snapshots_overtaken: "Those of them that a newer one replaced meanwhile.",
        snapshot_rounds: "Further rounds of snapshots, in which what is new by then was received.",
        snapshot_bytes_sent: "Bytes of snapshots sent.",
        snapshot_bytes_received: "Bytes of snapshots received.",
        reports_taken: "Reports of nodes and groups that the leader of group 0 has taken in.",
        reports_refused: "Reports that it has not: nobody leads there who says so, or somebody later does.",
        planner_rounds: "Rounds of the planner that have ended.",
        planner_rounds_lost: "Those of them whose result was dropped, since the leadership had changed, or that failed.",
        planner_steps_return: "Steps by which replicas of nodes that are back stay.",
        planner_steps_dead: "Steps by which others take the places of replicas on nodes that are down.",
        planner_steps_silent: "Steps by which others take the places of replicas that are not heard, on nodes that are.",
        planner_steps_fitness: "Steps by which others lead, as a disk is full or does not write.",
        planner_steps_drain: "Steps by which others lead, as a node is to lead nothing.",
        planner_steps_racks: "Steps by which replicas leave a rack that they share.",
        planner_steps_room: "Steps by which replicas leave a disk that is too full.",
        planner_steps_leave: "Steps by which replicas leave a node that is to leave.",
        planner_steps_bytes: "Steps by which replicas leave a node that has more bytes than others.",
        planner_steps_leaders: "Steps by which others lead, as a node leads more than others.",
        planner_steps_cores: "Steps by which replicas change their core, as loads of cores are unlike.",
        planner_dismissals: "Nodes that the planner had removed, as nothing was left on them that were to leave.",
    }
    maxima {
        flush_last_ms: "How long the last flush took, in milliseconds.",
    }
}

impl Counters {
    /// All zero.
    pub(crate) fn new(started_at: Instant) -> Counters {
        Counters { started_at, ..Counters::default() }
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&mut self) {
        *self = Counters::new(self.started_at);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_node_counts_what_its_cores_do() {
        let mut node = Counters { turns: 3, flush_last_ms: 7, ..Counters::new(Instant::from_nanos(9)) };
        let other = Counters { turns: 4, flush_last_ms: 5, ..Counters::new(Instant::from_nanos(2)) };
        node.merge(&other);
        assert_eq!((node.turns, node.flush_last_ms, node.started_at), (7, 7, Instant::from_nanos(2)));
    }

    #[test]
    fn reset_leaves_the_start_alone() {
        let mut counters = Counters { turns: 3, ..Counters::new(Instant::from_nanos(9)) };
        counters.reset();
        assert_eq!(counters, Counters::new(Instant::from_nanos(9)));
    }

    #[test]
    fn the_list_names_every_counter_once_and_says_what_it_counts() {
        let counters = Counters { turns: 1, flush_last_ms: 2, ..Counters::default() };
        let list = counters.list();
        assert_eq!(list.iter().map(|(name, ..)| name).collect::<HashSet<_>>().len(), Counters::COUNT);
        assert!(list.iter().all(|(_, help, _)| help.ends_with('.')));
        assert_eq!((list[0].0, list[0].2), ("turns", 1));
        assert_eq!(list.iter().map(|(.., value)| value).sum::<u64>(), 3);
    }
}
