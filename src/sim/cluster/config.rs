//! What a seed's cluster is configured to be: its map, and the configuration of each core.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use meta::{Bootstrap, ClusterId, ClusterMap, Settings};
use types::{CoreAddr, NodeId};

use super::limits;
use crate::cluster_spec::{ClusterSpec, Load, NodeNumber};
use crate::prng::Prng;

/// Where a node keeps its data on its disk.
pub(super) const DATA_DIR: &str = "/data";
const GATEWAY_PORT: u16 = 7_000;
const CORE_PORT: u16 = 7_001;
const PEER_PORT: u16 = 8_000;
const ADMIN_PORT: u16 = 9_000;

/// The node of a machine.
pub(super) fn node(cluster_spec: &ClusterSpec, number: NodeNumber) -> meta::Node {
    meta::Node {
        id: NodeId(number),
        host: IpAddr::from([127, 0, 0, number as u8]),
        gateway_port: GATEWAY_PORT,
        core_port: CORE_PORT,
        peer_port: PEER_PORT,
        admin_port: ADMIN_PORT,
        cores: cluster_spec.cores,
        rack: None,
    }
}

/// The first map of a seed's cluster.
pub(super) fn map(seed: u64, cluster_spec: &ClusterSpec) -> ClusterMap {
    let nodes = (1..=cluster_spec.nodes).map(|number| node(cluster_spec, number));
    let (heartbeat, shortest, longest) = cluster_spec.timing_ms;
    let settings = Settings {
        replication_factor: cluster_spec.replicas.min(cluster_spec.nodes) as u8,
        read_mode: cluster_spec.read_mode,
        heartbeat_interval_ms: heartbeat,
        election_timeout_min_ms: shortest,
        election_timeout_max_ms: longest,
        clock_drift_ppm_max: cluster_spec.drift_ppm_max,
    };
    let bootstrap = Bootstrap {
        cluster_id: ClusterId(u128::from(seed)),
        nodes: nodes.collect(),
        groups_count: cluster_spec.groups,
        settings,
    };
    ClusterMap::bootstrap(&bootstrap).expect("the shapes of seeds make valid maps")
}

/// The configuration of a core of the seed's cluster. `incarnation` is that of its node's data.
pub(super) fn core_config(
    seed: u64,
    cluster_spec: &ClusterSpec,
    map: &ClusterMap,
    place: CoreAddr,
    incarnation: u64,
) -> engine::Config {
    let mut config = engine::Config {
        segment_bytes: cluster_spec.segment_bytes,
        block_bytes_max: cluster_spec.block_bytes_max,
        batch_bytes_max: cluster_spec.batch_bytes_max,
        group_log_bytes_max: cluster_spec.group_log_bytes_max,
        log_bytes_max: cluster_spec.log_bytes_max,
        log_tail_bytes_max: cluster_spec.log_tail_bytes_max,
        disk_reserve_bytes: cluster_spec.disk_reserve_bytes,
        cache_bytes_max: cluster_spec.cache_bytes_max,
        memory_bytes_max: cluster_spec.memory_bytes_max,
        settings: engine::NodeSettings {
            compare_interval: cluster_spec.compare_interval,
            scrub_interval: cluster_spec.scrub_interval,
            scrub_bytes_per_s: cluster_spec.scrub_bytes_per_s,
            node_down_after: cluster_spec.node_down_after,
            balance: cluster_spec.has_planner,
            ..engine::NodeSettings::default()
        },
        leader_wait: Duration::from_millis(u64::from(cluster_spec.timing_ms.2) * 4),
        store: store_settings(seed),
        ..engine::Config::new(place, map.clone(), incarnation, PathBuf::from(DATA_DIR))
    };
    limits::limit(seed, cluster_spec, &mut config);
    config.limits.rows_bytes_max = rows_bytes_max(seed);
    config
}

/// How many bytes of rows stay in memory: in most runs fewer than there are.
fn rows_bytes_max(seed: u64) -> usize {
    Prng::stream(seed, "rows").pick(&[8 << 10, 64 << 10, usize::MAX])
}

/// Whether all rows of a seed's run stay in memory.
pub(crate) fn keeps_all_rows(seed: u64, cluster_spec: &ClusterSpec) -> bool {
    rows_bytes_max(seed) == usize::MAX && cluster_spec.load != Load::SmallMemory
}

/// Small tables in most runs, so that there are many of them, and merges of few rows.
fn store_settings(seed: u64) -> engine::StoreSettings {
    let mut prng = Prng::stream(seed, "store");
    let mut settings = engine::StoreSettings::default();
    settings.manifest.bytes_min = prng.pick(&[16 << 10, 64 << 10]);
    settings.write.table.block_bytes = prng.pick(&[200, 1 << 10, settings.write.table.block_bytes]);
    settings.write.table.chunk_bytes = prng.pick(&[4 << 10, 64 << 10]);
    settings.write.table_bytes_max = prng.pick(&[1 << 10, 16 << 10, settings.write.table_bytes_max]);
    settings.write.blob_value_bytes_min = prng.pick(&[100, 2 << 10, settings.write.blob_value_bytes_min]);
    settings.write.blob_file_bytes_max = prng.pick(&[16 << 10, settings.write.blob_file_bytes_max]);
    settings.write.sync_bytes = prng.pick(&[8 << 10, settings.write.sync_bytes]);
    settings.merges.fan_out = prng.pick(&[2, 3, settings.merges.fan_out]);
    settings.merges.window_bytes = prng.pick(&[4 << 10, settings.merges.window_bytes]);
    settings.cache_bytes_max = prng.pick(&[0, 16 << 10, settings.cache_bytes_max]);
    // Where leaves are kept, rot in them is not met.
    settings.index_cache_bytes_max =
        Prng::stream(seed, "index caches").pick(&[0, 16 << 10, settings.index_cache_bytes_max]);
    settings
}
