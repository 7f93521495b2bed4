//! What a plan consists of.

use std::collections::BTreeMap;
use std::fmt;

use types::{CoreAddr, GroupId, NodeId, ReplicaId, Term};

use crate::change::MapChange;
use crate::planner::reason::Reason;
use crate::reports::Duty;

/// What is to be done next, and why the rest is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now, the most urgent first. Steps of one plan do not rest on each other: each may fail alone.
    pub steps: Vec<Step>,
    /// What is to be done and cannot be done now: for what, why not, and of which groups.
    pub waiting: BTreeMap<(Purpose, Reason), Vec<GroupId>>,
    /// Why no node is replaced, if that is so.
    pub alarm: Option<Alarm>,
    /// Groups of which the loads are not known, if they are so many that nothing is balanced.
    pub unreported: Vec<GroupId>,
    /// What is left to do for nodes that drain or leave.
    pub duties: Vec<DutyLeft>,
}

/// One thing to do. Doing it twice does it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// What for.
    pub purpose: Purpose,
    /// Bytes that are to be sent for it.
    pub bytes: u64,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Propose this to group 0.
    Change(MapChange),
    /// Ask `from` to hand leadership over. It refuses if it does not lead in that term, or if `to` is less fit to lead than it is.
    Transfer {
        /// The group.
        group: GroupId,
        /// The term in which `from` leads.
        term: Term,
        /// Who leads it.
        from: ReplicaId,
        /// Who is to.
        to: ReplicaId,
    },
    /// Ask a node to move a replica to another of its cores. It refuses if the replica is not where it is said to be.
    MoveCore {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
        /// Where it is.
        from: CoreAddr,
        /// Where it is to be: another core of the same node.
        to: CoreAddr,
    },
}

/// What a step is for. The more urgent come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// This node is back, and its replica stays.
    Return(NodeId),
    /// This node is down.
    Dead(NodeId),
    /// A replica on this node, which is up, is not heard.
    Silent(NodeId),
    /// This node's disk is full or does not write: others are to lead.
    Fitness(NodeId),
    /// This node is to lead nothing.
    Drain(NodeId),
    /// The replicas of a group share the rack of this node and need not.
    Racks(NodeId),
    /// This node's disk is fuller than it may be.
    Room(NodeId),
    /// This node leaves.
    Leave(NodeId),
    /// This node has more bytes than others.
    Bytes(NodeId),
    /// This node leads more than others.
    Leaders(NodeId),
    /// Cores of this node have unlike loads.
    Cores(NodeId),
}

/// What a person should know at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// So many nodes are missing that it is rather the network, or the power, than the nodes. What is left would be overfilled.
    NodesMissing {
        /// Which are missing.
        missing: Vec<NodeId>,
        /// How many there are, without those that leave.
        nodes: usize,
        /// How many may be missing.
        missing_max: usize,
    },
    /// All nodes of more than one rack are missing.
    RacksMissing(Vec<String>),
}

/// What is left to do for a node that drains or leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DutyLeft {
    /// The node.
    pub node: NodeId,
    /// What is asked of it.
    pub duty: Duty,
    /// How many groups it still leads.
    pub leaders: usize,
    /// How many replicas are there, or on their way from there. Of one that drains they stay.
    pub replicas: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Plan {
    /// Notes that a group has to wait.
    pub(super) fn wait(&mut self, purpose: Purpose, reason: Reason, group: GroupId) {
        self.waiting.entry((purpose, reason)).or_default().push(group);
    }
}

impl Action {
    /// The group that it concerns, of those that the planner asks for.
    pub fn group(&self) -> Option<GroupId> {
        match self {
            Action::Change(MapChange::Replace(change)) => Some(change.group),
            Action::Change(MapChange::Keep(change)) => Some(change.group),
            Action::Change(_) => None,
            Action::Transfer { group, .. } | Action::MoveCore { group, .. } => Some(*group),
        }
    }
}

impl DutyLeft {
    /// Whether nothing is left to do: a node that leaves may then be removed, and one that drains may be stopped.
    pub fn is_done(&self) -> bool {
        self.leaders == 0 && (self.duty != Duty::Leaves || self.replicas == 0)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.action, self.purpose)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Change(MapChange::Replace(change)) => {
                write!(f, "g{}: another replica on {} for {}", change.group, change.place, change.replica)
            }
            Action::Change(MapChange::Keep(change)) => {
                write!(f, "g{}: replica {} on {} stays", change.group, change.replica, change.place)
            }
            Action::Change(other) => write!(f, "{other:?}"),
            Action::Transfer { group, from, to, .. } => write!(f, "g{group}: replica {to} leads instead of {from}"),
            Action::MoveCore { group, replica, from, to } => {
                write!(f, "g{group}: replica {replica} from core {from} to {to}")
            }
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purpose::Return(node) => write!(f, "node {node} is back"),
            Purpose::Dead(node) => write!(f, "node {node} is down"),
            Purpose::Silent(node) => write!(f, "its replica on node {node} is not heard"),
            Purpose::Fitness(node) => write!(f, "the disk of node {node} is full or stalls"),
            Purpose::Drain(node) => write!(f, "node {node} is to lead nothing"),
            Purpose::Racks(node) => write!(f, "its replicas share the rack of node {node}"),
            Purpose::Room(node) => write!(f, "the disk of node {node} is too full"),
            Purpose::Leave(node) => write!(f, "node {node} leaves"),
            Purpose::Bytes(node) => write!(f, "node {node} has more bytes than others"),
            Purpose::Leaders(node) => write!(f, "node {node} leads more than others"),
            Purpose::Cores(node) => write!(f, "the cores of node {node} have unlike loads"),
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alarm::NodesMissing { missing, nodes, missing_max } => {
                let ids: Vec<String> = missing.iter().map(NodeId::to_string).collect();
                write!(f, "no node is replaced, as {} of {nodes} are missing ({})", missing.len(), ids.join(", "))?;
                write!(f, " and at most {missing_max} may be; let those leave that will not come back")
            }
            Alarm::RacksMissing(racks) => {
                write!(f, "no node is replaced, as all nodes of racks {} are missing", racks.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use types::CoreId;

    use super::*;
    use crate::change::Replace;

    #[test]
    fn steps_and_alarms_are_told_in_words() {
        let place = CoreAddr { node: NodeId(4), core: CoreId(1) };
        let replace = MapChange::Replace(Replace { group: GroupId(7), replica: ReplicaId(3), place });
        let step = Step { action: Action::Change(replace), purpose: Purpose::Dead(NodeId(2)), bytes: 9 };
        assert_eq!(step.to_string(), "g7: another replica on 4/1 for 3 (node 2 is down)");
        let missing = [3, 5].map(NodeId).to_vec();
        assert_eq!(
            Alarm::NodesMissing { missing, nodes: 6, missing_max: 1 }.to_string(),
            "no node is replaced, as 2 of 6 are missing (3, 5) and at most 1 may be; let those leave that will not come back"
        );
        let racks = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(
            Alarm::RacksMissing(racks).to_string(),
            "no node is replaced, as all nodes of racks a, b are missing"
        );
    }
}
