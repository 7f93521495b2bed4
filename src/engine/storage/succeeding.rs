//! Replicas of this core that cannot go on, and those that begin in their place.

use std::collections::BTreeMap;

use types::{GroupId, Instant, ReplicaId};

/// What is kept of them.
#[derive(Default)]
pub(super) struct Succeeding {
    /// Each group with the greatest id of a replica of it that may have lived here, and cannot go on.
    lost: Vec<(GroupId, ReplicaId)>,
    /// Each group of which a replica was destroyed here and none lives now, with the greatest id of those.
    destroyed: BTreeMap<GroupId, ReplicaId>,
    /// Successors of which the manifest is being told.
    pub(super) beginning: Vec<(GroupId, ReplicaId)>,
    /// When the manifest is told again at the earliest, if it could not be.
    pub(super) not_before: Instant,
}

impl Succeeding {
    /// A replica cannot go on.
    pub(super) fn lose(&mut self, group: GroupId, replica: ReplicaId) {
        match self.lost.iter_mut().find(|(known, _)| *known == group) {
            Some((_, known)) => *known = replica.max(*known),
            None => self.lost.push((group, replica)),
        }
    }

    /// Those that cannot go on and have no successor yet.
    pub(super) fn lost(&self) -> &[(GroupId, ReplicaId)] {
        &self.lost
    }

    /// A replica was destroyed.
    pub(super) fn destroyed(&mut self, group: GroupId, replica: ReplicaId) {
        self.lost.retain(|(known, _)| *known != group);
        let known = self.destroyed.entry(group).or_insert(replica);
        *known = replica.max(*known);
    }

    /// Each group with the greatest id of a replica of it that was here and will not go on, whether it was destroyed or not.
    pub(super) fn spent(&self) -> impl Iterator<Item = (GroupId, ReplicaId)> + '_ {
        self.lost.iter().copied().chain(self.destroyed.iter().map(|(group, replica)| (*group, *replica)))
    }

    /// A successor has begun.
    pub(super) fn begun(&mut self, group: GroupId) {
        self.lost.retain(|(known, _)| *known != group);
        self.destroyed.remove(&group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_lost_once_with_the_greatest_id_and_until_a_successor_has_begun() {
        let mut succeeding = Succeeding::default();
        for replica in [4, 9, 7] {
            succeeding.lose(GroupId(1), ReplicaId(replica));
        }
        succeeding.lose(GroupId(2), ReplicaId(3));
        assert_eq!(succeeding.lost(), [(GroupId(1), ReplicaId(9)), (GroupId(2), ReplicaId(3))]);
        succeeding.begun(GroupId(1));
        assert_eq!(succeeding.lost(), [(GroupId(2), ReplicaId(3))]);
    }

    #[test]
    fn what_was_destroyed_is_remembered_until_another_one_has_begun() {
        let mut succeeding = Succeeding::default();
        succeeding.lose(GroupId(1), ReplicaId(4));
        succeeding.destroyed(GroupId(1), ReplicaId(4));
        succeeding.destroyed(GroupId(1), ReplicaId(3));
        assert_eq!(succeeding.lost(), []);
        assert!(succeeding.spent().eq([(GroupId(1), ReplicaId(4))]));
        succeeding.begun(GroupId(1));
        assert_eq!(succeeding.spent().count(), 0);
    }
}
