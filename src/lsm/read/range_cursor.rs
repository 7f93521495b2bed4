//! The range tombstones of a run, one behind another.

use std::rc::Rc;

use crate::table::{KeyRange, Top, Unit};
use crate::version::Run;

use super::need::Need;

/// A place among the range tombstones of a run.
pub struct RangeCursor {
    run: Rc<Run>,
    table_idx: usize,
    top: Option<Rc<Top>>,
    range_idx: usize,
}

impl RangeCursor {
    /// At the first one.
    pub fn new(run: Rc<Run>) -> RangeCursor {
        RangeCursor { run, table_idx: 0, top: None, range_idx: 0 }
    }

    /// The range it is at, or what is needed to know it; `None` behind the last. A range of which all was merged into
    /// older tables is empty.
    pub fn range(&mut self) -> Result<Option<KeyRange>, Need> {
        loop {
            let Some(table) = self.run.tables().get(self.table_idx) else { return Ok(None) };
            let count = usize::try_from(table.info.properties.range_tombstones).unwrap_or(usize::MAX);
            let known = self.top.as_ref().map_or(count, |top| top.ranges.count());
            if self.range_idx < known {
                break;
            }
            (self.table_idx, self.range_idx, self.top) = (self.table_idx + 1, 0, None);
        }
        match &self.top {
            Some(top) => {
                let from = &self.run.tables()[self.table_idx].from;
                Ok(top.ranges.get(self.range_idx).map(|range| range.behind(from)))
            }
            None => {
                let table = &self.run.tables()[self.table_idx];
                Err(Need { table: Rc::clone(table), unit: table.info.top })
            }
        }
    }

    /// Goes to the next one.
    pub fn next(&mut self) {
        self.range_idx += 1;
    }

    /// Hands over what was needed.
    pub fn supply(&mut self, unit: Unit) {
        if let Unit::Top(top) = unit {
            self.top = Some(top);
        }
    }
}
