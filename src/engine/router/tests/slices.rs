//! What concerns many commands at once is worked off in slices, and keeps their order.

use super::*;

const SLICE: usize = 4;

/// A world in which a turn looks at a few commands only.
fn world() -> World {
    World::new(|config| config.limits.commands_per_turn_max = SLICE)
}

/// Commands on the keys `0..count`.
fn forward_numbered(world: &mut World, name: &str, count: usize) {
    for number in 0..count {
        assert_eq!(
            world.forward(&format!("{name} {number}{}", if name == "SET" { " v" } else { "" })),
            Forwarded::Taken
        );
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Runs turns until the router has nothing left to do, and takes what leaves over a link meanwhile.
fn sent_in_slices(world: &mut World, link: u32) -> Vec<String> {
    let mut keys = Vec::new();
    for _ in 0..1_000 {
        let sent = world.sent(link);
        assert!(sent.heads.len() <= SLICE, "{} commands go on in one turn", sent.heads.len());
        keys.extend(World::keys(&sent));
        if !world.router.has_work() {
            return keys;
        }
    }
    panic!("the router does not come to an end");
}

#[test]
fn a_lost_link_answers_a_slice_per_turn_and_newer_commands_wait_for_all_of_it() {
    let mut world = world();
    forward_numbered(&mut world, "GET", 10);
    world.sent(0);
    world.forward_all(&["GET unsent"]);
    world.lead(OTHERS[1], 2);
    world.router.link_failed(LinkId(0));
    // Newer ones, whose leader can be reached.
    world.forward_all(&["SET newer 1"]);
    for turn in 0..2 {
        assert!(world.router.has_work(), "in turn {turn}");
        assert!(world.sent(1).is_empty(), "older ones are not back yet in turn {turn}");
    }
    let expected: Vec<String> = numbers(0..10).into_iter().chain(["unsent".to_owned(), "newer".to_owned()]).collect();
    assert_eq!(sent_in_slices(&mut world, 1), expected);
    assert!(world.answers.replies.is_empty());
    // Of eleven commands that are given up four in a turn, and of twelve that go on.
    assert_eq!(world.ctx.counters.commands_sliced, 2 + 2);
}

#[test]
fn writes_of_a_lost_link_are_unknown_and_reads_before_them_lost_across_slices() {
    let mut world = world();
    forward_numbered(&mut world, "GET", 6);
    world.forward_all(&["SET a 1"]);
    forward_numbered(&mut world, "GET", 6);
    world.sent(0);
    world.router.link_failed(LinkId(0));
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(sent_in_slices(&mut world, 0), numbers(0..6), "those behind the write are asked again");
    let of = |prefix: &str| world.answers.replies.values().filter(|reply| reply.starts_with(prefix)).count();
    assert_eq!((of("-TRYAGAIN"), of("-UNKNOWNOUTCOME")), (6, 1), "{:?}", world.answers.replies);
}

#[test]
fn an_answer_that_comes_while_its_link_is_given_up_is_too_late() {
    let mut world = world();
    forward_numbered(&mut world, "SET", 10);
    let sent = world.sent(0);
    world.fail_link(0);
    assert_eq!(world.answers.replies.len(), SLICE);
    for head in &sent.heads {
        world.answer(0, head.id, ReplyStatus::NotLeader, b"");
        world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n");
    }
    assert_eq!(sent_in_slices(&mut world, 0), [""; 0]);
    assert_eq!(world.answers.replies.len(), 10);
    assert!(world.answers.replies.values().all(|reply| reply.starts_with("-UNKNOWNOUTCOME")));
}

#[test]
fn a_link_that_is_up_again_before_all_is_given_up_takes_nothing_until_then() {
    let mut world = world();
    forward_numbered(&mut world, "SET", 6);
    world.sent(0);
    world.forward_all(&["SET unsent 1"]);
    world.fail_link(0);
    world.router.set_takes_commands(LinkId(0), true);
    world.forward_all(&["SET newer 1"]);
    assert!(world.router.take_requests(LinkId(0)).is_none(), "the frame that was lost with its link does not leave");
    assert_eq!(sent_in_slices(&mut world, 0), ["unsent", "newer"]);
    assert_eq!(world.answers.replies.len(), 6);
}

#[test]
fn a_deposed_leader_keeps_the_commands_of_its_other_groups() {
    let mut world = world();
    let other = world.router.of_group(GroupId(2)).unwrap();
    let note = LeaderNote { group: GroupId(2), term: 1, place: OTHERS[0] };
    world.router.learn_leader(&mut world.ctx, note);
    for number in 0..6_u64 {
        assert_eq!(world.forward(&format!("SET {number} v")), Forwarded::Taken);
        let World { ctx, router, .. } = &mut world;
        let origin = client(100 + number);
        let taken = with_request(origin, "GET other", |request| router.forward(ctx, other, None, request));
        assert_eq!(taken, Forwarded::Taken);
    }
    let sent = world.sent(0);
    world.lead(OTHERS[1], 2);
    world.tick(Duration::from_millis(25), true);
    // It leads again, before all is given up: what is newer must not overtake.
    world.lead(OTHERS[0], 3);
    world.forward_all(&["GET newer"]);
    assert!(world.sent(0).is_empty(), "older ones are not given up yet");
    assert_eq!(sent_in_slices(&mut world, 0), ["newer"]);
    assert_eq!(world.answers.replies.len(), 6);
    for head in &sent.heads {
        world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n");
    }
    let others = world.answers.replies.range(100..).filter(|(_, reply)| *reply == "+OK\r\n").count();
    assert_eq!(others, 6, "the other group's are answered as ever");
}

#[test]
fn a_link_that_breaks_while_a_deposed_leader_is_given_up_remembers_its_writers() {
    let mut world = world();
    world.forward_all(&["GET a"]);
    forward_numbered(&mut world, "SET", 5);
    world.sent(0);
    world.lead(OTHERS[1], 2);
    world.tick(Duration::from_millis(25), true);
    assert_eq!(world.answers.replies.len(), SLICE);
    world.fail_link(0);
    assert_eq!(sent_in_slices(&mut world, 1), [""; 0], "the read stood before writes that may have run");
    assert!(world.answers.replies[&1].starts_with("-TRYAGAIN"));
    assert_eq!(world.answers.replies.len(), 6);
}

#[test]
fn late_commands_are_given_up_in_slices() {
    let mut world = world();
    forward_numbered(&mut world, "SET", 10);
    world.sent(0);
    world.tick(world.ctx.config.leader_wait, false);
    assert_eq!(world.answers.replies.len(), SLICE, "in flight");
    assert_eq!(sent_in_slices(&mut world, 0), [""; 0]);
    assert_eq!(world.answers.replies.len(), 10);
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    forward_numbered(&mut world, "GET", 10);
    world.tick(world.ctx.config.leader_wait, false);
    assert_eq!(world.answers.replies.len(), 10 + SLICE, "waiting");
    assert_eq!(sent_in_slices(&mut world, 0), [""; 0]);
    assert_eq!(world.answers.replies.len(), 20);
}

#[test]
fn commands_that_waited_for_a_leader_go_on_in_slices_and_in_order() {
    let mut world = world();
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    forward_numbered(&mut world, "SET", 10);
    world.work();
    world.lead(OTHERS[1], 2);
    world.forward_all(&["SET newer 1"]);
    let expected: Vec<String> = numbers(0..10).into_iter().chain(["newer".to_owned()]).collect();
    assert_eq!(sent_in_slices(&mut world, 1), expected);
}

/// No turn grows with what is in flight: each of these is far from what all of it would take.
#[test]
fn sixty_thousand_commands_of_a_lost_leader_go_on_in_bounded_turns() {
    const COUNT: usize = 60_000;
    let mut world = World::new(|config| config.limits.route_in_flight_bytes_max = usize::MAX);
    forward_numbered(&mut world, "GET", COUNT);
    assert_eq!(world.sent(0).heads.len(), COUNT);
    world.lead(OTHERS[1], 2);
    world.router.link_failed(LinkId(0));
    let slice = world.ctx.config.limits.commands_per_turn_max;
    let mut turns_count = 0;
    let mut keys = Vec::with_capacity(COUNT);
    while keys.len() < COUNT {
        let sent = world.sent(1);
        assert!(sent.heads.len() <= slice);
        keys.extend(World::keys(&sent));
        turns_count += 1;
        assert!(turns_count <= 2 * COUNT.div_ceil(slice) + 2, "the turns do their share");
    }
    assert_eq!(keys, numbers(0..COUNT));
}
