//! Limits of what waits and of what is in flight, and who hears that there is room again.

use super::*;
use crate::replies::SHORT_REPLY_BYTES_MAX;

#[test]
fn one_command_may_exceed_the_bytes_that_may_wait() {
    let mut world = World::new(|config| config.limits.queued_bytes_max = 10);
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    assert_eq!(world.forward("SET a 1"), Forwarded::Taken);
    assert_eq!(world.forward("SET b 1"), Forwarded::Refused(Refusal::QueueFull));
}

#[test]
fn commands_that_wait_need_memory() {
    let mut world = World::new(|config| config.memory_bytes_max = 3_000);
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    let mut others = world.ctx.budget.permit(Pool::Links);
    others.set(1_000);
    assert_eq!(world.forward("SET a 1"), Forwarded::Taken, "one can always be served");
    assert_eq!(world.forward("SET b 1"), Forwarded::Refused(Refusal::QueueFull));
    drop(others);
    assert_eq!(world.forward("SET b 1"), Forwarded::Taken);
    world.tick(world.ctx.config.leader_wait, false);
    assert_eq!(world.answers.replies.len(), 2);
    world.router.settle();
    assert_eq!(world.ctx.budget.used(), 0, "both are answered");
}

#[test]
fn what_is_in_flight_is_held_until_it_is_answered() {
    let mut world = World::new(|_| {});
    world.forward_all(&[&format!("SET a {}", "x".repeat(5_000))]);
    let sent = world.sent(0);
    world.router.settle();
    assert!(world.ctx.budget.used_by(Pool::Forwarded) >= 5_000);
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    world.router.settle();
    assert_eq!(world.ctx.budget.used(), 0);
}

#[test]
fn a_full_frame_holds_commands_up_until_it_was_taken() {
    let mut world = World::new(|config| config.limits.outbox_bytes_max = 1_000);
    world.forward_all(&[&format!("SET a {}", "x".repeat(2_000)), "SET b 1"]);
    assert_eq!(World::keys(&world.sent(0)), ["a"]);
    assert_eq!(World::keys(&world.sent(0)), ["b"], "nothing else has happened");
}

#[test]
fn clients_hear_of_room_only_when_there_is_plenty() {
    let mut world = World::new(|config| {
        config.limits.route_in_flight_bytes_max = 2_000;
        config.limits.queued_count_max = 1;
    });
    let line = format!("SET a {}", "x".repeat(300));
    let mut taken = 0;
    while world.forward(&line) == Forwarded::Taken {
        taken += 1;
    }
    let first = world.sent(0);
    assert!(first.heads.len() >= 3 && first.heads.len() == taken - 1, "{taken} were taken, one of them waits");
    world.answer(0, first.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    let second = world.sent(0);
    assert_eq!(second.heads.len(), 1);
    assert_eq!(world.router.take_unblocked(&world.ctx), [], "as much is in flight as before");
    first.heads[1..].iter().for_each(|head| world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n"));
    assert_eq!(world.router.take_unblocked(&world.ctx), [world.route()]);
}

/// Three commands wait, one more finds no room, and they leave one by one: the client hears of room when half are gone.
#[test]
fn clients_hear_of_room_only_when_half_of_what_may_wait_is_gone() {
    let bytes = with_request(client(0), "SET a 1", |request| request.bytes());
    let by_count: fn(&mut Config, usize) = |config, _| config.limits.queued_count_max = 3;
    let by_bytes: fn(&mut Config, usize) = |config, bytes| config.limits.queued_bytes_max = 3 * bytes;
    for limit in [by_count, by_bytes] {
        let mut world = World::new(|config| limit(config, bytes));
        world.router.set_takes_commands(LinkId(0), false);
        for line in ["SET a 1", "SET b 1", "SET c 1"] {
            world.forward_all(&[line]);
            world.ctx.now += Duration::from_secs(1);
        }
        assert_eq!(world.forward("SET d 1"), Forwarded::Blocked);
        world.tick(world.ctx.config.leader_wait - Duration::from_secs(3), false);
        assert_eq!((world.answers.replies.len(), world.router.take_unblocked(&world.ctx)), (1, vec![]));
        assert!(!world.router.has_unblocked());
        world.tick(Duration::from_secs(1), false);
        assert!(world.router.has_unblocked());
        assert_eq!((world.answers.replies.len(), world.router.take_unblocked(&world.ctx)), (2, vec![world.route()]));
        assert!(!world.router.has_unblocked(), "it is named once");
    }
}

#[test]
fn a_route_that_was_blocked_by_the_commands_of_others_is_named_at_a_tick() {
    let mut world = World::new(|config| config.limits.forwarded_count_max = 2);
    world.forward_all(&["SET a 1", "SET b 1"]);
    let sent = world.sent(0);
    let other = world.router.of_group(GroupId(2)).unwrap();
    assert_ne!(other, world.route());
    let note = LeaderNote { group: GroupId(2), term: 1, place: OTHERS[0] };
    world.router.learn_leader(&mut world.ctx, note);
    let World { ctx, router, .. } = &mut world;
    let blocked = with_request(client(9), "GET z", |request| router.forward(ctx, other, None, request));
    assert_eq!(blocked, Forwarded::Blocked);
    world.tick(Duration::from_millis(25), false);
    assert_eq!(world.router.take_unblocked(&world.ctx), []);
    sent.heads.iter().for_each(|head| world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n"));
    world.tick(Duration::from_millis(25), false);
    assert_eq!(world.router.take_unblocked(&world.ctx), [other]);
}

#[test]
fn commands_that_wait_count_towards_all_that_may_be_on_their_way() {
    let mut world = World::new(|config| {
        config.limits.forwarded_count_max = 2;
        config.limits.route_in_flight_bytes_max = 1;
    });
    world.forward_all(&["SET a 1", "SET b 1"]);
    assert_eq!(world.sent(0).heads.len(), 1, "the other one waits");
    assert_eq!(world.forward("SET c 1"), Forwarded::Blocked);
}

#[test]
fn what_has_waited_and_left_counts_no_more() {
    let mut world = World::new(|config| config.limits.forwarded_count_max = 1);
    for _ in 0..3 {
        world.router.set_takes_commands(LinkId(0), false);
        world.forward_all(&["SET a 1"]);
        assert_eq!(world.forward("SET b 1"), Forwarded::Blocked);
        world.router.set_takes_commands(LinkId(0), true);
        let sent = world.sent(0);
        world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
        world.router.settle();
        assert_eq!(world.ctx.budget.used(), 0);
    }
}

/// What the replica here gives back is taken in whatever the limits say, but leaves only within them.
#[test]
fn requeued_commands_leave_only_as_far_as_others_have_come_back() {
    let mut world = World::new(|config| config.limits.forwarded_count_max = 2);
    world.forward_all(&["SET a 1", "SET b 1"]);
    let sent = world.sent(0);
    let group = world.router.route(world.route()).id;
    let given_back = ["GET c", "GET d"].map(|line| with_request(client(9), line, |request| request.to_owned()));
    world.router.requeue(&world.ctx, group, given_back.into());
    assert!(world.sent(0).is_empty());
    assert_eq!(world.forward("SET e 1"), Forwarded::Blocked);
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!(World::keys(&world.sent(0)), ["c"]);
    assert_eq!(world.forward("SET e 1"), Forwarded::Blocked, "two are in flight and one waits");
    world.answer(0, sent.heads[1].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!(World::keys(&world.sent(0)), ["d"]);
}

#[test]
fn requeued_commands_have_as_long_to_wait_as_new_ones() {
    let mut world = World::new(|_| {});
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    world.ctx.now += Duration::from_secs(60);
    let given_back = with_request(client(1), "GET a", |request| request.to_owned());
    world.router.requeue(&world.ctx, group, vec![given_back]);
    let wait = world.ctx.config.leader_wait;
    world.tick(wait - Duration::from_millis(1), false);
    assert!(world.answers.replies.is_empty());
    world.tick(Duration::from_millis(1), false);
    assert!(world.answers.replies[&1].starts_with("-CLUSTERDOWN"));
}

#[test]
fn a_frame_that_is_exactly_full_takes_no_more() {
    let frame_of = |bytes_max: usize| {
        let mut world = World::new(|config| config.limits.outbox_bytes_max = bytes_max);
        world.forward_all(&["SET a 1", "SET b 1"]);
        (world.router.in_flight.unsent_bytes(LinkId(0)), world.sent(0).heads.len())
    };
    let (two, _) = frame_of(usize::MAX);
    assert_eq!(frame_of(two / 2), (two / 2, 1));
    assert_eq!(frame_of(two / 2 + 1), (two, 2));
}

#[test]
fn bytes_that_wait_are_bounded_beside_their_number() {
    let bytes = with_request(client(0), "SET a 1", |request| request.bytes());
    let mut world = World::new(|config| config.limits.queued_bytes_max = 2 * bytes);
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    world.forward_all(&["SET a 1", "SET b 1"]);
    assert_eq!(world.forward("SET c 1"), Forwarded::Refused(Refusal::QueueFull));
    // One leaves and another finds its room.
    world.tick(Duration::from_millis(25), false);
    world.lead(OTHERS[0], 2);
    let route = world.router.next_to_drain(&world.ctx).unwrap();
    assert!(world.router.drain(&mut world.ctx, route, local(true)).is_some());
    world.router.forget_leader(group, 2);
    world.forward_all(&["SET c 1"]);
    assert_eq!(world.forward("SET d 1"), Forwarded::Refused(Refusal::QueueFull));
}

/// Whoever asks has room for a short reply at any time, so the longest short one is not weighed.
#[test]
fn the_longest_short_reply_always_has_room() {
    let mut world = World::new(|_| {});
    world.answers.is_full = true;
    world.forward_all(&["GET a", "GET b"]);
    let sent = world.sent(0);
    let reply = |len: usize| format!("+{}\r\n", "x".repeat(len - 3));
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, reply(SHORT_REPLY_BYTES_MAX).as_bytes());
    world.answer(0, sent.heads[1].id, ReplyStatus::Done, reply(SHORT_REPLY_BYTES_MAX + 1).as_bytes());
    assert!(world.answers.replies[&1].starts_with("+x"));
    assert!(world.answers.replies[&2].starts_with("-TRYAGAIN"));
}
