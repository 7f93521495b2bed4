//! Makes the fault schedule of a failing run as short as it gets (delta debugging: Zeller and Hildebrandt, "Simplifying
//! and isolating failure-inducing input", 2002).

use crate::faults::{Schedule, Timed};

/// The shortest schedule found for which `fails` still holds, trying at most `tries_max` schedules. `fails` holds for
/// `schedule` itself.
///
/// Everything but the schedule must stay as it is, so that a run with fewer faults is comparable; it is still another
/// run, and may fail for another reason, which is as welcome.
pub fn shrink(schedule: &Schedule, tries_max: usize, mut fails: impl FnMut(&Schedule) -> bool) -> Schedule {
    let mut best: Vec<Timed> = schedule.faults.clone();
    let mut tries = 0;
    let mut chunk = best.len();
    while chunk > 0 {
        let mut start = 0;
        while start < best.len() {
            if tries == tries_max {
                return Schedule { faults: best };
            }
            tries += 1;
            let end = (start + chunk).min(best.len());
            let fewer: Vec<Timed> = best[..start].iter().chain(&best[end..]).cloned().collect();
            let fewer = Schedule { faults: fewer };
            if fails(&fewer) {
                best = fewer.faults;
            } else {
                start = end;
            }
        }
        chunk /= 2;
    }
    Schedule { faults: best }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Fault;

    fn schedule(count: u64) -> Schedule {
        let reset = |at_ms| Timed { at_ms, fault: Fault::ResetClients { node: 1 } };
        Schedule { faults: (0..count).map(reset).collect() }
    }

    #[test]
    fn only_what_is_needed_stays() {
        let needed = [3, 40, 41];
        let fails =
            |schedule: &Schedule| needed.iter().all(|at| schedule.faults.iter().any(|timed| timed.at_ms == *at));
        let shrunken = shrink(&schedule(100), 1_000, fails);
        assert_eq!(shrunken.faults.iter().map(|timed| timed.at_ms).collect::<Vec<_>>(), needed);
    }

    #[test]
    fn a_failure_without_faults_needs_none_and_tries_are_bounded() {
        assert!(shrink(&schedule(50), 1_000, |_| true).faults.is_empty());
        let mut tries = 0;
        shrink(&schedule(50), 7, |_| {
            tries += 1;
            false
        });
        assert_eq!(tries, 7);
    }
}
