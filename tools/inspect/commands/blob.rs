//! `coracle-inspect blob`: the values of blob files.

use lsm::files::data_name;
use lsm::version::LiveBlob;
use serde::Serialize;
use types::GroupId;

use super::target::Target;
use crate::blob_walk::{BlobPlace, is_blob_file};
use crate::error::InspectError;
use crate::finding::Finding;
use crate::progress::Progress;
use crate::report::Report;
use crate::row_key::RowKey;
use crate::store::{Store, lost_rows};
use crate::text::{Page, bytes, percent};

/// The blob files in a file, or a list of all.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BlobReport {
    /// Of all stores, as the manifests say.
    List(Vec<BlobLine>),
    /// Those in one file.
    Files(Vec<BlobContent>),
}

/// A blob file as a manifest names it.
#[derive(Clone, Serialize)]
pub(crate) struct BlobLine {
    pub(crate) dir: String,
    pub(crate) file: u64,
    /// Of its first byte in that file.
    pub(crate) offset: u64,
    pub(crate) group: u32,
    pub(crate) bytes: u64,
    pub(crate) values_count: u64,
    pub(crate) value_bytes: u64,
    pub(crate) live_values_count: u64,
    pub(crate) live_bytes: u64,
}

/// A blob file.
#[derive(Serialize)]
pub(crate) struct BlobContent {
    file: String,
    offset: u64,
    id: Option<String>,
    bytes: u64,
    records_count: u64,
    value_bytes: u64,
    /// As the manifest says; absent if it does not name the file.
    named: Option<BlobLine>,
    records: Option<Vec<RecordContent>>,
    left_off_count: u64,
}

#[derive(Serialize)]
struct RecordContent {
    offset: u64,
    #[serde(flatten)]
    key: RowKey,
    value_bytes: u32,
}

/// The blob files that a manifest names.
pub(crate) fn lines(store: &Store) -> Vec<BlobLine> {
    let line = |(group, live): &(GroupId, LiveBlob)| BlobLine {
        dir: store.dir.shown.clone(),
        file: live.blob.file.number(),
        offset: live.blob.base,
        group: group.0,
        bytes: live.blob.info.len,
        values_count: live.blob.info.values,
        value_bytes: live.blob.info.value_bytes,
        live_values_count: live.values,
        live_bytes: live.bytes,
    };
    store.blobs().iter().map(line).collect()
}

/// Looks at blob files. With `limit` their records are listed too, so many at most of each.
pub(crate) fn blob(target: &Target, limit: Option<usize>) -> Result<(BlobReport, Vec<Finding>), InspectError> {
    let mut findings = Vec::new();
    let (store, number) = match target {
        Target::One(_, store, number) => (store, *number),
        Target::All(data) => {
            let stores = super::open_stores(data, &mut findings)?;
            return Ok((BlobReport::List(stores.iter().flat_map(lines).collect()), findings));
        }
    };
    let mut named = lines(store);
    named.retain(|line| line.file == number);
    if named.is_empty() && is_blob_file(store, number) == Some(false) && !store.placed_in_file(number).0.is_empty() {
        let text = format!("file {number} holds tables, not values: see `coracle-inspect table`");
        return Err(InspectError::Usage(text));
    }
    let mut contents = Vec::new();
    for line in &named {
        let place = BlobPlace { number, base: line.offset, len: line.bytes };
        contents.push(content(store, place, Some(line.clone()), limit, &mut findings)?);
    }
    if named.is_empty() {
        let place = BlobPlace { number, base: 0, len: store.data_bytes(number).unwrap_or(0) };
        contents.push(content(store, place, None, limit, &mut findings)?);
    }
    Ok((BlobReport::Files(contents), findings))
}

fn content(
    store: &Store,
    place: BlobPlace,
    named: Option<BlobLine>,
    limit: Option<usize>,
    findings: &mut Vec<Finding>,
) -> Result<BlobContent, InspectError> {
    let lost = |line: &BlobLine| lost_rows(GroupId(line.group));
    let meaning = named.as_ref().map_or("nothing names this file: no row is lost".to_owned(), lost);
    let mut content = BlobContent {
        file: store.shown(&data_name(place.number)),
        offset: place.base,
        id: None,
        bytes: place.len,
        records_count: 0,
        value_bytes: 0,
        named,
        records: limit.map(|_| Vec::new()),
        left_off_count: 0,
    };
    let walked = place.walk(store, &Progress::hidden(), |record| {
        let Some(records) = &mut content.records else { return };
        if limit.is_some_and(|limit| records.len() >= limit) {
            content.left_off_count += 1;
            return;
        }
        let key = RowKey::of(record.key);
        records.push(RecordContent { offset: record.offset, key, value_bytes: record.value_bytes });
    });
    match walked {
        Ok(walked) => {
            content.id = Some(walked.id.to_string());
            (content.records_count, content.value_bytes) = (walked.records_count, walked.value_bytes);
            for error in &walked.errors {
                findings.push(store.finding(error, &meaning)?);
            }
        }
        Err(error) => findings.push(store.finding(&error, &meaning)?),
    }
    Ok(content)
}

/// Blob files as a table.
pub(crate) fn show_lines(page: &mut Page, lines: &[BlobLine]) {
    let row = |line: &BlobLine| {
        vec![
            line.dir.clone(),
            line.file.to_string(),
            line.offset.to_string(),
            line.group.to_string(),
            bytes(line.bytes),
            line.values_count.to_string(),
            line.live_values_count.to_string(),
            bytes(line.live_bytes),
            percent(line.live_bytes, line.value_bytes).trim_end_matches(" %").to_owned(),
        ]
    };
    let header = ["store", ">file", ">offset", ">group", ">bytes", ">values", ">live", ">live bytes", ">%"];
    page.table(&header, lines.iter().map(row).collect());
}

impl Report for BlobReport {
    const COMMAND: &'static str = "blob";

    fn show(&self, page: &mut Page) {
        match self {
            BlobReport::List(lines) => {
                page.heading("Blob files");
                if lines.is_empty() {
                    page.line("none");
                }
                show_lines(page, lines);
            }
            BlobReport::Files(contents) => contents.iter().for_each(|content| content.show(page)),
        }
    }
}

impl BlobContent {
    fn show(&self, page: &mut Page) {
        let id = self.id.as_deref().unwrap_or("-");
        page.heading(&format!("Blob file {id} in {} at {}", self.file, self.offset));
        let (records, values) = (self.records_count, bytes(self.value_bytes));
        page.line(&format!("{}, {records} sound values of {values}", bytes(self.bytes)));
        match &self.named {
            Some(line) => {
                let live = percent(line.live_bytes, line.value_bytes);
                let (count, bytes) = (line.live_values_count, bytes(line.live_bytes));
                page.line(&format!("rows of group {} lead to {count} of them, {bytes} ({live})", line.group));
            }
            None => page.line("nothing names it"),
        }
        let Some(records) = &self.records else { return };
        page.heading("Records");
        let row = |record: &RecordContent| {
            let slot = record.key.slot.map_or("-".to_owned(), |slot| slot.to_string());
            let (offset, key) = (record.offset.to_string(), record.key.key.clone());
            vec![offset, record.value_bytes.to_string(), slot, record.key.kind.to_owned(), key]
        };
        page.listing(&[">offset", ">bytes", ">slot", "kind", "key"], records.iter().map(row).collect());
        if self.left_off_count > 0 {
            page.line(&format!("{} more; --limit lists more of them", self.left_off_count));
        }
    }
}
