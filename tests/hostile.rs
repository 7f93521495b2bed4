//! Broken and oversized input: an error with a name and, where the stream cannot be trusted any more, a close.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::{Duration, Instant};

use coracle_tests::client::{bulk, encode, ok};
use coracle_tests::{Client, Cluster, Options, Reply, alone, process, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const VALUE_BYTES_MAX: usize = 8 << 20;
const KEY_BYTES_MAX: usize = 64 << 10;

/// What the server answers to these bytes before it closes the connection.
fn last_words(cluster: &Cluster, bytes: &[u8]) -> String {
    let mut client = cluster.gateway(1);
    client.set_wait(Duration::from_secs(5));
    // The server may close before all is sent.
    let _ = client.send(bytes);
    let shown = bytes[..bytes.len().min(60)].escape_ascii();
    let rest = client.rest().unwrap_or_else(|error| panic!("{shown}: it is not closed: {error}"));
    String::from_utf8_lossy(&rest).into_owned()
}

#[test]
fn broken_framing_is_an_error_and_a_close() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let pid = cluster.node(1).pid;
    let before = process::resident_bytes(pid);
    let cases: &[(&[u8], &str)] = &[
        (b"*1000000000\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*1 \r\n", "invalid multibulk length"),
        (b"*1\r\n$9999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$8388609\r\n", "invalid bulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n\0\r\n", "expected '$', got ' '"),
        (b"*1\r\n$4\r\nPINGxx", "Protocol error"),
        (b"*0\r\n*-5\r\n\r\n*x\r\n", "invalid multibulk length"),
        (b"GET \"unbalanced\r\n", "unbalanced quotes"),
    ];
    for (bytes, expected) in cases {
        let told = last_words(&cluster, bytes);
        let shown = bytes.escape_ascii();
        assert!(told.starts_with("-ERR Protocol error") && told.contains(expected), "{shown}: {told:?}");
        assert_eq!(told.matches("\r\n").count(), 1, "{shown}: {told:?}");
    }
    let long = |head: &[u8], filler: u8| [head, &vec![filler; (64 << 10) + 100]].concat();
    for (bytes, expected) in [
        (long(b"", b'a'), "too big inline request"),
        (long(b"*", b'1'), "too big mbulk count string"),
        (long(b"*1\r\n$", b'1'), "too big bulk count string"),
    ] {
        let told = last_words(&cluster, &bytes);
        assert!(told.starts_with("-ERR Protocol error") && told.contains(expected), "{told:?}");
    }
    let mut client = cluster.gateway(1);
    assert!(client.info("protocol_errors") >= cases.len() as u64);
    assert_eq!(client.command("SET still here"), ok());
    let grown = process::resident_bytes(pid).saturating_sub(before);
    assert!(grown < 32 << 20, "memory grew by {grown} bytes");
}

#[test]
fn what_was_asked_before_the_broken_bytes_is_answered() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let told = last_words(&cluster, b"\r\n*0\r\n*-1\r\nSET a 1\r\nGET a\r\n*1\r\n!PING\r\nSET a 2\r\n");
    assert!(told.starts_with("+OK\r\n$1\r\n1\r\n-ERR Protocol error: expected '$', got '!'"), "{told:?}");
    assert_eq!(cluster.gateway(1).command("GET a"), bulk("1"), "nothing behind the broken bytes is carried out");
}

#[test]
fn claims_without_bytes_cost_no_memory() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let pid = cluster.node(1).pid;
    let before = process::resident_bytes(pid);
    let mut clients: Vec<Client> = (0..200).map(|_| cluster.gateway(1)).collect();
    for client in &mut clients {
        client.send(b"*1048576\r\n$3\r\nSET\r\n$8388608\r\nfew bytes").unwrap();
    }
    assert_eq!(cluster.gateway(1).command("PING"), Reply::Simple("PONG".to_owned()));
    let grown = process::resident_bytes(pid).saturating_sub(before);
    println!("200 claims of 8 MiB each: memory grew by {} KiB", grown >> 10);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
}

#[test]
fn keys_and_values_at_their_limits() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    for id in 1..=3 {
        let mut client = cluster.gateway(id);
        let value = vec![b'v'; VALUE_BYTES_MAX];
        assert_eq!(client.ask(&[b"SET", b"longest", &value]).unwrap(), ok(), "node {id}");
        assert!(client.ask(&[b"GET", b"longest"]).unwrap() == bulk(&value), "node {id}");
        let reply = client.ask(&[b"APPEND", b"longest", b"x"]).unwrap();
        assert!(reply.error().is_some_and(|error| error.starts_with("ERR ")), "{}", reply.text());
        assert_eq!(client.command("STRLEN longest"), Reply::Int(VALUE_BYTES_MAX as i64));
        let reply = client.ask(&[b"SETRANGE", b"other", b"8388608", b"x"]).unwrap();
        assert!(reply.error().is_some_and(|error| error.starts_with("ERR ")), "{}", reply.text());
        let key = vec![b'k'; KEY_BYTES_MAX];
        assert_eq!(client.ask(&[b"SET", &key, b"v"]).unwrap(), ok(), "node {id}");
        assert_eq!(client.ask(&[b"GET", &key]).unwrap(), bulk("v"), "node {id}");
        let key = vec![b'k'; KEY_BYTES_MAX + 1];
        for command in [&[b"SET".as_slice(), &key, b"v"][..], &[b"GET", &key], &[b"DEL", &key]] {
            let reply = client.ask(command).unwrap();
            assert!(reply.error().is_some_and(|error| error.starts_with("ERR ")), "{}", reply.text());
        }
        assert_eq!(client.command("PING"), Reply::Simple("PONG".to_owned()), "the connection lives");
    }
}

#[test]
fn commands_of_many_arguments() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let mut client = cluster.gateway(1);
    client.set_wait(Duration::from_secs(30));
    let keys: Vec<String> = (0..500_000).map(|key| format!("{{m}}{key}")).collect();
    let mut args: Vec<&[u8]> = vec![b"MSET"];
    keys.iter().for_each(|key| args.extend([key.as_bytes(), b"v"]));
    assert_eq!(client.ask(&args).unwrap().text(), "OK", "1,000,001 arguments");
    assert_eq!(client.command("DBSIZE"), Reply::Int(500_000));
    assert_eq!(client.command("GET {m}499999"), bulk("v"));
    let told = last_words(&cluster, b"*1048577\r\n");
    assert!(told.contains("invalid multibulk length"), "{told}");
    // All arguments together may be 16 MiB.
    let mut big = Vec::new();
    let value = vec![b'v'; VALUE_BYTES_MAX - 16];
    encode(&[b"MSET", b"{m}a", &value, b"{m}b", &value, b"{m}c", &value], &mut big);
    let told = last_words(&cluster, &big);
    assert!(told.contains("too big request"), "{told:?}");
    assert_eq!(client.command("EXISTS {m}a {m}b {m}c"), Reply::Int(0));
}

#[test]
fn errors_echo_nothing_that_breaks_the_protocol() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let mut client = cluster.gateway(1);
    let long = vec![b'z'; 100_000];
    let names: [&[u8]; 6] = [b"a\r\n+OK\r\n", b"nul\0nul", b"\xff\xfe", b"", b"\x1b[2J", &long];
    for name in names {
        for args in
            [&[name][..], &[b"NOSUCH", name], &[b"CLUSTER", name], &[b"CONFIG", name], &[b"HELLO", b"3", name]]
        {
            let mut request = Vec::new();
            encode(args, &mut request);
            client.send(&request).unwrap();
            client.send(b"*2\r\n$4\r\nECHO\r\n$4\r\nsync\r\n").unwrap();
            // Read byte for byte: the reader of this crate wants UTF-8.
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"$4\r\nsync\r\n") {
                let mut byte = [0];
                std::io::Read::read_exact(&mut client.socket(), &mut byte).unwrap();
                bytes.push(byte[0]);
            }
            let error = bytes.strip_suffix(b"$4\r\nsync\r\n").unwrap();
            let body = error.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("{}", error.escape_ascii()));
            assert!(body.starts_with(b"-"), "{}", error.escape_ascii());
            assert!(!body.iter().any(|byte| [b'\r', b'\n', 0].contains(byte)), "{}", error.escape_ascii());
            assert!(body.len() < 1_024, "{} bytes", body.len());
        }
    }
}

#[test]
fn extreme_integers_are_errors() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let mut client = cluster.gateway(1);
    client.command("SET n 9223372036854775807");
    client.command("SET s text");
    for line in [
        "INCR n",
        "INCRBY n 1",
        "INCRBY n 9223372036854775808",
        "INCRBY n -9223372036854775809",
        "DECRBY n -1",
        "DECRBY s 1",
        "DECRBY x -9223372036854775808",
        "INCR s",
        "INCRBYFLOAT s 1",
        "INCRBYFLOAT x nan",
        "INCRBYFLOAT x inf",
        "INCRBYFLOAT x 1e400000",
        "SETRANGE s -1 x",
        "SETRANGE s 9223372036854775807 x",
        "SETRANGE s 18446744073709551616 x",
        "GETRANGE s 0 99999999999999999999",
        "CLUSTER KEYSLOT",
        "CLUSTER COUNTKEYSINSLOT 16384",
        "CLUSTER COUNTKEYSINSLOT -1",
        "CLUSTER GETKEYSINSLOT 0 -1",
        "CLUSTER GETKEYSINSLOT 99999999999999999999 1",
        "HELLO 99999999999999999999",
        "HELLO -3",
        "SELECT 99999999999999999999",
    ] {
        let reply = client.command(line);
        assert!(reply.error().is_some(), "{line}: {}", reply.text());
    }
    assert_eq!(client.command("GET n"), bulk("9223372036854775807"));
    assert_eq!(client.command("GET s"), bulk("text"));
    assert_eq!(client.command("GETRANGE s -9223372036854775808 9223372036854775807"), bulk("text"));
    assert_eq!(client.command("GETRANGE s 9223372036854775807 -9223372036854775808"), bulk(""));
    assert!(client.command("CLUSTER GETKEYSINSLOT 0 9223372036854775807").error().is_none());
}

#[test]
fn patterns_built_to_explode_take_no_time() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let mut client = cluster.gateway(1);
    let patterns =
        ["a*".repeat(10_000) + "b", "*".repeat(50_000) + "?", "[".repeat(30_000), "*a*b*c*d".repeat(5_000)];
    for pattern in patterns {
        let begin = Instant::now();
        let reply = client.ask(&[b"CONFIG", b"GET", pattern.as_bytes()]).unwrap();
        let took = begin.elapsed();
        assert!(took < Duration::from_millis(500), "{took:?}");
        assert!(matches!(reply, Reply::Array(_) | Reply::Error(_)), "{}", reply.text());
    }
}

#[test]
fn protocol_errors_in_a_loop_starve_nobody() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let node = cluster.node(1);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // A client that is refused for a moment tries again, as such a client would.
                    let Ok(mut client) = Client::connect(&node.host, node.gateway) else { continue };
                    let _ = client.send(&b"*1\r\n!\r\n".repeat(1_000));
                    let _ = client.rest();
                }
            });
        }
        let mut client = cluster.gateway(1);
        let mut slowest = Duration::ZERO;
        for round in 0..300 {
            let begin = Instant::now();
            assert_eq!(client.command(&format!("SET k {round}")), ok());
            slowest = slowest.max(begin.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        slowest
    });
    println!("slowest SET beside four clients that send garbage: {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn a_client_beyond_the_limit_is_told_so() {
    let _alone = alone(LIMIT);
    let options = Options { nodes: 1, groups: 2, set: vec!["maxclients=20".to_owned()], ..Options::default() };
    let cluster = Cluster::start(options);
    let node = cluster.node(1);
    let mut served: Vec<Client> = Vec::new();
    let refusal = loop {
        let mut client = Client::connect(&node.host, node.gateway).unwrap();
        match client.ask(&[b"PING"]) {
            Ok(Reply::Simple(_)) => served.push(client),
            Ok(Reply::Error(error)) => break error,
            other => panic!("client {}: neither served nor told: {other:?}", served.len()),
        }
        assert!(served.len() <= 40, "{} clients are served", served.len());
    };
    assert!(refusal.contains("max number of clients reached"), "{refusal}");
    assert!(served.len() >= 10, "only {} clients are served", served.len());
    for client in &mut served {
        assert_eq!(client.command("SET a 1"), ok());
    }
    served.clear();
    wait_until("places become free", Duration::from_secs(5), || {
        let client = Client::connect(&node.host, node.gateway);
        client.and_then(|mut client| client.ask(&[b"PING"])).is_ok_and(|reply| reply.error().is_none())
    });
}

#[test]
fn thousands_of_idle_connections_are_not_felt() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let pid = cluster.node(1).pid;
    let before = process::resident_bytes(pid);
    // Every second one stops in the middle of a request.
    let mut idle = Vec::new();
    for number in 0..3_000 {
        let mut client = cluster.gateway(1);
        if number % 2 == 1 {
            client.send(b"*3\r\n$3\r\nSET\r\n$1").unwrap();
        }
        idle.push(client.socket().try_clone().unwrap());
    }
    let mut client = cluster.gateway(1);
    assert!(client.info("connected_clients") > 3_000);
    let begin = Instant::now();
    for round in 0..500 {
        assert_eq!(client.command(&format!("SET busy:{round} {round}")), ok());
        assert_eq!(client.command(&format!("GET busy:{round}")), bulk(round.to_string()));
    }
    let each = begin.elapsed() / 500;
    let grown = process::resident_bytes(pid).saturating_sub(before);
    println!("beside 3,000 idle clients: SET and GET in {each:?}, {} KiB more memory", grown >> 10);
    assert!(each < Duration::from_millis(50), "{each:?}");
    assert!(grown < 256 << 20, "memory grew by {grown} bytes");
    drop(idle);
    wait_until("they are forgotten", Duration::from_secs(10), || client.info("connected_clients") < 100);
}
