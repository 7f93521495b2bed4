//! The same bytes to a real `redis-server` and to this crate: the answers must be the same, but for the differences
//! that are named here with their reason.

// All of this is test code, its helpers too.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{Value, read, serve, some_line, words};
use resp::{ClientFilter, ClientLine, CommandId, Limits, Parser, Protocol};

/// Longest wait for the server to start, and for any answer of it.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Commands and subcommands that Redis 7.0 does not have: some came with 7.2, `COMMANDLOG` is Valkey's, and `CORACLE` our own.
const NOT_THERE: [&str; 30] = [
    "client|no-touch",
    "client|setinfo",
    "cluster|myshardid",
    "commandlog",
    "commandlog|get",
    "commandlog|help",
    "commandlog|len",
    "commandlog|reset",
    "coracle",
    "coracle|compare",
    "coracle|comparison",
    "coracle|decommission",
    "coracle|drain",
    "coracle|groups",
    "coracle|help",
    "coracle|hotkeys",
    "coracle|join",
    "coracle|move",
    "coracle|nodes",
    "coracle|plan",
    "coracle|remove",
    "coracle|replace",
    "coracle|scrub",
    "coracle|slowlog",
    "coracle|status",
    "coracle|tasks",
    "coracle|token",
    "coracle|transfer",
    "coracle|undrain",
    "delifeq",
];

/// A server of its own, in a directory of its own, which ends with the test.
struct Redis {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Redis {
    fn start() -> Redis {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let mut redis = Redis::spawn();
            let pid = format!("process_id:{}\r\n", redis.child.id());
            while redis.child.try_wait().unwrap().is_none() {
                // Of the servers that other tests start at this moment, one may have taken the port first.
                if redis.info().is_some_and(|info| info.contains(&pid)) {
                    return redis;
                }
                assert!(Instant::now() < deadline, "redis-server does not listen: {}", redis.log());
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(Instant::now() < deadline, "redis-server ends again and again: {}", redis.log());
        }
    }

    fn spawn() -> Redis {
        let dir = tempfile::tempdir().unwrap();
        let (port, cluster_port) = (free_port(), free_port());
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--cluster-enabled", "yes"])
            .args(["--port", &port.to_string(), "--cluster-port", &cluster_port.to_string()])
            .arg("--dir")
            .arg(dir.path())
            .stdout(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .expect("redis-server cannot be started; install it (Debian: apt-get install redis-server)");
        Redis { child, port, dir }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// What whoever listens on the port says of itself.
    fn info(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(WAIT_MAX)).ok()?;
        stream.write_all(&words("INFO server")).ok()?;
        Some(value(&read_reply(&mut stream)?).text())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream
    }

    /// The bytes of the one reply to `request`, after a switch to `protocol`.
    fn ask(&self, request: &[u8], protocol: Protocol) -> Vec<u8> {
        let mut stream = self.connect();
        if protocol == Protocol::Resp3 {
            stream.write_all(b"HELLO 3\r\n").unwrap();
            read_reply(&mut stream).unwrap();
        }
        stream.write_all(request).unwrap();
        read_reply(&mut stream).unwrap_or_else(|| panic!("no reply to {}", request.escape_ascii()))
    }

    /// All that comes back until the server closes.
    fn until_close(&self, input: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The server may close before it has read all of it.
        let _ = stream.write_all(input);
        let mut out = Vec::new();
        match stream.read_to_end(&mut out) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{}: {error}", input.escape_ascii()),
            _ => out,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Nothing if the stream ends before the reply does.
fn read_reply(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut out, mut piece) = (Vec::new(), [0; 65_536]);
    while read(&out).is_none() {
        let len = stream.read(&mut piece).ok().filter(|len| *len > 0)?;
        out.extend_from_slice(&piece[..len]);
    }
    Some(out)
}

fn value(bytes: &[u8]) -> Value {
    read(bytes).unwrap().0
}

/// The entry without what may differ: the order within sets, and remarks for people.
fn comparable(entry: &Value) -> Vec<Value> {
    let sorted = |value: &Value| {
        let texts = value.sorted().into_iter().map(Value::Simple).collect();
        if matches!(value, Value::Set(_)) { Value::Set(texts) } else { Value::Array(texts) }
    };
    let items = entry.items();
    let mut kept: Vec<Value> = items[..9].to_vec();
    for idx in [2, 6, 7] {
        kept[idx] = sorted(&items[idx]);
    }
    if let Value::Set(specs) = &mut kept[8] {
        for spec in specs {
            if let Value::Map(pairs) = spec {
                pairs.retain(|(name, _)| name.text() != "notes");
            }
        }
    } else {
        kept[8] = Value::Integer(kept[8].items().len() as i64);
    }
    kept
}

#[test]
fn entries_of_command_are_those_of_redis() {
    let redis = Redis::start();
    let list = value(&serve(&words("COMMAND LIST"), Protocol::Resp2)).sorted();
    assert_eq!(list.len(), CommandId::ALL.len());
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut not_there = Vec::new();
        for name in &list {
            let request = words(&format!("COMMAND INFO {name}"));
            let theirs = value(&redis.ask(&request, protocol));
            if matches!(theirs.items(), [Value::Null | Value::NullBulk]) {
                not_there.push(name.as_str());
                continue;
            }
            let ours = value(&serve(&request, protocol));
            assert_eq!(comparable(&ours.items()[0]), comparable(&theirs.items()[0]), "{name}");
        }
        assert_eq!(not_there, NOT_THERE);
    }
}

/// Requests that both answer alike, byte for byte.
const LINES: &[&str] = &[
    // Keys.
    "COMMAND GETKEYS GET k",
    "COMMAND GETKEYS set k v NX GET",
    "COMMAND GETKEYS MGET a b c",
    "COMMAND GETKEYS MSET a 1 b 2",
    "COMMAND GETKEYS MSET a 1 b",
    "COMMAND GETKEYS MSETNX a 1 b 2",
    "COMMAND GETKEYS DEL a a b",
    "COMMAND GETKEYS DEL a",
    "COMMAND GETKEYS EXISTS a b",
    "COMMAND GETKEYS SETRANGE k 1 v",
    "COMMAND GETKEYS INCRBYFLOAT k 1",
    "COMMAND GETKEYS TOUCH a b",
    "COMMAND GETKEYS PING",
    "COMMAND GETKEYS PING x",
    "COMMAND GETKEYS CLUSTER INFO",
    "COMMAND GETKEYS nope x",
    "COMMAND GETKEYS CLIENT nope",
    "COMMAND GETKEYS GET",
    "COMMAND GETKEYS GET a b",
    "COMMAND GETKEYS MSET a",
    "COMMAND GETKEYS",
    "COMMAND GETKEYS FLUSHALL ASYNC",
    "COMMAND GETKEYS ECHO a b c",
    // Descriptions.
    "COMMAND INFO nope",
    "COMMAND DOCS nope",
    "COMMAND LIST FILTERBY MODULE nope",
    "COMMAND LIST nope",
    "COMMAND LIST FILTERBY ACLCAT nope",
    "COMMAND LIST FILTERBY nope x",
    "COMMAND LIST FILTERBY PATTERN nope*",
    "COMMAND LIST FILTERBY PATTERN",
    "COMMAND COUNT x",
    "COMMAND LIST FILTERBY PATTERN client|id",
    // What is not known.
    "nope",
    "nope a",
    "nope a b c",
    "get|x a",
    "client|id",
    "COMMAND nope",
    "CLIENT nope",
    "CONFIG nope x",
    "cluster nope",
    "CLIENT",
    "CONFIG",
    "CLUSTER",
    "client tracking_ x",
    // Too many or too few.
    "GET",
    "GET a b",
    "get",
    "SET a",
    "MSET a",
    "DEL",
    "DBSIZE x",
    "TIME x",
    "CLIENT ID x",
    "CLIENT LIST_",
    "client SETNAME",
    "CLUSTER KEYSLOT",
    "CLUSTER KEYSLOT a b",
    "CLUSTER GETKEYSINSLOT 1",
    "CONFIG GET",
    "CONFIG RESETSTAT x",
    "ECHO",
    "ECHO a b",
    "RESET x",
    "AUTH",
    "SELECT",
    "READONLY x",
    "SUBSTR k 1",
    // The connection.
    "PING",
    "PING hello",
    "PING a b",
    "ECHO hello",
    "SELECT 0",
    "SELECT 1",
    "SELECT x",
    "READONLY",
    "READWRITE",
    "HELLO 4",
    "HELLO 1",
    "HELLO x",
    "HELLO 3x",
    "HELLO -1",
    "HELLO 2 nope",
    "HELLO 2 AUTH a",
    "HELLO 2 SETNAME",
    "HELLO 2 SETNAME caf\u{e9}",
    "AUTH a",
    "AUTH a b",
    "AUTH default b",
    "AUTH a b c",
    "CLUSTER KEYSLOT foo{bar}baz",
    "CLUSTER KEYSLOT 123456789",
];

#[test]
fn answers_and_refusals_are_those_of_redis() {
    let redis = Redis::start();
    let long = "x".repeat(200);
    let mut lines: Vec<String> = LINES.iter().map(|line| (*line).to_owned()).collect();
    lines.push(format!("{long} a b"));
    lines.push(format!("nope {long} b"));
    lines.push(format!("nope a {long} b"));
    lines.push(format!("nope {} b c", &long[..126]));
    lines.push(format!("CLIENT {long}"));
    lines.push(format!("nope {}", "a ".repeat(100)));
    for line in &lines {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let (ours, theirs) = (serve(&words(line), protocol), redis.ask(&words(line), protocol));
            assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{line}");
        }
    }
}

#[test]
fn bytes_that_text_cannot_hold_are_echoed_as_redis_does() {
    let redis = Redis::start();
    let requests: [&[&[u8]]; 6] = [
        &[b"no\r\npe", b"a\r\nb"],
        &[b"no\0pe", b"a\0b", b"c"],
        &[b"\xff\xfe", b"\x80"],
        &[b""],
        &[b"", b""],
        &[b"CLIENT", b"x\r\ny\0z"],
    ];
    for args in requests {
        let request = common::request(args);
        let (ours, theirs) = (serve(&request, Protocol::Resp2), redis.ask(&request, Protocol::Resp2));
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string());
    }
}

#[test]
fn requests_of_another_protocol_end_the_connection_as_in_redis() {
    let redis = Redis::start();
    let request = |line: &str| format!("{line}\r\nECHO behind\r\n").into_bytes();
    for line in [
        "POST / HTTP/1.1",
        "post /",
        "POST",
        "Host: localhost:6379",
        "hOsT:",
        "\"post\\x00x\" a",
        // These are unknown commands, and nothing more.
        "POSTS /",
        "Host : localhost",
        "GET / HTTP/1.1",
        "Content-Type: text/plain",
        "PUT /",
    ] {
        // A request that leaves the connection open is answered, and so is QUIT behind it.
        let input = [&request(line)[..], b"QUIT\r\n"].concat();
        let (ours, theirs) = (serve(&input, Protocol::Resp2), redis.until_close(&input));
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{line}");
    }
}

#[test]
fn client_info_has_the_fields_of_redis_in_their_order() {
    let redis = Redis::start();
    let (mut ours, theirs) = (Vec::new(), value(&redis.ask(&words("CLIENT INFO"), Protocol::Resp2)).text());
    ClientLine { command: Some("client|info"), ..some_line() }.write(&mut ours);
    let ours = String::from_utf8(ours).unwrap();
    let names = |line: &str| -> Vec<String> {
        line.split_whitespace().map(|field| field.split('=').next().unwrap().to_owned()).collect()
    };
    let newer = ["lib-name", "lib-ver", "tot-net-in", "tot-net-out", "tot-cmds"].map(str::to_owned);
    assert_eq!(names(&ours), [names(&theirs), newer.to_vec()].concat());
    // What has one value here has that which Redis gives to a connection like any other.
    let constant = ["flags", "db", "sub", "psub", "ssub", "multi", "multi-mem", "obl", "user", "redir", "cmd"];
    let field = |line: &str, name: &str| {
        line.split_whitespace().find(|field| field.starts_with(&format!("{name}="))).unwrap().to_owned()
    };
    for name in constant {
        assert_eq!(field(&ours, name), field(&theirs, name));
    }
    assert!(ours.ends_with('\n') && theirs.ends_with('\n'));
}

#[test]
fn client_list_filters_as_in_redis() {
    let redis = Redis::start();
    for line in [
        "CLIENT LIST",
        "CLIENT LIST TYPE",
        "CLIENT LIST TYPE foo",
        "CLIENT LIST TYPE NORMAL",
        "CLIENT LIST type master",
        "CLIENT LIST TYPE slave",
        "CLIENT LIST TYPE replica",
        "CLIENT LIST TYPE pubsub",
        "CLIENT LIST TYPE normal x",
        "CLIENT LIST ID",
        "CLIENT LIST ID x",
        "CLIENT LIST ID 01",
        "CLIENT LIST ID 0 -1 1000000",
        "CLIENT LIST ID 99999999999999999999",
        "CLIENT LIST ID 1 2 x",
        "CLIENT LIST NAME x",
    ] {
        let theirs = value(&redis.ask(&words(line), Protocol::Resp2));
        let request = words(line);
        let mut parser = Parser::new();
        parser.parse(&request, &Limits::default()).unwrap();
        // Redis counts its connections from 1 on, and this test makes fewer than 1,000.
        let ours = match ClientFilter::parse(parser.args(&request)) {
            Ok(filter) => (1..1_000).any(|id| filter.shows(id)).to_string(),
            Err(message) => String::from_utf8(message).unwrap(),
        };
        let theirs = match theirs {
            Value::Error(text) => text,
            list => (!list.text().is_empty()).to_string(),
        };
        assert_eq!(ours, theirs, "{line}");
    }
}

#[test]
fn broken_streams_end_as_they_do_with_redis() {
    // Not compared, because Redis is laxer: it does not look at the line end behind a bulk string nor at the byte
    // behind a CR, takes values up to 512 MiB and 2^31 arguments, and echoes control bytes.
    let redis = Redis::start();
    let long = |start: &[u8]| [start, &b"1".repeat(70_000)[..]].concat();
    let mut inputs: Vec<Vec<u8>> = [
        &b"*abc\r\n"[..],
        b"*\r\n",
        b"*01\r\n",
        b"*+1\r\n",
        b"* 1\r\n",
        b"*-\r\n",
        b"*99999999999\r\n",
        b"*99999999999999999999999\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$01\r\n",
        b"*1\r\n$9999999999\r\n",
        b"*1\r\n$-9223372036854775809\r\n",
        b"*1\r\nx3\r\n",
        b"*1\r\n:3\r\n",
        b"*1\r\n\r\n",
        b"*2\r\n$4\r\nPING\r\nPING\r\n",
        b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n*1\r\n",
        b"\r\n*0\r\n*-1\r\n*-5\r\n\n*x\r\n",
        b"  \t \r\n*x\r\n",
        b"echo \"a b\" \r\necho 'a\\'b'\r\necho \"\\x41\\n\\q\"\r\necho a\"b\"\r\n*x\r\n",
        b"echo \"\r\n",
        b"echo '\r\n",
        b"echo \"a\"b\r\n",
        b"echo 'a'b\r\n",
        b"echo \"a\\\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    inputs.extend([long(b""), long(b"*"), long(b"*1\r\n$")]);
    for input in inputs {
        let (ours, theirs) = (serve(&input, Protocol::Resp2), redis.until_close(&input));
        let shown = input[..input.len().min(80)].escape_ascii();
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{shown}");
    }
}
