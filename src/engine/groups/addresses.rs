//! Where the other replicas of a group live.

use std::collections::{BTreeMap, VecDeque};

use types::limits::REPLICAS_COUNT_MAX;
use types::{CoreAddr, ReplicaId};

/// So many replicas are answered at a time that are in no configuration known here.
const STRANGERS_COUNT_MAX: usize = 4 * REPLICAS_COUNT_MAX;

/// Where the other replicas of a group live: its members, and whoever else Raft has taken a message of. A configuration may
/// not have come here yet by which another replica takes part, or even leads; it must be answered too.
///
/// Invariant: what a message says never changes where a member lives, and never takes a member's place here. Whoever makes
/// numbers up displaces others of whom nothing else is known, one by one, and each of those is remembered again with its next
/// message.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    members: BTreeMap<ReplicaId, CoreAddr>,
    /// Those that are no members, the one that was heard last at the end.
    strangers: VecDeque<(ReplicaId, CoreAddr)>,
}

impl Addresses {
    /// Members are known to live there. Those of earlier configurations are still spoken to.
    pub(super) fn add_members(&mut self, members: impl Iterator<Item = (ReplicaId, CoreAddr)>) {
        self.members.extend(members);
        self.strangers.retain(|(id, _)| !self.members.contains_key(id));
    }

    /// Raft has taken a message of a replica that lives at `addr`. `is_member` tells whether Raft knows it; `leader` is not
    /// forgotten, whoever else is heard.
    pub(super) fn heard(&mut self, id: ReplicaId, addr: CoreAddr, is_member: bool, leader: Option<ReplicaId>) {
        if self.members.contains_key(&id) {
            return;
        }
        if is_member {
            return self.add_members(std::iter::once((id, addr)));
        }
        // Where it lived before may have been somebody's invention.
        self.strangers.retain(|(known, _)| *known != id);
        if self.strangers.len() >= STRANGERS_COUNT_MAX {
            let oldest = self.strangers.iter().position(|(known, _)| Some(*known) != leader);
            oldest.and_then(|oldest| self.strangers.remove(oldest));
        }
        self.strangers.push_back((id, addr));
    }

    /// Where a replica lives.
    pub(super) fn get(&self, id: ReplicaId) -> Option<CoreAddr> {
        let stranger = || self.strangers.iter().find(|(known, _)| *known == id).map(|(_, addr)| *addr);
        self.members.get(&id).copied().or_else(stranger)
    }

    /// All replicas that live at `addr`.
    pub(super) fn at(&self, addr: CoreAddr) -> impl Iterator<Item = ReplicaId> + '_ {
        let all = self.members.iter().map(|(id, at)| (*id, *at)).chain(self.strangers.iter().copied());
        all.filter(move |(_, at)| *at == addr).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::core;

    fn ids(addresses: &Addresses, node: u32) -> Vec<u64> {
        addresses.at(core(node)).map(|id| id.0).collect()
    }

    #[test]
    fn members_stay_where_they_are_known_to_live() {
        let mut addresses = Addresses::default();
        addresses.heard(ReplicaId(1), core(7), false, None);
        addresses.add_members([(ReplicaId(1), core(1)), (ReplicaId(2), core(2))].into_iter());
        addresses.heard(ReplicaId(2), core(7), true, None);
        assert_eq!((addresses.get(ReplicaId(1)), addresses.get(ReplicaId(2))), (Some(core(1)), Some(core(2))));
        addresses.heard(ReplicaId(3), core(1), true, None);
        assert_eq!((ids(&addresses, 1), ids(&addresses, 7)), (vec![1, 3], vec![]));
    }

    #[test]
    fn strangers_displace_the_strangers_that_were_not_heard_for_longest() {
        let mut addresses = Addresses::default();
        addresses.add_members([(ReplicaId(1), core(1))].into_iter());
        let (leader, first) = (ReplicaId(500), 1_000);
        addresses.heard(leader, core(5), false, None);
        for id in first..first + 1_000 {
            addresses.heard(ReplicaId(id), core(9), false, Some(leader));
            // Heard again and again, and so never displaced.
            addresses.heard(ReplicaId(600), core(6), false, Some(leader));
        }
        assert_eq!(addresses.strangers.len(), STRANGERS_COUNT_MAX);
        assert_eq!((ids(&addresses, 1), ids(&addresses, 5), ids(&addresses, 6)), (vec![1], vec![500], vec![600]));
        let others = STRANGERS_COUNT_MAX as u64 - 2;
        assert_eq!(ids(&addresses, 9), (first + 1_000 - others..first + 1_000).collect::<Vec<_>>());
        addresses.heard(ReplicaId(600), core(7), false, None);
        assert_eq!(addresses.get(ReplicaId(600)), Some(core(7)), "as its last message says");
    }
}
