//! Who a node is: data of another cluster or node, two nodes that claim one identity, and nodes that come back
//! without what they knew.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::Path;
use std::time::Duration;

use coracle_tests::client::{bulk, ok};
use coracle_tests::{Client, Cluster, Options, Server, alone, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);
const KEYS_COUNT: usize = 32;

fn options(dir: &Path) -> Options {
    Options { data_dir: Some(dir.to_owned()), set: vec!["segment_bytes=33554432".to_owned()], ..Options::default() }
}

fn set_all(client: &mut Client, value: &str) {
    for key in 0..KEYS_COUNT {
        assert_eq!(client.command(&format!("SET key:{key} {value}")), ok());
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_node_that_comes_back_with_another_directory_is_refused_even_by_peers_that_were_restarted() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options(dir.path()));
    set_all(&mut cluster.gateway(1), "value");
    let nodes = cluster.nodes();
    assert!(cluster.stop(Signal::TERM).success());

    // The disk of node 3 was replaced while all of them were down, and somebody has made up its node file: the cluster's id
    // is right, and what the node has promised is gone.
    let node_file = dir.path().join("node-3/node.toml");
    let mut file: toml::Table = text(&node_file).parse().unwrap();
    file.insert("incarnation".to_owned(), "00000000000000ff".into()).expect("it had one");
    std::fs::remove_dir_all(dir.path().join("node-3")).unwrap();
    std::fs::create_dir(dir.path().join("node-3")).unwrap();
    std::fs::write(&node_file, file.to_string()).unwrap();
    let start = |id: u32| {
        Server::start(&dir.path().join(format!("node-{id}.toml")), dir.path().join(format!("node-{id}-alone.log")))
    };
    let servers = [start(1), start(2), start(3)];
    let connect = |idx: usize| Client::connect(&nodes[idx].host, nodes[idx].gateway);
    wait_until("the other two serve", WITHIN, || {
        connect(0)
            .is_ok_and(|mut client| (0..KEYS_COUNT).all(|key| client.command(&format!("SET key:{key} a")) == ok()))
    });
    let mut first = connect(0).unwrap();
    let refused = first.info("peers_refused");
    wait_until("node 3 tries again and is refused again", WITHIN, || first.info("peers_refused") > refused + 2);
    wait_until("node 3 is told why", WITHIN, || servers[2].told().contains("have the node replaced"));
    assert!(servers[0].told().contains("a node is refused"));
    // It has voted for nobody and leads nothing.
    assert_eq!(connect(2).unwrap().info("groups_led"), 0);
    assert_eq!(first.command("GET key:1"), bulk("a"));
}

#[test]
fn an_emptied_node_ends_and_names_the_remedy() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options(dir.path()));
    set_all(&mut cluster.gateway(1), "value");
    cluster.kill(3);
    std::fs::remove_dir_all(dir.path().join("node-3")).unwrap();
    let refused = cluster.gateway(1).info("peers_refused");
    let told = Server::start(&dir.path().join("node-3.toml"), dir.path().join("again.log")).end();
    for part in ["node 3 has no data in", "which is formed", "Put its directory back", "--join TOKEN"] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    assert!(cluster.gateway(1).info("peers_refused") > refused, "it is counted");
    set_all(&mut cluster.gateway(2), "undisturbed");
}

#[test]
fn a_node_whose_log_is_gone_does_not_start() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options(dir.path()));
    set_all(&mut cluster.gateway(1), "value");
    let log = dir.path().join("node-2/wal");
    wait_until("the node has noted that it has a log", WITHIN, || dir.path().join("node-2/peers.toml").exists());
    cluster.kill(2);
    std::fs::remove_dir_all(&log).unwrap();
    let config = dir.path().join("node-2.toml");
    let told = Server::start(&config, dir.path().join("again.log")).end();
    for part in ["the log in", "node-2/wal/core-00 is gone", "restore it from a copy"] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    assert!(!log.exists(), "an empty log was begun");
    let mut client = cluster.gateway(1);
    wait_until("the others go on", WITHIN, || {
        (0..KEYS_COUNT).all(|key| client.command(&format!("SET key:{key} on")) == ok())
    });
}

#[test]
fn two_processes_of_one_identity() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options(dir.path()));
    set_all(&mut cluster.gateway(1), "value");
    let config = dir.path().join("node-2.toml");
    // On the same directory.
    let told = Server::start(&config, dir.path().join("same-dir.log")).end();
    let pid = cluster.node(2).pid.to_string();
    for part in ["in use by process", &pid, "stop that process"] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    // On a directory of its own, and as if on another machine: from another address, with the same peers.
    let original = text(&config);
    let elsewhere = dir.path().join("impostor");
    let moved = original
        .replace(
            &format!("data_dir = \"{}\"", dir.path().join("node-2").display()),
            &format!("data_dir = \"{}\"", elsewhere.display()),
        )
        .replace("host = \"127.0.0.2\"", "host = \"127.0.0.9\"");
    assert!(moved.contains("impostor") && moved.contains("127.0.0.9"), "{original}");
    let impostor_config = dir.path().join("impostor.toml");
    std::fs::write(&impostor_config, moved).unwrap();
    let mut first = cluster.gateway(1);
    let told = Server::start(&impostor_config, dir.path().join("impostor.log")).end();
    assert!(told.contains("node 2 has no data in") && told.contains("which is formed"), "{told}");
    set_all(&mut first, "undisturbed");
    assert_eq!(cluster.gateway(2).command("GET key:3"), bulk("undisturbed"));
}

#[test]
fn data_of_another_cluster() {
    let _alone = alone(LIMIT);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for dir in &dirs {
        let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..options(dir.path()) });
        set_all(&mut cluster.gateway(1), "value");
        assert!(cluster.stop(Signal::TERM).success());
    }
    // The directory of one under the name of the other.
    let (own, foreign) = (dirs[0].path().join("node-1"), dirs[1].path().join("node-1"));
    std::fs::remove_dir_all(&own).unwrap();
    std::fs::rename(&foreign, &own).unwrap();
    let told = Server::start(&dirs[0].path().join("node-1.toml"), dirs[0].path().join("again.log")).end();
    for part in ["belongs to cluster", "correct `cluster_id`", "another `data_dir`"] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
}
