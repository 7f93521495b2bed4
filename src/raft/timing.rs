//! Timing that follows what is measured, within the bounds of [`Config`].
//!
//! Two things adapt. The *heartbeat interval* is halved while round trips are so long that a lease would not outlive a
//! few lost rounds, and doubled again when they are not. The *campaign spread*, by which election timeouts differ at
//! random, follows how long an election takes here (a round trip and two writes): fast networks and disks need little
//! to keep candidates apart, and elect sooner. What leases rest on, `election_timeout_min`, never changes.

use core::time::Duration;

use types::Instant;

use crate::config::Config;

/// A lease should outlive this many heartbeat rounds, less one that are lost in a row.
const ROUNDS_PER_LEASE: u32 = 4;

/// Candidates are kept apart by this many times what an election takes.
const ELECTIONS_PER_SPREAD: u32 = 8;

/// A value is replaced only by one that differs by more than this part of it.
const TOLERANCE: u32 = 4;

/// Mean and deviation of a stream of samples, as TCP keeps them (RFC 6298).
#[derive(Clone, Copy, Debug, Default)]
struct Smoothed {
    mean: Duration,
    deviation: Duration,
    any: bool,
}

impl Smoothed {
    fn add(&mut self, sample: Duration) {
        if !self.any {
            *self = Smoothed { mean: sample, deviation: sample / 2, any: true };
            return;
        }
        self.deviation = (self.deviation * 3 + self.mean.abs_diff(sample)) / 4;
        self.mean = (self.mean * 7 + sample) / 8;
    }

    /// What nearly every sample stays below; `None` before the first.
    fn bound(&self) -> Option<Duration> {
        self.any.then(|| self.mean + self.deviation * 4)
    }
}

/// What changed when the timing was looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retuned {
    pub(crate) heartbeat_interval: bool,
    pub(crate) spread: bool,
}

/// Measurements, and what follows from them.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) struct Timing {
    /// From the sending of a heartbeat round to the answer that made a majority; measured while leading.
    round_trip: Smoothed,
    /// The same as the leader measured it and told us.
    round_trip_told: Option<Duration>,
    /// From handing out a write to its completion.
    persist: Smoothed,
    /// The write being measured.
    writing: Option<(u64, Instant)>,
    /// Invariant: `heartbeat_interval_min <= heartbeat_interval <= heartbeat_interval_max`.
    heartbeat_interval: Duration,
    heartbeat_interval_min: Duration,
    heartbeat_interval_max: Duration,
    /// Invariant: `spread_min <= spread <= spread_max`, and never zero.
    spread: Duration,
    spread_min: Duration,
    spread_max: Duration,
    lease_duration: Duration,
}

impl Timing {
    pub(crate) fn new(config: &Config) -> Timing {
        let spread_max = config.election_timeout_max - config.election_timeout_min;
        Timing {
            round_trip: Smoothed::default(),
            round_trip_told: None,
            persist: Smoothed::default(),
            writing: None,
            heartbeat_interval: config.heartbeat_interval,
            heartbeat_interval_min: config.heartbeat_interval_min.min(config.heartbeat_interval),
            heartbeat_interval_max: config.heartbeat_interval,
            spread: spread_max,
            spread_min: config.campaign_spread_min.max(Duration::from_nanos(1)).min(spread_max),
            spread_max,
            lease_duration: config.lease_duration(),
        }
    }

    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_interval
    }

    pub(crate) fn spread(&self) -> Duration {
        self.spread
    }

    /// A round trip as the leader tells it to its followers, in microseconds; 0 if none is known.
    pub(crate) fn round_trip_us(&self) -> u32 {
        let micros = self.round_trip.bound().map_or(0, |bound| bound.as_micros().max(1));
        u32::try_from(micros).unwrap_or(u32::MAX)
    }

    /// We lead now: what another leader measured is of no meaning any more.
    pub(crate) fn leading(&mut self) {
        self.round_trip_told = None;
    }

    /// The leader told its round trip.
    pub(crate) fn told(&mut self, round_trip_us: u32) {
        if round_trip_us > 0 {
            self.round_trip_told = Some(Duration::from_micros(u64::from(round_trip_us)));
        }
    }

    /// A majority has answered a heartbeat round.
    pub(crate) fn round_answered(&mut self, after: Duration) {
        self.round_trip.add(after);
    }

    /// A write was handed out. One at a time is measured.
    pub(crate) fn write_begins(&mut self, seq: u64, now: Instant) {
        self.writing.get_or_insert((seq, now));
    }

    /// All writes up to `seq` are durable.
    pub(crate) fn write_done(&mut self, seq: u64, now: Instant) {
        if let Some((_, since)) = self.writing.take_if(|(writing, _)| *writing <= seq) {
            self.persist.add(now.since(since));
        }
    }

    /// Follows the measurements.
    pub(crate) fn retune(&mut self) -> Retuned {
        let mut retuned = Retuned::default();
        let Some(round_trip) = self.round_trip_told.or(self.round_trip.bound()) else { return retuned };
        let interval = self.interval_for(round_trip);
        if interval != self.heartbeat_interval {
            self.heartbeat_interval = interval;
            retuned.heartbeat_interval = true;
        }
        let election = round_trip + self.persist.bound().unwrap_or(self.spread_max) * 2;
        let spread = (election * ELECTIONS_PER_SPREAD).clamp(self.spread_min, self.spread_max);
        let at_a_bound = spread == self.spread_min || spread == self.spread_max;
        if spread.abs_diff(self.spread) > self.spread / TOLERANCE || (at_a_bound && spread != self.spread) {
            self.spread = spread;
            retuned.spread = true;
        }
        retuned
    }

    /// The longest interval, out of the longest possible one and its halves, with which enough rounds fit into a
    /// lease: groups of different intervals still send together whenever they can.
    fn interval_for(&self, round_trip: Duration) -> Duration {
        let room = self.lease_duration.saturating_sub(round_trip) / ROUNDS_PER_LEASE;
        let mut interval = self.heartbeat_interval_max;
        let too_long = |interval: Duration| {
            // To lengthen it again takes more room than to keep it.
            let margin = if interval > self.heartbeat_interval { interval / TOLERANCE } else { Duration::ZERO };
            interval + margin > room
        };
        while too_long(interval) && interval / 2 >= self.heartbeat_interval_min {
            interval /= 2;
        }
        interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use types::{GroupId, ReplicaId};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Heartbeats every 25 to 100 ms, leases of 594 ms, a spread of 100 to 600 ms.
    fn timing() -> Timing {
        Timing::new(&Config::new(GroupId(1), ReplicaId(1), vec![ReplicaId(1)]))
    }

    fn measure(timing: &mut Timing, round_trip: Duration, persist: Duration) -> u32 {
        let mut changes = 0;
        for seq in 1..=100 {
            timing.round_answered(round_trip);
            timing.write_begins(seq, Instant::ZERO);
            timing.write_done(seq, Instant::ZERO + persist);
            let retuned = timing.retune();
            changes += u32::from(retuned.heartbeat_interval) + u32::from(retuned.spread);
        }
        changes
    }

    #[test]
    fn mean_and_deviation_follow_the_samples_as_in_rfc_6298() {
        let mut smoothed = Smoothed::default();
        assert_eq!(smoothed.bound(), None);
        smoothed.add(MS(100));
        assert_eq!((smoothed.mean, smoothed.deviation, smoothed.bound()), (MS(100), MS(50), Some(MS(300))));
        smoothed.add(MS(200));
        let micros = Duration::from_micros;
        assert_eq!((smoothed.mean, smoothed.deviation), (micros(112_500), micros(62_500)));
        assert_eq!(smoothed.bound(), Some(micros(362_500)));
        for _ in 0..200 {
            smoothed.add(MS(10));
        }
        assert!(smoothed.bound().is_some_and(|bound| bound >= MS(10) && bound < MS(11)), "{smoothed:?}");
    }

    #[test]
    fn a_fast_network_and_disk_bring_candidates_close_together() {
        let mut timing = timing();
        assert_eq!((timing.heartbeat_interval(), timing.spread()), (MS(100), MS(600)), "before anything is known");
        measure(&mut timing, MS(1), MS(1));
        assert_eq!((timing.heartbeat_interval(), timing.spread()), (MS(100), MS(100)));
        measure(&mut timing, MS(1), MS(20));
        assert!(timing.spread() > MS(250) && timing.spread() < MS(450), "a slow disk spreads them: {timing:?}");
        measure(&mut timing, MS(1), MS(500));
        assert_eq!(timing.spread(), MS(600), "within bounds");
    }

    #[test]
    fn long_round_trips_shorten_the_interval_so_that_a_lease_outlives_lost_rounds() {
        let mut timing = timing();
        measure(&mut timing, MS(300), MS(1));
        assert_eq!(timing.heartbeat_interval(), MS(50), "four rounds in 594 - 300 ms");
        measure(&mut timing, MS(590), MS(1));
        assert_eq!(timing.heartbeat_interval(), MS(25), "within bounds");
        measure(&mut timing, MS(1), MS(1));
        assert_eq!(timing.heartbeat_interval(), MS(100));
    }

    #[test]
    fn steady_measurements_change_nothing() {
        let mut timing = timing();
        measure(&mut timing, MS(10), MS(5));
        assert_eq!(measure(&mut timing, MS(10), MS(5)), 0);
        assert_eq!(measure(&mut timing, MS(11), MS(5)), 0);
    }

    /// Four rounds of 100 ms fit into what is left of a lease, but not four of 125 ms.
    #[test]
    fn to_lengthen_the_interval_takes_more_room_than_to_keep_it() {
        let mut timing = timing();
        timing.told(190_000);
        timing.retune();
        assert_eq!(timing.heartbeat_interval(), MS(100), "it is kept");
        timing.told(300_000);
        timing.retune();
        assert_eq!(timing.heartbeat_interval(), MS(50));
        timing.told(190_000);
        timing.retune();
        assert_eq!(timing.heartbeat_interval(), MS(50), "it is not lengthened yet");
        timing.told(90_000);
        timing.retune();
        assert_eq!(timing.heartbeat_interval(), MS(100));
        timing.told(194_000);
        timing.retune();
        assert_eq!(timing.heartbeat_interval(), MS(100), "it just fits");
    }

    #[test]
    fn a_leader_forgets_what_another_one_has_measured() {
        let mut timing = timing();
        timing.told(300_000);
        timing.leading();
        timing.round_answered(MS(1));
        timing.retune();
        assert_eq!(timing.heartbeat_interval(), MS(100));
        timing.told(0);
        timing.retune();
        assert_eq!(timing.heartbeat_interval(), MS(100), "a leader that knows nothing says nothing");
    }

    #[test]
    fn the_spread_gets_to_its_bounds_however_close_it_is() {
        let mut timing = timing();
        timing.spread = MS(110);
        measure(&mut timing, MS(1), MS(1));
        assert_eq!(timing.spread(), MS(100));
        timing.spread = MS(590);
        measure(&mut timing, MS(1), MS(500));
        assert_eq!(timing.spread(), MS(600));
    }

    #[test]
    fn one_write_at_a_time_is_measured() {
        let mut timing = timing();
        let at = |ms| Instant::ZERO + MS(ms);
        timing.write_begins(1, at(0));
        timing.write_begins(2, at(50));
        timing.write_done(2, at(60));
        assert_eq!(timing.persist.mean, MS(60), "the first one's, reported with the second");
        timing.write_done(3, at(500));
        assert_eq!(timing.persist.mean, MS(60), "nothing was being measured");
    }
}
