//! Where a cursor is sent, and what it asks for.

use std::rc::Rc;

use crate::table::UnitRef;
use crate::version::PlacedTable;

/// A unit without which a cursor cannot go on.
#[derive(Clone)]
pub struct Need {
    /// The table that it is part of.
    pub table: Rc<PlacedTable>,
    /// Where in it.
    pub unit: UnitRef,
}

/// Where a cursor is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The first row.
    First,
    /// The last row.
    Last,
    /// The first row whose key is at least this.
    From(&'a [u8]),
    /// The last row whose key is less than this.
    Before(&'a [u8]),
}

impl Target<'_> {
    /// Whether rows are then looked at from the last to the first.
    pub fn is_back(&self) -> bool {
        matches!(self, Target::Last | Target::Before(_))
    }
}
