//! Tests of INFO: its sections, its format, and its fields compared with a real server's.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use raft::Role;
use resp::{ArgRange, Args, CommandId};
use types::{GroupId, Instant};

use super::SECTIONS;
use crate::budget::Pool;
use crate::config::{Config, ProcessStats};
use crate::observe::field::Field;
use crate::observe::report::{CoreReport, ReplicaReport};
use crate::observe::sections::{Info, InfoScope};
use crate::observe::stalls::StallReport;
use crate::refusal::Refusal;

const MIB: u64 = 1 << 20;

fn report() -> CoreReport {
    let replica = ReplicaReport {
        group: GroupId(3),
        role: Role::Leader,
        term: 2,
        commit: 9,
        applied: 8,
        last: 10,
        durable: 9,
        keys_count: 4,
        backlog_bytes: 5,
        snapshot: 6,
        stalls: StallReport::default(),
        members: None,
    };
    let mut report = CoreReport {
        cores_count: 1,
        uptime: Duration::from_secs(200_000),
        keys_count: 4,
        clients_count: 2,
        commit_index_sum: 77,
        raft: raft::Counters { campaigns: 1, ..raft::Counters::default() },
        replicas: vec![replica],
        ..CoreReport::default()
    };
    (report.memory.used, report.memory.peak, report.memory.pools[Pool::Keys as usize]) = (2 << 20, 4 << 20, 1 << 20);
    report.counters.keyspace_hits = 12;
    report.rate.bytes_received = 1_536;
    if let Some(sample) = report.commands.begin_sample(CommandId::ClientList) {
        report.commands.end_sample(sample, Duration::from_micros(10));
        report.commands.answered(CommandId::ClientList, Duration::from_micros(10), 1);
    }
    report.errors.count(b"-ERR syntax error\r\n");
    report.fields = vec![Field::least("log_has_room", "", 1), Field::sum("log_bytes", "", 4_096)];
    report
}

fn process() -> ProcessStats {
    ProcessStats {
        rss_bytes: 3 * MIB,
        rss_peak_bytes: 5 * MIB,
        system_memory_bytes: 1_024 * MIB,
        cpu_sys: Duration::from_millis(1_500),
        cpu_user: Duration::from_millis(2_500),
        thread_cpu_sys: Duration::from_millis(500),
        thread_cpu_user: Duration::from_millis(250),
    }
}

fn ask(scope: InfoScope, line: &str) -> String {
    let mut ranges = Vec::new();
    let mut start = 0;
    for word in line.split(' ') {
        ranges.push(ArgRange { start, end: start + word.len() as u32 });
        start += word.len() as u32 + 1;
    }
    let (config, report) = (Config::of_test(3, 2, 4), report());
    let info = Info { scope, config: &config, report: &report, unix_ms: 1_000, process: Some(process()) };
    info.text(Args::new(line.as_bytes(), &ranges))
}

fn titles(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
}

fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).collect()
}

#[test]
fn sections_are_shown_as_they_are_asked_for() {
    let all: Vec<&str> = SECTIONS.iter().map(|section| section.title).collect();
    let but =
        |left_out: &[&str]| -> Vec<&str> { all.iter().copied().filter(|title| !left_out.contains(title)).collect() };
    let default = but(&["Commandstats", "Latencystats", "Stages", "Groups"]);
    let cases: [(&str, Vec<&str>); 10] = [
        ("INFO", default.clone()),
        ("INFO default", default.clone()),
        ("INFO all", but(&["Groups"])),
        ("INFO EVERYTHING", all.clone()),
        ("INFO groups", vec!["Groups"]),
        ("INFO stats CPU server", vec!["Server", "Stats", "CPU"]),
        ("INFO cpu cpu nosuch", vec!["CPU"]),
        ("INFO nosuch", vec![]),
        ("INFO module_list", vec!["Modules"]),
        ("INFO default commandstats", but(&["Latencystats", "Stages", "Groups"])),
    ];
    for (line, expected) in cases {
        assert_eq!(titles(&ask(InfoScope::Core, line)), expected, "{line}");
    }
}

#[test]
fn the_format_is_that_of_redis() {
    let config = Config::of_test(3, 2, 4);
    let id = config.map.id40(config.place);
    assert_eq!(
        ask(InfoScope::Core, "INFO replication modules commandstats errorstats latencystats cluster groups keyspace"),
        "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n\
         master_replid:"
            .to_owned()
            + id.as_str()
            + "\r\nmaster_repl_offset:77\r\n\r\n# Modules\r\n\r\n\
         # Commandstats\r\ncmdstat_client|list:calls=1,usec=10,usec_per_call=10.00,rejected_calls=0,failed_calls=0\r\n\r\n\
         # Errorstats\r\nerrorstat_ERR:count=1\r\n\r\n\
         # Latencystats\r\nlatency_percentiles_usec_client|list:p50=10.239,p99=10.239,p99.9=10.239\r\n\r\n\
         # Cluster\r\ncluster_enabled:1\r\n\r\n\
         # Groups\r\ngroup3:role=Leader,term=2,commit=9,applied=8,last=10,durable=9,keys=4,backlog=5,snapshot=6,\
         stalls=0,stall_us=0,stalled_by=none,stalled_for_us=0\r\n\r\n\
         # Keyspace\r\ndb0:keys=4,expires=0,avg_ttl=0\r\n"
    );
}

#[test]
fn no_field_stands_there_twice_and_every_line_is_one() {
    let text = ask(InfoScope::Node, "INFO everything");
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let once: HashSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), once.len(), "{names:?}");
    let is_line = |line: &str| line.is_empty() || line.starts_with("# ") || line.contains(':');
    assert!(text.ends_with("\r\n") && text.split_terminator("\r\n").all(is_line), "{text}");
}

#[test]
fn a_core_shows_its_own_port_and_thread_and_the_gateway_the_nodes() {
    let (core, node) = (ask(InfoScope::Core, "INFO"), ask(InfoScope::Node, "INFO"));
    let (core, node) = (fields(&core), fields(&node));
    assert_eq!((core["tcp_port"], node["tcp_port"]), ("7001", "7000"));
    assert_eq!((core["used_cpu_sys"], node["used_cpu_sys"]), ("0.500000", "1.500000"));
    assert_eq!((core["used_cpu_user"], node["used_cpu_user"]), ("0.250000", "2.500000"));
    assert_eq!((core["core"], node["cores"]), ("0", "1"));
    assert_eq!(core.get("mem_fragmentation_ratio"), None, "the process has other cores too");
    assert_eq!(node["mem_fragmentation_ratio"], "1.50");
}

#[test]
fn what_is_counted_is_shown() {
    let text = ask(InfoScope::Core, "INFO");
    let fields = fields(&text);
    for (name, value) in [
        ("uptime_in_days", "2"),
        ("used_memory", "2097152"),
        ("used_memory_human", "2.00M"),
        ("used_memory_rss", "3145728"),
        ("used_memory_peak_perc", "50.00%"),
        ("used_memory_keys", "1048576"),
        ("used_memory_overhead", "1048576"),
        ("keyspace_hits", "12"),
        ("instantaneous_input_kbps", "1.50"),
        ("connected_clients", "2"),
        ("log_has_room", "1"),
        ("aof_current_size", "4096"),
        ("total_system_memory_human", "1.00G"),
        ("evicted_clients", "0"),
        ("raft_campaigns", "1"),
    ] {
        assert_eq!(fields.get(name), Some(&value), "{name}");
    }
    let counters = CoreReport::default().counters;
    // Those in the section `Stats` bear the names that Redis gives them.
    counters.list().iter().for_each(|(name, ..)| assert!(fields.contains_key(name), "{name}"));
    Refusal::ALL.iter().for_each(|refusal| assert!(fields.contains_key(refusal.counter()), "{refusal:?}"));
    assert_eq!(counters.started_at, Instant::ZERO);
}

#[test]
fn a_host_that_tells_nothing_of_the_process_leaves_fields_out() {
    let (config, report) = (Config::of_test(1, 1, 1), CoreReport::default());
    let info = Info { scope: InfoScope::Core, config: &config, report: &report, unix_ms: 0, process: None };
    let text = info.text(Args::new(b"", &[]));
    assert!(!text.contains("used_cpu") && !text.contains("rss"), "{text}");
    assert!(text.contains("used_memory_peak_perc:0.00%\r\n"), "nothing is divided by nothing");
}

#[test]
fn tools_find_the_fields_that_they_read() {
    // From the sources of redis_exporter, RedisInsight, redis-cli and lettuce.
    let read = "redis_version server_name redis_mode uptime_in_seconds uptime_in_days process_id tcp_port connected_clients \
                blocked_clients cluster_connections maxclients used_memory used_memory_startup used_memory_rss used_memory_peak used_memory_dataset maxmemory \
                maxmemory_policy mem_fragmentation_ratio mem_fragmentation_bytes mem_clients_normal mem_cluster_links \
                total_system_memory mem_aof_buffer aof_enabled aof_last_write_status aof_current_size aof_buffer_length \
                evicted_clients loading total_connections_received total_commands_processed \
                instantaneous_ops_per_sec total_net_input_bytes total_net_output_bytes instantaneous_input_kbps \
                instantaneous_output_kbps rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses \
                total_error_replies role connected_slaves master_repl_offset used_cpu_sys used_cpu_user cluster_enabled db0";
    let text = ask(InfoScope::Node, "INFO");
    let fields = fields(&text);
    for name in read.split_whitespace() {
        assert!(fields.contains_key(name), "{name}");
    }
}
