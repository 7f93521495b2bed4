//! Why something waits, or cannot be done, in words for a person.

use std::fmt;

use types::NodeId;

/// Why a step is not taken now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// More nodes are missing than may be replaced; the plan's alarm says which.
    TooManyMissing,
    /// Nobody leads the group, or whoever does has not reported of late.
    NotReported,
    /// Members of the group are changing already.
    Moving,
    /// A replica of the group, on this node, is not heard, and it is not the one that is to move.
    MemberSilent(NodeId),
    /// Too few voters are left to change anything.
    NoQuorum {
        /// How many are heard.
        live: usize,
        /// How many there are.
        voters: usize,
    },
    /// This node sends as many snapshots as it may.
    Sends(NodeId, u32),
    /// This node, the best one to take the replica, receives as many snapshots as it may.
    Receives(NodeId, u32),
    /// This node, the best one to take the replica, is not heard just now.
    Suspect(NodeId),
    /// No other replica of the group may lead.
    NoHeir,
    /// The group was moved a short while ago.
    Rests,
    /// As many transfers as one round may ask for are asked for.
    ManyTransfers,
    /// A node could take the replica, but its group would then be spread over fewer racks than now. This is the rack that lacks one.
    NoNodeInRack(String),
    /// No node can take the replica.
    NoNode(Obstacles),
}

/// What keeps each node of the cluster from taking a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacles {
    /// How many have a replica of the group.
    pub hold_one: u32,
    /// How many are missing, or have not reported.
    pub missing: u32,
    /// How many drain or leave.
    pub withdrawn: u32,
    /// How many have a disk that is too full for it.
    pub crowded: u32,
}

impl Reason {
    /// Whether this stays so until a person does something.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Reason::NoQuorum { .. } | Reason::NoNodeInRack(_) | Reason::NoNode(_) | Reason::TooManyMissing)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::TooManyMissing => f.write_str("too many nodes are missing"),
            Reason::NotReported => f.write_str("no leader of the group has reported of late"),
            Reason::Moving => f.write_str("its members are changing already"),
            Reason::MemberSilent(node) => write!(f, "its replica on node {node} is not heard"),
            Reason::NoQuorum { live, voters } => {
                write!(f, "{live} of {voters} voters are heard, which is no majority")
            }
            Reason::Sends(node, count) => write!(f, "node {node} sends {count} snapshots"),
            Reason::Receives(node, count) => write!(f, "node {node} receives {count} snapshots"),
            Reason::Suspect(node) => write!(f, "node {node} is not heard just now"),
            Reason::NoHeir => f.write_str("no other replica can lead it"),
            Reason::Rests => f.write_str("it was moved a short while ago"),
            Reason::ManyTransfers => f.write_str("enough leaders are on the move"),
            Reason::NoNodeInRack(rack) => write!(f, "no live node with room in rack {rack}"),
            Reason::NoNode(obstacles) => obstacles.fmt(f),
        }
    }
}

impl fmt::Display for Obstacles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no node can take it")?;
        let parts = [
            (self.hold_one, "have one already"),
            (self.missing, "missing"),
            (self.withdrawn, "draining or leaving"),
            (self.crowded, "without room"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        for ((count, what), mark) in parts.zip([": "].into_iter().chain(std::iter::repeat(", "))) {
            write!(f, "{mark}{count} {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences() {
        let obstacles = Obstacles { hold_one: 2, missing: 1, withdrawn: 0, crowded: 3 };
        for (reason, text, is_refusal) in [
            (Reason::Sends(NodeId(1), 2), "node 1 sends 2 snapshots", false),
            (Reason::NoNodeInRack("c".to_owned()), "no live node with room in rack c", true),
            (Reason::NoNode(obstacles), "no node can take it: 2 have one already, 1 missing, 3 without room", true),
            (Reason::NoQuorum { live: 1, voters: 3 }, "1 of 3 voters are heard, which is no majority", true),
            (Reason::MemberSilent(NodeId(7)), "its replica on node 7 is not heard", false),
        ] {
            assert_eq!((reason.to_string().as_str(), reason.is_refusal()), (text, is_refusal));
        }
        assert_eq!(Obstacles::default().to_string(), "no node can take it");
    }
}
