//! Rare paths: states that a campaign must have reached before its silence means anything.

use std::collections::BTreeMap;

use crate::faults::{FAULTS, FaultKind};

/// Paths that a campaign with `--require-rare` must reach, by the names under which [`crate::report::Report::counters`]
/// counts them, with what each means.
pub const REQUIRED: &[(&str, &str)] = &[
    ("world: a crash lost a write", "nothing of a block that was being written is on the disk"),
    ("world: a crash left a write whole", "a block is durable whose end nobody has seen"),
    ("world: a crash tore a write behind its beginning", "a torn tail that begins like a block"),
    ("world: a crash left a write without its beginning", "a torn tail whose header is not there"),
    ("world: a drive's cache lost a write", "a start has seen what no disk keeps"),
    ("world: a crash met another disk operation", "a file being made, renamed or read"),
    ("world: a process died while it was starting", "recovery is itself interrupted"),
    ("world: a write failed", "the log is poisoned"),
    ("world: a write was lost", "a gap in the chain of blocks"),
    ("world: a write was misdirected", "a valid block in a wrong place"),
    ("world: a read failed", "recovery or a slow follower's log read meets an unreadable sector"),
    ("world: a read stood still", "what tables have told comes behind what was written since"),
    ("world: a disk was full", "no next segment"),
    ("world: a replica was quarantined", "damage was noticed"),
    ("world: a node ended by itself", "a core has given up"),
    ("world: a node stopped in order", "leaderships were handed over"),
    ("world: a message was lost", "Raft sends again"),
    ("world: a message was repeated", "Raft ignores it"),
    ("world: a message was overtaken", "Raft bears it"),
    ("world: a crash met a chosen moment", "what was just begun is half done"),
    ("world: a connection was reset behind a FLUSHALL", "part of it may have run, and nobody may send it again"),
    ("world: a turn was stopped behind its clock", "what the clock showed is old when it is used"),
    ("world: tables were read back", "its digest is compared with that of the state"),
    ("world: a node joined", "the map changes, and links are made while cores run"),
    (
        "world: a removed node has heard so",
        "links are closed while cores run, and a node ends since it is no part of the cluster",
    ),
    ("planner_rounds_lost", "a round ends when another leads, or none"),
    ("planner_steps_dead", "a replica of a node that is down is replaced"),
    ("planner_steps_drain", "a leader leaves a node that is drained"),
    ("world: a mesh was full", "a message to another core of the node is handed back"),
    ("world: a stream was given up", "a cut lasted longer than a connection"),
    ("snapshot_rounds", "a snapshot took so long to come that there was a newer one"),
    ("raft.appends_refused", "a log did not match"),
    ("raft.votes_denied", "a leader may be alive"),
    ("raft.quorum_lost", "a leader that hears of no majority steps down"),
    ("raft.stale_term", "a message of an earlier term"),
    ("raft.transfers", "leadership was handed over"),
    ("raft.transfers_timed_out", "leadership was kept after all"),
    ("raft.log_reads_failed", "the log could not be read back"),
    ("reads_by_lease", "a read from memory"),
    ("reads_by_index", "a read behind a round to a majority"),
    ("reads_in_batch", "a read at its place among writes"),
    ("reads_for_expiry", "a read of a key that is due waits until time has gone on"),
    ("batches_for_expiry", "nobody writes, and time goes on so that keys are gone"),
    ("expired_keys", "a row whose time has come is removed"),
    ("commands_requeued", "commands go back to wait for a leader"),
    ("commands_sliced", "more commands are given up, or go on, than a turn should have"),
    ("outcomes_unknown", "writes whose fate is not known"),
    ("wal.marks", "an idle log confirms its last block"),
    ("wal.rolls", "the log moves on to another segment"),
    ("wal.prepare_failures", "no room for the next segment"),
    ("wal.segments_recycled", "a segment is used again, with the bytes of its former life"),
    ("wal.rewrites", "what a group without a majority cannot commit is written again, so that a segment can go"),
    ("refused_disk_full", "a leader whose disk is full refuses commands"),
    ("commands_admitted_full", "a leader whose disk is full takes in commands that delete"),
    ("appends_admitted_full", "a follower whose disk is full takes in what such commands made"),
    ("disk_reserves_given_up", "the reserve of a full disk is given up, for what frees room"),
    ("disk_reserves_made", "it is made again, as there is room"),
    ("refused_out_of_memory", "keys hold all the memory that they may"),
    ("appends_refused", "a follower whose disk is full leaves entries to later"),
    ("batches_not_applied", "another leader's entry has taken the place of a proposal"),
    ("clients_stalled", "a client that never reads is closed"),
    ("clients_throttled", "a queue is full"),
    ("raft.windows_closed", "a follower is sent no more before it answers"),
    ("raft.terms_skipped", "a log that contradicts the leader's over more than a term"),
    ("raft.leases_missing", "a read for which there is no lease"),
    ("raft.reads_failed", "a read whose leader was deposed meanwhile"),
    ("raft.quiesced", "a group falls silent"),
    ("raft.woken", "a silent group wakes"),
    ("raft.compactions", "the beginning of a log goes"),
    ("raft.snapshots_offered", "a follower needs what has gone"),
    ("raft.snapshots_restored", "a state is taken over"),
    ("flushes", "rows are flushed beside the turns"),
    ("flushes_failed", "a flush that failed"),
    ("rows_evicted_bytes", "rows that tables hold leave memory"),
    ("reads_from_disk", "a read waits for rows of tables"),
    ("applies_from_disk", "a group waits for rows of tables to go on applying"),
    ("merges", "tables are merged"),
    ("merges_failed", "a merge that failed"),
    ("tables_damaged", "damaged tables are written anew, or the state is lost"),
    ("groups_warmed", "behind a start a group's tables were read whole, and all of its keys are in memory again"),
    ("rows_warmed_known", "reading the tables behind a start met a key that was written, read or expired meanwhile"),
    ("warmings_cut_short", "not all rows came back behind a start, as memory had no more room"),
    (
        "warmings_overtaken",
        "rows left memory, or all were removed or replaced, while those of the tables were coming back",
    ),
    ("states_lost", "damaged tables whose rows are not all in memory: another replica's state takes their place"),
    ("world: a bit flipped under a running process", "what lies at rest rots, and nobody has read it yet"),
    ("scrub_passes", "all that a core has at rest is read and checked"),
    ("scrub_damaged", "the scrub finds what has rotted before anybody else needs it"),
    ("scrub_errors_passed", "a read of the scrub fails and succeeds when it is tried again"),
    ("replicas_begun", "a replica begins where none of its group was, or in the place of one that is lost"),
    ("replicas_destroyed", "one that belongs to its group no more is destroyed while its core runs"),
    ("membership_changes", "the members of a group follow the map"),
    ("digests_made", "a state is digested as of an entry, to be compared"),
    ("comparisons", "the replicas of a group are compared"),
    ("comparisons_unfinished", "a comparison ends without a result: replicas were busy, or the leader moved"),
];

/// Counts that are always 0 here, and why: nobody would learn anything from them.
pub const ABSENT: &[(&str, &str)] = &[
    ("protocol_errors", "the attacks that cores bear speak the protocol"),
    ("frames_refused", "streams here deliver what was sent"),
    ("peers_refused", "nodes here keep their identity"),
    ("raft.malformed", "only a broken world forges"),
    ("raft.rival_leaders", "only a broken world forges"),
    ("raft.appends_contradicting", "only a broken world forges"),
    ("raft.proposals_during_transfer", "the engine does not propose then"),
    ("raft.proposals_refused", "the engine does not propose more than Raft takes"),
    ("world: a message was forged", "only a broken world forges"),
    ("world: a row was altered", "only a broken world alters rows"),
    ("comparisons_differing", "only a broken world alters rows"),
    ("replicas_left", "only a broken world alters rows"),
    ("replicas_rebuilt", "only a broken world alters rows"),
];

/// Whether a campaign must reach it.
pub fn is_required(name: &str) -> bool {
    REQUIRED.iter().any(|(required, _)| *required == name)
}

/// Whether it cannot happen here.
pub fn is_absent(name: &str) -> bool {
    ABSENT.iter().any(|(absent, _)| *absent == name)
}

/// The required paths that `reached` lacks.
pub fn missing(reached: &BTreeMap<String, u64>) -> Vec<&'static str> {
    let lacks = |name: &&str| reached.get(*name).is_none_or(|count| *count == 0);
    REQUIRED.iter().map(|(name, _)| *name).filter(lacks).collect()
}

/// The kinds of faults that never took effect. Each is required.
pub fn missing_faults(injected: &BTreeMap<FaultKind, u64>) -> Vec<FaultKind> {
    FAULTS.iter().map(|row| row.kind).filter(|kind| !injected.contains_key(kind)).collect()
}
