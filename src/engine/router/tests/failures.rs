//! Which error a command gets that waits for too long, and when a former leader's time is over.

use super::*;

/// What a command that has waited in vain is refused for.
fn why_late(arrange: impl FnOnce(&mut World), is_silent: bool) -> Vec<Refusal> {
    let mut world = World::new(|config| config.limits.route_in_flight_bytes_max = 1);
    arrange(&mut world);
    let wait = world.ctx.config.leader_wait;
    world.tick(wait, is_silent);
    Refusal::ALL.into_iter().filter(|refusal| world.ctx.refusals.counts().get(*refusal) > 0).collect()
}

#[test]
fn a_late_command_is_told_what_it_waited_for() {
    let no_leader = |world: &mut World| {
        let group = world.router.route(world.route()).id;
        world.router.forget_leader(group, 1);
        world.router.set_takes_commands(LinkId(0), false);
        world.forward_all(&["SET a 1"]);
    };
    assert_eq!(why_late(no_leader, true), [Refusal::NoLeaderInTime]);
    let no_link = |world: &mut World| {
        world.router.set_takes_commands(LinkId(0), false);
        world.forward_all(&["SET a 1"]);
    };
    assert_eq!(why_late(no_link, true), [Refusal::LeaderUnreachable]);
    // Behind one that is answered with a refusal again and again.
    let refused = |world: &mut World| {
        world.forward_all(&["SET a 1"]);
        let sent = world.sent(0);
        world.answer(0, sent.heads[0].id, ReplyStatus::NotLeader, b"");
    };
    assert_eq!(why_late(refused, true), [Refusal::LeaderSilent]);
    assert_eq!(why_late(refused, false), [Refusal::LeaderBusy]);
}

#[test]
fn answers_are_given_up_on_every_link() {
    let mut world = World::new(|_| {});
    world.lead(OTHERS[1], 2);
    world.forward_all(&["SET a 1"]);
    assert_eq!(world.sent(1).heads.len(), 1);
    world.tick(world.ctx.config.leader_wait, false);
    assert!(world.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"));
}

#[test]
fn a_former_leader_is_waited_for_while_it_is_not_known_who_leads() {
    let mut world = World::new(|_| {});
    let group = world.router.route(world.route()).id;
    world.forward_all(&["SET a 1"]);
    world.sent(0);
    world.lead(OTHERS[1], 2);
    world.router.forget_leader(group, 2);
    (0..4).for_each(|_| world.tick(Duration::from_millis(250), true));
    assert!(world.answers.replies.is_empty(), "it may well lead again: {:?}", world.answers.replies);
    world.lead(OTHERS[1], 3);
    world.tick(Duration::from_millis(25), true);
    assert!(world.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"));
}

/// The time of a core that was followed while nothing was with it does not run.
#[test]
fn a_former_leader_has_its_time_from_when_something_is_with_it() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1"]);
    let sent = world.sent(0);
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    world.router.set_takes_commands(LinkId(1), false);
    world.lead(OTHERS[1], 2);
    world.forward_all(&["SET b 1"]);
    world.tick(Duration::from_millis(25), false);
    world.tick(Duration::from_millis(250), false);
    world.router.set_takes_commands(LinkId(1), true);
    assert_eq!(World::keys(&world.sent(1)), ["b"]);
    world.lead(OTHERS[0], 3);
    world.tick(Duration::from_millis(25), false);
    assert_eq!(world.answers.replies.len(), 1, "{:?}", world.answers.replies);
    world.tick(Duration::from_millis(250), false);
    assert!(world.answers.replies[&2].starts_with("-UNKNOWNOUTCOME"));
}

#[test]
fn replies_are_asked_for_in_the_protocol_of_the_client() {
    let mut world = World::new(|_| {});
    let route = world.route();
    for (seq, protocol) in [(1, resp::Protocol::Resp2), (2, resp::Protocol::Resp3)] {
        let crate::origin::Origin::Client { conn, .. } = client(seq) else { panic!("not a client") };
        let origin = crate::origin::Origin::Client { conn, seq, protocol };
        let World { ctx, router, .. } = &mut world;
        with_request(origin, "GET a", |request| router.forward(ctx, route, None, request));
    }
    assert_eq!(world.sent(0).heads.iter().map(|head| head.resp3).collect::<Vec<_>>(), [false, true]);
}
