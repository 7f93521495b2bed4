//! SIGINT and SIGTERM, as a count that can be waited for.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How often the process was asked to stop. Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct StopRequests {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    count: Mutex<usize>,
    changed: Condvar,
}

impl StopRequests {
    /// Counts SIGINT and SIGTERM from now on, in place of what they would do otherwise.
    pub fn listen() -> io::Result<StopRequests> {
        let requests = StopRequests::default();
        let counted = requests.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let count = move || signals.forever().for_each(|_| counted.add());
        std::thread::Builder::new().name("signals".to_owned()).spawn(count)?;
        Ok(requests)
    }

    /// How often the process was asked to stop.
    pub fn count(&self) -> usize {
        *self.lock()
    }

    /// Counts one more request.
    pub fn add(&self) {
        *self.lock() += 1;
        self.shared.changed.notify_all();
    }

    /// Waits until the count exceeds `seen` or `time_max` has passed. Whether it does.
    pub fn wait(&self, seen: usize, time_max: Duration) -> bool {
        let waited = self.shared.changed.wait_timeout_while(self.lock(), time_max, |count| *count <= seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0 > seen
    }

    /// Waits until the count exceeds `seen`.
    pub fn wait_for_ever(&self, seen: usize) {
        const ROUND: Duration = Duration::from_secs(3_600);
        while !self.wait(seen, ROUND) {}
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        // A count is whole at any time, whoever panicked.
        self.shared.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_request_or_with_the_time() {
        let requests = StopRequests::default();
        assert!(!requests.wait(0, Duration::from_millis(1)));
        requests.add();
        assert!(requests.wait(0, Duration::from_secs(60)));
        assert!(!requests.wait(1, Duration::from_millis(1)));
        assert_eq!(requests.count(), 1);
    }
}
