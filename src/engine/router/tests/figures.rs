//! What the router tells of its routes, and of what it holds.

use super::*;

/// The figures of the router by their names, each with its limit.
fn queues(world: &World) -> HashMap<&'static str, (u64, u64)> {
    let mut figures = HashMap::new();
    world.router.queues(&world.ctx, &mut |queue| {
        let former = figures.insert(queue.name, (queue.len, queue.max));
        assert!(former.is_none(), "{} is told twice", queue.name);
    });
    figures
}

fn bytes_of(line: &str) -> usize {
    with_request(client(0), line, |request| request.bytes())
}

fn held(world: &mut World) -> usize {
    world.router.settle();
    world.ctx.budget.used_by(Pool::Forwarded)
}

#[test]
fn every_slot_has_the_route_of_the_group_that_owns_it() {
    let world = World::new(|_| {});
    let map = &world.ctx.config.map;
    assert_eq!(world.router.count(), map.groups.len());
    for group in &map.groups {
        let route = world.router.of_group(group.id).unwrap();
        assert_eq!(world.router.route(route).id, group.id);
        assert_eq!(world.router.route(route).owns_slots, !group.slots.is_empty());
        for slot in group.slots.iter().flat_map(|range| range.first..=range.last) {
            assert_eq!(world.router.of_slot(Slot::new(slot).unwrap()), route);
        }
    }
    assert_eq!(world.router.of_group(GroupId(3)), None);
}

#[test]
fn groups_are_found_whatever_their_ids() {
    let ctx = testing::context(|config| {
        for group in &mut config.map.groups[1..] {
            group.id = GroupId(group.id.0 * 5);
        }
    });
    let router = Router::new(&ctx, &ctx.config.map, HashMap::new(), 0).unwrap();
    let routes: Vec<Option<usize>> = [0, 1, 2, 5, 10, 11].map(|id| router.of_group(GroupId(id))).into();
    assert_eq!(routes, [Some(0), None, None, Some(1), Some(2), None]);
}

#[test]
fn a_route_names_the_replica_here_once_there_is_one() {
    let mut world = World::new(|_| {});
    assert_eq!(world.router.local_of(GroupId(2)), None);
    world.router.set_local(GroupId(2), 7);
    world.router.set_local(GroupId(99), 8);
    assert_eq!([1, 2, 99].map(|id| world.router.local_of(GroupId(id))), [None, Some(7), None]);
}

#[test]
fn groups_without_a_leader_are_counted_and_every_news_shows() {
    let mut world = World::new(|_| {});
    assert_eq!(world.router.leaderless_count(), 2, "the world has told of one of three");
    let version = world.router.version();
    let zero = LeaderNote { group: GroupId(0), term: 1, place: ME };
    world.router.learn_leader(&mut world.ctx, zero);
    assert_eq!(world.router.leaderless_count(), 1);
    assert!(world.router.version() > version);
}

#[test]
fn a_term_may_be_ahead_of_the_last_one_by_a_bounded_jump() {
    let mut world = World::new(|_| {});
    let route = world.route();
    world.lead(OTHERS[1], 1 + routes::TERM_JUMP_MAX + 1);
    assert_eq!(world.router.route(route).leader, OTHERS[0]);
    world.lead(OTHERS[1], 1 + routes::TERM_JUMP_MAX);
    assert_eq!(world.router.route(route).leader, OTHERS[1]);
}

#[test]
fn what_is_held_for_commands_is_told_to_the_byte() {
    let mut world = World::new(|_| {});
    let window_entry = size_of::<Option<window::Sent>>();
    world.forward_all(&["SET a 123", "GET b"]);
    let unsent = world.router.in_flight.unsent_bytes(LinkId(0));
    assert_eq!(held(&mut world), unsent + 2 * window_entry);
    assert_eq!(world.router.fresh_link(world.route()), Some(LinkId(0)));
    let sent = world.sent(0);
    assert_eq!(world.router.fresh_link(world.route()), None, "all have left");
    let frame = "a123b".len() + 3 * size_of::<u32>() + window::FRAME_BYTES;
    assert_eq!(held(&mut world), frame + 2 * window_entry);
    let figures = queues(&world);
    assert_eq!(figures["commands in flight"].0, 2);
    let in_flight_bytes = figures["commands of a group in flight, bytes"].0;
    assert_eq!(in_flight_bytes as usize, bytes_of("SET a 123") + bytes_of("GET b"));

    // One that waits beside them.
    world.router.set_takes_commands(LinkId(0), false);
    world.forward_all(&["SET c 1"]);
    assert_eq!(held(&mut world), frame + 2 * window_entry + bytes_of("SET c 1"));
    let figures = queues(&world);
    assert_eq!(figures["commands that wait for a leader, bytes"].0 as usize, bytes_of("SET c 1"));
    world.router.set_takes_commands(LinkId(0), true);
    let last = world.sent(0);
    let heads = sent.heads.iter().chain(&last.heads);
    heads.for_each(|head| world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n"));
    assert_eq!(held(&mut world), 0);
    assert_eq!(world.ctx.counters.commands_forwarded, 3);
    assert!(queues(&world).values().all(|(len, _)| *len == 0));
}

#[test]
fn what_is_held_is_let_go_when_a_link_fails() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1"]);
    world.sent(0);
    world.forward_all(&["SET b 1", "SET c 1"]);
    world.fail_link(0);
    assert_eq!(queues(&world)["commands in flight"].0, 0);
    // The unsent ones wait, and nobody keeps the name of a command that came back.
    assert_eq!(held(&mut world), bytes_of("SET b 1") + bytes_of("SET c 1") - 2 * "SET".len());
}

#[test]
fn the_bounds_of_the_queues_follow_from_the_limits() {
    let world = World::new(|config| {
        config.limits.commands.command_bytes_max = 1_000;
        config.limits.batches_bytes_max = 200;
        config.limits.route_in_flight_bytes_max = 30;
        config.limits.queued_bytes_max = 4;
        config.limits.forwarded_count_max = 5;
    });
    let figures = queues(&world);
    let one = 1_000 + COMMAND_OVERHEAD_BYTES as u64;
    assert_eq!(figures["commands in flight"].1, 5);
    assert_eq!(figures["commands of a group in flight, bytes"].1, one, "a single one always goes");
    // Those that wait, those that the replica here gives back, and those that are refused: each may exceed its limit by
    // one command, and what is given back by two.
    assert_eq!(figures["commands that wait for a leader, bytes"].1, (4 + one) + (200 + 2 * one) + (30 + one));
}
