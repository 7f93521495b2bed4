//! How many batches without commands a core proposes, so that keys that are due are gone.

use std::collections::VecDeque;
use std::time::Duration;

use types::Instant;

/// Most of them that a core may propose for a group in a second. By its clock it is one in 100 ms; that clock may be fast, and it
/// counts from tick to tick.
const COUNT_MAX: u64 = 13;

/// The counts of a core, as far as they were told within the last second.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeBatches(VecDeque<(Instant, u64)>);

impl TimeBatches {
    /// A core that may lead this many groups tells how many there were since it was started.
    ///
    /// # Errors
    /// There were too many in a second.
    pub(super) fn count(&mut self, at: Instant, count: u64, groups_count: usize) -> Result<(), String> {
        if self.0.back().is_some_and(|(_, known)| *known > count) {
            // It was started anew.
            self.0.clear();
        }
        self.0.push_back((at, count));
        while self.0.front().is_some_and(|(begin, _)| at.since(*begin) > Duration::from_secs(1)) {
            self.0.pop_front();
        }
        let (_, first) = self.0[0];
        let (within, most) = (count - first, COUNT_MAX * groups_count as u64);
        if within <= most {
            return Ok(());
        }
        Err(format!(
            "has proposed {within} batches without commands in a second, of at most {most} for {groups_count} groups"
        ))
    }
}
