//! What the leader of group 0 hears of nodes and groups, as of when it heard it.
//!
//! Nothing of this stands in the map or in any log: a new leader of group 0 begins with none of it, and has heard all of it a few
//! seconds later. All instants are those of one clock, the monotonic one of the node on which group 0 is led.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{GroupId, Index, Instant, NodeId, ReplicaId, Term};
use wire::Membership;

/// What nodes and leaders of groups have reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// The latest of each node.
    pub nodes: BTreeMap<NodeId, NodeReport>,
    /// The latest of each group, from its leader.
    pub groups: BTreeMap<GroupId, GroupReport>,
    /// What people have asked of nodes. A node of which nothing was asked stands not there, and serves.
    pub duties: BTreeMap<NodeId, Duty>,
}

/// What a node is there for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// It leads groups and has replicas.
    #[default]
    Serves,
    /// It is to lead nothing, and gets no further replicas. Those that it has stay.
    Drains,
    /// It is to lead nothing and to have no replicas: once it has none it may be removed.
    Leaves,
}

/// What a node tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// When it was heard.
    pub heard_at: Instant,
    /// For how long its oldest write to a log has not become durable; zero if none is under way.
    pub write_stalled_for: Duration,
    /// The disk of its data directory.
    pub disk: Disk,
    /// How many snapshots it is receiving.
    pub snapshots_in: u32,
    /// How many snapshots it is sending.
    pub snapshots_out: u32,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes in use, by whomever.
    pub used_bytes: u64,
    /// Bytes in all.
    pub capacity_bytes: u64,
    /// Whether writes are refused for want of room.
    pub is_full: bool,
}

/// What the leader of a group tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReport {
    /// When it was heard.
    pub heard_at: Instant,
    /// The term in which its sender leads.
    pub term: Term,
    /// Who leads, and sends this.
    pub leader: ReplicaId,
    /// The members, committed or not.
    pub membership: Membership,
    /// The entry that made them the members.
    pub membership_index: Index,
    /// The members that the leader does not hear, or that acknowledge nothing of what they are sent.
    pub silent: Vec<Silence>,
    /// The members that have not caught up with the leader's log.
    pub behind: Vec<ReplicaId>,
    /// Bytes that a replica takes on a disk.
    pub bytes: u64,
    /// Commands per second, over the last 60 s.
    pub ops_per_s: u64,
}

/// A member that is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Who.
    pub replica: ReplicaId,
    /// Since when, by the clock of whoever holds the reports.
    pub since: Instant,
}

impl Reports {
    /// Takes in what a leader says of its group, unless a later leader, or the same one of later members, was heard before: messages
    /// of a leader that was deposed may come late. Returns whether it was taken in.
    pub fn hear_group(&mut self, group: GroupId, report: GroupReport) -> bool {
        let known = self.groups.get(&group).map(|known| (known.term, known.membership_index));
        let is_news = known.is_none_or(|known| known <= (report.term, report.membership_index));
        if is_news {
            self.groups.insert(group, report);
        }
        is_news
    }

    /// What a node is there for.
    pub fn duty(&self, node: NodeId) -> Duty {
        self.duties.get(&node).copied().unwrap_or_default()
    }
}

impl Duty {
    /// Its name where it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Duty::Serves => "serves",
            Duty::Drains => "drains",
            Duty::Leaves => "leaves",
        }
    }
}

impl GroupReport {
    /// Whether the leader hears a member.
    pub fn hears(&self, replica: ReplicaId) -> bool {
        self.silent.iter().all(|silence| silence.replica != replica)
    }

    /// Whether a member is heard and has caught up.
    pub fn is_current(&self, replica: ReplicaId) -> bool {
        self.hears(replica) && !self.behind.contains(&replica)
    }
}

#[cfg(test)]
mod tests {
    use types::{CoreAddr, CoreId};
    use wire::Member;

    use super::*;

    fn report(term: Term, membership_index: Index) -> GroupReport {
        let place = CoreAddr { node: NodeId(1), core: CoreId(0) };
        GroupReport {
            heard_at: Instant::ZERO,
            term,
            leader: ReplicaId(1),
            membership: Membership::of_voters([Member { id: ReplicaId(1), place }]),
            membership_index,
            silent: vec![Silence { replica: ReplicaId(2), since: Instant::ZERO }],
            behind: vec![ReplicaId(3)],
            bytes: 0,
            ops_per_s: 0,
        }
    }

    #[test]
    fn a_deposed_leader_is_not_believed() {
        let (mut reports, group) = (Reports::default(), GroupId(4));
        assert!(reports.hear_group(group, report(3, 10)));
        assert!(!reports.hear_group(group, report(2, 90)), "it led before");
        assert!(!reports.hear_group(group, report(3, 9)), "that was before the members changed");
        assert!(reports.hear_group(group, report(3, 10)) && reports.hear_group(group, report(4, 7)));
        assert_eq!(reports.groups[&group].term, 4);
    }

    #[test]
    fn a_member_is_current_if_it_is_heard_and_has_caught_up() {
        let report = report(1, 1);
        let current = [1, 2, 3].map(|id| report.is_current(ReplicaId(id)));
        assert_eq!(current, [true, false, false]);
        assert!(report.hears(ReplicaId(3)) && !report.hears(ReplicaId(2)));
    }
}
