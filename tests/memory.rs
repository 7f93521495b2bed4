//! What INFO says of memory is what the kernel says: nothing of size is held that nobody counts.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::io::Write;
use std::time::Duration;

use coracle_tests::client::{encode, ok};
use coracle_tests::{Client, Cluster, Node, Options, Reply, alone, process, wait_until};

const LIMIT: Duration = Duration::from_secs(180);
/// What of it need not be the same: an allocator rounds up to its size classes, of which there are four per doubling.
const INEXACT_SHARE_MAX: f64 = 0.05;
/// And what is no part of any sum: pages that the allocator keeps for a moment, tables that double, buffers that grow with
/// their first use. Or is too much in one: what a start holds only for itself is counted as fixed.
const INEXACT_BYTES_MAX: u64 = 20 << 20;
/// What memory is held for, as INFO names it.
const POOLS: [&str; 12] = [
    "fixed",
    "keys",
    "tables",
    "entries",
    "batches",
    "client_input",
    "client_output",
    "forwarded",
    "links",
    "log",
    "snapshots",
    "rows",
];

/// What a node counts, and what the kernel counts of it.
#[derive(Clone, Copy, Debug)]
struct Memory {
    used: u64,
    resident: u64,
}

fn memory_of(node: &Node) -> Memory {
    let mut client = Client::connect(&node.host, node.gateway).unwrap();
    Memory { used: client.info("used_memory"), resident: process::resident_bytes(node.pid) }
}

/// Compares what a node counts with what it has.
fn compare(name: &str, node: &Node) {
    // What is on its way in a turn has arrived or is gone.
    std::thread::sleep(Duration::from_millis(500));
    let Memory { used, resident } = memory_of(node);
    println!("{name}, node {}: {} MiB counted, {} MiB resident", node.id, used >> 20, resident >> 20);
    let slack = (INEXACT_SHARE_MAX * used.max(resident) as f64) as u64 + INEXACT_BYTES_MAX;
    assert!(used + slack >= resident, "{name}: {} MiB are held that nobody counts", (resident - used) >> 20);
    // Memory that is counted and not there would hold clients back for nothing. What is held only grows in these tests; when
    // memory is short, the kernel takes back pages of it that are free or that nobody has written to.
    let held = process::resident_bytes_peak(node.pid);
    assert!(used <= held + slack, "{name}: {} MiB are counted that nobody holds", (used - held) >> 20);
}

/// Sets many keys of this size, in pipelines.
fn fill(client: &mut Client, name: &str, count: usize, value_bytes: usize) {
    let value = vec![b'v'; value_bytes];
    let mut left = (0..count).peekable();
    while left.peek().is_some() {
        let mut requests = Vec::new();
        let mut sent = 0;
        while let Some(key) = left.next_if(|_| requests.len() < 512 << 10) {
            encode(&[b"SET", format!("{name}:{key}").as_bytes(), &value], &mut requests);
            sent += 1;
        }
        client.send(&requests).unwrap();
        (0..sent).for_each(|_| assert_eq!(client.reply().unwrap(), ok()));
    }
}

/// Removes every second one of these keys.
fn remove_half(client: &mut Client, name: &str, count: usize) {
    for keys in (0..count).step_by(2).collect::<Vec<_>>().chunks(5_000) {
        let mut requests = Vec::new();
        keys.iter().for_each(|key| encode(&[b"DEL", format!("{name}:{key}").as_bytes()], &mut requests));
        client.send(&requests).unwrap();
        keys.iter().for_each(|_| assert_eq!(client.reply().unwrap(), Reply::Int(1)));
    }
}

#[test]
fn keys_and_entries_are_counted() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { groups: 4, ..Options::default() });
    let nodes = cluster.nodes();
    let mut client = cluster.gateway(1);
    nodes.iter().for_each(|node| compare("idle", node));
    for (name, count, value_bytes) in [("small", 400_000, 250), ("large", 3_000, 61_000)] {
        fill(&mut client, name, count, value_bytes);
        nodes.iter().for_each(|node| compare(name, node));
    }
    // Memory between rows that are left is held, and so it counts.
    remove_half(&mut client, "small", 400_000);
    nodes.iter().for_each(|node| compare("half of the small ones", node));
    assert_eq!(client.command("FLUSHALL"), ok());
    // Followers apply it a little later.
    wait_until("keys that are gone are not counted", Duration::from_secs(10), || {
        client.info("used_memory_keys") < 1 << 20
    });
}

#[test]
fn what_clients_leave_unread_is_counted() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let node = cluster.node(1);
    fill(&mut cluster.gateway(1), "k", 64, 1 << 20);
    compare("keys", &node);
    let lazy: Vec<Client> = (0..64).map(|_| cluster.gateway(1)).collect();
    for (at, client) in lazy.iter().enumerate() {
        client.socket().write_all(format!("GET k:{at}\r\n").repeat(8).as_bytes()).unwrap();
    }
    compare("unread replies", &node);
    // Half a request each, so that all of it waits.
    let begun: Vec<Client> = (0..16).map(|_| cluster.gateway(1)).collect();
    for client in &begun {
        let half = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8388608\r\n".as_slice(), &vec![b'v'; 6 << 20]].concat();
        client.socket().write_all(&half).unwrap();
    }
    compare("requests that have begun", &node);
    drop((lazy, begun));
    std::thread::sleep(Duration::from_secs(1));
    let mut client = cluster.gateway(1);
    let left = client.info("used_memory_client_output") + client.info("used_memory_client_input");
    assert!(left < 1 << 20, "{left} bytes are counted for clients that are gone");
}

#[test]
fn the_parts_add_up_and_the_kernel_agrees() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, cores: 2, groups: 4, ..Options::default() });
    let mut client = cluster.gateway(1);
    fill(&mut client, "k", 10_000, 4 << 10);
    wait_until("the other core has told of its keys", Duration::from_secs(10), || {
        client.info("used_memory_keys") >= 10_000 * (4 << 10)
    });
    let text = client.command("INFO memory").text();
    let field = |name: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no {name} in:\n{text}")).trim().parse().unwrap()
    };
    let sum: u64 = POOLS.iter().map(|pool| field(&format!("used_memory_{pool}"))).sum();
    assert_eq!(sum, field("used_memory"), "{text}");
    assert!(field("used_memory_peak") >= field("used_memory"), "{text}");
    assert_eq!(field("used_memory_overhead") + field("used_memory_dataset"), sum, "{text}");
    let (told, is) = (field("used_memory_rss"), process::resident_bytes(cluster.node(1).pid));
    assert!(told.abs_diff(is) < 16 << 20, "INFO says {told} bytes are resident, the kernel {is}");
}
