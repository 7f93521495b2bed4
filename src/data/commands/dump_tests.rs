//! `DUMP`, `RESTORE`, and what `OBJECT` does not know.

use super::tests::{Request, run, run_args, script};
use crate::{Error, Keyspace, check};
use resp::CommandId;

/// What a Redis 7.0.15 answers to `DUMP` of a key with the value `a`.
const PAYLOAD: &[u8] = b"\x00\x01a\x0a\x00\xbf\xfe\xef\x9b\x8f\x36\x7d\xb4";
/// The same of a set.
const SET_PAYLOAD: &[u8] = b"\x02\x01\x01a\x0a\x00\x62\x96\xe9\x7e\x44\xd2\x1a\x6d";

/// The reply to `RESTORE k ttl payload` with these options.
fn restore(keyspace: &mut Keyspace, ttl: &str, payload: &[u8], options: &str) -> String {
    let mut args: Vec<&[u8]> = vec![b"RESTORE", b"k", ttl.as_bytes(), payload];
    args.extend(options.split_whitespace().map(str::as_bytes));
    String::from_utf8(run_args(keyspace, &args)).unwrap().trim_end().to_string()
}

#[test]
fn a_value_moves_from_key_to_key() {
    let mut keyspace = Keyspace::new();
    for value in ["", "a", "12", "-70000", "99999999999", &"long".repeat(10_000)] {
        assert_eq!(run_args(&mut keyspace, &["SET", "from", value]), b"+OK\r\n");
        let dumped = run_args(&mut keyspace, &["DUMP", "from"]);
        let begin = dumped.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
        let payload = &dumped[begin..dumped.len() - 2];
        assert_eq!(restore(&mut keyspace, "0", payload, "REPLACE"), "+OK");
        assert_eq!(run_args(&mut keyspace, &["GET", "k"]), run_args(&mut keyspace, &["GET", "from"]));
    }
    assert_eq!(run(&mut keyspace, "DUMP none"), "$-1");
    assert_eq!(run_args(&mut keyspace, &["SET", "from", "a"]), b"+OK\r\n");
    assert_eq!(run_args(&mut keyspace, &["DUMP", "from"]), [b"$13\r\n", PAYLOAD, b"\r\n"].concat());
}

#[test]
fn restore_and_its_options() {
    let mut keyspace = Keyspace::new();
    assert_eq!(restore(&mut keyspace, "0", PAYLOAD, ""), "+OK");
    for (ttl, options, expected) in [
        ("0", "", "-BUSYKEY Target key name already exists."),
        ("0", "absttl", "-BUSYKEY Target key name already exists."),
        ("0", "REPLACE", "+OK"),
        ("0", "replace REPLACE AbsTtl ABSTTL", "+OK"),
        ("0", "REPLACE IDLETIME 0", "+OK"),
        ("0", "IDLETIME 5 IDLETIME 9223372036854775807 REPLACE", "+OK"),
        ("0", "FREQ 0 REPLACE FREQ 255", "+OK"),
        ("0", "REPLACE IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0"),
        ("0", "REPLACE IDLETIME x", "-ERR value is not an integer or out of range"),
        ("0", "REPLACE FREQ -1", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ("0", "REPLACE FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ("0", "REPLACE FREQ 1 IDLETIME 1", "-ERR syntax error"),
        ("0", "REPLACE IDLETIME 1 FREQ 1", "-ERR syntax error"),
        ("0", "REPLACE IDLETIME", "-ERR syntax error"),
        ("0", "REPLACE FREQ", "-ERR syntax error"),
        ("0", "REPLACE AUTH x", "-ERR syntax error"),
        ("x", "REPLACE 1", "-ERR syntax error"),
        ("x", "REPLACE", "-ERR value is not an integer or out of range"),
        ("", "REPLACE", "-ERR value is not an integer or out of range"),
        ("-1", "REPLACE", "-ERR Invalid TTL value, must be >= 0"),
        ("-1", "REPLACE ABSTTL", "-ERR Invalid TTL value, must be >= 0"),
    ] {
        assert_eq!(restore(&mut keyspace, ttl, PAYLOAD, options), expected, "{ttl} {options}");
        assert_eq!((run(&mut keyspace, "GET k"), run(&mut keyspace, "TTL k")), ("$1 a".into(), ":-1".into()));
    }
}

#[test]
fn a_restored_key_expires_by_replicated_time() {
    let mut keyspace = Keyspace::new();
    keyspace.advance_time(5_000);
    for (ttl, options, expected) in [
        ("1500", "", ":6500"),
        ("9000", "ABSTTL REPLACE", ":9000"),
        ("9223372036854770807", "REPLACE", ":9223372036854775807"),
        ("0", "REPLACE ABSTTL", ":-1"),
        ("1", "REPLACE", ":5001"),
    ] {
        assert_eq!(restore(&mut keyspace, ttl, PAYLOAD, options), "+OK", "{ttl} {options}");
        assert_eq!(run(&mut keyspace, "PEXPIRETIME k"), expected, "{ttl} {options}");
    }
    keyspace.advance_time(5_001);
    assert_eq!(run(&mut keyspace, "EXISTS k"), ":0");
    assert_eq!(restore(&mut keyspace, "0", PAYLOAD, ""), "+OK", "a key whose time has come is not in the way");
    let overflows = "-ERR invalid expire time in 'restore' command";
    assert_eq!(restore(&mut keyspace, "9223372036854775807", PAYLOAD, "REPLACE"), overflows);
    assert_eq!(run(&mut keyspace, "EXISTS k"), ":1");
    assert_eq!(restore(&mut keyspace, "4000", PAYLOAD, "REPLACE ABSTTL"), "+OK", "that time is over");
    assert_eq!(run(&mut keyspace, "EXISTS k"), ":0");
    assert_eq!(restore(&mut keyspace, "5001", PAYLOAD, "ABSTTL"), "+OK", "and this one");
    assert_eq!(run(&mut keyspace, "EXISTS k"), ":0");
}

#[test]
fn a_payload_that_is_none_is_refused_before_it_gets_into_a_log() {
    let mut keyspace = Keyspace::new();
    run(&mut keyspace, "SET k v");
    let damaged = [&PAYLOAD[..2], b"b", &PAYLOAD[3..]].concat();
    for (payload, error) in [
        (damaged.as_slice(), Error::PayloadChecksum),
        (b"", Error::PayloadChecksum),
        (b"123456789", Error::PayloadChecksum),
        (SET_PAYLOAD, Error::PayloadType),
    ] {
        for options in ["", "REPLACE"] {
            assert_eq!(restore(&mut keyspace, "0", payload, options), format!("-{error}"));
            assert_eq!(run(&mut keyspace, "GET k"), "$1 v");
        }
        let request = Request::new(&[b"RESTORE", b"k".as_slice(), b"0", payload]);
        assert_eq!(check(CommandId::Restore, request.args()), Err(error));
    }
}

#[test]
fn nobody_knows_when_and_how_often_a_key_is_used() {
    script(
        "SET k v => +OK
         OBJECT FREQ k => -ERR An LFU maxmemory policy is not selected, access frequency not tracked.
         OBJECT IDLETIME k => -ERR idle time not tracked: nothing here tells when a key was last used
         OBJECT FREQ none => $-1
         OBJECT IDLETIME none => $-1",
    );
}
