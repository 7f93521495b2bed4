//! What is in flight is known by its number, whatever becomes of what was sent before and behind it.

use super::*;
use crate::testing::client_at;

/// Another client asks, and is answered, this many times.
fn answer_others(world: &mut World, count: usize) {
    for _ in 0..count {
        world.sent_count += 1;
        let (route, origin) = (world.route(), client_at(1, world.sent_count));
        let World { ctx, router, answers, .. } = world;
        answers.routes.insert(world.sent_count, route);
        let taken = with_request(origin, "GET other", |request| router.forward(ctx, route, None, request));
        assert_eq!(taken, Forwarded::Taken);
        let sent = world.sent(0);
        assert_eq!(sent.heads.len(), 1);
        world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    }
}

fn held(world: &mut World) -> usize {
    world.router.settle();
    let held = world.ctx.budget.used_by(Pool::Forwarded);
    assert_eq!(held, world.router.held_bytes());
    held
}

#[test]
fn what_is_answered_behind_a_command_that_is_not_costs_no_memory() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1", "GET b"]);
    let first = world.sent(0);
    let two = held(&mut world);
    let mut most = 0;
    for _ in 0..40 {
        answer_others(&mut world, 50);
        most = most.max(held(&mut world));
    }
    assert!(most <= two + 100 * size_of::<window::Sent>(), "{most} bytes are held for {two}");
    world.answer(0, first.heads[1].id, ReplyStatus::NotLeader, b"");
    world.answer(0, first.heads[0].id, ReplyStatus::Done, b"+first\r\n");
    assert_eq!(world.answers.replies[&1], "+first\r\n");
    let again = world.sent(0);
    assert_eq!(&again.bytes[..], b"b");
    world.answer(0, again.heads[0].id, ReplyStatus::Done, b"$-1\r\n");
    assert_eq!((held(&mut world), world.answers.replies.len()), (0, 2 + 40 * 50));
}

/// They stand far apart, and still what becomes of a read depends on the write behind it.
#[test]
fn a_lost_link_gives_up_commands_that_stand_far_apart_from_the_newest_on() {
    let mut world = World::new(|config| config.limits.commands_per_turn_max = 2);
    for line in ["GET a", "GET b", "SET c 1", "GET d"] {
        world.forward_all(&[line]);
        world.sent(0);
        answer_others(&mut world, 200);
    }
    world.router.link_failed(LinkId(0));
    while world.router.has_work() {
        assert!(world.sent(0).is_empty(), "the link is down");
    }
    let lost = |reply: &String| reply.get(..9).filter(|reply| !reply.starts_with("+OK")).map(str::to_owned);
    let lost: Vec<String> = world.answers.replies.values().filter_map(lost).collect();
    assert_eq!(lost, ["-TRYAGAIN", "-TRYAGAIN", "-UNKNOWNO"]);
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(World::keys(&world.sent(0)), ["d"]);
}
