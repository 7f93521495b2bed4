//! The clocks of a node: one that only goes on, at its own pace, and one that claims to know the date. Both run at one pace, as those
//! of a machine do.

use types::Instant;

use crate::prng::PPM;

/// What the wall clocks show when a run begins, in milliseconds since 1970.
pub const UNIX_START_MS: u64 = 1_800_000_000_000;

/// The clocks of a node.
#[derive(Clone, Debug)]
pub struct NodeClock {
    /// At true time `base_true` the clock showed `base_local`; both in nanoseconds.
    base_true: u64,
    base_local: u64,
    /// What the clock showed when the run began.
    start_local: u64,
    /// How much faster than the truth it runs, in millionths; may be negative.
    drift_ppm: i64,
    unix_offset_ms: i64,
}

impl NodeClock {
    /// A clock that shows `start` nanoseconds when a run begins.
    pub fn new(start: u64, drift_ppm: i64) -> NodeClock {
        NodeClock { base_true: 0, base_local: start, start_local: start, drift_ppm, unix_offset_ms: 0 }
    }

    /// What the monotonic clock shows at a true time.
    pub fn now(&self, at: u64) -> Instant {
        let passed = (at - self.base_true) as i64;
        // In two steps, so that 64 bits do.
        let million = i64::from(PPM);
        let drift = passed / million * self.drift_ppm + passed % million * self.drift_ppm / million;
        Instant::from_nanos(self.base_local + (passed + drift) as u64)
    }

    /// The true time at which the clock will have reached `local`; `now` if it has.
    pub fn true_time(&self, local: Instant, now: u64) -> u64 {
        let local = local.as_nanos();
        if local == u64::MAX {
            return u64::MAX;
        }
        let to_go = local.saturating_sub(self.base_local) as i64;
        let million = i64::from(PPM);
        let pace = million + self.drift_ppm;
        // In two steps, so that 64 bits do; rounded up, and two more for the roundings of `now`: a wait never ends early.
        let passed = to_go / pace * million + (to_go % pace * million + pace - 1) / pace + 2;
        (self.base_true + passed as u64).max(now)
    }

    /// What the wall clock shows at a true time.
    pub fn unix_time_ms(&self, at: u64) -> u64 {
        let passed = self.now(at).as_nanos() - self.start_local;
        (UNIX_START_MS + passed / 1_000_000).saturating_add_signed(self.unix_offset_ms)
    }

    /// Changes the pace.
    pub fn set_drift(&mut self, drift_ppm: i64, at: u64) {
        self.base_local = self.now(at).as_nanos();
        self.base_true = at;
        self.drift_ppm = drift_ppm;
    }

    /// Lets the wall clock jump.
    pub fn jump_unix(&mut self, by_ms: i64) {
        self.unix_offset_ms = self.unix_offset_ms.saturating_add(by_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_never_ends_early_whatever_the_pace() {
        for drift in [-9_000, -1, 0, 3, 9_000] {
            let mut clock = NodeClock::new(12_345, drift);
            let mut now = 0;
            for step in 1..200u64 {
                let deadline = Instant::from_nanos(clock.now(now).as_nanos() + step * 7_919);
                let at = clock.true_time(deadline, now);
                assert!(clock.now(at) >= deadline);
                assert!(clock.now(at.saturating_sub(8)) < deadline || at < 8);
                now = at;
                if step == 100 {
                    let before = clock.now(now);
                    clock.set_drift(-drift, now);
                    assert_eq!(clock.now(now), before, "the clock does not jump");
                }
            }
        }
    }

    #[test]
    fn the_wall_clock_jumps_both_ways() {
        let mut clock = NodeClock::new(0, 0);
        clock.jump_unix(-5_000);
        assert_eq!(clock.unix_time_ms(2_000_000_000), UNIX_START_MS - 3_000);
    }

    #[test]
    fn the_wall_clock_drifts_as_the_other_does() {
        let mut clock = NodeClock::new(77, 100_000);
        assert_eq!(clock.unix_time_ms(1_000_000_000), UNIX_START_MS + 1_100);
        clock.set_drift(-100_000, 1_000_000_000);
        assert_eq!(clock.unix_time_ms(2_000_000_000), UNIX_START_MS + 2_000);
    }
}
