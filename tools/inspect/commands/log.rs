//! `coracle-inspect log`: segments, blocks and records of the logs.

use std::collections::BTreeMap;

use serde::Serialize;
use types::{GroupId, ReplicaId};
use wal::format::{BlockHeader, HEADER_BYTES};
use wal::record::{self, Body, GroupState, LogPosition, Record};
use wal::{Condition, Survey};
use wire::{EntryKind, HardState};

use crate::data_dir::{CoreDir, DataDir};
use crate::error::InspectError;
use crate::finding::Finding;
use crate::log::{Log, end_of};
use crate::report::Report;
use crate::text::{Page, bytes, count};

/// What of the logs is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogQuery {
    pub(crate) core: Option<u16>,
    pub(crate) segment: Option<u64>,
    pub(crate) group: Option<u32>,
    /// List records too.
    pub(crate) records: bool,
    /// Blocks and records that are listed at most, of each log.
    pub(crate) limit: usize,
}

/// The logs.
#[derive(Serialize)]
pub(crate) struct LogReport {
    logs: Vec<LogContent>,
}

#[derive(Serialize)]
struct LogContent {
    dir: String,
    core: Option<u16>,
    log_id: Option<String>,
    blocks_count: u64,
    records_count: u64,
    last_seq: u64,
    end_segment: u64,
    end_offset: u64,
    end: String,
    segments: Vec<SegmentContent>,
    groups: Vec<GroupContent>,
    destroyed: Vec<DestroyedReplica>,
    blocks: Option<Vec<BlockContent>>,
    records: Option<Vec<RecordContent>>,
    left_off_count: u64,
}

#[derive(Serialize)]
struct SegmentContent {
    segment: u64,
    state: &'static str,
    bytes: u64,
    used_bytes: u64,
    blocks_count: u64,
    live_records_count: u64,
    groups: Vec<SegmentGroup>,
}

/// What a segment holds of a group, counting or not.
#[derive(Clone, Copy, Default, Serialize)]
struct SegmentGroup {
    group: u32,
    records_count: u64,
    bytes: u64,
    entries_count: u64,
    first_index: Option<u64>,
    last_index: Option<u64>,
}

#[derive(Serialize)]
struct GroupContent {
    group: u32,
    /// Absent if the log has lost what told of it.
    replica: Option<u64>,
    term: u64,
    vote: Option<u64>,
    commit: u64,
    start_index: u64,
    first_index: Option<u64>,
    last_index: u64,
    oldest_segment: Option<u64>,
    live_bytes: u64,
    quarantined: Option<String>,
}

/// The last replica of a group that was destroyed here, where none lives any more.
#[derive(Serialize)]
struct DestroyedReplica {
    group: u32,
    replica: u64,
}

#[derive(Serialize)]
struct BlockContent {
    segment: u64,
    offset: u64,
    seq: u64,
    bytes: u64,
    records_count: u64,
    groups: Vec<u32>,
}

#[derive(Serialize)]
struct RecordContent {
    segment: u64,
    offset: u64,
    seq: u64,
    /// Absent of what is said of all groups.
    group: Option<u32>,
    bytes: u64,
    kind: &'static str,
    detail: String,
}

/// What is noted of blocks as they are read.
struct Collector {
    query: LogQuery,
    segments: BTreeMap<u64, BTreeMap<GroupId, SegmentGroup>>,
    blocks: Vec<BlockContent>,
    records: Vec<RecordContent>,
    left_off_count: u64,
}

impl Collector {
    fn block(&mut self, header: &BlockHeader, records: &[u8]) {
        if self.query.segment.is_some_and(|segment| segment != header.segment) {
            return;
        }
        let (mut groups, mut records_count, mut rest) = (Vec::new(), 0, records);
        let mut place =
            LogPosition { segment: header.segment, offset: u64::from(header.offset) + HEADER_BYTES as u64 };
        while !rest.is_empty() {
            // What cannot be read the walk has found too.
            let Ok(record) = record::decode(rest, place) else { break };
            let group = group_of(&record);
            if self.query.group.is_none_or(|wanted| group == Some(wanted)) {
                records_count += 1;
                groups.extend(group);
                self.record(header.seq, place, &record);
            }
            rest = rest.get(record.len..).unwrap_or_default();
            place.offset += record.len as u64;
        }
        groups.sort_unstable();
        groups.dedup();
        let is_wanted = self.query.group.is_none() || records_count > 0;
        if is_wanted && self.query.segment.is_some() {
            if self.blocks.len() < self.query.limit {
                let (segment, offset) = (header.segment, u64::from(header.offset));
                let bytes = header.block_bytes() as u64;
                self.blocks.push(BlockContent { segment, offset, seq: header.seq, bytes, records_count, groups });
            } else {
                self.left_off_count += 1;
            }
        }
    }

    fn record(&mut self, seq: u64, place: LogPosition, record: &Record<'_>) {
        if let Some(group) = group_of(record) {
            let of_segment = self.segments.entry(place.segment).or_default();
            of_segment.entry(record.group).or_default().add(group, record);
        }
        if !self.query.records {
            return;
        }
        if self.records.len() >= self.query.limit {
            self.left_off_count += 1;
            return;
        }
        let (kind, detail) = describe(&record.body);
        let LogPosition { segment, offset } = place;
        let (group, bytes) = (group_of(record), record.len as u64);
        self.records.push(RecordContent { segment, offset, seq, group, bytes, kind, detail });
    }
}

impl SegmentGroup {
    fn add(&mut self, group: u32, record: &Record<'_>) {
        self.group = group;
        self.records_count += 1;
        self.bytes += record.len as u64;
        if let Body::Entries(entries) = &record.body {
            self.entries_count += u64::from(entries.count);
            self.first_index = Some(self.first_index.map_or(entries.first, |first| first.min(entries.first)));
            self.last_index = self.last_index.max(Some(entries.last()));
        }
    }
}

/// The group of a record; `None` of what is said of all groups.
fn group_of(record: &Record<'_>) -> Option<u32> {
    match record.body {
        Body::Opening { .. } | Body::RollCall(_) => None,
        _ => Some(record.group.0),
    }
}

/// The kind of a record, and what it says.
fn describe(body: &Body<'_>) -> (&'static str, String) {
    match body {
        Body::Entries(entries) => {
            let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
            for (kind, _) in entries.iter() {
                *kinds.entry(kind_name(kind)).or_default() += 1;
            }
            let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let payload = bytes(entries.payloads().len() as u64);
            let range = format!("{}..={}", entries.first, entries.last());
            ("entries", format!("{range} of term {}: {}, {payload}", entries.term, kinds.join(", ")))
        }
        Body::HardState(state) => ("hard state", hard_state(state)),
        Body::Truncation { from } => ("truncation", format!("removes {from} and all behind it")),
        Body::Compaction { index, term } => ("compaction", format!("removes all up to {index}, of term {term}")),
        Body::GroupState(GroupState { replica, hard_state: state, start, last }) => {
            let range =
                format!("starts behind {} of term {}, ends with {} of term {}", start.0, start.1, last.0, last.1);
            ("group state", format!("replica {replica}; {}; {range}", hard_state(state)))
        }
        Body::Beginning { replica } => ("beginning", format!("of replica {replica}; nothing before it holds")),
        Body::Destroyed { replica } => ("destroyed", format!("replica {replica}; nothing before it holds")),
        Body::Quarantine { replica: ReplicaId(0), fault } => ("quarantine", fault.to_string()),
        Body::Quarantine { replica, fault } => ("quarantine", format!("replica {replica}; {fault}")),
        Body::Opening { groups } => ("opening", format!("of a segment, with {}", count(*groups, "group"))),
        Body::RollCall(call) => ("roll call", format!("of {}", count(call.iter().count() as u64, "group"))),
    }
}

fn hard_state(state: &HardState) -> String {
    let vote = state.vote.map_or("no vote".to_owned(), |vote| format!("vote for {vote}"));
    format!("term {}, {vote}, commit {}", state.term, state.commit)
}

fn kind_name(kind: u8) -> &'static str {
    match EntryKind::from_u8(kind) {
        Some(EntryKind::Empty) => "empty",
        Some(EntryKind::Batch) => "batch",
        Some(EntryKind::ClusterMap) => "cluster map",
        Some(EntryKind::Membership) => "membership",
        Some(EntryKind::Compare) => "compare",
        Some(EntryKind::MapChange) => "map change",
        None => "unknown",
    }
}

/// Looks at the logs.
pub(crate) fn log(data: &DataDir, query: LogQuery) -> Result<(LogReport, Vec<Finding>), InspectError> {
    let (mut logs, mut findings) = (Vec::new(), Vec::new());
    for dir in data.logs.iter().filter(|dir| query.core.is_none_or(|core| dir.core == Some(core))) {
        let (segments, blocks, records) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut collector = Collector { query, segments, blocks, records, left_off_count: 0 };
        let mut log = Log::open(data, dir, |header, records| collector.block(header, records))?;
        findings.append(&mut log.findings);
        logs.extend(log.survey.as_ref().map(|survey| content(dir, survey, collector)));
    }
    if let Some(core) = query.core.filter(|_| logs.is_empty() && findings.is_empty()) {
        return Err(InspectError::Usage(format!("there is no log of core {core}")));
    }
    Ok((LogReport { logs }, findings))
}

fn content(dir: &CoreDir, survey: &Survey, mut collector: Collector) -> LogContent {
    let query = collector.query;
    let segments = survey.segments.iter().filter(|segment| query.segment.is_none_or(|wanted| wanted == segment.id));
    let segment_content = |segment: &wal::SegmentSurvey| SegmentContent {
        segment: segment.id,
        state: match (segment.used_bytes, segment.live_records_count, segment.is_evidence) {
            (0, ..) => "prepared",
            (.., true) => "evidence",
            (_, 0, _) if segment.id < survey.end.segment => "free to go",
            _ => "in use",
        },
        bytes: segment.bytes,
        used_bytes: segment.used_bytes,
        blocks_count: segment.blocks_count,
        live_records_count: segment.live_records_count,
        groups: collector.segments.remove(&segment.id).unwrap_or_default().into_values().collect(),
    };
    let segments = segments.map(segment_content).collect();
    let is_wanted = |group: &GroupId| query.group.is_none_or(|wanted| wanted == group.0);
    let groups = survey.groups.iter().filter(|(group, _)| is_wanted(group));
    let destroyed = survey.destroyed.iter().filter(|(group, _)| is_wanted(group));
    LogContent {
        dir: dir.shown.clone(),
        core: dir.core,
        log_id: survey.log_id.map(|id| format!("{id:016x}")),
        blocks_count: survey.blocks_count,
        records_count: survey.records_count,
        last_seq: survey.last_seq,
        end_segment: survey.end.segment,
        end_offset: survey.end.offset,
        end: end_of(survey),
        segments,
        groups: groups.map(|(group, survey)| group_content(*group, survey)).collect(),
        destroyed: destroyed
            .map(|(group, replica)| DestroyedReplica { group: group.0, replica: replica.0 })
            .collect(),
        blocks: query.segment.map(|_| collector.blocks),
        records: query.records.then_some(collector.records),
        left_off_count: collector.left_off_count,
    }
}

fn group_content(group: GroupId, survey: &wal::GroupSurvey) -> GroupContent {
    let found = &survey.group;
    GroupContent {
        group: group.0,
        replica: Some(found.replica.0).filter(|replica| *replica > 0),
        term: found.hard_state.term,
        vote: found.hard_state.vote.map(|vote| vote.0),
        commit: found.hard_state.commit,
        start_index: found.start_index,
        first_index: Some(found.first_index()).filter(|first| *first > 0),
        last_index: found.last_index,
        oldest_segment: survey.pieces.first().map(|piece| piece.segment),
        live_bytes: survey.pieces.iter().map(|piece| piece.bytes).sum(),
        quarantined: match &found.condition {
            Condition::Quarantined(fault) => Some(fault.to_string()),
            Condition::Sound => None,
        },
    }
}

/// A range of indices, `-` if there is none.
fn range(first: Option<u64>, last: Option<u64>) -> String {
    match (first, last) {
        (Some(first), Some(last)) => format!("{first}..={last}"),
        _ => "-".to_owned(),
    }
}

impl Report for LogReport {
    const COMMAND: &'static str = "log";

    fn show(&self, page: &mut Page) {
        if self.logs.is_empty() {
            page.line("There is no log.");
        }
        for log in &self.logs {
            log.show(page);
        }
    }
}

impl LogContent {
    fn show(&self, page: &mut Page) {
        page.heading(&format!("Log {}", self.dir));
        page.line(&format!("{}, {}", count(self.blocks_count, "block"), count(self.records_count, "record")));
        page.line(&format!("ends at {}", self.end));
        page.heading("Segments, and what stands in them, counting or not");
        page.table(
            &[">segment", "state", ">used", ">blocks", ">group", ">records", ">bytes", "entries"],
            self.segments.iter().flat_map(segment_rows).collect(),
        );
        page.heading("Groups, and what counts of them");
        let row = |group: &GroupContent| {
            vec![
                group.group.to_string(),
                group.replica.map_or("-".to_owned(), |replica| replica.to_string()),
                group.term.to_string(),
                group.vote.map_or("-".to_owned(), |vote| vote.to_string()),
                group.commit.to_string(),
                range(group.first_index, Some(group.last_index)),
                group.oldest_segment.map_or("-".to_owned(), |segment| segment.to_string()),
                bytes(group.live_bytes),
                if group.quarantined.is_some() { "quarantined" } else { "sound" }.to_owned(),
            ]
        };
        let header = [">group", ">replica", ">term", ">vote", ">commit", "entries", ">oldest", ">bytes", "condition"];
        page.table(&header, self.groups.iter().map(row).collect());
        if !self.destroyed.is_empty() {
            page.heading("Groups whose replica here was destroyed");
            let row = |gone: &DestroyedReplica| vec![gone.group.to_string(), gone.replica.to_string()];
            page.table(&[">group", ">replica"], self.destroyed.iter().map(row).collect());
        }
        self.show_lists(page);
    }

    fn show_lists(&self, page: &mut Page) {
        if let Some(blocks) = &self.blocks {
            page.heading("Blocks");
            let row = |block: &BlockContent| {
                let groups: Vec<String> = block.groups.iter().map(u32::to_string).collect();
                let numbers = [block.offset, block.seq, block.bytes, block.records_count];
                let mut row: Vec<String> = numbers.iter().map(u64::to_string).collect();
                row.push(groups.join(" "));
                row
            };
            page.listing(&[">offset", ">block", ">bytes", ">records", "groups"], blocks.iter().map(row).collect());
        }
        if let Some(records) = &self.records {
            page.heading("Records");
            let row = |record: &RecordContent| {
                let mut row: Vec<String> =
                    [record.segment, record.offset, record.seq].iter().map(u64::to_string).collect();
                row.push(record.group.map_or("-".to_owned(), |group| group.to_string()));
                row.extend([record.bytes.to_string(), record.kind.to_owned(), record.detail.clone()]);
                row
            };
            let header = [">segment", ">offset", ">block", ">group", ">bytes", "kind", "what it says"];
            page.listing(&header, records.iter().map(row).collect());
        }
        if self.left_off_count > 0 {
            page.line(&format!("{} more; --limit lists more of them", self.left_off_count));
        }
    }
}

fn segment_rows(segment: &SegmentContent) -> Vec<Vec<String>> {
    let head = || {
        let used = bytes(segment.used_bytes);
        vec![segment.segment.to_string(), segment.state.to_owned(), used, segment.blocks_count.to_string()]
    };
    let of_group = |group: &SegmentGroup| {
        let name = group.group.to_string();
        let entries = range(group.first_index, group.last_index);
        vec![name, group.records_count.to_string(), bytes(group.bytes), entries]
    };
    if segment.groups.is_empty() {
        return vec![[head(), vec![String::new(); 4]].concat()];
    }
    let rows = segment.groups.iter().enumerate().map(|(idx, group)| {
        let head = if idx == 0 { head() } else { vec![String::new(); 4] };
        [head, of_group(group)].concat()
    });
    rows.collect()
}
