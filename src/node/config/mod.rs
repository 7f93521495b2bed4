//! The configuration of a node: a TOML file, flags of the same names that override it, and defaults.
//!
//! `[[peers]]` lists **all** nodes that form the cluster, this one included, so that the list (and with it the first
//! cluster map) is the same in every node's file. The node finds its own addresses in its own entry; without
//! any `[[peers]]` it is a cluster of one, made from the keys at the top of the file. Once the cluster is formed the list says only whom
//! to ask. A node that joins later has no `node_id`: its addresses are those at the top of the file.
//!
//! Read [`keys`] first: everything else is made from that table. `changes` and `rewrite` are about settings that change while the node runs.

mod changes;
pub mod flags;
pub mod keys;
mod nodes;
mod print;
pub mod problem;
mod rewrite;
mod table;
mod value;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meta::{Bootstrap, ClusterId, ClusterMap, Node, ReadMode, Settings};
use types::NodeId;

pub use flags::Flags;
pub use problem::ConfigError;

use crate::memory;
use keys::{Fallback, KEYS};
use problem::{Problem, Source};
use table::{FileTables, Table, millis, number, seconds};
use value::Origin;

/// Longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Segments of the log are made of whole blocks of this size.
const BLOCK_BYTES: i64 = 4_096;
/// Sampling allocations more often costs more than it tells: each sample takes up to a page of memory and a walk over the stack.
const HEAP_PROFILE_BYTES_MIN: u64 = 64 << 10;

/// A configuration that was checked: every value lies in its range, and the first cluster map can be made.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the first cluster map is made from. It holds this node among the others, if that has an id.
    pub bootstrap: Bootstrap,
    /// This node's id; `None` for one that is given its id by the cluster when it joins that.
    pub node_id: Option<NodeId>,
    /// This node. Without an id of its own its id is 0, else it is one of `bootstrap.nodes`.
    own: Node,
    /// Where metrics and health are served, beside the node's `admin_port`.
    pub admin_host: IpAddr,
    /// Where this node's data lies.
    pub data_dir: PathBuf,
    /// Whether core `c` is pinned to the `c`-th cpu this process may use.
    pub pin: bool,
    /// How long an idle core looks for work before it sleeps, in microseconds.
    pub spin_us: u32,
    /// What is logged: error, warn, info, debug or trace.
    pub log_level: String,
    /// Whether each line of the log is a JSON object.
    pub log_as_json: bool,
    /// Size of a segment of the log, a multiple of 4,096.
    pub segment_bytes: u64,
    /// A block of the log is closed at this many bytes.
    pub block_bytes_max: usize,
    /// A batch of commands is closed at this many bytes.
    pub batch_bytes_max: usize,
    /// Bytes of a group that may be on their way to one follower.
    pub inflight_bytes_max: usize,
    /// Bytes that a group may have proposed and not committed.
    pub uncommitted_bytes_max: usize,
    /// Bytes of recent entries that a group keeps in memory.
    pub cache_bytes_max: usize,
    /// Bytes of log that a group collects before it is flushed.
    pub group_log_bytes_max: u64,
    /// Bytes of a core's log before the groups that keep its oldest part write snapshots.
    pub log_bytes_max: u64,
    /// Bytes of log that a group keeps before its snapshot.
    pub log_tail_bytes_max: u64,
    /// Room on the disk that each core keeps for when that is full, in bytes.
    pub disk_reserve_bytes: u64,
    /// Memory of a core, in bytes.
    pub memory_bytes_max: usize,
    /// Most clients of each port of a core.
    pub clients_count_max: usize,
    /// Whether somebody has set it. Else a node takes no more than its limit of open files allows.
    pub clients_count_is_set: bool,
    /// A client that leaves this many bytes of replies unread is not read until it takes some.
    pub client_output_bytes_max: usize,
    /// A client that leaves its replies unread for this long is closed.
    pub client_stall_timeout: Duration,
    /// How long a command may wait for a leader or for another core.
    pub leader_wait: Duration,
    /// How long a stop may take to hand leaderships over and to finish what is under way.
    pub stop_timeout: Duration,
    /// What takes this long or longer is an event for LATENCY; `None` for nothing.
    pub latency_threshold: Option<Duration>,
    /// Commands that take this long or longer are kept for SLOWLOG; `None` for none.
    pub slow_log_min: Option<Duration>,
    /// How many of them a core keeps.
    pub slow_log_len_max: usize,
    /// How often the replicas of each group are compared; `None` for never.
    pub compare_interval: Option<Duration>,
    /// How long a node is silent before others take the places of its replicas.
    pub node_down_after: Duration,
    /// Whether loads of nodes are made alike.
    pub balance: bool,
    /// Whether profiles are taken for whoever asks on the admin port.
    pub profiling: bool,
    /// In how many bytes one allocation is kept for heap profiles, on average; 0 for none.
    pub heap_profile_bytes: u64,
    /// Where a collector takes OTLP over HTTP.
    pub otlp_endpoint: Option<String>,
    /// Whether slow commands are lines of the log.
    pub log_slow_commands: bool,
    /// How often a collector is sent something.
    pub telemetry_interval: Duration,
    /// How fast each core reads what lies at rest to check it, in bytes per second; 0 for not at all.
    pub scrub_bytes_per_s: u64,
    /// From the start of one such check to the next; `None` for none but those that are asked for.
    pub scrub_interval: Option<Duration>,
    /// Every key with its value, for CONFIG GET.
    pub shown: Vec<(String, String)>,
    /// The configuration as it stood at the start, as a file with a note behind each value saying where it comes from.
    pub printed: String,
    /// What it was made from.
    made_from: MadeFrom,
}

/// What a configuration was made from.
#[derive(Clone, Debug, Default)]
struct MadeFrom {
    /// What the file says, with the flags over it, and over both what was set while the node ran.
    tables: FileTables,
    flags: Flags,
    file: Option<PathBuf>,
}

impl Config {
    /// Reads the file, if there is one, lets the flags override it, and checks everything. The error tells
    /// all that is wrong, not only the first.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Config, ConfigError> {
        let source = match file.map(read_source).transpose() {
            Ok(source) => source,
            Err(problem) => return Err(ConfigError::new(None, vec![problem])),
        };
        let mut problems = Vec::new();
        let tables = match &source {
            Some(source) => table::read_file(source, &mut problems),
            None => FileTables::default(),
        };
        // Rules between keys make sense only once each key by itself does.
        let mut config = None;
        let merged = flags.override_file(tables, &mut problems);
        if problems.is_empty() {
            config = Config::from_tables(&merged, &mut problems);
        }
        match config {
            Some(mut config) if problems.is_empty() => {
                let effective = print::effective(&merged, config.node(), config.memory_bytes_max);
                config.shown = effective.iter().map(print::shown_pair).collect();
                config.printed = print::print(&effective, &merged, &config.bootstrap.nodes, source.as_ref());
                config.made_from = MadeFrom { tables: merged, flags: flags.clone(), file: file.map(Path::to_owned) };
                Ok(config)
            }
            _ => Err(ConfigError::new(source, problems)),
        }
    }

    /// This node.
    pub fn node(&self) -> &Node {
        &self.own
    }

    /// Where metrics and health are served, if they are.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        let port = self.node().admin_port;
        (port != 0).then_some(SocketAddr::new(self.admin_host, port))
    }

    fn from_tables(tables: &FileTables, problems: &mut Vec<Problem>) -> Option<Config> {
        let top = &tables.top;
        for key in KEYS.iter().filter(|key| matches!(key.default, Fallback::Required) && top.get(key).is_none()) {
            let problem = Problem::new(format!("`{}` is missing", key.name), Origin::Default);
            let how = format!("set it in the file or with --{}: {}", key.flag(), key.help.to_lowercase());
            problems.push(problem.help(how));
        }
        if !problems.is_empty() {
            return None;
        }
        let node_id = top.get(&keys::NODE_ID).map(|_| NodeId(number(top, &keys::NODE_ID)));
        let (own, nodes) = nodes::nodes(tables, node_id, problems)?;
        let bootstrap = Bootstrap {
            cluster_id: ClusterId::from_name(top.text(&keys::CLUSTER_ID)?),
            nodes,
            groups_count: number(top, &keys::GROUPS),
            settings: settings(top),
        };
        let broken_rule = ClusterMap::bootstrap(&bootstrap).err();
        problems.extend(broken_rule.map(|error| rule_problem(top, &error.to_string())));
        let admin_host = top.text(&keys::ADMIN_HOST).and_then(|host| host.parse().ok()).unwrap_or(own.host);
        check_values(top, problems);
        let mut config = Config {
            bootstrap,
            node_id,
            own,
            admin_host,
            data_dir: top.text(&keys::DATA_DIR)?.into(),
            pin: top.bool(&keys::PIN)?,
            spin_us: number(top, &keys::SPIN_US),
            log_level: top.text(&keys::LOG_LEVEL)?.to_owned(),
            log_as_json: top.text(&keys::LOG_FORMAT)? == "json",
            segment_bytes: number(top, &keys::SEGMENT_BYTES_KEY),
            block_bytes_max: number(top, &keys::BLOCK_BYTES_MAX),
            batch_bytes_max: number(top, &keys::BATCH_BYTES_MAX_KEY),
            inflight_bytes_max: number(top, &keys::INFLIGHT_BYTES_MAX),
            uncommitted_bytes_max: number(top, &keys::UNCOMMITTED_BYTES_MAX),
            cache_bytes_max: number(top, &keys::CACHE_BYTES_MAX),
            group_log_bytes_max: number(top, &keys::GROUP_LOG_BYTES_MAX),
            log_bytes_max: number(top, &keys::LOG_BYTES_MAX),
            log_tail_bytes_max: number(top, &keys::LOG_TAIL_BYTES_MAX),
            disk_reserve_bytes: number(top, &keys::DISK_RESERVE_BYTES),
            memory_bytes_max: 0,
            clients_count_max: number(top, &keys::MAXCLIENTS),
            clients_count_is_set: top.get(&keys::MAXCLIENTS).is_some(),
            client_output_bytes_max: number(top, &keys::CLIENT_OUTPUT_BYTES_MAX),
            client_stall_timeout: millis(top, &keys::CLIENT_STALL_TIMEOUT_MS_KEY),
            leader_wait: millis(top, &keys::LEADER_WAIT_MS),
            stop_timeout: millis(top, &keys::STOP_TIMEOUT_MS),
            latency_threshold: latency_threshold(top),
            slow_log_min: slow_log_min(top),
            slow_log_len_max: number(top, &keys::SLOWLOG_LEN_MAX),
            compare_interval: seconds(top, &keys::COMPARE_INTERVAL_S),
            node_down_after: Duration::from_secs(number(top, &keys::NODE_DOWN_AFTER_S)),
            balance: top.text(&keys::BALANCE) == Some("on"),
            profiling: top.bool(&keys::PROFILING)?,
            heap_profile_bytes: number(top, &keys::HEAP_PROFILE_BYTES),
            otlp_endpoint: top.text(&keys::OTLP_ENDPOINT).map(str::to_owned),
            log_slow_commands: top.bool(&keys::LOG_SLOW_COMMANDS)?,
            telemetry_interval: Duration::from_secs(number(top, &keys::TELEMETRY_INTERVAL_S)),
            scrub_bytes_per_s: number(top, &keys::SCRUB_BYTES_PER_S),
            scrub_interval: seconds(top, &keys::SCRUB_INTERVAL_S),
            shown: Vec::new(),
            printed: String::new(),
            made_from: MadeFrom::default(),
        };
        let bytes = top.int(&keys::MEMORY_BYTES_MAX).and_then(|bytes| usize::try_from(bytes).ok());
        config.memory_bytes_max = bytes.unwrap_or_else(|| memory::share_of_core(config.node().cores.into()));
        Some(config)
    }
}

/// From which time on something is an event.
fn latency_threshold(top: &Table) -> Option<Duration> {
    Some(millis(top, &keys::LATENCY_THRESHOLD_MS)).filter(|threshold| !threshold.is_zero())
}

/// What values may be beside their ranges.
fn check_values(top: &Table, problems: &mut Vec<Problem>) {
    let segment_bytes: i64 = number(top, &keys::SEGMENT_BYTES_KEY);
    if segment_bytes % BLOCK_BYTES != 0 {
        let message = format!("`segment_bytes` must be a multiple of {BLOCK_BYTES}, not {segment_bytes}");
        problems.push(Problem::new(message, top.origin(&keys::SEGMENT_BYTES_KEY)));
    }
    let heap_profile_bytes: u64 = number(top, &keys::HEAP_PROFILE_BYTES);
    if (1..HEAP_PROFILE_BYTES_MIN).contains(&heap_profile_bytes) {
        let message =
            format!("`heap_profile_bytes` must be 0 or at least {HEAP_PROFILE_BYTES_MIN}, not {heap_profile_bytes}");
        problems.push(Problem::new(message, top.origin(&keys::HEAP_PROFILE_BYTES)));
    }
    if let Some(endpoint) = top.text(&keys::OTLP_ENDPOINT)
        && endpoint.strip_prefix("http://").is_none_or(str::is_empty)
    {
        let message = "`otlp_endpoint` must begin with http:// and name a host: a collector beside the node speaks TLS with others";
        problems.push(Problem::new(message, top.origin(&keys::OTLP_ENDPOINT)));
    }
}

/// From how long on a command is slow; `None` if none is.
fn slow_log_min(top: &Table) -> Option<Duration> {
    let us = u64::try_from(top.int(&keys::SLOWLOG_LOG_SLOWER_THAN)?).ok()?;
    Some(Duration::from_micros(us))
}

fn settings(top: &Table) -> Settings {
    let read_index = top.text(&keys::READ_MODE) == Some("read_index");
    Settings {
        replication_factor: number(top, &keys::REPLICATION_FACTOR),
        read_mode: if read_index { ReadMode::ReadIndex } else { ReadMode::Lease },
        heartbeat_interval_ms: number(top, &keys::HEARTBEAT_INTERVAL_MS),
        election_timeout_min_ms: number(top, &keys::ELECTION_TIMEOUT_MIN_MS),
        election_timeout_max_ms: number(top, &keys::ELECTION_TIMEOUT_MAX_MS),
        clock_drift_ppm_max: number(top, &keys::CLOCK_DRIFT_PPM_MAX_KEY),
    }
}

/// A broken rule between keys, shown where the first key that it names was set.
fn rule_problem(top: &Table, message: &str) -> Problem {
    let named = KEYS.iter().find(|key| message.contains(key.name) && top.get(key).is_some());
    Problem::new(message, named.map_or(Origin::Default, |key| top.origin(key)))
}

fn read_source(path: &Path) -> Result<Source, Problem> {
    let fail = |reason: String| Problem::new(format!("cannot read {}: {reason}", path.display()), Origin::Default);
    let length = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(fail(format!("it is {length} bytes long, and at most {FILE_BYTES_MAX} are possible")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    Ok(Source { name: path.display().to_string(), text })
}

#[cfg(test)]
mod tests;
