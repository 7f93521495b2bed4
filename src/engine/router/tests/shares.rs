//! How the room for commands on their way is shared among the routes.

use super::*;

const COUNT_MAX: usize = 64;

/// Many groups, all led at the first of the other cores.
fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(|config| {
        config.map = testing::map(40);
        config.limits.forwarded_count_max = COUNT_MAX;
        config.limits.queued_count_max = COUNT_MAX;
        change(config);
    });
    for group in 1..=40 {
        let note = LeaderNote { group: GroupId(group), term: 1, place: OTHERS[0] };
        world.router.learn_leader(&mut world.ctx, note);
    }
    world
}

fn forward_to(world: &mut World, group: u32, line: &str) -> Forwarded {
    let route = world.router.of_group(GroupId(group)).unwrap();
    world.forward_by(route, line)
}

/// Forwards commands to a group until one finds no room. Returns how many did, and what became of the last.
fn fill(world: &mut World, group: u32) -> (usize, Forwarded) {
    for taken in 0..=COUNT_MAX {
        let last = forward_to(world, group, "SET a 1");
        if last != Forwarded::Taken {
            return (taken, last);
        }
    }
    panic!("nothing bounds what is taken in");
}

fn on_their_way(world: &World) -> usize {
    world.router.in_flight.count() + world.router.waiting_count
}

#[test]
fn many_groups_without_a_leader_leave_half_of_the_room_to_the_others() {
    let mut world = world(|_| {});
    for group in 2..=40 {
        world.router.forget_leader(GroupId(group), 1);
    }
    for group in 2..=40 {
        let (taken, last) = fill(&mut world, group);
        assert_eq!(last, Forwarded::Refused(Refusal::QueueFull));
        assert!(group > 4 || taken > 0, "group {group} has its share");
    }
    assert_eq!(on_their_way(&world), COUNT_MAX / 2);
    assert_eq!(fill(&mut world, 1), (COUNT_MAX / 2, Forwarded::Blocked));
    // The client of the healthy group goes on as its commands are answered, whatever the others hold.
    let sent = world.sent(0);
    for head in &sent.heads[..COUNT_MAX / 4] {
        assert!(!world.router.has_unblocked());
        world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n");
    }
    let route = world.router.of_group(GroupId(1)).unwrap();
    assert_eq!(world.router.take_unblocked(&world.ctx), [route]);
    assert_eq!(fill(&mut world, 1), (COUNT_MAX / 4, Forwarded::Blocked));
    // Those without a leader are given up in the end.
    world.tick(world.ctx.config.leader_wait, false);
    assert_eq!(on_their_way(&world), 0);
    assert_eq!(fill(&mut world, 1), (COUNT_MAX, Forwarded::Blocked), "it is all there for whoever needs it");
}

#[test]
fn groups_whose_leader_does_not_answer_get_no_more_than_half_of_the_room() {
    let mut world = world(|_| {});
    for group in 2..=4 {
        (0..12).for_each(|_| assert_eq!(forward_to(&mut world, group, "SET a 1"), Forwarded::Taken));
    }
    let sent = world.sent(0);
    assert_eq!(sent.heads.len(), 36);
    world.tick(Duration::from_millis(240), false);
    assert_eq!(forward_to(&mut world, 1, "SET a 1"), Forwarded::Taken);
    assert_eq!(forward_to(&mut world, 2, "SET a 1"), Forwarded::Taken, "it has a moment to answer");
    world.tick(Duration::from_millis(10), false);
    for group in 2..=4 {
        assert_eq!(forward_to(&mut world, group, "SET a 1"), Forwarded::Blocked);
    }
    world.tick(Duration::from_millis(25), false);
    assert!(!world.router.has_unblocked());
    assert_eq!(forward_to(&mut world, 5, "SET a 1"), Forwarded::Taken, "nobody has asked it before");
    assert_eq!(fill(&mut world, 1).0, COUNT_MAX - 39, "the rest is there for it");
    // One of them answers again, and the room that this leaves is there for it too.
    let of_second = sent.heads.iter().filter(|head| head.group == 2);
    of_second.for_each(|head| world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n"));
    assert_eq!(forward_to(&mut world, 3, "SET a 1"), Forwarded::Blocked);
    assert_eq!(fill(&mut world, 2), (12, Forwarded::Blocked));
}

#[test]
fn groups_that_cannot_be_reached_share_their_half() {
    let mut world = world(|_| {});
    world.router.set_takes_commands(LinkId(0), false);
    let taken: Vec<usize> = (1..=6).map(|group| fill(&mut world, group).0).collect();
    assert_eq!(taken, [16, 8, 4, 2, 1, 1], "each leaves something to the next one");
    assert_eq!(fill(&mut world, 7), (0, Forwarded::Blocked));
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(world.sent(0).heads.len(), COUNT_MAX / 2);
    assert_eq!(forward_to(&mut world, 7, "SET a 1"), Forwarded::Taken);
}

#[test]
fn groups_without_a_leader_leave_half_of_the_memory_to_the_others() {
    let mut world = world(|config| {
        config.memory_bytes_max = 30_000;
        config.limits.route_in_flight_bytes_max = 1;
    });
    let mut others = world.ctx.budget.permit(Pool::Links);
    others.set(5_001);
    for group in 2..=3 {
        world.router.forget_leader(GroupId(group), 1);
        let expected = (1, Forwarded::Refused(Refusal::QueueFull));
        assert_eq!(fill(&mut world, group), expected, "one can always wait");
    }
    (0..3).for_each(|_| assert_eq!(forward_to(&mut world, 1, "SET a 1"), Forwarded::Taken));
    others.set(3_000);
    assert_eq!(forward_to(&mut world, 2, "SET a 1"), Forwarded::Taken);
}

#[test]
fn clients_of_a_stalled_group_hear_of_room_once_there_is_plenty_of_its_share() {
    let mut world = world(|_| {});
    let note = LeaderNote { group: GroupId(1), term: 2, place: OTHERS[1] };
    world.router.learn_leader(&mut world.ctx, note);
    world.router.set_takes_commands(LinkId(0), false);
    (0..8).for_each(|_| assert_eq!(forward_to(&mut world, 2, "SET a 1"), Forwarded::Taken));
    world.ctx.now += Duration::from_secs(1);
    assert_eq!(fill(&mut world, 2), (8, Forwarded::Blocked));
    world.tick(Duration::from_millis(25), false);
    assert!(!world.router.has_unblocked());
    // The others take all that is left, and then give it back.
    assert_eq!(fill(&mut world, 1), (COUNT_MAX - 16, Forwarded::Blocked));
    let sent = world.sent(1);
    world.tick(world.ctx.config.leader_wait - Duration::from_millis(1_125), false);
    world.answer(1, sent.heads[0].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!((world.answers.replies.len(), world.router.take_unblocked(&world.ctx)), (1, vec![]));
    world.tick(Duration::from_millis(100), false);
    assert_eq!(world.answers.replies.len(), 1 + 8, "as many are late");
    let [first, second] = [1, 2].map(|group| world.router.of_group(GroupId(group)).unwrap());
    assert_eq!(world.router.take_unblocked(&world.ctx), [second]);
    sent.heads[1..].iter().for_each(|head| world.answer(1, head.id, ReplyStatus::Done, b"+OK\r\n"));
    assert_eq!(world.router.take_unblocked(&world.ctx), [first]);
}

#[test]
fn a_group_led_here_whose_commands_are_executed_is_not_stalled() {
    let mut world = world(|_| {});
    let route = world.route();
    let is_stalled = |world: &World| world.router.queues[route].is_stalled();
    let group = world.router.route(route).id;
    world.router.forget_leader(group, 1);
    world.forward_all(&["SET a 1", "SET b 1"]);
    assert!(is_stalled(&world));
    world.lead(ME, 2);
    world.tick(Duration::from_millis(25), false);
    assert!(!is_stalled(&world), "its leader is known");
    world.tick(Duration::from_millis(225), false);
    assert!(is_stalled(&world), "and executes nothing");
    assert!(world.router.drain(&mut world.ctx, route, local(true)).is_some());
    world.tick(Duration::from_millis(25), false);
    assert!(!is_stalled(&world));
}

/// A group whose clients always have more to send leaves room to those that have waited for longer.
#[test]
fn clients_of_a_group_without_room_hear_of_it_whichever_group_has_made_it() {
    let mut world = world(|_| {});
    let [busy, other] = [1, 2].map(|group| world.router.of_group(GroupId(group)).unwrap());
    (0..COUNT_MAX).for_each(|_| assert_eq!(forward_to(&mut world, 1, "SET a 1"), Forwarded::Taken));
    assert_eq!(forward_to(&mut world, 2, "SET a 1"), Forwarded::Blocked);
    assert_eq!(forward_to(&mut world, 1, "SET a 1"), Forwarded::Blocked);
    let sent = world.sent(0);
    let answer = |world: &mut World, idx: usize| world.answer(0, sent.heads[idx].id, ReplyStatus::Done, b"+OK\r\n");
    (0..COUNT_MAX / 2 - 1).for_each(|idx| answer(&mut world, idx));
    assert!(!world.router.has_unblocked(), "there is no plenty yet");
    answer(&mut world, COUNT_MAX / 2 - 1);
    assert_eq!(world.router.take_unblocked(&world.ctx), [other, busy]);
    assert_eq!(
        (fill(&mut world, 1), forward_to(&mut world, 2, "GET a")),
        ((32, Forwarded::Blocked), Forwarded::Blocked)
    );
    let sent = world.sent(0);
    sent.heads.iter().for_each(|head| world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n"));
    assert_eq!(world.router.take_unblocked(&world.ctx), [busy, other], "in the order in which they began to wait");
}
