//! How long a command may be on its way, wherever it is.

use super::*;

#[test]
fn a_command_that_bounces_between_two_cores_has_its_time_from_when_it_was_taken_in() {
    let mut world = World::new(|_| {});
    let wait = world.ctx.config.leader_wait;
    world.forward_all(&["SET a 1"]);
    for bounce in 0..8 {
        assert!(world.answers.replies.is_empty(), "{bounce}: {:?}", world.answers.replies);
        let link = bounce % 2;
        let sent = world.sent(link);
        assert_eq!(sent.heads.len(), 1, "{bounce}");
        world.answer(link, sent.heads[0].id, ReplyStatus::NotLeader, b"");
        world.tick(wait / 8, false);
        world.lead(OTHERS[1 - link as usize], Term::from(bounce) + 2);
    }
    assert_eq!(world.ctx.refusals.counts().get(Refusal::LeaderBusy), 1, "it did not run");
    assert_eq!(world.answers.replies.len(), 1);
}

/// Behind commands that have more time left, as they were taken in later.
#[test]
fn a_command_that_was_sent_again_is_given_up_when_its_own_time_is_over() {
    let mut world = World::new(|_| {});
    let other = world.router.of_group(GroupId(2)).unwrap();
    let note = LeaderNote { group: GroupId(2), term: 1, place: OTHERS[1] };
    world.router.learn_leader(&mut world.ctx, note);
    let wait = world.ctx.config.leader_wait;
    world.forward_all(&["SET a 1", "SET b 1", "SET c 1"]);
    let first = world.sent(0);
    world.tick(wait / 2, false);
    for seq in [100, 101] {
        let World { ctx, router, .. } = &mut world;
        let taken = with_request(client(seq), "SET z 1", |request| router.forward(ctx, other, None, request));
        assert_eq!(taken, Forwarded::Taken);
    }
    world.lead(OTHERS[1], 2);
    first.heads.iter().for_each(|head| world.answer(0, head.id, ReplyStatus::NotLeader, b""));
    let second = world.sent(1);
    assert_eq!(World::keys(&second), ["z", "z", "a", "b", "c"]);
    world.answer(1, second.heads[3].id, ReplyStatus::Done, b"+OK\r\n");
    world.tick(wait / 2 - Duration::from_millis(1), false);
    assert_eq!(world.answers.replies.len(), 1);
    world.tick(Duration::from_millis(1), false);
    let replies: Vec<(u64, &str)> = world.answers.replies.iter().map(|(seq, reply)| (*seq, &reply[..4])).collect();
    assert_eq!(replies, [(1, "-UNK"), (2, "+OK\r"), (3, "-UNK")]);
    world.tick(wait / 2 - Duration::from_millis(1), false);
    assert_eq!(world.answers.replies.len(), 3);
    world.tick(Duration::from_millis(1), false);
    assert_eq!(world.answers.replies.len(), 5);
    world.router.settle();
    assert_eq!(world.ctx.budget.used_by(Pool::Forwarded), 0);
}

/// Its answer would come too late, and nobody would know whether it has run.
#[test]
fn a_command_whose_time_is_over_does_not_leave_any_more() {
    for replica in [None, local(true)] {
        let mut world = World::new(|_| {});
        let group = world.router.route(world.route()).id;
        let wait = world.ctx.config.leader_wait;
        world.router.forget_leader(group, 1);
        world.forward_all(&["SET a 1"]);
        world.ctx.now += wait / 2;
        world.forward_all(&["SET b 1"]);
        world.ctx.now += wait / 2;
        world.lead(OTHERS[1], 2);
        let route = world.router.next_to_drain(&world.ctx).unwrap();
        assert!(world.router.drain(&mut world.ctx, route, replica).is_none());
        assert!(world.router.take_requests(LinkId(1)).is_none());
        world.tick(Duration::from_millis(1), false);
        assert_eq!(world.answers.replies.keys().copied().collect::<Vec<_>>(), [1]);
        let route = world.router.next_to_drain(&world.ctx).unwrap();
        let executed = world.router.drain(&mut world.ctx, route, replica);
        assert_eq!(executed.is_some(), replica.is_some());
        let sent = world.router.take_requests(LinkId(1)).unwrap_or_default();
        assert_eq!(World::keys(&sent).len(), usize::from(replica.is_none()), "the newer one goes on");
    }
}

#[test]
fn a_read_that_comes_back_with_its_link_has_no_more_time_than_before() {
    let mut world = World::new(|_| {});
    let wait = world.ctx.config.leader_wait;
    world.forward_all(&["GET a"]);
    world.sent(0);
    world.tick(wait / 2, false);
    world.fail_link(0);
    world.tick(wait / 2 - Duration::from_millis(1), false);
    assert!(world.answers.replies.is_empty());
    world.tick(Duration::from_millis(1), false);
    assert_eq!(world.ctx.refusals.counts().get(Refusal::LeaderUnreachable), 1);
}

#[test]
fn a_command_goes_on_as_soon_as_the_last_late_one_before_it_is_gone() {
    let mut world = World::new(|config| config.limits.commands_per_turn_max = 4);
    let group = world.router.route(world.route()).id;
    let wait = world.ctx.config.leader_wait;
    world.router.forget_leader(group, 1);
    world.forward_all(&["SET a 1"; 6]);
    world.ctx.now += wait / 2;
    world.forward_all(&["SET newer 1"]);
    world.lead(OTHERS[1], 2);
    world.tick(wait / 2, false);
    assert_eq!(world.answers.replies.len(), 4, "as many as a turn gives up");
    // The queue goes on with the tick, and stops at the first late one that is left.
    while let Some(route) = world.router.next_to_drain(&world.ctx) {
        assert!(world.router.drain(&mut world.ctx, route, None).is_none());
    }
    assert!(world.router.take_requests(LinkId(1)).is_none());
    assert_eq!(World::keys(&world.sent(1)), ["newer"]);
    assert_eq!(world.answers.replies.len(), 6);
}
