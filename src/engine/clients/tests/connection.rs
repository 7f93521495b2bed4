//! Commands that concern the connection alone.

use std::time::Duration;

use super::*;
use resp::Protocol;

fn ask(world: &mut World, idx: u32, line: &str) -> String {
    world.receive(conn(idx), &format!("{line}\r\n"));
    world.output(conn(idx))
}

#[test]
fn hello_changes_the_protocol_from_its_own_reply_on() {
    let mut world = World::new(1, |_| {});
    assert!(ask(&mut world, 0, "HELLO").starts_with("*14\r\n"));
    world.receive(conn(0), "GET a\r\nHELLO 3 SETNAME me\r\nGET b\r\n");
    assert_eq!(world.clients.protocol(conn(0)), Protocol::Resp3);
    world.answer_with("a", |reply| reply.null());
    world.answer_with("b", |reply| reply.null());
    let output = world.output(conn(0));
    assert!(output.starts_with("$-1\r\n%7\r\n") && output.ends_with("\r\n_\r\n"), "{output}");
    assert_eq!(ask(&mut world, 0, "CLIENT GETNAME"), "$2\r\nme\r\n");
    assert!(ask(&mut world, 0, "HELLO 2").starts_with("*14\r\n"));
}

#[test]
fn a_hello_that_is_refused_changes_nothing() {
    let mut world = World::new(1, |_| {});
    for (line, code) in [
        ("HELLO 4", "-NOPROTO"),
        ("HELLO 3 AUTH other password SETNAME me", "-WRONGPASS"),
        ("HELLO 3 SETNAME", "-ERR"),
    ] {
        let reply = ask(&mut world, 0, line);
        assert!(reply.starts_with(code), "{line}: {reply}");
        assert_eq!(world.clients.protocol(conn(0)), Protocol::Resp2, "{line}");
    }
    assert_eq!(ask(&mut world, 0, "CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(world.ctx.counters.error_replies, 3);
    assert!(ask(&mut world, 0, "HELLO 3 AUTH default any").starts_with("%7\r\n"));
}

#[test]
fn reset_forgets_the_name_and_the_protocol() {
    let mut world = World::new(1, |_| {});
    ask(&mut world, 0, "HELLO 3 SETNAME me");
    assert_eq!(ask(&mut world, 0, "RESET"), "+RESET\r\n");
    assert_eq!(world.clients.protocol(conn(0)), Protocol::Resp2);
    assert_eq!(ask(&mut world, 0, "CLIENT GETNAME"), "$-1\r\n");
}

#[test]
fn names_and_libraries_are_words_without_spaces() {
    let mut world = World::new(1, |_| {});
    assert_eq!(ask(&mut world, 0, "CLIENT SETNAME me"), "+OK\r\n");
    assert!(ask(&mut world, 0, "CLIENT SETNAME \"a b\"").starts_with("-ERR Client names cannot contain"));
    assert_eq!(ask(&mut world, 0, "CLIENT GETNAME"), "$2\r\nme\r\n", "the former one stays");
    assert_eq!(ask(&mut world, 0, "CLIENT SETINFO lib-name redis-rs"), "+OK\r\n");
    assert_eq!(ask(&mut world, 0, "CLIENT SETINFO LIB-VER 1.2"), "+OK\r\n");
    let refused = "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n";
    assert_eq!(ask(&mut world, 0, "CLIENT SETINFO LIB-NAME \"a b\""), refused);
    assert_eq!(ask(&mut world, 0, &format!("CLIENT SETINFO lib-name {}", long(1_025))), refused);
    assert_eq!(ask(&mut world, 0, "CLIENT SETINFO nosuch x"), "-ERR Unrecognized option 'nosuch'\r\n");
    let info = ask(&mut world, 0, "CLIENT INFO");
    assert!(info.contains(" name=me ") && info.contains(" lib-name=redis-rs lib-ver=1.2 "), "{info}");
    assert_eq!(ask(&mut world, 0, "CLIENT NO-EVICT on"), "+OK\r\n");
    assert_eq!(ask(&mut world, 0, "CLIENT NO-TOUCH maybe"), "-ERR syntax error\r\n");
}

#[test]
fn client_list_shows_every_client_or_those_asked_for() {
    let mut world = World::new(1, |_| {});
    world.ctx.now += Duration::from_secs(5);
    world.accept(conn(1), Port::Core);
    world.receive(conn(0), "GET abcde\r\nSET b xx");
    world.ctx.now += Duration::from_secs(2);
    let all = ask(&mut world, 1, "CLIENT LIST");
    let lines: Vec<&str> = all.lines().filter(|line| line.starts_with("id=")).collect();
    assert_eq!(lines.len(), 2, "{all}");
    assert!(lines[0].starts_with("id=1 addr=10.0.0.1:5000 laddr=127.0.0.1:1000 fd=0 name= age=7 idle=2 "), "{all}");
    for field in [" qbuf=8 ", " argv-mem=8 ", " cmd=get ", " resp=2 ", " tot-net-in=19 ", " tot-cmds=1"] {
        assert!(lines[0].contains(field), "{field}: {all}");
    }
    assert!(lines[1].starts_with("id=2 addr=10.0.0.1:5001 laddr=127.0.0.1:2000 fd=1 name= age=2 idle=0 "), "{all}");
    assert!(lines[1].contains(" cmd=client|list "), "{all}");
    let one = ask(&mut world, 1, "CLIENT LIST ID 1 9");
    assert!(one.contains("id=1 ") && !one.contains("id=2 "), "{one}");
    assert_eq!(ask(&mut world, 1, "CLIENT LIST ID x"), "-ERR Invalid client ID\r\n");
    assert_eq!(ask(&mut world, 1, "CLIENT ID"), ":2\r\n");
    ask(&mut world, 1, "NOSUCH");
    assert!(ask(&mut world, 0, "CLIENT LIST").is_empty(), "client 1 has half of another command before it");
    assert_eq!(world.clients.port(conn(1)), Some(Port::Core));
    assert_eq!((world.clients.port(conn(0)), world.clients.port(conn(2))), (Some(Port::Gateway), None));
}

#[test]
fn only_what_a_client_sends_ends_its_idleness() {
    let mut world = World::new(2, |_| {});
    world.full_routes.insert("a", 7);
    world.receive(conn(0), "GET a\r\n");
    world.ctx.now += Duration::from_secs(9);
    world.full_routes.clear();
    world.clients.unblock_route(7);
    assert_eq!((world.resume(), world.taken.len()), (vec![conn(0)], 1));
    world.answer("a");
    assert_eq!(world.output(conn(0)), "+a\r\n");
    let list = ask(&mut world, 1, "CLIENT LIST ID 1");
    assert!(list.contains(" idle=9 "), "{list}");
    world.receive(conn(0), "GET");
    let list = ask(&mut world, 1, "CLIENT LIST ID 1");
    assert!(list.contains(" idle=0 "), "{list}");
}

#[test]
fn numbers_of_clients_are_not_given_twice() {
    let mut world = World::new(1, |_| {});
    world.clients.closed(conn(0));
    world.accept(ConnId { idx: 0, generation: 1 }, Port::Gateway);
    world.receive(ConnId { idx: 0, generation: 1 }, "CLIENT ID\r\n");
    assert_eq!(world.output(ConnId { idx: 0, generation: 1 }), ":2\r\n");
    assert_eq!(world.ctx.counters.connections_received, 2);
}
