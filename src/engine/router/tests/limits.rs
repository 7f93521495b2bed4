//! Limits of what waits and of what is in flight, and who hears that there is room again.

use super::*;

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
    assert!(world.ctx.budget.used_by(Pool::Forwards) >= 5_000);
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
    assert_eq!(world.router.take_unblocked(), [], "as much is in flight as before");
    first.heads[1..].iter().for_each(|head| world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n"));
    assert_eq!(world.router.take_unblocked(), [world.route()]);
}

#[test]
fn clients_hear_of_room_only_when_half_of_what_may_wait_is_gone() {
    let mut world = World::new(|config| config.limits.queued_count_max = 4);
    world.router.set_takes_commands(LinkId(0), false);
    world.forward_all(&["SET a 1"]);
    world.ctx.now += Duration::from_secs(1);
    world.forward_all(&["SET b 1", "SET c 1", "SET d 1"]);
    assert_eq!(world.forward("SET e 1"), Forwarded::Blocked);
    let wait = world.ctx.config.leader_wait;
    world.tick(wait - Duration::from_secs(1), false);
    assert_eq!((world.answers.replies.len(), world.router.take_unblocked()), (1, vec![]));
    world.tick(Duration::from_secs(1), false);
    assert_eq!((world.answers.replies.len(), world.router.take_unblocked()), (4, vec![world.route()]));
}

#[test]
fn a_route_that_was_blocked_by_the_commands_of_others_is_named_at_a_tick() {
    let mut world = World::new(|config| config.limits.forwards_count_max = 2);
    world.forward_all(&["SET a 1", "SET b 1"]);
    let sent = world.sent(0);
    let other = world.router.of_group(GroupId(2)).unwrap();
    assert_ne!(other, world.route());
    let World { ctx, router, .. } = &mut world;
    let blocked = with_request(client(9), "GET z", |request| router.forward(ctx, other, None, request));
    assert_eq!(blocked, Forwarded::Blocked);
    world.tick(Duration::from_millis(25), false);
    assert_eq!(world.router.take_unblocked(), []);
    sent.heads.iter().for_each(|head| world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n"));
    world.tick(Duration::from_millis(25), false);
    assert_eq!(world.router.take_unblocked(), [other]);
}
