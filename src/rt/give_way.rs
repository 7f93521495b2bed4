//! Giving way to others that are about to run on the same CPU, behind each sleep of a core.
//!
//! What wakes a core is often the first of many things: the first of fifty clients that have just been answered and
//! now send again, one after another. Where those run on the core's own CPU (a load generator, the other nodes of
//! `coracle dev`), the kernel prefers the thread that wakes to the one that is sending, and the core would make a
//! turn, a frame and a log block for each of them. So it calls `sched_yield` first: the others send what they have,
//! and one turn takes all of it. On a CPU of its own the call finds nobody and returns at once.
//!
//! The kernel hands a CPU over for a whole slice if the other one computes instead of sending and going to sleep
//! (a compiler, say), and that would cost every turn some milliseconds. And where nobody has anything to send, the
//! call is wasted. So the core looks at what giving way has brought and cost: if nothing came meanwhile it lets a few
//! sleeps pass before it tries again, and if it took longer than [`LENT_MAX`] many, each time twice as many.

use std::thread;
use std::time::Duration;

use crate::clock;

/// The longest time that one who answers and goes to sleep takes; less than a slice of the scheduler (3 ms).
const LENT_MAX: Duration = Duration::from_micros(1_500);
/// How many sleeps pass at most, and at least, without giving way after a time that took too long. With 10,000 sleeps
/// a second, one that computes gets two or three slices of it.
const SKIPPED_MAX: u32 = 4_096;
const SKIPPED_MIN: u32 = 16;
/// How many pass at most after times that brought nothing.
const IDLE_SKIPPED_MAX: u32 = 32;

/// What giving way once has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// More has arrived for the core.
    Paid,
    /// Nothing has.
    Idle,
    /// The other one has kept the CPU.
    TooLong,
}

/// Whether a core gives way behind its next sleep.
#[derive(Debug, Default)]
pub(crate) struct GiveWay {
    /// How many sleeps are still to pass before the core tries again.
    skips_left: u32,
    /// How many passed, or are to pass, after the last try; halved by each that pays.
    skips: u32,
}

impl GiveWay {
    /// The core has slept and is awake: lets others run first, if that has paid lately. `arrived` says whether there is
    /// more to do than before; its answer is returned.
    pub(crate) fn after_sleep(&mut self, mut arrived: impl FnMut() -> bool) -> bool {
        if !self.is_due() {
            return false;
        }
        let before = clock::now();
        thread::yield_now();
        let lent = clock::now().since(before);
        let has_arrived = arrived();
        self.ended(match has_arrived {
            _ if lent > LENT_MAX => Outcome::TooLong,
            true => Outcome::Paid,
            false => Outcome::Idle,
        });
        has_arrived
    }

    fn is_due(&mut self) -> bool {
        let is_due = self.skips_left == 0;
        self.skips_left = self.skips_left.saturating_sub(1);
        is_due
    }

    fn ended(&mut self, outcome: Outcome) {
        self.skips = match outcome {
            Outcome::Paid => self.skips / 2,
            // What is left of a long pause is not made longer by this.
            Outcome::Idle => (self.skips * 2).clamp(1, IDLE_SKIPPED_MAX.max(self.skips)),
            Outcome::TooLong => (self.skips * 2).clamp(SKIPPED_MIN, SKIPPED_MAX),
        };
        self.skips_left = self.skips;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `sleeps` sleeps the core gives way behind, if each time comes to `outcome`.
    fn given(way: &mut GiveWay, sleeps: u32, outcome: Outcome) -> u32 {
        let mut given = 0;
        for _ in 0..sleeps {
            if way.is_due() {
                given += 1;
                way.ended(outcome);
            }
        }
        given
    }

    #[test]
    fn a_core_gives_way_every_time_while_that_pays() {
        assert_eq!(given(&mut GiveWay::default(), 1_000, Outcome::Paid), 1_000);
    }

    #[test]
    fn one_that_computes_gets_ever_fewer_slices() {
        let mut way = GiveWay::default();
        assert_eq!(given(&mut way, 1 + SKIPPED_MIN, Outcome::TooLong), 1, "once, then a pause");
        assert_eq!(given(&mut way, 1 + 2 * SKIPPED_MIN, Outcome::TooLong), 1, "a longer one");
        assert_eq!(given(&mut way, 20_000, Outcome::TooLong), 10, "64, 128, ... 4,096 sleeps lie between them");
        assert_eq!(way.skips, SKIPPED_MAX, "and never more");
    }

    #[test]
    fn a_core_with_a_cpu_of_its_own_seldom_tries() {
        let mut way = GiveWay::default();
        given(&mut way, 1_000, Outcome::Idle);
        assert_eq!(way.skips, IDLE_SKIPPED_MAX);
        assert_eq!(given(&mut way, 33_000, Outcome::Idle), 1_000, "one of 33 sleeps");
    }

    #[test]
    fn a_core_gives_way_again_once_that_pays_again() {
        for before in [Outcome::TooLong, Outcome::Idle] {
            let mut way = GiveWay::default();
            given(&mut way, 20_000, before);
            given(&mut way, 2 * SKIPPED_MAX, Outcome::Paid);
            assert_eq!(given(&mut way, 1_000, Outcome::Paid), 1_000, "two long pauses are all that is left of it");
        }
    }

    #[test]
    fn a_try_that_brings_nothing_does_not_make_a_long_pause_longer() {
        let mut way = GiveWay::default();
        given(&mut way, 20_000, Outcome::TooLong);
        given(&mut way, 20_000, Outcome::Idle);
        assert_eq!(way.skips, SKIPPED_MAX);
    }
}
