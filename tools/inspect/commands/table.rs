//! `coracle-inspect table`: what a table is made of, and its rows.

use std::ops::ControlFlow;
use std::rc::Rc;

use lsm::table::properties::Properties;
use lsm::table::{Content, StoredRow, Value};
use lsm::version::PlacedTable;
use serde::Serialize;

use super::target::Target;
use crate::blob_walk::is_blob_file;
use crate::error::InspectError;
use crate::finding::Finding;
use crate::progress::Progress;
use crate::report::Report;
use crate::row_key::{RowKey, hex};
use crate::store::{Owner, Placed, Store};
use crate::table_scan::{TableScan, TableShape};
use crate::text::{Page, bytes, percent, time};

/// What of the tables is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableQuery {
    /// List rows whose row keys begin so.
    pub(crate) rows: Option<Vec<u8>>,
    /// Rows that are listed at most, of each table.
    pub(crate) limit: usize,
}

/// The tables of a file, or a list of all tables.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TableReport {
    /// Of all stores, in brief.
    List(Vec<TableLine>),
    /// Of one file.
    Tables(Vec<TableContent>),
}

/// A table in brief.
#[derive(Serialize)]
pub(crate) struct TableLine {
    dir: String,
    file: u64,
    offset: u64,
    bytes: u64,
    group: u32,
    run: u64,
    level: u8,
    rows_count: u64,
    tombstones_count: u64,
}

/// A table.
#[derive(Serialize)]
pub(crate) struct TableContent {
    file: String,
    table: String,
    offset: u64,
    bytes: u64,
    owner: Option<OwnerContent>,
    top_offset: u64,
    top_bytes: u32,
    says_nothing_before_hex: String,
    properties: PropertiesContent,
    units: TableShape,
    rows: Option<Vec<RowContent>>,
    left_off_count: u64,
}

#[derive(Serialize)]
struct OwnerContent {
    group: u32,
    run: u64,
    level: u8,
}

#[derive(Serialize)]
struct PropertiesContent {
    rows_count: u64,
    heads_count: u64,
    head_tombstones_count: u64,
    tombstones_count: u64,
    range_tombstones_count: u64,
    expiring_count: u64,
    expiry_ms_min: Option<u64>,
    expiry_ms_max: Option<u64>,
    merged_ms: u64,
    raw_bytes: u64,
    stored_bytes: u64,
    smallest: RowKey,
    smallest_hex: String,
    largest: RowKey,
    largest_hex: String,
    slots: Vec<SlotsContent>,
    blobs: Vec<BlobUseContent>,
}

#[derive(Serialize)]
struct SlotsContent {
    first: u16,
    last: u16,
    heads_count: u64,
    tombstones_count: u64,
}

#[derive(Serialize)]
struct BlobUseContent {
    blob_file: String,
    values_count: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct RowContent {
    #[serde(flatten)]
    key: RowKey,
    row_key_hex: String,
    /// Of the value, as the layer above numbers types; absent of a tombstone.
    value_type: Option<u8>,
    expiry_ms: Option<u64>,
    /// `tombstone`, `inline` or `blob`.
    content: &'static str,
    value_bytes: Option<u64>,
    blob: Option<String>,
    blob_offset: Option<u64>,
}

/// Looks at tables.
pub(crate) fn table(target: &Target, query: &TableQuery) -> Result<(TableReport, Vec<Finding>), InspectError> {
    let mut findings = Vec::new();
    let (store, number) = match target {
        Target::One(_, store, number) => (store, *number),
        Target::All(data) => {
            let stores = super::open_stores(data, &mut findings)?;
            return Ok((TableReport::List(stores.iter().flat_map(lines).collect()), findings));
        }
    };
    let (placed, error) = store.placed_in_file(number);
    if placed.is_empty() && (store.has_named_blobs(number) || is_blob_file(store, number) == Some(true)) {
        let text = format!("file {number} holds values, not tables: see `coracle-inspect blob`");
        return Err(InspectError::Usage(text));
    }
    let unnamed = "nothing names this file: no row is lost";
    if let Some(error) = error {
        findings.push(store.finding(&error, unnamed)?);
    }
    let mut tables = Vec::new();
    for placed in placed {
        let (content, errors) = content(store, &placed, query);
        tables.push(content);
        for error in errors {
            findings.push(store.finding(&error, &placed.meaning())?);
        }
    }
    Ok((TableReport::Tables(tables), findings))
}

fn lines(store: &Store) -> Vec<TableLine> {
    let line = |Placed { owner, table }: Placed| {
        let Owner { group, age, level } = owner?;
        Some(TableLine {
            dir: store.dir.shown.clone(),
            file: table.file.number(),
            offset: table.base,
            bytes: table.info.len,
            group: group.0,
            run: age,
            level,
            rows_count: table.info.properties.rows,
            tombstones_count: table.info.properties.tombstones,
        })
    };
    store.placed().into_iter().filter_map(line).collect()
}

fn content(store: &Store, placed: &Placed, query: &TableQuery) -> (TableContent, Vec<lsm::Error>) {
    let table = &placed.table;
    let hidden = Progress::hidden();
    let mut scan = TableScan::new(store, table, &hidden);
    let units = scan.shape();
    let mut errors = std::mem::take(&mut scan.errors);
    if let Err(error) = store.footer(table.file.number(), table.base, table.info.len) {
        errors.push(error);
    }
    let (rows, left_off_count) = match &query.rows {
        Some(prefix) => {
            let (rows, left_off_count) = rows(&mut scan, prefix, query.limit);
            // What was found bad for the shape is found again.
            if !scan.errors.is_empty() {
                errors = std::mem::take(&mut scan.errors);
            }
            (Some(rows), left_off_count)
        }
        None => (None, 0),
    };
    let owner = placed.owner.map(|Owner { group, age, level }| OwnerContent { group: group.0, run: age, level });
    let content = TableContent {
        file: store.shown(&lsm::files::data_name(table.file.number())),
        table: table.info.id.to_string(),
        offset: table.base,
        bytes: table.info.len,
        owner,
        top_offset: table.info.top.offset,
        top_bytes: table.info.top.len,
        says_nothing_before_hex: hex(&table.from),
        properties: properties_content(table),
        units,
        rows,
        left_off_count,
    };
    (content, errors)
}

fn properties_content(table: &Rc<PlacedTable>) -> PropertiesContent {
    let properties: &Properties = &table.info.properties;
    let slots_content = |count: &lsm::table::SlotCount| SlotsContent {
        first: count.first.number(),
        last: count.last.number(),
        heads_count: count.heads,
        tombstones_count: count.tombstones,
    };
    let blob_content = |of: &lsm::table::properties::BlobUse| BlobUseContent {
        blob_file: of.file.to_string(),
        values_count: of.values,
        bytes: of.bytes,
    };
    let if_any = |expiry| Some(expiry).filter(|_| properties.expiring > 0);
    PropertiesContent {
        rows_count: properties.rows,
        heads_count: properties.heads,
        head_tombstones_count: properties.head_tombstones,
        tombstones_count: properties.tombstones,
        range_tombstones_count: properties.range_tombstones,
        expiring_count: properties.expiring,
        expiry_ms_min: if_any(properties.expiry_ms_min),
        expiry_ms_max: if_any(properties.expiry_ms_max),
        merged_ms: properties.merged_ms,
        raw_bytes: properties.raw_bytes,
        stored_bytes: properties.stored_bytes,
        smallest: RowKey::of(&properties.smallest),
        smallest_hex: hex(&properties.smallest),
        largest: RowKey::of(&properties.largest),
        largest_hex: hex(&properties.largest),
        slots: properties.slots.iter().map(slots_content).collect(),
        blobs: properties.blobs.iter().map(blob_content).collect(),
    }
}

fn rows(scan: &mut TableScan<'_>, prefix: &[u8], limit: usize) -> (Vec<RowContent>, u64) {
    let (mut rows, mut left_off_count) = (Vec::new(), 0);
    scan.rows(prefix, |_, row| {
        if !row.key.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        if rows.len() < limit {
            rows.push(row_content(&row));
        } else {
            left_off_count += 1;
        }
        ControlFlow::Continue(())
    });
    (rows, left_off_count)
}

fn row_content(row: &StoredRow<'_>) -> RowContent {
    let mut content = RowContent {
        key: RowKey::of(row.key),
        row_key_hex: hex(row.key),
        value_type: None,
        expiry_ms: None,
        content: "tombstone",
        value_bytes: None,
        blob: None,
        blob_offset: None,
    };
    let Content::Put(put) = row.content else { return content };
    content.value_type = Some(put.value_type);
    content.expiry_ms = put.expiry_ms;
    match put.value {
        Value::Inline(value) => {
            content.content = "inline";
            content.value_bytes = Some(value.len() as u64);
        }
        Value::Blob(blob) => {
            content.content = "blob";
            content.value_bytes = Some(blob.len.into());
            content.blob = Some(blob.file.to_string());
            content.blob_offset = Some(blob.offset);
        }
    }
    content
}

impl Report for TableReport {
    const COMMAND: &'static str = "table";

    fn show(&self, page: &mut Page) {
        match self {
            TableReport::List(lines) => show_lines(page, lines),
            TableReport::Tables(tables) if tables.is_empty() => page.line("No table was found in this file."),
            TableReport::Tables(tables) => tables.iter().for_each(|table| table.show(page)),
        }
    }
}

fn show_lines(page: &mut Page, lines: &[TableLine]) {
    page.heading("Tables");
    if lines.is_empty() {
        page.line("none");
    }
    let row = |line: &TableLine| {
        let (group, run, level) = (line.group.to_string(), line.run.to_string(), line.level.to_string());
        let (file, offset, rows) = (line.file.to_string(), line.offset.to_string(), line.rows_count.to_string());
        vec![
            line.dir.clone(),
            file,
            offset,
            bytes(line.bytes),
            group,
            run,
            level,
            rows,
            line.tombstones_count.to_string(),
        ]
    };
    let header = ["store", ">file", ">offset", ">bytes", ">group", ">run", ">level", ">rows", ">tombstones"];
    page.table(&header, lines.iter().map(row).collect());
}

impl TableContent {
    fn show(&self, page: &mut Page) {
        page.heading(&format!("Table {} in {} at {}", self.table, self.file, self.offset));
        let properties = &self.properties;
        let owner = self.owner.as_ref().map_or("nothing names it".to_owned(), |owner| {
            format!("group {}, run {}, level {}", owner.group, owner.run, owner.level)
        });
        let expiry = |expiry: Option<u64>| expiry.map_or("-".to_owned(), time);
        let units = &self.units;
        let mut lines = Vec::new();
        let mut put = |name: &str, value: String| lines.push(vec![name.to_owned(), value]);
        put("belongs to", owner);
        put("length", format!("{} ({} bytes)", bytes(self.bytes), self.bytes));
        put("rows", properties.rows_count.to_string());
        put("heads", format!("{}, {} deleted", properties.heads_count, properties.head_tombstones_count));
        put(
            "tombstones",
            format!("{}, {} of ranges", properties.tombstones_count, properties.range_tombstones_count),
        );
        let range = format!("{} to {}", expiry(properties.expiry_ms_min), expiry(properties.expiry_ms_max));
        put("expiring", format!("{}, {range}", properties.expiring_count));
        put("merged", time(properties.merged_ms));
        let stored = format!(
            "{} ({})",
            bytes(properties.stored_bytes),
            percent(properties.stored_bytes, properties.raw_bytes)
        );
        put("bytes of rows", format!("{}, stored in {stored}", bytes(properties.raw_bytes)));
        put("first key", key_text(&properties.smallest));
        put("last key", key_text(&properties.largest));
        put("top unit", format!("{} at {}", bytes(self.top_bytes.into()), self.top_offset));
        let data = format!("{} in {}", units.data_units_count, bytes(units.data_bytes));
        put("units", format!("{} leaves, data {data}, filters {}", units.leaves_count, bytes(units.filter_bytes)));
        if !self.says_nothing_before_hex.is_empty() {
            put("says nothing before", self.says_nothing_before_hex.clone());
        }
        for blob in &properties.blobs {
            put("leads to blobs", format!("{}: {} values, {}", blob.blob_file, blob.values_count, bytes(blob.bytes)));
        }
        page.table(&["", ""], lines);
        self.show_rows(page);
    }

    fn show_rows(&self, page: &mut Page) {
        let Some(rows) = &self.rows else { return };
        page.heading("Rows");
        let row = |row: &RowContent| {
            let or_dash = |value: Option<String>| value.unwrap_or("-".to_owned());
            let blob = row.blob.as_ref().zip(row.blob_offset).map(|(blob, offset)| format!("{blob}+{offset}"));
            vec![
                or_dash(row.key.slot.map(|slot| slot.to_string())),
                row.key.kind.to_owned(),
                if row.key.hash.is_empty() { "-".to_owned() } else { row.key.hash.clone() },
                or_dash(row.value_type.map(|value_type| value_type.to_string())),
                or_dash(row.expiry_ms.map(time)),
                or_dash(row.value_bytes.map(|bytes| bytes.to_string())),
                blob.unwrap_or(row.content.to_owned()),
                row.key.key.clone(),
            ]
        };
        let header = [">slot", "kind", "hash", ">type", "expiry", ">bytes", "value", "key"];
        page.listing(&header, rows.iter().map(row).collect());
        if self.left_off_count > 0 {
            page.line(&format!("{} more; --limit lists more of them", self.left_off_count));
        }
    }
}

fn key_text(key: &RowKey) -> String {
    let slot = key.slot.map_or("-".to_owned(), |slot| slot.to_string());
    format!("slot {slot}, {}, {}", key.kind, key.key)
}
