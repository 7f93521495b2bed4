//! Which [`Moment`] it is for a replica, told from what it does.

use std::collections::BTreeMap;

use raft::Role;
use types::{GroupId, Index};

use crate::faults::Moment;
use crate::observation::{Observation, ObservationKind};

/// From this number of entries on an append is a long one.
const LONG_APPEND_COUNT: usize = 4;

/// Tells moments from what replicas do.
#[derive(Debug, Default)]
pub(super) struct Moments {
    /// Where each replica's log ends, by group and node.
    log_ends: BTreeMap<(GroupId, usize), Index>,
}

impl Moments {
    /// Which moment it is for a replica on a node, if any.
    pub(super) fn of(&mut self, node: usize, seen: &Observation) -> Option<Moment> {
        let end = self.log_ends.entry((seen.group, node)).or_default();
        match &seen.kind {
            ObservationKind::Started { last, hard_state, .. } => {
                *end = last.0;
                (*end == 0 && hard_state.term == 0).then_some(Moment::Beginning)
            }
            ObservationKind::Destroyed => Some(Moment::Destruction),
            ObservationKind::Logged { first, entries, .. } if !entries.is_empty() => {
                let is_truncation = first <= end;
                *end = first + entries.len() as Index - 1;
                Some(match is_truncation {
                    true => Moment::Truncation,
                    false if entries.len() >= LONG_APPEND_COUNT => Moment::LongAppend,
                    false => Moment::Append,
                })
            }
            ObservationKind::Logged { hard_state: Some(_), .. } => Some(Moment::Vote),
            ObservationKind::Restored { last } => {
                *end = last.0.max(*end);
                Some(Moment::Restore)
            }
            ObservationKind::Compacted(_) => Some(Moment::Compaction),
            ObservationKind::Role { role: Role::Leader, .. } => Some(Moment::Election),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use types::{CoreAddr, CoreId, Instant, NodeId, ReplicaId};

    use super::*;
    use crate::observation::EntryHash;

    #[test]
    fn entries_that_take_the_place_of_others_are_told_from_those_behind_them() {
        let mut moments = Moments::default();
        let mut log = |first, count| {
            let entries = vec![EntryHash { term: 1, hash: 0 }; count];
            let kind = ObservationKind::Logged { hard_state: None, first, entries };
            let place = CoreAddr { node: NodeId(1), core: CoreId(0) };
            let (at, group, replica) = (Instant::ZERO, GroupId(1), ReplicaId(1));
            moments.of(0, &Observation { at, place, group, replica, kind })
        };
        assert_eq!(log(1, 3), Some(Moment::Append));
        assert_eq!(log(4, 4), Some(Moment::LongAppend));
        assert_eq!(log(6, 4), Some(Moment::Truncation));
        assert_eq!(log(5, 1), Some(Moment::Truncation));
        assert_eq!(log(6, 1), Some(Moment::Append));
        assert_eq!(log(6, 1), Some(Moment::Truncation));
        assert_eq!(log(2, 1), Some(Moment::Truncation));
        assert_eq!(log(3, 1), Some(Moment::Append));
    }
}
