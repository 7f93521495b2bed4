//! The search for the highest rate that meets a promise, on a machine whose figures vary.
//!
//! A rate is tried in several windows, and meets the promise if most of them do; where they disagree it is tried once
//! more at once. The search halves the interval between the highest rate that did and the lowest that did not, until
//! they are close. Then each of the two is tried once more, since either may owe its place to chance: what most of all
//! its windows say decides, and if that moves a bound, the search goes on from there.

use serde::Serialize;

/// The search ends when the lowest rate that missed is at most this much above the highest that met.
pub const PRECISION: f64 = 0.05;
/// The lowest rate that is tried, as a share of the ceiling.
const FLOOR: f64 = 1.0 / 1_024.0;
/// How often a rate is tried that bounds the answer.
const TRIES_ENOUGH: usize = 2;
/// How often rates are tried at most, in all.
const TRIALS_MAX: usize = 40;

/// What one window has shown at one rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowResult {
    /// Sound answers a second.
    pub ops_per_s: f64,
    /// The quantiles that are bounded, in the order of the bounds, in µs.
    pub latency_us: Vec<f64>,
    /// How late the generator sent 99 % of the commands at most, in µs.
    pub sent_late_p99_us: f64,
    /// Why the window missed; `None` if it met the promise.
    pub missed: Option<Miss>,
}

/// Why a window missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// A quantile was above its bound.
    Latency,
    /// Commands failed.
    Errors,
    /// Fewer commands were answered than were due.
    Rate,
}

/// All windows of one rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Commands a second that were due.
    pub rate: f64,
    /// What they showed, in the order in which they were measured.
    pub windows: Vec<WindowResult>,
    /// How often the rate was tried.
    pub tries_count: usize,
}

impl Trial {
    /// How many windows met the promise.
    pub fn met_count(&self) -> usize {
        self.windows.iter().filter(|window| window.missed.is_none()).count()
    }

    /// Whether the rate should be tried once more before its windows are believed.
    fn is_doubtful(&self) -> bool {
        self.tries_count < TRIES_ENOUGH && ![0, self.windows.len()].contains(&self.met_count())
    }

    /// Whether most windows met the promise.
    pub fn is_met(&self) -> bool {
        2 * self.met_count() > self.windows.len()
    }
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The highest rate that met the promise and was confirmed; `None` if no rate did.
    pub rate: Option<f64>,
    /// Up to this rate every window met the promise.
    pub every_window_met_up_to: Option<f64>,
    /// From this rate on no window met it. Between the two it depends on the moment.
    pub no_window_met_from: Option<f64>,
    /// Whether the search ended because it had tried too often, and not because it was precise enough.
    pub is_cut_short: bool,
    /// All rates, the lowest first.
    pub trials: Vec<Trial>,
}

/// Searches below `ceiling`, a rate that need not be tried. `measure` tries a rate and gives its windows.
///
/// # Errors
/// Those of `measure`.
pub fn search<E>(ceiling: f64, mut measure: impl FnMut(f64) -> Result<Vec<WindowResult>, E>) -> Result<Found, E> {
    let mut trials: Vec<Trial> = Vec::new();
    let mut is_cut_short = true;
    for _ in 0..TRIALS_MAX {
        let Some(rate) = next_rate(&trials, ceiling) else {
            is_cut_short = false;
            break;
        };
        let windows = measure(rate)?;
        let at = trials.partition_point(|trial| trial.rate < rate);
        match trials.get_mut(at) {
            Some(trial) if trial.rate == rate => {
                trial.windows.extend(windows);
                trial.tries_count += 1;
            }
            _ => trials.insert(at, Trial { rate, windows, tries_count: 1 }),
        }
    }
    Ok(conclude(trials, is_cut_short))
}

/// What to try next, or `None` if the answer is there.
fn next_rate(trials: &[Trial], ceiling: f64) -> Option<f64> {
    if let Some(doubtful) = trials.iter().find(|trial| trial.is_doubtful()) {
        return Some(doubtful.rate);
    }
    let (low, high) = bounds(trials);
    let high_rate = high.map_or(ceiling, |trial| trial.rate);
    match low {
        None => Some(high_rate / 2.0).filter(|rate| *rate >= ceiling * FLOOR),
        Some(low) if high_rate / low.rate > 1.0 + PRECISION => Some((low.rate * high_rate).sqrt()),
        Some(low) => {
            let mut bounds = [Some(low), high].into_iter().flatten();
            bounds.find(|trial| trial.tries_count < TRIES_ENOUGH).map(|trial| trial.rate)
        }
    }
}

/// The highest rate that met the promise, and above it the lowest that did not. Rates above one that missed were lucky.
fn bounds(trials: &[Trial]) -> (Option<&Trial>, Option<&Trial>) {
    let high_idx = trials.iter().position(|trial| !trial.is_met()).unwrap_or(trials.len());
    (high_idx.checked_sub(1).and_then(|idx| trials.get(idx)), trials.get(high_idx))
}

fn conclude(trials: Vec<Trial>, is_cut_short: bool) -> Found {
    let rate = bounds(&trials).0.map(|trial| trial.rate);
    let sure = trials.iter().take_while(|trial| trial.met_count() == trial.windows.len());
    let hopeless = trials.iter().rev().take_while(|trial| trial.met_count() == 0);
    Found {
        rate,
        every_window_met_up_to: sure.last().map(|trial| trial.rate),
        no_window_met_from: hopeless.last().map(|trial| trial.rate),
        is_cut_short,
        trials,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::load::rng::Rng;

    /// A server with one queue: its p99 grows without bound towards its capacity. `noise` is how far a figure strays,
    /// and `hiccups` the share of windows that something else spoils.
    struct Server {
        capacity: f64,
        noise: f64,
        hiccups: f64,
        rng: Rng,
        tried: Vec<f64>,
    }

    const BOUND_US: f64 = 2_000.0;
    const UNLOADED_US: f64 = 400.0;

    impl Server {
        fn new(capacity: f64, noise: f64, hiccups: f64, seed: u64) -> Server {
            Server { capacity, noise, hiccups, rng: Rng::new(seed), tried: Vec::new() }
        }

        /// The rate at which the p99 without noise reaches the bound.
        fn truth(&self) -> f64 {
            self.capacity * (1.0 - UNLOADED_US / BOUND_US)
        }

        fn measure(&mut self, rate: f64) -> Result<Vec<WindowResult>, Infallible> {
            self.tried.push(rate);
            let window = |_| {
                let load = rate / self.capacity;
                let mut p99 = if load < 1.0 { UNLOADED_US / (1.0 - load) } else { 1e6 };
                p99 *= 1.0 + self.noise * (2.0 * self.rng.unit() - 1.0);
                if self.rng.unit() < self.hiccups {
                    p99 += 50_000.0;
                }
                let missed = (p99 > BOUND_US).then_some(Miss::Latency);
                WindowResult {
                    ops_per_s: rate.min(self.capacity),
                    latency_us: vec![p99],
                    sent_late_p99_us: 0.0,
                    missed,
                }
            };
            Ok((0..3).map(window).collect())
        }

        fn search(&mut self, ceiling: f64) -> Found {
            match search(ceiling, |rate| self.measure(rate)) {
                Ok(found) => found,
                Err(never) => match never {},
            }
        }
    }

    #[test]
    fn the_highest_rate_that_meets_the_bound_is_found_within_the_precision() {
        for capacity in [500.0, 80_000.0, 3_000_000.0] {
            let mut server = Server::new(capacity, 0.0, 0.0, 1);
            let (truth, found) = (server.truth(), server.search(capacity * 0.97));
            let rate = found.rate.unwrap();
            assert!(rate <= truth && rate * (1.0 + PRECISION) >= truth, "{rate} for {truth}");
            assert_eq!(found.every_window_met_up_to, Some(rate));
            assert!(found.no_window_met_from.unwrap() / rate <= 1.0 + PRECISION, "{found:?}");
            assert!(server.tried.len() <= 12, "{:?}", server.tried);
            assert!(server.tried.iter().filter(|tried| **tried == rate).count() == 2, "it was tried once more");
        }
    }

    #[test]
    fn noise_and_hiccups_leave_it_near_the_truth_and_inside_its_own_range() {
        let (mut near_count, mut tried_count) = (0, 0);
        for seed in 0..200 {
            let mut server = Server::new(100_000.0, 0.2, 0.08, seed);
            let (truth, found) = (server.truth(), server.search(95_000.0));
            let rate = found.rate.unwrap();
            // A p99 that strays by a fifth is within its bound from 76 % to 83 % of the capacity.
            near_count += u32::from((0.9..1.06).contains(&(rate / truth)));
            tried_count += server.tried.len();
            assert!(found.every_window_met_up_to.is_none_or(|sure| sure <= rate), "seed {seed}: {found:?}");
            assert!(found.no_window_met_from.is_none_or(|hopeless| hopeless > rate), "seed {seed}: {found:?}");
            assert!(!found.is_cut_short, "seed {seed}");
        }
        // Three of six windows spoilt by chance are rare, not impossible.
        assert!(near_count >= 190, "{near_count} of 200 answers are near the truth");
        assert!(tried_count <= 200 * 14, "{tried_count} tries for 200 answers");
    }

    #[test]
    fn a_rate_that_was_lucky_is_taken_back() {
        // At first everything is met: what was lucky fails when it is tried once more.
        let mut tries = 0;
        let found = search(1_000.0, |rate| {
            tries += 1;
            let is_met = tries <= 5 || rate < 300.0;
            let missed = (!is_met).then_some(Miss::Errors);
            let window = WindowResult { ops_per_s: rate, latency_us: vec![1.0], sent_late_p99_us: 0.0, missed };
            Ok::<_, Infallible>(vec![window; 3])
        });
        let Ok(found) = found;
        let rate = found.rate.unwrap();
        assert!(rate < 300.0, "{found:?}");
        assert!(found.trials.iter().all(|trial| trial.is_met() == (trial.rate <= rate)), "{found:?}");
    }

    #[test]
    fn a_bound_that_nothing_meets_ends_the_search() {
        let mut server = Server::new(100_000.0, 0.0, 1.0, 1);
        let found = server.search(90_000.0);
        assert_eq!((found.rate, found.every_window_met_up_to), (None, None));
        assert!(server.tried.len() <= 11 && server.tried.iter().all(|rate| *rate > 80.0), "{:?}", server.tried);
    }

    #[test]
    fn a_bound_that_everything_meets_ends_near_the_ceiling() {
        let mut server = Server::new(1e9, 0.0, 0.0, 1);
        let found = server.search(10_000.0);
        assert!(found.rate.unwrap() * (1.0 + PRECISION) >= 10_000.0, "{found:?}");
        assert_eq!(found.no_window_met_from, None);
    }
}
