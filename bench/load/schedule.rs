//! When commands of an open loop are due.
//!
//! The times are fixed before the run, and a latency counts from the time its command was *due*. A server that
//! pauses thus pays for every command that fell due during the pause, and not only for those that happened to
//! be on their way (the coordinated omission of closed loops).

/// The schedule of one thread. Invariant: due times never fall behind one another and do not drift.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval_ns: f64,
    offset_ns: f64,
    issued: u64,
}

impl Schedule {
    /// The part of thread `thread_idx` of a schedule of `rate` commands a second that `threads_count` share.
    pub fn new(rate: f64, thread_idx: u32, threads_count: u32) -> Schedule {
        let interval_ns = 1e9 / rate;
        Schedule {
            interval_ns: interval_ns * f64::from(threads_count),
            offset_ns: interval_ns * f64::from(thread_idx),
            issued: 0,
        }
    }

    /// When the next command is due, in ns since the start.
    pub fn next_due_ns(&self) -> u64 {
        // From the count and not by adding up, so that rounding does not pile up.
        (self.offset_ns + self.issued as f64 * self.interval_ns) as u64
    }

    /// Takes the next command if it is due at `now_ns`: the time it was due.
    pub fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.next_due_ns();
        (due_ns <= now_ns).then(|| {
            self.issued += 1;
            due_ns
        })
    }

    /// How many commands are due before `end_ns` but were never taken.
    pub fn untaken_before(&self, end_ns: u64) -> u64 {
        let due = (end_ns as f64 - self.offset_ns) / self.interval_ns;
        (due.max(0.0).ceil() as u64).saturating_sub(self.issued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_fall_due_evenly_and_without_drift() {
        let mut schedule = Schedule::new(3.0, 0, 1);
        assert_eq!(schedule.take_due(0), Some(0));
        assert_eq!(schedule.take_due(333_333_332), None, "one nanosecond early");
        let count = std::iter::from_fn(|| schedule.take_due(3_600_000_000_000 - 1)).count();
        assert_eq!(count, 3 * 3_600 - 1, "an hour of three a second");
    }

    #[test]
    fn threads_share_one_schedule() {
        let mut all: Vec<u64> = (0..4)
            .flat_map(|thread| {
                let mut schedule = Schedule::new(1_000.0, thread, 4);
                std::iter::from_fn(move || schedule.take_due(999_999_999)).collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..1_000).map(|idx| idx * 1_000_000).collect::<Vec<u64>>());
    }

    #[test]
    fn a_late_command_keeps_the_time_it_was_due() {
        let mut schedule = Schedule::new(1_000.0, 0, 1);
        let late: Vec<u64> = std::iter::from_fn(|| schedule.take_due(5_000_000)).collect();
        assert_eq!(late, [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]);
        assert_eq!(schedule.untaken_before(10_000_000), 4, "6, 7, 8 and 9 ms");
    }
}
