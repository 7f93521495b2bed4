//! Faults made for whoever leads, as combinations of others.
//!
//! Independent faults rarely meet in the few places where a leader that was left behind, or one that has just been elected,
//! could do harm. These are the patterns that make such places; they stay within the fault model.

use super::kinds::Fault;
use super::leader_fault::LeaderFault;
use super::old_answers::cut_both_ways;
use super::{READINGS, STALL_FACTOR, old_answers};
use crate::cluster_spec::{ClusterSpec, NodeNumber};
use crate::prng::{Ppm, Prng};

/// How likely a leader fault is about old answers, where those can do harm.
const OLD_ANSWERS_PPM: Ppm = 350_000;

/// A fault, and how many milliseconds later it begins.
type Later = (u64, Fault);

impl LeaderFault {
    /// What it means for a node that leads a cluster of this shape: faults, and how many milliseconds later each begins.
    /// `prng` decides whom else it concerns.
    pub fn steps(&self, leader: NodeNumber, cluster_spec: &ClusterSpec, prng: &mut Prng) -> Vec<(u64, Fault)> {
        let others: Vec<NodeNumber> = (1..=cluster_spec.nodes).filter(|node| *node != leader).collect();
        match *self {
            LeaderFault::CutOff { for_ms } => vec![(0, cut_off(leader, for_ms))],
            LeaderFault::Mute { for_ms } => mute(leader, &others, 0, for_ms).collect(),
            LeaderFault::Deaf { for_ms } => {
                let deaf = |from: &NodeNumber| Fault::CutOneWay { from: *from, to: leader, for_ms };
                others.iter().map(|other| (0, deaf(other))).collect()
            }
            LeaderFault::LateAnswers { mean_ms, mute_after_ms, for_ms } => {
                let late = |from: &NodeNumber| Fault::Delay { from: *from, to: leader, mean_ms, for_ms };
                let late = others.iter().map(|other| (0, late(other)));
                late.chain(mute(leader, &others, mute_after_ms, for_ms.saturating_sub(mute_after_ms))).collect()
            }
            LeaderFault::Freeze { for_ms } => vec![(0, Fault::Pause { node: leader, for_ms })],
            LeaderFault::FreezeCutOff { for_ms, longer_ms } => {
                vec![(0, Fault::Pause { node: leader, for_ms }), (0, cut_off(leader, for_ms + longer_ms))]
            }
            LeaderFault::StopBehindClock { reading, for_ms } => {
                vec![(0, cut_off(leader, for_ms)), (0, Fault::StopBehindClock { node: leader, reading, for_ms })]
            }
            LeaderFault::Return { .. } => {
                any_of(prng, &others).map(|late| self.return_steps(leader, late)).unwrap_or_default()
            }
            LeaderFault::OldAnswers { .. } => {
                any_of(prng, &others).map(|late| old_answers::steps(self, leader, late, &others)).unwrap_or_default()
            }
            LeaderFault::PassOn { heir, after_ms, for_ms } => pass_on(leader, heir, &others, after_ms, for_ms),
            LeaderFault::Crash { down_ms } => vec![(0, Fault::Crash { node: leader, down_ms })],
            LeaderFault::CutOffCrash { after_ms, down_ms } => {
                vec![(0, cut_off(leader, after_ms)), (after_ms, Fault::Crash { node: leader, down_ms })]
            }
            LeaderFault::CrashSlowOthers { down_ms, factor, for_ms } => {
                let slow = |node: &NodeNumber| (0, Fault::SlowDisk { node: *node, factor, for_ms });
                others.iter().map(slow).chain([(0, Fault::Crash { node: leader, down_ms })]).collect()
            }
            LeaderFault::DamageVoter { .. } => self.damage_voter_steps(leader, others, cluster_spec, prng),
            LeaderFault::Usurp { .. } => {
                any_of(prng, &others).map(|lonely| self.usurp_steps(leader, lonely, &others)).unwrap_or_default()
            }
            LeaderFault::SlowClock { after_ms, for_ms } => {
                let bound = i64::from(cluster_spec.drift_ppm_max) / 2;
                let drift = |node| Fault::Drift { node, ppm: if node == leader { -bound } else { bound } };
                let drifts = (1..=cluster_spec.nodes).map(|node| (0, drift(node)));
                drifts.chain([(after_ms, cut_off(leader, for_ms))]).collect()
            }
            LeaderFault::Churn { .. } => self.churn_steps(leader, &others),
        }
    }

    /// [`LeaderFault::Return`], where the answers of one other node come `late`.
    fn return_steps(&self, leader: NodeNumber, late: NodeNumber) -> Vec<Later> {
        let LeaderFault::Return { late_ms, cut_ms, back_ms, group } = *self else { return Vec::new() };
        let for_ms = 2 * cut_ms + back_ms;
        let delay = Fault::Delay { from: late, to: leader, mean_ms: late_ms, for_ms };
        let fault = LeaderFault::CutOff { for_ms: cut_ms };
        vec![(0, delay), (0, cut_off(leader, cut_ms)), (cut_ms + back_ms, Fault::TargetLeader { group, fault })]
    }

    /// [`LeaderFault::DamageVoter`]; nothing if there is nobody to damage, or nobody else to fall behind.
    fn damage_voter_steps(
        &self,
        leader: NodeNumber,
        others: Vec<NodeNumber>,
        cluster_spec: &ClusterSpec,
        prng: &mut Prng,
    ) -> Vec<Later> {
        let LeaderFault::DamageVoter { cut_ms, flips, down_ms, for_ms } = *self else { return Vec::new() };
        let (faulty_nodes, sound): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|node| cluster_spec.faulty_nodes.contains(node));
        let (Some(faulty), Some(lonely)) = (any_of(prng, &faulty_nodes), any_of(prng, &sound)) else {
            return Vec::new();
        };
        let rot = Fault::BitRot { node: faulty, flips, down_ms };
        let damage = if prng.bernoulli(700_000) { rot } else { Fault::LostFile { node: faulty, down_ms } };
        vec![(0, cut_off(lonely, cut_ms)), (cut_ms, damage), (cut_ms, cut_off(leader, for_ms))]
    }

    /// [`LeaderFault::Usurp`], where the `lonely` one asks for votes in vain.
    fn usurp_steps(&self, leader: NodeNumber, lonely: NodeNumber, others: &[NodeNumber]) -> Vec<Later> {
        let LeaderFault::Usurp { cut_ms, late_ms, after_ms, restarts } = *self else { return Vec::new() };
        let cuts = [(leader, lonely), (lonely, leader)];
        let cuts = cuts.map(|(from, to)| (0, Fault::CutOneWay { from, to, for_ms: cut_ms }));
        let cuts = cuts.into_iter().chain([(after_ms, cut_off(leader, cut_ms.saturating_sub(after_ms)))]);
        let rest = || others.iter().filter(|node| **node != lonely);
        let late =
            |from: &NodeNumber| (0, Fault::Delay { from: *from, to: leader, mean_ms: late_ms, for_ms: cut_ms });
        let restart = |node: &NodeNumber| (after_ms, Fault::Crash { node: *node, down_ms: 1 });
        let late = rest().filter(|_| late_ms > 0).map(late);
        cuts.chain(late).chain(rest().filter(|_| restarts).map(restart)).collect()
    }

    /// [`LeaderFault::Churn`].
    fn churn_steps(&self, leader: NodeNumber, others: &[NodeNumber]) -> Vec<Later> {
        let LeaderFault::Churn { after_ms, down_ms, cut_ms, within_ms, for_ms } = *self else { return Vec::new() };
        let corrupt = |from: NodeNumber, to: NodeNumber| {
            (0, Fault::Corrupt { from, to, lose: 200_000, repeat: 0, reorder: 200_000, for_ms })
        };
        let both_ways = |other: &NodeNumber| [corrupt(leader, *other), corrupt(*other, leader)];
        let fault = Box::new(LeaderFault::CutOff { for_ms: cut_ms });
        let target = Fault::TargetNewLeaders { fault, within_ms, for_ms };
        let crash = Fault::Crash { node: leader, down_ms };
        let first = [(0, cut_off(leader, after_ms)), (0, target), (after_ms, crash)];
        others.iter().flat_map(both_ways).chain(first).collect()
    }
}

/// A node hears nothing of the others, nor they of it.
fn cut_off(node: NodeNumber, for_ms: u64) -> Fault {
    Fault::Partition { side: vec![node], for_ms }
}

/// Later the others hear nothing of the leader.
fn mute(leader: NodeNumber, others: &[NodeNumber], after_ms: u64, for_ms: u64) -> impl Iterator<Item = Later> {
    others.iter().map(move |other| (after_ms, Fault::CutOneWay { from: leader, to: *other, for_ms }))
}

/// [`LeaderFault::PassOn`].
fn pass_on(leader: NodeNumber, heir: NodeNumber, others: &[NodeNumber], after_ms: u64, for_ms: u64) -> Vec<Later> {
    let rest = others.iter().filter(|node| **node != heir);
    let cuts = rest.flat_map(|node| [heir, leader].map(|from| cut_both_ways(from, *node, after_ms)));
    // Nobody took the place of the one that is to be elected again.
    let cuts = cuts.flatten().filter(|_| heir != leader);
    cuts.chain([(after_ms, cut_off(leader, for_ms))]).collect()
}

fn any_of(prng: &mut Prng, nodes: &[NodeNumber]) -> Option<NodeNumber> {
    if nodes.is_empty() { None } else { Some(prng.pick(nodes)) }
}

/// A leader fault that consists of one or two faults. It lasts long enough, most of the time, that others elect a leader meanwhile.
pub(crate) fn simple_leader_fault(prng: &mut Prng) -> LeaderFault {
    let for_ms = prng.range(200, 3_000);
    let short_ms = prng.range(1, 1_500);
    let down_ms = if prng.bernoulli(700_000) { prng.range(1, 300) } else { for_ms };
    match prng.below(9) {
        0 => LeaderFault::CutOff { for_ms },
        1 => LeaderFault::Mute { for_ms },
        2 => LeaderFault::Deaf { for_ms },
        3 => LeaderFault::Freeze { for_ms },
        4 => LeaderFault::FreezeCutOff { for_ms, longer_ms: short_ms },
        5 => LeaderFault::Crash { down_ms },
        6 | 7 => LeaderFault::StopBehindClock { reading: prng.pick(&READINGS), for_ms },
        _ => LeaderFault::CutOffCrash { after_ms: short_ms, down_ms },
    }
}

/// Any leader fault.
pub(crate) fn any_leader_fault(prng: &mut Prng, cluster_spec: &ClusterSpec) -> LeaderFault {
    let for_ms = prng.range(200, 3_000);
    let short_ms = prng.range(1, 1_500);
    let down_ms = prng.range(1, 1_000);
    if cluster_spec.nodes >= old_answers::NODES_MIN && prng.bernoulli(OLD_ANSWERS_PPM) {
        return old_answers::draw(prng, cluster_spec);
    }
    // Without a faulty there is nothing to damage.
    let choices = if cluster_spec.faulty_nodes.is_empty() { 16 } else { 18 };
    match prng.below(choices) {
        14 | 15 => LeaderFault::Return {
            late_ms: prng.range(300, 3_000),
            cut_ms: prng.range(500, 2_500),
            back_ms: prng.range(10, 600),
            group: prng.range(1, cluster_spec.groups as u64) as u32,
        },
        0..=4 => simple_leader_fault(prng),
        5 | 6 => {
            let mute_after_ms = 300 + short_ms;
            LeaderFault::LateAnswers { mean_ms: prng.range(100, 800), mute_after_ms, for_ms: mute_after_ms + for_ms }
        }
        7 => LeaderFault::CrashSlowOthers {
            down_ms: for_ms,
            factor: prng.pick(&[100, STALL_FACTOR]),
            for_ms: short_ms,
        },
        8 | 9 => LeaderFault::Usurp {
            cut_ms: for_ms + 2 * short_ms,
            late_ms: prng.pick(&[0, 20, 100, 300]),
            after_ms: for_ms,
            restarts: prng.bernoulli(500_000),
        },
        10 | 11 => LeaderFault::SlowClock { after_ms: short_ms, for_ms },
        12 | 13 => LeaderFault::Churn {
            after_ms: prng.range(20, 400),
            down_ms,
            cut_ms: prng.range(300, 2_000),
            within_ms: prng.pick(&[1, 5, 20]),
            for_ms: 2_000 + for_ms,
        },
        _ => LeaderFault::DamageVoter { cut_ms: for_ms, flips: prng.range(1, 3) as u32, down_ms, for_ms: 2 * for_ms },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_fault_concerns_the_leader_and_leaves_the_others_alive() {
        let mut prng = Prng::stream(1, "leader faults");
        for seed in 0..500 {
            let cluster_spec = ClusterSpec::of_seed(seed);
            let nodes = cluster_spec.nodes;
            let leader = prng.range(1, u64::from(nodes)) as NodeNumber;
            for _ in 0..20 {
                let leader_fault = any_leader_fault(&mut prng, &cluster_spec);
                if matches!(leader_fault, LeaderFault::OldAnswers { .. }) {
                    // See the test in its module: it is about a follower as much.
                    continue;
                }
                let is_restart = matches!(leader_fault, LeaderFault::Usurp { .. });
                for (_, fault) in leader_fault.steps(leader, &cluster_spec, &mut prng) {
                    match fault {
                        Fault::BitRot { node, .. } | Fault::LostFile { node, .. } => {
                            assert!(node != leader && cluster_spec.faulty_nodes.contains(&node));
                        }
                        Fault::Partition { side, .. } if matches!(leader_fault, LeaderFault::DamageVoter { .. }) => {
                            assert_eq!(side.len(), 1);
                        }
                        Fault::Crash { node, .. } => assert_eq!(node == leader, !is_restart),
                        Fault::Pause { node, .. } | Fault::StopBehindClock { node, .. } => assert_eq!(node, leader),
                        Fault::Partition { side, .. } => assert_eq!(side, [leader]),
                        Fault::CutOneWay { from, to, .. } | Fault::Delay { from, to, .. } => {
                            assert!(from != to && (from == leader || to == leader) && from.max(to) <= nodes);
                        }
                        Fault::TargetLeader { .. } => {
                            assert!(matches!(leader_fault, LeaderFault::Return { .. }));
                        }
                        Fault::Corrupt { .. } | Fault::TargetNewLeaders { .. } => {
                            assert!(matches!(leader_fault, LeaderFault::Churn { .. }));
                        }
                        Fault::SlowDisk { node, .. } => assert!(node != leader && node <= nodes),
                        Fault::Drift { ppm, .. } => {
                            assert!(2 * ppm.unsigned_abs() <= u64::from(cluster_spec.drift_ppm_max));
                        }
                        other => panic!("{other:?} is part of {leader_fault:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn who_passes_leadership_on_is_heard_by_the_heir_alone_and_then_by_nobody() {
        let mut prng = Prng::stream(1, "leader faults");
        let cluster_spec = ClusterSpec { nodes: 5, ..ClusterSpec::of_seed(1) };
        let steps = |heir, prng: &mut Prng| {
            LeaderFault::PassOn { heir, after_ms: 100, for_ms: 1_000 }.steps(2, &cluster_spec, prng)
        };
        let cut_off = (100, Fault::Partition { side: vec![2], for_ms: 1_000 });
        let passed_on = steps(4, &mut prng);
        assert_eq!(passed_on.last(), Some(&cut_off));
        for (from, to) in (1..=5).flat_map(|from| (1..=5).map(move |to| (from, to))).filter(|(from, to)| from != to) {
            let are_parted = [2, 4].contains(&from) != [2, 4].contains(&to);
            let cut = (0, Fault::CutOneWay { from, to, for_ms: 100 });
            assert_eq!(passed_on.contains(&cut), are_parted, "{cut:?}");
        }
        assert_eq!(steps(2, &mut prng), [cut_off], "it leads itself again");
    }
}
