//! One run: a seed gives a cluster, clients and faults, and at its end a report.

use crate::cluster::Cluster;
use crate::report::Report;
use crate::spec::{Shape, Spec};

/// Carries out a run. `is_told` tells what happens in words on the standard error.
pub fn run(spec: &Spec, is_told: bool) -> Report {
    let shape = Shape::of_seed(spec.seed);
    let cluster = Cluster::new(spec.seed, &shape, spec.broken, is_told);
    for node in 0..cluster.map.nodes.len() {
        cluster.boot(node);
    }
    cluster.run_until(spec.busy_ms * 1_000_000, |_| {});
    let world = cluster.world.borrow();
    let (events, trace_hash) = world.trace.digest();
    Report { seed: spec.seed, trace_hash, events, simulated_ms: world.now() / 1_000_000, ..Report::default() }
}
