//! Every limit that more than one layer must agree on, in one place. Sizes are in bytes.

/// Longest key.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// Longest value, and so the longest bulk string of a request.
pub const VALUE_BYTES_MAX: usize = 8 << 20;
/// Most arguments of one command, its name included.
pub const ARGUMENTS_COUNT_MAX: usize = 1_024 * 1_024;
/// Longest inline command and longest `*` or `$` header without its end of line.
pub const INLINE_BYTES_MAX: usize = 64 << 10;
/// Longest whole command, headers included: one value, its key and some room.
pub const COMMAND_BYTES_MAX: usize = 16 << 20;
/// Longest reply. A command whose reply would be longer is answered with an error that says what to ask for instead. It
/// has room for four of the longest values. Twice as long would not fit [`FRAME_BYTES_MAX`] beside what else a frame may
/// hold (the engine's limits check that), and a forwarded reply lies in memory three times at once: queued at the leader,
/// in the frame, and in the output of the client.
pub const REPLY_BYTES_MAX: usize = 32 << 20;

/// A batch is closed, and the next one begun, once its payload is this long. A single command may exceed it.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Longest payload of one log entry: a batch that was just short of full plus the longest command.
pub const ENTRY_BYTES_MAX: usize = BATCH_BYTES_MAX + COMMAND_BYTES_MAX + (64 << 10);
/// Longest frame between two cores: entries, forwarded commands and replies of one turn, and the metadata beside
/// them. Senders cut what they have into frames well below it.
pub const FRAME_BYTES_MAX: usize = 128 << 20;

/// Most groups of one cluster.
pub const GROUPS_COUNT_MAX: usize = 16_384;
/// Most nodes of one cluster.
pub const NODES_COUNT_MAX: usize = 1_024;
/// Most cores of one node.
pub const CORES_COUNT_MAX: usize = 256;
/// Most replicas of one group.
pub const REPLICAS_COUNT_MAX: usize = 9;

const _: () = {
    assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX < COMMAND_BYTES_MAX);
    assert!(BATCH_BYTES_MAX + COMMAND_BYTES_MAX < ENTRY_BYTES_MAX);
    assert!(ENTRY_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(FRAME_BYTES_MAX < u32::MAX as usize);
};
