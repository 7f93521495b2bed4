//! `coracle-inspect DATA_DIR`: what there is.

use serde::Serialize;
use types::GroupId;
use wal::Condition;
use wire::Membership;

use super::fit::check_fit;
use crate::data_dir::{CoreDir, DataDir, Identity};
use crate::error::InspectError;
use crate::finding::Finding;
use crate::log::{Log, end_of};
use crate::report::Report;
use crate::store::{FileRole, Store};
use crate::text::{Page, bytes, percent, second};
use lsm::manifest::{CopySurvey, GroupState};

/// What there is in a data directory.
#[derive(Serialize)]
pub(crate) struct Overview {
    identity: Identity,
    running: Option<String>,
    cores_count: usize,
    logs: Vec<LogFigures>,
    stores: Vec<StoreFigures>,
    groups: Vec<GroupFigures>,
}

#[derive(Serialize)]
struct LogFigures {
    dir: String,
    core: Option<u16>,
    segments_count: usize,
    prepared_count: usize,
    bytes: u64,
    used_bytes: u64,
    blocks_count: u64,
    groups_count: usize,
    quarantined_count: usize,
    end: Option<String>,
}

#[derive(Serialize)]
struct StoreFigures {
    dir: String,
    core: Option<u16>,
    store: Option<String>,
    epoch: Option<u64>,
    blocks_count: Option<u64>,
    copies: Vec<CopyFigures>,
    groups_count: usize,
    /// Absent if nobody knows what is named.
    unnamed_count: Option<u64>,
    unnamed_bytes: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct CopyFigures {
    name: &'static str,
    state: &'static str,
}

#[derive(Serialize)]
struct GroupFigures {
    dir: String,
    group: u32,
    replica: u64,
    index: u64,
    term: u64,
    time_ms: u64,
    generation: u64,
    members: Option<String>,
    runs_count: usize,
    tables_count: usize,
    table_bytes: u64,
    rows_count: u64,
    tombstones_count: u64,
    blob_files_count: usize,
    blob_bytes: u64,
    blob_live_bytes: u64,
}

/// Looks at a data directory.
pub(crate) fn overview(data: &DataDir) -> Result<(Overview, Vec<Finding>), InspectError> {
    let (identity, mut findings) = data.identity();
    let logs = super::open_logs(data, &mut findings)?;
    let stores = super::open_stores(data, &mut findings)?;
    for store in &stores {
        findings.append(&mut store.check_files()?);
    }
    findings.append(&mut check_fit(&logs, &stores));
    let groups = |store: &Store| {
        let of = |(group, state)| group_figures(store, group, state);
        store.groups().map(of).collect::<Vec<_>>()
    };
    let mut cores: Vec<_> = data.logs.iter().chain(&data.stores).filter_map(|dir| dir.core).collect();
    cores.sort_unstable();
    cores.dedup();
    let report = Overview {
        identity,
        running: data.running.clone(),
        cores_count: cores.len(),
        logs: logs.iter().map(|(dir, log)| log_figures(dir, log)).collect(),
        groups: stores.iter().flat_map(groups).collect(),
        stores: stores.iter().map(store_figures).collect(),
    };
    Ok((report, findings))
}

fn log_figures(dir: &CoreDir, log: &Log) -> LogFigures {
    let survey = log.survey.as_ref();
    let segments = survey.map(|survey| survey.segments.as_slice()).unwrap_or_default();
    let groups = || survey.into_iter().flat_map(|survey| survey.groups.values());
    LogFigures {
        dir: dir.shown.clone(),
        core: dir.core,
        segments_count: segments.len(),
        prepared_count: segments.iter().filter(|segment| segment.used_bytes == 0).count(),
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        used_bytes: segments.iter().map(|segment| segment.used_bytes).sum(),
        blocks_count: survey.map_or(0, |survey| survey.blocks_count),
        groups_count: groups().count(),
        quarantined_count: groups().filter(|group| group.group.condition != Condition::Sound).count(),
        end: survey.map(end_of),
    }
}

fn store_figures(store: &Store) -> StoreFigures {
    let chosen = store.surveyed().and_then(|surveyed| store.copy(surveyed.chosen));
    let state_of = |copy: &CopySurvey| match &copy.copy {
        Ok(None) => "missing",
        Ok(Some(found)) if found.is_complete() && found.ends_clean => {
            let is_last = chosen.is_none_or(|chosen| (found.epoch, found.blocks) == (chosen.epoch, chosen.blocks));
            if is_last { "sound" } else { "behind" }
        }
        _ => "damaged",
    };
    let is_unnamed = |role| matches!(role, FileRole::Unnamed(_));
    let unnamed = || store.entries.iter().filter(|entry| is_unnamed(store.role(entry)));
    StoreFigures {
        dir: store.dir.shown.clone(),
        core: store.dir.core,
        store: store.surveyed().map(|surveyed| format!("{:016x}", surveyed.store)),
        epoch: chosen.map(|copy| copy.epoch),
        blocks_count: chosen.map(|copy| copy.blocks),
        copies: store
            .survey
            .copies
            .iter()
            .map(|copy| CopyFigures { name: copy.name, state: state_of(copy) })
            .collect(),
        groups_count: store.groups().count(),
        unnamed_count: store.surveyed().map(|_| unnamed().count() as u64),
        unnamed_bytes: unnamed().map(|entry| entry.bytes).sum(),
        bytes: store.entries.iter().map(|entry| entry.bytes).sum(),
    }
}

fn group_figures(store: &Store, group: GroupId, state: &GroupState) -> GroupFigures {
    let version = &state.version;
    let sum = |of: fn(&lsm::table::properties::Properties) -> u64| {
        version.tables().fold(0_u64, |sum, table| sum.saturating_add(of(&table.info.properties)))
    };
    GroupFigures {
        dir: store.dir.shown.clone(),
        group: group.0,
        replica: state.replica.0,
        index: state.seal.index,
        term: state.seal.term,
        time_ms: state.seal.time_ms,
        generation: state.seal.generation,
        members: members(&state.seal.membership),
        runs_count: version.runs().len(),
        tables_count: version.tables().count(),
        table_bytes: version.tables().fold(0, |sum, table| sum.saturating_add(table.info.len)),
        rows_count: sum(|properties| properties.rows),
        tombstones_count: sum(|properties| properties.tombstones),
        blob_files_count: version.blobs().count(),
        blob_bytes: version.blobs().fold(0, |sum, live| sum.saturating_add(live.blob.info.value_bytes)),
        blob_live_bytes: version.blobs().fold(0, |sum, live| sum.saturating_add(live.bytes)),
    }
}

/// Who takes part in a group, for example `1@1/0 2@2/0`; `None` if the bytes do not say it.
pub(crate) fn members(membership: &[u8]) -> Option<String> {
    let membership = Membership::decode(membership).ok()?;
    let all = membership.voters.iter().chain(&membership.learners);
    Some(all.map(|member| format!("{}@{}", member.id, member.place)).collect::<Vec<_>>().join(" "))
}

impl Report for Overview {
    const COMMAND: &'static str = "overview";

    fn show(&self, page: &mut Page) {
        page.heading("Node");
        let Identity { node_id, name, cluster_id, incarnation, stage, known_peers_count } = &self.identity;
        let mut lines = Vec::new();
        let mut put = |name: &str, value: Option<String>| {
            lines.extend(value.map(|value| vec![name.to_owned(), value]));
        };
        put("node", node_id.map(|id| id.to_string()));
        put("cluster name", name.clone());
        put("cluster id", cluster_id.clone());
        put("incarnation", incarnation.clone());
        put("stage", stage.clone());
        put("known peers", known_peers_count.map(|count| count.to_string()));
        put("cores", Some(self.cores_count.to_string()));
        put("running", self.running.as_ref().map(|holder| format!("process {holder}: figures may be torn")));
        page.table(&["", ""], lines);
        self.show_logs(page);
        self.show_stores(page);
    }
}

impl Overview {
    fn show_logs(&self, page: &mut Page) {
        page.heading("Logs");
        if self.logs.is_empty() {
            page.line("none");
        }
        let row = |log: &LogFigures| {
            let groups = match log.quarantined_count {
                0 => log.groups_count.to_string(),
                count => format!("{} ({count} quarantined)", log.groups_count),
            };
            vec![
                log.dir.clone(),
                log.segments_count.to_string(),
                log.prepared_count.to_string(),
                bytes(log.used_bytes),
                bytes(log.bytes.saturating_sub(log.used_bytes)),
                log.blocks_count.to_string(),
                groups,
            ]
        };
        let header = ["log", ">segments", ">prepared", ">used", ">free", ">blocks", ">groups"];
        page.table(&header, self.logs.iter().map(row).collect());
        for log in &self.logs {
            if let Some(end) = &log.end {
                page.line(&format!("{} ends at {end}", log.dir));
            }
        }
    }

    fn show_stores(&self, page: &mut Page) {
        if self.stores.is_empty() {
            return;
        }
        page.heading("Stores");
        let or_dash = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let row = |store: &StoreFigures| {
            let [a, b] = [0, 1].map(|idx| store.copies.get(idx).map_or("missing", |copy| copy.state).to_owned());
            let unnamed = match store.unnamed_count {
                None | Some(0) => or_dash(store.unnamed_count),
                Some(count) => format!("{count} ({})", bytes(store.unnamed_bytes)),
            };
            let (epoch, blocks) = (or_dash(store.epoch), or_dash(store.blocks_count));
            vec![store.dir.clone(), epoch, blocks, a, b, store.groups_count.to_string(), unnamed, bytes(store.bytes)]
        };
        let header = ["store", ">epoch", ">blocks", "copy a", "copy b", ">groups", ">unnamed", ">bytes"];
        page.table(&header, self.stores.iter().map(row).collect());
        if self.groups.is_empty() {
            return;
        }
        page.heading("Groups: where their state is sealed, and what it consists of");
        let row = |group: &GroupFigures| {
            vec![
                group.group.to_string(),
                format!("{}/{}", group.index, group.term),
                second(group.time_ms),
                group.runs_count.to_string(),
                format!("{} {}", group.tables_count, bytes(group.table_bytes)),
                format!("{} {}", group.blob_files_count, bytes(group.blob_bytes)),
                percent(group.blob_live_bytes, group.blob_bytes),
            ]
        };
        let header = [">group", ">index/term", "time", ">runs", ">tables", ">blobs", ">live"];
        page.table(&header, self.groups.iter().map(row).collect());
    }
}
