//! Commands one by one, and their limits.

use resp::{ArgRange, Args, CommandId, Protocol, Reply, Scope};
use types::Slot;
use types::limits::{KEY_BYTES_MAX, REPLY_BYTES_MAX, VALUE_BYTES_MAX};

use super::{Action, find, rows};
use crate::{Error, Keyspace, Rows, check};

/// A request's bytes and where its arguments lie in them.
pub(super) struct Request {
    buf: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Request {
    pub(super) fn new<A: AsRef<[u8]>>(args: &[A]) -> Request {
        let mut request = Request { buf: Vec::new(), ranges: Vec::new() };
        for arg in args {
            let start = request.buf.len() as u32;
            request.buf.extend_from_slice(arg.as_ref());
            request.ranges.push(ArgRange { start, end: request.buf.len() as u32 });
        }
        request
    }

    pub(super) fn args(&self) -> Args<'_> {
        Args::new(&self.buf, &self.ranges)
    }
}

pub(super) fn slot() -> Slot {
    Slot::of_key(b"{t}")
}

/// Carries a command out the way a leader does and renders the RESP2 reply.
pub(super) fn run_args<A: AsRef<[u8]>>(keyspace: &mut Keyspace, args: &[A]) -> Vec<u8> {
    let request = Request::new(args);
    let args = request.args();
    let command = resp::resolve(args).expect("a command of the table");
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, Protocol::Resp2);
    match check(command.id, args) {
        Err(error) => reply.error(error.message()),
        Ok(()) if command.is_write() => keyspace.apply(command.id, slot(), args).write(&mut reply),
        Ok(()) => {
            keyspace.query(command.id, slot(), args, 0, &mut reply);
        }
    }
    out
}

/// As [`run_args`], for words without spaces; `~` stands for an empty one.
pub(super) fn run(keyspace: &mut Keyspace, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').map(|word| if word == "~" { "" } else { word }).collect();
    String::from_utf8(run_args(keyspace, &words)).unwrap().replace("\r\n", " ").trim_end().to_string()
}

/// Runs `command => reply` lines on one keyspace. A line `@5000` lets the time be 5 s after 1970.
pub(super) fn script(lines: &str) {
    let mut keyspace = Keyspace::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(time_ms) = line.strip_prefix('@') {
            keyspace.advance_time(time_ms.parse().unwrap());
            continue;
        }
        let (command, expected) = line.split_once(" => ").unwrap();
        assert_eq!(run(&mut keyspace, command), expected, "{command}");
    }
}

#[test]
fn set_and_its_options() {
    script(
        "GET k => $-1
         SET k v => +OK
         SET k w NX => $-1
         SET k w XX => +OK
         SET j w xx => $-1
         SET k x GET => $1 w
         SET k y NX GET => $1 x
         GET k => $1 x
         SET j y NX GET => $-1
         SET j ~ XX GET KEEPTTL => $1 y
         GET j => $0
         SET k v NX XX => -ERR syntax error
         SET k v XX NX => -ERR syntax error
         SET k v FOO => -ERR syntax error
         SET k v EX => -ERR syntax error
         SET k v EX 1 PX 1 => -ERR syntax error
         SET k v KEEPTTL EX 1 => -ERR syntax error
         SET k v EX 1 KEEPTTL => -ERR syntax error
         SET k v EX x FOO => -ERR syntax error
         SET k v EX x => -ERR value is not an integer or out of range
         SET k v PX 0 => -ERR invalid expire time in 'set' command
         SET k v EXAT -1 => -ERR invalid expire time in 'set' command
         SET k v EX 9223372036854775807 => -ERR invalid expire time in 'set' command
         SETNX k z => :0
         SETNX n z => :1
         GETSET n y => $1 z
         GETSET m y => $-1
         GETDEL m => $1 y
         GETDEL m => $-1",
    );
}

#[test]
fn several_keys() {
    script(
        "MSET a 1 b 2 a 3 => +OK
         MGET a b c a => *4 $1 3 $1 2 $-1 $1 3
         MSET a 1 b => -ERR wrong number of arguments for 'mset' command
         MSETNX c 1 a 2 => :0
         EXISTS c => :0
         MSETNX c 1 d 2 c 3 => :1
         GET c => $1 3
         MSETNX e 1 f => -ERR wrong number of arguments for 'msetnx' command
         EXISTS a a b zz => :3
         TOUCH a a zz => :2
         TYPE a => +string
         TYPE zz => +none
         DEL a a zz => :1
         UNLINK b c => :2
         FLUSHALL NOW => -ERR syntax error
         FLUSHALL async => +OK
         EXISTS d => :0",
    );
}

#[test]
fn parts_of_strings() {
    script(
        "APPEND k abc => :3
         APPEND k ~ => :3
         APPEND k def => :6
         STRLEN k => :6
         STRLEN zz => :0
         GETRANGE k 0 -1 => $6 abcdef
         GETRANGE k -3 -2 => $2 de
         GETRANGE k 4 2 => $0
         GETRANGE k -100 0 => $1 a
         GETRANGE k -100 -100 => $1 a
         GETRANGE k -1 -100 => $0
         GETRANGE k -50 -100 => $0
         GETRANGE k -100 -50 => $1 a
         SUBSTR k 2 100 => $4 cdef
         GETRANGE k -9223372036854775808 9223372036854775807 => $6 abcdef
         GETRANGE zz 0 -1 => $0
         GETRANGE k a 1 => -ERR value is not an integer or out of range
         SETRANGE k 1 XY => :6
         GET k => $6 aXYdef
         SETRANGE k -1 a => -ERR offset is out of range
         SETRANGE k -1 ~ => -ERR offset is out of range
         SETRANGE k 99999999999 ~ => :6
         SETRANGE zz 99999999999 ~ => :0
         EXISTS zz => :0
         SETRANGE k 8388608 a => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         SETRANGE k 9223372036854775807 a => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         SETRANGE k 8388607 a => :8388608
         APPEND k a => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         STRLEN k => :8388608
         SETRANGE j 8388606 a => :8388607
         APPEND j a => :8388608
         APPEND j ~ => :8388608",
    );
    let mut keyspace = Keyspace::new();
    run(&mut keyspace, "SETRANGE k 2 a");
    assert_eq!(run_args(&mut keyspace, &["GET", "k"]), b"$3\r\n\0\0a\r\n");
    run(&mut keyspace, "SETRANGE k 4 b");
    assert_eq!(run_args(&mut keyspace, &["GET", "k"]), b"$5\r\n\0\0a\0b\r\n");
}

#[test]
fn counters() {
    script(
        "INCR n => :1
         INCRBY n 41 => :42
         DECR n => :41
         DECRBY n 50 => :-9
         GET n => $2 -9
         DECRBY n -9223372036854775808 => -ERR decrement would overflow
         INCRBY n 01 => -ERR value is not an integer or out of range
         INCRBY n 9223372036854775808 => -ERR value is not an integer or out of range
         SET n 9223372036854775807 => +OK
         INCR n => -ERR increment or decrement would overflow
         GET n => $19 9223372036854775807
         SET n -9223372036854775808 => +OK
         DECR n => -ERR increment or decrement would overflow
         SET n 007 => +OK
         INCR n => -ERR value is not an integer or out of range
         SET n ~ => +OK
         INCR n => -ERR value is not an integer or out of range
         INCRBYFLOAT f 10.5 => $4 10.5
         INCRBYFLOAT f 0.1 => $4 10.6
         INCRBYFLOAT f -10.6 => $1 0
         INCRBYFLOAT f x => -ERR value is not a valid float
         INCRBYFLOAT f inf => -ERR increment would produce NaN or Infinity
         INCRBYFLOAT n 1 => -ERR value is not a valid float
         INCRBYFLOAT f 5.0e3 => $4 5000
         INCR f => :5001",
    );
}

#[test]
fn exactly_the_commands_on_keys_are_registered() {
    let all = resp::table::commands();
    for command in all.iter().chain(all.iter().flat_map(|command| command.subcommands)) {
        let name = command.full_name;
        let is_on_keys = !matches!(command.scope, Scope::Local | Scope::Leader | Scope::ClusterLeader);
        assert_eq!(rows(command.id).is_some(), is_on_keys, "{name}");
        assert_eq!(rows(command.id) == Some(Rows::Keys), command.key_spec.is_some(), "{name}");
        if let Ok(found) = find(command.id) {
            assert_eq!(found.id, command.id);
            assert_eq!(matches!(found.action, Action::Apply(_)), command.is_write(), "{name}");
        }
    }
}

#[test]
fn the_number_of_arguments_is_that_of_the_command_table() {
    for id in CommandId::ALL.iter().filter(|id| rows(**id) == Some(Rows::Keys)) {
        let command = resp::table::by_id(*id);
        for count in 0..8 {
            let request = Request::new(&vec!["1"; count]);
            let is_pairs = matches!(id, CommandId::MSet | CommandId::MSetNx);
            let checked = check(*id, request.args());
            if is_pairs && count > 3 && count % 2 == 0 {
                assert!(matches!(checked, Err(Error::MSetArgumentsCount | Error::MSetNxArgumentsCount)), "{count}");
            } else {
                let is_refused = checked == Err(Error::ArgumentsCount);
                assert_eq!(!is_refused, command.check_arity(count), "{} {count}", command.name);
            }
            if checked == Err(Error::ArgumentsCount) {
                let mut keyspace = Keyspace::new();
                let mut out = Vec::new();
                let mut reply = Reply::new(&mut out, Protocol::Resp2);
                match find(*id).unwrap().action {
                    Action::Apply(_) => keyspace.apply(*id, slot(), request.args()).write(&mut reply),
                    Action::Query(_) | Action::QueryByClock(_) => {
                        keyspace.query(*id, slot(), request.args(), 0, &mut reply);
                    }
                }
                assert_eq!(String::from_utf8(out).unwrap(), format!("-{}\r\n", Error::ArgumentsCount));
            }
        }
    }
}

#[test]
fn options_and_numbers_are_checked_before_a_command_is_proposed() {
    let cases: [(CommandId, &[&str], Error); 9] = [
        (CommandId::Set, &["", "k", "v", "nope"], Error::Syntax),
        (CommandId::GetRange, &["", "k", "1", "x"], Error::NotAnInteger),
        (CommandId::SubStr, &["", "k", "x", "1"], Error::NotAnInteger),
        (CommandId::SetRange, &["", "k", "-1", "v"], Error::OffsetOutOfRange),
        (CommandId::IncrBy, &["", "k", "1.5"], Error::NotAnInteger),
        (CommandId::DecrBy, &["", "k", "-9223372036854775808"], Error::DecrementOverflow),
        (CommandId::IncrByFloat, &["", "k", "nope"], Error::NotAFloat),
        (CommandId::FlushAll, &["", "nope"], Error::Syntax),
        (CommandId::FlushDb, &["", "ASYNC", "SYNC"], Error::Syntax),
    ];
    for (id, words, error) in cases {
        assert_eq!(check(id, Request::new(words).args()), Err(error), "{id:?}");
    }
}

#[test]
fn reads_are_not_applied_and_writes_are_not_queried() {
    let mut keyspace = Keyspace::new();
    let request = Request::new(&["SET", "k", "v"]);
    let mut out = Vec::new();
    keyspace.query(CommandId::Set, slot(), request.args(), 0, &mut Reply::new(&mut out, Protocol::Resp2));
    keyspace.apply(CommandId::Exists, slot(), request.args()).write(&mut Reply::new(&mut out, Protocol::Resp2));
    let error = format!("-{}\r\n", Error::Unsupported.message());
    assert_eq!(String::from_utf8(out).unwrap(), error.repeat(2));
    assert_eq!(keyspace.keys_count(), 0);
    assert_eq!(check(CommandId::Ping, Request::new(&["PING"]).args()), Err(Error::Unsupported));
}

#[test]
fn keys_and_values_have_their_limits() {
    let (key, value) = (vec![b'k'; KEY_BYTES_MAX + 1], vec![b'v'; VALUE_BYTES_MAX + 1]);
    let (longest_key, longest_value) = (&key[1..], &value[1..]);
    let checked = |command: CommandId, args: &[&[u8]]| check(command, Request::new(args).args());
    assert_eq!(checked(CommandId::Set, &[b"", longest_key, longest_value]), Ok(()));
    assert_eq!(checked(CommandId::Set, &[b"", &key, b""]), Err(Error::KeyTooLong));
    assert_eq!(checked(CommandId::Set, &[b"", b"k", &value]), Err(Error::ValueTooLong));
    assert_eq!(checked(CommandId::MSet, &[b"", b"a", b"", b"k", &value]), Err(Error::ValueTooLong));
    assert_eq!(checked(CommandId::MGet, &[b"", b"a", &key]), Err(Error::KeyTooLong));
}

/// The reply to a read of a slot, or of the group.
fn ask(keyspace: &Keyspace, id: CommandId, slot: Slot, words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    keyspace.query(id, slot, Request::new(words).args(), 0, &mut Reply::new(&mut out, Protocol::Resp2));
    out
}

#[test]
fn slots_are_counted_listed_and_flushed() {
    let mut keyspace = Keyspace::new();
    let empty = keyspace.bytes();
    let slots = [0, 127, 128, 16_383].map(|number| Slot::new(number).unwrap());
    for slot in slots {
        for number in 0..1_000 {
            let request = Request::new(&["SET", &format!("key:{number}"), "value"]);
            keyspace.apply(CommandId::Set, slot, request.args());
        }
    }
    assert_eq!(keyspace.keys_count(), 4_000);
    assert_eq!(ask(&keyspace, CommandId::DbSize, slot(), &["DBSIZE"]), b":4000\r\n");
    let count = |slot: Slot| ask(&keyspace, CommandId::ClusterCountKeysInSlot, slot, &["", "", "0"]);
    assert_eq!((count(slots[2]), count(slot())), (b":1000\r\n".to_vec(), b":0\r\n".to_vec()));
    let list =
        |slot: Slot, number: &str| ask(&keyspace, CommandId::ClusterGetKeysInSlot, slot, &["", "", "0", number]);
    assert_eq!(list(slot(), "10"), b"*0\r\n");
    for nothing in ["0", "-1", "x"] {
        assert_eq!(list(slots[0], nothing), b"*0\r\n");
    }
    assert!(list(slots[0], "10").starts_with(b"*10\r\n$"));
    let all = String::from_utf8(list(slots[3], "9223372036854775807")).unwrap();
    let mut keys: Vec<&str> = all.split("\r\n").filter(|line| line.starts_with("key:")).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 1_000);
    assert_eq!(keyspace.rows_in_slot(slots[1]).count(), 1_000);
    assert!(keyspace.bytes() > empty + 4_000 * 20);
    keyspace.apply(CommandId::FlushAll, slot(), Request::new(&["FLUSHALL"]).args());
    while keyspace.release_some() {}
    assert_eq!((keyspace.keys_count(), keyspace.bytes(), keyspace.digest()), (0, empty, 0));
}

#[test]
fn keys_of_a_slot_are_listed_only_as_far_as_a_reply_goes() {
    let mut keyspace = Keyspace::new();
    let keys_count = REPLY_BYTES_MAX / KEY_BYTES_MAX;
    for number in 0..keys_count {
        let key = format!("{number:08}").repeat(KEY_BYTES_MAX / 8);
        keyspace.apply(CommandId::Set, slot(), Request::new(&["SET", &key, ""]).args());
    }
    let ask = |count: usize| {
        let request = Request::new(&["CLUSTER", "GETKEYSINSLOT", "1", &count.to_string()]);
        let mut out = Vec::new();
        keyspace.query(
            CommandId::ClusterGetKeysInSlot,
            slot(),
            request.args(),
            0,
            &mut Reply::new(&mut out, Protocol::Resp2),
        );
        (out, keyspace.reply_bytes_bound(CommandId::ClusterGetKeysInSlot, slot(), request.args()))
    };
    let (most, bound) = ask(keys_count - 1);
    assert!(
        most.starts_with(format!("*{}\r\n", keys_count - 1).as_bytes())
            && most.len() > REPLY_BYTES_MAX - KEY_BYTES_MAX
    );
    assert_eq!(most.len(), bound);
    for count in [keys_count, 1_000_000] {
        let (error, bound) = ask(count);
        assert_eq!(String::from_utf8_lossy(&error), format!("-{}\r\n", Error::ReplyTooLong));
        assert!(error.len() <= bound && bound < 1_000);
    }
}

#[test]
fn values_are_fetched_only_as_far_as_a_reply_goes() {
    let mut keyspace = Keyspace::new();
    run(&mut keyspace, "SETRANGE k 8388607 a");
    let ask = |count: usize| {
        let request = Request::new(&[&["MGET"][..], &vec!["k"; count]].concat());
        let mut out = Vec::new();
        keyspace.query(CommandId::MGet, slot(), request.args(), 0, &mut Reply::new(&mut out, Protocol::Resp3));
        (out, keyspace.reply_bytes_bound(CommandId::MGet, slot(), request.args()))
    };
    let (most, bound) = ask(REPLY_BYTES_MAX / VALUE_BYTES_MAX - 1);
    assert!(most.len() > REPLY_BYTES_MAX - 2 * VALUE_BYTES_MAX);
    assert_eq!(most.len(), bound);
    for count in [REPLY_BYTES_MAX / VALUE_BYTES_MAX, 1_000_000] {
        let (error, bound) = ask(count);
        assert_eq!(String::from_utf8_lossy(&error), format!("-{}\r\n", Error::ReplyTooLong));
        assert!(error.len() <= bound && bound < 1_000);
    }
}

#[test]
fn memory_is_given_back() {
    let mut keyspace = Keyspace::new();
    run(&mut keyspace, "SETRANGE k 1000000 a");
    assert!(keyspace.bytes() > 1_000_000);
    run(&mut keyspace, "SET k v");
    assert!(keyspace.bytes() < 50_000, "a short value does not keep a long one's memory");
    for number in 0..10_000 {
        run(&mut keyspace, &format!("SET {number} v"));
    }
    for number in 0..10_000 {
        run(&mut keyspace, &format!("DEL {number}"));
    }
    assert_eq!(keyspace.keys_count(), 1);
    assert!(keyspace.bytes() < 500_000, "{} bytes for one key", keyspace.bytes());
    assert_eq!(run(&mut keyspace, "GET k"), "$1 v");
}

#[test]
fn digests_tell_contents_apart_and_nothing_else() {
    let digest_of = |lines: &[&str]| {
        let mut keyspace = Keyspace::new();
        for line in lines {
            run(&mut keyspace, line);
        }
        keyspace.digest()
    };
    let one = digest_of(&["SET a 1", "SET b 2"]);
    assert_eq!(one, digest_of(&["SET b 2", "SET c 3", "SET a 0", "INCR a", "DEL c"]));
    assert_ne!(one, digest_of(&["SET a 2", "SET b 1"]));
    assert_ne!(digest_of(&["SET ab c"]), digest_of(&["SET a bc"]));
    // The digest travels between replicas of different versions: it must never change.
    assert_eq!(digest_of(&["SET key value"]), KEY_VALUE_DIGEST);
}

/// XXH3-128 of `keyvalue` with the seed 3.
const KEY_VALUE_DIGEST: u128 = 0x2821_ed6d_3cc1_2331_2b59_4d4a_a06e_f896;
#[test]
fn reads_count_the_keys_that_they_find_and_miss_and_writes_count_none() {
    let mut keyspace = Keyspace::new();
    let mut lookups = |line: &str| {
        run(&mut keyspace, line);
        let lookups = keyspace.take_lookups();
        (lookups.hits, lookups.misses)
    };
    for write in ["MSET {t}a 1 {t}b 2", "GETSET {t}a 3", "SET {t}a 4 XX GET", "APPEND {t}c x", "DEL {t}c {t}d"] {
        assert_eq!(lookups(write), (0, 0), "{write}");
    }
    let cases = [
        ("GET {t}a", (1, 0)),
        ("GET {t}x", (0, 1)),
        ("MGET {t}a {t}x {t}b {t}b", (3, 1)),
        ("EXISTS {t}a {t}x {t}y", (1, 2)),
        ("STRLEN {t}x", (0, 1)),
        ("GETRANGE {t}a 0 -1", (1, 0)),
        ("TYPE {t}b", (1, 0)),
    ];
    for (read, expected) in cases {
        assert_eq!(lookups(read), expected, "{read}");
    }
}
