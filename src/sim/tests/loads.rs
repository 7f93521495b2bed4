//! Runs with an unusual load keep every promise.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use sim::cluster_spec::{ClusterSpec, Load};
use sim::run::run;
use sim::spec::Spec;

/// The first run of a seed with this load.
fn report(load: Load, busy: Duration) -> sim::report::Report {
    let seed = (0..).find(|seed| ClusterSpec::of_seed(*seed).load == load).unwrap();
    let report = run(&Spec::of_seed(seed, busy, None), false);
    assert_eq!(report.failure, None, "seed {seed}");
    report
}

#[test]
fn a_core_bears_hundreds_of_groups() {
    let report = report(Load::ManyGroups, Duration::from_secs(8));
    assert!(report.coverage.leaders >= 200, "{:?}", report.coverage);
    assert!(report.operations[0] > 100, "{:?}", report.operations);
}

#[test]
fn values_of_megabytes_are_read_back() {
    let report = report(Load::LargeValues, Duration::from_secs(10));
    assert!(report.coverage.keys_read_back > 0, "{:?}", report.coverage);
}
