//! The limits of a core's queues, in one place. Sizes are in bytes.

use wire::CHUNK_BYTES_MAX;

use types::limits::{BATCH_BYTES_MAX, COMMAND_BYTES_MAX, ENTRY_BYTES_MAX, FRAME_BYTES_MAX, REPLY_BYTES_MAX};

/// Requests of one connection without a reply; beyond it the connection is not read.
pub const CLIENT_REQUESTS_COUNT_MAX: usize = 1_024;
/// Replies held for one connection, whatever happens: a read that would add to more than this is answered with an
/// error. Reads that had to wait are answered together, so their number alone does not bound them.
pub const CLIENT_REPLIES_BYTES_MAX: usize = 64 << 20;
/// Input held for one connection beyond the command it is in the middle of.
pub const CLIENT_INPUT_BYTES_MAX: usize = 256 << 10;
/// Commands a group collects for its next batches before its clients are no longer read.
pub const FORMING_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;
/// Commands this core has forwarded and not got an answer to; beyond it gateway clients are not read.
pub const FORWARDS_COUNT_MAX: usize = 65_536;
/// Their bytes, with those of commands that wait for their group to get a leader.
pub const FORWARDS_BYTES_MAX: usize = 64 << 20;
/// Commands of one other core that wait here for room; beyond it all go back. In bytes, with what each costs itself.
pub const HELD_BYTES_MAX: usize = FORWARDS_BYTES_MAX;
/// Commands that wait for their group to get a leader.
pub const PARKED_COUNT_MAX: usize = 16_384;
/// Forwarded commands and replies queued for another core while a frame to it is on its way; beyond it clients whose
/// commands would go there wait, and commands that came from there are held.
pub const OUTBOX_BYTES_MAX: usize = 16 << 20;
/// Raft messages queued likewise; beyond it they are dropped, and Raft sends again.
pub const OUTBOX_MESSAGES_BYTES_MAX: usize = 64 << 20;
/// Payloads of one frame; a single message may exceed it.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// Network events handled in one turn, so that ticks and writes are never starved.
pub const EVENTS_PER_TURN_MAX: usize = 1_024;
/// Connections that wait for a handshake on the peer port.
pub const GREETINGS_COUNT_MAX: usize = 256;
/// What a turn copies of a state for a checkpoint; a single value may exceed it.
pub const CHECKPOINT_TURN_BYTES: usize = 64 << 10;
/// Blocks of a checkpoint that wait to be written before no more is copied ahead.
pub const CHECKPOINT_PAYLOADS_MAX: usize = 4;
/// Copies for a checkpoint, those made because commands change what was not written yet included; beyond it clients
/// are not read.
pub const CHECKPOINT_WALKED_BYTES_MAX: usize = 64 << 20;
/// How fast a checkpoint is written, so that the log keeps most of the disk.
pub const CHECKPOINT_BYTES_PER_SECOND_MAX: u64 = 256 << 20;
/// How fast a checkpoint is taken over from another core.
pub const SNAPSHOT_BYTES_PER_SECOND_MAX: u64 = 64 << 20;
/// Checkpoints kept open to be handed over.
pub const SERVED_FILES_MAX: usize = 16;
/// Answers about pieces of checkpoints in one frame.
pub const CHUNKS_COUNT_MAX: usize = 16;

/// Those limits that hold clients and peers back when they are reached. [`Limits::default`] is what a node uses; smaller
/// ones make full queues common, for those who check what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`CLIENT_REQUESTS_COUNT_MAX`].
    pub client_requests_count_max: usize,
    /// What a client's command may be.
    pub commands: resp::Limits,
    /// See [`CLIENT_INPUT_BYTES_MAX`].
    pub client_input_bytes_max: usize,
    /// See [`CLIENT_REPLIES_BYTES_MAX`].
    pub client_replies_bytes_max: usize,
    /// See [`FORMING_BYTES_MAX`].
    pub forming_bytes_max: usize,
    /// See [`FORWARDS_COUNT_MAX`].
    pub forwards_count_max: usize,
    /// See [`FORWARDS_BYTES_MAX`].
    pub forwards_bytes_max: usize,
    /// See [`HELD_BYTES_MAX`].
    pub held_bytes_max: usize,
    /// See [`PARKED_COUNT_MAX`].
    pub parked_count_max: usize,
    /// See [`OUTBOX_BYTES_MAX`].
    pub outbox_bytes_max: usize,
    /// See [`OUTBOX_MESSAGES_BYTES_MAX`].
    pub outbox_messages_bytes_max: usize,
    /// Longest piece in which a checkpoint is handed over, a multiple of [`host::ALIGNMENT`] and at most
    /// [`CHUNK_BYTES_MAX`].
    pub chunk_bytes_max: usize,
    /// See [`SERVED_FILES_MAX`].
    pub served_files_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            client_requests_count_max: CLIENT_REQUESTS_COUNT_MAX,
            commands: resp::Limits::default(),
            client_input_bytes_max: CLIENT_INPUT_BYTES_MAX,
            client_replies_bytes_max: CLIENT_REPLIES_BYTES_MAX,
            forming_bytes_max: FORMING_BYTES_MAX,
            forwards_count_max: FORWARDS_COUNT_MAX,
            forwards_bytes_max: FORWARDS_BYTES_MAX,
            held_bytes_max: HELD_BYTES_MAX,
            parked_count_max: PARKED_COUNT_MAX,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            outbox_messages_bytes_max: OUTBOX_MESSAGES_BYTES_MAX,
            chunk_bytes_max: CHUNK_BYTES_MAX,
            served_files_max: SERVED_FILES_MAX,
        }
    }
}

const _: () = {
    assert!(FORMING_BYTES_MAX >= BATCH_BYTES_MAX);
    // A frame: messages with entries, forwarded commands, replies; each cut at its bound, behind one of any length.
    const MESSAGES: usize = FRAME_PAYLOAD_BYTES_MAX + ENTRY_BYTES_MAX;
    const REQUESTS: usize = OUTBOX_BYTES_MAX + COMMAND_BYTES_MAX;
    const REPLIES: usize =
        if FRAME_PAYLOAD_BYTES_MAX > REPLY_BYTES_MAX { FRAME_PAYLOAD_BYTES_MAX } else { REPLY_BYTES_MAX };
    const CHUNKS: usize = CHUNKS_COUNT_MAX * CHUNK_BYTES_MAX;
    const METADATA: usize = 16 << 20;
    assert!(MESSAGES + REQUESTS + REPLIES + CHUNKS + METADATA < FRAME_BYTES_MAX);
    assert!(CHUNK_BYTES_MAX.is_multiple_of(host::ALIGNMENT));
};
