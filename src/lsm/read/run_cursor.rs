//! Walking over the rows of a run, both ways, and the ranges that it deletes in older ones.

use std::rc::Rc;

use crate::table::{KeyRange, StoredRow, TableCursor, Top, Unit};
use crate::version::{PlacedTable, Run};

use super::need::{Need, Target};

/// A place in a run.
pub struct RunCursor {
    run: Rc<Run>,
    /// The table it is in, by its number, and the place in that. `None` beside the rows.
    at: Option<(usize, TableCursor)>,
    back: bool,
    /// The table whose range tombstones were looked at last, by its number.
    top: Option<(usize, Rc<Top>)>,
    top_wanted: usize,
    has_range_tombstones: bool,
}

impl RunCursor {
    /// Beside the rows of a run.
    pub fn new(run: Rc<Run>) -> RunCursor {
        let has_range_tombstones = run.has_range_tombstones();
        RunCursor { run, at: None, back: false, top: None, top_wanted: 0, has_range_tombstones }
    }

    /// Sets out for the first row of a table, or for the last. What was merged into older tables is not there.
    fn enter_at_end(&mut self) {
        let Some((idx, cursor)) = &mut self.at else { return };
        let from = &table_at(&self.run, *idx).from;
        match (self.back, from.is_empty()) {
            (true, _) => cursor.last(),
            (false, true) => cursor.first(),
            (false, false) => cursor.seek(from),
        }
    }

    /// The cursor of a table with rows, at or beside the one with a number as the direction has it.
    fn enter(&self, idx: Option<usize>, back: bool) -> Option<(usize, TableCursor)> {
        let tables = self.run.tables();
        let has_rows = |idx: &usize| tables.get(*idx).is_some_and(|table| table.info.properties.rows > 0);
        let idx = match back {
            true => (0..=idx?.min(tables.len().checked_sub(1)?)).rev().find(has_rows)?,
            false => (idx?..tables.len()).find(has_rows)?,
        };
        Some((idx, TableCursor::new(Rc::clone(&tables.get(idx)?.info))))
    }

    /// Sets out.
    pub fn seek(&mut self, target: Target<'_>) {
        self.back = target.is_back();
        let idx = match target {
            Target::First => 0,
            Target::Last => usize::MAX,
            Target::From(key) | Target::Before(key) => self.run.find_from(key),
        };
        let same = self.at.take().filter(|(at, _)| *at == idx);
        self.at = same.or_else(|| self.enter(Some(idx), self.back));
        match (target, &mut self.at) {
            (Target::From(key), Some((at, cursor))) if *at == idx => {
                cursor.seek(table_at(&self.run, idx).at_least(key))
            }
            (Target::Before(key), Some((at, cursor))) if *at == idx => cursor.seek_before(key),
            // In the table beside, all rows lie on the side that is looked for.
            _ => self.enter_at_end(),
        }
    }

    /// Sets out for the row beside.
    pub fn step(&mut self, back: bool) {
        self.back = back;
        let Some((_, cursor)) = &mut self.at else { return };
        if back { cursor.prev() } else { cursor.next() }
    }

    /// Goes on. What it needs to do so; `None` once it has arrived.
    pub fn poll(&mut self) -> Option<Need> {
        loop {
            let (idx, cursor) = self.at.as_mut()?;
            if let Some(unit) = cursor.poll() {
                return Some(Need { table: Rc::clone(self.run.tables().get(*idx)?), unit });
            }
            let table = table_at(&self.run, *idx);
            if cursor.key().is_some_and(|key| !table.has_merged(key)) {
                return None;
            }
            let beside = if self.back { idx.checked_sub(1) } else { Some(*idx + 1) };
            self.at = self.enter(beside, self.back);
            self.enter_at_end();
        }
    }

    /// Hands over what was needed to go on.
    pub fn supply(&mut self, unit: Unit) {
        let (_, cursor) = self.at.as_mut().expect("it was asked for by a cursor");
        cursor.supply(unit);
    }

    /// The row it is on; `None` beside the rows and on the way.
    #[inline]
    pub fn row(&self) -> Option<StoredRow<'_>> {
        self.at.as_ref()?.1.row()
    }

    /// The key of the row it is on.
    pub fn key(&self) -> Option<&[u8]> {
        self.at.as_ref()?.1.key()
    }

    /// The range deleted in older runs that a key is in, or what is needed to know.
    pub fn covering(&mut self, key: &[u8]) -> Result<Option<KeyRange>, Need> {
        let found = if self.has_range_tombstones { self.run.find(key) } else { None };
        let has_ranges = |idx: &usize| table_at(&self.run, *idx).info.properties.range_tombstones > 0;
        let Some(idx) = found.filter(has_ranges) else { return Ok(None) };
        match &self.top {
            Some((at, top)) if *at == idx => {
                Ok(top.ranges.covering(key).map(|range| range.behind(&table_at(&self.run, idx).from)))
            }
            _ => {
                self.top_wanted = idx;
                let table = table_at(&self.run, idx);
                Err(Need { unit: table.info.top, table: Rc::clone(table) })
            }
        }
    }

    /// Hands over what was needed to know a range.
    pub fn supply_covering(&mut self, unit: Unit) {
        if let Unit::Top(top) = unit {
            self.top = Some((self.top_wanted, top));
        }
    }
}

fn table_at(run: &Run, idx: usize) -> &Rc<PlacedTable> {
    &run.tables()[idx]
}
