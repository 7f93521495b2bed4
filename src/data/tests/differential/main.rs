//! Compares the keyspace with a real Redis 7.0, reply by reply and byte for byte.
//!
//! Both get the same seeded random commands, in RESP2 and in RESP3; ours go the way they go in a server: parser,
//! command table, check, apply or query, reply writer. A failure prints the seed and the commands that led to it;
//! `CORACLE_SEED=<seed>` runs that seed alone. `REDIS_SERVER` names the program if it is not in the usual place.

#![expect(clippy::unwrap_used, reason = "clippy takes the helpers of a test for ordinary code")]

mod payloads;
mod random;
mod redis;

use std::fmt::Write as _;
use std::time::SystemTime;

use data::{Keyspace, check};
use resp::{Limits, Parsed, Parser, Protocol, Reply};
use types::Slot;
use types::limits::VALUE_BYTES_MAX;

use random::Random;
use redis::Redis;

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
    /// What both have done before.
    before: &'static [&'static [u8]],
    args: &'static [&'static [u8]],
    redis: &'static str,
    ours: &'static str,
    reason: &'static str,
}

const NOTHING: &[&[u8]] = &[b"FLUSHALL"];
const SET_K: &[&[u8]] = &[b"SET", b"k", b"v"];

const DIFFERENCES: &[Difference] = &[
    Difference {
        before: NOTHING,
        args: &[b"EXPIRE", b"k", b"100", b"LATER"],
        redis: "-ERR Unsupported option LATER\r\n",
        ours: "-ERR Unsupported option\r\n",
        reason: "what fails says so by a fixed text, which costs nothing where nobody reads it",
    },
    Difference {
        before: NOTHING,
        args: &[b"SET", b"k", b"v", b"NX\0rest"],
        redis: "+OK\r\n",
        ours: "-ERR syntax error\r\n",
        reason: "Redis reads an option up to its first NUL; an option is all of its bytes here",
    },
    Difference {
        before: NOTHING,
        args: &[b"STRLEN", &[b'k'; 65_537]],
        redis: ":0\r\n",
        ours: "-ERR key exceeds maximum allowed size (65536 bytes)\r\n",
        reason: "keys have a limit of their own",
    },
    Difference {
        before: SET_K,
        args: &[b"RESTORE", b"k", b"0", b"no payload"],
        redis: "-BUSYKEY Target key name already exists.\r\n",
        ours: "-ERR DUMP payload version or checksum are wrong\r\n",
        reason: "what is wrong with the arguments comes first, before anything gets into a log",
    },
    Difference {
        before: SET_K,
        args: &[b"RESTORE", b"k", b"9223372036854775807", payloads::OF_A, b"REPLACE"],
        redis: "+OK\r\n",
        ours: "-ERR invalid expire time in 'restore' command\r\n",
        reason: "in Redis the time overflows, and the key is lost",
    },
    Difference {
        before: NOTHING,
        args: &[b"RESTORE", b"k", b"0", payloads::OF_A_BY_REDIS_8],
        redis: "-ERR DUMP payload version or checksum are wrong\r\n",
        ours: "+OK\r\n",
        reason: "newer versions write strings as before",
    },
    Difference {
        before: NOTHING,
        args: &[b"RESTORE", b"k", b"0", payloads::OF_A_SET],
        redis: "+OK\r\n",
        ours: "-ERR DUMP payload holds another type than a string: strings are the only values here\r\n",
        reason: "there are no other types",
    },
    Difference {
        before: SET_K,
        args: &[b"OBJECT", b"FREQ", b"k"],
        redis: "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                switching between policies at runtime LRU and LFU data will take some time to adjust.\r\n",
        ours: "-ERR An LFU maxmemory policy is not selected, access frequency not tracked.\r\n",
        reason: "there is no policy to be changed",
    },
    Difference {
        before: SET_K,
        args: &[b"OBJECT", b"IDLETIME", b"k"],
        redis: ":0\r\n",
        ours: "-ERR idle time not tracked: nothing here tells when a key was last used\r\n",
        reason: "a read changes nothing here",
    },
];

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

/// How often commands are compared before a difference counts: what is meant relative to now may be told a millisecond later here than
/// there.
const ATTEMPTS_COUNT: usize = 3;

/// Compares what the commands do on both sides.
fn compare(redis: &Redis, protocol: Protocol, context: &str, commands: &[Args]) {
    let mut differences = Vec::new();
    while let Err(difference) = compare_once(redis, protocol, context, commands) {
        differences.push(difference);
        assert!(differences.len() < ATTEMPTS_COUNT, "{}", differences[0]);
    }
}

/// Runs the commands on both sides and compares all replies, then the keys that are left.
fn compare_once(redis: &Redis, protocol: Protocol, context: &str, commands: &[Args]) -> Result<(), String> {
    let mut theirs = redis.connect(protocol);
    let mut ours = Ours::new(protocol);
    theirs.run(&[args(&["FLUSHALL"])]);
    for (pipeline_idx, pipeline) in commands.chunks(PIPELINE_COUNT).enumerate() {
        for (idx, expected) in theirs.run(pipeline).into_iter().enumerate() {
            let got = ours.run(&pipeline[idx]);
            if !agree(&pipeline[idx], &got, &expected) {
                let until = pipeline_idx * PIPELINE_COUNT + idx;
                return Err(told(context, protocol, &commands[..=until], &got, &expected));
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
    Ok(())
}

fn told(context: &str, protocol: Protocol, commands: &[Args], got: &[u8], expected: &[u8]) -> String {
    let since_flush = commands.iter().rposition(|args| args[0] == b"FLUSHALL").unwrap_or(0);
    let first = since_flush.max(commands.len().saturating_sub(SHOWN_COUNT_MAX));
    let mut text = format!("{context}, {protocol:?}: command {} differs\n", commands.len());
    for args in &commands[first..] {
        let words: Vec<String> = args.iter().map(|arg| format!("\"{}\"", arg.escape_ascii())).collect();
        let _ = writeln!(text, "  {}", words.join(" "));
    }
    format!("{text}Redis: {}\nours:  {}", expected.escape_ascii(), got.escape_ascii())
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

/// What a bulk string holds.
fn content(reply: &[u8]) -> Vec<u8> {
    let begin = reply.windows(2).position(|pair| pair == b"\r\n").expect("a bulk string") + 2;
    reply[begin..reply.len() - 2].to_vec()
}

#[test]
fn values_move_from_redis_and_to_it() {
    let redis = Redis::start();
    let mut theirs = redis.connect(Protocol::Resp2);
    let mut ours = Ours::new(Protocol::Resp2);
    let mut random = Random(7);
    let lens = [20, 21, 63, 64, 1_000, 16_383, 16_384, 100_000, VALUE_BYTES_MAX - 16];
    let mut values: Vec<Vec<u8>> = (0..1_000).map(|_| random.value()).collect();
    for len in lens {
        values.push(vec![b'x'; len]);
        values.push(b"The quick brown fox. ".iter().copied().cycle().take(len).collect());
        values.push((0..len).map(|_| random.next() as u8).collect());
    }
    let mut compressed_count = 0;
    for compression in ["yes", "no"] {
        theirs.run(&[args(&["CONFIG", "SET", "rdbcompression", compression])]);
        for value in &values {
            let set = vec![b"SET".to_vec(), b"k".to_vec(), value.clone()];
            let dump = args(&["DUMP", "k"]);
            let payload = content(&theirs.run(&[set.clone(), dump.clone()])[1]);
            let restore = |payload: &[u8]| {
                [&args(&["RESTORE", "k", "0"])[..], &[payload.to_vec(), b"REPLACE".to_vec()]].concat()
            };
            assert_eq!(ours.run(&restore(&payload)), b"+OK\r\n");
            assert!(content(&ours.run(&args(&["GET", "k"]))) == *value, "{} bytes from Redis", value.len());
            compressed_count += usize::from(payload.len() < value.len());
            ours.run(&set);
            let payload = content(&ours.run(&dump));
            let replies = theirs.run(&[args(&["DEL", "k"]), restore(&payload), args(&["GET", "k"])]);
            assert_eq!(replies[1], b"+OK\r\n");
            assert!(content(&replies[2]) == *value, "{} bytes to Redis", value.len());
        }
    }
    assert!(compressed_count > 2 * lens.len() - 2, "Redis has compressed {compressed_count} of them");
}

#[test]
fn we_differ_where_we_mean_to() {
    let redis = Redis::start();
    let mut theirs = redis.connect(Protocol::Resp2);
    for difference in DIFFERENCES {
        theirs.run(&[args(&["FLUSHALL"])]);
        let [before, command] = [difference.before, difference.args]
            .map(|command| command.iter().map(|arg| arg.to_vec()).collect::<Args>());
        let mut ours = Ours::new(Protocol::Resp2);
        let expected = theirs.run(&[before.clone(), command.clone()]).remove(1);
        assert_eq!(String::from_utf8_lossy(&expected), difference.redis, "Redis; {}", difference.reason);
        ours.run(&before);
        let got = ours.run(&command);
        assert_eq!(String::from_utf8_lossy(&got), difference.ours, "ours; {}", difference.reason);
    }
}
