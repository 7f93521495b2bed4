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

/// Rows may have to be read for a read, so its reply may come behind that of a later write, or be lost behind it.
#[test]
fn a_read_of_a_lost_link_that_a_write_has_overtaken_is_lost() {
    let mut world = world();
    forward_numbered(&mut world, "GET", 3);
    world.forward_all(&["SET a 1"]);
    forward_numbered(&mut world, "GET", 2);
    let sent = world.sent(0);
    world.answer(0, sent.heads[3].id, ReplyStatus::Done, b"+OK\r\n");
    world.router.link_failed(LinkId(0));
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(sent_in_slices(&mut world, 0), numbers(0..2), "those behind the write are asked again");
    let of = |prefix: &str| world.answers.replies.values().filter(|reply| reply.starts_with(prefix)).count();
    assert_eq!((of("-TRYAGAIN"), of("+OK")), (3, 1), "{:?}", world.answers.replies);
}

/// Found by the simulator (seed 920000209): of two reads of a connection the later one was answered by a former leader, as of then, while rows
/// were still being read for the earlier one, which was then sent to the next leader.
#[test]
fn a_read_of_a_lost_link_that_another_read_has_overtaken_is_lost() {
    let mut world = world();
    forward_numbered(&mut world, "GET", 5);
    let sent = world.sent(0);
    world.answer(0, sent.heads[2].id, ReplyStatus::Done, b"+seen\r\n");
    world.router.link_failed(LinkId(0));
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(sent_in_slices(&mut world, 0), numbers(3..5), "those behind the answered one are asked again");
    let of = |prefix: &str| world.answers.replies.values().filter(|reply| reply.starts_with(prefix)).count();
    assert_eq!((of("-TRYAGAIN"), of("+seen")), (2, 1), "{:?}", world.answers.replies);
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

/// Forwards commands to another group than that of the other tests.
fn forward_to(world: &mut World, group: u32, line: &str) {
    let route = world.router.of_group(GroupId(group)).unwrap();
    assert_eq!(world.forward_by(route, line), Forwarded::Taken);
}

fn lead(world: &mut World, group: u32, addr: CoreAddr, term: Term) {
    let note = LeaderNote { group: GroupId(group), term, place: addr };
    world.router.learn_leader(&mut world.ctx, note);
}

#[test]
fn a_link_that_fails_again_while_it_is_given_up_takes_nothing_along_that_came_behind() {
    let mut world = world();
    forward_numbered(&mut world, "SET", 2 * SLICE);
    world.sent(0);
    world.fail_link(0);
    world.router.link_failed(LinkId(0));
    world.router.set_takes_commands(LinkId(0), true);
    world.forward_all(&["SET newer 1"]);
    assert_eq!(sent_in_slices(&mut world, 0), ["newer"]);
    assert_eq!(world.answers.replies.len(), 2 * SLICE);
    assert_eq!(world.ctx.refusals.counts().get(Refusal::OutcomeUnknownLink), 2 * SLICE as u64);
}

#[test]
fn what_waits_for_a_link_that_is_given_up_goes_on_behind_the_last_slice() {
    let mut world = world();
    lead(&mut world, 2, OTHERS[0], 1);
    forward_numbered(&mut world, "SET", 2 * SLICE);
    world.sent(0);
    world.fail_link(0);
    world.router.set_takes_commands(LinkId(0), true);
    forward_to(&mut world, 2, "GET other");
    assert_eq!(sent_in_slices(&mut world, 0), ["other"]);
}

#[test]
fn a_read_of_one_group_does_not_depend_on_a_write_of_another() {
    let mut world = world();
    lead(&mut world, 2, OTHERS[0], 1);
    world.forward_all(&["GET a"]);
    forward_to(&mut world, 2, "SET b 1");
    world.sent(0);
    world.fail_link(0);
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(sent_in_slices(&mut world, 0), ["a"]);
    assert_eq!(world.answers.replies.len(), 1);
}

/// All of its commands were given up, and its leader leads again: what is sent then has nothing to do with the former ones.
#[test]
fn a_link_that_breaks_forgets_the_writers_of_groups_that_were_given_up_before() {
    let mut world = world();
    lead(&mut world, 2, OTHERS[0], 1);
    (0..2 * SLICE).for_each(|_| forward_to(&mut world, 2, "SET other 1"));
    world.forward_all(&["SET a 1"]);
    world.sent(0);
    lead(&mut world, 2, OTHERS[1], 2);
    world.lead(OTHERS[1], 2);
    world.tick(Duration::from_millis(25), true);
    assert_eq!(world.answers.replies.len(), SLICE);
    world.lead(OTHERS[0], 3);
    world.forward_all(&["GET a"]);
    assert!(world.router.take_requests(LinkId(0)).is_some());
    world.router.link_failed(LinkId(0));
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(sent_in_slices(&mut world, 0), ["a"], "{:?}", world.answers.replies);
    let counts = world.ctx.refusals.counts();
    let expected = (SLICE as u64, SLICE as u64 + 1);
    assert_eq!((counts.get(Refusal::OutcomeUnknownDeposed), counts.get(Refusal::OutcomeUnknownLink)), expected);
}

#[test]
fn answers_of_a_deposed_leader_that_is_given_up_are_too_late_and_those_of_its_other_groups_are_not() {
    let mut world = world();
    lead(&mut world, 2, OTHERS[0], 1);
    forward_to(&mut world, 2, "GET other");
    forward_numbered(&mut world, "SET", 6);
    let sent = world.sent(0);
    world.lead(OTHERS[1], 2);
    world.tick(Duration::from_millis(25), true);
    assert_eq!(world.answers.replies.len(), SLICE);
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, b"+other\r\n");
    assert_eq!(world.answers.replies[&1], "+other\r\n");
    world.answer(0, sent.heads[1].id, ReplyStatus::NotLeader, b"");
    world.answer(0, sent.heads[2].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!(sent_in_slices(&mut world, 1), [""; 0]);
    assert_eq!(world.ctx.refusals.counts().get(Refusal::OutcomeUnknownDeposed), 6);
}

/// What is being given up has passed its newest commands already.
#[test]
fn a_group_whose_leader_is_deposed_while_others_are_given_up_comes_behind_them() {
    let mut world = world();
    (0..=2).for_each(|group| lead(&mut world, group, OTHERS[0], 1));
    (0..6).for_each(|_| forward_to(&mut world, 2, "SET other 1"));
    forward_to(&mut world, 0, "SET a 1");
    forward_to(&mut world, 1, "SET a 1");
    world.sent(0);
    lead(&mut world, 2, OTHERS[1], 2);
    world.tick(Duration::from_millis(25), true);
    assert_eq!(world.answers.replies.len(), SLICE - 2);
    (0..=1).for_each(|group| lead(&mut world, group, OTHERS[1], 2));
    world.tick(Duration::from_millis(25), true);
    assert_eq!(world.answers.replies.len(), 6);
    world.tick(Duration::from_millis(25), true);
    assert_eq!(world.answers.replies.len(), 8, "both are given up at once");
}

#[test]
fn turns_that_do_all_that_is_to_be_done_count_as_none_cut_short() {
    let mut world = world();
    forward_numbered(&mut world, "SET", SLICE);
    world.sent(0);
    world.fail_link(0);
    forward_numbered(&mut world, "SET", SLICE);
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(world.sent(0).heads.len(), SLICE);
    world.work();
    assert_eq!(world.ctx.counters.commands_sliced, 0);
}

#[test]
fn commands_for_the_replica_here_go_on_in_slices_without_an_event() {
    let mut world = world();
    let (route, group) = (world.route(), world.router.route(world.route()).id);
    world.router.forget_leader(group, 1);
    forward_numbered(&mut world, "SET", SLICE + 2);
    let mut executed = Vec::new();
    for _ in 0..2 {
        assert!(world.router.has_work());
        world.work();
        let mut count = 0;
        while let Some(next) = world.router.next_to_drain(&world.ctx) {
            assert_eq!(next, route);
            while world.router.drain(&mut world.ctx, route, local(true)).is_some() {
                count += 1;
            }
        }
        executed.push(count);
    }
    assert_eq!(executed, [SLICE, 2]);
    assert!(!world.router.has_work());
}

#[test]
fn a_link_that_fails_takes_nothing_and_is_answered_until_the_last_reply_that_came_is_taken_in() {
    let mut world = world();
    forward_numbered(&mut world, "SET", 3);
    let sent = world.sent(0);
    world.forward_all(&["SET unsent 1"]);
    world.router.link_fails(LinkId(0));
    world.router.set_takes_commands(LinkId(0), true);
    world.forward_all(&["SET newer 1"]);
    assert!(world.sent(0).is_empty(), "it may be up again, and is not done with");
    world.answer(0, sent.heads[1].id, ReplyStatus::Done, b"+OK\r\n");
    assert_eq!(world.answers.replies[&2], "+OK\r\n");
    world.router.link_failed(LinkId(0));
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(sent_in_slices(&mut world, 0), ["unsent", "newer"]);
    let unknown = |seq: u64| world.answers.replies[&seq].starts_with("-UNKNOWNOUTCOME");
    assert!(unknown(1) && unknown(3) && world.answers.replies.len() == 3);
}
