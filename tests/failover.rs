//! When a leader dies, writes to its groups go on within seconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coracle_tests::client::ok;
use coracle_tests::{Client, Cluster, Options, alone};

const LIMIT: Duration = Duration::from_secs(120);
/// Enough that every group of the cluster has some.
const KEYS_COUNT: usize = 64;
/// By when every slot must be writable again after its leader has died.
const WRITABLE_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn writes_go_on_through_the_gateway_of_a_node_that_lives() {
    let _alone = alone(LIMIT);
    for victim in 1..=3 {
        let cluster = Cluster::start(Options::default());
        let survivor = victim % 3 + 1;
        let mut client = cluster.gateway(survivor);
        for key in 0..KEYS_COUNT {
            assert_eq!(client.command(&format!("SET key:{key} before")), ok());
        }
        let led = cluster.core(victim, 0).info("groups_led");
        assert!(led > 0, "node {victim} leads nothing");
        let begin = Instant::now();
        cluster.kill(victim);
        let mut errors = 0;
        for key in 0..KEYS_COUNT {
            while client.command(&format!("SET key:{key} after")) != ok() {
                errors += 1;
                assert!(begin.elapsed() < Duration::from_secs(30), "key {key} is not writable");
            }
        }
        let took = begin.elapsed();
        println!("node {victim} led {led} groups; the gateway of node {survivor}: {took:?}, {errors} errors");
        assert!(took < WRITABLE_WITHIN, "{took:?}");
    }
}

/// Sets a key as a cluster client does: asks a core, and follows where it sends. `None` if that leads nowhere yet.
fn set_through_cores(clients: &mut BTreeMap<(String, u16), Client>, first: (String, u16), key: usize) -> Option<()> {
    let mut addr = first;
    for _ in 0..3 {
        if !clients.contains_key(&addr) {
            clients.insert(addr.clone(), Client::connect(&addr.0, addr.1).ok()?);
        }
        let client = clients.get_mut(&addr)?;
        match client.ask(&[b"SET", format!("key:{key}").as_bytes(), b"value"]) {
            Ok(reply) if reply == ok() => return Some(()),
            Ok(reply) => {
                let error = reply.error()?.to_owned();
                let (host, port) = error.strip_prefix("MOVED ")?.split_once(' ')?.1.rsplit_once(':')?;
                addr = (host.to_owned(), port.parse().ok()?);
            }
            Err(_) => {
                clients.remove(&addr);
                return None;
            }
        }
    }
    None
}

#[test]
fn writes_go_on_for_a_cluster_client() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let node = cluster.node(1);
    let first = (node.host, node.cores[0]);
    let mut clients = BTreeMap::new();
    for key in 0..KEYS_COUNT {
        set_through_cores(&mut clients, first.clone(), key).expect("the cluster is ready");
    }
    let begin = Instant::now();
    cluster.kill(3);
    let mut errors = 0;
    for key in 0..KEYS_COUNT {
        while set_through_cores(&mut clients, first.clone(), key).is_none() {
            errors += 1;
            assert!(begin.elapsed() < Duration::from_secs(30), "key {key} is not writable");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let took = begin.elapsed();
    println!("a cluster client after the death of node 3: {took:?}, {errors} failed attempts");
    assert!(took < WRITABLE_WITHIN, "{took:?}");
}

#[test]
fn a_clean_stop_of_a_node_is_hardly_felt() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let mut client = cluster.gateway(1);
    let pid = cluster.node(2).pid;
    coracle_tests::process::signal(pid, rustix::process::Signal::TERM);
    let (begin, mut slowest, mut errors) = (Instant::now(), Duration::ZERO, 0);
    let mut key = 0;
    while begin.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        if client.command(&format!("SET key:{key} value")) != ok() {
            errors += 1;
        }
        slowest = slowest.max(asked.elapsed());
        key += 1;
    }
    println!("a node stops cleanly beside {key} writes: the slowest took {slowest:?}, {errors} errors");
    assert!(slowest < WRITABLE_WITHIN, "{slowest:?}");
}
