//! What cores ask about replicas that the map does not want any more, until it is answered (`standing`).

use std::collections::BTreeMap;

use meta::ClusterMap;
use types::{CoreAddr, GroupId, ReplicaId};
use wire::{Membership, ReplicaNote};

/// Questions that wait until the leadership is confirmed. Whoever asks does so again if there is no answer.
pub(super) const QUESTIONS_COUNT_MAX: usize = 256;
/// Tells the numbers of questions from those of the checks that reads wait for.
pub(super) const QUESTION: u64 = 1 << 63;

/// A question that waits.
pub(super) struct Question {
    pub(super) from: CoreAddr,
    pub(super) note: ReplicaNote,
}

/// The questions that wait, by number.
#[derive(Default)]
pub(super) struct Questions {
    pub(super) open: BTreeMap<u64, Question>,
    pub(super) next_number: u64,
}

/// Whether a check of the leadership was asked for because of a question.
pub(super) fn is_of_question(check: u64) -> bool {
    check & QUESTION != 0
}

pub(super) fn names(membership: &Membership, replica: ReplicaId) -> bool {
    membership.members().any(|member| member.id == replica)
}

/// Whether a map knows a replica and does not want it.
pub(crate) fn is_unwanted(map: &ClusterMap, group: GroupId, replica: ReplicaId) -> bool {
    let is_wanted = |spec: &meta::Group| spec.replicas.iter().any(|wanted| wanted.id == replica);
    replica < map.next_replica && map.group(group).is_some_and(|spec| !is_wanted(spec))
}
