//! Clients that do not read their replies: they are held back, then closed, and cost bounded memory.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use coracle_tests::client::{encode, ok};
use coracle_tests::{Client, Cluster, Options, alone, process, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const VALUE_BYTES: usize = 256 << 10;
const SLOW_COUNT: usize = 8;
const STALL: Duration = Duration::from_millis(4_000);
/// More memory than this would mean that replies pile up: a client may have some MiB waiting, and its node some more.
const GROWTH_BYTES_MAX: u64 = 400 << 20;

/// Asks for far more than anyone would hold, as long as the server takes it. Returns how many bytes it took.
fn ask_without_reading(client: &Client) -> usize {
    let mut socket = client.socket();
    socket.set_nonblocking(true).unwrap();
    let mut requests = Vec::new();
    (0..2_000).for_each(|key| encode(&[b"GET", format!("large:{}", key % 16).as_bytes()], &mut requests));
    let (mut sent, begin) = (0, Instant::now());
    while sent < requests.len() && begin.elapsed() < Duration::from_millis(300) {
        match socket.write(&requests[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("closed too early: {error}"),
        }
    }
    socket.set_nonblocking(false).unwrap();
    sent
}

#[test]
fn a_client_that_never_reads_is_bounded_and_closed() {
    let _alone = alone(LIMIT);
    let set = vec![format!("client_stall_timeout_ms={}", STALL.as_millis())];
    let cluster = Cluster::start(Options { set, ..Options::default() });
    let pids: Vec<u32> = cluster.nodes().iter().map(|node| node.pid).collect();
    let mut client = cluster.gateway(1);
    for key in 0..16 {
        let value = vec![b'v'; VALUE_BYTES];
        assert_eq!(client.ask(&[b"SET", format!("large:{key}").as_bytes(), &value]).unwrap(), ok());
    }
    let resident = || pids.iter().map(|pid| process::resident_bytes(*pid)).collect::<Vec<u64>>();
    let before = resident();
    let slow: Vec<Client> = (0..SLOW_COUNT).map(|_| cluster.gateway(1)).collect();
    slow.iter().for_each(|client| {
        ask_without_reading(client);
    });
    let begin = Instant::now();
    let (mut slowest, mut most, mut count) = (Duration::ZERO, 0, 0);
    while begin.elapsed() < STALL + Duration::from_secs(2) {
        let asked = Instant::now();
        assert_eq!(client.command(&format!("SET small:{} value", count % 100)), ok());
        slowest = slowest.max(asked.elapsed());
        let grown = resident().iter().zip(&before).map(|(now, before)| now.saturating_sub(*before)).max().unwrap();
        most = most.max(grown);
        count += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "beside {SLOW_COUNT} clients that do not read: the slowest SET took {slowest:?}, memory grew by {} MiB",
        most >> 20
    );
    assert!(most < GROWTH_BYTES_MAX, "memory grew by {most} bytes");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    wait_until("they are closed", Duration::from_secs(10), || {
        client.info("stalled_clients_closed") >= SLOW_COUNT as u64
    });
    for client in slow {
        client.set_wait(Duration::from_secs(5));
        let mut taken = 0;
        let mut buffer = vec![0; 1 << 20];
        let mut socket = client.socket();
        // What lay in the kernel still comes, then the end.
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => taken += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "after {taken} bytes");
                    break;
                }
            }
        }
        assert!(taken < 2_000 * VALUE_BYTES, "it was sent everything");
    }
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let _alone = alone(LIMIT);
    let set = vec!["client_stall_timeout_ms=1500".to_owned()];
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, set, ..Options::default() });
    let mut client = cluster.gateway(1);
    let value = vec![b'v'; VALUE_BYTES];
    assert_eq!(client.ask(&[b"SET", b"large", &value]).unwrap(), ok());
    let before = process::resident_bytes(cluster.node(1).pid);
    let mut requests = Vec::new();
    (0..100).for_each(|_| encode(&[b"GET", b"large"], &mut requests));
    client.send(&requests).unwrap();
    let mut most = 0;
    for number in 0..100 {
        // Slow, and yet it takes something now and then: that is no stall.
        std::thread::sleep(Duration::from_millis(50));
        let reply = client.reply().unwrap_or_else(|error| panic!("reply {number}: {error}"));
        // A server that would have to hold too much for this client may refuse a read, in its place.
        let is_refused = reply.error().is_some_and(|error| error.starts_with("TRYAGAIN "));
        assert!(is_refused || reply == coracle_tests::client::bulk(&value), "reply {number}: {}", reply.text());
        most = most.max(process::resident_bytes(cluster.node(1).pid).saturating_sub(before));
    }
    println!("one slow reader of 25 MiB: memory grew by {} MiB", most >> 20);
    assert!(most < 64 << 20, "memory grew by {most} bytes");
}

#[test]
fn a_client_that_takes_one_long_reply_slowly_is_not_closed() {
    let _alone = alone(LIMIT);
    let stall = Duration::from_millis(1_500);
    let set = vec![format!("client_stall_timeout_ms={}", stall.as_millis())];
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, set, ..Options::default() });
    let mut client = cluster.gateway(1);
    let value = vec![b'v'; 8 << 20];
    assert_eq!(client.ask(&[b"SET", b"long", &value]).unwrap(), ok());
    let mut slow = cluster.gateway(1);
    let mut request = Vec::new();
    encode(&[b"GET", b"long"], &mut request);
    slow.send(&request).unwrap();
    // The reply is one send, which takes far longer than the server waits for one that takes nothing.
    let begin = Instant::now();
    let (mut taken, mut piece) = (0, vec![0; 64 << 10]);
    let expected = value.len() + "$8388608\r\n\r\n".len();
    while taken < expected {
        std::thread::sleep(Duration::from_millis(50));
        match slow.socket().read(&mut piece) {
            Ok(0) => panic!("closed after {taken} bytes and {:?}", begin.elapsed()),
            Ok(count) => taken += count,
            Err(error) => panic!("{error} after {taken} bytes and {:?}", begin.elapsed()),
        }
    }
    println!("{taken} bytes took {:?}", begin.elapsed());
    assert_eq!(taken, expected);
    assert!(begin.elapsed() > 3 * stall, "it was not slow: {:?}", begin.elapsed());
    assert_eq!(client.info("stalled_clients_closed"), 0);
}
