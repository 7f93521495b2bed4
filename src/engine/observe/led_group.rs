//! What the leader of a group knows of its members, and what keeps the group from its full strength.

use std::fmt;

use meta::Replica;
use types::{CoreAddr, GroupId, ReplicaId};

/// How a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberRole {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It receives the log and does not vote.
    Learner,
}

impl MemberRole {
    /// Its name in CORACLE GROUPS.
    pub(crate) fn name(self) -> &'static str {
        match self {
            MemberRole::Leader => "leader",
            MemberRole::Voter => "voter",
            MemberRole::Learner => "learner",
        }
    }
}

/// A member of a group, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberReport {
    pub(crate) id: ReplicaId,
    pub(crate) place: CoreAddr,
    pub(crate) role: MemberRole,
    /// Whether it was heard of late; of a group in which nothing happens, whether its core was.
    pub(crate) is_live: bool,
    /// Entries of the leader's log that it is not known to hold.
    pub(crate) lag: u64,
}

/// A group, as its leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LedGroup {
    pub(crate) group: GroupId,
    /// Invariant: each member once, the leader first.
    pub(crate) members: Vec<MemberReport>,
    /// Whether its members are changing at this moment.
    pub(crate) is_joint: bool,
    /// Keys, exact if all of them are in memory.
    pub(crate) keys_count: usize,
    /// Bytes of the files of its leader's tables.
    pub(crate) table_bytes: u64,
}

/// Why a group is not at its full strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The replica is wanted and not a member yet.
    Missing(Replica),
    /// It is a member, and has to receive so many entries before it may vote.
    CatchesUp(Replica, u64),
    /// It votes, and is not heard.
    Silent(Replica),
    /// It votes, and lacks so many entries.
    Behind(Replica, u64),
    /// It is a member and not wanted any more.
    Leaves(Replica),
    /// Old and new members have to agree until the change is committed.
    Joint,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Missing(it) => write!(f, "replica {} is not on {} yet", it.id, it.place),
            Lack::CatchesUp(it, lag) => {
                write!(f, "replica {} on {} catches up, {lag} entries behind", it.id, it.place)
            }
            Lack::Silent(it) => write!(f, "replica {} on {} is not heard", it.id, it.place),
            Lack::Behind(it, lag) => write!(f, "replica {} on {} is {lag} entries behind", it.id, it.place),
            Lack::Leaves(it) => write!(f, "replica {} on {} is to leave", it.id, it.place),
            Lack::Joint => f.write_str("its members are changing"),
        }
    }
}

impl LedGroup {
    /// What keeps the group from its full strength, at which all replicas that are `wanted` vote, are heard and have about all of the
    /// log, and nobody else is a member. Empty if nothing does.
    pub(crate) fn lacks(&self, wanted: &[Replica]) -> Vec<Lack> {
        let member = |id: ReplicaId| self.members.iter().find(|member| member.id == id);
        let of_wanted = wanted.iter().filter_map(|replica| match member(replica.id) {
            None => Some(Lack::Missing(*replica)),
            Some(member) if member.role == MemberRole::Learner => Some(Lack::CatchesUp(*replica, member.lag)),
            Some(member) if !member.is_live => Some(Lack::Silent(*replica)),
            Some(member) if member.lag > raft::PROMOTION_LAG_MAX => Some(Lack::Behind(*replica, member.lag)),
            Some(_) => None,
        });
        let unwanted = self.members.iter().filter(|member| !wanted.iter().any(|replica| replica.id == member.id));
        let leaving = unwanted.map(|member| Lack::Leaves(Replica { id: member.id, place: member.place }));
        of_wanted.chain(leaving).chain(self.is_joint.then_some(Lack::Joint)).collect()
    }
}

#[cfg(test)]
mod tests {
    use types::{CoreId, NodeId};

    use super::*;

    fn place(id: u64) -> CoreAddr {
        CoreAddr { node: NodeId(id as u32 % 10), core: CoreId(0) }
    }

    fn wanted(ids: &[u64]) -> Vec<Replica> {
        ids.iter().map(|id| Replica { id: ReplicaId(*id), place: place(*id) }).collect()
    }

    fn member(id: u64, role: MemberRole) -> MemberReport {
        MemberReport { id: ReplicaId(id), place: place(id), role, is_live: true, lag: 0 }
    }

    fn led(members: Vec<MemberReport>) -> LedGroup {
        LedGroup { group: GroupId(4), members, is_joint: false, keys_count: 0, table_bytes: 0 }
    }

    fn told(group: &LedGroup, ids: &[u64]) -> Vec<String> {
        group.lacks(&wanted(ids)).iter().map(Lack::to_string).collect()
    }

    #[test]
    fn a_group_lacks_nothing_if_the_wanted_vote_are_heard_and_keep_up() {
        let mut group = led(vec![member(1, MemberRole::Leader), member(2, MemberRole::Voter)]);
        assert_eq!(told(&group, &[1, 2]), [""; 0]);
        group.members[1].lag = raft::PROMOTION_LAG_MAX;
        assert_eq!(told(&group, &[1, 2]), [""; 0], "some entries are always on their way");
        group.members[1].lag += 1;
        assert_eq!(told(&group, &[1, 2]), ["replica 2 on 2/0 is 65 entries behind"]);
        group.members[1].is_live = false;
        assert_eq!(told(&group, &[1, 2]), ["replica 2 on 2/0 is not heard"]);
    }

    #[test]
    fn a_replica_that_is_being_replaced_is_lacked_at_each_step() {
        let (one, two, three) =
            (member(1, MemberRole::Leader), member(2, MemberRole::Voter), member(3, MemberRole::Voter));
        let mut group = led(vec![one, two, three]);
        assert_eq!(told(&group, &[1, 2, 13]), ["replica 13 is not on 3/0 yet", "replica 3 on 3/0 is to leave"]);
        group.members.push(MemberReport { lag: 900, ..member(13, MemberRole::Learner) });
        let catching_up = "replica 13 on 3/0 catches up, 900 entries behind";
        assert_eq!(told(&group, &[1, 2, 13]), [catching_up, "replica 3 on 3/0 is to leave"]);
        let mut group = led(vec![one, two, member(13, MemberRole::Voter)]);
        group.is_joint = true;
        assert_eq!(told(&group, &[1, 2, 13]), ["its members are changing"]);
        group.is_joint = false;
        assert_eq!(told(&group, &[1, 2, 13]), [""; 0]);
    }
}
