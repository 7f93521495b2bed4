//! The program against servers that answer wrongly, late, or not at all: what it says, and its exit code.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod canned;

use std::io::Write;
use std::time::{Duration, Instant};

use canned::{bulk, code, ctl, int, list, map, nowhere, serve, told};

/// What a cluster of two nodes says of which the other one cannot be reached: all as it should be, but for `lacks`.
fn cluster(words: &str, other_state: &str, other_gateway: &str, lacks: &[&str]) -> String {
    let node = |id: i64, state: &str, gateway: &str| {
        map(&[
            ("id", int(id)),
            ("state", bulk(state)),
            ("gateway", bulk(gateway)),
            ("heard_ms", int(1_000)),
            ("copies", int(1)),
        ])
    };
    let lacks: Vec<String> = lacks.iter().map(|lack| bulk(lack)).collect();
    match words {
        "CORACLE STATUS" => map(&[("cluster", bulk("c")), ("node", int(1)), ("alarms", list(&[]))]),
        "CORACLE NODES" => list(&[node(1, "here", "127.0.0.1:1"), node(2, other_state, other_gateway)]),
        "CORACLE GROUPS" => list(&[map(&[
            ("id", int(0)),
            ("leader", bulk("1/0")),
            ("replicas", list(&[bulk("1@1/0")])),
            ("is_led_here", int(1)),
            ("progress", list(&[map(&[("id", int(9)), ("place", bulk("2/0")), ("role", bulk("voter"))])])),
            ("lacks", list(&lacks)),
        ])]),
        "CORACLE MOVE 0 1 2" => int(9),
        "CORACLE TOKEN" | "CORACLE TOKEN EX 60" => bulk("ffeeddccbbaa99887766554433221100"),
        "CORACLE REPLACE 2" => bulk("00112233445566778899aabbccddeeff"),
        _ => "+PONG\r\n".to_owned(),
    }
}

fn sound(other_state: &'static str, lacks: &'static [&'static str]) -> String {
    let gateway = nowhere();
    serve(move |stream, words| stream.write_all(cluster(words, other_state, &gateway, lacks).as_bytes()).unwrap())
}

#[test]
fn nobody_who_listens_is_exit_code_4_and_each_address_is_named() {
    let (one, other) = (nowhere(), nowhere());
    for command in [&["status"][..], &["nodes"], &["groups"], &["replace", "1"], &["get"], &["set", "a=b"]] {
        let output = ctl(&[&["--addr", &format!("{one},{other}")], command].concat());
        let told = told(&output);
        assert_eq!(code(&output), 4, "{told}");
        assert!(told.contains(&format!("{one}: nobody listens there")) && told.contains(&other), "{told}");
        assert!(told.contains("--addr"), "it says what to do: {told}");
    }
}

#[test]
fn the_next_address_is_tried_and_a_node_that_says_nothing_takes_its_time_out_only() {
    let (silent, sound) = (serve(|_, _| {}), sound("up", &[]));
    let begin = Instant::now();
    let output = ctl(&["--addr", &silent, "--addr", &sound, "--timeout", "0.3", "nodes"]);
    assert_eq!(code(&output), 0, "{}", told(&output));
    let took = begin.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let output = ctl(&["--addr", &silent, "--timeout", "0.2", "status"]);
    assert_eq!(code(&output), 4);
    assert!(told(&output).contains("no answer within 200 ms"), "{}", told(&output));
}

#[test]
fn others_than_nodes_are_told_apart() {
    let http = serve(|stream, _| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap());
    let output = ctl(&["--addr", &http, "status"]);
    assert_eq!(code(&output), 4);
    assert!(told(&output).contains("does not speak RESP"), "{}", told(&output));
    let redis = serve(|stream, words| {
        let reply = if words == "PING" {
            "+PONG\r\n"
        } else {
            "-ERR unknown command 'CORACLE', with args beginning with: \r\n"
        };
        stream.write_all(reply.as_bytes()).unwrap();
    });
    let output = ctl(&["--addr", &redis, "status"]);
    assert_eq!(code(&output), 1);
    assert!(told(&output).contains("is no node of Coracle that knows CORACLE STATUS"), "{}", told(&output));
    let closing = serve(|stream, _| stream.shutdown(std::net::Shutdown::Both).unwrap());
    let output = ctl(&["--addr", &closing, "status"]);
    assert_eq!(code(&output), 4, "{}", told(&output));
}

#[test]
fn refusals_are_exit_code_1_and_wrong_words_2() {
    let refusing = serve(|stream, words| {
        let reply = match words {
            "CORACLE REPLACE 2" => "-ERR node 2 is there: stop it first\r\n".to_owned(),
            words => cluster(words, "up", "127.0.0.1:1", &[]),
        };
        stream.write_all(reply.as_bytes()).unwrap();
    });
    let output = ctl(&["--addr", &refusing, "replace", "2"]);
    assert_eq!((code(&output), told(&output).as_str()), (1, "coracle-ctl: node 2 is there: stop it first\n"));
    let output = ctl(&["--addr", &refusing, "replace", "7"]);
    assert_eq!(code(&output), 2);
    assert!(told(&output).contains("there is no node 7: the nodes are 1, 2"), "{}", told(&output));
    for wrong in
        [&["nosuch"][..], &["replace"], &["set", "x"], &["status", "--wait-max", "3"], &["--timeout", "0", "status"]]
    {
        assert_eq!(code(&ctl(wrong)), 2, "{wrong:?}");
    }
}

#[test]
fn a_node_that_cannot_be_reached_is_told_and_the_others_are_shown() {
    let output = ctl(&["--addr", &sound("up", &[]), "status"]);
    let shown = told(&output);
    assert_eq!(code(&output), 0, "{shown}");
    assert!(shown.contains("not reached: nobody") && shown.contains("groups  1, all at full"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no colours but on a terminal: {shown:?}");
    let output = ctl(&["--addr", &sound("up", &[]), "--json", "status"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["is_whole"], &json["groups_full"]), (&true.into(), &1.into()), "{json}");
    assert_eq!(json["answers"][1]["error"], "nobody listens there");
}

#[test]
fn what_is_waited_for_too_long_is_exit_code_3_and_names_what_is_left() {
    let begin = Instant::now();
    let lacking = sound("up", &["replica 7 on 2/0 is not heard"]);
    let output = ctl(&["--addr", &lacking, "status", "--wait", "--wait-max", "1"]);
    let shown = told(&output);
    assert_eq!(code(&output), 3, "{shown}");
    assert!(shown.contains("0 of 1 group at full strength") && shown.contains("still under way"), "{shown}");
    assert!(begin.elapsed() < Duration::from_secs(8));
    // The token is told before anybody waits.
    let output = ctl(&["--addr", &sound("down", &[]), "replace", "2", "--wait", "--wait-max", "0.1"]);
    let shown = told(&output);
    assert_eq!(code(&output), 3, "{shown}");
    assert!(shown.contains("--join 00112233445566778899aabbccddeeff"), "{shown}");
    let output = ctl(&["--addr", &sound("up", &[]), "status", "--wait"]);
    assert_eq!(code(&output), 0, "{}", told(&output));
}

#[test]
fn moves_and_transfers_are_waited_for() {
    let done = sound("up", &[]);
    let output = ctl(&["--addr", &done, "move", "0", "1", "2", "--wait"]);
    let shown = told(&output);
    assert_eq!(code(&output), 0, "{shown}");
    assert!(shown.contains("Replica 9 of group 0 begins on 2") && shown.contains("It votes"), "{shown}");
    let output = ctl(&["--addr", &done, "--json", "transfer", "0", "1", "--wait"]);
    assert_eq!((code(&output), told(&output).as_str()), (0, "{\"group\":0,\"node\":\"1\",\"is_done\":true}\n"));
    let output = ctl(&["--addr", &done, "transfer", "0", "2", "--wait", "--wait-max", "0.1"]);
    assert_eq!(code(&output), 3);
    assert!(told(&output).contains("group 0 is led by 1/0"), "{}", told(&output));
    let leaving = sound("up", &["replica 1 on 1/0 is to leave"]);
    let output = ctl(&["--addr", &leaving, "--json", "move", "0", "1", "2", "--wait", "--wait-max", "0.1"]);
    assert_eq!(code(&output), 3);
    assert!(
        told(&output).contains("\"is_done\":false") && told(&output).contains("is to leave"),
        "{}",
        told(&output)
    );
    let output = ctl(&["--addr", &done, "move", "7", "1", "2"]);
    assert_eq!(code(&output), 1, "{}", told(&output));
}

#[test]
fn new_nodes_are_handed_a_token_and_others_are_waited_for_until_they_are_gone() {
    let node = sound("up", &[]);
    for (args, ttl) in [(&["token"][..], 3_600), (&["token", "--ttl", "60"], 60)] {
        let output = ctl(&[&["--addr", &node, "--json"], args].concat());
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&json["token"], &json["good_for_s"]), (&"ffeeddccbbaa99887766554433221100".into(), &ttl.into()));
    }
    let output = ctl(&["--addr", &node, "remove", "2", "--wait", "--wait-max", "0.1"]);
    assert_eq!(code(&output), 3);
    assert!(told(&output).contains("node 2 is still there"), "{}", told(&output));
    let output = ctl(&["--addr", &node, "--json", "remove", "7", "--wait"]);
    let done = "{\"node\":7,\"is_done\":false}\n{\"node\":7,\"is_done\":true}\n";
    assert_eq!((code(&output), told(&output).as_str()), (0, done));
}
