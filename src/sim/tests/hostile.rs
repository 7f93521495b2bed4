//! Hostile clients beside sound ones: these are answered soon, and no queue passes its limit.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use sim::cluster_spec::{ClusterSpec, Hostility, Load};
use sim::run::run;
use sim::spec::Spec;

#[test]
fn sound_clients_are_answered_soon_whatever_hostile_ones_do() {
    let is_calm = |seed: &u64| {
        let cluster_spec = ClusterSpec::of_seed(*seed);
        cluster_spec.hostility == Hostility::WithoutFaults && cluster_spec.load == Load::Usual
    };
    for seed in (0..).filter(is_calm).take(6) {
        let report = run(&Spec::of_seed(seed, Duration::from_secs(15), None), false);
        assert_eq!(report.failure, None, "seed {seed}");
        assert!(report.operations[0] > 100, "seed {seed}: {:?}", report.operations);
    }
}
