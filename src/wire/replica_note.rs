//! What cores say about single replicas: whether one still belongs to its group, or is to lead it.

use types::{GroupId, ReplicaId, Term};

/// Something said about a replica: to a core where its group may be led, or to the one where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaNote {
    /// The group.
    pub group: GroupId,
    /// The replica that it is about.
    pub replica: ReplicaId,
    /// The term that the replica has come to, 0 if it does not take part; the answer repeats it. Of one that is to lead, the term in which
    /// another one does.
    pub term: Term,
    /// What is said.
    pub says: ReplicaNoteKind,
}

/// What a [`ReplicaNote`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplicaNoteKind {
    /// Is it still a member? Its core knows a map that does not want it.
    IsMember = 1,
    /// It is none, and never will be one again.
    Gone = 2,
    /// It is to lead. Told to whoever leads the group in the term that the note names.
    Lead = 3,
}

impl ReplicaNoteKind {
    /// The kind of this number, if there is one.
    pub fn from_u8(kind: u8) -> Option<ReplicaNoteKind> {
        let kinds = [ReplicaNoteKind::IsMember, ReplicaNoteKind::Gone, ReplicaNoteKind::Lead];
        kinds.into_iter().find(|known| *known as u8 == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_kinds() {
        let known = (0..=u8::MAX).filter_map(ReplicaNoteKind::from_u8).map(|kind| kind as u8);
        assert!(known.eq([1, 2, 3]));
    }
}
