//! How far a start has come with loading tables, told now and then.

use std::cell::Cell;
use std::time::Duration;

use host::Clock;
use lsm::write::Pace;
use types::{CoreAddr, Instant};

/// How often that is told. A start that takes less tells nothing.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Loads at full speed, and logs a line every few seconds.
pub(super) struct LoadProgress<H> {
    host: H,
    place: CoreAddr,
    /// Of all groups of the core.
    total_bytes: u64,
    done_bytes: Cell<u64>,
    told_at: Cell<Instant>,
}

impl<H: Clock> LoadProgress<H> {
    /// Before the first of so many bytes.
    pub(super) fn new(host: H, place: CoreAddr, total_bytes: u64) -> LoadProgress<H> {
        let told_at = Cell::new(host.now());
        LoadProgress { host, place, total_bytes, done_bytes: Cell::new(0), told_at }
    }

    /// Counts bytes that were read. Returns how many percent that makes, if it is time to tell.
    fn count(&self, bytes: usize) -> Option<u64> {
        self.done_bytes.set(self.done_bytes.get() + bytes as u64);
        let now = self.host.now();
        if now.since(self.told_at.get()) < TOLD_EVERY {
            return None;
        }
        self.told_at.set(now);
        // Filters and indexes count as well, and they are no part of the total.
        let done_bytes = self.done_bytes.get().min(self.total_bytes);
        Some(done_bytes.saturating_mul(100) / self.total_bytes.max(1))
    }
}

impl<H: Clock> Pace for LoadProgress<H> {
    async fn pause(&self, bytes: usize) {
        if let Some(percent) = self.count(bytes) {
            let total_mib = self.total_bytes >> 20;
            tracing::info!(core = %self.place, "loading tables: {percent} % of {total_mib} MiB");
        }
    }
}

#[cfg(test)]
mod tests {
    use types::{CoreId, NodeId};

    use super::*;
    use crate::storage::fake::FakeHost;

    #[test]
    fn it_is_told_every_two_seconds_how_far_a_load_has_come() {
        let host = FakeHost::default();
        let place = CoreAddr { node: NodeId(1), core: CoreId(0) };
        let progress = LoadProgress::new(host.clone(), place, 1_000);
        assert_eq!(progress.count(400), None);
        host.advance(Duration::from_secs(2));
        assert_eq!((progress.count(100), progress.count(100)), (Some(50), None));
        host.advance(Duration::from_secs(3));
        assert_eq!(progress.count(600), Some(100), "never more than all");
    }
}
