//! What was written to the copies of a manifest.

/// What both copies of a manifest hold, as whoever writes them knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Id of the store.
    pub store: u64,
    /// The epoch.
    pub epoch: u64,
    /// Blocks of it.
    pub blocks: u64,
    /// Their length in bytes.
    pub end: u64,
    /// Checksum of the last one's header.
    pub chain: u32,
}
