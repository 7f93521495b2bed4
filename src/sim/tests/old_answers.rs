//! The fault made for answers of an earlier term: they arrive when their receiver leads again, and has other entries than those
//! which they are about.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::time::Duration;

use raft::Role;
use sim::checkers::Logs;
use sim::cluster::Cluster;
use sim::cluster_spec::{ClusterSpec, Hostility, Load};
use sim::faults::{Fault, LeaderFault, Schedule, Timed};
use sim::injector::Injector;
use sim::observation::{EntryHash, Observation, ObservationKind};
use sim::workload::Sessions;
use types::{GroupId, Index, ReplicaId, Term};

const MILLISECOND: u64 = 1_000_000;
const GROUP: GroupId = GroupId(1);
const NODES_COUNT: u32 = 5;
const SEEDS_COUNT: usize = 10;
const BEGIN_MS: u64 = 3_000;
const END_MS: u64 = 9_000;

/// What the replicas of the group have told so far.
#[derive(Default)]
struct Told {
    logs: Logs,
    leaders: BTreeMap<Term, ReplicaId>,
    /// What each replica has acknowledged: in which term, which entry of its log.
    accepted: BTreeMap<ReplicaId, Vec<(Term, Index, Option<EntryHash>)>>,
    /// The term that each knows of.
    terms: BTreeMap<ReplicaId, Term>,
}

impl Told {
    fn observe(&mut self, seen: &Observation) {
        if seen.group != GROUP {
            return;
        }
        self.logs.observe(seen);
        match seen.kind {
            ObservationKind::Role { role, term, .. } => {
                self.terms.insert(seen.replica, term);
                if role == Role::Leader {
                    self.leaders.insert(term, seen.replica);
                }
            }
            ObservationKind::Accepted { term, index } => {
                let entry = self.logs.get(GROUP, seen.replica).and_then(|log| log.get(index));
                self.accepted.entry(seen.replica).or_default().push((term, index, entry));
            }
            _ => {}
        }
    }

    /// Whether the leader of the latest term has led before, and somebody who does not know that term has then acknowledged an
    /// entry to it in whose place the leader has another one by now.
    fn has_old_answer(&self) -> bool {
        let Some((term, leader)) = self.leaders.last_key_value() else { return false };
        let log = self.logs.get(GROUP, *leader).unwrap();
        self.accepted.iter().filter(|(replica, _)| self.terms.get(replica).is_none_or(|known| known < term)).any(
            |(_, accepted)| {
                accepted.iter().any(|(accepted_term, index, entry)| {
                    let is_replaced = || log.get(*index).is_some_and(|now| entry.is_some_and(|entry| entry != now));
                    accepted_term < term && self.leaders.get(accepted_term) == Some(leader) && is_replaced()
                })
            },
        )
    }
}

/// Whether an answer got old, and arrived. The times are such that each step comes about in most runs.
fn run(seed: u64) -> bool {
    let mut cluster_spec = ClusterSpec::of_seed(seed);
    (cluster_spec.load, cluster_spec.hostility) = (Load::Usual, Hostility::None);
    (cluster_spec.faulty_nodes, cluster_spec.timing_ms) = (Vec::new(), (20, 150, 300));
    let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
    let busy = Duration::from_millis(END_MS);
    let mut sessions = Sessions::new(seed, &cluster_spec, &cluster.map, busy, false);
    let fault = LeaderFault::OldAnswers { lonely_ms: 800, back_ms: 300, heir_ms: 140, hold_ms: 900, group: GROUP.0 };
    let fault = Fault::TargetLeader { group: GROUP.0, fault };
    let schedule = Schedule { faults: vec![Timed { at_ms: BEGIN_MS, fault }] };
    let mut injector = Injector::new(seed, &schedule, &cluster);
    (0..cluster.map.nodes.len()).for_each(|node| cluster.boot(node));
    cluster.start(&mut sessions);
    let mut told = Told::default();
    let stale_count = || cluster.counters().get("raft.stale_term").copied().unwrap_or(0);
    let mut stale_count_before = None;
    for now_ms in 1..=END_MS {
        cluster.run_with(now_ms * MILLISECOND, &mut sessions);
        injector.attend(&cluster);
        cluster.observations.borrow_mut().drain(..).for_each(|seen| told.observe(&seen));
        if told.has_old_answer() {
            let before = *stale_count_before.get_or_insert_with(stale_count);
            if stale_count() > before {
                return true;
            }
        } else {
            stale_count_before = None;
        }
    }
    false
}

#[test]
fn answers_arrive_when_their_receiver_leads_again_with_other_entries() {
    let seeds = (0..).filter(|seed| ClusterSpec::of_seed(*seed).nodes == NODES_COUNT).take(SEEDS_COUNT);
    let count = seeds.filter(|seed| run(*seed)).count();
    assert!(count >= 3, "only {count} of {SEEDS_COUNT} seeds in which an old answer arrived");
}
