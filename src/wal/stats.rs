//! Counters.

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks that became durable. Each was one write and one sync.
    pub blocks: u64,
    /// Those of them that hold nothing but confirm the block before them.
    pub marks: u64,
    /// Bytes of durable blocks, padding included.
    pub bytes: u64,
    /// Records appended.
    pub records: u64,
    /// Entries in them.
    pub entries: u64,
    /// Times the log moved on to another segment.
    pub rolls: u64,
    /// Segments made anew.
    pub segments_created: u64,
    /// Segments used again under another id.
    pub segments_recycled: u64,
    /// Segments removed from disk.
    pub segments_removed: u64,
    /// Failed attempts to prepare a segment (full disk).
    pub prepare_failures: u64,
    /// Segments that hold live or pinned data, the one being written included.
    pub segments_used: u64,
    /// Bytes appended and not yet durable.
    pub pending_bytes: u64,
    /// Reads of the log under way, those included whose entries nobody has taken yet.
    pub reads: u64,
    /// Bytes that they hold.
    pub read_bytes: u64,
    /// Reads that wait for their turn.
    pub reads_waiting: u64,
}
