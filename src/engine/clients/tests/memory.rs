//! Requests that hold all the memory that they may, and permits.

use std::time::Duration;

use super::*;

/// Lets others hold everything that requests may.
fn fill(world: &World) -> crate::budget::Permit {
    let mut others = world.ctx.budget.permit(Pool::Links);
    others.set(REQUESTS_BYTES_MAX);
    others
}

#[test]
fn full_memory_blocks_clients_that_hold_something_and_nobody_else() {
    let mut world = World::new(3, |_| {});
    world.receive(conn(0), "GET a\r\n");
    world.receive(conn(1), "PING\r\n");
    let others = fill(&world);
    world.receive(conn(0), "GET b\r\n");
    world.receive(conn(1), "GET c\r\n");
    world.receive(conn(2), "GET d\r\nGET e\r\n");
    assert_eq!(world.taken, ["a", "d"], "one has an open request, one a reply, one holds nothing at first");
    assert_eq!(world.clients.counts(), (3, 3));
    let paused = [NetCall::Pause(conn(0)), NetCall::Pause(conn(1)), NetCall::Pause(conn(2))];
    assert_eq!(world.net.take_calls(), paused, "whatever they send comes on top");
    assert_eq!(world.resume(), [], "memory is still full");
    drop(others);
    assert_eq!(world.resume(), [conn(0), conn(1), conn(2)]);
    assert_eq!(world.taken, ["a", "d", "b", "c", "e"]);
    let resumed = [NetCall::Resume(conn(0)), NetCall::Resume(conn(1)), NetCall::Resume(conn(2))];
    assert_eq!((world.net.take_calls(), world.clients.counts()), (resumed.to_vec(), (3, 0)));
}

#[test]
fn a_client_that_has_taken_all_of_its_replies_goes_on_in_full_memory() {
    let mut world = World::new(1, |_| {});
    let _others = fill(&world);
    for key in ["a", "b"] {
        world.receive(conn(0), &format!("GET {key}\r\n"));
        world.answer(key);
        assert_eq!(world.output(conn(0)), format!("+{key}\r\n"));
    }
    assert_eq!(world.clients.counts(), (1, 0));
}

/// What clients have sent counts as well: if it alone fills the memory, it can become less only if they go on.
#[test]
fn a_client_that_waits_in_full_memory_goes_on_once_its_replies_have_left() {
    let mut world = World::new(2, |_| {});
    let _others = fill(&world);
    world.receive(conn(0), "GET a\r\nGET b\r\nGET c\r\n");
    world.receive(conn(1), "GET d\r\nGET e\r\n");
    assert_eq!(world.taken, ["a", "d"]);
    world.answer("a");
    assert_eq!(world.resume(), [], "the reply has not left");
    assert_eq!(world.output(conn(0)), "+a\r\n");
    assert_eq!(world.resume(), [conn(0)]);
    assert_eq!((world.taken.last().unwrap().as_str(), world.clients.counts()), ("b", (2, 2)), "one at a time");
    world.clients.closed(conn(1));
    world.answer("b");
    world.output(conn(0));
    assert_eq!((world.resume(), world.taken.len(), world.clients.counts()), (vec![conn(0)], 4, (1, 0)));
}

#[test]
fn buffers_that_hold_nothing_are_given_back_before_a_client_is_closed() {
    let mut world = World::new(8, |_| {});
    for idx in 0..8 {
        world.receive(conn(idx), &format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$200000\r\n{}\r\n", long(200_000)));
        world.answer("a");
        world.output(conn(idx));
    }
    assert!(world.used(Pool::ClientInput) > REQUESTS_BYTES_MAX, "each has kept a long buffer");
    for _ in 0..2 {
        world.ctx.now += Duration::from_secs(1);
        world.clients.tick(&mut world.ctx, &world.net);
    }
    assert_eq!((world.used(Pool::ClientInput), world.ctx.counters.clients_evicted), (0, 0));
}

#[test]
fn clients_in_the_middle_of_long_commands_do_not_fill_the_memory_for_ever() {
    let mut world = World::new(14, |_| {});
    for idx in 0..14 {
        world.receive(conn(idx), &format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$200000\r\n{}", long(70_000)));
    }
    (0..14).for_each(|idx| world.receive(conn(idx), &long(10_000)));
    assert!(world.ctx.budget.requests_are_full() && world.resume().is_empty());
    world.net.take_calls();
    let mut seconds_count = 0;
    while world.ctx.budget.requests_are_full() {
        assert!(seconds_count < 8, "one is closed in each second");
        seconds_count += 1;
        world.ctx.now += Duration::from_secs(1);
        world.clients.tick(&mut world.ctx, &world.net);
        world.net.take_closed().into_iter().for_each(|conn| world.clients.closed(conn));
    }
    assert!(world.ctx.counters.clients_evicted > 0 && !world.resume().is_empty(), "others go on");
}

/// As many clients as hold more than the memory of requests together, although each of them little.
#[test]
fn many_clients_in_the_middle_of_short_commands_do_not_fill_more_than_the_memory() {
    const COUNT: u32 = 200;
    let mut world = World::new(COUNT, |_| {});
    for round in 0..60 {
        for idx in 0..COUNT {
            let head = if round == 0 { "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$70000\r\n" } else { "" };
            if !world.clients.is_waiting(conn(idx)) {
                world.receive(conn(idx), &format!("{head}{}", long(1_000)));
            }
        }
        let used = world.used(Pool::ClientInput);
        assert!(used <= 2 * REQUESTS_BYTES_MAX + 200 * 1_000, "{used} bytes after {round} rounds");
    }
    assert!(world.ctx.budget.requests_are_full());
    world.net.take_calls();
    let mut seconds_count = 0;
    while world.ctx.budget.requests_are_full() {
        seconds_count += 1;
        assert!(seconds_count < COUNT, "one is closed in each second");
        world.ctx.now += Duration::from_secs(1);
        world.clients.tick(&mut world.ctx, &world.net);
        world.net.take_closed().into_iter().for_each(|conn| world.clients.closed(conn));
    }
    assert!(!world.resume().is_empty(), "others go on");
}

#[test]
fn while_the_log_is_behind_all_clients_wait_but_what_they_send_is_read() {
    let mut world = World::new(1, |_| {});
    world.ctx.must_clients_wait = true;
    world.receive(conn(0), "GET a\r\n");
    assert_eq!((world.taken.len(), world.resume(), world.net.take_calls()), (0, vec![], vec![]));
    world.ctx.must_clients_wait = false;
    assert_eq!((world.resume(), world.taken.len()), (vec![conn(0)], 1));
}

#[test]
fn a_long_command_that_is_not_complete_waits_for_memory() {
    let mut world = World::new(2, |_| {});
    let others = fill(&world);
    world.receive(conn(0), &format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$90000\r\n{}", long(80_000)));
    world.receive(conn(1), &format!("*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$90000\r\n{}", long(60_000)));
    assert_eq!((world.net.take_calls(), world.clients.counts()), (vec![NetCall::Pause(conn(0))], (2, 1)));
    assert_eq!(world.ctx.counters.clients_throttled, 1);
    assert_eq!(world.resume(), []);
    drop(others);
    assert_eq!(world.resume(), [conn(0)]);
    assert_eq!(world.net.take_calls(), [NetCall::Resume(conn(0))]);
    world.receive(conn(0), &format!("{}\r\n", long(10_000)));
    assert_eq!((world.taken.len(), world.clients.counts()), (1, (2, 0)));
}

#[test]
fn what_is_reserved_for_a_command_follows_what_has_come_of_it() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$900000\r\nxxx");
    world.receive(conn(0), "xxx");
    assert!((1..=16 << 10).contains(&world.used(Pool::ClientInput)), "{}", world.used(Pool::ClientInput));
    let mut arrived = 0;
    // Its 900,000 bytes come in pieces, as from a network.
    while arrived + 7_000 < 900_000 {
        world.receive(conn(0), &long(7_000));
        arrived += 7_000;
        let (used, fair) = (world.used(Pool::ClientInput), arrived + arrived / 2 + (16 << 10));
        assert!((arrived..=fair.min(900_100)).contains(&used), "{used} bytes are reserved for {arrived}");
    }
    // With its end comes the beginning of the next one.
    world.receive(conn(0), &format!("{}\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n", long(899_994 - arrived)));
    assert_eq!(world.taken, ["a"]);
    assert!(world.used(Pool::ClientInput) < 1_000_000);
}

#[test]
fn permits_follow_what_is_held_and_end_at_zero() {
    let mut world = World::new(2, |_| {});
    world.receive(conn(0), "GET a\r\nSET b xxx");
    world.receive(conn(1), "GET c\r\n");
    let input_bytes = world.used(Pool::ClientInput);
    assert!(input_bytes >= 9);
    world.answer_with("a", |reply| reply.bulk(long(100_000).as_bytes()));
    world.flush();
    assert!(world.used(Pool::ClientOutput) >= 100_000, "it is on its way");
    let buf = world.net.take_send(conn(0)).unwrap();
    world.clients.sent(&world.ctx, conn(0), buf);
    world.flush();
    assert!(world.used(Pool::ClientOutput) < 10_000, "so long a buffer is not kept");
    world.answer_with("c", |reply| reply.bulk(long(30_000).as_bytes()));
    world.output(conn(1));
    assert!(world.used(Pool::ClientOutput) >= 30_000, "a short one is, for the next reply");
    world.receive(conn(0), "\r\n");
    assert_eq!(world.taken, ["a", "c", "b"]);
    world.clients.closed(conn(0));
    world.clients.closed(conn(1));
    world.answer("b");
    world.flush();
    assert_eq!((world.ctx.budget.used(), world.clients.counts()), (0, (0, 0)));
}

#[test]
fn the_client_that_holds_most_is_closed_when_memory_is_full_for_long() {
    let mut world = World::new(3, |config| config.limits.client_input_bytes_max = 1_000);
    world.receive(conn(1), &format!("PING {}\r\n", long(5_000)));
    world.receive(conn(2), &format!("PING {}\r\n", long(4_000)));
    let tick = |world: &mut World, after_ms| {
        world.ctx.now += Duration::from_millis(after_ms);
        world.clients.tick(&mut world.ctx, &world.net);
        world.net.take_closed()
    };
    assert_eq!(tick(&mut world, 5_000), [], "memory is not full");
    let others = fill(&world);
    assert_eq!((tick(&mut world, 5_000), tick(&mut world, 999)), (vec![], vec![]));
    drop(others);
    assert_eq!(tick(&mut world, 1), []);
    let _others = fill(&world);
    assert_eq!((tick(&mut world, 999), tick(&mut world, 999)), (vec![], vec![]), "the time begins anew");
    assert_eq!(tick(&mut world, 1), [conn(1)]);
    assert_eq!(world.ctx.counters.clients_evicted, 1);
    world.clients.closed(conn(1));
    assert_eq!(
        (tick(&mut world, 99), tick(&mut world, 1)),
        (vec![], vec![conn(2)]),
        "others have waited long enough"
    );
    world.clients.closed(conn(2));
    assert_eq!(
        (tick(&mut world, 1_000), tick(&mut world, 1_000)),
        (vec![], vec![]),
        "who holds little is not closed"
    );
}
