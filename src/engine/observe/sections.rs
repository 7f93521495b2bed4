//! What each section of INFO shows.
//!
//! Fields that Redis has bear its names and units, for the tools that read them; what only Coracle has stands in the
//! sections `Coracle` and `Groups`.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use crate::budget::Pool;
use crate::config::{Config, ProcessStats};
use crate::observe::report::CoreReport;
use crate::observe::stages::{Size, Stage};

/// What INFO is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InfoScope {
    /// The core that a client has connected to by the core's own port.
    Core,
    /// The node: the client has come by the gateway.
    Node,
}

/// What INFO tells of.
pub(crate) struct Info<'a> {
    pub(crate) scope: InfoScope,
    pub(crate) config: &'a Config,
    /// Of the core, or of all cores of the node together.
    pub(crate) report: &'a CoreReport,
    /// The wall clock, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// What the operating system tells of the process, asked once per INFO.
    pub(crate) process: Option<ProcessStats>,
}

/// The text of an INFO reply.
#[derive(Default)]
pub(crate) struct InfoText(String);

impl InfoText {
    /// Begins a section.
    pub(crate) fn title(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        let _ = write!(self.0, "{gap}# {title}\r\n");
    }

    /// Adds a line.
    pub(crate) fn field(&mut self, name: impl Display, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Adds a number of bytes, and once more for people.
    pub(crate) fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(format_args!("{name}_human"), human(bytes));
    }

    /// The text.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

pub(crate) fn server(info: &Info<'_>, text: &mut InfoText) {
    let (config, place) = (info.config, info.config.place);
    let port = match info.scope {
        InfoScope::Core => config.node().core_addr(place.core).port(),
        InfoScope::Node => config.node().gateway_port,
    };
    let uptime_s = info.report.uptime.as_secs();
    text.field("redis_version", resp::REDIS_VERSION_COMPATIBLE);
    text.field("server_name", "coracle");
    text.field("coracle_version", config.version);
    text.field("redis_mode", "cluster");
    text.field("os", "Linux");
    text.field("arch_bits", usize::BITS);
    text.field("process_id", std::process::id());
    text.field("run_id", config.map.id40(place).as_str());
    text.field("tcp_port", port);
    text.field("server_time_usec", info.unix_ms * 1_000);
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / (24 * 60 * 60));
    text.field("node_id", place.node);
    match info.scope {
        InfoScope::Core => text.field("core", place.core),
        InfoScope::Node => text.field("cores", info.report.cores_count),
    }
}

pub(crate) fn clients(info: &Info<'_>, text: &mut InfoText) {
    let report = info.report;
    text.field("connected_clients", report.clients_count);
    text.field("maxclients", info.config.clients_count_max * report.cores_count.max(1));
    // To other nodes: Redis's nodes have them to each other, too.
    text.field("cluster_connections", report.links_up_count);
    text.field("blocked_clients", report.clients_blocked_count);
}

pub(crate) fn memory(info: &Info<'_>, text: &mut InfoText) {
    let memory = &info.report.memory;
    let (used, peak) = (memory.used as u64, memory.peak as u64);
    let of = |pools: &[Pool]| pools.iter().map(|pool| memory.pools[*pool as usize] as u64).sum::<u64>();
    let keys = of(&[Pool::Keys]);
    text.bytes("used_memory", used);
    text.bytes("used_memory_peak", peak);
    text.field("used_memory_peak_perc", percent(used, peak));
    if let Some(process) = info.process {
        // Of the whole process, also on the port of one core.
        text.bytes("used_memory_rss", process.rss_bytes);
        text.field("used_memory_rss_peak", process.rss_peak_bytes);
        if info.scope == InfoScope::Node && used > 0 {
            text.field("mem_fragmentation_ratio", format_args!("{:.2}", process.rss_bytes as f64 / used as f64));
            text.field("mem_fragmentation_bytes", process.rss_bytes as i64 - used as i64);
        }
        text.bytes("total_system_memory", process.system_memory_bytes);
    }
    text.field("used_memory_startup", of(&[Pool::Fixed]));
    text.field("used_memory_overhead", used - keys);
    text.field("used_memory_dataset", keys);
    text.field("used_memory_dataset_perc", percent(keys, used));
    for (pool, bytes) in Pool::ALL.iter().zip(memory.pools) {
        text.field(format_args!("used_memory_{}", pool.name()), bytes);
    }
    // The same again under the names that Redis has for it.
    text.field("mem_clients_normal", of(&[Pool::ClientInput, Pool::ClientOutput]));
    text.field("mem_cluster_links", of(&[Pool::Links]));
    text.field("mem_aof_buffer", of(&[Pool::Log]));
    text.bytes("maxmemory", memory.bytes_max as u64);
    text.field("maxmemory_policy", "noeviction");
}

pub(crate) fn persistence(info: &Info<'_>, text: &mut InfoText) {
    // A node that answers has all keys, in memory or not, and every write is in a log. One whose log fails ends.
    let value = |name| info.report.fields.iter().find(|field| field.name == name).map_or(0, |field| field.value);
    text.field("loading", 0);
    text.field("async_loading", u8::from(value("groups_to_warm") > 0));
    text.field("aof_enabled", 1);
    text.field("aof_last_write_status", "ok");
    for (name, of_redis) in [("log_bytes", "aof_current_size"), ("log_pending_bytes", "aof_buffer_length")] {
        text.field(of_redis, value(name));
    }
}

pub(crate) fn stats(info: &Info<'_>, text: &mut InfoText) {
    let (counters, rate) = (&info.report.counters, &info.report.rate);
    text.field("total_connections_received", counters.connections_received);
    text.field("total_commands_processed", counters.commands_processed);
    text.field("instantaneous_ops_per_sec", rate.commands);
    text.field("total_net_input_bytes", counters.client_bytes_received);
    text.field("total_net_output_bytes", counters.client_bytes_sent);
    text.field("instantaneous_input_kbps", kilobytes(rate.bytes_received));
    text.field("instantaneous_output_kbps", kilobytes(rate.bytes_sent));
    text.field("rejected_connections", info.report.connections_rejected_count);
    text.field("expired_keys", counters.expired_keys);
    text.field("evicted_keys", 0);
    text.field("evicted_clients", counters.clients_evicted);
    text.field("keyspace_hits", counters.keyspace_hits);
    text.field("keyspace_misses", counters.keyspace_misses);
    text.field("total_error_replies", counters.error_replies);
    text.field("stalled_clients_closed", counters.clients_stalled);
}

pub(crate) fn replication(info: &Info<'_>, text: &mut InfoText) {
    // Every core leads some groups and follows in others; Redis's clients know masters with slaves or without.
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", info.config.map.id40(info.config.place).as_str());
    text.field("master_repl_offset", info.report.commit_index_sum);
}

pub(crate) fn cpu(info: &Info<'_>, text: &mut InfoText) {
    let Some(process) = info.process else { return };
    let (sys, user) = match info.scope {
        InfoScope::Core => (process.thread_cpu_sys, process.thread_cpu_user),
        InfoScope::Node => (process.cpu_sys, process.cpu_user),
    };
    text.field("used_cpu_sys", seconds(sys));
    text.field("used_cpu_user", seconds(user));
    text.field("used_cpu_sys_children", seconds(Duration::ZERO));
    text.field("used_cpu_user_children", seconds(Duration::ZERO));
    text.field("used_cpu_sys_main_thread", seconds(process.thread_cpu_sys));
    text.field("used_cpu_user_main_thread", seconds(process.thread_cpu_user));
}

pub(crate) fn commandstats(info: &Info<'_>, text: &mut InfoText) {
    for (name, stat) in info.report.commands.list() {
        text.field(
            format_args!("cmdstat_{name}"),
            format_args!(
                "calls={},usec={},usec_per_call={:.2},rejected_calls={},failed_calls={}",
                stat.calls,
                stat.usec(),
                stat.usec_per_call(),
                stat.rejected,
                stat.failed,
            ),
        );
    }
}

pub(crate) fn errorstats(info: &Info<'_>, text: &mut InfoText) {
    for (word, count) in info.report.errors.list() {
        text.field(format_args!("errorstat_{word}"), format_args!("count={count}"));
    }
}

pub(crate) fn latencystats(info: &Info<'_>, text: &mut InfoText) {
    for (name, stat) in info.report.commands.list() {
        let percentile = |percent| stat.usec_percentile(percent);
        let (Some(p50), Some(p99), Some(p999)) = (percentile(50.0), percentile(99.0), percentile(99.9)) else {
            continue;
        };
        text.field(
            format_args!("latency_percentiles_usec_{name}"),
            format_args!("p50={p50:.3},p99={p99:.3},p99.9={p999:.3}"),
        );
    }
}

/// How long stages take, in microseconds, and how large what is done at once is.
pub(crate) fn stages(info: &Info<'_>, text: &mut InfoText) {
    let stats = &info.report.stages;
    for stage in Stage::ALL {
        let us = stats.stage(*stage);
        text.field(
            format_args!("stage_{}", stage.name()),
            format_args!(
                "count={},mean_us={},p50_us={},p99_us={},p999_us={},max_us={}",
                us.count(),
                us.mean(),
                us.percentile(50.0),
                us.percentile(99.0),
                us.percentile(99.9),
                us.max(),
            ),
        );
    }
    for size in Size::ALL {
        let of = stats.size(*size);
        let (p50, p99) = (of.percentile(50.0), of.percentile(99.0));
        text.field(
            format_args!("size_{}", size.name()),
            format_args!("count={},mean={},p50={p50},p99={p99},max={}", of.count(), of.mean(), of.max()),
        );
    }
}

/// Counters that have the same name in Redis, and so stand in its section.
const COUNTERS_IN_STATS: [&str; 3] = ["keyspace_hits", "keyspace_misses", "expired_keys"];

pub(crate) fn coracle(info: &Info<'_>, text: &mut InfoText) {
    let report = info.report;
    text.field("groups", report.groups_count);
    text.field("groups_led", report.groups_led_count);
    text.field("groups_quarantined", report.groups_quarantined_count);
    text.field("keys_exact", u8::from(report.groups_inexact_count == 0));
    text.field("groups_without_leader", report.groups_leaderless_count);
    text.field("links", report.links_count);
    text.field("links_up", report.links_up_count);
    turns(info, text);
    let counters = report.counters.list().into_iter().filter(|(name, ..)| !COUNTERS_IN_STATS.contains(name));
    for (name, _, value) in counters {
        text.field(name, value);
    }
    for field in &report.fields {
        text.field(field.name, field.value);
    }
    for found in report.comparisons.iter().filter(|found| found.is_alarm()) {
        // An alarm: there as long as the last comparison of the group found that.
        text.field(
            format_args!("rows_differ_group{}", found.point.group),
            format_args!(
                "index={},unix_ms={},outcome={},replicas={},ranges={}",
                found.point.index,
                found.unix_ms,
                found.outcome.shown().0,
                found.shown_differing(),
                found.shown_ranges().replace(", ", ";"),
            ),
        );
    }
    scrub(report, text);
    text.field("outcomes_unknown", report.refusals.outcomes_unknown());
    for (name, _, value) in report.refusals.list() {
        text.field(name, value);
    }
    for (name, _, value) in report.raft.list() {
        text.field(format_args!("raft_{name}"), value);
    }
}

/// What the scrub has found damaged: alarms, there until a pass has found nothing of it any more.
fn scrub(report: &CoreReport, text: &mut InfoText) {
    let found = report.scrubs.iter().flat_map(|scrub| scrub.findings.iter().map(|finding| (scrub.core, finding)));
    for (number, (core, finding)) in found.enumerate() {
        text.field(
            format_args!("scrub_damage{number}"),
            format_args!(
                "core={core},what={},file={},offset={},groups={},unix_ms={}",
                finding.part.name(),
                finding.file,
                finding.offset,
                finding.shown_groups(),
                finding.unix_ms,
            ),
        );
    }
}

fn turns(info: &Info<'_>, text: &mut InfoText) {
    let (turns, longest) = (&info.report.turns, info.report.turns.longest());
    text.field("turn_us_p50", turns.us_percentile(50.0));
    text.field("turn_us_p99", turns.us_percentile(99.0));
    text.field("turn_us_p999", turns.us_percentile(99.9));
    text.field("turn_us_max", longest.took.as_micros());
    let work = longest.work;
    text.field(
        "turn_longest",
        format_args!(
            "us={},phase={},phase_us={},commands={},applied={},forwarded={},requeued={},frames={}",
            longest.took.as_micros(),
            longest.phase.name(),
            longest.phase_took.as_micros(),
            work.commands,
            work.applied,
            work.forwarded,
            work.requeued,
            work.frames,
        ),
    );
}

pub(crate) fn groups(info: &Info<'_>, text: &mut InfoText) {
    for replica in &info.report.replicas {
        text.field(
            format_args!("group{}", replica.group),
            format_args!(
                "role={:?},term={},commit={},applied={},last={},durable={},keys={},backlog={},snapshot={},{}",
                replica.role,
                replica.term,
                replica.commit,
                replica.applied,
                replica.last,
                replica.durable,
                replica.keys_count,
                replica.backlog_bytes,
                replica.snapshot,
                replica.stalls.text(),
            ),
        );
    }
}

pub(crate) fn keyspace(info: &Info<'_>, text: &mut InfoText) {
    if info.report.keys_count > 0 {
        let CoreReport { keys_count, expiring_count, ttl_ms_sum, .. } = info.report;
        let ttl_ms = ttl_ms_sum.checked_div(*expiring_count as u64).unwrap_or(0);
        text.field("db0", format_args!("keys={keys_count},expires={expiring_count},avg_ttl={ttl_ms}"));
    }
}

fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    format!("{:.2}%", share * 100.0)
}

fn kilobytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1_024.0)
}

fn seconds(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

/// Bytes as Redis shows them to people.
fn human(bytes: u64) -> String {
    let units = ["K", "M", "G", "T", "P"];
    if bytes < 1_024 {
        return format!("{bytes}B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1_024.0, 0);
    while value >= 1_024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1_024.0, unit + 1);
    }
    format!("{value:.2}{}", units[unit])
}
