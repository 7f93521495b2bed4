//! The counters of the layers, by name.

use std::sync::LazyLock;

/// What one replica has counted.
pub fn of_raft(counters: &raft::Counters) -> Vec<(&'static str, u64)> {
    // Counts are taken often: the names are made once, for as long as the process lives.
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let name = |(name, _, _)| &*format!("raft.{name}").leak();
        raft::Counters::default().list().map(name).collect()
    });
    NAMES.iter().copied().zip(counters.list().map(|(_, _, count)| count)).collect()
}

/// What one log has counted.
pub fn of_wal(stats: &wal::Stats) -> Vec<(&'static str, u64)> {
    vec![
        ("wal.blocks", stats.blocks),
        ("wal.marks", stats.marks),
        ("wal.bytes", stats.bytes),
        ("wal.records", stats.records),
        ("wal.entries", stats.entries),
        ("wal.rolls", stats.rolls),
        ("wal.segments_created", stats.segments_created),
        ("wal.segments_recycled", stats.segments_recycled),
        ("wal.segments_removed", stats.segments_removed),
        ("wal.prepare_failures", stats.prepare_failures),
    ]
}
