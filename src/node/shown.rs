//! What CONFIG GET shows: every key of the configuration, and under Redis's names what clients and tools ask for.

use crate::config::Config;
use crate::config::keys::MAXCLIENTS;

/// All settings, each as (name, value). `clients_count_max` is what a port of a core takes, on this host.
pub fn settings(config: &Config, clients_count_max: usize) -> Vec<(String, String)> {
    let mut settings = config.shown.clone();
    let shown = settings.iter_mut().find(|(name, _)| name == MAXCLIENTS.name);
    shown.expect("every key is shown").1 = clients_count_max.to_string();
    settings.extend(as_redis(config).map(|(name, value)| (name.to_owned(), value)));
    settings
}

/// Redis's names that say something true of a node. What is not there has the value by which Redis says so.
fn as_redis(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
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
        ("cluster-node-timeout", config.bootstrap.settings.election_timeout_max_ms.to_string()),
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
        settings(&config, config.clients_count_max)
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
