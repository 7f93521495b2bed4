//! Who votes in each group, as far as it can be told from outside.
//!
//! A configuration counts from when a leader has logged it, and may be undone until it is committed (thesis §4.1). So between two that are
//! committed more than one may be in effect, each on some replica. What the checkers demand of majorities, one of them must meet.

use std::collections::BTreeMap;

use types::{GroupId, Index, Term};

use super::Voters;
use crate::observation::{Electorate, Observation, ObservationKind};

/// The configurations of one group.
#[derive(Debug)]
struct OfGroup {
    /// Those that were logged, by index and term, from the last that is committed on.
    logged: BTreeMap<(Index, Term), Electorate>,
    /// The last entry that was applied anywhere: what was logged up to there and not applied is undone.
    applied: Index,
}

/// The configurations of all groups.
#[derive(Debug)]
pub struct Memberships {
    groups: BTreeMap<GroupId, OfGroup>,
}

impl Memberships {
    /// Groups that begin with these voters.
    pub fn new(voters: Voters) -> Memberships {
        let of =
            |voters| OfGroup { logged: [((0, 0), Electorate { voters, outgoing: Vec::new() })].into(), applied: 0 };
        Memberships { groups: voters.into_iter().map(|(group, voters)| (group, of(voters))).collect() }
    }

    /// Takes in what a replica did.
    pub fn observe(&mut self, seen: &Observation) {
        let Some(group) = self.groups.get_mut(&seen.group) else { return };
        match &seen.kind {
            ObservationKind::Membership { term, index, electorate } if *index > group.applied => {
                group.logged.insert((*index, *term), electorate.clone());
            }
            ObservationKind::Applied { index, entry } => {
                group.applied = group.applied.max(*index);
                group.logged.retain(|(logged, term), _| logged != index || *term == entry.term);
                if group.logged.contains_key(&(*index, entry.term)) {
                    group.logged = group.logged.split_off(&(*index, entry.term));
                }
            }
            _ => {}
        }
    }

    /// Those of a group that may be in effect.
    pub fn in_effect(&self, group: GroupId) -> impl Iterator<Item = &Electorate> {
        self.groups.get(&group).into_iter().flat_map(|group| group.logged.values())
    }
}

#[cfg(test)]
mod tests {
    use types::{CoreAddr, Instant, ReplicaId};

    use super::*;
    use crate::observation::EntryHash;

    const GROUP: GroupId = GroupId(3);

    fn ids(ids: &[u64]) -> Vec<ReplicaId> {
        ids.iter().map(|id| ReplicaId(*id)).collect()
    }

    fn electorate(voters: &[u64], outgoing: &[u64]) -> Electorate {
        Electorate { voters: ids(voters), outgoing: ids(outgoing) }
    }

    fn see(memberships: &mut Memberships, kind: ObservationKind) {
        let (at, place) = (Instant::ZERO, CoreAddr::default());
        memberships.observe(&Observation { at, place, group: GROUP, replica: ReplicaId(1), kind });
    }

    #[test]
    fn a_majority_is_one_of_both_sides() {
        let joint = electorate(&[1, 2, 4], &[1, 2, 3]);
        let is_majority = |of: &[u64]| joint.is_majority(|id| of.contains(&id.0));
        assert!(is_majority(&[1, 2]) && is_majority(&[1, 3, 4]));
        assert!(!is_majority(&[1, 4]) && !is_majority(&[1, 3]) && !is_majority(&[3, 4]));
        assert_eq!(joint.all(), ids(&[1, 2, 3, 4]));
    }

    #[test]
    fn what_was_logged_may_be_in_effect_until_a_later_one_is_committed() {
        let mut memberships = Memberships::new([(GROUP, ids(&[1, 2, 3]))].into());
        let log = |index, term, electorate| ObservationKind::Membership { index, term, electorate };
        let apply = |index, term| ObservationKind::Applied { index, entry: EntryHash { term, hash: 0 } };
        let (first, joint, last) =
            (electorate(&[1, 2, 3], &[]), electorate(&[1, 2, 4], &[1, 2, 3]), electorate(&[1, 2, 4], &[]));
        see(&mut memberships, log(5, 2, joint.clone()));
        see(&mut memberships, apply(4, 2));
        assert_eq!(memberships.in_effect(GROUP).collect::<Vec<_>>(), [&first, &joint]);
        see(&mut memberships, apply(5, 2));
        see(&mut memberships, log(7, 2, last.clone()));
        assert_eq!(memberships.in_effect(GROUP).collect::<Vec<_>>(), [&joint, &last]);
        see(&mut memberships, apply(7, 2));
        // A replica that is behind logs it once more.
        see(&mut memberships, log(5, 2, joint.clone()));
        assert_eq!(memberships.in_effect(GROUP).collect::<Vec<_>>(), [&last]);
        // A deposed leader has logged one that nobody else has.
        see(&mut memberships, log(9, 1, joint.clone()));
        assert_eq!(memberships.in_effect(GROUP).collect::<Vec<_>>(), [&last, &joint]);
        (8..=9).for_each(|index| see(&mut memberships, apply(index, 3)));
        assert_eq!(memberships.in_effect(GROUP).collect::<Vec<_>>(), [&last]);
        // It starts again, and reads that from its log.
        see(&mut memberships, log(9, 1, joint));
        assert_eq!(memberships.in_effect(GROUP).collect::<Vec<_>>(), [&last]);
    }
}
