//! Commands of other cores that wait for room, and whose they are.

use super::*;

fn take(world: &mut World, at: usize, (link, id): (u32, u64), line: &str, (resumes, must_wait): (bool, bool)) {
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[at];
    let origin = Origin::Peer { link: LinkId(link), id, protocol: resp::Protocol::Resp2 };
    with_request(origin, line, |request| {
        groups.take_forwarded(ctx, answers, effects, Arrival { group: GROUP, resumes, must_wait }, request);
    });
}

fn replied(world: &World, at: usize) -> Vec<u64> {
    world.sides[at].answers.to_peers.iter().map(|(_, id, _)| *id).collect()
}

#[test]
fn commands_do_not_overtake_those_that_wait_for_room() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    take(&mut world, leader, (0, 1), "GET a", (true, true));
    take(&mut world, leader, (1, 2), "GET a", (true, false));
    assert!(replied(&world, leader).is_empty(), "there is room, and an older one waits");
    world.settle();
    assert_eq!(replied(&world, leader), [1, 2]);
}

#[test]
fn a_core_that_takes_no_replies_has_its_commands_held() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.sides[leader].answers.is_congested = true;
    take(&mut world, leader, (0, 1), "GET a", (true, false));
    world.settle();
    assert_eq!((replied(&world, leader), world.sides[leader].unblocked), (vec![], 0));
    world.sides[leader].answers.is_congested = false;
    world.settle();
    assert_eq!((replied(&world, leader), world.sides[leader].unblocked), (vec![1], 1));
}

#[test]
fn what_a_core_has_forwarded_that_is_gone_is_forgotten_and_nothing_else() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for (link, id) in [(0, 1), (1, 2), (0, 3)] {
        take(&mut world, leader, (link, id), "GET a", (true, true));
    }
    let side = &mut world.sides[leader];
    let bytes = side.groups.list[GROUP].held_bytes;
    side.groups.forget_held(LinkId(0));
    assert_eq!(side.groups.list[GROUP].held_bytes, bytes / 3);
    world.settle();
    assert_eq!((replied(&world, leader), world.sides[leader].groups.list[GROUP].held_bytes), (vec![2], 0));
    assert!(world.sides[leader].answers.sent_back.is_empty());
}

#[test]
fn a_core_whose_commands_went_back_is_refused_until_it_resumes_and_others_are_not() {
    let mut world = World::new(|config| config.limits.held_bytes_max = 1);
    let leader = world.leader();
    take(&mut world, leader, (0, 1), "GET a", (true, true));
    take(&mut world, leader, (0, 2), "GET a", (false, true));
    assert_eq!(world.sides[leader].answers.sent_back, [(LinkId(0), 1), (LinkId(0), 2)]);
    world.settle();
    take(&mut world, leader, (0, 3), "GET a", (false, false));
    take(&mut world, leader, (1, 4), "GET a", (false, false));
    take(&mut world, leader, (0, 5), "GET a", (true, false));
    take(&mut world, leader, (0, 6), "GET a", (false, false));
    assert_eq!(world.sides[leader].answers.sent_back[2..], [(LinkId(0), 3)]);
    assert_eq!(replied(&world, leader), [4, 5, 6]);
}
