//! New nodes join a running cluster with a token, serve, survive restarts of all, and are removed again.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use coracle_tests::client::{bulk, ok};
use coracle_tests::load::{check, under_load};
use coracle_tests::server::Server;
use coracle_tests::{Client, Cluster, Options, Reply, alone, binary, process, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(60);

/// Runs `coracle dev add` or `coracle dev remove`.
fn dev(dir: &Path, words: &[&str]) -> Output {
    let mut command = process::bound(binary());
    command.arg("dev").args(words).arg("--data-dir").arg(dir);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Array(all) => all.iter().map(shown).collect::<Vec<_>>().join(" "),
        Reply::Int(number) => number.to_string(),
        other => other.text(),
    }
}

/// Waits until each of these nodes is connected with all others, and names no further ones.
fn wait_until_all_know(cluster: &Cluster, ids: &[u32]) {
    for node in 1..=ids.len() {
        let mut client = cluster.gateway(node);
        wait_until("all nodes know each other", WITHIN, || {
            let nodes = shown(&client.command("CORACLE NODES"));
            let connected = nodes.matches("state up").count() + nodes.matches("state here").count();
            connected == ids.len() && ids.iter().all(|id| nodes.contains(&format!("id {id} host 127.0.0.{id} ")))
        });
        let nodes = client.command("CLUSTER NODES").text();
        assert_eq!(nodes.lines().count(), ids.len(), "{nodes}");
    }
}

/// Sets and reads keys of all groups through one node.
fn use_gateway(mut client: Client) {
    for key in 0..64 {
        assert_eq!(client.command(&format!("SET gateway:{key} {key}")), ok());
        assert_eq!(client.command(&format!("GET gateway:{key}")), bulk(key.to_string()));
    }
}

#[test]
fn a_fourth_node_joins_under_load_survives_restarts_of_all_and_is_removed() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let options = Options { groups: 4, data_dir: Some(dir.clone()), ..Options::default() };
    let cluster = Cluster::start(options.clone());
    let port = cluster.port();
    let known = under_load(&cluster, || {
        std::thread::sleep(Duration::from_millis(500));
        let added = dev(&dir, &["add"]);
        assert!(added.status.success() && said(&added).contains("node 4 has joined and serves"), "{}", said(&added));
        std::thread::sleep(Duration::from_millis(500));
    });
    let ids: Vec<u32> = cluster.nodes().iter().map(|node| node.id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    wait_until_all_know(&cluster, &ids);
    use_gateway(cluster.gateway(4));
    check(&cluster, &known, "with a fourth node");
    let fourth = cluster.gateway(4).command("CLUSTER NODES").text();
    let of_fourth = fourth.lines().find(|line| line.contains("myself")).unwrap();
    assert!(
        of_fourth.contains("127.0.0.4:") && of_fourth.ends_with("connected"),
        "a master without slots: {of_fourth}"
    );
    assert_eq!(cluster.core(4, 0).info("links_up"), 3);
    assert_eq!(cluster.core(1, 0).info("links_up"), 3);

    // The files of the first three do not name the fourth.
    assert!(!std::fs::read_to_string(dir.join("node-1.toml")).unwrap().contains("127.0.0.4"));
    assert!(cluster.stop(Signal::INT).success());
    let cluster = Cluster::start_at(options, port);
    wait_until_all_know(&cluster, &ids);
    use_gateway(cluster.gateway(4));
    check(&cluster, &known, "behind a restart of all");

    let refused = dev(&dir, &["remove", "3"]);
    assert!(!refused.status.success() && said(&refused).contains("holds replicas of 5 groups"), "{}", said(&refused));
    let pid = cluster.node(4).pid;
    let removed = dev(&dir, &["remove", "4"]);
    assert!(removed.status.success() && said(&removed).contains("node 4 was removed"), "{}", said(&removed));
    assert!(!process::exists(pid));
    let log = std::fs::read_to_string(dir.join("node-4.log")).unwrap();
    assert!(log.contains("node 4 was removed from the cluster") && !log.contains("panicked"), "{log}");
    wait_until_all_know(&cluster, &[1, 2, 3]);
    check(&cluster, &known, "without the fourth node");
    let told = Server::start_again(&dir, 4).end();
    assert!(told.contains("node 4 was removed from the cluster (CORACLE REMOVE)"), "{told}");

    // Its id is not used again.
    let added = dev(&dir, &["add"]);
    assert!(added.status.success() && said(&added).contains("node 5 has joined"), "{}", said(&added));
    let nodes = shown(&cluster.gateway(1).command("CORACLE NODES"));
    assert!(nodes.contains("id 5 host 127.0.0.5") && !nodes.contains("id 4 "), "{nodes}");
    assert!(cluster.stop(Signal::INT).success());
}

/// The configuration of a node that joins a cluster of `coracle dev`.
fn config_of_newcomer(cluster: &Cluster, dir: &Path, id: u32) -> std::path::PathBuf {
    let text = std::fs::read_to_string(dir.join("node-1.toml")).unwrap();
    let own = text.split("[[peers]]").nth(1).unwrap().replace("127.0.0.1", &format!("127.0.0.{id}"));
    let own = own.lines().filter(|line| !line.starts_with("id ")).collect::<Vec<_>>().join("\n");
    let data = format!("data_dir = \"{}\"", dir.join(format!("node-{id}")).display());
    let head = text.split("[[peers]]").next().unwrap();
    let head = head.lines().filter(|line| !line.starts_with("node_id") && !line.starts_with("data_dir"));
    let head = head.collect::<Vec<_>>().join("\n");
    let seed = cluster.node(2);
    let (host, gateway, peer, core) = (seed.host, seed.gateway, seed.peer, seed.cores[0]);
    let seed = format!(
        "[[peers]]\nid = 2\nhost = \"{host}\"\ngateway_port = {gateway}\ncore_port = {core}\npeer_port = {peer}\n"
    );
    let path = dir.join(format!("node-{id}.toml"));
    std::fs::write(&path, format!("{head}\n{data}\n{own}\n{seed}")).unwrap();
    path
}

fn token(cluster: &Cluster, command: &str) -> String {
    match cluster.gateway(1).command(command) {
        Reply::Bulk(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_is_for_one_node_and_for_a_time() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let cluster = Cluster::start(Options { groups: 2, data_dir: Some(dir.clone()), ..Options::default() });
    for (command, part) in [
        ("CORACLE TOKEN EX 0", "1 to 2592000 seconds"),
        ("CORACLE TOKEN EX x", "1 to 2592000 seconds"),
        ("CORACLE TOKEN PX 5", "syntax error"),
        ("CORACLE REMOVE 9", "no such node"),
        ("CORACLE REMOVE 1", "holds replicas of 3 groups (0, 1, 2)"),
    ] {
        let refused = cluster.gateway(1).command(command);
        assert!(matches!(&refused, Reply::Error(text) if text.contains(part)), "{command}: {refused:?}");
    }
    config_of_newcomer(&cluster, &dir, 4);
    let told = Server::start_again(&dir, 4).end();
    assert!(told.contains("`node_id` is missing") && told.contains("CORACLE TOKEN"), "{told}");
    let expired = token(&cluster, "CORACLE TOKEN EX 1");
    std::thread::sleep(Duration::from_millis(1_500));
    let told = Server::start_again_with(&dir, 4, &["--join", &expired]).end();
    assert!(told.contains("the token has expired"), "{told}");

    // Killed in the middle of it, and started again with the same token.
    let token = token(&cluster, "CORACLE TOKEN");
    for ms in [30, 120, 250] {
        let mut node = Server::start_again_with(&dir, 4, &["--join", &token]);
        std::thread::sleep(Duration::from_millis(ms));
        node.kill();
    }
    let mut node = Server::start_again_with(&dir, 4, &["--join", &token]);
    let connect = |id: u32| Client::connect(&format!("127.0.0.{id}"), cluster.node(1).gateway);
    wait_until("node 4 serves", WITHIN, || {
        connect(4).and_then(|mut client| client.ask(&[b"SET", b"key", b"value"])).is_ok_and(|reply| reply == ok())
    });
    let mut client = connect(4).unwrap();
    assert!(shown(&client.command("CORACLE NODES")).contains("id 4 host 127.0.0.4 state here"));
    assert_eq!(client.command("CONFIG GET groups"), Reply::Array(vec![bulk("groups"), bulk("2")]));
    drop(client);

    // The same token lets nobody else in.
    config_of_newcomer(&cluster, &dir, 5);
    let told = Server::start_again_with(&dir, 5, &["--join", &token]).end();
    assert!(told.contains("the token was used with another data directory"), "{told}");
    // Restarted it asks nobody, not even for an id, and other addresses are refused.
    node.kill();
    let mut node = Server::start_again(&dir, 4);
    wait_until("node 4 serves again", WITHIN, || {
        connect(4).and_then(|mut client| client.ask(&[b"GET", b"key"])).is_ok_and(|reply| reply == bulk("value"))
    });
    node.kill();
    let config = dir.join("node-4.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("127.0.0.4", "127.0.0.9")).unwrap();
    let told = Server::start_again(&dir, 4).end();
    assert!(told.contains("the cluster knows node 4 as 127.0.0.4"), "{told}");
    std::fs::write(&config, text).unwrap();

    loses_its_data(&cluster, &dir);
}

/// A node that has joined may lose its data like any other.
fn loses_its_data(cluster: &Cluster, dir: &Path) {
    let connect = |id: u32| Client::connect(&format!("127.0.0.{id}"), cluster.node(1).gateway);
    std::fs::remove_dir_all(dir.join("node-4")).unwrap();
    let mut back = String::new();
    wait_until("node 4 is seen to be down", WITHIN, || match cluster.gateway(1).command("CORACLE REPLACE 4") {
        Reply::Bulk(text) => {
            back = String::from_utf8(text).unwrap();
            true
        }
        _ => false,
    });
    let _node = Server::start_again_with(dir, 4, &["--join", &back]);
    wait_until("node 4 is back", WITHIN, || {
        connect(4).and_then(|mut client| client.ask(&[b"GET", b"key"])).is_ok_and(|reply| reply == bulk("value"))
    });
}
