//! A client's own limits, and routes that take no commands: they hold up those concerned, and nobody else.

use super::*;

#[test]
fn a_client_with_too_many_requests_waits_for_half_of_their_answers() {
    let mut world = World::new(2, |config| config.limits.client_requests_count_max = 4);
    world.receive(conn(0), "GET a\r\nGET b\r\nGET c\r\nGET d\r\nGET e\r\nGET f\r\nGET g\r\n");
    assert_eq!(world.taken, ["a", "b", "c", "d"]);
    assert_eq!((world.clients.counts(), world.ctx.counters.clients_throttled), ((2, 1), 1));
    world.receive(conn(1), "GET z\r\n");
    assert_eq!(world.taken.last().unwrap(), "z", "the other client is not concerned");
    world.answer("a");
    assert_eq!(world.resume(), [], "three of four are still open");
    assert!(world.clients.is_waiting(conn(0)));
    world.receive(conn(0), "GET h\r\n");
    assert_eq!(world.taken.len(), 5, "what comes while it waits is kept");
    world.answer("b");
    assert_eq!(world.resume(), [conn(0)]);
    assert_eq!(world.taken, ["a", "b", "c", "d", "z", "e", "f"]);
    assert_eq!(world.clients.counts(), (2, 1), "it waits again");
    ["c", "d", "e", "f"].iter().for_each(|key| world.answer(key));
    assert_eq!(world.resume(), [conn(0)]);
    assert_eq!(world.taken[7..], ["g", "h"]);
    assert_eq!((world.clients.counts(), world.resume()), ((2, 0), vec![]));
    assert_eq!(world.output(conn(0)), "+a\r\n+b\r\n+c\r\n+d\r\n+e\r\n+f\r\n");
}

#[test]
fn a_client_with_too_many_bytes_of_requests_waits_and_one_request_may_be_longer() {
    let mut world = World::new(1, |config| config.limits.client_requests_bytes_max = 1_000);
    world.receive(conn(0), &format!("SET a {}\r\nSET b 1\r\n", long(2_000)));
    assert_eq!(world.taken, ["a"]);
    world.answer("a");
    assert_eq!(world.resume(), [conn(0)]);
    assert_eq!(world.taken, ["a", "b"]);
}

#[test]
fn a_client_that_does_not_take_its_replies_waits_until_they_have_left() {
    let mut world = World::new(2, |config| config.settings.client_output_bytes_max = 1_000);
    world.receive(conn(0), &format!("PING {}\r\n", long(1_000)));
    world.flush();
    world.receive(conn(0), "GET a\r\n");
    world.receive(conn(1), "GET b\r\n");
    assert_eq!(world.taken, ["b"]);
    assert_eq!(world.resume(), [], "the reply is on its way and has not left");
    let buf = world.net.take_send(conn(0)).unwrap();
    world.clients.sent(&world.ctx, conn(0), buf);
    assert_eq!((world.resume(), &world.taken[1]), (vec![conn(0)], &"a".to_owned()));
}

/// The end of a send does not end a park by itself. A client that sends nothing while it waits for its replies would wait for
/// the next tick, once per `client_output_bytes_max` of them.
#[test]
fn the_end_of_a_send_that_somebody_waits_for_ends_a_park() {
    let mut world = World::new(2, |config| config.settings.client_output_bytes_max = 1_000);
    world.receive(conn(1), "PING\r\n");
    world.flush();
    assert_eq!(world.net.take_awaited(), [], "nobody waits");
    world.receive(conn(0), &format!("PING {}\r\nPING b\r\n", long(1_000)));
    world.flush();
    assert_eq!(world.net.take_awaited(), [conn(0)]);
    let buf = world.net.take_send(conn(0)).unwrap();
    world.clients.sent(&world.ctx, conn(0), buf);
    assert_eq!(world.resume(), [conn(0)]);
    world.receive(conn(0), "QUIT\r\n");
    world.flush();
    assert_eq!(world.net.take_awaited(), [conn(0)], "the connection is to be closed behind it");
}

#[test]
fn replies_that_wait_for_their_turn_count_as_output() {
    let mut world = World::new(1, |config| config.settings.client_output_bytes_max = 1_000);
    world.receive(conn(0), "GET a\r\nGET b\r\n");
    world.answer_with("b", |reply| reply.bulk(long(1_000).as_bytes()));
    world.receive(conn(0), "GET c\r\n");
    assert_eq!(world.taken, ["a", "b"]);
    world.answer("a");
    assert_eq!(world.resume(), [], "they can leave now and have not");
    world.output(conn(0));
    assert_eq!((world.resume(), world.taken.len()), (vec![conn(0)], 3));
}

#[test]
fn a_route_that_takes_commands_again_wakes_those_that_wait_for_it() {
    let mut world = World::new(4, |_| {});
    world.full_routes = HashMap::from([("a", 7), ("b", 8)]);
    world.receive(conn(0), "GET x\r\nGET a\r\nGET y\r\n");
    world.receive(conn(1), "GET b\r\n");
    world.receive(conn(2), "GET a\r\n");
    world.receive(conn(3), "GET z\r\n");
    assert_eq!(world.taken, ["x", "z"]);
    assert_eq!((world.clients.counts(), world.ctx.counters.clients_throttled), ((4, 3), 3));
    world.answer("x");
    world.clients.unblock_route(9);
    assert_eq!(world.resume(), [], "neither another route nor a reply concerns them");
    world.full_routes.remove("a");
    world.clients.unblock_route(7);
    assert_eq!(world.resume(), [conn(0), conn(2)]);
    assert_eq!(world.taken[2..], ["a", "y", "a"]);
    assert!(world.clients.is_waiting(conn(1)));
    world.clients.unblock_route(8);
    assert_eq!((world.resume(), world.clients.counts()), (vec![conn(1)], (4, 1)), "it is woken and waits again");
    world.full_routes.clear();
    world.clients.unblock_route(8);
    assert_eq!((world.resume(), world.clients.counts()), (vec![conn(1)], (4, 0)));
    assert_eq!(world.ctx.counters.clients_throttled, 4);
}

#[test]
fn a_client_that_is_gone_is_not_woken_and_does_not_count() {
    let mut world = World::new(2, |_| {});
    world.full_routes.insert("a", 7);
    world.receive(conn(0), "GET a\r\n");
    world.receive(conn(1), "GET a\r\n");
    world.clients.closed(conn(0));
    world.clients.closed(conn(0));
    assert_eq!(world.clients.counts(), (1, 1));
    world.accept(ConnId { idx: 0, generation: 1 }, Port::Gateway);
    world.clients.unblock_route(7);
    assert_eq!(world.clients.runnable_count(), 1, "the other one only");
    assert_eq!(world.clients.next_runnable(), Some(conn(1)));
    assert_eq!(world.clients.counts(), (2, 0));
}

#[test]
fn input_behind_a_command_that_waits_is_bounded_and_read_on_afterwards() {
    let mut world = World::new(1, |config| config.limits.client_input_bytes_max = 1_000);
    world.receive(conn(0), &format!("SET long {}", long(5_000)));
    assert_eq!(world.net.take_calls(), [], "a command in the making may be of any length");
    world.full_routes.insert("a", 7);
    world.receive(conn(0), "\r\nGET a\r\n");
    world.receive(conn(0), &format!("SET b {}", long(900)));
    assert_eq!(world.net.take_calls(), [], "some may wait");
    world.receive(conn(0), &long(100));
    assert_eq!(world.net.take_calls(), [NetCall::Pause(conn(0))]);
    world.receive(conn(0), "x\r\n");
    assert_eq!(world.net.take_calls(), [], "once");
    world.full_routes.clear();
    world.clients.unblock_route(7);
    assert_eq!(world.resume(), [conn(0)]);
    assert_eq!(world.taken, ["long", "a", "b"]);
    assert_eq!(world.net.take_calls(), [NetCall::Resume(conn(0))]);
    assert!(world.used(Pool::ClientInput) <= 1_000, "long input leaves no long buffer");
}
