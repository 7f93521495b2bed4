//! How many rows lie where newer runs delete ranges.

use crate::table::widest_ranges::{PlaceRange, place_of};
use crate::version::{PlacedTable, Run, Version};

/// About how many rows of a version range tombstones of newer runs delete, as if the rows of each table were spread evenly
/// over its keys. Of a table with very many range tombstones the narrow ones are not known.
pub(super) fn deleted_rows_about(version: &Version) -> u64 {
    let (mut deleted, mut rows) = (Vec::new(), 0_u64);
    for run in version.runs() {
        if !deleted.is_empty() {
            let of_table = |table: &PlacedTable| share(&deleted, table) * table.info.properties.rows as f64;
            rows = run.tables().iter().fold(rows, |sum, table| sum.saturating_add(of_table(table) as u64));
        }
        if run.has_range_tombstones() {
            add(&mut deleted, run);
        }
    }
    rows
}

/// Adds what a run deletes in older ones. The ranges ascend and do not overlap, before and behind.
fn add(deleted: &mut Vec<PlaceRange>, run: &Run) {
    for table in run.tables() {
        // What lies before has been merged into older tables.
        let begin = place_of(&table.from);
        let ranges = table.info.properties.widest_ranges.iter();
        let behind = ranges.map(|range| PlaceRange { from: range.from.max(begin), ..*range });
        deleted.extend(behind.filter(|range| range.from < range.to));
    }
    deleted.sort_unstable();
    deleted.dedup_by(|later, earlier| {
        let touches = later.from <= earlier.to;
        if touches {
            earlier.to = earlier.to.max(later.to);
        }
        touches
    });
}

/// The share of a table's places that lie in some ranges.
fn share(deleted: &[PlaceRange], table: &PlacedTable) -> f64 {
    let (begin, end) = (place_of(table.smallest()), place_of(table.largest()).saturating_add(1));
    let first = deleted.partition_point(|range| range.to <= begin);
    let inside = deleted.iter().skip(first).take_while(|range| range.from < end);
    let covered: u128 = inside.map(|range| range.to.min(end) - range.from.max(begin)).sum();
    covered as f64 / (end - begin).max(1) as f64
}
