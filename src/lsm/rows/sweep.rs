//! What looking for rows whose time has come has seen.
//!
//! A sweep goes round and round over the segments of the slots in which rows expire. It keeps no list of what expires when: that
//! would cost as much memory as short rows do, and a row's expiry may be changed at any time.

/// What a part of a sweep has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows that it has looked at.
    pub looked_count: usize,
    /// Rows among them that it has removed.
    pub removed_count: usize,
    /// Rows among them that are due by the clock, and not by the time by which rows are removed.
    pub due_count: usize,
    /// Rows among them that expire later, and for how long they have to live, in milliseconds.
    pub living_count: usize,
    /// See `living_count`.
    pub living_ms: u64,
}

impl Swept {
    /// For how long rows that expire later have to live, in milliseconds; `None` if it has seen none.
    pub fn mean_ttl_ms(&self) -> Option<u64> {
        self.living_ms.checked_div(self.living_count as u64)
    }
}
