//! The counters of the layers, by name.

use std::sync::LazyLock;

/// What one replica has counted.
pub(super) fn of_raft(counters: &raft::Counters) -> Vec<(&'static str, u64)> {
    static NAMES: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| names_of("raft", raft::Counters::default().list().map(|(name, ..)| name)));
    NAMES.iter().copied().zip(counters.list().map(|(_, _, count)| count)).collect()
}

/// Names with their layer in front. Counts are taken often: these are made once, for as long as the process lives.
fn names_of(layer: &str, names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    names.map(|name| &*format!("{layer}.{name}").leak()).collect()
}

/// What one log has counted.
pub(super) fn of_wal(stats: &wal::Stats) -> Vec<(&'static str, u64)> {
    static NAMES: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| names_of("wal", wal::Stats::default().list().map(|(name, ..)| name)));
    NAMES.iter().copied().zip(stats.list().map(|(_, _, figure)| figure)).collect()
}
