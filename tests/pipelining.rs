//! Many requests on one connection: replies in order, each request seeing those before it.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::Duration;

use coracle_tests::client::{bulk, encode, ok};
use coracle_tests::{Client, Cluster, Options, Reply, alone};

const LIMIT: Duration = Duration::from_secs(120);
const KEYS_COUNT: usize = 4_000;

/// Sends all of it from a thread of its own, as the replies begin to come before the last request is sent.
fn exchange(client: &mut Client, requests: Vec<u8>, count: usize) -> Vec<Reply> {
    let mut sending = client.socket().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut sending, &requests));
    let replies = (0..count).map(|idx| client.reply().unwrap_or_else(|error| panic!("reply {idx}: {error}")));
    let replies = replies.collect();
    sender.join().expect("the sender does not panic").expect("all is sent");
    replies
}

#[test]
fn a_connection_reads_its_own_writes() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    for id in 1..=3 {
        let mut requests = Vec::new();
        for key in 0..KEYS_COUNT {
            let (name, value) = (format!("own:{key}"), format!("{id}-{key}"));
            encode(&[b"SET", name.as_bytes(), value.as_bytes()], &mut requests);
            encode(&[b"GET", name.as_bytes()], &mut requests);
        }
        let replies = exchange(&mut cluster.gateway(id), requests, 2 * KEYS_COUNT);
        for (key, pair) in replies.chunks(2).enumerate() {
            assert_eq!(pair, [ok(), bulk(format!("{id}-{key}"))], "key {key} at node {id}");
        }
    }
}

#[test]
fn a_connection_to_a_core_reads_its_own_writes_and_is_told_where_others_are() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let mut served = 0;
    for id in 1..=3 {
        let mut requests = Vec::new();
        for key in 0..KEYS_COUNT {
            let (name, value) = (format!("core:{key}"), key.to_string());
            encode(&[b"SET", name.as_bytes(), value.as_bytes()], &mut requests);
            encode(&[b"GET", name.as_bytes()], &mut requests);
        }
        let replies = exchange(&mut cluster.core(id, 0), requests, 2 * KEYS_COUNT);
        for (key, pair) in replies.chunks(2).enumerate() {
            if let Some(error) = pair[0].error() {
                assert!(error.starts_with("MOVED "), "key {key} at node {id}: {error}");
                assert_eq!(pair[0], pair[1], "key {key} at node {id}");
            } else {
                assert_eq!(pair, [ok(), bulk(key.to_string())], "key {key} at node {id}");
                served += 1;
            }
        }
    }
    assert_eq!(served, KEYS_COUNT, "each key is served by one core");
}

#[test]
fn every_write_to_one_key_is_seen_by_the_read_behind_it() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    for id in 1..=3 {
        let key = format!("hot:{id}");
        let mut requests = Vec::new();
        for value in 0..KEYS_COUNT {
            encode(&[b"SET", key.as_bytes(), value.to_string().as_bytes()], &mut requests);
            encode(&[b"GET", key.as_bytes()], &mut requests);
            encode(&[b"APPEND", key.as_bytes(), b"!"], &mut requests);
            encode(&[b"GET", key.as_bytes()], &mut requests);
        }
        let replies = exchange(&mut cluster.gateway(id), requests, 4 * KEYS_COUNT);
        for (value, replies) in replies.chunks(4).enumerate() {
            let text = value.to_string();
            let length = Reply::Int(text.len() as i64 + 1);
            let expected = [ok(), bulk(&text), length, bulk(format!("{text}!"))];
            assert_eq!(replies, expected, "value {value} at node {id}");
        }
    }
}

#[test]
fn replies_keep_the_order_of_requests_of_every_kind() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    let mut client = cluster.gateway(2);
    let (mut requests, mut expected) = (Vec::new(), Vec::new());
    let big = vec![b'x'; 100_000];
    for round in 0..1_000_i64 {
        // Answered at once, by other nodes, by all groups, and after a write to disk, in turn.
        encode(&[b"PING", round.to_string().as_bytes()], &mut requests);
        expected.push(bulk(round.to_string()));
        encode(&[b"INCR", format!("order:{}", round % 50).as_bytes()], &mut requests);
        expected.push(Reply::Int(round / 50 + 1));
        requests.extend_from_slice(format!("ECHO inline-{round}\r\n").as_bytes());
        expected.push(bulk(format!("inline-{round}")));
        encode(&[b"NOSUCH", b"thing"], &mut requests);
        expected.push(Reply::Error("ERR unknown command 'NOSUCH', with args beginning with: 'thing' ".to_owned()));
        encode(&[b"GET", format!("absent:{round}").as_bytes()], &mut requests);
        expected.push(Reply::Nil);
        if round % 100 == 0 {
            encode(&[b"SET", b"big", &big], &mut requests);
            expected.push(ok());
            encode(&[b"STRLEN", b"big"], &mut requests);
            expected.push(Reply::Int(big.len() as i64));
            encode(&[b"DBSIZE"], &mut requests);
            // The keys of the counters so far, and the big one.
            expected.push(Reply::Int(if round == 0 { 2 } else { 51 }));
        }
    }
    let replies = exchange(&mut client, requests, expected.len());
    for (idx, (reply, expected)) in replies.iter().zip(&expected).enumerate() {
        assert_eq!(reply, expected, "reply {idx}");
    }
}

#[test]
fn commands_on_all_groups_keep_their_place() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    for id in 1..=3 {
        let mut client = cluster.gateway(id);
        let (mut requests, mut expected) = (Vec::new(), Vec::new());
        for round in 0..20 {
            for key in 0..50 {
                encode(&[b"SET", format!("whole:{key}").as_bytes(), b"value"], &mut requests);
                expected.push(ok());
            }
            encode(&[b"DBSIZE"], &mut requests);
            expected.push(Reply::Int(50));
            encode(&[if round % 2 == 0 { b"FLUSHALL" } else { b"FLUSHDB" }], &mut requests);
            expected.push(ok());
            for key in 0..50 {
                encode(&[b"GET", format!("whole:{key}").as_bytes()], &mut requests);
                expected.push(Reply::Nil);
            }
            encode(&[b"DBSIZE"], &mut requests);
            expected.push(Reply::Int(0));
        }
        let replies = exchange(&mut client, requests, expected.len());
        for (idx, (reply, expected)) in replies.iter().zip(&expected).enumerate() {
            assert_eq!(reply, expected, "reply {idx} at node {id}");
        }
    }
}

#[test]
fn a_client_that_has_said_all_still_gets_its_replies() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    for id in 1..=3 {
        let mut client = cluster.gateway(id);
        client.send(b"SET a 1\r\nGET a\r\n").unwrap();
        client.finish();
        assert_eq!(client.rest().unwrap().escape_ascii().to_string(), r"+OK\r\n$1\r\n1\r\n", "node {id}");
        let mut client = cluster.gateway(id);
        let mut requests = Vec::new();
        (0..1_000).for_each(|key| encode(&[b"SET", format!("half:{key}").as_bytes(), b"v"], &mut requests));
        client.send(&requests).unwrap();
        client.finish();
        assert_eq!(client.rest().unwrap(), b"+OK\r\n".repeat(1_000), "node {id}");
    }
}

#[test]
fn requests_cut_anywhere_are_understood() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let mut client = cluster.gateway(1);
    let mut request = Vec::new();
    encode(&[b"SET", b"cut", b"va\r\nlue"], &mut request);
    encode(&[b"GET", b"cut"], &mut request);
    for cut in 1..request.len() {
        client.send(&request[..cut]).unwrap();
        // Long enough for the pieces to arrive apart, most of the time.
        std::thread::sleep(Duration::from_millis(2));
        client.send(&request[cut..]).unwrap();
        assert_eq!([client.reply().unwrap(), client.reply().unwrap()], [ok(), bulk("va\r\nlue")], "cut at {cut}");
    }
    for byte in &request {
        client.send(&[*byte]).unwrap();
    }
    assert_eq!([client.reply().unwrap(), client.reply().unwrap()], [ok(), bulk("va\r\nlue")]);
}
