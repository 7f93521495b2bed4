//! How fast a core works in the background.

use std::time::Duration;

use host::{Clock, Spawn};
use lsm::write::Pace;

/// Lets turns go first, and works no faster than so many bytes per second.
pub(super) struct BackgroundPace<H> {
    host: H,
    bytes_per_second_max: u64,
}

impl<H> BackgroundPace<H> {
    pub(super) fn new(host: H, bytes_per_second_max: u64) -> BackgroundPace<H> {
        BackgroundPace { host, bytes_per_second_max }
    }
}

impl<H: Clock + Spawn> Pace for BackgroundPace<H> {
    async fn pause(&self, bytes: usize) {
        let took = Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.bytes_per_second_max);
        // Also a wait that is over at once lets the turn loop run.
        self.host.sleep_until(self.host.now() + took).await;
    }
}
