//! Nodes that join and are removed while links to others stand.

use meta::{ClusterMap, Invite, Join, LeavingGroup, MapChange, Remove, Vacate};

use super::*;

const TOKEN: [u8; 16] = [7; 16];
const INCARNATION: u64 = 74;

/// The map of the test's cluster and one with a fourth node.
fn joined(world: &World) -> ClusterMap {
    let mut map = world.ctx.config.map.clone();
    let node = meta::Node { id: NodeId(0), host: [127, 0, 0, 4].into(), ..map.nodes[0].clone() };
    assert!(map.change(&MapChange::Invite(Invite { token: TOKEN, at_ms: 1, expires_ms: 9 })));
    assert!(map.change(&MapChange::Join(Join { token: TOKEN, at_ms: 2, incarnation: INCARNATION, node })));
    map
}

/// The same without that node.
fn removed(mut map: ClusterMap) -> ClusterMap {
    let (node, groups) = (NodeId(4), map.groups.iter().map(|group| LeavingGroup(group.id)).collect());
    assert!(map.change(&MapChange::Remove(Remove { node })));
    assert!(map.change(&MapChange::Vacate(Vacate { node, groups })));
    map
}

fn newcomer(core: u16) -> CoreAddr {
    CoreAddr { node: NodeId(4), core: types::CoreId(core) }
}

fn follow(world: &mut World, map: &ClusterMap) -> Vec<LinkId> {
    world.peers.follow_map(&world.ctx, &world.net, map)
}

#[test]
fn a_node_that_joins_is_connected_and_let_in_with_the_directory_that_the_map_names() {
    let mut world = World::new(|_| {});
    let hello = world.hello(newcomer(0));
    assert_eq!(world.introduce(incoming(0), &hello.encode()), Some(Verdict::Unknown), "nobody has told of it yet");
    let map = joined(&world);
    let added = follow(&mut world, &map);
    assert_eq!(added, [world.link(newcomer(0)), world.link(newcomer(1))]);
    assert_eq!((world.peers.counts(), world.peers.map_epoch()), ((7, 1), map.epoch));
    assert_eq!(follow(&mut world, &map), [], "they are there already");
    let by_addr: Vec<_> = world.peers.by_addr().map(|(addr, _)| addr).collect();
    assert!(by_addr.is_sorted() && by_addr.len() == 7);
    let emptied = Hello { incarnation: 99, ..hello };
    assert_eq!(world.introduce(incoming(1), &emptied.encode()), Some(Verdict::OtherIncarnation));
    assert_eq!(world.introduce(incoming(2), &hello.encode()), Some(Verdict::Accepted));
    assert_eq!(world.receive(incoming(2), &frame(3)), [(added[0], 3)]);
    world.peers.take_events();
    assert!(world.connects_by_tick(added[1]), "it is connected by itself");
}

#[test]
fn a_node_that_is_removed_hears_nothing_more_and_is_told_why() {
    let mut world = World::new(|_| {});
    let map = joined(&world);
    let link = follow(&mut world, &map)[0];
    let out = world.up(link);
    let hello = world.hello(newcomer(0));
    assert_eq!(world.introduce(incoming(0), &hello.encode()), Some(Verdict::Accepted));
    world.receive(incoming(0), &frame(3));
    world.peers.take_events();
    world.peers.message(&mut world.ctx, link, message(1));
    let gone = removed(map);
    assert_eq!(follow(&mut world, &gone), []);
    let closed = world.take_closed();
    assert_eq!((&closed[..2], closed.len()), (&[out, incoming(0)][..], 3), "and the one to its other core");
    let other_core = LinkId(link.0 + 1);
    let down = |link, was_up| PeerEvent::Down { link, was_up };
    assert_eq!(world.peers.take_events(), [down(link, true), down(other_core, false)]);
    assert_eq!((world.peers.link_to(newcomer(0)), world.peers.counts(), world.used()), (None, (5, 1), 0));
    // What is on its way comes to nobody, and nothing is sent.
    assert_eq!(world.receive(incoming(0), &frame(4)), []);
    world.peers.message(&mut world.ctx, link, message(2));
    world.flush();
    assert_eq!(world.net.sends_count(), 0);
    for conn in [out, incoming(0)] {
        world.peers.closed(&world.ctx, conn, None);
    }
    assert_eq!(world.peers.take_events(), []);
    world.ctx.now += std::time::Duration::from_secs(60);
    assert!(!world.tick().contains(&newcomer(0)), "its silence is no news");
    let at = world.peers.links[link.idx()].addr;
    let is_connected = |call: &NetCall| matches!(call, NetCall::Connect(_, to) if *to == at);
    assert!(!world.net.take_calls().iter().any(is_connected), "nobody connects to it");
    assert_eq!(world.introduce(incoming(1), &hello.encode()), Some(Verdict::Removed));
}

#[test]
fn a_node_hears_that_it_was_removed_from_whoever_knows() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.connect(link);
    world.peers.connected(&world.net, conn);
    assert!(!world.peers.is_told_removed());
    world.receive(conn, &Verdict::Removed.encode());
    assert!(world.peers.is_told_removed());
}
