//! Who takes part in a group: the payload of a membership entry, and what a snapshot stands for.

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;
use types::limits::REPLICAS_COUNT_MAX;
use types::{CoreAddr, CoreId, Index, NodeId, ReplicaId, Term};

/// A replica and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The replica.
    pub id: ReplicaId,
    /// Its place.
    pub place: CoreAddr,
}

/// The replicas of a group (thesis §4.3). While `outgoing` is not empty, two sets of voters decide together: nothing is
/// elected, committed or read without a majority of each. The group leaves that state by itself.
///
/// Each list is ordered by replica id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Those who vote; in the joint state, the voters to come.
    pub voters: Vec<Member>,
    /// In the joint state, the voters until now; else empty.
    pub outgoing: Vec<Member>,
    /// Those who receive the log and do not vote.
    pub learners: Vec<Member>,
    /// In the joint state, voters until now that will be learners; else empty.
    pub learners_next: Vec<Member>,
}

/// Why bytes are not a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// Too short, too long, or a list longer than any may be.
    #[error("the bytes are not a membership: {0} of them")]
    Length(usize),
    /// A rule between the lists is broken.
    #[error("a membership in which {0}")]
    Rule(&'static str),
}

const HEADER_BYTES: usize = 4;
const MEMBER_BYTES: usize = 14;

impl Membership {
    /// A group of voters only.
    pub fn of_voters(voters: impl IntoIterator<Item = Member>) -> Membership {
        let mut voters: Vec<Member> = voters.into_iter().collect();
        voters.sort_unstable();
        Membership { voters, ..Membership::default() }
    }

    /// Whether two sets of voters decide together.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `id` has a vote.
    pub fn is_voter(&self, id: ReplicaId) -> bool {
        self.voters.iter().chain(&self.outgoing).any(|member| member.id == id)
    }

    /// Whether `id` takes part at all.
    pub fn contains(&self, id: ReplicaId) -> bool {
        self.members().any(|member| member.id == id)
    }

    /// Everybody who takes part, ordered by list; in the joint state one may come up twice.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        [&self.voters, &self.outgoing, &self.learners, &self.learners_next].into_iter().flatten()
    }

    /// Its form in logs and snapshots, little-endian: four counts (u8), then the members list by list, each as replica
    /// (u64), node (u32) and core (u16).
    pub fn encode(&self) -> Bytes {
        let lists = [&self.voters, &self.outgoing, &self.learners, &self.learners_next];
        let mut bytes =
            Vec::with_capacity(HEADER_BYTES + MEMBER_BYTES * lists.iter().map(|list| list.len()).sum::<usize>());
        for list in lists {
            assert!(list.len() <= REPLICAS_COUNT_MAX, "a membership of ours is within its limits");
            bytes.push(list.len() as u8);
        }
        for member in lists.into_iter().flatten() {
            bytes.extend_from_slice(&member.id.0.to_le_bytes());
            bytes.extend_from_slice(&member.place.node.0.to_le_bytes());
            bytes.extend_from_slice(&member.place.core.0.to_le_bytes());
        }
        Bytes::from(bytes)
    }

    /// Reads what [`Membership::encode`] has written, and checks that it makes sense.
    pub fn decode(bytes: &[u8]) -> Result<Membership, MembershipError> {
        let length = MembershipError::Length(bytes.len());
        let (counts, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(length)?;
        let mut lists = [const { Vec::new() }; HEADER_BYTES];
        for (list, count) in lists.iter_mut().zip(counts) {
            if usize::from(*count) > REPLICAS_COUNT_MAX {
                return Err(length);
            }
            for _ in 0..*count {
                let (member, behind) = rest.split_first_chunk::<MEMBER_BYTES>().ok_or(length)?;
                rest = behind;
                list.push(decode_member(member));
            }
        }
        if !rest.is_empty() {
            return Err(length);
        }
        let [voters, outgoing, learners, learners_next] = lists;
        let membership = Membership { voters, outgoing, learners, learners_next };
        membership.validate()?;
        Ok(membership)
    }

    /// Checks the rules between the lists.
    pub fn validate(&self) -> Result<(), MembershipError> {
        let ordered = |list: &[Member]| list.windows(2).all(|pair| pair[0].id < pair[1].id);
        let within =
            |list: &[Member], of: &[Member]| list.iter().all(|one| of.iter().any(|other| other.id == one.id));
        let apart = |list: &[Member], of: &[Member]| list.iter().all(|one| of.iter().all(|other| other.id != one.id));
        let mut all: Vec<ReplicaId> = self.members().map(|member| member.id).collect();
        all.sort_unstable();
        all.dedup();
        let lists = [&self.voters, &self.outgoing, &self.learners, &self.learners_next];
        let rules = [
            (!self.voters.is_empty(), "nobody votes"),
            (lists.iter().all(|list| ordered(list)), "a list is out of order or names a replica twice"),
            (all.len() <= 2 * REPLICAS_COUNT_MAX, "there are too many replicas"),
            (apart(&self.learners, &self.voters) && apart(&self.learners, &self.outgoing), "a learner votes"),
            (within(&self.learners_next, &self.outgoing), "a learner to come is no voter until now"),
            (apart(&self.learners_next, &self.voters), "a learner to come votes"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(MembershipError::Rule(rule)),
            None => Ok(()),
        }
    }
}

fn decode_member(bytes: &[u8; MEMBER_BYTES]) -> Member {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = *bytes;
    Member {
        id: ReplicaId(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
        place: CoreAddr { node: NodeId(u32::from_le_bytes([i, j, k, l])), core: CoreId(u16::from_le_bytes([m, n])) },
    }
}

/// What a snapshot of a group's state stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The state holds every entry up to this index and none behind it.
    pub last_index: Index,
    /// Term of that entry.
    pub last_term: Term,
    /// Who took part as of that entry.
    pub membership: Membership,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ids: &[u64]) -> Vec<Member> {
        let place = |id: u64| CoreAddr { node: NodeId(id as u32), core: CoreId(7) };
        ids.iter().map(|id| Member { id: ReplicaId(*id), place: place(*id) }).collect()
    }

    #[test]
    fn bytes_keep_everything_and_damage_is_seen() {
        let joint = Membership {
            voters: members(&[1, 2, 4]),
            outgoing: members(&[1, 2, 3]),
            learners: members(&[9]),
            learners_next: members(&[3]),
        };
        let bytes = joint.encode();
        assert_eq!(Membership::decode(&bytes), Ok(joint.clone()));
        for len in 0..bytes.len() {
            assert_eq!(Membership::decode(&bytes[..len]), Err(MembershipError::Length(len)));
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(Membership::decode(&longer).is_err());
        assert!(joint.is_joint() && joint.is_voter(ReplicaId(3)) && !joint.is_voter(ReplicaId(9)));
    }

    #[test]
    fn contradictions_are_refused() {
        let wrong = [
            Membership { learners: members(&[1]), ..Membership::default() },
            Membership { voters: members(&[2, 1]), ..Membership::default() },
            Membership { voters: members(&[1, 1]), ..Membership::default() },
            Membership { voters: members(&[1]), learners: members(&[1]), ..Membership::default() },
            Membership { voters: members(&[1]), learners_next: members(&[2]), ..Membership::default() },
        ];
        for membership in wrong {
            assert!(
                matches!(Membership::decode(&membership.encode()), Err(MembershipError::Rule(_))),
                "{membership:?}"
            );
        }
        assert!(Membership::decode(&[255; 80]).is_err());
    }
}
