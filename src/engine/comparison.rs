//! What comparing the replicas of a group has found: how their digests are weighed, and how it is told.
//!
//! A replica differs if most voters agree on another digest: not most of those that answered, since the others may agree with it. If no
//! digest has a majority it is known that something is wrong and not who.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use lsm::digest::{LeafRange, Leaves};
use types::{CoreAddr, GroupId, Index, ReplicaId, Term};
use wire::{NoDigest, RowsDigest};
use xxhash_rust::xxh3::xxh3_64;

/// Ranges of keys that are named of a comparison; more are counted.
const RANGES_COUNT_MAX: usize = 8;

/// Behind which entry the replicas of a group are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ComparePoint {
    pub(crate) group: GroupId,
    pub(crate) index: Index,
    pub(crate) term: Term,
}

/// What a replica has to say of its state behind an entry.
pub(crate) type DigestAnswer = Result<RowsDigest, NoDigest>;

/// How a replica stands in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has the rows of most, or of all if there are only so few.
    Agrees,
    /// It has other rows than most.
    Differs,
    /// It has a digest, and none has a majority.
    Unknown,
    /// It has none.
    NoDigest(NoDigest),
    /// It did not answer in time.
    Silent,
}

/// A replica in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) replica: ReplicaId,
    pub(crate) addr: CoreAddr,
    pub(crate) standing: Standing,
}

/// How a comparison has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All digests are equal, and there are at least two.
    Equal,
    /// Most voters agree, and some differ from them.
    Minority,
    /// Digests differ, and none has a majority.
    NoMajority,
    /// Nothing was compared, for this reason.
    Unfinished(&'static str),
}

/// A comparison that has ended, as INFO and CORACLE COMPARISON tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) point: ComparePoint,
    /// When it ended, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
    pub(crate) took: Duration,
    /// Rows of those that agree; of the leader if there is no majority.
    pub(crate) rows: u64,
    pub(crate) outcome: Outcome,
    pub(crate) members: Vec<Member>,
    /// Where replicas differ, adjacent leaves joined; at most [`RANGES_COUNT_MAX`].
    pub(crate) ranges: Vec<LeafRange>,
    /// How many leaves differ, of how many.
    pub(crate) leaves_differ_count: usize,
}

impl Comparison {
    /// One that has ended without a result.
    pub(crate) fn unfinished(point: ComparePoint, unix_ms: u64, took: Duration, reason: &'static str) -> Comparison {
        Comparison {
            point,
            unix_ms,
            took,
            rows: 0,
            outcome: Outcome::Unfinished(reason),
            members: Vec::new(),
            ranges: Vec::new(),
            leaves_differ_count: 0,
        }
    }

    /// Weighs what the voters of a group have answered; `None` stands for silence. The leader is the first of them.
    pub(crate) fn weigh(
        point: ComparePoint,
        (unix_ms, took): (u64, Duration),
        answers: &[(ReplicaId, CoreAddr, Option<DigestAnswer>)],
        leaves: &Leaves,
    ) -> Comparison {
        let digests = || answers.iter().filter_map(|(.., answer)| answer.as_ref()?.as_ref().ok());
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        digests().for_each(|digest| *counts.entry(root(digest)).or_default() += 1);
        let majority = counts.iter().find(|(_, count)| **count * 2 > answers.len()).map(|(root, _)| *root);
        let outcome = match (counts.len(), digests().count(), majority) {
            (_, 0 | 1, _) => Outcome::Unfinished("fewer than two replicas had a digest"),
            (1, ..) => Outcome::Equal,
            (.., Some(_)) => Outcome::Minority,
            (.., None) => Outcome::NoMajority,
        };
        let standing = |answer: &Option<DigestAnswer>| match answer {
            None => Standing::Silent,
            Some(Err(reason)) => Standing::NoDigest(*reason),
            Some(Ok(_)) if outcome == Outcome::Equal => Standing::Agrees,
            Some(Ok(digest)) => match majority {
                Some(majority) if root(digest) == majority => Standing::Agrees,
                Some(_) => Standing::Differs,
                None => Standing::Unknown,
            },
        };
        let members = answers
            .iter()
            .map(|(replica, addr, answer)| Member { replica: *replica, addr: *addr, standing: standing(answer) })
            .collect();
        let base = digests().find(|digest| majority.is_none_or(|majority| root(digest) == majority));
        let differ: Vec<usize> = base.map_or_else(Vec::new, |base| differing_leaves(base, digests()));
        Comparison {
            point,
            unix_ms,
            took,
            rows: base.map_or(0, |base| base.rows),
            outcome,
            members,
            ranges: joined(&differ, leaves),
            leaves_differ_count: differ.len(),
        }
    }

    /// Whether replicas have different rows.
    pub(crate) fn is_alarm(&self) -> bool {
        matches!(self.outcome, Outcome::Minority | Outcome::NoMajority)
    }

    /// Whether a replica could not say what it holds, and may soon.
    pub(crate) fn was_busy(&self) -> bool {
        let is_busy = |member: &Member| member.standing == Standing::NoDigest(NoDigest::Busy);
        self.members.iter().any(is_busy)
    }

    /// The replicas that differ from most.
    pub(crate) fn differing(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.standing == Standing::Differs)
    }

    /// The replicas that differ from most, or all that have a digest if none has a majority, each with where it lives.
    pub(crate) fn shown_differing(&self) -> String {
        let differs = |member: &&Member| matches!(member.standing, Standing::Differs | Standing::Unknown);
        let one = |member: &Member| format!("{}@{}", member.replica, member.addr);
        self.members.iter().filter(differs).map(one).collect::<Vec<_>>().join(";")
    }

    /// Where replicas differ, in words.
    pub(crate) fn shown_ranges(&self) -> String {
        let mut text = self.ranges.iter().map(LeafRange::to_string).collect::<Vec<_>>().join(", ");
        if self.ranges.len() == RANGES_COUNT_MAX {
            let _ =
                write!(text, " and maybe more, {} ranges of {} in all", self.leaves_differ_count, wire::LEAVES_COUNT);
        }
        text
    }

    /// The replicas and how each stands, in words.
    pub(crate) fn shown_members(&self) -> String {
        let one = |member: &Member| format!("{} on {} {}", member.replica, member.addr, member.standing);
        self.members.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Agrees => f.write_str("agrees"),
            Standing::Differs => f.write_str("differs"),
            Standing::Unknown => f.write_str("has no majority"),
            Standing::NoDigest(reason) => write!(f, "has no digest: {reason}"),
            Standing::Silent => f.write_str("did not answer"),
        }
    }
}

impl Outcome {
    /// In one word, and for one without a result the reason.
    pub(crate) fn shown(&self) -> (&'static str, &'static str) {
        match self {
            Outcome::Equal => ("equal", ""),
            Outcome::Minority => ("minority-differs", ""),
            Outcome::NoMajority => ("no-majority", ""),
            Outcome::Unfinished(reason) => ("unfinished", reason),
        }
    }
}

/// One hash over a digest.
fn root(digest: &RowsDigest) -> u64 {
    xxh3_64(&digest.encode())
}

fn differing_leaves<'a>(base: &RowsDigest, others: impl Iterator<Item = &'a RowsDigest>) -> Vec<usize> {
    let others: Vec<_> = others.collect();
    let differs = |leaf: &usize| others.iter().any(|other| other.leaves.get(*leaf) != base.leaves.get(*leaf));
    (0..base.leaves.len()).filter(differs).collect()
}

/// The ranges of leaves, those that follow each other joined, at most as many as are named.
fn joined(differ: &[usize], leaves: &Leaves) -> Vec<LeafRange> {
    let mut ranges: Vec<(usize, LeafRange)> = Vec::new();
    for leaf in differ {
        // A leaf without keys holds what is in no slot of the group.
        let Some(range) = leaves.range(*leaf) else { continue };
        let count = ranges.len();
        match ranges.last_mut() {
            Some((last, before)) if *last + 1 == *leaf => (*last, *before) = (*leaf, before.up_to(range)),
            _ if count == RANGES_COUNT_MAX => break,
            _ => ranges.push((*leaf, range)),
        }
    }
    ranges.into_iter().map(|(_, range)| range).collect()
}

#[cfg(test)]
mod tests {
    use types::Slot;
    use wire::LEAVES_COUNT;

    use super::*;

    const POINT: ComparePoint = ComparePoint { group: GroupId(3), index: 70, term: 2 };

    fn digest(altered: &[usize]) -> RowsDigest {
        let mut leaves = vec![7; LEAVES_COUNT];
        altered.iter().for_each(|leaf| leaves[*leaf] += 1);
        RowsDigest { rows: 100, leaves }
    }

    fn weigh(answers: Vec<Option<DigestAnswer>>) -> Comparison {
        let slots = [(Slot::new(0).expect("a slot"), Slot::MAX)];
        let answer = |(at, answer)| (ReplicaId(at as u64 + 1), CoreAddr::default(), answer);
        let answers: Vec<_> = answers.into_iter().enumerate().map(answer).collect();
        Comparison::weigh(POINT, (5, Duration::from_secs(1)), &answers, &Leaves::of(&slots, LEAVES_COUNT))
    }

    fn standings(found: &Comparison) -> Vec<Standing> {
        found.members.iter().map(|member| member.standing).collect()
    }

    #[test]
    fn replicas_that_agree_are_equal_also_if_one_is_silent() {
        let same = || Some(Ok(digest(&[])));
        let found = weigh(vec![same(), same(), same()]);
        assert_eq!((found.outcome, found.rows, found.is_alarm()), (Outcome::Equal, 100, false));
        let found = weigh(vec![same(), None, same()]);
        assert_eq!(found.outcome, Outcome::Equal);
        assert_eq!(standings(&found), [Standing::Agrees, Standing::Silent, Standing::Agrees]);
        let found = weigh(vec![same(), Some(Err(NoDigest::Busy)), None]);
        assert!(matches!(found.outcome, Outcome::Unfinished(_)) && found.was_busy() && !found.is_alarm());
    }

    #[test]
    fn who_differs_from_most_is_named_and_where() {
        let found = weigh(vec![Some(Ok(digest(&[]))), Some(Ok(digest(&[4, 5, 9]))), Some(Ok(digest(&[])))]);
        assert_eq!((found.outcome, found.leaves_differ_count), (Outcome::Minority, 3));
        assert_eq!(found.differing().map(|member| member.replica).collect::<Vec<_>>(), [ReplicaId(2)]);
        assert_eq!(found.shown_ranges(), "slots 64-95, slots 144-159");
        let leader = weigh(vec![Some(Ok(digest(&[1]))), Some(Ok(digest(&[]))), Some(Ok(digest(&[])))]);
        assert_eq!(standings(&leader), [Standing::Differs, Standing::Agrees, Standing::Agrees]);
    }

    #[test]
    fn a_majority_is_one_of_all_voters_and_not_of_those_that_answered() {
        let (one, other) = (|| Some(Ok(digest(&[]))), || Some(Ok(digest(&[3]))));
        for answers in [vec![one(), other()], vec![one(), other(), None], vec![one(), one(), other(), None, None]] {
            let found = weigh(answers);
            assert_eq!((found.outcome, found.is_alarm()), (Outcome::NoMajority, true));
            assert_eq!(found.differing().count(), 0);
            assert_eq!(found.shown_ranges(), "slots 48-63");
        }
        let three = weigh(vec![one(), one(), other(), None, one()]);
        assert_eq!((three.outcome, three.differing().count()), (Outcome::Minority, 1));
    }

    #[test]
    fn rows_that_are_missing_are_seen_though_no_leaf_tells() {
        let fewer = RowsDigest { rows: 99, ..digest(&[]) };
        let found = weigh(vec![Some(Ok(digest(&[]))), Some(Ok(fewer)), Some(Ok(digest(&[])))]);
        assert_eq!((found.outcome, found.leaves_differ_count), (Outcome::Minority, 0));
    }

    #[test]
    fn many_ranges_are_counted_and_the_first_named() {
        let every_other: Vec<usize> = (0..40).map(|at| at * 2).collect();
        let found = weigh(vec![Some(Ok(digest(&every_other))), Some(Ok(digest(&[]))), Some(Ok(digest(&[])))]);
        assert_eq!((found.ranges.len(), found.leaves_differ_count), (RANGES_COUNT_MAX, 40));
        assert!(found.shown_ranges().ends_with("40 ranges of 1024 in all"), "{}", found.shown_ranges());
    }
}
