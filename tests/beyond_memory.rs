//! Clusters with several times as much data as memory.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_tests::client::{bulk, encode, ok};
use coracle_tests::{Client, Cluster, Options, Reply, alone, wait_until};

const LIMIT: Duration = Duration::from_secs(240);
/// What a core may hold; a third of it is for requests, and 100 MiB it holds when it starts.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// More than twice as many as fit into the rest.
const KEYS_COUNT: usize = 60_000;
const VALUE_BYTES: usize = 2 << 10;
/// In one send.
const PIPELINE_COUNT: usize = 100;

/// A value that is no other key's.
fn value(key: usize) -> Vec<u8> {
    format!("{key};").into_bytes().into_iter().cycle().take(VALUE_BYTES).collect()
}

/// Sends a command for each of these keys, in pipelines, and hands the replies to `check`.
fn for_keys(
    client: &mut Client,
    keys: impl Iterator<Item = usize>,
    command: impl Fn(&[u8], usize, &mut Vec<u8>),
    check: impl Fn(usize, Reply),
) {
    let mut keys = keys.peekable();
    while keys.peek().is_some() {
        let (mut requests, sent) = (Vec::new(), keys.by_ref().take(PIPELINE_COUNT).collect::<Vec<_>>());
        sent.iter().for_each(|key| command(format!("key:{key}").as_bytes(), *key, &mut requests));
        client.send(&requests).unwrap();
        sent.iter().for_each(|key| check(*key, client.reply().unwrap()));
    }
}

fn set_all(client: &mut Client) {
    let set = |name: &[u8], key: usize, out: &mut Vec<u8>| encode(&[b"SET", name, &value(key)], out);
    for_keys(client, 0..KEYS_COUNT, set, |key, reply| assert_eq!(reply, ok(), "key {key}"));
}

/// Looks at every n-th key.
fn check(client: &mut Client, step: usize) {
    let get = |name: &[u8], _: usize, out: &mut Vec<u8>| encode(&[b"GET", name], out);
    let is_right = |key, reply| assert!(reply == bulk(value(key)), "key {key} is not what was written: {reply:?}");
    for_keys(client, (0..KEYS_COUNT).step_by(step), get, is_right);
}

/// All keys that a SCAN of the cluster comes across.
fn scan(client: &mut Client) -> BTreeSet<String> {
    let (mut cursor, mut seen) = ("0".to_owned(), BTreeSet::new());
    loop {
        let Reply::Array(parts) = client.command(&format!("SCAN {cursor} COUNT 1000")) else { panic!("no array") };
        let [next, Reply::Array(keys)] = &parts[..] else { panic!("{parts:?}") };
        seen.extend(keys.iter().map(Reply::text));
        cursor = next.text();
        if cursor == "0" {
            return seen;
        }
    }
}

fn options() -> Options {
    Options { groups: 4, set: vec![format!("memory_bytes_max={MEMORY_BYTES_MAX}")], ..Options::default() }
}

#[test]
fn writes_wait_instead_of_failing_and_every_key_is_found() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(options());
    let mut client = cluster.gateway(1);
    set_all(&mut client);
    let (mut evicted_bytes, mut read_count) = (0, 0);
    check(&mut client, 1);
    for id in 1..=3 {
        let mut node = cluster.gateway(id);
        evicted_bytes += node.info("rows_evicted_bytes");
        read_count += node.info("rows_read");
        let used = node.info("used_memory");
        assert!(used < MEMORY_BYTES_MAX + MEMORY_BYTES_MAX / 4, "node {id} holds {used} bytes");
    }
    assert!(evicted_bytes > (KEYS_COUNT * VALUE_BYTES) as u64, "{evicted_bytes} bytes have left memory");
    assert!(read_count > KEYS_COUNT as u64 / 4, "{read_count} rows were read");
    assert_eq!(scan(&mut client).len(), KEYS_COUNT);
    // Half is deleted, with its values on disk for the most part.
    let del = |name: &[u8], _: usize, out: &mut Vec<u8>| encode(&[b"DEL", name], out);
    for_keys(&mut client, (0..KEYS_COUNT).step_by(2), del, |key, reply| {
        assert_eq!(reply, Reply::Int(1), "key {key}")
    });
    let seen = scan(&mut client);
    assert!(seen.len() == KEYS_COUNT / 2 && seen.iter().all(|name| !name.ends_with(['0', '2', '4', '6', '8'])));
    assert_eq!(client.command("FLUSHALL"), ok());
    wait_until("nothing is left", Duration::from_secs(10), || scan(&mut client).is_empty());
}

#[test]
fn nodes_that_were_killed_find_what_is_on_their_disks() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { restart: true, ..options() });
    set_all(&mut cluster.gateway(1));
    for id in 1..=3 {
        let pid = cluster.node(id).pid;
        cluster.kill(id);
        cluster.wait_restarted(id, pid);
        cluster.wait_healthy(id, Duration::from_secs(60));
        check(&mut cluster.gateway(id), 7);
    }
}
