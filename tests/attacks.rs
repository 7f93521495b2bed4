//! Clients that want to fill a node's memory: each is held to the budget of the core, and every node lives.
//!
//! The nodes have `memory_bytes_max` of 512 MiB; each test prints what a node had resident at most.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use coracle_tests::client::{encode, ok};
use coracle_tests::memory::{MemoryWatch, RESIDENT_BYTES_MAX, limited};
use coracle_tests::{Client, Cluster, Options, Reply, alone, process, replicas};
use types::limits::REPLY_BYTES_MAX;

const LIMIT: Duration = Duration::from_secs(180);
const MIB: usize = 1 << 20;
const KEY_BYTES_MAX: usize = 64 << 10;
const VALUE_BYTES_MAX: usize = 8 << 20;
const REQUEST_BYTES_MAX: usize = 16 << 20;

fn one_node() -> Cluster {
    Cluster::start(limited(Options { nodes: 1, groups: 2, ..Options::default() }))
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(args, &mut bytes);
    bytes
}

/// Sends these bytes again and again, as long as the server takes them. Returns how many it took.
fn flood(client: &Client, bytes: &[u8], bytes_max: usize, within: Duration) -> usize {
    let mut socket = client.socket();
    socket.set_nonblocking(true).unwrap();
    let (mut sent, begin) = (0, Instant::now());
    while sent < bytes_max && begin.elapsed() < within {
        match socket.write(&bytes[sent % bytes.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            // It closed the connection: that is one way to take no more.
            Err(_) => break,
        }
    }
    let _ = socket.set_nonblocking(false);
    sent
}

/// A core that is well answers this at once, whatever other clients do.
fn is_well(cluster: &Cluster, id: usize) {
    let begin = Instant::now();
    let mut client = cluster.gateway(id);
    assert_eq!(client.command("PING"), Reply::Simple("PONG".to_owned()), "node {id}");
    assert!(begin.elapsed() < Duration::from_secs(5), "node {id} answers PING after {:?}", begin.elapsed());
}

#[test]
fn a_listing_of_long_keys_is_an_error_or_short() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(limited(Options::default()));
    let mut client = cluster.gateway(1);
    let key = |number: usize| {
        let mut key = format!("{{t}}{number}:").into_bytes();
        key.resize(KEY_BYTES_MAX, b'k');
        key
    };
    for number in 0..2_100 {
        assert_eq!(client.ask(&[b"SET", &key(number), b"v"]).unwrap(), ok(), "key {number}");
    }
    let slot = client.command("CLUSTER KEYSLOT {t}");
    let Reply::Int(slot) = slot else { panic!("{slot:?}") };
    let watch = MemoryWatch::start(&cluster);
    // One of the nodes leads the slot; the others forward.
    for id in 1..=3 {
        let Ok(mut client) = Client::connect(&cluster.node(id).host, cluster.node(id).gateway) else { continue };
        let reply = client.ask(&[b"CLUSTER", b"GETKEYSINSLOT", slot.to_string().as_bytes(), b"1000000"]);
        let bytes = match &reply {
            Ok(Reply::Array(keys)) => keys.iter().map(|key| key.text().len()).sum(),
            Ok(Reply::Error(error)) => error.len(),
            other => {
                watch.check("GETKEYSINSLOT", RESIDENT_BYTES_MAX);
                panic!("node {id}: {other:?}");
            }
        };
        println!("GETKEYSINSLOT by way of node {id}: {} KiB", bytes >> 10);
        assert!(bytes <= REPLY_BYTES_MAX, "node {id} answers with {bytes} bytes");
    }
    watch.check("GETKEYSINSLOT", RESIDENT_BYTES_MAX);
    let few = client.command(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
    assert!(matches!(&few, Reply::Array(keys) if keys.len() == 10), "{}", few.text().len());
    (1..=3).for_each(|id| is_well(&cluster, id));
}

#[test]
fn replies_of_writes_that_nobody_reads_are_bounded() {
    let _alone = alone(LIMIT);
    let cluster = one_node();
    let mut client = cluster.gateway(1);
    let value = vec![b'v'; VALUE_BYTES_MAX];
    assert_eq!(client.ask(&[b"SET", b"k", &value]).unwrap(), ok());
    let watch = MemoryWatch::start(&cluster);
    let lazy = cluster.gateway(1);
    let requests = request(&[b"SET", b"k", b"x", b"NX", b"GET"]).repeat(1_024);
    flood(&lazy, &requests, requests.len(), Duration::from_secs(5));
    std::thread::sleep(Duration::from_secs(5));
    watch.check("1,024 times SET NX GET of 8 MiB", RESIDENT_BYTES_MAX);
    is_well(&cluster, 1);
    assert_eq!(client.command("STRLEN k"), Reply::Int(VALUE_BYTES_MAX as i64));
}

#[test]
fn requests_of_a_million_arguments_have_bounded_replies() {
    let _alone = alone(LIMIT);
    let cluster = one_node();
    let value = vec![b'v'; 64 << 10];
    assert_eq!(cluster.gateway(1).ask(&[b"SET", b"k", &value]).unwrap(), ok());
    for command in ["COMMAND DOCS cluster", "COMMAND INFO cluster", "CONFIG GET *", "INFO everything", "MGET k"] {
        let watch = MemoryWatch::start(&cluster);
        // The last word again and again.
        let mut args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        args.resize(1_000_000, args[args.len() - 1]);
        let requests = request(&args);
        let lazy = cluster.gateway(1);
        let sent = flood(&lazy, &requests, requests.len(), Duration::from_secs(10));
        assert_eq!(sent, requests.len(), "the request itself is within the limits");
        std::thread::sleep(Duration::from_secs(3));
        watch.check(&format!("{command} a million times"), RESIDENT_BYTES_MAX);
        is_well(&cluster, 1);
        drop(lazy);
        let few = cluster.gateway(1).command(command);
        assert!(few.error().is_none(), "{command}: {}", few.text());
    }
    std::thread::sleep(Duration::from_secs(1));
    MemoryWatch::start(&cluster).check("the clients gone", RESIDENT_BYTES_MAX);
}

#[test]
fn a_reply_of_gigabytes_is_an_error_on_every_port() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(limited(Options::default()));
    let value = vec![b'v'; VALUE_BYTES_MAX];
    assert_eq!(cluster.gateway(1).ask(&[b"SET", b"k", &value]).unwrap(), ok());
    let watch = MemoryWatch::start(&cluster);
    let mut args: Vec<&[u8]> = vec![b"MGET"];
    args.resize(300, b"k");
    for id in 1..=3 {
        for (port, mut client) in [("gateway", cluster.gateway(id)), ("core", cluster.core(id, 0))] {
            let reply = client.ask(&args);
            if !matches!(&reply, Ok(Reply::Error(_))) {
                watch.check("MGET of 2.4 GB", RESIDENT_BYTES_MAX);
                panic!("node {id}, {port}: {:?}", reply.map(|reply| reply.text().len()));
            }
        }
    }
    watch.check("MGET of 2.4 GB", RESIDENT_BYTES_MAX);
    args.truncate(4);
    let few = cluster.gateway(1).ask(&args).unwrap();
    assert!(matches!(&few, Reply::Array(values) if values.len() == 3), "{:.200}", few.text());
}

#[test]
fn names_of_connections_are_short() {
    let _alone = alone(LIMIT);
    let cluster = one_node();
    let watch = MemoryWatch::start(&cluster);
    let name = vec![b'n'; VALUE_BYTES_MAX];
    let (mut clients, mut refused) = (Vec::new(), 0);
    for number in 0..100 {
        let mut client = cluster.gateway(1);
        client.set_wait(Duration::from_secs(10));
        let args: &[&[u8]] = match number % 2 {
            0 => &[b"HELLO", b"3", b"SETNAME", &name],
            _ => &[b"CLIENT", b"SETNAME", &name],
        };
        let reply = client.ask(args).unwrap();
        refused += usize::from(reply.error().is_some_and(|error| error.starts_with("ERR ")));
        clients.push(client);
    }
    let list = cluster.gateway(1).command("CLIENT LIST").text();
    println!("CLIENT LIST of {} clients: {} KiB", list.lines().count(), list.len() >> 10);
    watch.check("100 names of 8 MiB", RESIDENT_BYTES_MAX);
    assert_eq!(refused, clients.len(), "long names are errors");
    assert!(list.len() < MIB, "CLIENT LIST is {} bytes long", list.len());
    assert_eq!(clients[0].command("CLIENT SETNAME short"), ok());
    assert_eq!(clients[0].command("CLIENT GETNAME").text(), "short");
}

/// Floods connections behind what ends them, while their replies wait for somebody to read them.
fn flood_behind(name: &str, last: &[u8]) {
    let cluster = one_node();
    let value = vec![b'v'; 128 << 10];
    assert_eq!(cluster.gateway(1).ask(&[b"SET", b"k", &value]).unwrap(), ok());
    let watch = MemoryWatch::start(&cluster);
    // Replies that are too long for the socket's buffers keep a connection from its end, and if they are not too many the
    // node reads on. Where that is depends on the kernel, so that every connection asks for another number of them.
    let clients: Vec<Client> = (0..96).map(|_| cluster.gateway(1)).collect();
    for (count, client) in clients.iter().enumerate() {
        let first = [&b"GET k\r\n".repeat(count), last].concat();
        flood(client, &first, first.len(), Duration::from_secs(1));
    }
    let junk = vec![b'x'; MIB];
    let taken = std::thread::scope(|scope| {
        let one = |client| flood(client, &junk, 512 * MIB, Duration::from_secs(6));
        let floods: Vec<_> = clients.iter().map(|client| scope.spawn(move || one(client))).collect();
        floods.into_iter().map(|flood| flood.join().unwrap()).max().unwrap()
    });
    println!("behind {name}, one client could send {} MiB", taken / MIB);
    watch.check(&format!("input behind {name}"), RESIDENT_BYTES_MAX);
    is_well(&cluster, 1);
}

#[test]
fn input_behind_quit_is_not_kept() {
    let _alone = alone(LIMIT);
    flood_behind("QUIT", b"QUIT\r\n");
}

#[test]
fn input_behind_a_protocol_error_is_not_kept() {
    let _alone = alone(LIMIT);
    flood_behind("a protocol error", b"*1\r\n!\r\n");
}

#[test]
fn arguments_of_reads_that_wait_are_counted() {
    let _alone = alone(LIMIT);
    // Nobody confirms the write for a while, and the leader does not give up meanwhile.
    let set = ["election_timeout_min_ms=15000", "election_timeout_max_ms=16000"].map(str::to_owned).to_vec();
    let cluster = Cluster::start(limited(Options { set, ..Options::default() }));
    let led = replicas::keys_led_by(&cluster, 1, 100, Duration::from_secs(30));
    let tag = format!("{{key:{}}}", led[0]);
    let keys: Vec<Vec<u8>> = (0..REQUEST_BYTES_MAX / KEY_BYTES_MAX - 1)
        .map(|number| {
            let mut key = format!("{tag}{number}:").into_bytes();
            key.resize(KEY_BYTES_MAX - 64, b'k');
            key
        })
        .collect();
    let reads = request(&[&[b"EXISTS".as_slice()], &keys.iter().map(Vec::as_slice).collect::<Vec<_>>()[..]].concat());
    let mut others = (2..=3).map(|id| cluster.node(id).pid).collect::<Vec<_>>();
    let watch = MemoryWatch::start(&cluster);
    others.iter().for_each(|pid| process::freeze(*pid));
    let clients: Vec<Client> = (0..4).map(|_| cluster.core(1, 0)).collect();
    let mut taken = 0;
    std::thread::scope(|scope| {
        let floods: Vec<_> = clients
            .iter()
            .map(|client| {
                scope.spawn(|| {
                    let write = request(&[b"SET", tag.as_bytes(), b"v"]);
                    flood(client, &write, write.len(), Duration::from_secs(1));
                    flood(client, &reads, 24 * reads.len(), Duration::from_secs(12))
                })
            })
            .collect();
        taken = floods.into_iter().map(|flood| flood.join().unwrap()).sum::<usize>();
    });
    println!("behind a write that waits, 4 clients could send reads of {} MiB", taken / MIB);
    others.drain(..).for_each(|pid| process::signal(pid, rustix::process::Signal::CONT));
    watch.check("reads that wait", RESIDENT_BYTES_MAX);
    drop(clients);
    cluster.wait_healthy(1, Duration::from_secs(60));
    is_well(&cluster, 1);
}

#[test]
fn small_entries_do_not_keep_the_frames_that_they_came_in() {
    let _alone = alone(LIMIT);
    let groups = 16;
    let cluster = Cluster::start(limited(Options { groups, ..Options::default() }));
    let mut client = cluster.gateway(1);
    // A key of each group; the first takes large values. Whoever leads it leads others too, and sends all in one frame.
    let mut keys: Vec<String> = (1..=groups)
        .map(|group| {
            let mut numbers = (0..).map(|number| format!("key:{number}"));
            numbers.find(|key| replicas::group_of(&mut client, key, groups) == group).unwrap()
        })
        .collect();
    let large = keys.swap_remove(0);
    let value = vec![b'v'; MIB];
    let mut requests = request(&[b"SET", large.as_bytes(), &value]);
    keys.iter().for_each(|key| encode(&[b"SET", key.as_bytes(), b"s"], &mut requests));
    let watch = MemoryWatch::start(&cluster);
    let (mut done, mut refused) = (0, 0);
    while done < 1_000 {
        client.send(&requests).unwrap();
        let replies: Vec<Reply> = (0..groups).map(|_| client.reply().unwrap()).collect();
        // On a busy machine a leader may change now and then.
        if replies.iter().all(|reply| *reply == ok()) {
            done += 1
        } else {
            refused += 1
        }
        assert!(refused <= 100, "{replies:?}");
    }
    watch.check("1,000 times small entries beside a large one", RESIDENT_BYTES_MAX);
}

#[test]
fn a_web_page_is_no_client() {
    let _alone = alone(LIMIT);
    let cluster = one_node();
    assert_eq!(cluster.gateway(1).command("SET kept 1"), ok());
    for first in ["POST / HTTP/1.1\r\nHost: x\r\n\r\n", "Host: x\r\n", "host:\r\n"] {
        for mut client in [cluster.gateway(1), cluster.core(1, 0)] {
            client.set_wait(Duration::from_secs(5));
            // It may close before all is sent.
            let _ = client.send(format!("{first}FLUSHALL\r\nPING\r\n").as_bytes());
            let told = client.rest().unwrap_or_else(|error| panic!("{first:?}: it is not closed: {error}"));
            assert!(!told.windows(4).any(|reply| reply == b"PONG"), "{first:?}: {}", told.escape_ascii());
        }
        let mut client = cluster.gateway(1);
        assert_eq!(client.command("GET kept").text(), "1", "{first:?}: what came behind it is carried out");
    }
    // One line may stand for several: a page may try it again and again.
    let log = std::fs::read_to_string(cluster.dir().join("node-1.log")).unwrap();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("POST or Host:")), "{log}");
    // A request that begins in another way is an ordinary one.
    let mut client = cluster.gateway(1);
    assert!(client.command("GET Host:").error().is_none());
    assert!(client.command("POSTMAN x").error().is_some_and(|error| error.contains("unknown command")));
}

#[test]
fn who_goes_on_sending_behind_a_protocol_error_is_closed() {
    let _alone = alone(LIMIT);
    let set = vec!["client_stall_timeout_ms=2000".to_owned()];
    let cluster = Cluster::start(limited(Options { nodes: 1, groups: 2, set, ..Options::default() }));
    // More than a request may have: the error comes before its end.
    let value = vec![b'v'; VALUE_BYTES_MAX - 16];
    let requests = request(&[b"MSET", b"{m}a", &value, b"{m}b", &value, b"{m}c", &value]);
    for attempt in 0..8 {
        let mut client = cluster.gateway(1);
        let begin = Instant::now();
        // It may end before all is sent: behind the error nothing is read.
        let _ = client.send(&requests);
        assert!(begin.elapsed() < Duration::from_secs(5), "attempt {attempt}: it waits for room");
        assert!(client.reply().unwrap().text().contains("too big request"));
        let rest = client.rest().unwrap();
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
    }
}
