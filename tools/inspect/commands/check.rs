//! `coracle-inspect check`: whether everything is sound.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use lsm::table::properties::Properties;
use lsm::table::{Content, StoredRow, Unit, Value};
use serde::Serialize;
use types::GroupId;

use super::fit::check_fit;
use crate::blob_walk::{BlobPlace, is_blob_file};
use crate::data_dir::DataDir;
use crate::error::InspectError;
use crate::finding::Finding;
use crate::progress::Progress;
use crate::report::{Report, is_sound};
use crate::store::{FileRole, Placed, Store, lost_rows};
use crate::table_scan::TableScan;
use crate::text::{Page, bytes, count};

/// What was checked.
#[derive(Default, Serialize)]
pub(crate) struct CheckReport {
    is_deep: bool,
    is_sound: bool,
    logs_count: usize,
    blocks_count: u64,
    records_count: u64,
    stores_count: usize,
    groups_count: usize,
    tables_count: usize,
    blob_files_count: usize,
    /// Read in a deep check.
    rows_count: u64,
    /// Read in a deep check.
    values_count: u64,
    /// Read in a deep check.
    bytes: u64,
}

/// Checks a data directory: what stands in it for the whole of it, or, if it is deep, every byte of tables and blobs.
pub(crate) fn check(data: &DataDir, is_deep: bool) -> Result<(CheckReport, Vec<Finding>), InspectError> {
    let (_, mut findings) = data.identity();
    let mut report = CheckReport { is_deep, ..CheckReport::default() };
    let logs = super::open_logs(data, &mut findings)?;
    for (_, log) in &logs {
        report.logs_count += 1;
        report.blocks_count += log.survey.as_ref().map_or(0, |survey| survey.blocks_count);
        report.records_count += log.survey.as_ref().map_or(0, |survey| survey.records_count);
    }
    let stores = super::open_stores(data, &mut findings)?;
    let all_bytes = || stores.iter().flat_map(|store| &store.entries).map(|entry| entry.bytes).sum();
    let progress = if is_deep { Progress::of_bytes(all_bytes()) } else { Progress::hidden() };
    for store in &stores {
        report.stores_count += 1;
        report.groups_count += store.groups().count();
        report.tables_count += store.placed().len();
        report.blob_files_count += store.blobs().len();
        match is_deep {
            true => DeepCheck { store, progress: &progress, report: &mut report, findings: &mut findings }.run()?,
            false => findings.append(&mut store.check_files()?),
        }
    }
    findings.append(&mut check_fit(&logs, &stores));
    report.is_sound = is_sound(&findings);
    Ok((report, findings))
}

/// Every byte of a store.
struct DeepCheck<'a> {
    store: &'a Store,
    progress: &'a Progress,
    report: &'a mut CheckReport,
    findings: &'a mut Vec<Finding>,
}

/// Blob files as rows lead to them: where they lie, and up to where they could be gone over.
type BlobFiles = BTreeMap<lsm::FileId, (BlobPlace, u64)>;

impl DeepCheck<'_> {
    fn run(mut self) -> Result<(), InspectError> {
        // What the quick check finds of lengths, footers and headers, and what it notes. All else is read here.
        self.findings.append(&mut self.store.check_files()?);
        for (group, state) in self.store.groups() {
            let mut blobs = BlobFiles::new();
            for live in state.version.blobs() {
                let (place, info) = (BlobPlace::of(&live.blob), live.blob.info);
                let end = self.blob_file(group, place, (info.values, info.value_bytes))?;
                blobs.insert(info.id, (place, end));
            }
            for run in state.version.runs() {
                for table in run.tables() {
                    let placed = Placed { owner: None, table: table.clone() };
                    self.table(group, &placed, &blobs)?;
                }
            }
        }
        self.unnamed()
    }

    /// Adds what an error tells, unless it stands there already.
    fn add(&mut self, error: &lsm::Error, meaning: &str) -> Result<(), InspectError> {
        let finding = self.store.finding(error, meaning)?;
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Goes over a blob file. Returns up to where that was possible.
    fn blob_file(&mut self, group: GroupId, place: BlobPlace, expected: (u64, u64)) -> Result<u64, InspectError> {
        let walked = match place.walk(self.store, self.progress, |_| {}) {
            Ok(walked) => walked,
            Err(error) => return self.add(&error, &lost_rows(group)).map(|()| 0),
        };
        self.report.values_count += walked.records_count;
        self.report.bytes += walked.end;
        for error in &walked.errors {
            self.add(error, &lost_rows(group))?;
        }
        if walked.errors.is_empty() && (walked.records_count, walked.value_bytes) != expected {
            let file = self.store.shown(&lsm::files::data_name(place.number));
            let (found, bytes) = (walked.records_count, walked.value_bytes);
            let what = format!(
                "it holds {found} values of {bytes} bytes, and the manifest says {} of {}",
                expected.0, expected.1
            );
            self.findings.push(Finding::damage(file, what, lost_rows(group)).at(place.base));
        }
        Ok(walked.end)
    }

    fn table(&mut self, group: GroupId, placed: &Placed, blobs: &BlobFiles) -> Result<(), InspectError> {
        let (store, table) = (self.store, &placed.table);
        let mut scan = TableScan::new(store, table, self.progress);
        let mut counted = Properties::default();
        let (mut lead_errors, mut first_bad) = (Vec::new(), None);
        scan.rows(&[], |unit, row| {
            count_row(&mut counted, &row);
            if let Content::Put(put) = row.content
                && let Value::Blob(blob) = put.value
            {
                match blobs.get(&blob.file) {
                    Some((place, end)) => lead_errors.extend(place.check_value(store, *end, blob, row.key).err()),
                    None => first_bad = first_bad.or(Some(unit)),
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(unit) = first_bad {
            scan.contradiction(unit, "a row leads to a blob file that the manifest does not name");
        }
        let properties = &table.info.properties;
        let expected = [properties.rows, properties.heads, properties.tombstones, properties.expiring];
        let found = [counted.rows, counted.heads, counted.tombstones, counted.expiring];
        if scan.errors.is_empty() && found != expected {
            scan.contradiction(table.info.top, "the table has other rows than the manifest says");
        }
        self.report.rows_count += counted.rows;
        self.report.bytes += table.info.len;
        let mut errors = std::mem::take(&mut scan.errors);
        errors.append(&mut lead_errors);
        errors.extend(self.check_properties(placed).err());
        for error in &errors {
            self.add(error, &lost_rows(group))?;
        }
        Ok(())
    }

    /// Checks that the properties unit says what the manifest does.
    fn check_properties(&self, placed: &Placed) -> Result<(), lsm::Error> {
        let (store, table) = (self.store, &placed.table);
        let number = table.file.number();
        let footer = store.footer(number, table.base, table.info.len)?;
        let offset = table.base.saturating_add(footer.properties.offset);
        let source = lsm::FormatError::Malformed("the properties are others than the manifest says");
        match store.unit(table, footer.properties)? {
            Unit::Properties(properties) if *properties == table.info.properties => Ok(()),
            _ => Err(store.files().damaged(number, offset, source)),
        }
    }

    /// Notes what is in files that nothing names. They may be incomplete: nothing that counts is in them.
    fn unnamed(&mut self) -> Result<(), InspectError> {
        for entry in &self.store.entries {
            let FileRole::Unnamed(number) = self.store.role(entry) else { continue };
            self.progress.advance(entry.bytes);
            let kind = match is_blob_file(self.store, number) {
                Some(true) => "values",
                Some(false) if !self.store.tables_in_file(number).0.is_empty() => "tables",
                _ => continue,
            };
            let file = self.store.shown(crate::store::name_of(&entry.path));
            let found = self.findings.iter_mut().find(|finding| finding.file == file && finding.offset.is_none());
            if let Some(finding) = found {
                finding.what = format!("nothing names this file of {kind}");
            }
        }
        Ok(())
    }
}

fn count_row(counted: &mut Properties, row: &StoredRow<'_>) {
    counted.rows += 1;
    match row.content {
        Content::Tombstone => counted.tombstones += 1,
        Content::Put(put) => {
            counted.heads += u64::from(lsm::table::stored_row::is_head(row.key));
            counted.expiring += u64::from(put.expiry_ms.is_some());
        }
    }
}

impl Report for CheckReport {
    const COMMAND: &'static str = "check";

    fn show(&self, page: &mut Page) {
        let CheckReport { logs_count, blocks_count, records_count, stores_count, .. } = self;
        let (logs, blocks) = (count(*logs_count as u64, "log"), count(*blocks_count, "block"));
        page.heading(if self.is_sound { "Everything that was checked is sound." } else { "Something is damaged." });
        page.line(&format!("{logs}: {blocks} and {}, all of them", count(*records_count, "record")));
        let (groups, tables) = (count(self.groups_count as u64, "group"), count(self.tables_count as u64, "table"));
        let (stores, files) =
            (count(*stores_count as u64, "store"), count(self.blob_files_count as u64, "blob file"));
        page.line(&format!("{stores}: {groups}, {tables}, {files}"));
        match self.is_deep {
            true => {
                let (rows, values) = (count(self.rows_count, "row"), count(self.values_count, "value"));
                page.line(&format!("every byte of them: {rows} and {values} in blob files, {}", bytes(self.bytes)));
            }
            false => page.line("of tables the footers and top units, of blob files the headers; --deep reads all"),
        }
    }
}
