//! What the manifest tells.

use types::{GroupId, Index, ReplicaId, Term};

use crate::codec::{Input, put_string};
use crate::error::FormatError;
use crate::version::Change;

/// Where in a group's log a state was sealed, and what belongs to it besides rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    /// The last entry applied.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// Replicated time behind it, Unix time in ms.
    pub time_ms: u64,
    /// How often all rows were deleted at once.
    pub generation: u64,
    /// The greatest id that a collection was given.
    pub id_counter: u64,
    /// The members, as the layer above writes them.
    pub membership: Vec<u8>,
}

impl Seal {
    /// Appends the bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let numbers = [self.index, self.term, self.time_ms, self.generation, self.id_counter];
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        put_string(out, &self.membership);
    }

    /// Reads the bytes; others may follow.
    pub(crate) fn read(input: &mut Input<'_>) -> Result<Seal, FormatError> {
        Ok(Seal {
            index: input.u64()?,
            term: input.u64()?,
            time_ms: input.u64()?,
            generation: input.u64()?,
            id_counter: input.u64()?,
            membership: input.string()?.to_vec(),
        })
    }
}

/// What is told of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditKind {
    /// There is one, without tables. Only at the beginning of an epoch.
    Group {
        /// Its seal.
        seal: Seal,
        /// Index of the last install, 0 if there was none.
        installed: Index,
    },
    /// Tables and blob files are replaced by others that say the same.
    Merge {
        /// Which.
        change: Change,
    },
    /// Rows that were in memory are in tables. Makes the group if it is not there.
    Flush {
        /// Up to where.
        seal: Seal,
        /// The tables. Those removed say nothing that the ones added do not.
        change: Change,
    },
    /// The state of another replica takes the place of all there was. Makes the group if it is not there.
    Install {
        /// Up to where the state goes.
        seal: Seal,
        /// Its tables; removes none.
        change: Change,
    },
    /// The group is gone.
    Drop,
    /// All rows are gone.
    NewGeneration {
        /// With a greater generation than before.
        seal: Seal,
    },
}

/// An edit of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Files of smaller numbers may have been written.
    Numbers(u64),
    /// The state at the beginning of an epoch ends here.
    Complete,
    /// Something of a group.
    Group {
        /// The group.
        group: GroupId,
        /// Its replica here. Edits of another one do not fit.
        replica: ReplicaId,
        /// What of it.
        kind: EditKind,
    },
}

impl Edit {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (number, group, replica) = match self {
            Edit::Numbers(_) => (1, GroupId(0), ReplicaId(0)),
            Edit::Complete => (2, GroupId(0), ReplicaId(0)),
            Edit::Group { group, replica, kind } => (kind.number(), *group, *replica),
        };
        out.push(number);
        out.extend_from_slice(&group.0.to_le_bytes());
        out.extend_from_slice(&replica.0.to_le_bytes());
        match self {
            Edit::Numbers(number) => out.extend_from_slice(&number.to_le_bytes()),
            Edit::Complete => {}
            Edit::Group { kind, .. } => kind.encode(out),
        }
    }

    /// Reads the bytes, and nothing but them.
    pub fn decode(bytes: &[u8]) -> Result<Edit, FormatError> {
        let mut input = Input::new(bytes);
        let (number, group, replica) = (input.u8()?, GroupId(input.u32()?), ReplicaId(input.u64()?));
        let edit = match number {
            1 | 2 if (group, replica) != (GroupId(0), ReplicaId(0)) => {
                return Err(FormatError::Malformed("an edit of no group names one"));
            }
            1 => Edit::Numbers(input.u64()?),
            2 => Edit::Complete,
            _ => Edit::Group { group, replica, kind: EditKind::read(number, &mut input)? },
        };
        input.end()?;
        Ok(edit)
    }
}

impl EditKind {
    fn number(&self) -> u8 {
        match self {
            EditKind::Group { .. } => 3,
            EditKind::Merge { .. } => 4,
            EditKind::Flush { .. } => 5,
            EditKind::Install { .. } => 6,
            EditKind::Drop => 7,
            EditKind::NewGeneration { .. } => 8,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            EditKind::Group { seal, installed } => {
                seal.encode(out);
                out.extend_from_slice(&installed.to_le_bytes());
            }
            EditKind::Merge { change } => change.encode(out),
            EditKind::Flush { seal, change } | EditKind::Install { seal, change } => {
                seal.encode(out);
                change.encode(out);
            }
            EditKind::Drop => {}
            EditKind::NewGeneration { seal } => seal.encode(out),
        }
    }

    fn read(number: u8, input: &mut Input<'_>) -> Result<EditKind, FormatError> {
        Ok(match number {
            3 => EditKind::Group { seal: Seal::read(input)?, installed: input.u64()? },
            4 => EditKind::Merge { change: Change::read(input)? },
            5 => EditKind::Flush { seal: Seal::read(input)?, change: Change::read(input)? },
            6 => EditKind::Install { seal: Seal::read(input)?, change: Change::read(input)? },
            7 => EditKind::Drop,
            8 => EditKind::NewGeneration { seal: Seal::read(input)? },
            _ => return Err(FormatError::Malformed("the type of an edit is not known")),
        })
    }
}
