//! Rows that are to be read from the tables of a group, and what was read.

use std::rc::Rc;

use data::RowRange;
use types::GroupId;

/// Rows that somebody needs and that are not in memory.
#[derive(Clone, Debug)]
pub(crate) struct RowRead {
    /// Whoever wants them knows the answer by it. Later ones have greater numbers.
    pub(crate) number: u64,
    /// The group.
    pub(crate) group: GroupId,
    /// Which.
    pub(crate) wanted: Wanted,
}

/// Which rows are to be read.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// These.
    Rows(WantedRows),
    /// A run of rows, of which nobody needs the values.
    Range(RowRange),
}

/// Rows by their names.
#[derive(Clone, Debug)]
pub(crate) struct WantedRows {
    /// Each row key, and whether the value is needed.
    pub(crate) rows: Rc<[(Box<[u8]>, bool)]>,
    /// So many of the first must be read.
    pub(crate) must_count: usize,
    /// Of the others no more than this many bytes of values.
    pub(crate) bytes_max: usize,
}

/// A row as the tables hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadRow {
    /// What kind of value it is.
    pub(crate) kind: u8,
    /// When it expires, in milliseconds since 1970 UTC.
    pub(crate) expiry_ms: Option<u64>,
    /// The value; empty if it is not needed.
    pub(crate) value: Vec<u8>,
}

impl ReadRow {
    /// What a row in memory is to hold.
    pub(crate) fn content(&self) -> lsm::Content<'_> {
        lsm::Content { kind: self.kind, expiry_ms: self.expiry_ms, value: [&self.value, b""] }
    }
}

/// What the tables have told of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: there were too many bytes of values before.
    #[default]
    Unread,
    /// There is no row.
    NoRow,
    /// The row, whose value was not needed.
    Head(ReadRow),
    /// The row.
    Whole(ReadRow),
}

/// What was read.
#[derive(Debug)]
pub(crate) enum ReadRows {
    /// Of each row that was named.
    Rows(Vec<Told>),
    /// Row keys and rows of a run in their order, without their values, and where they end if that is before the run does.
    Range(Vec<(Box<[u8]>, ReadRow)>, Option<u64>),
}
