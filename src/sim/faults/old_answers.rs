//! Answers from a follower that arrive when their receiver leads again, two terms later, and has other entries than those which
//! they are about.
//!
//! It takes five nodes: of three, the two that have an entry are a majority, and the entry stays.

use super::kinds::Fault;
use super::leader_fault::LeaderFault;
use crate::cluster_spec::{ClusterSpec, NodeNumber};
use crate::prng::Prng;

/// From this number of nodes on, entries of a leader and one follower may be replaced.
pub(super) const NODES_MIN: u32 = 5;

/// The mean delay of answers that are to be old when they come, in milliseconds: beyond the longest that the network lets anything
/// take, so nearly all of them take that.
const DELAY_MS: u64 = 100_000;
/// When the answers are held back by a cut instead: before the first of them arrive.
const CUT_AFTER_MS: u64 = 1_000;
/// For how much longer than its answers are held back the follower hears of nobody but the leader.
const ALONE_MS: u64 = 1_000;

/// [`LeaderFault::OldAnswers`], at times in which the elections that it takes come about.
pub(super) fn draw(prng: &mut Prng, cluster_spec: &ClusterSpec) -> LeaderFault {
    let (_, shortest, longest) = cluster_spec.timing_ms;
    let mut within = |least: u32, most: u32| prng.range(u64::from(least), u64::from(most));
    LeaderFault::OldAnswers {
        lonely_ms: within(longest, 3 * longest),
        back_ms: within(longest / 2, longest),
        heir_ms: within(shortest / 2, shortest),
        hold_ms: within(longest / 2, 3 * longest),
        group: within(1, cluster_spec.groups as u32) as u32,
    }
}

/// What [`LeaderFault::OldAnswers`] means for a leader, whose `late` follower answers late; see [`LeaderFault::steps`].
pub(super) fn steps(
    fault: &LeaderFault,
    leader: NodeNumber,
    late: NodeNumber,
    others: &[NodeNumber],
) -> Vec<(u64, Fault)> {
    let LeaderFault::OldAnswers { lonely_ms, back_ms, heir_ms, hold_ms, group } = *fault else { return Vec::new() };
    let rest = || others.iter().copied().filter(|node| *node != late);
    let passed_on_ms = lonely_ms + back_ms;
    let for_ms = passed_on_ms + heir_ms + hold_ms;
    let delay = Fault::Delay { from: late, to: leader, mean_ms: DELAY_MS, for_ms };
    // The cut alone would do from the beginning, but then the leader could soon send nothing either.
    let cut_ms = for_ms.saturating_sub(CUT_AFTER_MS);
    let cut = (CUT_AFTER_MS, Fault::CutOneWay { from: late, to: leader, for_ms: cut_ms });
    let cuts = rest().flat_map(|node| {
        [cut_both_ways(late, node, for_ms + ALONE_MS), cut_both_ways(leader, node, lonely_ms)].into_iter().flatten()
    });
    // Else the leader and the rest would find each other only when they try to send the next time.
    let resets = rest().map(|node| (lonely_ms + 1, Fault::Reset { a: leader, b: node }));
    let pass_on = LeaderFault::PassOn { heir: leader, after_ms: heir_ms, for_ms: 2 * hold_ms };
    let pass_on = (passed_on_ms, Fault::TargetLeader { group, fault: pass_on });
    let cut = (cut_ms > 0).then_some(cut);
    cuts.chain([(0, delay)]).chain(cut).chain(resets).chain([pass_on]).collect()
}

/// Begins at once to keep everything between two nodes from getting through.
pub(super) fn cut_both_ways(a: NodeNumber, b: NodeNumber, for_ms: u64) -> [(u64, Fault); 2] {
    [(a, b), (b, a)].map(|(from, to)| (0, Fault::CutOneWay { from, to, for_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_follower_hears_the_leader_alone_until_its_answers_have_been_let_go() {
        let mut prng = Prng::stream(1, "old answers");
        let (leader, late, others) = (3, 1, [1, 2, 4, 5]);
        for seed in 0..200 {
            let fault = draw(&mut prng, &ClusterSpec::of_seed(seed));
            let LeaderFault::OldAnswers { lonely_ms, .. } = fault else { panic!("{fault:?}") };
            let steps = steps(&fault, leader, late, &others);
            let cuts = || {
                steps.iter().filter_map(|(at_ms, fault)| match fault {
                    Fault::CutOneWay { from, to, for_ms } => Some((*from, *to, at_ms + for_ms)),
                    _ => None,
                })
            };
            let end = |from, to| cuts().filter(|cut| (cut.0, cut.1) == (from, to)).map(|cut| cut.2).max();
            let let_go = steps.iter().find_map(|(at_ms, fault)| match fault {
                Fault::Delay { from, to, for_ms, .. } if (*from, *to) == (late, leader) => Some(at_ms + for_ms),
                _ => None,
            });
            assert_eq!(end(leader, late), None);
            assert!(end(late, leader).is_none_or(|end| Some(end) == let_go));
            for node in [2, 4, 5] {
                assert!(end(node, late) > let_go && end(late, node) > let_go);
                assert_eq!((end(node, leader), end(leader, node)), (Some(lonely_ms), Some(lonely_ms)));
            }
            let target = steps.iter().find(|(_, fault)| matches!(fault, Fault::TargetLeader { .. }));
            let (at_ms, Fault::TargetLeader { fault: LeaderFault::PassOn { heir, .. }, .. }) = target.unwrap() else {
                panic!("{target:?}")
            };
            assert!(*heir == leader && *at_ms > lonely_ms && Some(*at_ms) < let_go);
        }
    }
}
