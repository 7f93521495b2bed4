//! When commands of an open loop are due.
//!
//! The times are fixed before the run, and a latency counts from the time its command was *due*. A server that
//! pauses thus pays for every command that fell due during the pause, and not only for those that happened to
//! be on their way (the coordinated omission of closed loops).

use clap::ValueEnum;
use serde::Serialize;

use crate::load::rng::Rng;

/// How commands of an open loop are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At even distances
    #[default]
    Even,
    /// At random, as those of many users who do not know of each other; queues form below the full rate
    Poisson,
}

/// The schedule of one thread. Invariant: due times never fall behind one another and do not drift.
pub struct Schedule {
    interval_ns: f64,
    offset_ns: f64,
    issued: u64,
    // Of random arrivals: where chance comes from, and how far it has come, in ns.
    random: Option<(Rng, f64)>,
}

impl Schedule {
    /// The part of thread `thread_idx` of a schedule of `rate` commands a second that `threads_count` share.
    pub fn new(rate: f64, arrivals: Arrivals, seed: u64, thread_idx: u32, threads_count: u32) -> Schedule {
        let interval_ns = 1e9 / rate;
        let mut schedule = Schedule {
            interval_ns: interval_ns * f64::from(threads_count),
            offset_ns: interval_ns * f64::from(thread_idx),
            issued: 0,
            random: None,
        };
        if arrivals == Arrivals::Poisson {
            // Another stream than the one that chooses keys.
            let mut rng = Rng::new(seed ^ (u64::from(thread_idx) << 32) ^ 0xA441_7A15);
            let first_ns = schedule.interval_ns * exponential(&mut rng);
            schedule.random = Some((rng, first_ns));
        }
        schedule
    }

    /// When the next command is due, in ns since the start.
    pub fn next_due_ns(&self) -> u64 {
        match &self.random {
            Some((_, next_ns)) => *next_ns as u64,
            // From the count and not by adding up, so that rounding does not pile up.
            None => (self.offset_ns + self.issued as f64 * self.interval_ns) as u64,
        }
    }

    /// Takes the next command if it is due at `now_ns`: the time it was due.
    pub fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.next_due_ns();
        if due_ns > now_ns {
            return None;
        }
        self.issued += 1;
        if let Some((rng, next_ns)) = &mut self.random {
            *next_ns += self.interval_ns * exponential(rng);
        }
        Some(due_ns)
    }
}

/// A distance of random arrivals, whose mean is 1.
fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.unit()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_fall_due_evenly_and_without_drift() {
        let mut schedule = Schedule::new(3.0, Arrivals::Even, 1, 0, 1);
        assert_eq!(schedule.take_due(0), Some(0));
        assert_eq!(schedule.take_due(333_333_332), None, "one nanosecond early");
        let count = std::iter::from_fn(|| schedule.take_due(3_600_000_000_000 - 1)).count();
        assert_eq!(count, 3 * 3_600 - 1, "an hour of three a second");
    }

    #[test]
    fn threads_share_one_schedule() {
        let mut all: Vec<u64> = (0..4)
            .flat_map(|thread| {
                let mut schedule = Schedule::new(1_000.0, Arrivals::Even, 1, thread, 4);
                std::iter::from_fn(move || schedule.take_due(999_999_999)).collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..1_000).map(|idx| idx * 1_000_000).collect::<Vec<u64>>());
    }

    #[test]
    fn a_late_command_keeps_the_time_it_was_due() {
        let mut schedule = Schedule::new(1_000.0, Arrivals::Even, 1, 0, 1);
        let late: Vec<u64> = std::iter::from_fn(|| schedule.take_due(5_000_000)).collect();
        assert_eq!(late, [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]);
    }

    #[test]
    fn random_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let mut schedules: Vec<Schedule> =
            (0..2).map(|thread| Schedule::new(20_000.0, Arrivals::Poisson, 9, thread, 2)).collect();
        // How many arrive in each of 5,000 ms; the mean and the variance of a Poisson process are equal.
        let mut counts = vec![0.0; 5_000];
        for schedule in &mut schedules {
            while let Some(due_ns) = schedule.take_due(4_999_999_999) {
                counts[(due_ns / 1_000_000) as usize] += 1.0;
            }
        }
        let mean = counts.iter().sum::<f64>() / 5_000.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 5_000.0;
        assert!((19.7..20.3).contains(&mean), "{mean}");
        assert!((0.92..1.08).contains(&(variance / mean)), "{variance}");
    }
}
