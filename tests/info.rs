//! INFO, CLIENT LIST and CONFIG GET beside those of a real redis-server.
//!
//! Tools read them by name and by shape: redis_exporter takes integers and floats by their names and splits
//! `calls=1,usec=5`, RedisInsight and redis-py parse what they find. So a field that bears a name of Redis has the shape that it
//! has there; and every field that Redis shows is there, or stands in [`ABSENT`] with the reason.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_tests::client::{bulk, ok};
use coracle_tests::{Client, Cluster, Options, RedisServer, Reply, alone};

const LIMIT: Duration = Duration::from_secs(60);
const SECTIONS: [&str; 13] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "modules",
    "commandstats",
    "errorstats",
    "latencystats",
    "cluster",
    "keyspace",
];

/// Fields of Redis 7.0 that a node does not show, by the reason. A `*` at the end stands for any rest.
const ABSENT: &[(&str, &[&str])] = &[
    (
        "how Redis was built and runs; here it would be another program's truth",
        &[
            "redis_git_sha1",
            "redis_git_dirty",
            "redis_build_id",
            "monotonic_clock",
            "multiplexing_api",
            "atomicvar_api",
            "gcc_version",
            "process_supervised",
            "hz",
            "configured_hz",
            "lru_clock",
            "executable",
            "config_file",
            "mem_allocator",
        ],
    ),
    ("threads that only do I/O: here each core does its own", &["io_threads_active", "io_threaded_*"]),
    (
        "what is not served: tracking, pub/sub, scripts, modules, MIGRATE",
        &[
            "tracking_*",
            "clients_in_timeout_table",
            "pubsub_*",
            "pubsubshard_channels",
            "used_memory_lua*",
            "used_memory_vm_*",
            "used_memory_scripts*",
            "used_memory_functions",
            "number_of_*",
            "module_fork_*",
            "migrate_cached_sockets",
            "dump_payload_sanitizations",
        ],
    ),
    ("an average that would take a look at every client", &["client_recent_max_*"]),
    (
        "figures of jemalloc, which the allocator here does not keep; the resident set is compared with what is counted",
        &[
            "allocator_*",
            "rss_overhead_*",
            "active_defrag_*",
            "total_active_defrag_time",
            "current_active_defrag_time",
        ],
    ),
    (
        "no key is evicted, and Redis's own measures of its search for expired ones mean nothing here",
        &[
            "expired_stale_perc",
            "expired_time_cap_reached_count",
            "expire_cycle_cpu_milliseconds",
            "total_eviction_exceeded_time",
            "current_eviction_exceeded_time",
            "mem_not_counted_for_evict",
            "lazyfree*",
            "slave_expires_tracked_keys",
        ],
    ),
    (
        "nothing forks, and each group is flushed by itself: the section Coracle tells of that",
        &[
            "rdb_*",
            "current_cow_*",
            "current_fork_perc",
            "current_save_keys_*",
            "latest_fork_usec",
            "total_forks",
            "aof_rewrite*",
            "aof_current_rewrite_time_sec",
            "aof_last_rewrite_time_sec",
            "aof_last_bgrewrite_status",
            "aof_last_cow_size",
            "aof_base_size",
            "aof_pending_rewrite",
        ],
    ),
    (
        "a write is answered when it is durable: no sync is left for later",
        &["aof_pending_bio_fsync", "aof_delayed_fsync"],
    ),
    (
        "Raft replicates: no replicas in the sense of Redis, no backlog, no resynchronization",
        &[
            "mem_replication_backlog",
            "mem_total_replication_buffers",
            "mem_clients_slaves",
            "total_net_repl_*",
            "instantaneous_input_repl_kbps",
            "instantaneous_output_repl_kbps",
            "repl_backlog_*",
            "sync_*",
            "master_replid2",
            "second_repl_offset",
        ],
    ),
    (
        "system calls and buffers of Redis's loop; turns are told of in the section Coracle",
        &["total_reads_processed", "total_writes_processed", "reply_buffer_*", "unexpected_error_replies"],
    ),
];

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |prefix| name.starts_with(prefix))
}

fn is_absent(name: &str) -> bool {
    ABSENT.iter().any(|(_, patterns)| patterns.iter().any(|pattern| matches(pattern, name)))
}

/// What both are asked before, so that there is something to tell.
fn use_it(client: &mut Client) {
    assert_eq!(client.command("SET k text"), ok());
    assert!(client.command("INCR k").error().is_some());
    client.command("GET nothing");
    client.command("CLIENT LIST");
}

/// The shape of a value: `N` for a whole number, `F` for one with decimals, the names of pairs, `text` for anything else.
fn shape(name: &str, value: &str) -> String {
    if name.ends_with("_human") {
        let is_size = value.trim_end_matches(|c| "BKMGTP".contains(c)).parse::<f64>().is_ok()
            && !value.ends_with(char::is_numeric);
        return if is_size { "size" } else { "text" }.to_owned();
    }
    if value.contains('=') && !value.contains(' ') {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => format!("{name}={}", shape(name, value)),
            None => "text".to_owned(),
        };
        return value.split(',').map(pair).collect::<Vec<_>>().join(",");
    }
    let number = value.strip_prefix('-').unwrap_or(value);
    let (number, unit) = number.strip_suffix('%').map_or((number, ""), |number| (number, "%"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match number.split_once('.') {
        _ if value.len() == 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) => "id".to_owned(),
        None if is_digits(number) => format!("N{unit}"),
        Some((whole, decimals)) if is_digits(whole) && is_digits(decimals) => format!("F{}{unit}", decimals.len()),
        _ => "text".to_owned(),
    }
}

/// The title of a section and its fields.
fn section(client: &mut Client, name: &str) -> (String, BTreeMap<String, String>) {
    let text = client.command(&format!("INFO {name}")).text();
    let title = text.lines().next().unwrap_or_default().to_owned();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    (title, fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

#[test]
fn info_has_the_fields_of_redis_in_their_shape() {
    let _alone = alone(LIMIT);
    let redis = RedisServer::start();
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let (mut theirs, mut ours) = (redis.client(), cluster.gateway(1));
    use_it(&mut theirs);
    use_it(&mut ours);
    let (mut wrong, mut shared, mut absent) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for name in SECTIONS {
        let ((their_title, their_fields), (our_title, our_fields)) =
            (section(&mut theirs, name), section(&mut ours, name));
        assert_eq!(our_title, their_title, "section {name}");
        for (field, value) in &their_fields {
            match our_fields.get(field) {
                Some(_) if is_absent(field) => wrong.push(format!("{field} is there, and listed as absent")),
                Some(our) if shape(field, our) != shape(field, value) => {
                    wrong.push(format!("{field} is `{our}`, and `{value}` in Redis"));
                }
                Some(_) => drop(shared.insert(field.clone())),
                None if is_absent(field) => drop(absent.insert(field.clone())),
                None => wrong.push(format!("{field} is missing in section {name}; in Redis it is `{value}`")),
            }
        }
    }
    println!("{} fields as in Redis, {} absent on purpose", shared.len(), absent.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for name in
        ["cmdstat_set", "cmdstat_client|list", "errorstat_ERR", "latency_percentiles_usec_incr", "db0", "run_id"]
    {
        assert!(shared.contains(name), "{name} was not compared");
    }
    // Another version of Redis may not have some of them.
    if section(&mut theirs, "server").1["redis_version"].starts_with("7.0.") {
        let is_used = |pattern: &str| absent.iter().any(|name| matches(pattern, name));
        let unused: Vec<_> = ABSENT.iter().flat_map(|(_, names)| *names).filter(|name| !is_used(name)).collect();
        assert!(unused.is_empty(), "Redis does not have {unused:?}");
    }
}

/// The pairs of a line of CLIENT LIST, in their order.
fn pairs(line: &str) -> Vec<(&str, &str)> {
    line.split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect()
}

#[test]
fn clients_are_described_as_in_redis() {
    let _alone = alone(LIMIT);
    let redis = RedisServer::start();
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    for command in ["CLIENT LIST", "CLIENT INFO"] {
        let (theirs, ours) = (redis.client().command(command).text(), cluster.gateway(1).command(command).text());
        let (theirs, ours) = (pairs(theirs.lines().next().unwrap()), pairs(ours.lines().next().unwrap()));
        let known: BTreeMap<&str, &str> = ours.iter().copied().collect();
        for (name, value) in &theirs {
            let our = known.get(name).unwrap_or_else(|| panic!("{command}: {name} is missing in {ours:?}"));
            assert_eq!(shape(name, our), shape(name, value), "{command}: {name} is `{our}`, and `{value}` in Redis");
        }
        let names = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&ours)[..theirs.len()], names(&theirs), "{command}: in the order of Redis");
        // Of Redis 7.2: clients tell them, and redis-py reads them.
        ["lib-name", "lib-ver"].iter().for_each(|name| assert!(known.contains_key(name), "{command}: {name}"));
    }
}

#[test]
fn settings_bear_the_names_and_the_shape_of_redis() {
    let _alone = alone(LIMIT);
    let redis = RedisServer::start();
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let settings = |client: &mut Client| -> BTreeMap<String, String> {
        let Reply::Array(all) = client.command("CONFIG GET *") else { panic!("CONFIG GET * is a list") };
        all.chunks(2).map(|pair| (pair[0].text(), pair[1].text())).collect()
    };
    let (theirs, ours) = (settings(&mut redis.client()), settings(&mut cluster.gateway(1)));
    let shared: Vec<&String> = ours.keys().filter(|name| theirs.contains_key(*name)).collect();
    println!("{} settings bear names of Redis: {shared:?}", shared.len());
    for name in &shared {
        let (our, their) = (&ours[*name], &theirs[*name]);
        assert_eq!(shape(name, our), shape(name, their), "{name} is `{our}`, and `{their}` in Redis");
        let is_switch = |value: &str| ["yes", "no"].contains(&value);
        assert_eq!(is_switch(our), is_switch(their), "{name} is `{our}`, and `{their}` in Redis");
    }
    // What redis_exporter, RedisInsight, redis-cli, redis-benchmark and client libraries ask for.
    let asked = "save appendonly appendfsync maxmemory maxmemory-policy maxclients databases io-threads timeout tcp-keepalive \
                 slowlog-log-slower-than slowlog-max-len notify-keyspace-events latency-tracking cluster-enabled \
                 cluster-node-timeout requirepass port bind dir loglevel proto-max-bulk-len client-query-buffer-limit";
    for name in asked.split_whitespace() {
        assert!(ours.contains_key(name), "{name} is missing");
        let shown = Reply::Array(vec![bulk(name), bulk(&ours[name])]);
        assert_eq!(cluster.gateway(1).command(&format!("CONFIG GET {name}")), shown);
    }
}
