//! The ports for other nodes: whoever is no node of this cluster is dropped, counted, and not felt.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::io::Read;
use std::time::Duration;

use coracle_tests::client::{bulk, ok};
use coracle_tests::{Client, Cluster, Node, Options, alone, process};
use types::{CoreAddr, CoreId, NodeId};
use wire::{Hello, Verdict};

const LIMIT: Duration = Duration::from_secs(120);

/// What the peer port answers before it closes the connection.
fn answered(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(&node.host, node.peer).unwrap();
    client.set_wait(Duration::from_secs(15));
    // It may be closed before all is sent.
    let _ = client.send(bytes);
    client
        .rest()
        .unwrap_or_else(|error| panic!("{}: not closed: {error}", bytes[..bytes.len().min(64)].escape_ascii()))
}

/// A greeting that is right but for its cluster: nobody outside knows the cluster's id and map.
fn hello(from: u32, to: u32) -> Hello {
    let place = |node| CoreAddr { node: NodeId(node), core: CoreId(0) };
    Hello { cluster_id: *b"another cluster!", from: place(from), to: place(to), incarnation: 7, map: [0; 12] }
}

#[test]
fn strangers_are_dropped_and_counted() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let node = cluster.node(1);
    let mut client = cluster.gateway(1);
    assert_eq!(client.command("SET before 1"), ok());
    let (refused, links) = (client.info("peers_refused"), client.info("links_up"));
    let resident = process::resident_bytes(node.pid);

    assert_eq!(answered(&node, &hello(2, 1).encode()), Verdict::OtherCluster.encode());
    let mut damaged = hello(2, 1).encode();
    damaged[20] ^= 1;
    let mut other_version = hello(2, 1).encode();
    other_version[8] = 99;
    let garbage: Vec<u8> = (0..100_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let zeros = vec![0; 1 << 20];
    let ones = vec![0xff; 1 << 20];
    for bytes in [
        &damaged[..],
        &other_version,
        &garbage,
        &zeros,
        &ones,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(9).as_slice(),
    ] {
        let verdict = answered(&node, bytes);
        assert_ne!(verdict, Verdict::Accepted.encode(), "{}", bytes[..20].escape_ascii());
    }
    let counted = client.info("peers_refused") - refused;
    assert!(counted >= 7, "{counted} were counted");
    // Behind a refusal nothing is read: a wrong greeting with frames at its heels changes nothing.
    answered(&node, &[&hello(3, 1).encode()[..], &garbage].concat());
    assert_eq!(client.info("links_up"), links, "the links between nodes are untouched");
    assert_eq!(client.info("groups_without_leader"), 0);
    assert_eq!(client.command("GET before"), bulk("1"));
    let grown = process::resident_bytes(node.pid).saturating_sub(resident);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
}

#[test]
fn strangers_that_say_nothing_do_not_take_the_places_of_nodes() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { restart: true, ..Options::default() });
    let node = cluster.node(1);
    // More than there are places for greetings, each half a greeting long.
    let half = &hello(2, 1).encode()[..32];
    let mut silent = Vec::new();
    for _ in 0..400 {
        let Ok(mut client) = Client::connect(&node.host, node.peer) else { continue };
        // Refused ones may be closed already.
        let _ = client.send(half);
        silent.push(client);
    }
    // A node that must connect anew comes through all the same.
    let pid = cluster.node(2).pid;
    cluster.kill(2);
    cluster.wait_restarted(2, pid);
    let mut second = cluster.gateway(2);
    for key in 0..50 {
        assert_eq!(second.command(&format!("SET key:{key} value")), ok());
    }
    // Whoever does not finish a greeting is closed sooner or later.
    for client in silent {
        client.set_wait(Duration::from_secs(20));
        let mut byte = [0];
        let end = client.socket().read(&mut byte);
        let is_closed = match &end {
            Ok(count) => *count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(is_closed, "{end:?}");
    }
}
