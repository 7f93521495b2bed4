//! `coracle-inspect manifest`: the two copies, the state that they make, and the edits that made it.

use std::rc::Rc;

use futures_lite::future::block_on;
use lsm::manifest::{CopySurvey, Edit, EditKind, GroupState, Seal, State, scan_blocks};
use lsm::version::{Change, LiveBlob, PlacedTable, Run};
use serde::Serialize;

use super::overview::members;
use crate::data_dir::DataDir;
use crate::error::InspectError;
use crate::finding::Finding;
use crate::report::Report;
use crate::row_key::hex;
use crate::store::Store;
use crate::text::{Page, bytes, count, time};

/// The manifests.
#[derive(Serialize)]
pub(crate) struct ManifestReport {
    stores: Vec<ManifestContent>,
}

#[derive(Serialize)]
struct ManifestContent {
    dir: String,
    store: Option<String>,
    copies: Vec<CopyContent>,
    /// The number below which files may have been written.
    numbers: Option<u64>,
    groups: Vec<GroupContent>,
    edits: Option<Vec<EditContent>>,
}

#[derive(Serialize)]
struct CopyContent {
    name: &'static str,
    is_chosen: bool,
    epoch: Option<u64>,
    blocks_count: Option<u64>,
    edits_count: Option<usize>,
    used_bytes: Option<u64>,
    bytes: Option<u64>,
    state: String,
}

#[derive(Serialize)]
struct GroupContent {
    group: u32,
    replica: u64,
    index: u64,
    term: u64,
    time_ms: u64,
    generation: u64,
    id_counter: u64,
    installed_index: u64,
    members: Option<String>,
    membership_hex: String,
    runs: Vec<RunContent>,
    blobs: Vec<BlobContent>,
}

#[derive(Serialize)]
struct RunContent {
    age: u64,
    level: u8,
    is_trimmed: bool,
    tables: Vec<TableContent>,
}

#[derive(Serialize)]
struct TableContent {
    table: String,
    file: u64,
    base: u64,
    bytes: u64,
    rows_count: u64,
}

#[derive(Serialize)]
struct BlobContent {
    id: String,
    file: u64,
    base: u64,
    bytes: u64,
    values_count: u64,
    value_bytes: u64,
    live_values_count: u64,
    live_bytes: u64,
}

#[derive(Serialize)]
struct EditContent {
    block: u64,
    offset: u64,
    kind: &'static str,
    group: Option<u32>,
    replica: Option<u64>,
    detail: String,
}

/// Looks at the manifests.
pub(crate) fn manifest(
    data: &DataDir,
    core: Option<u16>,
    with_edits: bool,
) -> Result<(ManifestReport, Vec<Finding>), InspectError> {
    let mut findings = Vec::new();
    let stores = super::open_stores(data, &mut findings)?;
    let wanted = stores.iter().filter(|store| core.is_none_or(|core| store.dir.core == Some(core)));
    let stores: Vec<_> = wanted.map(|store| content(store, with_edits)).collect();
    if stores.is_empty() {
        return Err(InspectError::Usage("there is no store".to_owned()));
    }
    Ok((ManifestReport { stores }, findings))
}

fn content(store: &Store, with_edits: bool) -> ManifestContent {
    let chosen = store.surveyed().map(|surveyed| surveyed.chosen);
    let copy_content = |(idx, survey): (usize, &CopySurvey)| {
        let copy = survey.copy.as_ref().ok().and_then(Option::as_ref);
        CopyContent {
            name: survey.name,
            is_chosen: Some(idx) == chosen,
            epoch: copy.map(|copy| copy.epoch),
            blocks_count: copy.map(|copy| copy.blocks),
            edits_count: copy.map(|copy| copy.edits.len()),
            used_bytes: copy.map(|copy| copy.end),
            bytes: copy.map(|copy| copy.len),
            state: match &survey.copy {
                Err(error) => error.to_string(),
                Ok(None) => "missing".to_owned(),
                Ok(Some(copy)) if !copy.is_complete() => "not whole".to_owned(),
                Ok(Some(copy)) if !copy.ends_clean => "sound up to its end, something else behind".to_owned(),
                Ok(Some(_)) => "sound".to_owned(),
            },
        }
    };
    ManifestContent {
        dir: store.dir.shown.clone(),
        store: store.surveyed().map(|surveyed| format!("{:016x}", surveyed.store)),
        copies: store.survey.copies.iter().enumerate().map(copy_content).collect(),
        numbers: store.state().map(State::numbers),
        groups: store.groups().map(|(group, state)| group_content(group.0, state)).collect(),
        edits: with_edits.then(|| chosen.map(|chosen| edits(store, chosen)).unwrap_or_default()),
    }
}

fn group_content(group: u32, state: &GroupState) -> GroupContent {
    let table_content = |table: &Rc<PlacedTable>| TableContent {
        table: table.info.id.to_string(),
        file: table.file.number(),
        base: table.base,
        bytes: table.info.len,
        rows_count: table.info.properties.rows,
    };
    let blob_content = |live: &LiveBlob| BlobContent {
        id: live.blob.info.id.to_string(),
        file: live.blob.file.number(),
        base: live.blob.base,
        bytes: live.blob.info.len,
        values_count: live.blob.info.values,
        value_bytes: live.blob.info.value_bytes,
        live_values_count: live.values,
        live_bytes: live.bytes,
    };
    let run_content = |run: &Rc<Run>| RunContent {
        age: run.age,
        level: run.level,
        is_trimmed: run.is_trimmed(),
        tables: run.tables().iter().map(table_content).collect(),
    };
    let seal = &state.seal;
    GroupContent {
        group,
        replica: state.replica.0,
        index: seal.index,
        term: seal.term,
        time_ms: seal.time_ms,
        generation: seal.generation,
        id_counter: seal.id_counter,
        installed_index: state.installed,
        members: members(&seal.membership),
        membership_hex: hex(&seal.membership),
        runs: state.version.runs().iter().map(run_content).collect(),
        blobs: state.version.blobs().map(blob_content).collect(),
    }
}

/// The edits of a copy, each with the block that holds it.
fn edits(store: &Store, chosen: usize) -> Vec<EditContent> {
    let Some(name) = store.survey.copies.get(chosen).map(|copy| copy.name) else { return Vec::new() };
    let read = block_on(store.files().read_named(name));
    let Ok(Some(bytes)) = read else { return Vec::new() };
    let mut contents = Vec::new();
    // It was read before without an error.
    let _ = scan_blocks(&bytes, |header, edits| {
        contents.extend(edits.iter().map(|edit| edit_content(header.seq, header.offset, edit)));
    });
    contents
}

fn edit_content(block: u64, offset: u64, edit: &Edit) -> EditContent {
    let of = |kind, detail| EditContent { block, offset, kind, group: None, replica: None, detail };
    match edit {
        Edit::Numbers(number) => of("numbers", format!("files below {number} may have been written")),
        Edit::Complete => of("complete", "the state at the beginning of the epoch ends here".to_owned()),
        Edit::Group { group, replica, kind } => {
            let (kind, detail) = match kind {
                EditKind::Group { seal, installed } => ("group", format!("{}; installed {installed}", of_seal(seal))),
                EditKind::Merge { change } => ("merge", of_change(change)),
                EditKind::Flush { seal, change } => ("flush", format!("{}; {}", of_seal(seal), of_change(change))),
                EditKind::Install { seal, change } => {
                    ("install", format!("{}; {}", of_seal(seal), of_change(change)))
                }
                EditKind::Drop => ("drop", "the group is gone".to_owned()),
                EditKind::NewGeneration { seal } => ("new generation", of_seal(seal)),
            };
            EditContent { group: Some(group.0), replica: Some(replica.0), ..of(kind, detail) }
        }
    }
}

fn of_seal(seal: &Seal) -> String {
    format!("up to {} of term {}, {}, generation {}", seal.index, seal.term, time(seal.time_ms), seal.generation)
}

fn of_change(change: &Change) -> String {
    let removed = change.removed.iter().map(|id| format!("-{}", id.file.number));
    let added = change.added.iter().flat_map(|run| {
        run.tables
            .iter()
            .map(|table| format!("+{}@{} (run {}, level {})", table.file, table.base, run.age, run.level))
    });
    let blobs = change.blobs.iter().map(|blob| format!("+blobs {}@{}", blob.file, blob.base));
    let parts: Vec<String> = removed.chain(added).chain(blobs).collect();
    if parts.is_empty() { "changes no file".to_owned() } else { parts.join(" ") }
}

impl Report for ManifestReport {
    const COMMAND: &'static str = "manifest";

    fn show(&self, page: &mut Page) {
        for store in &self.stores {
            store.show(page);
        }
    }
}

impl ManifestContent {
    fn show(&self, page: &mut Page) {
        page.heading(&format!("Store {} in {}", self.store.as_deref().unwrap_or("-"), self.dir));
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let row = |copy: &CopyContent| {
            vec![
                copy.name.to_owned(),
                if copy.is_chosen { "counts" } else { "" }.to_owned(),
                number(copy.epoch),
                number(copy.blocks_count),
                number(copy.edits_count.map(|count| count as u64)),
                copy.used_bytes.map_or("-".to_owned(), bytes),
                copy.bytes.map_or("-".to_owned(), bytes),
                copy.state.clone(),
            ]
        };
        let header = ["copy", "", ">epoch", ">blocks", ">edits", ">used", ">of", "state"];
        page.table(&header, self.copies.iter().map(row).collect());
        if let Some(numbers) = self.numbers {
            page.line(&format!("files with numbers below {numbers} may have been written"));
        }
        for group in &self.groups {
            group.show(page);
        }
        if let Some(edits) = &self.edits {
            page.heading("Edits");
            let row = |edit: &EditContent| {
                let group = edit.group.map_or("-".to_owned(), |group| group.to_string());
                vec![
                    edit.block.to_string(),
                    edit.offset.to_string(),
                    group,
                    edit.kind.to_owned(),
                    edit.detail.clone(),
                ]
            };
            page.listing(&[">block", ">offset", ">group", "kind", "what it says"], edits.iter().map(row).collect());
        }
    }
}

impl GroupContent {
    fn show(&self, page: &mut Page) {
        page.heading(&format!("Group {}, replica {}", self.group, self.replica));
        let (index, term, at) = (self.index, self.term, time(self.time_ms));
        page.line(&format!("sealed at {index} of term {term}, {at}, generation {}", self.generation));
        let members = self.members.clone();
        let unknown = || format!("{} that name none", count(self.membership_hex.len() as u64 / 2, "byte"));
        page.line(&format!("members {}", members.unwrap_or_else(unknown)));
        if self.installed_index > 0 {
            page.line(&format!("installed at {}", self.installed_index));
        }
        let rows = self.runs.iter().flat_map(|run| {
            run.tables.iter().map(move |table| {
                let numbers = [run.age, u64::from(run.level), table.file, table.base];
                let mut row: Vec<String> = numbers.iter().map(u64::to_string).collect();
                row.extend([bytes(table.bytes), table.rows_count.to_string(), table.table.clone()]);
                row
            })
        });
        page.table(&[">run", ">level", ">file", ">offset", ">bytes", ">rows", "table"], rows.collect());
        let row = |blob: &BlobContent| {
            let (values, live) = (blob.values_count.to_string(), blob.live_values_count.to_string());
            let (stored, live_bytes) = (bytes(blob.value_bytes), bytes(blob.live_bytes));
            let (file, base) = (blob.file.to_string(), blob.base.to_string());
            vec![file, base, bytes(blob.bytes), values, stored, live, live_bytes, blob.id.clone()]
        };
        let header = [">blobs in", ">offset", ">bytes", ">values", ">in bytes", ">live", ">in bytes", "id"];
        page.table(&header, self.blobs.iter().map(row).collect());
    }
}
