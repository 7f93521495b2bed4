//! What is told of how long commands take: INFO, LATENCY, SLOWLOG, COMMANDLOG and CORACLE HOTKEYS, with redis-cli and redis-py.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use coracle_tests::client::{bulk, encode, ok};
use coracle_tests::{Client, Cluster, Options, Reply, alone, http, process, root, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);
/// For how long the other nodes stand still: longer than what is slow, shorter than an election.
const FROZEN_FOR: Duration = Duration::from_millis(300);

fn items(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Array(items) => items,
        other => panic!("no array: {other:?}"),
    }
}

fn int(reply: &Reply) -> i64 {
    match reply {
        Reply::Int(number) => *number,
        other => panic!("no number: {other:?}"),
    }
}

/// The elements of a map, by name.
fn fields(map: Reply) -> BTreeMap<String, Reply> {
    items(map).chunks(2).map(|pair| (pair[0].text(), pair[1].clone())).collect()
}

fn words(reply: &Reply) -> Vec<String> {
    items(reply.clone()).iter().map(Reply::text).collect()
}

/// A client of the core that leads the group of `key`, and its node.
fn leader_of(cluster: &Cluster, key: &str) -> (Client, usize) {
    let leads = |id: &usize| cluster.core(*id, 0).command(&format!("SET {key} v")) == ok();
    let id = (1..=3).find(leads).expect("one of them leads");
    (cluster.core(id, 0), id)
}

/// The histogram of LATENCY HISTOGRAM for one command: how many were answered, and how many within so many microseconds.
fn histogram(client: &mut Client, command: &str) -> (i64, Vec<(i64, i64)>) {
    let mut all = fields(client.command(&format!("LATENCY HISTOGRAM {command}")));
    let Some(found) = all.remove(command) else { return (0, Vec::new()) };
    let of = fields(found);
    let steps = items(of["histogram_usec"].clone());
    (int(&of["calls"]), steps.chunks(2).map(|step| (int(&step[0]), int(&step[1]))).collect())
}

#[test]
fn a_write_that_waits_for_others_is_in_the_slow_log_with_its_stages() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let (mut client, leader) = leader_of(&cluster, "slow");
    assert_eq!(client.command("CLIENT SETNAME me"), ok());
    assert_eq!(client.command("SLOWLOG RESET"), ok());
    client.command("LATENCY RESET");
    let others: Vec<u32> = (1..=3).filter(|id| *id != leader).map(|id| cluster.node(id).pid).collect();
    others.iter().for_each(|pid| process::freeze(*pid));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(FROZEN_FOR);
            others.iter().for_each(|pid| process::signal(*pid, Signal::CONT));
        });
        assert_eq!(client.command("SET slow v2"), ok());
    });
    let is_it = |entry: &Reply| words(&items(entry.clone())[3]) == ["SET", "slow", "v2"];
    let entries = items(client.command("SLOWLOG GET -1"));
    let entry = items(entries.iter().find(|entry| is_it(entry)).unwrap_or_else(|| panic!("{entries:?}")).clone());
    assert_eq!((entry.len(), entry[5].text().as_str()), (6, "me"));
    assert!(int(&entry[2]) >= 200_000 && entry[4].text().starts_with("127.0.0."), "{entry:?}");
    let with_stages = items(client.command("CORACLE SLOWLOG -1")).into_iter().map(fields);
    let with_stages = with_stages.into_iter().find(|known| known["id"] == entry[0]).expect("the same entries");
    let stages = fields(with_stages["stages_us"].clone());
    assert_eq!(with_stages["way"].text(), "batch");
    let (commit, durable) = (int(&stages["commit"]), int(&stages["durable"]));
    assert!(commit >= 200_000 && commit <= int(&entry[2]), "{stages:?}");
    assert!(durable < commit / 2, "the disk here did not wait for others: {stages:?}");
    // What took so long is an event.
    let latest = items(client.command("LATENCY LATEST")).into_iter().map(items);
    let latest: BTreeMap<String, i64> = latest.map(|event| (event[0].text(), int(&event[3]))).collect();
    assert!(latest["commit"] >= 200 && !latest.contains_key("log-write"), "{latest:?}");
    assert!(!items(client.command("LATENCY HISTORY commit")).is_empty());
    let told = client.command("LATENCY DOCTOR").text();
    assert!(told.contains("commit: in 1 seconds") && told.contains("until a majority has it durable"), "{told}");
    assert!(int(&client.command("LATENCY RESET commit nosuch")) == 1);
    assert_eq!(client.command("LATENCY HISTORY commit"), Reply::Array(Vec::new()));
    assert!(int(&client.command("SLOWLOG LEN")) >= 1);
    assert_eq!(client.command("SLOWLOG RESET"), ok());
    assert_eq!(client.command("SLOWLOG LEN"), Reply::Int(0));
}

#[test]
fn a_forwarded_command_is_in_the_slow_log_of_the_node_that_its_client_has_asked() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { set: vec!["slowlog_log_slower_than=0".to_owned()], ..Options::default() });
    let (_, leader) = leader_of(&cluster, "far");
    let mut client = cluster.gateway(leader % 3 + 1);
    assert_eq!(client.command("SET far v3"), ok());
    let entries = items(client.command("CORACLE SLOWLOG -1")).into_iter().map(fields);
    let entry =
        entries.into_iter().find(|entry| words(&entry["command"]) == ["SET", "far", "v3"]).expect("it is there");
    assert_eq!(entry["way"].text(), format!("forwarded to {leader}/0"));
    // Secrets are never kept, and CONFIG GET tells what is kept.
    assert!(client.command("AUTH default secret").error().is_none());
    assert!(!format!("{:?}", client.command("SLOWLOG GET -1")).contains("secret"));
    let shown = client.command("CONFIG GET slowlog-log-slower-than");
    assert_eq!(shown, Reply::Array(vec![bulk("slowlog-log-slower-than"), bulk("0")]));
}

#[test]
fn histograms_count_every_command_that_is_answered() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, cores: 2, groups: 4, ..Options::default() });
    let mut client = cluster.gateway(1);
    let (mut sets, mut gets) = (0, 0);
    for round in 0..20 {
        let mut requests = Vec::new();
        for number in 0..50 + round {
            encode(&[b"SET", format!("k{number}").as_bytes(), b"v"], &mut requests);
            encode(&[b"GET", format!("k{number}").as_bytes()], &mut requests);
            (sets, gets) = (sets + 1, gets + 1);
        }
        client.send(&requests).unwrap();
        (0..100 + 2 * round).for_each(|_| assert!(client.reply().unwrap().error().is_none()));
    }
    assert!(client.command("GET").error().is_some(), "refused commands count for nothing");
    // What the other core has counted comes within a second or so.
    wait_until("all are counted", WITHIN, || {
        histogram(&mut client, "set").0 == sets && histogram(&mut client, "get").0 == gets
    });
    for command in ["set", "get"] {
        let (calls, steps) = histogram(&mut client, command);
        assert!(steps.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{steps:?}");
        assert_eq!(steps.last().map(|(_, count)| *count), Some(calls), "the last bound is above all: {steps:?}");
    }
    let stages = client.command("INFO stages").text();
    let count = |stage: &str| {
        let line =
            stages.lines().find_map(|line| line.strip_prefix(&format!("stage_{stage}:count="))).expect("a line");
        line.split(',').next().unwrap().parse::<i64>().unwrap()
    };
    assert!(count("write") > 0 && count("commit") >= count("write") && count("log_write") > 0, "{stages}");
    assert!(count("read_at_once") + count("read_in_batch") + count("read_behind") > 0, "{stages}");
    let latencies = client.command("INFO latencystats").text();
    assert!(latencies.contains("latency_percentiles_usec_set:p50=") && latencies.contains(",p99.9="), "{latencies}");
    let node = cluster.node(1);
    let (status, metrics) = http::get(&node.host, node.admin, "/metrics").unwrap();
    assert_eq!(status, 200);
    for stage in ["batch", "commit", "log_write", "apply"] {
        let name = format!("coracle_stage_seconds_count{{node=\"1\",core=\"0\",stage=\"{stage}\"}}");
        let counted = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("each stage is there");
        assert!(counted.trim().parse::<f64>().unwrap() > 0.0, "{stage}: {counted}");
    }
    assert_eq!(client.command("CONFIG RESETSTAT"), ok());
    assert_eq!(histogram(&mut client, "set").0, 0);
}

#[test]
fn the_hot_key_of_a_skewed_load_is_found_and_large_commands_are_kept() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 4, ..Options::default() });
    let mut client = cluster.gateway(1);
    let (mut seed, mut sent) = (7_u64, 0);
    for _ in 0..400 {
        let mut requests = Vec::new();
        for _ in 0..500 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Of Zipf's law with exponent 1, over about a million keys: the first is one in twenty.
            let key = (14.0 * (seed >> 11) as f64 / (1_u64 << 53) as f64).exp() as u64;
            encode(&[b"GET", format!("key:{key}").as_bytes()], &mut requests);
            sent += 1;
        }
        client.send(&requests).unwrap();
        (0..500).for_each(|_| assert_eq!(client.reply().unwrap(), Reply::Nil));
    }
    let hot = fields(client.command("CORACLE HOTKEYS COUNT 3"));
    let keys: Vec<Vec<Reply>> = items(hot["keys"].clone()).into_iter().map(items).collect();
    assert_eq!((keys.len(), keys[0][0].text().as_str()), (3, "key:1"), "{keys:?}");
    let (count, error) = (int(&keys[0][1]), int(&keys[0][2]));
    let expected = sent * 49 / 1_000;
    // Counts are halved now and then.
    assert!(count - error <= 2 * expected && count >= expected / 4, "{count} - {error} of {sent}");
    assert_eq!(items(hot["slots"].clone()).len(), 3);
    let value = vec![b'v'; 2 << 20];
    assert_eq!(client.ask(&[b"SET", b"large", &value]).unwrap(), ok());
    assert_eq!(client.ask(&[b"GET", b"large"]).unwrap(), Reply::Bulk(value));
    for (kind, command) in [("large-request", "SET"), ("large-reply", "GET")] {
        let entry = items(items(client.command(&format!("COMMANDLOG GET -1 {kind}"))).remove(0));
        assert_eq!((words(&entry[3])[0].as_str(), int(&entry[2]) > 2 << 20), (command, true), "{kind}: {entry:?}");
        assert_eq!(client.command(&format!("COMMANDLOG LEN {kind}")), Reply::Int(1));
        assert_eq!(client.command(&format!("COMMANDLOG RESET {kind}")), ok());
    }
    let refused = client.command("COMMANDLOG LEN nosuch");
    assert!(refused.error().is_some_and(|error| error.contains("large-request")), "{refused:?}");
}

/// Clients read what SLOWLOG and LATENCY answer as they read it of Redis.
#[test]
fn redis_cli_and_redis_py_read_the_replies() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options {
        nodes: 1,
        groups: 4,
        set: vec!["slowlog_log_slower_than=0".to_owned()],
        ..Options::default()
    });
    let node = cluster.node(1);
    let cli = |args: &[&str]| {
        let port = node.gateway.to_string();
        let all = [&["-h", node.host.as_str(), "-p", port.as_str()], args].concat();
        let output = process::run("redis-cli", &all, b"", WITHIN);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(cli(&["SET", "a", "b"]), "OK\n");
    let slow = cli(&["SLOWLOG", "GET", "-1"]);
    assert!(slow.lines().any(|line| line == "SET"), "{slow}");
    assert!(cli(&["-3", "LATENCY", "HISTOGRAM", "set"]).contains("histogram_usec"));
    assert!(cli(&["LATENCY", "DOCTOR"]).contains("Writes:"));
    for container in ["LATENCY", "SLOWLOG", "COMMANDLOG", "CORACLE"] {
        assert!(cli(&[container, "HELP"]).starts_with(&format!("{container} takes one of these subcommands:")));
    }
    let python = std::env::var_os("CORACLE_TEST_PYTHON").map_or(root().join("target/venv/bin/python"), PathBuf::from);
    assert!(python.is_file(), "{} is missing; tools/verify makes it", python.display());
    let script = root().join("tests/testdata/redis_py_latency.py");
    for protocol in ["2", "3"] {
        let port = node.gateway.to_string();
        let args = [script.to_str().unwrap(), node.host.as_str(), &port, protocol];
        let output = process::run(python.to_str().unwrap(), &args, b"", WITHIN);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "done", "{told}");
    }
}
