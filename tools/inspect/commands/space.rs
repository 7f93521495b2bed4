//! `coracle-inspect space`: what takes room, and why it is not free.

use std::rc::Rc;

use lsm::table::properties::Properties;
use lsm::version::{PlacedTable, Run};
use serde::Serialize;

use super::blob::{BlobLine, lines, show_lines};
use crate::data_dir::{CoreDir, DataDir};
use crate::error::InspectError;
use crate::finding::{Finding, shown};
use crate::log::Log;
use crate::report::Report;
use crate::store::{FileRole, Store};
use crate::text::{Page, bytes, count};

/// What takes room.
#[derive(Serialize)]
pub(crate) struct SpaceReport {
    bytes: u64,
    allocated_bytes: u64,
    logs: Vec<LogSpace>,
    stores: Vec<StoreSpace>,
    /// Files that belong neither to a log nor to a store.
    other_bytes: u64,
}

#[derive(Serialize)]
struct LogSpace {
    dir: String,
    in_use_count: usize,
    in_use_bytes: u64,
    live_bytes: u64,
    reserve_count: usize,
    reserve_bytes: u64,
    set_aside_bytes: u64,
    oldest_segment: Option<u64>,
    /// What keeps the oldest segment.
    pins: Vec<PinSpace>,
    keeps_evidence: bool,
}

/// A group whose entries keep the oldest segment.
#[derive(Serialize)]
struct PinSpace {
    group: u32,
    /// Its first entry that counts.
    first_index: u64,
    /// Up to where it must be flushed, and its log cut, for the segment to go.
    through_index: u64,
    last_index: u64,
    commit: u64,
    live_bytes: u64,
}

#[derive(Serialize)]
struct StoreSpace {
    dir: String,
    table_bytes: u64,
    blob_bytes: u64,
    manifest_bytes: u64,
    spare_bytes: u64,
    temporary_bytes: u64,
    runs: Vec<RunSpace>,
    /// By the share of their bytes that is live, the least first.
    blobs: Vec<BlobLine>,
    unnamed: Vec<UnnamedSpace>,
}

/// A run, and what of it is known or likely to be nothing that anybody will read.
#[derive(Serialize)]
struct RunSpace {
    group: u32,
    run: u64,
    level: u8,
    tables_count: usize,
    bytes: u64,
    rows_count: u64,
    tombstones_count: u64,
    range_tombstones_count: u64,
    /// By the time at which the group is sealed.
    expired_about_count: u64,
    /// Rows that newer runs may hide, at most.
    hidden_count_max: u64,
}

#[derive(Serialize)]
struct UnnamedSpace {
    file: String,
    bytes: u64,
}

/// Looks at what takes room.
pub(crate) fn space(data: &DataDir) -> Result<(SpaceReport, Vec<Finding>), InspectError> {
    let mut findings = Vec::new();
    let logs = super::open_logs(data, &mut findings)?;
    let stores = super::open_stores(data, &mut findings)?;
    let dirs: Vec<_> = data.logs.iter().chain(&data.stores).map(|dir| &dir.path).collect();
    let is_other =
        |file: &&crate::data_dir::FileEntry| !dirs.iter().any(|dir| file.path.parent() == Some(dir.as_path()));
    let report = SpaceReport {
        bytes: data.files.iter().map(|file| file.bytes).sum(),
        allocated_bytes: data.files.iter().map(|file| file.allocated_bytes).sum(),
        other_bytes: data.files.iter().filter(is_other).map(|file| file.bytes).sum(),
        logs: logs.iter().map(|(dir, log)| log_space(dir, log)).collect(),
        stores: stores.iter().map(|store| store_space(data, store)).collect(),
    };
    Ok((report, findings))
}

fn log_space(dir: &CoreDir, log: &Log) -> LogSpace {
    let Some(survey) = &log.survey else {
        return LogSpace {
            dir: dir.shown.clone(),
            in_use_count: 0,
            in_use_bytes: 0,
            live_bytes: 0,
            reserve_count: 0,
            reserve_bytes: 0,
            set_aside_bytes: 0,
            oldest_segment: None,
            pins: Vec::new(),
            keeps_evidence: false,
        };
    };
    let (in_use, reserve): (Vec<_>, Vec<_>) = survey.segments.iter().partition(|segment| segment.used_bytes > 0);
    let live_bytes = |group: &wal::GroupSurvey| group.pieces.iter().map(|piece| piece.bytes).sum::<u64>();
    let pin = |(id, through_index): (types::GroupId, u64)| {
        let group = survey.groups.get(&id)?;
        Some(PinSpace {
            group: id.0,
            first_index: group.group.first_index(),
            through_index,
            last_index: group.group.last_index,
            commit: group.group.hard_state.commit,
            live_bytes: live_bytes(group),
        })
    };
    LogSpace {
        dir: dir.shown.clone(),
        in_use_count: in_use.len(),
        in_use_bytes: in_use.iter().map(|segment| segment.bytes).sum(),
        live_bytes: survey.groups.values().map(live_bytes).sum(),
        reserve_count: reserve.len(),
        reserve_bytes: reserve.iter().map(|segment| segment.bytes).sum(),
        set_aside_bytes: survey.set_aside.iter().map(|aside| aside.bytes).sum(),
        oldest_segment: in_use.first().map(|segment| segment.id),
        pins: survey.pins().into_iter().filter_map(pin).collect(),
        keeps_evidence: in_use.iter().any(|segment| segment.is_evidence),
    }
}

fn store_space(data: &DataDir, store: &Store) -> StoreSpace {
    let sum = |wanted: &dyn Fn(FileRole) -> bool| {
        store.entries.iter().filter(|entry| wanted(store.role(entry))).map(|entry| entry.bytes).sum()
    };
    let mut blobs = lines(store);
    // Without a division: shares are compared across.
    blobs.sort_by(|one, other| {
        let share = |line: &BlobLine, of: &BlobLine| u128::from(line.live_bytes) * u128::from(of.value_bytes);
        share(one, other).cmp(&share(other, one)).then(one.file.cmp(&other.file))
    });
    let unnamed = store.entries.iter().filter(|entry| matches!(store.role(entry), FileRole::Unnamed(_)));
    let unnamed = unnamed.map(|entry| UnnamedSpace { file: shown(&entry.path, &data.root), bytes: entry.bytes });
    StoreSpace {
        dir: store.dir.shown.clone(),
        table_bytes: store.placed().iter().fold(0, |sum, placed| sum.saturating_add(placed.table.info.len)),
        blob_bytes: blobs.iter().fold(0, |sum, blob| sum.saturating_add(blob.bytes)),
        manifest_bytes: sum(&|role| role == FileRole::Manifest),
        spare_bytes: sum(&|role| role == FileRole::Spare),
        temporary_bytes: sum(&|role| role == FileRole::Temporary),
        runs: runs(store),
        blobs,
        unnamed: unnamed.collect(),
    }
}

fn runs(store: &Store) -> Vec<RunSpace> {
    let mut runs = Vec::new();
    for (group, state) in store.groups() {
        for (idx, run) in state.version.runs().iter().enumerate() {
            let sum = |of: &dyn Fn(&Properties) -> u64| {
                run.tables().iter().fold(0_u64, |sum, table| sum.saturating_add(of(&table.info.properties)))
            };
            let rows_count = sum(&|properties| properties.rows);
            runs.push(RunSpace {
                group: group.0,
                run: run.age,
                level: run.level,
                tables_count: run.tables().len(),
                bytes: run.tables().iter().fold(0, |sum, table| sum.saturating_add(table.info.len)),
                rows_count,
                tombstones_count: sum(&|properties| properties.tombstones),
                range_tombstones_count: sum(&|properties| properties.range_tombstones),
                expired_about_count: sum(&|properties| properties.expired_about(state.seal.time_ms)),
                hidden_count_max: hidden_count_max(run, &state.version.runs()[..idx]),
            });
        }
    }
    runs
}

/// How many rows of a run newer ones hide, at most. A table hides no more rows of an older one than it has itself, and none if its
/// keys are others; but if it deletes ranges it may hide all.
fn hidden_count_max(run: &Run, newer: &[Rc<Run>]) -> u64 {
    let of_table = |table: &Rc<PlacedTable>| {
        let over =
            |other: &&Rc<PlacedTable>| other.smallest() <= table.largest() && table.smallest() <= other.largest();
        let hiding = newer.iter().flat_map(|run| run.tables()).filter(over).map(|other| &other.info.properties);
        let rows = |of: &Properties| if of.range_tombstones > 0 { u64::MAX } else { of.rows };
        hiding.fold(0, |sum: u64, of| sum.saturating_add(rows(of))).min(table.info.properties.rows)
    };
    run.tables().iter().map(of_table).fold(0, u64::saturating_add)
}

impl Report for SpaceReport {
    const COMMAND: &'static str = "space";

    fn show(&self, page: &mut Page) {
        page.heading("Space");
        page.line(&format!("{} in files, {} of the disk", bytes(self.bytes), bytes(self.allocated_bytes)));
        if self.other_bytes > 0 {
            page.line(&format!("{} of them neither in logs nor in stores", bytes(self.other_bytes)));
        }
        self.logs.iter().for_each(|log| log.show(page));
        self.stores.iter().for_each(|store| store.show(page));
    }
}

impl LogSpace {
    fn show(&self, page: &mut Page) {
        page.heading(&format!("Log {}", self.dir));
        let (used, live) = (bytes(self.in_use_bytes), bytes(self.live_bytes));
        page.line(&format!("{} in use, {used}, of which records of {live} count", segments(self.in_use_count)));
        page.line(&format!("{} in reserve, {}", segments(self.reserve_count), bytes(self.reserve_bytes)));
        if self.set_aside_bytes > 0 {
            page.line(&format!("{} were set aside", bytes(self.set_aside_bytes)));
        }
        if self.keeps_evidence {
            page.line("some of it is kept since groups are quarantined");
        }
        match (self.oldest_segment, self.pins.is_empty()) {
            (Some(oldest), false) => page.line(&format!("segment {oldest}, the oldest, is kept by these groups:")),
            (Some(_), true) if self.in_use_count > 1 => page.line("no group keeps the oldest segment"),
            _ => {}
        }
        let row = |pin: &PinSpace| {
            let numbers = [u64::from(pin.group), pin.first_index, pin.through_index, pin.last_index, pin.commit];
            let mut row: Vec<String> = numbers.iter().map(u64::to_string).collect();
            row.push(bytes(pin.live_bytes));
            row
        };
        let header = [">group", ">from index", ">goes with", ">last", ">commit", ">bytes in all"];
        page.table(&header, self.pins.iter().map(row).collect());
    }
}

fn segments(number: usize) -> String {
    count(number as u64, "segment")
}

impl StoreSpace {
    fn show(&self, page: &mut Page) {
        page.heading(&format!("Store {}", self.dir));
        let (tables, blobs) = (bytes(self.table_bytes), bytes(self.blob_bytes));
        page.line(&format!("{tables} of tables, {blobs} of blob files"));
        let (manifest, spare) = (bytes(self.manifest_bytes), bytes(self.spare_bytes));
        page.line(&format!("{manifest} of manifest, {spare} in reserve for the next one"));
        if self.temporary_bytes > 0 {
            page.line(&format!("{} of files that are not complete", bytes(self.temporary_bytes)));
        }
        if !self.runs.is_empty() {
            page.heading("Runs, and what of them is or may be garbage");
        }
        let row = |run: &RunSpace| {
            vec![
                run.group.to_string(),
                run.run.to_string(),
                run.level.to_string(),
                run.tables_count.to_string(),
                bytes(run.bytes),
                run.rows_count.to_string(),
                run.tombstones_count.to_string(),
                run.range_tombstones_count.to_string(),
                run.expired_about_count.to_string(),
                run.hidden_count_max.to_string(),
            ]
        };
        let header = [
            ">group",
            ">run",
            ">level",
            ">tables",
            ">bytes",
            ">rows",
            ">deletes",
            ">ranges",
            ">expired",
            ">hidden \u{2264}",
        ];
        page.table(&header, self.runs.iter().map(row).collect());
        if !self.blobs.is_empty() {
            page.heading("Blob files, those with most garbage first");
        }
        show_lines(page, &self.blobs);
        if !self.unnamed.is_empty() {
            page.heading("Files that nothing names, to be deleted");
        }
        let row = |file: &UnnamedSpace| vec![file.file.clone(), bytes(file.bytes)];
        page.table(&["file", ">bytes"], self.unnamed.iter().map(row).collect());
    }
}
