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

#[cfg(test)]
mod tests {
    use crate::ids::{FileId, TableId};
    use crate::table::properties::Properties;
    use crate::table::{TableInfo, UnitKind, UnitRef};
    use crate::version::{Change, FileSet, NewRun, NewTable, Version};

    use super::*;

    #[test]
    fn of_a_table_that_was_cut_ranges_begin_at_the_cut() {
        let mut top = Top::default();
        for (from, to) in [("b", "d"), ("f", "m"), ("p", "s")] {
            top.ranges.push(from.as_bytes(), to.as_bytes());
        }
        let properties = Properties {
            range_tombstones: top.ranges.count() as u64,
            smallest: b"b".to_vec(),
            largest: b"s".to_vec(),
            ..Properties::default()
        };
        let id = TableId { file: FileId { store: 1, number: 1 }, offset: 0 };
        let unit = UnitRef { kind: UnitKind::Top, offset: 0, len: 16 };
        let info = TableInfo { id, len: 4_096, top: unit, properties };
        let tables = vec![NewTable { info, file: 1, base: 0, from: b"h".to_vec() }];
        let change = Change { added: vec![NewRun { age: 1, level: 0, tables }], ..Change::default() };
        let version = Version::default().apply(&change, &FileSet::default()).expect("sound");

        let mut cursor = RangeCursor::new(Rc::clone(&version.runs()[0]));
        assert!(cursor.range().is_err_and(|need| need.unit == unit));
        cursor.supply(Unit::Top(Rc::new(top)));
        let mut found = Vec::new();
        while let Ok(Some(range)) = cursor.range() {
            found.extend((range.from < range.to).then_some((range.from, range.to)));
            cursor.next();
        }
        assert_eq!(found, [(b"h".to_vec(), b"m".to_vec()), (b"p".to_vec(), b"s".to_vec())]);
    }
}
