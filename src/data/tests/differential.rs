//! Compares the keyspace with a real Redis 7.0, reply by reply and byte for byte.
//!
//! Both get the same seeded random commands, in RESP2 and in RESP3; ours go the way they go in a server: parser,
//! command table, check, apply or query, reply writer. A failure prints the seed and the commands that led to it;
//! `CORACLE_SEED=<seed>` runs that seed alone. `REDIS_SERVER` names the program if it is not in the usual place.

#![expect(clippy::unwrap_used, reason = "clippy takes the helpers of a test for ordinary code")]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use data::{Keyspace, check};
use resp::{Limits, Parsed, Parser, Protocol, Reply};
use types::Slot;
use types::limits::VALUE_BYTES_MAX;

/// Seeds of every run; one more is drawn afresh.
const SEEDS: [u64; 6] = [1, 2, 3, 4, 5, 6];
/// Commands of one seed and protocol.
const COMMANDS_COUNT: usize = 8_000;
/// Commands sent before replies are read.
const PIPELINE_COUNT: usize = 100;
/// Commands shown when one fails.
const SHOWN_COUNT_MAX: usize = 120;

type Args = Vec<Vec<u8>>;

/// A reply on which we differ on purpose. The random commands stay clear of these.
struct Difference {
    args: &'static [&'static [u8]],
    redis: &'static str,
    ours: &'static str,
    reason: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        args: &[b"EXPIRE", b"k", b"100", b"LATER"],
        redis: "-ERR Unsupported option LATER\r\n",
        ours: "-ERR Unsupported option\r\n",
        reason: "what fails says so by a fixed text, which costs nothing where nobody reads it",
    },
    Difference {
        args: &[b"SET", b"k", b"v", b"NX\0rest"],
        redis: "+OK\r\n",
        ours: "-ERR syntax error\r\n",
        reason: "Redis reads an option up to its first NUL; an option is all of its bytes here",
    },
    Difference {
        args: &[b"STRLEN", &[b'k'; 65_537]],
        redis: ":0\r\n",
        ours: "-ERR key exceeds maximum allowed size (65536 bytes)\r\n",
        reason: "keys have a limit of their own",
    },
];

/// A Redis of our own, which ends with the test. It listens on a socket file, so that no two tests can take the
/// same port.
struct Redis {
    child: Child,
    dir: tempfile::TempDir,
}

impl Redis {
    fn start() -> Redis {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "/usr/bin/redis-server".into());
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(&program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "redis.sock"])
            .args(["--proto-max-bulk-len", &VALUE_BYTES_MAX.to_string(), "--dir"])
            .arg(dir.path())
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error} (REDIS_SERVER names another)"));
        let mut redis = Redis { child, dir };
        let deadline = Instant::now() + Duration::from_secs(10);
        while redis.stream().is_err() {
            assert!(redis.child.try_wait().unwrap().is_none(), "{program} has ended");
            assert!(Instant::now() < deadline, "{program} does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn stream(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.dir.path().join("redis.sock"))
    }

    fn connect(&self, protocol: Protocol) -> Theirs {
        let stream = self.stream().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut theirs = Theirs { stream, input: Vec::new() };
        if protocol == Protocol::Resp3 {
            theirs.run(&[args(&["HELLO", "3"])]);
        }
        theirs
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to Redis.
struct Theirs {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Theirs {
    /// The raw replies to a pipeline of commands.
    fn run(&mut self, commands: &[Args]) -> Vec<Vec<u8>> {
        let request: Vec<u8> = commands.iter().flat_map(encode).collect();
        self.stream.write_all(&request).unwrap();
        commands.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut chunk = vec![0; 256 << 10];
        loop {
            if let Some(len) = reply_len(&self.input) {
                return self.input.drain(..len).collect();
            }
            let len = self.stream.read(&mut chunk).expect("Redis answers in time");
            assert!(len > 0, "Redis closed the connection");
            self.input.extend_from_slice(&chunk[..len]);
        }
    }
}

/// Bytes of the reply at the front of `input`, if it is all there.
fn reply_len(input: &[u8]) -> Option<usize> {
    let line_len = input.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || str::from_utf8(&input[1..line_len - 2]).unwrap().parse::<i64>().unwrap();
    match input[0] {
        b'$' | b'=' => {
            let len = number().try_into().map_or(line_len, |bytes: usize| line_len + bytes + 2);
            (input.len() >= len).then_some(len)
        }
        kind @ (b'*' | b'%' | b'~') => {
            let elements = number() * if kind == b'%' { 2 } else { 1 };
            (0..elements).try_fold(line_len, |at, _| Some(at + reply_len(&input[at..])?))
        }
        _ => Some(line_len),
    }
}

fn encode(args: &Args) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn args(words: &[&str]) -> Args {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// By how much the two may differ in what they say of the time that a key has: each reads its clock when it comes to the command.
fn tolerance(name: &[u8]) -> i64 {
    match name.to_ascii_uppercase().as_slice() {
        b"TTL" | b"EXPIRETIME" => 1,
        b"PTTL" | b"PEXPIRETIME" => 10_000,
        _ => 0,
    }
}

/// Whether both replies say the same.
fn agree(args: &Args, got: &[u8], expected: &[u8]) -> bool {
    let number = |reply: &[u8]| str::from_utf8(reply).ok()?.strip_prefix(':')?.trim_end().parse::<i64>().ok();
    match (number(got), number(expected)) {
        // Negative: there is no such time, on which both must agree.
        (Some(got), Some(expected)) if got >= 0 && expected >= 0 => {
            got.abs_diff(expected) <= tolerance(&args[0]) as u64
        }
        _ => got == expected,
    }
}

/// Our side: what a server does with one request, without the replication between.
struct Ours {
    parser: Parser,
    keyspace: Keyspace,
    protocol: Protocol,
}

impl Ours {
    fn new(protocol: Protocol) -> Ours {
        Ours { parser: Parser::new(), keyspace: Keyspace::new(), protocol }
    }

    fn run(&mut self, args: &Args) -> Vec<u8> {
        let request = encode(args);
        let parsed = self.parser.parse(&request, &Limits::default()).unwrap();
        assert_eq!(parsed, Parsed::Complete { consumed: request.len() });
        let args = self.parser.args(&request);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.protocol);
        // Redis is no cluster here, so keys of one command need not share a slot: one slot has them all.
        let slot = Slot::default();
        let command = match resp::resolve(args) {
            Ok(command) => command,
            Err(refusal) => {
                reply.error_bytes(&refusal.message(args));
                return out;
            }
        };
        match check(command.id, args) {
            Err(error) => reply.error(error.message()),
            Ok(()) if command.is_write() => {
                self.keyspace.advance_time(unix_ms());
                self.keyspace.apply(command.id, slot, args).write(&mut reply);
            }
            Ok(()) => {
                self.keyspace.query(command.id, slot, args, unix_ms(), &mut reply);
            }
        }
        out
    }
}

/// SplitMix64: a seed is a sequence for ever, whatever becomes of other generators.
struct Random(u64);

/// The commands to draw from.
const NAMES: &[&str] = &[
    "GET",
    "SET",
    "SET",
    "SETNX",
    "GETSET",
    "GETDEL",
    "MGET",
    "MSET",
    "MSETNX",
    "DEL",
    "UNLINK",
    "EXISTS",
    "TOUCH",
    "TYPE",
    "APPEND",
    "STRLEN",
    "GETRANGE",
    "SUBSTR",
    "SETRANGE",
    "INCR",
    "DECR",
    "INCRBY",
    "DECRBY",
    "INCRBYFLOAT",
    "INCRBYFLOAT",
    "SETEX",
    "PSETEX",
    "GETEX",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "PERSIST",
    "TTL",
    "PTTL",
    "EXPIRETIME",
    "PEXPIRETIME",
];

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn key(&mut self) -> Vec<u8> {
        self.pick(&["a", "b", "c", "d", "e", "f", "counter", "float", "{t}x", "", "k\0\r\n"]).as_bytes().to_vec()
    }

    fn integer(&mut self) -> String {
        match self.below(6) {
            0 => self
                .pick(&[
                    "9223372036854775807",
                    "-9223372036854775808",
                    "9223372036854775808",
                    "-9223372036854775809",
                    "9223372036854775806",
                    "-9223372036854775807",
                    "18446744073709551616",
                    "",
                    "-",
                    "+1",
                    "01",
                    "-0",
                    " 1",
                    "1 ",
                    "1.0",
                    "1e2",
                    "0x10",
                    "abc",
                    "1\x001",
                    "99999999999999999999999",
                ])
                .to_string(),
            1 => (self.next() as i64).to_string(),
            _ => (self.below(40) as i64 - 20).to_string(),
        }
    }

    /// A number as people write them, now and then an odd one.
    fn float(&mut self) -> String {
        let sign = self.pick(&["", "", "-", "+"]);
        let mut digits = |count_max: usize| {
            let count = self.below(count_max + 1);
            (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect::<String>()
        };
        let (whole, fraction, long) = (digits(6), digits(6), digits(30));
        match self.below(12) {
            0 => self
                .pick(&[
                    "inf",
                    "-inf",
                    "+Infinity",
                    "nan",
                    "-nan",
                    "",
                    ".",
                    "-",
                    "1e",
                    "1e+",
                    "1.2.3",
                    " 1",
                    "1 ",
                    "0x",
                    "0x.8",
                    "0x1p",
                    "0X1.8P-3",
                    "-0x1p16383",
                    "0x1p-16445",
                    "0x1p-16446",
                    "1e4932",
                    "-1e4932",
                    "1e5000",
                    "1e-4950",
                    "1e-5000",
                    "-0",
                    "0e999999999999999999999",
                    "1e-18",
                    "5e-18",
                    "15e-18",
                    "0.000000000000000005",
                    "18446744073709551615",
                    "18446744073709551616.5",
                    "3.0e3",
                    "1_0",
                    "1f",
                    "infinit",
                    "1e-17",
                    "2.5e-17",
                    "abc",
                    "1\0",
                ])
                .to_string(),
            1 => format!("{sign}{long}.{fraction}"),
            2 => format!("{sign}{whole}.{long}"),
            3 => format!("{sign}{whole}.{fraction}e{}", self.below(60) as i64 - 30),
            4 => format!("{sign}0x{:x}.{:x}p{}", self.next() >> self.below(64), self.below(256), self.below(9)),
            5 => format!("{sign}{whole}{fraction}"),
            _ => format!("{sign}{whole}.{fraction}"),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 | 1 => self.integer().into_bytes(),
            2 => self.float().into_bytes(),
            3 => self.pick(&["", "v", "hello world", "\r\n", "\0\0", "nil"]).as_bytes().to_vec(),
            4 => (0..self.below(40)).map(|_| self.next() as u8).collect(),
            _ => vec![b'x'; self.below(300)],
        }
    }

    /// An offset that is short, too long or no number: none that makes a value of megabytes.
    fn offset(&mut self) -> String {
        if !self.one_in(4) {
            return self.below(200).to_string();
        }
        let offset = self.integer();
        let is_long = offset.parse::<i64>().is_ok_and(|offset| (1_000..VALUE_BYTES_MAX as i64).contains(&offset));
        if is_long { "1000".to_string() } else { offset }
    }

    fn command(&mut self) -> Args {
        let name = self.pick(NAMES);
        let mut args = vec![name.as_bytes().to_vec()];
        match name {
            "GET" | "GETDEL" | "TYPE" | "STRLEN" | "INCR" | "DECR" | "PERSIST" | "TTL" | "PTTL" | "EXPIRETIME"
            | "PEXPIRETIME" => args.push(self.key()),
            "SETEX" | "PSETEX" => args.extend([self.key(), self.time(false).into_bytes(), self.value()]),
            "GETEX" => {
                args.push(self.key());
                self.get_ex_options(&mut args);
            }
            "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => {
                args.extend([self.key(), self.time(name.ends_with("AT")).into_bytes()]);
                while self.one_in(3) {
                    args.push(self.pick(&["NX", "XX", "GT", "LT", "gt", "lt"]).as_bytes().to_vec());
                }
            }
            "SET" => {
                args.extend([self.key(), self.value()]);
                self.set_options(&mut args);
            }
            "SETNX" | "GETSET" | "APPEND" => args.extend([self.key(), self.value()]),
            "MGET" | "DEL" | "UNLINK" | "EXISTS" | "TOUCH" => {
                args.extend((0..self.below(4) + 1).map(|_| self.key()));
            }
            "MSET" | "MSETNX" => {
                for _ in 0..self.below(4) + 1 {
                    args.extend([self.key(), self.value()]);
                }
            }
            "GETRANGE" | "SUBSTR" => {
                args.extend([self.key(), self.integer().into_bytes(), self.integer().into_bytes()]);
            }
            "SETRANGE" => args.extend([self.key(), self.offset().into_bytes(), self.value()]),
            "INCRBY" | "DECRBY" => args.extend([self.key(), self.integer().into_bytes()]),
            _ => args.extend([self.key(), self.float().into_bytes()]),
        }
        self.change(name, &mut args);
        if self.one_in(400) {
            args = vec![b"FLUSHALL".to_vec()];
            if self.one_in(2) {
                args.push(self.pick(&["async", "SYNC", "now"]).as_bytes().to_vec());
            }
        }
        args
    }

    /// Takes something of a command away, adds something, or writes its name otherwise, now and then.
    fn change(&mut self, name: &str, args: &mut Args) {
        if self.one_in(25) {
            args.pop();
        }
        if self.one_in(25) {
            // A number might be a time that comes while the test runs; an option that there is not: see `DIFFERENCES`.
            args.push(match name {
                "SET" | "GETEX" => b"extra".to_vec(),
                "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => b"XX".to_vec(),
                _ => self.value(),
            });
        }
        if self.one_in(10) {
            args[0].make_ascii_lowercase();
        }
    }

    /// A time, none that comes while the test runs. Two of them are hardly ever so close that it matters when they are read.
    fn time(&mut self, is_absolute: bool) -> String {
        let odd = ["0", "-1", "x", "", "1.5", "-9223372036854775808", "9223372036854775807", "9223372036854775"];
        if self.one_in(4) {
            return self.pick(&odd).to_string();
        }
        let later = 10_000_000 + self.next() % 1_000_000_000_000;
        match (is_absolute, self.one_in(4)) {
            (true, true) => (self.next() % 1_000_000).to_string(),
            (true, false) => (4_000_000_000_000 + later).to_string(),
            (false, true) => format!("-{later}"),
            (false, false) => later.to_string(),
        }
    }

    fn set_options(&mut self, args: &mut Args) {
        while self.one_in(2) {
            let option =
                self.pick(&["NX", "XX", "GET", "KEEPTTL", "nx", "xx", "get", "EX", "PX", "EXAT", "PXAT", "FOO"]);
            args.push(option.as_bytes().to_vec());
            self.push_time_of(option, args);
        }
    }

    fn get_ex_options(&mut self, args: &mut Args) {
        while self.one_in(2) {
            let option = self.pick(&["PERSIST", "EX", "PX", "EXAT", "PXAT", "persist", "pxat", "KEEPTTL", "NX"]);
            args.push(option.as_bytes().to_vec());
            self.push_time_of(option, args);
        }
    }

    /// The number of an option that has one, as a rule.
    fn push_time_of(&mut self, option: &str, args: &mut Args) {
        let option = option.to_ascii_uppercase();
        let is_absolute = option.ends_with("AT");
        if matches!(option.as_str(), "EX" | "PX" | "EXAT" | "PXAT") && !self.one_in(8) {
            let mut time = self.time(is_absolute);
            // `SET` with a time that is over leaves a key behind in Redis until somebody looks for it.
            while args[0].eq_ignore_ascii_case(b"SET")
                && is_absolute
                && time.parse().is_ok_and(|at| (1..1_000_000).contains(&at))
            {
                time = self.time(is_absolute);
            }
            args.push(time.into_bytes());
        }
    }
}

/// Runs the commands on both sides and compares all replies, then the keys that are left.
fn compare(redis: &Redis, protocol: Protocol, context: &str, commands: &[Args]) {
    let mut theirs = redis.connect(protocol);
    let mut ours = Ours::new(protocol);
    theirs.run(&[args(&["FLUSHALL"])]);
    for (pipeline_idx, pipeline) in commands.chunks(PIPELINE_COUNT).enumerate() {
        for (idx, expected) in theirs.run(pipeline).into_iter().enumerate() {
            let got = ours.run(&pipeline[idx]);
            if !agree(&pipeline[idx], &got, &expected) {
                let until = pipeline_idx * PIPELINE_COUNT + idx;
                fail(context, protocol, &commands[..=until], &got, &expected);
            }
        }
    }
    let count = theirs.run(&[args(&["DBSIZE"])]).remove(0);
    let keys: Vec<Vec<u8>> = ours.keyspace.rows_in_slot(Slot::default()).map(|row| row.key().to_vec()).collect();
    assert_eq!(count, format!(":{}\r\n", keys.len()).into_bytes(), "{context}: keys left");
    assert_eq!(keys.len(), ours.keyspace.keys_count());
    for key in keys {
        let get = vec![b"GET".to_vec(), key];
        let expected = theirs.run(std::slice::from_ref(&get)).remove(0);
        assert_eq!(ours.run(&get), expected, "{context}: value left under {}", get[1].escape_ascii());
    }
}

fn fail(context: &str, protocol: Protocol, commands: &[Args], got: &[u8], expected: &[u8]) -> ! {
    let since_flush = commands.iter().rposition(|args| args[0] == b"FLUSHALL").unwrap_or(0);
    let first = since_flush.max(commands.len().saturating_sub(SHOWN_COUNT_MAX));
    let mut text = format!("{context}, {protocol:?}: command {} differs\n", commands.len());
    for args in &commands[first..] {
        let words: Vec<String> = args.iter().map(|arg| format!("\"{}\"", arg.escape_ascii())).collect();
        let _ = writeln!(text, "  {}", words.join(" "));
    }
    panic!("{text}Redis: {}\nours:  {}", expected.escape_ascii(), got.escape_ascii());
}

/// The fixed seeds and a fresh one, or the one that is asked for.
fn seeds() -> Vec<u64> {
    if let Ok(seed) = std::env::var("CORACLE_SEED") {
        return vec![seed.parse().expect("CORACLE_SEED is a number")];
    }
    let fresh = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("fresh seed: {fresh}");
    SEEDS.into_iter().chain([fresh]).collect()
}

#[test]
fn random_commands_answer_as_in_redis() {
    let redis = Redis::start();
    for seed in seeds() {
        let mut random = Random(seed);
        let commands: Vec<Args> = (0..COMMANDS_COUNT).map(|_| random.command()).collect();
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            compare(&redis, protocol, &format!("seed {seed}"), &commands);
        }
    }
}

#[test]
fn floats_add_up_as_in_redis() {
    let redis = Redis::start();
    for seed in seeds() {
        let mut random = Random(seed);
        let mut commands = Vec::new();
        for idx in 0..COMMANDS_COUNT {
            if idx % 4 == 0 {
                commands.push(vec![b"SET".to_vec(), b"float".to_vec(), random.float().into_bytes()]);
            }
            commands.push(vec![b"INCRBYFLOAT".to_vec(), b"float".to_vec(), random.float().into_bytes()]);
        }
        compare(&redis, Protocol::Resp2, &format!("floats, seed {seed}"), &commands);
    }
}

#[test]
fn the_limits_of_values_are_met_as_in_redis() {
    let redis = Redis::start();
    let commands = [
        "SETRANGE k 8388608 a",
        "SETRANGE k 8388607 ab",
        "SETRANGE k 9223372036854775807 a",
        "EXISTS k",
        "SETRANGE k 8388607 a",
        "STRLEN k",
        "APPEND k b",
        "STRLEN k",
        "SETRANGE k 8388608 b",
        "GETRANGE k -2 -1",
        "SETRANGE k 0 xy",
        "GETRANGE k 0 3",
        "INCR k",
        "INCRBYFLOAT k 1",
        "SET k v",
        "APPEND k w",
        "GET k",
        "SETRANGE k 5120 1",
        "INCRBYFLOAT k 1",
        "DEL k",
    ];
    let mut commands: Vec<Args> = commands.iter().map(|line| args(&line.split(' ').collect::<Vec<_>>())).collect();
    // The longest text that Redis takes for a number, and one that is a byte longer.
    for len in [5_119, 5_120] {
        commands.push(vec![b"SET".to_vec(), b"f".to_vec(), [vec![b'0'; len - 1], vec![b'7']].concat()]);
        commands.push(args(&["INCRBYFLOAT", "f", "1"]));
    }
    compare(&redis, Protocol::Resp2, "limits", &commands);
}

#[test]
fn we_differ_where_we_mean_to() {
    let redis = Redis::start();
    let mut theirs = redis.connect(Protocol::Resp2);
    for difference in DIFFERENCES {
        theirs.run(&[args(&["FLUSHALL"])]);
        let command: Args = difference.args.iter().map(|arg| arg.to_vec()).collect();
        let expected = theirs.run(std::slice::from_ref(&command)).remove(0);
        assert_eq!(String::from_utf8_lossy(&expected), difference.redis, "Redis; {}", difference.reason);
        let got = Ours::new(Protocol::Resp2).run(&command);
        assert_eq!(String::from_utf8_lossy(&got), difference.ours, "ours; {}", difference.reason);
    }
}
