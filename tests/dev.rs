//! The contract of `coracle dev`, which other tests and the benchmarks stand on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use coracle_tests::client::{bulk, ok};
use coracle_tests::cluster::{READY_WITHIN, dev_command};
use coracle_tests::{Client, Cluster, Options, alone, ports, process, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn the_file_of_the_cluster_and_what_is_printed() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    let text = std::fs::read_to_string(cluster.dir().join("dev.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["nodes"]);
    let port = cluster.port();
    let dir = cluster.dir().canonicalize().unwrap();
    for (idx, node) in json["nodes"].as_array().unwrap().iter().enumerate() {
        let id = idx + 1;
        let pid = node["pid"].as_u64().unwrap();
        let expected = serde_json::json!({
            "id": id, "pid": pid, "host": format!("127.0.0.{id}"), "gateway": port, "cores": [port + 1, port + 2],
            "peer": port + 1_000, "admin": port + 2_000, "data_dir": dir.join(format!("node-{id}")),
        });
        assert_eq!(*node, expected);
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        assert_eq!(program.file_name().unwrap(), "coracle", "the pid is the node's own");
        assert!(dir.join(format!("node-{id}")).is_dir());
    }
    let output = cluster.output();
    let heads = output.lines().position(|line| line.trim_start().starts_with("node ")).expect("a table");
    let ready = output.lines().position(|line| line.starts_with("ready")).expect("a line that says so");
    assert!(heads < ready, "{output}");
    for id in 1..=3 {
        assert!(output.lines().skip(heads).take(4).any(|line| line.contains(&format!("127.0.0.{id} "))), "{output}");
    }
}

#[test]
fn nodes_connect_from_their_own_addresses() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    // Local and remote address of every connection to a peer port, as the kernel has them.
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = format!(":{:04X}", cluster.port() + 1_000);
    let mut froms = Vec::new();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns[2].ends_with(&peer) && columns[3] == "01" {
            let (local, remote) = (columns[1].split(':').next().unwrap(), columns[2].split(':').next().unwrap());
            froms.push((local.to_owned(), remote.to_owned()));
        }
    }
    for from in 1..=3 {
        for to in (1..=3).filter(|to| *to != from) {
            let pair = (format!("0{from}00007F"), format!("0{to}00007F"));
            assert!(froms.contains(&pair), "node {from} has no connection from its address to node {to}: {froms:?}");
        }
    }
    assert!(!froms.iter().any(|(local, remote)| local == remote), "a node talks to itself: {froms:?}");
}

#[test]
fn data_is_reached_through_every_port_of_two_cores() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    let mut first = cluster.gateway(1);
    for key in 0..100 {
        assert_eq!(first.command(&format!("SET key:{key} {key}")), ok());
    }
    let mut served = Vec::new();
    for id in 1..=3 {
        let mut gateway = cluster.gateway(id);
        for key in 0..100 {
            assert_eq!(gateway.command(&format!("GET key:{key}")), bulk(key.to_string()), "node {id}");
        }
        for core in 0..2 {
            let mut client = cluster.core(id, core);
            let mut count = 0;
            for key in 0..100 {
                let reply = client.command(&format!("GET key:{key}"));
                match reply.error() {
                    None => assert_eq!(reply, bulk(key.to_string())),
                    Some(error) => {
                        assert!(error.starts_with("MOVED "), "{error}");
                        continue;
                    }
                }
                count += 1;
            }
            served.push(count);
        }
    }
    assert_eq!(served.iter().sum::<usize>(), 100, "each key is served by one core: {served:?}");
    assert!(served.iter().filter(|count| **count > 0).count() >= 4, "leaders are spread over cores: {served:?}");
}

#[test]
fn it_stops_cleanly_and_goes_on_with_its_data() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { data_dir: Some(dir.path().to_owned()), ..Options::default() };
    // The addresses are a part of what the cluster agreed on when it was made.
    let port = ports::free(options.nodes, options.cores);
    let signals = [Signal::INT, Signal::TERM];
    for (round, signal) in signals.into_iter().enumerate() {
        let cluster = Cluster::start_at(options.clone(), port);
        let mut client = cluster.gateway(1 + round);
        for key in 0..100 {
            let set = format!("INCR counter:{key}");
            assert_eq!(client.command(&set), coracle_tests::Reply::Int(round as i64 + 1));
        }
        let begin = Instant::now();
        let status = cluster.stop(signal);
        assert!(status.success(), "{signal:?}: {status}");
        let took = begin.elapsed();
        println!("stopped by {signal:?} after {took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    let cluster = Cluster::start_at(options, port);
    let mut client = cluster.gateway(3);
    for key in 0..100 {
        assert_eq!(client.command(&format!("GET counter:{key}")), bulk("2"));
    }
}

#[test]
fn the_temporary_directory_is_removed() {
    let _alone = alone(LIMIT);
    let parent = tempfile::tempdir().unwrap();
    let options = Options::default();
    let mut command = dev_command(&options, ports::free(3, 1));
    command.env("TMPDIR", parent.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut dev = command.spawn().unwrap();
    let dir = || std::fs::read_dir(parent.path()).unwrap().flatten().next().map(|entry| entry.path());
    wait_until("the cluster is ready", READY_WITHIN, || dir().is_some_and(|dir| dir.join("dev.json").exists()));
    process::signal(dev.id(), Signal::TERM);
    let status = process::wait(&mut dev, Duration::from_secs(10)).expect("it stops");
    assert!(status.success(), "{status}");
    assert_eq!(dir(), None, "the temporary directory is removed");
}

#[test]
fn a_dead_node_stays_down_and_is_reported() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let before = cluster.nodes();
    cluster.kill(2);
    wait_until("it is reported", Duration::from_secs(5), || {
        cluster.output().contains(&format!("node 2 (process {}) ended with", before[1].pid))
    });
    std::thread::sleep(Duration::from_secs(1));
    assert!(cluster.output().contains("it stays down"), "{}", cluster.output());
    assert!(Client::connect(&before[1].host, before[1].gateway).is_err(), "it stays down");
    assert_eq!(cluster.nodes(), before);
    let status = cluster.stop(Signal::TERM);
    assert!(status.success(), "what is left stops cleanly: {status}");
}

#[test]
fn with_restart_a_dead_node_comes_back() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { restart: true, ..Options::default() });
    assert_eq!(cluster.gateway(1).command("SET here before"), ok());
    let before = cluster.nodes();
    cluster.kill(3);
    cluster.wait_restarted(3, before[2].pid);
    let after = cluster.nodes();
    assert_eq!(after[..2], before[..2]);
    assert_ne!(after[2].pid, before[2].pid);
    assert_eq!((&after[2].host, after[2].gateway), (&before[2].host, before[2].gateway));
    assert_eq!(cluster.gateway(3).command("GET here"), bulk("before"));
    assert!(cluster.stop(Signal::INT).success());
}

#[test]
fn logs_are_json_if_asked_for() {
    let _alone = alone(LIMIT);
    let set = vec!["log_format=json".to_owned()];
    let cluster = Cluster::start(Options { nodes: 1, set, ..Options::default() });
    let log = std::fs::read_to_string(cluster.dir().join("node-1.log")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(!lines.is_empty(), "a start tells something");
    for line in &lines {
        let has = |name: &str| line[name].as_str().is_some_and(|text| !text.is_empty());
        assert!(["timestamp", "level", "target", "message"].into_iter().all(has), "{line}");
    }
    assert!(lines.iter().any(|line| line["cluster"].is_string()), "fields are told by their names: {log}");
}

#[test]
fn nodes_stop_come_back_and_lose_their_data() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { groups: 4, ..Options::default() });
    let change = |words: &[&str], part: &str| {
        let (is_done, said) = cluster.change(words);
        assert!(is_done && said.contains(part), "{words:?}: {said}");
    };
    assert_eq!(cluster.gateway(1).command("SET here before"), ok());
    let before = cluster.nodes();

    change(&["stop", "2"], "node 2 has ended, and stays down");
    assert!(!process::exists(before[1].pid) && Client::connect(&before[1].host, before[1].gateway).is_err());
    change(&["stop", "2"], "node 2 does not run");
    assert_eq!(cluster.gateway(1).command("SET here meanwhile"), ok());
    change(&["restart", "2"], "node 2 runs again, on its data");
    assert_ne!(cluster.node(2).pid, before[1].pid);
    assert_eq!(cluster.gateway(2).command("GET here"), bulk("meanwhile"));
    // One that runs is stopped before.
    let pid = cluster.node(2).pid;
    change(&["restart", "2"], "node 2 runs again, on its data");
    assert!(!process::exists(pid));
    change(&["stop", "--kill", "1"], "node 1 was killed, and stays down");
    change(&["restart", "1"], "node 1 runs again");

    change(&["wipe", "3"], "node 3 has lost its data and is down");
    assert!(!process::exists(before[2].pid) && !cluster.dir().join("node-3").exists());
    change(&["restart", "3"], "node 3 runs again, without what it had held");
    assert_eq!(cluster.gateway(3).command("GET here"), bulk("meanwhile"));
    for words in [&["stop", "9"][..], &["restart", "9"], &["wipe", "9"]] {
        let (is_done, said) = cluster.change(words);
        assert!(!is_done && said.contains("there is no node 9 here"), "{words:?}: {said}");
    }
    assert!(cluster.stop(Signal::TERM).success());
}
