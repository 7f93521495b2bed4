//! Replies made from the table, read back with a reader of their own.

// All of this is test code, its helpers too.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use common::{Value, ask, read, serve, words};
use proptest::prelude::*;
use resp::hello::CLIENT_NAME_BYTES_MAX;
use resp::{Protocol, REDIS_VERSION_COMPATIBLE, Reply};

const BOTH: [Protocol; 2] = [Protocol::Resp2, Protocol::Resp3];

#[test]
fn command_describes_every_command_in_ten_elements() {
    for protocol in BOTH {
        let all = ask("COMMAND", protocol);
        let Value::Integer(count) = ask("COMMAND COUNT", protocol) else { panic!("a count is an integer") };
        assert_eq!(all.items().len() as i64, count);
        assert_eq!(all, ask("COMMAND INFO", protocol));
        for entry in all.items() {
            assert_eq!(entry.items().len(), 10);
            assert!(entry.items()[9].items().iter().all(|subcommand| subcommand.items().len() == 10));
        }
    }
}

#[test]
fn command_info_has_null_for_what_it_does_not_know() {
    let known = ask("COMMAND INFO get nope CLIENT|ID", Protocol::Resp2);
    let [get, Value::NullBulk, id] = known.items() else { panic!("{known:?}") };
    assert_eq!((get.items()[0].text(), id.items()[0].text()), ("get".into(), "client|id".into()));
    assert_eq!(ask("COMMAND INFO nope", Protocol::Resp3).items(), [Value::Null]);
}

#[test]
fn command_docs_leaves_out_what_it_does_not_know() {
    let Value::Map(docs) = ask("COMMAND DOCS GET nope client setnx", Protocol::Resp3) else { panic!("a map") };
    let names: Vec<String> = docs.iter().map(|(name, _)| name.text()).collect();
    assert_eq!(names, ["get", "client", "setnx"]);
    let fields = |value: &Value| match value {
        Value::Map(pairs) => pairs.iter().map(|(name, _)| name.text()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(fields(&docs[0].1), ["summary", "since", "group", "complexity"]);
    assert_eq!(fields(&docs[1].1)[4..], ["subcommands"]);
    assert_eq!(fields(&docs[2].1)[4..], ["doc_flags", "deprecated_since", "replaced_by"]);
    let flat = ask("COMMAND DOCS get", Protocol::Resp2);
    assert_eq!(flat.items()[1].items().len(), 8);
    assert!(matches!(ask("COMMAND DOCS", Protocol::Resp3), Value::Map(docs) if docs.len() > 30));
}

/// A command's name repeated as often as a request allows.
fn a_million(words: &[&[u8]], repeated: &[u8]) -> Vec<u8> {
    let mut args = words.to_vec();
    args.resize(types::limits::ARGUMENTS_COUNT_MAX, repeated);
    serve(&common::request(&args), Protocol::Resp3)
}

#[test]
fn command_docs_answers_each_name_once() {
    let Value::Map(docs) = ask("COMMAND DOCS GET set get CLIENT|ID Get client|id", Protocol::Resp3) else {
        panic!("a map")
    };
    let names: Vec<String> = docs.iter().map(|(name, _)| name.text()).collect();
    assert_eq!(names, ["get", "set", "client|id"]);
    let once = serve(&words("COMMAND DOCS cluster"), Protocol::Resp3);
    assert!(a_million(&[b"COMMAND", b"DOCS"], b"cluster") == once, "the reply is that to the name alone");
}

#[test]
fn command_info_takes_a_limited_number_of_names() {
    let line = |count: usize| format!("COMMAND INFO {}", "cluster ".repeat(count));
    let most = serve(&words(&line(1_024)), Protocol::Resp3);
    assert!(most.starts_with(b"*1024\r\n") && most.len() < 8 << 20, "{}", most.len());
    let refused = Value::Error("ERR COMMAND INFO takes at most 1024 names: ask for fewer at a time".into());
    assert_eq!(ask(&line(1_025), Protocol::Resp3), refused);
    let reply = a_million(&[b"COMMAND", b"INFO"], b"cluster");
    assert_eq!(read(&reply).unwrap().0, refused);
}

#[test]
fn no_other_reply_about_commands_outgrows_its_request() {
    let list = serve(&words("COMMAND LIST"), Protocol::Resp3);
    let reply = a_million(&[b"COMMAND", b"GETKEYS", b"MGET"], b"k");
    assert!(reply.len() < types::limits::ARGUMENTS_COUNT_MAX * 7 + 20, "{}", reply.len());
    let stars = [b"*".repeat(200_000), b"nope".to_vec()].concat();
    let request = common::request(&[b"COMMAND", b"LIST", b"FILTERBY", b"PATTERN", &stars]);
    assert_eq!(serve(&request, Protocol::Resp3), b"*0\r\n");
    assert!(list.len() < 4_096);
}

#[test]
fn a_name_from_hello_is_as_short_as_one_from_client_setname() {
    let longest = "n".repeat(CLIENT_NAME_BYTES_MAX);
    assert_eq!(ask(&format!("HELLO 3 SETNAME {longest}"), Protocol::Resp2).items().len(), 14);
    let refused = Value::Error("ERR Client names cannot contain spaces, newlines or special characters.".into());
    assert_eq!(ask(&format!("HELLO 3 SETNAME {longest}n"), Protocol::Resp2), refused);
    let name = vec![b'n'; types::limits::VALUE_BYTES_MAX];
    let reply = serve(&common::request(&[b"HELLO", b"3", b"SETNAME", &name]), Protocol::Resp2);
    assert_eq!(read(&reply).unwrap().0, refused);
}

#[test]
fn command_list_filters() {
    let list = |filter: &str| ask(&format!("COMMAND LIST {filter}"), Protocol::Resp2).sorted();
    let all = list("");
    assert!(all.contains(&"get".into()) && all.contains(&"cluster|slots".into()));
    assert_eq!(list("FILTERBY PATTERN *"), all);
    assert_eq!(list("filterby pattern CLIENT|I*"), ["client|id", "client|info"]);
    assert!(list("FILTERBY ACLCAT Read").contains(&"mget".into()));
    assert!(list("FILTERBY ACLCAT nope").is_empty() && list("FILTERBY MODULE x").is_empty());
    for wrong in ["FILTERBY", "FILTERBY PATTERN", "FILTERBY nope x", "x PATTERN *", "FILTERBY PATTERN * *"] {
        assert_eq!(ask(&format!("COMMAND LIST {wrong}"), Protocol::Resp2), Value::Error("ERR syntax error".into()));
    }
}

#[test]
fn help_comes_from_the_table() {
    for container in ["COMMAND", "CLIENT", "CLUSTER", "CONFIG"] {
        let help = ask(&format!("{container} help"), Protocol::Resp3);
        let lines: Vec<String> = help.items().iter().map(Value::text).collect();
        assert_eq!(lines[0], format!("{container} takes one of these subcommands:"));
        assert_eq!(lines[lines.len() - 2..], ["HELP".to_owned(), "    Returns this text.".to_owned()]);
    }
}

#[test]
fn what_would_change_the_cluster_names_the_tool_for_it() {
    let Value::Error(text) = ask("CLUSTER meet 127.0.0.1 7000", Protocol::Resp2) else { panic!("an error") };
    assert_eq!(text, "ERR CLUSTER MEET is not served: nodes and slots are fixed when the cluster is formed");
}

#[test]
fn an_echo_in_an_error_is_cleaned_and_bounded() {
    let lines = common::request(&[b"no\r\npe", b"a\nb\0c"]);
    let expected = "-ERR unknown command 'no  pe', with args beginning with: 'a b' \r\n";
    assert_eq!(String::from_utf8(serve(&lines, Protocol::Resp2)).unwrap(), expected);
    let long = vec![b'x'; 1 << 20];
    assert!(serve(&common::request(&[&long, &long, &long]), Protocol::Resp2).len() < 400);
    assert!(serve(&common::request(&[b"CLIENT", &long]), Protocol::Resp2).len() < 400);
    assert!(serve(&common::request(&[b"HELLO", b"3", &long]), Protocol::Resp2).len() < 400);
}

#[test]
fn hello_greets_with_seven_pairs() {
    let Value::Map(pairs) = ask("HELLO 3 AUTH user pass SETNAME me", Protocol::Resp3) else { panic!("a map") };
    let names: Vec<String> = pairs.iter().map(|(name, _)| name.text()).collect();
    assert_eq!(names, ["server", "version", "proto", "id", "mode", "role", "modules"]);
    assert_eq!(pairs[1].1.text(), REDIS_VERSION_COMPATIBLE);
    assert_eq!(pairs[2].1, Value::Integer(3));
    assert_eq!(ask("HELLO", Protocol::Resp2).items().len(), 14);
}

#[test]
fn moved_names_slot_and_address() {
    assert_eq!(resp::errors::moved(3999, "127.0.0.1", 6381), "MOVED 3999 127.0.0.1:6381");
}

proptest! {
    #[test]
    fn replies_read_back_as_they_were_written(
        integers in proptest::collection::vec(any::<i64>(), 0..4),
        strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..4),
        text in "[ -~]{0,40}", message: Vec<u8>,
    ) {
        for protocol in BOTH {
            let mut out = Vec::new();
            let mut reply = Reply::new(&mut out, protocol);
            reply.array(4);
            reply.set(integers.len());
            integers.iter().for_each(|integer| reply.integer(*integer));
            reply.map(strings.len());
            strings.iter().for_each(|string| { reply.bulk(string); reply.null(); });
            reply.verbatim(&text);
            reply.error_bytes(&message);

            let (value, rest) = read(&out).unwrap();
            prop_assert!(rest.is_empty());
            let items = value.items();
            let expected: Vec<Value> = integers.iter().map(|integer| Value::Integer(*integer)).collect();
            prop_assert_eq!(items[0].items(), &expected[..]);
            let read_back: Vec<Value> = match &items[1] {
                Value::Map(pairs) => pairs.iter().map(|(key, _)| key.clone()).collect(),
                flat => flat.items().iter().step_by(2).cloned().collect(),
            };
            prop_assert_eq!(read_back, strings.iter().map(|string| Value::Bulk(string.clone())).collect::<Vec<_>>());
            prop_assert_eq!(items[2].text(), text.clone());
            prop_assert!(matches!(items[3], Value::Error(_)));
        }
    }

    #[test]
    fn any_request_that_resolves_to_nothing_is_one_error_line(args: Vec<Vec<u8>>) {
        let parts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let first = parts.first().copied().unwrap_or_default();
        prop_assume!(!parts.is_empty() && resp::lookup(first).is_none());
        let out = serve(&common::request(&parts), Protocol::Resp2);
        prop_assert!(out.starts_with(b"-ERR unknown command '"));
        prop_assert_eq!(out.iter().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).count(), 2);
    }
}
