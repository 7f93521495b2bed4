//! What a core is told when it starts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lsm::manifest::ManifestSettings;
use lsm::merge::MergeSettings;
use lsm::read::CacheLimits;
use lsm::write::WriteSettings;
use meta::{ClusterMap, Node};
use types::{CoreAddr, CoreId, NodeId};
use wire::ConfigPrint;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::Limits;
use crate::settings::{AskSettings, NodeSettings};

/// How often a core ticks at least, also while nothing happens on it: whatever waits for ticks unnoticed is not late by more.
const IDLE_TICK_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// Remembers, durably, with which data directory another node was first seen.
#[derive(Clone)]
pub struct RememberPeer(Arc<dyn Fn(NodeId, u64) + Send + Sync>);

impl RememberPeer {
    /// `remember` is told a node and its incarnation, and must not wait. Once they are on stable storage every core of
    /// this node is sent [`MeshMessage::PeerAdmitted`](crate::MeshMessage::PeerAdmitted). It may be told the same again.
    pub fn new(remember: impl Fn(NodeId, u64) + Send + Sync + 'static) -> RememberPeer {
        RememberPeer(Arc::new(remember))
    }

    pub(crate) fn remember(&self, node: NodeId, incarnation: u64) {
        (self.0)(node, incarnation);
    }
}

impl fmt::Debug for RememberPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RememberPeer")
    }
}

/// Keeps the latest cluster map that is known, for the next start.
#[derive(Clone)]
pub struct KeepMap(Arc<dyn Fn(&ClusterMap) + Send + Sync>);

impl KeepMap {
    /// `keep` is told a map and must not wait. It may be told the same by each core of the node, and an older one behind a later one.
    pub fn new(keep: impl Fn(&ClusterMap) + Send + Sync + 'static) -> KeepMap {
        KeepMap(Arc::new(keep))
    }

    pub(crate) fn keep(&self, map: &ClusterMap) {
        (self.0)(map);
    }
}

impl fmt::Debug for KeepMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepMap")
    }
}

/// What the operating system tells of the node's process and of the core's thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStats {
    /// Resident memory of the process, in bytes.
    pub rss_bytes: u64,
    /// The most that it has been.
    pub rss_peak_bytes: u64,
    /// Memory of the machine, in bytes.
    pub system_memory_bytes: u64,
    /// Time that the process has spent in the kernel.
    pub cpu_sys: Duration,
    /// Time that the process has spent outside the kernel.
    pub cpu_user: Duration,
    /// The part of `cpu_sys` that the thread which asks has spent.
    pub thread_cpu_sys: Duration,
    /// The part of `cpu_user` that the thread which asks has spent.
    pub thread_cpu_user: Duration,
}

/// Asks the operating system for [`ProcessStats`].
#[derive(Clone)]
pub struct ProcessProbe {
    ask: Arc<dyn Fn() -> ProcessStats + Send + Sync>,
    trim: fn(),
}

impl ProcessProbe {
    /// `ask` is called by a core when INFO wants to know, and so within a turn: it must not wait. `trim` is called at a core's start: it
    /// has the allocator of the thread give back to the system what it keeps and nobody uses.
    pub fn new(ask: impl Fn() -> ProcessStats + Send + Sync + 'static, trim: fn()) -> ProcessProbe {
        ProcessProbe { ask: Arc::new(ask), trim }
    }

    pub(crate) fn ask(&self) -> ProcessStats {
        (self.ask)()
    }

    /// What the process needs: what its allocator keeps beyond that is given back first.
    pub(crate) fn ask_for_needed(&self) -> ProcessStats {
        (self.trim)();
        self.ask()
    }
}

impl fmt::Debug for ProcessProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessProbe")
    }
}

/// Where the tables of a core lie, of a node with this data directory.
pub fn store_dir(data_dir: &Path, core: CoreId) -> PathBuf {
    data_dir.join("store").join(format!("core-{:02}", core.0))
}

/// How the rows of a core lie on disk.
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// How the manifest is kept.
    pub manifest: ManifestSettings,
    /// How tables are written.
    pub write: WriteSettings,
    /// When they are merged.
    pub merges: MergeSettings,
    /// Memory for what leads to rows in tables, in bytes, as far as [`Config::memory_bytes_max`] has it.
    pub index_cache_bytes_max: usize,
    /// The same for parts of tables with rows.
    pub cache_bytes_max: usize,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            manifest: ManifestSettings::default(),
            write: WriteSettings::default(),
            merges: MergeSettings::default(),
            index_cache_bytes_max: usize::MAX,
            cache_bytes_max: defaults::TABLE_CACHE_BYTES_MAX,
        }
    }
}

/// The default of every knob that a core has, in one place: the table of the configuration refers to it. Sizes are in bytes.
pub mod defaults {
    use std::time::Duration;

    pub use raft::defaults::{CACHE_BYTES_MAX, INFLIGHT_BYTES_MAX, UNCOMMITTED_BYTES_MAX};
    pub use types::limits::BATCH_BYTES_MAX;

    pub use crate::settings::defaults::*;

    /// Of [`Config::segment_bytes`](super::Config::segment_bytes).
    pub const SEGMENT_BYTES: u64 = 64 << 20;
    /// Of [`Config::block_bytes_max`](super::Config::block_bytes_max).
    pub const BLOCK_BYTES_MAX: usize = 1 << 20;
    /// Of [`Config::group_log_bytes_max`](super::Config::group_log_bytes_max).
    pub const GROUP_LOG_BYTES_MAX: u64 = 64 << 20;
    /// Of [`Config::log_bytes_max`](super::Config::log_bytes_max).
    pub const LOG_BYTES_MAX: u64 = 1 << 30;
    /// Of [`Config::disk_reserve_bytes`](super::Config::disk_reserve_bytes): of what a merge needs before it lets the first table go, and
    /// of what most flushes write.
    pub const DISK_RESERVE_BYTES: u64 = 2 * SEGMENT_BYTES;
    /// Of [`StoreSettings::cache_bytes_max`](super::StoreSettings::cache_bytes_max).
    pub const TABLE_CACHE_BYTES_MAX: usize = 4 << 20;
    /// Of [`Config::log_tail_bytes_max`](super::Config::log_tail_bytes_max).
    pub const LOG_TAIL_BYTES_MAX: u64 = 16 << 20;
    /// Of [`Config::memory_bytes_max`](super::Config::memory_bytes_max), for worlds that do not say what a machine can give: a
    /// node sets its share of the machine's memory.
    pub const MEMORY_BYTES_MAX: usize = 1 << 30;
    /// Of [`Config::compare_wait_max`](super::Config::compare_wait_max).
    pub const COMPARE_WAIT_MAX: Duration = Duration::from_secs(4 * 60 * 60);
    /// Of [`Config::clients_count_max`](super::Config::clients_count_max).
    pub const CLIENTS_COUNT_MAX: usize = 10_000;
    /// Of [`Config::leader_wait`](super::Config::leader_wait).
    pub const LEADER_WAIT: Duration = Duration::from_secs(5);
}

/// The entries that groups keep for slow followers take one in this many bytes of a core's memory at most.
const CACHES_SHARE: usize = 8;

/// What leads to rows in tables takes one in this many bytes of a core's memory at most. It is about a hundredth of tables with values of
/// 4 KiB, and whatever of it is not in memory costs each lookup there another read.
const TABLE_INDEX_SHARE: usize = 8;
/// The same for parts of tables with rows.
const TABLE_DATA_SHARE: usize = 32;

/// Configuration of one core. The same for all cores of a node but for [`Config::place`].
#[derive(Clone, Debug)]
pub struct Config {
    /// This core.
    pub place: CoreAddr,
    /// The cluster as it was formed, validated: the same on all nodes, also on those that have joined it.
    pub map: ClusterMap,
    /// The latest map that this node knew when it was last stopped, of the same cluster, validated. It names this node.
    pub latest_map: ClusterMap,
    /// Who keeps later ones.
    pub keep_map: Option<KeepMap>,
    /// Drawn when the data directory was made; peers remember it.
    pub incarnation: u64,
    /// Whether the node has lost its data and come back with none: the replicas of the first map that lived here are lost.
    pub has_come_back: bool,
    /// What nodes without data are compared with that ask whether the cluster is formed.
    pub config_print: ConfigPrint,
    /// The other nodes' incarnations, as far as they are known.
    pub known_peers: Vec<(NodeId, u64)>,
    /// Who remembers those that are not. Without it they are let in at once and remembered in memory only.
    pub remember_peer: Option<RememberPeer>,
    /// The node's data directory.
    pub data_dir: PathBuf,
    /// Length of a log segment in bytes.
    pub segment_bytes: u64,
    /// A block is closed once it is this long, in bytes.
    pub block_bytes_max: usize,
    /// A batch is closed, and proposed at once, when it is this long, in bytes.
    pub batch_bytes_max: usize,
    /// Appends on their way to one follower: their bytes, per group.
    pub inflight_bytes_max: usize,
    /// What a group has proposed and not committed, in bytes.
    pub uncommitted_bytes_max: usize,
    /// Entries a group keeps in memory for slow followers, in bytes; an eighth of the memory for those of all groups together.
    pub cache_bytes_max: usize,
    /// Log of one group behind its tables, in bytes, before what has changed since is flushed.
    pub group_log_bytes_max: u64,
    /// Segments of the core's log, in bytes: before it is passed the groups that keep the oldest one are flushed,
    /// whatever else they would wait for, and their writers wait for that.
    pub log_bytes_max: u64,
    /// Log that a group keeps before the seal of its tables for slow followers, in bytes.
    pub log_tail_bytes_max: u64,
    /// Room on the disk that the core keeps for when that is full, in bytes; 0 for none.
    pub disk_reserve_bytes: u64,
    /// How the rows lie on disk.
    pub store: StoreSettings,
    /// How long a comparison waits at most for the leader's own digest.
    pub compare_wait_max: Duration,
    /// Memory of this core for keys, caches, buffers and clients together, in bytes.
    pub memory_bytes_max: usize,
    /// Limits of queues, beyond which clients and peers are held back.
    pub limits: Limits,
    /// Most clients of this core.
    pub clients_count_max: usize,
    /// How long a command may wait for its group to get a leader, or for the answer of another core.
    pub leader_wait: Duration,
    /// What may change while the core runs, as it begins; what is in force then stands in its context.
    pub settings: NodeSettings,
    /// Whom the core asks to change it. Without it CONFIG SET is refused.
    pub ask_settings: Option<AskSettings>,
    /// Version of the software, for INFO.
    pub version: &'static str,
    /// What tells INFO of the process. Without it INFO shows neither its resident memory nor its time.
    pub process: Option<ProcessProbe>,
}

impl Config {
    /// Seeds the hashes that order the rows of all groups: the same on every replica, and nothing that clients can know.
    pub(crate) fn row_hash_seed(&self) -> u64 {
        xxh3_64(&self.map.cluster_id.0.to_le_bytes())
    }

    /// The entries that one of this core's groups keeps in memory for slow followers, in bytes. All groups together never keep so many that
    /// keys would have no room: a core may have a thousand groups.
    pub(crate) fn group_cache_bytes_max(&self) -> usize {
        let groups_count = self.map.replicas_at(self.place).count().max(1);
        self.cache_bytes_max.min(self.memory_bytes_max / CACHES_SHARE / groups_count)
    }

    /// How much of its tables a core keeps in memory, rows aside.
    pub(crate) fn table_cache_limits(&self) -> CacheLimits {
        CacheLimits {
            index_bytes_max: self.store.index_cache_bytes_max.min(self.memory_bytes_max / TABLE_INDEX_SHARE),
            data_bytes_max: self.store.cache_bytes_max.min(self.memory_bytes_max / TABLE_DATA_SHARE),
        }
    }

    /// This node.
    ///
    /// # Panics
    /// If the latest map does not name it: no core starts then.
    pub(crate) fn node(&self) -> &Node {
        self.latest_map.node(self.place.node).expect("a core is of its own map")
    }

    /// The defaults for a core of a cluster of which no later map is known than the first.
    pub fn new(place: CoreAddr, map: ClusterMap, incarnation: u64, data_dir: PathBuf) -> Config {
        Config {
            place,
            latest_map: map.clone(),
            map,
            keep_map: None,
            incarnation,
            has_come_back: false,
            config_print: ConfigPrint::default(),
            known_peers: Vec::new(),
            remember_peer: None,
            data_dir,
            segment_bytes: defaults::SEGMENT_BYTES,
            block_bytes_max: defaults::BLOCK_BYTES_MAX,
            batch_bytes_max: defaults::BATCH_BYTES_MAX,
            inflight_bytes_max: defaults::INFLIGHT_BYTES_MAX,
            uncommitted_bytes_max: defaults::UNCOMMITTED_BYTES_MAX,
            cache_bytes_max: defaults::CACHE_BYTES_MAX,
            group_log_bytes_max: defaults::GROUP_LOG_BYTES_MAX,
            log_bytes_max: defaults::LOG_BYTES_MAX,
            log_tail_bytes_max: defaults::LOG_TAIL_BYTES_MAX,
            disk_reserve_bytes: defaults::DISK_RESERVE_BYTES,
            store: StoreSettings::default(),
            compare_wait_max: defaults::COMPARE_WAIT_MAX,
            memory_bytes_max: defaults::MEMORY_BYTES_MAX,
            limits: Limits::default(),
            clients_count_max: defaults::CLIENTS_COUNT_MAX,
            leader_wait: defaults::LEADER_WAIT,
            settings: NodeSettings::default(),
            ask_settings: None,
            version: env!("CARGO_PKG_VERSION"),
            process: None,
        }
    }

    /// Where this core's log lies.
    pub fn wal_dir(&self) -> PathBuf {
        self.data_dir.join("wal").join(format!("core-{:02}", self.place.core.0))
    }

    /// Where this core's tables lie.
    pub fn store_dir(&self) -> PathBuf {
        store_dir(&self.data_dir, self.place.core)
    }

    /// A core of another node of which nothing was heard for so long is taken to be down.
    pub(crate) fn silence_max(&self) -> Duration {
        Duration::from_millis(u64::from(self.map.settings.election_timeout_min_ms))
    }

    /// A leader steps down that has not heard a majority for so long.
    pub(crate) fn election_timeout_max(&self) -> Duration {
        Duration::from_millis(u64::from(self.map.settings.election_timeout_max_ms))
    }

    /// How often the core ticks while something waits for that: twice per heartbeat.
    pub(crate) fn tick_interval(&self) -> Duration {
        self.heartbeat_interval() / 2
    }

    /// How often a link carries something, if need be an empty frame. Five fit into [`Config::silence_max`], unless
    /// heartbeats are further apart: so a core may pause for most of it without being taken to be down.
    pub(crate) fn keep_alive_interval(&self) -> Duration {
        self.heartbeat_interval().max(self.silence_max() / 5)
    }

    /// How often a core ticks on which nothing happens.
    pub(crate) fn idle_tick_interval(&self) -> Duration {
        self.keep_alive_interval().min(IDLE_TICK_INTERVAL_MAX).max(self.tick_interval())
    }

    fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.map.settings.heartbeat_interval_ms))
    }
}

#[cfg(test)]
impl Config {
    /// Core 0 of node 1 in a cluster of `nodes_count` nodes, with `cores` cores each and `groups_count` groups. Nothing lies in its data directory.
    pub(crate) fn of_test(nodes_count: u8, cores: u16, groups_count: usize) -> Config {
        let nodes = (1..=nodes_count).map(|id| Node {
            id: NodeId(id.into()),
            host: std::net::Ipv4Addr::new(127, 0, 0, id).into(),
            gateway_port: 7_000,
            core_port: 7_001,
            peer_port: 8_001,
            admin_port: 9_000,
            cores,
            rack: None,
        });
        let bootstrap = meta::Bootstrap {
            cluster_id: meta::ClusterId(1),
            nodes: nodes.collect(),
            groups_count,
            settings: meta::Settings::default(),
        };
        let map = ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap");
        let place = CoreAddr { node: NodeId(1), core: CoreId(0) };
        Config { disk_reserve_bytes: 0, ..Config::new(place, map, 1, PathBuf::from("/nonexistent")) }
    }
}
