//! What nodes and leaders of groups report to whoever leads group 0, and how that one finds the nodes.
//!
//! A report as bytes, little-endian:
//!
//! ```text
//!  0 u8 whether figures of the node follow (0 or 1)     1 u8 zero     2 u16 how many groups follow
//!  4 the node, if so: u64 write stalled for (us), u64 disk used, u64 disk capacity (bytes), u32 snapshots received, u32 sent, u8 disk is full
//!    each group: u32 group, u64 term, u64 leader, u64 index of its members, u64 bytes, u64 commands per second,
//!                u16 length of the members, u8 how many are silent, u8 how many are behind,
//!                the members, each silent one (u64 replica, u64 since how many ms), each one behind (u64 replica)
//! ```

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;
use types::limits::{NODES_COUNT_MAX, REPLICAS_COUNT_MAX};
use types::{GroupId, Index, NodeId, ReplicaId, Term};

use crate::membership::{Membership, MembershipError};

/// Most groups in one report. Whoever leads more sends several.
pub const REPORT_GROUPS_COUNT_MAX: usize = 128;
/// Most members that a group may have in the joint state.
const MEMBERS_COUNT_MAX: usize = 2 * REPLICAS_COUNT_MAX;

/// What a core reports: of the groups that it leads, and one core of each node of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of the node.
    pub node: Option<NodeFigures>,
    /// Of groups. Invariant: at most [`REPORT_GROUPS_COUNT_MAX`].
    pub groups: Vec<GroupFigures>,
}

/// How a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFigures {
    /// For how long its oldest write to a log has not become durable, in microseconds.
    pub write_stalled_us: u64,
    /// Bytes in use of the disk with its data.
    pub disk_used_bytes: u64,
    /// Bytes of that disk in all.
    pub disk_capacity_bytes: u64,
    /// Whether writes are refused for want of room.
    pub disk_is_full: bool,
    /// How many snapshots it is receiving.
    pub snapshots_in: u32,
    /// How many snapshots it is sending.
    pub snapshots_out: u32,
}

/// How a group does, as its leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFigures {
    /// The group.
    pub group: GroupId,
    /// The term in which the sender leads it.
    pub term: Term,
    /// The replica that leads.
    pub leader: ReplicaId,
    /// The members, committed or not, each with its place.
    pub membership: Membership,
    /// The entry that made them the members, or a later one.
    pub membership_index: Index,
    /// The members that the leader does not hear.
    pub silent: Vec<SilentMember>,
    /// The members that lack more of the log than is always on its way.
    pub behind: Vec<ReplicaId>,
    /// Bytes that a replica takes on a disk.
    pub bytes: u64,
    /// Commands per second.
    pub ops_per_s: u64,
}

/// A member that its leader does not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilentMember {
    /// Who.
    pub replica: ReplicaId,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}

/// How the leader of group 0 finds the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healths {
    /// The term in which it leads; never 0.
    pub term: Term,
    /// The nodes that it has found anything of. Invariant: at most [`types::limits::NODES_COUNT_MAX`].
    pub nodes: Vec<(NodeId, NodeHealth)>,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeHealth {
    /// It is heard, and its disk writes.
    Up = 1,
    /// It is not, for a moment.
    Suspect = 2,
    /// It is not, for long enough that others take its place.
    Down = 3,
}

/// A node in the metadata of a frame.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct HealthHead {
    node: u32,
    health: u8,
}

impl HealthHead {
    /// The term and the nodes; term 0 if there is nothing.
    pub(crate) fn of(healths: Option<Healths>) -> (Term, Vec<HealthHead>) {
        let Healths { term, nodes } = healths.unwrap_or_default();
        (term, nodes.iter().map(|(node, health)| HealthHead { node: node.0, health: *health as u8 }).collect())
    }
}

impl ArchivedHealthHead {
    /// What a frame holds, if anything; `None` if it makes no sense.
    pub(crate) fn decode(term: Term, heads: &[ArchivedHealthHead]) -> Option<Option<Healths>> {
        if heads.len() > NODES_COUNT_MAX || (term == 0 && !heads.is_empty()) {
            return None;
        }
        let of_node = |head: &ArchivedHealthHead| {
            NodeHealth::from_u8(head.health).map(|health| (NodeId(head.node.to_native()), health))
        };
        let nodes = heads.iter().map(of_node).collect::<Option<Vec<_>>>()?;
        Some((term > 0).then_some(Healths { term, nodes }))
    }
}

/// Why bytes are no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReportError {
    /// Too short or too long.
    #[error("the bytes are no report: {0} of them")]
    Length(usize),
    /// More groups than a report may hold.
    #[error("a report of {0} groups")]
    TooManyGroups(usize),
    /// The members of a group make no sense.
    #[error("a report of a group with {0}")]
    Membership(#[from] MembershipError),
    /// A rule of reports is broken.
    #[error("a report in which {0}")]
    Rule(&'static str),
}

impl NodeHealth {
    /// That of this number, if there is one.
    pub fn from_u8(number: u8) -> Option<NodeHealth> {
        [NodeHealth::Up, NodeHealth::Suspect, NodeHealth::Down].into_iter().find(|known| *known as u8 == number)
    }

    /// Its name where it is shown.
    pub fn name(self) -> &'static str {
        match self {
            NodeHealth::Up => "up",
            NodeHealth::Suspect => "suspect",
            NodeHealth::Down => "down",
        }
    }
}

impl Report {
    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        self.node.is_none() && self.groups.is_empty()
    }

    /// The report as bytes.
    pub fn encode(&self) -> Bytes {
        assert!(self.groups.len() <= REPORT_GROUPS_COUNT_MAX, "a report of ours is within its limits");
        let mut bytes = Vec::with_capacity(64 + 160 * self.groups.len());
        bytes.extend_from_slice(&[u8::from(self.node.is_some()), 0]);
        bytes.extend_from_slice(&(self.groups.len() as u16).to_le_bytes());
        if let Some(node) = &self.node {
            for number in [node.write_stalled_us, node.disk_used_bytes, node.disk_capacity_bytes] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&node.snapshots_in.to_le_bytes());
            bytes.extend_from_slice(&node.snapshots_out.to_le_bytes());
            bytes.push(node.disk_is_full.into());
        }
        self.groups.iter().for_each(|group| group.encode(&mut bytes));
        Bytes::from(bytes)
    }

    /// What a frame holds: no bytes are no report.
    pub(crate) fn decode_part(bytes: &[u8]) -> Result<Option<Report>, ReportError> {
        if bytes.is_empty() { Ok(None) } else { Report::decode(bytes).map(Some) }
    }

    /// Reads what [`Report::encode`] has written, and checks that it makes sense.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn decode(bytes: &[u8]) -> Result<Report, ReportError> {
        let mut reader = Reader { len: bytes.len(), rest: bytes };
        let (has_node, zero, groups_count) = (reader.u8()?, reader.u8()?, usize::from(reader.u16()?));
        if has_node > 1 || zero != 0 {
            return Err(ReportError::Rule("a mark has no meaning"));
        }
        if groups_count > REPORT_GROUPS_COUNT_MAX {
            return Err(ReportError::TooManyGroups(groups_count));
        }
        let node = if has_node == 1 { Some(NodeFigures::decode(&mut reader)?) } else { None };
        let mut groups = Vec::with_capacity(groups_count);
        for _ in 0..groups_count {
            groups.push(GroupFigures::decode(&mut reader)?);
        }
        if reader.rest.is_empty() { Ok(Report { node, groups }) } else { Err(reader.length()) }
    }
}

impl NodeFigures {
    fn decode(reader: &mut Reader<'_>) -> Result<NodeFigures, ReportError> {
        Ok(NodeFigures {
            write_stalled_us: reader.u64()?,
            disk_used_bytes: reader.u64()?,
            disk_capacity_bytes: reader.u64()?,
            snapshots_in: reader.u32()?,
            snapshots_out: reader.u32()?,
            disk_is_full: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(ReportError::Rule("a disk is neither full nor not")),
            },
        })
    }
}

impl GroupFigures {
    fn encode(&self, bytes: &mut Vec<u8>) {
        assert!(
            self.silent.len() <= MEMBERS_COUNT_MAX && self.behind.len() <= MEMBERS_COUNT_MAX,
            "whoever is silent or behind is a member"
        );
        let members = self.membership.encode();
        bytes.extend_from_slice(&self.group.0.to_le_bytes());
        for number in [self.term, self.leader.0, self.membership_index, self.bytes, self.ops_per_s] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&(members.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[self.silent.len() as u8, self.behind.len() as u8]);
        bytes.extend_from_slice(&members);
        for silent in &self.silent {
            bytes.extend_from_slice(&silent.replica.0.to_le_bytes());
            bytes.extend_from_slice(&silent.for_ms.to_le_bytes());
        }
        for replica in &self.behind {
            bytes.extend_from_slice(&replica.0.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<GroupFigures, ReportError> {
        let (group, term, leader) = (GroupId(reader.u32()?), reader.u64()?, ReplicaId(reader.u64()?));
        let (membership_index, bytes, ops_per_s) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (members_len, silent_count, behind_count) = (reader.u16()?, reader.u8()?, reader.u8()?);
        let membership = Membership::decode(reader.take(usize::from(members_len))?)?;
        let mut silent = Vec::new();
        for _ in 0..silent_count {
            silent.push(SilentMember { replica: ReplicaId(reader.u64()?), for_ms: reader.u64()? });
        }
        let mut behind = Vec::new();
        for _ in 0..behind_count {
            behind.push(ReplicaId(reader.u64()?));
        }
        let figures =
            GroupFigures { group, term, leader, membership, membership_index, silent, behind, bytes, ops_per_s };
        figures.validate()?;
        Ok(figures)
    }

    fn validate(&self) -> Result<(), ReportError> {
        let is_member = |id: ReplicaId| self.membership.contains(id);
        let rules = [
            (self.term > 0, "somebody leads in no term"),
            (is_member(self.leader), "the leader is no member"),
            (self.silent.iter().all(|silent| is_member(silent.replica)), "one who is silent is no member"),
            (self.silent.iter().all(|silent| silent.replica != self.leader), "the leader does not hear itself"),
            (self.silent.len() <= MEMBERS_COUNT_MAX, "too many are silent"),
            (self.behind.iter().all(|replica| is_member(*replica)), "one who is behind is no member"),
            (self.behind.len() <= MEMBERS_COUNT_MAX, "too many are behind"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(ReportError::Rule(rule)),
            None => Ok(()),
        }
    }
}

/// Bytes, consumed from the front.
struct Reader<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn length(&self) -> ReportError {
        ReportError::Length(self.len)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ReportError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.length())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReportError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(self.length())?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, ReportError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, ReportError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, ReportError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ReportError> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use types::{CoreAddr, CoreId};

    use super::*;
    use crate::membership::Member;

    fn group(id: u32) -> GroupFigures {
        let member =
            |id: u64| Member { id: ReplicaId(id), place: CoreAddr { node: NodeId(id as u32), core: CoreId(1) } };
        GroupFigures {
            group: GroupId(id),
            term: 7,
            leader: ReplicaId(1),
            membership: Membership { learners: [member(4)].into(), ..Membership::of_voters([1, 2, 3].map(member)) },
            membership_index: 90,
            silent: [SilentMember { replica: ReplicaId(2), for_ms: 1_500 }].into(),
            behind: [ReplicaId(2), ReplicaId(4)].into(),
            bytes: 1 << 33,
            ops_per_s: 17,
        }
    }

    fn report() -> Report {
        let node = NodeFigures {
            write_stalled_us: 5,
            disk_used_bytes: 6,
            disk_capacity_bytes: 7,
            disk_is_full: true,
            snapshots_in: 1,
            snapshots_out: 2,
        };
        Report { node: Some(node), groups: [group(1), group(9)].into() }
    }

    #[test]
    fn bytes_keep_everything_and_damage_is_seen() {
        for report in [report(), Report { node: None, ..report() }, Report::default()] {
            let bytes = report.encode();
            assert_eq!(Report::decode(&bytes), Ok(report));
            for len in 0..bytes.len() {
                assert!(Report::decode(&bytes[..len]).is_err(), "{len}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Report::decode(&longer), Err(ReportError::Length(longer.len())));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let sound = group(1);
        let rule = |figures: GroupFigures| {
            let bytes = Report { node: None, groups: [figures].into() }.encode();
            match Report::decode(&bytes) {
                Err(ReportError::Rule(rule)) => rule,
                other => panic!("{other:?}"),
            }
        };
        let silent = |id| [SilentMember { replica: ReplicaId(id), for_ms: 1 }].into();
        assert_eq!(rule(GroupFigures { term: 0, ..sound.clone() }), "somebody leads in no term");
        assert_eq!(rule(GroupFigures { leader: ReplicaId(5), ..sound.clone() }), "the leader is no member");
        assert_eq!(rule(GroupFigures { silent: silent(9), ..sound.clone() }), "one who is silent is no member");
        assert_eq!(rule(GroupFigures { silent: silent(1), ..sound.clone() }), "the leader does not hear itself");
        assert_eq!(rule(GroupFigures { behind: [ReplicaId(9)].into(), ..sound }), "one who is behind is no member");
        let many = REPORT_GROUPS_COUNT_MAX + 1;
        let [low, high] = (many as u16).to_le_bytes();
        assert_eq!(Report::decode(&[0, 0, low, high]), Err(ReportError::TooManyGroups(many)));
        assert!(matches!(Report::decode(&[2, 0, 0, 0]), Err(ReportError::Rule(_))));
        let mut broken = Report { node: None, groups: [group(1)].into() }.encode().to_vec();
        // How many voters there are.
        broken[4 + 4 + 5 * 8 + 4] = 0;
        assert!(matches!(Report::decode(&broken), Err(ReportError::Membership(_))));
    }

    #[test]
    fn any_byte_that_is_altered_gives_a_report_that_makes_sense_or_an_error() {
        let bytes = report().encode();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.to_vec();
                altered[at] ^= 1 << bit;
                if let Ok(report) = Report::decode(&altered) {
                    assert_eq!(report.encode(), altered, "what is read is what was written");
                }
            }
        }
    }

    #[test]
    fn numbers_name_healths() {
        let known = (0..=u8::MAX).filter_map(NodeHealth::from_u8).map(|health| health as u8);
        assert!(known.eq([1, 2, 3]));
    }
}
