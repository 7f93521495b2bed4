//! One run: a seed gives a cluster, clients and faults, and at its end a report.

use std::time::Duration;

use raft::Role;
use types::Instant;

use crate::broken::{self, Broken};
use crate::checkers::{Checkers, Coverage, GONE_WITHIN, Violation, Voters};
use crate::client::{ClientNet, Workload};
use crate::cluster::{Cluster, Death};
use crate::cluster_spec::ClusterSpec;
use crate::history::{History, Outcome};
use crate::injector::Injector;
use crate::observation::ObservationKind;
use crate::operator::Operator;
use crate::report::{Failure, Report};
use crate::spec::Spec;
use crate::workload::{CLEAN_AFTER, Sessions};

/// How long after the last fault everything must work again.
const RECOVERY_MAX: Duration = Duration::from_secs(15);
/// How long reading back may take after that.
const READ_BACK_MAX: Duration = Duration::from_secs(60);
const _: () = assert!(
    CLEAN_AFTER.as_millis() > RECOVERY_MAX.as_millis() + GONE_WITHIN.as_millis(),
    "keys that must be gone are not removed before"
);
/// How long all replicas are given in the end to tell their digests.
const REST: Duration = Duration::from_millis(500);
/// How long nodes may take to leave, once all is well, that hold replicas.
const ERRANDS_MAX: Duration = Duration::from_secs(90);
/// How often it is looked whether a run has come to its end, in nanoseconds.
const STEP: u64 = 100_000_000;

/// Carries out a run. `is_told` tells what happens in words on the standard error.
pub fn run(spec: &Spec, is_told: bool) -> Report {
    let mut cluster_spec = ClusterSpec::of_seed(spec.seed).with_moves(spec.seed);
    broken::change_cluster(spec.broken, &mut cluster_spec);
    let cluster = Cluster::new(spec.seed, &cluster_spec, spec.broken, is_told);
    let mut sessions =
        Sessions::new(spec.seed, &cluster_spec, &cluster.map, Duration::from_millis(spec.busy_ms), spec.all_attacks);
    let mut run = Run::new(spec, &cluster, &mut sessions, cluster_spec.has_planner);
    let verdict = run.carry_out();
    let (injected, history_counts) = (std::mem::take(&mut run.injector.counts), count(run.workload.history()));
    let world = cluster.world.borrow();
    let (events, trace_hash) = world.trace.digest();
    let mut counters = cluster.counters();
    counters.extend(world.counts.iter().map(|(name, count)| (format!("world: {name}"), *count)));
    let queues = cluster.queues().iter().map(|queue| (queue.name.to_owned(), (queue.len, queue.max))).collect();
    let (coverage, failure) = match verdict {
        Ok(coverage) => (coverage, None),
        Err(said) => (Coverage::default(), Some(said)),
    };
    Report {
        seed: spec.seed,
        failure: failure.map(|said| Failure { checker: said.checker.to_owned(), message: said.message }),
        coverage,
        queues,
        trace_hash,
        events,
        simulated_ms: world.now() / 1_000_000,
        operations: history_counts,
        faults: injected,
        counters,
    }
}

/// Operations answered, refused, of unknown outcome.
fn count(history: &History) -> [u64; 3] {
    let mut counts = [0; 3];
    for operation in history.operations() {
        counts[match operation.outcome {
            Outcome::NotApplied => 1,
            Outcome::Unknown => 2,
            _ => 0,
        }] += 1;
    }
    counts
}

/// A run under way.
struct Run<'a> {
    spec: &'a Spec,
    cluster: &'a Cluster,
    injector: Injector,
    operator: Operator,
    checkers: Checkers,
    workload: &'a mut dyn Workload,
    /// Whether replicas are moved whenever the planner wants that.
    has_planner: bool,
}

impl<'a> Run<'a> {
    fn new(spec: &'a Spec, cluster: &'a Cluster, workload: &'a mut dyn Workload, has_planner: bool) -> Run<'a> {
        let injector = Injector::new(spec.seed, &spec.schedule, cluster);
        let replicas = |group: &meta::Group| group.replicas.iter().map(|replica| replica.id).collect();
        let voters: Voters = cluster.map.groups.iter().map(|group| (group.id, replicas(group))).collect();
        let mut checkers = Checkers::new(voters, RECOVERY_MAX);
        if !cluster.keeps_all_rows() {
            checkers = checkers.with_rows_on_disk();
        }
        if spec.broken == Some(Broken::AlteredRow) {
            checkers = checkers.of_comparisons_only();
        }
        let operator = Operator::new(spec.seed, cluster);
        Run { spec, cluster, injector, operator, checkers, workload, has_planner }
    }

    fn carry_out(&mut self) -> Result<Coverage, Violation> {
        for node in 0..self.cluster.map.nodes.len() {
            self.cluster.boot(node);
        }
        let net = ClientNet::new(self.cluster.world.clone());
        self.workload.start(&net);
        let busy = self.spec.busy_ms * 1_000_000;
        if self.spec.broken == Some(Broken::LostMajority) {
            self.go_on(busy / 2)?;
            self.lose_majority();
        }
        self.go_on(busy)?;
        self.injector.heal(self.cluster);
        self.workload.heal(&net);
        let due = busy + (RECOVERY_MAX + READ_BACK_MAX).as_nanos() as u64;
        let least = busy + RECOVERY_MAX.as_nanos() as u64 + STEP;
        let mut now = busy;
        while now < due && (now < least || !self.workload.is_done()) {
            now += STEP;
            self.go_on(now)?;
        }
        if !self.workload.is_done() {
            let message =
                format!("not everything was read back {} s after the last fault", (due - busy) / 1_000_000_000);
            // The checkers may know better why.
            self.checkers.finish(self.workload.history(), Instant::from_nanos(now))?;
            return Err(Violation::new("progress", message));
        }
        // To empty a node takes longer than to remove one that holds nothing.
        let errands_due = now + ERRANDS_MAX.as_nanos() as u64;
        while !self.operator.is_done() && now < errands_due {
            now += STEP;
            self.go_on(now)?;
        }
        loop {
            self.cluster.ask_for_digests();
            now += REST.as_nanos() as u64;
            self.go_on(now)?;
            match self.checkers.at_rest() {
                // A replica may just have been moved, and is behind until it hears that it is a member no more.
                Err(_) if self.has_planner && now < errands_due => {}
                verdict => break verdict?,
            }
        }
        self.checkers.at_strength()?;
        if !self.checkers.has_lost_nodes() {
            self.operator.at_rest()?;
        }
        self.checkers.finish(self.workload.history(), Instant::from_nanos(now))
    }

    /// Lets everything happen up to a true time, and checks it.
    fn go_on(&mut self, end: u64) -> Result<(), Violation> {
        let net = ClientNet::new(self.cluster.world.clone());
        let mut verdict = Ok(());
        let Run { injector, operator, checkers, workload, .. } = self;
        self.cluster.run_until(end, |cluster| {
            if verdict.is_err() {
                return false;
            }
            injector.attend(cluster);
            operator.take_on(injector.errands.drain(..));
            operator.attend(cluster, &net);
            loop {
                let Some(event) = cluster.world.borrow_mut().clients.events.pop_front() else { break };
                if let Some(event) = operator.event(cluster, &net, event) {
                    workload.event(&net, event);
                }
            }
            let mut seen = cluster.observations.borrow_mut();
            for observation in seen.drain(..) {
                if matches!(observation.kind, ObservationKind::Role { role: Role::Leader, .. }) {
                    workload.elected(&net, observation.group, observation.place);
                }
                if verdict.is_ok() {
                    verdict = checkers.observe(&observation);
                }
            }
            verdict.is_ok()
        });
        verdict
    }

    fn lose_majority(&self) {
        for node in 0..self.cluster.map.nodes.len() / 2 + 1 {
            self.cluster.kill(node, Death::Machine);
            self.cluster.world.borrow_mut().nodes[node].disk.wipe();
        }
        for node in 0..self.cluster.map.nodes.len() {
            self.cluster.boot(node);
        }
    }
}
