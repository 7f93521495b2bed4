//! What INFO, CLUSTER INFO and CONFIG GET tell, under the names that redis_exporter (1.x) gives it, so that boards and alerts made for that work as they are.
//!
//! Names, types, labels and units are the exporter's to the letter, also where Prometheus would have them otherwise.

use std::collections::BTreeMap;

use crate::exposition::Exposition;

use Type::{Counter, Gauge};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
}

/// Fields of INFO and CLUSTER INFO, the exporter's names for them behind `redis_`, and what they tell.
const FIELDS: &[(&str, &str, Type, &str)] = &[
    ("uptime_in_seconds", "uptime_in_seconds", Gauge, "Seconds since the node has started."),
    ("process_id", "process_id", Gauge, "Id of the process."),
    ("connected_clients", "connected_clients", Gauge, "Clients connected."),
    ("blocked_clients", "blocked_clients", Gauge, "Clients whose next command waits for something."),
    ("maxclients", "max_clients", Gauge, "Most clients of all cores."),
    ("cluster_connections", "cluster_connections", Gauge, "Links to other cores that are up."),
    ("used_memory", "memory_used_bytes", Gauge, "Bytes of memory that cores hold."),
    ("used_memory_rss", "memory_used_rss_bytes", Gauge, "Bytes of memory that are resident."),
    ("used_memory_peak", "memory_used_peak_bytes", Gauge, "Most bytes of memory that cores have held."),
    ("used_memory_overhead", "memory_used_overhead_bytes", Gauge, "Bytes of memory held for anything but keys."),
    ("used_memory_startup", "memory_used_startup_bytes", Gauge, "Bytes of memory held since the start."),
    ("used_memory_dataset", "memory_used_dataset_bytes", Gauge, "Bytes of memory held for keys."),
    ("mem_fragmentation_ratio", "mem_fragmentation_ratio", Gauge, "Resident memory by what cores hold."),
    ("mem_fragmentation_bytes", "mem_fragmentation_bytes", Gauge, "Resident memory beyond what cores hold."),
    ("mem_clients_normal", "mem_clients_normal", Gauge, "Bytes of memory held for clients."),
    ("mem_cluster_links", "mem_cluster_links_bytes", Gauge, "Bytes of memory held for links."),
    ("mem_aof_buffer", "mem_aof_buffer_bytes", Gauge, "Bytes of memory held for the log."),
    ("maxmemory", "memory_max_bytes", Gauge, "Bytes of memory that cores may hold."),
    ("total_system_memory", "total_system_memory_bytes", Gauge, "Bytes of memory of the machine."),
    ("loading", "loading_dump_file", Gauge, "Whether data is being loaded."),
    ("async_loading", "async_loading", Gauge, "Whether data is being loaded beside serving."),
    ("aof_enabled", "aof_enabled", Gauge, "Whether writes are logged: always."),
    ("aof_current_size", "aof_current_size_bytes", Gauge, "Bytes of the log."),
    ("aof_buffer_length", "aof_buffer_length", Gauge, "Bytes that wait to be written to the log."),
    ("aof_last_write_status", "aof_last_write_status", Gauge, "Whether the log's last write was well."),
    ("total_connections_received", "connections_received_total", Counter, "Client connections accepted."),
    ("total_commands_processed", "commands_processed_total", Counter, "Commands of clients taken in."),
    (
        "rejected_connections",
        "rejected_connections_total",
        Counter,
        "Client connections closed as there were too many.",
    ),
    ("total_net_input_bytes", "net_input_bytes_total", Counter, "Bytes received from clients."),
    ("total_net_output_bytes", "net_output_bytes_total", Counter, "Bytes sent to clients."),
    ("expired_keys", "expired_keys_total", Counter, "Keys removed because their time had come."),
    ("evicted_keys", "evicted_keys_total", Counter, "Keys evicted: none ever is."),
    ("evicted_clients", "evicted_clients_total", Counter, "Clients closed as their requests filled the memory."),
    ("keyspace_hits", "keyspace_hits_total", Counter, "Keys that reads found."),
    ("keyspace_misses", "keyspace_misses_total", Counter, "Keys that reads did not find."),
    ("total_error_replies", "total_error_replies", Counter, "Replies that are errors."),
    ("used_cpu_sys", "cpu_sys_seconds_total", Counter, "Seconds of CPU within the kernel."),
    ("used_cpu_user", "cpu_user_seconds_total", Counter, "Seconds of CPU outside of the kernel."),
    ("connected_slaves", "connected_slaves", Gauge, "Replicas in the sense of Redis: none."),
    ("master_repl_offset", "master_repl_offset", Gauge, "Commit indexes of all groups, added up."),
    ("cluster_enabled", "cluster_enabled", Gauge, "Whether the node is one of a cluster: always."),
    ("cluster_state", "cluster_state", Gauge, "Whether a leader of every slot is known."),
    ("cluster_slots_assigned", "cluster_slots_assigned", Gauge, "Slots that belong to a group: all."),
    ("cluster_slots_ok", "cluster_slots_ok", Gauge, "Slots whose leader is known."),
    ("cluster_slots_pfail", "cluster_slots_pfail", Gauge, "Slots whose leader is not known."),
    ("cluster_slots_fail", "cluster_slots_fail", Gauge, "Slots given up: none ever is."),
    ("cluster_known_nodes", "cluster_known_nodes", Gauge, "Cores of the cluster."),
    ("cluster_size", "cluster_size", Gauge, "Cores that lead slots."),
    ("cluster_current_epoch", "cluster_current_epoch", Gauge, "Epoch of the cluster map."),
    ("cluster_my_epoch", "cluster_my_epoch", Gauge, "The same."),
    ("cluster_stats_messages_sent", "cluster_messages_sent_total", Gauge, "Frames sent by the node's first core."),
    (
        "cluster_stats_messages_received",
        "cluster_messages_received_total",
        Gauge,
        "Frames received by the node's first core.",
    ),
];

/// Settings of CONFIG GET, and the exporter's names for them.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("maxclients", "redis_config_maxclients", "Most clients of one port of a core, as CONFIG GET tells it."),
    ("maxmemory", "redis_config_maxmemory", "Bytes of memory that cores may hold, as CONFIG GET tells it."),
    ("io-threads", "redis_config_io_threads", "Cores, as CONFIG GET tells them."),
];

/// The fields that are labels of `redis_instance_info`.
const INSTANCE: [&str; 9] = [
    "role",
    "redis_version",
    "redis_mode",
    "os",
    "maxmemory_policy",
    "tcp_port",
    "run_id",
    "process_id",
    "master_replid",
];

/// The quantiles that INFO tells.
const QUANTILES: [(&str, &str); 3] = [("p50", "50"), ("p99", "99"), ("p99.9", "99.9")];

/// Adds what INFO tells of a node, in all its sections, and CLUSTER INFO; `settings` are names and values of CONFIG GET, and `unix_s` is
/// the wall clock, in seconds since 1970.
pub fn write<'a>(
    (info, cluster_info): (&str, &str),
    settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    unix_s: f64,
    out: &mut Exposition,
) {
    let lines = info.lines().chain(cluster_info.lines());
    let fields: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(':')).collect();
    for (setting, value) in settings {
        let known = SETTINGS.iter().find(|(name, ..)| *name == setting);
        if let (Some((_, name, help)), Some(value)) = (known, number(value)) {
            out.gauge(name, help, &[], value);
        }
    }
    out.gauge("redis_up", "Whether the node answers.", &[], 1.0);
    for (field, name, kind, help) in FIELDS {
        let Some(value) = fields.get(field).and_then(|value| number(value)) else { continue };
        let name = format!("redis_{name}");
        match kind {
            Counter => out.counter(&name, help, &[], value),
            Gauge => out.gauge(&name, help, &[], value),
        }
    }
    if let Some(uptime_s) = fields.get("uptime_in_seconds").and_then(|value| number(value)) {
        out.gauge(
            "redis_start_time_seconds",
            "When the node started, in seconds since 1970.",
            &[],
            unix_s - uptime_s,
        );
    }
    let labels = INSTANCE.map(|name| (name, fields.get(name).copied().unwrap_or_default()));
    out.gauge("redis_instance_info", "What the node is, in its labels.", &labels, 1.0);
    keyspace(fields.get("db0").copied().unwrap_or("keys=0,expires=0,avg_ttl=0"), out);
    for (name, value) in &fields {
        if let Some(error) = name.strip_prefix("errorstat_") {
            let count = part(value, "count").unwrap_or(0.0);
            out.counter(
                "redis_errors_total",
                "Replies that are errors, by their first word.",
                &[("err", error)],
                count,
            );
        }
        if let Some(command) = name.strip_prefix("cmdstat_") {
            commandstat(command, value, fields.get(&*format!("latency_percentiles_usec_{command}")).copied(), out);
        }
    }
}

fn keyspace(db0: &str, out: &mut Exposition) {
    let of = |name: &str| part(db0, name).unwrap_or(0.0);
    let labels = [("db", "db0")];
    out.gauge("redis_db_keys", "Keys of the groups that are led here.", &labels, of("keys"));
    out.gauge("redis_db_keys_expiring", "Those of them that expire.", &labels, of("expires"));
    let help = "How long these have to live, in seconds, on average.";
    out.gauge("redis_db_avg_ttl_seconds", help, &labels, of("avg_ttl") / 1_000.0);
}

fn commandstat(command: &str, stat: &str, percentiles: Option<&str>, out: &mut Exposition) {
    let of = |name: &str| part(stat, name).unwrap_or(0.0);
    let labels = [("cmd", command)];
    let (calls, usec) = (of("calls"), of("usec"));
    out.counter("redis_commands_total", "Commands taken in.", &labels, calls);
    let help = "Seconds spent on commands that are carried out by the core that they came to.";
    out.counter("redis_commands_duration_seconds_total", help, &labels, usec / 1e6);
    let help = "Commands that were not taken in.";
    out.counter("redis_commands_rejected_calls_total", help, &labels, of("rejected_calls"));
    let help = "Commands that were answered with an error.";
    out.counter("redis_commands_failed_calls_total", help, &labels, of("failed_calls"));
    if let Some(percentiles) = percentiles {
        let quantiles = QUANTILES.iter().filter_map(|(name, quantile)| Some((*quantile, part(percentiles, name)?)));
        let help = "How long commands took, in microseconds.";
        out.summary("redis_latency_percentiles_usec", help, &labels, quantiles, (calls as u64, usec));
    }
}

/// The value of a field: a number, or whether something is well.
fn number(value: &str) -> Option<f64> {
    match value {
        "ok" => Some(1.0),
        "err" | "fail" => Some(0.0),
        _ => value.parse().ok(),
    }
}

/// The number in a part `name=number` of a field.
fn part(value: &str, name: &str) -> Option<f64> {
    let mut parts = value.split(',').filter_map(|part| part.split_once('='));
    parts.find(|(known, _)| *known == name).and_then(|(_, value)| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:40\r\nrole:master\r\n\r\n\
                        # Memory\r\nused_memory:1000\r\nused_memory_human:1000B\r\naof_last_write_status:ok\r\n\
                        # Commandstats\r\ncmdstat_client|list:calls=2,usec=30,usec_per_call=15.00,rejected_calls=1,failed_calls=0\r\n\
                        # Errorstats\r\nerrorstat_ERR:count=7\r\n\
                        # Latencystats\r\nlatency_percentiles_usec_client|list:p50=15.500,p99=20.000,p99.9=20.000\r\n\
                        # Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=2500\r\n";

    fn text(info: &str) -> String {
        let mut out = Exposition::default();
        let settings = [("maxclients", "10"), ("save", ""), ("io-threads", "2")];
        write((info, "cluster_state:fail\r\ncluster_slots_ok:5\r\n"), settings, 1_000.0, &mut out);
        out.to_text()
    }

    #[test]
    fn fields_bear_the_names_of_the_exporter() {
        let text = text(INFO);
        for line in [
            "redis_up 1",
            "redis_memory_used_bytes 1000",
            "redis_aof_last_write_status 1",
            "redis_start_time_seconds 960",
            "redis_errors_total{err=\"ERR\"} 7",
            "redis_commands_total{cmd=\"client|list\"} 2",
            "redis_commands_duration_seconds_total{cmd=\"client|list\"} 0.00003",
            "redis_commands_rejected_calls_total{cmd=\"client|list\"} 1",
            "redis_latency_percentiles_usec{cmd=\"client|list\",quantile=\"50\"} 15.5",
            "redis_latency_percentiles_usec_count{cmd=\"client|list\"} 2",
            "redis_db_keys{db=\"db0\"} 3",
            "redis_cluster_state 0",
            "redis_cluster_slots_ok 5",
            "redis_config_maxclients 10",
            "redis_config_io_threads 2",
            "redis_db_avg_ttl_seconds{db=\"db0\"} 2.5",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing:\n{text}");
        }
        assert!(text.contains("redis_instance_info{role=\"master\",redis_version=\"7.0.15\","), "{text}");
        assert!(!text.contains("human"));
    }

    #[test]
    fn a_node_without_keys_has_none() {
        assert!(text("").contains("redis_db_keys{db=\"db0\"} 0\n"));
    }

    #[test]
    fn no_name_stands_twice() {
        let names: std::collections::HashSet<&str> = FIELDS.iter().map(|(_, name, ..)| *name).collect();
        assert_eq!(names.len(), FIELDS.len());
        assert!(FIELDS.iter().all(|(.., help)| help.ends_with('.')));
    }
}
