//! Clients that go, and clients that are sent away.

use std::time::Duration;

use super::*;

#[test]
fn behind_quit_nothing_is_executed_and_the_connection_ends_with_the_last_reply() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "GET a\r\nQUIT\r\nGET b\r\nSET c xxx");
    world.receive(conn(0), "GET d\r\n");
    assert_eq!((&world.taken[..], world.used(Pool::ClientInput)), (&["a".to_owned()][..], 0));
    assert_eq!((world.output(conn(0)), world.net.take_closed()), (String::new(), vec![]), "an answer is owed");
    world.answer("a");
    world.flush();
    assert_eq!(world.net.take_closed(), [], "it has not left");
    assert_eq!((world.output(conn(0)), world.net.take_closed()), ("+a\r\n+OK\r\n".to_owned(), vec![conn(0)]));
}

#[test]
fn bytes_behind_quit_are_dropped_and_not_read_without_end() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "QUIT\r\n");
    for _ in 0..16 {
        world.receive(conn(0), &long(DISCARD_BYTES_MAX / 16));
    }
    assert_eq!((world.net.take_calls(), world.used(Pool::ClientInput)), (vec![], 0));
    world.receive(conn(0), "x");
    world.receive(conn(0), "x");
    assert_eq!((world.net.take_calls(), world.used(Pool::ClientInput)), (vec![NetCall::Pause(conn(0))], 0));
}

#[test]
fn bytes_that_are_no_command_are_told_and_end_the_connection() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "GET a\r\n*x\r\nGET b\r\n");
    world.receive(conn(0), "GET c\r\n");
    assert_eq!((world.taken.len(), world.used(Pool::ClientInput)), (1, 0));
    world.answer("a");
    assert_eq!(world.output(conn(0)), "+a\r\n-ERR Protocol error: invalid multibulk length\r\n");
    assert_eq!(world.net.take_closed(), [conn(0)]);
    assert_eq!((world.ctx.counters.protocol_errors, world.ctx.counters.error_replies), (1, 1));
}

#[test]
fn http_is_closed_without_a_reply() {
    for line in ["POST / HTTP/1.1\r\n", "Host: example.com\r\n"] {
        let mut world = World::new(1, |_| {});
        world.receive(conn(0), &format!("PING\r\n{line}SET a 1\r\n"));
        assert_eq!((world.taken.len(), world.output(conn(0))), (0, "+PONG\r\n".to_owned()), "{line}");
        assert_eq!(world.net.take_closed(), [conn(0)]);
        assert_eq!(world.ctx.counters.cross_protocol_refused, 1);
        assert_eq!((world.ctx.counters.error_replies, world.ctx.counters.commands_processed), (0, 1));
    }
}

#[test]
fn a_client_that_has_sent_its_last_byte_is_answered_and_then_closed() {
    let mut world = World::new(2, |_| {});
    world.receive(conn(0), "GET a\r\nGET b\r\nSET c");
    world.clients.receive_ended(conn(0));
    world.clients.receive_ended(conn(1));
    world.flush();
    assert_eq!(world.net.take_closed(), [conn(1)], "nothing is owed to it");
    world.answer("a");
    assert_eq!((world.output(conn(0)), world.net.take_closed()), ("+a\r\n".to_owned(), vec![]));
    world.answer("b");
    assert_eq!((world.output(conn(0)), world.net.take_closed()), ("+b\r\n".to_owned(), vec![conn(0)]));
}

#[test]
fn a_client_that_waits_when_it_ends_is_answered_everything() {
    let mut world = World::new(1, |_| {});
    world.full_routes.insert("b", 7);
    world.receive(conn(0), "GET a\r\nGET b\r\nGET c\r\n");
    world.clients.receive_ended(conn(0));
    world.answer("a");
    assert_eq!((world.output(conn(0)), world.net.take_closed()), ("+a\r\n".to_owned(), vec![]));
    world.clients.unblock_route(7);
    assert_eq!(world.resume(), [conn(0)]);
    world.flush();
    assert_eq!(world.net.take_closed(), [], "it waits again");
    world.full_routes.clear();
    world.clients.unblock_route(7);
    world.resume();
    world.answer("b");
    world.answer("c");
    assert_eq!((world.output(conn(0)), world.net.take_closed()), ("+b\r\n+c\r\n".to_owned(), vec![conn(0)]));
}

#[test]
fn a_client_that_ends_between_its_waking_and_its_turn_is_answered_everything() {
    let mut world = World::new(1, |_| {});
    world.full_routes.insert("a", 7);
    world.receive(conn(0), "GET a\r\n");
    world.full_routes.clear();
    world.clients.unblock_route(7);
    world.clients.receive_ended(conn(0));
    world.flush();
    assert_eq!(world.net.take_closed(), [], "its command was not executed yet");
    assert_eq!((world.resume(), world.taken.len()), (vec![conn(0)], 1));
    world.answer("a");
    assert_eq!((world.output(conn(0)), world.net.take_closed()), ("+a\r\n".to_owned(), vec![conn(0)]));
}

#[test]
fn a_client_that_has_waited_once_ends_like_any_other() {
    let mut world = World::new(1, |_| {});
    world.full_routes.insert("a", 7);
    world.receive(conn(0), "GET a\r\n");
    world.full_routes.clear();
    world.clients.unblock_route(7);
    world.resume();
    world.answer("a");
    assert_eq!(world.output(conn(0)), "+a\r\n");
    world.clients.receive_ended(conn(0));
    world.flush();
    assert_eq!(world.net.take_closed(), [conn(0)]);
}

#[test]
fn clients_that_take_nothing_for_long_are_closed_and_those_that_progress_are_not() {
    let mut world = World::new(3, |config| config.settings.client_stall_timeout = Duration::from_secs(30));
    let tick = |world: &mut World, after_s| {
        world.ctx.now += Duration::from_secs(after_s);
        world.clients.tick(&mut world.ctx, &world.net);
        world.net.take_closed()
    };
    assert_eq!(tick(&mut world, 100), [], "who is owed nothing stalls nothing");
    world.receive(conn(0), "PING\r\n");
    world.receive(conn(1), "PING\r\n");
    world.flush();
    assert_eq!(tick(&mut world, 29), []);
    let buf = world.net.take_send(conn(1)).unwrap();
    world.clients.sent(&world.ctx, conn(1), buf);
    world.receive(conn(1), "PING\r\n");
    world.flush();
    assert_eq!((tick(&mut world, 1), world.ctx.counters.clients_stalled), (vec![conn(0)], 1));
    world.clients.closed(conn(0));
    assert_eq!((tick(&mut world, 28), tick(&mut world, 1)), (vec![], vec![conn(1)]));
}

#[test]
fn a_client_that_takes_one_long_send_slowly_is_no_stall() {
    let mut world = World::new(2, |config| config.settings.client_stall_timeout = Duration::from_secs(30));
    world.receive(conn(0), "PING\r\n");
    world.receive(conn(1), "PING\r\n");
    world.flush();
    let after = |world: &mut World, seconds, acked_bytes| {
        world.ctx.now += Duration::from_secs(seconds);
        world.net.set_acked_bytes(conn(0), acked_bytes);
        world.clients.tick(&mut world.ctx, &world.net);
        let closed = world.net.take_closed();
        closed.iter().for_each(|conn| world.clients.closed(*conn));
        closed
    };
    assert_eq!(after(&mut world, 20, 1), []);
    assert_eq!(after(&mut world, 20, 2), [conn(1)], "it has confirmed nothing for 40 s");
    assert_eq!(after(&mut world, 20, 3), []);
    assert_eq!(after(&mut world, 29, 3), []);
    assert_eq!(after(&mut world, 1, 3), [conn(0)], "nothing since the third byte");
}

#[test]
fn the_look_for_stalled_clients_comes_round_to_all_of_them() {
    let mut world = World::new(1_200, |_| {});
    world.receive(conn(1_100), "PING\r\n");
    world.flush();
    world.ctx.now += Duration::from_secs(60);
    let closed: Vec<usize> = (0..6)
        .map(|_| {
            world.clients.tick(&mut world.ctx, &world.net);
            world.net.take_closed().len()
        })
        .collect();
    assert_eq!((closed.iter().sum::<usize>(), closed[0]), (2, 0), "{closed:?}");
}

/// Clients come, wait for something that does not come, and go.
#[test]
fn clients_that_go_while_they_wait_leave_nothing_behind() {
    let mut world = World::new(1, |_| {});
    world.full_routes.insert("full", 7);
    world.full_routes.insert("woken", 8);
    world.receive(conn(0), "GET full\r\n");
    let listed = conn(1);
    world.accept(listed, Port::Gateway);
    world.receive(listed, "CLIENT LIST\r\n");
    for generation in 0..1_000 {
        let visitor = ConnId { idx: 2, generation };
        world.accept(visitor, Port::Gateway);
        match generation % 4 {
            0 => world.receive(visitor, "GET full\r\n"),
            1 => {
                world.ctx.must_clients_wait = true;
                world.receive(visitor, "GET a\r\n");
                world.ctx.must_clients_wait = false;
            }
            2 => {
                world.receive(visitor, "GET woken\r\n");
                world.clients.unblock_route(8);
            }
            _ => world.receive(visitor, "CLIENT LIST\r\n"),
        }
        world.clients.closed(visitor);
    }
    assert_eq!(world.clients.counts(), (2, 1));
    let on_route: Vec<usize> = world.clients.blocked_on_route.values().map(|waiting| waiting.len()).collect();
    assert_eq!(on_route, [1], "the one that is there, for its route");
    assert_eq!((world.clients.blocked_on_memory.len(), world.clients.runnable.len()), (0, 0));
    assert_eq!((world.clients.listings.len(), world.used(Pool::ClientInput) < 16 << 10), (1, true));
    world.full_routes.clear();
    world.clients.unblock_route(7);
    assert_eq!((world.resume(), &world.taken[..]), (vec![conn(0)], &["full".to_owned()][..]));
    assert!(world.output(listed).contains("id=2 "), "the list of the one that is there is written");
}
