//! What CONFIG GET shows: every key of the configuration, and under Redis's names what clients and tools ask for.

use meta::{ClusterMap, ReadMode, Settings};

use crate::config::Config;
use crate::config::keys::{self, Key, MAXCLIENTS};

/// All settings, each as (name, value). `first` is the map with which the cluster was formed: what it settles counts, whatever is configured
/// since. `clients_count_max` is what a port of a core takes, on this host.
pub fn settings(config: &Config, first: &ClusterMap, clients_count_max: usize) -> Vec<(String, String)> {
    let mut settings = config.shown.clone();
    for (key, value) in of_cluster(first).into_iter().chain([(&MAXCLIENTS, clients_count_max.to_string())]) {
        let shown = settings.iter_mut().find(|(name, _)| name == key.name);
        shown.expect("every key is shown").1 = value;
    }
    settings.extend(as_redis(config, &first.settings).map(|(name, value)| (name.to_owned(), value)));
    settings
}

/// What a cluster is formed with.
fn of_cluster(first: &ClusterMap) -> [(&'static Key, String); 7] {
    let settings = &first.settings;
    let read_mode = match settings.read_mode {
        ReadMode::Lease => "lease",
        ReadMode::ReadIndex => "read_index",
    };
    [
        (&keys::GROUPS, (first.groups.len() - 1).to_string()),
        (&keys::REPLICATION_FACTOR, settings.replication_factor.to_string()),
        (&keys::READ_MODE, read_mode.to_owned()),
        (&keys::HEARTBEAT_INTERVAL_MS, settings.heartbeat_interval_ms.to_string()),
        (&keys::ELECTION_TIMEOUT_MIN_MS, settings.election_timeout_min_ms.to_string()),
        (&keys::ELECTION_TIMEOUT_MAX_MS, settings.election_timeout_max_ms.to_string()),
        (&keys::CLOCK_DRIFT_PPM_MAX_KEY, settings.clock_drift_ppm_max.to_string()),
    ]
}

/// Redis's names that say something true of a node. What is not there has the value by which Redis says so.
fn as_redis(config: &Config, settings: &Settings) -> impl Iterator<Item = (&'static str, String)> {
    let node = config.node();
    let own = [
        ("bind", node.host.to_string()),
        ("port", node.gateway_port.to_string()),
        ("dir", config.data_dir.display().to_string()),
        ("loglevel", redis_log_level(&config.log_level).to_owned()),
        ("io-threads", node.cores.to_string()),
        ("maxmemory", config.memory_bytes_max.saturating_mul(node.cores.into()).to_string()),
        ("proto-max-bulk-len", types::limits::VALUE_BYTES_MAX.to_string()),
        ("client-query-buffer-limit", types::limits::COMMAND_BYTES_MAX.to_string()),
        ("tcp-keepalive", rt::KEEP_ALIVE_IDLE.as_secs().to_string()),
        ("cluster-node-timeout", settings.election_timeout_max_ms.to_string()),
        ("latency-monitor-threshold", config.latency_threshold.map_or(0, |time| time.as_millis()).to_string()),
        ("slowlog-log-slower-than", config.slow_log_min.map_or("-1".into(), |time| time.as_micros().to_string())),
        ("slowlog-max-len", config.slow_log_len_max.to_string()),
    ];
    let fixed = [
        // Nothing is ever saved aside: every write is in a log before it is answered.
        ("save", ""),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("databases", "1"),
        ("cluster-enabled", "yes"),
        ("cluster-require-full-coverage", "no"),
        ("protected-mode", "no"),
        // Idle clients stay.
        ("timeout", "0"),
        ("tls-port", "0"),
        // How long commands take is always measured; these are shown.
        ("latency-tracking", "yes"),
        ("latency-tracking-info-percentiles", "50 99 99.9"),
        // There are no notifications.
        ("notify-keyspace-events", ""),
        ("activedefrag", "no"),
    ];
    own.into_iter().chain(fixed.map(|(name, value)| (name, value.to_owned())))
}

fn redis_log_level(level: &str) -> &'static str {
    match level {
        "error" | "warn" => "warning",
        "info" => "notice",
        _ => "debug",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Flags;

    fn shown(flags: &[(&str, &str)]) -> Vec<(String, String)> {
        let all = [&[("cluster_id", "c"), ("node_id", "1"), ("data_dir", "/d")], flags].concat();
        let config = Config::load(None, &Flags::of(&all)).expect("a sound configuration");
        let first = ClusterMap::bootstrap(&config.bootstrap).expect("checked");
        settings(&config, &first, config.clients_count_max)
    }

    #[test]
    fn every_name_is_shown_once_and_what_tools_ask_for_is_there() {
        let shown = shown(&[]);
        let names: BTreeSet<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), shown.len(), "a name is shown twice");
        for name in [
            "save",
            "appendonly",
            "maxmemory",
            "maxmemory-policy",
            "databases",
            "io-threads",
            "slowlog-log-slower-than",
            "slowlog-max-len",
            "latency-monitor-threshold",
            "timeout",
            "tcp-keepalive",
            "maxclients",
            "notify-keyspace-events",
            "memory_bytes_max",
        ] {
            assert!(names.contains(name), "{name} is missing");
        }
    }

    #[test]
    fn what_the_cluster_was_formed_with_counts() {
        let flags = [("cluster_id", "c"), ("node_id", "1"), ("data_dir", "/d")];
        let config = |more: &[(&str, &str)]| Config::load(None, &Flags::of(&[&flags, more].concat())).expect("sound");
        let formed = config(&[("groups", "5"), ("election_timeout_max_ms", "1500"), ("read_mode", "read_index")]);
        let first = ClusterMap::bootstrap(&formed.bootstrap).expect("checked");
        let shown = settings(&config(&[("groups", "9")]), &first, 7);
        for expected in [
            ("groups", "5"),
            ("election_timeout_max_ms", "1500"),
            ("read_mode", "read_index"),
            ("cluster-node-timeout", "1500"),
            ("maxclients", "7"),
        ] {
            assert!(shown.iter().any(|(name, value)| (name.as_str(), value.as_str()) == expected), "{expected:?}");
        }
    }

    #[test]
    fn what_is_shown_follows_from_the_configuration() {
        let flags = [("cores", "4"), ("memory_bytes_max", "1073741824"), ("maxclients", "77"), ("log_level", "warn")];
        let shown = shown(&flags);
        let value = |name: &str| shown.iter().find(|(shown, _)| shown == name).map(|(_, value)| value.as_str());
        assert_eq!(value("maxmemory"), Some("4294967296"), "of all cores together");
        assert_eq!(value("memory_bytes_max"), Some("1073741824"));
        assert_eq!((value("io-threads"), value("maxclients")), (Some("4"), Some("77")));
        assert_eq!((value("loglevel"), value("tcp-keepalive")), (Some("warning"), Some("60")));
        assert_eq!((value("slowlog-log-slower-than"), value("slowlog-max-len")), (Some("10000"), Some("128")));
        assert_eq!(value("latency-monitor-threshold"), Some("100"));
    }
}
