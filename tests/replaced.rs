//! A node that has lost its data comes back with an empty directory and a token, receives what it had, and counts again.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::Path;
use std::time::Duration;

use coracle_tests::client::ok;
use coracle_tests::load::{check, under_load};
use coracle_tests::server::Server;
use coracle_tests::{Cluster, Options, Reply, alone, wait_until};

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(60);
/// The groups of the keys and the one of the cluster map.
const GROUPS_COUNT: u64 = 5;

/// Asks until node 3 is seen to be down.
fn token(cluster: &Cluster) -> String {
    let mut token = String::new();
    wait_until("node 3 is seen to be down", WITHIN, || match cluster.gateway(1).command("CORACLE REPLACE 3") {
        Reply::Bulk(text) => {
            token = String::from_utf8(text).unwrap();
            true
        }
        Reply::Error(error) => {
            assert!(error.contains("node 3 is there"), "{error}");
            false
        }
        other => panic!("{other:?}"),
    });
    token
}

/// How many groups' replicas on node 3 vote: the leaders wait for nobody and nothing.
fn wait_for_full_strength(cluster: &Cluster) {
    wait_until("no group changes its members any more", WITHIN, || {
        let changes = || (1..=2).map(|node| cluster.core(node, 0).info("membership_changes")).sum::<u64>();
        let before = changes();
        std::thread::sleep(Duration::from_secs(2));
        // A learner, and then a voter in the place of another one.
        before >= 2 * GROUPS_COUNT && before == changes()
    });
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Array(all) => all.iter().map(shown).collect::<Vec<_>>().join(" "),
        Reply::Int(number) => number.to_string(),
        other => other.text(),
    }
}

fn lose_data(dir: &Path) {
    std::fs::remove_dir_all(dir.join("node-3")).unwrap();
}

#[test]
fn a_node_without_data_comes_back_with_a_token_and_counts_again() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let groups = GROUPS_COUNT as u32 - 1;
    let cluster = Cluster::start(Options { groups, data_dir: Some(dir.to_owned()), ..Options::default() });
    let refused = cluster.gateway(1).command("CORACLE REPLACE 3");
    assert!(matches!(&refused, Reply::Error(text) if text.contains("node 3 is there")), "{refused:?}");
    let refused = cluster.gateway(1).command("CORACLE REPLACE 9");
    assert!(matches!(&refused, Reply::Error(text) if text.contains("no such node")), "{refused:?}");
    let known = under_load(&cluster, || std::thread::sleep(Duration::from_millis(500)));
    cluster.kill(3);
    let kept = dir.join("kept");
    std::fs::rename(dir.join("node-3"), &kept).unwrap();
    let told = Server::start_again(dir, 3).end();
    assert!(told.contains("--join TOKEN") && told.contains("CORACLE REPLACE"), "{told}");

    let token = token(&cluster);
    let node = Server::start_again_with(dir, 3, &["--join", &token]);
    wait_until("node 3 serves", WITHIN, || node.told().contains("this node was let in"));
    wait_for_full_strength(&cluster);
    let nodes = shown(&cluster.gateway(1).command("CORACLE NODES"));
    for state in ["id 1 host 127.0.0.1 state here", "id 2 host 127.0.0.2 state up", "id 3 host 127.0.0.3 state up"] {
        assert!(nodes.contains(state), "{nodes}");
    }
    let replicas = shown(&cluster.gateway(1).command("CORACLE GROUPS"));
    assert!((16..21).all(|id| replicas.contains(&format!("{id}@3/0"))), "five groups have a new replica: {replicas}");
    check(&cluster, &known, "with the node back");

    // It counts: without it there is no majority from here on.
    cluster.kill(2);
    let mut client = cluster.gateway(1);
    for key in 0..64 {
        assert_eq!(client.command(&format!("SET key:{key} {key}")), ok());
    }
    check(&cluster, &known, "with another node down");
    drop(node);

    // Started again it needs no token, and what it had before is refused.
    let second = Server::start_again(dir, 2);
    let node = Server::start_again(dir, 3);
    wait_until("all is well", WITHIN, || client.command("SET key:0 again") == ok());
    drop(node);
    lose_data(dir);
    let told = Server::start_again_with(dir, 3, &["--join", &token]).end();
    assert!(told.contains("the token was used with another data directory"), "{told}");
    lose_data(dir);
    std::fs::rename(kept, dir.join("node-3")).unwrap();
    let old = Server::start_again(dir, 3);
    wait_until("the old directory is refused", WITHIN, || old.told().contains("with another data directory"));
    assert_eq!(client.command("SET key:0 without-it"), ok());
    check(&cluster, &known, "beside the old directory");
    drop((old, second));
}
