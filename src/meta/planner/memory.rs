//! What the leader of group 0 remembers of the steps it took.

use std::collections::BTreeMap;

use types::{GroupId, Instant, NodeId, ReplicaId, Term};

use crate::planner::step::{Action, Purpose, Step};

/// How many nodes are remembered of each group.
const LEFT_COUNT_MAX: usize = 16;

/// The latest step of each group for which there was one, and which nodes it has left. It is not kept anywhere: a planner that begins with
/// none of it balances a group once more than it should have, and lets replacements that are under way go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    groups: BTreeMap<GroupId, Taken>,
    /// Which nodes a replica or the leader of a group was moved off although they were well, and when, the latest last.
    left: BTreeMap<GroupId, Vec<(NodeId, Instant)>>,
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) at: Instant,
    pub(super) purpose: Purpose,
    /// Who was asked to lead, if that was it, and in which term of another one.
    pub(super) heir: Option<(ReplicaId, Term)>,
}

impl Memory {
    /// Notes a step that was proposed or asked for, so that the next rounds count it as done.
    pub fn note(&mut self, step: &Step, now: Instant) {
        let heir = match step.action {
            Action::Transfer { to, term, .. } => Some((to, term)),
            Action::Change(_) | Action::MoveCore { .. } => None,
        };
        let Some(group) = step.action.group() else { return };
        self.groups.insert(group, Taken { at: now, purpose: step.purpose, heir });
        if let Purpose::Racks(node) | Purpose::Room(node) | Purpose::Bytes(node) | Purpose::Leaders(node) =
            step.purpose
        {
            let left = self.left.entry(group).or_default();
            left.retain(|(other, _)| *other != node);
            left.push((node, now));
            left.drain(..left.len().saturating_sub(LEFT_COUNT_MAX));
        }
    }

    /// When a group was last moved off a node that was well.
    pub(super) fn left_at(&self, group: GroupId, node: NodeId) -> Option<Instant> {
        let left = self.left.get(&group)?.iter().find(|(other, _)| *other == node);
        left.map(|(_, at)| *at)
    }

    /// The latest step of a group.
    pub(super) fn latest(&self, group: GroupId) -> Option<Taken> {
        self.groups.get(&group).copied()
    }
}
