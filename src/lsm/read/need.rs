//! What a cursor is made of, and what it asks for.

use std::rc::Rc;

use crate::table::{KeyRange, StoredRow, Unit, UnitRef};
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

/// Rows of one age by ascending keys, with the ranges that they delete in older ones.
pub trait Source {
    /// Sets out.
    fn seek(&mut self, target: Target<'_>);

    /// Sets out for the row beside.
    fn step(&mut self, back: bool);

    /// Goes on. What it needs to do so; `None` once it has arrived.
    fn poll(&mut self) -> Option<Need>;

    /// Hands over what was needed to go on.
    fn supply(&mut self, unit: Unit);

    /// The row it is on; `None` beside the rows and on the way.
    fn row(&self) -> Option<StoredRow<'_>>;

    /// The range deleted in older sources that a key is in, or what is needed to know.
    fn covering(&mut self, key: &[u8]) -> Result<Option<KeyRange>, Need>;

    /// Hands over what was needed to know a range.
    fn supply_covering(&mut self, unit: Unit);
}
