//! How many commands and bytes per second there are now, as Redis measures it: the mean of sixteen samples, one every
//! 100 ms.

use std::time::Duration;

use types::Instant;

use crate::observe::counters::Counters;

const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
const SAMPLES_COUNT: usize = 16;

/// Commands and bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Commands of clients.
    pub(crate) commands: u64,
    /// Bytes from clients.
    pub(crate) bytes_received: u64,
    /// Bytes to clients.
    pub(crate) bytes_sent: u64,
}

impl Rate {
    fn of(counters: &Counters) -> Rate {
        Rate {
            commands: counters.commands_processed,
            bytes_received: counters.client_bytes_received,
            bytes_sent: counters.client_bytes_sent,
        }
    }

    /// Combines each figure with the one of `other`.
    fn zip(self, other: Rate, combine: impl Fn(u64, u64) -> u64) -> Rate {
        Rate {
            commands: combine(self.commands, other.commands),
            bytes_received: combine(self.bytes_received, other.bytes_received),
            bytes_sent: combine(self.bytes_sent, other.bytes_sent),
        }
    }

    /// Adds the rates of another core of the node.
    pub(crate) fn merge(&mut self, other: Rate) {
        *self = self.zip(other, |mine, theirs| mine + theirs);
    }
}

/// The samples of a core.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    samples: [Rate; SAMPLES_COUNT],
    next: usize,
    sampled_at: Instant,
    counted: Rate,
}

impl Rates {
    /// Takes a sample if the last one is long enough ago. Called at every tick.
    pub(crate) fn tick(&mut self, now: Instant, counters: &Counters) {
        let elapsed = now.since(self.sampled_at);
        if elapsed < SAMPLE_INTERVAL {
            return;
        }
        let counted = Rate::of(counters);
        let is_first = self.sampled_at == Instant::ZERO;
        if !is_first {
            let millis = elapsed.as_millis() as u64;
            // After CONFIG RESETSTAT the counters are below what they were.
            let per_second = |now: u64, then: u64| now.saturating_sub(then) * 1_000 / millis;
            self.samples[self.next] = counted.zip(self.counted, per_second);
            self.next = (self.next + 1) % SAMPLES_COUNT;
        }
        (self.sampled_at, self.counted) = (now, counted);
    }

    /// The rate now.
    pub(crate) fn now(&self) -> Rate {
        let mut sum = Rate::default();
        self.samples.iter().for_each(|sample| sum.merge(*sample));
        sum.zip(Rate::default(), |sum, _| sum / SAMPLES_COUNT as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks every 25 ms for `millis`, with that many commands per tick; the counters go on.
    fn run(rates: &mut Rates, counters: &mut Counters, from: u64, millis: u64, commands: u64) {
        for tick in 1..=millis / 25 {
            counters.commands_processed += commands;
            counters.client_bytes_received += 10 * commands;
            counters.client_bytes_sent += 5 * commands;
            rates.tick(Instant::ZERO + Duration::from_millis(from + tick * 25), counters);
        }
    }

    #[test]
    fn a_steady_rate_is_shown_as_it_is_and_fades_when_it_ends() {
        let (mut rates, mut counters) = (Rates::default(), Counters::default());
        run(&mut rates, &mut counters, 0, 2_000, 25);
        assert_eq!(rates.now(), Rate { commands: 1_000, bytes_received: 10_000, bytes_sent: 5_000 });
        run(&mut rates, &mut counters, 2_000, 800, 0);
        assert_eq!(rates.now().commands, 500);
        run(&mut rates, &mut counters, 2_800, 800, 0);
        assert_eq!(rates.now(), Rate::default());
    }

    #[test]
    fn reset_counters_do_not_make_a_rate() {
        let (mut rates, mut counters) = (Rates::default(), Counters::default());
        run(&mut rates, &mut counters, 0, 1_600, 25);
        counters.reset();
        run(&mut rates, &mut counters, 1_600, 1_700, 0);
        assert_eq!(rates.now(), Rate::default());
    }

    #[test]
    fn what_was_counted_before_the_first_sample_is_no_rate() {
        let mut rates = Rates::default();
        let counters = Counters { commands_processed: 1 << 40, ..Counters::default() };
        rates.tick(Instant::from_nanos(1 << 50), &counters);
        assert_eq!(rates.now(), Rate::default());
    }
}
