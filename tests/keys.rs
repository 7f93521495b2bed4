//! Keys that expire, scans over the keys of a whole cluster, and values that move from and to a real Redis, with real processes.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use coracle_tests::client::{bulk, encode, ok};
use coracle_tests::{Client, Cluster, Options, RedisServer, Reply, alone, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const KEYS_COUNT: usize = 5_000;

/// Sets many keys in one pipeline.
fn fill(client: &mut Client, prefix: &str) -> BTreeSet<String> {
    let names: BTreeSet<String> = (0..KEYS_COUNT).map(|number| format!("{prefix}{number}")).collect();
    let mut requests = Vec::new();
    names.iter().for_each(|name| encode(&[b"SET", name.as_bytes(), b"v"], &mut requests));
    client.send(&requests).unwrap();
    names.iter().for_each(|_| assert_eq!(client.reply().unwrap(), ok()));
    names
}

/// All keys that a scan returns, each as often as it does.
fn scan(client: &mut Client, options: &str) -> Vec<String> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    loop {
        let Reply::Array(parts) = client.command(format!("SCAN {cursor} {options}").trim_end()) else {
            panic!("no array")
        };
        let [Reply::Bulk(next), Reply::Array(some)] = &parts[..] else { panic!("{parts:?}") };
        keys.extend(some.iter().map(|key| match key {
            Reply::Bulk(key) => String::from_utf8(key.clone()).unwrap(),
            other => panic!("{other:?}"),
        }));
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            return keys;
        }
    }
}

#[test]
fn scans_cover_the_cluster_on_a_gateway_and_what_a_core_leads_on_its_port() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    let mut client = cluster.gateway(1);
    let names = fill(&mut client, "key:");
    for (id, options) in [(1, ""), (2, "COUNT 1000"), (3, "COUNT 100000 TYPE string")] {
        let keys = scan(&mut cluster.gateway(id), options);
        assert_eq!(keys.len(), names.len(), "each key once over node {id}");
        assert!(keys.into_iter().collect::<BTreeSet<_>>() == names);
    }
    let mut by_cores = Vec::new();
    for id in 1..=3 {
        for core in 0..2 {
            by_cores.extend(scan(&mut cluster.core(id, core), "COUNT 500"));
        }
    }
    assert_eq!(by_cores.len(), names.len(), "each key is led by one core");
    assert!(by_cores.into_iter().collect::<BTreeSet<_>>() == names);
    let some: BTreeSet<String> = scan(&mut client, "MATCH key:1? COUNT 1000").into_iter().collect();
    assert_eq!(some, (10..20).map(|number| format!("key:{number}")).collect());
    assert!(scan(&mut client, "TYPE hash COUNT 1000").is_empty());
    let Reply::Array(keys) = client.command("KEYS key:12*") else { panic!("no array") };
    assert_eq!(keys.len(), 111);
    let Reply::Bulk(key) = client.command("RANDOMKEY") else { panic!("no key") };
    assert!(names.contains(&String::from_utf8(key).unwrap()));
    assert_eq!(client.command("SCAN nope").error(), Some("ERR invalid cursor"));
    assert_eq!(client.command("RENAME {a}1 {b}2").error().map(|error| error.starts_with("CROSSSLOT")), Some(true));
    assert_eq!(client.command("SET {a}1 v"), ok());
    assert_eq!(client.command("RENAME {a}1 {a}2"), ok());
    assert_eq!(client.command("GET {a}2"), bulk("v"));
    assert_eq!(client.command("FLUSHALL"), ok());
    assert_eq!((client.command("RANDOMKEY"), client.command("KEYS *")), (Reply::Nil, Reply::Array(Vec::new())));
    assert!(scan(&mut client, "").is_empty());
}

#[test]
fn keys_expire_on_time_and_nowhere_else_though_nodes_die() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { restart: true, ..Options::default() });
    let mut client = cluster.gateway(1);
    let begun = Instant::now();
    for number in 0..200 {
        assert_eq!(client.command(&format!("SET short:{number} v PX 4000")), ok());
        assert_eq!(client.command(&format!("SET long:{number} v EX 1000")), ok());
        assert_eq!(client.command(&format!("SET ever:{number} v")), ok());
    }
    let written = Instant::now();
    let died = cluster.node(2).pid;
    cluster.kill(2);
    cluster.wait_restarted(2, died);
    cluster.wait_healthy(2, Duration::from_secs(20));
    let mut other = cluster.gateway(2);
    for number in 0..200 {
        let reply = other.command(&format!("GET short:{number}"));
        // Before its time it is there, whatever has happened meanwhile.
        assert!(reply == bulk("v") || begun.elapsed() > Duration::from_millis(3_900), "{reply:?}");
        let Reply::Int(ttl) = other.command(&format!("TTL long:{number}")) else { panic!("no number") };
        assert!((900..=1_000).contains(&ttl), "{ttl}");
        assert_eq!(other.command(&format!("TTL ever:{number}")), Reply::Int(-1));
    }
    std::thread::sleep((written + Duration::from_millis(4_000)).saturating_duration_since(Instant::now()));
    // Nobody asks for them: they go by themselves.
    wait_until("what has expired is gone", Duration::from_secs(10), || other.command("DBSIZE") == Reply::Int(400));
    for number in 0..200 {
        assert_eq!(client.command(&format!("GET short:{number}")), Reply::Nil);
        assert_eq!(client.command(&format!("GET long:{number}")), bulk("v"));
    }
}

/// What a client has dumped.
fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    match client.command(&format!("DUMP {key}")) {
        Reply::Bulk(payload) => payload,
        other => panic!("no payload of {key}: {other:?}"),
    }
}

fn restore(client: &mut Client, key: &str, ttl: &str, payload: &[u8]) -> Reply {
    client.ask(&[b"RESTORE", key.as_bytes(), ttl.as_bytes(), payload]).unwrap()
}

#[test]
fn values_move_from_a_redis_server_to_a_cluster_and_back() {
    let _alone = alone(LIMIT);
    let redis = RedisServer::start();
    let cluster = Cluster::start(Options { restart: true, ..Options::default() });
    let (mut theirs, mut ours) = (redis.client(), cluster.gateway(1));
    let long: Vec<u8> = b"what Redis compresses, ".iter().copied().cycle().take(8 << 20).collect();
    let scattered: Vec<u8> = (0u32..100_000).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let values: [&[u8]; 9] = [b"", b"v", b"-5", b"300", b"70000", b"9999999999", b"007", &scattered, &long];
    for (idx, value) in values.iter().enumerate() {
        let (key, back) = (format!("k{idx}"), format!("back{idx}"));
        assert_eq!(theirs.ask(&[b"SET", key.as_bytes(), value]).unwrap(), ok());
        let payload = dump(&mut theirs, &key);
        assert_eq!(restore(&mut cluster.gateway(idx % 3 + 1), &key, "0", &payload), ok());
        assert!(ours.command(&format!("GET {key}")) == bulk(value), "value {idx} from Redis");
        // Nothing compresses here, and a payload longer than the longest argument could not be sent back.
        let payload = if value.len() == long.len() { payload } else { dump(&mut ours, &key) };
        assert_eq!(restore(&mut theirs, &back, "0", &payload), ok());
        assert!(theirs.command(&format!("GET {back}")) == bulk(value), "value {idx} to Redis");
    }
    let payload = dump(&mut ours, "k1");
    assert_eq!(restore(&mut ours, "k1", "0", &payload).error(), Some("BUSYKEY Target key name already exists."));
    assert_eq!(restore(&mut ours, "mayfly", "60000", &payload), ok());
    let Reply::Int(ttl) = ours.command("PTTL mayfly") else { panic!("no number") };
    assert!((30_000..=60_000).contains(&ttl), "{ttl}");
    let mut damaged = payload.clone();
    damaged[2] ^= 1;
    let error = "ERR DUMP payload version or checksum are wrong";
    for client in [&mut theirs, &mut ours] {
        assert_eq!(restore(client, "damaged", "0", &damaged).error(), Some(error));
        assert_eq!(client.command("EXISTS damaged"), Reply::Int(0));
    }
    theirs.command("RPUSH list a b c");
    let error = restore(&mut ours, "list", "0", &dump(&mut theirs, "list"));
    assert!(error.error().is_some_and(|error| error.contains("another type than a string")), "{error:?}");
    // What was restored is logged as what was set.
    let died = cluster.node(2).pid;
    cluster.kill(2);
    cluster.wait_restarted(2, died);
    cluster.wait_healthy(2, Duration::from_secs(20));
    let mut other = cluster.gateway(2);
    for (idx, value) in values.iter().enumerate() {
        assert!(other.command(&format!("GET k{idx}")) == bulk(value), "value {idx} after a crash");
    }
}
