//! What came out of a campaign: the reports of its runs, added up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::checkers::Coverage;
use crate::faults::FaultKind;
use crate::report::{self, Report};

/// A campaign in which the linearizability checker left more than this share of the operations undecided, in millionths,
/// has not shown what it should have.
pub const UNDECIDED_PPM_MAX: u64 = 150_000;
/// Below this number of operations the share says nothing.
const JUDGED_COUNT_MIN: u64 = 100_000;

/// What came out.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// The reports of those that failed, by seed.
    pub failed: Vec<Report>,
    /// Simulated time in all, in milliseconds.
    pub simulated_ms: u64,
    /// Operations of clients: answered, refused, unknown.
    pub operations: [u64; 3],
    /// What the checkers had to look at in the runs that did not fail.
    pub coverage: Coverage,
    /// The fullest that queues have been, by kind: how much was in one, of how much at most.
    pub queues: BTreeMap<String, (u64, u64)>,
    /// Faults by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Rare paths by name.
    pub counters: BTreeMap<String, u64>,
    /// How many seeds have reached each of them.
    pub reached_by: BTreeMap<String, u64>,
    /// Real time it took.
    pub took: Duration,
}

impl Summary {
    /// Takes in the report of a run.
    pub(super) fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.simulated_ms += report.simulated_ms;
        for (all, one) in self.operations.iter_mut().zip(report.operations) {
            *all += one;
        }
        self.coverage.add(&report.coverage);
        for (name, queue) in &report.queues {
            let fullest = self.queues.entry(name.clone()).or_insert(*queue);
            if is_fuller(*queue, *fullest) {
                *fullest = *queue;
            }
        }
        for (name, _) in report.counters.iter().filter(|(_, count)| **count > 0) {
            *self.reached_by.entry(name.clone()).or_default() += 1;
        }
        report::add(&mut self.faults, &report.faults);
        report::add(&mut self.counters, &report.counters);
        if report.failure.is_some() {
            self.failed.push(report);
        }
    }
}

impl Summary {
    /// Whether so little was left undecided that the rest means something.
    pub fn is_decided(&self) -> bool {
        let judged = &self.coverage.linearizability;
        judged.operations + judged.undecided_operations < JUDGED_COUNT_MIN
            || judged.undecided_ppm() <= UNDECIDED_PPM_MAX
    }
}

/// Whether more of its bound is used.
fn is_fuller((len, max): (u64, u64), (other_len, other_max): (u64, u64)) -> bool {
    u128::from(len) * u128::from(other_max) > u128::from(other_len) * u128::from(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_left_undecided_is_judged_over_many_operations() {
        let mut summary = Summary::default();
        let judged = |operations, undecided_operations| {
            let mut report = Report::default();
            report.coverage.linearizability.operations = operations;
            report.coverage.linearizability.undecided_operations = undecided_operations;
            report
        };
        summary.add(judged(100, 900));
        assert!(summary.is_decided(), "few operations say nothing");
        let most = UNDECIDED_PPM_MAX;
        summary.add(judged(1_000_000 - most - 100, most - 900));
        assert!(summary.is_decided(), "as much as is allowed");
        summary.add(judged(0, 2));
        assert!(!summary.is_decided(), "more");
    }

    #[test]
    fn the_fullest_queue_of_all_runs_is_kept() {
        let mut summary = Summary::default();
        let report = |len, max| Report { queues: [("waiting".to_owned(), (len, max))].into(), ..Report::default() };
        for (len, max) in [(10, 1_000), (3, 4), (500, 1_000)] {
            summary.add(report(len, max));
        }
        assert_eq!(summary.queues["waiting"], (3, 4), "it was closest to its bound");
    }
}
