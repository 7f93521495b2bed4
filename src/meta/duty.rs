//! What people ask of nodes, as the map has it.

use types::NodeId;

use crate::change::Assign;
use crate::map::{ClusterMap, NodeDuty};
use crate::reports::Duty;

/// Why something cannot be asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DutyRefusal {
    /// There is no such node.
    #[error("there is no node {0}: CORACLE NODES names them")]
    Unknown(NodeId),
    /// It was removed.
    #[error("node {0} was removed, for ever: with a token it joins as a new node")]
    Removed(NodeId),
    /// It is being removed.
    #[error("node {0} is being removed, which cannot be taken back: let it join again as a new node")]
    Leaves(NodeId),
    /// The others are too few to hold the replicas of each group.
    #[error(
        "without node {node} {} would remain for groups of {replicas} replicas: let another node join first (CORACLE TOKEN)",
        nodes(*.remain)
    )]
    TooFewRemain {
        /// The node.
        node: NodeId,
        /// How many would remain.
        remain: usize,
        /// How many replicas a group has.
        replicas: usize,
    },
}

fn nodes(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

impl ClusterMap {
    /// What a node is there for, as far as people have said.
    pub fn duty(&self, id: NodeId) -> Duty {
        let found = self.duties.binary_search_by_key(&id, |node| node.id);
        found.map_or(Duty::Serves, |idx| self.duties[idx].duty)
    }

    /// Checks whether something may be asked of a node. What it does already may be.
    ///
    /// # Errors
    /// Why not.
    pub fn may_assign(&self, Assign { node, duty }: Assign) -> Result<(), DutyRefusal> {
        match () {
            () if self.is_removed(node) => Err(DutyRefusal::Removed(node)),
            () if self.node(node).is_none() => Err(DutyRefusal::Unknown(node)),
            () if self.duty(node) == duty => Ok(()),
            () if self.leaving(node).is_some() => Err(DutyRefusal::Leaves(node)),
            () if duty == Duty::Leaves => self.may_do_without(node),
            () => Ok(()),
        }
    }

    /// Whether the nodes that stay could hold all replicas of each group if this one left, too.
    fn may_do_without(&self, node: NodeId) -> Result<(), DutyRefusal> {
        let stays = |id: NodeId| id != node && self.duty(id) != Duty::Leaves && self.leaving(id).is_none();
        let remain = self.nodes.iter().filter(|other| stays(other.id)).count();
        let replicas = self.groups.iter().map(|group| group.replicas.len()).max().unwrap_or(0);
        if remain < replicas { Err(DutyRefusal::TooFewRemain { node, remain, replicas }) } else { Ok(()) }
    }

    /// Makes the change. Returns whether it found what it expects.
    pub(crate) fn assign(&mut self, change: Assign) -> bool {
        let Assign { node, duty } = change;
        if self.duty(node) == duty || self.may_assign(change).is_err() {
            return false;
        }
        self.duties.retain(|other| other.id != node);
        if duty != Duty::Serves {
            let at = self.duties.partition_point(|other| other.id < node);
            self.duties.insert(at, NodeDuty { id: node, duty });
        }
        true
    }
}

#[cfg(test)]
#[path = "duty_tests.rs"]
mod tests;
