//! Random commands: every replica answers alike, nothing fails half-way, and what the registry says of them holds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use resp::{CommandId, Protocol, Reply};
use types::Slot;

use super::tests::{Request, run, slot};
use super::{Action, SHORT_REPLY_BYTES_MAX, find, rows};
use crate::rdb::Payload;
use crate::{Error, Keyspace, Rows, check};

/// Arguments that mean something to some command, and others.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static str> = vec![
        "",
        "a",
        "b",
        "{t}",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "8388607",
        "1e4000",
        "-0x1p-16000",
        "inf",
        "nan",
        ".5",
        "NX",
        "XX",
        "GET",
        "EX",
        "PXAT",
        "KEEPTTL",
        "SYNC",
    ];
    prop_oneof![
        4 => proptest::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

fn command() -> impl Strategy<Value = (CommandId, Vec<Vec<u8>>)> {
    prop_oneof![
        (proptest::sample::select(CommandId::ALL), proptest::collection::vec(argument(), 0..6)),
        well_formed(),
    ]
}

/// A number that is of use as an offset, a bound, a count or an increment.
fn number() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![-40i64..40, -100_000i64..100_000, Just(i64::MAX), Just(i64::MIN), Just(8_388_000)]
        .prop_map(|number| number.to_string().into_bytes())
}

/// A command on keys with as many arguments as it takes, which as a rule mean something to it.
fn well_formed() -> impl Strategy<Value = (CommandId, Vec<Vec<u8>>)> {
    let ids: Vec<CommandId> = CommandId::ALL.iter().copied().filter(|id| rows(*id).is_some()).collect();
    let key = || proptest::sample::select(vec![b"a".to_vec(), b"b".to_vec(), vec![b'c'; 3_000]]);
    let value = || prop_oneof![number(), (0usize..5_000).prop_map(|len| vec![b'v'; len])];
    let keys = || proptest::collection::vec(key(), 1..20);
    let parts = (key(), value(), number(), number(), keys(), proptest::sample::select(vec!["GET", "NX", "XX"]));
    (proptest::sample::select(ids), parts).prop_map(|(id, (key, value, first, second, keys, option))| {
        let name = b"name".to_vec();
        let pairs = keys.iter().flat_map(|key| [key.clone(), value.clone()]);
        let args = match id {
            CommandId::Set if option == "NX" => vec![name, key, value],
            CommandId::Set => vec![name, key, value, b"GET".to_vec(), option.into()],
            CommandId::MSet | CommandId::MSetNx => std::iter::once(name).chain(pairs).collect(),
            CommandId::MGet | CommandId::Del | CommandId::Unlink | CommandId::Exists | CommandId::Touch => {
                std::iter::once(name).chain(keys).collect()
            }
            CommandId::GetRange | CommandId::SubStr => vec![name, key, first, second],
            CommandId::SetRange => vec![name, key, first, value],
            CommandId::ClusterGetKeysInSlot => vec![name, b"GETKEYSINSLOT".to_vec(), b"1".to_vec(), first],
            CommandId::Restore => vec![name, key, first, Payload::new(&value).parts().concat(), b"REPLACE".to_vec()],
            CommandId::Dump => vec![name, key],
            CommandId::Get | CommandId::GetDel | CommandId::StrLen | CommandId::Type => vec![name, key],
            CommandId::Incr | CommandId::Decr => vec![name, key],
            CommandId::SetNx | CommandId::GetSet | CommandId::Append => vec![name, key, value],
            CommandId::IncrBy | CommandId::DecrBy => vec![name, key, first],
            CommandId::IncrByFloat if option == "GET" => vec![name, key, b"-1.5e4900".to_vec()],
            CommandId::IncrByFloat => vec![name, key, first],
            _ => vec![name],
        };
        (id, args)
    })
}

/// The reply to a command, applied if it is a write and else queried.
fn reply_to(keyspace: &mut Keyspace, id: CommandId, request: &Request, protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, protocol);
    match find(id).map(|command| command.action) {
        Ok(Action::Apply(_)) => keyspace.apply(id, slot(), request.args()).write(&mut reply),
        _ => {
            keyspace.query(id, slot(), request.args(), 0, &mut reply);
        }
    }
    out
}

proptest! {
    // A failing case is printed; it is not to leave a file in the tree.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_log_is_applied_alike_everywhere(log in proptest::collection::vec(command(), 0..100)) {
        let mut leader = Keyspace::with_hash_seed(1);
        let mut follower = Keyspace::with_hash_seed(2);
        for (id, args) in &log {
            let request = Request::new(args);
            let outcome = leader.apply(*id, slot(), request.args());
            let (mut led, mut followed) = (Vec::new(), Vec::new());
            outcome.write(&mut Reply::new(&mut led, Protocol::Resp3));
            follower.apply(*id, slot(), request.args()).write(&mut Reply::new(&mut followed, Protocol::Resp3));
            prop_assert_eq!(led, followed);
            let mut read = Vec::new();
            leader.query(*id, slot(), request.args(), 0, &mut Reply::new(&mut read, Protocol::Resp2));
            prop_assert!(!read.is_empty());
        }
        prop_assert_eq!(leader.digest(), follower.digest());
        prop_assert_eq!(leader.keys_count(), follower.keys_count());
    }

    #[test]
    fn no_reply_is_longer_than_its_bound(log in proptest::collection::vec(command(), 0..60)) {
        let mut keyspaces = [Protocol::Resp2, Protocol::Resp3].map(|protocol| (protocol, Keyspace::new()));
        for (id, args) in &log {
            let request = Request::new(args);
            for (protocol, keyspace) in &mut keyspaces {
                let bound = keyspace.reply_bytes_bound(*id, slot(), request.args());
                let reply = reply_to(keyspace, *id, &request, *protocol);
                prop_assert!(reply.len() <= bound, "{id:?}: {} of {bound} bytes", reply.len());
                // Of a command without errors, what is not short is told exactly, except where options or types decide.
                let is_exact = bound <= SHORT_REPLY_BYTES_MAX || reply.len() == bound;
                let roughly =
                    [CommandId::IncrByFloat, CommandId::Set, CommandId::MGet, CommandId::Scan, CommandId::RandomKey];
                let may_be_shorter = roughly.contains(id) || check(*id, request.args()).is_err();
                prop_assert!(is_exact || may_be_shorter, "{id:?}: {} of {bound} bytes", reply.len());
            }
        }
    }

    #[test]
    fn what_passes_the_check_succeeds_without_keys((id, args) in command()) {
        let request = Request::new(&args);
        let is_checked = rows(id).is_some() && check(id, request.args()).is_ok();
        let mut keyspace = Keyspace::new();
        let reply = reply_to(&mut keyspace, id, &request, Protocol::Resp2);
        // An infinite increment is a number; only the sum is none.
        let needs_key = reply == format!("-{}\r\n", Error::NoSuchKey).as_bytes();
        let has_infinite_sum = reply == format!("-{}\r\n", Error::NanOrInfinity).as_bytes();
        prop_assert_eq!(is_checked, !reply.starts_with(b"-") || has_infinite_sum || needs_key, "{}", reply.escape_ascii());
    }

    #[test]
    fn a_command_touches_only_the_rows_that_it_names(
        log in proptest::collection::vec(command(), 0..20), (id, args) in well_formed(),
    ) {
        let mut keyspace = Keyspace::new();
        for (id, args) in &log {
            reply_to(&mut keyspace, *id, &Request::new(args), Protocol::Resp2);
        }
        let other = Slot::of_key(b"other");
        keyspace.apply(CommandId::Set, other, Request::new(&["SET", "other", "value"]).args());
        let values = |keyspace: &Keyspace, slot: Slot| -> BTreeMap<Vec<u8>, Vec<u8>> {
            keyspace.rows_in_slot(slot).map(|row| (row.key().to_vec(), row.value().to_vec())).collect()
        };
        let (before, other_before) = (values(&keyspace, slot()), values(&keyspace, other));
        let request = Request::new(&args);
        reply_to(&mut keyspace, id, &request, Protocol::Resp2);
        if rows(id) != Some(Rows::Group) {
            prop_assert_eq!(values(&keyspace, other), other_before, "another slot");
        }
        if rows(id) == Some(Rows::Keys) {
            let named: Vec<&[u8]> = resp::table::by_id(id).keys(request.args()).collect();
            let mut after = values(&keyspace, slot());
            let mut before = before;
            after.retain(|key, _| !named.contains(&key.as_slice()));
            before.retain(|key, _| !named.contains(&key.as_slice()));
            prop_assert_eq!(after, before, "another key");
        }
    }

    #[test]
    fn what_fails_the_check_changes_nothing((id, args) in command()) {
        let mut keyspace = Keyspace::new();
        run(&mut keyspace, "MSET a 1 b x {t} ~");
        let before = keyspace.digest();
        let request = Request::new(&args);
        if let Err(error) = check(id, request.args()) {
            let outcome = keyspace.apply(id, slot(), request.args());
            // Of a read, apply only sees that it is none of its own.
            let crate::Outcome::Error(applied) = outcome else { panic!("{outcome:?}") };
            prop_assert!(applied == error || applied == Error::Unsupported, "{applied:?}");
            prop_assert_eq!(keyspace.digest(), before);
        }
    }
}
