//! What must not overtake what, and what is not asked again too early.

use super::*;

#[test]
fn a_command_does_not_overtake_those_that_wait_although_the_way_is_open() {
    let mut world = World::new(|_| {});
    world.router.set_takes_commands(LinkId(0), false);
    world.forward_all(&["SET a 1"]);
    world.router.set_takes_commands(LinkId(0), true);
    world.forward_all(&["SET b 1"]);
    assert_eq!(World::keys(&world.sent(0)), ["a", "b"]);
}

#[test]
fn what_waits_for_a_link_leaves_once_it_is_up() {
    let mut world = World::new(|_| {});
    world.router.set_takes_commands(LinkId(0), false);
    world.forward_all(&["SET a 1"]);
    assert!(world.sent(0).is_empty());
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(World::keys(&world.sent(0)), ["a"]);
}

#[test]
fn nothing_is_sent_behind_a_refused_command_until_all_before_it_are_back() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1", "SET b 1", "SET c 1"]);
    let sent = world.sent(0);
    world.answer(0, sent.heads[1].id, ReplyStatus::NotLeader, b"");
    world.forward_all(&["SET d 1"]);
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    assert!(world.sent(0).is_empty(), "the third is still under way");
    world.answer(0, sent.heads[2].id, ReplyStatus::NotLeader, b"");
    assert!(world.sent(0).is_empty(), "the same core would refuse them again at once");
    world.tick(Duration::from_millis(25), false);
    let again = world.sent(0);
    assert_eq!(World::keys(&again), ["b", "c", "d"]);
    assert_eq!(again.heads.iter().map(|head| head.resumes).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(world.ctx.counters.commands_requeued, 2);
}

#[test]
fn a_replica_that_has_unsettled_commands_or_no_room_lets_newer_ones_wait() {
    let mut world = World::new(|_| {});
    let route = world.route();
    let replica =
        LocalReplica { group: 5, leads: false, is_full: false, must_writers_wait: false, has_unsettled: true };
    let World { ctx, router, .. } = &mut world;
    let taken = with_request(client(1), "SET a 1", |request| router.forward(ctx, route, Some(replica), request));
    assert_eq!(taken, Forwarded::Taken);
    assert!(router.drain(ctx, route, Some(replica)).is_none() && router.take_requests(LinkId(0)).is_none());
    let full = LocalReplica { leads: true, is_full: true, has_unsettled: false, ..replica };
    assert!(router.drain(ctx, route, Some(full)).is_none(), "it leads now and is full");
    let free = LocalReplica { is_full: false, ..full };
    assert!(router.drain(ctx, route, Some(free)).is_some());
}

/// Reads need no log. A read behind a write may be one of the same connection, and waits with it.
#[test]
fn reads_go_on_while_the_log_is_full_until_a_write_comes() {
    let mut world = World::new(|_| {});
    let route = world.route();
    let (World { ctx, router, .. }, leads) = (&mut world, local(true).unwrap());
    for line in ["GET a", "SET a 1", "GET b"] {
        let taken = with_request(client(1), line, |request| router.forward(ctx, route, Some(leads), request));
        assert_eq!(taken, Forwarded::Taken);
    }
    let full = LocalReplica { must_writers_wait: true, ..leads };
    let mut drain = |replica| router.drain(ctx, route, Some(replica)).map(|request| request.command.id);
    assert_eq!(drain(full), Some(resp::CommandId::Get));
    assert_eq!(drain(full), None);
    assert_eq!([drain(leads), drain(leads)], [Some(resp::CommandId::Set), Some(resp::CommandId::Get)]);
}

#[test]
fn a_replica_that_leads_now_waits_for_what_is_still_with_another_core() {
    let mut world = World::new(|_| {});
    let route = world.route();
    world.forward_all(&["SET a 1"]);
    let sent = world.sent(0);
    world.lead(ME, 2);
    let World { ctx, router, .. } = &mut world;
    let taken = with_request(client(2), "SET b 1", |request| router.forward(ctx, route, local(true), request));
    assert_eq!(taken, Forwarded::Taken);
    assert!(router.drain(ctx, route, local(true)).is_none());
    world.answer(0, sent.heads[0].id, ReplyStatus::NotLeader, b"");
    let World { ctx, router, .. } = &mut world;
    let mut executed = Vec::new();
    while let Some(request) = router.drain(ctx, route, local(true)) {
        executed.push(String::from_utf8(request.args.get().get(1).unwrap().to_vec()).unwrap());
    }
    assert_eq!(executed, ["a", "b"]);
}

#[test]
fn a_read_that_has_left_is_asked_again_if_the_write_behind_it_has_not() {
    let mut world = World::new(|_| {});
    world.forward_all(&["GET a"]);
    world.sent(0);
    world.forward_all(&["SET a 1"]);
    world.fail_link(0);
    assert!(world.answers.replies.is_empty(), "neither may have seen the other");
    world.tick(Duration::from_millis(25), false);
    assert!(world.sent(0).is_empty(), "the link is down");
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(World::keys(&world.sent(0)), ["a", "a"]);
}

#[test]
fn a_leader_that_was_followed_and_leads_again_gets_its_moment_anew() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1"]);
    world.sent(0);
    world.lead(OTHERS[1], 2);
    world.tick(Duration::from_millis(200), false);
    world.lead(OTHERS[0], 3);
    world.tick(Duration::from_millis(200), false);
    world.lead(OTHERS[1], 4);
    world.tick(Duration::from_millis(200), false);
    world.tick(Duration::from_millis(200), false);
    assert!(world.answers.replies.is_empty(), "{:?}", world.answers.replies);
    world.tick(Duration::from_millis(50), false);
    assert_eq!(world.answers.replies.len(), 1);
}

#[test]
fn a_leader_of_the_same_term_is_news_only_after_an_election_was_noticed() {
    let mut world = World::new(|_| {});
    let (route, group) = (world.route(), world.router.route(world.route()).id);
    world.lead(OTHERS[1], 1);
    assert_eq!(world.router.route(route).leader, OTHERS[0]);
    world.router.forget_leader(group, 0);
    assert!(world.router.route(route).is_known, "a replica that is behind knows less");
    let version = world.router.version();
    world.router.forget_leader(group, 1);
    assert!(!world.router.route(route).is_known && world.router.version() > version);
    world.lead(OTHERS[1], 1);
    assert_eq!(world.router.leader_of(group), Some(Leader { addr: OTHERS[1], is_known: true }));
}

#[test]
fn a_command_of_a_later_frame_that_is_refused_goes_again_with_its_own_arguments() {
    let mut world = World::new(|_| {});
    let mut heads = Vec::new();
    for line in ["SET a 1", "SET b 2", "SET c 3"] {
        world.forward_all(&[line]);
        heads.extend(world.sent(0).heads);
    }
    world.answer(0, heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    world.answer(0, heads[1].id, ReplyStatus::NotLeader, b"");
    world.answer(0, heads[2].id, ReplyStatus::NotLeader, b"");
    world.tick(Duration::from_millis(25), false);
    let again = world.sent(0);
    assert_eq!(World::keys(&again), ["b", "c"]);
    assert_eq!(&again.bytes[..], b"b2c3");
}

#[test]
fn a_refused_command_goes_on_at_once_when_the_last_before_it_is_answered() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1", "SET b 1"]);
    let sent = world.sent(0);
    world.lead(OTHERS[1], 2);
    world.answer(0, sent.heads[1].id, ReplyStatus::NotLeader, b"");
    assert!(world.sent(1).is_empty());
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!(World::keys(&world.sent(1)), ["b"]);
}

#[test]
fn an_answer_lets_the_next_command_go_at_once() {
    let mut world = World::new(|config| config.limits.route_in_flight_bytes_max = 1);
    world.forward_all(&["SET a 1", "SET b 1"]);
    let sent = world.sent(0);
    assert!(world.sent(0).is_empty(), "one at a time");
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!(World::keys(&world.sent(0)), ["b"]);
}

#[test]
fn a_frame_that_has_left_lets_those_that_waited_for_room_in_it_go_without_an_event() {
    let mut world = World::new(|config| config.limits.outbox_bytes_max = 1);
    world.forward_all(&["SET a 1", "SET b 1"]);
    assert_eq!(World::keys(&world.sent(0)), ["a"]);
    assert!(world.router.has_work());
    assert_eq!(World::keys(&world.sent(0)), ["b"]);
    assert!(!world.router.has_work());
}

#[test]
fn queues_are_looked_at_once_and_only_when_they_may_go_on() {
    let mut world = World::new(|config| config.limits.route_in_flight_bytes_max = 1);
    let route = world.route();
    world.forward_all(&["SET a 1"]);
    assert_eq!(world.router.next_to_drain(&world.ctx), None, "it has left");
    world.forward_all(&["SET b 1", "SET c 1"]);
    assert_eq!(world.router.next_to_drain(&world.ctx), Some(route));
    assert_eq!(world.router.next_to_drain(&world.ctx), None, "two commands of one queue");
    world.router.set_takes_commands(LinkId(1), false);
    world.router.set_takes_commands(LinkId(1), true);
    assert_eq!(world.router.next_to_drain(&world.ctx), None, "they go over the other link");
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(world.router.next_to_drain(&world.ctx), None, "it was up before");
    world.router.set_takes_commands(LinkId(0), false);
    assert_eq!(world.router.next_to_drain(&world.ctx), None, "it is down now");
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(world.router.next_to_drain(&world.ctx), Some(route));
}

/// Behind a refused command that waits for others to come back nothing can go: their answers do not make it look.
#[test]
fn a_queue_with_refused_commands_is_not_looked_at_before_all_are_back() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1", "SET b 1", "SET c 1"]);
    let sent = world.sent(0);
    world.answer(0, sent.heads[1].id, ReplyStatus::NotLeader, b"");
    assert_eq!(world.router.next_to_drain(&world.ctx), None);
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!(world.router.next_to_drain(&world.ctx), None);
    world.answer(0, sent.heads[2].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!(world.router.next_to_drain(&world.ctx), Some(world.route()));
}
