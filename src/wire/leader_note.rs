//! Who leads.

use types::{CoreAddr, GroupId};

/// Who leads a group, as one core tells another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderNote {
    /// The group.
    pub group: GroupId,
    /// The term in which it leads; a note with an older term is ignored.
    pub term: u64,
    /// Where the leader lives.
    pub place: CoreAddr,
}
