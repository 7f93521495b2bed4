//! How fast a core works in the background.

use std::cell::Cell;
use std::time::Duration;

use host::{Clock, Spawn};
use lsm::write::Pace;
use types::Instant;

/// So far may work be ahead of its rate before it waits. Less than that would mostly be the time that a timer takes to be noticed, and
/// work would be many times as slow as it may be.
const AHEAD_MAX: Duration = Duration::from_millis(1);

/// Lets turns go first, and works no faster than so many bytes per second.
pub(super) struct BackgroundPace<H> {
    host: H,
    bytes_per_second_max: Cell<u64>,
    /// When what was done until now would be done at that rate.
    due: Cell<Instant>,
}

impl<H> BackgroundPace<H> {
    pub(super) fn new(host: H, bytes_per_second_max: u64) -> BackgroundPace<H> {
        BackgroundPace { host, bytes_per_second_max: Cell::new(bytes_per_second_max), due: Cell::new(Instant::ZERO) }
    }

    /// From now on no faster than that.
    pub(super) fn set_rate(&self, bytes_per_second_max: u64) {
        self.bytes_per_second_max.set(bytes_per_second_max);
    }
}

impl<H: Clock + Spawn> Pace for BackgroundPace<H> {
    async fn pause(&self, bytes: usize) {
        let now = self.host.now();
        let took = Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.bytes_per_second_max.get());
        // Time in which nothing was done is not made up for.
        let due = self.due.get().max(now) + took;
        self.due.set(due);
        // Also a wait that is over at once lets the turn loop run.
        let until = if due > now + AHEAD_MAX { due } else { now };
        self.host.sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use host::TaskClass;

    use super::*;
    use crate::storage::fake::FakeHost;

    #[test]
    fn work_goes_at_its_rate_and_waits_seldom() {
        let host = FakeHost::default();
        let pace = BackgroundPace::new(host.clone(), 1_000_000);
        let (done, waits) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let (is_done, waited, of_task) = (Rc::clone(&done), Rc::clone(&waits), host.clone());
        host.spawn(TaskClass::Background, async move {
            for _ in 0..100 {
                let before = of_task.now();
                pace.pause(100).await;
                waited.set(waited.get() + u32::from(of_task.now() > before));
            }
            is_done.set(true);
        });
        let begun_at = host.now();
        while !done.get() {
            host.run_tasks();
            host.advance(Duration::from_micros(10));
        }
        let took = host.now().since(begun_at);
        assert!((Duration::from_millis(9)..Duration::from_millis(11)).contains(&took), "{took:?} for 10,000 bytes");
        assert!((5..=10).contains(&waits.get()), "it waited {} times", waits.get());
    }
}
