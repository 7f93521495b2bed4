//! Replies leave in the order of the requests, whatever finishes first.

use super::*;

#[test]
fn replies_leave_in_the_order_of_the_requests() {
    let mut world = World::new(2, |_| {});
    world.receive(conn(0), "GET a\r\nGET b\r\nPING\r\nGET c\r\nNOSUCH\r\n");
    world.receive(conn(1), "GET d\r\n");
    world.answer("c");
    world.answer("b");
    assert_eq!(world.output(conn(0)), "");
    world.answer("d");
    assert_eq!(world.output(conn(1)), "+d\r\n", "another client's order is its own");
    world.answer("a");
    assert!(world.output(conn(0)).starts_with("+a\r\n+b\r\n+PONG\r\n+c\r\n-ERR unknown command"));
    assert_eq!((world.ctx.counters.commands_processed, world.ctx.counters.error_replies), (6, 1));
}

#[test]
fn what_was_written_is_counted_once_and_never_gets_less() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "GET a\r\nGET b\r\nGET c\r\nGET d\r\n");
    let mut written = 0;
    // The second stays where it waited for the first, beside the fourth, until that leaves too.
    for (key, len) in [("b", 100), ("d", 1), ("a", 1), ("c", 1)] {
        world.answer_with(key, |reply| reply.simple(&"x".repeat(len)));
        written += "+\r\n".len() + len;
        assert_eq!(world.clients.written_bytes(), written as u64, "behind {key}");
    }
}

#[test]
fn one_send_is_on_its_way_and_the_next_takes_what_has_collected() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "PING 1\r\n");
    world.flush();
    world.receive(conn(0), "PING 2\r\nPING 3\r\n");
    world.flush();
    let first = world.net.take_send(conn(0)).unwrap();
    assert_eq!(first.len(), "$1\r\n1\r\n".len());
    world.clients.sent(&world.ctx, conn(0), first);
    world.flush();
    let second = world.net.take_send(conn(0)).unwrap();
    assert_eq!(second.len(), 2 * "$1\r\n1\r\n".len());
    assert_eq!(world.ctx.counters.client_bytes_sent, 21);
    assert!(!world.clients.are_served());
    world.clients.sent(&world.ctx, conn(0), second);
    assert!(world.clients.are_served());
    world.receive(conn(0), "GET a\r\n");
    assert!(!world.clients.are_served(), "an answer is owed");
}

#[test]
fn a_command_is_whole_only_with_its_last_byte() {
    let mut world = World::new(1, |_| {});
    for byte in "*2\r\n$3\r\nGET\r\n$1\r\na\r\nGET b\r\n".chars() {
        world.receive(conn(0), &byte.to_string());
    }
    assert_eq!(world.taken, ["a", "b"]);
    assert_eq!(world.ctx.counters.client_bytes_received, 27);
}

#[test]
fn commands_on_all_groups_are_answered_once_all_parts_are_there() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "DBSIZE\r\nGET a\r\nFLUSHALL\r\nFLUSHALL\r\nFLUSHALL NOSUCH\r\n");
    world.answer("a");
    world.answer_with("part", |reply| reply.integer(2));
    assert_eq!(world.output(conn(0)), "");
    world.answer_with("part", |reply| reply.integer(40));
    assert_eq!(world.output(conn(0)), ":42\r\n+a\r\n");
    world.answer_with("part", |reply| reply.ok());
    world.answer_with("part", |reply| reply.ok());
    world.answer_with("part", |reply| reply.error("CLUSTERDOWN no"));
    world.answer_with("part", |reply| reply.ok());
    assert_eq!(world.output(conn(0)), "+OK\r\n-CLUSTERDOWN no\r\n-ERR syntax error\r\n");
}

#[test]
fn replies_of_a_client_that_is_gone_reach_nobody() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "GET a\r\nDBSIZE\r\n");
    world.clients.closed(conn(0));
    let heir = ConnId { idx: 0, generation: 1 };
    world.accept(heir, Port::Gateway);
    world.receive(heir, "GET b\r\nPING\r\n");
    world.answer("a");
    world.answer("part");
    world.answer("part");
    assert_eq!(world.output(heir), "", "the place has another client");
    world.answer("b");
    assert_eq!(world.output(heir), "+b\r\n+PONG\r\n");
    assert!(!world.clients.has(conn(0)) && world.clients.has(heir));
    let get = resp::lookup(b"get").unwrap();
    assert!(world.clients.open(&world.ctx, conn(0), get, 1, None).is_none());
    assert!(world.clients.is_closing(conn(0)) && !world.clients.is_closing(heir));
}

#[test]
fn commands_that_name_no_group_are_answered_in_order_and_counted_as_rejected() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "GET a\r\nMGET a b\r\nCLUSTER COUNTKEYSINSLOT 16384\r\nCLUSTER GETKEYSINSLOT 1 -1\r\n");
    world.answer("a");
    let expected = [
        "+a\r\n",
        "-CROSSSLOT Keys in request don't hash to the same slot\r\n",
        "-ERR Invalid or out of range slot\r\n",
        "-ERR Invalid slot or number of keys\r\n",
    ];
    assert_eq!(world.output(conn(0)), expected.concat());
    assert_eq!((world.ctx.counters.commands_processed, world.ctx.counters.error_replies), (4, 3));
    let counts = world.ctx.counts();
    for name in ["refused_cross_slot", "refused_invalid_slot", "refused_invalid_keys_count"] {
        assert!(counts.contains(&(name, 1)), "{name}");
    }
}

#[test]
fn a_long_reply_has_room_beside_nothing_and_a_short_one_always() {
    let mut world = World::new(1, |config| {
        config.limits.client_replies_bytes_max = 200 << 10;
        config.settings.client_output_bytes_max = 1 << 20;
    });
    world.receive(conn(0), "GET a\r\nGET b\r\n");
    let origin = world.open[1].1;
    assert!(world.clients.has_room(origin, 900 << 10), "nothing waits for it");
    world.answer_with("a", |reply| reply.bulk(&vec![b'x'; 150 << 10]));
    assert!(world.clients.has_room(origin, 49 << 10) && !world.clients.has_room(origin, 51 << 10));
    assert!(world.clients.has_room(origin, 0), "below the limit");
    world.answer_with("b", |reply| reply.bulk(&vec![b'x'; 60 << 10]));
    assert!(!world.clients.has_room(origin, 0), "beyond it");
    world.output(conn(0));
    let mut others = world.ctx.budget.permit(Pool::Links);
    others.set(REQUESTS_BYTES_MAX);
    assert!(!world.clients.has_room(origin, 100 << 10), "requests hold all the memory that they may");
    assert!(world.clients.has_room(origin, 64 << 10), "it is short");
    world.clients.closed(conn(0));
    assert!(world.clients.has_room(origin, 100 << 10), "nobody is there, nothing will be written");
}
