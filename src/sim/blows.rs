//! Blows: what befalls a node because it leads, as combinations of faults.
//!
//! Independent faults rarely meet in the few places where a leader that was left behind, or one that has just been elected,
//! could do harm. These are the patterns that make such places; they stay within the fault model.

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::faults::{Fault, NodeNumber, STALL_FACTOR};
use crate::spec::Shape;

/// What befalls a node because it leads. The other nodes elect another leader meanwhile, while clients reach both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "times are named in the text of each blow")]
pub enum Blow {
    /// It hears nothing of the other nodes, nor they of it.
    CutOff { for_ms: u64 },
    /// The other nodes hear nothing of it, and it hears them.
    Mute { for_ms: u64 },
    /// It hears nothing of the other nodes, and they hear it.
    Deaf { for_ms: u64 },
    /// What the others send it takes long; some time later it goes mute, while what they sent before still comes.
    LateAnswers { mean_ms: u64, mute_after_ms: u64, for_ms: u64 },
    /// It stands still.
    Freeze { for_ms: u64 },
    /// It stands still, and is cut off from the other nodes so much longer.
    FreezeCutOff { for_ms: u64, longer_ms: u64 },
    /// It dies, and so does what it has not handed on.
    Crash { down_ms: u64 },
    /// It is cut off, goes on taking commands, and dies.
    CutOffCrash { after_ms: u64, down_ms: u64 },
    /// It dies while the disks of the others are so many times slower.
    CrashSlowOthers { down_ms: u64, factor: u64, for_ms: u64 },
    /// Some other node is cut off and falls behind. Then one whose data may be damaged loses some of it and is restarted, the
    /// first comes back, and the leader is cut off: two are left, of which one knows less than it did and the other never did.
    DamageVoter { cut_ms: u64, flips: u32, down_ms: u64, for_ms: u64 },
    /// It is cut off from some other node, which asks for votes in vain then, while it hears late what the rest have
    /// promised or refused. After a while it is cut off from all, and perhaps those who had heard it are restarted: whatever it
    /// was promised must hold.
    Usurp { cut_ms: u64, late_ms: u64, after_ms: u64, restarts: bool },
    /// Its clock gets slow and those of the others fast, as far as they may. Then it is cut off, and its lease must be over before
    /// they elect another leader.
    SlowClock { after_ms: u64, for_ms: u64 },
    /// It is cut off, takes commands, dies and comes back, while those elected meanwhile are cut off in their first moments
    /// and messages are lost: entries of several terms stand in logs, none of them on a majority (Raft paper, figure 8).
    Churn { after_ms: u64, down_ms: u64, cut_ms: u64, within_ms: u64, for_ms: u64 },
}

impl Blow {
    /// What it means for a node that leads a cluster of this shape: faults, and how many milliseconds later each begins.
    /// `chance` decides whom else it concerns.
    pub fn steps(&self, leader: NodeNumber, shape: &Shape, chance: &mut Chance) -> Vec<(u64, Fault)> {
        let others: Vec<NodeNumber> = (1..=shape.nodes).filter(|node| *node != leader).collect();
        let cut_off = |for_ms| Fault::Partition { side: vec![leader], for_ms };
        let mute = |to: &NodeNumber, for_ms| Fault::CutOneWay { from: leader, to: *to, for_ms };
        match *self {
            Blow::CutOff { for_ms } => vec![(0, cut_off(for_ms))],
            Blow::Mute { for_ms } => others.iter().map(|other| (0, mute(other, for_ms))).collect(),
            Blow::Deaf { for_ms } => {
                let deaf = |from: &NodeNumber| Fault::CutOneWay { from: *from, to: leader, for_ms };
                others.iter().map(|other| (0, deaf(other))).collect()
            }
            Blow::LateAnswers { mean_ms, mute_after_ms, for_ms } => {
                let late = |from: &NodeNumber| Fault::Delay { from: *from, to: leader, mean_ms, for_ms };
                let mute_ms = for_ms.saturating_sub(mute_after_ms);
                let late = others.iter().map(|other| (0, late(other)));
                late.chain(others.iter().map(|other| (mute_after_ms, mute(other, mute_ms)))).collect()
            }
            Blow::Freeze { for_ms } => vec![(0, Fault::Pause { node: leader, for_ms })],
            Blow::FreezeCutOff { for_ms, longer_ms } => {
                vec![(0, Fault::Pause { node: leader, for_ms }), (0, cut_off(for_ms + longer_ms))]
            }
            Blow::Crash { down_ms } => vec![(0, Fault::Crash { node: leader, down_ms })],
            Blow::CutOffCrash { after_ms, down_ms } => {
                vec![(0, cut_off(after_ms)), (after_ms, Fault::Crash { node: leader, down_ms })]
            }
            Blow::CrashSlowOthers { down_ms, factor, for_ms } => {
                let slow = |node: &NodeNumber| (0, Fault::SlowDisk { node: *node, factor, for_ms });
                others.iter().map(slow).chain([(0, Fault::Crash { node: leader, down_ms })]).collect()
            }
            Blow::DamageVoter { cut_ms, flips, down_ms, for_ms } => {
                let (victims, sound): (Vec<_>, Vec<_>) =
                    others.into_iter().partition(|node| shape.victims.contains(node));
                let (Some(victim), Some(lonely)) = (any_of(chance, &victims), any_of(chance, &sound)) else {
                    return Vec::new();
                };
                let rot = Fault::BitRot { node: victim, flips, down_ms };
                let damage = if chance.happens(700_000) { rot } else { Fault::LostFile { node: victim, down_ms } };
                let cut_lonely = Fault::Partition { side: vec![lonely], for_ms: cut_ms };
                vec![(0, cut_lonely), (cut_ms, damage), (cut_ms, cut_off(for_ms))]
            }
            Blow::Usurp { cut_ms, late_ms, after_ms, restarts } => {
                let Some(lonely) = any_of(chance, &others) else { return Vec::new() };
                let cuts = [(leader, lonely), (lonely, leader)];
                let cuts = cuts.map(|(from, to)| (0, Fault::CutOneWay { from, to, for_ms: cut_ms }));
                let cuts = cuts.into_iter().chain([(after_ms, cut_off(cut_ms.saturating_sub(after_ms)))]);
                let rest = || others.iter().filter(|node| **node != lonely);
                let late = |from: &NodeNumber| {
                    (0, Fault::Delay { from: *from, to: leader, mean_ms: late_ms, for_ms: cut_ms })
                };
                let restart = |node: &NodeNumber| (after_ms, Fault::Crash { node: *node, down_ms: 1 });
                let late = rest().filter(|_| late_ms > 0).map(late);
                cuts.chain(late).chain(rest().filter(|_| restarts).map(restart)).collect()
            }
            Blow::SlowClock { after_ms, for_ms } => {
                let bound = i64::from(shape.drift_ppm_max) / 2;
                let drift = |node| Fault::Drift { node, ppm: if node == leader { -bound } else { bound } };
                let drifts = (1..=shape.nodes).map(|node| (0, drift(node)));
                drifts.chain([(after_ms, cut_off(for_ms))]).collect()
            }
            Blow::Churn { after_ms, down_ms, cut_ms, within_ms, for_ms } => {
                let tamper = |from: NodeNumber, to: NodeNumber| {
                    (0, Fault::Tamper { from, to, lose: 200_000, repeat: 0, reorder: 200_000, for_ms })
                };
                let both_ways = |other: &NodeNumber| [tamper(leader, *other), tamper(*other, leader)];
                let hunt = Fault::HuntLeaders { blow: Box::new(Blow::CutOff { for_ms: cut_ms }), within_ms, for_ms };
                let crash = Fault::Crash { node: leader, down_ms };
                let first = [(0, cut_off(after_ms)), (0, hunt), (after_ms, crash)];
                others.iter().flat_map(both_ways).chain(first).collect()
            }
        }
    }
}

fn any_of(chance: &mut Chance, nodes: &[NodeNumber]) -> Option<NodeNumber> {
    if nodes.is_empty() { None } else { Some(chance.pick(nodes)) }
}

/// A blow that consists of one or two faults. It lasts long enough, most of the time, that others elect a leader meanwhile.
pub(crate) fn simple_blow(chance: &mut Chance) -> Blow {
    let for_ms = chance.range(200, 3_000);
    let short_ms = chance.range(1, 1_500);
    let down_ms = if chance.happens(700_000) { chance.range(1, 300) } else { for_ms };
    match chance.below(7) {
        0 => Blow::CutOff { for_ms },
        1 => Blow::Mute { for_ms },
        2 => Blow::Deaf { for_ms },
        3 => Blow::Freeze { for_ms },
        4 => Blow::FreezeCutOff { for_ms, longer_ms: short_ms },
        5 => Blow::Crash { down_ms },
        _ => Blow::CutOffCrash { after_ms: short_ms, down_ms },
    }
}

/// Any blow.
pub(crate) fn any_blow(chance: &mut Chance, shape: &Shape) -> Blow {
    let for_ms = chance.range(200, 3_000);
    let short_ms = chance.range(1, 1_500);
    let down_ms = chance.range(1, 1_000);
    // Without a victim there is nothing to damage.
    let choices = if shape.victims.is_empty() { 14 } else { 16 };
    match chance.below(choices) {
        0..=4 => simple_blow(chance),
        5 | 6 => {
            let mute_after_ms = 300 + short_ms;
            Blow::LateAnswers { mean_ms: chance.range(100, 800), mute_after_ms, for_ms: mute_after_ms + for_ms }
        }
        7 => Blow::CrashSlowOthers { down_ms: for_ms, factor: chance.pick(&[100, STALL_FACTOR]), for_ms: short_ms },
        8 | 9 => Blow::Usurp {
            cut_ms: for_ms + 2 * short_ms,
            late_ms: chance.pick(&[0, 20, 100, 300]),
            after_ms: for_ms,
            restarts: chance.happens(500_000),
        },
        10 | 11 => Blow::SlowClock { after_ms: short_ms, for_ms },
        12 | 13 => Blow::Churn {
            after_ms: chance.range(20, 400),
            down_ms,
            cut_ms: chance.range(300, 2_000),
            within_ms: chance.pick(&[1, 5, 20]),
            for_ms: 2_000 + for_ms,
        },
        _ => Blow::DamageVoter { cut_ms: for_ms, flips: chance.range(1, 3) as u32, down_ms, for_ms: 2 * for_ms },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blow_falls_on_the_leader_and_leaves_the_others_alive() {
        let mut chance = Chance::stream(1, "blows");
        for seed in 0..500 {
            let shape = Shape::of_seed(seed);
            let nodes = shape.nodes;
            let leader = chance.range(1, u64::from(nodes)) as NodeNumber;
            for _ in 0..20 {
                let blow = any_blow(&mut chance, &shape);
                let is_restart = matches!(blow, Blow::Usurp { .. });
                for (_, fault) in blow.steps(leader, &shape, &mut chance) {
                    match fault {
                        Fault::BitRot { node, .. } | Fault::LostFile { node, .. } => {
                            assert!(node != leader && shape.victims.contains(&node));
                        }
                        Fault::Partition { side, .. } if matches!(blow, Blow::DamageVoter { .. }) => {
                            assert_eq!(side.len(), 1);
                        }
                        Fault::Crash { node, .. } => assert_eq!(node == leader, !is_restart),
                        Fault::Pause { node, .. } => assert_eq!(node, leader),
                        Fault::Partition { side, .. } => assert_eq!(side, [leader]),
                        Fault::CutOneWay { from, to, .. } | Fault::Delay { from, to, .. } => {
                            assert!(from != to && (from == leader || to == leader) && from.max(to) <= nodes);
                        }
                        Fault::Tamper { .. } | Fault::HuntLeaders { .. } => {
                            assert!(matches!(blow, Blow::Churn { .. }));
                        }
                        Fault::SlowDisk { node, .. } => assert!(node != leader && node <= nodes),
                        Fault::Drift { ppm, .. } => {
                            assert!(2 * ppm.unsigned_abs() <= u64::from(shape.drift_ppm_max));
                        }
                        other => panic!("{other:?} is part of {blow:?}"),
                    }
                }
            }
        }
    }
}
