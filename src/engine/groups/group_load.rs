//! How many commands come for a group, for whoever plans.

use std::time::Duration;

use types::{Instant, Term};

/// Commands per second are those of about so long.
const LOAD_WINDOW: Duration = Duration::from_secs(60);

/// How many commands come for a group that is led here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupLoad {
    /// Those since the last report.
    commands_count: u64,
    /// Commands per 1,000 seconds, as of the last report.
    rate_milli: u64,
    /// When that was, and since when it is measured.
    reported_at: Instant,
    since: Instant,
    /// In which term: what was measured in another one says nothing.
    term: Term,
}

impl GroupLoad {
    /// Another command has come.
    #[inline]
    pub(super) fn count(&mut self) {
        self.commands_count += 1;
    }

    /// Commands per second, of the last [`LOAD_WINDOW`] or of the time since this one leads in this term, if that is shorter.
    pub(super) fn measure(&mut self, term: Term, now: Instant) -> u64 {
        if self.term != term {
            // Commands came for about as long as the group was led here before anybody asked.
            *self = GroupLoad { term, since: now, reported_at: now, ..GroupLoad::default() };
            return 0;
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let passed = millis(now.since(self.reported_at));
        if passed > 0 {
            let window = millis(LOAD_WINDOW.min(now.since(self.since))).max(passed);
            let latest = self.commands_count.saturating_mul(1_000_000) / passed;
            let mixed =
                u128::from(self.rate_milli) * u128::from(window - passed) + u128::from(latest) * u128::from(passed);
            self.rate_milli = u64::try_from(mixed / u128::from(window)).unwrap_or(u64::MAX);
            (self.commands_count, self.reported_at) = (0, now);
        }
        self.rate_milli / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_that_of_the_last_minute_or_of_the_time_since_it_is_measured() {
        let at = |seconds: u64| Instant::ZERO + Duration::from_secs(seconds);
        let mut load = GroupLoad::default();
        let of = |load: &mut GroupLoad, count: u64, term, seconds| {
            (0..count).for_each(|_| load.count());
            load.measure(term, at(seconds))
        };
        assert_eq!(of(&mut load, 90, 3, 10), 0, "nobody knows in how long they came");
        assert_eq!(of(&mut load, 100, 3, 11), 100);
        assert_eq!(of(&mut load, 300, 3, 12), 200, "the mean of two seconds");
        assert_eq!(of(&mut load, 0, 3, 12), 200, "no time has passed");
        for second in 13..=400 {
            of(&mut load, 50, 3, second);
        }
        assert!((49..=51).contains(&of(&mut load, 50, 3, 401)), "what was before is forgotten");
        assert_eq!(of(&mut load, 50, 4, 402), 0, "another term");
    }
}
