//! Links to nodes that join, and that are removed.

use super::*;

/// A core of a node that joins.
const NEWCOMER: CoreAddr = CoreAddr { node: types::NodeId(4), core: types::CoreId(0) };

#[test]
fn commands_go_to_a_node_that_joins_once_it_leads() {
    let mut world = World::new(|_| {});
    world.lead(NEWCOMER, 2);
    assert_eq!(world.ctx.counters.leader_notes_refused, 1, "nobody has told of it yet");
    world.router.add_link(NEWCOMER, LinkId(2), 77 << 1);
    world.lead(NEWCOMER, 2);
    world.forward_all(&["GET a"]);
    assert!(world.sent(2).heads.is_empty(), "it is not connected yet");
    world.router.set_takes_commands(LinkId(2), true);
    let sent = world.sent(2);
    assert_eq!((World::keys(&sent), sent.heads[0].id), (vec!["a".to_owned()], 77));
}

#[test]
fn what_is_in_flight_to_a_node_that_is_removed_is_given_up_and_another_leader_is_waited_for() {
    let mut world = World::new(|_| {});
    world.router.add_link(NEWCOMER, LinkId(2), 0);
    world.router.set_takes_commands(LinkId(2), true);
    world.lead(NEWCOMER, 2);
    world.forward_all(&["SET b 1", "GET a"]);
    assert_eq!(world.sent(2).heads.len(), 2);
    let map = world.ctx.config.map.clone();
    let version = LeaderTable::version(&world.router);
    world.router.remove_link(NEWCOMER, &map);
    world.fail_link(2);
    let group = world.router.route(world.route()).id;
    let preferred = map.group(group).and_then(|group| group.preferred_leader()).unwrap().place;
    assert_eq!(world.router.leader_of(group), Some(Leader { addr: preferred, is_known: false }));
    assert!(LeaderTable::version(&world.router) > version, "replies that show it are made anew");
    assert!(world.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"), "{:?}", world.answers.replies);
    world.lead(NEWCOMER, 3);
    assert_eq!(world.ctx.counters.leader_notes_refused, 1, "it is gone for ever");
    world.lead(OTHERS[1], 3);
    assert_eq!(World::keys(&world.sent(1)), ["a"], "the read goes again");
}
