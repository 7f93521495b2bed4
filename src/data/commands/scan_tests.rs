//! Going through keys.

use std::collections::{BTreeMap, BTreeSet};

use lsm::Content;
use proptest::prelude::*;
use resp::{CommandId, Protocol, Reply};
use types::{SLOTS_COUNT, Slot};

use super::tests::{Request, run, script};
use crate::row_range::{position, stop_before};
use crate::{Error, Keyspace, ScanCursor};

fn ask(keyspace: &Keyspace, id: CommandId, slot: Slot, words: &[&str]) -> String {
    let mut out = Vec::new();
    let request = Request::new(words);
    keyspace.query(id, slot, request.args(), 0, &mut Reply::new(&mut out, Protocol::Resp2));
    assert!(out.len() <= keyspace.reply_bytes_bound(id, slot, request.args()), "{words:?}");
    String::from_utf8(out).unwrap()
}

fn set(keyspace: &mut Keyspace, key: &str) {
    keyspace.apply(CommandId::Set, Slot::of_key(key.as_bytes()), Request::new(&["SET", key, "v"]).args());
}

fn remove(keyspace: &mut Keyspace, key: &str) {
    keyspace.apply(CommandId::Del, Slot::of_key(key.as_bytes()), Request::new(&["DEL", key]).args());
}

/// One SCAN: the next cursor, and the keys.
fn scan(keyspace: &Keyspace, cursor: u64, options: &[&str]) -> (u64, Vec<String>) {
    let cursor = cursor.to_string();
    let slot = ScanCursor::parse(cursor.as_bytes()).unwrap().slot;
    let reply = ask(keyspace, CommandId::Scan, slot, &[&["SCAN", &cursor], options].concat());
    let lines: Vec<&str> = reply.split("\r\n").collect();
    let keys = lines[4..].chunks_exact(2).map(|pair| pair[1].to_owned()).collect::<Vec<_>>();
    assert_eq!(lines[3], format!("*{}", keys.len()), "{reply}");
    (lines[2].parse().unwrap(), keys)
}

fn scan_all(keyspace: &Keyspace, options: &[&str]) -> Vec<String> {
    scan_all_by(|cursor| scan(keyspace, cursor, options))
}

fn scan_all_by(mut scan: impl FnMut(u64) -> (u64, Vec<String>)) -> Vec<String> {
    let (mut cursor, mut all) = (0, Vec::new());
    for _ in 0..100_000 {
        let (next, keys) = scan(cursor);
        all.extend(keys);
        if next == 0 {
            return all;
        }
        assert!(next > cursor, "a scan goes forward");
        cursor = next;
    }
    panic!("a scan does not end");
}

/// Tables are read as far as must be, and then perhaps within a slot.
#[test]
fn a_scan_sees_every_key_once_of_which_few_are_in_memory() {
    let names: BTreeSet<String> =
        (0..6_000).map(|n| if n % 2 == 0 { format!("k{n}") } else { format!("{{t}}{n}") }).collect();
    let mut keyspace = Keyspace::with_hash_seed(3);
    keyspace.end_residency();
    names.iter().step_by(7).for_each(|name| set(&mut keyspace, name));
    let mut stored: Vec<(u64, Slot, &String)> = Vec::new();
    for name in &names {
        let slot = Slot::of_key(name.as_bytes());
        stored.push((position(slot.idx(), keyspace.store.rows.hash_of(name.as_bytes())), slot, name));
    }
    stored.sort();
    for count in ["1", "10", "1000"] {
        let seen = scan_all_by(|cursor| {
            let (cursor, slot) = (cursor.to_string(), ScanCursor::parse(cursor.to_string().as_bytes()).unwrap().slot);
            let request = Request::new(&["SCAN", &cursor, "COUNT", count]);
            let command = resp::table::by_id(CommandId::Scan);
            let range = keyspace.missing_range(command, slot, request.args(), 0).unwrap();
            let excerpt = keyspace.excerpt_of_range(range);
            let range = excerpt.range();
            let run: Vec<_> = stored.iter().filter(|(at, ..)| (range.from..range.to).contains(at)).collect();
            // The first place behind as many as are wanted at which it may stop.
            let cut =
                run.iter().enumerate().skip(range.rows_max).find(|(idx, (at, ..))| run[idx - 1].0 < stop_before(*at));
            let (rows, reached) =
                cut.map_or((&run[..], None), |(idx, (at, ..))| (&run[..idx], Some(stop_before(*at))));
            let rows = rows.iter().map(|(_, slot, name)| (*slot, name.as_bytes(), Content::plain(b"")));
            scan(&excerpt.with_rows(rows, reached), cursor.parse().unwrap(), &["COUNT", count])
        });
        assert_eq!(seen.len(), names.len(), "COUNT {count}");
        assert!(seen.into_iter().collect::<BTreeSet<_>>() == names);
    }
}

#[test]
fn a_scan_sees_every_key_once() {
    let mut keyspace = Keyspace::with_hash_seed(3);
    let names: BTreeSet<String> =
        (0..6_000).map(|n| if n % 2 == 0 { format!("k{n}") } else { format!("{{t}}{n}") }).collect();
    names.iter().for_each(|name| set(&mut keyspace, name));
    for count in ["1", "10", "1000", "9223372036854775807"] {
        let seen = scan_all(&keyspace, &["COUNT", count]);
        assert_eq!(seen.len(), names.len(), "COUNT {count}");
        assert!(seen.into_iter().collect::<BTreeSet<_>>() == names);
    }
    let some = scan_all(&keyspace, &["MATCH", "k1?", "TYPE", "STRING"]);
    assert_eq!(
        some.into_iter().collect::<BTreeSet<_>>(),
        ["k10", "k12", "k14", "k16", "k18"].map(String::from).into()
    );
    assert!(scan_all(&keyspace, &["TYPE", "hash", "COUNT", "1000"]).is_empty());
    let (next, keys) = scan(&keyspace, 0, &["COUNT", "100000"]);
    assert!(next > 0 && keys.len() >= 1_000, "one call looks at no more than it may, {}", keys.len());
}

#[test]
fn a_scan_stops_at_the_end_of_a_run_of_slots() {
    let mut keyspace = Keyspace::new();
    for number in 0..2_000 {
        set(&mut keyspace, &format!("k{number}"));
    }
    let slot = |number: u16| Slot::new(number).unwrap();
    keyspace.own(vec![(slot(100), slot(200)), (slot(9_000), slot(16_383))]);
    let start = ScanCursor { slot: slot(100), hash: 0 }.number();
    let (mut cursor, mut slots) = (start, BTreeSet::new());
    while ScanCursor::parse(cursor.to_string().as_bytes()).unwrap().slot <= slot(200) {
        let (next, keys) = scan(&keyspace, cursor, &[]);
        slots.extend(keys.iter().map(|key| Slot::of_key(key.as_bytes()).number()));
        cursor = next;
    }
    assert_eq!(cursor, ScanCursor { slot: slot(201), hash: 0 }.number(), "whoever owns the next slot goes on");
    assert!(slots.len() > 5 && slots.iter().all(|slot| (100..=200).contains(slot)), "{slots:?}");
    let last = ScanCursor { slot: slot(16_383), hash: 0 }.number();
    assert_eq!(scan(&keyspace, last, &["COUNT", "1000"]).0, 0);
}

#[test]
fn a_scan_does_not_show_what_has_expired() {
    let mut keyspace = Keyspace::new();
    run(&mut keyspace, "SET k v PX 10");
    run(&mut keyspace, "SET l v");
    assert_eq!(scan_all(&keyspace, &[]).len(), 2);
    keyspace.advance_time(10);
    assert_eq!(scan_all(&keyspace, &[]), ["l"]);
    assert_eq!(ask(&keyspace, CommandId::Keys, Slot::default(), &["KEYS", "*"]), "*1\r\n$1\r\nl\r\n");
}

#[test]
fn misspelt_scans_are_refused_as_in_redis() {
    let keyspace = Keyspace::new();
    let error = |words: &[&str]| ask(&keyspace, CommandId::Scan, Slot::default(), &[&["SCAN"], words].concat());
    for words in
        [&["0", "COUNT"][..], &["0", "FOO", "1"], &["0", "COUNT", "0"], &["0", "COUNT", "-1"], &["0", "MATCH"]]
    {
        assert_eq!(error(words), format!("-{}\r\n", Error::Syntax), "{words:?}");
    }
    assert_eq!(error(&["0", "COUNT", "x"]), format!("-{}\r\n", Error::NotAnInteger));
    assert_eq!(error(&["x"]), format!("-{}\r\n", Error::InvalidCursor));
}

#[test]
fn long_keys_end_a_scan_early() {
    let mut keyspace = Keyspace::new();
    let names: BTreeSet<String> = (0..300).map(|n| format!("{{t}}{n:08}").repeat(5_000)).collect();
    names.iter().for_each(|name| set(&mut keyspace, name));
    let (next, keys) = scan(&keyspace, 0, &["COUNT", "4096"]);
    assert!(next != 0 && keys.len() < 200, "{} keys of 55 KB", keys.len());
    assert!(scan_all(&keyspace, &["COUNT", "4096"]).into_iter().collect::<BTreeSet<_>>() == names);
}

#[test]
fn keys_looks_only_where_there_are_few() {
    let mut keyspace = Keyspace::new();
    (0..10_000).for_each(|number| set(&mut keyspace, &format!("k{number}")));
    let some = ask(&keyspace, CommandId::Keys, Slot::default(), &["KEYS", "k1?"]);
    assert!(some.starts_with("*10\r\n"), "{some}");
    set(&mut keyspace, "one more");
    let refused = ask(&keyspace, CommandId::Keys, Slot::default(), &["KEYS", "k1?"]);
    assert_eq!(refused, format!("-{}\r\n", Error::TooManyKeys));
}

#[test]
fn any_key_may_be_drawn() {
    let mut keyspace = Keyspace::new();
    let draw = |keyspace: &Keyspace| ask(keyspace, CommandId::RandomKey, Slot::default(), &["RANDOMKEY"]);
    assert_eq!(draw(&keyspace), "*2\r\n:0\r\n$-1\r\n");
    (0..20).for_each(|number| set(&mut keyspace, &format!("{{t}}{number}")));
    (0..20).for_each(|number| set(&mut keyspace, &format!("k{number}")));
    let mut drawn = BTreeMap::new();
    for _ in 0..4_000 {
        *drawn.entry(draw(&keyspace)).or_insert(0) += 1;
    }
    assert!(
        drawn.len() > 30,
        "a key behind a large gap is drawn more often, but most are at some time: {}",
        drawn.len()
    );
    assert!(drawn.keys().all(|reply| reply.starts_with("*2\r\n:40\r\n$")));
}

#[test]
fn renaming_and_copying() {
    script(
        "@1000
         SET a 1 PX 500 => +OK
         RENAME a b => +OK
         EXISTS a => :0
         PTTL b => :500
         RENAME a b => -ERR no such key
         RENAME b b => +OK
         SET c 2 => +OK
         RENAMENX b c => :0
         RENAMENX b d => :1
         RENAMENX d d => :0
         RENAMENX nope c => -ERR no such key
         RENAME c d => +OK
         PTTL d => :-1
         GET d => $1 2
         COPY d e => :1
         COPY d e => :0
         COPY nope e => :0
         SET d 3 EX 10 => +OK
         COPY d e REPLACE => :1
         TTL e => :10
         COPY d e DB 0 replace => :1
         COPY d e DB 1 => -ERR DB index is out of range
         COPY d e DB x => -ERR value is not an integer or out of range
         COPY d e FOO => -ERR syntax error
         COPY d d => -ERR source and destination objects are the same
         PEXPIRE d 1 => :1
         @1001
         RENAME d f => -ERR no such key",
    );
}

#[test]
fn how_values_are_kept() {
    script(
        "SET i 12 => +OK
         SET s abc => +OK
         SET l 123456789012345678901234567890123456789012345 => +OK
         OBJECT ENCODING i => $3 int
         OBJECT ENCODING s => $6 embstr
         OBJECT ENCODING l => $3 raw
         OBJECT ENCODING none => $-1
         OBJECT REFCOUNT s => :1
         MEMORY USAGE s => :32
         MEMORY USAGE s SAMPLES 0 => :32
         MEMORY USAGE s SAMPLES -1 => -ERR syntax error
         MEMORY USAGE none => $-1",
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_there_all_the_while_is_seen_once_and_a_scan_ends(
        before in proptest::collection::btree_set(0u16..400, 0..300),
        changes in proptest::collection::vec(proptest::collection::vec((any::<bool>(), 0u16..400), 0..40), 0..60),
        tagged in any::<bool>(),
        count in 1usize..60,
    ) {
        let name = |number: u16| if tagged { format!("{{t}}{number}") } else { format!("k{number}") };
        let mut keyspace = Keyspace::with_hash_seed(9);
        before.iter().for_each(|number| set(&mut keyspace, &name(*number)));
        let (mut lasting, mut ever) = (before.clone(), before);
        let (mut cursor, mut seen, mut changes) = (0, Vec::new(), changes.into_iter());
        for _ in 0..2 * SLOTS_COUNT {
            let (next, keys) = scan(&keyspace, cursor, &["COUNT", &count.to_string()]);
            seen.extend(keys);
            cursor = next;
            if cursor == 0 {
                break;
            }
            for (adds, number) in changes.next().into_iter().flatten() {
                if adds {
                    set(&mut keyspace, &name(number));
                    ever.insert(number);
                } else {
                    remove(&mut keyspace, &name(number));
                    lasting.remove(&number);
                }
            }
        }
        prop_assert_eq!(cursor, 0);
        for number in lasting {
            prop_assert_eq!(seen.iter().filter(|key| **key == name(number)).count(), 1, "{}", name(number));
        }
        let ever: BTreeSet<String> = ever.into_iter().map(name).collect();
        prop_assert!(seen.iter().all(|key| ever.contains(key)));
    }
}
