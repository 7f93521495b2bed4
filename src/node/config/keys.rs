//! Every key of the configuration, once: its name, what it may hold, its default and its meaning.
//!
//! The file, the flags, `--help`, `--print-config` and every message are made from this table, so they cannot
//! disagree. Key `node_id` is flag `--node-id`. A default that a core or a cluster would have anyway stands there, as a
//! constant, and the table refers to it.

use engine::defaults;
use meta::Settings;
use meta::id::CLUSTER_NAME_BYTES_MAX;
use types::limits::{BATCH_BYTES_MAX, CORES_COUNT_MAX, ENTRY_BYTES_MAX, GROUPS_COUNT_MAX, REPLICAS_COUNT_MAX};

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Its value if nobody sets it.
    pub default: Fallback,
    /// What it means, in one sentence without a full stop.
    pub help: &'static str,
    /// Where it stands in `--help`.
    pub section: &'static str,
}

/// What a key may hold.
#[derive(Debug)]
pub enum Kind {
    /// A whole number from `min` to `max`.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// `true` or `false`.
    Bool,
    /// A non-empty text of at most `bytes_max` bytes.
    Text {
        /// Most bytes.
        bytes_max: usize,
    },
    /// An IP address.
    Address,
    /// A path.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// What stands in for a key that nobody sets.
#[derive(Debug)]
pub enum Fallback {
    /// It must be set.
    Required,
    /// It may be left out, with this effect.
    Optional(&'static str),
    /// A number.
    Int(i64),
    /// A switch.
    Bool(bool),
    /// A text.
    Text(&'static str),
}

/// Longest path and longest other text, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;
/// Longest name of a rack, in bytes.
const RACK_BYTES_MAX: usize = 64;
/// Longest that an idle core may spin, in microseconds.
const SPIN_US_MAX: i64 = 10_000;
/// Longest interval between heartbeats, in milliseconds.
const HEARTBEAT_INTERVAL_MS_MAX: i64 = 10_000;
/// Longest election timeout, in milliseconds.
const ELECTION_TIMEOUT_MS_MAX: i64 = 100_000;
/// Greatest drift that leases can allow for: half of the time.
const CLOCK_DRIFT_PPM_MAX: i64 = 500_000;
/// Sizes of log segments, in bytes: the longest entry must fit one.
const SEGMENT_BYTES: (i64, i64) = (32 << 20, 1 << 30);
/// Sizes at which a block is closed, in bytes.
const BLOCK_BYTES: (i64, i64) = (64 << 10, 16 << 20);
/// Smallest limit of a batch, in bytes.
const BATCH_BYTES_MIN: i64 = 4 << 10;
/// Limits of the replies that wait for one client, in bytes.
const CLIENT_OUTPUT_BYTES: (i64, i64) = (64 << 10, 1 << 30);
/// Bounds on what a group may hold for its followers, in bytes.
const GROUP_BYTES: (i64, i64) = (64 << 10, 1 << 30);
/// Lengths of logs, in bytes.
const LOG_BYTES: (i64, i64) = (1 << 20, 1 << 40);
/// Memory of a core, in bytes.
const MEMORY_BYTES: (i64, i64) = (64 << 20, 1 << 46);
/// Most clients of one port of a core.
const CLIENTS_COUNT_MAX: i64 = 1_000_000;
/// Longest that a client may leave its replies unread, in milliseconds.
const CLIENT_STALL_TIMEOUT_MS: (i64, i64) = (100, 3_600_000);
/// Longest that a command may wait for a leader, in milliseconds.
const LEADER_WAIT_MS_MAX: i64 = 600_000;
/// Longest that a stop may take, in milliseconds.
const STOP_TIMEOUT_MS_MAX: i64 = 60_000;
/// Longest time from which on something is an event for LATENCY, in milliseconds.
const LATENCY_THRESHOLD_MS_MAX: i64 = 60_000;
/// Longest time from which on a command is slow, in microseconds.
const SLOWLOG_US_MAX: i64 = 600_000_000;
/// A year.
const BACKGROUND_INTERVAL_S_MAX: i64 = 365 * 24 * 60 * 60;
/// How long a node may be silent before others take its place, in seconds: at least as long as a short pause, at most a month.
const NODE_DOWN_AFTER_S_RANGE: (i64, i64) = (3, 30 * 24 * 60 * 60);
/// More than a disk for servers reads, in bytes per second.
const SCRUB_BYTES_PER_S_MAX: i64 = 16 << 30;
/// Longest address of a collector, in bytes.
const OTLP_ENDPOINT_BYTES_MAX: usize = 1_024;
/// An hour.
const TELEMETRY_INTERVAL_S_MAX: i64 = 3_600;
/// Sampling less often than once in so many bytes finds nothing.
const HEAP_PROFILE_BYTES_MAX: i64 = 1 << 30;
/// Most slow commands that a core keeps: each may take 4 KiB of its memory.
const SLOWLOG_LEN_MAX_MAX: i64 = 4_096;

const _: () = {
    assert!((ENTRY_BYTES_MAX as i64) < SEGMENT_BYTES.0);
    assert!(BLOCK_BYTES.1 < SEGMENT_BYTES.0);
};

const PORT: Kind = Kind::Int { min: 1, max: 65_535 };
/// The greatest number is left out: a node that joins gets a greater one than any before.
const NODE_NUMBER: Kind = Kind::Int { min: 1, max: u32::MAX as i64 - 1 };
pub(super) const IDENTITY: &str = "Identity";
pub(super) const ADDRESSES: &str = "Addresses";
const RUNTIME: &str = "Runtime";
pub(super) const CLUSTER: &str = "Cluster (the same on every node)";
const LIMITS: &str = "Limits";

macro_rules! keys {
    ($($(#[doc = $help:literal])+ $ident:ident: $name:literal, $section:expr, $kind:expr, $default:expr;)*) => {
        $($(#[doc = $help])+
        pub static $ident: Key = Key {
            name: $name, kind: $kind, default: $default, help: concat!($($help),+).trim_ascii(), section: $section,
        };)*
    };
}

use Fallback::{Optional, Required};

keys! {
    /// Name of the cluster, or its 32 hexadecimal digits; nodes of another cluster are not listened to
    CLUSTER_ID: "cluster_id", IDENTITY, Kind::Text { bytes_max: CLUSTER_NAME_BYTES_MAX }, Required;
    /// Number of this node
    NODE_ID: "node_id", IDENTITY, NODE_NUMBER, Optional("given by the cluster that the node joins");
    /// Directory of this node's data, on a local disk that can do direct I/O
    DATA_DIR: "data_dir", IDENTITY, Kind::Path, Required;
    /// IP address that this node listens on, connects from, and tells clients
    HOST: "host", ADDRESSES, Kind::Address, Fallback::Text("127.0.0.1");
    /// Port on which clients may ask for any key
    GATEWAY_PORT: "gateway_port", ADDRESSES, PORT, Fallback::Int(7_000);
    /// Port of core 0 for cluster clients; core c listens on this plus c
    CORE_PORT: "core_port", ADDRESSES, PORT, Optional("gateway_port + 1");
    /// Port of core 0 for other nodes; core c listens on this plus c
    PEER_PORT: "peer_port", ADDRESSES, PORT, Optional("gateway_port + 1000");
    /// Port for metrics and health (HTTP); 0 for none
    ADMIN_PORT: "admin_port", ADDRESSES, Kind::Int { min: 0, max: 65_535 }, Optional("gateway_port + 2000");
    /// IP address that metrics and health are served on
    ADMIN_HOST: "admin_host", ADDRESSES, Kind::Address, Optional("host");
    /// Executor threads of this node
    CORES: "cores", RUNTIME, Kind::Int { min: 1, max: CORES_COUNT_MAX as i64 }, Fallback::Int(1);
    /// What this node shares a fate with; replicas of a group are spread over racks first
    RACK: "rack", ADDRESSES, Kind::Text { bytes_max: RACK_BYTES_MAX }, Optional("a rack of its own");
    /// Pin core c to the c-th cpu this process may use
    PIN: "pin", RUNTIME, Kind::Bool, Fallback::Bool(true);
    /// How long an idle core looks for work before it sleeps, in microseconds
    SPIN_US: "spin_us", RUNTIME, Kind::Int { min: 0, max: SPIN_US_MAX }, Fallback::Int(50);
    /// What is logged to stderr; RUST_LOG overrides it with a filter per module
    LOG_LEVEL: "log_level", RUNTIME, Kind::Choice(&["error", "warn", "info", "debug", "trace"]), Fallback::Text("info");
    /// How log lines are written: as text, or each as a JSON object
    LOG_FORMAT: "log_format", RUNTIME, Kind::Choice(&["text", "json"]), Fallback::Text("text");
    /// Raft groups that share the 16,384 slots
    GROUPS: "groups", CLUSTER, Kind::Int { min: 1, max: GROUPS_COUNT_MAX as i64 - 1 }, Fallback::Int(8);
    /// Replicas of each group; fewer if there are fewer nodes
    REPLICATION_FACTOR: "replication_factor", CLUSTER, Kind::Int { min: 1, max: REPLICAS_COUNT_MAX as i64 },
        Fallback::Int(Settings::DEFAULT.replication_factor as i64);
    /// How leaders answer reads: by a lease, which trusts clock_drift_ppm_max, or by asking a majority
    READ_MODE: "read_mode", CLUSTER, Kind::Choice(&["lease", "read_index"]), Fallback::Text("lease");
    /// How often a leader is heard of, in milliseconds
    HEARTBEAT_INTERVAL_MS: "heartbeat_interval_ms", CLUSTER, Kind::Int { min: 1, max: HEARTBEAT_INTERVAL_MS_MAX },
        Fallback::Int(Settings::DEFAULT.heartbeat_interval_ms as i64);
    /// How long voters stick to a leader that they heard, in milliseconds
    ELECTION_TIMEOUT_MIN_MS: "election_timeout_min_ms", CLUSTER, Kind::Int { min: 10, max: ELECTION_TIMEOUT_MS_MAX },
        Fallback::Int(Settings::DEFAULT.election_timeout_min_ms as i64);
    /// Longest wait before a campaign, in milliseconds
    ELECTION_TIMEOUT_MAX_MS: "election_timeout_max_ms", CLUSTER, Kind::Int { min: 20, max: ELECTION_TIMEOUT_MS_MAX },
        Fallback::Int(Settings::DEFAULT.election_timeout_max_ms as i64);
    /// How much faster one node's clock may run than another's, in millionths; leases are shortened by it
    CLOCK_DRIFT_PPM_MAX_KEY: "clock_drift_ppm_max", CLUSTER, Kind::Int { min: 0, max: CLOCK_DRIFT_PPM_MAX },
        Fallback::Int(Settings::DEFAULT.clock_drift_ppm_max as i64);
    /// Size of one segment of the log, in bytes, a multiple of 4096
    SEGMENT_BYTES_KEY: "segment_bytes", LIMITS, Kind::Int { min: SEGMENT_BYTES.0, max: SEGMENT_BYTES.1 },
        Fallback::Int(defaults::SEGMENT_BYTES as i64);
    /// A block of the log is closed at this many bytes
    BLOCK_BYTES_MAX: "block_bytes_max", LIMITS, Kind::Int { min: BLOCK_BYTES.0, max: BLOCK_BYTES.1 },
        Fallback::Int(defaults::BLOCK_BYTES_MAX as i64);
    /// Bytes of a group that may be on their way to one follower
    INFLIGHT_BYTES_MAX: "inflight_bytes_max", LIMITS, Kind::Int { min: GROUP_BYTES.0, max: GROUP_BYTES.1 },
        Fallback::Int(defaults::INFLIGHT_BYTES_MAX as i64);
    /// Bytes that a group may have proposed and not committed; beyond it its clients wait
    UNCOMMITTED_BYTES_MAX: "uncommitted_bytes_max", LIMITS, Kind::Int { min: GROUP_BYTES.0, max: GROUP_BYTES.1 },
        Fallback::Int(defaults::UNCOMMITTED_BYTES_MAX as i64);
    /// Bytes of recent entries that a group keeps in memory for slow followers
    CACHE_BYTES_MAX: "cache_bytes_max", LIMITS, Kind::Int { min: 0, max: GROUP_BYTES.1 },
        Fallback::Int(defaults::CACHE_BYTES_MAX as i64);
    /// Bytes of log that a group collects before what has changed is flushed to tables
    GROUP_LOG_BYTES_MAX: "group_log_bytes_max", LIMITS, Kind::Int { min: LOG_BYTES.0, max: LOG_BYTES.1 },
        Fallback::Int(defaults::GROUP_LOG_BYTES_MAX as i64);
    /// Bytes of a core's log; beyond it the groups that keep its oldest part are flushed
    LOG_BYTES_MAX: "log_bytes_max", LIMITS, Kind::Int { min: LOG_BYTES.0, max: LOG_BYTES.1 },
        Fallback::Int(defaults::LOG_BYTES_MAX as i64);
    /// Bytes of flushed log that a group keeps for followers that are a little behind
    LOG_TAIL_BYTES_MAX: "log_tail_bytes_max", LIMITS, Kind::Int { min: 0, max: LOG_BYTES.1 },
        Fallback::Int(defaults::LOG_TAIL_BYTES_MAX as i64);
    /// Room on the disk that each core keeps for when that is full, in bytes; 0 for none
    DISK_RESERVE_BYTES: "disk_reserve_bytes", LIMITS, Kind::Int { min: 0, max: LOG_BYTES.1 },
        Fallback::Int(defaults::DISK_RESERVE_BYTES as i64);
    /// A batch of commands is closed at this many bytes
    BATCH_BYTES_MAX_KEY: "batch_bytes_max", LIMITS, Kind::Int { min: BATCH_BYTES_MIN, max: BATCH_BYTES_MAX as i64 },
        Fallback::Int(BATCH_BYTES_MAX as i64);
    /// Memory of a core for keys, caches, buffers and clients together, in bytes
    MEMORY_BYTES_MAX: "memory_bytes_max", LIMITS, Kind::Int { min: MEMORY_BYTES.0, max: MEMORY_BYTES.1 },
        Optional("60 % of what is available at the start, divided by cores; at least 268435456");
    /// Most clients of each port of a core; if nobody sets it, no more than the limit of open files allows
    MAXCLIENTS: "maxclients", LIMITS, Kind::Int { min: 1, max: CLIENTS_COUNT_MAX },
        Fallback::Int(defaults::CLIENTS_COUNT_MAX as i64);
    /// A client that leaves this many bytes of replies unread is not read until it takes some
    CLIENT_OUTPUT_BYTES_MAX: "client_output_bytes_max", LIMITS,
        Kind::Int { min: CLIENT_OUTPUT_BYTES.0, max: CLIENT_OUTPUT_BYTES.1 },
        Fallback::Int(defaults::CLIENT_OUTPUT_BYTES_MAX as i64);
    /// A client that leaves its replies unread for this long is closed, in milliseconds
    CLIENT_STALL_TIMEOUT_MS_KEY: "client_stall_timeout_ms", LIMITS,
        Kind::Int { min: CLIENT_STALL_TIMEOUT_MS.0, max: CLIENT_STALL_TIMEOUT_MS.1 },
        Fallback::Int(defaults::CLIENT_STALL_TIMEOUT.as_millis() as i64);
    /// How long a command may wait for a leader or for another core, in milliseconds
    LEADER_WAIT_MS: "leader_wait_ms", LIMITS, Kind::Int { min: 0, max: LEADER_WAIT_MS_MAX },
        Fallback::Int(defaults::LEADER_WAIT.as_millis() as i64);
    /// How long a stop may take to hand leaderships over and to finish what is under way, in milliseconds
    STOP_TIMEOUT_MS: "stop_timeout_ms", LIMITS, Kind::Int { min: 0, max: STOP_TIMEOUT_MS_MAX },
        Fallback::Int(defaults::STOP_TIMEOUT.as_millis() as i64);
    /// What takes this long or longer is an event for LATENCY, in milliseconds; 0 for nothing
    LATENCY_THRESHOLD_MS: "latency_threshold_ms", RUNTIME, Kind::Int { min: 0, max: LATENCY_THRESHOLD_MS_MAX },
        Fallback::Int(defaults::LATENCY_THRESHOLD.as_millis() as i64);
    /// Commands that take this long or longer are kept for SLOWLOG, in microseconds; -1 for none
    SLOWLOG_LOG_SLOWER_THAN: "slowlog_log_slower_than", RUNTIME, Kind::Int { min: -1, max: SLOWLOG_US_MAX },
        Fallback::Int(defaults::SLOW_LOG_MIN.as_micros() as i64);
    /// How many slow commands each core keeps
    SLOWLOG_LEN_MAX: "slowlog_len_max", RUNTIME, Kind::Int { min: 0, max: SLOWLOG_LEN_MAX_MAX },
        Fallback::Int(defaults::SLOW_LOG_LEN_MAX as i64);
    /// How often the replicas of each group are compared, in seconds, about; 0 for never
    COMPARE_INTERVAL_S: "compare_interval_s", RUNTIME, Kind::Int { min: 0, max: BACKGROUND_INTERVAL_S_MAX },
        Fallback::Int(defaults::COMPARE_INTERVAL.as_secs() as i64);
    /// Whether profiles of CPU time and of the heap are taken for whoever asks on the admin port
    PROFILING: "profiling", RUNTIME, Kind::Bool, Fallback::Bool(true);
    /// One allocation in so many bytes is kept for heap profiles, on average; 0, or no profiling, for none
    HEAP_PROFILE_BYTES: "heap_profile_bytes", RUNTIME, Kind::Int { min: 0, max: HEAP_PROFILE_BYTES_MAX },
        Fallback::Int(2 << 20);
    /// Where a collector of OpenTelemetry takes OTLP over HTTP, such as http://127.0.0.1:4318, for figures and slow commands
    OTLP_ENDPOINT: "otlp_endpoint", RUNTIME, Kind::Text { bytes_max: OTLP_ENDPOINT_BYTES_MAX }, Optional("nothing is sent");
    /// Whether slow commands are lines of the log, with the ids that they have on all nodes
    LOG_SLOW_COMMANDS: "log_slow_commands", RUNTIME, Kind::Bool, Fallback::Bool(false);
    /// How often a collector is sent figures, and slow commands are sent and logged, in seconds
    TELEMETRY_INTERVAL_S: "telemetry_interval_s", RUNTIME, Kind::Int { min: 1, max: TELEMETRY_INTERVAL_S_MAX },
        Fallback::Int(10);
    /// How fast each core reads what lies at rest to check it, in bytes per second; 0 for not at all
    SCRUB_BYTES_PER_S: "scrub_bytes_per_s", RUNTIME, Kind::Int { min: 0, max: SCRUB_BYTES_PER_S_MAX },
        Fallback::Int(defaults::SCRUB_BYTES_PER_S as i64);
    /// From the start of one check of all that lies at rest to the next, in seconds; 0 for none but those that are asked for
    SCRUB_INTERVAL_S: "scrub_interval_s", RUNTIME, Kind::Int { min: 0, max: BACKGROUND_INTERVAL_S_MAX },
        Fallback::Int(defaults::SCRUB_INTERVAL.as_secs() as i64);
    /// A node that is silent for this long is down, and others take the places of its replicas, in seconds; set it alike on all nodes
    NODE_DOWN_AFTER_S: "node_down_after_s", RUNTIME, Kind::Int { min: NODE_DOWN_AFTER_S_RANGE.0, max: NODE_DOWN_AFTER_S_RANGE.1 },
        Fallback::Int(defaults::NODE_DOWN_AFTER.as_secs() as i64);
    /// Whether replicas and leaders move so that no node has much more than others; set it alike on all nodes
    BALANCE: "balance", RUNTIME, Kind::Choice(&["on", "off"]), Fallback::Text("off");
    /// Number of the node
    PEER_ID: "id", ADDRESSES, NODE_NUMBER, Required;
    /// Its IP address
    PEER_HOST: "host", ADDRESSES, Kind::Address, Required;
}

/// The keys at the top of the file, in the order of `--help`.
pub static KEYS: &[&Key] = &[
    &CLUSTER_ID,
    &NODE_ID,
    &DATA_DIR,
    &HOST,
    &GATEWAY_PORT,
    &CORE_PORT,
    &PEER_PORT,
    &ADMIN_PORT,
    &ADMIN_HOST,
    &RACK,
    &CORES,
    &PIN,
    &SPIN_US,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &LATENCY_THRESHOLD_MS,
    &SLOWLOG_LOG_SLOWER_THAN,
    &SLOWLOG_LEN_MAX,
    &COMPARE_INTERVAL_S,
    &PROFILING,
    &HEAP_PROFILE_BYTES,
    &OTLP_ENDPOINT,
    &LOG_SLOW_COMMANDS,
    &TELEMETRY_INTERVAL_S,
    &SCRUB_BYTES_PER_S,
    &SCRUB_INTERVAL_S,
    &NODE_DOWN_AFTER_S,
    &BALANCE,
    &GROUPS,
    &REPLICATION_FACTOR,
    &READ_MODE,
    &HEARTBEAT_INTERVAL_MS,
    &ELECTION_TIMEOUT_MIN_MS,
    &ELECTION_TIMEOUT_MAX_MS,
    &CLOCK_DRIFT_PPM_MAX_KEY,
    &SEGMENT_BYTES_KEY,
    &BLOCK_BYTES_MAX,
    &BATCH_BYTES_MAX_KEY,
    &MEMORY_BYTES_MAX,
    &INFLIGHT_BYTES_MAX,
    &UNCOMMITTED_BYTES_MAX,
    &CACHE_BYTES_MAX,
    &GROUP_LOG_BYTES_MAX,
    &LOG_BYTES_MAX,
    &LOG_TAIL_BYTES_MAX,
    &DISK_RESERVE_BYTES,
    &MAXCLIENTS,
    &CLIENT_OUTPUT_BYTES_MAX,
    &CLIENT_STALL_TIMEOUT_MS_KEY,
    &LEADER_WAIT_MS,
    &STOP_TIMEOUT_MS,
];

/// The keys of one `[[peers]]` entry: a node of the cluster.
pub static PEER_KEYS: &[&Key] =
    &[&PEER_ID, &PEER_HOST, &GATEWAY_PORT, &CORE_PORT, &PEER_PORT, &ADMIN_PORT, &CORES, &RACK];

/// Name of the array of tables that lists the nodes.
pub const PEERS: &str = "peers";

impl Key {
    /// The flag of the key: `--node-id` for `node_id`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// What the key may hold, in words: "a whole number from 1 to 256".
    pub fn range(&self) -> String {
        match &self.kind {
            Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Bool => "true or false".to_owned(),
            Kind::Text { bytes_max } => format!("a text of 1 to {bytes_max} bytes"),
            Kind::Address => "an IP address".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                words.join(" or ")
            }
        }
    }

    /// The bound on texts of this key.
    pub(super) fn text_bytes_max(&self) -> usize {
        if let Kind::Text { bytes_max } = self.kind { bytes_max } else { TEXT_BYTES_MAX }
    }
}
