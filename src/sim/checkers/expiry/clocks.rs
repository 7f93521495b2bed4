//! The wall clocks of all nodes, at any time of a run.

use std::time::Duration;

use types::Instant;

use crate::clock::NodeClock;

/// The pace at which replicated time goes on where it is ahead of a leader's clock, in hundredths: half of that of the fastest
/// clock that there may be.
const SLEW_PERCENT: u64 = 55;

/// How all clocks run from a moment on.
#[derive(Clone, Debug)]
struct Change {
    at: Instant,
    clocks: Vec<NodeClock>,
    /// How far clocks from before can have led replicated time by then, in milliseconds since 1970.
    reach_ms: u64,
}

/// The clocks of all nodes, as they were and are.
#[derive(Clone, Debug, Default)]
pub(super) struct Clocks(Vec<Change>);

impl Clocks {
    /// The clocks run so from a moment on that is not before the last one.
    pub(super) fn change(&mut self, at: Instant, clocks: Vec<NodeClock>) {
        let reach_ms = self.reach_ms(at);
        self.0.push(Change { at, clocks, reach_ms });
    }

    fn change_before(&self, at: Instant) -> Option<&Change> {
        self.0.iter().rev().find(|change| change.at <= at).or(self.0.first())
    }

    /// The latest that replicated time may be: what the fastest clock shows or, where one from before was faster, what that showed
    /// and half of the time since.
    pub(super) fn reach_ms(&self, at: Instant) -> u64 {
        let Some(change) = self.change_before(at) else { return 0 };
        let shown = change.clocks.iter().map(|clock| clock.unix_time_ms(at.as_nanos()));
        let slewed = change.reach_ms + at.since(change.at).as_millis() as u64 * SLEW_PERCENT / 100;
        shown.max().unwrap_or(0).max(slewed)
    }

    /// What the slowest clock shows.
    pub(super) fn slowest_ms(&self, at: Instant) -> u64 {
        let change = self.change_before(at);
        let shown =
            change.and_then(|change| change.clocks.iter().map(|clock| clock.unix_time_ms(at.as_nanos())).min());
        shown.unwrap_or(0)
    }

    /// What the slowest clock showed this long ago.
    pub(super) fn slowest_before_ms(&self, at: Instant, ago: Duration) -> u64 {
        let nanos = at.as_nanos().saturating_sub(ago.as_nanos() as u64);
        self.slowest_ms(Instant::from_nanos(nanos))
    }
}
