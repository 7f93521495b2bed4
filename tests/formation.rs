//! How a cluster comes to be, and what becomes of nodes whose data is gone: emptiness is never served as if it were data.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coracle_tests::client::{bulk, ok};
use coracle_tests::{Client, Cluster, Node, Options, Reply, Server, alone, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);
const KEYS_COUNT: usize = 32;

fn options(dir: &Path) -> Options {
    Options { data_dir: Some(dir.to_owned()), set: vec!["segment_bytes=33554432".to_owned()], ..Options::default() }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The configurations of a cluster of three that was never started, made by `coracle dev`, whose data is then removed.
fn never_started(dir: &Path) -> Vec<Node> {
    let cluster = Cluster::start(options(dir));
    let nodes = cluster.nodes();
    assert!(cluster.stop(Signal::TERM).success());
    for node in 1..=nodes.len() {
        std::fs::remove_dir_all(dir.join(format!("node-{node}"))).unwrap();
    }
    nodes
}

fn start(dir: &Path, node: usize) -> Server {
    Server::start(&dir.join(format!("node-{node}.toml")), log_of(dir, node))
}

fn log_of(dir: &Path, node: usize) -> PathBuf {
    dir.join(format!("node-{node}-alone.log"))
}

fn node_file(dir: &Path, node: usize) -> PathBuf {
    dir.join(format!("node-{node}/node.toml"))
}

/// What the file of a node says after `name = `.
fn field(dir: &Path, node: usize, name: &str) -> String {
    let file: toml::Table = read(&node_file(dir, node)).parse().unwrap();
    file[name].as_str().unwrap().to_owned()
}

/// Asks every node for every key for a while. Nothing but the value that was acknowledged may be said, and no write be
/// acknowledged where the value is gone.
fn never_serves_emptiness(nodes: &[Node], time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        for node in nodes {
            let Ok(mut client) = Client::connect(&node.host, node.gateway) else { continue };
            client.set_wait(Duration::from_secs(1));
            for key in 0..KEYS_COUNT {
                let Ok(reply) = client.ask(&[b"GET", format!("key:{key}").as_bytes()]) else { break };
                assert_ne!(reply, Reply::Nil, "node {} says that key:{key} is not there", node.id);
                let Ok(reply) = client.ask(&[b"SET", b"probe", b"1"]) else { break };
                assert_ne!(reply, ok(), "node {} acknowledges a write without the others' data", node.id);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A cluster that has acknowledged writes and was stopped; nodes 2 and 3 have lost their directories since.
fn two_of_three_emptied(dir: &Path) -> Vec<Node> {
    let cluster = Cluster::start(options(dir));
    let mut client = cluster.gateway(1);
    for key in 0..KEYS_COUNT {
        assert_eq!(client.command(&format!("SET key:{key} value")), ok());
    }
    let nodes = cluster.nodes();
    assert!(cluster.stop(Signal::TERM).success());
    for node in [2, 3] {
        std::fs::remove_dir_all(dir.join(format!("node-{node}"))).unwrap();
    }
    nodes
}

#[test]
fn two_emptied_nodes_of_three_do_not_serve_beside_the_third() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let nodes = two_of_three_emptied(dir.path());
    let mut servers = [1, 2, 3].map(|node| start(dir.path(), node));
    never_serves_emptiness(&nodes, Duration::from_secs(8));
    // Beside a node that has its data the emptied ones end, and say why and what to do.
    for node in [2, 3] {
        let told = servers[node - 1].end();
        for part in [
            &format!("node {node} has no data in"),
            "node 1 at 127.0.0.1",
            "which is formed",
            "Put its directory back",
            "--join TOKEN",
        ] {
            assert!(told.contains(part), "`{part}` is missing in: {told}");
        }
    }
    assert!(read(&log_of(dir.path(), 1)).contains("a node without data is told that this cluster is formed"));
}

#[test]
fn two_emptied_nodes_of_three_do_not_serve_alone() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let nodes = two_of_three_emptied(dir.path());
    let servers = [2, 3].map(|node| start(dir.path(), node));
    never_serves_emptiness(&nodes, Duration::from_secs(8));
    for node in [2, 3] {
        let told = read(&log_of(dir.path(), node));
        for part in ["has no data in", "node 1 at 127.0.0.1", "cannot be asked", "put its directory back"] {
            assert!(told.contains(part), "`{part}` is missing in: {told}");
        }
        assert!(!node_file(dir.path(), node).exists(), "it has agreed to nothing");
    }
    drop(servers);
    // With their data back they are what they were: here that of node 1, and of no other, is left.
    assert!(node_file(dir.path(), 1).exists());
}

#[test]
fn a_cluster_forms_when_its_last_node_comes_and_not_before() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let nodes = never_started(dir.path());
    let mut servers = vec![start(dir.path(), 3), start(dir.path(), 1)];
    wait_until("node 1 says for whom it waits", WITHIN, || {
        read(&log_of(dir.path(), 1)).contains("node 2 at 127.0.0.2")
    });
    assert!(Client::connect(&nodes[0].host, nodes[0].gateway).is_err(), "nothing is served before");
    servers.push(start(dir.path(), 2));
    wait_until("all nodes serve", WITHIN, || {
        nodes.iter().all(|node| {
            let client = Client::connect(&node.host, node.gateway);
            client.is_ok_and(|mut client| client.ask(&[b"SET", b"key", b"value"]).is_ok_and(|reply| reply == ok()))
        })
    });
    let ids: Vec<String> = [1, 2, 3].map(|node| field(dir.path(), node, "cluster_id")).to_vec();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_ne!(ids[0], field(dir.path(), 1, "name"), "the id is drawn, not made of the name");
    // Formed, a node needs nobody: two of three go on.
    drop(servers);
    let _servers = [2, 3].map(|node| start(dir.path(), node));
    wait_until("two of three go on", WITHIN, || {
        let client = Client::connect(&nodes[1].host, nodes[1].gateway);
        client.is_ok_and(|mut client| client.ask(&[b"GET", b"key"]).is_ok_and(|reply| reply == bulk("value")))
    });
}

#[test]
fn two_clusters_of_one_name_and_map_have_different_ids() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let nodes = never_started(dir.path());
    let serves = || {
        let client = Client::connect(&nodes[0].host, nodes[0].gateway);
        client.is_ok_and(|mut client| client.ask(&[b"SET", b"key", b"value"]).is_ok_and(|reply| reply == ok()))
    };
    let mut ids = Vec::new();
    for round in 0..2 {
        let servers = [1, 2, 3].map(|node| start(dir.path(), node));
        wait_until("it serves", WITHIN, serves);
        drop(servers);
        ids.push(field(dir.path(), 1, "cluster_id"));
        for node in [1, 2, 3] {
            let data = dir.path().join(format!("node-{node}"));
            std::fs::rename(&data, dir.path().join(format!("round-{round}-node-{node}"))).unwrap();
        }
    }
    assert_ne!(ids[0], ids[1]);
    // A node of the first beside nodes of the second: same name, same map, and yet another cluster.
    for (round, node) in [(0, 3), (1, 1), (1, 2)] {
        let data = dir.path().join(format!("round-{round}-node-{node}"));
        std::fs::rename(data, dir.path().join(format!("node-{node}"))).unwrap();
    }
    let _servers = [1, 2, 3].map(|node| start(dir.path(), node));
    wait_until("the two go on", WITHIN, serves);
    wait_until("the third is told why it does not belong to them", WITHIN, || {
        read(&log_of(dir.path(), 3)).contains("the peer belongs to another cluster")
    });
    let mut third = Client::connect(&nodes[2].host, nodes[2].gateway).unwrap();
    assert_eq!(third.info("links_up"), 0);
}

#[test]
fn nodes_that_are_killed_while_they_form_a_cluster_form_it_all_the_same() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let nodes = never_started(dir.path());
    // A node that dies once its file is there, at whatever stage; then all start.
    for (round, victim) in [1, 2, 3].into_iter().enumerate() {
        let mut servers = [1, 2, 3].map(|node| start(dir.path(), node));
        wait_until("the victim has agreed", WITHIN, || node_file(dir.path(), victim).exists());
        servers[victim - 1].kill();
        drop(servers);
        let _servers = [1, 2, 3].map(|node| start(dir.path(), node));
        wait_until("all serve", WITHIN, || {
            nodes.iter().all(|node| {
                let client = Client::connect(&node.host, node.gateway);
                client.is_ok_and(|mut client| {
                    client.ask(&[b"SET", b"round", round.to_string().as_bytes()]).is_ok_and(|reply| reply == ok())
                })
            })
        });
        let ids = [1, 2, 3].map(|node| field(dir.path(), node, "cluster_id"));
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        drop(_servers);
        for node in [1, 2, 3] {
            std::fs::remove_dir_all(dir.path().join(format!("node-{node}"))).unwrap();
        }
    }
}

#[test]
fn strangers_at_the_port_of_a_node_that_waits_change_nothing() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let nodes = never_started(dir.path());
    let _waiting = start(dir.path(), 2);
    let node = &nodes[1];
    let connect = || TcpStream::connect((node.host.as_str(), node.peer));
    wait_until("it listens", WITHIN, || connect().is_ok());
    let silent: Vec<TcpStream> = (0..200).filter_map(|_| connect().ok()).collect();
    for bytes in [&[0_u8; 64][..], &[0xff; 1 << 20], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"CORAFORM"] {
        let Ok(mut stream) = connect() else { continue };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = stream.write_all(bytes);
        let mut answered = Vec::new();
        let _ = stream.read_to_end(&mut answered);
        assert!(answered.is_empty(), "{}", answered.escape_ascii());
    }
    drop(silent);
    let _servers = [1, 3].map(|node| start(dir.path(), node));
    wait_until("the cluster is formed all the same", WITHIN, || {
        let client = Client::connect(&node.host, node.gateway);
        client.is_ok_and(|mut client| client.ask(&[b"SET", b"key", b"value"]).is_ok_and(|reply| reply == ok()))
    });
}

#[test]
fn a_port_that_is_taken_is_named() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let nodes = never_started(dir.path());
    let _taken = std::net::TcpListener::bind((nodes[2].host.as_str(), nodes[2].peer)).unwrap();
    let told = start(dir.path(), 3).end();
    for part in ["cannot listen on", &nodes[2].peer.to_string(), "another port"] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
}
