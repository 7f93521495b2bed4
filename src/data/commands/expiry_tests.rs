//! Keys that expire, by replicated time and nothing else.

use resp::{CommandId, Protocol, Reply};
use types::Slot;

use super::tests::{Request, run, script, slot};
use crate::Keyspace;

#[test]
fn a_key_is_gone_when_its_time_has_come() {
    script(
        "@1000
         SET k v EX 10 => +OK
         TTL k => :10
         PTTL k => :10000
         EXPIRETIME k => :11
         PEXPIRETIME k => :11000
         @10999
         GET k => $1 v
         EXISTS k => :1
         TTL k => :0
         PTTL k => :1
         @11000
         GET k => $-1
         EXISTS k => :0
         TYPE k => +none
         STRLEN k => :0
         MGET k k => *2 $-1 $-1
         TTL k => :-2
         PTTL k => :-2
         EXPIRETIME k => :-2
         PEXPIRETIME k => :-2
         EXPIRE k 10 => :0
         PERSIST k => :0
         DEL k => :0
         GETDEL k => $-1
         GETEX k EX 10 => $-1
         SET k w NX => +OK
         TTL k => :-1
         EXPIRETIME k => :-1",
    );
}

#[test]
fn what_is_written_to_a_key_that_has_expired_begins_anew() {
    script(
        "@1000
         MSET a 1 b 1 c 1 d 1 e 1 f 1 g 1 => +OK
         EXPIRE a 1 => :1
         EXPIRE b 1 => :1
         EXPIRE c 1 => :1
         EXPIRE d 1 => :1
         EXPIRE e 1 => :1
         EXPIRE f 1 => :1
         EXPIRE g 1 => :1
         @2000
         APPEND a 2 => :1
         INCR b => :1
         SETRANGE c 1 x => :2
         SET d x KEEPTTL => +OK
         GETSET e 2 => $-1
         SET f x XX => $-1
         INCRBYFLOAT g 1.5 => $3 1.5
         TTL a => :-1
         TTL b => :-1
         TTL c => :-1
         TTL d => :-1
         TTL e => :-1
         TTL g => :-1",
    );
}

#[test]
fn some_writes_keep_the_expiry_and_others_let_it_go() {
    script(
        "@1000
         SET k 1 PX 5000 => +OK
         INCR k => :2
         APPEND k 0 => :2
         SETRANGE k 0 3 => :2
         INCRBYFLOAT k 1 => $2 31
         SET k 5 KEEPTTL => +OK
         SET k 6 GET KEEPTTL => $1 5
         PTTL k => :5000
         SET k 7 => +OK
         PTTL k => :-1
         PSETEX k 5000 1 => +OK
         GETSET k 2 => $1 1
         PTTL k => :-1
         SETEX k 5 1 => +OK
         MSET k 2 => +OK
         PTTL k => :-1
         SETEX k 5 1 => +OK
         PERSIST k => :1
         PERSIST k => :0
         PTTL k => :-1",
    );
}

#[test]
fn expire_and_its_conditions() {
    script(
        "@1000
         SET k v => +OK
         EXPIRE k 10 XX => :0
         EXPIRE k 10 GT => :0
         EXPIRE k 10 LT => :1
         EXPIRE k 20 NX => :0
         EXPIRE k 10 GT => :0
         EXPIRE k 10 LT => :0
         EXPIRE k 20 GT => :1
         EXPIRE k 10 lt xx => :1
         PEXPIRE k 1500 => :1
         PTTL k => :1500
         TTL k => :2
         EXPIREAT k 100 => :1
         PTTL k => :99000
         PEXPIREAT k 5001 => :1
         PTTL k => :4001
         EXPIRE k 10 NX XX => -ERR NX and XX, GT or LT options at the same time are not compatible
         EXPIRE k 10 NX GT => -ERR NX and XX, GT or LT options at the same time are not compatible
         EXPIRE k 10 GT LT => -ERR GT and LT options at the same time are not compatible
         EXPIRE k x GT LT => -ERR GT and LT options at the same time are not compatible
         EXPIRE k 10 FOO => -ERR Unsupported option
         EXPIRE k x => -ERR value is not an integer or out of range
         EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
         EXPIRE none 9223372036854775 => -ERR invalid expire time in 'expire' command
         EXPIRE k -9223372036854775808 => -ERR invalid expire time in 'expire' command
         PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
         EXPIREAT k 9223372036854775807 => -ERR invalid expire time in 'expireat' command
         PEXPIREAT k 9223372036854775807 => :1
         PEXPIRETIME k => :9223372036854775807
         EXPIRETIME k => :9223372036854775
         PEXPIREAT k -9223372036854775808 => :1
         GET k => $-1
         SET k v => +OK
         EXPIRE k 0 => :1
         EXISTS k => :0
         SET k v => +OK
         EXPIREAT k 1 => :1
         EXISTS k => :0
         SETEX k 0 v => -ERR invalid expire time in 'setex' command
         PSETEX k -1 v => -ERR invalid expire time in 'psetex' command
         SETEX k x v => -ERR value is not an integer or out of range
         SET k v PX 9223372036854775807 => -ERR invalid expire time in 'set' command",
    );
}

#[test]
fn getex_and_its_options() {
    script(
        "@1000
         GETEX k => $-1
         GETEX k EX x => $-1
         SET k v => +OK
         GETEX k => $1 v
         GETEX k EX 10 => $1 v
         GETEX k => $1 v
         TTL k => :10
         GETEX k PXAT 4000 => $1 v
         PTTL k => :3000
         GETEX k PERSIST => $1 v
         TTL k => :-1
         GETEX k EX 0 => -ERR invalid expire time in 'getex' command
         GETEX k EX x => -ERR value is not an integer or out of range
         GETEX k EX => -ERR syntax error
         GETEX k EX 1 PERSIST => -ERR syntax error
         GETEX k KEEPTTL => -ERR syntax error
         GETEX k EXAT 1 => $1 v
         GETEX k => $-1",
    );
}

#[test]
fn comparisons_before_a_change() {
    script(
        "SET k w IFEQ v => $-1
         EXISTS k => :0
         SET k v => +OK
         SET k w IFEQ v => +OK
         SET k x IFEQ v => $-1
         SET k x IFEQ v GET => $1 w
         SET k x ifeq w GET => $1 w
         GET k => $1 x
         SET k x IFEQ => -ERR syntax error
         SET k x IFEQ x NX => -ERR syntax error
         SET k x XX IFEQ x => -ERR syntax error
         SET k x IFEQ x IFEQ x => -ERR syntax error
         DELIFEQ k w => :0
         DELIFEQ none w => :0
         DELIFEQ k x => :1
         EXISTS k => :0",
    );
}

#[test]
fn the_time_left_is_by_the_clock_and_whether_a_key_is_there_is_not() {
    let mut keyspace = Keyspace::new();
    keyspace.advance_time(1_000);
    run(&mut keyspace, "SET k v PX 500");
    let ask = |keyspace: &Keyspace, id: CommandId, clock_ms: u64| {
        let mut out = Vec::new();
        let request = Request::new(&["", "k"]);
        keyspace.query(id, slot(), request.args(), clock_ms, &mut Reply::new(&mut out, Protocol::Resp2));
        String::from_utf8(out).unwrap()
    };
    for (clock_ms, left) in [(0, 500), (1_000, 500), (1_200, 300), (1_499, 1), (1_500, 0), (9_000, 0)] {
        assert_eq!(ask(&keyspace, CommandId::PTtl, clock_ms), format!(":{left}\r\n"));
        assert_eq!(ask(&keyspace, CommandId::Get, clock_ms), "$1\r\nv\r\n");
        let is_due =
            keyspace.has_due(resp::lookup(b"get").unwrap(), Request::new(&["", "k"]).args(), slot(), clock_ms);
        assert_eq!(is_due, clock_ms >= 1_500);
    }
    keyspace.advance_time(1_500);
    assert_eq!(ask(&keyspace, CommandId::Get, 0), "$-1\r\n");
}

#[test]
fn whether_a_row_is_gone_yet_shows_nowhere() {
    let build = || {
        let mut keyspace = Keyspace::new();
        for number in 0..1_000 {
            run(&mut keyspace, &format!("SET key{number} v PX {}", number + 1));
        }
        keyspace.advance_time(600);
        keyspace
    };
    let (unswept, mut swept) = (build(), build());
    let mut looked_count = 0;
    while looked_count < 3_000 {
        looked_count += swept.sweep(50, 600).looked_count;
    }
    assert_eq!((unswept.keys_count(), swept.keys_count()), (1_000, 400));
    assert_eq!(swept.take_expired(), 600);
    assert_eq!(swept.take_expired(), 0);
    assert_eq!(unswept.digest(), swept.digest());
    let keys = |keyspace: &Keyspace, slot: Slot| -> std::collections::BTreeSet<Vec<u8>> {
        keyspace.rows_in_slot(slot).map(|row| row.key().to_vec()).collect()
    };
    assert_eq!(keys(&unswept, slot()).len(), 400);
    assert!(keys(&unswept, slot()) == keys(&swept, slot()));
}
