//! The limits of a core's queues, in one place. Sizes are in bytes.

use std::time::Duration;

use wire::CHUNK_BYTES_MAX;

use types::limits::{BATCH_BYTES_MAX, COMMAND_BYTES_MAX, ENTRY_BYTES_MAX, FRAME_BYTES_MAX, REPLY_BYTES_MAX};

/// Requests of one connection without a reply; beyond it the connection is not read.
pub const CLIENT_REQUESTS_COUNT_MAX: usize = 1_024;
/// Replies held for one connection, whatever happens: a read that would add to more than this is answered with an
/// error. Reads that had to wait are answered together, so their number alone does not bound them.
pub const CLIENT_REPLIES_BYTES_MAX: usize = 64 << 20;
/// Input held for one connection beyond the command it is in the middle of.
pub const CLIENT_INPUT_BYTES_MAX: usize = 256 << 10;
/// Commands and reads that wait in one group, to be proposed or served, before its clients wait.
pub const BATCHES_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;
/// Commands this core has forwarded and not got an answer to, and those that wait for a leader; beyond it gateway clients are
/// not read. Groups of which no command is answered have half of it together.
pub const FORWARDED_COUNT_MAX: usize = 65_536;
/// Reads of one group that wait outside of batches, before its clients wait: a write of a core that has forwarded all of them takes
/// them into its batch at once, which takes 0.2 µs for each.
pub const WAITING_READS_COUNT_MAX: usize = 4_096;
/// Batches of one group that are proposed and not applied: what is to be done with all of them at once, when it is known that they
/// fail, is little. Commands collect in the next one meanwhile.
pub const PROPOSALS_COUNT_MAX: usize = 1_024;
/// Batches of one group that are proposed and not applied, beyond which nothing is proposed while a block of the own log is being
/// written. More make smaller batches: with eight the rate of 1,000 clients falls by a tenth.
pub const PROPOSED_AHEAD_COUNT_MAX: usize = 2;
/// Commands of one group that are in flight to its leader; a single command may exceed it. In bytes, with what each costs
/// itself.
pub const ROUTE_IN_FLIGHT_BYTES_MAX: usize = 4 << 20;
/// Commands of one group that wait for its leader, and their bytes: beyond them commands are refused while no leader is
/// known, and clients wait while there is one.
pub const QUEUED_COUNT_MAX: usize = 4_096;
/// See [`QUEUED_COUNT_MAX`].
pub const QUEUED_BYTES_MAX: usize = 8 << 20;
/// Commands of other cores that wait in one group; beyond it those of the core that has most go back. In bytes, with what
/// each costs itself.
pub const FORWARDED_BYTES_MAX: usize = 64 << 20;
/// Arguments of one connection's requests without a reply, in bytes; a single request may exceed it.
pub const CLIENT_REQUESTS_BYTES_MAX: usize = 16 << 20;
/// Forwarded commands and replies queued for another core while a frame to it is on its way; beyond it clients whose
/// commands would go there wait, and commands that came from there are held.
pub const OUTBOX_BYTES_MAX: usize = 16 << 20;
/// Raft messages queued likewise; beyond it they are dropped, and Raft sends again.
pub const OUTBOX_MESSAGES_BYTES_MAX: usize = 64 << 20;
/// Payloads of one frame; a single message may exceed it.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// Network events handled in one turn, so that ticks and writes are never starved.
pub const EVENTS_PER_TURN_MAX: usize = 1_024;
/// Commands that a turn handles of each kind (`shares.rs` names them); of all kinds together it handles two to four times as
/// many. Of all of these there may be as many as [`FORWARDED_COUNT_MAX`] and more at once, such as when a leader is lost or
/// found. Most take 0.1 to 0.6 µs each.
pub const COMMANDS_PER_TURN_MAX: usize = 1_024;
/// Their bytes, those of the replies included; the last command may exceed it.
pub const BYTES_PER_TURN_MAX: usize = 4 << 20;
/// Commands and replies of other cores that came and wait for their turn; beyond it a turn takes in more.
pub const INBOX_BYTES_MAX: usize = 64 << 20;
/// Commands of one batch, with the reads among them: an entry of the log is applied in one go. With keys that lie anywhere in
/// memory that takes 0.6 µs for each.
pub const BATCH_COMMANDS_MAX: usize = 1_024;
/// Clients that are added to the reply of a CLIENT LIST in one turn: there may be very many of them.
pub const CLIENTS_LISTED_PER_TURN_MAX: usize = 256;
/// Clients of a core that may be shown all commands at a time: each turn's lines are copied for every one of them.
pub const MONITORS_COUNT_MAX: usize = 8;
/// Lines about the commands of one turn are written for them up to about this length, in bytes; further ones are lost.
pub const MONITORED_PER_TURN_BYTES_MAX: usize = 64 << 10;
/// What may wait for one of them, in bytes; beyond it lines are lost.
pub const MONITOR_OUTPUT_BYTES_MAX: usize = 512 << 10;
/// Rows of tables that are being read for commands at a time.
pub const ROW_READS_IN_FLIGHT_MAX: usize = 64;
/// Rows that leave memory in one turn, in bytes.
pub const EVICT_TURN_BYTES: usize = 256 << 10;
/// Rows of a group that are looked at for that in one turn.
pub const EVICT_LOOKS_MAX: usize = 500;
/// Reads and writes that wait for rows of tables, on a core; beyond it reads are refused.
pub const ROW_READS_COUNT_MAX: usize = 4_096;
/// Values that were read from tables for commands and are not in use yet, in bytes; the oldest read goes on all the same.
pub const ROW_READS_BYTES_MAX: usize = 64 << 20;
/// Rows that are asked for together when a group waits for the next one: those of commands behind it.
pub const ROWS_AHEAD_COUNT_MAX: usize = 256;
/// Values of such rows, in bytes; those of the command that waits come on top.
pub const ROWS_AHEAD_BYTES_MAX: usize = 8 << 20;
/// Connections that wait for a handshake on the peer port.
pub const GREETINGS_COUNT_MAX: usize = 256;

/// Connections that may come in on a core's peer port, whatever clients do: one from every core of every other node, the
/// one that replaces it, and those that have not introduced themselves yet.
pub const fn peer_conns_count_max(other_cores_count: usize) -> usize {
    2 * other_cores_count + GREETINGS_COUNT_MAX
}

/// What one read of the log brings, for a follower or to apply it; a single entry may exceed it.
pub const LOG_READ_BYTES_MAX: usize = 512 << 10;
/// Log that is being read back, or was read and not handed to Raft yet; a single read may exceed it.
pub const LOG_READS_BYTES_MAX: usize = 8 << 20;
/// Log that was read back and is handed to Raft in one turn, to be applied or sent; a single read may exceed it.
pub const LOG_READS_TURN_BYTES: usize = 512 << 10;
/// Log that is not durable yet; beyond it nothing is proposed, and entries of leaders are left for later.
pub const LOG_PENDING_BYTES_MAX: usize = 64 << 20;
/// What a turn copies of a group's rows for a flush; a single value may exceed it.
pub const FLUSH_TURN_BYTES: usize = 64 << 10;
/// Payloads of a flush that wait to be written before no more is copied ahead.
pub const FLUSH_PAYLOADS_MAX: usize = 4;
/// Copies for a flush, those made because commands change what was not written yet included; beyond it clients
/// are not read.
pub const FLUSH_COPIES_BYTES_MAX: usize = 64 << 20;
/// How fast a flush works, so that the log keeps most of the disk. Each row counts about twice: when it comes, and when it is written.
pub const FLUSH_BYTES_PER_SECOND_MAX: u64 = 512 << 20;
/// How fast a merge works. Each row counts when it is read, and about twice when it is written.
pub const MERGE_BYTES_PER_SECOND_MAX: u64 = 256 << 20;
/// How fast tables are checked that were sent and of no use to whoever has received them.
pub const RECHECK_BYTES_PER_SECOND_MAX: u64 = 64 << 20;
/// How fast tables are read whose rows are to come back into memory.
pub const WARM_BYTES_PER_SECOND_MAX: u64 = 1 << 30;
/// Rows that a turn takes in of them, in bytes; a single value may exceed it.
pub const WARM_TURN_BYTES: usize = 64 << 10;
/// Rows that a turn takes in of them: about 50 µs.
pub const WARM_TURN_ROWS: usize = 256;
/// How fast the rows of a group are digested, to be compared with those of its other replicas.
pub const COMPARE_BYTES_PER_SECOND_MAX: u64 = 64 << 20;
/// States that wait to be digested, on a core, each of which holds on to the tables of a group.
pub const DIGESTS_COUNT_MAX: usize = 8;
/// Notes about comparisons in one frame, of which each takes up to 8 KiB.
pub const COMPARISON_NOTES_COUNT_MAX: usize = 16;
/// Notes about replicas in one frame, of some bytes each.
pub const REPLICA_NOTES_COUNT_MAX: usize = 1_024;
/// How fast a state that was received is loaded.
pub const LOAD_BYTES_PER_SECOND_MAX: u64 = 256 << 20;
/// How fast a snapshot is received from another core.
pub const SNAPSHOT_RECEIVE_BYTES_PER_SECOND_MAX: u64 = 64 << 20;
/// Length of a snapshot that may be received, in bytes, whatever is said: its room is reserved before anything of it is written.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 40;

/// A snapshot that has come in less time is taken as it is; else what is new by then is received, too.
pub const SNAPSHOT_ROUND_MIN: Duration = Duration::from_secs(3);
/// Runs of tables of a group that is being sent, beyond which its tables are merged all the same.
pub const SENT_RUNS_COUNT_MAX: usize = 32;
/// Snapshots kept open to be sent.
pub const SNAPSHOT_SENDS_COUNT_MAX: usize = 16;
/// Answers about chunks of snapshots in one frame.
pub const CHUNKS_COUNT_MAX: usize = 16;

/// Rows of a core that take up no more than this are not looked for ahead of the commands of a pipeline: the last cache of the CPU holds
/// most of them. Measured with pipelines of 16 `GET` on a CPU with 32 MiB of it: where a core has 31 MiB of rows the rate falls by 5 %, where
/// it has 300 MiB it rises by 18 %. In a batch keys are looked for ahead from an eighth on, as there they need not be found first.
pub const CACHED_ROWS_BYTES_MAX: usize = 32 << 20;

/// Those limits that hold clients and peers back when they are reached. [`Limits::default`] is what a node uses; smaller
/// ones make full queues common, for those who check what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`CLIENT_REQUESTS_COUNT_MAX`].
    pub client_requests_count_max: usize,
    /// See [`CLIENT_REQUESTS_BYTES_MAX`].
    pub client_requests_bytes_max: usize,
    /// What a client's command may be.
    pub commands: resp::Limits,
    /// See [`CLIENT_INPUT_BYTES_MAX`].
    pub client_input_bytes_max: usize,
    /// See [`CLIENT_REPLIES_BYTES_MAX`].
    pub client_replies_bytes_max: usize,
    /// See [`BATCHES_BYTES_MAX`].
    pub batches_bytes_max: usize,
    /// See [`FORWARDED_COUNT_MAX`].
    pub forwarded_count_max: usize,
    /// See [`COMMANDS_PER_TURN_MAX`].
    pub commands_per_turn_max: usize,
    /// See [`BATCH_COMMANDS_MAX`].
    pub batch_commands_max: usize,
    /// See [`INBOX_BYTES_MAX`].
    pub inbox_bytes_max: usize,
    /// See [`ROUTE_IN_FLIGHT_BYTES_MAX`].
    pub route_in_flight_bytes_max: usize,
    /// See [`QUEUED_COUNT_MAX`].
    pub queued_count_max: usize,
    /// See [`QUEUED_BYTES_MAX`].
    pub queued_bytes_max: usize,
    /// See [`FORWARDED_BYTES_MAX`].
    pub forwarded_bytes_max: usize,
    /// See [`OUTBOX_BYTES_MAX`].
    pub outbox_bytes_max: usize,
    /// See [`OUTBOX_MESSAGES_BYTES_MAX`].
    pub outbox_messages_bytes_max: usize,
    /// Longest chunk in which a snapshot is sent, a multiple of [`host::ALIGNMENT`] and at most
    /// [`CHUNK_BYTES_MAX`].
    pub chunk_bytes_max: usize,
    /// See [`SNAPSHOT_ROUND_MIN`].
    pub snapshot_round_min: Duration,
    /// See [`SNAPSHOT_SENDS_COUNT_MAX`].
    pub snapshot_sends_count_max: usize,
    /// See [`ROW_READS_BYTES_MAX`].
    pub row_reads_bytes_max: usize,
    /// Rows that tables hold, too, leave memory when rows take up more than this, in bytes, whatever room there is.
    pub rows_bytes_max: usize,
    /// See [`CACHED_ROWS_BYTES_MAX`].
    pub cached_rows_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            client_requests_count_max: CLIENT_REQUESTS_COUNT_MAX,
            client_requests_bytes_max: CLIENT_REQUESTS_BYTES_MAX,
            commands: resp::Limits::default(),
            client_input_bytes_max: CLIENT_INPUT_BYTES_MAX,
            client_replies_bytes_max: CLIENT_REPLIES_BYTES_MAX,
            batches_bytes_max: BATCHES_BYTES_MAX,
            forwarded_count_max: FORWARDED_COUNT_MAX,
            commands_per_turn_max: COMMANDS_PER_TURN_MAX,
            batch_commands_max: BATCH_COMMANDS_MAX,
            inbox_bytes_max: INBOX_BYTES_MAX,
            route_in_flight_bytes_max: ROUTE_IN_FLIGHT_BYTES_MAX,
            queued_count_max: QUEUED_COUNT_MAX,
            queued_bytes_max: QUEUED_BYTES_MAX,
            forwarded_bytes_max: FORWARDED_BYTES_MAX,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            outbox_messages_bytes_max: OUTBOX_MESSAGES_BYTES_MAX,
            chunk_bytes_max: CHUNK_BYTES_MAX,
            snapshot_round_min: SNAPSHOT_ROUND_MIN,
            snapshot_sends_count_max: SNAPSHOT_SENDS_COUNT_MAX,
            row_reads_bytes_max: ROW_READS_BYTES_MAX,
            rows_bytes_max: usize::MAX,
            cached_rows_bytes_max: CACHED_ROWS_BYTES_MAX,
        }
    }
}

const _: () = {
    assert!(BATCHES_BYTES_MAX >= BATCH_BYTES_MAX);
    assert!(BATCH_COMMANDS_MAX <= COMMANDS_PER_TURN_MAX);
    // A frame: messages with entries, forwarded commands, replies; each cut at its bound, behind one of any length.
    const MESSAGES: usize = FRAME_PAYLOAD_BYTES_MAX + ENTRY_BYTES_MAX;
    const REQUESTS: usize = OUTBOX_BYTES_MAX + COMMAND_BYTES_MAX;
    const REPLIES: usize =
        if FRAME_PAYLOAD_BYTES_MAX > REPLY_BYTES_MAX { FRAME_PAYLOAD_BYTES_MAX } else { REPLY_BYTES_MAX };
    const CHUNKS: usize = CHUNKS_COUNT_MAX * CHUNK_BYTES_MAX;
    const NOTES: usize = COMPARISON_NOTES_COUNT_MAX * wire::DIGEST_BYTES;
    // Each group with as many members as there may be takes less.
    const REPORT: usize = wire::REPORT_GROUPS_COUNT_MAX << 10;
    const METADATA: usize = 16 << 20;
    assert!(MESSAGES + REQUESTS + REPLIES + CHUNKS + NOTES + REPORT + METADATA < FRAME_BYTES_MAX);
    assert!(CHUNK_BYTES_MAX.is_multiple_of(host::ALIGNMENT));
};
