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
fn a_core_that_takes_no_replies_has_its_commands_held_and_holds_up_nobody_else() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.sides[leader].answers.congested = vec![LinkId(0)];
    take(&mut world, leader, (0, 1), "GET a", (true, false));
    take(&mut world, leader, (1, 2), "GET a", (true, false));
    assert_eq!(replied(&world, leader), [2], "the other core takes its replies");
    take(&mut world, leader, (0, 3), "GET a", (false, true));
    take(&mut world, leader, (1, 4), "GET a", (false, true));
    take(&mut world, leader, (1, 5), "GET a", (false, true));
    // A client of this core waits as well.
    world.sides[leader].groups.note_full(GROUP);
    world.settle();
    assert_eq!((replied(&world, leader), world.sides[leader].unblocked), (vec![2, 4, 5], 1));
    world.settle();
    assert_eq!(world.sides[leader].unblocked, 1, "nobody has waited since");
    world.sides[leader].answers.congested.clear();
    world.settle();
    assert_eq!(replied(&world, leader), [2, 4, 5, 1, 3]);
    assert_eq!(world.sides[leader].replica().forwarded.bytes(), 0);
}

/// Whoever has sent many commands does not keep those of the others from the room that there is.
#[test]
fn the_commands_of_several_cores_that_wait_go_on_in_turns() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for id in [1, 2, 3] {
        take(&mut world, leader, (0, id), "GET a", (id == 1, true));
    }
    take(&mut world, leader, (1, 11), "GET a", (true, true));
    take(&mut world, leader, (1, 12), "GET a", (false, true));
    take(&mut world, leader, (2, 21), "GET a", (true, true));
    world.settle();
    assert_eq!(replied(&world, leader), [1, 11, 21, 2, 12, 3]);
}

#[test]
fn commands_beyond_the_bound_go_back_to_the_core_that_has_most_of_them() {
    let bytes = with_request(client(0), "GET a", |request| request.bytes());
    let mut world = World::new(|config| config.limits.forwarded_bytes_max = 4 * bytes);
    let leader = world.leader();
    world.sides[leader].answers.congested = vec![LinkId(0)];
    take(&mut world, leader, (1, 11), "GET a", (true, true));
    for id in [1, 2, 3] {
        take(&mut world, leader, (0, id), "GET a", (id == 1, true));
    }
    take(&mut world, leader, (1, 12), "GET a", (false, true));
    let back = |range: std::ops::RangeInclusive<u64>, link| range.map(move |id| (LinkId(link), id));
    let mut expected: Vec<_> = back(1..=3, 0).collect();
    assert_eq!(world.sides[leader].answers.sent_back, expected);
    take(&mut world, leader, (0, 4), "GET a", (false, true));
    expected.push((LinkId(0), 4));
    assert_eq!(world.sides[leader].answers.sent_back, expected, "it has not heard so yet");
    for id in [13, 14, 15] {
        take(&mut world, leader, (1, id), "GET a", (false, true));
    }
    expected.extend(back(11..=15, 1));
    assert_eq!(world.sides[leader].answers.sent_back, expected, "the bound holds for one core alone");
    take(&mut world, leader, (0, 5), "GET a", (true, true));
    world.sides[leader].answers.congested.clear();
    world.settle();
    assert_eq!((replied(&world, leader), world.sides[leader].replica().forwarded.bytes()), (vec![5], 0));
}

/// A core that has sent as much as another one finds no room at its cost.
#[test]
fn commands_beyond_the_bound_go_back_themselves_if_no_other_core_has_more() {
    let bytes = with_request(client(0), "GET a", |request| request.bytes());
    let mut world = World::new(|config| config.limits.forwarded_bytes_max = 3 * bytes);
    let leader = world.leader();
    for (link, id) in [(0, 1), (0, 2), (1, 11), (1, 12)] {
        take(&mut world, leader, (link, id), "GET a", (true, true));
    }
    assert_eq!(world.sides[leader].answers.sent_back, [(LinkId(1), 11), (LinkId(1), 12)]);
    world.settle();
    assert_eq!(replied(&world, leader), [1, 2]);
}

#[test]
fn what_a_core_has_forwarded_that_is_gone_is_forgotten_and_nothing_else() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for (link, id) in [(0, 1), (1, 2), (0, 3)] {
        take(&mut world, leader, (link, id), "GET a", (true, true));
    }
    let side = &mut world.sides[leader];
    let bytes = side.groups.list[GROUP].forwarded.bytes();
    side.groups.forget_forwarded(LinkId(0));
    assert_eq!(side.groups.list[GROUP].forwarded.bytes(), bytes / 3);
    world.settle();
    assert_eq!((replied(&world, leader), world.sides[leader].groups.list[GROUP].forwarded.bytes()), (vec![2], 0));
    assert!(world.sides[leader].answers.sent_back.is_empty());
}

#[test]
fn a_core_whose_commands_went_back_is_refused_until_it_resumes_and_others_are_not() {
    let mut world = World::new(|config| config.limits.forwarded_bytes_max = 1);
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

#[test]
fn commands_that_waited_for_room_go_on_in_slices() {
    const PER_TURN_MAX: usize = 8;
    let mut world = World::new(|config| config.limits.commands_per_turn_max = PER_TURN_MAX);
    let leader = world.leader();
    (0..20).for_each(|id| take(&mut world, leader, (0, id), "GET a", (id == 0, true)));
    let (mut counts, side) = (Vec::new(), &mut world.sides[leader]);
    loop {
        let seen = side.answers.to_peers.len();
        side.ctx.shares.begin();
        side.groups.resume_full(&mut side.ctx, &mut side.answers, &mut side.effects, |_| false);
        counts.push(side.answers.to_peers.len() - seen);
        if !side.groups.has_work() {
            break;
        }
    }
    assert_eq!(counts, [8, 8, 4], "what is left is more to do at once");
    assert!(replied(&world, leader).into_iter().eq(0..20));
}
