//! Reading runs ahead of a cursor that walks over all of them from front to back.

use host::{Disk, IoClass};

use crate::error::Error;
use crate::table::{Unit, UnitKind};

use super::need::Need;
use super::read_ahead::READS_COUNT_MAX;
use super::reader::Reader;
use super::table_ahead::TableAhead;
use super::version_cursor::VersionCursor;

/// Reads that are made ahead for all runs together, as long as each may have two.
const READS_COUNT: usize = 32;

/// The table that each run is being read of. Takes about 1.5 MiB of memory for each run, 0.75 MiB if there are many.
pub struct RunsAhead<D: Disk> {
    class: IoClass,
    reads_count: usize,
    tables: Vec<Option<TableAhead<D>>>,
}

impl<D: Disk> RunsAhead<D> {
    /// Reads nothing until it is asked for a unit.
    pub fn new(runs_count: usize, class: IoClass) -> RunsAhead<D> {
        let reads_count = (READS_COUNT / runs_count.max(1)).clamp(2, READS_COUNT_MAX);
        RunsAhead { class, reads_count, tables: (0..runs_count).map(|_| None).collect() }
    }

    /// What a cursor over these runs has asked for. What it needs to go on in a table is read ahead.
    pub async fn unit(&mut self, reader: &Reader<D>, cursor: &VersionCursor, need: &Need) -> Result<Unit, Error> {
        let mut table = cursor.asked_for_row().and_then(|idx| self.tables.get_mut(idx));
        if need.unit.kind != UnitKind::Top
            && let Some(Some(ahead)) = &mut table
            && ahead.id() == need.table.info.id
            && let Some(unit) = ahead.unit(reader.files(), need.unit).await?
        {
            return Ok(unit);
        }
        let unit = reader.unit_once(need, self.class).await?;
        if let (Some(table), Unit::Top(top)) = (table, &unit) {
            *table = TableAhead::new(reader.files(), &need.table, top, self.class, self.reads_count);
        }
        Ok(unit)
    }
}
